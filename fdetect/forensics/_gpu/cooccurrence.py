"""Twins of the co-occurrences: whole-number counts from the stored pixels."""

from __future__ import annotations

import numpy as np

from fdetect.forensics._gpu import launch
from fdetect.types import Array

__all__ = ["cooccurrence_counts", "cross_band_counts", "level_difference_counts"]


def cooccurrence_counts(first: Array, second: Array, dy: int, dx: int) -> Array:
    """Count the pairs (first[y, x], second[y + dy, x + dx]) of two (H, W) uint8 planes: (256, 256) uint32.

    Planes may be views, such as one colour of interleaved pixels.
    """
    xp = launch.arrays()
    H, W = first.shape
    rows, columns = H - dy, W - dx
    counts = xp.zeros((256, 256), xp.uint32)
    launch.run(
        *("cooccurrence", "cooccurrence_counts", (launch.spread(rows * columns, 1),)),
        *(first, second[dy:, dx:], *first.strides, *second.strides, rows, columns, counts),
    )
    return counts


def level_difference_counts(rgb8: Array, dy: int, dx: int, edges: Array) -> Array:
    """Count pairs of one colour by the band of their mean and the bin of their difference: (B, 3, 8, 8) int64."""
    xp = launch.arrays()
    B, H, W, _ = rgb8.shape
    counts = xp.zeros((B, 3, 8, 8), xp.int64)
    grid = launch.spread((H - dy) * (W - dx), B, 3), B, 3
    table = launch.constant(edges, np.int32)
    launch.run("cooccurrence", "level_difference_counts", grid, launch.whole(rgb8), dy, dx, table, H, W, counts)
    return counts


def cross_band_counts(rgb8: Array, edges: Array) -> tuple[Array, Array]:
    """Count digits of differences, right and down: of the three colours (B, 343), of diagonal pairs (B, 3, 49)."""
    xp = launch.arrays()
    B, H, W, _ = rgb8.shape
    triples, pairs = xp.zeros((B, 343), xp.int64), xp.zeros((B, 3, 49), xp.int64)
    grid = launch.spread(H * W, B, 2), B, 2
    table = launch.constant(edges, np.int32)
    launch.run("cooccurrence", "cross_band_counts", grid, launch.whole(rgb8), table, H, W, triples, pairs)
    return triples, pairs
