"""Wavelet transforms of rows that stay in the first-level cache, and statistics of bands that are never written out.

Filters run over consecutive numbers: a row is split into its even and odd samples first, columns are filtered row by
row.  So every tap is one vector operation over a row.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from fdetect.forensics.wavelets import Wavelet, mirror

__all__ = ["wavelet_band", "wavelet_residual", "wavelet_sums"]


def wavelet_band(planes: np.ndarray, along_y: tuple[float, ...], along_x: tuple[float, ...]) -> np.ndarray:
    """One band of a transform: (B, C, H, W) float32 -> (B, C, h, w) float32, by its filters down and to the right."""
    counts = [(side + len(along_x) - 1) // 2 for side in planes.shape[2:]]
    places = [mirror(side, len(along_x) - 2, 2 * n - side) for side, n in zip(planes.shape[2:], counts, strict=True)]
    result = np.empty((*planes.shape[:2], *counts), np.float32)
    for b, c in np.ndindex(*planes.shape[:2]):
        _one_band(planes[b, c], np.array(along_y), np.array(along_x), *places, result[b, c])
    return result


def wavelet_residual(luma: np.ndarray, sigma: float, levels: int, wavelet: Wavelet) -> np.ndarray:
    """Wavelet residual: (B, H, W) float32 -> (B, H, W) float32."""
    low, high = np.array(wavelet.low), np.array(wavelet.high)
    inverse = np.array([wavelet.inverse_low, wavelet.inverse_high])
    result = np.empty(luma.shape, np.float32)
    for image, noise in zip(luma, result, strict=True):
        x, details = image, []
        for _ in range(levels):
            rows, columns = (mirror(side, len(low) - 2, (side + len(low) - 1) // 2 * 2 - side) for side in x.shape)
            bands = _analyse(x, low, high, rows, columns)
            for band in bands[1:]:
                _shrink(band, sigma**2, mirror(band.shape[0], 4, 4), mirror(band.shape[1], 4, 4))
            details.append((x.shape, bands))
            x = bands[0]
        smooth = np.zeros_like(x, np.float64)
        for size, bands in details[:0:-1]:
            finer = np.empty(size)
            _synthesise(smooth, bands, inverse, finer)
            smooth = finer
        _synthesise(smooth, details[0][1], inverse, noise)
    return result


def wavelet_sums(rgb8: np.ndarray) -> np.ndarray:
    """Sums over the bands of two levels: (B, H, W, 3) uint8 -> (B, 2, 3, 7) float64, as in the feature."""
    return np.asarray(_wavelet_sums(rgb8))


@njit(cache=True, nogil=True)
def _add(total, part, tap):  # type: ignore[no-untyped-def]
    for x in range(len(total)):
        total[x] += tap * part[x]


@njit(cache=True, nogil=True)
def _add_two(total, first, second, a, b):  # type: ignore[no-untyped-def]
    for x in range(len(total)):
        total[x] += a * first[x] + b * second[x]


@njit(cache=True, nogil=True)
def _weave(x, columns, phases):  # type: ignore[no-untyped-def]
    """Split a row, mirrored beyond its ends, into even and odd samples."""
    for k in range(len(columns) // 2):
        phases[0, k] = x[columns[2 * k]]
        phases[1, k] = x[columns[2 * k + 1]]


@njit(cache=True, nogil=True)
def _one_band(x, along_y, along_x, rows, columns, result):  # type: ignore[no-untyped-def]
    """Fill one band (h, w) float32 of (H, W), by the mirrored places of rows and columns."""
    H, F = x.shape[0], len(along_x)
    h, w = result.shape
    filtered, phases, total = np.zeros((H, w)), np.empty((2, len(columns) // 2)), np.empty(w)
    for y in range(H):
        _weave(x[y], columns, phases)
        for j in range(F):
            if along_x[j] != 0:
                place = F - 1 - j
                _add(filtered[y], phases[place % 2, place // 2 : place // 2 + w], along_x[j])
    for k in range(h):
        total[:] = 0
        for j in range(F):
            if along_y[j] != 0:
                _add(total, filtered[rows[2 * k + F - 1 - j]], along_y[j])
        for i in range(w):
            result[k, i] = total[i]


@njit(cache=True, nogil=True)
def _analyse(x, low, high, rows, columns):  # type: ignore[no-untyped-def]
    """Return the bands ll, lh, hl, hh of (H, W) as (4, h, w) float64, by the mirrored places of rows and columns."""
    F = len(low)
    h, w = (len(rows) - F + 2) // 2, (len(columns) - F + 2) // 2
    bands = np.zeros((4, h, w))
    along, phases = np.empty((2, F, w)), np.empty((2, len(columns) // 2))  # only the last F filtered rows are kept
    for e in range(len(rows)):
        _weave(x[rows[e]], columns, phases)
        along[:, e % F] = 0
        for j in range(0, F, 2):  # taps j and j + 1 read the odd and the even samples at one place
            place = F // 2 - 1 - j // 2
            odd, even = phases[1, place : place + w], phases[0, place : place + w]
            _add_two(along[0, e % F], odd, even, low[j], low[j + 1])
            _add_two(along[1, e % F], odd, even, high[j], high[j + 1])
        if e < F - 1 or (e - F + 1) % 2:
            continue
        k = (e - F + 1) // 2
        for side in range(2):
            for j in range(0, F, 2):
                first, second = along[side, (e - j) % F], along[side, (e - j - 1) % F]
                _add_two(bands[2 * side, k], first, second, low[j], low[j + 1])
                _add_two(bands[2 * side + 1, k], first, second, high[j], high[j + 1])
    return bands


@njit(cache=True, nogil=True)
def _synthesise(smooth, bands, inverse, result):  # type: ignore[no-untyped-def]
    """Fill (H, W) from `smooth` in the place of ll and the other bands."""
    half = inverse.shape[1] // 2
    count = bands.shape[2] - half + 1
    along, phases = np.empty((2, bands.shape[2])), np.empty((2, count))
    for y in range(result.shape[0]):
        along[:] = 0
        for t in range(half):
            place, tap = y // 2 + half - 1 - t, 2 * t + y % 2
            _add_two(along[0], smooth[place], bands[1, place], inverse[0, tap], inverse[1, tap])
            _add_two(along[1], bands[2, place], bands[3, place], inverse[0, tap], inverse[1, tap])
        phases[:] = 0
        for p in range(2):
            for t in range(half):
                start, tap = half - 1 - t, 2 * t + p
                first, second = along[0, start : start + count], along[1, start : start + count]
                _add_two(phases[p], first, second, inverse[0, tap], inverse[1, tap])
        for x in range(result.shape[1]):
            result[y, x] = phases[x % 2, x // 2]


@njit(cache=True, nogil=True)
def _shrink(band, noise, rows, columns):  # type: ignore[no-untyped-def]
    """Leave of a band what is noise: h s^2 / (v + s^2), v the least local variance of four windows."""
    h, w = band.shape
    squares = np.empty((h, w + 8))
    for y in range(h):
        for x in range(w + 8):
            squares[y, x] = band[y, columns[x]] ** 2
    total, mean, least = np.empty(w + 8), np.empty(w), np.empty(w)
    for y in range(h):
        total[:] = squares[y]
        for r in range(1, 5):
            _add(total, squares[rows[y + 4 - r]], 1.0)
            _add(total, squares[rows[y + 4 + r]], 1.0)
            mean[:] = 0
            for j in range(4 - r, 5 + r):
                _add(mean, total[j : j + w], 1.0)
            scale = 1.0 / (2 * r + 1) ** 2
            for x in range(w):
                value = mean[x] * scale
                least[x] = value if r == 1 else min(least[x], value)
        for x in range(w):
            band[y, x] *= noise / (max(least[x] - noise, 0.0) + noise)


@njit(cache=True, nogil=True)
def _split(x):  # type: ignore[no-untyped-def]
    """Return the bands ll, lh, hl, hh of (H, W) int32 under whole-number 5/3 filters, without a border."""
    H, W = x.shape
    h, w = (H - 3) // 2, (W - 3) // 2
    along = np.empty((2, H, w), np.int32)
    even, odd = np.empty(w + 2, np.int32), np.empty(w + 1, np.int32)
    for y in range(H):
        for k in range(w + 1):
            even[k] = x[y, 2 * k]
            odd[k] = x[y, 2 * k + 1]
        even[w + 1] = x[y, 2 * w + 2]
        for k in range(w):
            along[0, y, k] = 2 * (odd[k] + odd[k + 1]) + 6 * even[k + 1] - even[k] - even[k + 2]
            along[1, y, k] = even[k] - 2 * odd[k] + even[k + 1]
    bands = np.empty((4, h, w), np.int32)
    for side in range(2):
        for k in range(h):
            a, b, c = along[side, 2 * k], along[side, 2 * k + 1], along[side, 2 * k + 2]
            d, e = along[side, 2 * k + 3], along[side, 2 * k + 4]
            for i in range(w):
                bands[2 * side, k, i] = 2 * (b[i] + d[i]) + 6 * c[i] - a[i] - e[i]
                bands[2 * side + 1, k, i] = a[i] - 2 * b[i] + c[i]
    return bands


@njit(cache=True, nogil=True)
def _band_sums(band, following, sums):  # type: ignore[no-untyped-def]
    """Fill sums of m, m^2, m^4 and, about the mean of m = |h|, m m, m m_right, m m_down, and m of the next band."""
    h, w = band.shape
    first = second = fourth = next_first = 0.0
    for y in range(h):
        for x in range(w):
            m = abs(np.float64(band[y, x]))
            first += m
            second += m * m
            fourth += m * m * m * m
            next_first += abs(np.float64(following[y, x]))
    mean, next_mean = first / (h * w), next_first / (h * w)
    own = right = down = other = 0.0
    here, above = np.empty(w), np.zeros(w)  # nothing above the first row
    for y in range(h):
        for x in range(w):
            here[x] = abs(np.float64(band[y, x])) - mean
        for x in range(w):
            own += here[x] * here[x]
            down += here[x] * above[x]
            other += here[x] * (abs(np.float64(following[y, x])) - next_mean)
        for x in range(w - 1):
            right += here[x] * here[x + 1]
        here, above = above, here
    sums[:] = np.array((first, second, fourth, own, right, down, other))


@njit(cache=True, nogil=True)
def _wavelet_sums(rgb8):  # type: ignore[no-untyped-def]
    B, H, W, _ = rgb8.shape
    sums = np.empty((B, 2, 3, 7))
    grey = np.empty((H, W), np.int32)
    for b in range(B):
        for y in range(H):
            row = rgb8[b, y]
            for x in range(W):
                grey[y, x] = np.int32(row[x, 0]) + 2 * np.int32(row[x, 1]) + np.int32(row[x, 2])
        smooth = grey
        for level in range(2):
            bands = _split(smooth)
            for k in range(3):
                _band_sums(bands[1 + k], bands[1 + (k + 1) % 3], sums[b, level, k])
            smooth = bands[0]
    return sums
