"""Foreign checkpoints become safetensors: one strict key map a network, and no code of the file is ever run.

    .pth -> torch.load(weights_only=True) -> key map of NAME -> a folder beside its place -> it loads as the network
         -> <weights home>/NAME/model.safetensors, config.json, card.json
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import json
import os
import shutil
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fdetect.errors import DataError, ParameterError, UnknownName, WeightsError
from fdetect.files import check_writable
from fdetect.nets.cards import CARDS, encoder_card
from fdetect.nets.catalogue import FAMILIES
from fdetect.nets.detectors import CLASS_NAME
from fdetect.nets.evidence import identity, record_evidence
from fdetect.nets.folders import file_sha256, listed
from fdetect.nets.weights import INSTALL_DEEP, torch_missing, weights_home
from fdetect.registry import Registry, nearest

__all__ = ["FITTING_FILE", "Imported", "import_weights", "importer", "importers", "same_keys"]

FITTING_FILE = "give the authors' own file, or the name that fits this one with --as"

importer = Registry("importer")  # (state dict of each given file, in order) -> Imported

_TORCH = (b"PK\x03\x04", b"\x80")  # how torch's files begin: a zip, and before version 1.6 a bare pickle
_NESTED = ("state_dict", "model", "params", "params_ema")  # where trainers put the tensors among other things


@dataclass(frozen=True)
class Imported:
    """A network in our own keys: `state` maps names to Torch tensors, `config` is what config.json will hold."""

    state: Mapping[str, Any]
    config: Mapping[str, Any]


def importers() -> Registry:
    """Return the registry with every importer in it; those of networks of our own need torch and come with it."""
    from fdetect.nets import detector_keymaps, head_keymaps, keymaps  # noqa: F401 (they register themselves)

    if not torch_missing():
        from fdetect.nets import lpips, taef2  # noqa: F401
    return importer


def import_weights(files: Sequence[str | Path], name: str) -> Path:
    """Turn foreign files into <weights home>/<name>/ and return that folder, which is there whole or not at all.

    Beside model.safetensors and config.json it holds card.json: the files that it came from, in order, and their
    SHA-256.  Where a file is the authors' own by the catalogue's hash, the network counts as official from then on.

    Raises UnknownName for a name that no importer has, ParameterError for another number of files, WeightsError for
    a file that cannot be read without running its code or that is another network, by its keys or its shapes, DataError
    where the folder cannot be written or is there already.
    """
    if missing := torch_missing():
        raise WeightsError(f"fdetect weights import needs torch: {missing}", INSTALL_DEEP)
    registry = importers()
    if name not in registry:
        hint = nearest(name, registry.names()) or ";"
        raise UnknownName(f"no importer '{name}'{hint} --as takes one of {', '.join(registry.names())}")
    entry = registry.get(name)
    if len(files) != len(entry.reads):
        wanted = " ".join(part.upper() for part in entry.reads)
        raise ParameterError(f"importer '{name}' takes {len(entry.reads)} files ({wanted}); got {len(files)}")
    folder = weights_home() / name
    if folder.exists():
        raise _there_already(folder)
    check_writable(weights_home())
    paths = [Path(file).expanduser() for file in files]
    imported = entry(*(_tensors(path) for path in paths))
    origins = [{"name": path.name, "sha256": file_sha256(path)} for path in paths]
    _write(folder, imported, {"name": name, "importer": entry.summary, "files": origins})
    card = CARDS.get(name)
    if card and card.authors_sha256 and [card.authors_sha256] == [origin["sha256"] for origin in origins]:
        about = {"name": name, "files": origins}
        record_evidence(identity(asdict(encoder_card(name))), "official weights", about)
    return folder


def same_keys(found: Mapping[str, Any], wanted: Mapping[str, Any], what: str) -> None:
    """Raise WeightsError with the keys that `found` lacks, and those that it should not have."""
    missing = [key for key in wanted if key not in found]
    extra = [key for key in found if key not in wanted]
    if missing or extra:
        parts = [f"lacks {listed(missing)}"] if missing else []
        parts += [f"holds {listed(extra)}, for which there is no place"] if extra else []
        raise WeightsError(f"the file is not {what}: it {' and '.join(parts)}", FITTING_FILE)


def _there_already(folder: Path) -> DataError:
    return DataError(f"{folder} is there already; remove it to import '{folder.name}' again")


def _tensors(path: Path) -> dict[str, Any]:
    """Return the tensors of a .safetensors or of a torch file that needs no code to read, in main memory."""
    import torch
    from safetensors.torch import load_file

    if not path.is_file():
        raise WeightsError(f"no weights file '{path}'", "give the path of the authors' file")
    try:
        if path.suffix == ".safetensors":
            return dict(load_file(path))
        with open(path, "rb") as file:
            start = file.read(4)
        if not start.startswith(_TORCH):
            raise WeightsError(f"{path} is neither a torch file nor safetensors", "give the authors' file of weights")
        with torch.serialization.safe_globals([argparse.Namespace]):  # trainers' options, which hold no code
            content = torch.load(path, weights_only=True, map_location="cpu")
    except WeightsError:
        raise
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


def _write(folder: Path, imported: Imported, card: Mapping[str, Any]) -> None:
    """Write a folder beside its place, see that an encoder loads from it, and rename it."""
    from safetensors.torch import save_file

    temporary = folder.with_name(f".{uuid.uuid4().hex}.tmp")
    try:
        temporary.mkdir(parents=True)
        state = {key: value.detach().contiguous().clone() for key, value in imported.state.items()}
        save_file(state, temporary / "model.safetensors", metadata={"format": "pt"})
        sha256 = file_sha256(temporary / "model.safetensors")
        for name, content in (("config.json", imported.config), ("card.json", {**card, "sha256": sha256})):
            (temporary / name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        # safetensors writes for the user alone, whatever the umask
        shutil.copymode(temporary / "config.json", temporary / "model.safetensors")
        if imported.config.get("model_type") in FAMILIES:
            _check_encoder(temporary, folder.name)
        if imported.config.get("_class_name") == CLASS_NAME:
            _check_network(temporary, folder.name)
        os.replace(temporary, folder)
    except WeightsError:
        raise
    except Exception as error:  # safetensors reports a full disk in its own class
        if getattr(error, "errno", None) in (errno.ENOTEMPTY, errno.EEXIST):  # another import was faster
            raise _there_already(folder) from None
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())[:200]
        raise DataError(f"{folder}: cannot be written ({reason}); free some space or set $FDETECT_WEIGHTS") from None
    finally:
        with contextlib.suppress(OSError):
            shutil.rmtree(temporary, ignore_errors=True)


def _check_encoder(folder: Path, name: str) -> None:
    """Load an encoder as it will be loaded; raises WeightsError with the keys whose shapes do not fit."""
    from fdetect.nets.architectures import load_network

    try:
        load_network(folder, encoder_card(str(folder)), "size", 224)
    except WeightsError as error:
        reason = error.reason.replace(str(folder), f"the file for {name}")
        raise WeightsError(reason, FITTING_FILE) from None


def _check_network(folder: Path, name: str) -> None:
    """Load a detector network as it will be loaded; raises WeightsError with the keys whose shapes do not fit."""
    from fdetect.nets.detectors.loading import load_network_folder

    load_network_folder(folder, name=f"the file for {name}", fix=FITTING_FILE)
