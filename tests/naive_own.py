"""Slow, plain float64 references of our own autoencoders: doubling steps, codebook, loss, and the whole networks."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from naive_reconstruction import convolve, relu

State = Mapping[str, np.ndarray]


def nearest_step(x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """(C, h, w) -> (O, 2 h, 2 w), by the index formula alone: no larger picture is made."""
    channels, h, w = x.shape
    y = np.zeros((len(weight), 2 * h, 2 * w))
    for i in range(2 * h):
        for j in range(2 * w):
            y[:, i, j] = bias
            for u in (-1, 0, 1):
                for v in (-1, 0, 1):
                    if 0 <= i + u < 2 * h and 0 <= j + v < 2 * w:
                        for c in range(channels):
                            y[:, i, j] += weight[:, c, u + 1, v + 1] * x[c, (i + u) // 2, (j + v) // 2]
    return y


def transposed_step(x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """(C, h, w) -> (O, 2 h, 2 w): weight is (C, O, k, k)."""
    channels, h, w = x.shape
    taps = weight.shape[2]
    y = np.zeros((weight.shape[1], 2 * h, 2 * w))
    for i in range(2 * h):
        for j in range(2 * w):
            y[:, i, j] = bias
            for p in range(h):
                for q in range(w):
                    a, b = i + 1 - 2 * p, j + 1 - 2 * q
                    if 0 <= a < taps and 0 <= b < taps:
                        for c in range(channels):
                            y[:, i, j] += x[c, p, q] * weight[c, :, a, b]
    return y


def shuffle_step(x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """(C, h, w) -> (O, 2 h, 2 w): weight is (4 O, C, 3, 3)."""
    t = convolve(x, weight, bias)
    y = np.zeros((len(t) // 4, 2 * x.shape[1], 2 * x.shape[2]))
    for c in range(len(y)):
        for i in range(x.shape[1]):
            for j in range(x.shape[2]):
                for u in (0, 1):
                    for v in (0, 1):
                        y[c, 2 * i + u, 2 * j + v] = t[4 * c + 2 * u + v, i, j]
    return y


def quantise(z: np.ndarray, codebook: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(D, h, w) and (K, D) -> the rounded latent and the (h, w) numbers of its codes."""
    rounded, numbers = np.empty_like(z), np.empty(z.shape[1:], np.int64)
    for i in range(z.shape[1]):
        for j in range(z.shape[2]):
            distances = [float(np.sum((z[:, i, j] - code) ** 2)) for code in codebook]
            numbers[i, j] = distances.index(min(distances))
            rounded[:, i, j] = codebook[numbers[i, j]]
    return rounded, numbers


def codebook_terms(z: np.ndarray, codebook: np.ndarray, commitment: float) -> tuple[float, np.ndarray, np.ndarray]:
    """The two terms of the loss, their gradient by z and by the codebook, each with the other one held."""
    rounded, numbers = quantise(z, codebook)
    value = (1 + commitment) * float(np.mean((z - rounded) ** 2))
    by_z = commitment * 2 * (z - rounded) / z.size
    by_code = np.zeros_like(codebook)
    for i in range(z.shape[1]):
        for j in range(z.shape[2]):
            k = numbers[i, j]
            by_code[k] += 2 * (codebook[k] - z[:, i, j]) / z.size
    return value, by_z, by_code


def reconstruction_loss(again: np.ndarray, image: np.ndarray) -> float:
    """(C, H, W), sides multiples of 4 and at least 8."""
    total = 0.0
    for scale in (0, 1, 2):
        side = 2**scale
        channels, height, width = image.shape[0], image.shape[1] // side, image.shape[2] // side
        d = np.empty((channels, height, width))
        for i in range(height):
            for j in range(width):
                cell = slice(i * side, (i + 1) * side), slice(j * side, (j + 1) * side)
                d[:, i, j] = (again[:, *cell] - image[:, *cell]).mean(axis=(1, 2))
        total += np.abs(d).mean() + np.abs(d[:, 1:] - d[:, :-1]).mean() + np.abs(d[:, :, 1:] - d[:, :, :-1]).mean()
    return float(total) / 3


def residual(x: np.ndarray, state: State, name: str) -> np.ndarray:
    y = convolve(relu(x), state[f"{name}.first.weight"], state[f"{name}.first.bias"])
    return x + convolve(relu(y), state[f"{name}.last.weight"], state[f"{name}.last.bias"])


def encode(image: np.ndarray, state: State, factor: int) -> np.ndarray:
    """(3, H, W) RGB 0..1 -> the latent, not rounded."""
    x = 2 * image - 1
    places = {4: "crsrsrrc", 8: "crsrsrsrrc"}[factor]  # convolution, residual block, convolution of stride 2
    for k, kind in enumerate(places):
        name = f"encoder.{k}"
        if kind == "r":
            x = residual(x, state, name)
        else:
            x = convolve(x, state[f"{name}.weight"], state[f"{name}.bias"], stride=2 if kind == "s" else 1)
    return x


