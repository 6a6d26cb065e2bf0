"""Low-rank adaptation: a frozen linear layer and a change of rank r that is learnt beside it.

    y = W x + b + (alpha / r) B A x,    A (r, inputs) normal with variance 1 / inputs,  B (outputs, r) = 0 at first

so that an adapted network begins as the frozen one.  Merged, W' = W + (alpha / r) B A, and it costs nothing more.

Source: Hu et al. 2021, arXiv 2106.09685, equation 3 and section 4.1 (A Gaussian, B zero; the paper leaves A's variance
open), section 7.1 (query and value together are the best choice for few weights).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import torch
from torch import nn
from torch.nn.functional import linear

from fdetect.errors import ParameterError
from fdetect.nets.folders import listed

__all__ = ["Lora", "add_lora", "fill_trained", "merge_lora", "trained_tensors"]


class Lora(nn.Module):  # type: ignore[misc]
    """A linear layer that no longer learns, and what is added to it: (..., inputs) -> (..., outputs)."""

    def __init__(self, base: nn.Linear, rank: int, alpha: float) -> None:
        super().__init__()
        self.base = base.requires_grad_(False)
        self.scale = alpha / rank
        like = {"dtype": base.weight.dtype, "device": base.weight.device}
        self.down = nn.Parameter(torch.randn(rank, base.in_features, **like) / base.in_features**0.5)
        self.up = nn.Parameter(torch.zeros(base.out_features, rank, **like))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return W x + b + (alpha / r) B A x."""
        return self.base(x) + self.scale * linear(linear(x, self.down), self.up)

    def merged(self) -> nn.Linear:
        """Return the plain layer of weight W + (alpha / r) B A, which computes the same."""
        with torch.no_grad():
            self.base.weight += self.scale * self.up @ self.down
        return self.base


def add_lora(network: nn.Module, names: Collection[str], *, rank: int, alpha: float) -> int:
    """Freeze a network, wrap each linear layer whose last name is one of `names`, in place; return how many there are.

    Raises ParameterError where there is none.
    """
    network.requires_grad_(False)
    found = [
        (parent, name, layer)
        for parent in network.modules()
        for name, layer in parent.named_children()
        if name in names and isinstance(layer, nn.Linear)
    ]
    if not found:
        raise ParameterError(f"the network has no linear layer called {' or '.join(sorted(names))} to adapt")
    for parent, name, layer in found:
        setattr(parent, name, Lora(layer, rank, alpha))
    return len(found)


def merge_lora(network: nn.Module) -> None:
    """Put the plain merged layer in place of every low-rank one."""
    found = [
        (parent, name, layer)
        for parent in network.modules()
        for name, layer in parent.named_children()
        if isinstance(layer, Lora)
    ]
    for parent, name, layer in found:
        setattr(parent, name, layer.merged())


def trained_tensors(network: nn.Module) -> dict[str, torch.Tensor]:
    """Return the tensors that training changes, by name: learning parameters, and buffers (running means).

    Together with the frozen weights' own files they are the whole network.
    """
    learning = {name for name, parameter in network.named_parameters() if parameter.requires_grad}
    frozen = {name for name, parameter in network.named_parameters()} - learning
    return {name: tensor for name, tensor in network.state_dict().items() if name not in frozen}


def fill_trained(network: nn.Module, state: Mapping[str, torch.Tensor]) -> None:
    """Fill a freshly made network from `trained_tensors`, in place.

    Raises ParameterError, naming tensors, where one is missing, left over or of another shape.
    """
    wanted = trained_tensors(network)
    odd = sorted(set(wanted) ^ set(state))
    odd += sorted(key for key in set(wanted) & set(state) if wanted[key].shape != state[key].shape)
    if odd:
        raise ParameterError(f"the saved tensors are another network's: {listed(odd, most=3)}; choose the settings "
                             "that it was trained with")  # fmt: skip
    network.load_state_dict(dict(state), strict=False)
