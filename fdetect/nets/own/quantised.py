"""A latent that is rounded to a learned codebook."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fdetect.nets.own.base import generator
from fdetect.nets.own.nearest import Nearest

if TYPE_CHECKING:
    from fdetect.nets.own.quantiser import QuantisedModel

__all__ = ["Quantised"]


@generator
@dataclass(frozen=True)
class Quantised(Nearest):
    """VQ-VAE: every position of the latent becomes the nearest of `codes` learned vectors before it is decoded:

    (B, D, h, w) -> (B, D, h, w), the latent's channels D

        q(z) = e_k with k = argmin over j of ||z - e_j||, the first of equals
        loss = reconstruction + mean (sg[z] - e_k)^2 + commitment * mean (z - sg[e_k])^2

    sg stops the gradient; that of the decoder passes q unchanged to z (straight-through).  A code that no position of
    `patience` training batches in a row was rounded to begins anew as one of the latent's vectors of that batch, evenly
    spaced over the batch's positions, so that no random number is drawn; this is also how all codes begin.  Encoder and
    decoder are those of `nearest`: the trace that is added is that of the rounding alone.  The default factor of 4 and
    512 codes are the paper's for photographs.

    Parameters
    ----------
    codes : int
        2 to 65536.
    commitment : float
        Weight of the encoder's share, above 0.
    patience : int
        In batches, 1 to 65536.
    width, latent_channels, factor : int
        See `fdetect.nets.own.base.OwnConfig`.

    Source: van den Oord, Vinyals, Kavukcuoglu 2017, "Neural discrete representation learning", arXiv 1711.00937,
    equations 1 to 3 and section 4.2; beginning unused codes anew: Dhariwal et al. 2020, arXiv 2005.00341, section 3.2.
    """

    factor: int = 4
    codes: int = 512
    commitment: float = 0.25
    patience: int = 100

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_whole("codes", 2, 65536)
        self._check_whole("patience", 1, 65536)
        self._check_number("commitment", above_zero=True)

    def model(self) -> QuantisedModel:
        """Return the network, its tensors not yet filled."""
        from fdetect.nets.own.quantiser import QuantisedModel

        return QuantisedModel(self)
