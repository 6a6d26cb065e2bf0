"""What a user points at, as a manifest: labelled sets by their layouts, everything else as a list of images."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fdetect.addresses import absolute, is_address, join, masked
from fdetect.bench import layouts
from fdetect.bench.data.remote import holds_manifest
from fdetect.bench.layouts import read_manifest
from fdetect.bench.layouts.listed import listing
from fdetect.bench.layouts.lists import ListLayout
from fdetect.bench.layouts.webdataset import WebDataset
from fdetect.engine.listing import list_images
from fdetect.engine.sources import has_images, split_member
from fdetect.errors import DataError, ParameterError
from fdetect.types import REAL, Table

__all__ = ["Data", "any_images", "check_output", "labels_or_real", "root_of"]

Data = str | Path | Sequence[str | Path] | Table  # what holds images: one path, several, or a manifest table

_MANIFESTS = (".csv", ".tsv", ".toml", ".json")


def any_images(data: Data, *, layout: str = "auto", root: str | Path | None = None) -> Table:
    """Return a manifest of anything that holds images, labelled or not.

    A folder or table file that a layout recognises keeps its labels.  Everything else is listed without: image files,
    folders, glob patterns, tar and zip shards, Parquet files with an image column, members of shards
    (`a.tar::name`), addresses of all these (`s3://bucket/set`), and any number of them together; the column `label` is
    then null.  So is a folder of which its layout would leave images aside, unless `layout` names it: none is dropped,
    and the reading says how to have labels.
    Raises DataError where there is no image, and for a folder that a layout recognises and cannot read: its labels
    are not dropped; ParameterError for a manifest among other inputs.
    """
    if isinstance(data, pa.Table):
        return data
    given, left = [data] if isinstance(data, str | Path) else list(data), ""
    if wrong := [one for one in given if not isinstance(one, str | Path)]:
        raise ParameterError(f"images are given as paths, not as {type(wrong[0]).__name__}; write them to files")
    if len(given) == 1 and (layout != "auto" or _has_layout(given[0])):
        table = read_manifest(given[0], layout=layout, root=root)
        about = table.schema.metadata or {}
        if layout != "auto" or not (aside := int(about.get(b"fdetect.aside", b"0"))):
            return table
        name = about[b"fdetect.layout"].decode()
        left = f"as {name} {aside} of them would be left out: --layout {name} reads the others with their labels"
    if layout != "auto":
        raise ParameterError(f"layout {layout} reads one folder or file, and {len(given)} inputs are given")
    if tables := [str(one) for one in given if str(one).lower().endswith(_MANIFESTS)]:
        raise ParameterError(f"{tables[0]}: a manifest is given alone, not among other inputs")
    found = list_images(given, root=root)
    n, text = len(found.paths), pa.array([""], pa.string())
    names = ("generator", "family", "real_source", "category", "group", "split")
    empty = pa.DictionaryArray.from_arrays(pa.array(np.zeros(n, np.int32)), text)
    table = pa.table({"path": found.paths, "label": pa.nulls(n, pa.int64()), **dict.fromkeys(names, empty)})
    where = masked(os.fsencode(found.root).decode("utf-8", "backslashreplace"))
    reading = f"{n} image{'s' * (n != 1)} without labels, by their paths below {where}"
    reading += "".join(f"; {remark}" for remark in (found.remarks, left) if remark)
    return table.replace_schema_metadata({
        "fdetect.root": os.fsencode(found.root), "fdetect.layout": "unlabelled", "fdetect.detected": reading,
        "fdetect.left": left,
    })  # fmt: skip


def root_of(manifest: Table) -> str:
    """Return the folder, or its address, that a manifest's paths are relative to; "." where it does not say."""
    return os.fsdecode((manifest.schema.metadata or {}).get(b"fdetect.root", b"."))


def check_output(out: Path, data: Data, manifest: Table) -> None:
    """Raise ParameterError where a table would be written over a file that is read, or over a manifest in a folder."""
    if not out.exists():
        return
    name = (manifest.schema.metadata or {}).get(b"fdetect.layout", b"").decode()
    lists = {name, "manifest"} & set(layouts.layout.names())
    given = [] if isinstance(data, pa.Table) else [data] if isinstance(data, str | Path) else data
    shards = pc.filter(manifest.column("path"), pc.match_substring(manifest.column("path"), "::")).to_pylist()
    read = {join(root_of(manifest), (split_member(path) or (path, ""))[0]) for path in shards}
    for name in lists:
        files = getattr(layouts.layout.get(name)(), "files", None)  # of layouts that are lists
        read |= {str(file) for one in given for file in (files(Path(one)) if files else ())}
    for path in (*map(str, given), *read):
        if os.path.isfile(path) and os.path.samefile(path, out):
            raise ParameterError(f"{out} is one of the inputs; give another name, nothing was written")


def _has_layout(given: str | Path) -> bool:
    """Whether a path is for the layouts to read: a folder that one recognises, or a table that is no image shard.

    A folder with images directly in it is not a folder of lists or shards, whatever lies beside them.
    """
    if is_address(given):
        return holds_manifest(str(given))
    path = Path(absolute(given) if "://" in str(given) else given)
    if path.suffix.lower() == ".parquet" and path.is_file():
        try:
            names = pq.read_schema(path).names
        except (OSError, pa.ArrowException) as error:
            raise DataError(f"{path}: cannot be read as Parquet ({' '.join(str(error).split())})") from None
        return {"path", "label"} <= set(names) or not has_images(path)
    found = [entry.target for entry, _ in layouts.readings(path)]
    if path.is_dir() and listing(path).image:
        found = [one for one in found if not (isinstance(one, type) and issubclass(one, ListLayout | WebDataset))]
    return bool(found)


def labels_or_real(manifest: Table, notice: Callable[[str], None] | None) -> np.ndarray:
    """Return the labels, (N,) int64; all REAL where there are none, which `notice` says.

    Raises DataError for labels of some images alone, and where those that a layout knows were given up.
    """
    column = manifest.column("label")
    if left := (manifest.schema.metadata or {}).get(b"fdetect.left", b"").decode():
        root = masked(root_of(manifest))
        raise DataError(f"{root}: which images are photographs? {left}, and {root}/** takes all as real")
    if column.null_count == len(manifest):
        if notice:
            notice(f"the data have no labels: all {len(manifest)} images are taken as real photographs")
        return np.full(len(manifest), REAL)
    if column.null_count:
        raise DataError(f"{column.null_count} of {len(manifest)} images have no label; label all of them, or none")
    return np.asarray(column.to_numpy())
