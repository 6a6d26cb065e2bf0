"""What has been shown of weights, by their SHA-256: one small file in the weights home that survives a run.

    unverified weights -> official weights (the hub's or the card's hash) -> reproduced (a published figure was reached)
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fdetect.errors import ParameterError
from fdetect.files import write_atomic
from fdetect.nets.weights import weights_home

__all__ = ["LEVELS", "about_evidence", "evidence_of", "record_evidence"]

LEVELS = ("unverified weights", "official weights", "reproduced")


def record_evidence(sha256: str, level: str, about: Mapping[str, Any]) -> None:
    """Note that weights of this hash reached a level; `about` says how (a hub id, a figure and its source) as JSON.

    A lower level does not replace a higher one.  Raises ParameterError for a level that does not exist, DataError where
    the file cannot be written.
    """
    if level not in LEVELS:
        raise ParameterError(f"level is one of {', '.join(LEVELS)}; got '{level}'")
    known = _known()
    if LEVELS.index(level) < LEVELS.index(known.get(sha256, {}).get("level", LEVELS[0])):
        return
    known[sha256] = {"level": level, "about": dict(about)}
    text = json.dumps(known, indent=2, sort_keys=True) + "\n"
    write_atomic(_file(), lambda path: path.write_text(text, encoding="utf-8"))


def evidence_of(sha256: str) -> str:
    """Return the level that weights of this hash reached on this machine; "unverified weights" for an unknown one."""
    return str(_known().get(sha256, {}).get("level", LEVELS[0]))


def about_evidence(sha256: str) -> dict[str, Any]:
    """Return how the level was reached, or an empty dictionary."""
    return dict(_known().get(sha256, {}).get("about", {}))


def _file() -> Path:
    return weights_home() / "evidence.json"


def _known() -> dict[str, dict[str, Any]]:
    """Return what the file holds; a file that is absent or damaged holds nothing, so that no level is made up."""
    try:
        content = json.loads(_file().read_bytes())
    except (OSError, ValueError):
        return {}
    if not isinstance(content, dict):
        return {}
    return {key: entry for key, entry in content.items() if isinstance(entry, dict) and entry.get("level") in LEVELS}
