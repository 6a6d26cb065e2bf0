"""CNNSpot: a ResNet-50 on the picture itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from fdetect.nets.detectors.base import FromResnet, network

if TYPE_CHECKING:
    from fdetect.nets.detectors.model import DetectorNetwork

__all__ = ["CnnSpot"]


@network(name="cnnspot")
@dataclass(frozen=True)
class CnnSpot(FromResnet):
    """CNNSpot: (B, 3, H, W) RGB 0..1 -> (B,) logit; ResNet-50 with ImageNet's mean and deviation, 23.5 million.

    Its authors start from ImageNet weights: `pretrained` names a folder of them, or a name of the weights home;
    empty starts from scratch, which on few pictures is a weaker detector than theirs.  Recipe: Adam, rate 1e-4.
    Source: Wang, Wang, Zhang, Owens, Efros 2020, arXiv 1912.11035, section 4.1.
    """

    RECIPE: ClassVar = {"optimiser": "adam", "rate": 1e-4, "decline": "constant", "decay": 0.0}

    pretrained: str = ""

    def model(self) -> DetectorNetwork:
        """Return the network with torch's first values."""
        from fdetect.nets.detectors.model import Convolutional, Normalise
        from fdetect.nets.detectors.resnet import ResNet

        trunk = ResNet(3, (3, 4, 6, 3), (256, 512, 1024, 2048))
        return Convolutional(self, Normalise(), trunk, trunk.dim)
