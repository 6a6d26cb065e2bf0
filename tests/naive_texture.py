"""Plain references of textures, co-occurrences and colour statistics: loops over pixels, straight from the formulas."""

from __future__ import annotations

import itertools
import math

import numpy as np

__all__ = [
    "colour_correlation",
    "cooccurrence",
    "cooccurrence_matrix",
    "cross_band_cooccurrence",
    "cross_band_matrix",
    "local_binary_patterns",
    "saturation_statistics",
    "texture_contrast",
]


def _each(function, *batches):
    return np.array([function(*images) for images in zip(*batches, strict=True)], np.float64)


def _levels(image):
    """The three colours of an (H, W, 3) image as nested lists of ints, [colour][row][column]."""
    return [image[..., c].tolist() for c in range(3)]


def _matrix(a, b, dy, dx):
    counts = np.zeros((256, 256))
    for y in range(len(a) - dy):
        for x in range(len(a[0]) - dx):
            counts[a[y][x], b[y + dy][x + dx]] += 1
    return counts


def cooccurrence_matrix(rgb8, *, dy=0, dx=1):
    return _each(lambda image: [_matrix(c, c, dy, dx) for c in _levels(image)], rgb8)


def cross_band_matrix(rgb8, *, dy=0, dx=0):
    def one(image):
        red, green, blue = _levels(image)
        return [_matrix(red, green, dy, dx), _matrix(red, blue, dy, dx), _matrix(green, blue, dy, dx)]

    return _each(one, rgb8)


def cooccurrence(rgb8, *, dy=0, dx=1):
    ranges = [(0, 0), (1, 1), (2, 2), (3, 3), (4, 4), (5, 7), (8, 15), (16, 255)]

    def one(image):
        row = []
        for colour in _levels(image):
            matrix = _matrix(colour, colour, dy, dx)
            tally = {}
            for i, j in np.argwhere(matrix).tolist():
                mean, distance = (i + j) / 2, abs(i - j)
                column = next(k for k, (low, high) in enumerate(ranges) if low <= distance <= high)
                tally[math.floor(mean / 32), column] = tally.get((math.floor(mean / 32), column), 0) + matrix[i, j]
            total = sum(tally.values())
            for q in range(8):
                band = sum(tally.get((q, k), 0) for k in range(8))
                for k in range(8):
                    anywhere = sum(tally.get((p, k), 0) for p in range(8))
                    row.append(math.sqrt((tally.get((q, k), 0) + anywhere / 64) / (band + total / 64)))
        return row

    return _each(one, rgb8)


def _digit(value):
    size = 3 if abs(value) >= 8 else 2 if abs(value) >= 3 else 1 if value else 0
    return size if value > 0 else -size


def cross_band_cooccurrence(rgb8):
    signs = range(-3, 4)
    across = sorted({max((a, b), (-a, -b)) for a, b in itertools.product(signs, signs)})
    within = sorted({max((a, b), (-a, -b), (b, a), (-b, -a)) for a, b in itertools.product(signs, signs)})

    def one(image):
        height, width, _ = image.shape
        levels = _levels(image)
        pairs = {key: dict.fromkeys(across, 0) for key in ((0, 1), (0, 2), (1, 2))}
        colours = [dict.fromkeys(within, 0) for _ in range(3)]
        for dy, dx in ((0, 1), (1, 0)):
            digits = [
                {
                    (y, x): _digit(colour[y + dy][x + dx] - colour[y][x])
                    for y in range(height - dy)
                    for x in range(width - dx)
                }
                for colour in levels
            ]
            for place in digits[0]:
                for (p, q), count in pairs.items():
                    a, b = digits[p][place], digits[q][place]
                    count[max((a, b), (-a, -b))] += 1
                for c in range(3):
                    a, b = digits[c][place], digits[c].get((place[0] + 1, place[1] + 1))
                    if b is not None:
                        colours[c][max((a, b), (-a, -b), (b, a), (-b, -a))] += 1
        row = []
        for count in (*pairs.values(), *colours):
            row += [math.sqrt(value / sum(count.values())) for value in count.values()]
        return row

    return _each(one, rgb8)


