"""A manifest: a table with one row for each image, which says all that a folder tree can say and more."""

from __future__ import annotations

import csv
import os
import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from fdetect.bench.layouts.base import absolute, layout, manifest_table
from fdetect.engine.sources import has_images, split_member
from fdetect.errors import DataError, ParameterError
from fdetect.registry import nearest
from fdetect.splits import numbered, texts
from fdetect.types import FAKE, MANIFEST_COLUMNS, REAL, Array, Table

__all__ = ["LABEL_NAMES", "Manifest", "header", "placed", "read_table"]

LABEL_NAMES = {"0": REAL, "1": FAKE, "real": REAL, "fake": FAKE, "nature": REAL, "ai": FAKE}

_DELIMITERS = {".csv": ",", ".tsv": "\t"}
_NAMES = ("manifest.csv", "manifest.tsv", "manifest.parquet")
_ODD = r"^$|^/|^[A-Za-z]:|//|/$|(^|/)\.\.?(/|$)|\\"  # what a path may not be taken as it is for


@layout
@dataclass(frozen=True)
class Manifest:
    """A table of images: a .csv, .tsv or .parquet file, or a folder with one such file called manifest.

        <folder>/
            manifest.csv            path,label[,generator,family,real_source,category,group,split][,...]
            <path>                  each image, relative to the folder of the manifest, or to `root`

    `label` is 0 or real or nature, 1 or fake or ai, in any case.  Order is kept, and so is every further column: as
    text from CSV, as it is from Parquet.  A fake without generator gets "unknown".  Paths are made POSIX: "./" and
    "a/../" are resolved, an absolute path must lie below the root and is made relative to it, and backslashes become
    slashes unless a file of that very name exists; what follows `::`, the name of a member, stays as it is.  Links are
    not resolved.
    Beware: that the files exist is not checked before they are read; `fdetect data check` names those that do not.

    root         folder the paths are relative to; None for the folder of the manifest
    label_names  further names of labels, such as {"photo": 0, "synthetic": 1}; they win over the known ones
    """

    root: str | Path | None = None
    label_names: Mapping[str, int] | None = None

    def recognise(self, path: Path) -> str | None:
        """Return a one-line reading of a table file, or of a folder that holds a manifest; None for all else."""
        if path.is_file() and path.suffix.lower() in (*_DELIMITERS, ".parquet"):
            return f"manifest: {path.name}"
        found = [] if path.is_file() else self.files(path)
        return f"manifest: {' and '.join(file.name for file in found)}" if found else None

    def files(self, path: Path) -> list[Path]:
        """Return the files with the rows: an output must not take the place of one."""
        return [path] if path.is_file() else [path / name for name in _NAMES if (path / name).is_file()]

    def read(self, path: Path) -> Table:
        """Read the manifest; raises DataError that names the file, and the column or data row (the first is 1)."""
        file = _file(path)
        return self.made_of(read_table(file), file, absolute(self.root or file.parent), f"manifest: {file.name}")

    def made_of(self, table: Table, file: Path, root: Path, reading: str, remarks: str = "") -> Table:
        """Make the manifest of a table with the columns `path` and `label`; errors name the file."""
        _check_columns(table.column_names, file)
        columns = {name: _text(table, name, file) for name in MANIFEST_COLUMNS}
        labels = self.labels(columns["label"], file)
        columns["path"] = _paths(columns["path"], root, file)
        unknown = pc.and_(pc.equal(columns["generator"], ""), pa.array(labels == FAKE))
        columns["generator"] = pc.if_else(unknown, "unknown", columns["generator"])
        extra = table.drop_columns([name for name in MANIFEST_COLUMNS if name in table.column_names])
        kept = f"; further columns: {', '.join(extra.column_names)}" if extra.column_names else ""
        standard = {**columns, "label": labels}
        pa.default_memory_pool().release_unused()  # of millions of rows that is much, and Arrow would keep it
        return manifest_table(standard, extra, path=file, root=root, reading=reading, remarks=f"{kept}{remarks}")

    def labels(self, texts: Sequence[str] | Array, file: Path) -> np.ndarray:
        """Return what the texts of a column stand for, (N,) int64; raises DataError naming the row of the file."""
        known = {**LABEL_NAMES, **{str(name).lower(): label for name, label in (self.label_names or {}).items()}}
        if wrong := [name for name, label in known.items() if label not in (REAL, FAKE)]:
            raise ParameterError(f"label_names: '{wrong[0]}' must stand for 0 (real) or 1 (fake)")
        names, number = numbered(texts)
        meant = np.array([known.get(name.strip().lower(), -1) for name in names.to_pylist()], dtype=np.int64)
        labels = np.asarray(meant[number])
        if (unknown := labels < 0).any():
            row = int(np.argmax(unknown))
            raise DataError(
                f"{file}: data row {row + 1}: label {names[number[row]].as_py()!r} is none of {', '.join(known)}; edit "
                "the list, or use read_manifest(..., label_names=) in Python"
            )
        return labels


def _file(path: Path) -> Path:
    if path.is_file():
        return path
    found = [path / name for name in _NAMES if (path / name).is_file()]
    if len(found) != 1:
        names = " and ".join(file.name for file in found) or f"none of {', '.join(_NAMES)}"
        raise DataError(f"{path}: holds {names}, where one manifest is needed; point at the file itself")
    return found[0]


