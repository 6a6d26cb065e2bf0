"""NPR-ResNet: the residual of nearest-neighbour resampling and a ResNet-50 that is cut after its second stage."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from fdetect.nets.detectors.base import NetworkConfig, network

if TYPE_CHECKING:
    from fdetect.nets.detectors.model import DetectorNetwork

__all__ = ["Npr"]


@network
@dataclass(frozen=True)
class Npr(NetworkConfig):
    """NPR-ResNet: (B, 3, H, W) RGB 0..1 -> (B,) logit; 1.44 million parameters.

        x' = (x - mean) / std,   map = (2 / 3) (x' - up(down(x'))),   down: every `factor`-th pixel, up: each repeated

    A side that is no multiple of the factor loses its last rows.  Recipe: Adam, rate 2e-4, times 0.9 every 10 epochs.
    Source: Tan, Zhao, Wei, Gu, Liu, Wei 2024, arXiv 2312.10461, equations 1 to 4, and the constants of its network.
    """

    RECIPE: ClassVar = {"optimiser": "adam", "rate": 2e-4, "decline": "step", "drop_every": 0.2, "decay": 0.0}

    factor: int = 2
    scale: float = 2 / 3

    def __post_init__(self) -> None:
        self._check_whole("factor", 2, 8)
        self._check_number("scale", above_zero=True)

    def model(self) -> DetectorNetwork:
        """Return the network with torch's first values."""
        from torch import nn

        from fdetect.nets.detectors.model import Convolutional, Normalise
        from fdetect.nets.detectors.resnet import ResNet
        from fdetect.nets.detectors.stems import Resampled

        trunk = ResNet(3, (3, 4), (256, 512), stem_kernel=3)
        stem = nn.Sequential(Normalise(), Resampled(self.factor, self.scale))
        return Convolutional(self, stem, trunk, trunk.dim)
