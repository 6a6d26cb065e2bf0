"""The published detector networks, slow and plain, in float64 NumPy from their authors' own keys.

A state is a dictionary of arrays under the names that the authors' files have; an image is (3, H, W) RGB in 0..1.
Written from the papers: He et al. 2016 (residual networks), Tan et al. 2024 (NPR), Li et al. 2024 (SAFE), Cavia et al.
2024 (LaDeDa), Wang et al. 2020 (CNNSpot), Koutlis and Papadopoulos 2024 (RINE).
"""

from __future__ import annotations

import naive_encoders
import numpy as np

MEAN, STD = (np.array(v)[:, None, None] for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))


def normalised(image: np.ndarray) -> np.ndarray:
    return (image - MEAN) / STD


def conv(x: np.ndarray, weight: np.ndarray, stride: int = 1, padding: int = 0) -> np.ndarray:
    """(C, H, W) and (O, C, k, k) -> (O, h, w): correlation, zeros around."""
    x = np.pad(x, ((0, 0), (padding, padding), (padding, padding)))
    windows = np.lib.stride_tricks.sliding_window_view(x, weight.shape[2:], axis=(1, 2))[:, ::stride, ::stride]
    return np.einsum("chwij,ocij->ohw", windows, weight, optimize=True)


def norm(x: np.ndarray, state: dict, key: str) -> np.ndarray:
    """Batch norm with its running statistics, epsilon 1e-5."""
    names = ("running_mean", "running_var", "weight", "bias")
    mean, var, scale, shift = (state[f"{key}.{name}"][:, None, None] for name in names)
    return (x - mean) / np.sqrt(var + 1e-5) * scale + shift


def relu(x: np.ndarray) -> np.ndarray:
    return np.maximum(x, 0)


def max_pool(x: np.ndarray) -> np.ndarray:
    """3 x 3, stride 2, one pixel of minus infinity around."""
    x = np.pad(x, ((0, 0), (1, 1), (1, 1)), constant_values=-np.inf)
    return np.lib.stride_tricks.sliding_window_view(x, (3, 3), axis=(1, 2))[:, ::2, ::2].max((-2, -1))


def bottleneck(x: np.ndarray, state: dict, key: str, stride: int, padding: int = 1) -> np.ndarray:
    """1x1, 3x3 (or 1x1 without padding), 1x1; what the middle loses, the shortcut loses below and right."""
    out = relu(norm(conv(x, state[f"{key}.conv1.weight"]), state, f"{key}.bn1"))
    out = relu(norm(conv(out, state[f"{key}.conv2.weight"], stride, padding), state, f"{key}.bn2"))
    out = norm(conv(out, state[f"{key}.conv3.weight"]), state, f"{key}.bn3")
    if f"{key}.downsample.0.weight" in state:
        x = norm(conv(x, state[f"{key}.downsample.0.weight"], stride), state, f"{key}.downsample.1")
    return relu(out + x[:, : out.shape[1], : out.shape[2]])


def linear(rows: np.ndarray, state: dict, key: str) -> np.ndarray:
    return rows @ state[f"{key}.weight"].T + state[f"{key}.bias"]


