"""Pictures of 64 px: means over cells of photographs and of dead leaves.  No torch here.

A square of 64 k px is cut and every cell of k x k pixels becomes its mean, rounded once.  With a whole k every pixel of
the result is made alike, so that the resampling leaves no pattern of its own, and what an earlier JPEG did to cells of
8 x 8 is mostly averaged away.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from fdetect.errors import DataError, ParameterError
from fdetect.nets.noise.base import SIDE
from fdetect.nets.own.data import Crops, cut_images
from fdetect.nets.own.textures import texture_pictures
from fdetect.perturb import rng_for

__all__ = ["cell_means", "small_leaves", "small_photographs", "squares"]

_LEAVES = 256  # px of a dead-leaves picture before it is averaged


def cell_means(pixels: np.ndarray, k: int) -> np.ndarray:
    """Return the mean of every cell of k x k pixels, rounded: (k h, k w, 3) uint8 -> (h, w, 3) uint8."""
    height, width = (side // k for side in pixels.shape[:2])
    means = pixels.reshape(height, k, width, k, 3).mean(axis=(1, 3))
    return np.asarray(np.rint(means).astype(np.uint8))


def squares(image: np.ndarray, count: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Cut squares at any place and average them: (H, W, 3) uint8 -> `count` of (64, 64, 3) uint8.

    k is drawn evenly from half of the largest that fits (rounded up, at least 2) to the largest: most of the scene
    stays in sight.  Raises DataError where a side is below 128 px, which leaves nothing to average.
    """
    height, width = image.shape[:2]
    most = min(height, width) // SIDE
    if most < 2:
        raise DataError(f"{width} x {height} px are too few for the mean of cells; sides of at least {2 * SIDE} px are "
                        "needed")  # fmt: skip
    found = []
    for k in rng.integers(max(2, -(-most // 2)), most + 1, count):
        row, column = rng.integers(0, height - k * SIDE + 1), rng.integers(0, width - k * SIDE + 1)
        found.append(cell_means(image[row : row + k * SIDE, column : column + k * SIDE], int(k)))
    return found


def small_photographs(paths: Iterable[str], *, root: str | Path = ".", per_image: int = 8, seed: int = 0) -> Crops:
    """Make pictures of 64 px from photographs, `per_image` of each: see `Crops`; the places come from the content.

    One content under two paths is taken once; an image that cannot be read, decoded or cut is a `Failure`.  Raises
    ParameterError for a number below 1, DataError where no image gives a picture.
    """
    if per_image < 1:
        raise ParameterError(f"per_image is at least 1, got {per_image}")
    given = list(paths)
    found, failures = cut_images(
        given, root, lambda image, id: squares(image, per_image, rng_for(seed, id, "small-photographs"))
    )
    if not found:
        why = f": {failures[0].path}: {failures[0].reason}" if failures else ""
        raise DataError(f"none of {len(given)} images gives a picture of {SIDE} px{why}; give images that can be read "
                        f"and have sides of at least {2 * SIDE} px")  # fmt: skip
    return Crops.of(found, failures)


def small_leaves(count: int, *, per_image: int = 1, seed: int = 0) -> Crops:
    """Draw `count` dead-leaves pictures of 256 px and make `per_image` pictures of 64 px from each: see `Crops`.

    Raises ParameterError for a number below 1.
    """
    if min(count, per_image) < 1:
        raise ParameterError(f"count and per_image are at least 1, got {count} and {per_image}")
    leaves = texture_pictures(count, side=_LEAVES, seed=seed)
    found = [squares(leaves[k], per_image, rng_for(seed, str(k), "small-leaves")) for k in range(count)]
    ids = tuple(f"dead-leaves/{seed}/{k}" for k in range(count) for _ in range(per_image))
    return Crops(np.concatenate([np.stack(cut) for cut in found]), ids)
