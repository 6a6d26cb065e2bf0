"""Twins of the residuals that go straight to statistics: no residual map is written."""

from __future__ import annotations

import functools

import numpy as np

from fdetect.errors import ParameterError
from fdetect.forensics._gpu import launch
from fdetect.forensics.residual import Kernel
from fdetect.types import Array

__all__ = ["residual_counts", "residual_moments"]

_TUPLES = 625  # 5^4: four neighbours of five levels
_TILE_Y, _TILE_X = 16, 64  # as in residual.cu
_SIDE, _TAPS = 5, 128  # the largest mask, and the taps of all directions of one class


def residual_counts(images: Array, kernel: Kernel, edges: tuple[int, ...], units: int) -> Array:
    """Count the 4-tuples of quantised residuals, right and down, pooled over the directions of a class.

    (B, H, W) float32 -> (B, 625) int64; `edges` are the four integer thresholds of the five levels, in 1/(units x
    divisor) grey levels: the level of r is how many of them it reaches.
    """
    xp = launch.arrays()
    B, H, W = images.shape
    taps, starts = (launch.constant(part, np.int32) for part in _taps((kernel,))[:2])
    counts = xp.zeros((B, _TUPLES), xp.int64)
    grid = launch.spread(_tiles(H, W, kernel.side) * launch.THREADS, B), B
    launch.run(
        *("residual", "residual_counts", grid, launch.whole(images), taps, starts, len(kernel.masks), kernel.side),
        *(launch.constant(edges, np.int32), np.float32(units), H, W, counts),
    )
    return counts


def residual_moments(images: Array, kernels: tuple[Kernel, ...], units: int) -> Array:
    """Sum |R| and R^2 of every direction of some classes, in grey levels: (B, H, W) float32 -> (B, D, 2) float64."""
    xp = launch.arrays()
    B, H, W = images.shape
    taps, starts, sides, divisors = _taps(kernels)
    D = len(sides)
    sums = xp.zeros((B, D, 3), xp.int64)
    grid = launch.spread(_tiles(H, W, int(sides.min())) * launch.THREADS, B, D), B, D
    tables = (launch.constant(part, np.int32) for part in (taps, starts, sides))
    launch.run("residual", "residual_moments", grid, launch.whole(images), *tables, np.float32(units), H, W, sums)
    scale = launch.constant(divisors, np.float64) * units
    squares = sums[..., 2].astype(xp.float64) * 2.0**32 + sums[..., 1].astype(xp.float64)
    return xp.stack([sums[..., 0].astype(xp.float64) / scale, squares / scale**2], axis=-1)


def _tiles(height: int, width: int, side: int) -> int:
    return max(-(-(height - side + 1) // _TILE_Y), 0) * max(-(-(width - side + 1) // _TILE_X), 0)


@functools.lru_cache(maxsize=64)
def _taps(kernels: tuple[Kernel, ...]) -> tuple[np.ndarray, ...]:
    """Return (row, column, coefficient) of all taps, where each direction starts, its side and its divisor."""
    taps, starts, sides, divisors = [], [0], [], []
    for kernel in kernels:
        for mask in kernel.masks:
            taps += [(i, j, int(mask[i, j])) for i, j in np.argwhere(mask).tolist()]
            starts.append(len(taps))
            sides.append(kernel.side)
            divisors.append(kernel.divisor)
        if kernel.side > _SIDE or sum(map(np.count_nonzero, kernel.masks)) > _TAPS:
            raise ParameterError(f"residuals on the GPU have masks of at most {_SIDE} x {_SIDE}, {_TAPS} taps a class")
    return np.array(taps), np.array(starts), np.array(sides), np.array(divisors, np.float64)
