"""The network that most architectures share, its first tensors and its loss.

    encoder  conv, (block, conv of stride 2) for each halving, 2 blocks, conv
    decoder  conv, 2 blocks, (`config.up`, block) for each doubling, conv

Convolutions are 3 x 3 with zeros beyond the border.  There is no norm: a pixel depends on a neighbourhood and on
nothing else of the picture, so that the network is the same on small crops and on whole pictures, and a shift by
`factor` pixels shifts what it returns.
"""

from __future__ import annotations

import itertools
import math

import torch
from torch import nn
from torch.nn import functional

from fdetect.errors import ParameterError
from fdetect.nets.own.base import OwnConfig

__all__ = ["OwnModel", "Residual", "initialised", "reconstruction_loss"]

_SCALES = 3  # of the loss: full size, 1/2, 1/4
_BRANCH = 0.1  # times the deviation, in the last convolution of what is added to its input: it begins near 0


class Residual(nn.Module):  # type: ignore[misc]
    """A residual block: y = x + V * max(0, W * max(0, x) + b) + c."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.last = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the block's output: (B, C, h, w) -> (B, C, h, w)."""
        return x + self.last(torch.relu(self.first(torch.relu(x))))


class OwnModel(nn.Module):  # type: ignore[misc]
    """An autoencoder of `config`'s sizes; RGB in 0..1 on both sides, as 2 x - 1 inside.

    encoder, decoder  others than the shared ones: 2 x - 1 -> latent -> 2 x' - 1
    """

    def __init__(self, config: OwnConfig, encoder: nn.Module | None = None, decoder: nn.Module | None = None) -> None:
        super().__init__()
        self.config = config
        self.encoder = _encoder(config) if encoder is None else encoder
        self.decoder = _decoder(config) if decoder is None else decoder

    def encode(self, images: torch.Tensor) -> torch.Tensor:
        """Return the latent: (B, 3, H, W) RGB 0..1 -> (B, latent_channels, H / factor, W / factor).

        Raises ParameterError where a side is no multiple of `config.multiple`.
        """
        height, width = images.shape[-2:]
        multiple = self.config.multiple
        if not height or not width or height % multiple or width % multiple:
            name = self.config.architecture
            raise ParameterError(f"{name} takes sides that are multiples of {multiple} px; got {height} x {width}")
        return self.encoder(images * 2 - 1)

    def decode(self, latent: torch.Tensor) -> torch.Tensor:
        """Return the picture, not clamped: (B, latent_channels, h, w) -> (B, 3, factor h, factor w)."""
        # under autocast this would round a second time, to whole grey levels
        return self.decoder(latent).float() / 2 + 0.5

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the round trip, not clamped: (B, 3, H, W) RGB 0..1 -> the same shape."""
        return self.decode(self.encode(images))

    def loss(self, images: torch.Tensor) -> torch.Tensor:
        """Return what training minimises: (B, 3, H, W) RGB 0..1 -> scalar."""
        return reconstruction_loss(self(images), images)

    def stored(self) -> dict[str, torch.Tensor]:
        """Return the tensors that are kept when training is over: those of `config.model()`, which loading fills."""
        return dict(self.state_dict())


def _encoder(config: OwnConfig) -> nn.Module:
    widths = config.widths
    down: list[nn.Module] = [nn.Conv2d(3, widths[0], 3, padding=1)]
    for fine, coarse in itertools.pairwise(widths):
        down += [Residual(fine), nn.Conv2d(fine, coarse, 3, stride=2, padding=1)]
    last = nn.Conv2d(widths[-1], config.latent_channels, 3, padding=1)
    return nn.Sequential(*down, Residual(widths[-1]), Residual(widths[-1]), last)


def _decoder(config: OwnConfig) -> nn.Module:
    widths = config.widths
    first = nn.Conv2d(config.latent_channels, widths[-1], 3, padding=1)
    up: list[nn.Module] = [first, Residual(widths[-1]), Residual(widths[-1])]
    for coarse, fine in zip(widths[:0:-1], widths[-2::-1], strict=True):
        up += [config.up(coarse, fine), Residual(fine)]
    return nn.Sequential(*up, nn.Conv2d(widths[0], 3, 3, padding=1))


def reconstruction_loss(again: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
    """Return how far a reconstruction is from its picture, values and slopes at three scales, as a scalar.

    again, images  (B, 3, H, W) of one shape, sides from 2 px

        loss = mean over s = 0..2 of
               mean |d_s(i, j)| + mean |d_s(i + 1, j) - d_s(i, j)| + mean |d_s(i, j + 1) - d_s(i, j)|

    with d = again - images, of which d_s is the mean over cells of 2^s x 2^s pixels; scales at which a side would be
    below 2 px are left out.  Absolute values keep edges that squares would blur; slopes weigh what is fine, coarse
    scales a drift of colour.
    """
    difference = again - images
    parts = []
    for scale in range(_SCALES):
        if scale:
            difference = functional.avg_pool2d(difference, 2)
        if min(difference.shape[-2:]) < 2:
            break
        rows, columns = difference.diff(dim=-2), difference.diff(dim=-1)
        parts.append(difference.abs().mean() + rows.abs().mean() + columns.abs().mean())
    return torch.stack(parts).mean()


def initialised(config: OwnConfig, seed: int) -> OwnModel:
    """Return the network of `config` with the tensors of `seed`; see `fdetect.nets.own.base.build`."""
    with torch.device("meta"):  # where torch's own first values would cost draws of the global generator
        model = config.training_model()
    model.to_empty(device="cpu")
    draws = torch.Generator().manual_seed(seed)
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            # a transposed convolution of stride 2 spreads its taps over 4 output samples
            inputs = module.in_channels * math.prod(module.kernel_size)
            fan_in = inputs / math.prod(module.stride) if isinstance(module, nn.ConvTranspose2d) else inputs
            deviation = math.sqrt(1 / fan_in) * (_BRANCH if name.endswith(".last") else 1)
            with torch.no_grad():
                module.weight.normal_(0, deviation, generator=draws)
                module.bias.zero_()
        elif reset := getattr(module, "reset", None):
            reset(draws)
    return model
