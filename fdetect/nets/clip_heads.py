"""Heads on a frozen encoder: UniversalFakeDetect's linear one and RINE's on all blocks, from images to logits.

    images -> encoder -> embedding (B, D)             -> W e + b                          linear_head
    images -> encoder -> class tokens (B, n, D)       -> proj1, sum over blocks, proj2    rine_head

The encoder runs in float32, the heads in float64 on the CPU: they cost nothing beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from fdetect.errors import WeightsError
from fdetect.nets.encoders import Encoder
from fdetect.nets.head_keymaps import rine_keys
from fdetect.nets.memory import exact_float32, in_chunks

__all__ = ["Head", "class_tokens", "linear_logits", "rine_logits"]

State = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Head:
    """A head and the encoder that it judges the embeddings of; `kind` is "linear_head" or "rine_head"."""

    kind: str
    state: State
    encoder: Encoder

    @classmethod
    def of(cls, kind: str, state: Mapping[str, Any], encoder: Encoder, *, name: str, fix: str) -> Head:
        """Return the head with its tensors in float64; raises WeightsError where they do not fit the encoder."""
        arrays = {key: np.asarray(value, np.float64) for key, value in state.items()}
        card = encoder.card
        if kind == "linear_head":
            wanted: dict[str, tuple[int, ...]] = {"weight": (1, card.dim), "bias": (1,)}
        else:
            layers = sum(key.startswith("proj1.") and key.endswith(".weight") for key in arrays)
            dim = arrays["alpha"].shape[-1] if "alpha" in arrays and arrays["alpha"].ndim else 0
            wanted = rine_keys(layers, width=card.width, blocks=card.layers, dim=dim)
        if {key: value.shape for key, value in arrays.items()} != wanted:
            raise WeightsError(f"{name} does not fit the encoder {card.name}: its tensors are of other shapes", fix)
        return cls(kind, arrays, encoder)

    def logits(self, images: torch.Tensor) -> np.ndarray:
        """(B, 3, S, S) float32 RGB in 0..1, S the encoder's size -> (B,) float64, larger = more likely generated."""
        if self.kind == "linear_head":
            return linear_logits(self.state, self.encoder.encode(images))
        return rine_logits(self.state, class_tokens(self.encoder, images))


def linear_logits(state: State, embeddings: np.ndarray) -> np.ndarray:
    """W e + b without normalisation: (B, D) -> (B,) float64.  Source: Ojha et al. 2023, arXiv 2302.10174."""
    return np.asarray(embeddings.astype(np.float64) @ state["weight"][0] + state["bias"][0])


def rine_logits(state: State, tokens: np.ndarray) -> np.ndarray:
    """RINE: (B, n, D), the class token of each of n blocks -> (B,) float64.

        z = proj2(sum over l of softmax(alpha)_l * proj1(k_l)),   logit = head(z)

    The softmax runs over the n blocks, for each of the P channels apart.  proj1 and proj2 end in a ReLU, the head in a
    linear layer; dropout is for training.  Source: Koutlis and Papadopoulos 2024, arXiv 2402.19091, section 3.2, and
    its authors' code.
    """
    depth = sum(key.startswith("proj1.") and key.endswith(".weight") for key in state)
    projected = tokens.astype(np.float64)
    for k in range(depth):
        projected = _relu(_linear(state, f"proj1.{1 + 3 * k}", projected))
    scores = np.exp(state["alpha"] - state["alpha"].max(1, keepdims=True))
    z = (scores / scores.sum(1, keepdims=True) * projected).sum(1)
    for k in range(depth):
        z = _relu(_linear(state, f"proj2.{1 + 3 * k}", z))
    for name in ("head.0", "head.3"):
        z = _relu(_linear(state, name, z))
    return np.asarray(_linear(state, "head.6", z)[:, 0])


def class_tokens(encoder: Encoder, images: torch.Tensor) -> np.ndarray:
    """The class token behind the second layer norm of every block: (B, 3, S, S) RGB in 0..1 -> (B, n, D) float32.

    This is where RINE's authors look, inside each block before its MLP, not at what the block gives on.  For CLIP.
    """
    blocks = encoder.model.vision_model.encoder.layers
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (encoder.card.mean, encoder.card.std))

    def run(part: torch.Tensor) -> torch.Tensor:
        kept: list[torch.Tensor] = []
        hooks = [block.layer_norm2.register_forward_hook(lambda *seen: kept.append(seen[2][:, 0])) for block in blocks]
        try:
            with torch.inference_mode(), exact_float32():
                part = part.to(encoder.device, torch.float32)
                encoder.model(pixel_values=(part - mean.to(part)) / std.to(part))
            return torch.stack(kept, 1).float().cpu()
        finally:
            for hook in hooks:
                hook.remove()

    if not len(images):
        return np.empty((0, len(blocks), encoder.card.width), np.float32)
    key = f"{encoder.card.sha256} {encoder.card.config_sha256} class tokens"
    return np.asarray(in_chunks(run, images, device=encoder.device, key=key).numpy())


def _linear(state: State, name: str, rows: np.ndarray) -> np.ndarray:
    return np.asarray(rows @ state[f"{name}.weight"].T + state[f"{name}.bias"])


def _relu(rows: np.ndarray) -> np.ndarray:
    return np.asarray(np.maximum(rows, 0.0))
