"""Weights on disk: find them, check them, and say what is known of them, without importing torch.

A detector whose weights are absent must say so at once.  So this module reads the file system alone: a folder of
the user's, or the hub cache by its layout on disk (`models--org--name/refs/main` names a folder of `snapshots/`).
Only safetensors are accepted, since a pickle can run code; nothing is ever downloaded.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fdetect.errors import WeightsError

__all__ = [
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "INSTALL_DEEP",
    "EncoderCard",
    "encoder_card",
    "file_sha256",
    "find_weights",
    "torch_missing",
    "weights_sha256",
]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
INSTALL_DEEP = "pip install 'fdetect[deep]'"

_SINGLE, _INDEX = "model.safetensors", "model.safetensors.index.json"
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?(@[A-Za-z0-9][\w./-]*)?")
_RELEASED_SHAPES = ((384, 12), (768, 12), (1024, 24), (1536, 40))  # width, layers of DINOv2 small to giant
_RELEASED_LICENCE = "Apache-2.0"  # of facebook/dinov2-*, by its authors' repository
_OFFICIAL_SHA256: frozenset[str] = frozenset()  # digests of published model.safetensors; none was checked so far


@dataclass(frozen=True)
class EncoderCard:
    """What is known of an encoder's weights; purpose and evidence are printed in every row that rests on them.

    name        the hub id, or "dinov2-<width>x<layers>" for a folder: its shape is known, its origin is not
    source      the folder or hub id that was asked for
    sha256      of the safetensors, and config_sha256 of config.json (heads and activation live there)
    dim         D, the width of the embedding; `patch` and `image_size` in px as trained
    mean, std   what RGB in 0..1 is normalised with
    purpose     "release" where a published DINOv2 has this shape, else "test": nobody judges images with it
    evidence    "official weights" where sha256 is one that we know, else "unverified weights"
    """

    name: str
    source: str
    sha256: str
    config_sha256: str
    dim: int
    patch: int
    image_size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    licence: str
    purpose: str
    evidence: str


def find_weights(name_or_folder: str) -> Path:
    """Return the folder that holds config.json and complete safetensors, for a folder or a hub id.

    A folder wins over a hub id of the same name.  `org/name@revision` asks for another revision than "main".
    Raises WeightsError, with its fix, where a file is absent, truncated, or only a pickle is there.
    """
    if _is_folder(name_or_folder):
        return _checked(Path(name_or_folder).expanduser(), f"the folder {name_or_folder}", _fix())
    if not _HUB_ID.fullmatch(name_or_folder):
        raise WeightsError(f"no weights folder '{name_or_folder}'", _fix())
    fix = _fix(name_or_folder.partition("@")[0])
    return _checked(_snapshot(name_or_folder), f"the hub cache's copy of {name_or_folder}", fix)


def torch_missing() -> str | None:
    """Return what the deep extra lacks ("torch is not installed") or None; INSTALL_DEEP is the fix."""
    missing = [name for name in ("torch", "transformers", "safetensors") if importlib.util.find_spec(name) is None]
    if not missing:
        return None
    return f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} not installed"


def weights_sha256(folder: Path) -> str:
    """Return the SHA-256 of model.safetensors; of shards, the SHA-256 of their "name digest" lines in name order."""
    files = _weight_files(folder)
    digests = [file_sha256(path) for path in files]
    if [path.name for path in files] == [_SINGLE]:
        return digests[0]
    lines = (f"{path.name} {digest}\n" for path, digest in zip(files, digests, strict=True))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def encoder_card(name_or_folder: str) -> EncoderCard:
    """Find weights and describe them; raises WeightsError where they are absent or no DINOv2 without registers."""
    folder = find_weights(name_or_folder)
    config = _read_json(folder / "config.json")
    kind = config.get("model_type", "unknown")
    if kind != "dinov2":
        raise WeightsError(f"{folder / 'config.json'} describes a model of type '{kind}', not 'dinov2'", _fix())
    try:  # the defaults are those of transformers' Dinov2Config
        width, layers = int(config.get("hidden_size", 768)), int(config.get("num_hidden_layers", 12))
        patch, image_size = int(config.get("patch_size", 14)), int(config.get("image_size", 224))
    except (TypeError, ValueError):
        raise WeightsError(f"{folder / 'config.json'} has no whole numbers for the network's sizes", _fix()) from None
    hub_id = "" if _is_folder(name_or_folder) else name_or_folder.partition("@")[0]
    sha256 = weights_sha256(folder)
    return EncoderCard(
        name=hub_id or f"dinov2-{width}x{layers}",
        source=name_or_folder,
        sha256=sha256,
        config_sha256=hashlib.sha256((folder / "config.json").read_bytes()).hexdigest(),
        dim=width,
        patch=patch,
        image_size=image_size,
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        licence=_RELEASED_LICENCE if hub_id.startswith("facebook/dinov2-") else "not stated",
        purpose="release" if (width, layers) in _RELEASED_SHAPES else "test",
        evidence="official weights" if sha256 in _OFFICIAL_SHA256 else "unverified weights",
    )


def _is_folder(name: str) -> bool:
    return bool(name) and Path(name).expanduser().is_dir()


def _fix(hub_id: str = "facebook/dinov2-large") -> str:
    return f"give a folder with config.json and {_SINGLE} as --weights FOLDER, or put {hub_id} into the hub cache"


def _hub_cache() -> Path:
    """Return the hub cache's folder by the environment variables that huggingface_hub documents."""
    home = os.environ.get("HF_HOME") or os.path.join(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "huggingface")
    cache = os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE") or os.path.join(home, "hub")
    return Path(os.path.expandvars(cache)).expanduser()


