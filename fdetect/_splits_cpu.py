"""The two greedy passes of fdetect/splits.py as Numba kernels: one group after the other, in integers alone."""

from __future__ import annotations

import numpy as np
from numba import njit

__all__ = ["folded", "held_out"]

_LOW = 0xFFFFFFFF  # a sum over strata may pass 64 bits: it is kept in two halves, the lower one below 2^32


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def folded(
    order: np.ndarray, start: np.ndarray, stratum: np.ndarray, images: np.ndarray, importance: np.ndarray, n_folds: int
) -> np.ndarray:
    """(G,) groups in the order they are taken, (G + 1,) where the entries (stratum, images) of each begin -> (G,) fold.

    A group without entries stays in fold 0.  Each term is below 2^60, since load and images are of one stratum.
    """
    fold = np.zeros(len(order), np.int64)
    load, total = np.zeros((n_folds, len(importance)), np.int64), np.zeros(n_folds, np.int64)
    for group in order:
        best, best_high, best_low = -1, 0, 0
        for k in range(n_folds):
            high, low = 0, 0
            for i in range(start[group], start[group + 1]):
                term = importance[stratum[i]] * load[k, stratum[i]] * images[i]
                high, low = high + (term >> 32), low + (term & _LOW)
            high, low = high + (low >> 32), low & _LOW
            if best < 0 or (high, low, total[k]) < (best_high, best_low, total[best]):
                best, best_high, best_low = k, high, low
        fold[group] = best
        for i in range(start[group], start[group + 1]):
            load[best, stratum[i]] += images[i]
            total[best] += images[i]
    return fold


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def held_out(
    start: np.ndarray, stratum: np.ndarray, images: np.ndarray, importance: np.ndarray, target: np.ndarray
) -> np.ndarray:
    """(G + 1,) where the entries (stratum, images) of each group begin, (S,) targets -> (G,) bool, taken in order.

    Each term is within 2^62 of zero.
    """
    chosen, held = np.zeros(len(start) - 1, np.bool_), np.zeros(len(importance), np.int64)
    for group in range(len(chosen)):
        high, low = 0, 0
        for i in range(start[group], start[group + 1]):
            s = stratum[i]
            term = importance[s] * images[i] * (2 * (held[s] - target[s]) + images[i])
            high, low = high + (term >> 32), low + (term & _LOW)
        if high + (low >> 32) < 0:
            chosen[group] = True
            for i in range(start[group], start[group + 1]):
                held[stratum[i]] += images[i]
    return chosen
