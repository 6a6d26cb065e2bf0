"""Finished rows, content-addressed: Parquet parts in one folder per key; the key holds everything that matters.

A part is written to a temporary name and then renamed, so what stands under a part's name is whole.  Parts are
never changed, and their pages carry checksums.  Failures are not stored: they are found again each time, and a
repaired library repairs them.

    <store>/<task>-<fingerprint>/part-<digest>.parquet     id: 16 bytes, values: fixed_size_list<float32>
    <store>/index/<fingerprint>/part-<digest>.parquet      which content a path had (index.py)
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import xxhash
from platformdirs import user_cache_dir

from fdetect.errors import DataError
from fdetect.files import write_atomic
from fdetect.types import Table

__all__ = ["Rows", "Store", "check_name", "id_array", "id_bytes", "id_column", "id_texts", "read_part"]

ID_BYTES = 16
_DIGEST = b"fdetect.values"  # in a part's metadata: page checksums do not cover what the file says of its pages
_STALE_SECONDS = 24 * 3600  # a temporary file of this age belongs to no writer that is still alive
_UNREADABLE = (OSError, pa.ArrowException, KeyError, ValueError, AttributeError, TypeError)


class Store:
    """A folder of finished rows, shared by all runs; `warnings` names parts that could not be trusted."""

    def __init__(self, folder: str | Path | None = None) -> None:
        chosen = folder or os.environ.get("FDETECT_CACHE") or user_cache_dir("fdetect")
        self.folder = Path(chosen).expanduser().absolute()  # code of others may change the working folder
        self.warnings: list[str] = []

    def rows(self, key: str, width: int, *, keep: int = 0) -> Rows:
        """Open the finished rows of a key, of `width` float32 values each.

        `keep` is how many parts are held in memory once read: 0 to ask what is there, a few to take rows in order.
        """
        return Rows(self, self.folder / key, width, keep)

    def write(self, key: str, description: Mapping[str, Any], ids: np.ndarray, values: np.ndarray) -> None:
        """Add one part: `values` (N, D) float32 of the contents `ids` (N, 16) uint8; raises DataError if it cannot."""
        column = pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), values.shape[1])
        table = pa.table({"id": id_array(ids), "values": column})
        described = json.dumps(dict(description), sort_keys=True)
        table = table.replace_schema_metadata({"fdetect.extractor": described, _DIGEST: _digest(values)})
        self.add_part(self.folder / key, table, ids.tobytes())

    def add_part(self, folder: Path, table: Table, named_by: bytes) -> None:
        """Write a table as a part of a folder; the same content makes the same name."""
        write_atomic(
            folder / _part_name(named_by),
            lambda path: pq.write_table(
                table, path, compression="zstd", use_dictionary=False, write_page_checksum=True
            ),
        )

    def parts(self, folder: Path) -> list[Path]:
        """Return the finished parts of a folder; what writers left behind when they were killed is removed."""
        with contextlib.suppress(OSError):
            for left in folder.glob(".*.tmp"):
                if time.time() - left.stat().st_mtime > _STALE_SECONDS:
                    left.unlink()
        return sorted(folder.glob("part-*.parquet"))

    def distrust(self, part: Path, error: Exception) -> None:
        """Note that a part cannot be trusted: its rows are computed again, and may come to replace it."""
        reason = " ".join(str(error).split()) or type(error).__name__
        warning = f"{part}: cannot be read ({reason}); its rows are computed again"
        if warning not in self.warnings:
            self.warnings.append(warning)


class Rows:
    """Where the finished rows of one key stand.  Only ids are held in memory; values are read part by part.

    A row counts as finished in a part whose every checksum holds: a part is verified, once, before any of its rows is
    told of.  Safe to ask from several threads.
    """

    def __init__(self, store: Store, folder: Path, width: int, keep: int) -> None:
        self._store, self._width, self._keep = store, width, keep
        self._parts = store.parts(folder)
        self._trusted: dict[int, bool] = {}
        self._kept: dict[int, np.ndarray] = {}
        self._lock = threading.Lock()
        ids, places = [np.empty((0, ID_BYTES), np.uint8)], [np.empty((0, 2), np.int64)]
        for number, part in enumerate(self._parts):
            try:
                of_part = _ids_of(part, read_part(part, columns=["id"]))
            except _UNREADABLE as error:
                store.distrust(part, error)
                continue
            ids.append(of_part)
            places.append(np.stack([np.full(len(of_part), number), np.arange(len(of_part))], axis=1))
        found = np.concatenate(ids)
        order = np.argsort(_prefix(found), kind="stable")
        self._ids, self._places = found[order], np.concatenate(places)[order]
        self._sorted = _prefix(self._ids)

    def has(self, ids: np.ndarray) -> np.ndarray:
        """(N, 16) uint8 ids -> (N,) bool: whether each is finished."""
        with self._lock:
            return np.asarray(self._places_of(ids)[:, 0] >= 0)

    def ids(self) -> np.ndarray:
        """(M, 16) uint8: everything that is finished, in order of the ids' first half; every part is verified."""
        with self._lock:
            return self._ids[self._trusted_parts(self._places[:, 0])] if len(self._ids) else self._ids

    def n_parts(self, ids: np.ndarray) -> int:
        """(N, 16) ids -> in how many parts their rows stand."""
        with self._lock:
            places = self._places_of(ids)
            return len(np.unique(places[places[:, 0] >= 0, 0]))

    def take(self, ids: np.ndarray) -> np.ndarray:
        """(N, 16) uint8 ids -> (N, D) float32 values, in that order; NaN rows where there is none."""
        values = np.full((len(ids), self._width), np.nan, np.float32)
        with self._lock:
            places = self._places_of(ids)
            for number in np.unique(places[places[:, 0] >= 0, 0]):
                here = np.flatnonzero(places[:, 0] == number)
                values[here] = self._read(int(number))[places[here, 1]]
        return values

    def _places_of(self, ids: np.ndarray) -> np.ndarray:
        """(N, 16) ids -> (N, 2): part and row of each, in a part that was verified; -1 where there is none."""
        places = np.full((len(ids), 2), -1)
        if not len(self._ids):
            return places
        wanted = _prefix(ids)
        first, last = (np.searchsorted(self._sorted, wanted, side) for side in ("left", "right"))
        at = np.minimum(first, len(self._ids) - 1)
        sure = (self._ids[at] == ids).all(axis=1)
        sure[sure] = self._trusted_parts(self._places[at[sure], 0])
        places[sure] = self._places[at[sure]]
        for k in np.flatnonzero(~sure & (first < last)):  # rows that were finished more than once, in several parts
            for other in range(first[k], last[k]):
                if (self._ids[other] == ids[k]).all() and self._trust(int(self._places[other, 0])):
                    places[k] = self._places[other]
                    break
        return places

    def _trusted_parts(self, numbers: np.ndarray) -> np.ndarray:
        found, back = np.unique(numbers, return_inverse=True)
        return np.array([self._trust(int(number)) for number in found], bool)[back]

    def _trust(self, number: int) -> bool:
        if number not in self._trusted:
            try:
                self._read(number)
                self._trusted[number] = True
            except DataError as error:
                self._store.distrust(self._parts[number], error)
                self._trusted[number] = False
        return self._trusted[number]

    def _read(self, number: int) -> np.ndarray:
        """Return the values of a part, every checksum of it verified."""
        if number not in self._kept:
            try:
                table = read_part(self._parts[number])
                column = table.column("values").combine_chunks()
                if column.type != pa.list_(pa.float32(), self._width):
                    raise ValueError(f"it holds {column.type}, not the rows of this key")
                values = np.asarray(column.values).reshape(len(_ids_of(self._parts[number], table)), self._width)
                if _digest(values) != table.schema.metadata[_DIGEST]:
                    raise ValueError("its values are not those that were written")
            except _UNREADABLE as error:
                raise DataError(" ".join(str(error).split()) or type(error).__name__) from None
            self._kept[number] = values
        values = self._kept[number]
        while len(self._kept) > self._keep:
            self._kept.pop(next(iter(self._kept)))
        return values


