"""The residual of a trained denoiser, DnCNN: a map that needs weights.  Torch is loaded when it is computed."""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fdetect.backend import namespace
from fdetect.errors import WeightsError
from fdetect.forensics.base import signal_map
from fdetect.forensics.kernels import engine_of
from fdetect.nets.folders import file_sha256, one_line
from fdetect.nets.weights import INSTALL_DEEP, remove_first, torch_missing, weights_home
from fdetect.types import Array

__all__ = ["WEIGHTS_VARIABLE", "arranged", "dncnn_residual", "load_dncnn"]

WEIGHTS_VARIABLE = "FDETECT_DNCNN"
_FIX = (
    "run `fdetect weights import dncnn_25.pth --as dncnn`, "
    f"or give a DnCNN as the setting weights=FILE.safetensors or as ${WEIGHTS_VARIABLE}"
)


def _weights_digest(*, weights: str = "") -> str:
    """Return what a cache key must hold of the weights: their SHA-256, or that there are none."""
    try:
        return file_sha256(_file(weights)[0])
    except WeightsError as error:
        return str(error)


@signal_map(weights=_weights_digest)
def dncnn_residual(luma: Array, *, weights: str = "") -> Array:
    """DnCNN residual: the noise that a trained denoiser finds in luma, which is what it would take away.

    (B, H, W) float32 -> (B, H, W) float32, in grey levels

        r = 255 W_L * h_(L-1) + b_L,   h_k = max(0, W_k * h_(k-1) + b_k),   h_0 = Y / 255

    L convolutions of 3 x 3 with zeros beyond the border; the published network has L = 17 and 64 channels, its batch
    norms merged into weights and biases.  `weights` names a safetensors file with the keys model.0.weight,
    model.0.bias, model.2.weight, ... (even numbers, as a sequence with ReLUs in between numbers them), whose shapes
    say L and the channels; empty takes the file that $FDETECT_DNCNN names, else `dncnn` of the weights home.

    Computed in float64, so that the result is the same float32 on every machine; in float32 it would be about six times
    as fast on a processor and off by 5e-5 grey levels, more than is allowed here.  NumPy and CuPy arrays go to Torch
    and back; a Torch array stays where it is.

    Source: Zhang, Zuo, Chen, Meng, Zhang 2017, "Beyond a Gaussian denoiser: residual learning of deep CNN for image
    denoising", IEEE Trans. Image Processing 26(7), arXiv 1608.03981, section III; as the residual in which generators
    leave their spectra: Corvi et al. 2023, arXiv 2304.06408.
    Raises WeightsError where the file is absent or is not such a network, or Torch is not installed.
    """
    if missing := torch_missing():
        raise WeightsError(f"dncnn_residual needs torch: {missing}", INSTALL_DEEP)
    import torch

    engine = engine_of(luma)
    layers = load_dncnn(weights)
    samples = torch.tensor(luma) if engine == "numpy" else luma if engine == "torch" else torch.from_dlpack(luma)
    hidden = samples.to(torch.float64)[:, None] / 255
    with torch.no_grad():
        for k, (weight, bias) in enumerate(layers):
            hidden = torch.relu(hidden) if k else hidden
            hidden = torch.nn.functional.conv2d(hidden, weight.to(hidden.device), bias.to(hidden.device), padding=1)
    residual = (hidden[:, 0] * 255).to(torch.float32)
    if engine == "torch":
        return residual
    return residual.numpy() if engine == "numpy" else namespace(luma).from_dlpack(residual)


def load_dncnn(weights: str = "") -> tuple[tuple[Any, Any], ...]:
    """Return the (weight, bias) pairs of a network as float64 Torch tensors, read once for each state of the file.

    `weights` and the errors raised are those of `dncnn_residual`.
    """
    path, name = _file(weights)
    status = path.stat()
    return _layers(path, name, status.st_mtime_ns, status.st_size)


def _file(weights: str) -> tuple[Path, str]:
    """Return the file, and what messages call it."""
    imported = weights_home() / "dncnn" / "model.safetensors"
    name = weights or os.environ.get(WEIGHTS_VARIABLE, "")
    if not name and imported.is_file():
        return imported, "the weights home's dncnn"
    if not name:
        where = f"${WEIGHTS_VARIABLE} is not set, and the weights home has no dncnn"
        raise WeightsError(f"dncnn_residual has no weights: {where}", _FIX)
    path = Path(name).expanduser()
    if not path.is_file():
        raise WeightsError(f"no weights file '{name}' for dncnn_residual", _FIX)
    if path.suffix != ".safetensors":
        raise WeightsError(f"'{name}' is not a safetensors file; a pickle is never read", _FIX)
    return path, name


@functools.lru_cache(maxsize=4)
def _layers(path: Path, name: str, mtime_ns: int, size: int) -> tuple[tuple[Any, Any], ...]:
    """Read and check a file; time and size are read by the caller, so that a changed file is read again."""
    from safetensors.torch import load_file

    fix = remove_first(path.parent, _FIX)
    try:
        state = load_file(path)
    except Exception as error:  # a damaged header, a truncated file: each in its own class
        raise WeightsError(f"{name} does not load ({one_line(error, path, name)})", fix) from None
    return arranged(state, name, fix)


def arranged(state: Mapping[str, Any], name: str, fix: str) -> tuple[tuple[Any, Any], ...]:
    """Return the (weight, bias) pairs of a grey DnCNN's tensors in float64; `name` is what the message calls them.

    Raises WeightsError with the key that is missing or has no place, or whose shape does not fit.
    """
    # two tensors a layer; a ReLU between two layers has a number and no tensor
    places = range(0, max(len(state), 1), 2)
    wanted = {f"model.{place}.{part}" for place in places for part in ("weight", "bias")}
    if odd := sorted(wanted ^ set(state)):
        raise WeightsError(f"{name} is not a DnCNN: it {'lacks' if odd[0] in wanted else 'holds'} {odd[0]}", fix)
    layers = tuple((state[f"model.{place}.weight"].double(), state[f"model.{place}.bias"].double()) for place in places)
    channels = 1
    for place, (weight, bias) in zip(places, layers, strict=True):
        width = 1 if place == places[-1] else bias.numel()
        if tuple(weight.shape) != (width, channels, 3, 3) or tuple(bias.shape) != (width,):
            shape = tuple(weight.shape)
            raise WeightsError(f"{name} is not a DnCNN: model.{place}.weight of shape {shape} does not fit", fix)
        channels = width
    return layers
