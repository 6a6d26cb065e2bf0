"""What the layouts share: their registry, the walk through a folder tree, and the manifest table they return.

A layout is a frozen dataclass with two verbs, `recognise(path) -> str | None` and `read(path) -> Table`.  Where a
folder's name is the label, `FolderLayout` holds both and the layout adds the names and what they mean.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, NoReturn

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fdetect.engine.listing import IMAGE_EXTENSIONS, PassedOver, in_words, walk
from fdetect.errors import DataError
from fdetect.registry import Registry
from fdetect.types import FAKE, MANIFEST_COLUMNS, REAL, Record, Table

__all__ = ["IMAGE_EXTENSIONS", "SPLITS", "FolderLayout", "absolute", "layout", "manifest_table", "split_first"]

layout = Registry("layout")

SPLITS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}

_LABEL_FOLDERS = frozenset(("real", "fake", "0_real", "1_fake", "ai", "nature"))  # never looked into to recognise
_SHOWN = 8  # names spelt out in a reading; the rest are counted


@dataclass(frozen=True)
class FolderLayout:
    """A tree in which the name of a folder, in any case, is the label; what lies above and below it says the rest.

    A layout of this kind sets `title` and `classes` (folder name -> label) and defines `place`.  Only files with an
    image extension become rows; every other file, hidden names and images outside the label folders are counted in
    the reading.  Linked folders are not entered (a loop of links would never end) and are counted too.

    root    folder the paths are made relative to, at or above the folder that is read; None for that folder itself
    """

    root: str | Path | None = None

    title: ClassVar[str] = ""
    classes: ClassVar[Mapping[str, int]] = {}

    def place(self, above: tuple[str, ...], label: int, below: tuple[str, ...], given: str) -> Record | None:
        """Say what an image is from the folder names above and below its label folder; None if it has no place.

        `given` is the name of the folder that is read.  A folder that is itself called train, val or test is such a
        level: it is then the first of `above`, and `given` is the name of its parent.
        """
        raise NotImplementedError

    def recognise(self, path: Path) -> str | None:
        """Return a one-line reading of the folder, or None; looks at folder names alone, three levels deep."""
        if not path.is_dir():
            return None
        names: set[str] = set()
        parents: set[tuple[str, ...]] = set()
        for above, name in _label_folders(path, levels=3):
            if name.lower() in self.classes and self._record((*above, name), path):
                names.add(name.lower())
                parents.add(above)
        if not names:
            return None
        return f"{self.title}: {'/'.join(sorted(names))} in {len(parents)} folder{'s' * (len(parents) != 1)}"

    def read(self, path: Path) -> Table:
        """Read the tree into a manifest table, sorted by path; raises DataError where it holds no image."""
        if not path.is_dir():
            raise DataError(f"{path}: layout {layout.of(type(self)).name} reads a folder; point at one")
        prefix = _prefix(path, self.root)
        pieces: list[pa.Array] = []  # paths, sorted as they come, in Arrow from the start
        found: list[Record] = []  # what the images of each piece are
        passed_over: PassedOver = Counter()
        for folder, images in walk(path, passed_over):
            record = self._record(folder, path)
            if record is None:
                passed_over["file", "images outside the label folders"] += len(images)
            else:
                pieces.append(pa.array(["/".join((*prefix, *folder, image)) for image in images], pa.string()))
                found.append(record)
        piece = np.repeat(np.arange(len(found)), [len(paths) for paths in pieces])
        columns: dict[str, object] = {"path": pa.chunked_array(pieces, pa.string())}
        for name in MANIFEST_COLUMNS[1:]:
            columns[name] = pa.array([getattr(record, name) for record in found], _type(name)).take(pa.array(piece))
        reading = self.recognise(path) or self.title
        remarks = f"; {in_words(passed_over)}" if passed_over.total() else ""
        return manifest_table(columns, path=path, root=absolute(self.root or path), reading=reading, remarks=remarks)

    def _record(self, folder: tuple[str, ...], path: Path) -> Record | None:
        at = next((i for i, name in enumerate(folder) if name.lower() in self.classes), None)
        if at is None:
            return None
        top = absolute(path)
        inside_split = top.name.lower() in SPLITS
        above = (top.name, *folder[:at]) if inside_split else folder[:at]
        given = top.parent.name if inside_split else top.name
        return self.place(above, self.classes[folder[at].lower()], folder[at + 1 :], given)


def split_first(above: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    """Take a leading train, val or test level off the folder names: `(split or "", the other names)`."""
    if above and above[0].lower() in SPLITS:
        return SPLITS[above[0].lower()], above[1:]
    return "", above


def manifest_table(
    columns: Mapping[str, object], extra: Table = None, *, path: Path, root: Path, reading: str, remarks: str = ""
) -> Table:
    """Make the manifest table that every layout returns, with its root and its reading in the schema metadata.

    columns  each of MANIFEST_COLUMNS -> its N values, in Arrow or as Python objects
    extra    table of N rows whose columns follow the standard ones
    path     what was read, for the errors
    root     absolute folder that the paths are relative to
    reading  what was recognised; the counts of images and the `remarks` are added to it

    Raises DataError where there is no row, and where a name cannot be held as text.
    """
    try:
        arrays = [
            column if isinstance(column := columns[name], pa.Array | pa.ChunkedArray) else pa.array(column, _type(name))
            for name in MANIFEST_COLUMNS
        ]
    except UnicodeEncodeError as error:
        raise DataError(f"{path}: the name {error.object!a} is not valid UTF-8; rename it") from None
    table = pa.table(arrays, names=list(MANIFEST_COLUMNS))
    if not table.num_rows:
        raise DataError(f"{path}: holds no images ({reading}{remarks}); point at the folder or file that has them")
    for name in extra.column_names if extra is not None else ():
        table = table.append_column(name, extra.column(name))
    detected = f"{reading}; {_counts(table)}{remarks}"
    return table.replace_schema_metadata({"fdetect.root": os.fsencode(root), "fdetect.detected": detected})


def _type(name: str) -> pa.DataType:
    return pa.int64() if name == "label" else pa.string()


def absolute(path: str | Path) -> Path:
    """Return the absolute path with links left as they are: their names are what the user sees."""
    return Path(os.path.abspath(path))


def _label_folders(path: Path, levels: int) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield (names above, name) of label folders, looking only at names and never inside a label folder."""
    queue: list[tuple[str, ...]] = [()]
    for above in queue:
        try:
            with os.scandir(path.joinpath(*above)) as entries:
                names = sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))
        except OSError as error:
            _refuse(error)
        for name in names:
            if name.startswith("."):
                continue
            if name.lower() in _LABEL_FOLDERS:
                yield above, name
            elif len(above) < levels:
                queue.append((*above, name))


