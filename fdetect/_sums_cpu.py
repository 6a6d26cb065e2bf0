"""Weights and their sums as Numba kernels: image after image, for all weightings of it at once."""

from __future__ import annotations

import numpy as np
from numba import njit

__all__ = ["drawn", "sums"]


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def sums(weight: np.ndarray, place: np.ndarray, value: np.ndarray, out: np.ndarray) -> None:
    """(N, B) weights, (N,) int rows of `out`, (N,) values: add weight x value of every image to its row of (n, B)."""
    for k in range(len(place)):
        row, total, times = weight[k], out[place[k]], value[k]
        for b in range(len(row)):
            total[b] += row[b] * times


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def drawn(counts: np.ndarray, group: np.ndarray, out: np.ndarray) -> None:
    """(G, B) counts, (N,) int groups: write how often each image was drawn into (N, B) float64."""
    for k in range(len(group)):
        row, to = counts[group[k]], out[k]
        for b in range(len(to)):
            to[b] = row[b]
