"""LPIPS on VGG16: a perceptual distance whose few weights were fitted to what people called alike."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.nn.functional import conv2d, max_pool2d

from fdetect.errors import ParameterError, WeightsError
from fdetect.nets.distances import IMPORT_LPIPS
from fdetect.nets.folders import one_line
from fdetect.nets.importing import Imported, importer
from fdetect.nets.memory import exact_float32
from fdetect.nets.weights import remove_first

__all__ = ["BLOCKS", "Lpips", "load_lpips", "lpips_importer"]

# Numbers of VGG16's convolutions in `features`, by block; a ReLU follows each, a 2 x 2 maximum stands between blocks.
BLOCKS = ((0, 2), (5, 7), (10, 12, 14), (17, 19, 21), (24, 26, 28))

_SHIFT, _SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)  # of RGB in -1..1, version 0.1
_EPSILON = 1e-10
_CLASSIFIER = ("classifier.",)  # VGG16's last layers, which LPIPS does not use


@dataclass(frozen=True, eq=False)
class Lpips:
    """Convolutions (weight, bias) by block, and one row of channel weights a block."""

    blocks: tuple[tuple[tuple[torch.Tensor, torch.Tensor], ...], ...]
    rows: tuple[torch.Tensor, ...]

    def __call__(self, x: torch.Tensor, y: torch.Tensor, *, layer: int = 0) -> torch.Tensor:
        """Return the distance of two (B, 3, H, W) float32 RGB 0..1 -> (B,) float64.

            d_l = mean over positions of sum_c w_lc (f_lc(x) / |f_l(x)| - f_lc(y) / |f_l(y)|)^2

        f_l are the features after block l = 1..5, |.| their norm over channels, w_l >= 0 the fitted weights; `layer`
        is l, or 0 for the sum of all five.  Nothing beyond the asked block is computed.  Pictures lie on the device of
        the weights.
        """
        if layer not in range(len(self.blocks) + 1):
            raise ParameterError(f"layer must be 0 (all) or 1..{len(self.blocks)}; got {layer}")
        shift, scale = (torch.tensor(values, device=x.device).view(1, 3, 1, 1) for values in (_SHIFT, _SCALE))
        hidden = (2 * torch.cat((x, y)) - 1 - shift) / scale
        total = torch.zeros(len(x), dtype=torch.float64, device=x.device)
        with torch.inference_mode(), exact_float32():
            for number, convolutions in enumerate(self.blocks[: layer or None], start=1):
                hidden = max_pool2d(hidden, 2) if number > 1 else hidden
                for weight, bias in convolutions:
                    hidden = conv2d(hidden, weight, bias, padding=1).relu_()
                if layer in (0, number):
                    unit = hidden / (torch.linalg.vector_norm(hidden, dim=1, keepdim=True) + _EPSILON)
                    squares = (unit[: len(x)] - unit[len(x) :]).square_()
                    weighted = squares * self.rows[number - 1].view(1, -1, 1, 1)
                    total += weighted.sum(dim=1, dtype=torch.float64).mean(dim=(1, 2))
        return total


def load_lpips(folder: Path, sha256: str, device: str = "cpu") -> Lpips:
    """Return the network that folder/model.safetensors holds, on a device; `sha256` is its digest: it is read once.

    Raises WeightsError where the file does not load or is not LPIPS on VGG16.
    """
    return _load(folder.resolve(), sha256, device)


@functools.lru_cache(maxsize=2)
def _load(folder: Path, sha256: str, device: str) -> Lpips:
    from safetensors.torch import load_file

    fix = remove_first(folder, IMPORT_LPIPS)
    try:
        state = load_file(folder / "model.safetensors")
    except Exception as error:  # a damaged header, a truncated file: each in its own class
        reason = one_line(error, folder, folder.name)
        raise WeightsError(f"{folder.name} does not load ({reason})", fix) from None
    network = _network(state, folder.name, fix)
    blocks = tuple(tuple((w.to(device), b.to(device)) for w, b in block) for block in network.blocks)
    return Lpips(blocks, tuple(row.to(device) for row in network.rows))


def _network(state: Mapping[str, torch.Tensor], name: str, fix: str = IMPORT_LPIPS) -> Lpips:
    """Check keys and shapes, and arrange the tensors; the shapes say how wide the blocks are."""
    wanted = {f"features.{k}.{part}" for block in BLOCKS for k in block for part in ("weight", "bias")}
    wanted |= {f"lin{k}.weight" for k in range(len(BLOCKS))}
    if odd := sorted(wanted ^ set(state)):
        verb = "lacks" if odd[0] in wanted else "holds"
        raise WeightsError(f"{name} is not LPIPS on VGG16: it {verb} {', '.join(odd[:3])}", fix)
    blocks, rows, channels = [], [], 3
    for number, block in enumerate(BLOCKS):
        for k in block:
            shape = tuple(state[f"features.{k}.weight"].shape)
            if shape[1:] != (channels, 3, 3) or tuple(state[f"features.{k}.bias"].shape) != shape[:1]:
                raise WeightsError(f"{name} is not LPIPS on VGG16: features.{k} has shape {shape}", fix)
            channels = shape[0]
        row = state[f"lin{number}.weight"]
        if row.numel() != channels or bool((row < 0).any()):
            raise WeightsError(
                f"{name} is not LPIPS on VGG16: lin{number} must hold {channels} weights, none negative", fix
            )
        blocks.append(tuple((state[f"features.{k}.weight"], state[f"features.{k}.bias"]) for k in block))
        rows.append(row.flatten())
    return Lpips(tuple(blocks), tuple(rows))


@importer(name="lpips-vgg")
def lpips_importer(vgg16: Mapping[str, torch.Tensor], weights: Mapping[str, torch.Tensor]) -> Imported:
    """LPIPS on VGG16 from torchvision's vgg16-397923af.pth and LPIPS' own weights/v0.1/vgg.pth, in this order.

    Source: github.com/pytorch/vision (BSD-3-Clause) and github.com/richzhang/PerceptualSimilarity (BSD-2-Clause).
    Raises WeightsError where a file is another network.
    """
    state = {key: tensor for key, tensor in vgg16.items() if not key.startswith(_CLASSIFIER)}
    state |= {key.replace(".model.1.", "."): tensor for key, tensor in weights.items()}
    _network(state, "the pair of files")
    return Imported(state, {"_class_name": "LPIPS", "net": "vgg16", "version": "0.1"})
