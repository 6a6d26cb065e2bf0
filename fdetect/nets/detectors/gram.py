"""Gram-Net: a ResNet-18 that also sees how its channels go together, at six depths."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from fdetect.nets.detectors.base import FromResnet, network

if TYPE_CHECKING:
    from fdetect.nets.detectors.model import DetectorNetwork

__all__ = ["GramNet"]


@network
@dataclass(frozen=True)
class GramNet(FromResnet):
    """Gram-Net: (B, 3, H, W) RGB 0..1 -> (B,) logit; ResNet-18 and six Gram blocks, 11.5 million parameters.

        G = A A^T / (c h w),   A (c, h w): `channels` c of a 3x3 convolution of the features at a depth

    of the standardised picture, of what the stem gives, and of the four stages: global texture, which changes little
    with size and blur.  Each G goes as a picture through two convolutions; their means join the last features.
    The widths after G are ours.  `pretrained` as for `cnnspot`, of a ResNet-18.  Recipe: ours, Adam, rate 1e-4.
    Source: Liu, Qi, Torr 2020, arXiv 2002.00133, section 4.
    """

    RECIPE: ClassVar = {"optimiser": "adam", "rate": 1e-4, "decline": "constant", "decay": 0.0}

    channels: int = 32
    pretrained: str = ""

    def __post_init__(self) -> None:
        self._check_whole("channels", 4, 128)

    def model(self) -> DetectorNetwork:
        """Return the network with torch's first values."""
        from fdetect.nets.detectors.gram_model import GramModel

        return GramModel(self)
