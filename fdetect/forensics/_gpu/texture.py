"""Twins of the textures: local binary patterns, and diversity and residuals of patches, as whole numbers."""

from __future__ import annotations

import numpy as np

from fdetect.errors import ParameterError
from fdetect.forensics._gpu import launch
from fdetect.types import Array

__all__ = ["lbp_counts", "patch_cells"]

_WARP = 32  # threads that sum one patch
_CELL = 16  # the longest side of a cell, as in texture.cu


def lbp_counts(rgb8: Array, radii: tuple[int, ...]) -> Array:
    """Count the codes of the square ring of each radius: (B, 3, radii, 256) int64."""
    xp = launch.arrays()
    B, H, W, _ = rgb8.shape
    kinds = 3 * len(radii)
    counts = xp.zeros((B, 3, len(radii), 256), xp.int64)
    grid = launch.spread(H * W, B, kinds), B, kinds
    table = launch.constant(radii, np.int32)
    launch.run("texture", "lbp_counts", grid, launch.whole(rgb8), table, len(radii), H, W, counts)
    return counts


def patch_cells(rgb8: Array, cell: int, edges: Array) -> tuple[Array, Array]:
    """Return the diversity of every patch (B, rows-1, columns-1) and sums of residuals by cell.

    A patch is 2 x 2 cells.  The sums are (B, rows, columns, 3 kernels, 8) int64: magnitudes, pixels that reach each
    of six edges (in thousandths; the divisors 1, 2, 4 of the kernels multiply them), pairs of opposite sign.
    """
    if cell > _CELL:
        raise ParameterError(f"patch_cells: a cell of at most {_CELL} pixels on the GPU, got {cell}")
    xp = launch.arrays()
    B, H, W, _ = rgb8.shape
    rows, columns = H // cell, W // cell
    image, patches = launch.whole(rgb8), (rows - 1) * (columns - 1)
    diversity = xp.zeros((B, rows - 1, columns - 1), xp.int64)
    sums = xp.zeros((B, rows, columns, 3, 8), xp.int64)
    if patches:
        launch.run("texture", "patch_diversity", (launch.spread(patches * _WARP, B), B), image, cell, H, W, diversity)
    table = launch.constant(edges, np.int32)
    launch.run("texture", "patch_residuals", (rows * columns, B), image, cell, table, H, W, sums)
    return diversity, sums
