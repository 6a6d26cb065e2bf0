"""Concordant pairs of every class against several, as a Numba kernel: one pass over the images of a weighting."""

from __future__ import annotations

import numpy as np
from numba import njit

__all__ = ["concordant"]


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def concordant(weight: np.ndarray, kind: np.ndarray, ends: np.ndarray, n_kinds: int, n_columns: int) -> np.ndarray:
    """(N, B) weights by rising score, (N,) kinds 0..K-1, True where a tie ends -> (K, S, B) weight of the pairs.

    A pair of kinds (a, s) counts where the image of kind a scores above that of kind s < S, and half in a tie; where
    a = s, an image is also paired with itself.
    """
    n, n_weightings = weight.shape
    right, below = np.zeros((n_kinds, n_columns, n_weightings)), np.zeros((n_columns, n_weightings))
    start = 0
    for k in range(n):
        if not ends[k]:
            continue
        for i in range(start, k + 1):  # a tie counts half: one half of it lies below ...
            if kind[i] < n_columns:
                for b in range(n_weightings):
                    below[kind[i], b] += weight[i, b] / 2.0
        for i in range(start, k + 1):
            for s in range(n_columns):
                for b in range(n_weightings):
                    right[kind[i], s, b] += weight[i, b] * below[s, b]
        for i in range(start, k + 1):  # ... and all of it, once the walk is past
            if kind[i] < n_columns:
                for b in range(n_weightings):
                    below[kind[i], b] += weight[i, b] / 2.0
        start = k + 1
    return right
