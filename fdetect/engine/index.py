"""Which content a path had when it was last read: a file of unchanged size and time is not read to be known.

Like all of the store it is made of parts that are written whole and never changed; the newest entry of a path counts.
"""

from __future__ import annotations

import os
import time
from dataclasses import astuple, fields
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from fdetect.addresses import unsigned
from fdetect.engine.sources import Stamp
from fdetect.engine.store import Store, check_name, id_array, id_bytes, id_column, read_part
from fdetect.types import Table

__all__ = ["STAMP", "Index", "settled"]

FLUSH_ENTRIES, FLUSH_SECONDS = 4096, 20.0  # what waits in memory for its part: what a kill may cost

STAMP = tuple(field.name for field in fields(Stamp))  # columns of the index, in this order
_FORM = "-2"  # after the folder's name: the first form knew no ctime_ns, and is left where it is, unread
_SETTLED_NS = 2_000_000_000  # a file written within this time could be written again without its time changing


def settled(stamp: Stamp) -> bool:
    """Whether a file was written so long ago that to write it from now on must change its stamp.

    Never, where a remote file system tells neither a time nor a version: its files are read every time.
    """
    return time.time_ns() - stamp.mtime_ns > _SETTLED_NS


class Index:
    """(path, size, times of change) -> content id, for the paths of one root folder.

    For a member of a shard the size and times are those of the shard.
    """

    def __init__(self, store: Store, root: str | Path, paths: pa.Array) -> None:
        root = unsigned(os.fspath(root))  # with another password or signature it is the same folder
        self._store = store
        self._folder = store.folder / "index" / (xxhash.xxh3_64_hexdigest(os.fsencode(root)) + _FORM)
        known = self._load()
        place = pc.fill_null(pc.index_in(paths, value_set=known.column("path")), -1).to_numpy()
        self._has = place >= 0
        self._stamps, self._ids = np.zeros((len(paths), len(STAMP)), np.int64), np.zeros((len(paths), 16), np.uint8)
        if len(known):
            at = np.maximum(place, 0)
            self._stamps = np.stack([known.column(name).to_numpy()[at] for name in STAMP], axis=1)
            self._ids = id_column(known)[at]
        self._new: list[Table] = []
        self._n_new = 0
        self._flushed = time.monotonic()

    def known(self, row: int, stamp: Stamp) -> str | None:
        """Return the content id of a row of the manifest, if its file is as it was when it was read."""
        if not self._has[row] or tuple(self._stamps[row]) != (stamp.size, stamp.mtime_ns, stamp.ctime_ns):
            return None
        return bytes(self._ids[row]).hex()

    def entries(self, start: int, count: int) -> dict[str, pa.Array]:
        """Return what is known of some rows as columns: the fields of the stamp and the id, null where nothing is."""
        unknown = pa.array(~self._has[start : start + count])
        here = slice(start, start + count)
        columns = {name: pa.array(self._stamps[here, k], pa.int64()) for k, name in enumerate(STAMP)}
        columns["id"] = id_array(self._ids[here])
        return {name: pc.if_else(unknown, None, column) for name, column in columns.items()}

    def add(self, path: str, stamp: Stamp, id: str) -> None:
        """Remember what was read of a file that was `settled` before it was read; now and then, for good."""
        self.add_all(pa.array([path], pa.string()), np.array([astuple(stamp)], np.int64), id_bytes([id]))

    def add_all(self, paths: pa.Array, stamps: np.ndarray, ids: np.ndarray) -> None:
        """Remember N files: paths, (N, 3) int64 fields of their stamps, (N, 16) uint8 ids."""
        self._new.append(_table(paths, stamps, ids))
        self._n_new += len(ids)
        if self._n_new >= FLUSH_ENTRIES or time.monotonic() - self._flushed > FLUSH_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Write what was remembered since the last time as one part."""
        new, self._new, self._flushed = self._new, [], time.monotonic()
        if self._n_new:
            self._n_new = 0
            table = pa.concat_tables(new).combine_chunks()
            self._store.add_part(self._folder, table, _content(table))

    def _load(self) -> Table:
        """Return all entries, the newest of a path first."""
        found: list[tuple[int, Table]] = []
        for part in self._store.parts(self._folder):
            try:
                table = read_part(part)
                check_name(part, _content(table))
                found.append((part.stat().st_mtime_ns, table.cast(_EMPTY.schema)))
            except (OSError, pa.ArrowException, KeyError, ValueError, AttributeError, TypeError) as error:
                self._store.distrust(part, error)
        tables = [_EMPTY, *(table for _, table in sorted(found, key=lambda one: one[0], reverse=True))]
        return pa.concat_tables(tables).combine_chunks()


def _table(paths: pa.Array, stamps: np.ndarray, ids: np.ndarray) -> Table:
    columns = {name: pa.array(stamps[:, k], pa.int64()) for k, name in enumerate(STAMP)}
    return pa.table({"path": paths.cast(pa.string()), **columns, "id": id_array(ids)})


_EMPTY = _table(pa.array([], pa.string()), np.zeros((0, len(STAMP)), np.int64), np.zeros((0, 16), np.uint8))


def _content(table: Table) -> bytes:
    """Return all that a part says, as bytes."""
    paths = "\n".join(table.column("path").to_pylist()).encode()
    return b"".join([paths, *(table.column(name).to_numpy().tobytes() for name in STAMP), id_column(table).tobytes()])
