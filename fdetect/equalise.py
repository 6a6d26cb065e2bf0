"""Spectrum equalisation: a picture whose power falls with frequency as a power law, without the peaks of up-sampling.

Natural pictures have power that falls about as a power of the frequency; generators leave peaks where they up-sample,
and a bump or a false fall-off at high frequencies.  An operation as in wear.py that takes both away, from whatever
picture: it hears of no label, needs no detector, and is what somebody does who knows what spectra give away.
"""

from __future__ import annotations

import functools

import numpy as np

from fdetect.errors import DataError
from fdetect.wear import Amounts, perturbation

__all__ = ["equalise"]

LEAST = 32  # px of a side: with fewer there are not enough rings to fit a line to
BAND = (0.04, 0.25)  # cycles per pixel: where the law is fitted, and from where on it is imposed
AROUND = 9  # coefficients in whose middle one is compared with their median
PEAK = 3.0  # log power above that median that makes a peak: noise alone reaches it about once in 10^6
LARGEST = np.log(64.0)  # change of a ring's log power; where a spectrum is empty there is only rounding to enlarge
FLOOR = 1e-4  # squared grey levels per pixel, as in forensics/spectrum.py


@perturbation(amounts=Amounts(1, 100, neutral=0, step=1.0, word="whole per cent"))
def equalise(pixels: np.ndarray, amount: float, rng: np.random.Generator) -> np.ndarray:
    """Spectrum brought to a power law by `amount` per cent, peaks cut: (H, W, 3) uint8 -> the same shape.

    In each channel, F = fft2(x), L = ln(|F|^2 / (H W) + 1e-4), r = hypot(u / W, v / H) in cycles per pixel:

        peaks   m = the largest of three medians of L around a coefficient, of 9 x 9, 1 x 9 and 9 x 1;
                L1 = m where L > m + 3, else L
        rings   k = floor(min(H, W) r + 1/2);   A(k) = mean of L1 over the ring
        law     ln-ln line a + b ln r through A(k) for 0.04 <= r <= 0.25
        F'      F exp(amount / 200 (L1 - L + clip(law - A(k), -ln 64, ln 64))) for r >= 0.04; phases as they were

    then the real part of the inverse, rounded and clipped.  The medians along rows and columns leave the lines alone
    that borders and edges draw through a spectrum.  Frequencies below 0.04 keep what they have: they are the scene.
    Ours, after azimuthal spectra of generators (Durall, Keuper and Keuper 2020, arXiv 2003.01826, section 3) and the
    peaks that up-sampling leaves (Zhang, Karaman and Chang 2019, arXiv 1907.06515, section 3).
    Raises DataError where a side is below 32 px.
    """
    height, width = pixels.shape[:2]
    if min(height, width) < LEAST:
        raise DataError(f"{width}x{height} px are too few for equalise, which needs sides of {LEAST} px")
    planes = np.moveaxis(pixels.astype(np.float64), 2, 0)
    shown = np.stack([_equalised(plane, amount / 100) for plane in planes], axis=2)
    return np.asarray(np.clip(np.rint(shown), 0, 255), np.uint8)


def _equalised(plane: np.ndarray, share: float) -> np.ndarray:
    """(H, W) float64 -> the same, not rounded."""
    height, width = plane.shape
    radius, ring, size = _rings(height, width)
    spectrum = np.fft.fft2(plane)
    log_power = np.log((spectrum.real**2 + spectrum.imag**2) / plane.size + FLOOR)
    cut = _without_peaks(log_power)
    profile = np.bincount(ring.ravel(), weights=cut.ravel()) / size
    frequency = np.arange(len(profile)) / min(height, width)
    there = (frequency >= BAND[0]) & (frequency <= BAND[1])
    slope, offset = np.polyfit(np.log(frequency[there]), profile[there], 1)
    law = offset + slope * np.log(np.maximum(frequency, frequency[1]))
    change = cut - log_power + np.clip(law - profile, -LARGEST, LARGEST)[ring]
    gain = np.where(radius >= BAND[0], np.exp(0.5 * share * change), 1.0)
    return np.asarray(np.fft.ifft2(spectrum * gain).real)


def _without_peaks(log_power: np.ndarray) -> np.ndarray:
    """Put what stands out of its surroundings, in every direction, to their median; the spectrum is a torus."""
    from scipy.ndimage import median_filter  # here: it is slow to import, and few conditions need it

    windows = ((AROUND, AROUND), (1, AROUND), (AROUND, 1))
    middle = np.max([median_filter(log_power, size=size, mode="wrap") for size in windows], axis=0)
    return np.where(log_power > middle + PEAK, middle, log_power)


@functools.lru_cache(maxsize=8)
def _rings(height: int, width: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the radius of every coefficient in cycles per pixel, the number of its ring, and the rings' sizes."""
    radius = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None, :])
    ring = np.floor(min(height, width) * radius + 0.5).astype(np.int64)
    return radius, ring, np.bincount(ring.ravel())
