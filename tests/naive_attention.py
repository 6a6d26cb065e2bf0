"""Slow, plain float64 references of CBAM, of the perceptron's cell statistics and of a low-rank layer."""

from __future__ import annotations

import math

import numpy as np


def logistic(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def cbam(features: np.ndarray, squeeze: np.ndarray, widen: np.ndarray, place: np.ndarray) -> np.ndarray:
    """(C, H, W), (C / r, C), (C, C / r), (2, k, k) -> (C, H, W)."""
    channels, height, width = features.shape
    total = np.zeros(channels)
    for summary in (np.array([f.mean() for f in features]), np.array([f.max() for f in features])):
        hidden = [max(0.0, float(row @ summary)) for row in squeeze]
        total += np.array([float(row @ hidden) for row in widen])
    weighted = np.stack([logistic(total[c]) * features[c] for c in range(channels)])
    views = np.stack([weighted.mean(0), weighted.max(0)])
    taps = place.shape[-1]
    out = np.zeros_like(weighted)
    for i in range(height):
        for j in range(width):
            found = 0.0
            for v in range(2):
                for a in range(taps):
                    for b in range(taps):
                        y, x = i + a - taps // 2, j + b - taps // 2
                        if 0 <= y < height and 0 <= x < width:
                            found += place[v, a, b] * views[v, y, x]
            out[:, i, j] = logistic(found) * weighted[:, i, j]
    return out


def cell_statistics(image: np.ndarray, grid: int) -> np.ndarray:
    """(3, H, W) RGB 0..1 -> (9, grid, grid); a cell of n numbers is floor(k n / grid) .. ceil((k + 1) n / grid)."""

    def cells(plane: np.ndarray) -> np.ndarray:
        out = np.zeros((grid, grid))
        for i in range(grid):
            for j in range(grid):
                (top, bottom), (left, right) = (
                    (k * n // grid, -(-(k + 1) * n // grid)) for k, n in zip((i, j), plane.shape, strict=True)
                )
                out[i, j] = plane[top:bottom, left:right].mean()
        return out

    means = [(cells(plane) - 0.5) / 0.25 for plane in image]
    rows = [np.log(cells(np.abs(plane[:, 1:] - plane[:, :-1])) + 1 / 255) + 4 for plane in image]
    columns = [np.log(cells(np.abs(plane[1:] - plane[:-1])) + 1 / 255) + 4 for plane in image]
    return np.stack([*means, *rows, *columns])


def low_rank(
    x: np.ndarray, weight: np.ndarray, bias: np.ndarray, down: np.ndarray, up: np.ndarray, alpha: float
) -> np.ndarray:
    """One row x (inputs,) -> (outputs,), the change of the weight written out."""
    changed = np.array(weight)
    for o in range(weight.shape[0]):
        for i in range(weight.shape[1]):
            changed[o, i] += alpha / len(down) * sum(up[o, r] * down[r, i] for r in range(len(down)))
    return changed @ x + bias
