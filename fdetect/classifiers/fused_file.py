"""A fused detector as arrays and a card, and as one file: safetensors with JSON in its header.  No pickle.

The card states columns, settings and what was trained on; the arrays are float32, named `gate.base`,
`branch.<name>.weight` and so on.  Reading is strict: another shape, a tensor too many or too few, or a number that is
not finite is refused.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np

from fdetect.classifiers.calibration import Platt
from fdetect.classifiers.fused import BranchSettings, FittedFused, FusedSettings
from fdetect.errors import DataError, FdetectError
from fdetect.files import write_atomic
from fdetect.nets.fusion import BranchNet, GateNet

__all__ = ["fused_of", "load_fused", "parts_of", "save_fused"]

FORMAT = 1
_KEY = "fdetect.fused"  # the one entry of the header's metadata
_CARD = {"format": int, "columns": dict, "settings": dict, "trained_on": dict, "seed": int, "platt": list}


def save_fused(fitted: FittedFused, path: Path) -> None:
    """Write a fused detector to one .safetensors file, whole or not at all; raises DataError where it cannot."""
    from safetensors.numpy import save_file

    card, arrays = parts_of(fitted)
    text = json.dumps(card, sort_keys=True)
    write_atomic(path, lambda temporary: save_file(arrays, temporary, metadata={_KEY: text}))


def load_fused(path: Path) -> FittedFused:
    """Read a fused detector; raises DataError, naming the file and what is wrong in it."""
    from safetensors import safe_open

    try:
        with safe_open(path, "numpy") as file:
            text = (file.metadata() or {}).get(_KEY)
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except Exception as error:  # safetensors' own class, or a file that is not there
        raise DataError(f"{path}: cannot be read as a fused detector ({' '.join(str(error).split())[:200]})") from None
    try:
        if text is None:
            raise DataError("safetensors without the card of one")
        return fused_of(json.loads(text), arrays)
    except (FdetectError, ValueError) as error:
        raise DataError(f"{path}: not a fused detector ({error}); fit it again") from None


def parts_of(fitted: FittedFused) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return the card, of plain JSON values, and the arrays of a fused detector, which `fused_of` puts together."""
    card = {
        "format": FORMAT,
        "columns": {name: list(columns) for name, columns in fitted.columns.items()},
        "settings": asdict(fitted.settings),
        "trained_on": dict(fitted.trained_on),
        "seed": fitted.seed,
        "platt": [fitted.platt.slope, fitted.platt.offset, fitted.platt.prior] if fitted.platt else [],
    }
    arrays = {f"gate.{one.name}": getattr(fitted.gate, one.name) for one in fields(GateNet)}
    for name, net in fitted.nets.items():
        arrays |= {f"branch.{name}.{one.name}": getattr(net, one.name) for one in fields(BranchNet)}
    return card, {name: np.ascontiguousarray(array, np.float32) for name, array in arrays.items()}


def fused_of(card: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> FittedFused:
    """Return the fused detector of a card and arrays; raises DataError or ParameterError where they do not fit."""
    if faults := [name for name, kind in _CARD.items() if type(card.get(name)) is not kind]:
        raise DataError(f"its card lacks {faults[0]}")
    if card["format"] != FORMAT:
        raise DataError("it was written by another version of fdetect")
    columns = {name: tuple(map(str, names)) for name, names in sorted(card["columns"].items())}
    settings = _settings(card["settings"])
    if not columns or set(settings.branches) - set(columns):
        raise DataError("its card names no branches, or settings of others")
    wanted = _shapes(columns, settings)
    if set(wanted) != set(arrays):
        odd = sorted(set(wanted) ^ set(arrays))[0]
        raise DataError(f"it {'lacks' if odd in wanted else 'has no place for'} the array {odd}")
    for name, shape in wanted.items():
        array = arrays[name]
        if array.dtype != np.float32 or array.shape != shape or not np.isfinite(array).all():
            raise DataError(f"its array {name} must be finite float32 {shape}, and is {array.dtype} {array.shape}")
    nets = {
        branch: BranchNet(*(arrays[f"branch.{branch}.{one.name}"] for one in fields(BranchNet))) for branch in columns
    }
    gate = GateNet(*(arrays[f"gate.{one.name}"] for one in fields(GateNet)))
    trained_on = {str(name): int(count) for name, count in card["trained_on"].items()}
    return FittedFused(columns, nets, gate, settings, trained_on, card["seed"], _platt(card["platt"]))


def _platt(numbers: list[Any]) -> Platt | None:
    if not numbers:
        return None
    if len(numbers) != 3 or not all(isinstance(one, float) and math.isfinite(one) for one in numbers) or numbers[0] < 0:
        raise DataError("its calibration must be three numbers, the slope not negative")
    return Platt(*numbers)


def _settings(content: Mapping[str, Any]) -> FusedSettings:
    try:
        branches = {name: BranchSettings(**one) for name, one in content["branches"].items()}
        return FusedSettings(**{**content, "branches": branches})
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(f"its settings do not fit ({error})") from None


def _shapes(columns: Mapping[str, tuple[str, ...]], settings: FusedSettings) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {f"gate.{one.name}": (len(columns),) for one in fields(GateNet)}
    shapes["gate.spread"] = (1,)
    for branch, names in columns.items():
        wide, hidden = (len(names),), (settings.of(branch).hidden,)
        of_branch = {"mean": wide, "scale": wide, "weight": wide, "bias": (1,), "hidden": wide + hidden,
                     "hidden_bias": hidden, "out": hidden}  # fmt: skip
        shapes |= {f"branch.{branch}.{name}": shape for name, shape in of_branch.items()}
    return shapes