def read_table(file: Path) -> Table:
    """Read a .csv or .tsv with every column as text, or a .parquet; raises DataError where it is none of them."""
    try:
        if file.suffix.lower() == ".parquet":
            if "path" not in pq.read_schema(file).names and has_images(file):
                raise DataError(
                    f"{file}: holds images and no labels that name them; a labelled set needs a manifest whose rows "
                    f"name the members, such as {file.name}::0,1"
                )
            table = pq.ParquetFile(file).read()
            pa.default_memory_pool().release_unused()  # as much again as the table, which Arrow would keep
            return table
        if file.suffix.lower() in _DELIMITERS:
            return _delimited(file, _DELIMITERS[file.suffix.lower()])
    except (pa.ArrowException, OSError, UnicodeDecodeError, csv.Error) as error:
        hint = "; save it as UTF-8" if "utf" in str(error).lower() else ""
        raise DataError(f"{file}: cannot be read as a table ({' '.join(str(error).split())[:200]}){hint}") from None
    raise DataError(f"{file}: a manifest is a .csv, .tsv or .parquet file; point at one, or at a folder")


def header(file: Path) -> list[str]:
    """Return the names of the columns of a .csv or .tsv; raises OSError, UnicodeDecodeError and csv.Error."""
    with file.open(encoding="utf-8-sig", newline="") as stream:  # "-sig": a byte-order mark is no part of a name
        return next(csv.reader(stream, delimiter=_DELIMITERS[file.suffix.lower()]), [])


def _check_columns(names: list[str], file: Path) -> None:
    if twice := [name for name in names if names.count(name) > 1]:
        raise DataError(f"{file}: two columns are called '{twice[0]}'; rename or remove one")
    for name, holds in (("path", "the image of each row"), ("label", "0 or real, 1 or fake")):
        if name not in names:
            hint = nearest(name, names)
            fix = f"{hint} rename it, or" if hint else ";"
            among = ", ".join(map(repr, names))
            raise DataError(f"{file}: no column '{name}' among {among}{fix} add a column {name} ({holds})")


def _delimited(file: Path, delimiter: str) -> Table:
    table = pacsv.read_csv(
        file,
        read_options=pacsv.ReadOptions(use_threads=False),  # only then do Arrow's errors name the row
        parse_options=pacsv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
        convert_options=pacsv.ConvertOptions(column_types=dict.fromkeys(header(file), pa.string())),
    )
    return table.combine_chunks()  # of each block of the file, Arrow holds more than its texts need


def _text(table: Table, name: str, file: Path) -> Array:
    """Return a column as N texts in Arrow, empty where it or a value is missing."""
    if name not in table.column_names:
        ends = pa.py_buffer(np.zeros(table.num_rows + 1, np.int32))  # of empty texts; takes no memory until written to
        return pa.chunked_array([pa.StringArray.from_buffers(table.num_rows, ends, pa.py_buffer(b""))])
    try:
        return pc.fill_null(pc.cast(table.column(name), pa.string()), "")
    except pa.ArrowException:
        raise DataError(f"{file}: column '{name}' holds {table.schema.field(name).type}; make it text") from None


def _paths(given: Array, root: Path, file: Path) -> Array:
    """Place all paths, an Arrow column.  Millions have nothing odd about them, or the root alone: Arrow tells which."""
    lead = os.fsencode(f"{root}/")
    below = pc.starts_with(given, lead)
    short = given
    if pc.any(below).as_py():
        short = pc.if_else(below, pc.binary_replace_slice(given, 0, len(lead), ""), given)
    odd = pc.match_substring_regex(short, _ODD).combine_chunks()
    if len(rows := np.flatnonzero(odd)):
        each = zip(rows.tolist(), given.take(rows).to_pylist(), strict=True)
        mended = pa.array([placed(text, root, file, row + 1) for row, text in each], pa.string())
        short = pc.replace_with_mask(short, odd, mended)
    _check_once(short, file)
    return short


def _check_once(paths: Array, file: Path) -> None:
    """Raise DataError where a path stands in two rows.  Hashes tell whether to look: numbering takes a gigabyte."""
    hashes = np.fromiter(map(hash, texts(paths)), np.int64, len(paths))
    hashes.sort()
    if not (hashes[1:] == hashes[:-1]).any():
        return
    names, number = numbered(paths)
    if len(names) < len(paths):  # numbers rise from row to row, as far as the first that was there before
        row = int(np.argmax(number != np.arange(len(number))))
        path = names[number[row]].as_py()
        raise DataError(f"{file}: data row {row + 1}: path {path!r} stands in row {number[row] + 1} already; keep one")


def placed(text: str, root: Path, file: Path, row: int) -> str:
    """Return a path as POSIX relative to the root; raises DataError naming the row of the file it stands in."""
    path = _relative(text, str(root))
    if not text or path is None:
        why = f"path {text!r} is not below {root}; give --root a folder above it" if text else "the path is empty"
        raise DataError(f"{file}: data row {row}: {why}")
    return path


def _relative(text: str, root: str) -> str | None:
    """Return the path as POSIX relative to the root, or None where it leads out of it; a member's name is kept."""
    text, *member = split_member(text) or (text,)
    if "\\" in text and (os.sep == "\\" or not os.path.lexists(os.path.join(root, text))):
        text = text.replace("\\", "/")
    if os.path.isabs(text):
        text = os.path.relpath(text, root).replace(os.sep, "/")
    text = posixpath.normpath(text)
    return None if text in (".", "..") or text.startswith("../") else "::".join([text, *member])
