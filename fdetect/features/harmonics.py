"""Harmonics: the spectrum at the frequencies that up-sampling and block coding repeat it at."""

from __future__ import annotations

import functools
import math
from fractions import Fraction

import numpy as np
from array_api_compat import device

from fdetect.backend import namespace, rfft2
from fdetect.features.base import feature
from fdetect.forensics.base import require_sides
from fdetect.forensics.kernels import twin
from fdetect.forensics.neighbours import cross_difference
from fdetect.forensics.planes import planes
from fdetect.forensics.spectrum import POWER_FLOOR, taper
from fdetect.types import Array

__all__ = ["HARMONIC_FLOOR", "cross_difference_harmonics", "fold", "tile_harmonics", "upsampling_peaks"]

HARMONIC_FLOOR = 1e-2  # grey levels; 8-bit rounding alone puts about 0.6 into every coefficient

_PERIOD = 16  # the largest factor: its harmonics contain those of 2, 4 and 8
_TILE = 64  # frequencies are multiples of 1/64
_STEP = _TILE // _PERIOD
_GAP = 2  # of 64: the ring of neighbours lies half way to the next harmonic
_LINES = {"horizontal": ((0, 1),), "vertical": ((1, 0),), "diagonal": ((1, 1), (1, -1))}  # (v, u) per harmonic


@functools.cache
def _harmonic_columns(*, period: int) -> tuple[str, ...]:
    half = period // 2
    return tuple(
        f"{colour}_x{i}y{j}of{period}"
        for colour in ("red", "green", "blue")
        for j in range(-half, half + 1)
        for i in range(half + 1)
    )


