"""Compiled sums of the noise features: whole numbers of one image in one walk over its pixels.

The mixed second difference of three colours is kept as int16 (it is within -2040..2040), which stays in the second
level cache; products are added in int32 over 256 of them, then in int64.
"""

from __future__ import annotations

import numpy as np
from numba import njit

__all__ = ["mask_products", "noise_counts", "residual_sums"]

_RUN = 256  # products of at most 2040^2 whose sum fits into int32


def noise_counts(rgb8: np.ndarray, bounds: tuple[int, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return the sums that the feature noise_level is made of: (B, 4), (B, 3), (B, 3), (B, 3, 511) int64.

    Sums of the masked magnitude of red, green, blue and luma; of luma's by class; pixels by class; histograms.
    """
    B, H, W, _ = rgb8.shape
    magnitudes, by_class, sizes = (np.zeros((B, count), np.int64) for count in (4, 3, 3))
    histograms = np.zeros((B, 3, 511), np.int64)
    work = np.empty((3, H - 2, W - 2), np.int16)
    for b in range(B):
        image = np.ascontiguousarray(rgb8[b])
        _mask(image, work)
        _magnitudes(image, work, bounds[0], bounds[1], magnitudes[b], by_class[b], sizes[b])
        _diagonals(image, histograms[b])
    return magnitudes, by_class, sizes, histograms


def mask_products(rgb8: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return sums of squares (B, 3) and of lagged products (B, 3, 5) of masked colours, float64 of whole numbers."""
    B, H, W, _ = rgb8.shape
    energies, products = np.zeros((B, 3)), np.zeros((B, 3, 5))
    work = np.empty((3, H - 2, W - 2), np.int16)
    for b in range(B):
        _mask(np.ascontiguousarray(rgb8[b]), work)
        _products(work, energies[b], products[b])
    return energies, products


def residual_sums(residual: np.ndarray, luma: np.ndarray, bounds: tuple[int, int]) -> tuple[np.ndarray, ...]:
    """Return the fields of ResidualSums: (B, 3), (B,), (B, 8, 8), (B, 3), (B, 3), (B, 3) float64."""
    B, H, W = residual.shape
    shapes = ((B, 3), (B,), (B, 8, 8), (B, 3), (B, 3), (B, 3))
    moments, zeros, tile, sums, sizes, spreads = (np.zeros(shape) for shape in shapes)
    for b in range(B):
        image, thousandths = np.ascontiguousarray(residual[b]), np.round(luma[b] * np.float32(1000))
        zeros[b] = np.count_nonzero(image == 0) / image.size
        folded = np.zeros((8, W))
        _sum_residual(image, thousandths, bounds[0], bounds[1], moments[b], folded, sums[b], sizes[b], spreads[b])
        tile[b] = folded[:, : W // 8 * 8].reshape(8, W // 8, 8).sum(axis=1) / ((H // 8) * (W // 8))
    return moments, zeros, tile, sums, sizes, spreads


@njit(cache=True, nogil=True, fastmath={"reassoc"})
def _sum_residual(residual, thousandths, dark, bright, moments, folded, sums, sizes, spreads):  # type: ignore[no-untyped-def]
    """Two walks: the means, then what is centred on them.  Sums of a row may be made in any order, as vectors are."""
    H, W = residual.shape
    total, energy_total, luma_total = 0.0, 0.0, 0.0
    for y in range(H):
        r, t = residual[y], thousandths[y]
        for x in range(np.uint64(W)):
            value = np.float64(r[x])
            total += value
            energy_total += value * value
            luma_total += np.float64(t[x])
    count = H * W
    mean, mean_energy, mean_luma = total / count, energy_total / count, luma_total / count
    for y in range(H):
        r, t = residual[y], thousandths[y]
        m2, m3, m4, low, middle, high, few, many = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
        energy_spread, luma_spread, covariance = 0.0, 0.0, 0.0
        for x in range(np.uint64(W)):
            value, level = np.float64(r[x]), np.float64(t[x])
            centred, energy = value - mean, value * value
            squared = centred * centred
            m2 += squared
            m3 += squared * centred
            m4 += squared * squared
            is_dark, is_bright = level < dark, level >= bright
            low += energy if is_dark else 0.0
            high += energy if is_bright else 0.0
            middle += 0.0 if is_dark or is_bright else energy
            few += 1.0 if is_dark else 0.0
            many += 1.0 if is_bright else 0.0
            excess, brightness = energy - mean_energy, (level - mean_luma) * 0.001
            energy_spread += excess * excess
            luma_spread += brightness * brightness
            covariance += excess * brightness
        for k, part in enumerate((m2, m3, m4)):
            moments[k] += part / count
        for k, part in enumerate((low, middle, high)):
            sums[k] += part
        for k, part in enumerate((few, W - few - many, many)):
            sizes[k] += part
        for k, part in enumerate((energy_spread, luma_spread, covariance)):
            spreads[k] += part / count
        if y < H // 8 * 8:
            fold = folded[y % 8]
            for x in range(np.uint64(W)):
                fold[x] += np.float64(r[x]) * np.float64(r[x])


@njit(cache=True, nogil=True)
def _mask(image, result):  # type: ignore[no-untyped-def]
    """Write I * N, N = (1, -2, 1)^T (1, -2, 1): (H, W, 3) uint8 -> (3, H-2, W-2) int16."""
    _, height, width = result.shape
    row = np.empty(width + 2, np.int16)
    for c in range(3):
        for y in range(height):
            top, middle, bottom, out = image[y], image[y + 1], image[y + 2], result[c, y]
            for x in range(np.uint64(width + 2)):
                row[x] = np.int16(top[x, c]) - 2 * np.int16(middle[x, c]) + np.int16(bottom[x, c])
            for x in range(np.uint64(width)):
                out[x] = row[x] - 2 * row[x + np.uint64(1)] + row[x + np.uint64(2)]


@njit(cache=True, nogil=True)
def _magnitudes(image, masked, dark, bright, magnitudes, by_class, sizes):  # type: ignore[no-untyped-def]
    _, height, width = masked.shape
    for y in range(height):
        reds, greens, blues = masked[0, y], masked[1, y], masked[2, y]
        centre = image[y + 1, 1:]
        red, green, blue = np.int64(0), np.int64(0), np.int64(0)
        luma, dark_sum, bright_sum, dark_size, bright_size = np.int64(0), np.int64(0), np.int64(0), 0, 0
        for x in range(np.uint64(width)):
            r, g, b = np.int32(reds[x]), np.int32(greens[x]), np.int32(blues[x])
            red += abs(r)
            green += abs(g)
            blue += abs(b)
            level = np.int32(abs(299 * r + 587 * g + 114 * b))
            t = np.int32(299 * np.int32(centre[x, 0]) + 587 * np.int32(centre[x, 1]) + 114 * np.int32(centre[x, 2]))
            luma += level
            dark_sum += level if t < dark else 0
            bright_sum += level if t >= bright else 0
            dark_size += t < dark
            bright_size += t >= bright
        magnitudes[0] += red
        magnitudes[1] += green
        magnitudes[2] += blue
        magnitudes[3] += luma
        by_class[0] += dark_sum
        by_class[1] += luma - dark_sum - bright_sum
        by_class[2] += bright_sum
        sizes[0] += dark_size
        sizes[1] += width - dark_size - bright_size
        sizes[2] += bright_size


@njit(cache=True, nogil=True)
def _diagonals(image, histograms):  # type: ignore[no-untyped-def]
    """Count |a - b - c + d| of every 2 x 2 pixels of each colour."""
    H, W, _ = image.shape
    across = np.empty(W, np.int16)
    for c in range(3):
        counts = histograms[c]
        for y in range(H - 1):
            top, bottom = image[y], image[y + 1]
            for x in range(np.uint64(W)):
                across[x] = np.int16(top[x, c]) - np.int16(bottom[x, c])
            for x in range(np.uint64(W - 1)):
                counts[np.uint64(abs(across[x] - across[x + np.uint64(1)]))] += 1


@njit(cache=True, nogil=True)
def _products(masked, energies, products):  # type: ignore[no-untyped-def]
    _, height, width = masked.shape
    for y in range(height):
        for c in range(3):
            energies[c] += _dot(masked[c, y], masked[c, y])
        for pair in range(3):
            a, b = (0 if pair < 2 else 1), (1 if pair == 0 else 2)
            here, there = masked[a, y], masked[b, y]
            products[pair, 0] += _dot(here, there)
            products[pair, 1] += _dot(here[: width - 1], there[1:])
            products[pair, 2] += _dot(here[1:], there[: width - 1])
            if y + 1 < height:
                products[pair, 3] += _dot(here, masked[b, y + 1])
                products[pair, 4] += _dot(masked[a, y + 1], there)


@njit(cache=True, nogil=True)
def _dot(a, b):  # type: ignore[no-untyped-def]
    total = np.int64(0)
    for start in range(0, len(a), _RUN):
        left, right = a[start : start + _RUN], b[start : start + _RUN]
        part = np.int32(0)
        for x in range(np.uint64(len(left))):
            part += np.int32(np.int32(left[x]) * np.int32(right[x]))
        total += part
    return total
