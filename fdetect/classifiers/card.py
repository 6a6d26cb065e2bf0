"""What a model's card says beside what is needed to score: the data, the thresholds in words, versions, the purpose."""

from __future__ import annotations

import hashlib
import math
import platform
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as library_version
from typing import Any

import numpy as np

from fdetect.decide import Calibration
from fdetect.errors import DataError
from fdetect.types import FAKE, REAL

__all__ = ["PURPOSE", "SHARED", "ascending", "calibration_of", "data_record", "need", "thresholds", "versions"]

PURPOSE = (
    "Made by fdetect fit of the data below, for whoever has these data. Whether the model may be passed on depends on "
    "the licences of its training images and of the networks it looks through, which fdetect does not know. A score is "
    "evidence and no proof: thresholds hold for real images like those that set them, and nothing is promised for "
    "generators and sources of photographs that are not named here."
)

SHARED = {"condition": str, "crop": int, "seed": int, "n_failed": int, "version": str}  # what every card says

_LIBRARIES = ("fdetect", "numpy", "scipy", "scikit-learn", "skops", "safetensors")
_NETWORKS = ("torch", "transformers")


def data_record(ids: Sequence[str], label: np.ndarray) -> dict[str, Any]:
    """Describe N images by content ids and (N,) labels: how many of each class, and a SHA-256.

        sha256 of the lines "<id> <label>", sorted, each once

    The same images under other names, or in another order, have the same hash.
    """
    lines = sorted({f"{id} {int(one)}" for id, one in zip(ids, label, strict=True)})
    return {
        "sha256": hashlib.sha256("\n".join(lines).encode()).hexdigest(),
        "n_images": len(label),
        "n_contents": len(lines),
        "n_real": int((label == REAL).sum()),
        "n_fake": int((label == FAKE).sum()),
    }


def thresholds(calibration: Calibration) -> list[dict[str, Any]]:
    """Return the two thresholds with the level they promise and the n they rest on; None where not attainable."""
    return [
        {
            "false_positive_rate": one.fpr,
            "value": one.value if math.isfinite(one.value) else None,
            "n_reals": one.n_reals,
            "attainable": one.attainable,
        }
        for one in (calibration.five, calibration.one)
    ]


def ascending(scores: np.ndarray) -> tuple[float, ...]:
    """Return calibration scores; raises DataError unless they are finite float64 in ascending order."""
    if scores.dtype != np.float64 or scores.ndim != 1 or not np.isfinite(scores).all() or (np.diff(scores) < 0).any():
        raise DataError("its calibration must be finite float64 scores in ascending order; fit it again")
    return tuple(scores.tolist())


def calibration_of(scores: np.ndarray, card: Mapping[str, Any]) -> Calibration:
    """Return what sets the thresholds; raises DataError where those of the card are others."""
    calibration = Calibration(ascending(scores))
    if card["thresholds"] != thresholds(calibration):
        raise DataError("the thresholds of its card are not those of its calibration scores; fit it again")
    return calibration


def versions(*, networks: bool = False) -> dict[str, str]:
    """Return the versions of Python and of the libraries that a model depends on, those of networks where asked for."""
    found = {"python": platform.python_version()}
    for name in (*_LIBRARIES, *(_NETWORKS if networks else ())):
        found |= dict(_installed(name))
    return found


def need(card: Mapping[str, Any], kinds: Mapping[str, type]) -> dict[str, Any]:
    """Return values of a card by name, each exactly of its type; raises DataError for another, KeyError for none."""
    for name, kind in kinds.items():
        if type(card[name]) is not kind:
            raise DataError(f"not a fitted detector ({name} is {card[name]!r})")
    return {name: card[name] for name in kinds}


def _installed(name: str) -> Iterable[tuple[str, str]]:
    try:
        yield name, library_version(name)
    except PackageNotFoundError:
        return
