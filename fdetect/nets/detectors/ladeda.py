"""LaDeDa and Tiny-LaDeDa: a logit for every small patch, and the picture's as their mean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from fdetect.errors import ParameterError
from fdetect.nets.detectors.base import NetworkConfig, network

if TYPE_CHECKING:
    from fdetect.nets.detectors.model import DetectorNetwork

__all__ = ["STEMS", "LaDeDa", "TinyLaDeDa"]

STEMS = ("npr", "right_diag", "raw")
RIGHT_DIAGONAL = ((-2.0, -1.0, 0.0), (-1.0, 0.0, 1.0), (0.0, 1.0, 2.0))


@dataclass(frozen=True)
class _Local(NetworkConfig):
    """What both have: a stem by its name, after ImageNet's mean and deviation; recipe: Adam, rate 2e-4."""

    RECIPE: ClassVar = {"optimiser": "adam", "rate": 2e-4, "decline": "step", "decay": 0.0}

    stem: str = "npr"

    def __post_init__(self) -> None:
        if self.stem not in STEMS:
            raise ParameterError(f"{self.architecture}: stem is one of {', '.join(STEMS)}; got {self.stem!r}")

    def model(self) -> DetectorNetwork:
        """Return the network with torch's first values."""
        from torch import nn

        from fdetect.nets.detectors.local import LocalResNet, TinyTrunk
        from fdetect.nets.detectors.model import Convolutional, Normalise
        from fdetect.nets.detectors.stems import Filtered, Resampled

        view = {"npr": Resampled(), "right_diag": Filtered(RIGHT_DIAGONAL), "raw": nn.Identity()}[self.stem]
        trunk = LocalResNet() if isinstance(self, LaDeDa) else TinyTrunk()
        return Convolutional(self, nn.Sequential(Normalise(), view), trunk, trunk.dim)


@network(name="ladeda")
@dataclass(frozen=True)
class LaDeDa(_Local):
    """LaDeDa: (B, 3, H, W) RGB 0..1 -> (B,) logit, the mean of logits of 9 x 9 px; 13.6 million parameters.

        x' = (x - mean) / std,   map = x' - up2(down2(x'))  (stem `npr`, without the factor 2/3 of NPR)

    `right_diag` correlates x' with ((-2, -1, 0), (-1, 0, 1), (0, 1, 2)); `raw` is x'.
    Source: Cavia, Horwitz, Reiss, Hoshen 2024, arXiv 2406.07398; Brendel and Bethge 2019 (BagNet), arXiv
    1904.00760, for the trunk.
    """


@network(name="tiny_ladeda")
@dataclass(frozen=True)
class TinyLaDeDa(_Local):
    """Tiny-LaDeDa: (B, 3, H, W) RGB 0..1 -> (B,) logit; 1,297 parameters.

    Stems as for `ladeda`; which one the published weights were trained with is not settled, so that it is named with
    every figure.  Its authors distil it from LaDeDa; trained alone it is another detector of the same form.
    Source: Cavia, Horwitz, Reiss, Hoshen 2024, arXiv 2406.07398.
    """
