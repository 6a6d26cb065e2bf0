"""What lists of images share: files that say in columns or levels of their own what a manifest says."""

from __future__ import annotations

import contextlib
import csv
import json
import re
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa

from fdetect.bench.layouts.base import absolute, layout
from fdetect.bench.layouts.listed import listing
from fdetect.bench.layouts.manifest import Manifest, header, placed, read_table
from fdetect.errors import DataError
from fdetect.types import Table

__all__ = ["JsonList", "ListLayout", "Row"]

_HEAD = 1 << 16

Row = dict[str, str]  # of a manifest: `path`, `label` and whatever else is known


class ListLayout(Manifest):
    """One list, or a folder in which every file with the ending of the layout is such a list.

    A layout of this kind sets `title` and `columns`, or overrides `fits`, and defines `row`.  Roots, labels and paths
    are those of a manifest.  An image that several lists name, or one list twice, is one row: of the test, where any of
    them says so, and counted in the reading; under two labels it is refused.
    """

    title: ClassVar[str] = ""
    refines: ClassVar[str] = "manifest"
    ending: ClassVar[str] = ".csv"
    columns: ClassVar[frozenset[str]] = frozenset()  # that a list must have

    def row(self, row: Row, file: Path) -> Row:
        """Return a row of the list as one of a manifest; further columns stay."""
        raise NotImplementedError

    def fits(self, file: Path) -> bool:
        """Whether a file is such a list, by the names of its columns."""
        return self.columns <= set(header(file))

    def rows(self, file: Path) -> list[Row]:
        """Return all rows of a list as those of a manifest."""
        table = read_table(file)
        if missing := sorted(self.columns - set(table.column_names)):
            among = ", ".join(map(repr, table.column_names))
            raise DataError(f"{file}: a list of {self.title} has a column '{missing[0]}', and here are {among}")
        return [self.row({name: value or "" for name, value in row.items()}, file) for row in table.to_pylist()]

    def joined(self, rows: list[Row]) -> list[Row]:
        """Return the rows of all lists with whatever takes all of them to know."""
        return rows

    def recognise(self, path: Path) -> str | None:
        """Return a one-line reading of a list or a folder of lists; None for all else."""
        files = self.files(path)
        with contextlib.suppress(OSError, ValueError, csv.Error):  # no table at all, or not as UTF-8
            if files and all(self.fits(file) for file in files):
                return f"{self.title}: {files[0].name if len(files) == 1 else f'{len(files)} lists'}"
        return None

    def read(self, path: Path) -> Table:
        """Read the lists; raises DataError that names the file, and what a manifest refuses."""
        files, root = self.files(path), absolute(self.root or (path if path.is_dir() else path.parent))
        if not files:
            name = layout.of(type(self)).name
            raise DataError(f"{path}: layout {name} reads a {self.ending} file, or a folder of them; point at one")
        rows, where = [], []
        for file in files:
            found = self.rows(file)
            labels = self.labels([row["label"] for row in found], file)
            for k, (row, label) in enumerate(zip(found, labels, strict=True), start=1):
                rows.append({**row, "path": placed(row["path"], root, file, k), "label": str(label)})
                where.append((file, k))
        once = _once(self.joined(rows), where)
        names = dict.fromkeys(name for row in once for name in row)
        try:
            table = pa.table({name: pa.array([row.get(name, "") for row in once], pa.string()) for name in names})
        except UnicodeEncodeError as error:
            raise DataError(f"{path}: {error.object!a} is not valid Unicode; correct it") from None
        again = f"; {len(rows) - len(once)} listed again" if len(rows) > len(once) else ""
        return self.made_of(table, path, root, self.recognise(path) or self.title, again)

    def files(self, path: Path) -> list[Path]:
        """Return the lists."""
        if path.is_dir():
            return [path / name for name in listing(path).tables if name.lower().endswith(self.ending)]
        return [path] if path.suffix.lower() == self.ending and path.is_file() else []


class JsonList(ListLayout):
    """A list in JSON: `begins` matches its first characters, which is all that is read to recognise it."""

    ending: ClassVar[str] = ".json"
    begins: ClassVar[re.Pattern[str]] = re.compile("")

    def is_one(self, content: Any) -> bool:
        """Whether the content of a file has the levels of the layout."""
        raise NotImplementedError

    def rows_of(self, content: Any, file: Path) -> list[Row]:
        """Return all rows of the content as those of a manifest."""
        raise NotImplementedError

    def fits(self, file: Path) -> bool:
        """Whether a file is such a list, by how it begins."""
        with file.open(encoding="utf-8-sig", errors="replace") as stream:
            return bool(self.begins.match(stream.read(_HEAD)))

    def rows(self, file: Path) -> list[Row]:
        """Return all rows of a list as those of a manifest."""
        try:
            content = json.loads(file.read_text(encoding="utf-8-sig"))
            if not self.is_one(content):
                raise DataError(f"{file}: not a list of {self.title} (fdetect list layouts draws one)")
            return self.rows_of(content, file)
        except (OSError, ValueError, RecursionError) as error:
            raise DataError(f"{file}: cannot be read as JSON ({' '.join(str(error).split())[:200]})") from None


def _once(rows: list[Row], where: list[tuple[Path, int]]) -> list[Row]:
    """Keep one row for each path; where any is of the test, the one that is.  `where` is the file and row of each."""
    found: dict[str, Row] = {}
    for row, (file, k) in zip(rows, where, strict=True):
        before = found.setdefault(row["path"], row)
        if before["label"] != row["label"]:
            said = f"is listed as {before['label']} and as {row['label']}"
            raise DataError(f"{file}: data row {k}: {row['path']!r} {said}; keep one")
        if row.get("split", "").lower() == "test":
            found[row["path"]] = row
    return list(found.values())
