"""Which content a path had when it was last read: a file of unchanged size and time is not read to be known.

Like all of the store it is made of parts that are written whole and never changed; the newest entry of a path counts.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from fdetect.engine.sources import Stamp
from fdetect.engine.store import Store, check_name, id_array, id_bytes, id_column, read_part
from fdetect.types import Table

__all__ = ["Index", "settled"]

FLUSH_ENTRIES, FLUSH_SECONDS = 4096, 20.0  # what waits in memory for its part: what a kill may cost

_STAMP = tuple(field.name for field in fields(Stamp))  # columns of the index, in this order
_FORM = "-2"  # after the folder's name: the first form knew no ctime_ns, and is left where it is, unread
_SETTLED_NS = 2_000_000_000  # a file written within this time could be written again without its time changing


def settled(stamp: Stamp) -> bool:
    """Whether a file was written so long ago that to write it from now on must change its stamp."""
    return time.time_ns() - stamp.mtime_ns > _SETTLED_NS


class Index:
    """(path, size, times of change) -> content id, for the paths of one root folder.

    For a member of a shard the size and times are those of the shard.
    """

    def __init__(self, store: Store, root: Path, paths: pa.Array) -> None:
        self._store = store
        self._folder = store.folder / "index" / (xxhash.xxh3_64_hexdigest(os.fsencode(root)) + _FORM)
        known = self._load()
        place = pc.fill_null(pc.index_in(paths, value_set=known.column("path")), -1).to_numpy()
        self._has = place >= 0
        if len(known):
            at = np.maximum(place, 0)
            self._stamps = np.stack([known.column(name).to_numpy()[at] for name in _STAMP], axis=1)
            self._ids = id_column(known)[at]
        self._new: list[tuple[str, Stamp, str]] = []
        self._flushed = time.monotonic()

    def known(self, row: int, stamp: Stamp) -> str | None:
        """Return the content id of a row of the manifest, if its file is as it was when it was read."""
        if not self._has[row] or tuple(self._stamps[row]) != (stamp.size, stamp.mtime_ns, stamp.ctime_ns):
            return None
        return bytes(self._ids[row]).hex()

    def add(self, path: str, stamp: Stamp, id: str) -> None:
        """Remember what was read of a file that was `settled` before it was read; now and then, for good."""
        self._new.append((path, stamp, id))
        if len(self._new) >= FLUSH_ENTRIES or time.monotonic() - self._flushed > FLUSH_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Write what was remembered since the last time as one part."""
        new, self._new, self._flushed = self._new, [], time.monotonic()
        if new:
            table = _table(new)
            self._store.add_part(self._folder, table, _content(table))

    def _load(self) -> Table:
        """Return all entries, the newest of a path first."""
        found: list[tuple[int, Table]] = []
        for part in self._store.parts(self._folder):
            try:
                table = read_part(part)
                check_name(part, _content(table))
                found.append((part.stat().st_mtime_ns, table.cast(_table([]).schema)))
            except (OSError, pa.ArrowException, KeyError, ValueError, AttributeError, TypeError) as error:
                self._store.distrust(part, error)
        tables = [_table([]), *(table for _, table in sorted(found, key=lambda one: one[0], reverse=True))]
        return pa.concat_tables(tables).combine_chunks()


def _table(entries: Sequence[tuple[str, Stamp, str]]) -> Table:
    columns = {
        "path": pa.array([path for path, _, _ in entries], pa.string()),
        **{name: pa.array([getattr(stamp, name) for _, stamp, _ in entries], pa.int64()) for name in _STAMP},
        "id": id_array(id_bytes([id for _, _, id in entries])),
    }
    return pa.table(columns)


def _content(table: Table) -> bytes:
    """Return all that a part says, as bytes."""
    paths = "\n".join(table.column("path").to_pylist()).encode()
    return b"".join([paths, *(table.column(name).to_numpy().tobytes() for name in _STAMP), id_column(table).tobytes()])
