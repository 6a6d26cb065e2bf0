"""Twins of the filters of luma: the median of 3 x 3 pixels, sums under separable weights, the Wiener residual."""

from __future__ import annotations

import numpy as np

from fdetect.errors import ParameterError
from fdetect.forensics._gpu import launch
from fdetect.types import Array

__all__ = ["median3x3", "separable_sums", "wiener_residual"]

_RUN = 4  # medians of one thread, as in denoise.cu
_TAPS = 97  # of the widest filter
_TILE = 256  # pixels of a tile


def median3x3(image: Array) -> Array:
    """Return the median of 3 x 3 pixels, edges repeated: (..., H, W) uint8, float32 or float64 -> the same."""
    xp = launch.arrays()
    H, W = image.shape[-2:]
    images = launch.whole(image)
    result = xp.empty(image.shape, image.dtype)
    count = images.size // (H * W)
    grid = launch.spread(-(-H // _RUN) * W, count), count
    launch.run("denoise", f"median3x3_{image.dtype.name}", grid, images, H, W, result)
    return result


def separable_sums(image: Array, weights: Array) -> Array:
    """Return sum_{i,j} w_i w_j image[y + i, x + j], edges repeated: (B, H, W) float64, odd symmetric w -> the same."""
    if len(weights) > _TAPS:
        raise ParameterError(f"separable_sums: at most {_TAPS} weights on the GPU, got {len(weights)}")
    xp = launch.arrays()
    B, H, W = image.shape
    result = xp.empty(image.shape)
    segments = H * -(-W // launch.THREADS)
    grid = launch.spread(segments * launch.THREADS, B), B
    table = launch.constant(weights, np.float64)
    launch.run("denoise", "separable_sums", grid, launch.whole(image), table, len(weights) // 2, H, W, result)
    return result


def wiener_residual(luma: Array, side: int) -> Array:
    """Return the residual of the map of this name: (B, H, W) float32 -> (B, H, W) float32."""
    xp = launch.arrays()
    B, H, W = luma.shape
    images, totals, result = launch.whole(luma), xp.zeros((B, 2), xp.int64), xp.empty(luma.shape, xp.float32)
    grid = launch.spread(-(-H // 8) * -(-W // 32) * _TILE, B), B
    launch.run("denoise", "wiener_noise", grid, images, side, H, W, totals)
    launch.run("denoise", "wiener_residual", grid, images, totals, side, H, W, result)
    return result
