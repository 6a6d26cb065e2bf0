"""Layouts: the directory trees and tables in which data sets come, each read into one manifest table.

`read_manifest` finds out which layout a folder or file has and reads it; it refuses to guess between two.
The layouts: `manifest`, `real_fake`, `forensynths`, `genimage`, and those of plug-ins (group `fdetect.layouts`).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fdetect.bench.layouts import base, forensynths, genimage, manifest, real_fake
from fdetect.bench.layouts.base import IMAGE_EXTENSIONS, SPLITS, FolderLayout, manifest_table
from fdetect.bench.layouts.base import layout as layout
from fdetect.engine.sources import is_shard
from fdetect.errors import DataError, ParameterError
from fdetect.registry import Entry
from fdetect.types import Table

__all__ = [
    "IMAGE_EXTENSIONS",
    "SPLITS",
    "FolderLayout",
    "forensynths",
    "genimage",
    "layout",
    "manifest",
    "manifest_table",
    "read_manifest",
    "real_fake",
]


def read_manifest(
    path: str | Path,
    *,
    layout: str = "auto",
    root: str | Path | None = None,
    label_names: Mapping[str, int] | None = None,
) -> Table:
    """Read a folder or a table file into the manifest table, by the layout that it is found to have.

    The table has MANIFEST_COLUMNS first: `path`, POSIX, relative to the root and unique; `label` int64, 0 = real,
    1 = fake; the others text, empty where nothing is known.  Further columns of a manifest file follow.  Rows are
    sorted by path for folders and in the order of the file for manifests.  Its schema metadata holds `fdetect.root`
    (the absolute folder the paths are relative to), `fdetect.layout` (its name) and `fdetect.detected` (one line to
    print: what was recognised, counted and passed over).

    layout       name of a layout, or "auto"
    root         folder the paths are relative to, instead of the folder read or that of the manifest file
    label_names  further label names of a manifest file, such as {"photo": 0, "synthetic": 1}

    Raises DataError for a path that does not exist, for two layouts that both fit, for none that fits, for no image
    at all, and for what each layout refuses; UnknownName and ParameterError for a layout that does not exist or does
    not have the setting.
    """
    path = Path(path)
    if not path.exists():
        raise DataError(f"{path}: no such file or folder; check the path")
    entry = _detect(path) if layout == "auto" else base.layout.get(layout)
    settings: dict[str, Any] = {"root": root, "label_names": label_names}
    given = {name: value for name, value in settings.items() if value is not None}
    for name in given:
        if name not in entry.settings:
            raise ParameterError(f"layout {entry.name} has no {name}; leave it out, or describe {path} in a manifest")
    table = entry(**given).read(path)
    return table.replace_schema_metadata({**(table.schema.metadata or {}), b"fdetect.layout": entry.name.encode()})


def _detect(path: Path) -> Entry:
    readings = [(entry, reading) for entry in base.layout if (reading := entry().recognise(path))]
    if len(readings) == 1:
        return readings[0][0]
    if readings:
        ways = "; or ".join(reading for _, reading in readings)
        names = "|".join(entry.name for entry, _ in readings)
        raise DataError(
            f"{path}: can be read in {len(readings)} ways ({ways}); choose one with --layout {names}, or point at the "
            "file or folder that is meant"
        )
    if path.is_file() and is_shard(path.name):
        raise DataError(
            f"{path}: a shard has no labels; a labelled set needs a manifest whose rows name the members, such as "
            f"{path.name}::000003.jpg,1"
        )
    known = ", ".join(base.layout.names())
    raise DataError(
        f"{path}: no layout fits ({known}; fdetect list layouts draws them); name one with --layout, or point at a "
        "manifest.csv with the columns path,label"
    )
