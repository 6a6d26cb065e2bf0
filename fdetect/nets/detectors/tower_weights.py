"""Local weights for transformers' image towers: found on disk, loaded by transformers, and refused unless they fit.

Nothing is downloaded, and nothing keeps its random first values: a tensor that is missing, left over or of another
shape is a WeightsError that names it, and so is a setting that no shape shows.  Classification heads and what pools
before them may be there, and are left.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from fdetect.errors import WeightsError
from fdetect.nets.architectures import quiet
from fdetect.nets.folders import one_line, read_json, refuse_keys
from fdetect.nets.weights import find_weights, remove_first, where_to_get

__all__ = ["fill_tower", "local_folder", "of_setting"]

_HEADS = r"(.*\.)?(classifier|pooler)\..*|.*relative_position_index"


def local_folder(name: str, setting: str) -> Path:
    """Return the folder of local weights; raises WeightsError whose fix names a network's setting."""
    try:
        return find_weights(name)
    except WeightsError as error:
        raise of_setting(error, setting) from None


def of_setting(error: WeightsError, setting: str) -> WeightsError:
    """Return the error with a network's setting in the fix, where an option of the command line stood."""
    return type(error)(error.reason, error.fix.replace("--encoder FOLDER", f"the setting {setting}"))


def fill_tower(tower: nn.Module, name: str, architecture: str, *, same: Sequence[str]) -> None:
    """Fill a network of transformers, in place, with the tensors of a folder, a name or a hub id.

    same  what config.json must state as the tower's configuration does, since no shape of a tensor shows it

    Raises WeightsError where the weights are absent, of another type or setting, or do not fill the network exactly.
    """
    folder = local_folder(name, "pretrained")
    fix = remove_first(folder, where_to_get(name).replace("--encoder FOLDER", "the setting pretrained"))
    _check_settings(tower, folder, name, architecture, same=same, fix=fix)
    try:
        with quiet(), torch.random.fork_rng(devices=[]):
            loaded, report = type(tower).from_pretrained(
                folder, config=tower.config, local_files_only=True, use_safetensors=True, dtype=torch.float32,
                ignore_mismatched_sizes=True, output_loading_info=True,
            )  # fmt: skip
    except Exception as error:  # a damaged file, each in its own class
        raise WeightsError(f"{name} does not load as {architecture} ({one_line(error, folder, name)})", fix) from None
    wanted = tower.state_dict()
    refuse_keys(
        name, fix, lacks=set(map(str, report["missing_keys"])) & set(wanted),
        extra={key for key in map(str, report["unexpected_keys"]) if not re.fullmatch(_HEADS, key)},
        other={key: found for key, found, _ in report["mismatched_keys"] if key in wanted}, kind=f"this {architecture}",
    )  # fmt: skip
    tower.load_state_dict({key: tensor for key, tensor in loaded.state_dict().items() if key in wanted})


def _check_settings(tower: Any, folder: Path, name: str, architecture: str, *, same: Sequence[str], fix: str) -> None:
    """Raise WeightsError where config.json states another type or setting than the tower has."""
    stated = read_json(folder / "config.json", name, fix)
    for key in ("model_type", *same):
        ours = getattr(tower.config, key)
        ours = list(ours) if isinstance(ours, tuple) else ours
        if stated.get(key, ours) != ours:
            raise WeightsError(f"{name} is not this {architecture}: its {key} is {stated[key]}, not {ours}", fix)
