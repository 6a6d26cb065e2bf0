"""Perturbed copies of a network, as WePe compares: noise on its matrices, or thinned branches; see NetworkNoise.

Draws come from NumPy's generator, seeded by the number of the draw and by the parameter's name in the installed version
of transformers alone: with the same version they are the same on every machine and device, and for every image.
"""

from __future__ import annotations

import copy
import re
import zlib
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from fdetect.errors import ParameterError
from fdetect.nets.catalogue import NOISE_KINDS, NetworkNoise
from fdetect.nets.memory import room

__all__ = ["kept_copy", "perturbed_network"]

_SHARE = 0.5  # of the memory that copies may take: physical memory, or what of a CUDA device others leave free

_BRANCHES = r"(attention|self_attn|mlp)"  # the last part of the names of the two modules whose output is added


_kept: OrderedDict[tuple[Any, NetworkNoise, str, int], Any] = OrderedDict()  # the least recently used first


def kept_copy(model: Any, noise: NetworkNoise, *, blocks: str, layers: int) -> Any:
    """Return `perturbed_network` of the same arguments, made once and kept while there is room.

    Copies on one device take half of its memory at most, their parameters counted; beyond that the least recently used
    are dropped.  A network is part of its copies' key, and lives as long as they do.
    """
    key = (model, noise, blocks, layers)
    if key not in _kept:
        device = next(model.parameters()).device
        beside = [other for other in _kept if next(_kept[other].parameters()).device == device]
        while beside:
            held = sum(_bytes(_kept[other]) for other in beside)
            if held + _bytes(model) <= _SHARE * room(str(device), held):
                break
            del _kept[beside.pop(0)]
        _kept[key] = perturbed_network(model, noise, blocks=blocks, layers=layers)
    _kept.move_to_end(key)
    return _kept[key]


def _bytes(model: Any) -> int:
    return sum(parameter.nbytes for parameter in model.parameters())


def perturbed_network(model: Any, noise: NetworkNoise, *, blocks: str, layers: int) -> Any:
    """Return a perturbed copy of a network on its device; the original is not modified.

    blocks  pattern that finds the number of a block in the name of a parameter or module, as its first group
    layers  number of blocks; the first layers - noise.skip_last are perturbed, at least one

    Raises ParameterError for a kind, a strength or a skip_last that cannot be.
    """
    if noise.kind not in NOISE_KINDS:
        raise ParameterError(f"kind of network noise is one of {', '.join(NOISE_KINDS)}; got '{noise.kind}'")
    if noise.skip_last < 0:
        raise ParameterError(f"skip_last of network noise must not be negative; got {noise.skip_last}")
    if not noise.strength >= 0 or (noise.kind == "dropout" and noise.strength >= 1):
        raise ParameterError(f"strength of network noise {noise.kind} cannot be {noise.strength}")
    twin, end = copy.deepcopy(model), max(layers - noise.skip_last, 1)
    if noise.kind == "dropout":
        for name, module in _within(twin.named_modules(), blocks, end):
            if re.search(rf"{blocks}{_BRANCHES}$", name):
                module.register_forward_hook(_thinned(name, noise))
        return twin
    with torch.no_grad():
        for name, parameter in _within(twin.named_parameters(), blocks, end):
            if parameter.ndim >= 2:
                spread = noise.strength * float(parameter.double().abs().mean())
                entries = _entries(noise.kind, _generator(name, noise.draw), tuple(parameter.shape)) * spread
                parameter.add_(torch.from_numpy(entries.astype(np.float32)).to(parameter.device))
    return twin


def _within(named: Iterator[tuple[str, Any]], blocks: str, end: int) -> Iterator[tuple[str, Any]]:
    """Yield the named things that lie in a block of number below `end`."""
    for name, thing in named:
        if (found := re.search(blocks, name)) and int(found[1]) < end:
            yield name, thing


def _generator(name: str, draw: int) -> np.random.Generator:
    return np.random.default_rng([zlib.crc32(name.encode()), draw])


def _entries(kind: str, rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Return float64 noise of mean 0 and standard deviation 1."""
    if kind == "gaussian":
        return rng.standard_normal(shape)
    if kind == "uniform":
        return rng.uniform(-(3**0.5), 3**0.5, shape)
    return rng.laplace(0.0, 0.5**0.5, shape)


def _thinned(name: str, noise: NetworkNoise) -> Any:
    """Return a hook that multiplies a branch's output (B, tokens, D) by one mask (D,), alike for all of a draw."""
    made: dict[tuple[int, torch.device], torch.Tensor] = {}

    def hook(module: Any, inputs: Any, output: Any) -> Any:
        hidden = output[0] if isinstance(output, tuple) else output
        key = (hidden.shape[-1], hidden.device)
        if key not in made:
            kept = _generator(name, noise.draw).random(hidden.shape[-1]) >= noise.strength
            mask = kept.astype(np.float32) / np.float32(1 - noise.strength)
            made[key] = torch.from_numpy(mask).to(hidden.device)
        hidden = hidden * made[key].to(hidden.dtype)
        return (hidden, *output[1:]) if isinstance(output, tuple) else hidden

    return hook
