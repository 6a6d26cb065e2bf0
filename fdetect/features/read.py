"""Reading back a table of features that was written to Parquet, with the names of its columns."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from fdetect.errors import DataError
from fdetect.types import Failure, FeatureTable

__all__ = ["read_features"]


def read_features(path: str | Path) -> FeatureTable:
    """Read the FeatureTable that `extract`, `extract_to` or `FeatureTable.to_parquet` wrote to a .parquet file.

    All other columns of the file (path, label, generator, ...) come back as its `manifest`.
    Raises DataError naming the file where it is no such table.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            table = pq.read_table(file)
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}; check the path") from None
    except pa.ArrowException:
        raise DataError(f"{path}: is no Parquet file; only tables written as .parquet are read back") from None
    features = [field for field in table.schema if b"columns" in (field.metadata or {})]
    if not features or not {"id", "path", "status", "reason"} <= set(table.column_names):
        raise DataError(f"{path}: holds no table of features; write one with fdetect extract -o NAME.parquet")
    values = [_matrix(table, field.name) for field in features]
    ids, paths, status, reasons = (table.column(name).to_pylist() for name in ("id", "path", "status", "reason"))
    failures = [
        Failure(id, name, *reason.split(": ", 1))
        for id, name, state, reason in zip(ids, paths, status, reasons, strict=True)
        if state != "ok"
    ]
    about = json.loads((table.schema.metadata or {}).get(b"fdetect.features", b"{}"))
    others = table.drop_columns(["id", "status", "reason", *(field.name for field in features)])
    return FeatureTable(
        tuple(ids),
        tuple(paths),
        tuple(column for field in features for column in json.loads(field.metadata[b"columns"])),
        np.concatenate(values, axis=1),
        tuple(failures),
        others,
        about,
    )


def _matrix(table: pa.Table, name: str) -> np.ndarray:
    column = table.column(name).combine_chunks()
    return np.asarray(column.flatten()).reshape(len(column), column.type.list_size)
