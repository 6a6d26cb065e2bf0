"""Writing files that are whole or absent: readers see nothing or all of it, whatever happens to the writer."""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
import uuid
from collections.abc import Callable, Iterable
from itertools import chain
from pathlib import Path
from typing import Any

from fdetect.errors import DataError, ParameterError
from fdetect.types import Table

__all__ = ["TABLE_ENDINGS", "check_table", "check_writable", "write_atomic", "write_table"]

TABLE_ENDINGS = (".parquet", ".csv")

_A_FILE = (errno.EEXIST, errno.ENOTDIR)
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def write_atomic(path: Path, write: Callable[[Path], Any]) -> None:
    """Call `write(temporary path)` and rename the result to `path`; raises DataError where that cannot be done."""
    temporary = path.with_name(f".{uuid.uuid4().hex}.tmp")  # short, whatever the length of the name
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(temporary)
        os.replace(temporary, path)
    except OSError as error:
        raise _cannot_be_written(path, error) from None
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def check_writable(folder: Path) -> None:
    """Raise DataError where nothing can be written into a folder: before hours of work, not after them."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(b"x")
    except OSError as error:
        raise _cannot_be_written(folder, error) from None


def check_table(path: Path) -> None:
    """Raise ParameterError unless a file's ending is one of TABLE_ENDINGS, DataError where it cannot be written."""
    _check_ending(path)
    check_writable(path.parent)


def write_table(blocks: Table | Iterable[Table], path: Path) -> None:
    """Write a table, or blocks of one table one after another, as .parquet or .csv by the file's name.

    Only one block is in memory at a time; each becomes a row group.  The bytes depend on the blocks alone.
    Raises ParameterError for another ending, DataError where the file cannot be written.
    """
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet

    _check_ending(path)
    tables = iter([blocks] if isinstance(blocks, pa.Table) else blocks)
    first = next(tables)

    def write(temporary: Path) -> None:
        with temporary.open("wb") as file:  # opened here, since Arrow takes no name that is not UTF-8
            if path.suffix == ".csv":
                writer = pa.csv.CSVWriter(file, first.schema)
            else:
                words = [field.name for field in first.schema if pa.types.is_string(field.type)]
                writer = pa.parquet.ParquetWriter(
                    file, first.schema, compression="zstd", use_dictionary=words, write_statistics=False
                )
            with writer:
                for table in chain([first], tables):
                    writer.write_table(table)

    write_atomic(path, write)


def _check_ending(path: Path) -> None:
    if path.suffix not in TABLE_ENDINGS:
        raise ParameterError(f"{path}: a table is written as .parquet or .csv; give it one of these endings")


def _cannot_be_written(path: Path, error: OSError) -> DataError:
    reason = os.strerror(error.errno) if error.errno else " ".join(str(error).split())  # Arrow's texts are long
    if error.errno in _A_FILE:
        reason = "a file is where a folder should be"
    fix = "free some space" if error.errno in _FULL else "choose another place"
    return DataError(f"{path}: cannot be written ({reason}); {fix}")
