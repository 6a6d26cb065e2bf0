"""A variational autoencoder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fdetect.nets.noise.base import NoiseConfig, noise_generator

if TYPE_CHECKING:
    from fdetect.nets.noise.models import VaeModel

__all__ = ["Vae"]


@noise_generator
@dataclass(frozen=True)
class Vae(NoiseConfig):
    """Variational autoencoder whose decoder G is the maker of `gan`, layer for layer:

    (B, latent) -> (B, 3, 64, 64)

        loss = (||x - G(m + s e)||^2 / (2 deviation^2) + KL) / 12288,      m, log s^2 = encoder(x),   e ~ N(0, 1)
        KL   = 1/2 sum over the latent of (m^2 + s^2 - 1 - log s^2)

    with x in -1..1: the negative evidence bound a value, but for a constant, of pixels that are normal about G with
    `deviation`.  Samples are G(z) with z ~ N(0, 1), the mean without that noise, and smooth for it.

    Parameters
    ----------
    latent : int
        Numbers of noise that a picture is made from, 1 to 1024.
    deviation : float
        Above 0; smaller asks for sharper reconstructions and leaves the latent less like noise.
    width, averaging
        See `fdetect.nets.noise.base.NoiseConfig`.

    Source: Kingma and Welling 2014, "Auto-encoding variational Bayes", arXiv 1312.6114, equation 10 and appendix B.
    """

    width: int = 24
    latent: int = 48
    deviation: float = 0.2

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_whole("latent", 1, 1024)
        self._check_number("deviation", above_zero=True)

    def model(self) -> VaeModel:
        """Return the network, its tensors not yet filled."""
        from fdetect.nets.noise.models import VaeModel

        return VaeModel(self)
