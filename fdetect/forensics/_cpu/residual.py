"""Residuals straight to statistics: no residual map is written, and a row of one stays in the first-level cache."""

from __future__ import annotations

import functools
import math

import numpy as np
from numba import njit

from fdetect.forensics.residual import Kernel

__all__ = ["residual_counts", "residual_moments"]

TUPLES = 625  # 5^4: four neighbours of five levels


def residual_counts(images: np.ndarray, kernel: Kernel, edges: tuple[int, ...], units: int) -> np.ndarray:
    """Count the 4-tuples of quantised residuals, right and down, pooled over the directions of a class.

    (B, H, W) float32 -> (B, 625) int64; `edges` are the four integer thresholds of the five levels, in 1/(units x
    divisor) grey levels: the level of r is how many of them it reaches.
    """
    taps, coefficients, starts = _taps(kernel)
    return np.asarray(
        _counts(images, np.float32(units), taps, coefficients, starts, kernel.side, np.array(edges, np.float32))
    )


def residual_moments(images: np.ndarray, kernels: tuple[Kernel, ...], units: int) -> np.ndarray:
    """Sum |R| and R^2 of every direction of some classes, in grey levels: (B, H, W) float32 -> (B, D, 2) float64."""
    taps, coefficients, starts, sides, scale = _bank(kernels, units)
    return np.asarray(_moments(images, np.float32(units), taps, coefficients, starts, sides) / scale)


@functools.lru_cache(maxsize=64)
def _taps(kernel: Kernel) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return places (T, 2), coefficients (T,) and where each direction starts; four taps are added at a time."""
    places: list[tuple[int, int]] = []
    coefficients: list[int] = []
    starts = [0]
    for mask in kernel.masks:
        for i, j in np.argwhere(mask).tolist():
            places.append((i, j))
            coefficients.append(int(mask[i, j]))
        while len(places) % 4:
            places.append((0, 0))
            coefficients.append(0)
        starts.append(len(places))
    return np.array(places, np.uint32), np.array(coefficients, np.float32), np.array(starts, np.uint32)


@functools.lru_cache(maxsize=16)
def _bank(kernels: tuple[Kernel, ...], units: int) -> tuple[np.ndarray, ...]:
    """Return the taps of some classes one after another, the side of every mask, and what sums are divided by."""
    parts = [_taps(kernel) for kernel in kernels]
    lengths = np.cumsum([0] + [len(coefficients) for _, coefficients, _ in parts])
    starts = [starts[:-1] + offset for (_, _, starts), offset in zip(parts, lengths, strict=False)]
    directions = [len(kernel.masks) for kernel in kernels]
    divisors = np.repeat([float(units * kernel.divisor) for kernel in kernels], directions)
    return (
        np.concatenate([places for places, _, _ in parts]),
        np.concatenate([coefficients for _, coefficients, _ in parts]),
        np.concatenate([*starts, lengths[-1:]]).astype(np.uint32),
        np.repeat([kernel.side for kernel in kernels], directions).astype(np.uint32),
        np.stack([divisors, divisors**2], axis=-1),
    )


@njit(cache=True, nogil=True)
def _padded(n):  # type: ignore[no-untyped-def]
    """Round a width up to whole vector registers, four at a time: a loop's odd end would cost as much as its middle."""
    return (n + 63) // 64 * 64


@njit(cache=True, nogil=True)
def _to_units(image, units, plane):  # type: ignore[no-untyped-def]
    half = np.float32(0.5)
    for y in range(image.shape[0]):
        for x in range(image.shape[1]):
            plane[y, x] = math.floor(image[y, x] * units + half)


@njit(cache=True, nogil=True, fastmath={"contract"})
def _row(plane, y, taps, coefficients, start, stop, total):  # type: ignore[no-untyped-def]
    """Write one row of one residual, in units x divisor.

    All terms are whole numbers, and float32 is exact while partial sums stay below 2^24: always for luma, and for
    chroma wherever the residual is small enough to be told from the outermost level.  So fused multiply-adds round
    nothing, and their order does not matter.
    """
    w = total.shape[0]
    total[:] = 0
    for t in range(start, stop, 4):
        # rows are cut to equal length before the loop, which is what lets it become vector instructions
        a = plane[y + taps[t, 0], taps[t, 1] : taps[t, 1] + w]
        b = plane[y + taps[t + 1, 0], taps[t + 1, 1] : taps[t + 1, 1] + w]
        c = plane[y + taps[t + 2, 0], taps[t + 2, 1] : taps[t + 2, 1] + w]
        d = plane[y + taps[t + 3, 0], taps[t + 3, 1] : taps[t + 3, 1] + w]
        of_a, of_b, of_c, of_d = coefficients[t], coefficients[t + 1], coefficients[t + 2], coefficients[t + 3]
        for x in range(w):
            total[x] += of_a * a[x] + of_b * b[x] + of_c * c[x] + of_d * d[x]


