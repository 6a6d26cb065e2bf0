"""Twins of the co-occurrences: whole-number counts from the stored pixels.

A row of interleaved pixels is read as one line of 3 W samples, so that a neighbour d pixels away is 3 d samples away
and nothing has to be taken apart.  Loops without a table, which the compiler turns into vector instructions, leave
small numbers in a row; loops that count read it.
"""

from __future__ import annotations

import numpy as np
from numba import njit

__all__ = ["cooccurrence_counts", "cross_band_counts", "level_difference_counts"]

_ONE = np.uint32(1)
_BYTE = np.uint16(8)
_SHIFT, _PART = np.uint64(16), np.uint64(65535)


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def cooccurrence_counts(first: np.ndarray, second: np.ndarray, dy: int, dx: int) -> np.ndarray:
    """Count the pairs (first[y, x], second[y + dy, x + dx]) of two (H, W) uint8 planes: (256, 256) uint32.

    Indices of a row are made first and read four in a word.  Words of four quarters of the row are counted in turn:
    equal neighbours would wait for each other's count to be stored.
    """
    counts = np.zeros(65536, np.uint32)
    H, W = first.shape
    width = W - dx
    quarter = width // 16  # words in a quarter
    index = np.zeros((width + 3) // 4 * 4, np.uint16)
    words = index.view(np.uint64)
    w0, w1, w2, w3 = words[:quarter], words[quarter:], words[2 * quarter :], words[3 * quarter :]
    for y in range(H - dy):
        a, b = first[y, :width], second[y + dy, dx:]
        for x in range(width):
            index[x] = (np.uint16(a[x]) << _BYTE) | np.uint16(b[x])
        for x in range(quarter):
            for word in (w0[x], w1[x], w2[x], w3[x]):
                counts[word & _PART] += _ONE
                counts[(word >> _SHIFT) & _PART] += _ONE
                counts[(word >> (_SHIFT + _SHIFT)) & _PART] += _ONE
                counts[word >> (_SHIFT + _SHIFT + _SHIFT)] += _ONE
        for x in range(16 * quarter, width):
            counts[index[x]] += _ONE
    return counts.reshape((256, 256))


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def level_difference_counts(rgb8: np.ndarray, dy: int, dx: int, edges: np.ndarray) -> np.ndarray:
    """Count pairs of one colour by the band of their mean and the bin of their difference: (B, 3, 8, 8) int64."""
    B, H, W, _ = rgb8.shape
    lines = np.ascontiguousarray(rgb8).reshape((B, H, 3 * W))
    counts = np.zeros((B, 3, 64), np.uint32)
    width = 3 * (W - dx)
    index = np.empty(width, np.uint8)
    e1, e2, e3, e4, e5, e6, e7 = edges
    for i in range(B):
        red, green, blue = counts[i, 0], counts[i, 1], counts[i, 2]
        for y in range(H - dy):
            a, b = lines[i, y, :width], lines[i, y + dy, 3 * dx :]
            for x in range(width):
                p, q = np.int16(a[x]), np.int16(b[x])
                d = np.int16(abs(np.int16(p - q)))
                steps = (d >= e1) + (d >= e2) + (d >= e3) + (d >= e4) + (d >= e5) + (d >= e6) + (d >= e7)
                index[x] = np.uint8((np.int16(p + q) >> np.int16(6)) * 8 + steps)
            for x in range(0, width, 3):
                red[index[x]] += _ONE
                green[index[x + 1]] += _ONE
                blue[index[x + 2]] += _ONE
    return counts.reshape((B, 3, 8, 8)).astype(np.int64)


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _digits(a: np.ndarray, b: np.ndarray, edges: np.ndarray, digits: np.ndarray) -> None:
    """Write 3 + the signed number of edges that b - a reaches, sample by sample."""
    e1, e2, e3 = edges
    for x in range(len(digits)):
        d = np.int16(np.int16(b[x]) - np.int16(a[x]))
        up = (d >= e1) + (d >= e2) + (d >= e3)
        down = (d <= -e1) + (d <= -e2) + (d <= -e3)
        digits[x] = np.uint8(3 + up - down)


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _count_triples(digits: np.ndarray, counts: np.ndarray) -> None:
    for x in range(0, len(digits), 3):
        red, green, blue = np.uint32(digits[x]), np.uint32(digits[x + 1]), np.uint32(digits[x + 2])
        counts[np.uint32(np.uint32(49) * red + np.uint32(7) * green + blue)] += _ONE


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _count_diagonal(before: np.ndarray, digits: np.ndarray, index: np.ndarray, counts: np.ndarray) -> None:
    """Count the pairs (before[x], digits[x + 1 pixel]) of each colour."""
    width = len(digits) - 3
    for x in range(width):
        index[x] = np.uint8(np.uint8(7) * before[x] + digits[x + 3])
    red, green, blue = counts[0], counts[1], counts[2]
    for x in range(0, width, 3):
        red[index[x]] += _ONE
        green[index[x + 1]] += _ONE
        blue[index[x + 2]] += _ONE


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def cross_band_counts(rgb8: np.ndarray, edges: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Count digits of differences, right and down: of the three colours (B, 343), of diagonal pairs (B, 3, 49)."""
    B, H, W, _ = rgb8.shape
    lines = np.ascontiguousarray(rgb8).reshape((B, H, 3 * W))
    triples, pairs = np.zeros((B, 343), np.uint32), np.zeros((B, 3, 49), np.uint32)
    right, down = np.empty((2, 3 * W - 3), np.uint8), np.empty((2, 3 * W), np.uint8)
    index = np.empty(3 * W, np.uint8)
    for i in range(B):
        for y in range(H):
            now, before = y % 2, (y + 1) % 2
            line = lines[i, y]
            _digits(line[:-3], line[3:], edges, right[now])
            _count_triples(right[now], triples[i])
            if y > 0:
                _count_diagonal(right[before], right[now], index, pairs[i])
            if y < H - 1:
                _digits(line, lines[i, y + 1], edges, down[now])
                _count_triples(down[now], triples[i])
                if y > 0:
                    _count_diagonal(down[before], down[now], index, pairs[i])
    return triples.astype(np.int64), pairs.astype(np.int64)