def decode(latent: np.ndarray, state: State, factor: int, kind: str) -> np.ndarray:
    """The latent -> (3, H, W), not clamped."""
    step, inside = {
        "nearest": (nearest_step, ".1"), "quantised": (nearest_step, ".1"), "adversarial": (nearest_step, ".1"),
        "shuffle": (shuffle_step, ".0"), "transposed": (transposed_step, ""),
    }[kind]  # fmt: skip
    x = latent
    for k, what in enumerate({4: "crrururc", 8: "crrurururc"}[factor]):
        name = f"decoder.{k}"
        if what == "r":
            x = residual(x, state, name)
        elif what == "u":
            x = step(x, state[f"{name}{inside}.weight"], state[f"{name}{inside}.bias"])
        else:
            x = convolve(x, state[f"{name}.weight"], state[f"{name}.bias"])
    return x / 2 + 0.5


def unet(x: np.ndarray, state: State, name: str, halvings: int) -> np.ndarray:
    """(C, H, W) -> (O, H, W)."""

    def conv(x: np.ndarray, key: str, stride: int = 1) -> np.ndarray:
        return convolve(x, state[f"{name}.{key}.weight"], state[f"{name}.{key}.bias"], stride=stride)

    x, kept = conv(x, "first"), []
    for k in range(halvings):
        kept.append(residual(x, state, f"{name}.before.{k}"))
        x = conv(kept[k], f"down.{k}", stride=2)
    x = residual(residual(x, state, f"{name}.middle.0"), state, f"{name}.middle.1")
    for k in reversed(range(halvings)):
        x = nearest_step(x, state[f"{name}.up.{k}.1.weight"], state[f"{name}.up.{k}.1.bias"]) + kept[k]
        x = residual(x, state, f"{name}.after.{k}")
    return conv(relu(x), "last")


def flow(decoded: np.ndarray, noise: np.ndarray, state: State, steps: int, sigma: float) -> np.ndarray:
    """(3, H, W) RGB 0..1, normal numbers -> the refined picture."""
    z = decoded + sigma * noise
    for k in range(steps):
        z = z + velocity(z, k / steps, decoded, state, sigma) / steps
    return z


def velocity(z: np.ndarray, time: float, decoded: np.ndarray, state: State, sigma: float) -> np.ndarray:
    plane = np.full((1, *z.shape[1:]), 2 * time - 1)
    return sigma * unet(np.concatenate([(z - decoded) / sigma, 2 * decoded - 1, plane]), state, "refiner", 2)


def shrink(image: np.ndarray, factor: int) -> np.ndarray:
    """(3, H, W) -> (3, H / factor, W / factor), each the mean of its cell."""
    height, width = image.shape[1] // factor, image.shape[2] // factor
    small = np.empty((3, height, width))
    for i in range(height):
        for j in range(width):
            cell = image[:, i * factor : (i + 1) * factor, j * factor : (j + 1) * factor]
            small[:, i, j] = cell.mean(axis=(1, 2))
    return small


def enlarge(small: np.ndarray, state: State, blocks: int, factor: int) -> np.ndarray:
    """(3, h, w) RGB 0..1 -> (3, factor h, factor w), not clamped."""
    z = 2 * small - 1
    x = convolve(z, state["decoder.first.weight"], state["decoder.first.bias"])
    for k in range(blocks):
        x = residual(x, state, f"decoder.blocks.{k}")
    t = convolve(relu(x), state["decoder.last.weight"], state["decoder.last.bias"])
    y = np.empty((3, factor * z.shape[1], factor * z.shape[2]))
    for c in range(3):
        for i in range(y.shape[1]):
            for j in range(y.shape[2]):
                a, u, b, v = i // factor, i % factor, j // factor, j % factor
                y[c, i, j] = z[c, a, b] + t[c * factor**2 + u * factor + v, a, b]
    return y / 2 + 0.5


def critic(image: np.ndarray, state: State) -> np.ndarray:
    """(3, H, W) RGB 0..1 -> (1, H / 4 - 2, W / 4 - 2): four convolutions of 4 x 4 taps."""
    x = 2 * image - 1
    for k, stride in enumerate((2, 2, 1, 1)):
        weight, bias = state[f"critic.layers.{k}.weight"], state[f"critic.layers.{k}.bias"]
        if k:
            x = np.where(x > 0, x, 0.2 * x)
        padded = np.pad(x, ((0, 0), (1, 1), (1, 1)))
        height, width = (padded.shape[1] - 4) // stride + 1, (padded.shape[2] - 4) // stride + 1
        x = np.empty((len(weight), height, width))
        for i in range(height):
            for j in range(width):
                patch = padded[:, i * stride : i * stride + 4, j * stride : j * stride + 4]
                x[:, i, j] = bias + math.sqrt(1 / (8 * len(patch))) * (weight * patch).sum(axis=(1, 2, 3))
    return x
