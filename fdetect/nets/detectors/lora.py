"""Low-rank adaptation: a frozen linear layer and a change of rank r that is learnt beside it.

    y = W x + b + (alpha / r) B A x,    A (r, inputs) normal with variance 1 / inputs,  B (outputs, r) = 0 at first

so that an adapted network begins as the frozen one.

Source: Hu et al. 2021, arXiv 2106.09685, equation 3 and section 4.1 (A Gaussian, B zero; the paper leaves A's variance
open), section 7.1 (query and value together are the best choice for few weights).
"""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import nn
from torch.nn.functional import linear

from fdetect.errors import ParameterError

__all__ = ["Lora", "add_lora"]


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
