"""The block transform on the grid of JPEG (8 x 8) and on larger tiles: where compression and synthesis leave steps."""

from __future__ import annotations

from fdetect.backend import dct, namespace
from fdetect.forensics.base import require_sides, signal_map
from fdetect.types import Array

__all__ = ["SIDE", "block_dct", "tiles"]

SIDE = 8


@signal_map
def block_dct(luma: Array) -> Array:
    """Block DCT: the orthonormal DCT-II of the 8 x 8 blocks that start at the top-left pixel.

    (B, H, W) float32 -> (B, H//8, W//8, 8, 8) float32, in grey levels; [..., 0, 0] is 8 times the block's mean

        C[v, u] = a_v a_u sum_{y,x} Y[y, x] cos(pi (2y+1) v / 16) cos(pi (2x+1) u / 16),   a_0 = sqrt(1/8), else 1/2

    JPEG subtracts 128 first; that moves C[0, 0] by 1024 and nothing else, so it is left out here.  Rows and columns
    beyond the last whole block are not used.  Computed in float64, so that a coefficient which is exactly half a
    step stays exactly half a step.

    Source: ITU-T T.81 (1992), section A.3.3.
    Raises DataError below 8 x 8 pixels.
    """
    require_sides(luma, SIDE, "block_dct")
    xp = namespace(luma)
    return xp.astype(dct(tiles(luma, SIDE)), xp.float32)


def tiles(luma: Array, size: int) -> Array:
    """Cut images into whole squares from the top-left pixel: (B, H, W) -> (B, H//size, W//size, size, size) float64."""
    xp = namespace(luma)
    B, H, W = luma.shape
    rows, columns = H // size, W // size
    trimmed = xp.astype(luma[:, : rows * size, : columns * size], xp.float64)
    return xp.permute_dims(xp.reshape(trimmed, (B, rows, size, columns, size)), (0, 1, 3, 2, 4))
