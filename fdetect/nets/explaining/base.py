"""The registry of explanations, and what is asked of a network beside them.  No torch at import.

    method = explanation.read("grad_cam:layer=trunk.4")
    maps = explain(model, images, method)          # (B, 3, H, W) RGB 0..1 -> (B, H, W) float32

A method takes (model, images) and says with `shows` how its map is to be read:

    evidence   above 0 speaks for generated, below 0 for real
    support    at least 0: the larger, the more it speaks for generated
    objection  at most 0: the more negative, the more it speaks for real
    attention  at least 0: where what raises the logit was found; a sign of attention, no proof
    strength   at least 0: where features are strong, whatever they speak for
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fdetect.errors import DataError, ParameterError
from fdetect.registry import Entry, Registry

if TYPE_CHECKING:
    import torch

    from fdetect.nets.detectors.model import DetectorNetwork

__all__ = ["SHOWS", "Patch", "explain", "explanation", "logits_of", "top_patches"]

explanation = Registry("explanation", "shows")

SHOWS = {
    "evidence": "red speaks for generated, blue for real",
    "support": "red speaks for generated",
    "objection": "blue speaks for real",
    "attention": "red where the network looks, no proof",
    "strength": "red where features are strong, for either answer",
}


@dataclass(frozen=True)
class Patch:
    """The logit of one place: the pixel at its centre, counted from the top left, and the logit."""

    row: float
    column: float
    logit: float


def explain(model: DetectorNetwork, images: torch.Tensor, method: Entry) -> torch.Tensor:
    """Return the map of every image: (B, 3, H, W) RGB 0..1 -> (B, H, W) float32, on the device of the network.

    The network's mode, gradients, hooks and values are afterwards what they were.
    Raises ParameterError for images of another shape and where the network has no such explanation, DataError for
    pixels, logits or maps that are no finite numbers.
    """
    import torch

    from fdetect.nets.explaining.watching import at_rest

    with at_rest(model):
        images = _checked(model, images)
        maps: torch.Tensor = method(model, images).detach().float()
    if maps.shape != (len(images), *images.shape[-2:]):
        raise ParameterError(f"explanation '{method.name}' made {tuple(maps.shape)} of images {tuple(images.shape)}; "
                             "correct its return value")  # fmt: skip
    if not bool(torch.isfinite(maps).all()):
        raise DataError(f"explanation '{method.name}' gives values that are no numbers; look at the network's weights")
    return maps


def logits_of(model: DetectorNetwork, images: torch.Tensor) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Return the logit of every image, and of each branch where the network has branches: (B,) float32 each.

    A network with branches offers `branch_logits(images)` -> a dictionary of (B,) logits by the branch's name.
    """
    import torch

    from fdetect.nets.explaining.watching import at_rest, finite

    with at_rest(model), torch.no_grad():
        images = _checked(model, images)
        logits = finite(model(images))
        named = getattr(model, "branch_logits", None)
        branches = {} if named is None else {name: finite(logit.float()) for name, logit in named(images).items()}
    return logits, branches


def top_patches(model: DetectorNetwork, images: torch.Tensor, *, count: int = 5) -> list[list[Patch]]:
    """Return for every image the places that speak most for generated, the strongest first.

    Raises ParameterError where the network has no logits of places.
    """
    import torch

    from fdetect.nets.explaining.patches import cell_logits
    from fdetect.nets.explaining.places import places_of
    from fdetect.nets.explaining.watching import at_rest

    with at_rest(model):
        images = _checked(model, images)
        with torch.no_grad():
            cells = cell_logits(model, images)
        places = places_of(model, cell_logits, "patch logits")
    found = []
    for logits in cells.detach().double().cpu().numpy():
        order = (-logits).argsort(axis=None, kind="stable")[:count]
        rows, columns = (order // logits.shape[1]).tolist(), (order % logits.shape[1]).tolist()
        found.append([
            Patch(places.first + places.step * i, places.first + places.step * j, float(logits[i, j]))
            for i, j in zip(rows, columns, strict=True)
        ])  # fmt: skip
    return found


def _checked(model: DetectorNetwork, images: torch.Tensor) -> torch.Tensor:
    """Return the images where the network is, as a copy of their own, after they were looked at."""
    import torch

    if images.ndim != 4 or images.shape[1] != 3 or not len(images) or not images.is_floating_point():
        raise ParameterError(f"an explanation takes images (B, 3, H, W) of floating point numbers in 0..1; got "
                             f"{tuple(images.shape)} {images.dtype}")  # fmt: skip
    if not bool(torch.isfinite(images).all()):
        raise DataError("an image holds pixels that are no finite numbers; give pixels in 0..1")
    tensors = [*model.parameters(), *model.buffers()]
    model.check(images)
    return images.detach().to(tensors[0].device if tensors else images.device).clone()
