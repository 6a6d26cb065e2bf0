"""Twins of neighbouring pixels: the NPR map and its statistics, sums of gradients and of products of differences."""

from __future__ import annotations

import functools
from itertools import accumulate

import numpy as np

from fdetect.forensics._gpu import launch
from fdetect.forensics.neighbours import npr_groups
from fdetect.types import Array

__all__ = ["correlation_sums", "gradient_sums", "npr", "npr_statistics"]


def npr(planes: Array, factor: int) -> Array:
    """NPR map: (B, 3, H, W) float32 -> (B, 3, H', W') float32."""
    xp = launch.arrays()
    B, C, H, W = planes.shape
    h, w = H // factor * factor, W // factor * factor
    result = xp.empty((B, C, h, w), planes.dtype)
    grid = launch.spread(h * w, B * C), B * C
    launch.run("neighbours", f"npr_{planes.dtype.name}", grid, launch.whole(planes), factor, H, W, h, w, result)
    return result


def npr_statistics(rgb8: Array, factor: int) -> Array:
    """NPR statistics: (B, H, W, 3) uint8 -> (B, 12 G) float32 for the G groups of places of `npr_groups`."""
    xp = launch.arrays()
    B, H, W, _ = rgb8.shape
    places, starts = (launch.constant(part, np.int32) for part in _places(factor))
    G, cells = len(npr_groups(factor)), (H // factor) * (W // factor)
    counts, result = xp.zeros((B, G, 3, 511), xp.int64), xp.empty((B, 12 * G), xp.float32)
    largest = max(len(group) for group in npr_groups(factor))
    grid = launch.spread(cells * largest, B, G), B, G
    launch.run("neighbours", "npr_counts", grid, launch.whole(rgb8), factor, places, starts, H, W, counts)
    launch.run("neighbours", "npr_moments", (G, B, 3), counts, starts, cells, result)
    return result


def gradient_sums(rgb8: Array) -> Array:
    """First differences: (B, H, W, 3) uint8 -> (B, 3, 4, 8) int64: sums as in `fdetect.features.neighbours`."""
    xp = launch.arrays()
    B, H, W, _ = rgb8.shape
    sums = xp.zeros((B, 3, 4, 8), xp.int64)
    grid = launch.spread(((H + 1) // 2) * ((W + 1) // 2), B, 3), B, 3
    launch.run("neighbours", "gradient_sums", grid, launch.whole(rgb8), H, W, sums)
    return sums


def correlation_sums(rgb8: Array, lags: tuple[tuple[int, int], ...]) -> Array:
    """Products of the mixed difference: (B, H, W, 3) uint8 -> (B, 3, len(lags) + 1, 3) int64."""
    xp = launch.arrays()
    B, H, W, _ = rgb8.shape
    L = len(lags)
    sums = xp.zeros((B, 3, L + 1, 3), xp.int64)
    kinds = 3 * (L + 1)
    grid = launch.spread((H - 1) * (W - 1), B, kinds), B, kinds
    table = launch.constant(lags, np.int32)
    launch.run("neighbours", "correlation_sums", grid, launch.whole(rgb8), table, L, H, W, sums)
    return sums


@functools.cache
def _places(factor: int) -> tuple[tuple[tuple[int, int], ...], tuple[int, ...]]:
    """Return the places of all groups, one group after another, and where each group starts."""
    groups = npr_groups(factor)
    return sum(groups, ()), tuple(accumulate((len(group) for group in groups), initial=0))
