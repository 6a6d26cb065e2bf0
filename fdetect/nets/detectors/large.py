"""ResNeXt-101 and EfficientNet-B4: trunks that a detector's data cannot fill, so that they need pretrained weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from fdetect.errors import ParameterError, WeightsAbsent
from fdetect.nets.detectors.base import FromResnet, NetworkConfig, network

if TYPE_CHECKING:
    from fdetect.nets.detectors.model import DetectorNetwork

__all__ = ["EfficientnetB4", "Resnext101"]

_MOST = 4.0  # times the width and the depth of B0; B7 has 2 and 3.1


@dataclass(frozen=True)
class _Large(NetworkConfig):
    """A network that is not built without local weights, unless random first values are asked for by name.

    pretrained    a folder, a name of the weights home or a hub id; EXAMPLE is one that fits
    from_scratch  true: torch's first values, and `pretrained` empty
    """

    EXAMPLE: ClassVar[str]
    RECIPE: ClassVar = {"rate": 1e-4, "decay": 1e-2}

    pretrained: str = ""
    from_scratch: bool = False

    def _check_start(self) -> None:
        """Raise WeightsAbsent, before a value is drawn, where neither weights nor random values are asked for."""
        if self.pretrained or self.from_scratch:
            return
        ways = f"run `fdetect weights get {self.EXAMPLE}` and set pretrained={self.EXAMPLE}, or pretrained to a folder"
        raise WeightsAbsent(f"{self.architecture} needs pretrained weights and none are named",
                            f"{ways} with config.json and model.safetensors, or from_scratch=true")  # fmt: skip


@network
@dataclass(frozen=True)
class Resnext101(FromResnet, _Large):
    """ResNeXt-101 32x8d: (B, 3, H, W) RGB 0..1 -> (B,) logit; 86.74 million parameters; needs local weights.

    ResNet-101 whose 3x3 convolutions have 32 groups of 8, 16, 32 and 64 channels; ImageNet's mean and deviation.
    Tensors bear torchvision's or timm's names.
    Source: Xie, Girshick, Dollar, Tu, He 2017, arXiv 1611.05431, table 1 and section 4; 32x8d: Mahajan et al. 2018,
    arXiv 1805.00932.  Raises WeightsError where the weights are absent or are another network's.
    """

    EXAMPLE: ClassVar[str] = "timm/resnext101_32x8d.tv_in1k"

    def model(self) -> DetectorNetwork:
        """Return the network with torch's first values."""
        self._check_start()
        from fdetect.nets.detectors.model import Convolutional, Normalise
        from fdetect.nets.detectors.resnet import ResNet

        trunk = ResNet(3, (3, 4, 23, 3), (256, 512, 1024, 2048), groups=32, group_width=8)
        return Convolutional(self, Normalise(), trunk, trunk.dim)


@network
@dataclass(frozen=True)
class EfficientnetB4(_Large):
    """EfficientNet-B4: (B, 3, H, W) RGB 0..1 -> (B,) logit; 17.55 million parameters; needs local weights.

    transformers' network with channels times `width` and blocks times `depth`; ImageNet's mean and deviation (what the
    published preprocessing comes to, whose second division makes up for a square root).  A picture goes in at its own
    size, not at the 380 px of the paper.  The running means of batch norms move by 0.01 a step, which Keras calls a
    momentum of 0.99.

    Source: Tan, Le 2019, arXiv 1905.11946, tables 1 and 2 (B4: width 1.4, depth 1.8).  Raises WeightsError where the
    weights are absent or are another network's.
    """

    EXAMPLE: ClassVar[str] = "google/efficientnet-b4"

    width: float = 1.4
    depth: float = 1.8

    def __post_init__(self) -> None:
        for name in ("width", "depth"):
            self._check_number(name, above_zero=True)
            if getattr(self, name) > _MOST:
                raise ParameterError(f"{self.architecture}: {name} must be at most {_MOST}, got {getattr(self, name)}")

    def model(self) -> DetectorNetwork:
        """Return the network with torch's first values."""
        self._check_start()
        from fdetect.nets.detectors.towers import efficientnet

        return efficientnet(self, width=self.width, depth=self.depth)

    def pretrain(self, model: DetectorNetwork) -> None:
        """Fill the trunk with the weights that `pretrained` names."""
        if self.pretrained:
            from fdetect.nets.detectors.tower_weights import fill_tower

            same = ("width_coefficient", "depth_coefficient", "depthwise_padding", "batch_norm_eps", "hidden_act")
            fill_tower(model.get_submodule("trunk.tower"), self.pretrained, self.architecture, same=same)
