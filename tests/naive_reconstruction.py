"""Slow, plain float64 references of the reconstruction family: TAEF2's blocks, LPIPS, MS-SSIM, Haar detail, MSE."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

State = Mapping[str, np.ndarray]


def convolve(x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None = None, stride: int = 1) -> np.ndarray:
    """(C, H, W) -> (O, H', W'): one output sample at a time, zeros beyond the border, same size at stride 1."""
    outputs, _, size, _ = weight.shape
    margin = size // 2
    padded = np.pad(x, ((0, 0), (margin, margin), (margin, margin)))
    height, width = -(-x.shape[1] // stride), -(-x.shape[2] // stride)
    result = np.zeros((outputs, height, width))
    for i in range(height):
        for j in range(width):
            patch = padded[:, i * stride : i * stride + size, j * stride : j * stride + size]
            for o in range(outputs):
                result[o, i, j] = np.sum(patch * weight[o]) + (0.0 if bias is None else bias[o])
    return result


def relu(x: np.ndarray) -> np.ndarray:
    return np.where(x > 0, x, 0.0)


def group_norm(x: np.ndarray, groups: int, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    result = np.empty_like(x)
    size = len(x) // groups
    for g in range(groups):
        part = x[g * size : (g + 1) * size]
        result[g * size : (g + 1) * size] = (part - part.mean()) / math.sqrt(part.var() + 1e-5)
    return result * weight[:, None, None] + bias[:, None, None]


def taef2_block(x: np.ndarray, state: State, name: str) -> np.ndarray:
    if f"{name}.pool.0.weight" in state:
        p = convolve(x, state[f"{name}.pool.0.weight"])
        p = relu(group_norm(p, 4, state[f"{name}.pool.1.weight"], state[f"{name}.pool.1.bias"]))
        x = x + convolve(p, state[f"{name}.pool.3.weight"])
    y = x
    for k in (0, 2, 4):
        y = convolve(y, state[f"{name}.conv.{k}.weight"], state[f"{name}.conv.{k}.bias"])
        if k < 4:
            y = relu(y)
    return relu(y + x)


def taef2_encode(x: np.ndarray, state: State) -> np.ndarray:
    for k in range(15):
        name = f"encoder.{k}"
        if f"{name}.conv.0.weight" in state:
            x = taef2_block(x, state, name)
        else:
            x = convolve(x, state[f"{name}.weight"], state.get(f"{name}.bias"), stride=2 if k in (2, 6, 10) else 1)
    return x


def taef2_decode(z: np.ndarray, state: State) -> np.ndarray:
    x = 3 * np.tanh(z / 3)
    for k in range(1, 20):
        name = f"decoder.{k}"
        if k == 2:
            x = relu(x)
        elif k in (6, 11, 16):
            x = x.repeat(2, axis=1).repeat(2, axis=2)
        elif f"{name}.conv.0.weight" in state:
            x = taef2_block(x, state, name)
        else:
            x = convolve(x, state[f"{name}.weight"], state.get(f"{name}.bias"))
    return x


def maximum_2x2(x: np.ndarray) -> np.ndarray:
    channels, height, width = x.shape
    result = np.empty((channels, height // 2, width // 2))
    for i in range(height // 2):
        for j in range(width // 2):
            result[:, i, j] = x[:, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2].max(axis=(1, 2))
    return result


def lpips(x: np.ndarray, y: np.ndarray, state: State, layer: int) -> float:
    """Two (3, H, W) RGB 0..1; layer 1..5, or 0 for the sum."""
    blocks = [[0, 2], [5, 7], [10, 12, 14], [17, 19, 21], [24, 26, 28]]
    shift = np.array([-0.030, -0.088, -0.188])[:, None, None]
    scale = np.array([0.458, 0.448, 0.450])[:, None, None]
    pair = [(2 * picture - 1 - shift) / scale for picture in (x, y)]
    distances = []
    for number, block in enumerate(blocks):
        if number:
            pair = [maximum_2x2(f) for f in pair]
        for k in block:
            weight, bias = state[f"features.{k}.weight"], state[f"features.{k}.bias"]
            pair = [relu(convolve(f, weight, bias)) for f in pair]
        f, g = pair
        w = state[f"lin{number}.weight"].ravel()
        total = 0.0
        for i in range(f.shape[1]):
            for j in range(f.shape[2]):
                u = f[:, i, j] / (math.sqrt(np.sum(f[:, i, j] ** 2)) + 1e-10)
                v = g[:, i, j] / (math.sqrt(np.sum(g[:, i, j] ** 2)) + 1e-10)
                total += float(np.sum(w * (u - v) ** 2))
        distances.append(total / (f.shape[1] * f.shape[2]))
    return sum(distances) if layer == 0 else distances[layer - 1]


def mean_power(x: np.ndarray, y: np.ndarray, power: int) -> float:
    return sum(abs(float(a) - float(b)) ** power for a, b in zip(x.ravel(), y.ravel(), strict=True)) / x.size


def ms_ssim_distance(x: np.ndarray, y: np.ndarray) -> float:
    weights = [0.0448, 0.2856, 0.3001, 0.2363, 0.1333]
    a, b = (0.299 * p[0] + 0.587 * p[1] + 0.114 * p[2] for p in (x.astype(np.float64), y.astype(np.float64)))
    scales = 0
    while scales < 5 and min(a.shape) // 2**scales >= 11:
        scales += 1
    total = sum(weights[:scales])
    product = 1.0
    for j in range(scales):
        structure, similarity = ssim_means(a, b)
        product *= max(similarity if j == scales - 1 else structure, 0.0) ** (weights[j] / total)
        height, width = (side // 2 * 2 for side in a.shape)
        a, b = (
            (p[0:height:2, 0:width:2] + p[1:height:2, 0:width:2] + p[0:height:2, 1:width:2] + p[1:height:2, 1:width:2])
            / 4
            for p in (a, b)
        )
    return 1 - product


def ssim_means(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    line = np.array([math.exp(-(k**2) / (2 * 1.5**2)) for k in range(-5, 6)])
    window = np.outer(line, line) / line.sum() ** 2
    structures, similarities = [], []
    for i in range(a.shape[0] - 10):
        for j in range(a.shape[1] - 10):
            p, q = a[i : i + 11, j : j + 11], b[i : i + 11, j : j + 11]
            m, n = np.sum(window * p), np.sum(window * q)
            pp, qq = np.sum(window * (p - m) ** 2), np.sum(window * (q - n) ** 2)
            pq = np.sum(window * (p - m) * (q - n))
            structures.append((2 * pq + 0.03**2) / (pp + qq + 0.03**2))
            similarities.append(structures[-1] * (2 * m * n + 0.01**2) / (m * m + n * n + 0.01**2))
    return float(np.mean(structures)), float(np.mean(similarities))


def haar_detail(x: np.ndarray, y: np.ndarray, levels: int) -> float:
    rest, total = x.astype(np.float64) - y.astype(np.float64), 0.0
    for _ in range(levels):
        channels, height, width = rest.shape
        coarse = np.zeros((channels, height // 2, width // 2))
        bands = [np.zeros_like(coarse) for _ in range(3)]
        for i in range(height // 2):
            for j in range(width // 2):
                a, b = rest[:, 2 * i, 2 * j], rest[:, 2 * i, 2 * j + 1]
                c, d = rest[:, 2 * i + 1, 2 * j], rest[:, 2 * i + 1, 2 * j + 1]
                coarse[:, i, j] = (a + b + c + d) / 2
                bands[0][:, i, j] = (a + b - c - d) / 2
                bands[1][:, i, j] = (a - b + c - d) / 2
                bands[2][:, i, j] = (a - b - c + d) / 2
        total += sum(float(np.mean(np.abs(band))) for band in bands)
        rest = coarse
    return total / (3 * levels)
