"""The three models: what each trains beside its maker, its loss, and how noise becomes a picture."""

from __future__ import annotations

import torch
from torch.nn.functional import softplus

from fdetect.nets.noise.base import SIDE
from fdetect.nets.noise.blocks import Critic, Maker, NoiseModel
from fdetect.nets.noise.flow import Flow
from fdetect.nets.noise.gan import Gan
from fdetect.nets.noise.unet import UNet
from fdetect.nets.noise.vae import Vae
from fdetect.nets.training import held_still

__all__ = ["FlowModel", "GanModel", "VaeModel", "divergence", "squared_slope"]

_PENALISED = 4  # one picture of so many of a batch: the penalty takes a second derivative, which is dear


class GanModel(NoiseModel):
    """Maker and critic."""

    def __init__(self, config: Gan) -> None:
        super().__init__(config, Maker(config.latent, config.width), (config.latent,))
        self.latent, self.penalty = config.latent, config.penalty
        self.critic = Critic(config.width, 1, compares=True)

    def objective(self, x: torch.Tensor) -> torch.Tensor:
        """Return the maker's and the critic's loss, each with gradients of its own: see `Gan`."""
        made = self.maker(torch.randn((len(x), self.latent), device=x.device))
        # the critic's weights take no part in what the maker learns, and the maker none in what the critic learns
        fooling = softplus(-held_still(self.critic, made)).mean()
        telling = softplus(self.critic(made.detach())).mean() + softplus(-self.critic(x)).mean()
        slope = squared_slope(self.critic, x[: max(1, len(x) // _PENALISED)])
        return fooling + telling + self.penalty / 2 * slope


class VaeModel(NoiseModel):
    """Decoder, which is the maker, and encoder."""

    def __init__(self, config: Vae) -> None:
        super().__init__(config, Maker(config.latent, config.width), (config.latent,))
        self.deviation = config.deviation
        self.encoder = Critic(config.width, 2 * config.latent)

    def objective(self, x: torch.Tensor) -> torch.Tensor:
        """Return the negative evidence bound a value: see `Vae`."""
        mean, log_variance = self.encoder(x).chunk(2, dim=1)
        z = mean + (log_variance / 2).exp() * torch.randn_like(mean)
        misfit = (x - self.maker(z)).square().sum(dim=(1, 2, 3)) / (2 * self.deviation**2)
        return (misfit + divergence(mean, log_variance)).mean() / x[0].numel()


class FlowModel(NoiseModel):
    """The speed."""

    def __init__(self, config: Flow) -> None:
        super().__init__(config, UNet(config.width), (3, SIDE, SIDE))
        self.steps = config.steps

    def objective(self, x: torch.Tensor) -> torch.Tensor:
        """Return how far the speed is from that of straight lines: see `Flow`."""
        noise, t = torch.randn_like(x), torch.rand(len(x), device=x.device)
        share = t[:, None, None, None]
        return (self.maker((1 - share) * noise + share * x, t) - (x - noise)).square().mean()

    def pictures(self, noise: torch.Tensor) -> torch.Tensor:
        """Return where Euler's steps lead: (B, 3, 64, 64) normal -> the same shape, in about -1..1."""
        y = noise
        for k in range(self.steps):
            y = y + self.averaged(y, torch.full((len(y),), k / self.steps, device=y.device)) / self.steps
        return y


def divergence(mean: torch.Tensor, log_variance: torch.Tensor) -> torch.Tensor:
    """Return KL(N(mean, e^log_variance) || N(0, 1)), summed over the latent: (B, D), (B, D) -> (B,)."""
    return (mean.square() + log_variance.exp() - 1 - log_variance).sum(dim=1) / 2


def squared_slope(critic: torch.nn.Module, x: torch.Tensor) -> torch.Tensor:
    """Return how steep the critic is, with gradients for it: (B, 3, 64, 64) -> scalar, in float32.

    mean over pictures of ||d (sum of the critic's numbers of all pictures) / d picture||^2
    """
    with torch.autocast(x.device.type, enabled=False):
        inputs = x.detach().float().requires_grad_()
        (slope,) = torch.autograd.grad(critic(inputs).sum(), inputs, create_graph=True)
        return slope.square().sum(dim=(1, 2, 3)).mean()