def _refuse(error: OSError) -> NoReturn:
    raise DataError(f"{error.filename}: the folder cannot be listed ({error.strerror}); check its permissions")


def _prefix(path: Path, root: str | Path | None) -> tuple[str, ...]:
    if root is None:
        return ()
    if not absolute(path).is_relative_to(absolute(root)):
        raise DataError(f"{path}: not below the root {root}; give --root a folder at or above it")
    return absolute(path).relative_to(absolute(root)).parts


def _counts(table: Table) -> str:
    parts = []
    for label, name, column in ((REAL, "real", "real_source"), (FAKE, "fake", "generator")):
        rows = table.filter(pc.equal(table["label"], label))
        named = sorted(value for value in pc.unique(rows[column]).to_pylist() if value)
        if not rows.num_rows:
            parts.append(f"no {name} images")
        elif named:
            shown = [value if value.isprintable() else repr(value) for value in named[:_SHOWN]]
            more = f" and {len(named) - _SHOWN} more" if len(named) > _SHOWN else ""
            kind = column.removeprefix("real_") + "s" * (len(named) != 1)
            parts.append(f"{rows.num_rows} {name} of {len(named)} {kind} ({', '.join(shown)}{more})")
        else:
            parts.append(f"{rows.num_rows} {name}")
    return f"{table.num_rows} images: {', '.join(parts)}"
