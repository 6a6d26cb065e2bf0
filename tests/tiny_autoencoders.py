"""A TAEF2 of few channels and random weights, as its authors store it."""

from __future__ import annotations

import torch

from fdetect.nets.taef2 import TAEF2

__all__ = ["tiny_halves"]


def tiny_halves(width: int = 6, pooled: int = 8, latent: int = 3) -> tuple[dict[str, object], dict[str, object]]:
    """Random tensors under the authors' keys, float16 as theirs."""
    torch.manual_seed(0)
    state = {key: torch.randn(tensor.shape) * 0.2 for key, tensor in TAEF2(width, pooled, latent).state_dict().items()}
    halves = ({}, {})
    for key, tensor in state.items():
        half, _, rest = key.partition(".")
        halves[half == "decoder"][rest] = tensor.half()
    return halves
