"""Key map from RINE's published checkpoints to ours; UniversalFakeDetect's head, a linear one, is in keymaps.py."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fdetect.errors import WeightsError
from fdetect.nets.catalogue import CARDS
from fdetect.nets.folders import listed
from fdetect.nets.importing import FITTING_FILE, Imported, importer, same_keys

__all__ = ["rine", "rine_keys"]

_CLIP = "clip-vit-l14"


@importer(name="rine-1class")
def rine(checkpoint: Mapping[str, Any], *, layers: int = 4, dim: int = 1024) -> Imported:
    """RINE's trained part on the class tokens of all blocks of CLIP ViT-L/14: model_1class_trainable.pth and its like.

    alpha (1, 24, P) weighs the blocks, proj1.{1, 4, ...} and proj2.{1, 4, ...} are as many linear layers each,
    head.{0, 3, 6} end in one logit, larger = fake; the gaps in the numbers are ReLU and dropout.  CLIP itself is not in
    the file.  `layers` of each projection, and P = `dim`, differ between the checkpoints (no licence stated).  The keys
    were read in the code of its authors; none of the files was here.
    Source: github.com/mever-team/rine, src/models.py; Koutlis and Papadopoulos 2024, arXiv 2402.19091.
    Raises WeightsError with the list of keys that are missing, have no place or are of another shape.
    """
    what = "RINE's trained part"
    state = {key.removeprefix("module."): tensor for key, tensor in checkpoint.items()}
    depth = max(sum(key.startswith("proj1.") and key.endswith(".weight") for key in state), 1)
    same_keys(state, dict.fromkeys(rine_keys(depth)), what)
    shape = tuple(state["alpha"].shape)
    clip = CARDS[_CLIP]
    if len(shape) != 3 or shape[:2] != (1, clip.layers):
        reason = f"it has alpha of shape {shape}, where {_CLIP} has {clip.layers} blocks"
        raise WeightsError(f"the file is not {what}: {reason}", FITTING_FILE)
    shapes = rine_keys(depth, width=clip.width, blocks=clip.layers, dim=shape[2])
    if odd := [f"{key} of shape {tuple(state[key].shape)}" for key in shapes if tuple(state[key].shape) != shapes[key]]:
        raise WeightsError(f"the file is not {what}: it has {listed(odd)}", FITTING_FILE)
    if (depth, shape[2]) != (layers, dim):
        sizes = f"{depth} layers of {shape[2]}, where this one has {layers} of {dim}"
        raise WeightsError(f"the file is another of RINE's: it has {sizes}", FITTING_FILE)
    config = {"model_type": "rine_head", "encoder": _CLIP, "width": clip.width, "blocks": clip.layers}
    return Imported({key: tensor.float() for key, tensor in state.items()}, config | {"layers": depth, "dim": shape[2]})


def rine_keys(layers: int, *, width: int = 0, blocks: int = 0, dim: int = 0) -> dict[str, tuple[int, ...]]:
    """Return the names of the tensors of RINE's trained part, and their shapes.

    layers  of each projection; `dim` P of what they give; `width` and `blocks` of the encoder
    """
    keys: dict[str, tuple[int, ...]] = {"alpha": (1, blocks, dim)}
    linear = [(f"proj1.{1 + 3 * k}", width if k == 0 else dim, dim) for k in range(layers)]
    linear += [(f"proj2.{1 + 3 * k}", dim, dim) for k in range(layers)]
    linear += [("head.0", dim, dim), ("head.3", dim, dim), ("head.6", dim, 1)]
    for name, inputs, outputs in linear:
        keys |= {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}
    return keys


for _name, _layers, _dim in (("2class", 4, 128), ("4class", 2, 1024), ("ldm", 4, 1024)):
    importer.variant(rine, f"rine-{_name}", layers=_layers, dim=_dim)
