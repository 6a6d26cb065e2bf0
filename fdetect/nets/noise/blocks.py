"""What the generators share: the model with its running mean, the maker, the critic, first tensors, samples.

There is no batch norm: what a network makes of a picture does not depend on those beside it.  The one exception is the
GAN's critic, which is told how unlike the pictures of a batch are, and takes no part in samples.
"""

from __future__ import annotations

import copy
import itertools
import math

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from fdetect.errors import ParameterError
from fdetect.nets.noise.base import SIDE, NoiseConfig
from fdetect.perturb import rng_for

__all__ = ["Critic", "Maker", "NoiseModel", "initialised", "sampled"]

_SLOPE = 0.2  # of the leaky ReLU below 0
_LAST = 0.1  # times the deviation of the last layer of a network or a residual branch, which so begins near 0
_TIMES = (8, 4, 2, 1)  # channels in widths where sides are 4, 8, 16 and 32


class NoiseModel(nn.Module):  # type: ignore[misc]
    """The network that makes pictures, the running mean of its weights, and (in subclasses) what only training needs.

    `maker` is trained; `averaged` is of the same shape, gets no gradient and makes the samples.
    """

    def __init__(self, config: NoiseConfig, maker: nn.Module, noise: tuple[int, ...]) -> None:
        super().__init__()
        self.config, self.noise = config, noise  # shape of what one picture is made from
        self.maker = maker
        self.averaged = copy.deepcopy(maker).requires_grad_(False)
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))

    def loss(self, images: torch.Tensor) -> torch.Tensor:
        """Return what training minimises: (B, 3, 64, 64) RGB 0..1 -> scalar."""
        if images.shape[1:] != (3, SIDE, SIDE):
            name, found = self.config.architecture, " x ".join(map(str, images.shape[1:]))
            raise ParameterError(f"{name} learns from pictures of 3 x {SIDE} x {SIDE}; got {found}")
        if self.training:
            self.follow()
        return self.objective(images * 2 - 1)

    def objective(self, x: torch.Tensor) -> torch.Tensor:
        """Return the loss of pictures in -1..1: (B, 3, 64, 64) -> scalar."""
        raise NotImplementedError

    def pictures(self, noise: torch.Tensor) -> torch.Tensor:
        """Return pictures in -1..1, not clamped, by the averaged weights: (B, *noise) -> (B, 3, 64, 64)."""
        return self.averaged(noise)

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def follow(self) -> None:
        """Let the running mean go on by one step: a <- s a + (1 - s) w.

        s = min(averaging, n / (n + 10)) with n steps before: the first weights, which nothing has trained, fade early.
        """
        share = min(self.config.averaging, float(self.seen) / (float(self.seen) + 10))
        for mean, now in zip(self.averaged.parameters(), self.maker.parameters(), strict=True):
            mean.lerp_(now, 1 - share)
        self.seen += 1


class Maker(nn.Module):  # type: ignore[misc]
    """Noise to picture, as in DCGAN: a linear layer to 4 x 4, then four transposed convolutions of 4 taps, stride 2.

    After each but the last, a leaky ReLU, and each position's channels are divided by their root mean square (Karras et
    al. 2018, arXiv 1710.10196, section 4.2) in the place of batch norm; after the last, tanh.
    """

    def __init__(self, latent: int, width: int) -> None:
        super().__init__()
        widths = [times * width for times in _TIMES]
        self.first = nn.Conv2d(latent, widths[0] * 16, 1)
        self.doublings = nn.ModuleList(
            nn.ConvTranspose2d(coarse, fine, 4, stride=2, padding=1) for coarse, fine in itertools.pairwise(widths)
        )
        self.last = nn.ConvTranspose2d(widths[-1], 3, 4, stride=2, padding=1)

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        """Return pictures in -1..1: (B, latent) -> (B, 3, 64, 64)."""
        x = self.first(z[:, :, None, None]).reshape(len(z), -1, 4, 4)
        for doubling in (*self.doublings, self.last):
            x = functional.leaky_relu(x, _SLOPE)
            x = doubling(x * torch.rsqrt(x.square().mean(dim=1, keepdim=True) + 1e-8))
        return torch.tanh(x.float())


class Critic(nn.Module):  # type: ignore[misc]
    """Picture to numbers, the maker's mirror image: four convolutions of 4 taps and stride 2, then one of 4 x 4.

    compares  append a channel to the last 4 x 4 that holds one number everywhere, the deviation over the batch of each
              value, averaged over all of them: a maker whose pictures are all alike is found out by it (Karras et al.
              2018, arXiv 1710.10196, section 3)
    """

    def __init__(self, width: int, outputs: int, *, compares: bool = False) -> None:
        super().__init__()
        widths = [times * width for times in reversed(_TIMES)]
        self.halvings = nn.ModuleList(
            nn.Conv2d(fine, coarse, 4, stride=2, padding=1) for fine, coarse in itertools.pairwise([3, *widths])
        )
        self.compares = compares
        self.last = nn.Conv2d(widths[-1] + compares, outputs, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the numbers: (B, 3, 64, 64) in -1..1 -> (B, outputs)."""
        for halving in self.halvings:
            x = functional.leaky_relu(halving(x), _SLOPE)
        if self.compares:
            spread = (x.float().var(dim=0, correction=0) + 1e-8).sqrt().mean()
            x = torch.cat([x, spread.to(x.dtype).expand(len(x), 1, *x.shape[2:])], dim=1)
        return self.last(x)[:, :, 0, 0].float()


def initialised(config: NoiseConfig, seed: int) -> NoiseModel:
    """Return the network of `config` with the tensors of `seed`; see `fdetect.nets.noise.base.build`."""
    with torch.device("meta"):  # where torch's own first values would cost draws of the global generator
        model = config.model()
    model.to_empty(device="cpu")
    draws = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, module in model.named_modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d) and not name.startswith("averaged."):
                # a transposed convolution of stride 2 spreads its taps over 4 output samples
                spread = math.prod(module.stride) if isinstance(module, nn.ConvTranspose2d) else 1
                deviation = math.sqrt(2 * spread / (module.in_channels * math.prod(module.kernel_size)))
                module.weight.normal_(0, deviation * (_LAST if name.endswith(".last") else 1), generator=draws)
                module.bias.zero_()
        model.seen.zero_()
        model.averaged.load_state_dict(model.maker.state_dict())
    return model


@torch.inference_mode()  # type: ignore[untyped-decorator]
def sampled(model: NoiseModel, count: int, seed: int) -> np.ndarray:
    """Return pictures, one at a time; see `fdetect.nets.noise.base.sample`."""
    pictures = np.empty((count, SIDE, SIDE, 3), np.uint8)
    device = next(model.parameters()).device
    for k in range(count):
        noise = rng_for(seed, str(k), "from-noise").standard_normal((1, *model.noise), np.float32)
        picture = model.pictures(torch.from_numpy(noise).to(device))[0].clamp(-1, 1)
        pictures[k] = ((picture + 1) * 127.5).round().byte().permute(1, 2, 0).cpu().numpy()
    return pictures
