"""Features of noise: what a denoiser takes away, how strong it is where, and whether the colours share it.

A camera's noise grows with brightness and, interpolated from a mosaic of colours, goes together between them; a decoder
makes all colours at once, has no sensor, and may leave the period of its up-sampling.
"""

from __future__ import annotations

import math

from array_api_compat import device

from fdetect.backend import namespace
from fdetect.features.base import feature
from fdetect.forensics.base import require_sides
from fdetect.forensics.noise import LAGS, PAIRS, mask_products, noise_counts, residual_sums
from fdetect.nets import denoiser  # noqa: F401 (registers the map dncnn_residual; loads no torch)
from fdetect.types import Array

__all__ = ["LEVEL_FLOOR", "cross_channel_residual_correlation", "denoised_residual_statistics", "noise_level"]

LEVEL_FLOOR = 0.01  # grey levels, added before every logarithm; 8-bit rounding alone leaves 0.29
_ENERGY_FLOOR = LEVEL_FLOOR**2
_GUARD = 1e-6  # squared grey levels, added to variances that divide: constants get 0, pictures do not feel it
_GAUSS_MEDIAN = 0.6744897501960817  # median |z| of a standard Gaussian
_CLASSES = ("dark", "middle", "bright")
_PRIOR = 0.01  # a class is mixed with the mean of all pixels, as if it held 1 % of the picture more


def _residual_columns(*, zeros: bool) -> tuple[str, ...]:
    shape = ("ln_deviation", "skewness", "kurtosis", "ln_median", "ln_tail", *(("zeros",) if zeros else ()))
    phases = (*(f"phase_{i}{j}" for i in range(2) for j in range(2)), "checker", "row_pairs", "column_pairs")
    grid = ("grid_rows", "grid_columns", "grid_rows_peak", "grid_columns_peak")
    return (*shape, *phases, *grid, *_CLASSES, "brightness_correlation")


@feature(columns=_residual_columns, family="noise", name="median_residual_statistics")
def denoised_residual_statistics(median_residual: Array, luma: Array, *, zeros: bool = True) -> Array:
    """Statistics of a denoising residual: its law, its energy by phase of the 2 x 2 and 8 x 8 grid, and by brightness.

    (B, H, W) float32, (B, H, W) float32 -> (B, 21) float32, 20 without `zeros`; logarithms of grey levels, no unit else

        m_k = mean (r - mean r)^k,   ln_deviation = ln(sqrt(m2) + 0.01),   ln_median = ln(median |r| / 0.6745 + 0.01)
        skewness = m3 / (m2 + 1e-6)^1.5,   kurtosis = (m4 - 3 m2^2) / (m2 + 1e-6)^2,   zeros = share of r = 0
        ln_tail = ln((q + 0.01) / (median |r| + 0.01)),   q = the 0.9 quantile of |r|
        E[i, j] = mean r^2 over pixels at (i, j) modulo 8,   L(a, b) = ln(mean of a + 1e-4) - ln(mean of b + 1e-4)
        phase_ij = L(E[i::2, j::2], E),   checker = |L(E00 and E11, E01 and E10)|,   row_pairs = |L(E[0::2], E[1::2])|
        grid_rows = L(E[7] and E[0], E[1..6]),   grid_rows_peak = ln(largest row mean + 1e-4) - ln(mean E + 1e-4)
        dark, middle, bright = ln(e_c + 1e-4) - ln(e + 1e-4),   e_c = (sum of r^2 in c + 0.01 N e) / (n_c + 0.01 N)
        brightness_correlation = cov(r^2, Y) / sqrt((var r^2 + 1e-8) (var Y + 1e-6)),   e = mean r^2

    Quantiles are single order statistics of ranks floor((N - 1) / 2) and floor(9 (N - 1) / 10), from 0.  E is of the
    picture cut to multiples of 8.  Classes are Y < 85, Y < 170 and the rest, decided in whole thousandths of luma; the
    1 % makes an absent class 0.  Columns are as rows.  The constants added to variances make a constant residual 0.
    `phase_ij`, `grid_rows` and `grid_columns` follow the crop's offset; pairs, checker and peaks do not.

    `zeros` adds the share of exact zeros, for residuals whose zeros are exact: median, Gaussian, Wiener.

    Source: the residual in place of the picture as in Cozzolino and Verdoliva 2020, "Noiseprint", IEEE Trans.
    Information Forensics and Security 15, arXiv 1808.08396; energies by phase after Popescu and Farid 2005, "Exposing
    digital forgeries in color filter array interpolated images", IEEE Trans. Signal Processing 53(10); noise that
    grows with brightness after Foi et al. 2008, IEEE Trans. Image Processing 17(10).  The columns are
    this project's summary.
    Raises DataError below 8 x 8 pixels.
    """
    require_sides(median_residual, 8, "denoised_residual_statistics")
    xp = namespace(median_residual)
    sums = residual_sums(median_residual, luma)
    whole = _ln(xp.sum(sums.class_sums, axis=-1) / math.prod(median_residual.shape[1:]))
    classes = _ln(_mixed(sums.class_sums, sums.class_sizes))
    energy_spread, luma_spread, covariance = (sums.spreads[:, k] for k in range(3))
    columns = [
        *_shape(sums.moments),
        *_quantiles(median_residual),
        *((sums.zeros,) if zeros else ()),
        *_phases(sums.tile),
        *(classes[:, c] - whole for c in range(3)),
        covariance / xp.sqrt((energy_spread + _ENERGY_FLOOR**2) * (luma_spread + _GUARD)),
    ]
    return xp.astype(xp.stack(columns, axis=-1), xp.float32)


