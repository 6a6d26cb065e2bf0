"""card.json of a trained folder: its weights' hash, its licence, and the photographs it was trained on.  No torch here.

benchmarks/train_generators.py writes it beside model.safetensors and config.json.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fdetect.errors import DataError, WeightsError
from fdetect.nets.folders import file_sha256, read_json
from fdetect.nets.own.base import CLASS_NAME

__all__ = ["OwnCard", "own_card", "training_contents"]

_CONTENT_ID = re.compile(r"[0-9a-f]{32}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class OwnCard:
    """What a card states.

    model_sha256  of model.safetensors
    licence       of the weights, empty where the card states none
    contents      content ids (xxh3_128 of the file's bytes, hex) of the photographs of training, none for dead leaves
    """

    model_sha256: str
    licence: str
    contents: frozenset[str]


def own_card(folder: Path, where: str, fix: str) -> OwnCard | None:
    """Return what card.json states, or None where the folder has none.

    where  what messages call the folder

    Raises WeightsError with `fix` where the file is no card.
    """
    path = folder / "card.json"
    if not path.is_file():
        return None
    card = read_json(path, where, fix)
    sha256, licence = card.get("model_sha256"), card.get("licence", "")
    if not isinstance(sha256, str) or not _SHA256.fullmatch(sha256):
        raise WeightsError(f"card.json in {where} does not state the SHA-256 of the weights", fix)
    if not isinstance(licence, str):
        raise WeightsError(f"card.json in {where} states a licence that is no text", fix)
    return OwnCard(sha256, " ".join(licence.split()), _contents(card.get("data"), where, fix))


def training_contents(source: str) -> frozenset[str]:
    """Return the content ids (xxh3_128 of the file's bytes, hex) of the photographs an autoencoder was trained on.

    source  as for `fdetect.nets.autoencoders.autoencoder_card`

    Empty for dead leaves alone, and for an autoencoder that is not of our own, whose training data are not known.
    Raises DataError where one of our own has no card.json that says it of these weights, WeightsError where there is
    no autoencoder.
    """
    from fdetect.nets.autoencoder_cards import GIVE_OWN, find_autoencoder  # here: it reads this module's cards

    folder, _ = find_autoencoder(source)
    if read_json(folder / "config.json", source).get("_class_name") != CLASS_NAME:
        return frozenset()
    try:
        card = own_card(folder, source, GIVE_OWN)
    except WeightsError as error:
        raise DataError(str(error)) from None
    if card is None:
        raise DataError(f"{source} has no card.json, which says what it was trained on; {GIVE_OWN}")
    if file_sha256(folder / "model.safetensors") != card.model_sha256:  # a training that was cut off before its card
        raise DataError(f"card.json of {source} is of other weights than model.safetensors; {GIVE_OWN}")
    return card.contents


def _contents(data: Any, where: str, fix: str) -> frozenset[str]:
    """Return the ids; their number must be the stated one, so that none is overlooked."""
    stated = data.get("photographs") if isinstance(data, dict) else None
    if type(stated) is not int:
        raise WeightsError(f"card.json in {where} does not state the number of photographs it was trained on", fix)
    ids = data.get("ids", [])
    if not isinstance(ids, list) or not all(isinstance(one, str) and _CONTENT_ID.fullmatch(one) for one in ids):
        raise WeightsError(f"card.json in {where} lists something else than content ids as the data of training", fix)
    if len(set(ids)) != stated:
        raise WeightsError(f"card.json in {where} lists {len(set(ids))} of {stated} photographs of training", fix)
    return frozenset(ids)
