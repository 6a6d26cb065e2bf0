"""Twins of the textures: local binary patterns, and diversity and residuals of patches, as whole numbers.

A row of interleaved pixels is read as one line of 3 W samples, so that a neighbour d pixels away is 3 d samples away
and nothing has to be taken apart.  Loops without a table, which the compiler turns into vector instructions, leave
small numbers in a row; loops that count read it.
"""

from __future__ import annotations

import numpy as np
from numba import njit

__all__ = ["lbp_counts", "patch_cells"]

_ONE = np.uint32(1)


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def lbp_counts(rgb8: np.ndarray, radii: tuple[int, ...]) -> np.ndarray:
    """Count the codes of the square ring of each radius: (B, 3, radii, 256) int64."""
    B, H, W, _ = rgb8.shape
    lines = np.ascontiguousarray(rgb8).reshape((B, H, 3 * W))
    counts = np.zeros((B, 3, len(radii), 256), np.uint32)
    codes = np.empty(3 * W, np.uint8)
    for i in range(B):
        for k, r in enumerate(radii):
            width = 3 * (W - 2 * r)
            red, green, blue = counts[i, 0, k], counts[i, 1, k], counts[i, 2, k]
            for y in range(r, H - r):
                above, line, below = lines[i, y - r], lines[i, y], lines[i, y + r]
                nw, n, ne = above[:width], above[3 * r : 3 * r + width], above[6 * r : 6 * r + width]
                w, c, e = line[:width], line[3 * r : 3 * r + width], line[6 * r : 6 * r + width]
                sw, s, se = below[:width], below[3 * r : 3 * r + width], below[6 * r : 6 * r + width]
                for x in range(width):
                    m = c[x]
                    codes[x] = np.uint8(
                        (e[x] >= m) | ((ne[x] >= m) << 1) | ((n[x] >= m) << 2) | ((nw[x] >= m) << 3)
                        | ((w[x] >= m) << 4) | ((sw[x] >= m) << 5) | ((s[x] >= m) << 6) | ((se[x] >= m) << 7)
                    )  # fmt: skip
                for x in range(0, width, 3):
                    red[codes[x]] += _ONE
                    green[codes[x + 1]] += _ONE
                    blue[codes[x + 2]] += _ONE
    return counts.astype(np.int64)


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def patch_cells(rgb8: np.ndarray, cell: int, edges: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the diversity of every patch (B, rows-1, columns-1) and sums of residuals by cell.

    A patch is 2 x 2 cells.  The sums are (B, rows, columns, 3 kernels, 8) int64: magnitudes, pixels that reach each
    of six edges (in thousandths; the divisors 1, 2, 4 of the kernels multiply them), pairs of opposite sign.
    """
    B, H, W, _ = rgb8.shape
    rows, columns = H // cell, W // cell
    diversity = np.zeros((B, rows - 1, columns - 1), np.int64)
    sums = np.zeros((B, rows, columns, 3, 8), np.int64)
    for i in range(B):
        image = np.ascontiguousarray(rgb8[i, : rows * cell, : columns * cell])
        _diversity(image, cell, diversity[i])
        _residual_sums(image, cell, edges, sums[i])
    return diversity, sums


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _add_distances(a: np.ndarray, b: np.ndarray, total: np.ndarray) -> None:
    for x in range(len(a)):
        total[x] += np.int32(abs(np.int16(np.int16(a[x]) - np.int16(b[x]))))


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _diversity(image: np.ndarray, cell: int, diversity: np.ndarray) -> None:
    """Sum the four distances inside each patch, from sums inside cells and across their right and lower borders."""
    H, W, _ = image.shape
    lines, step = image.reshape((H, 3 * W)), 3 * cell
    rows, columns = H // cell, W // cell
    for i in range(rows):
        # distances that start in this row of cells: beside and diagonal ones, and those across the lower border
        beside, below = np.zeros(3 * W, np.int32), np.zeros(3 * W, np.int32)
        slant, under, slant_under = np.zeros(3 * W, np.int32), np.zeros(3 * W, np.int32), np.zeros(3 * W, np.int32)
        for y in range(i * cell, (i + 1) * cell):
            line = lines[y]
            _add_distances(line[:-3], line[3:], beside)
            if y + 1 < H:
                last, after = y + 1 == (i + 1) * cell, lines[y + 1]
                _add_distances(line, after, under if last else below)
                _add_distances(line[:-3], after[3:], slant_under if last else slant)
                _add_distances(line[3:], after[:-3], slant_under if last else slant)
        for j in range(columns):
            start, end = j * step, (j + 1) * step
            inner = below[start:end].sum() + beside[start : end - 3].sum() + slant[start : end - 3].sum()
            across = beside[end - 3 : end].sum() + slant[end - 3 : end].sum()
            lower = under[start:end].sum() + slant_under[start : end - 3].sum()
            corner = slant_under[end - 3 : end].sum()
            for di in range(2):  # the patches of which this cell is the upper (0) or lower (1), left (0) or right part
                for dj in range(2):
                    if 0 <= i - di < rows - 1 and 0 <= j - dj < columns - 1:
                        total = inner
                        if dj == 0:
                            total += across
                        if di == 0:
                            total += lower
                        if di == 0 and dj == 0:
                            total += corner
                        diversity[i - di, j - dj] += total


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _residual_sums(image: np.ndarray, cell: int, edges: np.ndarray, sums: np.ndarray) -> None:
    """Sum over cells; signs are counted in pairs only, so the square kernel may be minus what its name says."""
    H, W, _ = image.shape
    luma, second = np.empty((H, W), np.int32), np.empty((H, W - 2), np.int32)  # thousandths; horizontal second
    for y in range(H):
        for x in range(W):
            red, green, blue = image[y, x]
            luma[y, x] = np.int32(299) * red + np.int32(587) * green + np.int32(114) * blue
        _bend(luma[y, :-2], luma[y, 1:-1], luma[y, 2:], second[y])
    residuals = np.zeros((2, 5, W - 2), np.int32)  # this row and the one before; two directions, two, one
    totals = np.zeros((5, 3, W), np.int32)  # columns of this row of cells: magnitudes, edges reached, opposite signs
    scaled = np.empty((5, 6), np.int32)
    for d in range(5):
        scaled[d] = edges << (d // 2)
    for y in range(1, H - 1):
        now, before = residuals[y % 2], residuals[(y + 1) % 2]
        above, line, below = luma[y - 1, 1:-1], luma[y, 1:-1], luma[y + 1, 1:-1]
        _subtract(luma[y, 2:], line, now[0])
        _subtract(below, line, now[1])
        now[2] = second[y]
        _bend(above, line, below, now[3])
        _bend(second[y - 1], second[y], second[y + 1], now[4])
        if y > 1:  # a pair belongs to the cell of its first pixel
            for d in range(5):
                _add_opposite(before[d], now[d], totals[d, 2, 1:-1])
        if y % cell == 0:
            _close(totals, cell, sums[y // cell - 1])
        for d in range(5):
            _add_opposite(now[d, :-1], now[d, 1:], totals[d, 2, 1:-2])
            _add_magnitudes(now[d], scaled[d], totals[d, 0, 1:-1], totals[d, 1, 1:-1])
    _close(totals, cell, sums[H // cell - 1])


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _subtract(a: np.ndarray, b: np.ndarray, result: np.ndarray) -> None:
    for x in range(len(result)):
        result[x] = a[x] - b[x]


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _bend(a: np.ndarray, b: np.ndarray, c: np.ndarray, result: np.ndarray) -> None:
    for x in range(len(result)):
        result[x] = a[x] + c[x] - 2 * b[x]


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _add_opposite(a: np.ndarray, b: np.ndarray, opposite: np.ndarray) -> None:
    for x in range(len(opposite)):
        opposite[x] += np.int32(((a[x] > 0) & (b[x] < 0)) | ((a[x] < 0) & (b[x] > 0)))


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _add_magnitudes(residual: np.ndarray, edges: np.ndarray, sums: np.ndarray, reached: np.ndarray) -> None:
    """Add magnitudes, and for each edge a one in its five bits: a cell has at most 16 rows."""
    e1, e2, e3, e4, e5, e6 = edges
    for x in range(len(residual)):
        r = abs(residual[x])
        sums[x] += r
        low = np.int32(r >= e1) + (np.int32(r >= e2) << 5) + (np.int32(r >= e3) << 10)
        reached[x] += np.int32(low + (np.int32(r >= e4) << 15) + (np.int32(r >= e5) << 20) + (np.int32(r >= e6) << 25))


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _close(totals: np.ndarray, cell: int, sums: np.ndarray) -> None:
    """Add the columns of a finished row of cells to its sums, and start the next."""
    for j in range(len(sums)):
        for d in range(5):
            magnitudes, reached, opposite = totals[d, :, j * cell : (j + 1) * cell]
            part = sums[j, d // 2]
            part[0] += magnitudes.sum()
            for x in range(cell):
                for m in range(6):
                    part[1 + m] += (reached[x] >> (5 * m)) & 31
            part[7] += opposite.sum()
    totals[:] = 0
