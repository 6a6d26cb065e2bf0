"""The views of an image that must agree: as stored, at other crops, compressed as JPEG, made smaller.

    found = scores_by_view(manifest, detector, columns, running)
    found.score                    (N,) what the detector says, as `fdetect score` does
    found.views["JPEG 70"]         (N,) what it says of that view

Every view of an image is held against the same view of reference photographs.  Images go through the engine: what is
in the store is not computed again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from fdetect import perturb
from fdetect.bench.data.inputs import root_of
from fdetect.bench.running import Running
from fdetect.bench.training.columns import Columns
from fdetect.classifiers.fused_head import FusedHead, in_all
from fdetect.classifiers.saved import FittedDetector
from fdetect.draws import drawn, drawn_names, mean_of_draws
from fdetect.engine import run
from fdetect.types import Failure, Table

__all__ = ["CROP", "DRAWS", "JUDGED", "OTHER", "SCORE", "ViewScores", "scores_by_view", "texts"]

SCORE = "mean of crops"  # the detector's own score
CROP = "crop"  # "crop 1", "crop 2", ...: those whose mean it is

OTHER = {
    "as stored": ("native", "crops of the pixels as they are stored"),
    "JPEG 70": ("jpeg70", "crops, compressed as JPEG at quality 70"),
    "half size": ("resize50", "crops, made half as large, then JPEG 90"),
}
DRAWS = 2  # crops of each of the other views; a single one says little, and each costs as much as one of the score

JUDGED = (SCORE, *OTHER)  # the views that have to agree


@dataclass(frozen=True, eq=False)
class ViewScores:
    """Scores of N images by view, (N,) float64 each, NaN where an image has none.

    branches  of a fused detector, what the scores of each image rest on; "" for other heads, and for none
    failures  of images without a score, by row
    absent    branches that could not be computed here, each with why
    first     (N, D) columns of the first crop, as the head reads them
    """

    ids: tuple[str, ...]
    paths: tuple[str, ...]
    views: Mapping[str, np.ndarray]
    branches: tuple[str, ...]
    failures: Mapping[int, Failure]
    absent: Mapping[str, Exception]
    first: np.ndarray

    @property
    def score(self) -> np.ndarray:
        """(N,) what the detector says, as `fdetect score` does."""
        return self.views[SCORE]

    @property
    def judged(self) -> np.ndarray:
        """(V, N) scores of the views that have to agree."""
        return np.stack([self.views[name] for name in JUDGED])


def texts(detector: FittedDetector) -> dict[str, tuple[str, str]]:
    """By view, its condition and what is done in a few words, in the order in which views are shown."""
    n = detector.draws
    own = {SCORE: (detector.condition, f"the detector's score: {n} shifted crops, as it was fitted")}
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
    head = detector.head
    own = [drawn(perturb.condition(detector.condition), k) for k in range(detector.draws)]
    others = [drawn(perturb.condition(name), k) for name, _ in OTHER.values() for k in range(DRAWS)]
    found = run(columns.tasks, manifest.column("path"), root=root_of(manifest), conditions=(*own, *others),
                crop=detector.crop, seed=detector.seed, **running.engine())  # fmt: skip
    tasks = [task.name for task in columns.tasks]
    failures = dict[str, Failure]()

    def values_of_draw(name: str) -> np.ndarray:
        blocks = list(found.blocks(name, tasks))
        failures.update({one.path: one for block in blocks for one in block.failures if one.path not in failures})
        values = np.concatenate([columns.spread(block.values, head.columns, detector.about) for block in blocks])
        return head.only(values, subset) if subset and isinstance(head, FusedHead) else values

    crops = [values_of_draw(one.name) for one in own]
    of_crops = np.stack([head.score(one) for one in crops])
    views = {f"{CROP} {k + 1}": scores for k, scores in enumerate(of_crops)} | {SCORE: mean_of_draws(of_crops)}
    for name, (condition, _) in OTHER.items():
        draws = [head.score(values_of_draw(one)) for one in drawn_names(condition, DRAWS)]
        views[name] = mean_of_draws(np.stack(draws))
    there = [head.present(one) for one in crops] if isinstance(head, FusedHead) else [("",) * len(found)]
    return ViewScores(
        found.ids, found.paths, {name: views[name] for name in texts(detector)},
        tuple(map(in_all, zip(*there, strict=True))),
        {k: failures[path] for k, path in enumerate(found.paths) if path in failures},
        dict(columns.absent), crops[0],
    )  # fmt: skip
