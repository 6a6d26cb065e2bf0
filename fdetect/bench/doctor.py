"""What works on this machine: every optional part by name, with how to get it where it is absent."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from fdetect.backend import resolve
from fdetect.engine import Store
from fdetect.engine.pool import default_workers
from fdetect.errors import BackendError, WeightsError
from fdetect.images import decoder_id
from fdetect.nets.autoencoders import autoencoder_card
from fdetect.nets.cards import encoder_card
from fdetect.nets.distances import distance
from fdetect.rigid import detector

__all__ = ["Check", "checks"]

EXTRAS = {"simplejpeg": "fast", "torch": "deep", "transformers": "deep", "safetensors": "deep", "cupy": "gpu",
          "pandas": "pandas", "diffusers": "diffusion", "fsspec": "remote", "ray": "ray"}  # fmt: skip


@dataclass(frozen=True)
class Check:
    """One line of `fdetect doctor`."""

    name: str
    ok: bool
    text: str


def checks(store: str | None = None) -> list[Check]:
    """Look at everything once; nothing is downloaded, torch is not imported."""
    found = [Check("cores", True, str(default_workers())), Check("decoder", True, decoder_id())]
    always = ("numpy", "scipy", "numba", "scikit-learn", "pyarrow")
    found += [Check(package, True, version(package)) for package in always]
    found += [_optional(package, extra) for package, extra in EXTRAS.items()]
    try:
        found.append(Check("backend gpu", True, resolve("gpu").reason))
    except BackendError as error:
        found.append(Check("backend gpu", False, str(error)))
    found += [_weights(name, encoder_card) for name in _networks("encoder")]
    found += [_weights(name, autoencoder_card) for name in _networks("autoencoder")]
    found += [check for name in _networks("distance") for check in _distance(name)]
    folder = Store(store).folder
    existing = next(p for p in (folder, *folder.parents) if p.exists())
    writable = os.access(existing, os.W_OK)
    text = str(folder) if writable else f"{folder} cannot be written; give --store FOLDER or set FDETECT_CACHE"
    found.append(Check("store", writable, text))
    return found


def _networks(setting: str) -> list[str]:
    """What registered detectors ask for by this setting, each name once."""
    asked = [entry.settings[setting] for entry in detector if setting in entry.settings]
    return list(dict.fromkeys(name for names in asked for name in names.split("+")))


def _weights(name: str, card_of: Callable[[str], Any]) -> Check:
    try:
        card = card_of(name)
        return Check(f"weights {name}", True, f"{card.purpose}, {card.evidence}, sha256 {card.sha256[:12]}")
    except WeightsError as error:
        return Check(f"weights {name}", False, f"{error.reason}; {error.fix.split(', or ')[0]}")


def _distance(name: str) -> list[Check]:
    """A check of a distance that needs weights; nothing of those that need none."""
    try:
        digest = distance.get(name).digest()
        return [Check(f"weights of distance {name}", True, f"sha256 {digest[:12]}")] if digest else []
    except WeightsError as error:
        return [Check(f"weights of distance {name}", False, f"{error.reason}; {error.fix}")]


def _optional(package: str, extra: str) -> Check:
    if importlib.util.find_spec(package) is None:
        return Check(package, False, f"pip install 'fdetect[{extra}]'")
    try:
        return Check(package, True, version(package))
    except PackageNotFoundError:  # CuPy's wheels carry the CUDA version in their names
        origin = importlib.util.find_spec(package)
        return Check(package, True, str(Path(origin.origin).parent) if origin and origin.origin else "present")
