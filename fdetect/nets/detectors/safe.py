"""SAFE: the finest diagonal wavelet band and the trunk of NPR-ResNet, on pictures that are cut and never resized."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from fdetect.nets.detectors.base import NetworkConfig, network

if TYPE_CHECKING:
    from fdetect.nets.detectors.model import DetectorNetwork

__all__ = ["Safe"]


@network
@dataclass(frozen=True)
class Safe(NetworkConfig):
    """SAFE: (B, 3, H, W) RGB 0..1 -> (B,) logit; 1.44 million parameters.

        map = enlarge(HH(x), H x W),   HH: bior1.3, one level, mirrored borders; bilinear

    Pictures are not standardised.  Masking, rotation and colour belong to its augmentation.  Its authors have two
    logits; ours is the second minus the first, on which their softmax depends alone.  Recipe: AdamW, decay 0.01, one
    epoch of warm-up of 20; their base rate of 1e-2, taken as is usual for 256 pictures a step, is 1.25e-3 for 32.
    Source: Li, Cai, Hao, Jiang, Hu, Feng 2024, arXiv 2408.06741, and the constants of its network.
    """

    RECIPE: ClassVar = {"rate": 1.25e-3, "decay": 0.01, "warm_up": 0.05}

    def model(self) -> DetectorNetwork:
        """Return the network with torch's first values."""
        from fdetect.nets.detectors.model import Convolutional
        from fdetect.nets.detectors.resnet import ResNet
        from fdetect.nets.detectors.stems import WaveletBand

        trunk = ResNet(3, (3, 4), (256, 512), stem_kernel=3)
        return Convolutional(self, WaveletBand(), trunk, trunk.dim)
