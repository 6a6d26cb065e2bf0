"""What a folder holds, as far as it may tell which layout it is: listed once while all layouts look at it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

from fdetect.engine.walk import IMAGE_EXTENSIONS, extension_of
from fdetect.errors import DataError

__all__ = ["Listed", "listed_once", "listing"]

_TABLES = (".csv", ".json", ".tar")  # what else but folders may say which layout it is


@dataclass(frozen=True)
class Listed:
    """What a folder holds: names of its folders, of its lists and tars, all sorted, and its first image ("": none)."""

    folders: tuple[str, ...]
    tables: tuple[str, ...]
    image: str


_LISTED: ContextVar[dict[Path, Listed] | None] = ContextVar("listed", default=None)


@contextmanager
def listed_once() -> Iterator[None]:
    """List each folder once while all layouts look at the same tree."""
    before = _LISTED.set({})
    try:
        yield
    finally:
        _LISTED.reset(before)


def listing(folder: Path) -> Listed:
    """List a folder without hidden names and links to folders; raises DataError naming one that cannot be listed."""
    known = _LISTED.get()
    if known is not None and folder in known:
        return known[folder]
    folders, tables, image = [], [], ""
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                name = entry.name
                if name.startswith("."):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    folders.append(name)
                elif extension_of(name) in _TABLES:
                    tables += [name] if entry.is_file() else []  # a pipe would be waited for
                elif extension_of(name) in IMAGE_EXTENSIONS and (not image or name < image) and entry.is_file():
                    image = name
    except OSError as error:
        reason = f"the folder cannot be listed ({error.strerror}); check its permissions"
        raise DataError(f"{error.filename}: {reason}") from None
    found = Listed(tuple(sorted(folders)), tuple(sorted(tables)), image)
    if known is not None:
        known[folder] = found
    return found
