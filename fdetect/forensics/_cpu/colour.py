"""Twins of the colour statistics: whole-number counts and sums from the stored pixels.

Rows of one colour are taken apart first, so that the loops over them become vector instructions.
"""

from __future__ import annotations

import numpy as np
from numba import njit

__all__ = ["colour_difference_products", "exposure_counts"]

_ONE = np.uint32(1)


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def exposure_counts(rgb8: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Count levels by colour (B, 3, 256), 8-bit saturations (B, 256), and pixels with n colours at an end (B, 2, 4)."""
    B, H, W, _ = rgb8.shape
    lines = np.ascontiguousarray(rgb8).reshape((B, H, 3 * W))
    levels, saturations = np.zeros((B, 3, 256), np.uint32), np.zeros((B, 256), np.uint32)
    ends = np.zeros((B, 2, 4), np.int64)
    saturation, low, high = np.empty(W, np.uint8), np.empty(W, np.uint8), np.empty(W, np.uint8)
    for i in range(B):
        red, green, blue = levels[i, 0], levels[i, 1], levels[i, 2]
        for y in range(H):
            line = lines[i, y]
            _describe(line, saturation, low, high)
            for x in range(0, 3 * W, 3):
                red[line[x]] += _ONE
                green[line[x + 1]] += _ONE
                blue[line[x + 2]] += _ONE
            for x in range(W):
                saturations[i, saturation[x]] += _ONE
            for n in range(1, 4):
                ends[i, 0, n] += (low == n).sum()
                ends[i, 1, n] += (high == n).sum()
        for end in range(2):
            ends[i, end, 0] = H * W - ends[i, end, 1:].sum()
    return levels.astype(np.int64), saturations.astype(np.int64), ends


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _describe(line: np.ndarray, saturation: np.ndarray, low: np.ndarray, high: np.ndarray) -> None:
    """Write floor(255 (max - min) / max); the float32 quotient is never rounded up to a whole number it is below."""
    for x in range(len(saturation)):
        r, g, b = line[3 * x], line[3 * x + 1], line[3 * x + 2]
        most, least = max(r, g, b), min(r, g, b)
        quotient = np.float32(255) * np.float32(most - least) / np.float32(max(most, np.uint8(1)))
        saturation[x] = np.uint8(np.int32(quotient))
        low[x] = np.uint8((r == 0) + (g == 0) + (b == 0))
        high[x] = np.uint8((r == 255) + (g == 255) + (b == 255))


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def colour_difference_products(rgb8: np.ndarray) -> np.ndarray:
    """Sum products of the residuals of two colours: (B, 3 orders, 6 pairs RR RG RB GG GB BB) int64."""
    B, H, W, _ = rgb8.shape
    sums = np.zeros((B, 3, 6), np.int64)
    lines = np.empty((3, 3, W), np.int32)  # three rows of three colours
    rest = np.empty((3, W), np.int32)
    for i in range(B):
        for y in range(H):
            now, one, two = lines[y % 3], lines[(y + 2) % 3], lines[(y + 1) % 3]
            for c in range(3):
                for x in range(W):
                    now[c, x] = rgb8[i, y, x, c]
            for c in range(3):
                _subtract(now[c, 1:], now[c, :-1], rest[c, 1:])
            _add_products(rest[:, 1:], sums[i, 0])
            for c in range(3):
                _bend(now[c, 2:], now[c, 1:-1], now[c, :-2], rest[c, 2:])
            _add_products(rest[:, 2:], sums[i, 1])
            if y >= 1:
                for c in range(3):
                    _subtract(now[c], one[c], rest[c])
                _add_products(rest, sums[i, 0])
                for c in range(3):
                    _turn(rest[c])
                _add_products(rest[:, :-1], sums[i, 2])
            if y >= 2:
                for c in range(3):
                    _bend(now[c], one[c], two[c], rest[c])
                _add_products(rest, sums[i, 1])
    return sums


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _subtract(a: np.ndarray, b: np.ndarray, result: np.ndarray) -> None:
    for x in range(len(result)):
        result[x] = a[x] - b[x]


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _bend(a: np.ndarray, b: np.ndarray, c: np.ndarray, result: np.ndarray) -> None:
    for x in range(len(result)):
        result[x] = a[x] + c[x] - 2 * b[x]


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _turn(line: np.ndarray) -> None:
    """Replace differences down a row by the differences of neighbouring ones."""
    for x in range(len(line) - 1):
        line[x] = line[x + 1] - line[x]


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _add_products(rest: np.ndarray, sums: np.ndarray) -> None:
    r, g, b = rest[0], rest[1], rest[2]
    rr = rg = rb = gg = gb = bb = np.int64(0)
    for x in range(len(r)):  # a product of two residuals stays below 2^31, their sum need not
        rr += np.int32(r[x] * r[x])
        rg += np.int32(r[x] * g[x])
        rb += np.int32(r[x] * b[x])
        gg += np.int32(g[x] * g[x])
        gb += np.int32(g[x] * b[x])
        bb += np.int32(b[x] * b[x])
    for k, part in enumerate((rr, rg, rb, gg, gb, bb)):
        sums[k] += part