feature.variant(denoised_residual_statistics, "gaussian_residual_statistics", reads=("gaussian_residual", "luma"))
feature.variant(denoised_residual_statistics, "wiener_residual_statistics", reads=("wiener_residual", "luma"))
feature.variant(
    denoised_residual_statistics, "wavelet_residual_statistics", reads=("wavelet_residual", "luma"), zeros=False
)
feature.variant(
    denoised_residual_statistics, "dncnn_residual_statistics", reads=("dncnn_residual", "luma"), zeros=False
)

_COLOURS = ("red", "green", "blue")


@feature(
    columns=(
        *(f"immerkaer_{plane}" for plane in (*_COLOURS, "luma")),
        *(f"haar_{colour}" for colour in _COLOURS),
        *(f"immerkaer_{name}" for name in _CLASSES),
    ),
    family="noise",
)
def noise_level(rgb8: Array) -> Array:
    """Noise level: the standard deviation of the noise by two estimators, by colour and by class of brightness.

    (B, H, W, 3) uint8 -> (B, 10) float32, in ln(grey levels)

        immerkaer = ln(sqrt(pi / 2) / 6 mean |I * N| + 0.01),   N = (1, -2, 1)^T (1, -2, 1),   valid pixels only
        haar = ln(median |D| / (2 * 0.6745) + 0.01),   D = I[y, x] - I[y, x+1] - I[y+1, x] + I[y+1, x+1]
        median |D| = max(0, k - 1/2) + (n / 2 - F(k)) / f(k) width(k),   width(0) = 1/2, else 1

    The brightness classes are luma below 85, below 170 and the rest at the mask's centre, mixed with 1 % of the whole
    picture's pixels at its mean, so that an absent class reads as the picture.  D / 2 is the finest diagonal Haar
    coefficient, at every position instead of every second.  D is whole, so the median of its n values is read off
    their histogram f, within the bin k in which the running count passes n / 2; F(k) counts the bins below.  A flat
    picture reads 1/4.  Everything is counted in whole numbers (luma in thousandths) up to the logarithm.

    Source: Immerkaer 1996, "Fast noise variance estimation", Computer Vision and Image Understanding 64(2), doi
    10.1006/cviu.1996.0060; Donoho and Johnstone 1994, "Ideal spatial adaptation by wavelet
    shrinkage", Biometrika 81(3), doi 10.1093/biomet/81.3.425 (median of the finest coefficients).
    Raises DataError below 3 x 3 pixels.
    """
    require_sides(rgb8[..., 0], 3, "noise_level")
    xp = namespace(rgb8)
    _, H, W, _ = rgb8.shape
    counts = noise_counts(rgb8)
    unit = xp.asarray([1.0, 1.0, 1.0, 1000.0], dtype=xp.float64, device=device(rgb8))
    means = xp.astype(counts.sums, xp.float64) / unit / ((H - 2) * (W - 2))
    classes = _mixed(*(xp.astype(part, xp.float64) for part in (counts.class_sums, counts.class_sizes))) / 1000
    haar = _median_of_counts(counts.histograms) / (2 * _GAUSS_MEDIAN)
    to_deviation = math.sqrt(math.pi / 2) / 6
    levels = xp.concat([to_deviation * means, haar, to_deviation * classes], axis=-1)
    return xp.astype(xp.log(levels + LEVEL_FLOOR), xp.float32)


