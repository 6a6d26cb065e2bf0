"""Where in an image the evidence lies: the detector's score of every tile, at any resolution."""

from __future__ import annotations

import numpy as np

from fdetect import perturb
from fdetect.bench.inspecting.inspection import TileScores
from fdetect.bench.inspecting.judging import FLAG
from fdetect.bench.inspecting.placing import CONTENT
from fdetect.bench.inspecting.references import References
from fdetect.bench.inspecting.views import CROP, DIGITS
from fdetect.bench.running import Running, uploading
from fdetect.bench.tiled import columns_of_tiles
from fdetect.bench.training.columns import Columns
from fdetect.classifiers.fused_head import FusedHead
from fdetect.classifiers.saved import FittedDetector
from fdetect.images import Decoded

__all__ = ["no_tiles", "scores_of_tiles"]


def scores_of_tiles(
    image: Decoded, detector: FittedDetector, columns: Columns, references: References | None, running: Running
) -> TileScores:
    """Score every tile of an image under the detector's condition; every pixel lies in at least one.

    Each is held against single crops of reference photographs, that rest on the same branches of the detector.
    Raises DataError for an image that is too small for a single crop.
    """
    condition = perturb.condition(detector.condition)
    condition.check_size(image.pixels, detector.crop)
    tiles, values = columns_of_tiles(image, CONTENT, condition, detector, columns, uploading(running.backend),
                                     progress=running.progress)  # fmt: skip
    scores = np.round(np.asarray(detector.head.score(values), np.float64), DIGITS)
    head = detector.head
    rests_on = head.present(values) if isinstance(head, FusedHead) else ("",) * len(scores)
    standings = [references.standing(CROP, one, branches) if references else None
                 for one, branches in zip(scores, rests_on, strict=True)]  # fmt: skip
    high = np.array([one.high if one else np.nan for one in standings])
    return TileScores(tiles.height, tiles.width, tiles.boxes, scores, high, _sentence(high))


def no_tiles(image: Decoded, reason: str) -> TileScores:
    """Return what stands for the tiles of an image that could not be scored by tiles, with why."""
    height, width = image.pixels.shape[:2]
    return TileScores(height, width, np.empty((0, 4), np.int64), np.empty(0), np.empty(0), "", reason)


def _sentence(high: np.ndarray) -> str:
    """Say how many tiles stand out, those that at most FLAG of reference crops score as high as, and how many would."""
    known = high[np.isfinite(high)]
    n, lost = len(known), len(high) - len(known)
    if not n:
        tiles = "1 tile" if lost == 1 else f"{lost} tiles"
        return f"{tiles}; nothing is at hand that {'it' if lost == 1 else 'they'} could be held against."
    above = int((known <= FLAG).sum())
    verb, of = "stands" if above <= 1 else "stand", f"{n} tile{'s' * (n != 1)}"
    left = f"; {lost} more could not be held against them" if lost else ""
    return (f"{above or 'None'} of {of} {verb} out, with a score that at most "
            f"{100 * FLAG:.0f} of 100 crops of reference photographs reach; of a photograph about {FLAG * n:.1f} "
            f"would by chance{left}.")  # fmt: skip
