"""Plain references of file and camera history: loops in float64, straight from the formulas; Pillow encodes JPEG."""

from __future__ import annotations

import cmath
import io
import itertools
import math

import numpy as np
from PIL import Image


def _each(function, *batches):
    return np.array([function(*images) for images in zip(*batches, strict=True)], np.float64)


def _through_jpeg(image, quality):
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(image)).save(file, "JPEG", quality=quality, subsampling=2)
    return np.asarray(Image.open(file).convert("RGB")).tolist()


def _mean(values):
    return math.fsum(values) / len(values)


def _deviation(values):
    mean = _mean(values)
    return math.sqrt(_mean([(v - mean) ** 2 for v in values]))


# --- maps ------------------------------------------------------------------------------------------------------


def error_level(rgb8, *, quality=95):
    def one(image):
        before, after = image.tolist(), _through_jpeg(image, quality)
        return [
            [[abs(b[c] - a[c]) for b, a in zip(*rows, strict=True)] for rows in zip(before, after, strict=True)]
            for c in range(3)
        ]

    return _each(one, rgb8)


def grid_steps(luma):
    def phases(image):
        width = image.shape[1]
        found = {q: [] for q in range(8)}
        whole = [[round(1000 * float(v)) for v in line] for line in image]
        for x in range(2, width - 1):  # the step between columns x - 1 and x
            for line in whole:
                predicted = ((line[x - 1] - line[x - 2]) + (line[x + 1] - line[x])) / 2  # slope of both sides
                missed = 2 * abs(line[x] - line[x - 1] - predicted)
                # |a - 3b + 3c - d| = 2 |(c - b) - ((b - a) + (d - c)) / 2|
                found[x % 8].append(min(missed, 8000))
        return [sum(found[q]) / len(found[q]) / 1000 for q in range(8)]

    return _each(lambda image: [phases(image.T), phases(image)], luma)


def demosaicing_residual(planes):
    def one(image):
        colours, height, width = image.shape
        result = np.zeros((colours, height - 2, width - 2))
        for c, y, x in np.ndindex(*result.shape):
            centre = image[c, y + 1, x + 1]
            around = ((y, x + 1), (y + 2, x + 1), (y + 1, x), (y + 1, x + 2))
            result[c, y, x] = sum(centre - image[c, i, j] for i, j in around)
        return result

    return _each(one, planes)


# --- features --------------------------------------------------------------------------------------------------

# T.81 Tables K.1 and K.2, row by row
_LUMA = [
    16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55, 14, 13, 16, 24, 40, 57, 69, 56,
    14, 17, 22, 29, 51, 87, 80, 62, 18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92,
    49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99,
]  # fmt: skip
_CHROMA = [
    17, 18, 24, 47, 99, 99, 99, 99, 18, 21, 26, 66, 99, 99, 99, 99, 24, 26, 56, 99, 99, 99, 99, 99,
    47, 66, 99, 99, 99, 99, 99, 99, *[99] * 32,
]  # fmt: skip


