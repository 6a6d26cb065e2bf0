"""Features of the spectrum: fall-off, direction, shape; and the correlation of the residual with itself."""

from __future__ import annotations

import functools

import numpy as np
from array_api_compat import device

from fdetect.backend import namespace
from fdetect.errors import ParameterError
from fdetect.features.base import feature
from fdetect.forensics.correlation import REACH
from fdetect.forensics.spectrum import BINS, DIRECTIONS, plane_weights, profile_frequencies
from fdetect.types import Array

__all__ = ["angular_spectrum", "radial_spectrum", "residual_autocorrelation", "spectrum_shape"]

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


@feature(columns=tuple(f"degrees{180 * j / DIRECTIONS:.2f}" for j in range(DIRECTIONS)), family="spectrum")
def angular_spectrum(angular_profile: Array) -> Array:
    """Angular spectrum: how much stronger than the others each of 16 directions of the spectrum is.

    (B, 16) float32 -> (B, 16) float32, in ln of a ratio of powers; a row sums to 0

        column j = A_j - (1/16) sum_i A_i,   A = mean log power between 0.1 and 0.5 cycles per pixel

    Column `degrees0.00` holds horizontal frequencies (vertical edges), `degrees90.00` vertical ones.  The mean itself
    is left out: it is the level of the fall-off, which `spectrum_shape` and `radial_spectrum` have.

    Source: Corvi, Cozzolino, Poggi, Nagano, Verdoliva 2023, "Intriguing properties of synthetic images: from
    generative adversarial networks to diffusion models", CVPR Workshops, arXiv 2304.06408; taken relative to the
    mean, so that the contrast of the picture cancels, and of one image, not of a thousand.
    """
    xp = namespace(angular_profile)
    profile = xp.astype(angular_profile, xp.float64)
    return xp.astype(profile - xp.mean(profile, axis=1, keepdims=True), xp.float32)


@feature(columns=("slope", "offset", "misfit", "high_frequency_share"), family="spectrum")
def spectrum_shape(
    radial_profile_hann: Array, log_power: Array, luma: Array, *, low: float = 0.10, high: float = 0.90
) -> Array:
    """Spectrum shape: the straight line through the log fall-off, how badly it fits, and the high-frequency share.

    (B, R) float32, (B, H, W//2+1) float32, (B, H, W) float32 -> (B, 4) float32

        A(r) = slope ln r + offset + e(r),   low <= r <= high,   least squares over the bins of the profile
        misfit = sqrt(mean e^2),   high_frequency_share = ln( sum_{r > 1/2} P / sum_{r > 0} P )

    r is the frequency as a share of Nyquist (0.5 cycles per pixel), A the mean log power at that radius, P the power
    of each coefficient of the full plane, corners included, with the floor of `log_power`.  So `offset` is the line's
    value at Nyquist.  A photograph falls off evenly, slope near -2 to -3 and a small misfit; a missing or repeated
    top of the spectrum bends the line.  `low` and `high` bound the fit.  Under a Hann window, because the jump across
    the image's borders would flatten the fall-off.

    Source: the power law is that of van der Schaaf and van Hateren 1996, "Modelling the power spectra of natural
    images: statistics and information", Vision Research 36(17), doi 10.1016/0042-6989(96)00002-8; Dzanic, Shah,
    Witherden 2020, "Fourier spectrum discrepancies in deep network generated images", NeurIPS, arXiv 1911.06465, read
    generated images off the fitted decay of high frequencies.  The four columns are this project's choice.
    Raises ParameterError where fewer than three bins are fitted.
    """
    xp, where = namespace(log_power), device(log_power)
    B = log_power.shape[0]
    bins, line, solve = (xp.asarray(part, device=where) for part in _line_fit(radial_profile_hann.shape[1], low, high))
    profile = xp.astype(xp.take(radial_profile_hann, bins, axis=1), xp.float64)
    fit = xp.matmul(profile, solve)  # (B, 2): slope, offset
    error = profile - xp.matmul(fit, line)
    misfit = xp.sqrt(xp.mean(error * error, axis=1, keepdims=True))
    power = xp.exp(xp.astype(xp.reshape(log_power, (B, -1)), xp.float64))
    total, above = (
        xp.sum(power * xp.asarray(part, device=where), axis=1, keepdims=True)
        for part in plane_weights(*luma.shape[-2:])
    )
    return xp.astype(xp.concat([fit, misfit, xp.log(above / total)], axis=1), xp.float32)


_LAGS = [(dy, dx) for dy in range(REACH + 1) for dx in range(-REACH, REACH + 1) if (dy, dx) > (0, 0)]


@feature(columns=tuple(f"y{dy}x{dx}" for dy, dx in _LAGS), family="autocorrelation")
def residual_autocorrelation(residual_autocorrelation_map: Array) -> Array:
    """Residual autocorrelation: how alike the median residual is to itself moved by up to 8 pixels.

    (B, 9, 17) float32 -> (B, 144) float32, range -1..1

        column y{dy}x{dx} = r(dy, dx),   the lags after (0, 0) of the half plane dy >= 0

    Column `y2x-1` is two rows down and one to the left.  Independent noise has 0 everywhere; up-sampling correlates
    neighbours, and a generator's periods stand out at their multiples.

    Source: Corvi, Cozzolino, Poggi, Nagano, Verdoliva 2023, "Intriguing properties of synthetic images: from
    generative adversarial networks to diffusion models", CVPR Workshops, arXiv 2304.06408; with the residual of a
    3 x 3 median where they have DnCNN's, and of one image where they average a thousand.
    """
    xp = namespace(residual_autocorrelation_map)
    B = residual_autocorrelation_map.shape[0]
    return xp.reshape(residual_autocorrelation_map, (B, -1))[:, REACH + 1 :]


@functools.lru_cache(maxsize=8)
def _line_fit(bins: int, low: float, high: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the bins that are fitted, the two rows ln r and 1 of the line, and the matrix that solves for it."""
    relative = profile_frequencies(bins) / 0.5
    chosen = np.flatnonzero((relative >= low) & (relative <= high))
    if len(chosen) < 3:
        raise ParameterError(f"spectrum_shape: low {low} and high {high} leave fewer than 3 of {bins} bins to fit")
    line = np.stack([np.log(relative[chosen]), np.ones(len(chosen))])
    return chosen, line, np.linalg.pinv(line)
