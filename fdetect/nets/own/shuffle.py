"""Sub-pixel convolution, also called pixel shuffle."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fdetect.nets.own.base import OwnConfig, generator

__all__ = ["Shuffle"]


@generator
@dataclass(frozen=True)
class Shuffle(OwnConfig):
    """Autoencoder whose decoder lays four channels side by side as 2 x 2 pixels, as super-resolution does:

    (B, C, h, w) -> (B, C', 2 h, 2 w) at each doubling

        t = W * x + b, with 4 C' channels,   y[c', 2 i + u, 2 j + v] = t[4 c' + 2 u + v, i, j] for u, v in 0..1

    The four samples of a cell come from four convolutions of their own, 3 x 3 with zeros beyond the border, and begin
    unequal: a pattern of period 2 that training weakens.

    Source: Shi et al. 2016, "Real-time single image and video super-resolution using an efficient sub-pixel
    convolutional neural network", arXiv 1609.05158, equation 4; the pattern: Aitken et al. 2017, arXiv 1707.02937.
    """

    def up(self, inputs: int, outputs: int) -> Any:
        """Return the doubling step: (B, inputs, h, w) -> (B, outputs, 2 h, 2 w)."""
        from torch import nn

        return nn.Sequential(nn.Conv2d(inputs, 4 * outputs, 3, padding=1), nn.PixelShuffle(2))
