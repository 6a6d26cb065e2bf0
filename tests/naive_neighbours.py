"""Plain references of neighbours, patches, bits and wavelets: loops, straight from the formulas; no fdetect."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np


def _each(function, *batches):
    return np.array([function(*images) for images in zip(*batches, strict=True)], np.float64)


def _mean(values):
    return math.fsum(values) / len(values)


def npr_statistics(rgb8, *, factor=2):
    """Exact by fractions: central moments of whole numbers."""

    def statistics(d):
        n = len(d)
        mean = Fraction(sum(d), n)
        second = sum((v - mean) ** 2 for v in set(d) for _ in range(d.count(v))) / n if len(set(d)) > 1 else 0
        fourth = sum(d.count(v) * (v - mean) ** 4 for v in set(d)) / n
        kurtosis = float(fourth / second**2 - 3) if second else 0.0
        return [sum(map(abs, d)) / n, math.sqrt(second), kurtosis, d.count(0) / n]

    def one(image):
        rows, columns = image.shape[0] // factor, image.shape[1] // factor
        found = {}
        for c in range(3):
            for y, x in np.ndindex(rows * factor, columns * factor):
                i, j = y % factor, x % factor
                if i or j:
                    octave = int(math.log2(max(i, j)) + 1e-9)
                    direction = 0 if i == 0 else 1 if j == 0 else 2
                    step = int(image[y, x, c]) - int(image[y - i, x - j, c])
                    found.setdefault((c, octave, direction), []).append(step)
        return [value for key in sorted(found) for value in statistics(found[key])]

    return _each(one, rgb8)


def gradient_statistics(rgb8):
    steps = [((0, 0), (0, 1)), ((0, 0), (1, 0)), ((0, 0), (1, 1)), ((0, 1), (1, 0))]

    def one(image):
        height, width, _ = image.shape
        row = []
        for c, (direction, (start, end)) in itertools.product(range(3), enumerate(steps)):
            phases = {}
            for y in range(height - max(start[0], end[0])):
                for x in range(width - max(start[1], end[1])):
                    a, b = (int(image[y + i, x + j, c]) for i, j in (start, end))
                    key = (x % 2, y % 2, (y % 2, x % 2), (y % 2, x % 2))[direction]
                    phases.setdefault(key, []).append(b - a)
            d = [v for values in phases.values() for v in values]
            energies = [_mean([v * v for v in values]) + 0.01 for values in phases.values()]
            second, fourth = _mean([v**2 for v in d]), _mean([v**4 for v in d])
            row += [
                _mean([abs(v) for v in d]),
                math.sqrt(second),
                fourth / second**2 - 3 if any(d) else 0.0,
                d.count(0) / len(d),
                math.log(max(energies)) - math.log(min(energies)),
            ]
        return row

    return _each(one, rgb8)


def local_correlation(rgb8):
    def coefficient(a, b):
        scale = math.sqrt(sum(v * v for v in a)) * math.sqrt(sum(v * v for v in b))
        return sum(v * w for v, w in zip(a, b, strict=True)) / scale if scale else 0.0

    def one(image):
        height, width = image.shape[0] - 1, image.shape[1] - 1
        r = [{} for _ in range(3)]
        for c, y, x in np.ndindex(3, height, width):
            v = [int(image[y + i, x + j, c]) for i in (0, 1) for j in (0, 1)]
            r[c][y, x] = v[0] - v[1] - v[2] + v[3]
        row = []
        for c in range(3):
            for dy, dx in ((0, 1), (1, 0), (1, 1), (1, -1), (0, 2), (2, 0)):
                places = [(y, x) for y, x in r[c] if (y + dy, x + dx) in r[c]]
                row.append(coefficient([r[c][p] for p in places], [r[c][p[0] + dy, p[1] + dx] for p in places]))
        pairs = ((0, 1), (1, 2), (2, 0))
        return row + [coefficient(list(r[a].values()), list(r[b].values())) for a, b in pairs]

    return _each(one, rgb8)


def bit_planes(rgb8, *, bits=3):
    return np.moveaxis(np.float64(rgb8), 3, 1) % 2**bits


def patch_energy(rgb8, *, side=9, stride=8):
    def one(image):
        height, width = (length // 2 * 2 for length in image.shape[:2])
        tops, lefts = range(0, height - side + 1, stride), range(0, width - side + 1, stride)
        result = np.zeros((len(tops), len(lefts)))
        for (i, top), (j, left) in itertools.product(enumerate(tops), enumerate(lefts)):
            for y, x, c in itertools.product(range(top, top + side), range(left, left + side), range(3)):
                result[i, j] += (float(image[y, x, c]) - float(image[y // 2 * 2, x // 2 * 2, c])) ** 2
        return result

    return _each(one, rgb8)


def patch_residual_statistics(patch_energy):
    def one(energies):
        ranked = sorted(energies.ravel().tolist())
        n = len(ranked)
        levels = [math.log(v / 243 + 0.01) for v in ranked]
        mean = _mean(levels)
        variance = _mean([(v - mean) ** 2 for v in levels]) if ranked[0] < ranked[-1] else 0.0
        steps = []
        for y, x in np.ndindex(*energies.shape):
            for i, j in ((y, x + 1), (y + 1, x)):
                if i < energies.shape[0] and j < energies.shape[1]:
                    steps.append(abs(math.log(energies[y, x] / 243 + 0.01) - math.log(energies[i, j] / 243 + 0.01)))
        return [
            *(levels[q * (n - 1) // 100] for q in (5, 10, 25, 50, 75, 90, 95)),
            mean,
            math.sqrt(variance),
            _mean([(v - mean) ** 3 for v in levels]) / variance**1.5 if variance else 0.0,
            ranked.count(0) / n,
            _mean(steps) if steps else 0.0,
            sum(ranked[n - math.ceil(n / 10) :]) / sum(ranked) if ranked[-1] else 0.0,
        ]

    return _each(one, patch_energy)


def bit_plane_statistics(rgb8, *, side=32):
    def one(image):
        height, width, _ = image.shape
        low = [[[int(v) % 8 for v in line] for line in image[:, :, c]] for c in range(3)]

        def agree(a, b, k, i, j):
            places = list(itertools.product(range(height - i), range(width - j)))
            return sum((a[y][x] >> k & 1) == (b[y + i][x + j] >> k & 1) for y, x in places) / len(places)

        every = list(itertools.product(range(height), range(width)))
        row = []
        for c, k in itertools.product(range(3), range(3)):
            row.append(sum(low[c][y][x] >> k & 1 for y, x in every) / len(every))
            row += [agree(low[c], low[c], k, i, j) for i, j in ((0, 1), (1, 0), (1, 1))]
        row += [agree(low[a], low[b], k, 0, 0) for a, b in ((0, 1), (1, 2), (2, 0)) for k in range(3)]
        row += [sum(low[c][y][x] == 0 for y, x in every) / len(every) for c in range(3)]
        row.append(sum(low[0][y][x] == low[1][y][x] == low[2][y][x] == 0 for y, x in every) / len(every))
        size = min(side, height, width)
        gradients = []
        for top, left in itertools.product(range(0, height - size + 1, size), range(0, width - size + 1, size)):
            steps = []
            for c, y, x in np.ndindex(3, size, size):
                for i, j in ((0, 1), (1, 0), (1, 1), (1, -1)):
                    if y + i < size and 0 <= x + j < size:
                        steps.append(abs(low[c][top + y][left + x] - low[c][top + y + i][left + x + j]))
            gradients.append(_mean(steps))
        return [*row, min(gradients), _mean(gradients), max(gradients)]

    return _each(one, rgb8)


# --- wavelets --------------------------------------------------------------------------------------------------


def _mirrored(place, length):
    while not 0 <= place < length:
        place = -1 - place if place < 0 else 2 * length - 1 - place
    return place


def _filtered(x, along_y, along_x):
    """Convolve with two filters, mirrored at the edges, and keep every second coefficient."""
    height, width = x.shape
    size = [(side + len(along_x) - 1) // 2 for side in x.shape]
    rows = np.zeros((height, size[1]))
    for y, k in np.ndindex(*rows.shape):
        rows[y, k] = sum(f * x[y, _mirrored(2 * k + 1 - j, width)] for j, f in enumerate(along_x) if f)
    result = np.zeros(size)
    for k, j in itertools.product(range(size[0]), range(len(along_y))):
        if along_y[j]:
            result[k] += along_y[j] * rows[_mirrored(2 * k + 1 - j, height)]
    return result


def wavelet_band(planes, *, band="hh"):
    r = math.sqrt(0.5)
    taps = {"l": [-r / 8, r / 8, r, r, r / 8, -r / 8], "h": [0, 0, -r, r, 0, 0]}
    return _each(lambda image: [_filtered(plane, taps[band[1]], taps[band[0]]) for plane in image], planes)


def _daubechies8():
    """Build the 8-tap filter from its definition: (1+z)^4 times the roots inside the circle of sum C(3+k, k) y^k."""
    polynomial = np.poly1d([0.0])
    for k in range(4):  # y = (2 - z - 1/z) / 4, times z^3
        polynomial += math.comb(3 + k, k) * np.poly1d([-0.25, 0.5, -0.25]) ** k * np.poly1d([1, 0]) ** (3 - k)
    taps = np.poly1d([1, 1]) ** 4
    for root in polynomial.roots:
        if abs(root) < 1:
            taps *= np.poly1d([1, -root])
    taps = np.real(taps.coeffs)
    return (taps * math.sqrt(2) / sum(taps)).tolist()


def wavelet_residual(luma, *, sigma=5.0, levels=4):
    scaling = _daubechies8()
    wave = [(-1) ** k * scaling[7 - k] for k in range(8)]
    analysis, synthesis = (scaling[::-1], wave[::-1]), (scaling, wave)

    def shrunk(h):
        result = np.zeros_like(h)
        for y, x in np.ndindex(*h.shape):
            local = []
            for r in (1, 2, 3, 4):
                rows = [_mirrored(y + i, h.shape[0]) for i in range(-r, r + 1)]
                columns = [_mirrored(x + j, h.shape[1]) for j in range(-r, r + 1)]
                local.append(max(0.0, float((h[np.ix_(rows, columns)] ** 2).mean()) - sigma**2))
            result[y, x] = h[y, x] * sigma**2 / (min(local) + sigma**2)
        return result

    def noise(x, level):
        if level == levels:
            return np.zeros_like(x)
        low = noise(_filtered(x, analysis[0], analysis[0]), level + 1)
        bands = {(0, 0): low}
        for v, u in ((1, 0), (0, 1), (1, 1)):
            bands[v, u] = shrunk(_filtered(x, analysis[v], analysis[u]))
        columns = np.zeros((2, x.shape[0], low.shape[1]))
        for (v, u), band in bands.items():
            for k, j in itertools.product(range(low.shape[0]), range(8)):  # coefficient k adds its filter at 2k - 6
                if 0 <= 2 * k - 6 + j < x.shape[0]:
                    columns[u, 2 * k - 6 + j] += synthesis[v][j] * band[k]
        result = np.zeros_like(x)
        for u, k, j in itertools.product((0, 1), range(low.shape[1]), range(8)):
            if 0 <= 2 * k - 6 + j < x.shape[1]:
                result[:, 2 * k - 6 + j] += synthesis[u][j] * columns[u, :, k]
        return result

    return _each(lambda image: noise(image, 0), luma)


def wavelet_statistics(rgb8):
    low, high = {-2: -1, -1: 2, 0: 6, 1: 2, 2: -1}, {-1: 1, 0: -2, 1: 1}

    def band(x, along_y, along_x):
        """Low-pass about samples 2, 4, ..., high-pass about 1, 3, ...; `along` is the filter and its first centre."""
        height, width = ((len(part) - 3) // 2 for part in (x, x[0]))
        (f, top), (g, left) = along_y, along_x
        return [
            [
                sum(v * u * x[2 * k + top + i][2 * n + left + j] for i, v in f.items() for j, u in g.items())
                for n in range(width)
            ]
            for k in range(height)
        ]

    def centred_mean(pairs, a_mean, b_mean):
        return _mean([(a - a_mean) * (b - b_mean) for a, b in pairs])

    def one(image):
        x = [[int(r) + 2 * int(g) + int(b) for r, g, b in line] for line in image]
        row = []
        for level in (1, 2):
            scale = 4.0 * 32 ** (level - 1)
            filters = {"l": (low, 2), "h": (high, 1)}
            bands = {name: band(x, filters[name[1]], filters[name[0]]) for name in ("lh", "hl", "hh")}
            x = band(x, filters["l"], filters["l"])
            magnitudes = {}
            for name, h in bands.items():
                values = [v for line in h for v in line]
                m = [[abs(v) for v in line] for line in h]
                flat = magnitudes[name] = [v for line in m for v in line]
                mean, square = _mean(flat), _mean([v * v for v in flat])
                own = centred_mean(zip(flat, flat, strict=True), mean, mean) if len(set(flat)) > 1 else 0.0
                right = [(a, b) for line in m for a, b in itertools.pairwise(line)]
                down = [pair for a, b in itertools.pairwise(m) for pair in zip(a, b, strict=True)]
                unit = (8 if name == "hh" else 16) * scale
                row += [
                    math.log(square / unit**2 + 0.001),
                    _mean([v**4 for v in values]) / square**2 - 3 if square else 0.0,
                    mean / math.sqrt(square) if square else 0.0,
                    centred_mean(right, mean, mean) / own if own else 0.0,
                    centred_mean(down, mean, mean) / own if own else 0.0,
                ]
            for a, b in (("lh", "hl"), ("hl", "hh"), ("hh", "lh")):
                a, b = magnitudes[a], magnitudes[b]
                flat = len(set(a)) == 1 or len(set(b)) == 1
                row.append(0.0 if flat else np.corrcoef(a, b)[0, 1])
        return row

    return _each(one, rgb8)
