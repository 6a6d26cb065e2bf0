"""Neighbouring pixels, from bytes straight to exact sums: no map of differences is written but `npr` itself.

Sums are whole numbers in 64 bits.  Rows are split into planes of one colour first, so that the inner loops read
consecutive bytes and become vector instructions; `npr_statistics` counts differences instead and never multiplies.
"""

from __future__ import annotations

import functools
import math

import numpy as np
from numba import njit

from fdetect.forensics.neighbours import npr_groups

__all__ = ["correlation_sums", "gradient_sums", "npr", "npr_statistics"]


def npr(planes: np.ndarray, factor: int) -> np.ndarray:
    """NPR map: (B, 3, H, W) float32 -> (B, 3, H', W') float32."""
    B, C, H, W = planes.shape
    result = np.empty((B, C, H // factor * factor, W // factor * factor), planes.dtype)
    _npr(planes, factor, result)
    return result


def npr_statistics(rgb8: np.ndarray, factor: int) -> np.ndarray:
    """NPR statistics: (B, H, W, 3) uint8 -> (B, 12 G) float32 for the G groups of places of `npr_groups`."""
    group, size = _groups(factor)
    return np.asarray(_npr_statistics(rgb8, factor, group, size))


def gradient_sums(rgb8: np.ndarray) -> np.ndarray:
    """First differences: (B, H, W, 3) uint8 -> (B, 3, 4, 8) int64: sums as in `fdetect.features.neighbours`."""
    return np.asarray(_gradient_sums(rgb8))


def correlation_sums(rgb8: np.ndarray, lags: tuple[tuple[int, int], ...]) -> np.ndarray:
    """Products of the mixed difference: (B, H, W, 3) uint8 -> (B, 3, len(lags) + 1, 3) int64."""
    return np.asarray(_correlation_sums(rgb8, np.array(lags, np.int64)))


@functools.cache
def _groups(factor: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the group of each place of a cell, -1 at its corner, and how many places each group has."""
    group = np.full((factor, factor), -1, np.int64)
    groups = npr_groups(factor)
    for number, places in enumerate(groups):
        for i, j in places:
            group[i, j] = number
    return group, np.array([len(places) for places in groups], np.int64)


@njit(cache=True, nogil=True)
def _npr(planes, factor, result):  # type: ignore[no-untyped-def]
    B, C, H, W = result.shape
    corners = np.empty(W, planes.dtype)
    for b in range(B):
        for c in range(C):
            for y in range(H):
                row, differences = planes[b, c, y], result[b, c, y]
                if y % factor == 0:
                    _spread(row, factor, corners)
                for x in range(W):
                    differences[x] = row[x] - corners[x]


@njit(cache=True, nogil=True)
def _spread(row, factor, corners):  # type: ignore[no-untyped-def]
    """Repeat every factor-th sample of a row; two are written out, so that the usual factor becomes vector code."""
    if factor == 2:
        for k in range(corners.shape[0] // 2):
            corners[2 * k] = row[2 * k]
            corners[2 * k + 1] = row[2 * k]
        return
    for k in range(corners.shape[0] // factor):
        for j in range(factor):
            corners[k * factor + j] = row[k * factor]


@njit(cache=True, nogil=True)
def _npr_statistics(rgb8, factor, group, size):  # type: ignore[no-untyped-def]
    B, G = rgb8.shape[0], len(size)
    rows, columns = rgb8.shape[1] // factor, rgb8.shape[2] // factor
    result = np.empty((B, 12 * G), np.float32)
    counts = np.empty((3 * G, 511), np.int32)  # half the first-level cache
    for b in range(B):
        counts[:] = 0
        for y in range(rows * factor):
            i = y % factor
            here, above = rgb8[b, y], rgb8[b, y - i]
            for j in range(1 if i == 0 else 0, factor):
                g = 3 * group[i, j]
                red, green, blue = counts[g], counts[g + 1], counts[g + 2]
                for k in range(0, columns * factor, factor):
                    red[255 + here[k + j, 0] - above[k, 0]] += 1
                    green[255 + here[k + j, 1] - above[k, 1]] += 1
                    blue[255 + here[k + j, 2] - above[k, 2]] += 1
        for c in range(3):
            for g in range(G):
                n = rows * columns * size[g]
                result[b, 4 * (c * G + g) : 4 * (c * G + g) + 4] = _moments(counts[3 * g + c], n)
    return result


@njit(cache=True, nogil=True)
def _moments(counts, n):  # type: ignore[no-untyped-def]
    """Mean |d|, standard deviation, excess kurtosis and share of zeros of n differences, from their histogram."""
    total = magnitude = 0
    for v in range(511):
        total += counts[v] * (v - 255)
        magnitude += counts[v] * abs(v - 255)
    centre = (2 * total + n) // (2 * n)
    first = second = third = fourth = 0  # about the whole number nearest to the mean, where nothing cancels
    for v in range(511):
        d = v - 255 - centre
        first += counts[v] * d
        second += counts[v] * d * d
        third += counts[v] * d * d * d
        fourth += counts[v] * d * d * d * d
    shift = first / n
    variance = second / n - shift**2
    kurtosis = 0.0
    if variance > 0:
        kurtosis = (fourth / n - 4 * shift * third / n + 6 * shift**2 * second / n - 3 * shift**4) / variance**2 - 3
    return np.array((magnitude / n, math.sqrt(variance), kurtosis, counts[255] / n), np.float32)


@njit(cache=True, nogil=True)
def _split(row, parts):  # type: ignore[no-untyped-def]
    """Split a row of interleaved colours into parts[c, parity of the column]."""
    W = row.shape[0]
    for k in range(W // 2):
        for c in range(3):
            parts[c, 0, k] = row[2 * k, c]
            parts[c, 1, k] = row[2 * k + 1, c]
    if W % 2:
        for c in range(3):
            parts[c, 0, W // 2] = row[W - 1, c]


@njit(cache=True, nogil=True)
def _difference_sums(a, b, n, phase, sums):  # type: ignore[no-untyped-def]
    """Add |d|, d^2, d^4, the number of zeros and d^2 of one phase of a row of n differences."""
    first, second, zeros, fourth = np.uint32(0), np.uint64(0), np.uint32(0), np.uint64(0)
    for k in range(n):
        d = np.uint32(max(a[k], b[k]) - min(a[k], b[k]))
        q = np.uint32(d * d)
        first = np.uint32(first + d)
        second += np.uint64(q)
        fourth += np.uint64(np.uint32(q * q))  # 255^4 < 2^32
        zeros = np.uint32(zeros + np.uint32(d == 0))
    sums[0] += np.int64(first)
    sums[1] += np.int64(second)
    sums[2] += np.int64(fourth)
    sums[3] += np.int64(zeros)
    sums[4 + phase] += np.int64(second)


@njit(cache=True, nogil=True)
def _gradient_sums(rgb8):  # type: ignore[no-untyped-def]
    B, H, W, _ = rgb8.shape
    even, odd = (W + 1) // 2, W // 2
    after = even - 1  # odd columns that have a neighbour to the right
    sums = np.zeros((B, 3, 4, 8), np.int64)
    here, below = np.empty((3, 2, even), np.uint8), np.empty((3, 2, even), np.uint8)
    for b in range(B):
        _split(rgb8[b, 0], below)
        for y in range(H):
            here, below = below, here
            row = 2 * (y % 2)
            if y + 1 < H:
                _split(rgb8[b, y + 1], below)
            for c in range(3):
                total = sums[b, c]
                e, o, f, p = here[c, 0], here[c, 1], below[c, 0], below[c, 1]
                _difference_sums(o, e, odd, row, total[0])
                _difference_sums(e[1:], o, after, row + 1, total[0])
                if y + 1 < H:
                    _difference_sums(f, e, even, row, total[1])
                    _difference_sums(p, o, odd, row + 1, total[1])
                    _difference_sums(p, e, odd, row, total[2])
                    _difference_sums(f[1:], o, after, row + 1, total[2])
                    _difference_sums(f, o, odd, row, total[3])
                    _difference_sums(p, e[1:], after, row + 1, total[3])
    return sums


@njit(cache=True, nogil=True)
def _products(a, b, n):  # type: ignore[no-untyped-def]
    total = np.int64(0)
    for k in range(n):
        total += np.int64(np.int32(a[k]) * np.int32(b[k]))
    return total


@njit(cache=True, nogil=True)
def _correlation_sums(rgb8, lags):  # type: ignore[no-untyped-def]
    B, H, W, _ = rgb8.shape
    h, w = H - 1, W - 1
    L = len(lags)
    sums = np.zeros((B, 3, L + 1, 3), np.int64)
    slopes = np.empty((3, w), np.int16)
    residual = np.empty((3, h, w), np.int16)
    for b in range(B):
        for y in range(H):
            row = rgb8[b, y]
            for c in range(3):
                for x in range(w):
                    slope = np.int16(row[x + 1, c]) - np.int16(row[x, c])
                    if y:
                        residual[c, y - 1, x] = slope - slopes[c, x]
                    slopes[c, x] = slope
        for c in range(3):
            other = (c + 1) % 3
            for y in range(h):
                line = residual[c, y]
                square = _products(line, line, w)
                sums[b, c, L, 0] += _products(line, residual[other, y], w)
                sums[b, c, L, 1] += square
                for k in range(L):
                    dy, dx = lags[k]
                    left, right = max(-dx, 0), max(dx, 0)  # pairs: (y, x + left) and (y + dy, x + right)
                    n = w - abs(dx)
                    if y + dy < h:
                        sums[b, c, k, 0] += _products(line[left:], residual[c, y + dy, right:], n)
                        energy = square
                        for x in range(left):
                            energy -= np.int64(line[x]) ** 2
                        for x in range(left + n, w):
                            energy -= np.int64(line[x]) ** 2
                        sums[b, c, k, 1] += energy
                    if y >= dy:
                        energy = square
                        for x in range(right):
                            energy -= np.int64(line[x]) ** 2
                        for x in range(right + n, w):
                            energy -= np.int64(line[x]) ** 2
                        sums[b, c, k, 2] += energy
        for c in range(3):
            sums[b, c, L, 2] = sums[b, (c + 1) % 3, L, 1]
    return sums
