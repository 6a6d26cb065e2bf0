"""The modules of PatchCraft.  Source: Zhong, Xu, Li, Qian, Zhang 2023, arXiv 2311.12397."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional

from fdetect.nets.detectors.model import DetectorNetwork, exact
from fdetect.nets.detectors.resnet import initialise
from fdetect.nets.detectors.stems import GREYS, Srm

if TYPE_CHECKING:
    from fdetect.nets.detectors.patchcraft import PatchCraft

__all__ = ["MOST", "PATCH", "PatchCraftModel", "diversity", "sorted_patches"]

PATCH = 32  # px
MOST = 64  # patches of either kind
WIDTH = 32  # channels of every convolution


class PatchCraftModel(DetectorNetwork):
    """Both kinds of patches through one filter, their difference through a CNN, a linear classifier."""

    def __init__(self, config: PatchCraft) -> None:
        super().__init__(config)
        self.step, self.srm = config.step, Srm()
        self.filter = nn.Sequential(nn.Conv2d(90, WIDTH, 3, padding=1), nn.BatchNorm2d(WIDTH), nn.Hardtanh(-5.0, 5.0))
        layers: list[nn.Module] = []
        for stage, depth in enumerate((4, 2, 2, 2)):
            layers += [nn.AvgPool2d(2)] if stage else []
            for _ in range(depth):
                layers += [nn.Conv2d(WIDTH, WIDTH, 3, padding=1, bias=False), nn.BatchNorm2d(WIDTH), nn.ReLU(True)]
        self.trunk = nn.Sequential(*layers)
        self.classifier = nn.Linear(WIDTH, 1)
        initialise(self)

    def maps(self, images: torch.Tensor) -> torch.Tensor:
        """Return the poorest patches and the richest, side by side in channels: (B, 3, H, W) -> (B, 6, S, S)."""
        with exact(images):
            return sorted_patches(images, self.step)

    def features(self, images: torch.Tensor) -> torch.Tensor:
        """Return the CNN's features of the difference: (B, 3, H, W) -> (B, 32, s, s)."""
        poor, rich = self.maps(images).split(3, 1)
        # one batch, so that both branches share the statistics of their norm as they share its weights
        with exact(images):
            residuals = self.srm(torch.cat([poor, rich])).flatten(1, 2)
        poor, rich = self.filter(residuals).chunk(2)
        return self.trunk(poor - rich)

    def embed(self, images: torch.Tensor) -> torch.Tensor:
        """Return the mean of the features over places: (B, 3, H, W) -> (B, 32)."""
        return self.features(images).float().mean((-2, -1))


def diversity(images: torch.Tensor, step: int) -> torch.Tensor:
    """Return the diversity of every patch of the grid: (B, 3, H, W) in 0..1 -> (B, rows, columns), whole numbers.

    Differences are of whole grey levels, whose sum float32 holds exactly, so that an order does not depend on where it
    is computed.
    """
    greys = (images * GREYS).round()
    up, down, left, right = greys[..., :-1, :], greys[..., 1:, :], greys[..., :-1], greys[..., 1:]
    differences = (left - right, up - down, up[..., :-1] - down[..., 1:], up[..., 1:] - down[..., :-1])
    rows, columns = ((side - PATCH) // step + 1 for side in images.shape[-2:])
    total = torch.zeros((len(images), rows, columns), dtype=images.dtype, device=images.device)
    for difference in differences:
        missing = (greys.shape[-2] - difference.shape[-2], greys.shape[-1] - difference.shape[-1])
        window = (PATCH - missing[0], PATCH - missing[1])
        sums = functional.avg_pool2d(difference.abs().sum(1, keepdim=True), window, step, divisor_override=1)
        total += sums[:, 0, :rows, :columns]
    return total


def sorted_patches(images: torch.Tensor, step: int) -> torch.Tensor:
    """Return the poorest patches and the richest as pictures: (B, 3, H, W) -> (B, 6, S, S), S a multiple of 32.

    Patches stand in reading order of their diversity, the poorest first, and of the richest the richest first.
    """
    with torch.no_grad():
        scores = diversity(images, step)
        columns = scores.shape[-1]
        both = torch.stack([scores, -scores], 1).flatten(2)  # (B, 2, patches)
        side = max(math.isqrt(min(MOST, both.shape[2] // 3)), 1)
        chosen = both.argsort(dim=2, stable=True)[..., : side**2]  # (B, 2, n)
        inside = torch.arange(PATCH, device=images.device)
        rows = chosen.div(columns, rounding_mode="floor")[..., None, None] * step + inside[:, None]
        across = (chosen % columns)[..., None, None] * step + inside
    batch = torch.arange(len(images), device=images.device).view(-1, 1, 1, 1, 1)
    patches = images.movedim(1, -1)[batch, rows, across]  # (B, 2, n, 32, 32, 3)
    grid = patches.reshape(len(images), 2, side, side, PATCH, PATCH, 3)
    placed = grid.permute(0, 1, 6, 2, 4, 3, 5)  # batch, kind, colour, row of the grid, y, column of the grid, x
    return placed.reshape(len(images), 6, side * PATCH, side * PATCH)
