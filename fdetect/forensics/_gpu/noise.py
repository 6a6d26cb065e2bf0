"""Twins of the sums of noise features.  Sums over 8-bit samples are whole; those over a residual have one order."""

from __future__ import annotations

import numpy as np

from fdetect.forensics._gpu import launch
from fdetect.types import Array

__all__ = ["mask_products", "noise_counts", "residual_sums"]

_PAIRS = ((0, 1), (0, 2), (1, 2))
_LAGS = ((0, 0), (0, 1), (0, -1), (1, 0), (-1, 0))
_TERMS = (*((c, c, 0, 0) for c in range(3)), *((*pair, *lag) for pair in _PAIRS for lag in _LAGS))
_SHARE = 1024  # pixels of a block that sums real numbers
_MOST = 256  # blocks of one image that do


def noise_counts(rgb8: Array, bounds: tuple[int, int]) -> tuple[Array, Array, Array, Array]:
    """Return the sums that the feature noise_level is made of: (B, 4), (B, 3), (B, 3), (B, 3, 511) int64.

    Sums of the masked magnitude of red, green, blue and luma; of luma's by class; pixels by class; histograms.
    """
    xp = launch.arrays()
    B, H, W, _ = rgb8.shape
    image, sums, histograms = launch.whole(rgb8), xp.zeros((B, 10), xp.int64), xp.zeros((B, 3, 511), xp.int64)
    launch.run("noise", "mask_magnitudes", (launch.spread(H * W, B), B), image, *bounds, H, W, sums)
    launch.run("noise", "diagonal_counts", (launch.spread(H * W, B, 3), B, 3), image, H, W, histograms)
    return sums[:, :4], sums[:, 4:7], sums[:, 7:], histograms


def mask_products(rgb8: Array) -> tuple[Array, Array]:
    """Return sums of squares (B, 3) and of lagged products (B, 3, 5) of masked colours, float64 of whole numbers."""
    xp = launch.arrays()
    B, H, W, _ = rgb8.shape
    kinds = len(_TERMS)
    sums, terms = xp.zeros((B, kinds), xp.int64), launch.constant(_TERMS, np.int32)
    grid = launch.spread(H * W, B, kinds), B, kinds
    launch.run("noise", "mask_products", grid, launch.whole(rgb8), terms, H, W, sums)
    real = sums.astype(xp.float64)
    return real[:, :3], real[:, 3:].reshape(B, 3, 5)


def residual_sums(residual: Array, luma: Array, bounds: tuple[int, int]) -> tuple[Array, ...]:
    """Return the fields of ResidualSums: (B, 3), (B,), (B, 8, 8), (B, 3), (B, 3), (B, 3) float64."""
    xp = launch.arrays()
    B, H, W = residual.shape
    n = H * W
    residual, luma = launch.whole(residual), launch.whole(luma)
    blocks = max(1, min(-(-n // _SHARE), _MOST))  # of the size alone, so that the order of a sum never changes
    parts, means = xp.empty((B, blocks, 3)), xp.empty((B, 3))
    launch.run("noise", "residual_totals", (blocks, B), residual, luma, n, parts)
    _join(parts, means, float(n))
    parts, sums, tile = xp.empty((B, blocks, 12)), xp.empty((B, 12)), xp.empty((B, 8, 8))
    launch.run("noise", "residual_spreads", (blocks, B), residual, luma, means, *bounds, n, parts)
    _join(parts, sums, 1.0)
    launch.run("noise", "residual_tile", (8, B), residual, H, W, tile)
    sizes = xp.stack([sums[:, 9], n - sums[:, 9] - sums[:, 10], sums[:, 10]], axis=1)
    return sums[:, :3] / n, sums[:, 11] / n, tile, sums[:, 6:9], sizes, sums[:, 3:6] / n


def _join(parts: Array, results: Array, divisor: float) -> None:
    """Add (B, blocks, K) over the blocks, in their order."""
    _, blocks, count = parts.shape
    launch.run(
        "noise", "join_parts", (launch.spread(results.size, 1),), parts, blocks, count, results.size, divisor, results
    )
