"""An autoencoder of our own from its folder's tensors and config.json, strictly."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from fdetect.errors import ParameterError, WeightsError
from fdetect.nets.folders import check_tensors
from fdetect.nets.own.base import config_from_json
from fdetect.nets.own.blocks import OwnModel

__all__ = ["load_own"]


def load_own(state: Mapping[str, torch.Tensor], content: Mapping[str, Any], name: str, fix: str) -> OwnModel:
    """Return the network that config.json's content describes and the tensors fill exactly, in evaluation mode.

    Tensors may be float16, as they are written; the network computes in float32.  Raises WeightsError, with the keys,
    where a tensor is missing, left over or of another shape; `name` is what the message calls the weights.
    """
    try:
        with torch.device("meta"):
            model = config_from_json(content).model()
    except ParameterError as error:
        raise WeightsError(f"config.json of {name} does not fit ({error})", fix) from None
    wanted = model.state_dict()
    check_tensors(wanted, state, name, fix)
    model.load_state_dict({key: tensor.to(wanted[key].dtype) for key, tensor in state.items()}, assign=True)
    # channels last is what a processor's convolutions want
    fast: OwnModel = model.to(memory_format=torch.channels_last).eval().requires_grad_(False)
    return fast
