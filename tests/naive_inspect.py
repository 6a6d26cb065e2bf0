"""The rule of `fdetect inspect` in plain loops of float64, and synthetic scores of photographs in correlated views."""

from __future__ import annotations

import math

import numpy as np


def share_high(score: float, among: list[float]) -> float:
    """Conformal: of the photographs and the image itself, the share that scores at least as high."""
    return (1 + sum(one >= score for one in among)) / (len(among) + 1)


def p_real(image: list[float], photographs: list[list[float]]) -> float:
    """(V,) and n of (V,): among all n + 1, how many have a largest share, over views, that is as small."""
    everything = [*photographs, image]
    if any(math.isnan(one) for one in image):
        return math.nan
    least = [max(sum(other[v] >= one[v] for other in everything) for v in range(len(image))) for one in everything]
    return sum(one <= least[-1] for one in least) / len(everything)


def real_as_low(image: list[float], photographs: list[list[float]]) -> float:
    """The share of photographs whose smallest share, over views, is as large; of each among all photographs."""
    if any(math.isnan(one) for one in image):
        return math.nan
    views, n = range(len(image)), len(photographs)
    most = min(share_high(image[v], [one[v] for one in photographs]) for v in views)
    return sum(min(sum(other[v] >= one[v] for other in photographs) / n for v in views) >= most
               for one in photographs) / n  # fmt: skip


def against_generated(
    image: list[float], photographs: list[list[float]], generators: list[list[list[float]]]
) -> tuple[float, float]:
    """p_generated, and how many generated images stand out as much; both the mean over generators."""
    if any(math.isnan(one) for one in image) or not generators:
        return math.nan, math.nan

    def shares(one: list[float]) -> list[float]:
        return [share_high(one[v], [photograph[v] for photograph in photographs]) for v in range(len(one))]

    low, as_high = [], []
    for images in generators:
        low.append((1 + sum(min(shares(one)) >= min(shares(image)) for one in images)) / (len(images) + 1))
        as_high.append(sum(max(shares(one)) <= max(shares(image)) for one in images) / len(images))
    return sum(low) / len(low), sum(as_high) / len(as_high)


def word(p: float, as_high: float, low: float, as_low: float) -> str:
    """The word, by the four numbers."""
    generated, real = p <= 0.01 and as_high >= 3 * p, low <= 0.01 and as_low >= 3 * low
    if generated == real:
        return "inconclusive"
    return "likely generated" if generated else "likely real"


def correlated(rng: np.random.Generator, n: int, views: int = 4, rho: float = 0.5) -> np.ndarray:
    """(V, n) scores of pictures, normal, with a correlation of rho between views."""
    return np.sqrt(rho) * rng.normal(size=n) + np.sqrt(1 - rho) * rng.normal(size=(views, n))
