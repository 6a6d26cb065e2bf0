"""Frozen encoders on a device: images in RGB 0..1 become embeddings, in chunks that fit into memory.

What the architectures do with positions, and `pos_interp`, which says in every record which way it was done, is told
in `fdetect.nets.architectures`.
"""

from __future__ import annotations

import functools
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fdetect.errors import BackendError, ParameterError
from fdetect.nets.architectures import ARCHITECTURES, load_network, resolve_positions
from fdetect.nets.cards import EncoderCard, NetworkNoise, encoder_card
from fdetect.nets.catalogue import check_dtype
from fdetect.nets.memory import exact_float32, in_chunks, memory_is_out
from fdetect.nets.network_noise import kept_copy
from fdetect.nets.weights import find_weights

__all__ = ["Encoder", "load_encoder", "resolve_device"]


@dataclass(frozen=True)
class Encoder:
    """A frozen network on its device, for images of `size` x `size` px; `card` says which weights it carries.

    `chunk` is the number of images in one forward pass; None takes as many as fit (see `fdetect.nets.memory`).
    """

    card: EncoderCard
    model: Any
    size: int
    pos_interp: str
    dtype: str
    device: str
    noise: NetworkNoise | None = None
    chunk: int | None = None

    def encode(self, images: torch.Tensor) -> np.ndarray:
        """Return what `card.embedding` says: (B, 3, size, size) float32 RGB in 0..1, on any device -> (B, D) float32.

        The images are normalised here, (x - mean) / std with the card's constants; values beyond 0..1 are taken as
        they are.  With dtype "bfloat16" the matrix products run in bfloat16 under autocast; weights and result stay
        float32, and so do float32 products, which TensorFloat-32 would round.
        A chunk that does not fit is halved; raises BackendError where a single image does not fit, ParameterError for
        another shape.
        """
        if tuple(images.shape[1:]) != (3, self.size, self.size):
            raise ParameterError(f"images must be (B, 3, {self.size}, {self.size}); got {tuple(images.shape)}")
        if not len(images):
            return np.empty((0, self.card.dim), np.float32)
        key = f"{self.card.sha256} {self.card.config_sha256} {self.dtype}"
        rows = in_chunks(self._encode_chunk, images, device=self.device, chunk=self.chunk, key=key)
        return np.asarray(rows.numpy())

    def perturbed(self, noise: NetworkNoise) -> Encoder:
        """Return this encoder with perturbed weights; copies are kept, since every batch asks again.

        Raises BackendError where there is no memory for a copy, ParameterError for noise that cannot be.
        """
        try:
            blocks = ARCHITECTURES[self.card.family].blocks
            model = kept_copy(self.model, noise, blocks=blocks, layers=self.card.layers)
        except (RuntimeError, MemoryError) as error:
            if not memory_is_out(error):
                raise
        else:
            return replace(self, model=model, noise=noise)
        fix = "take a smaller encoder" + ("" if self.device == "cpu" else " or --backend cpu")
        raise BackendError(f"a perturbed copy of {self.card.name} does not fit into the memory of {self.device}; {fix}")

    def _encode_chunk(self, images: torch.Tensor) -> torch.Tensor:
        architecture = ARCHITECTURES[self.card.family]
        half = torch.autocast(torch.device(self.device).type, torch.bfloat16, enabled=self.dtype == "bfloat16")
        with torch.inference_mode(), exact_float32():
            images = images.to(self.device, torch.float32, non_blocking=True)
            mean, std = (images.new_tensor(values).view(3, 1, 1) for values in (self.card.mean, self.card.std))
            other_size = architecture.resizes and self.size != self.card.image_size
            with half:
                resampled = {"interpolate_pos_encoding": True} if other_size else {}
                output = self.model(pixel_values=(images - mean) / std, **resampled)
            return architecture.embedding(output).float().cpu()


def load_encoder(
    source: str | Path,
    *,
    pos_interp: str = "authors",
    dtype: str = "float32",
    size: int = 224,
    device: str = "auto",
) -> Encoder:
    """Load an encoder from a folder, a name or a hub id, never from the network, in evaluation mode.

    pos_interp  "authors", or by its name: "scale_factor" and "size" for DINOv2 (authors: scale_factor), "size" for
                DINOv2 with registers, CLIP, MetaCLIP 2 and SigLIP, "none" for DINOv3
    dtype       "float32", or "bfloat16" (autocast)
    size        side in px of the images to come, a multiple of the patch
    device      "auto" (CUDA where there is one, else CPU), "cpu" or "cuda"

    Raises WeightsError where the weights are absent or do not fill the network exactly, ParameterError for a
    setting, BackendError for a device that is not there.
    """
    check_dtype(dtype)
    card = encoder_card(str(source))
    positions = resolve_positions(card, pos_interp)
    if size < card.patch or size % card.patch:
        raise ParameterError(f"size must be a multiple of the patch of {card.patch} px; got {size}")
    device = resolve_device(device, dtype=dtype)
    path = find_weights(str(source)).resolve()
    model = _model(path, replace(card, evidence=""), positions, size, device)
    return Encoder(card, model, size, positions, dtype, device)


def resolve_device(wanted: str = "auto", *, dtype: str = "float32") -> str:
    """Return "cpu" or "cuda": only "auto" falls back, and what was chosen belongs into the record.

    Raises ParameterError for another name; BackendError for "cuda" where torch finds no device, and for dtype
    "bfloat16" on a CPU whose bfloat16 instructions crash.
    """
    if wanted not in ("auto", "cpu", "cuda"):
        raise ParameterError(f"device is one of auto, cpu, cuda; got '{wanted}'")
    if wanted == "cuda" and not torch.cuda.is_available():
        raise BackendError("device cuda cannot run: torch finds no CUDA device; use --backend auto or cpu")
    device = "cuda" if wanted != "cpu" and torch.cuda.is_available() else "cpu"
    if dtype == "bfloat16" and device == "cpu" and not _bfloat16_survives():
        raise BackendError(
            "dtype bfloat16 cannot run on this CPU: the instructions that it announces for it crash; "
            "use float32, or set ONEDNN_MAX_CPU_ISA=AVX512_CORE_BF16 before the start"
        )
    return device


@functools.cache
def _bfloat16_survives() -> bool:
    """Try bfloat16 in a process of its own: virtual machines may announce AMX and then kill whoever uses it."""
    return subprocess.run([sys.executable, "-c", _PROBE], capture_output=True, check=False).returncode == 0


_PROBE = """
import torch
with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
    x = torch.nn.Linear(32, 32)(torch.ones(1, 2, 64, 32))
    torch.nn.functional.scaled_dot_product_attention(x, x, x)
"""


@functools.lru_cache(maxsize=4)
def _model(folder: Path, card: EncoderCard, positions: str, size: int, device: str) -> Any:
    """Load once for every dtype and view; the card holds the digests, so that changed files are read again."""
    return load_network(folder, card, positions, size).to(device)
