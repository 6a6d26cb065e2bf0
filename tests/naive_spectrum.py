"""Plain references of spectra, correlations and block transforms: loops in float64, straight from the formulas."""

from __future__ import annotations

import math

import numpy as np


def _each(function, *batches):
    return np.array([function(*images) for images in zip(*batches, strict=True)], np.float64)


def _full_plane(half, width):
    """The whole (H, W) plane of a half plane: a coefficient and its conjugate have the same power."""
    height = half.shape[0]
    full = np.zeros((height, width))
    for v, u in np.ndindex(height, width):
        full[v, u] = half[v, u] if u <= width // 2 else half[-v % height, width - u]
    return full


def _signed(k, length):
    """Frequency of bin k in cycles over the whole length, between -length/2 and length/2."""
    return k if 2 * k <= length else k - length


def _dct_basis(size):
    basis = np.zeros((size, size))
    for k, n in np.ndindex(size, size):
        basis[k, n] = math.sqrt((2 if k else 1) / size) * math.cos(math.pi * (2 * n + 1) * k / (2 * size))
    return basis


# --- maps ------------------------------------------------------------------------------------------------------


def angular_profile(log_power, luma):
    edges = [(j - 0.5) * math.pi / 16 for j in range(17)]

    def one(half, image):
        height, width = image.shape
        full, bins = _full_plane(half, width), [[] for _ in range(16)]
        for v, u in np.ndindex(height, width):
            y, x = _signed(v, height), _signed(u, width)
            scaled = (x * height) ** 2 + (y * width) ** 2
            if 100 * scaled <= (height * width) ** 2 or 4 * scaled > (height * width) ** 2:
                continue
            angle = math.atan2(y * width, x * height) % math.pi
            if angle >= edges[16]:
                angle -= math.pi
            bins[next(j for j in range(16) if angle < edges[j + 1])].append(full[v, u])
        return [math.fsum(values) / len(values) for values in bins]

    return _each(one, log_power, luma)


def log_dct(luma):
    def one(image):
        rows, columns = (_dct_basis(side) for side in image.shape)
        result = np.zeros(image.shape)
        for v, u in np.ndindex(*image.shape):
            result[v, u] = math.log(abs(float(np.sum(np.outer(rows[v], columns[u]) * image))) + 0.01)
        return result

    return _each(one, luma)


def residual_autocorrelation_map(median_residual):
    def one(residual):
        noise = residual - math.fsum(residual.ravel().tolist()) / residual.size
        result = np.zeros((9, 17))
        for dy, dx in np.ndindex(9, 17):
            moved = np.roll(noise, (-dy, 8 - dx), axis=(0, 1))
            result[dy, dx] = math.fsum((noise * moved).ravel().tolist()) / residual.size
        return result / (result[0, 8] + 1e-6)

    return _each(one, median_residual)


# --- features --------------------------------------------------------------------------------------------------


def angular_spectrum(angular_profile):
    return _each(lambda profile: [value - math.fsum(profile) / 16 for value in profile], angular_profile)


def spectrum_shape(radial_profile_hann, log_power, luma, *, low=0.10, high=0.90):
    def one(profile, half, image):
        count = len(profile)
        points = [(math.log((j + 1) / count), profile[j]) for j in range(count) if low <= (j + 1) / count <= high]
        n = len(points)
        mean_x, mean_y = (math.fsum(point[axis] for point in points) / n for axis in (0, 1))
        slope = math.fsum((x - mean_x) * (y - mean_y) for x, y in points) / math.fsum(
            (x - mean_x) ** 2 for x, _ in points
        )
        offset = mean_y - slope * mean_x
        misfit = math.sqrt(math.fsum((y - slope * x - offset) ** 2 for x, y in points) / n)
        height, width = image.shape
        full, everything, top = _full_plane(half, width), [], []
        for v, u in np.ndindex(height, width):
            if (v, u) == (0, 0):
                continue
            everything.append(math.exp(full[v, u]))
            y, x = _signed(v, height), _signed(u, width)
            if 16 * ((x * height) ** 2 + (y * width) ** 2) > (height * width) ** 2:
                top.append(everything[-1])
        return [slope, offset, misfit, math.log(math.fsum(top) / math.fsum(everything))]

    return _each(one, radial_profile_hann, log_power, luma)


