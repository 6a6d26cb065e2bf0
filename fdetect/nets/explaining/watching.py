"""A layer's activations and gradients, seen without leaving a trace: hooks, modes and gradients are put back.

Gradients are asked for by `torch.autograd.grad`, which fills no parameter's `.grad`; rules that change back-propagation
act on the nodes of one graph, not on modules, so that activations count that are functions or work in place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from fdetect.errors import DataError, ParameterError
from fdetect.nets.detectors.model import DetectorNetwork
from fdetect.registry import nearest

__all__ = ["at_rest", "change_relus", "finite", "gradient", "shadowed", "watched"]

Rule = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]  # gradient at the input, at the output -> at the input


@contextmanager
def at_rest(model: nn.Module) -> Iterator[None]:
    """Hold a network in evaluation mode, with gradients on; every module's mode is afterwards what it was."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with torch.inference_mode(False), torch.enable_grad():
            yield
    finally:
        for module, mode in modes:
            module.training = mode


@contextmanager
def watched(model: DetectorNetwork, layer: str = "") -> Iterator[list[torch.Tensor]]:
    """Yield a list to which every pass through the network adds a layer's activations, (B, C, h, w).

    layer  name of a module, as in `model.named_modules()`; "" is what the network offers as its `features`

    What follows sees a copy, so that an activation that works in place leaves what was seen alone.
    Raises ParameterError for a layer that is not there, and where the network has no convolutional features.
    """
    seen: list[torch.Tensor] = []

    def keep(output: Any) -> torch.Tensor:
        if not isinstance(output, torch.Tensor) or output.ndim != 4:
            where = f"layer '{layer}' of {_name(model)}" if layer else f"`features` of {_name(model)}"
            raise ParameterError(f"{where} gives no maps (B, C, h, w); name a convolutional layer")
        seen.append(output)
        return output.clone()

    if layer:
        modules = dict(model.named_modules())
        if layer not in modules:
            known = [name for name in modules if name]
            raise ParameterError(f"{_name(model)} has no layer '{layer}'{nearest(layer, known)} ({_some(known)})")
        handle = modules[layer].register_forward_hook(lambda module, given, output: keep(output))
        try:
            yield seen
        finally:
            handle.remove()
        return
    if getattr(model, "features", None) is None:
        raise ParameterError(f"{_name(model)} has no convolutional features, so there is no class activation map of it "
                             "unless one of its layers is named, such as grad_cam:layer=NAME")  # fmt: skip
    with shadowed(model, "features", keep):
        yield seen


@contextmanager
def shadowed(model: DetectorNetwork, name: str, change: Callable[[torch.Tensor], torch.Tensor]) -> Iterator[None]:
    """Have what a network's method of (B, 3, H, W) images returns pass through `change`, wherever it is called."""
    method = getattr(model, name)
    if name in vars(model) or isinstance(method, nn.Module):
        raise ParameterError(f"`{name}` of {_name(model)} must be a method of its class")
    object.__setattr__(model, name, lambda images: change(method(images)))  # is found before the class's own
    try:
        yield
    finally:
        object.__delattr__(model, name)


def gradient(logits: torch.Tensor, at: torch.Tensor, what: str) -> torch.Tensor:
    """Return the gradient of each image's logit, (B,), at a tensor of the same images, in its shape.

    Raises ParameterError where none of the logits depends on it in a way that gradients see.
    """
    found = None
    if finite(logits).requires_grad:
        (found,) = torch.autograd.grad(logits.sum(), at, allow_unused=True)
    if found is None:
        raise ParameterError(f"no gradient of the logit reaches {what}; name another layer, or take patch_logits")
    return found


def change_relus(output: torch.Tensor, rule: Rule) -> int:
    """Have back-propagation through the graph of `output` follow a rule at every ReLU, and return their number.

    The graph is that of one pass: nothing outside it changes.
    """
    waiting, known, count = [output.grad_fn], set[Any](), 0
    while waiting:
        node = waiting.pop()
        if node is None or node in known:
            continue
        known.add(node)
        waiting += [before for before, _ in node.next_functions]
        if node.name().startswith("ReluBackward"):
            node.register_hook(lambda inner, outer: tuple(None if g is None else rule(g, outer[0]) for g in inner))
            count += 1
    return count


def finite(logits: torch.Tensor) -> torch.Tensor:
    """Return logits; raises DataError where one is no finite number."""
    if not bool(torch.isfinite(logits).all()):
        raise DataError("the network's logit is no finite number; look at its weights")
    return logits


def _name(model: DetectorNetwork) -> str:
    return model.config.architecture


def _some(names: list[str]) -> str:
    return ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
