"""Noise that belongs to a picture's content: what a network adds to an image is the same whatever else is computed."""

from __future__ import annotations

import numpy as np
import torch

from fdetect.engine.work import content_id
from fdetect.perturb import rng_for

__all__ = ["content_noise"]


def content_noise(images: torch.Tensor, purpose: str) -> torch.Tensor:
    """Return normal numbers for each picture: (B, 3, H, W) RGB 0..1 -> the same shape, float32, where `images` are.

    Those of one picture come from `rng_for(0, id, purpose)`, where id is xxh3_128 of its sides and of its pixels as
    levels 0..255, rounded: order, batch and device change nothing, and neither does the last bit of a float32.
    """
    levels = images.detach().float().clamp(0, 1).mul(255).round().to(torch.uint8).cpu().contiguous().numpy()
    drawn = np.empty(levels.shape, np.float32)
    for k, picture in enumerate(levels):
        id = content_id(f"{picture.shape[1]}x{picture.shape[2]}/".encode() + picture.tobytes())
        rng_for(0, id, purpose).standard_normal(out=drawn[k], dtype=np.float32)
    return torch.from_numpy(drawn).to(images.device)
