"""Twin of the cross-difference folded into one period: whole sums, exact in any order."""

from __future__ import annotations

from fdetect.errors import ParameterError
from fdetect.forensics._gpu import launch
from fdetect.types import Array

__all__ = ["folded_cross_difference"]

_PERIOD = 1024  # the longest one, as in harmonics.cu


def folded_cross_difference(rgb8: Array, period: int) -> Array:
    """Sum the cross-difference over all periods: (B, H, W, 3) uint8 -> (B, 3, P, P) int64, rows before columns.

    The H-1 x W-1 differences are cut to whole periods first.
    """
    if period > _PERIOD:
        raise ParameterError(f"folded_cross_difference: a period of at most {_PERIOD} on the GPU, got {period}")
    xp = launch.arrays()
    B, H, W, _ = rgb8.shape
    sums = xp.zeros((B, 3, period, period), xp.int64)
    grid = launch.spread(W - 1, B, 3 * period), B, 3 * period
    launch.run("harmonics", "folded_cross_difference", grid, launch.whole(rgb8), period, H, W, sums)
    return sums
