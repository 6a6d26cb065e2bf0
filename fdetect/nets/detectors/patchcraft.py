"""PatchCraft: how the noise of the poorest patches differs from that of the richest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from fdetect.nets.detectors.base import NetworkConfig, network

if TYPE_CHECKING:
    from fdetect.nets.detectors.model import DetectorNetwork

__all__ = ["PatchCraft"]


@network(name="patchcraft")
@dataclass(frozen=True)
class PatchCraft(NetworkConfig):
    """PatchCraft: (B, 3, H, W) RGB 0..1 -> (B,) logit; two branches that share their weights, 0.12 million parameters.

        diversity = sum over pixels and colours of |dx| + |dy| + |d\\| + |d/|  in a patch of 32 x 32 px
        map = [the n poorest patches | the n richest], each set to a square picture
        logit = CNN(f(poor) - f(rich)),   f = hardtanh5(norm(conv3x3(30 SRM residuals of each colour)))

    Its authors draw 192 patches at random and take n = 64 of either kind.  Here patches stand on the full grid of step
    `step` (225 of them in 256 x 256 px), so that a picture has one score, and n is a third of their number, at most
    64, rounded down to a square: 16 of 49 patches at 128 px, one of 9 at 64 px.  Ties go to the first in reading order.
    Recipe: ours, Adam, rate 1e-4.
    Source: Zhong, Xu, Li, Qian, Zhang 2023, arXiv 2311.12397; depths of the CNN are ours.
    """

    RECIPE: ClassVar = {"optimiser": "adam", "rate": 1e-4, "decline": "constant", "decay": 0.0}
    LEAST: ClassVar[int] = 64

    step: int = 16

    def __post_init__(self) -> None:
        self._check_whole("step", 4, 16)

    def model(self) -> DetectorNetwork:
        """Return the network with torch's first values."""
        from fdetect.nets.detectors.patchcraft_model import PatchCraftModel

        return PatchCraftModel(self)
