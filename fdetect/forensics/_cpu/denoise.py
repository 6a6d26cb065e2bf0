"""Compiled filters of luma: the median of 3 x 3 pixels, and sums under separable weights; both are exact.

The window of a median is sorted by columns of three; the median of nine is then the median of the largest low, the
median middle and the smallest high: 30 minima and maxima, no branch.  An image is walked as one long row, several
rows at a time; the first and last columns come out wrong (their windows wrap) and are written again.  So the compiler
sees one plain loop of minima and maxima on one dtype and makes vector instructions of it, 64 samples each on uint8.
"""

from __future__ import annotations

import numpy as np
from numba import njit

__all__ = ["median3x3", "separable_sums", "wiener_residual"]

_CHUNK = 16384  # bytes walked before their two edge columns are mended: they are still in the first-level cache


def median3x3(image: np.ndarray) -> np.ndarray:
    """Return the median of 3 x 3 pixels, edges repeated: (..., H, W) uint8, float32 or float64 -> the same."""
    height, width = image.shape[-2:]
    images = np.ascontiguousarray(image).reshape(-1, height * width)
    result = np.empty_like(images)  # allocated by NumPy, which asks the system for huge pages
    _medians(images, result, width, max(_CHUNK // (width * image.itemsize), 1))
    return result.reshape(image.shape)


def separable_sums(image: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return sum_{i,j} w_i w_j image[y + i, x + j], edges repeated: (B, H, W) float64, odd symmetric w -> the same."""
    result = np.empty(image.shape)
    _sums(np.ascontiguousarray(image), weights, result)
    return result


def wiener_residual(luma: np.ndarray, side: int) -> np.ndarray:
    """Return the residual of the map of this name: (B, H, W) float32 -> (B, H, W) float32."""
    thousandths = np.round(luma.astype(np.float64) * 1000)
    box = np.ones(side)
    sums, squares = separable_sums(thousandths, box), separable_sums(thousandths * thousandths, box)
    result = np.empty(luma.shape, np.float32)
    _wiener(thousandths, sums, squares, float(side * side), result)
    return result


@njit(cache=True, nogil=True)
def _median_of_nine(a, b, c, d, e, f, g, h, i):  # type: ignore[no-untyped-def]
    """Return the median; columns of the window are (a, d, g), (b, e, h) and (c, f, i)."""
    low, high = min(a, d), max(a, d)
    over = max(low, g)
    low_1, middle_1, high_1 = min(low, g), min(over, high), max(over, high)
    low, high = min(b, e), max(b, e)
    over = max(low, h)
    low_2, middle_2, high_2 = min(low, h), min(over, high), max(over, high)
    low, high = min(c, f), max(c, f)
    over = max(low, i)
    low_3, middle_3, high_3 = min(low, i), min(over, high), max(over, high)
    low = max(max(low_1, low_2), low_3)
    high = min(min(high_1, high_2), high_3)
    middle = max(min(middle_1, middle_2), min(max(middle_1, middle_2), middle_3))
    return max(min(low, middle), min(max(low, middle), high))


@njit(cache=True, nogil=True)
def _run(image, result, first, count, up, down):  # type: ignore[no-untyped-def]
    """Write `count` medians from place `first` on; the rows above and below are `up` and `down` samples away."""
    here, above, below = np.uint64(first), np.uint64(first - up), np.uint64(first + down)
    one = np.uint64(1)
    for k in range(np.uint64(max(count, 0))):
        result[here + k] = _median_of_nine(
            image[above + k - one], image[above + k], image[above + k + one],
            image[here + k - one], image[here + k], image[here + k + one],
            image[below + k - one], image[below + k], image[below + k + one],
        )  # fmt: skip


@njit(cache=True, nogil=True)
def _edge(image, result, y, x, W, up, down):  # type: ignore[no-untyped-def]
    """Write the median of a pixel in the first or last column."""
    here = y * W + x
    left, right = here - min(x, 1), here + min(W - 1 - x, 1)
    result[here] = _median_of_nine(
        image[left - up], image[here - up], image[right - up],
        image[left], image[here], image[right],
        image[left + down], image[here + down], image[right + down],
    )  # fmt: skip


@njit(cache=True, nogil=True)
def _medians(images, results, W, chunk):  # type: ignore[no-untyped-def]
    H = images.shape[1] // W
    for b in range(len(images)):
        image, result = images[b], results[b]
        y = 0
        while y < H:
            inside = 0 < y < H - 1
            rows = min(chunk, H - 1 - y) if inside else 1  # the first and last row stand alone: they repeat themselves
            up, down = W if y > 0 else 0, W if y < H - 1 else 0
            _run(image, result, y * W + 1, rows * W - 2, up, down)
            for row in range(y, y + rows):
                _edge(image, result, row, 0, W, up, down)
                _edge(image, result, row, W - 1, W, up, down)
            y += rows


@njit(cache=True, nogil=True)
def _sums(images, weights, results):  # type: ignore[no-untyped-def]
    B, H, W = images.shape
    radius = len(weights) // 2
    row = np.empty(W + 2 * radius)
    for b in range(B):
        for y in range(H):
            middle = row[radius : radius + W]
            _scaled(images[b, y], weights[radius], middle)
            for k in range(radius):
                reach = radius - k
                _add_pair(images[b, max(y - reach, 0)], images[b, min(y + reach, H - 1)], weights[k], middle)
            row[:radius] = middle[0]
            row[radius + W :] = middle[W - 1]
            result = results[b, y]
            _scaled(middle, weights[radius], result)
            for k in range(radius):
                _add_pair(row[k : k + W], row[2 * radius - k : 2 * radius - k + W], weights[k], result)


@njit(cache=True, nogil=True)
def _scaled(samples, weight, result):  # type: ignore[no-untyped-def]
    for x in range(np.uint64(len(result))):
        result[x] = weight * samples[x]


@njit(cache=True, nogil=True)
def _add_pair(left, right, weight, result):  # type: ignore[no-untyped-def]
    for x in range(np.uint64(len(result))):
        result[x] += weight * (left[x] + right[x])


@njit(cache=True, nogil=True)
def _wiener(thousandths, sums, squares, count, results):  # type: ignore[no-untyped-def]
    """Turn sums and sums of squares into residuals; `squares` becomes the variance times count squared."""
    B, H, W = thousandths.shape
    total = np.empty(W)
    for b in range(B):
        total[:] = 0
        for y in range(H):
            mean, square = sums[b, y], squares[b, y]
            for x in range(np.uint64(W)):
                variance = square[x] * count - mean[x] * mean[x]
                square[x] = variance
                total[x] += variance
        noise = total.sum() / (H * W)
        least = max(noise, 1.0)
        scale = noise / (1000.0 * count)
        for y in range(H):
            sample, mean, variance_row, result = thousandths[b, y], sums[b, y], squares[b, y], results[b, y]
            for x in range(np.uint64(W)):
                result[x] = (sample[x] * count - mean[x]) * (scale / max(variance_row[x], least))
