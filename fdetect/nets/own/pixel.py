"""A denoiser at full size: one step of diffusion over pixels."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from fdetect.nets.own.base import OwnConfig, generator

if TYPE_CHECKING:
    from fdetect.nets.own.blocks import OwnModel

__all__ = ["Pixel"]


@generator
@dataclass(frozen=True)
class Pixel(OwnConfig):
    """Noise at full size and a U-shaped network that takes it away, the last step of diffusion over pixels:

    (B, 3, H, W) -> (B, 3, H, W), sides multiples of 2^halvings

        z = x + sigma e,    x' = z - sigma u(z)

    e is normal noise that belongs to the image's content (`fdetect.nets.own.noise.content_noise`), so that one image
    gives one result.  No latent is smaller than the picture (`factor` is 1): what is lost is what the noise covers.

    Parameters
    ----------
    width : int
        Channels at full size, 1 to 1024; 2, 4, ... times as many after each halving.
    sigma : float
        Of the range 0..1; above 0.
    halvings : int
        How often the U halves the sides, 1 to 3.

    Source: Ho, Jain, Abbeel 2020, "Denoising diffusion probabilistic models", arXiv 2006.11239, equation 15: the
    picture by way of its noise.
    """

    FACTORS: ClassVar[tuple[int, ...]] = (1,)

    width: int = 24
    latent_channels: int = field(default=3, init=False)
    factor: int = field(default=1, init=False)
    sigma: float = 0.1
    halvings: int = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_number("sigma", above_zero=True)
        self._check_whole("halvings", 1, 3)

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of each level, from full size down."""
        return tuple(self.width * 2**k for k in range(self.halvings + 1))

    @property
    def multiple(self) -> int:
        """What the sides of a picture must be a multiple of, in px."""
        return int(2**self.halvings)

    def model(self) -> OwnModel:
        """Return the network, its tensors not yet filled."""
        from fdetect.nets.own.blocks import OwnModel
        from fdetect.nets.own.cleaner import Cleaner, Noisy

        return OwnModel(self, Noisy(self.sigma), Cleaner(self.sigma, self.widths))
