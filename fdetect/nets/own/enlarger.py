"""The decoder of `super_resolution`."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from fdetect.nets.own.blocks import Residual

__all__ = ["Enlarger"]


class Enlarger(nn.Module):  # type: ignore[misc]
    """Convolution, residual blocks, convolution and pixel shuffle; each pixel's own copies are added to what they give.

    The last convolution begins near 0, so that training begins at nearest-neighbour enlargement.
    """

    def __init__(self, width: int, blocks: int, factor: int) -> None:
        super().__init__()
        self.factor = factor
        self.first = nn.Conv2d(3, width, 3, padding=1)
        self.blocks = nn.Sequential(*(Residual(width) for _ in range(blocks)))
        self.last = nn.Conv2d(width, 3 * factor**2, 3, padding=1)

    def forward(self, small: torch.Tensor) -> torch.Tensor:
        """Return the enlarged picture: (B, 3, h, w) -> (B, 3, factor h, factor w)."""
        finer = functional.pixel_shuffle(self.last(torch.relu(self.blocks(self.first(small)))), self.factor)
        return functional.interpolate(small, scale_factor=self.factor, mode="nearest") + finer
