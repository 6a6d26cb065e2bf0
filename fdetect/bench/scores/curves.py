"""The curves of every detector, training set and condition of a score table, and the file that holds them.

    score_curves.json   {"schema": 1, "fpr": [...], "units": [...], "coverage": [...], "curves": [...]}

`fpr` are the places of `roc.tpr`, `units` the ends of the bins of `histogram`, `coverage` the places of `risk.risk`; a
point that is not defined is null.  As in the tables, the mean is over the generators that were not trained on, each
judged against the reals of its own trials; images without a score are left out and counted.  A curve that cannot be
made is None, and `missing` says why.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from fdetect.bench.scores.compare import unseen
from fdetect.bench.scores.evaluate import ScoreTable
from fdetect.bench.scores.shapes import (
    COVERAGE,
    FPR,
    UNITS,
    Histogram,
    Reliability,
    Risk,
    Roc,
    TrialScores,
    histogram_of,
    reliability_of,
    risk_of,
    roc_of,
)
from fdetect.types import FAKE, REAL

__all__ = ["SCORE_CURVES", "ScoreCurves", "read_score_curves", "score_curves_json", "score_curves_of"]

SCORE_CURVES = "score_curves.json"  # in the folder of a run
_SCHEMA = 1


@dataclass(frozen=True)
class ScoreCurves:
    """The curves of one detector under one condition; `train` and `train_condition` as in `Cell`.

    `generators` are those averaged over, `seen` whether they were trained on (there is no other then).  `n_real` and
    `n_fake` count the images with a score, `n_failed` those without, each once.  `unplaced` trials of `trials` have no
    attainable threshold, or reals without an interquartile range: they are not in the histogram and the risk.
    """

    detector: str
    train: str
    train_condition: str
    condition: str
    generators: tuple[str, ...]
    seen: bool
    n_real: int
    n_fake: int
    n_failed: int
    trials: int
    unplaced: int
    roc: Roc | None = None
    histogram: Histogram | None = None
    reliability: Reliability | None = None
    risk: Risk | None = None
    missing: tuple[str, ...] = ()


def score_curves_of(table: pa.Table) -> tuple[ScoreCurves, ...]:
    """Return the curves of a score table, in its order of detectors, training sets and conditions.

    Raises DataError where an image has two rows of one detector, condition and trial.
    """
    scores = ScoreTable.of(table)
    threshold = np.array([math.nan if t is None else t for t in table.column("threshold").to_pylist()], np.float64)
    threshold[np.isinf(threshold)] = math.nan  # no level that anything could pass is no threshold
    trial, path = _numbers(table, "trial"), _numbers(table, "path")
    return tuple(
        _curves(scores, name, rows, threshold, trial, path)
        for name, rows in zip(scores.names, scores.by_key, strict=True)
    )


def score_curves_json(curves: Sequence[ScoreCurves]) -> dict[str, Any]:
    """Return what `score_curves.json` holds: the curves with the places of their points, each list once."""
    return {"schema": _SCHEMA, "fpr": FPR, "units": UNITS, "coverage": COVERAGE, "curves": tuple(curves)}


def read_score_curves(folder: Path) -> tuple[ScoreCurves, ...]:
    """Return the curves of a finished run; none where it was made before there were any."""
    file = folder / SCORE_CURVES
    if not file.exists():
        return ()
    kinds = {"roc": Roc, "histogram": Histogram, "reliability": Reliability, "risk": Risk}

    def plain(value: Any) -> Any:
        return tuple(map(plain, value)) if isinstance(value, list) else math.nan if value is None else value

    def one(row: dict[str, Any]) -> ScoreCurves:
        made: dict[str, Any] = {key: plain(value) for key, value in row.items() if key not in kinds}
        for name, kind in kinds.items():
            points = row[name]
            made[name] = points and kind(**{key: plain(value) for key, value in points.items()})
        return ScoreCurves(**made)

    return tuple(map(one, json.loads(file.read_text(encoding="utf-8"))["curves"]))


def _curves(
    scores: ScoreTable, name: tuple[str, str, str, str], rows: np.ndarray, threshold: np.ndarray, trial: np.ndarray,
    path: np.ndarray,
) -> ScoreCurves:  # fmt: skip
    detector, train, train_condition, condition = name
    generators = unseen(scores, rows)
    fakes = rows[(scores.label[rows] == FAKE) & np.isin(scores.generator[rows], generators)]
    reals = rows[(scores.label[rows] == REAL) & np.isin(trial[rows], trial[fakes])]
    both = np.concatenate([reals, fakes])
    ok = np.isfinite(scores.score[both])
    n_real, n_fake = (len(np.unique(path[both[ok & (scores.label[both] == kind)]])) for kind in (REAL, FAKE))
    parts, lacking = _parts(scores, generators, both[ok], trial)
    sample, unplaced = _sample(scores, parts, threshold, trial, path) if parts else (None, 0)
    bare = ScoreCurves(
        detector, train, train_condition, condition, generators, bool(scores.seen[fakes].any()), n_real, n_fake,
        len(np.unique(path[both[~ok]])), len({trial[part[0]] for _, part in parts}), unplaced,
    )  # fmt: skip
    if sample is None or lacking:
        return replace(bare, missing=(_nothing(generators, lacking),))
    made = replace(
        bare, roc=roc_of(sample), histogram=histogram_of(sample), reliability=reliability_of(sample),
        risk=risk_of(sample),
    )  # fmt: skip
    return replace(made, missing=_missing(made))


def _parts(
    scores: ScoreTable, generators: tuple[str, ...], rows: np.ndarray, trial: np.ndarray
) -> tuple[list[tuple[int, np.ndarray]], list[str]]:
    """Return (number of the generator, rows) for each generator and trial with both classes, and who has none."""
    number = {generator: k for k, generator in enumerate(generators)}
    parts = []
    order = rows[np.argsort(trial[rows], kind="stable")]
    for here in np.split(order, np.flatnonzero(np.diff(trial[order])) + 1):
        reals, fakes = (here[scores.label[here] == kind] for kind in (REAL, FAKE))
        names = scores.generator[fakes]
        if len(reals):
            parts += [(number[one], np.concatenate([reals, fakes[names == one]])) for one in sorted(set(names))]
    found = {g for g, _ in parts}
    return parts, [generator for generator, k in number.items() if k not in found]


def _sample(
    scores: ScoreTable, parts: Sequence[tuple[int, np.ndarray]], threshold: np.ndarray, trial: np.ndarray,
    path: np.ndarray,
) -> tuple[TrialScores, int]:  # fmt: skip
    """Put the parts behind one another; also count the trials that have no units."""
    units, unplaced = [], set[int]()
    for _, rows in parts:
        low, high = np.percentile(scores.score[rows[scores.label[rows] == REAL]], (25, 75))
        unit = high - low if high > low else math.nan
        with np.errstate(over="ignore"):  # far beyond the end of a histogram
            units.append((scores.score[rows] - threshold[rows]) / unit)
        if np.isnan(units[-1]).any():
            unplaced.add(int(trial[rows[0]]))
    rows, sizes = np.concatenate([rows for _, rows in parts]), [len(rows) for _, rows in parts]
    return TrialScores(
        scores.label[rows], scores.score[rows], scores.probability[rows], np.concatenate(units),
        np.repeat([g for g, _ in parts], sizes), np.repeat(np.arange(len(parts)), sizes), path[rows],
    ), len(unplaced)  # fmt: skip


def _nothing(generators: Sequence[str], lacking: Sequence[str]) -> str:
    if not generators:
        return "no curve: no fakes in the table"
    return f"no curve: no trial with scored reals and scored fakes of {', '.join(lacking)}"


def _missing(made: ScoreCurves) -> tuple[str, ...]:
    found = []
    if made.histogram is None:
        found.append("no histogram and no risk: a generator has no trial with an attainable threshold and reals that "
                     "differ in score")  # fmt: skip
    elif made.unplaced:
        found.append(f"histogram and risk without {made.unplaced} of {made.trials} trials, which have no attainable "
                     "threshold, or reals that do not differ in score")  # fmt: skip
    if made.reliability is None:
        found.append("no reliability: an image has no probability")
    return tuple(found)


def _numbers(table: pa.Table, name: str) -> np.ndarray:
    """Number the texts of a column, (n,) int64, in order of first appearance."""
    return np.asarray(table.column(name).combine_chunks().dictionary_encode().indices, np.int64)