@feature(
    columns=tuple(f"{_COLOURS[a]}_{_COLOURS[b]}_{lag}" for a, b in PAIRS for lag in LAGS),
    family="noise",
)
def cross_channel_residual_correlation(rgb8: Array) -> Array:
    """Cross-channel residual correlation: how the noise of two colours goes together, in place and one pixel apart.

    (B, H, W, 3) uint8 -> (B, 15) float32, range -1..1; red-green, red-blue and green-blue at five lags each

        c(d) = sum_p a[p] b[p + d] / sqrt( sum a^2 sum b^2 )
        a, b = I * N of two colours, valid pixels only,   N = (1, -2, 1)^T (1, -2, 1)

    and 0 where a or b is all zero.  Column `red_green_x-1` has d = one pixel to the left, `y1` one down, `0` none.
    The mask sums to zero, so no mean is subtracted; all sums are of whole numbers.  Interpolated colour filter
    arrays correlate colours strongly, and their lags differ by the pattern; decoders make colours together.

    Source: the residuals' mask is that of Immerkaer 1996, doi 10.1006/cviu.1996.0060; correlation of colours left by
    demosaicing as in Gunturk, Altunbasak, Mersereau 2002, "Color plane interpolation using alternating projections",
    IEEE Trans. Image Processing 11(9).  The columns are this project's summary.
    Raises DataError below 3 x 3 pixels.
    """
    require_sides(rgb8[..., 0], 3, "cross_channel_residual_correlation")
    xp = namespace(rgb8)
    energies, products = mask_products(rgb8)
    scale = xp.stack([xp.sqrt(energies[:, a]) * xp.sqrt(energies[:, b]) for a, b in PAIRS], axis=1)
    correlations = products / xp.where(scale > 0, scale, xp.ones_like(scale))[..., None]
    return xp.astype(xp.reshape(correlations, (rgb8.shape[0], -1)), xp.float32)


def _ln(energy: Array) -> Array:
    return namespace(energy).log(energy + _ENERGY_FLOOR)


def _shape(moments: Array) -> list[Array]:
    xp = namespace(moments)
    m2, m3, m4 = (moments[:, k] for k in range(3))
    deviation = xp.log(xp.sqrt(m2) + LEVEL_FLOOR)
    return [deviation, m3 / (m2 + _GUARD) ** 1.5, (m4 - 3 * m2 * m2) / (m2 + _GUARD) ** 2]


def _quantiles(residual: Array) -> list[Array]:
    xp = namespace(residual)
    ordered = xp.sort(xp.reshape(xp.abs(residual), (residual.shape[0], -1)), axis=-1, stable=False)
    last = ordered.shape[1] - 1
    median, tail = (xp.astype(ordered[:, rank], xp.float64) for rank in (last // 2, 9 * last // 10))
    return [
        xp.log(median / _GAUSS_MEDIAN + LEVEL_FLOOR),
        xp.log((tail + LEVEL_FLOOR) / (median + LEVEL_FLOOR)),
    ]


def _phases(tile: Array) -> list[Array]:
    """Return the eleven columns of energy by phase."""
    xp = namespace(tile)
    whole = _ln(xp.mean(tile, axis=(-2, -1)))
    cell = [xp.mean(tile[:, i::2, j::2], axis=(-2, -1)) for i in range(2) for j in range(2)]

    def contrast(a: int, b: int, c: int, d: int) -> Array:
        return xp.abs(_ln((cell[a] + cell[b]) / 2) - _ln((cell[c] + cell[d]) / 2))

    result = [*(_ln(phase) - whole for phase in cell), contrast(0, 3, 1, 2), contrast(0, 1, 2, 3), contrast(0, 2, 1, 3)]
    profiles = xp.mean(tile, axis=2), xp.mean(tile, axis=1)  # by row, by column
    result += [_ln((p[:, 0] + p[:, 7]) / 2) - _ln(xp.mean(p[:, 1:7], axis=-1)) for p in profiles]
    return [*result, *(_ln(xp.max(p, axis=-1)) - whole for p in profiles)]


def _mixed(sums: Array, sizes: Array) -> Array:
    """Return the means of the classes, each mixed with 1 % of all pixels: (B, 3) float64."""
    xp = namespace(sums)
    total, count = (xp.sum(part, axis=-1, keepdims=True) for part in (sums, sizes))
    return (sums + _PRIOR * total) / (sizes + _PRIOR * count)


def _median_of_counts(counts: Array) -> Array:
    """Return the median of grouped data: (B, C, D) counts of 0, 1, 2, ... -> (B, C) float64."""
    xp = namespace(counts)
    number = xp.sum(counts, axis=-1, keepdims=True)
    below = xp.astype(2 * xp.cumulative_sum(counts, axis=-1) < number, xp.int64)
    k = xp.sum(below, axis=-1, keepdims=True)
    inside = xp.arange(counts.shape[-1], device=device(counts)) == k
    lower, within = (xp.astype(xp.sum(counts * part, axis=-1), xp.float64) for part in (below, inside))
    k = xp.astype(k[..., 0], xp.float64)
    share = (xp.astype(number[..., 0], xp.float64) / 2 - lower) / within
    return xp.where(k > 0, k - 0.5 + share, share / 2)
