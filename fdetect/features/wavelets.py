"""Features of wavelet bands: energy, tails and how the magnitudes of details go together in place and direction."""

from __future__ import annotations

import numpy as np
from array_api_compat import device

from fdetect.backend import namespace
from fdetect.features.base import feature
from fdetect.forensics.base import require_sides
from fdetect.forensics.kernels import twin
from fdetect.types import Array

__all__ = ["BAND_FLOOR", "wavelet_statistics"]

BAND_FLOOR = 1e-3  # squared grey levels; rounding the samples to 8 bits alone leaves 0.017 or more in every band

_BANDS = ("lh", "hl", "hh")
_STATISTICS = ("energy", "kurtosis", "shape", "right", "down")
_LEVELS = (1, 2)

# What one unit of the whole-number transform below is, in grey levels of an orthonormal-like transform
_UNITS = np.array([[1 / 64, 1 / 64, 1 / 32], [1 / 2048, 1 / 2048, 1 / 1024]])


@feature(
    columns=tuple(
        name
        for level in _LEVELS
        for name in (
            *(f"{band}{level}_{statistic}" for band in _BANDS for statistic in _STATISTICS),
            *(f"{first}{level}_{second}{level}" for first, second in (("lh", "hl"), ("hl", "hh"), ("hh", "lh"))),
        )
    ),
    family="wavelet",
)
def wavelet_statistics(rgb8: Array) -> Array:
    """Wavelet statistics: energy, tail and neighbour correlations of the details of two levels of the 5/3 transform.

    (B, H, W, 3) uint8 -> (B, 36) float32; `energy` in ln(squared grey levels), the others without unit

        energy = ln( mean h^2 + 0.001 ),   kurtosis = mean h^4 / (mean h^2)^2 - 3,   shape = mean |h| / sqrt(mean h^2)
        right, down = correlation of m = |h| with its neighbour: mean (m - M)(m' - M) / mean (m - M)^2,   M = mean m
        lh1_hl1 ... = correlation coefficient of the magnitudes of two bands of one level, place by place

    Bands are lh (low-pass along x, high-pass along y), hl and hh of levels 1 and 2 of Y = (R + 2G + B) / 4, with the
    filters (-1, 2, 6, 2, -1) sqrt(2)/8 and (1, -2, 1) sqrt(2)/4 and no border: coefficients that would need pixels
    from outside are left out.  All of it is whole numbers up to the sums.  A Gaussian has kurtosis 0 and shape
    sqrt(2/pi) = 0.798, a Laplacian 3 and 0.707: `shape` gives the exponent of a generalised Gaussian.  Moments are
    about zero.  Kurtosis and shape are 0 where a band is zero, correlations where a magnitude is constant.

    Source: Lyu and Farid 2005, "How realistic is photorealistic?", IEEE Trans. Signal Processing 53(2), pp. 845-850
    (moments of the details, and how well magnitudes are predicted by their neighbours in place and direction; here
    correlations in place of the error of their predictor, and fewer levels).  Luma and filters are those of JPEG
    2000, ITU-T T.800, annexes F and G, without its rounding.  Shape: Mallat 1989, "A theory for multiresolution
    signal decomposition", IEEE Trans. Pattern Analysis and Machine Intelligence 11(7), section IV.
    Raises DataError below 17 x 17 pixels.
    """
    require_sides(rgb8[..., 0], 17, "wavelet_statistics")
    xp, where = namespace(rgb8), device(rgb8)
    fast = twin("wavelet_sums", rgb8)
    sums = fast(rgb8) if fast else _sums(rgb8)
    unit, full, right, down = (xp.asarray(part, device=where) for part in _tables(*rgb8.shape[1:3]))
    one = xp.ones_like(sums[..., 0])

    def ratio(above: Array, below: Array) -> Array:
        return xp.where(below > 0, above / xp.where(below > 0, below, one), 0 * one)

    absolute, square, fourth = (sums[..., k] / full for k in range(3))
    own = sums[..., 3] / full
    spread = xp.sqrt(sums[..., 3])
    columns = [
        xp.log(square * unit**2 + BAND_FLOOR),
        xp.where(square > 0, ratio(fourth, square**2) - 3, 0 * one),
        ratio(absolute, xp.sqrt(square)),
        ratio(sums[..., 4] / right, own),
        ratio(sums[..., 5] / down, own),
    ]
    following = xp.concat([spread[..., 1:], spread[..., :1]], axis=-1)
    single = xp.reshape(xp.stack(columns, axis=-1), (*sums.shape[:2], -1))
    result = xp.concat([single, ratio(sums[..., 6], spread * following)], axis=-1)
    return xp.astype(xp.reshape(result, (rgb8.shape[0], -1)), xp.float32)


def _tables(height: int, width: int) -> tuple[np.ndarray, ...]:
    """Return units (2, 3), and for each level (2, 1) the number of coefficients, of pairs side by side, of stacked."""
    sizes = []
    for _ in _LEVELS:
        height, width = (height - 3) // 2, (width - 3) // 2
        sizes.append((height * width, height * (width - 1), (height - 1) * width))
    return (_UNITS, *(np.array(part, np.float64)[:, None] for part in zip(*sizes, strict=True)))


def _halves(x: Array) -> tuple[Array, Array]:
    """Return low- and high-pass of whole numbers along the last axis, (n - 3) // 2 of each."""
    n = (x.shape[-1] - 3) // 2
    a, b, c, d, e = (x[..., k : k + 2 * n - 1 : 2] for k in range(5))
    return 2 * (b + d) + 6 * c - a - e, a - 2 * b + c


def _sums(rgb8: Array) -> Array:
    """Return (B, 2, 3, 7) float64: sums of m, m^2, m^4, then about the mean: m m, m m_right, m m_down, m m_next."""
    xp = namespace(rgb8)
    wide = xp.astype(rgb8, xp.int64)
    smooth = wide[..., 0] + 2 * wide[..., 1] + wide[..., 2]
    levels = []
    for _ in _LEVELS:
        low, high = (_halves(xp.matrix_transpose(half)) for half in _halves(smooth))
        smooth, lh, hl, hh = (xp.matrix_transpose(part) for part in (*low, *high))
        m = xp.astype(xp.abs(xp.stack([lh, hl, hh], axis=1)), xp.float64)
        centred = m - xp.mean(m, axis=(-2, -1), keepdims=True)
        squares = m * m
        following = xp.concat([centred[:, 1:], centred[:, :1]], axis=1)
        products = (
            m,
            squares,
            squares * squares,
            centred * centred,
            centred[..., 1:] * centred[..., :-1],
            centred[..., 1:, :] * centred[..., :-1, :],
            centred * following,
        )
        levels.append(xp.stack([xp.sum(part, axis=(-2, -1)) for part in products], axis=-1))
    return xp.stack(levels, axis=1)