def id_bytes(ids: list[str]) -> np.ndarray:
    """N ids of 32 hex digits -> (N, 16) uint8."""
    return np.frombuffer(bytes.fromhex("".join(ids)), np.uint8).reshape(len(ids), ID_BYTES)


def id_texts(ids: np.ndarray) -> list[str]:
    """(N, 16) uint8 -> N ids of 32 hex digits."""
    text = np.ascontiguousarray(ids).tobytes().hex()
    return [text[k : k + 2 * ID_BYTES] for k in range(0, len(text), 2 * ID_BYTES)]


def id_array(ids: np.ndarray) -> pa.Array:
    """(N, 16) uint8 ids -> an Arrow array of 16 bytes each."""
    data = pa.py_buffer(np.ascontiguousarray(ids).tobytes())
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(ID_BYTES), len(ids), [None, data])


def id_column(table: Table) -> np.ndarray:
    """Return the column `id` as (N, 16) uint8; raises TypeError where it is something else."""
    column = table.column("id").combine_chunks()
    if column.type != pa.binary(ID_BYTES) or column.null_count:
        raise TypeError(f"column id is {column.type}, not binary({ID_BYTES})")
    data = np.frombuffer(column.buffers()[1], np.uint8, count=len(column) * ID_BYTES, offset=column.offset * ID_BYTES)
    return data.reshape(len(column), ID_BYTES)


def check_name(part: Path, named_by: bytes) -> None:
    """Raise ValueError unless a part holds what it was named by."""
    if part.name != _part_name(named_by):
        raise ValueError("its rows are not those that were written")


def _part_name(named_by: bytes) -> str:
    return f"part-{xxhash.xxh3_64_hexdigest(named_by)}.parquet"


def _digest(values: np.ndarray) -> bytes:
    return xxhash.xxh3_128_hexdigest(np.ascontiguousarray(values).data).encode()


def read_part(part: Path, columns: list[str] | None = None) -> Table:
    """Read a part, every page's checksum verified."""
    # without threads: parts are small, and each thread would keep memory of its own
    return pq.read_table(part, columns=columns, page_checksum_verification=True, use_threads=False)


def _ids_of(part: Path, table: Table) -> np.ndarray:
    ids = id_column(table)
    check_name(part, ids.tobytes())
    return ids


def _prefix(ids: np.ndarray) -> np.ndarray:
    """(N, 16) uint8 -> (N,) uint64: the first half of each id, enough to find it by, not enough to be it."""
    return np.ascontiguousarray(ids[:, :8]).view(">u8").reshape(len(ids))
