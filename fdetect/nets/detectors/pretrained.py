"""Residual trunks filled from local ImageNet weights: those of transformers, or with the names of torchvision."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from safetensors.torch import load_file
from torch import nn

from fdetect.errors import WeightsError
from fdetect.nets.folders import check_tensors, read_json, weight_files
from fdetect.nets.weights import find_weights

__all__ = ["fill_resnet", "resnet_names"]

_FIX = "give a folder with config.json and model.safetensors of this ResNet as the setting pretrained=FOLDER"
_PLACES = (
    (r"embedder\.embedder\.convolution", "conv1"),
    (r"embedder\.embedder\.normalization", "bn1"),
    (r"encoder\.stages\.(\d+)\.layers\.(\d+)\.shortcut\.convolution", "layer{}.{}.downsample.0"),
    (r"encoder\.stages\.(\d+)\.layers\.(\d+)\.shortcut\.normalization", "layer{}.{}.downsample.1"),
    (r"encoder\.stages\.(\d+)\.layers\.(\d+)\.layer\.(\d+)\.convolution", "layer{}.{}.conv{}"),
    (r"encoder\.stages\.(\d+)\.layers\.(\d+)\.layer\.(\d+)\.normalization", "layer{}.{}.bn{}"),
)


def fill_resnet(trunk: nn.Module, name_or_folder: str) -> None:
    """Fill a `ResNet` in place, strictly; the classifier of the weights is left aside.

    name_or_folder  as `find_weights` takes it

    Raises WeightsError where the weights are absent, lack a tensor or have one of another shape or meaning.
    """
    folder = find_weights(name_or_folder, option="the setting pretrained", fix=_FIX)
    if read_json(folder / "config.json", name_or_folder, _FIX).get("downsample_in_bottleneck"):
        raise WeightsError(f"{name_or_folder} has its strides in the first convolution of a block, ours has them in "
                           "the second", _FIX)  # fmt: skip
    state: dict[str, torch.Tensor] = {}
    for path in weight_files(folder):
        state |= load_file(path) if path.suffix == ".safetensors" else {}
    found, wanted = resnet_names(state), trunk.state_dict()
    counted = {key: tensor for key, tensor in wanted.items() if not key.endswith("num_batches_tracked")}
    check_tensors(counted, {key: found[key] for key in counted.keys() & found.keys()}, name_or_folder, _FIX,
                  kind="this ResNet")  # fmt: skip
    trunk.load_state_dict({key: found.get(key, wanted[key]).to(wanted[key].dtype) for key in wanted})


def resnet_names(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return tensors of a ResNet of transformers by our names; others keep theirs."""
    named = {}
    for key, tensor in state.items():
        place, _, kind = key.removeprefix("resnet.").rpartition(".")
        for pattern, ours in _PLACES:
            if match := re.fullmatch(pattern, place):
                stage, block, layer = (*(int(number) for number in match.groups()), 0, 0, 0)[:3]
                place = ours.format(stage + 1, block, layer + 1)
        named[f"{place}.{kind}"] = tensor
    return named
