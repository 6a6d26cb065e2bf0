"""Sums of a half-plane spectrum over rings: one pass, no weights or indices written."""

from __future__ import annotations

import numpy as np
from numba import njit

__all__ = ["ring_sums"]


@njit(cache=True, nogil=True)
def ring_sums(values, ring, copies, count):  # type: ignore[no-untyped-def]
    """Sum by ring: (B, H, V) float32, (H, V) int32 rings, (V,) float64 copies of a column -> (B, count) float64.

    Rows of opposite frequency have the same rings, so they are added first.  Neighbours often share a ring, and a sum
    would wait for itself: four sets of sums take turns, always in one order.
    """
    B, H, V = values.shape
    result = np.empty((B, count), np.float64)
    sums, both = np.empty((4, count), np.float64), np.empty(V, np.float64)
    whole = V // 4 * 4
    for k in range(B):
        sums[:] = 0.0
        for y in range(H // 2 + 1):
            row, rings, other = values[k, y], ring[y], values[k, (H - y) % H]
            if y == (H - y) % H:
                for x in range(V):
                    both[x] = row[x] * copies[x]
            else:
                for x in range(V):
                    both[x] = (np.float64(row[x]) + np.float64(other[x])) * copies[x]
            for x in range(0, whole, 4):
                sums[0, rings[x]] += both[x]
                sums[1, rings[x + 1]] += both[x + 1]
                sums[2, rings[x + 2]] += both[x + 2]
                sums[3, rings[x + 3]] += both[x + 3]
            for x in range(whole, V):
                sums[0, rings[x]] += both[x]
        for r in range(count):
            result[k, r] = (sums[0, r] + sums[1, r]) + (sums[2, r] + sums[3, r])
    return result
