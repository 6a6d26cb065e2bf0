"""Weights on disk: find them, check them and hash them, without importing torch.

A detector whose weights are absent must say so at once.  So this module reads the file system alone, in this order:
a folder of the user's; the weights home, one folder a name ($FDETECT_WEIGHTS, else the user's data folder), which
`fdetect weights import` fills; the hub cache by its layout on disk (`models--org--name/refs/main` names a folder of
`snapshots/`), which `fdetect weights get` fills.  Only safetensors are accepted, since a pickle can run code.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from platformdirs import user_data_path

from fdetect.errors import WeightsError
from fdetect.nets.catalogue import CARDS, IMAGENET_MEAN, IMAGENET_STD
from fdetect.registry import nearest

__all__ = [
    "HUB_ID",
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "INSTALL_DEEP",
    "WEIGHTS_HOME_VARIABLE",
    "file_sha256",
    "find_weights",
    "hub_cache",
    "listed",
    "read_json",
    "torch_missing",
    "weight_files",
    "weights_home",
    "weights_sha256",
    "where_to_get",
]

INSTALL_DEEP = "pip install 'fdetect[deep]'"
WEIGHTS_HOME_VARIABLE = "FDETECT_WEIGHTS"
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*(@[A-Za-z0-9][\w./-]*)?")  # org/name or org/name@revision

_NAME = re.compile(r"[A-Za-z0-9][\w.-]*")  # of a folder in the weights home
_PICKLES = ("pytorch_model.bin", "diffusion_pytorch_model.bin")


def find_weights(
    name_or_folder: str, *, stem: str = "model", subfolder: str = "", hub_id: str = "", option: str = "--encoder"
) -> Path:
    """Return the folder that holds config.json and complete safetensors, for a folder, a name or a hub id.

    name_or_folder  a folder; a name of the catalogue or of the weights home; "org/name" or "org/name@revision"
    stem            <stem>.safetensors, or the shards that <stem>.safetensors.index.json names
    subfolder       where they lie inside; a folder without this subfolder is taken to be that subfolder
    hub_id          what a name that the catalogue of encoders does not have is called on the hub
    option          the option that the fix names

    A folder wins over the weights home, and that over the hub cache.  Raises WeightsError, with its fix, where a
    file is absent, truncated, or only a pickle is there.
    """
    fix = where_to_get(name_or_folder, stem=stem, option=option)
    folder, where = _place(name_or_folder, hub_id, fix)
    inside = folder / subfolder if subfolder and (folder / subfolder).is_dir() else folder
    return _checked(inside, where, stem, fix)


def weights_home() -> Path:
    """Return the folder of the user's weights: $FDETECT_WEIGHTS, else `weights` in the user's data folder."""
    home = os.environ.get(WEIGHTS_HOME_VARIABLE)
    return Path(home).expanduser() if home else Path(user_data_path("fdetect")) / "weights"


def hub_cache() -> Path:
    """Return the hub cache's folder by the environment variables that huggingface_hub documents."""
    home = os.environ.get("HF_HOME") or os.path.join(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "huggingface")
    cache = os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE") or os.path.join(home, "hub")
    return Path(os.path.expandvars(cache)).expanduser()


def torch_missing() -> str | None:
    """Return what the deep extra lacks ("torch is not installed") or None; INSTALL_DEEP is the fix."""
    missing = [name for name in ("torch", "transformers", "safetensors") if importlib.util.find_spec(name) is None]
    if not missing:
        return None
    return f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} not installed"


def weights_sha256(folder: Path, *, stem: str = "model") -> str:
    """Return the SHA-256 of <stem>.safetensors; of shards, the SHA-256 of their "name digest" lines in name order."""
    files = weight_files(folder, stem=stem)
    digests = [file_sha256(path) for path in files]
    if [path.name for path in files] == [f"{stem}.safetensors"]:
        return digests[0]
    lines = (f"{path.name} {digest}\n" for path, digest in zip(files, digests, strict=True))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def where_to_get(name: str, *, stem: str = "model", option: str = "--encoder") -> str:
    """Return the fix that a WeightsError gives: the commands and the option that help for this name."""
    card = CARDS.get(name)
    known = card is not None or HUB_ID.fullmatch(name) is not None or (stem != "model" and _NAME.fullmatch(name))
    get = [f"run `fdetect weights get {name}`"] if known and not Path(name).expanduser().is_dir() else []
    if card and card.authors_file:
        get.append(f"run `fdetect weights import {card.authors_file} --as {name}`")
    return ", or ".join([*get, f"give a folder with config.json and {stem}.safetensors as {option} FOLDER"])


