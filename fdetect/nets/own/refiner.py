"""The network of `refined`: the shared autoencoder and the flow behind it."""

from __future__ import annotations

import torch

from fdetect.nets.own.blocks import OwnModel, reconstruction_loss
from fdetect.nets.own.noise import content_noise
from fdetect.nets.own.refined import Refined
from fdetect.nets.own.unet import UNet

__all__ = ["RefinedModel"]

_PURPOSE = "own-refined"


class RefinedModel(OwnModel):
    """Encoder, decoder and flow; `decode` returns the decoder's picture, which the flow begins from."""

    def __init__(self, config: Refined) -> None:
        super().__init__(config)
        self.steps, self.sigma, self.weight = config.steps, config.sigma, config.weight
        width = config.refiner_width
        self.refiner = UNet(7, 3, (width, 2 * width, 4 * width))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the refined round trip, not clamped: (B, 3, H, W) RGB 0..1 -> the same shape."""
        decoded = self.decode(self.encode(images))
        state = decoded + self.sigma * content_noise(images, _PURPOSE)
        for k in range(self.steps):
            time = torch.full((len(images), 1, 1, 1), k / self.steps, device=images.device)
            state = state + self.velocity(state, time, decoded) / self.steps
        return state

    def velocity(self, state: torch.Tensor, time: torch.Tensor, decoded: torch.Tensor) -> torch.Tensor:
        """Return where the flow goes: (B, 3, H, W), (B, 1, 1, 1) in 0..1, (B, 3, H, W) -> (B, 3, H, W).

        The network sees (state - decoded) / sigma, 2 decoded - 1 and 2 time - 1, and what it gives is times sigma: all
        are about 1.
        """
        times = (2 * time - 1).expand(-1, -1, *state.shape[2:])
        seen = torch.cat([(state - decoded) / self.sigma, 2 * decoded - 1, times], dim=1)
        return self.sigma * self.refiner(seen).float()

    def loss(self, images: torch.Tensor) -> torch.Tensor:
        """Return the loss of the decoder's picture and of the flow: (B, 3, H, W) RGB 0..1 -> scalar.

        Times come from torch's generator, which training seeds anew for each step.
        """
        decoded = self.decode(self.encode(images))
        time = torch.rand((len(images), 1, 1, 1), device=images.device)
        apart = reconstruction_loss(decoded, images)
        return apart + self.weight * self.flow_loss(images, decoded.detach(), time)

    def flow_loss(self, images: torch.Tensor, decoded: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        """Return mean (v - (x - z_0))^2 / sigma^2 at the states of the given times: -> scalar."""
        begun = decoded + self.sigma * content_noise(images, _PURPOSE)
        state = begun + time * (images - begun)
        missed = self.velocity(state, time, decoded) - (images - begun)
        return (missed / self.sigma).square().mean()
