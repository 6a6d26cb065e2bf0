"""The power spectrum and its profiles by radius and direction: where up-sampling leaves replicas and a false fall-off.

Transforms run in float64 and are stored in float32.  A nearest-neighbour up-sampled image has exact zeros in its
spectrum; in single precision those zeros would be rounding noise, other noise on every machine.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
from array_api_compat import device

from fdetect.backend import dct, namespace, rfft2
from fdetect.errors import ParameterError
from fdetect.forensics.base import require_sides, signal_map
from fdetect.forensics.kernels import twin
from fdetect.types import Array

__all__ = [
    "BINS",
    "DCT_FLOOR",
    "DIRECTIONS",
    "POWER_FLOOR",
    "angular_profile",
    "column_copies",
    "log_dct",
    "log_power",
    "plane_weights",
    "profile_frequencies",
    "radial_profile",
    "taper",
]

BINS = 64  # columns of a radial profile
DIRECTIONS = 16  # columns of an angular profile

# Squared grey levels per pixel.  Rounding luma-weighted 8-bit samples alone leaves 0.037, so the floor is felt only
# where a spectrum is truly empty; and it is far above the error of the transform.
POWER_FLOOR = 1e-4
DCT_FLOOR = 1e-2  # grey levels: the same floor for magnitudes


@signal_map
def log_power(luma: Array, *, window: str = "hann") -> Array:
    """Log power spectrum: the half plane of non-negative horizontal frequencies, DC at [0, 0].

    (B, H, W) float32 -> (B, H, W//2+1) float32, in ln(squared grey levels per pixel)

        ln( |F|^2 / (H W) + 1e-4 ),   F = rfft2( w (Y - mean Y) ),   mean w^2 = 1

    With this scale white noise of standard deviation s has power s^2 at any image size and under any window (the mean
    of the log is 0.577 below ln s^2).
    `window` is "hann" (periodic, separable; keeps the image's borders out of the spectrum) or "none".

    Source: the modified periodogram, Welch 1967, "The use of fast Fourier transform for the estimation of power
    spectra", IEEE Trans. Audio Electroacoustics 15(2), section II, with one segment.
    Raises ParameterError for another window, DataError below 2 x 2 pixels (a Hann window of one sample is zero).
    """
    require_sides(luma, 2, "log_power")
    xp = namespace(luma)
    H, W = luma.shape[-2:]
    samples = xp.astype(luma, xp.float64)
    samples = samples - xp.mean(samples, axis=(-2, -1), keepdims=True)
    if window != "none":
        samples = samples * xp.asarray(taper(window, H, W), device=device(luma))
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
    table = rings(*luma.shape[-2:], bins)
    R = table.size.shape[0]
    ring, copies, size, lower, share = (
        xp.asarray(part, device=where) for part in (table.ring, table.copies, table.size, table.lower, table.share)
    )
    if fast := twin("ring_sums", log_power_plain):
        sums = fast(log_power_plain, ring, copies, R)
    else:
        weighted = xp.reshape(xp.astype(log_power_plain, xp.float64) * copies, (-1,))
        index = xp.astype(ring, xp.int64) + R * xp.arange(B, dtype=xp.int64, device=where)[:, None, None]
        sums = xp.reshape(xp.bincount(xp.reshape(index, (-1,)), weights=weighted, minlength=B * R), (B, R))
    means = sums / size
    profile = xp.take(means, lower, axis=1) * (1 - share) + xp.take(means, lower + 1, axis=1) * share
    return xp.astype(profile, xp.float32)


signal_map.variant(radial_profile, "radial_profile_hann", reads=("log_power", "luma"))


@signal_map
def angular_profile(log_power: Array, luma: Array) -> Array:
    """Angular profile: the log power averaged over the middle and high frequencies of each of 16 directions.

    (B, H, W//2+1) float32, (B, H, W) float32 -> (B, 16) float32, in ln(squared grey levels per pixel)

        profile[j] = mean of log power over { (u, v) : 0.1 < r <= 0.5,  floor(16 a / pi + 1/2) mod 16 = j }

    where r and a are the length and the angle of (u/W, v/H), in cycles per pixel and radians.  Bin 0 is centred on
    horizontal frequencies (vertical edges), bins 4 and 12 on the diagonals, bin 8 on vertical frequencies; each is
    11.25 degrees wide, so what up-sampling leaves on axes and diagonals falls into the middle of a bin.  The mean is
    over the full plane: columns of the half plane that have a mirror image count twice.  Radii are decided in whole
    numbers; the edges of the bins have irrational slopes, which no coefficient meets.  Under a Hann window, because
    without one the image's borders fill bins 0 and 8.  `luma` is read for its width, which the half plane does not
    tell.

    Source: Corvi, Cozzolino, Poggi, Nagano, Verdoliva 2023, "Intriguing properties of synthetic images: from
    generative adversarial networks to diffusion models", CVPR Workshops, arXiv 2304.06408 (angular spectra, 16
    directions, radii above 0.1); they average the power of many residuals, this is the log power of one image's luma.
    Raises DataError below 9 x 9 pixels, where a direction has no coefficient.
    """
    require_sides(luma, 9, "angular_profile")
    xp, where = namespace(log_power), device(log_power)
    B = log_power.shape[0]
    place, copies, size = (xp.asarray(part, device=where) for part in _directions(*luma.shape[-2:]))
    chosen = xp.take(xp.reshape(log_power, (B, -1)), xp.reshape(place, (-1,)), axis=1)
    weighted = xp.reshape(xp.astype(chosen, xp.float64), (B, *place.shape)) * copies
    return xp.astype(xp.sum(weighted, axis=-1) / size, xp.float32)


@signal_map
def log_dct(luma: Array) -> Array:
    """Log DCT: the log magnitude of the orthonormal DCT-II of the whole image, lowest frequency at [0, 0].

    (B, H, W) float32 -> (B, H, W) float32, in ln(grey levels)

        ln( |C| + 0.01 ),   C = DCT-II of Y over rows and columns, orthonormal

    White noise of standard deviation s has coefficients of standard deviation s at any image size.

    Source: Frank, Eisenhofer, Schoenherr, Fischer, Kolossa, Holz 2020, "Leveraging frequency analysis for deep fake
    image recognition", ICML, arXiv 2003.08685, section 3, who add 1e-12: that shows rounding errors, other ones on
    every machine, where an image has none of a frequency.  The floor here is far below what 8-bit rounding leaves
    in a coefficient (about 0.2).
    """
    xp = namespace(luma)
    coefficients = dct(xp.astype(luma, xp.float64))
    return xp.astype(xp.log(xp.abs(coefficients) + DCT_FLOOR), xp.float32)


def profile_frequencies(bins: int = BINS) -> np.ndarray:
    """Return the (bins,) float64 frequencies of a radial profile, in cycles per pixel: evenly spaced in (0, 0.5]."""
    return 0.5 * np.arange(1, bins + 1) / bins


@functools.lru_cache(maxsize=8)
def taper(window: str, height: int, width: int) -> np.ndarray:
    """Return the (height, width) float64 window of mean square 1; raises ParameterError where it has another name."""
    if window != "hann":
        raise ParameterError(f"log_power: window is one of hann, none; got '{window}'")
    vertical, horizontal = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n) / n) for n in (height, width))
    product = vertical[:, None] * horizontal[None, :]
    return np.asarray(product / np.sqrt(np.mean(product**2)))


@functools.lru_cache(maxsize=8)
def plane_weights(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Return two (height * (width//2+1),) float64 weights of the half plane: all frequencies, and the high ones.

    A weight is how often the coefficient stands in the full plane, 0 at DC; "high" is beyond 0.25 cycles per pixel,
    half of Nyquist, at any direction.
    """
    total = _copies(height, width)
    total[0, 0] = 0
    high = np.where(_squared_radius(height, width) > (height * width) ** 2 // 16, total, 0)
    return total.ravel(), high.ravel()


def column_copies(width: int) -> np.ndarray:
    """Return (width//2+1,) float64: how often each column of the half plane stands in the full plane, 1 or 2."""
    copies = np.full(width // 2 + 1, 2.0)
    copies[0] = 1
    if width % 2 == 0:
        copies[-1] = 1
    return copies


def _copies(height: int, width: int) -> np.ndarray:
    return np.tile(column_copies(width), (height, 1))


def _squared_radius(height: int, width: int) -> np.ndarray:
    """Return (H W)^2 times the squared radius in cycles per pixel, in whole numbers: no rounding decides a side."""
    v = np.minimum(np.arange(height), height - np.arange(height))[:, None] * width
    u = np.arange(width // 2 + 1)[None, :] * height
    return np.asarray(u * u + v * v)


@functools.lru_cache(maxsize=16)
def _directions(height: int, width: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return (16, M) flat places and copies of the coefficients of every direction, and (16,) sums of the copies.

    Directions with fewer than M coefficients end in some without a copy, so that all are summed in one fixed order.
    """
    squared, whole = _squared_radius(height, width), (height * width) ** 2
    place = np.flatnonzero((squared > whole // 100) & (squared <= whole // 4))
    v, u = np.unravel_index(place, squared.shape)
    v = np.where(2 * v > height, v - height, v)
    direction = np.floor(np.arctan2(v / height, u / width) * DIRECTIONS / np.pi + 0.5).astype(np.int64) % DIRECTIONS
    members, of_place = [place[direction == j] for j in range(DIRECTIONS)], _copies(height, width).ravel()
    places = np.zeros((DIRECTIONS, max(len(one) for one in members)), np.int64)
    copies = np.zeros(places.shape)
    for j, one in enumerate(members):
        places[j, : len(one)], copies[j, : len(one)] = one, of_place[one]
    return places, copies, copies.sum(axis=1)


@dataclass(frozen=True)
class Rings:
    """Which ring every half-plane coefficient belongs to, and how rings become profile bins."""

    ring: np.ndarray  # (H, W//2+1) int32; rows of opposite frequency are equal
    copies: np.ndarray  # (W//2+1,) float64: 1 or 2, how often a column stands in the full plane
    size: np.ndarray  # (R,) float64: coefficients of the full plane in each ring
    lower: np.ndarray  # (bins,) int64: the ring below the bin's frequency; the one above is the next
    share: np.ndarray  # (bins,) float64: weight of the ring above


@functools.lru_cache(maxsize=16)
def rings(height: int, width: int, bins: int) -> Rings:
    """Return the table for a spectrum of an image of this size and a profile of so many bins."""
    side = min(height, width)
    rows = np.arange(height)
    v = np.minimum(rows, height - rows)[:, None] * side / height
    u = np.arange(width // 2 + 1)[None, :] * side / width
    ring = np.floor(np.sqrt(u * u + v * v) + 0.5).astype(np.int32)
    copies = _copies(height, width)
    size = np.bincount(ring.ravel(), weights=copies.ravel())
    position = np.clip(side * profile_frequencies(bins), 1, None)
    lower = np.floor(position).astype(np.int64)
    return Rings(ring, copies[0], size, lower, position - lower)
