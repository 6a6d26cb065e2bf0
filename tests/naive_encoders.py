"""Image towers in plain float64 NumPy: one image, one token after another; nothing here imports fdetect or torch.

Weights go by the names that transformers stores them under.  Images are (3, H, W), normalised.
"""

from __future__ import annotations

import math

import numpy as np

Weights = dict[str, np.ndarray]


def dinov2(weights: Weights, image: np.ndarray, *, heads: int) -> np.ndarray:
    """With or without registers, at the size of its table: -> (D,), the class token after the final norm."""
    w = _double(weights)
    projection = "embeddings.patch_embeddings.projection"
    patches = _patches(w[f"{projection}.weight"], w[f"{projection}.bias"], image)
    table = w["embeddings.position_embeddings"][0]
    registers = w.get("embeddings.register_tokens", np.zeros((1, 0, patches.shape[1])))[0]
    x = np.vstack([w["embeddings.cls_token"][0] + table[:1], registers, patches + table[1:]])
    for k in range(_count(w, "encoder.layer.")):
        part = _under(w, f"encoder.layer.{k}.")
        y = layer_norm(x, part["norm1.weight"], part["norm1.bias"], 1e-6)
        query, key, value = (_linear(part, f"attention.attention.{name}", y) for name in ("query", "key", "value"))
        mixed = _linear(part, "attention.output.dense", attention(query, key, value, heads))
        x = x + part["layer_scale1.lambda1"] * mixed
        y = layer_norm(x, part["norm2.weight"], part["norm2.bias"], 1e-6)
        x = x + part["layer_scale2.lambda1"] * _dinov2_mlp(part, y)
    return layer_norm(x, w["layernorm.weight"], w["layernorm.bias"], 1e-6)[0]


def dinov3(weights: Weights, image: np.ndarray, *, heads: int, theta: float = 100.0) -> np.ndarray:
    """Rotary positions on patch tokens: -> (D,), the class token after the final norm."""
    w = _double(weights)
    patch = w["embeddings.patch_embeddings.weight"].shape[-1]
    patches = _patches(w["embeddings.patch_embeddings.weight"], w["embeddings.patch_embeddings.bias"], image)
    x = np.vstack([w["embeddings.cls_token"][0], w["embeddings.register_tokens"][0], patches])
    first, width = len(x) - len(patches), x.shape[1] // heads
    rows, columns = image.shape[1] // patch, image.shape[2] // patch
    for k in range(_count(w, "layer.")):
        part = _under(w, f"layer.{k}.")
        y = layer_norm(x, part["norm1.weight"], part["norm1.bias"], 1e-5)
        query, key, value = (_linear(part, f"attention.{name}_proj", y) for name in "qkv")
        for h in range(heads):
            for n in range(rows * columns):
                place = (2 * (n // columns + 0.5) / rows - 1, 2 * (n % columns + 0.5) / columns - 1)
                for tokens in (query, key):
                    head = tokens[first + n, h * width : (h + 1) * width]
                    head[:] = _turned(head, place, theta)
        x = x + part["layer_scale1.lambda1"] * _linear(part, "attention.o_proj", attention(query, key, value, heads))
        y = layer_norm(x, part["norm2.weight"], part["norm2.bias"], 1e-5)
        x = x + part["layer_scale2.lambda1"] * _linear(part, "mlp.down_proj", gelu(_linear(part, "mlp.up_proj", y)))
    return layer_norm(x, w["norm.weight"], w["norm.bias"], 1e-5)[0]


def clip(weights: Weights, image: np.ndarray, *, heads: int) -> np.ndarray:
    """CLIP and MetaCLIP 2 with QuickGELU: -> (P,), the projected class token (image_embeds)."""
    w = _under(_double(weights), "vision_model.")
    patches = _patches(w["embeddings.patch_embedding.weight"], 0.0, image)
    x = np.vstack([w["embeddings.class_embedding"][None], patches]) + w["embeddings.position_embedding.weight"]
    x = layer_norm(x, w["pre_layrnorm.weight"], w["pre_layrnorm.bias"], 1e-5)
    x = _twin_layers(w, x, heads, lambda y: y / (1 + np.exp(-1.702 * y)), 1e-5)
    token = layer_norm(x[:1], w["post_layernorm.weight"], w["post_layernorm.bias"], 1e-5)[0]
    return np.float64(weights["visual_projection.weight"]) @ token


def siglip(weights: Weights, image: np.ndarray, *, heads: int) -> np.ndarray:
    """SigLIP: -> (D,), one learnt query that attends to all tokens, then an MLP (pooler_output)."""
    w = _double(weights)
    x = _patches(w["embeddings.patch_embedding.weight"], w["embeddings.patch_embedding.bias"], image)
    x = _twin_layers(w, x + w["embeddings.position_embedding.weight"], heads, gelu_tanh, 1e-6)
    x = layer_norm(x, w["post_layernorm.weight"], w["post_layernorm.bias"], 1e-6)
    head = _under(w, "head.")
    kernels, offsets = np.split(head["attention.in_proj_weight"], 3), np.split(head["attention.in_proj_bias"], 3)
    query = head["probe"][0] @ kernels[0].T + offsets[0]
    key, value = (x @ kernels[k].T + offsets[k] for k in (1, 2))
    pooled = _linear(head, "attention.out_proj", attention(query, key, value, heads))
    y = layer_norm(pooled, head["layernorm.weight"], head["layernorm.bias"], 1e-6)
    return (pooled + _linear(head, "mlp.fc2", gelu_tanh(_linear(head, "mlp.fc1", y))))[0]


def attention(query: np.ndarray, key: np.ndarray, value: np.ndarray, heads: int) -> np.ndarray:
    """(N, D), (M, D), (M, D) -> (N, D): softmax(q k' / sqrt(width)) v, head by head."""
    width = query.shape[1] // heads
    out = np.zeros_like(query)
    for h in range(heads):
        part = slice(h * width, (h + 1) * width)
        logits = query[:, part] @ key[:, part].T / math.sqrt(width)
        share = np.exp(logits - logits.max(axis=1, keepdims=True))
        out[:, part] = share / share.sum(axis=1, keepdims=True) @ value[:, part]
    return out


def layer_norm(x: np.ndarray, weight: np.ndarray, bias: np.ndarray, epsilon: float) -> np.ndarray:
    """Each row to mean 0 and variance 1, then scaled and shifted."""
    centred = x - x.mean(axis=1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(axis=1, keepdims=True) + epsilon) * weight + bias


def gelu(x: np.ndarray) -> np.ndarray:
    """Exact, by the error function."""
    return x * 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))


