"""The decoder of `nearest`, trained against a critic."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fdetect.nets.own.base import generator
from fdetect.nets.own.nearest import Nearest

if TYPE_CHECKING:
    from fdetect.nets.own.critic import AdversarialModel

__all__ = ["Adversarial"]


@generator
@dataclass(frozen=True)
class Adversarial(Nearest):
    """The autoencoder `nearest`, trained to please a critic of patches too, as the decoders of latent diffusion are:

    (B, 3, H, W) -> (B, 3, H, W), by the very network of `nearest`

        loss = reconstruction - lambda mean D(x') + (mean max(0, 1 - D(x)) + mean max(0, 1 + D(x'))) / 2
        lambda = weight * ||d reconstruction / d x'|| / ||d mean D(x') / d x'||

    D gives one number for each patch of 34 x 34 px of the picture x or its reconstruction x'.  The second term moves
    the autoencoder alone and the third the critic alone, so that one optimiser trains both; `weight` is how hard the
    critic pulls at the picture, relative to the reconstruction's loss.  Both count from training step `begin`: before
    it the training is that of `nearest`, to the last bit.  Some of what absolute values blur away, because it cannot be
    known, is drawn in again: invented detail.  The critic is not stored.

    Parameters
    ----------
    weight : float
        Above 0.
    begin : int
        In training steps, 0 to 1000000.
    critic_width : int
        Channels at half size, 1 to 1024; twice and four times as many at a quarter.
    width, latent_channels, factor : int
        See `fdetect.nets.own.base.OwnConfig`.

    Source: Isola et al. 2017, "Image-to-image translation with conditional adversarial networks", arXiv 1611.07004,
    section 3.2.2, for the critic of patches; Esser, Rombach, Ommer 2021, "Taming transformers for high-resolution image
    synthesis", arXiv 2012.09841, equations 6 and 7, for autoencoders and for lambda (there by the last layer's weights
    instead of the picture); Lim and Ye 2017, "Geometric GAN", arXiv 1705.02894, for the hinges.
    """

    weight: float = 0.8
    begin: int = 500
    critic_width: int = 32

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_number("weight", above_zero=True)
        self._check_whole("begin", 0, 1_000_000)
        self._check_whole("critic_width", 1, 1024)

    def training_model(self) -> AdversarialModel:
        """Return the network and its critic, their tensors not yet filled."""
        from fdetect.nets.own.critic import AdversarialModel

        return AdversarialModel(self)
