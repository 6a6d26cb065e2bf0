"""A rectified flow, the plain form of a diffusion model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fdetect.nets.noise.base import NoiseConfig, noise_generator

if TYPE_CHECKING:
    from fdetect.nets.noise.models import FlowModel

__all__ = ["Flow"]


@noise_generator
@dataclass(frozen=True)
class Flow(NoiseConfig):
    """Rectified flow: a U-Net v learns the speed at which noise moves on straight lines to pictures, and is followed:

    (B, 3, 64, 64) -> (B, 3, 64, 64)

        loss = mean (v(y_t, t) - (x - e))^2,   y_t = (1 - t) e + t x,   e ~ N(0, 1),   t uniform in 0..1
        y_(k + 1) = y_k + v(y_k, k / steps) / steps,   k = 0 ... steps - 1,   y_0 = e

    with x in -1..1.  With a normal e this is the probability flow of a diffusion model under another schedule.

    Parameters
    ----------
    steps : int
        Euler steps of a sample, 1 to 1000.
    width, averaging
        See `fdetect.nets.noise.base.NoiseConfig`.

    Source: Liu, Gong, Liu 2023, "Flow straight and fast", arXiv 2209.03003, equation 1 and algorithm 1; Lipman et al.
    2023, "Flow matching for generative modeling", arXiv 2210.02747, equations 20 to 23 with sigma_min = 0.
    """

    width: int = 32
    steps: int = 25

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_whole("steps", 1, 1000)

    def model(self) -> FlowModel:
        """Return the network, its tensors not yet filled."""
        from fdetect.nets.noise.models import FlowModel

        return FlowModel(self)
