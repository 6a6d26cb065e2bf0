"""Foreign checkpoints become safetensors: one strict key map a network, and no code of the file is ever run.

    .pth -> torch.load(weights_only=True) -> key map of NAME -> <weights home>/NAME/model.safetensors, config.json
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fdetect.errors import DataError, ParameterError, UnknownName, WeightsError
from fdetect.files import check_writable
from fdetect.nets.autoencoder_cards import AUTOENCODERS
from fdetect.nets.catalogue import CARDS
from fdetect.nets.evidence import record_evidence
from fdetect.nets.weights import INSTALL_DEEP, file_sha256, torch_missing, weights_home
from fdetect.registry import Registry, nearest

__all__ = ["Imported", "import_weights", "importer", "importers"]

importer = Registry("importer")  # (state dict of each given file, in order) -> Imported

_NESTED = ("state_dict", "model", "params", "params_ema")  # where trainers put the tensors among other things


@dataclass(frozen=True)
class Imported:
    """A network in our own keys: `state` maps names to Torch tensors, `config` is what config.json will hold."""

    state: Mapping[str, Any]
    config: Mapping[str, Any]


def importers() -> Registry:
    """Return the registry with every importer in it; those of networks of our own need torch and come with it."""
    from fdetect.nets import keymaps  # noqa: F401 (they register themselves)

    if not torch_missing():
        from fdetect.nets import lpips, taef2  # noqa: F401
    return importer


def import_weights(files: Sequence[str | Path], name: str) -> Path:
    """Turn foreign files into <weights home>/<name>/ and return that folder, which is there whole or not at all.

    Beside model.safetensors and config.json it holds card.json: the files that it came from, and their SHA-256.  Where
    a file is the authors' own by the catalogue's hash, the weights count as official from then on.

    Raises UnknownName for a name that no importer has, ParameterError for another number of files, WeightsError for
    a file that cannot be read without running its code or that is another network, DataError where the folder cannot
    be written or is there already.
    """
    if missing := torch_missing():
        raise WeightsError(f"fdetect weights import needs torch: {missing}", INSTALL_DEEP)
    registry = importers()
    if name not in registry:
        known = ", ".join(registry.names())
        raise UnknownName(f"no importer '{name}'{nearest(name, registry.names())}; --as takes one of {known}")
    entry = registry.get(name)
    if len(files) != len(entry.reads):
        wanted = " ".join(part.upper() for part in entry.reads)
        raise ParameterError(f"importer '{name}' takes {len(entry.reads)} files ({wanted}); got {len(files)}")
    folder = weights_home() / name
    if folder.exists():
        raise DataError(f"{folder} is there already; remove it to import '{name}' again")
    check_writable(weights_home())
    paths = [Path(file).expanduser() for file in files]
    imported = entry(*(_tensors(path) for path in paths))
    digests = {path.name: file_sha256(path) for path in paths}
    sha256 = _write(folder, imported, {"name": name, "importer": entry.summary, "files": digests})
    card, other = CARDS.get(name), AUTOENCODERS.get(name)
    authors = (card.authors_sha256,) if card else other.authors_sha256 if other else ()
    if authors and all(authors) and sorted(authors) == sorted(digests.values()):
        record_evidence(sha256, "official weights", {"name": name, "files": digests})
    return folder


def _tensors(path: Path) -> dict[str, Any]:
    """Return the tensors of a .safetensors or of a torch file that needs no code to read, in main memory."""
    import torch
    from safetensors.torch import load_file

    if not path.is_file():
        raise WeightsError(f"no weights file '{path}'", "give the path of the authors' file")
    try:
        if path.suffix == ".safetensors":
            return dict(load_file(path))
        content = torch.load(path, weights_only=True, map_location="cpu")
    except Exception as error:  # each format and each kind of damage in its own class
        text = " ".join(str(error).split())
        if "weights_only" in text or "Unsupported" in text or "GLOBAL" in text:
            reason = f"{path} holds more than tensors, and reading it would run its code"
            raise WeightsError(reason, "get a file that torch.load(weights_only=True) reads") from None
        raise WeightsError(f"{path} does not load ({text[:120]})", "get the file again") from None
    for key in _NESTED:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not all(isinstance(value, torch.Tensor) for value in content.values()):
        raise WeightsError(f"{path} is no state dictionary of tensors", "give the authors' file of weights")
    return {str(key): value for key, value in content.items()}


def _write(folder: Path, imported: Imported, card: Mapping[str, Any]) -> str:
    """Write a folder beside its place and rename it; return the SHA-256 of its safetensors."""
    from safetensors.torch import save_file

    temporary = folder.with_name(f".{uuid.uuid4().hex}.tmp")
    try:
        temporary.mkdir(parents=True)
        state = {key: value.detach().contiguous().clone() for key, value in imported.state.items()}
        save_file(state, temporary / "model.safetensors", metadata={"format": "pt"})
        sha256 = file_sha256(temporary / "model.safetensors")
        for name, content in (("config.json", imported.config), ("card.json", {**card, "sha256": sha256})):
            (temporary / name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        os.replace(temporary, folder)
    except Exception as error:  # safetensors reports a full disk in its own class
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())[:200]
        raise DataError(f"{folder}: cannot be written ({reason}); free some space or set $FDETECT_WEIGHTS") from None
    finally:
        with contextlib.suppress(OSError):
            shutil.rmtree(temporary, ignore_errors=True)
    return sha256
