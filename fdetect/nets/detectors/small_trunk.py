"""The trunk of `residual_trunk`: residual blocks between means of 2 x 2 places, with a norm of choice.

Source: Wu and He 2018, arXiv 1803.08494, for norms of groups; Liu et al. 2022, arXiv 2201.03545, section 2.6, for a
norm over the channels of each place; Zhang 2019, arXiv 1904.11486, for halving after a low-pass.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from fdetect.nets.detectors.resnet import initialise

__all__ = ["ChannelNorm", "SmallTrunk"]


class SmallTrunk(nn.Sequential):  # type: ignore[misc]
    """(B, inputs, H, W) -> (B, 5 width, H // 8, W // 8)."""

    def __init__(self, inputs: int, width: int, norm: str) -> None:
        widths = (width * 3 // 2, width * 3, width * 5)
        layers: list[nn.Module] = [*_conv(inputs, width, 3, norm), nn.ReLU(inplace=True)]
        for before, after in zip((width, *widths[:-1]), widths, strict=True):
            layers += [nn.AvgPool2d(2), _Block(before, after, norm)]
        super().__init__(*layers)
        self.dim = widths[-1]
        initialise(self)


class ChannelNorm(nn.Module):  # type: ignore[misc]
    """Standardise the channels of each place, then scale and shift by channel: (B, C, H, W) -> the same shape."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (x - mean) / sqrt(variance + 1e-5) over channels, scaled and shifted."""
        return functional.layer_norm(x.movedim(1, -1), x.shape[1:2], self.weight, self.bias).movedim(-1, 1)


class _Block(nn.Module):  # type: ignore[misc]
    """relu(two 3x3 convolutions of x + one 1x1 of x): (B, inputs, H, W) -> (B, outputs, H, W)."""

    def __init__(self, inputs: int, outputs: int, norm: str) -> None:
        super().__init__()
        middle = (nn.ReLU(inplace=True), *_conv(outputs, outputs, 3, norm))
        self.branch = nn.Sequential(*_conv(inputs, outputs, 3, norm), *middle)
        self.shortcut = nn.Sequential(*_conv(inputs, outputs, 1, norm))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the activated sum."""
        return torch.relu(self.branch(x) + self.shortcut(x))


def _conv(inputs: int, outputs: int, kernel: int, norm: str) -> tuple[nn.Module, nn.Module]:
    made = {"batch": nn.BatchNorm2d, "group": _groups, "channel": ChannelNorm}[norm](outputs)
    return nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=norm == "channel"), made


def _groups(channels: int) -> nn.Module:
    return nn.GroupNorm(channels // 8, channels)
