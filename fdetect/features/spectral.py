"""Features of the spectrum: the radial fall-off, and the peaks at the periods of up-sampling and block coding."""

from __future__ import annotations

import functools
import math

from array_api_compat import device

from fdetect.backend import namespace, rfft2
from fdetect.features.base import feature
from fdetect.forensics.base import require_sides
from fdetect.forensics.spectrum import BINS, profile_frequencies
from fdetect.types import Array

__all__ = ["HARMONIC_FLOOR", "cross_difference_harmonics", "radial_spectrum"]

HARMONIC_FLOOR = 1e-2  # grey levels; 8-bit rounding alone puts about 0.6 into every coefficient


@feature(columns=tuple(f"f{f:.4f}" for f in profile_frequencies(BINS)), family="spectrum")
def radial_spectrum(radial_profile: Array) -> Array:
    """Radial spectrum: how the log power of luma falls off with frequency, averaged over directions.

    (B, 64) float32 -> (B, 64) float32, in ln(squared grey levels per pixel)

        column j = A(f_j),   f_j = 0.5 (j + 1) / 64 cycles per pixel,   A = mean log power at that radius

    Columns are named by their frequency.  Without a window, as in the source; `radial_spectrum_hann` reads the
    profile under a Hann window, in which the image's borders leave no trace.

    Source: Durall, Keuper, Pfreundt, Keuper 2019, "Unmasking DeepFakes with simple features", arXiv 1911.00686.
    """
    return radial_profile


feature.variant(radial_spectrum, "radial_spectrum_hann", reads=("radial_profile_hann",))


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
def cross_difference_harmonics(cross_difference: Array, *, period: int = 8) -> Array:
    """Cross-difference harmonics: the Fourier magnitude of the cross-difference at all multiples of 1/period.

    (B, 3, H-1, W-1) float32 -> (B, 3 (P/2+1) (P+1)) float32, in ln(grey levels): 135 columns for P = 8, 459 for 16

        h(c, i, j) = ln( |F_c(i/P, j/P)| + 0.01 ),   F_c(x, y) = 1/sqrt(N) sum_{m,n} D_c[n, m] e^(-2 pi i (x m + y n))

    over the N pixels of D cut to a multiple of P = `period` (even), i = 0..P/2, j = -P/2..P/2; rows j = -P/2 and
    P/2 are the same frequency and both are kept, as in the source.  Column `red_x1y-2of8` is i = 1, j = -2 of red.

    The source feeds |F| to decision trees, which see no difference between |F| and a monotone function of it.  The
    logarithm is for linear heads: peaks span decades, and a generator's gain on a peak becomes a shift.

    All these frequencies have period P, so the image is first folded (summed) into one P x P tile: the tile's DFT is
    the image's DFT at the harmonics, exactly, without transforming the image.

    Source: Bammey 2024, "Synthbuster: towards detection of diffusion model generated images", IEEE Open Journal of
    Signal Processing 5, doi 10.1109/OJSP.2023.3337714.
    Raises DataError where the cross-difference is smaller than one period.
    """
    require_sides(cross_difference, period, "cross_difference_harmonics")
    xp = namespace(cross_difference)
    B, C, H, W = cross_difference.shape
    rows, columns = H // period, W // period
    trimmed = cross_difference[:, :, : rows * period, : columns * period]
    folded = xp.sum(xp.reshape(trimmed, (B, C, rows, period, columns * period)), axis=2, dtype=xp.float64)
    tile = xp.sum(xp.reshape(folded, (B, C, period, columns, period)), axis=3)
    spectrum = rfft2(tile) / (period * math.sqrt(rows * columns))
    order = xp.asarray([j % period for j in range(-(period // 2), period // 2 + 1)], device=device(cross_difference))
    magnitude = xp.abs(xp.take(spectrum, order, axis=2))
    return xp.astype(xp.reshape(xp.log(magnitude + HARMONIC_FLOOR), (B, -1)), xp.float32)


feature.variant(cross_difference_harmonics, "cross_difference_harmonics_16", period=16)
