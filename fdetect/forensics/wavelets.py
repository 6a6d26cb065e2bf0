"""The discrete wavelet transform, its finest bands, and the noise that wavelet denoising takes away.

Coefficients are those of PyWavelets in its mode "symmetric": the signal is mirrored at half a sample beyond its ends,
so images of any size have a transform, which is a few coefficients longer than half the image.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from array_api_compat import device

from fdetect.backend import namespace
from fdetect.errors import ParameterError
from fdetect.forensics.base import signal_map
from fdetect.forensics.kernels import twin
from fdetect.types import Array

__all__ = ["BANDS", "WAVELETS", "Wavelet", "dwt2", "idwt2", "mirror", "wavelet_band", "wavelet_residual"]

BANDS = ("ll", "lh", "hl", "hh")  # first letter: low- or high-pass along x; second: along y


@dataclass(frozen=True)
class Wavelet:
    """The four filters of a wavelet, of one even length: analysis low and high, synthesis low and high."""

    low: tuple[float, ...]
    high: tuple[float, ...]
    inverse_low: tuple[float, ...]
    inverse_high: tuple[float, ...]


def _orthogonal(*scaling: float) -> Wavelet:
    """Return the orthogonal wavelet of a scaling filter: its filters are this one reversed, with changed signs."""
    low = scaling[::-1]
    inverse_high = tuple(-value if k % 2 else value for k, value in enumerate(low))
    return Wavelet(low, inverse_high[::-1], scaling, inverse_high)


_ROOT = math.sqrt(0.5)
_EIGHTH = _ROOT / 8

WAVELETS = {
    "haar": _orthogonal(_ROOT, _ROOT),
    "bior1.3": Wavelet(  # Cohen, Daubechies, Feauveau 1992: Haar's high-pass with a smoother low-pass
        (-_EIGHTH, _EIGHTH, _ROOT, _ROOT, _EIGHTH, -_EIGHTH),
        (0.0, 0.0, -_ROOT, _ROOT, 0.0, 0.0),
        (0.0, 0.0, _ROOT, _ROOT, 0.0, 0.0),
        (-_EIGHTH, -_EIGHTH, _ROOT, -_ROOT, _EIGHTH, _EIGHTH),
    ),
    "db4": _orthogonal(  # Daubechies 1988, table 1, N = 4: eight taps
        0.2303778133088965, 0.7148465705529157, 0.6308807679298589, -0.027983769416859854,
        -0.18703481171909309, 0.030841381835560764, 0.0328830116668852, -0.010597401785069032,
    ),
}  # fmt: skip


@signal_map(name="wavelet_hh")
def wavelet_band(planes: Array, *, band: str = "hh") -> Array:
    """Wavelet band: one level of the bior1.3 transform of each colour, by default its finest, diagonal band.

    (B, 3, H, W) float32 -> (B, 3, (H+5)//2, (W+5)//2) float32, in grey levels

        HH[k, l] = sum_{i,j} g[i] g[j] I[2k + 1 - i, 2l + 1 - j],   g = high-pass, I mirrored beyond its edges

    `band` is hh, hl (high-pass along x), lh (along y) or ll.  The high-pass of bior1.3 is that of Haar, so hh inside
    the image is half the mixed difference of 2 x 2 pixels: nothing is left of an image enlarged by nearest neighbour
    in steps with this grid.

    Source: Li, Cai, Hao, Jiang, Hu, Feng 2024, "Improving synthetic image detection towards generalization: an image
    transformation perspective" (SAFE), arXiv 2408.06741 (bior1.3, one level, symmetric, HH only; its code then
    enlarges the band to the size of the image, which is left to the reader here).
    Raises ParameterError for another band.
    """
    if band not in BANDS:
        raise ParameterError(f"wavelet_band: band is one of {', '.join(BANDS)}; got '{band}'")
    wavelet = WAVELETS["bior1.3"]
    along_x, along_y = (wavelet.high if letter == "h" else wavelet.low for letter in band)
    if fast := twin("wavelet_band", planes):
        return fast(planes, along_y, along_x)
    xp = namespace(planes)
    rows = _analyse(xp.astype(planes, xp.float64), along_y, axis=-2)
    return xp.astype(_analyse(rows, along_x, axis=-1), xp.float32)


signal_map.variant(wavelet_band, "wavelet_hl", band="hl")
signal_map.variant(wavelet_band, "wavelet_lh", band="lh")


@signal_map
def wavelet_residual(luma: Array, *, sigma: float = 5.0, levels: int = 4) -> Array:
    """Wavelet residual: luma minus its denoised version, the noise that camera identification works on.

    (B, H, W) float32 -> (B, H, W) float32, in grey levels

        v = min over W = 3, 5, 7, 9 of max(0, mean of h^2 over W x W - s^2),   h' = h s^2 / (v + s^2)
        residual = inverse transform of all h', with the coarsest low-pass set to 0

    over the detail bands h of `levels` levels of the 8-tap Daubechies transform; `sigma` s is the standard deviation
    of the noise to be taken away, in grey levels.  Where details are no stronger than s they are noise and stay
    whole; edges, far above s, are left out.  Nothing is decided by a threshold: the map changes smoothly with luma.
    Windows are mirrored at the edges of a band, where the source says nothing.

    Source: Mihcak, Kozintsev, Ramchandran 1999, "Spatially adaptive statistical modeling of wavelet image
    coefficients and its application to denoising", ICASSP; constants of Lukas, Fridrich, Goljan 2006, "Digital camera
    identification from sensor pattern noise", IEEE Trans. Information Forensics and Security 1(2), appendix A.
    Raises ParameterError where `sigma` is not positive or `levels` is below 1.
    """
    if sigma <= 0 or levels < 1:
        raise ParameterError(f"wavelet_residual: sigma > 0 and levels >= 1, got {sigma} and {levels}")
    wavelet = WAVELETS["db4"]
    if fast := twin("wavelet_residual", luma):
        return fast(luma, sigma, levels, wavelet)
    xp = namespace(luma)
    low = xp.astype(luma, xp.float64)
    sizes, details = [], []
    for _ in range(levels):
        sizes.append((low.shape[-2], low.shape[-1]))
        low, *bands = dwt2(low, wavelet)
        details.append([h * (sigma**2 / (_local_variance(h, sigma**2) + sigma**2)) for h in bands])
    result = xp.zeros_like(low)
    for size, bands in zip(reversed(sizes), reversed(details), strict=True):
        result = idwt2([result, *bands], wavelet, size)
    return xp.astype(result, xp.float32)


def dwt2(samples: Array, wavelet: Wavelet) -> list[Array]:
    """One level of the 2-D transform: (..., H, W) -> its bands ll, lh, hl, hh, each (..., (H+F-1)//2, (W+F-1)//2)."""
    low, high = (_analyse(samples, taps, axis=-1) for taps in (wavelet.low, wavelet.high))
    return [_analyse(part, taps, axis=-2) for part in (low, high) for taps in (wavelet.low, wavelet.high)]


def idwt2(bands: Sequence[Array], wavelet: Wavelet, size: tuple[int, int]) -> Array:
    """Undo `dwt2`: bands ll, lh, hl, hh -> (..., H, W) for the `size` (H, W) of what was transformed."""
    ll, lh, hl, hh = bands
    low, high = (_synthesise(a, b, wavelet, size[0], axis=-2) for a, b in ((ll, lh), (hl, hh)))
    return _synthesise(low, high, wavelet, size[1], axis=-1)


@functools.lru_cache(maxsize=64)
def mirror(length: int, before: int, after: int) -> np.ndarray:
    """Return the sample that stands at -before..length+after-1 of a signal mirrored at half a sample, int64."""
    place = np.arange(-before, length + after) % (2 * length)
    return np.minimum(place, 2 * length - 1 - place)


def _analyse(samples: Array, taps: tuple[float, ...], *, axis: int) -> Array:
    """Filter and keep every second sample along one of the last two axes: y[k] = sum_j taps[j] x[2k + 1 - j]."""
    xp = namespace(samples)
    length, F = samples.shape[axis], len(taps)
    count = (length + F - 1) // 2
    index = mirror(length, F - 2, 2 * count - length)
    extended = xp.take(samples, xp.asarray(index, device=device(samples)), axis=axis)
    starts = range(F - 1, -1, -1)
    return _sum([extended[_along(axis, k, k + 2 * count, 2)] * tap for k, tap in zip(starts, taps, strict=True) if tap])


def _synthesise(low: Array, high: Array, wavelet: Wavelet, length: int, *, axis: int) -> Array:
    """Undo `_analyse`: x[2i + p] = sum_t inverse[2t + p] y[i + F/2 - 1 - t] for p = 0, 1, over low and high."""
    xp = namespace(low)
    half = len(wavelet.low) // 2
    count = low.shape[axis] - half + 1
    sides = ((low, wavelet.inverse_low), (high, wavelet.inverse_high))
    phases = []
    for p in (0, 1):
        parts = [
            band[_along(axis, half - 1 - t, half - 1 - t + count, 1)] * taps[2 * t + p]
            for band, taps in sides
            for t in range(half)
            if taps[2 * t + p]
        ]
        phases.append(_sum(parts))
    woven = xp.stack(phases, axis=-1 if axis == -1 else -2)
    shape = (*low.shape[:-1], 2 * count) if axis == -1 else (*low.shape[:-2], 2 * count, low.shape[-1])
    return xp.reshape(woven, shape)[_along(axis, 0, length, 1)]


def _local_variance(h: Array, noise: float) -> Array:
    """Return the least, over windows of 3, 5, 7 and 9 pixels, of max(0, mean h^2 - noise)."""
    xp, where = namespace(h), device(h)
    height, width = h.shape[-2:]
    squares = xp.take(h * h, xp.asarray(mirror(height, 4, 4), device=where), axis=-2)
    squares = xp.take(squares, xp.asarray(mirror(width, 4, 4), device=where), axis=-1)
    means = []
    for r in (1, 2, 3, 4):
        rows = _sum([squares[..., 4 + i : 4 + i + height, :] for i in range(-r, r + 1)])
        means.append(_sum([rows[..., 4 + j : 4 + j + width] for j in range(-r, r + 1)]) / (2 * r + 1) ** 2)
    least = functools.reduce(xp.minimum, means) - noise
    return xp.maximum(least, xp.zeros_like(least))


def _along(axis: int, start: int, stop: int, step: int) -> tuple[object, ...]:
    cut = slice(start, stop, step)
    return (..., cut) if axis == -1 else (..., cut, slice(None))


def _sum(parts: list[Array]) -> Array:
    """Add in place to a copy of the first part."""
    total = parts[0] + 0.0
    for part in parts[1:]:
        total += part
    return total
