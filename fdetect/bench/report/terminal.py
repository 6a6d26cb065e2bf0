"""What a terminal shows of a finished run: the narrow tables, and those that are about the whole run."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from fdetect.bench.report.grid import Grid
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

__all__ = ["in_tables_alone", "narrow", "terminal_grids"]


def terminal_grids(result: RunResult, folder: Path) -> list[Grid]:
    """Return the tables in the order of reading; `folder` is that of the run, and holds its curves and differences."""
    apart = in_tables_alone(cell.detector for cell in result.cells)
    shown = [cell for cell in result.cells if cell.detector not in apart]
    paired = [*gain_grids(read_gains(folder), result.audit), *difference_grids(read_differences(folder), result.audit)]
    return [
        *audit_grids(result.audit),
        *(with_weights(grid, result.header) for grid in summary_grids(shown, result.audit)),
        *verdict_grids([one for one in read_by_source(folder) if one.detector not in apart]),
        *curve_grids([one for one in read_curves(folder) if one.detector not in apart], result.audit),
        *map(narrow, paired),
        *importance_grids(result.header.get("importance", []), result.audit),
        *chosen_grids(result.header),
        *three_way_grids(result, whole=False),
        *networks_grids(result.header),
        not_run_grid(result),
        failure_grid(result.failures),
    ]


def in_tables_alone(detectors: Iterable[str]) -> set[str]:
    """Return those that lack a family or a branch of another: paired differences say more of them than charts."""
    names = tuple(detectors)
    return {*left_out(names), *wholes(names)}


def narrow(paired: Grid) -> Grid:
    """Leave out the last column (the gain on the worst generator, failures), so that a line fits a terminal."""
    return replace(paired, columns=paired.columns[:-1], rows=tuple(row[:-1] for row in paired.rows))
