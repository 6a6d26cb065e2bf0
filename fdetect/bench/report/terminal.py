"""What a terminal shows of a finished run: the narrow tables, and those that are about the whole run."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from fdetect.bench.report.grid import Grid
from fdetect.bench.report.size import MAIN
from fdetect.bench.report.tables import audit_grids, failure_grid, not_run_grid, summary_grids
from fdetect.bench.scores.by_source_tables import verdict_grids
from fdetect.bench.scores.by_source_verdict import read_by_source
from fdetect.bench.scores.differences import difference_grids, read_differences
from fdetect.bench.scores.gains import gain_grids, left_out, read_gains
from fdetect.bench.scores.robustness import curve_grids, read_curves
from fdetect.bench.training.ablation import wholes
from fdetect.bench.training.chosen import chosen_grids
from fdetect.bench.training.importances import importance_grids
from fdetect.bench.training.networks import networks_grids, with_weights
from fdetect.bench.training.three_way_tables import three_way_grids
from fdetect.types import RunResult

__all__ = ["in_files_alone", "in_tables_alone", "narrow", "terminal_grids"]

MOST = 6  # conditions that a terminal shows in full


def terminal_grids(result: RunResult, folder: Path) -> list[Grid]:
    """Return the tables in the order of reading; `folder` is that of the run, and holds its curves and differences.

    Of more than MOST conditions the first ones have tables, and `matched` (else the first) alone those of differences
    and importance: see `in_files_alone`.
    """
    apart, full = in_tables_alone(cell.detector for cell in result.cells), _in_full(result)
    brief = full if len(full) == len(_conditions(result)) else [MAIN if MAIN in full else full[0]]
    shown = [cell for cell in result.cells if cell.detector not in apart and cell.condition in full]
    audit = {**result.audit, **{part: [row for row in result.audit[part] if row["condition"] in full]
                                for part in ("probes", "history")}}  # fmt: skip
    gains = [one for one in read_gains(folder) if one.condition in brief]
    differences = [one for one in read_differences(folder) if one.condition in brief]
    importance = [row for row in result.header.get("importance", []) if row["condition"] in brief]
    return [
        *audit_grids(audit),
        *(with_weights(grid, result.header) for grid in summary_grids(shown, result.audit)),
        *verdict_grids([one for one in read_by_source(folder) if one.detector not in apart]),
        *curve_grids([one for one in read_curves(folder) if one.detector not in apart], result.audit),
        *map(narrow, (*gain_grids(gains, result.audit), *difference_grids(differences, result.audit))),
        *importance_grids(importance, result.audit),
        *chosen_grids(result.header),
        *three_way_grids(result, whole=False),
        *networks_grids(result.header),
        not_run_grid(result),
        failure_grid(result.failures),
    ]


def in_files_alone(result: RunResult) -> str:
    """Name the conditions whose tables a terminal does not show, in a sentence; empty where it shows all."""
    full = _in_full(result)
    left = [name for name in _conditions(result) if name not in full]
    return f"the tables of {len(left)} more conditions stand in the files alone: {', '.join(left)}" if left else ""


def _conditions(result: RunResult) -> list[str]:
    return list(dict.fromkeys(cell.condition for cell in result.cells))


def _in_full(result: RunResult) -> list[str]:
    """Return the conditions that a terminal shows: the first MOST, `matched` among them where it is there."""
    names = _conditions(result)
    first = names[:MOST]
    return first if MAIN in first or MAIN not in names else [*names[: MOST - 1], MAIN]


def in_tables_alone(detectors: Iterable[str]) -> set[str]:
    """Return those that lack a family or a branch of another: paired differences say more of them than charts."""
    names = tuple(detectors)
    return {*left_out(names), *wholes(names)}


def narrow(paired: Grid) -> Grid:
    """Leave out the last column (the gain on the worst generator, failures), so that a line fits a terminal."""
    return replace(paired, columns=paired.columns[:-1], rows=tuple(row[:-1] for row in paired.rows))
