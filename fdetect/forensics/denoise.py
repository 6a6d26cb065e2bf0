"""Denoising residuals: luma minus a denoised copy of itself, where a camera's noise and a decoder's texture are left.

Luma of 8-bit samples is a whole number of thousandths.  Medians are taken and weighted sums are made in thousandths,
with whole weights, where float64 is exact.  So a flat region leaves exactly 0, on every backend, and features may
count zeros.  Beyond the border the nearest pixel is repeated, in all three maps.
"""

from __future__ import annotations

import functools
import math

import numpy as np
from array_api_compat import device

from fdetect.backend import namespace
from fdetect.errors import ParameterError
from fdetect.forensics.base import signal_map
from fdetect.forensics.kernels import twin
from fdetect.types import Array

__all__ = ["gaussian_residual", "gaussian_weights", "median_residual", "wiener_residual"]

_UNIT = 65536  # sum of the whole weights along one axis: thousandths times its square stay below 2^53


@signal_map
def median_residual(luma: Array) -> Array:
    """Median residual: luma minus the median of the 3 x 3 pixels around; edges pass, single odd pixels stay.

    (B, H, W) float32 -> (B, H, W) float32, in grey levels, range -255..255

        r[y, x] = Y[y, x] - median { Y[y + i, x + j] : i, j in -1..1 },   nearest pixel beyond the border

    The border is that of scipy.ndimage.median_filter, whose modes "reflect" and "nearest" are one at this size.

    Source: Huang, Yang, Tang 1979, "A fast two-dimensional median filtering algorithm", IEEE Trans. Acoustics, Speech
    and Signal Processing 27(1), for the filter; its residual as the noise that a generator leaves, in place of a
    trained denoiser, after Wang et al. 2020, arXiv 1912.11035 (spectra of high-pass filtered images, with 5 x 5).
    """
    xp = namespace(luma)
    thousandths = xp.round(luma * 1000)
    if fast := twin("median3x3", thousandths):
        return (thousandths - fast(thousandths)) / 1000.0
    return (thousandths - _median3x3(thousandths)) / 1000.0


@signal_map
def gaussian_residual(luma: Array, *, sigma: float = 1.0) -> Array:
    """Gaussian residual: luma minus its Gaussian blur, the plainest high-pass of all directions.

    (B, H, W) float32 -> (B, H, W) float32, in grey levels, range -255..255

        r[y, x] = Y[y, x] - sum_{i,j} w_i w_j Y[y + i, x + j],   |i|, |j| <= R = ceil(3 sigma)
        w_k = round(65536 g_k) / 65536,   g_k ~ exp(-k^2 / (2 sigma^2)),   w_0 such that sum w = 1

    `sigma` is in pixels, above 0 and at most 16.  The nearest pixel is repeated beyond the border.  Weights are whole
    65536ths, so that the sum is exact and a flat region leaves 0; against real weights a grey level of 255 moves by
    less than 0.12.

    Source: Marr and Hildreth 1980, "Theory of edge detection", Proc. Royal Society B 207, doi 10.1098/rspb.1980.0020
    (an image minus its Gaussian approximates -sigma^2 / 2 times the Laplacian of the Gaussian).
    Raises ParameterError for another sigma.
    """
    xp = namespace(luma)
    thousandths = xp.round(xp.astype(luma, xp.float64) * 1000)
    blurred = _sums(thousandths, gaussian_weights(sigma))
    return xp.astype((thousandths * float(_UNIT**2) - blurred) * (1 / (1000.0 * _UNIT**2)), xp.float32)


