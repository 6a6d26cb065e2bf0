"""CBAM: what a feature map should attend to, first by channel, then by place."""

from __future__ import annotations

import torch
from torch import nn

__all__ = ["Cbam"]


class Cbam(nn.Module):  # type: ignore[misc]
    """Channel attention, then spatial attention: (B, C, H, W) -> the same shape.

        F'  = s(W1 relu(W0 avg(F)) + W1 relu(W0 max(F))) F        avg, max over places; W0 (C / r, C), W1 (C, C / r)
        F'' = s(f([avg(F'); max(F')])) F'                         avg, max over channels; f: kernel x kernel, no bias

    s is the logistic function.  Source: Woo, Park, Lee, Kweon 2018, arXiv 1807.06521, equations 1 to 3; neither formula
    has a bias or a norm.
    """

    def __init__(self, channels: int, reduction: int = 16, kernel: int = 7) -> None:
        super().__init__()
        inner = max(channels // reduction, 1)
        self.squeeze = nn.Linear(channels, inner, bias=False)
        self.widen = nn.Linear(inner, channels, bias=False)
        self.place = nn.Conv2d(2, 1, kernel, padding=kernel // 2, bias=False)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return the features, weighted."""
        features = features * self.of_channels(features)[..., None, None]
        return features * self.of_places(features)

    def of_channels(self, features: torch.Tensor) -> torch.Tensor:
        """Return the weight of each channel: (B, C, H, W) -> (B, C) in 0..1."""
        means, largest = features.mean((-2, -1)), features.amax((-2, -1))
        hidden = torch.relu(self.squeeze(torch.stack([means, largest])))
        return torch.sigmoid(self.widen(hidden).sum(0))

    def of_places(self, features: torch.Tensor) -> torch.Tensor:
        """Return the weight of each place: (B, C, H, W) -> (B, 1, H, W) in 0..1."""
        views = torch.cat([features.mean(1, keepdim=True), features.amax(1, keepdim=True)], dim=1)
        return torch.sigmoid(self.place(views))
