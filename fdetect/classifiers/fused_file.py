"""A fused detector as a card of plain JSON values, arrays and files, for a model folder (saved.py).  No pickle.

The card states columns, settings and what was trained on; the arrays are float32, named `gate.base`,
`branch.<name>.weight` and so on; `<name>.skops` is the head that gives a branch its logit.  Reading is strict: another
shape, a tensor or file too many or too few, or a number that is not finite is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

import numpy as np

from fdetect.classifiers.estimator_files import estimator_bytes, read_estimator
from fdetect.classifiers.expert import Expert
from fdetect.classifiers.fused import BranchSettings, FittedFused, FusedSettings
from fdetect.classifiers.fused_fit import expert_head
from fdetect.classifiers.heads import FittedHead
from fdetect.classifiers.model_folder import head_file
from fdetect.errors import DataError
from fdetect.nets.fusion import BranchNet, GateNet

__all__ = ["fused_of", "parts_of"]

FORMAT = 1
_CARD = {"format": int, "columns": dict, "settings": dict, "trained_on": dict, "seed": int}


def parts_of(fitted: FittedFused) -> tuple[dict[str, Any], dict[str, np.ndarray], dict[str, bytes]]:
    """Return the card, the arrays and the files of a fused detector, which `fused_of` puts together."""
    card = {
        "format": FORMAT,
        "columns": {name: list(columns) for name, columns in fitted.columns.items()},
        "settings": asdict(fitted.settings),
        "trained_on": dict(fitted.trained_on),
        "seed": fitted.seed,
    }
    arrays = {f"gate.{one.name}": getattr(fitted.gate, one.name) for one in fields(GateNet)}
    files = {}
    for name, expert in fitted.experts.items():
        arrays |= {f"branch.{name}.{one.name}": getattr(expert.net, one.name) for one in fields(BranchNet)}
        if expert.head:
            template = expert_head(expert.head.name)()
            files[head_file(name)] = estimator_bytes(expert.head.name, expert.head.pipeline, template)
    return card, {name: np.ascontiguousarray(array, np.float32) for name, array in arrays.items()}, files


def fused_of(
    card: Mapping[str, Any], arrays: Mapping[str, np.ndarray], files: Mapping[str, bytes]
) -> FittedFused:
    """Return the fused detector of a card, arrays and files.

    Raises DataError or ParameterError where they do not fit, ValueError for a head that no fit can have made.
    """
    if faults := [name for name, kind in _CARD.items() if type(card.get(name)) is not kind]:
        raise DataError(f"its card lacks {faults[0]}")
    if card["format"] != FORMAT:
        raise DataError("it was written by another version of fdetect")
    columns = {name: tuple(map(str, names)) for name, names in sorted(card["columns"].items())}
    settings = _settings(card["settings"])
    if not columns or set(settings.branches) - set(columns):
        raise DataError("its card names no branches, or settings of others")
    if anchors := [name for name, own in settings.branches.items() if own.anchor and own.anchor not in columns[name]]:
        raise DataError(f"its branch {anchors[0]} lacks the column of its anchor")
    wanted = _shapes(columns, settings)
    if set(wanted) != set(arrays):
        odd = sorted(set(wanted) ^ set(arrays))[0]
        raise DataError(f"it {'lacks' if odd in wanted else 'has no place for'} the array {odd}")
    for name, shape in wanted.items():
        array = arrays[name]
        if array.dtype != np.float32 or array.shape != shape or not np.isfinite(array).all():
            raise DataError(f"its array {name} must be finite float32 {shape}, and is {array.dtype} {array.shape}")
    if strange := sorted({head_file(branch) for branch in columns if settings.of(branch).head} ^ set(files)):
        raise DataError(f"it {'has no place for' if strange[0] in files else 'lacks'} the file {strange[0]}")
    experts = {}
    for branch, mine in columns.items():
        net, own = BranchNet(*(arrays[f"branch.{branch}.{one.name}"] for one in fields(BranchNet))), settings.of(branch)
        experts[branch] = Expert(net, own.clip, _head(own.head, mine, files[head_file(branch)]) if own.head else None)
    gate = GateNet(*(arrays[f"gate.{one.name}"] for one in fields(GateNet)))
    trained_on = {str(name): int(count) for name, count in card["trained_on"].items()}
    return FittedFused(columns, experts, gate, settings, trained_on, card["seed"])


def _head(name: str, columns: tuple[str, ...], data: bytes) -> FittedHead:
    entry = expert_head(name)
    found = FittedHead(entry.name, columns, read_estimator(entry.name, data, entry(), len(columns)), 0.0)
    if not np.isfinite(found.score(np.zeros((1, len(columns)), np.float32))).all():
        raise DataError(f"its head {entry.name} gives no finite score")
    return found


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