def _nearest(table, base):
    best = None
    for quality in range(1, 101):
        scale = 5000 // quality if quality < 50 else 200 - 2 * quality
        scaled = [min(max((b * scale + 50) // 100, 1), 255) for b in base]
        distance = sum(abs(s - t) for s, t in zip(scaled, table, strict=True))
        if best is None or distance < best[0]:
            best = distance, quality
    return best[1], best[0] == 0


def jpeg_quality_tables(facts):
    rows = []
    for f in facts:
        luma = f.qtables[0] if len(f.qtables) > 0 else None
        chroma = f.qtables[1] if len(f.qtables) > 1 else None
        row = [min(len(f.qtables), 2)]
        row += [*_nearest(luma, _LUMA), sum(luma) / 64] if luma else [0, 0, 0]
        row += [*_nearest(chroma, _CHROMA), sum(chroma) / 64] if chroma else [0, 0, 0]
        row += [sum(chroma) / sum(luma) if chroma else 0]
        row += [f.subsampling == "4:4:4", f.subsampling == "4:2:2", f.subsampling == "4:2:0"]
        row += [f.subsampling not in ("", "4:4:4", "4:2:2", "4:2:0"), f.progressive]
        rows.append(row)
    return np.array(rows, np.float64)


def double_jpeg_grid(grid_steps, block_dct, facts):
    def one(steps, blocks, f):
        rows, columns = steps.tolist()
        firsts = [line.index(max(line)) for line in (rows, columns)]
        strength = {}
        for p, q in itertools.product(range(8), range(8)):
            shares = [line[k] / _mean(line) - 1 if max(line) > 0 else 0.0 for line, k in ((rows, p), (columns, q))]
            strength[p, q] = _mean(shares)
        others = [b for (p, q), b in strength.items() if p != firsts[0] and q != firsts[1]]
        row = [strength[0, 0], max(strength.values()), max(others), firsts == [0, 0], *firsts]
        for v, u in ((0, 1), (1, 0), (2, 0), (1, 1), (0, 2), (0, 3), (1, 2), (2, 1), (3, 0)):
            step = f.qtables[0][8 * v + u] if f.qtables else 1
            levels = []
            for c in blocks[:, :, v, u].ravel().tolist():
                level = math.floor(abs(c) / step + 0.5)
                if 0 < level < 32:
                    levels.append(level if c > 0 else -level)
            if not levels:
                row.append(0.0)
                continue
            heights = [abs(sum(cmath.exp(-2j * math.pi * (k * m % 64) / 64) for k in levels)) for m in range(8, 33)]
            row.append(math.log(1 + (max(heights) - _mean(heights)) / math.sqrt(len(levels))))
        return row

    return _each(one, grid_steps, block_dct, facts)


def jpeg_ghosts(rgb8):
    qualities = (60, 65, 70, 75, 80, 85, 90, 95)

    def one(image):
        height, width, _ = image.shape
        total, by_block = {}, {}
        for q in qualities:
            after, total[q] = _through_jpeg(image, q), 0
            for y, x, c in np.ndindex(height, width, 3):
                square = (int(image[y, x, c]) - after[y][x][c]) ** 2
                total[q] += square
                if y < height // 16 * 16 and x < width // 16 * 16:
                    block = by_block.setdefault((y // 16, x // 16), dict.fromkeys(qualities, 0))
                    block[q] += square
        logs = [math.log(total[q] / (3 * height * width) + 0.01) for q in qualities]
        dips = [(logs[k - 1] + logs[k + 1]) / 2 - logs[k] for k in range(1, 7)]
        best = max(q for q in qualities if total[q] == min(total.values()))
        spreads = []
        for q in qualities:
            scaled = []
            for block in by_block.values():
                low, high = min(block.values()), max(block.values())
                scaled.append((block[q] - low) / (high - low) if high > low else 0.0)
            spreads.append(_deviation(scaled))
        return [*logs, max(dips), best, *spreads]

    return _each(one, rgb8)


def error_level_analysis(error_level):
    def one(levels):
        row = []
        for colour in levels.tolist():
            values = [v for line in colour for v in line]
            row += [_mean(values), _deviation(values)]
        blocks = []
        for i, j in np.ndindex(levels.shape[1] // 8, levels.shape[2] // 8):
            blocks.append(_mean([levels[c, 8 * i + y, 8 * j + x] for c, y, x in np.ndindex(3, 8, 8)]))
        return [*row, max(blocks), min(blocks), _deviation(blocks)]

    return _each(one, error_level)


def cfa_periodicity(demosaicing_residual):
    def cell(image, power):
        """Means of |R|^power at each place of the 2 x 2 cells."""
        found = {}
        for y, x in np.ndindex(*image.shape):
            found.setdefault((y % 2, x % 2), []).append(abs(image[y, x]) ** power)
        return {place: _mean(values) for place, values in found.items()}

    def one(residual):
        row = []
        for colour in residual:
            mean = cell(colour, 1)
            total = math.fsum(mean.values())
            for v, u in ((0, 1), (1, 0), (1, 1)):  # half cycles a pixel down, across
                wave = abs(math.fsum(s * (-1) ** (v * y + u * x) for (y, x), s in mean.items()))
                row.append(wave / total if total > 0 else 0.0)
        green = residual[1]
        square = cell(green, 2)
        row.append(abs(math.log((square[0, 0] + square[1, 1] + 1) / (square[0, 1] + square[1, 0] + 1))))
        height, length = green.shape[0], green.shape[1] // 2 * 2
        diagonal, total = [0.0] * length, 0.0
        for y, x in np.ndindex(height, length):
            diagonal[(x + y) % length] += abs(green[y, x])
            total += abs(green[y, x])
        heights = []
        for m in range(1, length // 2 + 1):
            wave = sum(d * cmath.exp(-2j * math.pi * (m * t % length) / length) for t, d in enumerate(diagonal))
            heights.append(abs(wave) / total if total > 0 else 0.0)
        row.append(math.log((heights[-1] + 1e-4) / (float(np.median(heights[:-1])) + 1e-4)))
        return row

    return _each(one, demosaicing_residual)


def exif_facts(facts):
    rows = []
    for f in facts:
        names = [name for name, _ in f.exif]
        row = [name in names for name in ("Make", "Model", "Software", "DateTime")]
        row += ["ExposureTime" in names or "ExifOffset" in names, "GPSInfo" in names]
        rows.append([*row, math.log(1 + len(names)), f.orientation])
    return np.array(rows, np.float64)
