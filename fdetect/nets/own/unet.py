"""A small U-shaped network at full size: what is fine passes straight across, what is coarse goes the long way."""

from __future__ import annotations

import itertools

import torch
from torch import nn

from fdetect.nets.own.blocks import Residual

__all__ = ["UNet"]


class UNet(nn.Module):  # type: ignore[misc]
    """Picture-like planes to others of the same size, sides multiples of 2^(levels - 1).

        first    conv
        down     (block, conv of stride 2) for each halving; what comes before the stride is kept
        middle   2 blocks
        up       (nearest neighbour twice the sides, conv, plus what was kept, block) for each doubling
        last     conv of max(0, x), begun near 0

    Source: Ronneberger, Fischer, Brox 2015, "U-Net", arXiv 1505.04597, figure 1, with sums where it has concatenation.
    """

    def __init__(self, inputs: int, outputs: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        pairs = list(itertools.pairwise(widths))
        self.first = nn.Conv2d(inputs, widths[0], 3, padding=1)
        self.before = nn.ModuleList(Residual(fine) for fine, _ in pairs)
        self.down = nn.ModuleList(nn.Conv2d(fine, coarse, 3, stride=2, padding=1) for fine, coarse in pairs)
        self.middle = nn.Sequential(Residual(widths[-1]), Residual(widths[-1]))
        self.up = nn.ModuleList(
            nn.Sequential(nn.Upsample(scale_factor=2, mode="nearest"), nn.Conv2d(coarse, fine, 3, padding=1))
            for fine, coarse in pairs
        )
        self.after = nn.ModuleList(Residual(fine) for fine, _ in pairs)
        self.last = nn.Conv2d(widths[0], outputs, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the planes: (B, inputs, H, W) -> (B, outputs, H, W)."""
        x, kept = self.first(x), []
        for block, down in zip(self.before, self.down, strict=True):
            kept.append(block(x))
            x = down(kept[-1])
        x = self.middle(x)
        for k in range(len(kept) - 1, -1, -1):
            x = self.after[k](self.up[k](x) + kept[k])
        return self.last(torch.relu(x))
