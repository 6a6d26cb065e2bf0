"""TAEF2, a tiny autoencoder in the latent space of FLUX.2: 8 x 8 pixels become one position of 32 channels.

    encoder  conv, block, (down, 3 blocks) x 3 of which the last three pool, conv
    decoder  clamp, conv, ReLU, 3 pooling blocks, (up, conv, blocks) x 3 with 3, 3 and 1 blocks, conv

Every convolution is 3 x 3 with zeros beyond the border and keeps the width of 64 channels, but for the first and the
last of each half.  Pixels are RGB in 0..1 on both sides.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from fdetect.errors import WeightsError
from fdetect.nets.autoencoder_cards import IMPORT_TAEF2
from fdetect.nets.folders import check_tensors
from fdetect.nets.importing import Imported, importer

__all__ = ["TAEF2", "load_taef2", "taef2_importer"]

_GROUPS = 4  # of the pooling branch's group norm; no tensor says so, the authors' latents do


class TAEF2(nn.Module):  # type: ignore[misc]
    """The two halves; `width` channels inside, `pooled` in the pooling branches, `latent` between the halves."""

    def __init__(self, width: int = 64, pooled: int = 256, latent: int = 32) -> None:
        super().__init__()

        def blocks(count: int, pooled: int = 0) -> list[nn.Module]:
            return [_Block(width, pooled) for _ in range(count)]

        def down() -> nn.Module:
            return _conv(width, width, stride=2, bias=False)

        def up() -> list[nn.Module]:
            return [nn.Upsample(scale_factor=2, mode="nearest"), _conv(width, width, bias=False)]

        # a module's place in its list is its number in the authors' files
        self.encoder = nn.Sequential(
            _conv(3, width), *blocks(1), down(), *blocks(3), down(), *blocks(3), down(), *blocks(3, pooled),
            _conv(width, latent),
        )  # fmt: skip
        self.decoder = nn.Sequential(
            _Clamp(), _conv(latent, width), nn.ReLU(inplace=True), *blocks(3, pooled),
            *up(), *blocks(3), *up(), *blocks(3), *up(), *blocks(1), _conv(width, 3),
        )  # fmt: skip

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the round trip, not clamped: (B, 3, H, W) float32 RGB 0..1 -> the same shape, sides multiples of 8."""
        return self.decoder(self.encoder(images.contiguous(memory_format=torch.channels_last)))


class _Block(nn.Module):  # type: ignore[misc]
    """Three convolutions beside the identity: y = max(0, C(x') + x'), where x' = x + P(x) in a pooling block.

    P is a 1 x 1 convolution, a group norm, ReLU and a 1 x 1 convolution back: the norm's mean and variance are those of
    the whole picture, so that a pooling block sees all of it.
    """

    def __init__(self, width: int, pooled: int = 0) -> None:
        super().__init__()
        relu = nn.ReLU(inplace=True)
        self.conv = nn.Sequential(_conv(width, width), relu, _conv(width, width), relu, _conv(width, width))
        self.pool = None
        if pooled:
            narrow, wide = (nn.Conv2d(a, b, 1, bias=False) for a, b in ((pooled, width), (width, pooled)))
            self.pool = nn.Sequential(wide, nn.GroupNorm(_GROUPS, pooled), relu, narrow)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the block's output: (B, C, h, w) -> (B, C, h, w)."""
        if self.pool is not None:
            x = x + self.pool(x)
        return self.conv(x).add_(x).relu_()


class _Clamp(nn.Module):  # type: ignore[misc]
    """Latents softly held within -3..3."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return 3 tanh(x / 3)."""
        return torch.tanh(x / 3) * 3


def _conv(inputs: int, outputs: int, *, stride: int = 1, bias: bool = True) -> nn.Module:
    return nn.Conv2d(inputs, outputs, 3, padding=1, stride=stride, bias=bias)


def load_taef2(state: Mapping[str, torch.Tensor], name: str = "this state", fix: str = IMPORT_TAEF2) -> TAEF2:
    """Return the network that the tensors fill exactly, in float32; their shapes say its widths.

    Keys are encoder.N... and decoder.N... with the authors' numbers.  Raises WeightsError, with the keys, where a
    tensor is missing, left over or of another shape; `name` is what the message calls the weights.
    """
    try:
        latent, width = state["encoder.14.weight"].shape[:2]
        with torch.device("meta"):
            model = TAEF2(width, len(state["encoder.11.pool.0.weight"]), latent)
    except (KeyError, TypeError, ValueError):  # no such tensor, too few axes, or a width that the groups do not divide
        why = "it lacks encoder.14.weight or encoder.11.pool.0.weight, or these have shapes that do not fit"
        raise WeightsError(f"{name} is not a TAEF2: {why}", fix) from None
    check_tensors(model.state_dict(), state, name, fix, kind="a TAEF2")
    model.load_state_dict({key: tensor.float() for key, tensor in state.items()}, assign=True)
    # channels last is what a processor's convolutions want: a sixth less time at 224 px
    fast: TAEF2 = model.to(memory_format=torch.channels_last).eval().requires_grad_(False)
    return fast


@importer(name="taef2")
def taef2_importer(encoder: Mapping[str, torch.Tensor], decoder: Mapping[str, torch.Tensor]) -> Imported:
    """TAEF2 from the authors' taef2_encoder.pth and taef2_decoder.pth, in this order (MIT).

    Source: github.com/madebyollin/taesd.  Raises WeightsError where a file is another network.
    """
    state = {f"encoder.{key}": tensor for key, tensor in encoder.items()}
    state |= {f"decoder.{key}": tensor for key, tensor in decoder.items()}
    load_taef2(state, "the pair of files")
    width, latent = len(state["encoder.0.weight"]), len(state["encoder.14.weight"])
    return Imported(state, {"_class_name": "TAEF2", "latent_channels": latent, "width": width})
