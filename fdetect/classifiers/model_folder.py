"""A model on disk: a folder with a card that a person can read, and files of numbers that hold no code.

    my.fdetect/
      card.json                 what the model is, was made of, and is worth; the SHA-256 of every other file
      head.skops                a trained head, see estimator_files.py
      handmade.skops ...        of a fused detector, the heads that give branches their logits
      arrays.safetensors        calibration scores, a fused detector, the bank of a training-free one
      seen.safetensors          which images were fitted on and set the thresholds, where it says so, see seen.py

The card holds a digest of itself, so that a card edited by hand, or a file put in the place of another, is refused.
This shows damage and mistakes; whoever knows the format can write another card, and what is loaded is checked apart.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import shutil
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fdetect.classifiers.branches import BRANCHES
from fdetect.errors import DataError
from fdetect.files import check_writable
from fdetect.nets.detector_cards import kind_of

__all__ = [
    "ARRAYS", "CARD", "FORMAT", "HEAD", "SEEN", "check_target", "digest_of", "head_file", "plain", "read_folder",
    "signed", "write_folder",
]  # fmt: skip

FORMAT = 3  # 1 and 2 were single files
CARD, HEAD, ARRAYS, SEEN = "card.json", "head.skops", "arrays.safetensors", "seen.safetensors"


def head_file(branch: str) -> str:
    """Return the name of the file with the head of a branch."""
    return f"{branch}.skops"


_FILES = {HEAD, ARRAYS, SEEN, *map(head_file, BRANCHES)}
_ANOTHER_VERSION = "was written by another version of fdetect; fit it again"


def check_target(path: Path) -> None:
    """Raise DataError where a model cannot be written to `path`: before hours of work, not after them.

    A model in its place is replaced, and so is an empty folder; any other file or folder stays as it is.
    """
    check_writable(path.parent)
    if path.is_symlink() or (path.exists() and not path.is_dir()):
        raise DataError(f"{path}: a model is a folder now, and this is no folder; remove it, or give another name")
    if not path.exists():
        return
    inside = sorted(one.name for one in path.iterdir())
    if strange := [name for name in inside if name != CARD and name not in _FILES]:
        raise DataError(f"{path}: holds {strange[0]}, which is no part of a model; nothing is written over it, give "
                        "another name")  # fmt: skip
    if inside and CARD not in inside:
        raise DataError(f"{path}: is not empty and holds no {CARD}, so it is no model; give another name")


def write_folder(path: Path, card: Mapping[str, Any], files: Mapping[str, bytes]) -> None:
    """Write a model as a folder that is whole or absent; raises DataError where that cannot be done.

    A model that was there before stands until the new one is written, and comes back where the last step fails; where
    it cannot, it stays beside its place under a name that the error says.
    """
    check_target(path)
    content = {**files, CARD: signed(card, files)}
    fresh, before = (path.parent / f".{uuid.uuid4().hex}.tmp" for _ in range(2))
    try:
        fresh.mkdir()
        for name, data in content.items():
            (fresh / name).write_bytes(data)
        _put(fresh, path, before)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        if before.exists() and not path.exists():
            raise DataError(f"{path}: cannot be written ({reason}), nor could the model that was there be put back: it "
                            f"lies in {before}; rename that to {path.name}") from None  # fmt: skip
        raise DataError(f"{path}: cannot be written ({reason}); choose another place") from None
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
        if path.exists():  # else it is the only copy
            shutil.rmtree(before, ignore_errors=True)


def read_folder(path: Path) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Return the card of a model and the bytes of its files, after all digests were found right.

    Raises DataError, which does not name the path, for anything that is no model, and OSError where it cannot be read.
    """
    if path.is_file():
        _refuse_file(path)
    if kind_of(path):
        folder = path if len(path.parts) > 1 else f"./{path}"  # a bare word would be a name
        raise DataError("the folder holds a detector's weights, no model that fdetect fit wrote; score with them by "
                        f"--detector pretrained:weights={folder}")  # fmt: skip
    if not (path / CARD).is_file():
        path.stat()  # a folder that is not there is said to be missing
        raise DataError(f"not a fitted detector (the folder holds no {CARD})")
    try:
        card = json.loads((path / CARD).read_bytes())
    except ValueError:  # cut short, or no text
        raise DataError(f"{CARD} is damaged; fit it again") from None
    if not isinstance(card, dict) or "format" not in card:
        raise DataError(f"not a fitted detector ({CARD} is no card of one)")
    if card["format"] != FORMAT:
        raise DataError(_ANOTHER_VERSION)
    listed = card.get("files", {})
    if not {*listed} <= _FILES:
        raise DataError(f"not a fitted detector ({CARD} lists other files)")
    files = {name: (path / name).read_bytes() for name in listed}
    if card.pop("digest", "") != _digest(card):
        raise DataError(f"{CARD} was changed since it was written, or is damaged; fit it again")
    for name, data in files.items():
        if hashlib.sha256(data).hexdigest() != listed[name]:
            raise DataError(f"{name} was changed since it was written, or is damaged; fit it again")
    return card, files


def digest_of(path: Path) -> str:
    """Return the digest of a model that `read_folder` reads: what belongs to it alone can name it."""
    return str(json.loads((path / CARD).read_text(encoding="utf-8"))["digest"])


def signed(card: Mapping[str, Any], files: Mapping[str, bytes]) -> bytes:
    """Return the text of a card with the format, the digests of the files and that of all of it."""
    whole = plain({**card, "format": FORMAT})
    whole["files"] = {name: hashlib.sha256(data).hexdigest() for name, data in sorted(files.items())}
    ordered = {"format": FORMAT, **whole}
    return (json.dumps({**ordered, "digest": _digest(whole)}, indent=1, allow_nan=False) + "\n").encode()


def _put(fresh: Path, path: Path, before: Path) -> None:
    """Rename a folder to `path`; what is there steps aside to `before`, and back where it cannot be done."""
    if path.exists():
        os.replace(path, before)
    try:
        os.replace(fresh, path)
    except OSError:
        with contextlib.suppress(OSError):
            os.replace(before, path)
        raise


def _refuse_file(path: Path) -> None:
    with path.open("rb") as file:
        start = file.read(9)
    if start[:2] == b"PK" or start[8:9] == b"{":  # how formats 1 and 2 began: skops, or safetensors
        raise DataError(f"{_ANOTHER_VERSION} (a model is a folder now, and this is a file)")
    raise DataError("not a fitted detector (a model is a folder, and this is a file)")


def _digest(card: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(card, sort_keys=True).encode()).hexdigest()


def plain(value: Any) -> Any:
    """Return JSON values: tuples become lists, numbers that are not finite None."""
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if isinstance(value, float):  # NumPy's float64 is one
        return float(value) if math.isfinite(value) else None
    return value
