"""The cross-difference folded into one period, straight from the pixels: integer sums, exact in any order."""

from __future__ import annotations

import numpy as np
from numba import njit

__all__ = ["folded_cross_difference"]


@njit(cache=True, nogil=True)
def folded_cross_difference(rgb8, period):  # type: ignore[no-untyped-def]
    """Sum the cross-difference over all periods: (B, H, W, 3) uint8 -> (B, 3, P, P) int64, rows before columns.

    The H-1 x W-1 differences are cut to whole periods first.
    """
    B, H, W, C = rgb8.shape
    rows, columns = (H - 1) // period * period, (W - 1) // period * period
    result = np.zeros((B, C, period, period), np.int64)
    n = columns * C
    for k in range(B):
        image = np.ascontiguousarray(rgb8[k]).reshape(H, W * C)
        sums = np.zeros((period, n), np.uint32)  # by row of the period; colours stay interleaved, as in memory
        for y in range(rows):
            here, right = image[y, :n], image[y, C : C + n]
            below, both = image[y + 1, :n], image[y + 1, C : C + n]
            total = sums[y % period]
            for x in range(n):
                same, other = np.int32(here[x]) + np.int32(both[x]), np.int32(right[x]) + np.int32(below[x])
                total[x] += np.uint32(abs(same - other))
        for j in range(period):
            for x in range(columns):
                for c in range(C):
                    result[k, c, j, x % period] += sums[j, x * C + c]
    return result
