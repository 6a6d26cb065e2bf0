"""A generative adversarial network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fdetect.nets.noise.base import NoiseConfig, noise_generator

if TYPE_CHECKING:
    from fdetect.nets.noise.models import GanModel

__all__ = ["Gan"]


@noise_generator
@dataclass(frozen=True)
class Gan(NoiseConfig):
    """GAN of transposed convolutions: a maker G and a critic D, whose output rises with how real a picture looks:

    (B, latent) -> (B, 3, 64, 64)

        loss = mean softplus(-D'(G(z))) + mean softplus(D(sg[G(z)])) + mean softplus(-D(x))
               + penalty / 2 * mean ||dD(x) / dx||^2,     z ~ N(0, 1)

    sg stops the gradient and D' is D with its weights held: the first term moves G alone, the others D alone, so that
    one optimiser and one scalar train both.  The penalty, on a quarter of the batch, keeps D from a slope that would
    throw G about; in trials with 10, and with a critic that did not compare pictures, all samples were one picture
    after 300 steps.

    Parameters
    ----------
    latent : int
        Numbers of noise that a picture is made from, 1 to 1024.
    penalty : float
        At least 0.
    width, averaging
        See `fdetect.nets.noise.base.NoiseConfig`.

    Source: Goodfellow et al. 2014, arXiv 1406.2661, section 3, the loss that does not saturate; Radford, Metz, Chintala
    2016, arXiv 1511.06434, figure 1, the networks (without batch norm: see `fdetect.nets.noise.blocks`); Mescheder,
    Geiger, Nowozin 2018, arXiv 1801.04406, equation 9, the penalty R1; Karras et al. 2018, arXiv 1710.10196, sections 3
    and 4.2, a critic that compares pictures and the norm of the maker.
    """

    width: int = 24
    latent: int = 48
    penalty: float = 100.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_whole("latent", 1, 1024)
        self._check_number("penalty")

    def model(self) -> GanModel:
        """Return the network, its tensors not yet filled."""
        from fdetect.nets.noise.models import GanModel

        return GanModel(self)
