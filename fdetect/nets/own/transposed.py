"""Transposed convolution."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fdetect.errors import ParameterError
from fdetect.nets.own.base import OwnConfig, generator

__all__ = ["Transposed"]


@generator
@dataclass(frozen=True)
class Transposed(OwnConfig):
    """Autoencoder whose decoder doubles the sides by transposed convolutions, as the first GANs did:

    (B, C, h, w) -> (B, C', 2 h, 2 w) at each doubling

        y[c', i, j] = b[c'] + sum over c, p, q of x[c, p, q] W[c, c', i + 1 - 2 p, j + 1 - 2 q]

    over those p, q for which W, of `kernel` x `kernel` taps, has such an element.  With 4 taps 2 x 2 input samples
    reach every output sample; with 3 it is 1, 2 or 4 by the parity of i and j, which is a checkerboard from the start.

    Parameters
    ----------
    kernel : int
        3 or 4.
    width, latent_channels, factor : int
        See `fdetect.nets.own.base.OwnConfig`.

    Source: Radford, Metz, Chintala 2016, arXiv 1511.06434, figure 1; the checkerboards: Odena, Dumoulin, Olah 2016,
    "Deconvolution and checkerboard artifacts", Distill.
    """

    kernel: int = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        if type(self.kernel) is not int or self.kernel not in (3, 4):
            raise ParameterError(f"{self.architecture}: kernel must be 3 or 4, got {self.kernel!r}")

    def up(self, inputs: int, outputs: int) -> Any:
        """Return the doubling step: (B, inputs, h, w) -> (B, outputs, 2 h, 2 w)."""
        from torch import nn

        # 3 taps leave the last row and column without a sample of their own: one is added
        return nn.ConvTranspose2d(inputs, outputs, self.kernel, stride=2, padding=1, output_padding=4 - self.kernel)
