"""What `adversarial` is trained with: a critic of patches, and a loss whose terms each move one side alone."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional

from fdetect.errors import ParameterError
from fdetect.nets.own.adversarial import Adversarial
from fdetect.nets.own.blocks import OwnModel, reconstruction_loss
from fdetect.nets.training import held_still

__all__ = ["AdversarialModel", "Critic"]

_SLOPE = 0.2  # of the critic's units below 0
_LEAST = 12  # px that four convolutions of 4 taps, two of them of stride 2, leave something of


class ScaledConvolution(nn.Module):  # type: ignore[misc]
    """A convolution of 4 x 4 taps W / sqrt(taps of one output / 2), with W about 1: (B, C, h, w) -> (B, O, h', w').

    AdamW's steps are as large for every tensor; so scaled they are small beside the weights, and the critic learns no
    faster than the decoder that it judges, under one learning rate.

    Source: Karras et al. 2018, "Progressive growing of GANs", arXiv 1710.10196, section 4.1.
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.empty(outputs, inputs, 4, 4)), nn.Parameter(torch.empty(outputs))
        self.stride, self.scale = stride, math.sqrt(2 / (16 * inputs))

    def reset(self, draws: torch.Generator) -> None:
        """Fill W with normal numbers and the biases with 0."""
        with torch.no_grad():
            self.weight.normal_(generator=draws)
            self.bias.zero_()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the convolution, one row and column of zeros beyond each border."""
        return functional.conv2d(x, self.weight * self.scale, self.bias, stride=self.stride, padding=1)


class Critic(nn.Module):  # type: ignore[misc]
    """Four convolutions, the first two of stride 2: one score for each patch of 34 x 34 px, larger for photographs.

    `steps` counts the training steps, so that a training that was stopped begins to use the critic where it would have.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        channels, strides = (3, width, 2 * width, 4 * width, 1), (2, 2, 1, 1)
        self.layers = nn.ModuleList(map(ScaledConvolution, channels, channels[1:], strides))
        self.register_buffer("steps", torch.empty((), dtype=torch.int64))

    def reset(self, draws: torch.Generator) -> None:
        """Begin to count."""
        self.steps.zero_()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the scores: (B, 3, H, W) RGB 0..1, sides multiples of 4 from 12 px -> (B, 1, H / 4 - 2, W / 4 - 2)."""
        x = images * 2 - 1
        for k, layer in enumerate(self.layers):
            x = layer(functional.leaky_relu(x, _SLOPE) if k else x)
        return x.float()


class AdversarialModel(OwnModel):
    """The network of `nearest` with the critic that trains it."""

    def __init__(self, config: Adversarial) -> None:
        super().__init__(config)
        self.weight, self.begin = config.weight, config.begin
        self.critic = Critic(config.critic_width)

    def stored(self) -> dict[str, torch.Tensor]:
        """Return the tensors of the autoencoder alone."""
        return {name: tensor for name, tensor in self.state_dict().items() if not name.startswith("critic.")}

    def loss(self, images: torch.Tensor) -> torch.Tensor:
        """Return the reconstruction's loss, and from step `begin` the critic's two terms: (B, 3, H, W) -> scalar.

        Raises ParameterError for sides below 12 px, of which the critic has no score.
        """
        if min(images.shape[-2:]) < _LEAST:
            raise ParameterError(f"adversarial is trained on sides of at least {_LEAST} px; got {images.shape[-2]} x "
                                 f"{images.shape[-1]}")  # fmt: skip
        begun = int(self.critic.steps) >= self.begin
        if self.training:
            self.critic.steps += 1
        again = self(images)
        apart = reconstruction_loss(again, images)
        if not begun:
            return apart
        displeased = self.displeasure(again)
        (pull,) = torch.autograd.grad(apart, again, retain_graph=True)
        (against,) = torch.autograd.grad(displeased, again, retain_graph=True)
        share = self.weight * pull.norm() / against.norm().clamp_min(1e-12)
        return apart + share * displeased + self.misjudged(again, images)

    def displeasure(self, again: torch.Tensor) -> torch.Tensor:
        """Return -mean D(x'), through which gradients reach the picture and not the critic: (B, 3, H, W) -> scalar."""
        return -held_still(self.critic, again).mean()

    def misjudged(self, again: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
        """Return the critic's hinges, through which gradients reach the critic and not the picture: -> scalar."""
        real, made = self.critic(images), self.critic(again.detach())
        return (torch.relu(1 - real).mean() + torch.relu(1 + made).mean()) / 2
