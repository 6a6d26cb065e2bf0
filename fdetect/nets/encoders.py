"""Frozen encoders: DINOv2 through transformers, with the position table as its authors interpolate it.

DINOv2 was trained at 518 px, a 37 x 37 table of positions; at 224 px it needs 16 x 16.  The authors' hub code
resamples the table by scale_factor = (16 + 0.1) / 37, where the 0.1 moves every sampling point; transformers
resamples to the size 16 x 16.  The two tables differ, and so do the embeddings.  Here the table is resampled once
at load, and `pos_interp` says in every record which way it was done.
"""

from __future__ import annotations

import functools
import math
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fdetect.errors import BackendError, ParameterError, WeightsError
from fdetect.nets.weights import IMAGENET_MEAN, IMAGENET_STD, EncoderCard, encoder_card, find_weights

__all__ = ["Encoder", "authors_position_table", "load_encoder", "normalise", "resolve_device"]

_CHUNK = 32  # images in one forward pass: enough to fill a device, small enough for ViT-g in 8 GB
_OFFSET = 0.1  # `interpolate_offset` of the authors' hub models without registers


@dataclass(frozen=True)
class Encoder:
    """A frozen network on its device, for images of `size` x `size` px; `card` says which weights it carries."""

    card: EncoderCard
    model: Any
    size: int
    pos_interp: str
    dtype: str
    device: str

    def encode(self, images: torch.Tensor) -> np.ndarray:
        """Return the CLS token after the final norm: (B, 3, size, size) float32, normalised -> (B, D) float32.

        With dtype "bfloat16" the matrix products run in bfloat16 under autocast; weights and result stay float32.
        """
        rows = [self._encode_chunk(chunk) for chunk in images.split(_CHUNK) if len(chunk)]
        return np.concatenate(rows) if rows else np.empty((0, self.card.dim), np.float32)

    def _encode_chunk(self, images: torch.Tensor) -> np.ndarray:
        half = torch.autocast(torch.device(self.device).type, torch.bfloat16, enabled=self.dtype == "bfloat16")
        # cuDNN would run the patch embedding in TF32 by default, and float32 here means float32
        exact = torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False)
        with torch.inference_mode(), exact, half:
            tokens = self.model(pixel_values=images.to(self.device)).last_hidden_state
        return np.asarray(tokens[:, 0].float().cpu().numpy())


def load_encoder(
    folder: str | Path,
    *,
    pos_interp: str = "scale_factor",
    dtype: str = "float32",
    size: int = 224,
    device: str = "auto",
) -> Encoder:
    """Load a DINOv2 network from a folder or the hub cache, never from the network, in evaluation mode.

    pos_interp  "scale_factor" as the authors' hub code, "size" as transformers
    dtype       "float32", or "bfloat16" (autocast)
    size        side in px of the images to come, a multiple of the patch
    device      "auto" (CUDA where there is one, else CPU), "cpu" or "cuda"

    Raises WeightsError where the weights are absent or do not fill the network exactly, ParameterError for a
    setting, BackendError for a device that is not there.
    """
    for name, value, known in (
        ("pos_interp", pos_interp, ("scale_factor", "size")),
        ("dtype", dtype, ("float32", "bfloat16")),
    ):
        if value not in known:
            raise ParameterError(f"{name} is one of {', '.join(known)}; got '{value}'")
    card = encoder_card(str(folder))
    if size < card.patch or size % card.patch:
        raise ParameterError(f"size must be a multiple of the patch of {card.patch} px; got {size}")
    device = resolve_device(device, dtype=dtype)
    path = find_weights(str(folder)).resolve()
    model = _model(path, card.sha256, card.config_sha256, pos_interp, size, device)
    return Encoder(card, model, size, pos_interp, dtype, device)