def gelu_tanh(x: np.ndarray) -> np.ndarray:
    """The usual approximation."""
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def _twin_layers(w: Weights, x: np.ndarray, heads: int, activation, epsilon: float) -> np.ndarray:
    """The blocks that CLIP and SigLIP share, each with its activation."""
    for k in range(_count(w, "encoder.layers.")):
        part = _under(w, f"encoder.layers.{k}.")
        y = layer_norm(x, part["layer_norm1.weight"], part["layer_norm1.bias"], epsilon)
        query, key, value = (_linear(part, f"self_attn.{name}_proj", y) for name in "qkv")
        x = x + _linear(part, "self_attn.out_proj", attention(query, key, value, heads))
        y = layer_norm(x, part["layer_norm2.weight"], part["layer_norm2.bias"], epsilon)
        x = x + _linear(part, "mlp.fc2", activation(_linear(part, "mlp.fc1", y)))
    return x


def _dinov2_mlp(part: Weights, y: np.ndarray) -> np.ndarray:
    if "mlp.fc1.weight" in part:
        return _linear(part, "mlp.fc2", gelu(_linear(part, "mlp.fc1", y)))
    gate, up = np.split(_linear(part, "mlp.weights_in", y), 2, axis=1)
    return _linear(part, "mlp.weights_out", gate / (1 + np.exp(-gate)) * up)


def _turned(head: np.ndarray, place: tuple[float, float], theta: float) -> np.ndarray:
    """Turn pairs (i, i + half) of one head by 2 pi place / theta^(4 j / width), rows' angles first."""
    half, quarter = len(head) // 2, len(head) // 4
    angles = [2 * math.pi * p / theta ** (4 * j / len(head)) for p in place for j in range(quarter)]
    out = np.empty_like(head)
    for i, angle in enumerate(angles):
        out[i] = head[i] * math.cos(angle) - head[i + half] * math.sin(angle)
        out[i + half] = head[i + half] * math.cos(angle) + head[i] * math.sin(angle)
    return out


def _patches(kernel: np.ndarray, bias, image: np.ndarray) -> np.ndarray:
    """Squares of the image, row by row, each times the kernel: (D, 3, P, P) -> (patches, D)."""
    patch = kernel.shape[-1]
    corners = [(top, left) for top in range(0, image.shape[1], patch) for left in range(0, image.shape[2], patch)]
    squares = [image[:, top : top + patch, left : left + patch] for top, left in corners]
    return np.stack([(kernel * square).sum(axis=(1, 2, 3)) + bias for square in squares])


def _linear(w: Weights, name: str, x: np.ndarray) -> np.ndarray:
    return x @ w[f"{name}.weight"].T + w.get(f"{name}.bias", 0.0)


def _under(w: Weights, prefix: str) -> Weights:
    return {name.removeprefix(prefix): value for name, value in w.items() if name.startswith(prefix)}


def _count(w: Weights, prefix: str) -> int:
    return 1 + max(int(name.removeprefix(prefix).split(".")[0]) for name in w if name.startswith(prefix))


def _double(weights: Weights) -> Weights:
    return {name: value.astype(np.float64) for name, value in weights.items()}
