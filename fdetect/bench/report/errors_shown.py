"""The worst errors of a run: the images that the best detectors judge wrongly with the largest distance.

An error is a photograph whose score lies above the threshold frozen in its trial, or a generated image whose score
does not.  Its distance is |score - threshold|, in units of that detector's score.  An image that several trials test
stands here once, with its largest distance and the number of trials that err on it.  Shown are those of the detectors
with the highest macro AUROC under `matched`, or, where that was not tested, under the first condition that is not
`native`, or else under the first.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fdetect.bench.report.terminal import in_tables_alone
from fdetect.types import FAKE, REAL, Cell

__all__ = ["SHOWN", "Case", "Errors", "best_detectors", "main_condition", "worst_errors"]

SHOWN = 8  # errors of each class and detector
_DETECTORS = 2
_COLUMNS = ("path", "label", "generator", "real_source", "score", "threshold", "p_value")


@dataclass(frozen=True)
class Case:
    """One image that was judged wrongly: its distance is in units of the score, its p-value that of being real."""

    path: str
    origin: str  # the real source of a photograph, the generator of a fake
    distance: float  # score minus threshold: positive for a photograph called generated, else at most 0
    p_value: float
    n_wrong: int = 1  # of its trials, how many judge it wrongly
    n_trials: int = 1  # that judge it


@dataclass(frozen=True)
class Errors:
    """The errors of one detector on one class: the SHOWN worst of `n_wrong` among `n_images` that could be judged.

    An image counts as wrong where any of its trials errs, so that `n_wrong` of `n_images` is no rate where images have
    several trials: that is `n_wrong_decisions` of `n_decisions`, one decision for each image and trial.  `n_trials` is
    how many judge an image, the largest number of all images.
    """

    detector: str
    train: str
    condition: str
    label: int
    n_wrong: int
    n_images: int
    n_wrong_decisions: int
    n_decisions: int
    n_trials: int
    cases: tuple[Case, ...]


def main_condition(names: Iterable[str]) -> str:
    """Return the condition whose errors are shown: matched, or the first that is not native, or the first; or ""."""
    names = list(names)
    if "matched" in names:
        return "matched"
    return next((name for name in names if name != "native"), names[0] if names else "")


def best_detectors(cells: Sequence[Cell], condition: str) -> list[tuple[str, str]]:
    """Return (detector, training set) of the highest macro AUROCs under a condition, each detector once."""
    apart = in_tables_alone(cell.detector for cell in cells)
    macro = [c for c in cells if c.condition == condition and c.generator == "macro" and c.detector not in apart]
    known = [(c.metric("auroc").value, c) for c in macro if math.isfinite(c.metric("auroc").value)]
    best: dict[str, str] = {}
    for _, cell in sorted(known, key=lambda one: -one[0]):  # stable: of equals, the first of the run
        best.setdefault(cell.detector, cell.train)
    return list(best.items())[:_DETECTORS]


def worst_errors(scores: pa.Table, cells: Sequence[Cell]) -> list[Errors]:
    """Return the worst errors on photographs and on fakes, of each of the best detectors in turn.

    `scores` has the columns of `scores.parquet`.  A detector without an attainable threshold judges nothing, and has
    no errors among 0 images.  Of equal distances the path that sorts first comes first.
    """
    condition = main_condition(dict.fromkeys(cell.condition for cell in cells))
    found = []
    for detector, train in best_detectors(cells, condition):
        mine = (pc.equal(scores.column(name), value) for name, value in
                (("detector", detector), ("train", train), ("condition", condition)))  # fmt: skip
        keep = next(mine)
        for one in mine:
            keep = pc.and_(keep, one)
        rows = scores.filter(keep).select(list(_COLUMNS)).to_pydict()
        found += [_errors(rows, detector, train, condition, label) for label in (REAL, FAKE)]
    return found


def _errors(rows: dict[str, list[object]], detector: str, train: str, condition: str, label: int) -> Errors:
    score, threshold, p_value = (np.array(rows[name], np.float64) for name in ("score", "threshold", "p_value"))
    distance = score - threshold
    judged = np.flatnonzero((np.array(rows["label"]) == label) & np.isfinite(distance))
    origin = rows["real_source" if label == REAL else "generator"]
    worst: dict[str, Case] = {}
    n_trials, n_wrong = Counter[str](), Counter[str]()  # by path
    for k in judged:
        wrong = distance[k] > 0 if label == REAL else distance[k] <= 0
        path = str(rows["path"][k])
        n_trials[path] += 1
        n_wrong[path] += int(wrong)
        if wrong and (path not in worst or abs(distance[k]) > abs(worst[path].distance)):
            worst[path] = Case(path, str(origin[k]), float(distance[k]), float(p_value[k]))
    cases = sorted(worst.values(), key=lambda case: (-abs(case.distance), case.path))
    shown = tuple(replace(case, n_wrong=n_wrong[case.path], n_trials=n_trials[case.path]) for case in cases[:SHOWN])
    return Errors(detector, train, condition, label, len(cases), len(n_trials), n_wrong.total(), n_trials.total(),
                  max(n_trials.values(), default=0), shown)  # fmt: skip