def local_binary_patterns(rgb8):
    ring = [(0, 1), (-1, 1), (-1, 0), (-1, -1), (0, -1), (1, -1), (1, 0), (1, 1)]
    names = ["0", "1_axis", "1_corner", "2", "3_axis", "3_corner", "4", "5_axis", "5_corner", "6", "7_axis", "7_corner"]
    names += ["8", "turns4", "turns6", "turns8"]

    def pattern(bits):
        turns = sum(bits[k] != bits[(k + 1) % 8] for k in range(8))
        if turns > 2:
            return f"turns{turns}"
        ones = sum(bits)
        if ones in (0, 8) or ones % 2 == 0:
            return str(ones)
        # the middle of the run: the place about which the ring is symmetric and that is itself one
        middle = next(
            k for k in range(8) if bits[k] and all(bits[k - s] == bits[(k + s) % 8] for s in range(1, 5))
            and all(bits[(k + s) % 8] for s in range(ones // 2 + 1))
        )  # fmt: skip
        return f"{ones}_{'axis' if 0 in ring[middle] else 'corner'}"

    known = {bits: pattern(bits) for bits in itertools.product((0, 1), repeat=8)}

    def one(image):
        height, width, _ = image.shape
        row = []
        for colour in _levels(image):
            for r in (1, 2, 3):
                tally = dict.fromkeys(names, 0)
                for y in range(r, height - r):
                    for x in range(r, width - r):
                        tally[known[tuple(int(colour[y + r * i][x + r * j] >= colour[y][x]) for i, j in ring)]] += 1
                row += [math.sqrt(tally[name] / ((height - 2 * r) * (width - 2 * r))) for name in names]
        return row

    return _each(one, rgb8)


def _patch_residuals(luma, kernel, y, x):
    """The residuals of a kernel at a pixel, in grey levels, one for each direction."""
    at = lambda i, j: luma[y + i][x + j]
    if kernel == "first":
        return [(at(0, 1) - at(0, 0)) / 1000, (at(1, 0) - at(0, 0)) / 1000]
    if kernel == "second":
        return [
            (at(0, -1) - 2 * at(0, 0) + at(0, 1)) / 2000,
            (at(-1, 0) - 2 * at(0, 0) + at(1, 0)) / 2000,
        ]
    beside = at(0, -1) + at(0, 1) + at(-1, 0) + at(1, 0)
    corners = at(-1, -1) + at(-1, 1) + at(1, -1) + at(1, 1)
    return [(2 * beside - corners - 4 * at(0, 0)) / 4000]


def texture_contrast(rgb8):
    bounds = [0, 0.5, 1, 2, 4, 8, 16, math.inf]

    def diversity(image, top, left, side):
        total = 0
        for y, x, c in itertools.product(range(top, top + side), range(left, left + side), range(3)):
            for i, j in ((0, 1), (1, 0), (1, 1), (1, -1)):
                if y + i < top + side and left <= x + j < left + side:
                    total += abs(int(image[y, x, c]) - int(image[y + i, x + j, c]))
        return total

    def residuals(image, kernel):
        height, width, _ = image.shape
        luma = [[299 * r + 587 * g + 114 * b for r, g, b in line] for line in image.tolist()]
        inner = itertools.product(range(1, height - 1), range(1, width - 1))
        return {place: _patch_residuals(luma, kernel, *place) for place in inner}

    def describe(at, patches, side):
        magnitudes, opposite = [], []
        for top, left in patches:
            for y, x in itertools.product(range(top, top + side), range(left, left + side)):
                for d, value in enumerate(at.get((y, x), ())):
                    magnitudes.append(abs(value))
                    others = [other for other in ((y, x + 1), (y + 1, x)) if other in at]
                    opposite += [value * at[other][d] < 0 for other in others]
        row = [math.log(math.fsum(magnitudes) / len(magnitudes) + 0.01)]
        for low, high in itertools.pairwise(bounds):
            row.append(math.sqrt(sum(low <= m < high for m in magnitudes) / len(magnitudes)))
        return [*row, math.sqrt(sum(opposite) / len(opposite))]

    def one(image):
        step = min(32, *image.shape[:2]) // 2
        height, width = (length // step * step for length in image.shape[:2])
        image, side = image[:height, :width], 2 * step
        corners = itertools.product(range(0, height - side + 1, step), range(0, width - side + 1, step))
        spread = {corner: diversity(image, *corner, side) for corner in corners}
        ranked = sorted(spread, key=spread.get)  # stable: ties stay in order
        third = max(1, len(ranked) // 3)
        maps = [residuals(image, kernel) for kernel in ("first", "second", "square3x3")]
        rows = []
        for patches in (ranked[:third], ranked[-third:]):
            mean = sum(spread[corner] for corner in patches) / (len(patches) * 3 * side * side)
            rows.append([math.log(mean + 0.01), *itertools.chain(*(describe(at, patches, side) for at in maps))])
        return [*rows[0], *(b - a for a, b in zip(*rows, strict=True))]

    return _each(one, rgb8)


def saturation_statistics(rgb8):
    def one(image):
        pixels = image.reshape(-1, 3).tolist()
        n = len(pixels)
        row = []
        for c in range(3):
            row += [math.sqrt(sum(p[c] <= m for p in pixels) / n) for m in (0, 5, 15)]
            row += [math.sqrt(sum(p[c] >= 255 - m for p in pixels) / n) for m in (0, 5, 15)]
        for end in (0, 255):
            row += [math.sqrt(sum(p.count(end) == k for p in pixels) / n) for k in (1, 2, 3)]
        saturation = [255 * (max(p) - min(p)) // max(p) if max(p) else 0 for p in pixels]
        row += [math.sqrt(saturation.count(end) / n) for end in (0, 255)]
        mean = sum(saturation) / n
        variance = math.fsum((s - mean) ** 2 for s in saturation) / n
        third = math.fsum((s - mean) ** 3 for s in saturation) / n
        constant = len(set(saturation)) == 1
        return [*row, mean / 255, math.sqrt(variance) / 255, 0.0 if constant else third / variance**1.5]

    return _each(one, rgb8)


def colour_correlation(rgb8):
    first = [{(0, 1): 1, (0, 0): -1}, {(1, 0): 1, (0, 0): -1}]
    second = [{(0, 0): 1, (0, 1): -2, (0, 2): 1}, {(0, 0): 1, (1, 0): -2, (2, 0): 1}]
    cross = [{(0, 0): 1, (1, 1): 1, (0, 1): -1, (1, 0): -1}]

    def one(image):
        height, width, _ = image.shape
        levels = _levels(image)
        row = []
        for masks in (first, second, cross):
            r, g, b = values = ([], [], [])
            for mask in masks:
                tall, wide = (max(place[k] for place in mask) for k in range(2))
                for c in range(3):
                    for y, x in itertools.product(range(height - tall), range(width - wide)):
                        values[c].append(sum(w * levels[c][y + i][x + j] for (i, j), w in mask.items()))
            dot = lambda p, q: sum(u * v for u, v in zip(p, q, strict=True))
            for p, q in ((r, g), (r, b), (g, b)):
                scale = math.sqrt(dot(p, p) * dot(q, q))
                row.append(math.log(1 - (dot(p, q) / scale if scale else 0) + 0.001))
            energy = [dot(p, p) / len(p) + 0.01 for p in values]
            row += [math.log(energy[0] / energy[1]), math.log(energy[2] / energy[1])]
        return row

    return _each(one, rgb8)
