"""The flow's network: a U-Net over cells of 2 x 2 pixels that is told the time.

    enter   cells of 2 x 2 pixels become 12 channels of 32 x 32; conv to w
    down    2 blocks, conv of stride 2 to 2 w at 16 x 16; 2 blocks, conv of stride 2 at 8 x 8; 2 blocks
    up      repeat pixels and conv, join what went down at this size, 1 block; twice
    leave   norm, conv to 12 channels, which become 2 x 2 pixels

Source: Ronneberger, Fischer, Brox 2015, arXiv 1505.04597, figure 1; the time by scale and shift after a norm: Dhariwal
and Nichol 2021, arXiv 2105.05233, section 3.
"""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional

__all__ = ["UNet", "time_code"]

_WAVES = 16  # of the code of the time
_FASTEST = 100.0  # of them, in radians a unit of time, where the slowest has 1


def time_code(t: torch.Tensor) -> torch.Tensor:
    """Return what the network is told of the time: (B,) in 0..1 -> (B, 32), sines and cosines of f_k t.

    f_k = 100^(k / 15), k = 0 ... 15
    """
    powers = torch.arange(_WAVES, dtype=torch.float32, device=t.device) / (_WAVES - 1)
    angles = t[:, None] * torch.exp(math.log(_FASTEST) * powers)
    return torch.cat([angles.sin(), angles.cos()], dim=1)


class TimedBlock(nn.Module):  # type: ignore[misc]
    """A residual block: y = x + V * silu((1 + a) norm(W * silu(norm(x))) + b), a and b linear in the code of the time.

    The norm takes mean and deviation of a quarter of the channels over all positions.
    """

    def __init__(self, width: int, code: int) -> None:
        super().__init__()
        self.groups = math.gcd(4, width)
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.timed = nn.Conv2d(code, 2 * width, 1)
        self.last = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: torch.Tensor, code: torch.Tensor) -> torch.Tensor:
        """Return the block's output: (B, C, h, w), (B, code, 1, 1) -> (B, C, h, w)."""
        scale, shift = self.timed(code).chunk(2, dim=1)
        y = self.first(functional.silu(functional.group_norm(x, self.groups)))
        y = functional.group_norm(y, self.groups) * (1 + scale) + shift
        return x + self.last(functional.silu(y))


class UNet(nn.Module):  # type: ignore[misc]
    """The speed of noisy pictures; see the head of this file."""

    def __init__(self, width: int) -> None:
        super().__init__()
        w, code = width, 2 * width
        self.code = nn.Sequential(nn.Conv2d(2 * _WAVES, code, 1), nn.SiLU(), nn.Conv2d(code, code, 1), nn.SiLU())
        self.enter = nn.Conv2d(12, w, 3, padding=1)
        self.fine, self.middle, self.coarse = (
            nn.ModuleList(TimedBlock(channels, code) for _ in range(2)) for channels in (w, 2 * w, 2 * w)
        )
        self.to_middle = nn.Conv2d(w, 2 * w, 3, stride=2, padding=1)
        self.to_coarse = nn.Conv2d(2 * w, 2 * w, 3, stride=2, padding=1)
        self.from_coarse = nn.Conv2d(2 * w, 2 * w, 3, padding=1)
        self.from_middle = nn.Conv2d(2 * w, w, 3, padding=1)
        self.join_middle, self.join_fine = nn.Conv2d(4 * w, 2 * w, 1), nn.Conv2d(2 * w, w, 1)
        self.again_middle, self.again_fine = TimedBlock(2 * w, code), TimedBlock(w, code)
        self.last = nn.Conv2d(w, 12, 3, padding=1)

    def forward(self, noisy: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        """Return the speed: (B, 3, 64, 64), (B,) time in 0..1 -> (B, 3, 64, 64) float32."""
        code = self.code(time_code(t)[:, :, None, None])
        fine = self.enter(functional.pixel_unshuffle(noisy, 2))
        for block in self.fine:
            fine = block(fine, code)
        middle = self.to_middle(fine)
        for block in self.middle:
            middle = block(middle, code)
        coarse = self.to_coarse(middle)
        for block in self.coarse:
            coarse = block(coarse, code)
        middle = self.join_middle(torch.cat([self.from_coarse(_doubled(coarse)), middle], dim=1))
        middle = self.again_middle(middle, code)
        fine = self.join_fine(torch.cat([self.from_middle(_doubled(middle)), fine], dim=1))
        fine = self.again_fine(fine, code)
        leaving = self.last(functional.silu(functional.group_norm(fine, math.gcd(4, fine.shape[1]))))
        return functional.pixel_shuffle(leaving.float(), 2)


def _doubled(x: torch.Tensor) -> torch.Tensor:
    """Repeat each sample as 2 x 2: (B, C, h, w) -> (B, C, 2 h, 2 w)."""
    return functional.interpolate(x, scale_factor=2, mode="nearest")
