"""Slow, plain float64 references for RIGID: resampling of positions, a vision transformer, noise, cosine.

Imports nothing from fdetect and nothing from torch; every formula is written out.
"""

from __future__ import annotations

import math

import numpy as np

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


def cubic(distance: float, a: float = -0.75) -> float:
    """Keys' cubic convolution kernel."""
    x = abs(distance)
    if x <= 1:
        return (a + 2) * x**3 - (a + 3) * x**2 + 1
    if x < 2:
        return a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a
    return 0.0


def resample_table(table: np.ndarray, grid: int, *, scale: float) -> np.ndarray:
    """(1 + M*M, D) -> (1 + grid*grid, D): bicubic, output i samples (i + 0.5) / scale - 0.5, borders repeated."""
    side = math.isqrt(len(table) - 1)
    square = table[1:].astype(np.float64).reshape(side, side, -1)
    out = np.zeros((1 + grid * grid, table.shape[1]))
    out[0] = table[0]
    for i in range(grid):
        for j in range(grid):
            y, x = (i + 0.5) / scale - 0.5, (j + 0.5) / scale - 0.5
            for dy in range(-1, 3):
                for dx in range(-1, 3):
                    row, column = math.floor(y) + dy, math.floor(x) + dx
                    weight = cubic(y - row) * cubic(x - column)
                    inside = square[min(max(row, 0), side - 1), min(max(column, 0), side - 1)]
                    out[1 + i * grid + j] += weight * inside
    return out


def normalise(pixels: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 -> (3, H, W) float64."""
    out = np.zeros((3, *pixels.shape[:2]))
    for c in range(3):
        out[c] = (pixels[:, :, c] / 255.0 - MEAN[c]) / STD[c]
    return out


def add_noise(image: np.ndarray, noise: np.ndarray, sigma: float, space: str) -> np.ndarray:
    """Noise on a normalised (3, H, W) image; in the space "pixel" by going back to RGB in 0..1 and forth."""
    if space == "normalized":
        return image + sigma * noise
    out = np.zeros_like(image)
    for c in range(3):
        rgb = image[c] * STD[c] + MEAN[c]
        out[c] = (rgb + sigma * noise[c] - MEAN[c]) / STD[c]
    return out


def class_token(weights: dict[str, np.ndarray], image: np.ndarray, table: np.ndarray, *, heads: int) -> np.ndarray:
    """A plain DINOv2 vision transformer: (3, H, W) image, (1 + patches, D) positions -> (D,) after the final norm."""
    w = {name: value.astype(np.float64) for name, value in weights.items()}
    kernel = w["embeddings.patch_embeddings.projection.weight"]
    patch = kernel.shape[-1]
    tokens = [w["embeddings.cls_token"][0, 0]]
    for top in range(0, image.shape[1], patch):
        for left in range(0, image.shape[2], patch):
            window = image[:, top : top + patch, left : left + patch]
            tokens.append((kernel * window).sum(axis=(1, 2, 3)) + w["embeddings.patch_embeddings.projection.bias"])
    x = np.stack(tokens) + table
    layers = 1 + max(int(name.split(".")[2]) for name in w if name.startswith("encoder.layer."))
    for k in range(layers):
        layer = {name.split(".", 3)[3]: v for name, v in w.items() if name.startswith(f"encoder.layer.{k}.")}
        x = _block(layer, x, heads)
    return _norm(x, w["layernorm.weight"], w["layernorm.bias"])[0]


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    dot = sum(float(u) * float(v) for u, v in zip(a, b, strict=True))
    return dot / math.sqrt(sum(float(u) ** 2 for u in a)) / math.sqrt(sum(float(v) ** 2 for v in b))


def rigid_score(clean: np.ndarray, noisy: list[np.ndarray]) -> float:
    """Embeddings (D,) of one image -> 1 - mean cosine."""
    return 1.0 - sum(cosine(clean, other) for other in noisy) / len(noisy)


def _block(w: dict[str, np.ndarray], x: np.ndarray, heads: int) -> np.ndarray:
    y = _norm(x, w["norm1.weight"], w["norm1.bias"])
    query, key, value = (
        y @ w[f"attention.attention.{name}.weight"].T + w[f"attention.attention.{name}.bias"]
        for name in ("query", "key", "value")
    )
    width = x.shape[1] // heads
    mixed = np.zeros_like(x)
    for h in range(heads):
        part = slice(h * width, (h + 1) * width)
        logits = query[:, part] @ key[:, part].T / math.sqrt(width)
        share = np.exp(logits - logits.max(axis=1, keepdims=True))
        mixed[:, part] = share / share.sum(axis=1, keepdims=True) @ value[:, part]
    mixed = mixed @ w["attention.output.dense.weight"].T + w["attention.output.dense.bias"]
    x = x + w["layer_scale1.lambda1"] * mixed
    y = _norm(x, w["norm2.weight"], w["norm2.bias"]) @ w["mlp.fc1.weight"].T + w["mlp.fc1.bias"]
    y = y * 0.5 * (1 + np.vectorize(math.erf)(y / math.sqrt(2)))  # GELU, exact
    return x + w["layer_scale2.lambda1"] * (y @ w["mlp.fc2.weight"].T + w["mlp.fc2.bias"])


def _norm(x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    centred = x - x.mean(axis=1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(axis=1, keepdims=True) + 1e-6) * weight + bias
