"""Pictures of any size, scored by tiles: every tile goes through the condition as a crop does, and every px is seen.

Under a condition that enlarges what it cuts (`resize150`), of each tile the middle is seen, as of a single crop.

    score_tiles(data, fitted, "mean")            -> Scores with `n_tiles`
    calibrated_on_tiles(fitted, reals, "mean")   -> the same detector, its thresholds set on such scores

Tiles are computed here, in this process and block by block, and nothing of them is stored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fdetect import perturb
from fdetect.bench.applying import columns_of_model
from fdetect.bench.data.inputs import Data, any_images, root_of
from fdetect.bench.running import Running, uploading, values_of
from fdetect.bench.training.columns import Columns
from fdetect.classifiers.embedding import is_embedding
from fdetect.classifiers.fused_head import FusedHead, in_all
from fdetect.classifiers.saved import FittedDetector
from fdetect.classifiers.tiles import AGGREGATES, TILES, Tiles, aggregate, tiling
from fdetect.decide import Calibration
from fdetect.engine.loop import Progress
from fdetect.engine.sources import Reader
from fdetect.engine.work import content_id
from fdetect.errors import BackendError, FdetectError, ImageTooLarge, ParameterError, WeightsError
from fdetect.features import ALONE, feature
from fdetect.images import Decoded, decode
from fdetect.perturb import Box, Condition
from fdetect.registry import nearest
from fdetect.types import Failure, Scores, Table

__all__ = [
    "SINGLE", "calibrated_on_tiles", "check_tiles", "columns_of_tiles", "refuse_whole", "score_tiles", "tiles_of",
]  # fmt: skip

SINGLE = "none"  # on the command line: one crop of each picture

_AT_ONCE = 32  # tiles that are computed together
_PHASES = 5  # px by which a stride falls short of a tile, so that tiles come at every phase of the 8-px grid


def score_tiles(
    data: Data, scorer: FittedDetector, how: str, *, condition: str = "", network: str = "", **engine: Any
) -> Scores:
    """Score every picture by all of its tiles, and make one score of theirs: `how` is a name of AGGREGATES.

    A tile that lacks a score is left out; a picture too small for a single crop is a `Failure` as everywhere.  Further
    settings are those of `score`.
    Raises ParameterError for a detector that looks at whole pictures or files, and what `score` raises.
    """
    running, manifest = Running.of(engine), any_images(data)
    check_tiles(how)
    if running.engine != "local":
        raise ParameterError(f"--tiles is computed in this process alone; leave --engine {running.engine} out")
    refuse_whole(scorer.features)
    columns = columns_of_model(scorer, condition=condition, network=network, running=running)
    shown = condition or scorer.condition
    _notice(scorer, how, shown, running)
    ids, values, branches, n_tiles, failures = [], [], [], [], list[Failure]()
    for one in _pictures(manifest, scorer, columns, shown, running):
        ids.append(one.id)
        values.append(aggregate(one.scores(), how) if one.failure is None else np.nan)
        branches.append(one.branches())
        n_tiles.append(len(one.values))
        if not np.isfinite(values[-1]):
            why = one.failure or Failure(one.id, one.path, TILES, "no tile has a score: the columns are not finite")
            failures.append(why)
            if running.notice:
                running.notice(f"{why.path}: {why.stage}: {why.reason}")
    return Scores(
        tuple(ids), tuple(manifest.column("path").to_pylist()), scorer.name, np.array(values, np.float64),
        ((TILES, how),), tuple(failures), tuple(branches) if isinstance(scorer.head, FusedHead) else (), (),
        tuple(n_tiles),
    )  # fmt: skip


def calibrated_on_tiles(scorer: FittedDetector, reals: Table, how: str, running: Running) -> FittedDetector:
    """Return the detector with thresholds set on scores of tiles of these reals, those of fewer branches too."""
    columns, head = columns_of_model(scorer, running=replace(running, notice=None)), scorer.head
    subsets = head.subsets() if isinstance(head, FusedHead) else []
    found: dict[str, list[float]] = {name: [] for name in ("", *subsets)}
    for one in _pictures(reals, scorer, columns, scorer.condition, running):
        for name, scores in found.items():
            if one.failure is None:
                scores.append(aggregate(one.scores(name), how))
    made = {name: Calibration.of(scores) for name, scores in found.items()}
    return replace(scorer, tiles=how, calibration=made.pop(""), subsets=made)


def check_tiles(how: str, calibrate: str = "none") -> None:
    """Raise ParameterError for what a fit would refuse after its work: another aggregate, or probabilities with it."""
    if how and how not in AGGREGATES:
        raise ParameterError(f"--tiles: no way '{how}'{nearest(how, AGGREGATES)} ({', '.join(AGGREGATES)})")
    if how and calibrate != "none":
        raise ParameterError(f"--tiles {how} sets thresholds on tiles, and --calibrate makes probabilities of single "
                             "crops; leave one of them out")  # fmt: skip


def refuse_whole(features: Sequence[str]) -> None:
    """Raise ParameterError for columns that see a whole picture or its file, and not a tile."""
    if whole := [name for name in features if is_embedding(name)]:
        raise ParameterError(f"--tiles: {whole[0]} looks at whole pictures, not at tiles; leave --tiles out")
    if history := [name for name in features if name in feature and feature.get(name).family in ALONE]:
        raise ParameterError(f"--tiles: {history[0]} is of the file, not of a tile; leave --tiles out")


def tiles_of(height: int, width: int, condition: Condition, *, side: int) -> Tiles:
    """Return the tiles of a picture that a condition is applied to, `side` px each.

    Under native they lie on the 8-px grid, as the crop does.  Any other condition crops at any phase of that grid, and
    so do its tiles: they overlap by a few px, so that their phases take turns.
    """
    if condition.is_native:
        return tiling(height, width, size=side)
    return tiling(height, width, size=side, stride=side - _PHASES, grid=1)


def columns_of_tiles(
    image: Decoded, id: str, condition: Condition, scorer: FittedDetector, columns: Columns,
    upload: Callable[[np.ndarray], Any], *, progress: Progress | None = None,
) -> tuple[Tiles, np.ndarray]:  # fmt: skip
    """Return the tiles of a picture and the columns of each, (T, D) float32, NaN where a branch is absent."""
    seed, crop = scorer.seed, scorer.crop
    side = crop if condition.is_native else condition.cut_side(id, seed=seed, crop=crop)
    tiles = tiles_of(image.pixels.shape[0], image.pixels.shape[1], condition, side=side)
    rows = []
    for start in range(0, len(tiles), _AT_ONCE):
        shown, names = [], []
        for top, left, _, _ in tiles.boxes[start : start + _AT_ONCE].tolist():
            box, name = Box(top, left, side), f"{id}/{top}/{left}"  # what is drawn differs from tile to tile
            shown.append(Decoded(box.of(image.pixels), image.facts) if condition.is_native else
                         condition.at(image.pixels, box, name, seed=seed, crop=crop))  # fmt: skip
            names.append(name)
        facts = tuple(one.facts for one in shown)
        rows.append(values_of(columns.tasks, [one.pixels for one in shown], tuple(names), facts, seed, upload))
        if progress:
            progress("tiles", min(start + _AT_ONCE, len(tiles)), len(tiles))
    return tiles, columns.spread(np.concatenate(rows), scorer.head.columns, scorer.about)


@dataclass(frozen=True, eq=False)
class _Picture:
    """The columns of the tiles of a picture, (T, D) as the head reads them; (0, D) with a failure."""

    id: str
    path: str
    head: Any
    values: np.ndarray
    failure: Failure | None = None

    def scores(self, subset: str = "") -> np.ndarray:
        """(T,) float64 scores of the tiles; of some branches of a fused detector alone, where they are named."""
        values = self.head.only(self.values, subset) if subset else self.values
        return np.asarray(self.head.score(values))

    def branches(self) -> str:
        """Return the branches of a fused detector that every tile with a score has, joined by +."""
        if not isinstance(self.head, FusedHead) or not len(self.values):
            return ""
        return in_all(self.head.present(self.values))


def _pictures(
    manifest: Table, scorer: FittedDetector, columns: Columns, shown: str, running: Running
) -> Iterator[_Picture]:
    """Compute the tiles of one picture after the other."""
    condition, paths = perturb.condition(shown), manifest.column("path").to_pylist()
    upload = uploading(running.backend)
    for task in columns.tasks:
        task.prepare()
    with Reader(root_of(manifest)) as reader:
        for k, path in enumerate(paths):
            if running.progress:
                running.progress("pictures by tiles", k, len(paths))
            id, stage = content_id(path.encode("utf-8", "backslashreplace")), "read"
            try:
                data = reader.read(path)
                id, stage = content_id(data), "decode"
                image = decode(data)
                stage = "geometry"
                condition.check_size(image.pixels, scorer.crop)
                stage = TILES
                _, values = columns_of_tiles(image, id, condition, scorer, columns, upload)
                yield _Picture(id, path, scorer.head, values)
            except Exception as error:  # whatever a codec or a feature raises on a picture nobody has seen before
                if isinstance(error, WeightsError | BackendError) and not isinstance(error, ImageTooLarge):
                    raise
                text = str(error) if isinstance(error, FdetectError) else f"{type(error).__name__}: {error}"
                failure = Failure(id, path, stage, " ".join(text.split()))
                yield _Picture(id, path, scorer.head, np.empty((0, len(scorer.head.columns)), np.float32), failure)


def _notice(scorer: FittedDetector, how: str, shown: str, running: Running) -> None:
    if running.notice is None:
        return
    if scorer.tiles != how:
        of_crops = f"means over {scorer.draws} crops" if scorer.draws > 1 else "single crops"
        on = f"tiles by {scorer.tiles}" if scorer.tiles else of_crops
        running.notice(f"the thresholds of {scorer.name} were set on {on}: no p-value and no decision for tiles by "
                       f"{how}; fit it with --tiles {how}")  # fmt: skip
    elif shown != scorer.condition:
        running.notice(f"the thresholds of {scorer.name} were set under {scorer.condition}: no promise under {shown}")
