"""Layouts: the directory trees and tables in which data sets come, each read into one manifest table.

`read_manifest` finds out which layout a folder or file has and reads it; it refuses to guess between two.  A layout
that refines another, as `wildrf` does `forensynths`, is its special case and wins where both fit.  What each reads, and
what to beware of in it: docs/data.md.  Plug-ins may add some (group `fdetect.layouts`).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from fdetect.addresses import absolute, is_address
from fdetect.bench.data.remote import read_remote
from fdetect.bench.layouts import (
    aigcdetect,
    base,
    chameleon,
    cifake,
    cocoglide,
    community_forensics,
    deepfakebench,
    diffusionforensics,
    drct,
    faces,
    forensichub,
    forensynths,
    genimage,
    grip,
    manifest,
    openfake,
    real_fake,
    spai,
    synthbuster,
    univfd,
    webdataset,
    wildrf,
)
from fdetect.bench.layouts.base import IMAGE_EXTENSIONS, SPLITS, FolderLayout, TreeLayout, manifest_table
from fdetect.bench.layouts.base import layout as layout
from fdetect.bench.layouts.listed import listed_once
from fdetect.engine.sources import is_shard
from fdetect.errors import DataError, ParameterError
from fdetect.registry import Entry
from fdetect.types import Table

__all__ = [
    "IMAGE_EXTENSIONS", "SPLITS", "FolderLayout", "TreeLayout", "aigcdetect", "chameleon", "cifake", "cocoglide",
    "community_forensics", "deepfakebench", "diffusionforensics", "drct", "faces", "forensichub", "forensynths",
    "genimage", "grip", "layout", "manifest", "manifest_table", "openfake", "read_manifest", "readings", "real_fake",
    "spai", "synthbuster", "univfd", "webdataset", "wildrf",
]  # fmt: skip


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
    print: what was recognised, counted and passed over); `fdetect.aside` counts images that have no place in it.

    path         a folder, a table file, or the address of a manifest or of a folder that holds one (`s3://bucket/set`)
    layout       name of a layout, or "auto"
    root         folder the paths are relative to, or its address, instead of the one read or that of the manifest file
    label_names  further label names of a manifest file, such as {"photo": 0, "synthetic": 1}

    Raises DataError for a path that does not exist, for two layouts that both fit, for none that fits, for no image
    at all, and for what each layout refuses; UnknownName and ParameterError for a layout that does not exist or does
    not have the setting.
    """
    if is_address(path) or (root is not None and is_address(root)):
        return read_remote(path, root, partial(read_manifest, layout=layout, label_names=label_names))
    path = Path(absolute(path)) if "://" in str(path) else Path(path)
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


def readings(path: Path) -> list[tuple[Entry, str]]:
    """Return the layouts that a path fits, each with its one-line reading; none that another of them refines."""
    with listed_once():
        entries = sorted(base.layout, key=lambda entry: entry.name)
        found = [(entry, reading) for entry in entries if (reading := entry().recognise(path))]
    general = {getattr(entry.target, "refines", "") for entry, _ in found}
    return [(entry, reading) for entry, reading in found if entry.name not in general]


def _detect(path: Path) -> Entry:
    found = readings(path)
    if len(found) == 1:
        return found[0][0]
    if found:
        ways = "; or ".join(reading for _, reading in found)
        names = "|".join(entry.name for entry, _ in found)
        raise DataError(
            f"{path}: can be read in {len(found)} ways ({ways}); choose one with --layout {names}, or point at the "
            "file or folder that is meant"
        )
    if path.is_file() and is_shard(path.name):
        raise DataError(
            f"{path}: a shard has no labels; a labelled set needs a manifest whose rows name the members, such as "
            f"{path.name}::000003.jpg,1"
        )
    known = ", ".join(sorted(base.layout.names()))
    raise DataError(
        f"{path}: no layout fits ({known}; fdetect list layouts draws them); name one with --layout, or point at a "
        "manifest.csv with the columns path,label"
    )