def resolve_device(wanted: str = "auto", *, dtype: str = "float32") -> str:
    """Return "cpu" or "cuda": only "auto" falls back, and what was chosen belongs into the record.

    Raises ParameterError for another name; BackendError for "cuda" where torch finds no device, and for dtype
    "bfloat16" on a CPU whose bfloat16 instructions crash.
    """
    if wanted not in ("auto", "cpu", "cuda"):
        raise ParameterError(f"device is one of auto, cpu, cuda; got '{wanted}'")
    if wanted == "cuda" and not torch.cuda.is_available():
        raise BackendError("device cuda cannot run: torch finds no CUDA device; use device auto or cpu")
    device = "cuda" if wanted != "cpu" and torch.cuda.is_available() else "cpu"
    if dtype == "bfloat16" and device == "cpu" and not _bfloat16_survives():
        raise BackendError(
            "dtype bfloat16 cannot run on this CPU: the instructions that it announces for it crash; "
            "use float32, or set ONEDNN_MAX_CPU_ISA=AVX512_CORE_BF16 before the start"
        )
    return device


def normalise(rgb8: np.ndarray) -> torch.Tensor:
    """Return (rgb / 255 - mean) / std with ImageNet's constants: (B, H, W, 3) uint8 -> (B, 3, H, W) float32."""
    images = torch.from_numpy(np.ascontiguousarray(rgb8.transpose(0, 3, 1, 2))).float().div(255)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
    return (images - mean) / std


def authors_position_table(table: torch.Tensor, *, grid: int) -> torch.Tensor:
    """Resample a position table as DINOv2's authors do: (1, 1 + M*M, D) float32 -> (1, 1 + grid*grid, D) float32.

    Bicubic (a = -0.75), no anti-aliasing, borders repeated; output i samples the input at

        (i + 0.5) / s - 0.5,   s = (grid + 0.1) / M

    The CLS row is kept, and a table of the right size is returned as it is.  Source: facebookresearch/dinov2,
    dinov2/models/vision_transformer.py, `interpolate_pos_encoding` (Oquab et al. 2023, arXiv 2304.07193).
    """
    side = math.isqrt(table.shape[1] - 1)
    if side == grid:
        return table
    patches = table[:, 1:].float().reshape(1, side, side, -1).permute(0, 3, 1, 2)
    scale = (grid + _OFFSET) / math.sqrt(table.shape[1] - 1)
    patches = torch.nn.functional.interpolate(patches, scale_factor=(scale, scale), mode="bicubic")
    return torch.cat((table[:, :1], patches.permute(0, 2, 3, 1).reshape(1, grid * grid, -1)), dim=1)


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
def _model(folder: Path, sha256: str, config_sha256: str, pos_interp: str, size: int, device: str) -> Any:
    """Load once for every dtype and view; the digests are part of the key so that changed files are read again."""
    from transformers import Dinov2Model

    try:
        with _quiet():
            model, report = Dinov2Model.from_pretrained(
                folder,
                local_files_only=True,
                use_safetensors=True,
                dtype=torch.float32,  # never the checkpoint's own: the precision is chosen at encode time
                attn_implementation="sdpa",
                output_loading_info=True,
            )
    except Exception as error:  # shapes, a damaged header, a bad configuration: each in its own class
        raise WeightsError(f"{folder} does not load as DINOv2 ({' '.join(str(error).split())[:200]})", _FIX) from None
    # transformers fills what is missing with random numbers and only warns: refused here
    absent = sorted(str(key) for key in report["missing_keys"])
    extra = sorted(key for key in map(str, report["unexpected_keys"]) if not key.startswith("classifier."))
    if absent or extra:
        keys = f"lacks {absent[0]}" if absent else f"holds {extra[0]}, which the network has no place for"
        raise WeightsError(f"{folder} is not the network that its config.json describes: it {keys}", _FIX)
    if pos_interp == "scale_factor":
        table = model.embeddings.position_embeddings.detach()
        grid = size // model.config.patch_size
        model.embeddings.position_embeddings = torch.nn.Parameter(authors_position_table(table, grid=grid))
    return model.eval().requires_grad_(False).to(device)


_FIX = "give a complete DINOv2 model without registers as --weights FOLDER"


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence transformers' progress bar and load report, and give both back: what matters is raised."""
    from transformers.utils import logging

    verbosity, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity(logging.CRITICAL)
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bar:
            logging.enable_progress_bar()
