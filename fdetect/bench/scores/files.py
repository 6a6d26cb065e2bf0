"""Tables of scores as people write them: CSV, Parquet or JSON; their columns under the names that are used here.

    path     or image_path, filename, image       where there is no `path`, and one of the others
    score    or pred, prob_fake                   likewise
    .parquet, and any other file by its text      JSON: a list of objects; else CSV with commas, semicolons or tabs

Paths are those of the data's manifest.  With backslashes, with "./" before them, or absolute below the root of the data
they are the same.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from fdetect.errors import DataError
from fdetect.registry import nearest

__all__ = ["column", "need", "numbers", "read_table", "spelt_as"]

# Other names of a column: per-image JSON of adapters, GRIP's lists, SPAI's lists; their predictions, LOTA's text files.
_ALSO = {"path": ("image_path", "filename", "image"), "score": ("pred", "prob_fake")}

# Read as text even where a CSV shows only digits in them: group 007 is not group 7.
_TEXT = ("path", "generator", "real_source", "group", "split", "trial", "train", "detector", "train_condition",
         "condition", "id", *_ALSO["path"])  # fmt: skip


def read_table(file: Path) -> pa.Table:
    """Read a file as an Arrow table; raises DataError naming the file, and where two columns may be the one meant."""
    if file.is_dir():
        inside = file / "scores.parquet"
        raise DataError(f"{file}: is a folder; give {inside if inside.exists() else 'a table in it'}")
    if not file.exists():
        raise DataError(f"{file}: no such file; check the path of the score table")
    try:
        table = pa.parquet.ParquetFile(file).read() if file.suffix == ".parquet" else _of_text(file)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise DataError(f"{file}: not a readable CSV, JSON or Parquet table: {_first(error)}") from None
    if not table.num_rows:
        raise DataError(f"{file}: holds no rows; give one for each image")
    if twice := [name for name in table.column_names if table.column_names.count(name) > 1]:
        raise DataError(f"{file}: two columns are called '{twice[0]}'; rename or remove one")
    for wanted, others in _ALSO.items():
        there = [name for name in others if name in table.column_names]
        if wanted in table.column_names or not there:
            continue
        if len(there) > 1:
            raise DataError(f"{file}: which column is the {wanted}, '{there[0]}' or '{there[1]}'? Rename it '{wanted}'")
        table = table.rename_columns([wanted if name == there[0] else name for name in table.column_names])
    return table


def need(file: Path, table: pa.Table, *names: str) -> None:
    """Raise DataError for a column that is absent."""
    for name in names:
        if name not in table.column_names:
            also = f" (nor {', '.join(_ALSO[name])})" if name in _ALSO else ""
            raise DataError(f"{file}: no column '{name}'{nearest(name, table.column_names)}{also}")


def column(table: pa.Table, name: str, default: Any) -> list[Any]:
    """Return the values of a column, "" where there is none; `default` for each row where there is no such column."""
    if name not in table.column_names:
        return [default] * len(table)
    return ["" if value is None else value for value in table.column(name).to_pylist()]


def numbers(file: Path, table: pa.Table, name: str) -> list[float]:
    """Return the numbers of a column, NaN where there is none; raises DataError for text that is no number."""
    if name not in table.column_names:
        return [np.nan] * len(table)
    try:
        return [np.nan if value is None else float(value) for value in table.column(name).to_pylist()]
    except (TypeError, ValueError) as error:
        raise DataError(f"{file}: column '{name}' must hold numbers ({error}); write 0,97 and 97% as 0.97") from None


def spelt_as(path: str, known: Mapping[str, Any], root: str) -> str:
    """Return a path as the data spell it, where it is one of theirs in another spelling; else as it is."""
    if path in known:
        return path
    plain = path if "/" in path else path.replace("\\", "/")
    if plain not in known and os.path.isabs(path) and root:
        plain = os.path.relpath(path, os.path.abspath(root)).replace(os.sep, "/")
    plain = str(PurePosixPath(plain))
    return plain if plain in known else path


def _of_text(file: Path) -> pa.Table:
    with file.open("rb") as stream:
        start = stream.read(4096)
    if start[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise ValueError("its text is UTF-16; save it as UTF-8")
    head = start.removeprefix(b"\xef\xbb\xbf").lstrip()
    if head[:1] in (b"[", b"{"):
        return _of_json(json.loads(file.read_text(encoding="utf-8-sig")))
    first = head.split(b"\n", 1)[0]
    by = next((mark for mark in ",;\t" if mark.encode() in first), ",")
    kinds: Mapping[str, pa.DataType] = dict.fromkeys(_TEXT, pa.string())
    return pa.csv.read_csv(file, parse_options=pa.csv.ParseOptions(delimiter=by),
                           convert_options=pa.csv.ConvertOptions(column_types=kinds))  # fmt: skip


def _of_json(rows: Any) -> pa.Table:
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ValueError("JSON is a list of objects here, [{\"image_path\": ..., \"pred\": ...}, ...]")
    names = list(dict.fromkeys(name for row in rows for name in row))
    return pa.table({name: [row.get(name) for row in rows] for name in names})


def _first(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]

