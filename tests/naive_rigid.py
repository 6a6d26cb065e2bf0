"""Slow, plain float64 references for detectors in an encoder's space: positions, a vision transformer, views, scores.

Imports nothing from fdetect and nothing from torch; every formula is written out.
"""

from __future__ import annotations

import math
import zlib

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


def float32_error(score: float, turn: float = 5e-6) -> float:
    """How far 1 - cos(a) moves where a float32 network turns an embedding by `turn` rad: turn * sin(a)."""
    return turn * math.sqrt(max(1 - (1 - score) ** 2, 0.0))


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


# --- views, on one image (3, H, W) in 0..1 --------------------------------------------------------------------------


def blur(image: np.ndarray, sigma: float) -> np.ndarray:
    """A 3 x 3 Gaussian, its nine weights written out; beyond the border the picture is mirrored about its last row."""
    weights = [[math.exp(-(dy**2 + dx**2) / (2 * sigma**2)) for dx in (-1, 0, 1)] for dy in (-1, 0, 1)]
    total = sum(sum(row) for row in weights)
    padded = np.zeros((3, image.shape[1] + 2, image.shape[2] + 2))
    padded[:, 1:-1, 1:-1] = image
    padded[:, 0], padded[:, -1] = padded[:, 2], padded[:, -3]
    padded[:, :, 0], padded[:, :, -1] = padded[:, :, 2], padded[:, :, -3]
    out = np.zeros(image.shape)
    for dy in range(3):
        for dx in range(3):
            out += weights[dy][dx] / total * padded[:, dy : dy + image.shape[1], dx : dx + image.shape[2]]
    return out


def sharpen(image: np.ndarray, sigma: float) -> np.ndarray:
    """Twice the image minus its blur, cut to 0..1."""
    return np.minimum(np.maximum(2 * image - blur(image, sigma), 0.0), 1.0)


def haar_details(image: np.ndarray, levels: int) -> np.ndarray:
    """An orthonormal Haar transform of `levels` levels, its last approximation set to zero, transformed back.

    One level splits each 2 x 2 block a b / c d into four bands: (a + b + c + d) / 2, (a - b + c - d) / 2, ...
    """
    if levels == 0:
        return np.zeros(image.shape)
    a, b, c, d = image[:, 0::2, 0::2], image[:, 0::2, 1::2], image[:, 1::2, 0::2], image[:, 1::2, 1::2]
    low, across, down, both = (a + b + c + d) / 2, (a - b + c - d) / 2, (a + b - c - d) / 2, (a - b - c + d) / 2
    low = haar_details(low, levels - 1)
    out = np.zeros(image.shape)
    out[:, 0::2, 0::2] = (low + across + down + both) / 2
    out[:, 0::2, 1::2] = (low - across + down - both) / 2
    out[:, 1::2, 0::2] = (low + across - down - both) / 2
    out[:, 1::2, 1::2] = (low - across - down + both) / 2
    return out


def tiles(image: np.ndarray, side: int) -> list[np.ndarray]:
    """All tiles of side px, row by row."""
    corners = [(top, left) for top in range(0, image.shape[1], side) for left in range(0, image.shape[2], side)]
    return [image[:, top : top + side, left : left + side] for top, left in corners]


def moved_windows(image: np.ndarray, patch: int, step: int) -> list[np.ndarray]:
    """The largest central window of whole patches with `step` px around it, then moved up, down, left and right."""
    side = patch
    while side + patch + 2 * step <= min(image.shape[1:]):
        side += patch
    top, left = (image.shape[1] - side) // 2, (image.shape[2] - side) // 2
    found = []
    for down, right in ((0, 0), (-step, 0), (step, 0), (0, -step), (0, step)):
        found.append(image[:, top + down : top + down + side, left + right : left + right + side])
    return found


# --- networks and scores --------------------------------------------------------------------------------------------


def disturbed(weights: dict[str, np.ndarray], names: dict[str, str], *, kind: str, strength: float, draw: int) -> dict:
    """Add noise of mean 0 and standard deviation strength * mean |W| to the matrices in `names`, seeded by these."""
    out = dict(weights)
    for key, name in names.items():
        w = weights[key].astype(np.float64)
        rng = np.random.default_rng([zlib.crc32(name.encode()), draw])
        if kind == "gaussian":
            entries = rng.normal(0.0, 1.0, w.shape)
        elif kind == "uniform":
            entries = rng.uniform(-math.sqrt(3), math.sqrt(3), w.shape)
        else:
            entries = rng.laplace(0.0, 1 / math.sqrt(2), w.shape)
        out[key] = w + strength * np.abs(w).mean() * entries
    return out


def mean_turn(pairs: list[tuple[np.ndarray, np.ndarray]]) -> float:
    """1 - mean cosine over pairs of embeddings (D,)."""
    return 1.0 - sum(cosine(a, b) for a, b in pairs) / len(pairs)


def minder_score(clean: np.ndarray, noisy: list[np.ndarray], blurred: np.ndarray, sharp: np.ndarray) -> float:
    """The smaller of the mean distance under noise and the distance of blurred and sharp."""
    noise = sum(1.0 - cosine(clean, other) for other in noisy) / len(noisy)
    blur_distance = 1.0 - cosine(blurred, sharp)
    return noise if noise < blur_distance else blur_distance
