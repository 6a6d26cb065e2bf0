"""Slow, plain float64 references of the generators from noise: networks sample by sample, Euler's steps, KL, slopes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
from naive_reconstruction import convolve

State = Mapping[str, np.ndarray]


def leaky(x: np.ndarray) -> np.ndarray:
    return np.where(x > 0, x, 0.2 * x)


def silu(x: np.ndarray) -> np.ndarray:
    return x / (1 + np.exp(-x))


def doubled(x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """Transposed convolution of 4 taps and stride 2, stamp by stamp: (C, h, w) -> (O, 2 h, 2 w)."""
    height, width = x.shape[1:]
    wide = np.zeros((weight.shape[1], 2 * height + 2, 2 * width + 2))
    for p in range(height):
        for q in range(width):
            wide[:, 2 * p : 2 * p + 4, 2 * q : 2 * q + 4] += np.tensordot(x[:, p, q], weight, 1)
    return wide[:, 1:-1, 1:-1] + bias[:, None, None]


def maker(z: np.ndarray, state: State, name: str = "averaged") -> np.ndarray:
    """(D,) -> (3, 64, 64) in -1..1."""
    flat = state[f"{name}.first.weight"][:, :, 0, 0] @ z + state[f"{name}.first.bias"]
    x = flat.reshape(-1, 4, 4)
    for part in ("doublings.0", "doublings.1", "doublings.2", "last"):
        x = leaky(x)
        for i in range(x.shape[1]):
            for j in range(x.shape[2]):
                x[:, i, j] /= math.sqrt(np.mean(x[:, i, j] ** 2) + 1e-8)
        x = doubled(x, state[f"{name}.{part}.weight"], state[f"{name}.{part}.bias"])
    return np.tanh(x)


def halved(x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """Convolution of 4 taps and stride 2 with one zero beyond each border: (C, 2 h, 2 w) -> (O, h, w)."""
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1)))
    height, width = x.shape[1] // 2, x.shape[2] // 2
    result = np.zeros((len(weight), height, width))
    for i in range(height):
        for j in range(width):
            patch = padded[:, 2 * i : 2 * i + 4, 2 * j : 2 * j + 4]
            result[:, i, j] = (weight * patch).sum(axis=(1, 2, 3)) + bias
    return result


def critic(pictures: np.ndarray, state: State, name: str, *, compares: bool = False) -> np.ndarray:
    """(B, 3, 64, 64) in -1..1 -> (B, outputs)."""
    last = []
    for x in pictures:
        for k in range(4):
            x = leaky(halved(x, state[f"{name}.halvings.{k}.weight"], state[f"{name}.halvings.{k}.bias"]))
        last.append(x)
    if compares:
        spread = np.mean([math.sqrt(np.var([x.flat[k] for x in last]) + 1e-8) for k in range(last[0].size)])
        last = [np.concatenate([x, np.full((1, 4, 4), spread)]) for x in last]
    weight, bias = state[f"{name}.last.weight"], state[f"{name}.last.bias"]
    return np.array([(weight * x).sum(axis=(1, 2, 3)) + bias for x in last])


def softplus(x: float) -> float:
    return math.log1p(math.exp(-abs(x))) + max(x, 0.0)


def divergence(mean: np.ndarray, log_variance: np.ndarray) -> float:
    """KL(N(mean, variance) || N(0, 1)) by adding up p log(p / q) over a fine grid, coordinate by coordinate."""
    total = 0.0
    for m, v in zip(mean, np.exp(log_variance), strict=True):
        x = np.linspace(m - 12 * math.sqrt(v), m + 12 * math.sqrt(v), 20001)
        log_p = -((x - m) ** 2) / (2 * v) - math.log(2 * math.pi * v) / 2
        log_q = -(x**2) / 2 - math.log(2 * math.pi) / 2
        total += float(np.sum(np.exp(log_p) * (log_p - log_q)) * (x[1] - x[0]))
    return total


def euler(speed: Callable[[np.ndarray, float], np.ndarray], start: np.ndarray, steps: int) -> np.ndarray:
    y, t = start, 0.0
    for k in range(steps):
        y = y + speed(y, t) * (1 / steps)
        t = (k + 1) / steps
    return y


def norm(x: np.ndarray, groups: int) -> np.ndarray:
    parts = np.split(x, groups)
    return np.concatenate([(part - part.mean()) / math.sqrt(part.var() + 1e-5) for part in parts])


def timed_block(x: np.ndarray, code: np.ndarray, state: State, name: str) -> np.ndarray:
    """(C, h, w), (code,) -> (C, h, w)."""
    groups = math.gcd(4, len(x))
    told = state[f"{name}.timed.weight"][:, :, 0, 0] @ code + state[f"{name}.timed.bias"]
    scale, shift = told[: len(x), None, None], told[len(x) :, None, None]
    y = convolve(silu(norm(x, groups)), state[f"{name}.first.weight"], state[f"{name}.first.bias"])
    y = norm(y, groups) * (1 + scale) + shift
    return x + convolve(silu(y), state[f"{name}.last.weight"], state[f"{name}.last.bias"])


def unet(noisy: np.ndarray, t: float, state: State, name: str = "averaged") -> np.ndarray:
    """(3, 64, 64), time -> (3, 64, 64)."""

    def layer(x: np.ndarray, part: str, stride: int = 1) -> np.ndarray:
        return convolve(x, state[f"{name}.{part}.weight"], state[f"{name}.{part}.bias"], stride=stride)

    def blocks(x: np.ndarray, *parts: str) -> np.ndarray:
        for part in parts:
            x = timed_block(x, code, state, f"{name}.{part}")
        return x

    angles = np.array([t * 100 ** (k / 15) for k in range(16)])
    code = np.concatenate([np.sin(angles), np.cos(angles)])
    for part in ("code.0", "code.2"):
        code = silu(state[f"{name}.{part}.weight"][:, :, 0, 0] @ code + state[f"{name}.{part}.bias"])
    cells = np.stack([noisy[c, u::2, v::2] for c in range(3) for u in range(2) for v in range(2)])
    fine = blocks(layer(cells, "enter"), "fine.0", "fine.1")
    middle = blocks(layer(fine, "to_middle", 2), "middle.0", "middle.1")
    coarse = blocks(layer(middle, "to_coarse", 2), "coarse.0", "coarse.1")
    up = layer(coarse.repeat(2, axis=1).repeat(2, axis=2), "from_coarse")
    middle = blocks(layer(np.concatenate([up, middle]), "join_middle"), "again_middle")
    up = layer(middle.repeat(2, axis=1).repeat(2, axis=2), "from_middle")
    fine = blocks(layer(np.concatenate([up, fine]), "join_fine"), "again_fine")
    leaving = layer(silu(norm(fine, math.gcd(4, len(fine)))), "last")
    result = np.zeros((3, 64, 64))
    for c in range(3):
        for u in range(2):
            for v in range(2):
                result[c, u::2, v::2] = leaving[4 * c + 2 * u + v]
    return result
