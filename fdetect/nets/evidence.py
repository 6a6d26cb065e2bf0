"""What has been shown of networks, kept in the weights home, where it survives a run.

    unverified weights -> official weights (the hub's or the card's hash) -> reproduced (a published figure was reached)

Each level that a network reached is one small file, so that processes that write at once take nothing from each other.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fdetect.errors import ParameterError, WeightsError
from fdetect.files import write_atomic
from fdetect.nets.folders import read_json
from fdetect.nets.weights import weights_home

__all__ = ["LEVELS", "about_evidence", "evidence_of", "identity", "record_evidence"]

LEVELS = ("unverified weights", "official weights", "reproduced")


def identity(card: Mapping[str, Any]) -> str:
    """Return what evidence is kept by: everything that decides the network, as a card's fields or JSON values say it.

    These are the SHA-256 of weights and of configuration, `sha256` and `config_sha256`, and an encoder's `mean` and
    `std`.
    """
    return " ".join(map(str, (card["sha256"], card["config_sha256"], *card.get("mean", ()), *card.get("std", ()))))


def record_evidence(network: str, level: str, about: Mapping[str, Any]) -> None:
    """Note that the network of this identity reached a level; `about` says how (a hub id, a figure) as JSON.

    A lower level does not replace a higher one.  Raises ParameterError for a level that does not exist, DataError where
    the file cannot be written.
    """
    if level not in LEVELS:
        raise ParameterError(f"level is one of {', '.join(LEVELS)}; got '{level}'")
    if level != LEVELS[0]:
        text = json.dumps({"network": network, "level": level, "about": dict(about)}, indent=2, sort_keys=True) + "\n"
        write_atomic(_file(network, level), lambda path: path.write_text(text, encoding="utf-8"))


def evidence_of(network: str) -> str:
    """Return the level that a network reached on this machine; "unverified weights" for an unknown one."""
    return str(_highest(network).get("level", LEVELS[0]))


def about_evidence(network: str) -> dict[str, Any]:
    """Return how the level was reached, or an empty dictionary."""
    about = _highest(network).get("about")
    return about if isinstance(about, dict) else {}


def _file(network: str, level: str) -> Path:
    """The folder's name is none that weights can have."""
    name = hashlib.sha256(network.encode()).hexdigest()[:32]
    return weights_home() / ".evidence" / f"{name}-{level.split()[0]}.json"


def _highest(network: str) -> dict[str, Any]:
    """Return what the file of the highest level holds; one that is absent or damaged makes no level up."""
    for level in reversed(LEVELS[1:]):
        try:
            found = read_json(_file(network, level), "the weights home's .evidence")
        except (OSError, WeightsError):
            continue
        if (found.get("network"), found.get("level")) == (network, level):
            return found
    return {}
