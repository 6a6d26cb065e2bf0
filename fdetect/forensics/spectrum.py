"""The power spectrum and its radial profile: where up-sampling leaves replicas and an unnatural fall-off.

Transforms run in float64 and are stored in float32.  A nearest-neighbour up-sampled image has exact zeros in its
spectrum; in single precision those zeros would be rounding noise, other noise on every machine.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
from array_api_compat import device

from fdetect.backend import namespace, rfft2
from fdetect.errors import ParameterError
from fdetect.forensics.base import require_sides, signal_map
from fdetect.types import Array

__all__ = ["BINS", "POWER_FLOOR", "log_power", "profile_frequencies", "radial_profile"]

BINS = 64  # columns of a radial profile

# Squared grey levels per pixel.  Rounding luma-weighted 8-bit samples alone leaves 0.037, so the floor is felt only
# where a spectrum is truly empty; and it is far above the error of the transform.
POWER_FLOOR = 1e-4


@signal_map
def log_power(luma: Array, *, window: str = "hann") -> Array:
    """Log power spectrum: the half plane of non-negative horizontal frequencies, DC at [0, 0].

    (B, H, W) float32 -> (B, H, W//2+1) float32, in ln(squared grey levels per pixel)

        ln( |F|^2 / (H W) + 1e-4 ),   F = rfft2( w (Y - mean Y) ),   mean w^2 = 1

    With this scale white noise of standard deviation s reads ln s^2 at any image size and under any window.
    `window` is "hann" (periodic, separable; keeps the image's borders out of the spectrum) or "none".

    Source: the modified periodogram, Welch 1967, "The use of fast Fourier transform for the estimation of power
    spectra", IEEE Trans. Audio Electroacoustics 15(2), section II, with one segment.
    Raises ParameterError for another window.
    """
    xp = namespace(luma)
    H, W = luma.shape[-2:]
    samples = xp.astype(luma, xp.float64)
    samples = samples - xp.mean(samples, axis=(-2, -1), keepdims=True)
    if window != "none":
        samples = samples * xp.asarray(_taper(window, H, W), device=device(luma))
    spectrum = rfft2(samples)
    power = (xp.real(spectrum) ** 2 + xp.imag(spectrum) ** 2) / (H * W)
    return xp.astype(xp.log(power + POWER_FLOOR), xp.float32)


signal_map.variant(log_power, "log_power_plain", window="none")


@signal_map
def radial_profile(log_power_plain: Array, luma: Array, *, bins: int = BINS) -> Array:
    """Radial profile: the log power averaged over all directions, at fixed relative frequencies.

    (B, H, W//2+1) float32, (B, H, W) float32 -> (B, bins) float32, in ln(squared grey levels per pixel)

        A(k) = mean of log power over { (u, v) : floor(S hypot(u/W, v/H) + 1/2) = k },   S = min(H, W)
        profile[j] = A linearly interpolated at k = S f_j,   f_j = 0.5 (j + 1) / bins cycles per pixel

    The mean is over the full plane: columns of the half plane that have a mirror image count twice.  The DC ring
    k = 0 is left out; frequencies below 1/S take the value of ring 1.  `luma` is read for its width, which the half
    plane does not tell.  Rings are rounded to the nearest radius where the source truncates, so that ring k is
    centred on frequency k/S; the corners beyond 0.5 cycles per pixel are not used.

    Source: Durall, Keuper, Pfreundt, Keuper 2019, "Unmasking DeepFakes with simple features", arXiv 1911.00686,
    Figure 2 (azimuthal average of the spectrum).
    Raises DataError below 8 x 8 pixels.
    """
    require_sides(luma, 8, "radial_profile")
    xp, where = namespace(log_power_plain), device(log_power_plain)
    B = log_power_plain.shape[0]
    table = _rings(*luma.shape[-2:], bins)
    R = table.size.shape[0]
    ring, copies, size, lower, share = (
        xp.asarray(part, device=where) for part in (table.ring, table.copies, table.size, table.lower, table.share)
    )
    weighted = xp.reshape(xp.astype(log_power_plain, xp.float64), (B, -1)) * copies
    index = ring + R * xp.arange(B, dtype=xp.int64, device=where)[:, None]
    sums = xp.bincount(xp.reshape(index, (-1,)), weights=xp.reshape(weighted, (-1,)), minlength=B * R)
    means = xp.reshape(sums, (B, R)) / size
    profile = xp.take(means, lower, axis=1) * (1 - share) + xp.take(means, lower + 1, axis=1) * share
    return xp.astype(profile, xp.float32)


signal_map.variant(radial_profile, "radial_profile_hann", reads=("log_power", "luma"))


def profile_frequencies(bins: int = BINS) -> np.ndarray:
    """Return the (bins,) float64 frequencies of a radial profile, in cycles per pixel: evenly spaced in (0, 0.5]."""
    return 0.5 * np.arange(1, bins + 1) / bins


@functools.lru_cache(maxsize=8)
def _taper(window: str, height: int, width: int) -> np.ndarray:
    if window != "hann":
        raise ParameterError(f"log_power: window is one of hann, none; got '{window}'")
    vertical, horizontal = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n) / n) for n in (height, width))
    taper = vertical[:, None] * horizontal[None, :]
    return np.asarray(taper / np.sqrt(np.mean(taper**2)))


@dataclass(frozen=True)
class _Rings:
    """Which ring every half-plane coefficient belongs to, and how rings become profile bins."""

    ring: np.ndarray  # (H * (W//2+1),) int64
    copies: np.ndarray  # (H * (W//2+1),) float64: 1 or 2, how often the coefficient stands in the full plane
    size: np.ndarray  # (R,) float64: coefficients of the full plane in each ring
    lower: np.ndarray  # (bins,) int64: the ring below the bin's frequency; the one above is the next
    share: np.ndarray  # (bins,) float64: weight of the ring above


@functools.lru_cache(maxsize=16)
def _rings(height: int, width: int, bins: int) -> _Rings:
    side = min(height, width)
    rows = np.arange(height)
    v = np.minimum(rows, height - rows)[:, None] * side / height
    u = np.arange(width // 2 + 1)[None, :] * side / width
    ring = np.floor(np.sqrt(u * u + v * v) + 0.5).astype(np.int64).ravel()
    copies = np.full((height, width // 2 + 1), 2.0)
    copies[:, 0] = 1
    if width % 2 == 0:
        copies[:, -1] = 1
    size = np.bincount(ring, weights=copies.ravel())
    position = np.clip(side * profile_frequencies(bins), 1, None)
    lower = np.floor(position).astype(np.int64)
    return _Rings(ring, copies.ravel(), size, lower, position - lower)
