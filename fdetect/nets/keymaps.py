"""Key maps from the authors' checkpoints to ours: DINOv2, DnCNN, and UniversalFakeDetect's head.

Each map is strict: every key of the file finds its place and every place is filled, or the import stops with the list.
Shapes are checked here as far as a map or a configuration rests on them, and all of them before an import is done.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from fdetect.errors import WeightsError
from fdetect.nets.catalogue import CARDS
from fdetect.nets.folders import listed
from fdetect.nets.importing import FITTING_FILE, Imported, importer, same_keys

__all__ = ["dinov2", "dncnn", "univfd"]

_HEAD = 64  # width of an attention head in every released DINOv2
_ONCE = {
    "cls_token": "embeddings.cls_token",
    "pos_embed": "embeddings.position_embeddings",
    "mask_token": "embeddings.mask_token",
    "patch_embed.proj.weight": "embeddings.patch_embeddings.projection.weight",
    "patch_embed.proj.bias": "embeddings.patch_embeddings.projection.bias",
    "norm.weight": "layernorm.weight",
    "norm.bias": "layernorm.bias",
}
_IN_BLOCK = {
    **{f"{name}.{part}": f"{name}.{part}" for name in ("norm1", "norm2") for part in ("weight", "bias")},
    **{f"attn.proj.{part}": f"attention.output.dense.{part}" for part in ("weight", "bias")},
    "ls1.gamma": "layer_scale1.lambda1",
    "ls2.gamma": "layer_scale2.lambda1",
}
_PLAIN = {f"mlp.{name}.{part}": f"mlp.{name}.{part}" for name in ("fc1", "fc2") for part in ("weight", "bias")}
_GATED = {
    f"mlp.{theirs}.{part}": f"mlp.{ours}.{part}"
    for theirs, ours in (("w12", "weights_in"), ("w3", "weights_out"))
    for part in ("weight", "bias")
}
_QKV = {f"attn.qkv.{part}": part for part in ("weight", "bias")}


@importer
def dinov2(checkpoint: Mapping[str, Any], *, size: str = "", registers: int = 0) -> Imported:
    """DINOv2 of any size from its authors' checkpoint: dinov2_vit{s,b,l,g}14_pretrain.pth (Apache-2.0).

    attn.qkv (3D, D) is cut into query, key and value, in this order; everything else is renamed.  `size` asks for the
    width and the blocks of that card of the catalogue.  Source: github.com/facebookresearch/dinov2,
    dinov2/models/vision_transformer.py; the names on our side are those of transformers' Dinov2Model.
    Raises WeightsError with the list of keys that are missing, have no place or are of another shape.
    """
    what = size or ("DINOv2 with registers" if registers else "DINOv2 without registers")
    once = _ONCE | ({"register_tokens": "embeddings.register_tokens"} if registers else {})
    numbers = [int(found[1]) for key in checkpoint if (found := re.match(r"blocks\.(\d+)\.", key))]
    blocks = 1 + max(numbers, default=-1)
    gated = any(".mlp.w12." in key for key in checkpoint)
    in_block = _IN_BLOCK | (_GATED if gated else _PLAIN)
    places: dict[str, Callable[[Any], dict[str, Any]]] = {key: _renamed(ours) for key, ours in once.items()}
    for k in range(max(blocks, 1)):
        ours = f"encoder.layer.{k}."
        places |= {f"blocks.{k}.{key}": _renamed(ours + new) for key, new in in_block.items()}
        places |= {f"blocks.{k}.{key}": _cut(f"{ours}attention.attention.", part) for key, part in _QKV.items()}
    same_keys(checkpoint, places, what)
    _same_axes(checkpoint, what)
    state = {new: part for key, tensor in checkpoint.items() for new, part in places[key](tensor).items()}
    width, patch = state["embeddings.patch_embeddings.projection.weight"].shape[0::3]
    card = CARDS.get(size)
    if card and (width, blocks) != (card.width, card.layers):
        sizes = f"width {width} and {blocks} blocks, where {size} has {card.width} and {card.layers}"
        raise WeightsError(f"the file is not {what}: it has {sizes}", "choose the name of this size with --as")
    side = math.isqrt(max(state["embeddings.position_embeddings"].shape[1] - 1, 1))
    return Imported(
        state,
        {
            "model_type": "dinov2_with_registers" if registers else "dinov2",
            "hidden_size": width,
            "num_hidden_layers": blocks,
            "num_attention_heads": width // _HEAD,
            "mlp_ratio": 4,
            "use_swiglu_ffn": gated,
            "patch_size": patch,
            "image_size": side * patch,
            "layer_norm_eps": 1e-6,
            **({"num_register_tokens": state["embeddings.register_tokens"].shape[1]} if registers else {}),
        },
    )


importer.variant(dinov2, "dinov2-reg", registers=4)
for _card in CARDS.values():
    if _card.authors_file:
        importer.variant(dinov2, _card.name, size=_card.name, registers=_card.registers)


@importer
def dncnn(checkpoint: Mapping[str, Any]) -> Imported:
    """DnCNN, the grey denoiser behind `dncnn_residual`, batch norms merged: dncnn_25.pth and its like (MIT).

    The keys stay: model.0.weight, model.0.bias, model.2.weight, ...  Source: github.com/cszn/KAIR (MIT).
    Raises WeightsError with the list of keys that are missing or have no place, or the one of another shape.
    """
    from fdetect.nets.denoiser import arranged  # here, since it brings the maps with it

    layers = max((len(checkpoint) + 1) // 2, 1)
    wanted = {f"model.{2 * k}.{part}": None for k in range(layers) for part in ("weight", "bias")}
    same_keys(checkpoint, wanted, "a DnCNN")
    arranged(checkpoint, "the file", FITTING_FILE)
    channels = len(checkpoint["model.0.bias"])
    return Imported(dict(checkpoint), {"model_type": "dncnn", "layers": layers, "channels": channels})


@importer
def univfd(head: Mapping[str, Any]) -> Imported:
    """UniversalFakeDetect's linear head on CLIP ViT-L/14 embeddings: fc_weights.pth (MIT).

    weight (1, 768) and bias (1,) of logit = W e + b, e the projected embedding without normalisation, larger = fake.
    Source: github.com/WisconsinAIVision/UniversalFakeDetect; Ojha, Li, Lee 2023, arXiv 2302.10174.
    Raises WeightsError for other keys or shapes.
    """
    state = {key.removeprefix("fc."): tensor for key, tensor in head.items()}
    same_keys(state, {"weight": None, "bias": None}, "the head of UniversalFakeDetect")
    dim = CARDS["clip-vit-l14"].dim
    if (tuple(state["weight"].shape), tuple(state["bias"].shape)) != ((1, dim), (1,)):
        shape = tuple(state["weight"].shape)
        raise WeightsError(f"the file is not the head of UniversalFakeDetect: weight has shape {shape}", FITTING_FILE)
    return Imported(state, {"model_type": "linear_head", "encoder": "clip-vit-l14", "dim": dim})


def _renamed(new: str) -> Callable[[Any], dict[str, Any]]:
    return lambda tensor: {new: tensor}


def _cut(prefix: str, part: str) -> Callable[[Any], dict[str, Any]]:
    names = [f"{prefix}{name}.{part}" for name in ("query", "key", "value")]
    return lambda tensor: dict(zip(names, tensor.chunk(3), strict=True))


def _same_axes(checkpoint: Mapping[str, Any], what: str) -> None:
    """Raise WeightsError with the keys of a DINOv2 whose shape its sizes cannot be read from, or that cannot be cut."""
    shapes = {key: tuple(tensor.shape) for key, tensor in checkpoint.items()}
    axes = {"patch_embed.proj.weight": 4, "pos_embed": 3, "register_tokens": 3}
    odd = [key for key, count in axes.items() if len(shapes.get(key, (0,) * count)) != count]
    width = shapes["patch_embed.proj.weight"][:1]
    odd += [key for key, shape in shapes.items() if ".attn.qkv." in key and shape[:1] != tuple(3 * w for w in width)]
    if odd:
        named = listed([f"{key} of shape {shapes[key]}" for key in odd])
        raise WeightsError(f"the file is not {what}: it has {named}", FITTING_FILE)
