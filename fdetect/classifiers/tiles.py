"""Any resolution by tiles: where they lie, how their logits become one, and the map that they draw.  NumPy alone.

    tiles = tiling(height, width, size=224)
    logits = network(tiles.cut(rgb))                                       (T,)
    score  = aggregate(logits, "attention")                                one number
    map    = tiles.spread(logits)                                          (H, W)

Every pixel lies in at least one tile.  Tiles begin at multiples of the stride; the last of a row or column is flush
with the border, and so it alone may begin off the 8-px grid of an earlier JPEG.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from fdetect.errors import DataError, ParameterError
from fdetect.registry import nearest

__all__ = ["AGGREGATES", "TILES", "Tiles", "aggregate", "tile_weights", "tiling"]

AGGREGATES = ("mean", "max", "attention")
TILES = "tiles"  # in `settings` of scores: how they were made of tiles


@dataclass(frozen=True, eq=False)
class Tiles:
    """T tiles of one size in a picture of height x width px: `boxes` is (T, 4) int64, top, left, bottom, right.

    Row by row; bottom and right are the first px outside.
    """

    height: int
    width: int
    boxes: np.ndarray

    def __len__(self) -> int:
        return len(self.boxes)

    def cut(self, picture: np.ndarray) -> np.ndarray:
        """(H, W, ...) -> (T, h, w, ...), a copy; raises DataError for a picture of another size."""
        if picture.shape[:2] != (self.height, self.width):
            raise DataError(f"tiles are of a picture of {self.width} x {self.height} px, got an array {picture.shape}")
        return np.stack([picture[top:bottom, left:right] for top, left, bottom, right in self.boxes])

    def spread(self, values: np.ndarray) -> np.ndarray:
        """(T,) -> (H, W) float64, the mean over the tiles in which a pixel lies; tiles of NaN are left out.

        NaN where all of a pixel's tiles are.  Raises DataError for another number of values.
        """
        values = _checked(values)
        if len(values) != len(self):
            raise DataError(f"{len(self)} tiles but {len(values)} values")
        total, count = np.zeros((self.height, self.width)), np.zeros((self.height, self.width))
        for (top, left, bottom, right), value in zip(self.boxes, values, strict=True):
            if not math.isnan(value):
                total[top:bottom, left:right] += value
                count[top:bottom, left:right] += 1
        return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def tiling(height: int, width: int, *, size: int, stride: int = 0, grid: int = 8) -> Tiles:
    """Cover a picture with square tiles of `size` px whose starts are `stride` px apart (0: `size`, side by side).

    The stride becomes the next lower multiple of `grid` px where there is one, so that tiles begin on that grid.  Where
    a side of the picture is shorter than a tile, tiles are as long as that side; nothing is padded.
    Raises ParameterError for a size below 1, a stride beyond the size, which would leave gaps, or a grid below 1.
    """
    stride = stride or size
    if min(height, width) < 1:
        raise DataError(f"a picture of {width} x {height} px has no tiles")
    if size < 1 or grid < 1 or not 1 <= stride <= size:
        raise ParameterError(f"tiles take a size and a grid of at least 1 px and a stride from 1 to the size; got size "
                             f"{size}, stride {stride}, grid {grid}")  # fmt: skip
    stride = stride // grid * grid or stride
    tall, wide = min(size, height), min(size, width)
    starts = [(top, left) for top in _starts(height, tall, stride) for left in _starts(width, wide, stride)]
    boxes = np.array([(top, left, top + tall, left + wide) for top, left in starts], np.int64)
    return Tiles(height, width, boxes)


def aggregate(logits: np.ndarray, how: str = "mean", *, temperature: float = 1.0) -> float:
    """(T,) logits of tiles -> the logit of the picture: sum of w_t l_t with the weights of `tile_weights`.

    NaN where every tile is.
    """
    logits = _checked(logits)
    weights = tile_weights(logits, how, temperature=temperature)
    return float((weights * np.where(weights > 0, logits, 0.0)).sum()) if weights.any() else math.nan


def tile_weights(logits: np.ndarray, how: str = "mean", *, temperature: float = 1.0) -> np.ndarray:
    """(T,) logits -> (T,) float64 weights that sum to 1; 0 for tiles of NaN, and 0 throughout where all are.

    mean       1 / T
    max        1 for the tile with the largest logit, of equal ones the first
    attention  exp(l_t / temperature) / sum of these: near max for a small temperature, near mean for a large one

    Raises ParameterError for another name or a temperature that is not above 0.
    """
    if how not in AGGREGATES:
        raise ParameterError(f"no way '{how}' to aggregate tiles{nearest(how, AGGREGATES)} ({', '.join(AGGREGATES)})")
    if not (math.isfinite(temperature) and temperature > 0):
        raise ParameterError(f"the temperature of attention must be above 0, got {temperature!r}")
    logits = _checked(logits)
    known = ~np.isnan(logits)
    if not known.any():
        return np.zeros(len(logits))
    if how == "mean":
        return np.asarray(known / known.sum())
    below = np.where(known, logits, -np.inf) - logits[known].max()
    if how == "max":
        return np.asarray(np.arange(len(logits)) == below.argmax(), np.float64)
    share = np.exp(below / temperature)
    return np.asarray(share / share.sum())


def _checked(values: np.ndarray) -> np.ndarray:
    values = np.asarray(values, np.float64)
    if values.ndim != 1 or not len(values) or np.isinf(values).any():
        raise DataError(f"one finite or missing value for each tile is needed, at least one; got an array "
                        f"{values.shape}")  # fmt: skip
    return values


def _starts(length: int, size: int, stride: int) -> list[int]:
    """Where tiles begin along a side: multiples of the stride, and the place that is flush with its end."""
    return [*range(0, length - size, stride), length - size]
