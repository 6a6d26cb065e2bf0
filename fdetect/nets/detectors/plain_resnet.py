"""ResNet-18 and ResNet-50 as they are, from scratch or from local pretrained weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from fdetect.nets.detectors.base import FromResnet, network

if TYPE_CHECKING:
    from fdetect.nets.detectors.model import DetectorNetwork

__all__ = ["Resnet18", "Resnet50"]


@dataclass(frozen=True)
class _PlainResnet(FromResnet):
    """A residual network whose stages are a subclass's: DEPTHS, WIDTHS, and whether the blocks are bottlenecks."""

    DEPTHS: ClassVar[tuple[int, ...]]
    WIDTHS: ClassVar[tuple[int, ...]]
    BOTTLENECK: ClassVar[bool]
    RECIPE: ClassVar = {"rate": 1e-3, "decay": 1e-2}

    pretrained: str = ""

    def model(self) -> DetectorNetwork:
        """Return the network with torch's first values."""
        from fdetect.nets.detectors.model import Convolutional, Normalise
        from fdetect.nets.detectors.resnet import ResNet

        trunk = ResNet(3, self.DEPTHS, self.WIDTHS, bottleneck=self.BOTTLENECK)
        return Convolutional(self, Normalise(), trunk, trunk.dim)


@network
@dataclass(frozen=True)
class Resnet18(_PlainResnet):
    """ResNet-18: (B, 3, H, W) RGB 0..1 -> (B,) logit; 11.18 million parameters.

    x' = (x - mean) / std with ImageNet's constants, the residual trunk, the mean over places, a linear classifier.

    pretrained  a folder, a name of the weights home or a hub id with torchvision's, timm's or transformers' names of
                tensors; empty: from scratch

    Source: He, Zhang, Ren, Sun 2016, arXiv 1512.03385, table 1.  Raises WeightsError where the weights named are absent
    or are another network's.
    """

    DEPTHS, WIDTHS, BOTTLENECK = (2, 2, 2, 2), (64, 128, 256, 512), False


@network
@dataclass(frozen=True)
class Resnet50(_PlainResnet):
    """ResNet-50: (B, 3, H, W) RGB 0..1 -> (B,) logit; 23.51 million parameters.

    As `resnet18`, with bottlenecks whose 3x3 convolution bears the stride.
    Source: He, Zhang, Ren, Sun 2016, arXiv 1512.03385, table 1.
    """

    DEPTHS, WIDTHS, BOTTLENECK = (3, 4, 6, 3), (256, 512, 1024, 2048), True