def _snapshot(name: str) -> Path:
    """Return the snapshot folder of a hub id in the cache; raises WeightsError where there is none."""
    hub_id, _, revision = name.partition("@")
    repository = _hub_cache() / f"models--{hub_id.replace('/', '--')}"
    reference = repository / "refs" / (revision or "main")
    commit = reference.read_text().strip() if reference.is_file() else revision
    folder = repository / "snapshots" / commit
    if not commit or not folder.is_dir():
        where = f" at revision {revision}" if revision else ""
        raise WeightsError(f"no weights for {hub_id}{where} in the hub cache", _fix(hub_id))
    return folder


def _checked(folder: Path, where: str, fix: str) -> Path:
    """Return the folder if every file it needs is there and complete."""
    if not (folder / "config.json").is_file():  # false for a broken link of the hub cache too
        raise WeightsError(f"{where} has no config.json", fix)
    files = _weight_files(folder)
    if not files and (folder / "pytorch_model.bin").is_file():
        raise WeightsError(f"{where} has only pytorch_model.bin, a pickle, which is never read", fix)
    if not files:
        raise WeightsError(f"{where} has no {_SINGLE}", fix)
    for path in files:
        if defect := _defect(path):
            raise WeightsError(f"{path.name} in {where} {defect}", fix)
    return folder


def _weight_files(folder: Path) -> list[Path]:
    """Return model.safetensors, or the shards that the index names, in name order; none where neither is there."""
    if (folder / _SINGLE).is_file():
        return [folder / _SINGLE]
    if not (folder / _INDEX).is_file():
        return []
    shards = _read_json(folder / _INDEX).get("weight_map")
    if not isinstance(shards, dict) or not all(isinstance(name, str) for name in shards.values()):
        raise WeightsError(f"{folder / _INDEX} has no weight_map", _fix())
    return [folder / Path(name).name for name in sorted(set(shards.values()))]


def _defect(path: Path) -> str:
    """Return what is wrong with a safetensors file by its header (u64 length, JSON, data), or an empty string."""
    if not path.is_file():
        return "is missing"
    size = path.stat().st_size
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 2 <= length <= size - 8:
            return "is no safetensors file (an unfinished download or a git-lfs pointer)"
        try:
            header = json.loads(file.read(length))
            end = max((entry["data_offsets"][1] for key, entry in header.items() if key != "__metadata__"), default=0)
        except (ValueError, TypeError, KeyError, IndexError, AttributeError):
            return "has a damaged safetensors header"
    return "" if size == 8 + length + end else f"holds {size} bytes where its header says {8 + length + end}"


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise WeightsError(f"{path} is not a JSON object", _fix())
    return content


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file, computed once for each state of it."""
    return _file_sha256(path, path.stat().st_mtime_ns, path.stat().st_size)


@functools.lru_cache(maxsize=64)
def _file_sha256(path: Path, mtime_ns: int, size: int) -> str:
    """Return the digest of a file; time and size are read by the caller so that a changed file is hashed again."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
