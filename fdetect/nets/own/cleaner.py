"""The two halves of `pixel`: what adds the noise, and what takes it away."""

from __future__ import annotations

import torch
from torch import nn

from fdetect.nets.own.noise import content_noise
from fdetect.nets.own.unet import UNet

__all__ = ["Cleaner", "Noisy"]


class Noisy(nn.Module):  # type: ignore[misc]
    """Adds the noise that belongs to a picture's content; `sigma` is of the range 0..1."""

    def __init__(self, sigma: float) -> None:
        super().__init__()
        self.sigma = sigma

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the noisy picture: (B, 3, H, W) as 2 RGB - 1 -> the same."""
        return x + 2 * self.sigma * content_noise((x + 1) / 2, "own-pixel")


class Cleaner(nn.Module):  # type: ignore[misc]
    """Takes away the noise that a U-shaped network sees."""

    def __init__(self, sigma: float, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.sigma = sigma
        self.noise = UNet(3, 3, widths)

    def forward(self, noisy: torch.Tensor) -> torch.Tensor:
        """Return the picture: (B, 3, H, W) as 2 RGB - 1 -> the same."""
        return noisy - 2 * self.sigma * self.noise(noisy).float()
