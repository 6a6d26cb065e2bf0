"""LeNet-like network: LeNet-5's layers on colour, laid over a picture of any size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from fdetect.nets.detectors.base import NetworkConfig, network

if TYPE_CHECKING:
    from fdetect.nets.detectors.model import DetectorNetwork

__all__ = ["Lenet"]


@network
@dataclass(frozen=True)
class Lenet(NetworkConfig):
    """LeNet-like network: (B, 3, H, W) RGB 0..1 -> (B,) logit; 61 thousand parameters.

        5x5 to 6, tanh, mean 2x2;  5x5 to 16, tanh, mean 2x2;  5x5 to 120, tanh;  1x1 to 84, tanh;  mean; linear

    all channels times `width`.  A picture of 32 px has one place after the third convolution, as LeNet-5's has; larger
    ones have more, and the classifier sees their mean.  Unlike there, the second convolution is fully connected, the
    mean over 2x2 has no weights, and one linear unit stands where ten radial ones stood.
    Source: LeCun, Bottou, Bengio, Haffner 1998, "Gradient-based learning applied to document recognition",
    section II.B.
    """

    RECIPE: ClassVar = {"rate": 2e-3}

    width: int = 1

    def __post_init__(self) -> None:
        self._check_whole("width", 1, 64)

    def model(self) -> DetectorNetwork:
        """Return the network with torch's first values."""
        from torch import nn

        from fdetect.nets.detectors.model import Convolutional, Normalise

        first, second, third, last = (self.width * channels for channels in (6, 16, 120, 84))
        trunk = nn.Sequential(
            nn.Conv2d(3, first, 5), nn.Tanh(), nn.AvgPool2d(2),
            nn.Conv2d(first, second, 5), nn.Tanh(), nn.AvgPool2d(2),
            nn.Conv2d(second, third, 5), nn.Tanh(),
            nn.Conv2d(third, last, 1), nn.Tanh(),
        )  # fmt: skip
        return Convolutional(self, Normalise(), trunk, last)
