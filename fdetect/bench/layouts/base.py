"""What the layouts share: their registry, the walk through a folder tree, and the manifest table they return.

A layout is a frozen dataclass with two verbs, `recognise(path) -> str | None` and `read(path) -> Table`.  Where folder
names say what images are, `TreeLayout` holds both and the layout adds what the names mean; where one folder's name is
the label, `FolderLayout` does so.  A layout that `refines` another is a special case of it: where both fit, it wins.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from fdetect.bench.layouts.listed import listing
from fdetect.engine.walk import IMAGE_EXTENSIONS, PassedOver, in_words, walk
from fdetect.errors import DataError
from fdetect.registry import Registry
from fdetect.types import FAKE, MANIFEST_COLUMNS, REAL, Record, Table

__all__ = [
    "IMAGE_EXTENSIONS", "LABEL_FOLDERS", "SPLITS", "FolderLayout", "TreeLayout", "absolute", "has_labels_below",
    "layout", "manifest_table", "path_prefix", "prompt_group", "split_first",
]  # fmt: skip

layout = Registry("layout")

SPLITS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}

LABEL_FOLDERS = frozenset(("real", "fake", "0_real", "1_fake", "ai", "nature"))  # never looked into to recognise
_LEVELS = 4  # how deep folders are looked at to recognise a layout
_ASIDE = "images outside the label folders"
_SHOWN = 8  # names spelt out in a reading; the rest are counted


@dataclass(frozen=True)
class TreeLayout:
    """A tree in which the names of folders say what the images in them are.

    A layout of this kind sets `title` and defines `locate`; where it needs more than names of folders it overrides
    `groups`, `aside` and `reading`.  Only files with an image extension become rows; every other file, hidden names
    and images in folders without a place are counted in the reading.  Linked folders are not entered (a loop of links
    would never end) and are counted too.

    root    folder the paths are made relative to, at or above the folder that is read; None for that folder itself
    """

    root: str | Path | None = None

    title: ClassVar[str] = ""
    refines: ClassVar[str] = ""  # name of the layout that this one is a special case of

    def locate(self, folder: tuple[str, ...], given: str) -> Record | None:
        """Say what the images of a folder are from its name and those above it; None if they have no place.

        `given` is the name of the folder that is read.  A folder that is itself called train, val or test is such a
        level: it is then the first of `folder`, and `given` is the name of its parent.
        """
        raise NotImplementedError

    def groups(self, record: Record, images: Sequence[str]) -> list[str] | None:
        """Return the groups of images of one folder, by their file names; None where each counts by itself."""
        return None

    def aside(self, folder: tuple[str, ...]) -> str:
        """Say what the images of a folder without a place are, for the count of what was passed over."""
        return _ASIDE

    def reading(self, places: Mapping[tuple[str, ...], Record], path: Path) -> str | None:
        """Return the one-line reading of a tree with these folders, or None where it is another's after all."""
        return f"{self.title}: {len(places)} folder{'s' * (len(places) != 1)}"

    def recognise(self, path: Path) -> str | None:
        """Return a one-line reading of the folder, or None; looks at folder names alone, four levels deep."""
        places = self._places(path) if path.is_dir() and not _is_derived(path) else {}
        return self.reading(places, path) if places else None

    def read(self, path: Path) -> Table:
        """Read the tree into a manifest table, sorted by path; raises DataError where it holds no image."""
        if not path.is_dir():
            raise DataError(f"{path}: layout {layout.of(type(self)).name} reads a folder; point at one")
        prefix = path_prefix(path, self.root)
        pieces: list[pa.Array] = []  # paths, sorted as they come, in Arrow from the start
        found: list[Record] = []  # what the images of each piece are
        groups: list[pa.Array] = []
        passed_over: PassedOver = Counter()
        for folder, images in walk(path, passed_over):
            record = self._located(folder, path)
            if record is None:
                passed_over["file", self.aside(folder)] += len(images)
            else:
                pieces.append(pa.array(["/".join((*prefix, *folder, image)) for image in images], pa.string()))
                found.append(record)
                named = self.groups(record, images)
                groups.append(pa.repeat(pa.scalar(""), len(images)) if named is None else pa.array(named, pa.string()))
        piece = np.repeat(np.arange(len(found)), [len(paths) for paths in pieces])
        columns: dict[str, object] = {"path": pa.chunked_array(pieces, pa.string())}
        for name in MANIFEST_COLUMNS[1:]:
            columns[name] = pa.array([getattr(record, name) for record in found], _type(name)).take(pa.array(piece))
        columns["group"] = pa.chunked_array(groups, pa.string())
        reading = self.recognise(path) or self.title
        remarks = f"; {in_words(passed_over)}" if passed_over.total() else ""
        return manifest_table(
            columns, path=path, root=absolute(self.root or path), reading=reading, remarks=remarks,
            aside=passed_over["file", _ASIDE],
        )  # fmt: skip

    def _places(self, path: Path) -> dict[tuple[str, ...], Record]:
        places: dict[tuple[str, ...], Record] = {}
        for folder in _folders(path, lambda folder: folder in places or folder[-1].lower() in LABEL_FOLDERS):
            if record := self._located(folder, path):
                places[folder] = record
        return places

    def _located(self, folder: tuple[str, ...], path: Path) -> Record | None:
        top = absolute(path)
        if top.name.lower() in SPLITS:
            return self.locate((top.name, *folder), top.parent.name)
        return self.locate(folder, top.name) if folder else None


