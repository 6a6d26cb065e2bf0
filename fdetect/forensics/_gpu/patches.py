"""Twins of bit planes and small patches: whole numbers from bytes, one number a patch or plane."""

from __future__ import annotations

from fdetect.forensics._gpu import launch
from fdetect.types import Array

__all__ = ["bit_plane_sums", "patch_energy"]

_WARP = 32  # threads that sum one patch


def bit_plane_sums(rgb8: Array, side: int) -> tuple[Array, Array, Array]:
    """Count low bits: (B, H, W, 3) uint8 -> (B, 5, 3, 3), (B, 4) and (B, h, w) int64.

    The first counts ones, then bits that differ from the pixel to the right, below, and below to the right, then from
    the next colour: [kind, colour, plane].  The second counts pixels with three low zeros, by colour, then in all.
    The third sums the differences of low bits inside patches of `side` pixels.
    """
    xp = launch.arrays()
    B, H, W, _ = rgb8.shape
    rows, columns = H // side, W // side
    image, counts, low = launch.whole(rgb8), xp.zeros((B, 3, 5, 3), xp.int64), xp.zeros((B, 4), xp.int64)
    gradients = xp.zeros((B, rows, columns), xp.int64)
    launch.run("patches", "bit_counts", (launch.spread(H * W, B, 3), B, 3), image, H, W, counts, low)
    grid = launch.spread(rows * columns * _WARP, B), B
    launch.run("patches", "bit_gradients", grid, image, side, H, W, gradients)
    return xp.ascontiguousarray(counts.transpose(0, 2, 1, 3)), low, gradients


def patch_energy(rgb8: Array, side: int, stride: int) -> Array:
    """NPR energy of patches: (B, H, W, 3) uint8 -> (B, h, w) float32."""
    xp = launch.arrays()
    B, H, W, _ = rgb8.shape
    h, w = ((length // 2 * 2 - side) // stride + 1 for length in (H, W))
    energies = xp.empty((B, h, w), xp.float32)
    grid = launch.spread(h * w * _WARP, B), B
    launch.run("patches", "patch_energy", grid, launch.whole(rgb8), side, stride, H, W, h, w, energies)
    return energies
