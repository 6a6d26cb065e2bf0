"""A detector network in a folder: config.json, model.safetensors and, where one is given, card.json."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from fdetect.errors import ParameterError, WeightsError
from fdetect.files import write_atomic
from fdetect.nets.detectors.base import config_from_json
from fdetect.nets.detectors.model import DetectorNetwork
from fdetect.nets.folders import check_tensors, checked, read_json

__all__ = ["CARD", "fill", "load_network_folder", "save_network"]

CARD = "card.json"
_FIX = "give a folder that fdetect wrote, or train the network again"


def save_network(model: DetectorNetwork, folder: Path, card: Mapping[str, Any] | None = None) -> None:
    """Write a network into a folder, which is made where it is absent: the same network, the same bytes.

    card  what card.json says of it: training data, measures, whatever JSON holds

    Each file is written whole or not at all, the tensors last.  Raises DataError where a file cannot be written.
    """
    tensors = {name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
               for name, tensor in model.state_dict().items()}  # fmt: skip
    _write_json(folder / "config.json", model.config.to_json())
    if card is not None:
        _write_json(folder / CARD, card)

    def write(path: Path) -> None:
        save_file(tensors, path, metadata={"format": "pt"})
        shutil.copymode(folder / "config.json", path)  # safetensors writes for the user alone, whatever the umask

    write_atomic(folder / "model.safetensors", write)


def load_network_folder(folder: Path, *, name: str = "", fix: str = _FIX) -> DetectorNetwork:
    """Return the network of a folder in evaluation mode on the CPU, in float32.

    name  what messages call the folder

    Raises WeightsError where a file is absent, damaged or of another network, with the keys.
    """
    name = name or f"the folder {folder}"
    folder = checked(folder, stem="model", where=name, fix=fix)
    state = load_file(folder / "model.safetensors")
    return fill(read_json(folder / "config.json", name, fix), state, name, fix)


def fill(content: Mapping[str, Any], state: Mapping[str, torch.Tensor], name: str, fix: str = _FIX) -> DetectorNetwork:
    """Return the network that config.json's content describes and the tensors fill exactly, in evaluation mode.

    Tensors may be float16; the network computes in float32.  Torch's global generator is not touched.
    Raises WeightsError where a tensor is missing, left over or of another shape.
    """
    try:
        config = config_from_json(content)
        with torch.device("meta"):  # shapes alone: sizes that no memory holds are refused by what the file holds
            wanted = config.model().state_dict()
    except ParameterError as error:
        raise WeightsError(f"config.json of {name} does not fit ({error})", fix) from None
    check_tensors(wanted, state, name, fix)
    with torch.random.fork_rng(devices=[]):  # first values are drawn, then replaced
        model = config.model()
    model.load_state_dict({key: tensor.to(wanted[key].dtype) for key, tensor in state.items()})
    ready: DetectorNetwork = model.eval()
    return ready


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    text = json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    write_atomic(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))