def upsampling_peaks(median_residual):
    def one(residual):
        height, width = residual.shape
        taper = np.array([
            [math.sin(math.pi * y / height) ** 2 * math.sin(math.pi * x / width) ** 2 for x in range(width)]
            for y in range(height)
        ])  # fmt: skip
        samples = residual * taper / math.sqrt(math.fsum((taper**2).ravel().tolist()) / residual.size)
        known = {}

        def level(v, u):  # frequencies in 64ths of a cycle per pixel
            if (v, u) not in known:
                down = np.exp(-2j * math.pi * v * np.arange(height) / 64)
                across = np.exp(-2j * math.pi * u * np.arange(width) / 64)
                known[v, u] = math.log(abs(down @ samples @ across) ** 2 / (height * width) + 1e-4)
            return known[v, u]

        def excess(v, u):
            ring = [level(v + i, u + j) for i in range(-2, 3) for j in range(-2, 3) if abs(i) == 2 or abs(j) == 2]
            return level(v, u) - math.fsum(ring) / 16

        horizontal = [excess(0, 4 * k) for k in range(1, 9)]
        vertical = [excess(4 * k, 0) for k in range(1, 9)]
        return horizontal + vertical + [(excess(4 * k, 4 * k) + excess(4 * k, -4 * k)) / 2 for k in range(1, 9)]

    return _each(one, median_residual)


def residual_autocorrelation(residual_autocorrelation_map):
    lags = [(0, dx) for dx in range(1, 9)] + [(dy, dx) for dy in range(1, 9) for dx in range(-8, 9)]
    return _each(lambda r: [r[dy, dx + 8] for dy, dx in lags], residual_autocorrelation_map)


def block_dct_statistics(block_dct):
    def one(blocks):
        scales, shapes = [], []
        for v, u in list(np.ndindex(8, 8))[1:]:
            values = blocks[:, :, v, u].ravel().tolist()
            mean = math.fsum(abs(c) for c in values) / len(values) + 0.01
            energy = math.fsum(c * c for c in values) / len(values) + 0.0001
            scales.append(math.log(mean))
            shapes.append(math.log(energy / mean**2))
        return scales + shapes

    return _each(one, block_dct)


def log_dct_profile(luma):
    basis = _dct_basis(16)

    def one(image):
        logs = []
        for i, j in np.ndindex(image.shape[0] // 16, image.shape[1] // 16):
            tile = image[16 * i : 16 * i + 16, 16 * j : 16 * j + 16]
            logs.append([
                math.log(abs(float(np.sum(np.outer(basis[v], basis[u]) * tile))) + 0.01)
                for v, u in np.ndindex(16, 16)
            ])  # fmt: skip
        return [math.fsum(column) / len(logs) for column in zip(*logs, strict=True)]

    return _each(one, luma)


_BENFORD_STEPS = {  # quality -> (v, u) -> step, as libjpeg writes them
    80: {(0, 1): 4, (1, 0): 5, (2, 0): 6, (1, 1): 5, (0, 2): 4, (0, 3): 6, (1, 2): 6, (2, 1): 5, (3, 0): 6},
    85: {(0, 1): 3, (1, 0): 4, (2, 0): 4, (1, 1): 4, (0, 2): 3, (0, 3): 5, (1, 2): 4, (2, 1): 4, (3, 0): 4},
    90: {(0, 1): 2, (1, 0): 2, (2, 0): 3, (1, 1): 2, (0, 2): 2, (0, 3): 3, (1, 2): 3, (2, 1): 3, (3, 0): 3},
    95: {(0, 1): 1, (1, 0): 1, (2, 0): 1, (1, 1): 1, (0, 2): 1, (0, 3): 2, (1, 2): 1, (2, 1): 1, (3, 0): 1},
    100: {(0, 1): 1, (1, 0): 1, (2, 0): 1, (1, 1): 1, (0, 2): 1, (0, 3): 1, (1, 2): 1, (2, 1): 1, (3, 0): 1},
}


def benford_divergence(block_dct):
    def first_digit(level, base):
        while level >= base:
            level //= base
        return level

    def divergences(levels, base):
        law = [math.log(1 + 1 / d) / math.log(base) for d in range(1, base)]
        counts = [0] * base
        for level in levels:
            counts[first_digit(level, base)] += 1
        share = [(counts[d] + law[d - 1]) / (len(levels) + 1) for d in range(1, base)]
        kullback = math.fsum((p - b) * math.log(p / b) for p, b in zip(share, law, strict=True))
        overlap = math.fsum(p**0.3 * b**0.7 for p, b in zip(share, law, strict=True))
        return [math.sqrt(max(value, 0)) for value in (kullback, -math.log(overlap) / 0.7, (1 - overlap) / 0.7)]

    def one(blocks):
        row = []
        for diagonal in (1, 2, 3):
            for quality, steps in _BENFORD_STEPS.items():
                if quality == 95 and diagonal < 3:
                    continue  # the steps are those of quality 100
                levels = []
                for (v, u), step in steps.items():
                    if v + u == diagonal:
                        units = [math.floor(1024 * abs(c) + 0.5) for c in blocks[:, :, v, u].ravel().tolist()]
                        levels += [(2 * unit + 1024 * step) // (2048 * step) for unit in units]
                levels = [level for level in levels if level > 0]
                for base in (10, 20, 40, 60):
                    row += divergences(levels, base)
        return row

    return _each(one, block_dct)
