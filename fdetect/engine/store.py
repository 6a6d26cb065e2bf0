"""Finished rows, content-addressed: Parquet parts in one folder per key; the key holds everything that matters.

A part is written to a temporary name and then renamed, so what stands under a part's name is whole.  Parts are
never changed.  Failures are not stored: they are found again each time, and a repaired library repairs them.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import xxhash
from platformdirs import user_cache_dir

from fdetect.errors import DataError

__all__ = ["Store", "write_atomic"]


class Store:
    """A folder of finished rows, shared by all runs; `warnings` names parts that could not be trusted."""

    def __init__(self, folder: str | Path | None = None) -> None:
        chosen = folder or os.environ.get("FDETECT_CACHE") or user_cache_dir("fdetect")
        self.folder = Path(chosen).expanduser()
        self.warnings: list[str] = []

    def load(self, key: str, width: int) -> dict[str, np.ndarray]:
        """Return all finished rows of a key: content id -> (width,) float32."""
        rows: dict[str, np.ndarray] = {}
        for part in sorted((self.folder / key).glob("part-*.parquet")):
            try:
                table = pq.read_table(part, page_checksum_verification=True)
                values = table.column("values").combine_chunks()
                block = np.asarray(values.values).reshape(len(table), width)
                ids = table.column("id").to_pylist()
            except (OSError, pa.ArrowException, KeyError, ValueError, AttributeError, TypeError) as error:
                reason = " ".join(str(error).split()) or type(error).__name__
                self.warnings.append(f"{part}: cannot be read ({reason}); delete it: its rows are computed again")
                continue
            rows.update(zip(ids, block, strict=True))
        return rows

    def write(self, key: str, description: Mapping[str, Any], ids: list[str], values: np.ndarray) -> None:
        """Add one part: `values` (N, D) float32 of the images `ids`; raises DataError where it cannot be written."""
        column = pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), values.shape[1])
        table = pa.table({"id": ids, "values": column})
        table = table.replace_schema_metadata({"fdetect.extractor": json.dumps(dict(description), sort_keys=True)})
        name = xxhash.xxh3_64_hexdigest("".join(ids).encode())
        write_atomic(
            self.folder / key / f"part-{name}.parquet",
            lambda path: pq.write_table(
                table, path, compression="zstd", use_dictionary=False, write_page_checksum=True
            ),
        )


def write_atomic(path: Path, write: Any) -> None:
    """Call `write(temporary path)` and rename the result to `path`: readers see nothing or all of it."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(temporary)
        os.replace(temporary, path)
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error.strerror or error}); choose another folder") from None
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
