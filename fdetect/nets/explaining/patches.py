"""The network's own logits of places, as a map."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fdetect.errors import ParameterError
from fdetect.nets.explaining.base import explanation

if TYPE_CHECKING:
    import torch

    from fdetect.nets.detectors.model import DetectorNetwork

__all__ = ["cell_logits", "patch_logits"]


@explanation(shows="evidence")
def patch_logits(model: DetectorNetwork, images: torch.Tensor) -> torch.Tensor:
    """Logit of each place, interpolated between the places: (B, 3, H, W) -> (B, H, W) float32.

        map(i, j) = w . f(i, j) + b,   whose mean over the cells is the image's logit

    A cell stands where the middle of what it sees is.  Raises ParameterError where the network has no such logits.
    Source: Zhou et al. 2016, arXiv 1512.04150, equation 2.
    """
    from fdetect.nets.explaining.places import places_of, spread

    cells = cell_logits(model, images)
    return spread(cells, places_of(model, cell_logits, "patch logits"), *images.shape[-2:])


def cell_logits(model: DetectorNetwork, images: torch.Tensor) -> torch.Tensor:
    """Return the logits of places, (B, h, w); raises ParameterError where the network has none."""
    cells = model.patch_logits(images)
    if cells is None:
        raise ParameterError(f"{model.config.architecture} has no logits of places; take another explanation")
    return cells
