"""Multilayer perceptron on simple statistics of a fixed grid of cells: what can be told without a convolution."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from fdetect.errors import ParameterError
from fdetect.nets.detectors.base import NetworkConfig, network

if TYPE_CHECKING:
    from fdetect.nets.detectors.model import DetectorNetwork

__all__ = ["Mlp"]


@network
@dataclass(frozen=True)
class Mlp(NetworkConfig):
    """Multilayer perceptron on cell statistics: (B, 3, H, W) RGB 0..1 -> (B,) logit; 0.21 million parameters.

    The picture is cut into `grid` x `grid` cells of about equal size, whatever its sides; a cell gives nine numbers,
    for each colour

        m = (mean of x - 0.5) / 0.25,   d = log(mean of |x[.., j + 1] - x[.., j]| + 1/255) + 4,   and d of the columns

    whose constants bring photographs near mean 0 and deviation 1.  Then `layers` times relu(W v + b) of `width` numbers
    with dropout, and a linear classifier.  Source: the perceptron is the usual one (Rumelhart, Hinton, Williams 1986);
    the statistics are ours.
    """

    RECIPE: ClassVar = {"rate": 1e-3, "decay": 1e-2}

    grid: int = 8
    width: int = 256
    layers: int = 2
    dropout: float = 0.1

    def __post_init__(self) -> None:
        self._check_whole("grid", 1, 16)
        self._check_whole("width", 1, 4096)
        self._check_whole("layers", 1, 8)
        self._check_number("dropout")
        if self.dropout >= 1:
            raise ParameterError(f"{self.architecture}: dropout must be below 1, got {self.dropout}")

    def model(self) -> DetectorNetwork:
        """Return the network with torch's first values."""
        from fdetect.nets.detectors.cells import CellPerceptron

        return CellPerceptron(self, self.grid, self.width, self.layers, self.dropout)
