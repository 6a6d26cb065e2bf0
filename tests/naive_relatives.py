"""Slow, plain float64 references for the relatives of RIGID: a tiny autoencoder, distances, blur, scores.

Imports nothing from fdetect and nothing from torch; every formula is written out.
"""

from __future__ import annotations

import math

import numpy as np


def scaled(rgb8: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 -> (3, H, W) float64 in 0..1."""
    return rgb8.astype(np.float64).transpose(2, 0, 1) / 255


def blurred(image: np.ndarray, sigma: float) -> np.ndarray:
    """3 x 3 Gaussian, mirrored without repeating the border: (C, H, W) -> (C, H, W)."""
    side = math.exp(-1 / (2 * sigma**2))
    weights = {-1: side / (1 + 2 * side), 0: 1 / (1 + 2 * side), 1: side / (1 + 2 * side)}
    channels, height, width = image.shape
    result = np.zeros(image.shape)
    for c, y, x in np.ndindex(channels, height, width):
        for i, down in weights.items():
            for j, right in weights.items():
                result[c, y, x] += down * right * image[c, _mirrored(y + i, height), _mirrored(x + j, width)]
    return result


def disturbed(rgb8: np.ndarray, normal: np.ndarray, sigma: float) -> np.ndarray:
    """Noise in grey levels: (H, W, 3) uint8, (3, H, W) -> (H, W, 3) whole numbers."""
    noisy = rgb8.astype(np.float64) + sigma * normal.astype(np.float64).transpose(1, 2, 0)
    return np.round(np.clip(noisy, 0, 255))


def round_trip(weights: dict[str, np.ndarray], image: np.ndarray, encoder: list[int], decoder: list[int]) -> np.ndarray:
    """Diffusers' AutoencoderTiny with so many blocks a level: (3, H, W) in 0..1 -> the same, cut to 0..1."""
    x, place = image, 0
    for level, blocks in enumerate(encoder):
        x = _conv(weights, f"encoder.layers.{place}", x, stride=2 if level else 1)
        x, place = _blocks(weights, "encoder", x, place + 1, blocks)
    x = _conv(weights, f"encoder.layers.{place}", x)
    x = 3 * np.tanh(x / 3)
    x, place = np.maximum(_conv(weights, "decoder.layers.0", x), 0), 2
    for level, blocks in enumerate(decoder):
        x, place = _blocks(weights, "decoder", x, place, blocks)
        if level < len(decoder) - 1:
            x, place = x.repeat(2, axis=1).repeat(2, axis=2), place + 1
        x, place = _conv(weights, f"decoder.layers.{place}", x), place + 1
    return np.clip(x, 0, 1)


def mse(a: np.ndarray, b: np.ndarray) -> float:
    return math.fsum(float(v) ** 2 for v in (a - b).ravel()) / a.size


def wavelet(a: np.ndarray, b: np.ndarray) -> float:
    """Mean absolute Haar detail of the difference, two levels, three bands."""
    rest, bands = a - b, []
    for _ in range(2):
        channels, height, width = rest.shape
        found: list[list[float]] = [[], [], []]
        coarse = np.zeros((channels, height // 2, width // 2))
        for c, y, x in np.ndindex(coarse.shape):
            p, q, r, s = (float(rest[c, 2 * y + i, 2 * x + j]) for i in (0, 1) for j in (0, 1))
            coarse[c, y, x] = (p + q + r + s) / 2
            for band, value in zip(found, (p + q - r - s, p - q + r - s, p - q - r + s), strict=True):
                band.append(abs(value) / 2)
        bands += [math.fsum(band) / len(band) for band in found]
        rest = coarse
    return math.fsum(bands) / 6


def aeroblade_score(distances: list[float]) -> float:
    """Distances of an image to its reconstructions -> minus the least."""
    return max(-d for d in distances)


def hfi_score(clean: list[float], low: list[float]) -> float:
    """The same, of the image and of its blurred version -> minus the least difference."""
    return max(-(c - b) for c, b in zip(clean, low, strict=True))


def bhattacharyya_drift(a: np.ndarray, b: np.ndarray, length: int) -> float:
    """One minus the mean Bhattacharyya coefficient of histograms of `length` bins, given as square roots."""
    coefficients = []
    for start in range(0, len(a), length):
        shares = [(float(a[k]) ** 2, float(b[k]) ** 2) for k in range(start, start + length)]
        coefficients.append(math.fsum(math.sqrt(p * q) for p, q in shares))
    return 1 - math.fsum(coefficients) / len(coefficients)


def rms_drift(a: np.ndarray, b: np.ndarray) -> float:
    return math.sqrt(math.fsum((float(p) - float(q)) ** 2 for p, q in zip(a, b, strict=True)) / len(a))


def _mirrored(place: int, length: int) -> int:
    return -place if place < 0 else 2 * (length - 1) - place if place >= length else place


def _conv(weights: dict[str, np.ndarray], name: str, x: np.ndarray, stride: int = 1) -> np.ndarray:
    """3 x 3, zeros beyond the border."""
    weight = weights[f"{name}.weight"].astype(np.float64)
    _, height, width = x.shape
    result = np.zeros((len(weight), (height - 1) // stride + 1, (width - 1) // stride + 1))
    for o, y, xx in np.ndindex(result.shape):
        for i in range(3):
            for j in range(3):
                row, column = stride * y + i - 1, stride * xx + j - 1
                if 0 <= row < height and 0 <= column < width:
                    result[o, y, xx] += float(weight[o, :, i, j] @ x[:, row, column])
        if f"{name}.bias" in weights:
            result[o, y, xx] += float(weights[f"{name}.bias"][o])
    return result


def _blocks(
    weights: dict[str, np.ndarray], half: str, x: np.ndarray, place: int, count: int
) -> tuple[np.ndarray, int]:
    for _ in range(count):
        name = f"{half}.layers.{place}.conv"
        y = np.maximum(_conv(weights, f"{name}.0", x), 0)
        y = np.maximum(_conv(weights, f"{name}.2", y), 0)
        x, place = np.maximum(_conv(weights, f"{name}.4", y) + x, 0), place + 1
    return x, place
