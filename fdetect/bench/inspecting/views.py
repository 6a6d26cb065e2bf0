"""The views of an image that must agree: as stored, at other crops, compressed as JPEG, made smaller.

    found = scores_by_view(manifest, detector, columns, running)
    found.score                    (N,) what the detector says, as `fdetect score` does of other crops
    found.views["JPEG 70"]         (N,) what it says of that view

Every view of an image is held against the same view of reference photographs.  Images go through the engine: what is
in the store is not computed again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from fdetect.bench.data.inputs import root_of
from fdetect.bench.inspecting.placing import placed
from fdetect.bench.running import Running
from fdetect.bench.training.columns import Columns
from fdetect.classifiers.fused_head import FusedHead, in_all
from fdetect.classifiers.saved import FittedDetector
from fdetect.draws import mean_of_draws
from fdetect.engine import Extraction, run
from fdetect.perturb import Condition
from fdetect.types import Failure, Table

__all__ = ["CROP", "DIGITS", "DRAWS", "JUDGED", "OTHER", "SCORE", "ViewScores", "scores_by_view", "texts"]

SCORE = "mean of crops"  # the detector's own score
CROP = "crop"  # "crop 1", "crop 2", ...: those whose mean it is

OTHER = {
    "as stored": ("native", "crops of the pixels as they are stored"),
    "JPEG 70": ("jpeg70", "crops, compressed as JPEG at quality 70"),
    "half size": ("resize50", "crops, made half as large, then JPEG 90"),
}
DRAWS = 2  # crops of each of the other views; a single one says little, and each costs as much as one of the score

DIGITS = 4  # of a score: torch adds up in another order for another number of images, and ranks must not follow that

JUDGED = (SCORE, *OTHER)  # the views that have to agree


@dataclass(frozen=True, eq=False)
class ViewScores:
    """Scores of N images by view, (N,) float64 each, NaN where an image has none.

    branches  of a fused detector, what the scores of each image rest on; "" for other heads, and for none
    lost      by view, why a crop of an image could not be scored, by row; where others could, there is a score
    first     (N, D) columns of the first crop, as the head reads them
    """

    ids: tuple[str, ...]
    paths: tuple[str, ...]
    views: Mapping[str, np.ndarray]
    branches: tuple[str, ...]
    lost: Mapping[str, Mapping[int, Failure]]
    first: np.ndarray

    @property
    def score(self) -> np.ndarray:
        """(N,) what the detector says: the mean of its crops, whose places are those of placing.py."""
        return self.views[SCORE]

    @property
    def failures(self) -> dict[int, Failure]:
        """Why images have no score, by row."""
        return {k: why for k, why in self.lost[SCORE].items() if np.isnan(self.score[k])}

    @property
    def judged(self) -> np.ndarray:
        """(V, N) scores of the views that have to agree."""
        return np.stack([self.views[name] for name in JUDGED])


def texts(detector: FittedDetector) -> dict[str, tuple[str, str]]:
    """By view, its condition and what is done in a few words, in the order in which views are shown."""
    n = detector.draws
    own = {SCORE: (detector.condition, f"the detector's score: {n} crops at places that the size decides")}
    return {**own, **OTHER, **{f"{CROP} {k + 1}": (detector.condition, f"one of the {n} shifted crops")
                               for k in range(n)}}  # fmt: skip


def scores_by_view(
    manifest: Table, detector: FittedDetector, columns: Columns, running: Running, *, subset: str = ""
) -> ViewScores:
    """Score every image in every view.

    columns  of the detector, as `columns_of_model` makes them
    subset   branches of a fused detector that the scores shall rest on, "" for all that are there

    Raises what the engine raises; an image that cannot be scored in a view is NaN there.
    """
    own = _draws(detector.condition, detector.draws)
    draws = {SCORE: own} | {name: _draws(condition, DRAWS) for name, (condition, _) in OTHER.items()}
    asked = {one.name: one for of_view in draws.values() for one in of_view}  # a view may be the detector's own
    found = run(columns.tasks, manifest.column("path"), root=root_of(manifest), conditions=tuple(asked.values()),
                crop=detector.crop, seed=detector.seed, **running.for_engine())  # fmt: skip
    crops = {name: _crop(found, name, detector, columns, subset, keep=name == own[0].name) for name in asked}
    views, lost = {}, {}
    for name, of_view in (draws | {f"{CROP} {k + 1}": (one,) for k, one in enumerate(own)}).items():
        views[name] = np.round(mean_of_draws(np.stack([crops[one.name].scores for one in of_view])), DIGITS)
        lost[name] = {k: why for one in reversed(of_view) for k, why in crops[one.name].failures.items()}
    rests_on = zip(*(one.branches for one in crops.values()), strict=True)
    return ViewScores(
        found.ids, found.paths, {name: views[name] for name in texts(detector)}, tuple(map(in_all, rests_on)),
        lost, crops[own[0].name].values,
    )  # fmt: skip


@dataclass(frozen=True, eq=False)
class _Crop:
    """One crop of every image: columns (N, D) where they are kept, scores (N,), what each rests on, failures by row."""

    values: np.ndarray
    scores: np.ndarray
    branches: tuple[str, ...]
    failures: Mapping[int, Failure]


def _draws(condition: str, n: int) -> tuple[Condition, ...]:
    return tuple(placed(condition, k) for k in range(n))


def _crop(
    found: Extraction, name: str, detector: FittedDetector, columns: Columns, subset: str, *, keep: bool
) -> _Crop:  # fmt: skip
    head, blocks = detector.head, list(found.blocks(name, [task.name for task in columns.tasks]))
    values = np.concatenate([columns.spread(block.values, head.columns, detector.about) for block in blocks])
    values = head.only(values, subset) if subset and isinstance(head, FusedHead) else values
    branches = head.present(values) if isinstance(head, FusedHead) else ("",) * len(values)
    by_path = {failure.path: failure for block in blocks for failure in block.failures}
    failures = {k: by_path[path] for k, path in enumerate(found.paths) if path in by_path}
    return _Crop(values if keep else values[:0], head.score(values), branches, failures)
