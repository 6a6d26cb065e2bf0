"""Features of neighbouring pixels: relations inside the cells of up-sampling, gradients, correlation of residuals.

Everything is summed in whole numbers from the stored bytes and divided last, so that every engine gives one result.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
from array_api_compat import device

from fdetect.backend import namespace
from fdetect.errors import ParameterError
from fdetect.features.base import feature
from fdetect.forensics.base import require_sides
from fdetect.forensics.kernels import twin
from fdetect.forensics.neighbours import npr_groups
from fdetect.types import Array

__all__ = ["ENERGY_FLOOR", "LAGS", "gradient_statistics", "local_correlation", "npr_statistics"]

ENERGY_FLOOR = 1e-2  # squared grey levels; rounding to 8 bits alone puts 1/6 into a difference of two samples
LAGS = ((0, 1), (1, 0), (1, 1), (1, -1), (0, 2), (2, 0))  # (rows down, columns to the right)

_COLOURS = ("red", "green", "blue")
_STATISTICS = ("mean_absolute", "standard_deviation", "kurtosis", "zeros")
_DIRECTIONS = ("right", "down", "diagonal", "antidiagonal")
_GRADIENTS = ("mean_absolute", "root_mean_square", "kurtosis", "zeros", "phase_contrast")


@functools.cache
def _npr_columns(*, factor: int) -> tuple[str, ...]:
    names = []  # the octave's first distance, in the directions in which it lies
    for g in range(len(npr_groups(factor))):
        first = 2 ** (g // 3)
        names.append((f"0{first}", f"{first}0", f"{first}{first}")[g % 3])
    return tuple(f"{colour}_{name}_{statistic}" for colour in _COLOURS for name in names for statistic in _STATISTICS)


@feature(columns=_npr_columns, family="neighbours")
def npr_statistics(rgb8: Array, *, factor: int = 2) -> Array:
    """NPR statistics: four moments of the NPR residual, by colour and by place in the cell of up-sampling.

    (B, H, W, 3) uint8 -> (B, 12 G) float32; grey levels, kurtosis and zeros without unit; G = 3 for factor 2

        d = I[f m + i, f n + j] - I[f m, f n] over all cells (m, n) and the places (i, j) of one group
        columns = mean |d|,   s = sqrt(mean (d - mean d)^2),   mean (d - mean d)^4 / s^4 - 3,   share of d = 0

    `factor` f is the side of a cell; an image enlarged f times by nearest neighbour has 1 in all columns of zeros.
    With a factor of 2 every place but the corner is a group: `red_01_zeros` is row 0, column 1 of red.  Larger cells
    pool places by octave of distance, 2^k <= max(i, j) < 2^(k+1), and by direction: `red_02_zeros` has the corner's
    row at distances 2 and 3, `red_20_zeros` its column, `red_22_zeros` what lies in neither.  So 36 columns for
    factor 2, 72 for `npr_statistics_x4`, 108 for `npr_statistics_x8`.  Kurtosis is the excess over a Gaussian, and 0
    where d is constant.

    Source: the residual is that of Tan et al. 2024, CVPR, arXiv 2312.10461, who feed it to a network; its summary by
    place and moment is this project's, so that a linear head can read it.
    Raises DataError where a side is shorter than `factor`, ParameterError for a factor below 2.
    """
    if factor < 2:
        raise ParameterError(f"npr_statistics: factor is {factor}; a cell has at least 2 x 2 pixels")
    require_sides(rgb8[..., 0], factor, "npr_statistics")
    if fast := twin("npr_statistics", rgb8):
        return fast(rgb8, factor)
    xp = namespace(rgb8)
    B, H, W, _ = rgb8.shape
    h, w = H // factor, W // factor
    cells = xp.reshape(xp.astype(rgb8[:, : h * factor, : w * factor], xp.int64), (B, h, factor, w, factor, 3))
    corner = cells[:, :, 0, :, 0]
    parts = []
    for places in npr_groups(factor):
        d = xp.concat([xp.reshape(cells[:, :, i, :, j] - corner, (B, h * w, 3)) for i, j in places], axis=1)
        squares = d * d
        sums = [xp.sum(part, axis=1) for part in (d, squares, squares * d, squares * squares)]
        variance, kurtosis = _moments(sums, d.shape[1])
        zeros = xp.mean(xp.astype(d == 0, xp.float64), axis=1)
        magnitude = xp.astype(xp.sum(xp.abs(d), axis=1), xp.float64) / d.shape[1]
        parts.append(xp.stack([magnitude, xp.sqrt(variance), kurtosis, zeros], axis=-1))
    return xp.astype(xp.reshape(xp.stack(parts, axis=2), (B, -1)), xp.float32)


feature.variant(npr_statistics, "npr_statistics_x4", factor=4)
feature.variant(npr_statistics, "npr_statistics_x8", factor=8)


@feature(columns=tuple(f"{c}_{d}_{s}" for c in _COLOURS for d in _DIRECTIONS for s in _GRADIENTS), family="neighbours")
def gradient_statistics(rgb8: Array) -> Array:
    """Gradient statistics: size, tail and zeros of first differences in four directions, and how phases differ.

    (B, H, W, 3) uint8 -> (B, 60) float32; grey levels, the last three of each direction without unit

        d = I[p + e] - I[p],   e = right (0, 1), down (1, 0), diagonal (1, 1); antidiagonal I[y+1, x] - I[y, x+1]
        columns = mean |d|,   s = sqrt(mean d^2),   mean d^4 / s^4 - 3,   share of d = 0,
                  ln( (max_k E_k + 0.01) / (min_k E_k + 0.01) ),   E_k = mean d^2 over the p of phase k

    Moments are about zero, where gradients of scenes are centred; kurtosis is 0 where all d are 0.  The phases are the
    parity of x (right), of y (down), or of both (diagonals, four phases).  Up-sampling by 2 makes differences inside
    a cell smaller than those across its edge; of the phases the largest and the smallest energy are compared, so that
    a crop that begins elsewhere in the cell changes nothing.

    Source: moments of derivatives as a model of natural images: Huang and Mumford 1999, "Statistics of natural images
    and models", CVPR.  The contrast of phases is this project's, after the periodic variance of interpolated signals
    in Gallagher 2005, "Detection of linear and cubic interpolation in JPEG compressed images", Canadian Conference on
    Computer and Robot Vision.
    Raises DataError below 3 x 3 pixels.
    """
    require_sides(rgb8[..., 0], 3, "gradient_statistics")
    fast = twin("gradient_sums", rgb8)
    sums = fast(rgb8) if fast else _gradient_sums(rgb8)
    xp, where = namespace(rgb8), device(rgb8)
    pool, sizes, counts = (xp.asarray(part, device=where) for part in _gradient_tables(*rgb8.shape[1:3]))
    energies = xp.astype(xp.sum(sums[..., None, 4:] * pool, axis=-1), xp.float64) / sizes + ENERGY_FLOOR
    means = xp.astype(sums[..., :4], xp.float64) / counts
    absolute, square, fourth, zeros = (means[..., k] for k in range(4))
    varies = square > 0
    kurtosis = xp.where(varies, fourth / xp.where(varies, square, xp.ones_like(square)) ** 2 - 3, square)
    contrast = xp.log(xp.max(energies, axis=-1) / xp.min(energies, axis=-1))
    columns = xp.stack([absolute, xp.sqrt(square), kurtosis, zeros, contrast], axis=-1)
    return xp.astype(xp.reshape(columns, (rgb8.shape[0], -1)), xp.float32)


_PAIRS = (("red", "green"), ("green", "blue"), ("blue", "red"))


@feature(
    columns=(
        *(f"{c}_{name}" for c in _COLOURS for name in ("right", "down", "diagonal", "antidiagonal", "right2", "down2")),
        *(f"{a}_{b}" for a, b in _PAIRS),
    ),
    family="neighbours",
)
def local_correlation(rgb8: Array) -> Array:
    """Local correlation: how neighbouring values of a small high-pass residual go together, and the three colours.

    (B, H, W, 3) uint8 -> (B, 21) float32, range -1..1

        r_c[y, x] = I_c[y, x] + I_c[y+1, x+1] - I_c[y, x+1] - I_c[y+1, x]
        columns = sum r_c(p) r_c(p+e) / sqrt( sum r_c(p)^2 sum r_c(p+e)^2 ),   over all p where both exist
                  sum r_c(p) r_d(p) / sqrt( sum r_c(p)^2 sum r_d(p)^2 ) for red-green, green-blue, blue-red

    The lags e (rows, columns) are (0, 1), (1, 0), (1, 1), (1, -1), (0, 2) and (2, 0), named right, down, diagonal,
    antidiagonal, right2 and down2.  No mean is taken away: r sums to the difference of four corner pixels, so its
    mean is zero for all practical purposes.  A sum of squares of zero gives 0.  White noise has -1/2 at right and
    down, 1/4 on the diagonals and 0 at two pixels; interpolation moves all of them towards 1, demosaicing makes
    colours go together.

    Source: linear correlation of neighbours as the mark of interpolation: Popescu and Farid 2005, "Exposing digital
    forgeries by detecting traces of resampling", IEEE Trans. Signal Processing 53(2), pp. 758-767.  The residual is
    that of Bammey 2024 (Synthbuster) before its magnitude is taken; these coefficients, in place of a map of
    periodicity, are this project's.
    Raises DataError below 4 x 4 pixels.
    """
    require_sides(rgb8[..., 0], 4, "local_correlation")
    fast = twin("correlation_sums", rgb8)
    sums = fast(rgb8, LAGS) if fast else _correlation_sums(rgb8)
    xp = namespace(rgb8)
    sums = xp.astype(sums, xp.float64)
    scale = xp.sqrt(sums[..., 1]) * xp.sqrt(sums[..., 2])
    ratio = xp.where(scale > 0, sums[..., 0] / xp.where(scale > 0, scale, xp.ones_like(scale)), 0 * scale)
    lags = xp.reshape(ratio[..., :-1], (rgb8.shape[0], -1))
    return xp.astype(xp.concat([lags, ratio[..., -1]], axis=1), xp.float32)


def _moments(sums: Sequence[Array], n: int) -> tuple[Array, Array]:
    """Return variance and excess kurtosis from int64 sums of d, d^2, d^3, d^4 over n whole numbers.

    The sums are moved, exactly, to the whole number nearest to the mean: about it the second moment is at most twice
    the variance, so nothing cancels, and it is exactly zero where d is constant.
    """
    first, second, third, fourth = sums
    xp = namespace(first)
    c = (2 * first + n) // (2 * n)
    moved = [
        first - n * c,
        second - 2 * c * first + n * c**2,
        third - 3 * c * second + 3 * c**2 * first - n * c**3,
        fourth - 4 * c * third + 6 * c**2 * second - 4 * c**3 * first + n * c**4,
    ]
    shift, square, cube, quart = (xp.astype(part, xp.float64) / n for part in moved)
    variance = square - shift**2
    varies = variance > 0
    central = quart - 4 * shift * cube + 6 * shift**2 * square - 3 * shift**4
    safe = xp.where(varies, variance, xp.ones_like(variance))
    return variance, xp.where(varies, central / safe**2 - 3, xp.zeros_like(central))


def _gradient_sums(rgb8: Array) -> Array:
    """Return (B, 3, 4, 8) int64: sums of |d|, d^2, d^4, number of zeros, d^2 by the parity of (y, x) = 00 01 10 11."""
    xp = namespace(rgb8)
    x = xp.permute_dims(xp.astype(rgb8, xp.int64), (0, 3, 1, 2))
    differences = (
        x[..., 1:] - x[..., :-1],
        x[..., 1:, :] - x[..., :-1, :],
        x[..., 1:, 1:] - x[..., :-1, :-1],
        x[..., 1:, :-1] - x[..., :-1, 1:],
    )

    def sums(d: Array) -> Array:
        squares = d * d
        parts = [xp.abs(d), squares, squares * squares, xp.astype(d == 0, xp.int64)]
        parts += [squares[..., i::2, j::2] for i in (0, 1) for j in (0, 1)]
        return xp.stack([xp.sum(part, axis=(-2, -1)) for part in parts], axis=-1)

    return xp.stack([sums(d) for d in differences], axis=2)


@functools.lru_cache(maxsize=16)
def _gradient_tables(height: int, width: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return which of the four parities make each phase (4, 4, 4), the sizes of phases (4, 4), all pixels (4, 1).

    Right has two phases (the parity of x), down two (of y); they stand twice, which leaves largest and smallest.
    """
    parity = np.eye(4, dtype=np.int64)
    columns, rows = np.tile(np.eye(2, dtype=np.int64), (2, 2)), np.kron(np.eye(2, dtype=np.int64), np.ones((2, 2), int))
    pool = np.stack([columns, rows, parity, parity])
    counts = []
    for h, w in ((height, width - 1), (height - 1, width), (height - 1, width - 1), (height - 1, width - 1)):
        counts.append([(h + 1 - i) // 2 * ((w + 1 - j) // 2) for i in (0, 1) for j in (0, 1)])
    each = np.array(counts)
    return pool, np.einsum("dpk,dk->dp", pool, each).astype(np.float64), each.sum(axis=1, keepdims=True).astype(float)


def _correlation_sums(rgb8: Array) -> Array:
    """Return (B, 3, 7, 3) int64: products, squares of the first and of the second; six lags, then the next colour."""
    xp = namespace(rgb8)
    x = xp.permute_dims(xp.astype(rgb8, xp.int64), (0, 3, 1, 2))
    slopes = x[..., 1:] - x[..., :-1]
    r = slopes[..., 1:, :] - slopes[..., :-1, :]
    h, w = r.shape[-2:]

    def sums(a: Array, b: Array) -> Any:
        return xp.stack([xp.sum(part, axis=(-2, -1)) for part in (a * b, a * a, b * b)], axis=-1)

    parts = []
    for dy, dx in LAGS:
        left, right = max(-dx, 0), max(dx, 0)
        n = w - abs(dx)
        parts.append(sums(r[..., : h - dy, left : left + n], r[..., dy:, right : right + n]))
    return xp.stack([*parts, sums(r, xp.concat([r[:, 1:], r[:, :1]], axis=1))], axis=2)
