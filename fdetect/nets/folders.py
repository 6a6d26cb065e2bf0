"""A folder of weights: which files are loaded from it, whether they are whole, and their SHA-256.  No torch here.

Only safetensors are accepted, since a pickle can run code, and only folders in which the files that are hashed here
are those that transformers and diffusers load.
"""

from __future__ import annotations

import functools
import hashlib
import json
import operator
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from fdetect.errors import WeightsError

__all__ = [
    "check_tensors",
    "checked",
    "digests",
    "file_sha256",
    "listed",
    "one_line",
    "read_json",
    "refuse_keys",
    "weight_files",
    "weights_sha256",
]

_PICKLES = ("pytorch_model.bin", "diffusion_pytorch_model.bin")
_DESCRIBED = "the network that its config.json describes"
_OTHER_FILE = "transformers_weights"  # a key of config.json that makes transformers load a file of another name


def checked(folder: Path, *, stem: str, where: str, fix: str) -> Path:
    """Return the folder if every file that is loaded from it is known by its name, there and complete.

    stem   <stem>.safetensors, or the shards that <stem>.safetensors.index.json names
    where  what messages call the folder

    Raises WeightsError with `fix` otherwise.
    """
    if not (folder / "config.json").is_file():  # false for a broken link of the hub cache too
        raise WeightsError(f"{where} has no config.json", fix)
    if _holds(read_json(folder / "config.json", where, fix), _OTHER_FILE):
        reason = f"config.json in {where} names a file of weights itself ({_OTHER_FILE})"
        raise WeightsError(reason, f"take that key out and call the file {stem}.safetensors")
    if (folder / "adapter_config.json").is_file():
        reason = f"{where} has an adapter_config.json, whose adapter changes the network"
        raise WeightsError(reason, "give a folder of the merged network")
    files = weight_files(folder, stem=stem, where=where, fix=fix)
    pickles = [name for name in (*_PICKLES, f"{stem}.bin") if (folder / name).is_file()]
    if not files and pickles:
        raise WeightsError(f"{where} has only {pickles[0]}, a pickle, which is never read", fix)
    if not files:
        raise WeightsError(f"{where} has no {stem}.safetensors", fix)
    for path in files:
        if path.suffix == ".safetensors" and (defect := _defect(path)):
            raise WeightsError(f"{path.name} in {where} {defect}", fix)
    return folder


def weight_files(folder: Path, *, stem: str = "model", where: str = "", fix: str = "") -> list[Path]:
    """Return what is loaded: <stem>.safetensors, or its index and the shards that it names; [] where neither is there.

    Raises WeightsError where both are there, of which transformers and diffusers load different ones, or where a shard
    is no plain name of a safetensors file; `where` is what messages call the folder.
    """
    single, index = folder / f"{stem}.safetensors", folder / f"{stem}.safetensors.index.json"
    where, fix = where or f"the folder {folder}", fix or "get these weights again"
    if not index.is_file():
        return [single] if single.is_file() else []
    if single.is_file():
        raise WeightsError(f"{where} has both {single.name} and {index.name}", "remove the one that is not meant")
    shards = read_json(index, where, fix).get("weight_map")
    if not isinstance(shards, dict) or not shards or not all(isinstance(name, str) for name in shards.values()):
        raise WeightsError(f"{index.name} in {where} has no weight_map", fix)
    names = sorted(set(shards.values()))
    if odd := [name for name in names if not re.fullmatch(r"[\w.-]+\.safetensors", name)]:
        reason = f"{index.name} in {where} names '{odd[0]}', which is no plain name of a safetensors file"
        raise WeightsError(reason, fix)
    return [index, *(folder / name for name in names)]


def weights_sha256(folder: Path, *, stem: str = "model") -> str:
    """Return the SHA-256 of <stem>.safetensors; of shards, that of the lines "name digest" of `weight_files`."""
    files = weight_files(folder, stem=stem)
    if len(files) == 1:
        return file_sha256(files[0])
    lines = (f"{path.name} {file_sha256(path)}\n" for path in files)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def digests(folder: Path, *, stem: str = "model") -> dict[str, str]:
    """Return `sha256` of the weights and `config_sha256` of config.json, which together decide the network."""
    return {"sha256": weights_sha256(folder, stem=stem), "config_sha256": file_sha256(folder / "config.json")}


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file, computed once for each state of it."""
    return _file_sha256(path, path.stat().st_mtime_ns, path.stat().st_size)


def read_json(path: Path, where: str, fix: str = "get these weights again") -> dict[str, Any]:
    """Return the object that a JSON file holds; raises WeightsError where it holds none.

    where  what messages call its folder
    """
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        raise WeightsError(f"{path.name} in {where} is not a JSON object", fix)
    return content


def one_line(error: Exception, folder: Path, name: str) -> str:
    """Return the text of another library's error in one line of 200 characters, a folder in it called by its name."""
    return " ".join(str(error).replace(str(folder), name).split())[:200]


def listed(names: Sequence[str], *, most: int = 5) -> str:
    """Return "a, b, c, d, e and 7 more": enough to see what is wrong."""
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")


def check_tensors(
    wanted: Mapping[str, Any], state: Mapping[str, Any], name: str, fix: str, *, kind: str = _DESCRIBED
) -> None:
    """Raise WeightsError, with the keys, unless the tensors have the names and shapes that a network wants.

    name  what the message calls the weights;  kind  what it calls the network
    """
    shapes = {key: tuple(state[key].shape) for key in set(wanted) & set(state)}
    refuse_keys(
        name, fix, lacks=set(wanted) - set(state), extra=set(state) - set(wanted), kind=kind,
        other={key: shape for key, shape in shapes.items() if shape != tuple(wanted[key].shape)},
    )  # fmt: skip


def refuse_keys(
    name: str, fix: str, *, lacks: Collection[str] = (), extra: Collection[str] = (),
    other: Mapping[str, Sequence[int]] | None = None, kind: str = _DESCRIBED,
) -> None:  # fmt: skip
    """Raise WeightsError where tensors are missing, left over, or of another shape, which `other` gives by key."""
    shapes = {f"{key} of shape {tuple(shape)}" for key, shape in (other or {}).items()}
    faults = {"lacks": lacks, "has no place for": extra, "has": shapes}
    if said := [f"{verb} {listed(sorted(keys), most=3)}" for verb, keys in faults.items() if keys]:
        raise WeightsError(f"{name} is not {kind}: it {', '.join(said)}", fix)


def _holds(content: Any, key: str) -> bool:
    """Whether a JSON value holds a key, at any depth."""
    left = [content]
    while left:
        value = left.pop()
        if isinstance(value, dict):
            if key in value:
                return True
            left += value.values()
        elif isinstance(value, list):
            left += value
    return False


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
            offsets = [entry["data_offsets"] for key, entry in header.items() if key != "__metadata__"]
            end = max((operator.index(stop) for _, stop in offsets), default=0)  # refuses what is no whole number
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return "has a damaged safetensors header"
    return "" if size == 8 + length + end else f"holds {size} bytes where its header says {8 + length + end}"


@functools.lru_cache(maxsize=64)
def _file_sha256(path: Path, mtime_ns: int, size: int) -> str:
    """Return the digest of a file; time and size are read by the caller so that a changed file is hashed again."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