def _place(name: str, hub_id: str, fix: str) -> tuple[Path, str]:
    """Return the folder that a name stands for and what messages call it; raises WeightsError where there is none."""
    if name and Path(name).expanduser().is_dir():
        return Path(name).expanduser(), f"the folder {name}"
    if _NAME.fullmatch(name) and (weights_home() / name).is_dir():
        return weights_home() / name, f"the folder {weights_home() / name}"
    card = CARDS.get(name)
    hub_id = hub_id or (f"{card.hub_id}@{card.revision}" if card else name)
    if HUB_ID.fullmatch(hub_id):
        return _snapshot(hub_id, name, fix), f"the hub cache's copy of {hub_id.removesuffix('@main')}"
    if hint := nearest(name, CARDS) if _NAME.fullmatch(name) else "":
        raise WeightsError(f"no weights '{name}'{hint} (fdetect weights list)", fix)
    if _NAME.fullmatch(name):
        raise WeightsError(f"no folder '{name}', and no such weights in the weights home", fix)
    raise WeightsError(f"no weights folder '{name}'", fix)


def _snapshot(hub_id: str, name: str, fix: str) -> Path:
    """Return the snapshot folder of a hub id in the cache; raises WeightsError where there is none."""
    repository, _, revision = hub_id.partition("@")
    place = hub_cache() / f"models--{repository.replace('/', '--')}"
    reference = place / "refs" / (revision or "main")
    commit = reference.read_text().strip() if reference.is_file() else revision
    folder = place / "snapshots" / commit
    if not commit or not folder.is_dir():
        at = f" at revision {revision}" if revision not in ("", "main") else ""
        if name != hub_id:
            here = f"no weights '{name}' in the weights home"  # its path would stand in results of other machines
            raise WeightsError(f"{here}, and no {repository}{at} in the hub cache", fix)
        raise WeightsError(f"no weights for {repository}{at} in the hub cache", fix)
    return folder


def _checked(folder: Path, where: str, stem: str, fix: str) -> Path:
    """Return the folder if every file it needs is there and complete."""
    if not (folder / "config.json").is_file():  # false for a broken link of the hub cache too
        raise WeightsError(f"{where} has no config.json", fix)
    files = weight_files(folder, stem=stem)
    pickles = [name for name in (*_PICKLES, f"{stem}.bin") if (folder / name).is_file()]
    if not files and pickles:
        raise WeightsError(f"{where} has only {pickles[0]}, a pickle, which is never read", fix)
    if not files:
        raise WeightsError(f"{where} has no {stem}.safetensors", fix)
    for path in files:
        if defect := _defect(path):
            raise WeightsError(f"{path.name} in {where} {defect}", fix)
    return folder


def weight_files(folder: Path, *, stem: str = "model") -> list[Path]:
    """Return <stem>.safetensors, or the shards that its index names, in name order; none where neither is there."""
    single, index = folder / f"{stem}.safetensors", folder / f"{stem}.safetensors.index.json"
    if single.is_file():
        return [single]
    if not index.is_file():
        return []
    shards = read_json(index).get("weight_map")
    if not isinstance(shards, dict) or not all(isinstance(name, str) for name in shards.values()):
        raise WeightsError(f"{index} has no weight_map", where_to_get(str(folder), stem=stem))
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


def read_json(path: Path) -> dict[str, Any]:
    """Return the object that a JSON file holds; raises WeightsError where it holds none."""
    try:
        content = json.loads(path.read_bytes())
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise WeightsError(f"{path} is not a JSON object", "get these weights again")
    return content


def listed(names: Sequence[str], *, most: int = 5) -> str:
    """Return "a, b, c, d, e and 7 more": enough to see what is wrong."""
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file, computed once for each state of it."""
    return _file_sha256(path, path.stat().st_mtime_ns, path.stat().st_size)


@functools.lru_cache(maxsize=64)
def _file_sha256(path: Path, mtime_ns: int, size: int) -> str:
    """Return the digest of a file; time and size are read by the caller so that a changed file is hashed again."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

