"""Tiny encoders of every family, saved by the real classes, with weights so large that every part of them matters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import naive_encoders
import torch
import transformers
from tiny_dinov2 import HEADS, batch_of, photographs, save_tiny, weights_of

__all__ = ["FAMILIES", "HEADS", "batch_of", "photographs", "save_family", "save_tiny", "shake", "weights_of"]

_SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": HEADS, "intermediate_size": 48}

# class, its settings, the plain reference
FAMILIES: dict[str, tuple[str, dict[str, Any], Any]] = {
    "dinov2": ("Dinov2Model", {"patch_size": 14, "mlp_ratio": 4}, naive_encoders.dinov2),
    "dinov2-giant": ("Dinov2Model", {"patch_size": 14, "use_swiglu_ffn": True}, naive_encoders.dinov2),
    "dinov2-reg": ("Dinov2WithRegistersModel", {"patch_size": 14}, naive_encoders.dinov2),
    "dinov3": ("DINOv3ViTModel", {"patch_size": 14, "num_register_tokens": 4}, naive_encoders.dinov3),
    "clip": ("CLIPVisionModelWithProjection", {"patch_size": 14, "projection_dim": 24}, naive_encoders.clip),
    "metaclip2": ("MetaClip2VisionModelWithProjection", {"patch_size": 14, "projection_dim": 24}, naive_encoders.clip),
    "siglip": ("SiglipVisionModel", {"patch_size": 14}, naive_encoders.siglip),
}


def save_family(folder: Path, family: str, *, image_size: int = 56, **settings: Any) -> Path:
    """Save a tiny model of a family, 4 x 4 patches if nothing else is said."""
    name, own, _ = FAMILIES[family]
    network = getattr(transformers, name)
    model = network(network.config_class(**_SIZES | own | {"image_size": image_size} | settings))
    shake(model)
    model.save_pretrained(folder)
    return folder


def shake(model: Any) -> None:
    """Overwrite all parameters by seeded numbers: norms and scales near 1, everything else near 0."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            one = ("norm" in name and name.endswith("weight")) or "lambda1" in name
            scale = 0.1 if "patch_embed" in name else 1.0 if parameter.ndim == 1 or "position" in name else 0.4
            parameter.copy_(float(one) + scale * torch.randn(parameter.shape, generator=generator))