def resnet_logits(x: np.ndarray, state: dict, depths: tuple[int, ...], *, stem: int, classifier: str) -> np.ndarray:
    """A stem of stride 2 and kernel `stem`, a maximum, stages of bottlenecks, the mean over places -> (K,) logits."""
    x = max_pool(relu(norm(conv(x, state["conv1.weight"], 2, stem // 2), state, "bn1")))
    for stage, depth in enumerate(depths, 1):
        for block in range(depth):
            x = bottleneck(x, state, f"layer{stage}.{block}", 2 if stage > 1 and block == 0 else 1)
    return linear(x.mean((1, 2)), state, classifier)


def nearest_residual(x: np.ndarray) -> np.ndarray:
    """x minus its 2 x 2 cells' top left pixel; odd sides lose their last row or column."""
    height, width = (side // 2 * 2 for side in x.shape[1:])
    x = x[:, :height, :width]
    return x - x[:, ::2, ::2].repeat(2, 1).repeat(2, 2)


def npr(image: np.ndarray, state: dict) -> float:
    x = nearest_residual(normalised(image)) * 2 / 3
    return float(resnet_logits(x, state, (3, 4), stem=3, classifier="fc1")[0])


def cnnspot(image: np.ndarray, state: dict) -> float:
    return float(resnet_logits(normalised(image), state, (3, 4, 6, 3), stem=7, classifier="fc")[0])


def safe(seen: np.ndarray, state: dict) -> float:
    """`seen` is the sub-band, which is held to its own reference elsewhere; log(p_fake / p_real) of two classes."""
    real, fake = resnet_logits(seen, state, (3, 4), stem=3, classifier="fc1")
    return float(fake - real)


def ladeda(image: np.ndarray, state: dict, scale: float) -> float:
    """BagNet-style: strides 2, 2, 2, 1, a 3 x 3 in the first block of stages 1 and 2 alone, no padding anywhere."""
    x = scale * nearest_residual(normalised(image))
    x = relu(norm(conv(conv(x, state["conv1.weight"]), state["conv2.weight"]), state, "bn1"))
    for stage, (depth, stride) in enumerate(zip((3, 4, 6, 3), (2, 2, 2, 1), strict=True), 1):
        for block in range(depth):
            x = bottleneck(x, state, f"layer{stage}.{block}", stride if block == 0 else 1, 0)
    return float(linear(x.mean((1, 2)), state, "fc")[0])


RIGHT_DIAGONAL = np.array([[-2.0, -1, 0], [-1, 0, 1], [0, 1, 2]])


def tiny_ladeda(image: np.ndarray, state: dict, stem: str) -> float:
    """Four convolutions of 8 channels without padding; the block has no shortcut."""
    x = normalised(image)
    if stem == "npr":
        x = nearest_residual(x)
    elif stem == "right_diag":
        x = np.concatenate([conv(x[c : c + 1], RIGHT_DIAGONAL[None, None], 1, 1) for c in range(3)])
    x = relu(norm(conv(conv(x, state["conv1.weight"]), state["conv2.weight"]), state, "bn1"))
    x = relu(norm(conv(x, state["layer1.0.conv1.weight"]), state, "layer1.0.bn1"))
    x = relu(norm(conv(x, state["layer1.0.conv2.weight"]), state, "layer1.0.bn2"))
    return float(linear(x.mean((1, 2)), state, "fc")[0])


def rine(tokens: np.ndarray, state: dict) -> float:
    """tokens (n, D): the class token of n blocks -> logit; softmax over blocks, channel by channel."""
    depth = sum(key.startswith("proj1.") and key.endswith(".weight") for key in state)
    g = tokens
    for k in range(depth):
        g = relu(linear(g, state, f"proj1.{1 + 3 * k}"))
    weights = np.exp(state["alpha"][0] - state["alpha"][0].max(0))
    z = (weights / weights.sum(0) * g).sum(0)
    for k in range(depth):
        z = relu(linear(z, state, f"proj2.{1 + 3 * k}"))
    return float(linear(relu(linear(relu(linear(z, state, "head.0")), state, "head.3")), state, "head.6")[0])


def class_tokens(weights: naive_encoders.Weights, image: np.ndarray, *, heads: int) -> np.ndarray:
    """CLIP's class token behind the second layer norm of every block: (3, S, S), normalised -> (n, D)."""
    plain = {key.removeprefix("vision_model."): value.astype(np.float64) for key, value in weights.items()}
    patch = plain["embeddings.patch_embedding.weight"].shape[-1]
    rows = [image[:, top : top + patch, left : left + patch]
            for top in range(0, image.shape[1], patch) for left in range(0, image.shape[2], patch)]  # fmt: skip
    kernels = plain["embeddings.patch_embedding.weight"]
    x = np.array([plain["embeddings.class_embedding"], *(np.einsum("ocij,cij->o", kernels, row) for row in rows)])
    x = _layer_norm(x + plain["embeddings.position_embedding.weight"], plain, "pre_layrnorm")
    found = []
    for k in range(sum(key.endswith("layer_norm2.bias") for key in plain)):
        block = f"encoder.layers.{k}"
        y = _layer_norm(x, plain, f"{block}.layer_norm1")
        query, key, value = (linear(y, plain, f"{block}.self_attn.{name}_proj") for name in "qkv")
        mixed = naive_encoders.attention(query, key, value, heads)
        x = x + linear(mixed, plain, f"{block}.self_attn.out_proj")
        y = _layer_norm(x, plain, f"{block}.layer_norm2")
        found.append(y[0])
        inner = linear(y, plain, f"{block}.mlp.fc1")
        x = x + linear(inner / (1 + np.exp(-1.702 * inner)), plain, f"{block}.mlp.fc2")
    return np.array(found)


def _layer_norm(x: np.ndarray, weights: dict, key: str) -> np.ndarray:
    return naive_encoders.layer_norm(x, weights[f"{key}.weight"], weights[f"{key}.bias"], 1e-5)
