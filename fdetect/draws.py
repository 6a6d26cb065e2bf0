"""Draws of a condition: the same chain again, on another crop of each picture and with all else that it draws.

    matched                    draw 0: the condition as it is read from its name
    matched/1, matched/2, ...  further draws

What one crop says of a picture is noisy; a head learns from several draws, and scores by the mean over them.  A draw
belongs to the picture's content, as everything drawn does.  Draws of an augmentation (augment.py) and of a pair
(pairs.py) are numbered in the same way; there every draw is one of its kind, and none is what a condition is.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np

from fdetect.images import Decoded
from fdetect.perturb import Box, Condition, rng_for

__all__ = ["Drawn", "drawn", "drawn_names", "mean_of_draws", "on_grid"]

_GRID = 8  # px: the blocks of a JPEG, as in fdetect/geometry.py


@dataclass(frozen=True)
class Drawn(Condition):
    """Draw number `draw` (1, 2, ...) of a condition: crop, scale, noise as if the picture's content were another.

    Natively the crop lies at another place on the 8-px grid: the picture is cut around that place, to the largest part
    that has it in its centre, from where a geometry takes what it shows.  Pixels and facts are as stored.
    """

    draw: int = 1

    def __call__(self, image: Decoded, content: str, *, seed: int, crop: int) -> Decoded:
        """Apply to one image; raises DataError where a side does not exceed the window by MARGIN px."""
        mine = f"{content}/{self.draw}"
        shown = super().__call__(image, mine, seed=seed, crop=crop)
        if not self.is_native:
            return shown
        place = on_grid(shown.pixels.shape, crop, rng_for(seed, mine, "crop"))
        return replace(shown, pixels=_around(shown.pixels, place))

    def check_size(self, pixels: np.ndarray, crop: int) -> None:
        """Raise DataError as the condition does: a picture that is too small has one reason, not one for each draw."""
        Condition(self.name.removesuffix(f"/{self.draw}"), self.steps, self.rescaled).check_size(pixels, crop)


def drawn(condition: Condition, draw: int) -> Condition:
    """Return a draw of a condition that was read from its name; number 0 is the condition itself."""
    if not draw:
        return condition
    same = {one.name: getattr(condition, one.name) for one in fields(Condition)}
    return Drawn(**{**same, "name": drawn_names(condition.name, draw + 1)[draw]}, draw=draw)


def drawn_names(condition: str, n: int) -> tuple[str, ...]:
    """Return what the first n draws of a condition are called."""
    return tuple(f"{condition}/{k}" if k else condition for k in range(n))


def mean_of_draws(scores: np.ndarray) -> np.ndarray:
    """(K, N) float64 -> (N,): the mean over the draws that have a finite score, NaN where none has."""
    there = np.isfinite(scores)
    total, n = np.where(there, scores, 0.0).sum(axis=0), there.sum(axis=0)
    return np.asarray(np.divide(total, n, out=np.full(len(total), np.nan), where=n > 0))


def on_grid(shape: tuple[int, ...], side: int, rng: np.random.Generator) -> Box:
    """Draw a place on the 8-px grid of a picture of this shape."""
    places = [(length - side) // _GRID + 1 for length in shape[:2]]
    top, left = (int(u * n) * _GRID for u, n in zip(rng.random(2), places, strict=True))
    return Box(top, left, side)


def _around(pixels: np.ndarray, box: Box) -> np.ndarray:
    """Cut (H, W, 3) pixels so that an aligned crop of `box.side` px from the centre is the box; a view."""
    cut = []
    for start, length in zip((box.top, box.left), pixels.shape, strict=False):
        room = min(start, length - start - box.side) // _GRID * _GRID
        cut.append(slice(start - room, start + box.side + room))
    return pixels[cut[0], cut[1]]
