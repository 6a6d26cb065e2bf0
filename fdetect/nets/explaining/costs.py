"""What explaining a picture needs of memory, told from passes of two small ones.  No torch at import.

    bytes(area) = what the network keeps for the gradient + WORK x its largest activation,   each a + b x area

Activations of convolutions grow with the picture's area, and what does not stands in a; attention over all places,
whose products grow with its square, is computed piece by piece.  It is an estimate: what libraries take beside it for
their own work is not seen.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fdetect.errors import DataError
from fdetect.registry import Entry

if TYPE_CHECKING:
    import torch

    from fdetect.nets.detectors.model import DetectorNetwork

__all__ = ["Costs", "costs_of"]

_SIDE = 64  # px of the smaller picture, where the network takes it; the other's is half as large again
_WORK = 4  # activations of the largest size at once: a layer's input and output, a gradient or a copy in float64
_WITHOUT_GRADIENT = ("eigen_cam", "layer_activations", "score_cam")


@dataclass(frozen=True)
class Costs:
    """Bytes that one picture takes: (a, b) of a + b x area in px each.

    has_patches  whether the network has logits of places, which are asked for whatever the method
    """

    kept: tuple[float, float]
    largest: tuple[float, float]

    has_patches: bool

    def needed(self, height: int, width: int, methods: Iterable[Entry]) -> float:
        """Return about how many bytes are in use at the peak of explaining a picture of height x width px."""
        area = height * width
        gradient = self.has_patches or any(one.name not in _WITHOUT_GRADIENT for one in methods)
        kept, largest = (max(0.0, a + b * area) for a, b in (self.kept, self.largest))
        return (kept if gradient else 0.0) + _WORK * largest

    def check(self, height: int, width: int, methods: Iterable[Entry]) -> None:
        """Raise DataError where the explanations need more than the memory of this machine."""
        from fdetect.nets.memory import room

        needed, there = self.needed(height, width, methods), room("cpu", 0)
        if needed > there:
            raise DataError(f"explaining {width} x {height} px with this network needs about {needed / 1e9:.1f} GB at "
                            f"this size, and this machine has {there / 1e9:.1f} GB; give a smaller --crop")  # fmt: skip


def costs_of(model: DetectorNetwork) -> Costs:
    """Measure a network by one pass each of two small pictures; it is afterwards what it was."""
    from fdetect.nets.detectors.model import DetectorNetwork
    from fdetect.nets.explaining.watching import at_rest

    least = max(_SIDE, model.config.LEAST)
    sides = least, least * 3 // 2
    with at_rest(model):
        small, large = (_measured(model, side) for side in sides)
    slopes = [(high - low) / (sides[1] ** 2 - sides[0] ** 2) for low, high in zip(small, large, strict=True)]
    kept, largest = ((low - slope * sides[0] ** 2, slope) for low, slope in zip(small, slopes, strict=True))
    return Costs(kept, largest, type(model).patch_logits is not DetectorNetwork.patch_logits)


def _measured(model: DetectorNetwork, side: int) -> tuple[float, float]:
    """Return the bytes that a pass keeps for the gradient, weights apart, and those of its largest activation."""
    import torch
    from torch.autograd.graph import saved_tensors_hooks

    held = [*model.parameters(), *model.buffers()]
    weights = {_where(one) for one in held}
    kept, largest = dict[int, int](), [0]

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if (where := _where(tensor)) not in weights:
            kept[where] = tensor.untyped_storage().nbytes()  # once, however many layers keep it
        return tensor.detach()

    def look(module: Any, given: Any, output: Any) -> None:
        if isinstance(output, torch.Tensor):
            largest.append(output.nbytes)

    hooks = [one.register_forward_hook(look) for one in model.modules() if not [*one.children()]]
    try:
        with saved_tensors_hooks(keep, lambda tensor: tensor):
            logit = model(torch.full((1, 3, side, side), 0.5, device=held[0].device if held else None).requires_grad_())
    finally:
        for hook in hooks:
            hook.remove()
    del logit  # until here it held all that was kept, so that no two had one address
    return float(sum(kept.values())), float(max(largest))


def _where(tensor: torch.Tensor) -> int:
    return int(tensor.untyped_storage().data_ptr())
