"""CBAM-ResNet: ResNet-18 whose residual branches pass channel attention, then spatial attention."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from fdetect.errors import ParameterError
from fdetect.nets.detectors.base import NetworkConfig, network

if TYPE_CHECKING:
    from fdetect.nets.detectors.model import DetectorNetwork

__all__ = ["CbamResnet"]


@network
@dataclass(frozen=True)
class CbamResnet(NetworkConfig):
    """ResNet-18 with CBAM in every block: (B, 3, H, W) RGB 0..1 -> (B,) logit; 11.27 million parameters.

    The attention stands at the end of each residual branch, before the sum; see
    `fdetect.nets.detectors.attention.Cbam` for its formula.

    reduction  channels of a block for each unit of the channel attention's hidden layer; divides 64
    kernel     side of the spatial attention's filter, odd

    Source: Woo, Park, Lee, Kweon 2018, arXiv 1807.06521, equations 1 to 3 and figure 3, with its reduction
    of 16 and its filter of 7 x 7.
    """

    RECIPE: ClassVar = {"rate": 1e-3, "decay": 1e-2}

    reduction: int = 16
    kernel: int = 7

    def __post_init__(self) -> None:
        self._check_whole("reduction", 1, 64)
        self._check_whole("kernel", 1, 15)
        if 64 % self.reduction:
            raise ParameterError(f"{self.architecture}: reduction must divide 64, got {self.reduction}")
        if self.kernel % 2 == 0:
            raise ParameterError(f"{self.architecture}: kernel must be odd, got {self.kernel}")

    def model(self) -> DetectorNetwork:
        """Return the network with torch's first values."""
        from fdetect.nets.detectors.attention import Cbam
        from fdetect.nets.detectors.model import Convolutional, Normalise
        from fdetect.nets.detectors.resnet import ResNet

        trunk = ResNet(3, (2, 2, 2, 2), (64, 128, 256, 512), bottleneck=False,
                       attention=lambda channels: Cbam(channels, self.reduction, self.kernel))  # fmt: skip
        return Convolutional(self, Normalise(), trunk, trunk.dim)