@njit(cache=True, nogil=True)
def _add(tables, codes, n):  # type: ignore[no-untyped-def]
    """Count codes in four tables in turn: neighbours are often equal, and one cell would wait for itself."""
    one = np.uint32(1)
    whole = n // 4 * 4
    for x in range(0, whole, 4):
        tables[0, codes[x]] += one
        tables[1, codes[x + 1]] += one
        tables[2, codes[x + 2]] += one
        tables[3, codes[x + 3]] += one
    for x in range(whole, n):
        tables[0, codes[x]] += one


@njit(cache=True, nogil=True)
def _counts(images, units, taps, coefficients, starts, side, edges):  # type: ignore[no-untyped-def]
    B, H, W = images.shape
    h, w, D = H - side + 1, W - side + 1, starts.shape[0] - 1
    result = np.zeros((B, TUPLES), np.int64)
    wide = _padded(w)
    plane, total = np.zeros((H, wide + side), np.float32), np.empty(wide, np.float32)
    levels, codes = np.zeros((D, 4, wide + 3), np.uint8), np.empty(wide, np.uint16)  # of each direction the last 4 rows
    e0, e1, e2, e3 = edges[0], edges[1], edges[2], edges[3]
    n125, n25, n5 = np.uint16(125), np.uint16(25), np.uint16(5)
    for k in range(B):
        _to_units(images[k], units, plane)
        tables = np.zeros((4, TUPLES), np.uint32)
        for y in range(h):
            for d in range(D):
                _row(plane, y, taps, coefficients, starts[d], starts[d + 1], total)
                here = levels[d, y & 3]
                for x in range(wide):
                    r = total[x]
                    here[x] = np.uint8(r >= e0) + np.uint8(r >= e1) + np.uint8(r >= e2) + np.uint8(r >= e3)
                for x in range(wide):
                    codes[x] = (
                        np.uint16(here[x]) * n125 + np.uint16(here[x + 1]) * n25
                        + np.uint16(here[x + 2]) * n5 + np.uint16(here[x + 3])
                    )  # fmt: skip
                _add(tables, codes, max(w - 3, 0))
                if y >= 3:
                    a, b, c = levels[d, (y - 3) & 3], levels[d, (y - 2) & 3], levels[d, (y - 1) & 3]
                    for x in range(wide):
                        codes[x] = (
                            np.uint16(a[x]) * n125 + np.uint16(b[x]) * n25 + np.uint16(c[x]) * n5 + np.uint16(here[x])
                        )
                    _add(tables, codes, w)
        for code in range(TUPLES):
            result[k, code] = np.int64(tables[0, code]) + tables[1, code] + tables[2, code] + tables[3, code]
    return result


@njit(cache=True, nogil=True, fastmath={"reassoc", "contract"})
def _moments(images, units, taps, coefficients, starts, sides):  # type: ignore[no-untyped-def]
    B, H, W = images.shape
    D = sides.shape[0]
    result = np.zeros((B, D, 2), np.float64)
    plane, total = np.zeros((H, _padded(W) + 4), np.float32), np.empty(_padded(W), np.float32)
    for k in range(B):
        _to_units(images[k], units, plane)
        for y in range(H):  # all filters row by row: the rows stay in the first-level cache
            for d in range(D):
                w = W - sides[d] + 1
                if y + sides[d] > H:
                    continue
                row = total[: _padded(w)]
                _row(plane, y, taps, coefficients, starts[d], starts[d + 1], row)
                row[w:] = 0
                absolute, squared = 0.0, 0.0
                for x in range(row.shape[0]):
                    r = np.float64(row[x])
                    absolute += abs(r)
                    squared += r * r
                result[k, d, 0] += absolute
                result[k, d, 1] += squared
    return result
