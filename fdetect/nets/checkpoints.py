"""Where a training stands, and the file that it goes on from after a stop.

A checkpoint is one safetensors file, written whole or not at all, with JSON in its header; nothing is unpickled.  It
holds the network, the optimiser, the weights that validated best, all losses and all validations, so that a training
that goes on ends in the bytes of one that was never stopped.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from fdetect.errors import DataError, ParameterError
from fdetect.files import write_atomic

__all__ = ["Standing", "resumed", "save"]

_HEADER = "fdetect.training"  # the one entry of a checkpoint's metadata: more of them would be stored in any order
_OURS = ("losses", "validations", "stopped_early", "seconds")  # of the header; everything else must agree

Tensors = dict[str, torch.Tensor]


@dataclass
class Standing:
    """Where a training stands: losses of the steps done, (steps done, value) of validations, and the best weights."""

    losses: list[float] = field(default_factory=list)
    validations: list[tuple[int, float]] = field(default_factory=list)
    best: Tensors = field(default_factory=dict)  # of the network's state, on the CPU; empty without validation
    stopped_early: bool = False
    seconds: float = 0.0

    @property
    def best_step(self) -> int | None:
        """Number of steps before the best validation, the earlier one of equals; None without validation."""
        return max(self.validations, key=lambda one: one[1])[0] if self.validations else None

    def validated(self, value: float, model: torch.nn.Module, *, patience: int) -> None:
        """Take in the value after the steps done; after `patience` values without a better one (0: never) it stops."""
        self.validations.append((len(self.losses), value))
        if self.best_step == len(self.losses):
            self.best = {name: _alone(tensor) for name, tensor in model.state_dict().items()}
        since = sum(step > (self.best_step or 0) for step, _ in self.validations)
        self.stopped_early = 0 < patience <= since


def save(
    path: Path,
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    standing: Standing,
    identity: Mapping[str, Any],
) -> None:
    """Write a checkpoint; raises DataError where it cannot be written."""
    tensors = {f"model.{name}": _alone(tensor) for name, tensor in model.state_dict().items()}
    tensors |= {f"best.{name}": tensor for name, tensor in standing.best.items()}
    for k, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{k}.{name}": _alone(tensor) for name, tensor in state.items() if tensor is not None}
    header = {**identity, **{name: getattr(standing, name) for name in _OURS}}
    text = json.dumps({**header, "seconds": round(standing.seconds, 3)}, sort_keys=True)
    write_atomic(path, lambda temporary: save_file(tensors, temporary, metadata={_HEADER: text}))


def resumed(
    path: Path | None, model: torch.nn.Module, optimizer: torch.optim.Optimizer, identity: Mapping[str, Any]
) -> Standing:
    """Fill the network and the optimiser from a checkpoint that is there, and return where the training stands.

    Raises ParameterError where it is of another training, DataError where it cannot be read or has other tensors.
    """
    if path is None or not path.exists():
        return Standing()
    header, tensors = _read(path)
    for name in {**identity, **header}:
        if name not in _OURS and header.get(name) != identity.get(name):
            raise ParameterError(f"{path} is the checkpoint of another training ({name} {header.get(name)!r}, now "
                                 f"{identity.get(name)!r}); set these alike or give another folder")  # fmt: skip
    held: dict[int, Tensors] = {}
    try:
        for name, tensor in _of("optimizer", tensors).items():
            number, _, key = name.partition(".")
            held.setdefault(int(number), {})[key] = tensor
        model.load_state_dict(_of("model", tensors))
        optimizer.load_state_dict({"state": held, "param_groups": optimizer.state_dict()["param_groups"]})
        return Standing(
            [float(value) for value in header["losses"]],
            [(int(step), float(value)) for step, value in header["validations"]],
            _of("best", tensors), bool(header["stopped_early"]), float(header["seconds"]),
        )  # fmt: skip
    except (RuntimeError, ValueError, KeyError, TypeError) as error:  # other tensors than this network has
        raise _not_of_this(path, error) from None


def _of(kind: str, tensors: Tensors) -> Tensors:
    return {name.removeprefix(f"{kind}."): one for name, one in tensors.items() if name.startswith(f"{kind}.")}


def _alone(tensor: torch.Tensor) -> torch.Tensor:
    """Return a copy on the CPU that shares no memory: safetensors refuses tied weights and other strides."""
    return tensor.detach().cpu().clone(memory_format=torch.contiguous_format)


def _read(path: Path) -> tuple[dict[str, Any], Tensors]:
    try:
        with safe_open(path, "pt") as file:
            header = json.loads((file.metadata() or {})[_HEADER])
            return header, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except Exception as error:  # safetensors' own class, a file without our header, an unreadable one
        raise _not_of_this(path, error) from None


def _not_of_this(path: Path, error: Exception) -> DataError:
    return DataError(f"{path}: not a checkpoint of this training ({' '.join(str(error).split())[:200]}); remove it or "
                     "give another folder")  # fmt: skip
