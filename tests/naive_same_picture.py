"""The distance of two grey pictures of one size by plain sums, in float64, from its formula alone."""

from __future__ import annotations

import math

import numpy as np


def distance(picture: np.ndarray, thumbnail: np.ndarray) -> float:
    """Both (H, W); smoothed, shifted, tones fitted by a cubic, then the worst square window."""
    m, t = smoothed(picture), smoothed(thumbnail)
    height, width = t.shape
    target = t[2 : height - 2, 2 : width - 2]
    shifts = [m[2 + i : height - 2 + i, 2 + j : width - 2 + j] for i in range(-2, 3) for j in range(-2, 3)]
    laid = max(shifts, key=lambda one: float(np.corrcoef(one.ravel(), target.ravel())[0, 1]))
    x, y = laid.ravel() / 255, target.ravel() / 255
    used = np.full(x.size, True)
    for _ in range(2):
        cubic = np.polynomial.Polynomial.fit(x[used], y[used], 3)
        left = np.abs(np.minimum(np.maximum(cubic(x), 0), 1) - y)
        used = left <= np.quantile(left, 0.8)
    square = (left**2).reshape(target.shape)
    side = max(round(0.25 * min(target.shape)), 3)
    windows = [
        square[i : i + side, j : j + side].sum() / side**2
        for i in range(target.shape[0] - side + 1)
        for j in range(target.shape[1] - side + 1)
    ]
    return math.sqrt(max(windows)) / float(y.std())


def smoothed(values: np.ndarray) -> np.ndarray:
    """A Gaussian of 2 px, cut at 8 px, the picture mirrored at its edges with the edge repeated."""
    weights = np.array([math.exp(-(k**2) / 8) for k in range(-8, 9)])
    weights /= weights.sum()
    padded = np.pad(values.astype(np.float64), 8, mode="symmetric")
    rows = sum(weight * padded[k : k + values.shape[0]] for k, weight in enumerate(weights))
    return sum(weight * rows[:, k : k + values.shape[1]] for k, weight in enumerate(weights))
