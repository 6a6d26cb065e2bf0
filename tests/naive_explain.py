"""Explanations and their measures as plain float64 loops; imports nothing from fdetect."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np


def grad_cam(features: np.ndarray, slope: np.ndarray) -> np.ndarray:
    """(C, h, w) activations and gradients -> (h, w)."""
    channels, height, width = features.shape
    cells = np.zeros((height, width))
    for k in range(channels):
        mean = sum(slope[k, i, j] for i in range(height) for j in range(width)) / (height * width)
        cells += mean * features[k]
    return np.maximum(cells, 0)


def grad_cam_plus_plus(features: np.ndarray, slope: np.ndarray) -> np.ndarray:
    """(C, h, w) activations and gradients -> (h, w)."""
    channels, height, width = features.shape
    cells = np.zeros((height, width))
    for k in range(channels):
        cubes = sum(features[k, i, j] * slope[k, i, j] ** 3 for i in range(height) for j in range(width))
        weight = 0.0
        for i in range(height):
            for j in range(width):
                g = slope[k, i, j]
                below = 2 * g**2 + cubes
                if below != 0 and g > 0:
                    weight += g**2 / below * g
        cells += weight * features[k]
    return np.maximum(cells, 0)


def score_cam(
    image: np.ndarray, features: np.ndarray, logit: Callable[[np.ndarray], float], first: float, step: float, count: int
) -> np.ndarray:
    """(3, H, W), (C, h, w) and a network -> (h, w) of the `count` channels that vary most."""
    variance = [float(np.mean((maps - maps.mean()) ** 2)) for maps in features]
    chosen = sorted(range(len(features)), key=lambda k: -variance[k])[:count]
    chosen = [k for k in chosen if np.ptp(features[k]) > 1e-12]
    nothing = logit(np.zeros_like(image))
    scores = []
    for k in chosen:
        mask = spread(features[k], first, step, *image.shape[1:])
        mask = (mask - mask.min()) / (mask.max() - mask.min())
        scores.append(logit(image * mask) - nothing)
    powers = [math.exp(score - max(scores)) for score in scores]
    cells = sum(power / sum(powers) * features[k] for power, k in zip(powers, chosen, strict=True))
    return np.maximum(cells, 0)


def eigen_cam(features: np.ndarray) -> np.ndarray:
    """(C, h, w) -> (h, w), by the eigenvectors of the channels' products."""
    channels, height, width = features.shape
    flat = features.reshape(channels, -1).T
    products = np.zeros((channels, channels))
    for row in flat:
        products += np.outer(row, row)
    _, vectors = np.linalg.eigh(products)
    cells = flat @ vectors[:, -1]
    return np.maximum(cells * (1 if cells.sum() >= 0 else -1), 0).reshape(height, width)


def spread(cells: np.ndarray, first: float, step: float, height: int, width: int) -> np.ndarray:
    """(h, w) -> (H, W), bilinear between centres first + step k, the outermost repeated beyond."""
    out = np.zeros((height, width))
    for y in range(height):
        for x in range(width):
            out[y, x] = _between(cells, (y - first) / step, (x - first) / step)
    return out


def _between(cells: np.ndarray, row: float, column: float) -> float:
    row = min(max(row, 0.0), cells.shape[0] - 1.0)
    column = min(max(column, 0.0), cells.shape[1] - 1.0)
    top, left = int(row), int(column)
    below, right = min(top + 1, cells.shape[0] - 1), min(left + 1, cells.shape[1] - 1)
    a, b = row - top, column - left
    upper = (1 - b) * cells[top, left] + b * cells[top, right]
    lower = (1 - b) * cells[below, left] + b * cells[below, right]
    return (1 - a) * upper + a * lower


def guided_pixelwise(
    image: np.ndarray, inner: np.ndarray, inner_bias: np.ndarray, hidden: np.ndarray, hidden_bias: np.ndarray,
    outer: np.ndarray,
) -> np.ndarray:  # fmt: skip
    """Guided gradient (H, W) of mean over pixels of outer . relu(hidden relu(inner x + b) + c); (3, H, W) image."""
    height, width = image.shape[1:]
    out = np.zeros((height, width))
    for y in range(height):
        for x in range(width):
            before = inner @ image[:, y, x] + inner_bias
            after = hidden @ np.maximum(before, 0) + hidden_bias
            g = outer / (height * width)
            g = np.array([max(v, 0.0) if z > 0 else 0.0 for v, z in zip(g, after, strict=True)])
            g = hidden.T @ g
            g = np.array([max(v, 0.0) if z > 0 else 0.0 for v, z in zip(g, before, strict=True)])
            out[y, x] = np.abs(inner.T @ g).max()
    return out


def mass_in(shown: np.ndarray, place: np.ndarray) -> float:
    inside = whole = 0.0
    for value, here in zip(shown.ravel(), place.ravel(), strict=True):
        if value > 0:
            whole += value
            inside += value if here else 0.0
    return inside / whole if whole else math.nan


def area(curve: list[float]) -> float:
    return sum((a + b) / 2 for a, b in itertools.pairwise(curve)) / (len(curve) - 1)


def removal_curves(
    logit: Callable[[np.ndarray], float], pixels: np.ndarray, vague: np.ndarray, shown: np.ndarray, steps: int
) -> tuple[list[float], list[float]]:
    """Deletion and insertion of pixels one after another; no two values of the map are equal."""
    width = shown.shape[1]
    order = sorted(range(shown.size), key=lambda k: -shown.ravel()[k])
    deletion, insertion = [], []
    for k in range(steps + 1):
        gone, back = pixels.copy(), vague.copy()
        for place in order[: round(k * shown.size / steps)]:
            y, x = divmod(place, width)
            gone[y, x], back[y, x] = vague[y, x], pixels[y, x]
        deletion.append(1 / (1 + math.exp(-logit(gone))))
        insertion.append(1 / (1 + math.exp(-logit(back))))
    return deletion, insertion


def rank_correlation(first: np.ndarray, second: np.ndarray) -> float:
    a, b = _ranks(first.ravel().tolist()), _ranks(second.ravel().tolist())
    mean_a, mean_b = sum(a) / len(a), sum(b) / len(b)
    over = sum((x - mean_a) * (y - mean_b) for x, y in zip(a, b, strict=True))
    below = math.sqrt(sum((x - mean_a) ** 2 for x in a) * sum((y - mean_b) ** 2 for y in b))
    return over / below if below else math.nan


def _ranks(values: list[float]) -> list[float]:
    return [sum(v < value for v in values) + (sum(v == value for v in values) + 1) / 2 for value in values]
