"""Slow, plain references of every map and feature: loops over pixels in float64, straight from the formulas.

Nothing of fdetect is imported.  A reference has the name and the settings of what it judges; it takes and returns
whole batches as NumPy float64 arrays.
"""

from __future__ import annotations

import cmath
import itertools
import math

import numpy as np
from naive_facts import *  # noqa: F403 (references too, one file a room)
from naive_neighbours import *  # noqa: F403
from naive_noise import *  # noqa: F403
from naive_provenance import *  # noqa: F403
from naive_residual import *  # noqa: F403
from naive_spectrum import *  # noqa: F403
from naive_texture import *  # noqa: F403

COLOURS = 3


def each(function, *batches):
    """Apply a function of one image to every image and stack the results."""
    return np.array([function(*images) for images in zip(*batches, strict=True)], np.float64)


# --- maps ------------------------------------------------------------------------------------------------------


def planes(rgb8):
    def one(image):
        height, width, _ = image.shape
        return [[[float(image[y, x, c]) for x in range(width)] for y in range(height)] for c in range(COLOURS)]

    return each(one, rgb8)


def luma(planes):
    def one(image):
        _, height, width = image.shape
        result = np.zeros((height, width))
        for y, x in np.ndindex(height, width):
            result[y, x] = 0.299 * image[0, y, x] + 0.587 * image[1, y, x] + 0.114 * image[2, y, x]
        return result

    return each(one, planes)


def dft(samples):
    """Full-plane discrete Fourier transform of an (H, W) array, rows first, then columns."""
    height, width = samples.shape
    rows = np.zeros((height, width), complex)
    for y, u in np.ndindex(height, width):
        rows[y, u] = sum(samples[y, x] * cmath.exp(-2j * math.pi * ((u * x) % width) / width) for x in range(width))
    result = np.zeros((height, width), complex)
    for v, u in np.ndindex(height, width):
        result[v, u] = sum(rows[y, u] * cmath.exp(-2j * math.pi * ((v * y) % height) / height) for y in range(height))
    return result


def log_power(luma, *, window="hann"):
    def one(image):
        height, width = image.shape
        mean = math.fsum(image.ravel().tolist()) / (height * width)
        taper = np.ones((height, width))
        if window == "hann":
            for y, x in np.ndindex(height, width):
                taper[y, x] = math.sin(math.pi * y / height) ** 2 * math.sin(math.pi * x / width) ** 2
        level = math.sqrt(math.fsum((taper**2).ravel().tolist()) / (height * width))
        spectrum = dft((image - mean) * taper / level)
        result = np.zeros((height, width // 2 + 1))
        for v, u in np.ndindex(*result.shape):
            result[v, u] = math.log(abs(spectrum[v, u]) ** 2 / (height * width) + 1e-4)
        return result

    return each(one, luma)


def radial_profile(log_power_plain, luma, *, bins=64):
    def one(half, image):
        height, width = image.shape
        side = min(height, width)
        rings = {}
        for v, u in np.ndindex(height, width):  # the full plane: each coefficient once
            value = half[v, u] if u <= width // 2 else half[-v % height, width - u]
            x, y = min(u, width - u) * side / width, min(v, height - v) * side / height
            rings.setdefault(math.floor(math.sqrt(x * x + y * y) + 0.5), []).append(value)
        mean = {ring: math.fsum(values) / len(values) for ring, values in rings.items()}
        profile = []
        for j in range(bins):
            position = max(side * 0.5 * (j + 1) / bins, 1.0)
            below = math.floor(position)
            share = position - below
            profile.append((1 - share) * mean[below] + share * mean[below + 1])
        return profile

    return each(one, log_power_plain, luma)


def npr(planes, *, factor=2):
    def one(image):
        colours, height, width = image.shape
        result = np.zeros((colours, height // factor * factor, width // factor * factor))
        for c, y, x in np.ndindex(*result.shape):
            result[c, y, x] = image[c, y, x] - image[c, y - y % factor, x - x % factor]
        return result

    return each(one, planes)


def cross_difference(planes):
    def one(image):
        colours, height, width = image.shape
        result = np.zeros((colours, height - 1, width - 1))
        for c, y, x in np.ndindex(*result.shape):
            result[c, y, x] = abs(
                image[c, y, x] + image[c, y + 1, x + 1] - image[c, y, x + 1] - image[c, y + 1, x]
            )
        return result

    return each(one, planes)


def block_dct(luma):
    def one(image):
        rows, columns = image.shape[0] // 8, image.shape[1] // 8
        result = np.zeros((rows, columns, 8, 8))
        for i, j, v, u in np.ndindex(*result.shape):
            total = 0.0
            for y, x in np.ndindex(8, 8):
                wave = math.cos(math.pi * (2 * y + 1) * v / 16) * math.cos(math.pi * (2 * x + 1) * u / 16)
                total += image[8 * i + y, 8 * j + x] * wave
            result[i, j, v, u] = total * math.sqrt((1 if v else 0.5) * (1 if u else 0.5)) / 4
        return result

    return each(one, luma)


# --- features --------------------------------------------------------------------------------------------------


def radial_spectrum(radial_profile):
    return np.array(radial_profile, np.float64)


def cross_difference_harmonics(rgb8, *, period=8):
    def one(image):
        height, width = (side // period * period for side in image.shape[1:])
        wave = [cmath.exp(-2j * math.pi * k / period) for k in range(period)]
        row = []
        for c, j in itertools.product(range(COLOURS), range(-(period // 2), period // 2 + 1)):
            for i in range(period // 2 + 1):
                total = 0j
                for n, m in np.ndindex(height, width):
                    total += image[c, n, m] * wave[(i * m + j * n) % period]
                row.append(math.log(abs(total) / math.sqrt(height * width) + 0.01))
        return row

    return each(one, cross_difference(planes(rgb8)))


def thumbnail(luma):
    def overlap(cell, pixel, length):
        return max(0.0, min((cell + 1) * length / 16, pixel + 1) - max(cell * length / 16, pixel))

    def one(image):
        height, width = image.shape
        result = np.zeros((16, 16))
        for i, y in np.ndindex(16, height):
            share = overlap(i, y, height) * 16 / height
            for j, x in np.ndindex(16, width) if share else ():
                result[i, j] += share * overlap(j, x, width) * 16 / width * image[y, x]
        return result.ravel()

    return each(one, luma)


ZIGZAG = [
    (0, 1), (1, 0), (2, 0), (1, 1), (0, 2), (0, 3), (1, 2), (2, 1), (3, 0), (4, 0),
    (3, 1), (2, 2), (1, 3), (0, 4), (0, 5), (1, 4), (2, 3), (3, 2), (4, 1), (5, 0),
]  # fmt: skip


def block_dct_histogram(block_dct):
    def one(image):
        row = []
        for v, u in ZIGZAG:
            magnitudes = [abs(c) for c in image[:, :, v, u].ravel().tolist()]
            levels = [min(math.floor(m + 0.5), 11) for m in magnitudes]
            row += [levels.count(k) / len(levels) for k in range(12)]
        return row

    return each(one, block_dct)
