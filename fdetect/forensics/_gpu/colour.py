"""Twins of the colour statistics: whole-number counts and sums from the stored pixels."""

from __future__ import annotations

from fdetect.forensics._gpu import launch
from fdetect.types import Array

__all__ = ["colour_difference_products", "exposure_counts"]


def exposure_counts(rgb8: Array) -> tuple[Array, Array, Array]:
    """Count levels by colour (B, 3, 256), 8-bit saturations (B, 256), and pixels with n colours at an end (B, 2, 4)."""
    xp = launch.arrays()
    B, H, W, _ = rgb8.shape
    results = tuple(xp.zeros((B, *shape), xp.int64) for shape in ((3, 256), (256,), (2, 4)))
    launch.run("colour", "exposure_counts", (launch.spread(H * W, B), B), launch.whole(rgb8), H * W, *results)
    return results


def colour_difference_products(rgb8: Array) -> Array:
    """Sum products of the residuals of two colours: (B, 3 orders, 6 pairs RR RG RB GG GB BB) int64."""
    xp = launch.arrays()
    B, H, W, _ = rgb8.shape
    sums = xp.zeros((B, 3, 6), xp.int64)
    grid = launch.spread(H * W, B, 3), B, 3
    launch.run("colour", "colour_difference_products", grid, launch.whole(rgb8), H, W, sums)
    return sums
