"""What a table of scores makes one ask: a score that is turned round, one that is a decision already, or no score.

Neither is mended here: figures are what they are, and the question stands beside them.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fdetect.bench.scores.evaluate import OVERALL
from fdetect.types import Cell

__all__ = ["REVERSED", "suspicions"]

REVERSED = 0.35  # an AUROC below it is asked about, where every generator's is


def suspicions(table: pa.Table, cells: Iterable[Cell]) -> tuple[str, ...]:
    """Return a question about every detector that gives cause for one, from its scores and their cells."""
    return (*_reversed(cells), *_decided(table))


def _reversed(cells: Iterable[Cell]) -> list[str]:
    found: dict[tuple[str, str, str], list[float]] = {}
    for cell in cells:
        if cell.generator and cell.generator not in OVERALL and np.isfinite(value := cell.metric("auroc").value):
            found.setdefault((cell.detector, cell.train, cell.condition), []).append(value)
    return [
        f"{detector} is far below chance under {condition} for every generator (AUROC {max(values):.3f} at best): is "
        "its larger score more likely real? A larger one means generated here, and none is turned round"
        for (detector, _, condition), values in found.items() if max(values) < REVERSED
    ]  # fmt: skip


def _decided(table: pa.Table) -> list[str]:
    ok = table.filter(pc.is_finite(pc.fill_null(table.column("score"), float("nan"))))
    kinds = ok.group_by(["detector", "condition"]).aggregate([("score", "count_distinct"), ("score", "count")])
    return [
        f"{row['detector']} has {row['score_count_distinct']} different scores under {row['condition']}: an AUROC of "
        "decisions is none of scores; give them as they were before the threshold"
        if row["score_count_distinct"] == 2 else
        f"{row['detector']} gives every image the same score under {row['condition']}: it tells nothing apart"
        for row in kinds.to_pylist() if row["score_count_distinct"] <= 2 < row["score_count"]
    ]  # fmt: skip
