"""Paired differences that every run prints, whatever their sign: the fused detector against what it must beat.

    fused minus best_single                      the best head that was chosen on training images (chosen.py)
    fused minus fused:...:without=trunk          its own branches left out (ablation.py)

From the score table alone, as all results are: wherever a table holds both, here is their difference.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from fdetect.bench.report.grid import Grid, pretty, signed
from fdetect.bench.report.tables import audit_mark, bracketed
from fdetect.bench.scores.compare import PairedDifference, compare
from fdetect.bench.scores.evaluate import ScoreTable
from fdetect.bench.training.ablation import wholes
from fdetect.bench.training.chosen import BEST_SINGLE
from fdetect.engine.loop import Progress

__all__ = ["difference_grids", "differences_of", "read_differences"]

_NOTE = (
    "A difference is the fused detector minus the other, on the same images and trials, with its paired "
    f"group-bootstrap interval; the verdict is about the fused one. {BEST_SINGLE}: in every trial the head with the "
    "highest macro AUROC in inner folds of the training images; networks have no such figure and are no candidates."
)
_ABLATED = "without=, only=: the same fit, scored without a branch, or by one branch alone."


def differences_of(
    table: pa.Table, *, replicates: int = 1000, level: float = 0.95, seed: int = 0, progress: Progress | None = None
) -> tuple[PairedDifference, ...]:
    """Return the differences of a score table, the one to the best single head first; none without a fused detector."""
    pairs = _pairs(table.column("detector").unique().to_pylist())
    if not pairs:
        return ()
    scores = ScoreTable.of(table)
    weights = scores.weights(replicates=replicates, seed=seed)
    found: list[PairedDifference] = []
    for k, (first, second) in enumerate(pairs):
        found += compare(scores, weights, first, second, level=level)
        if progress:
            progress("paired differences", k + 1, len(pairs))
    return tuple(found)


def difference_grids(found: Sequence[PairedDifference], audit: Mapping[str, Any] | None = None) -> list[Grid]:
    """Return one table for each condition and fused detector."""
    made = []
    for condition, first in dict.fromkeys((one.condition, one.first) for one in found):
        here = [one for one in found if (one.condition, one.first) == (condition, first)]
        several = len({one.train for one in here}) > 1
        rows = tuple(
            (one.second.removeprefix(f"{first}:"), *((one.train,) if several else ()), pretty(one.auroc_first),
             pretty(one.auroc_second), signed(one.value, one.low, one.high), one.verdict,
             f"{signed(one.failures_wrong, None, None)} ({one.n_failed})")
            for one in here
        )  # fmt: skip
        columns = ("the other", *(("trained on",) if several else ()), "macro AUROC", "of the other", "difference",
                   "verdict", "failures counted wrong")  # fmt: skip
        mark = bracketed(audit_mark(audit, condition) if audit else "")
        note = f"{_NOTE} {_ABLATED}" if wholes([first, *(one.second for one in here)]) else _NOTE
        made.append(Grid(f"{first} minus others, under {condition}{mark}", columns, rows, note))
    return made


def read_differences(folder: Path) -> tuple[PairedDifference, ...]:
    """Return the differences that stand in the result.json of a finished run."""
    rows: list[dict[str, Any]] = json.loads((folder / "result.json").read_text(encoding="utf-8")).get("differences", [])
    return tuple(_from_json(row) for row in rows)


def _from_json(row: Mapping[str, Any]) -> PairedDifference:
    values: dict[str, Any] = {key: float("nan") if value is None else value for key, value in row.items()}
    return PairedDifference(**values)


def _pairs(detectors: Iterable[str]) -> list[tuple[str, str]]:
    names = tuple(dict.fromkeys(detectors))
    parts = wholes(names)
    fused = [name for name in names if name.startswith("fused:") and name not in parts]
    best = [(name, BEST_SINGLE) for name in fused if BEST_SINGLE in names]
    return best + [(whole, part) for part, whole in parts.items()]
