"""A smaller copy of the picture, and a network that enlarges it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from fdetect.nets.own.base import OwnConfig, generator

if TYPE_CHECKING:
    from fdetect.nets.own.blocks import OwnModel

__all__ = ["SuperResolution"]


@generator
@dataclass(frozen=True)
class SuperResolution(OwnConfig):
    """Autoencoder whose latent is the picture at 1/factor of its sides, and whose decoder is super-resolution:

    (B, 3, H, W) -> (B, 3, H / f, W / f) -> (B, 3, H, W)

        z = the means over cells of f x f px
        y[c, f i + u, f j + v] = z[c, i, j] + t[c f^2 + u f + v, i, j] for u, v in 0 ... f - 1

    t, of 3 f^2 channels, is a convolution of `blocks` residual blocks of `width` channels that see z, all at the small
    size.  Nothing is learned about the latent; what is finer than it is drawn in, as by the enlargers that generators
    end in and that photographs pass through.

    Parameters
    ----------
    width : int
        Channels, 1 to 1024.
    factor : int
        2 or 4.
    blocks : int
        1 to 64.

    Source: Shi et al. 2016, "Real-time single image and video super-resolution using an efficient sub-pixel
    convolutional neural network", arXiv 1609.05158, equations 3 and 4; residual blocks without norm: Lim et al. 2017,
    arXiv 1707.02921, figure 2.
    """

    FACTORS: ClassVar[tuple[int, ...]] = (2, 4)

    width: int = 48
    latent_channels: int = field(default=3, init=False)
    factor: int = 2
    blocks: int = 8

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_whole("blocks", 1, 64)

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of the one level."""
        return (self.width,)

    def model(self) -> OwnModel:
        """Return the network, its tensors not yet filled."""
        from torch import nn

        from fdetect.nets.own.blocks import OwnModel
        from fdetect.nets.own.enlarger import Enlarger

        return OwnModel(self, nn.AvgPool2d(self.factor), Enlarger(self.width, self.blocks, self.factor))
