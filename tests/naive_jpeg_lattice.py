"""Slow, plain float64 versions of the statistics of JPEG lattices; nothing here imports fdetect."""

from __future__ import annotations

import math

import numpy as np

BASE = [
    [16, 11, 10, 16, 24, 40, 51, 61], [12, 12, 14, 19, 26, 58, 60, 55], [14, 13, 16, 24, 40, 57, 69, 56],
    [14, 17, 22, 29, 51, 87, 80, 62], [18, 22, 37, 56, 68, 109, 103, 77], [24, 35, 55, 64, 81, 104, 113, 92],
    [49, 64, 78, 87, 103, 121, 120, 101], [72, 92, 95, 98, 112, 100, 103, 99],
]  # fmt: skip
ROUNDING = 1 / 12 + (0.299**2 + 0.587**2 + 0.114**2) / 12


def step(quality: int, v: int, u: int) -> int:
    scale = 5000 // quality if quality < 50 else 200 - 2 * quality
    return min(max((BASE[v][u] * scale + 50) // 100, 1), 255)


def coefficient(block: np.ndarray, v: int, u: int) -> float:
    scale = (math.sqrt(1 / 8) if v == 0 else 0.5) * (math.sqrt(1 / 8) if u == 0 else 0.5)
    total = 0.0
    for y in range(8):
        for x in range(8):
            wave = math.cos(math.pi * (2 * y + 1) * v / 16) * math.cos(math.pi * (2 * x + 1) * u / 16)
            total += float(block[y, x]) * wave
    return scale * total


def blocks(luma: np.ndarray, row: int, column: int, height: int, width: int) -> list[np.ndarray]:
    return [
        luma[y : y + 8, x : x + 8]
        for y in range(row, row + height, 8) for x in range(column, column + width, 8)
    ]  # fmt: skip


def grid_z(luma: np.ndarray, row: int, column: int, quality: int) -> float:
    """z of one grid and one quality from the frequencies below 4, each |C| rounded to eighths."""
    height, width = ((side - 7) // 8 * 8 for side in luma.shape)
    found = blocks(luma, row, column, height, width)
    total = variance = 0.0
    for v in range(4):
        for u in range(4):
            if v + u == 0:
                continue
            t = step(quality, v, u)
            w = math.exp(-2 * math.pi**2 * ROUNDING / t**2)
            for block in found:
                c = math.floor(abs(coefficient(block, v, u)) * 8 + 0.5) / 8
                if t / 2 <= c < 128:
                    total += w * math.cos(2 * math.pi * c / t)
                    variance += w * w / 2
    return total / math.sqrt(max(variance, 1))


def requantised_z(luma: np.ndarray, table: np.ndarray, quality: int) -> float:
    """z of an earlier JPEG of one quality beneath the steps of `table`, from the frequencies v + u <= 5."""
    H, W = luma.shape
    own = blocks(luma, 0, 0, H // 8 * 8, W // 8 * 8)
    other = blocks(luma, 4, 4, (H - 4) // 8 * 8, (W - 4) // 8 * 8)
    total = variance = 0.0
    for v in range(6):
        for u in range(6 - v):
            t, last = step(quality, v, u), int(table[v, u])
            if v + u == 0 or t == last:
                continue
            w = math.sin(math.pi * last / t) / (math.pi * last / t)
            sums, numbers = [], []
            for some in (own, other):
                ks = [math.floor(abs(coefficient(block, v, u)) / last + 0.5) for block in some]
                ks = [k for k in ks if max(1, t / (2 * last)) <= k < 128]
                numbers.append(len(ks))
                sums.append(sum(math.cos(2 * math.pi * k * last / t) for k in ks))
            n, m = numbers
            if min(n, m) >= 8:
                total += w * (sums[0] - sums[1] * n / m)
                variance += w * w * (n + n * n / m) / 2
    return total / math.sqrt(max(variance, 1))
