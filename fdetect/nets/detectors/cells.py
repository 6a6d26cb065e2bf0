"""Simple statistics of a grid of cells, and a perceptron on them: the modules behind `mlp`."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.functional import adaptive_avg_pool2d

from fdetect.nets.detectors.base import NetworkConfig
from fdetect.nets.detectors.model import DetectorNetwork, exact

__all__ = ["CellPerceptron", "CellStatistics"]


class CellStatistics(nn.Module):  # type: ignore[misc]
    """Mean and fineness of each cell: (B, 3, H, W) RGB 0..1 -> (B, 9, grid, grid), standardised by fixed numbers.

    Channels 0 to 2 are the means of the colours, 3 to 5 the logarithms of the mean absolute differences of neighbours
    in a row, 6 to 8 of those in a column.
    """

    def __init__(self, grid: int) -> None:
        super().__init__()
        self.grid = grid

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the statistics; see `fdetect.nets.detectors.mlp` for the formula."""
        means = (adaptive_avg_pool2d(images, self.grid) - 0.5) / 0.25
        finenesses = [
            torch.log(adaptive_avg_pool2d(images.diff(dim=axis).abs(), self.grid) + 1 / 255) + 4 for axis in (-1, -2)
        ]
        return torch.cat([means, *finenesses], dim=1)


class CellPerceptron(DetectorNetwork):
    """Cell statistics, fully connected layers with ReLU and dropout, a linear classifier; no patch logits."""

    def __init__(self, config: NetworkConfig, grid: int, width: int, layers: int, dropout: float) -> None:
        super().__init__(config)
        self.statistics = CellStatistics(grid)
        inputs = [9 * grid**2, *[width] * (layers - 1)]
        hidden = [[nn.Linear(size, width), nn.ReLU(), nn.Dropout(dropout)] for size in inputs]
        self.layers = nn.Sequential(nn.Flatten(), *(part for parts in hidden for part in parts))
        self.classifier = nn.Linear(width, 1)

    def maps(self, images: torch.Tensor) -> torch.Tensor:
        """Return the statistics: (B, 3, H, W) RGB 0..1 -> (B, 9, grid, grid)."""
        with exact(images):
            return self.statistics(images)

    def embed(self, images: torch.Tensor) -> torch.Tensor:
        """Return the last hidden layer: (B, 3, H, W) RGB 0..1 -> (B, width)."""
        return self.layers(self.maps(images))
