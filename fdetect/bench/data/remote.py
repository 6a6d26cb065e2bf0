"""Manifests of images that lie on another file system (`s3://bucket/set`), and manifests that lie there themselves.

The table is fetched and read as any other; only its images stay where they are.  Trees of folders are read by layouts
on this machine alone: one on another file system is described in a manifest, or listed without labels.
"""

from __future__ import annotations

import os
import posixpath
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from fdetect.addresses import absolute, is_address, join, levels_of, masked
from fdetect.engine.filesystems import remote_folder
from fdetect.engine.sources import has_images
from fdetect.errors import DataError
from fdetect.types import Table

__all__ = ["holds_manifest", "read_remote"]

_TABLES = (".csv", ".tsv", ".parquet")


def holds_manifest(address: str) -> bool:
    """Whether an address is that of a table which holds no images itself, or of a folder with a manifest in it.

    Not so where nothing can be read there: listing it says why.
    """
    ending = posixpath.splitext("/".join(levels_of(address)[1]))[1].lower()  # without a query
    try:
        if ending == ".parquet":
            return not has_images(absolute(address))
        return ending in _TABLES or (remote_folder(address).is_folder() and bool(_manifests(address)))
    except DataError:
        return False


def read_remote(path: str | Path, root: str | Path | None, read: Callable[[Path], Table]) -> Table:
    """Read a manifest of which the images or the table itself are at an address.

    path  the manifest, of this machine or an address; of a folder there, the manifest in it
    root  where the images are; None for the folder of the manifest
    read  reads it from this machine, with paths relative to its own folder

    Paths of the manifest that are addresses below the root become relative to it.
    Raises DataError, naming the address, where it cannot be fetched, and whatever `read` raises.
    """
    with _here(str(path)) as (file, folder):
        table = read(file)
    root = absolute(root if root is not None else folder)
    # what `read` makes of an address: one slash less
    prefix = posixpath.normpath(root) + "/"
    paths = pc.cast(table.column("path"), pa.string())
    inside = pc.starts_with(paths, prefix)
    if pc.any(inside).as_py():
        paths = pc.if_else(inside, pc.utf8_slice_codeunits(paths, len(prefix)), paths)
        table = table.set_column(table.column_names.index("path"), "path", paths)
    return table.replace_schema_metadata({**(table.schema.metadata or {}), b"fdetect.root": os.fsencode(root)})


@contextmanager
def _here(path: str) -> Iterator[tuple[Path, str]]:
    """Lend a manifest as a file of this machine, and say which folder it is of; errors name its address."""
    if not is_address(path):
        yield Path(path), str(Path(path).parent)
        return
    with tempfile.TemporaryDirectory(prefix="fdetect-") as folder:
        try:
            file, parent = _fetched(absolute(path), Path(folder))
        except DataError as error:
            raise DataError(f"{masked(path)}: {error}; point at a manifest (.csv, .tsv, .parquet)") from None
        try:
            yield file, parent
        except DataError as error:
            raise type(error)(str(error).replace(folder, masked(parent))) from None


def _fetched(address: str, to: Path) -> tuple[Path, str]:
    """Copy a manifest, or those of a folder, into `to`: what is to be read, and the address of the folder it is of."""
    if remote_folder(address).is_folder():
        names, parent, file = _manifests(address), address, to
        if not names:
            raise DataError("holds no manifest")
    else:
        top, levels = levels_of(address)
        names, parent, file = levels[-1:], join(top, "/".join(levels[:-1])), to / levels[-1]
    for name in names:
        (to / name).write_bytes(remote_folder(parent).read(name, None)[0])
    return file, parent


def _manifests(address: str) -> list[str]:
    """Return the names of the tables called manifest in a folder."""
    names = sorted(name for name, is_folder, _ in remote_folder(address).entries() if not is_folder)
    return [name for name in names if name in [f"manifest{ending}" for ending in _TABLES]]
