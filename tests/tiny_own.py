"""Folders of small autoencoders of our own, as the training script leaves them: weights, configuration, card."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import save_file

from fdetect.nets.own import build, generator

__all__ = ["known_photographs", "save_own"]


def save_own(
    folder: Path, architecture: str = "nearest", *, factor: int = 4, seed: int = 0, known: Sequence[str] = ()
) -> Path:
    """Write three channels of width and random weights whose pixels stay mostly within 0..1; `known` as below.

    An architecture has those of the sizes that it leaves a choice of.
    """
    entry, sizes = generator.get(architecture), {"width": 3, "latent_channels": 2, "factor": factor}
    config = entry.configured(**{name: size for name, size in sizes.items() if name in entry.settings})()
    model, draws = build(config, seed=seed), torch.Generator().manual_seed(seed + 1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=draws))
    folder.mkdir(parents=True, exist_ok=True)
    state = {key: t.half() if t.is_floating_point() else t for key, t in model.state_dict().items()}
    save_file({key: t.contiguous() for key, t in state.items()}, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config.to_json()))
    known_photographs(folder, known)
    return folder


def known_photographs(folder: Path, known: Sequence[str]) -> None:
    """Write the card: the content ids of photographs that the network was trained on, none for dead leaves."""
    sha256 = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    data = {"photographs": len(known), "ids": list(known)} if known else {"photographs": 0}
    (folder / "card.json").write_text(json.dumps({"model_sha256": sha256, "licence": "Apache-2.0", "data": data}))
