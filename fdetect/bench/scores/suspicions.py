"""What a table of scores makes one ask: a score that is turned round, one that is a decision already, or no score.

Neither is mended here: figures are what they are, and the question stands beside them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fdetect.bench.scores.evaluate import OVERALL
from fdetect.bench.scores.robustness import trained_names
from fdetect.types import Cell

__all__ = ["REVERSED", "suspicions"]

REVERSED = 0.35  # an AUROC below it is asked about, where every generator's is


def suspicions(table: pa.Table, cells: Iterable[Cell]) -> tuple[str, ...]:
    """Return a question about every detector that gives cause for one, from its scores and their cells."""
    return (*_reversed(cells), *_decided(table))


def _reversed(cells: Iterable[Cell]) -> list[str]:
    found: dict[tuple[str, str, str, str], list[float]] = {}
    for cell in cells:
        if cell.generator and cell.generator not in OVERALL and np.isfinite(value := cell.metric("auroc").value):
            key = (cell.detector, cell.train, cell.train_condition, cell.condition)
            found.setdefault(key, []).append(value)
    return [
        f"{name} is far below chance under {key[3]} for every generator (AUROC {max(values):.3f} at best): is "
        "its larger score more likely real? A larger one means generated here, and none is turned round"
        for name, (key, values) in zip(_names(found), found.items(), strict=True) if max(values) < REVERSED
    ]  # fmt: skip


def _decided(table: pa.Table) -> list[str]:
    ok = table.filter(pc.is_finite(pc.fill_null(table.column("score"), float("nan"))))
    of = ["detector", "train", "train_condition", "condition"]
    kinds = ok.group_by(of).aggregate([("score", "count_distinct"), ("score", "count")]).to_pylist()
    names = _names([tuple(row[one] for one in of) for row in kinds])
    return [
        f"{name} has {row['score_count_distinct']} different scores under {row['condition']}: an AUROC of "
        "decisions is none of scores; give them as they were before the threshold"
        if row["score_count_distinct"] == 2 else
        f"{name} gives every image the same score under {row['condition']}: it tells nothing apart"
        for name, row in zip(names, kinds, strict=True) if row["score_count_distinct"] <= 2 < row["score_count"]
    ]  # fmt: skip


def _names(keys: Collection[tuple[str, str, str, str]]) -> list[str]:
    """Name detectors by (detector, train, train_condition, condition), with what tells them apart under a condition."""
    found: dict[tuple[str, str, str, str], str] = {}
    for condition in {key[3] for key in keys}:
        here = [key for key in keys if key[3] == condition]
        found |= dict(zip(here, trained_names([key[:3] for key in here]), strict=True))
    return [found[key] for key in keys]
