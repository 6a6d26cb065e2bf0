"""Encoders on disk: the catalogue's card, if there is one, with what config.json and the files' hashes say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fdetect.errors import WeightsError
from fdetect.nets.catalogue import CARDS, FAMILIES, CataloguedEncoder, Family, NetworkNoise, Triple
from fdetect.nets.evidence import evidence_of, identity
from fdetect.nets.folders import digests, read_json
from fdetect.nets.weights import find_weights, is_folder, remove_first, where_to_get

__all__ = ["CARDS", "EncoderCard", "NetworkNoise", "encoder_card"]


@dataclass(frozen=True, kw_only=True)
class EncoderCard(CataloguedEncoder):
    """An encoder that is here: a card, of the catalogue or made from config.json, and the files behind it.

    source      the folder, name or hub id that was asked for
    sha256      of the safetensors, and config_sha256 of config.json (heads and activation live there)
    image_size  side in px of the images that it was trained with: of its table of positions
    evidence    of exactly these files, mean and std: "unverified weights", "official weights" or "reproduced"; see
                `fdetect.nets.evidence`
    """

    source: str
    sha256: str
    config_sha256: str
    image_size: int


def encoder_card(source: str) -> EncoderCard:
    """Find an encoder and describe it.

    Its preprocessing is the catalogue's where the source is a name or a hub id of the catalogue, else its family's;
    mean and standard deviation are those of preprocessor_config.json where that file is there.

    Raises WeightsError where weights are absent, or of an architecture or with sizes that no encoder here has.
    """
    folder = find_weights(source)
    fix = remove_first(folder, where_to_get(source))
    config = read_json(folder / "config.json", source, fix)
    family, vision = _family(config, source, fix)
    sizes = _sizes(family, config, vision, source, fix)
    card = _known(source, family, sizes) or _unknown(family, sizes)
    mean, std = _constants(folder, card, source)
    found = {
        "source": source,
        "image_size": sizes["image_size"],
        "mean": mean,
        "std": std,
        **digests(folder),
    }
    return EncoderCard(**(asdict(card) | found | {"evidence": evidence_of(identity(found))}))


def _family(config: Mapping[str, Any], source: str, fix: str) -> tuple[Family, Mapping[str, Any]]:
    """Return the family that config.json names, and the part of it that describes the image tower."""
    kind = config.get("model_type", "unknown")
    for family in FAMILIES.values():
        if kind == family.nested:
            return family, config
        if kind == family.type:
            vision = config.get("vision_config") if family.nested else config
            return family, vision if isinstance(vision, Mapping) else {}
    known = ", ".join(FAMILIES)
    raise WeightsError(f"config.json of {source} describes a model of type '{kind}', not one of {known}", fix)


def _sizes(
    family: Family, config: Mapping[str, Any], vision: Mapping[str, Any], source: str, fix: str
) -> dict[str, int]:
    """Return the network's sizes under their names in config.json, transformers' defaults where it is silent."""
    sizes = {}
    for name, default in family.defaults.items():
        value = vision.get(name, config.get(name, default) if name == "projection_dim" else default)
        if not isinstance(value, int) or value < 1:
            raise WeightsError(f"config.json of {source} has no whole number as the network's {name}", fix)
        sizes[name] = value
    return sizes


def _known(source: str, family: Family, sizes: Mapping[str, int]) -> CataloguedEncoder | None:
    """Return the catalogue's card for a name or hub id of it whose sizes are those on disk."""
    hub_id = source.partition("@")[0]
    for card in CARDS.values():
        if source == card.name or (hub_id == card.hub_id and not is_folder(source)):
            shape = (card.family, card.width, card.layers, card.patch)
            if shape == (family.type, *(sizes[name] for name in ("hidden_size", "num_hidden_layers", "patch_size"))):
                return card
    return None


def _unknown(family: Family, sizes: Mapping[str, int]) -> CataloguedEncoder:
    """Return a card for weights of a known architecture and unknown origin: its shape is known, nothing else."""
    width, layers, patch = (sizes[name] for name in ("hidden_size", "num_hidden_layers", "patch_size"))
    shapes = {(card.family, card.width, card.layers) for card in CARDS.values()}
    # tables of positions of 37 x 37 are made for images of 224 px too
    size = 224 if family.type.startswith("dino") else sizes["image_size"]
    return CataloguedEncoder(
        name=f"{family.type.removesuffix('_vit')}-{width}x{layers}",
        hub_id="",
        revision="",
        family=family.type,
        embedding=family.embedding,
        size=size,
        fit=family.fit,
        resize=round(size * 256 / 224) if family.type.startswith("dinov2") else size,
        interpolation=family.interpolation,
        mean=family.mean,
        std=family.std,
        dim=sizes.get("projection_dim", width),
        width=width,
        layers=layers,
        patch=patch,
        licence="not stated",
        purpose="release" if (family.type, width, layers) in shapes else "test",
    )


def _constants(folder: Path, card: CataloguedEncoder, source: str) -> tuple[Triple, Triple]:
    """Return mean and standard deviation of preprocessor_config.json, or the card's where it has none."""
    file = folder / "preprocessor_config.json"
    stated = read_json(file, source) if file.is_file() else {}
    pairs = []
    for name, default in (("image_mean", card.mean), ("image_std", card.std)):
        values = stated.get(name)
        whole = isinstance(values, list) and len(values) == 3 and all(isinstance(v, int | float) for v in values)
        pairs.append((float(values[0]), float(values[1]), float(values[2])) if whole and values else default)
    return pairs[0], pairs[1]