@feature(columns=_harmonic_columns, family="harmonics")
def cross_difference_harmonics(rgb8: Array, *, period: int = 8) -> Array:
    """Cross-difference harmonics: the Fourier magnitude of the cross-difference at all multiples of 1/period.

    (B, H, W, 3) uint8 -> (B, 3 (P/2+1) (P+1)) float32, in ln(grey levels): 135 columns for P = 8, 459 for 16

        h(c, i, j) = ln( |F_c(i/P, j/P)| + 0.01 ),   F_c(x, y) = 1/sqrt(N) sum_{m,n} D_c[n, m] e^(-2 pi i (x m + y n))

    over the N pixels of D, the map `cross_difference`, cut to a multiple of P = `period` (even), i = 0..P/2,
    j = -P/2..P/2; rows j = -P/2 and P/2 are the same frequency, and for i = 0 and i = P/2 so are j and
    -j; all are kept, as in the source.  Column `red_x1y-2of8` is i = 1, j = -2 of red.  What has exactly such a period
    grows with sqrt(N), as in the source; most of all x0y0, the mean: compare these columns at one crop size.

    The source feeds |F| to decision trees, which see no difference between |F| and a monotone function of it.  The
    logarithm is for linear heads: peaks span decades, and a generator's gain on a peak becomes a shift.

    All these frequencies have period P, so the image is first folded (summed) into one P x P tile: the tile's DFT is
    the image's DFT at the harmonics, exactly, without transforming the image.

    Source: Bammey 2024, "Synthbuster: towards detection of diffusion model generated images", IEEE Open Journal of
    Signal Processing 5, doi 10.1109/OJSP.2023.3337714.
    Raises DataError where a side is not longer than one period.
    """
    require_sides(rgb8[..., 0], period + 1, "cross_difference_harmonics")
    rows, columns = ((side - 1) // period for side in rgb8.shape[1:3])
    if fast := twin("folded_cross_difference", rgb8):
        tile = fast(rgb8, period)
    else:
        tile = fold(cross_difference(planes(rgb8)), period)
    return tile_harmonics(tile, rows * columns)


feature.variant(cross_difference_harmonics, "cross_difference_harmonics_16", period=16)


def fold(image: Array, period: int) -> Array:
    """Sum whole periods into one: (B, C, H, W) float32 -> (B, C, P, P) float64, rows before columns."""
    xp = namespace(image)
    B, C, H, W = image.shape
    rows, columns = H // period, W // period
    trimmed = image[:, :, : rows * period, : columns * period]
    folded = xp.sum(xp.reshape(trimmed, (B, C, rows, period, columns * period)), axis=2, dtype=xp.float64)
    return xp.sum(xp.reshape(folded, (B, C, period, columns, period)), axis=3)


def tile_harmonics(tile: Array, periods: int) -> Array:
    """Return the log magnitudes of a tile into which so many periods were folded: (B, C, P, P) -> (B, D) float32."""
    xp = namespace(tile)
    B, _, period, _ = tile.shape
    spectrum = rfft2(xp.astype(tile, xp.float64)) / (period * math.sqrt(periods))
    order = xp.asarray([j % period for j in range(-(period // 2), period // 2 + 1)], device=device(tile))
    magnitude = xp.abs(xp.take(spectrum, order, axis=2))
    return xp.astype(xp.reshape(xp.log(magnitude + HARMONIC_FLOOR), (B, -1)), xp.float32)


def _peak_columns() -> tuple[str, ...]:
    names = [Fraction(k, _PERIOD) for k in range(1, _PERIOD // 2 + 1)]
    return tuple(f"{line}_{name.numerator}of{name.denominator}" for line in _LINES for name in names)


@feature(columns=_peak_columns(), family="harmonics")
def upsampling_peaks(median_residual: Array) -> Array:
    """Up-sampling peaks: how far the residual's spectrum stands out at multiples of 1/16 on axes and diagonals.

    (B, H, W) float32 -> (B, 24) float32, in ln of a ratio of powers; 3 lines x 8 harmonics

        e(v, u) = L(v, u) - mean of L over the 16 frequencies (v + i/64, u + j/64) with max(|i|, |j|) = 2
        L(v, u) = ln( |F(v, u)|^2 / (H W) + 1e-4 ),   F(v, u) = sum_{y,x} w N[y, x] e^(-2 pi i (v y + u x))
        columns = e(0, k/16), e(k/16, 0), (e(k/16, k/16) + e(k/16, -k/16)) / 2,   k = 1..8

    Up-sampling by f repeats the spectrum at multiples of 1/f, so f = 2, 4, 8 and 16 have their harmonics here; column
    `vertical_3of8` is v = 3/8, which f = 8 is the first to reach.  N is the residual of the 3 x 3 median; w a Hann
    window of mean square 1, whose leakage ends before the ring at 64 pixels and more.  The ring lies half way to the
    next harmonic.  Noise gives columns that scatter around 0; those of 1/2 around -ln 2, as F is a real number there.
    Photographs may stand higher on the axes (up to 0.8 in the median of Kodak's 24), since upright and level edges make
    ridges there, of which the ring holds two points only.

    Harmonics are met exactly at every image size, without cutting pixels off: the windowed residual is followed by
    zeros up to a multiple of 64 and folded (summed) into one 64 x 64 tile, whose DFT is the transform of the image at
    the multiples of 1/64.

    Source: Zhang, Karaman, Chang 2019, "Detecting and simulating artifacts in GAN fake images", WIFS, arXiv
    1907.06515, section III (replicas of up-sampling); Wang, Wang, Zhang, Owens, Efros 2020, "CNN-generated images are
    surprisingly easy to spot... for now", CVPR, arXiv 1912.11035, Figure 6 (mean spectra of median residuals).  Both
    show spectra; the peak's excess over its ring is this project's summary of them.
    Raises DataError below 16 x 16 pixels.
    """
    require_sides(median_residual, _PERIOD, "upsampling_peaks")
    xp, where = namespace(median_residual), device(median_residual)
    B, H, W = median_residual.shape
    samples = xp.astype(median_residual, xp.float64) * xp.asarray(taper("hann", H, W), device=where)
    spectrum = rfft2(_fold(_fold(samples, 1), 2))
    power = (xp.real(spectrum) ** 2 + xp.imag(spectrum) ** 2) / (H * W)
    level = xp.reshape(xp.log(power + POWER_FLOOR), (B, -1))
    places = xp.asarray(_places(), device=where)
    stars = xp.reshape(xp.take(level, xp.reshape(places, (-1,)), axis=1), (B, *places.shape))
    excess = stars[:, :, 0] - xp.mean(stars[:, :, 1:], axis=2)
    harmonics = _PERIOD // 2
    axes, first, second = (
        excess[:, : 2 * harmonics], excess[:, 2 * harmonics : 3 * harmonics], excess[:, 3 * harmonics :],
    )  # fmt: skip
    return xp.astype(xp.concat([axes, (first + second) / 2], axis=1), xp.float32)


def _fold(samples: Array, axis: int) -> Array:
    """Sum the stretches of 64 samples along an axis of a (B, H, W) array; the last stretch may be short."""
    xp = namespace(samples)
    shape = list(samples.shape)
    if missing := -shape[axis] % _TILE:
        shape[axis] = missing
        zeros = xp.zeros(tuple(shape), dtype=samples.dtype, device=device(samples))
        samples = xp.concat([samples, zeros], axis=axis)
    shape = list(samples.shape)
    return xp.sum(xp.reshape(samples, (*shape[:axis], -1, _TILE, *shape[axis + 1 :])), axis=axis)


@functools.cache
def _places() -> np.ndarray:
    """Return where each harmonic and then its 16 neighbours stand in the flat half plane of a tile: (32, 17)."""
    reach = range(-_GAP, _GAP + 1)
    ring = [(i, j) for i in reach for j in reach if max(abs(i), abs(j)) == _GAP]
    rows = []
    for v, u in (direction for line in _LINES.values() for direction in line):
        for k in range(1, _PERIOD // 2 + 1):
            star = [(_STEP * k * v + i, _STEP * k * u + j) for i, j in ((0, 0), *ring)]
            rows.append([_flat(*frequency) for frequency in star])
    return np.array(rows)


def _flat(v: int, u: int) -> int:
    """Return the flat place of a frequency in the half plane; its conjugate's where it lies in the other half."""
    v, u = v % _TILE, u % _TILE
    if u > _TILE // 2:
        v, u = -v % _TILE, _TILE - u
    return v * (_TILE // 2 + 1) + u
