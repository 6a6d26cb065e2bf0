"""`nearest`, and a few steps of a flow that draw detail into its pictures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fdetect.nets.own.base import generator
from fdetect.nets.own.nearest import Nearest

if TYPE_CHECKING:
    from fdetect.nets.own.refiner import RefinedModel

__all__ = ["Refined"]


@generator
@dataclass(frozen=True)
class Refined(Nearest):
    """The autoencoder `nearest`, whose picture a flow carries on to a photograph's, as few-step diffusion decoders do:

    (B, 3, H, W) -> (B, 3, H, W)

        z_0 = d + sigma e,    z_{k + 1} = z_k + v(z_k, k / n | d) / n,    k = 0 ... n - 1 = steps - 1,    x' = z_n

    d is the picture of the autoencoder, e normal noise that belongs to the image's content
    (`fdetect.nets.own.noise.content_noise`), so that one image gives one result, and v a U-shaped network that sees z,
    d and the time.  In training, with x the image, t even in 0..1 for each picture and z = (1 - t) z_0 + t x,

        loss = reconstruction(d, x) + weight * mean (v(z, t | d) - (x - z_0))^2 / sigma^2

    where d is held in the second term: the autoencoder learns as `nearest` does.

    Parameters
    ----------
    steps : int
        Euler steps, 1 to 64.
    sigma : float
        Noise of the first state, of the range 0..1; above 0.
    weight : float
        Of the flow's term, above 0.
    refiner_width : int
        Channels of v at full size, 1 to 1024; 2 and 4 times as many where sides are 1/2 and 1/4.
    width, latent_channels, factor : int
        See `fdetect.nets.own.base.OwnConfig`.

    Source: Lipman et al. 2023, "Flow matching for generative modeling", arXiv 2210.02747, equations 5 and 23; Liu,
    Gong, Liu 2023, "Flow straight and fast", arXiv 2209.03003, equation 1: straight paths between paired samples.
    """

    steps: int = 4
    sigma: float = 0.1
    weight: float = 0.1
    refiner_width: int = 24

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_whole("steps", 1, 64)
        self._check_number("sigma", above_zero=True)
        self._check_number("weight", above_zero=True)
        self._check_whole("refiner_width", 1, 1024)

    def model(self) -> RefinedModel:
        """Return the network, its tensors not yet filled."""
        from fdetect.nets.own.refiner import RefinedModel

        return RefinedModel(self)
