"""Plain references of equalise.py and of attacks.py: slow, float64, loops, no fdetect."""

from __future__ import annotations

import cmath
import math
from collections.abc import Callable

import numpy as np


def equalised(plane: np.ndarray, share: float) -> np.ndarray:
    """(H, W) float64 -> the same, not rounded: peaks cut, rings brought to a power law above 0.04 cycles per pixel."""
    height, width = plane.shape
    spectrum = _dft(plane)
    log_power = np.log(np.abs(spectrum) ** 2 / (height * width) + 1e-4)
    cut = log_power.copy()
    for u in range(height):
        for v in range(width):
            middles = [_median(log_power, u, v, down, right) for down, right in ((4, 4), (0, 4), (4, 0))]
            if log_power[u, v] > max(middles) + 3:
                cut[u, v] = max(middles)
    radius = np.empty((height, width))
    for u in range(height):
        for v in range(width):
            radius[u, v] = math.hypot(min(u, height - u) / height, min(v, width - v) / width)
    side = min(height, width)
    ring = np.floor(side * radius + 0.5).astype(int)
    means = {k: cut[ring == k].mean() for k in range(ring.max() + 1)}
    there = [k for k in means if 0.04 <= k / side <= 0.25]
    x, y = [math.log(k / side) for k in there], [means[k] for k in there]
    mx, my = sum(x) / len(x), sum(y) / len(y)
    slope = sum((a - mx) * (b - my) for a, b in zip(x, y, strict=True)) / sum((a - mx) ** 2 for a in x)
    shown = spectrum.copy()
    for u in range(height):
        for v in range(width):
            if radius[u, v] >= 0.04:
                k = ring[u, v]
                law = my + slope * (math.log(k / side) - mx)
                change = cut[u, v] - log_power[u, v] + min(max(law - means[k], -math.log(64)), math.log(64))
                shown[u, v] *= math.exp(share * change / 2)
    return _dft(shown.conj()).conj().real / (height * width)


def _median(values: np.ndarray, u: int, v: int, down: int, right: int) -> float:
    height, width = values.shape
    rows, columns = range(u - down, u + down + 1), range(v - right, v + right + 1)
    window = [values[i % height, j % width] for i in rows for j in columns]
    return float(sorted(window)[len(window) // 2])


def _dft(plane: np.ndarray) -> np.ndarray:
    """Sum over rows and columns of x exp(-2 pi i (u y / H + v x / W)), as two products of matrices."""
    rows, columns = (
        np.array([[cmath.exp(-2j * math.pi * u * y / n) for y in range(n)] for u in range(n)]) for n in plane.shape
    )
    return rows @ plane @ columns.T


def square(
    picture: np.ndarray, score: Callable[[np.ndarray], float], direction: int, rng: np.random.Generator, *,
    epsilon: int, queries: int, share: float,
) -> tuple[np.ndarray, list[float]]:  # fmt: skip
    """The square attack on one picture, (H, W, 3) uint8, pixel by pixel; returns the best picture and its scores."""
    height, width, _ = picture.shape
    best, trail = picture.copy(), [score(picture)]

    def moved(value: int, up: int) -> int:
        return min(max(int(value) + (epsilon if up else -epsilon), 0), 255)

    def offer(shown: np.ndarray) -> None:
        nonlocal best
        found = score(shown)
        if direction * found > direction * trail[-1]:
            best = shown
            trail.append(found)
        else:
            trail.append(trail[-1])

    stripes = rng.integers(0, 2, (1, width, 3), np.uint8)
    shown = picture.copy()
    for y, x, c in np.ndindex(picture.shape):
        shown[y, x, c] = moved(picture[y, x, c], int(stripes[0, x, c]))
    offer(shown)
    for query in range(1, queries):
        of_ten_thousand = 10_000 * query / queries
        part = share
        for place in (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000):
            part = part / 2 if of_ten_thousand >= place else part
        side = min(max(round(math.sqrt(part * height * width)), 1), height, width)
        top, left = int(rng.integers(height - side + 1)), int(rng.integers(width - side + 1))
        signs = rng.integers(0, 2, 3, np.uint8)
        shown = best.copy()
        for y in range(top, top + side):
            for x in range(left, left + side):
                for c in range(3):
                    shown[y, x, c] = moved(picture[y, x, c], int(signs[c]))
        offer(shown)
    return best, trail