@signal_map
def wiener_residual(luma: Array, *, side: int = 3) -> Array:
    """Wiener residual: luma minus its adaptive Wiener estimate, which smooths flat regions and keeps textured ones.

    (B, H, W) float32 -> (B, H, W) float32, in grey levels, range -255..255

        r = (Y - m) n / max(v, n),   m, v = mean and variance of the K x K pixels around,   n = mean of v

    and 0 where v = 0.  It is Y - (m + max(v - n, 0) / max(v, n) (Y - m)), the noise power n taken as the mean of the
    local variances.  `side` is K: 3 or 5.  The nearest pixel is repeated beyond the border (scipy.signal.wiener
    puts zeros there, which makes a frame of false variance).

    Source: Lee 1980, "Digital image enhancement and noise filtering by use of local statistics", IEEE Trans. Pattern
    Analysis and Machine Intelligence 2(2), doi 10.1109/TPAMI.1980.4766994; Lim 1990, "Two-dimensional signal and
    image processing", p. 548.
    Raises ParameterError for another side.
    """
    if side not in (3, 5):
        raise ParameterError(f"wiener_residual: side is 3 or 5; got {side}")
    if fast := twin("wiener_residual", luma):
        return fast(luma, side)
    xp = namespace(luma)
    thousandths = xp.round(xp.astype(luma, xp.float64) * 1000)
    box, count = (1,) * side, float(side * side)
    sums, squares = _sums(thousandths, box), _sums(thousandths * thousandths, box)
    variance = squares * count - sums * sums  # whole numbers: 1 or more where it is not 0
    noise = xp.mean(variance, axis=(-2, -1), keepdims=True)
    gain = noise / xp.maximum(variance, xp.maximum(noise, xp.ones_like(noise)))
    return xp.astype((thousandths * count - sums) * gain / (1000.0 * count), xp.float32)


@functools.lru_cache(maxsize=16)
def gaussian_weights(sigma: float) -> tuple[int, ...]:
    """Return the 2 ceil(3 sigma) + 1 whole weights of a Gaussian blur; they sum to 65536."""
    if not 0 < sigma <= 16:
        raise ParameterError(f"gaussian_residual: sigma is above 0 and at most 16 pixels; got {sigma}")
    radius = math.ceil(3 * sigma)
    bell = [math.exp(-0.5 * (k / sigma) ** 2) for k in range(-radius, radius + 1)]
    weights = [round(_UNIT * value / math.fsum(bell)) for value in bell]
    weights[radius] += _UNIT - sum(weights)
    return tuple(weights)


def _median3x3(image: Array) -> Array:
    """Return the 3 x 3 median: columns sorted once each, then the median of three of them."""
    xp = namespace(image)
    H, W = image.shape[-2:]
    edged = _edged(image, 1)
    a, b, c = (edged[:, i : i + H, :] for i in range(3))
    low, high = xp.minimum(a, b), xp.maximum(a, b)
    over = xp.maximum(low, c)
    columns = xp.minimum(low, c), xp.minimum(over, high), xp.maximum(over, high)
    lows, middles, highs = ([rows[:, :, j : j + W] for j in range(3)] for rows in columns)
    low = xp.maximum(xp.maximum(lows[0], lows[1]), lows[2])
    high = xp.minimum(xp.minimum(highs[0], highs[1]), highs[2])
    middle = _median_of_three(*middles)
    return _median_of_three(low, middle, high)


def _median_of_three(a: Array, b: Array, c: Array) -> Array:
    xp = namespace(a)
    return xp.maximum(xp.minimum(a, b), xp.minimum(xp.maximum(a, b), c))


def _sums(image: Array, weights: tuple[int, ...]) -> Array:
    """Return sum_{i,j} w_i w_j image[y + i, x + j] for symmetric whole weights; exact below 2^53."""
    if fast := twin("separable_sums", image):
        return fast(image, np.array(weights, np.float64))
    H, W = image.shape[-2:]
    radius = len(weights) // 2
    edged = _edged(image, radius)
    rows = edged[:, radius : radius + H, :] * float(weights[radius])
    for k in range(radius):
        rows = rows + (edged[:, k : k + H, :] + edged[:, 2 * radius - k :, :][:, :H, :]) * float(weights[k])
    result = rows[:, :, radius : radius + W] * float(weights[radius])
    for k in range(radius):
        result = result + (rows[:, :, k : k + W] + rows[:, :, 2 * radius - k :][:, :, :W]) * float(weights[k])
    return result


def _edged(image: Array, radius: int) -> Array:
    """Return the image with its border pixels repeated `radius` times."""
    xp = namespace(image)
    for axis in (1, 2):
        size = image.shape[axis]
        places = np.clip(np.arange(-radius, size + radius), 0, size - 1)
        image = xp.take(image, xp.asarray(places, device=device(image)), axis=axis)
    return image
