"""Twins of the wavelet transforms and of the sums over bands."""

from __future__ import annotations

import numpy as np

from fdetect.errors import ParameterError
from fdetect.forensics._gpu import launch
from fdetect.forensics.wavelets import Wavelet
from fdetect.types import Array

__all__ = ["wavelet_band", "wavelet_residual", "wavelet_sums"]

_TAPS = 16  # of the longest filter, as in wavelets.cu


def wavelet_band(planes: Array, along_y: tuple[float, ...], along_x: tuple[float, ...]) -> Array:
    """One band of a transform: (B, C, H, W) float32 -> (B, C, h, w) float32, by its filters down and to the right."""
    xp = launch.arrays()
    B, C, H, W = planes.shape
    F = len(along_x)
    h, w = (H + F - 1) // 2, (W + F - 1) // 2
    result = xp.empty((B, C, h, w), xp.float32)
    filters = (launch.constant(part, np.float64) for part in (along_y, along_x))
    grid = launch.spread(h * w, B * C), B * C
    launch.run("wavelets", "wavelet_band", grid, launch.whole(planes), *filters, F, H, W, h, w, result)
    return result


def wavelet_residual(luma: Array, sigma: float, levels: int, wavelet: Wavelet) -> Array:
    """Wavelet residual: (B, H, W) float32 -> (B, H, W) float32."""
    xp = launch.arrays()
    F = len(wavelet.low)
    if F > _TAPS:
        raise ParameterError(f"wavelet_residual: filters of at most {_TAPS} taps on the GPU, got {F}")
    filters = [launch.constant(part, np.float64) for part in (wavelet.low, wavelet.high)]
    inverse = launch.constant((wavelet.inverse_low, wavelet.inverse_high), np.float64)
    B = luma.shape[0]
    smooth, details = launch.whole(luma.astype(xp.float64)), []
    for _ in range(levels):
        H, W = smooth.shape[1:]
        h, w = (H + F - 1) // 2, (W + F - 1) // 2
        following, bands, noise = (xp.empty((B, *shape)) for shape in ((h, w), (3, h, w), (3, h, w)))
        launch.run(
            *("wavelets", "analyse", (launch.spread(h * w, B), B)),
            *(smooth, *filters, F, H, W, h, w, following, bands),
        )
        grid = launch.spread(h * w, 3 * B), 3 * B
        launch.run("wavelets", "shrink", grid, bands, float(sigma**2), h, w, noise)
        details.append(((H, W), noise))
        smooth = following
    smooth = xp.zeros_like(smooth)
    for (H, W), noise in reversed(details):
        h, w = noise.shape[2:]
        result = xp.empty((B, H, W))
        grid = launch.spread(H * W, B), B
        launch.run("wavelets", "synthesise", grid, smooth, noise, inverse, F, h, w, H, W, result)
        smooth = result
    return smooth.astype(xp.float32)


def wavelet_sums(rgb8: Array) -> Array:
    """Sums over the bands of two levels: (B, H, W, 3) uint8 -> (B, 2, 3, 7) float64, as in the feature."""
    xp = launch.arrays()
    B, H, W, _ = rgb8.shape
    image, sums = xp.empty((B, H, W), xp.int32), xp.empty((B, 2, 3, 7))
    launch.run("wavelets", "grey", (launch.spread(H * W, B), B), launch.whole(rgb8), H * W, image)
    stride = H * W  # whole numbers from one image to the next
    for level in range(2):
        h, w = (H - 3) // 2, (W - 3) // 2
        bands = xp.empty((B, 4, h, w), xp.int32)
        launch.run("wavelets", "split", (launch.spread(h * w, B), B), image, H, W, h, w, stride, bands)
        launch.run("wavelets", "band_sums", (3, B), bands, h, w, level, sums)
        image, stride, H, W = bands, 4 * h * w, h, w
    return sums
