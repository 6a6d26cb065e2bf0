"""Where in an image the evidence lies: the detector's score of every tile, at any resolution."""

from __future__ import annotations

import numpy as np

from fdetect import perturb
from fdetect.bench.inspecting.inspection import TileScores
from fdetect.bench.inspecting.references import References
from fdetect.bench.inspecting.views import CROP
from fdetect.bench.running import Running, uploading
from fdetect.bench.tiled import columns_of_tiles
from fdetect.bench.training.columns import Columns
from fdetect.classifiers.fused_head import FusedHead, in_all
from fdetect.classifiers.saved import FittedDetector
from fdetect.images import Decoded

__all__ = ["LEVEL", "scores_of_tiles"]

LEVEL = 0.05  # a tile stands out where at most this share of reference crops scores as high


def scores_of_tiles(
    image: Decoded, id: str, detector: FittedDetector, columns: Columns, references: References | None, running: Running
) -> TileScores:  # fmt: skip
    """Score every tile of an image under the detector's condition; every pixel lies in at least one.

    Each is held against single crops of reference photographs, that rest on the same branches of the detector.
    Raises DataError for an image that is too small for a single crop.
    """
    condition = perturb.condition(detector.condition)
    condition.check_size(image.pixels, detector.crop)
    tiles, values = columns_of_tiles(image, id, condition, detector, columns, uploading(running.backend),
                                     progress=running.progress)  # fmt: skip
    scores = np.asarray(detector.head.score(values), np.float64)
    head = detector.head
    rests_on = in_all(head.present(values)) if isinstance(head, FusedHead) else ""
    standings = [references.standing(CROP, one, rests_on) if references else None for one in scores]
    high = np.array([one.high if one else np.nan for one in standings])
    return TileScores(tiles.height, tiles.width, tiles.boxes, scores, high, _sentence(high))


def _sentence(high: np.ndarray) -> str:
    """Say how many tiles stand out, and how many of a photograph would."""
    n, known = len(high), np.isfinite(high)
    of = f"{n} tile{'s' * (n != 1)}"
    if not known.any():
        return f"{of}; no reference photographs are at hand that they could be held against."
    above = int((high[known] <= LEVEL).sum())
    verb = "stands" if above == 1 else "stand"
    return (f"{above} of {of} {verb} out, higher than 95 of 100 crops of reference photographs; of a photograph about "
            f"{LEVEL * n:.1f} would.")  # fmt: skip
