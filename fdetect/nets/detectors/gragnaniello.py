"""Gragnaniello's detector: a ResNet-50 that keeps the full resolution until its second stage."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from fdetect.nets.detectors.base import FromResnet, network

if TYPE_CHECKING:
    from fdetect.nets.detectors.model import DetectorNetwork

__all__ = ["Gragnaniello"]


@network
@dataclass(frozen=True)
class Gragnaniello(FromResnet):
    """Gragnaniello: (B, 3, H, W) RGB 0..1 -> (B,) logit; ResNet-50, strides 1 in the stem, 23.5 million parameters.

    Neither the first convolution nor the maximum after it halves the sides, so that 16 times as many places are
    computed as in ResNet-50; trained on crops of 96 px, tested on whole pictures.  `pretrained` as for `cnnspot`.
    Recipe: Adam, rate 1e-4.
    Source: Gragnaniello, Cozzolino, Marra, Poggi, Verdoliva 2021, arXiv 2104.02617; Corvi et al. 2023,
    arXiv 2211.00680, for its training on diffusion models.
    """

    RECIPE: ClassVar = {"optimiser": "adam", "rate": 1e-4, "decline": "constant", "decay": 0.0}

    pretrained: str = ""

    def model(self) -> DetectorNetwork:
        """Return the network with torch's first values."""
        from fdetect.nets.detectors.model import Convolutional, Normalise
        from fdetect.nets.detectors.resnet import ResNet

        trunk = ResNet(3, (3, 4, 6, 3), (256, 512, 1024, 2048), stem_stride=1, pool_stride=1)
        return Convolutional(self, Normalise(), trunk, trunk.dim)
