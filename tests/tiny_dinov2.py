"""A tiny DINOv2 that tests save and load by the real path, and small pictures to show it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import transformers
from PIL import Image
from safetensors.torch import load_file

from fdetect.images import Geometry
from fdetect.types import Batch, Facts

HEADS = 2

torch.set_num_threads(1)  # the networks are tiny; threads that wait for a busy core only cost time


def save_tiny(folder: Path, *, image_size: int) -> Path:
    """Width 32, 2 layers, patch 14; weights so large that positions, noise and every layer matter."""
    config = transformers.Dinov2Config(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=HEADS, image_size=image_size, patch_size=14
    )
    model = transformers.Dinov2Model(config)
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            scale = 0.1 if "projection.weight" in name else 0.5
            scale = 1.0 if "position" in name or "cls_token" in name else scale
            offset = 1.0 if ("norm" in name and name.endswith("weight")) or "lambda1" in name else 0.0
            parameter.copy_(offset + scale * torch.randn(parameter.shape, generator=generator))
    model.save_pretrained(folder)
    return folder


def weights_of(folder: Path) -> dict[str, np.ndarray]:
    """Tensors by their stored names."""
    return {k: v.numpy() for k, v in load_file(folder / "model.safetensors").items()}


def photographs(n: int = 5) -> list[np.ndarray]:
    """Smooth pictures of odd sizes with some texture, (H, W, 3) uint8."""
    out = []
    for k in range(n):
        rng = np.random.default_rng(k)
        small = Image.fromarray(rng.integers(0, 256, (9, 7, 3), dtype=np.uint8))
        large = np.asarray(small.resize((240 + 37 * k, 301), Image.Resampling.BICUBIC)).astype(np.float64)
        out.append(np.clip(large + rng.normal(0, 6, large.shape), 0, 255).astype(np.uint8))
    return out


def batch_of(images: list[np.ndarray], geometry: Geometry, *, seed: int = 3) -> Batch:
    """The engine's batch: images through the geometry, with ids 0, 1, ... as 32 hex digits."""
    ids = tuple(f"{k:032x}" for k in range(len(images)))
    facts = tuple(Facts("PNG", image.shape[1], image.shape[0], 1) for image in images)
    return Batch(ids, np.stack([geometry(image) for image in images]), facts, seed)
