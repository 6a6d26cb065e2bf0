"""What works on this machine: every optional part by name, with how to get it where it is absent."""

from __future__ import annotations

import importlib.util
import os
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from fdetect.backend import resolve
from fdetect.engine import Store
from fdetect.engine.pool import default_workers
from fdetect.errors import BackendError, WeightsError
from fdetect.images import decoder_id
from fdetect.nets.weights import find_weights
from fdetect.rigid import detector

__all__ = ["Check", "checks"]

EXTRAS = {"simplejpeg": "fast", "torch": "deep", "transformers": "deep", "safetensors": "deep", "cupy": "gpu",
          "pandas": "pandas"}  # fmt: skip


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
    for encoder in dict.fromkeys(entry.settings["encoder"] for entry in detector if "encoder" in entry.settings):
        try:
            found.append(Check(f"weights {encoder}", True, str(find_weights(encoder))))
        except WeightsError as error:
            found.append(Check(f"weights {encoder}", False, str(error)))
    folder = Store(store).folder
    existing = next(p for p in (folder, *folder.parents) if p.exists())
    writable = os.access(existing, os.W_OK)
    text = str(folder) if writable else f"{folder} cannot be written; give --store FOLDER or set FDETECT_CACHE"
    found.append(Check("store", writable, text))
    return found


def _optional(package: str, extra: str) -> Check:
    if importlib.util.find_spec(package) is None:
        return Check(package, False, f"pip install 'fdetect[{extra}]'")
    try:
        return Check(package, True, version(package))
    except PackageNotFoundError:  # CuPy's wheels carry the CUDA version in their names
        origin = importlib.util.find_spec(package)
        return Check(package, True, str(Path(origin.origin).parent) if origin and origin.origin else "present")
