"""The residual trunk: three kinds of noise maps and a small network that sees them at full resolution first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from fdetect.errors import ParameterError
from fdetect.nets.detectors.base import NetworkConfig, network

if TYPE_CHECKING:
    from fdetect.nets.detectors.model import DetectorNetwork

__all__ = ["BANKS", "NORMS", "ResidualTrunk"]

BANKS = ("few", "all")
NORMS = ("batch", "group", "channel")


@network
@dataclass(frozen=True)
class ResidualTrunk(NetworkConfig):
    """Residual trunk: (B, 3, H, W) RGB 0..1 -> (B,) logit, the mean of logits of 72 x 72 px; 0.6 million parameters.

        maps      NPR of R, G, B; SRM residuals of Y, Cb, Cr; HH of R, G, B; in grey levels, cut at `truncation`
        stem      3x3 convolution at full resolution, `width` channels
        stages    (halve by 2x2 means, residual block) three times: 1.5, 3 and 5 `width` channels

    bank        SRM kernels: few (6: second and third differences, squares of 3 and 5) or all (30)
    truncation  grey levels beyond which a residual says only that there is an edge
    norm        batch: over the batch and all places, fixed once trained; group: over places and 8 channels of a
                picture; channel: over the channels of a place, which knows neither batch nor size
    dropout     share of the embedding that is left out before the classifier, in training

    Made for few pictures: it cannot see what a picture shows, has few weights, and halves by means, which keep the
    energy of noise where strides and maxima alias it.  Ours; the maps are those of `npr`, `patchcraft` and `safe`.
    """

    RECIPE: ClassVar = {"rate": 1e-3, "decay": 0.01}

    bank: str = "few"
    truncation: float = 8.0
    width: int = 32
    norm: str = "batch"
    dropout: float = 0.3

    def __post_init__(self) -> None:
        for name, known in (("bank", BANKS), ("norm", NORMS)):
            if getattr(self, name) not in known:
                given = getattr(self, name)
                raise ParameterError(f"{self.architecture}: {name} is one of {', '.join(known)}; got {given!r}")
        self._check_number("truncation", above_zero=True)
        self._check_number("dropout")
        if self.dropout >= 1:
            raise ParameterError(f"{self.architecture}: dropout must be below 1, got {self.dropout!r}")
        self._check_whole("width", 16, 128)
        if self.width % 16:
            raise ParameterError(f"{self.architecture}: width must be a multiple of 16, got {self.width}")

    def model(self) -> DetectorNetwork:
        """Return the network with torch's first values."""
        from fdetect.nets.detectors.model import Convolutional
        from fdetect.nets.detectors.small_trunk import SmallTrunk
        from fdetect.nets.detectors.stems import FEW, Stacked

        stem = Stacked(FEW if self.bank == "few" else (), self.truncation)
        trunk = SmallTrunk(stem.channels, self.width, self.norm)
        return Convolutional(self, stem, trunk, trunk.dim, self.dropout)
