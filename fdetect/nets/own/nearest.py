"""Nearest-neighbour up-sampling followed by a convolution."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fdetect.nets.own.base import OwnConfig, generator

__all__ = ["Nearest"]


@generator
@dataclass(frozen=True)
class Nearest(OwnConfig):
    """Autoencoder whose decoder repeats each sample and convolves, as latent diffusion's does:

    (B, C, h, w) -> (B, C', 2 h, 2 w) at each doubling

        y[c', i, j] = b[c'] + sum over c, u, v in -1..1 of W[c', c, u, v] x[c, floor((i + u) / 2), floor((j + v) / 2)]

    with zeros beyond the border.  Every output sample is weighted alike, so that no checkerboard is built in; what the
    repetition mirrors about half the sampling rate, the convolution has to take away, and does not quite.

    Source: Odena, Dumoulin, Olah 2016, "Deconvolution and checkerboard artifacts", Distill, which proposes it; the
    spectrum that it leaves: Zhang, Karaman, Chang 2019, arXiv 1907.06515, section III.
    """

    def up(self, inputs: int, outputs: int) -> Any:
        """Return the doubling step: (B, inputs, h, w) -> (B, outputs, 2 h, 2 w)."""
        from torch import nn

        return nn.Sequential(nn.Upsample(scale_factor=2, mode="nearest"), nn.Conv2d(inputs, outputs, 3, padding=1))