class FolderLayout(TreeLayout):
    """A tree in which the name of one folder, in any case, is the label; what lies above and below it says the rest.

    A layout of this kind sets `title` and `classes` (folder name -> label) and defines `place`.
    """

    classes: ClassVar[Mapping[str, int]] = {}

    def place(self, above: tuple[str, ...], label: int, below: tuple[str, ...], given: str) -> Record | None:
        """Say what an image is from the folder names above and below its label folder; None if it has no place.

        What `given` is, and where a split is the first of `above`, `TreeLayout.locate` says.
        """
        raise NotImplementedError

    def locate(self, folder: tuple[str, ...], given: str) -> Record | None:
        """Find the label folder and have it placed."""
        at = next((i for i, name in enumerate(folder) if name.lower() in self.classes), None)
        if at is None:
            return None
        return self.place(folder[:at], self.classes[folder[at].lower()], folder[at + 1 :], given)

    def reading(self, places: Mapping[tuple[str, ...], Record], path: Path) -> str | None:
        """Return the names of the label folders, and in how many folders they lie."""
        names, parents = {folder[-1].lower() for folder in places}, {folder[:-1] for folder in places}
        return f"{self.title}: {'/'.join(sorted(names))} in {len(parents)} folder{'s' * (len(parents) != 1)}"

    def has_others(self, places: Mapping[tuple[str, ...], Record], path: Path) -> bool:
        """Whether a label folder has no place: one of another set, which this reading would drop."""
        folders = _folders(path, lambda folder: folder[-1].lower() in self.classes)
        return any(folder[-1].lower() in self.classes and folder not in places for folder in folders)


def split_first(above: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    """Take a leading train, val or test level off the folder names: `(split or "", the other names)`."""
    if above and above[0].lower() in SPLITS:
        return SPLITS[above[0].lower()], above[1:]
    return "", above


def manifest_table(
    columns: Mapping[str, object], extra: Table = None, *, path: Path, root: Path, reading: str, remarks: str = "",
    aside: int = 0,
) -> Table:  # fmt: skip
    """Make the manifest table that every layout returns, with its root and its reading in the schema metadata.

    columns  each of MANIFEST_COLUMNS -> its N values, in Arrow or as Python objects
    extra    table of N rows whose columns follow the standard ones
    path     what was read, for the errors
    root     absolute folder that the paths are relative to
    reading  what was recognised; the counts of images and the `remarks` are added to it
    aside    images that are left out for want of a place: without labels they would be read (`fdetect.aside`)

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
    about = {"fdetect.root": os.fsencode(root), "fdetect.detected": detected, "fdetect.aside": str(aside)}
    return table.replace_schema_metadata(about)


def _type(name: str) -> pa.DataType:
    return pa.int64() if name == "label" else pa.string()


def absolute(path: str | Path) -> Path:
    """Return the absolute path with links left as they are: their names are what the user sees."""
    return Path(os.path.abspath(path))


def prompt_group(prompt: str) -> str:
    """Return the group of all images of one prompt, whatever its case and spaces; "" without a prompt."""
    text = " ".join(prompt.split()).lower()
    return f"prompt-{xxhash.xxh3_64_hexdigest(text.encode())}" if text else ""


def has_labels_below(path: Path, folders: Iterable[tuple[str, ...]]) -> bool:
    """Whether any of the folders below `path` holds folders that are labels: another layout's, then."""
    return any(LABEL_FOLDERS & {n.lower() for n in listing(path.joinpath(*one)).folders} for one in folders)


def path_prefix(path: Path, root: str | Path | None) -> tuple[str, ...]:
    """Return the folder names from the root down to the folder that is read; raises DataError outside the root."""
    if root is None:
        return ()
    if not absolute(path).is_relative_to(absolute(root)):
        raise DataError(f"{path}: not below the root {root}; give --root a folder at or above it")
    return absolute(path).relative_to(absolute(root)).parts


def _is_derived(path: Path) -> bool:
    """Whether a folder is `dire/test/<set>` or the same in recons/, whose real/ holds maps and no photographs."""
    *_, made, split, _ = ("", "", *absolute(path).parts)
    return made.lower() in ("dire", "recons") and split.lower() in SPLITS


def _folders(path: Path, leave: Callable[[tuple[str, ...]], bool]) -> Iterator[tuple[str, ...]]:
    """Yield folders as names below `path`, level by level; one that `leave` names is not looked into."""
    queue: list[tuple[str, ...]] = [()]
    for above in queue:
        for name in listing(path.joinpath(*above)).folders:
            folder = (*above, name)
            yield folder
            if len(folder) < _LEVELS and not leave(folder):
                queue.append(folder)


def _counts(table: Table) -> str:
    parts = []
    for label, name, column in ((REAL, "real", "real_source"), (FAKE, "fake", "generator")):
        here = pc.equal(table["label"], label)
        n = pc.sum(here).as_py()
        named = sorted(value for value in pc.unique(table[column].filter(here)).to_pylist() if value)
        if not n:
            parts.append(f"no {name} images")
        elif named:
            shown = [value if value.isprintable() else repr(value) for value in named[:_SHOWN]]
            more = f" and {len(named) - _SHOWN} more" if len(named) > _SHOWN else ""
            kind = column.removeprefix("real_") + "s" * (len(named) != 1)
            parts.append(f"{n} {name} of {len(named)} {kind} ({', '.join(shown)}{more})")
        else:
            parts.append(f"{n} {name}")
    return f"{table.num_rows} images: {', '.join(parts)}"
