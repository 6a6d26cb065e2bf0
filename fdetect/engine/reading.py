"""The read lane: files in manifest order, read and hashed ahead by a few threads, within bounded memory."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from fdetect.engine.index import settled
from fdetect.engine.sources import Reader, Stamp, split_member
from fdetect.engine.work import content_id
from fdetect.errors import DataError

__all__ = ["Known", "Seen", "read_ahead"]

_BLOCK = 256  # rows that are looked up in the index and the store together
_AHEAD = 64  # files at most that are read and wait for a worker
_AHEAD_BYTES = 64 << 20  # ... and bytes, beyond which no further file is begun
_MEMBER_BYTES = 1 << 20


class Known(Protocol):
    """What an index is asked for: rows are numbered as the paths are."""

    def known(self, row: int, stamp: Stamp) -> str | None:
        """Return the content id of a row, if its file is as it was when it was read."""


@dataclass(frozen=True)
class Seen:
    """What the read lane found in one row: its content, and the bytes where they are still needed."""

    row: int
    path: str
    id: str
    data: bytes | None = None  # None: unreadable, or everything about this content is finished
    stamp: Stamp | None = None  # of the file, where it was read whole and no later change can leave it as it is
    reason: str = ""  # why it cannot be read


Finished = Callable[[list[str]], np.ndarray]  # ids -> (N,) bool: whether the store has everything about them


def read_ahead(
    reader: Reader, paths: pa.Array, index: Known, finished: Finished, busy: dict[str, float]
) -> Generator[Seen]:
    """Yield every row in order; a file that the index knows and that is `finished` is not opened."""

    def timed(result: tuple[Any, float]) -> Any:
        busy["read"] = busy.get("read", 0.0) + result[1]
        return result[0]

    def first() -> Seen:
        one = waiting.popleft()
        return one if isinstance(one, Seen) else timed(one.future.result())

    starts = iter(range(0, len(paths), _BLOCK))
    waiting: deque[Seen | _Reading] = deque()
    with ThreadPoolExecutor(reader.threads, thread_name_prefix="fdetect-read") as pool:

        def look_up() -> Future[tuple[list[Seen | _Unread], float]] | None:
            start = next(starts, None)
            if start is None:
                return None
            return pool.submit(_look_up, reader, paths.slice(start, _BLOCK).to_pylist(), start, index, finished)

        try:
            block = look_up()
            while block is not None:
                rows, block = timed(block.result()), look_up()  # the next is looked up while these are read
                for row in rows:
                    if isinstance(row, _Unread):
                        waiting.append(_Reading(row.size, pool.submit(_read, reader, row)))
                    else:
                        waiting.append(row)
                    while waiting and not _has_room(waiting):
                        yield first()
            while waiting:
                yield first()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


@dataclass(frozen=True)
class _Unread:
    row: int
    path: str
    stamp: Stamp

    @property
    def size(self) -> int:
        """Bytes that reading it will hold; a guess of a member, whose shard alone is known, and of an unknown size."""
        return _MEMBER_BYTES if split_member(self.path) or self.stamp.size < 0 else self.stamp.size


@dataclass(frozen=True)
class _Reading:
    size: int
    future: Future[tuple[Seen, float]]


def _has_room(waiting: deque[Seen | _Reading]) -> bool:
    """Whether one more file may be read ahead; never where the first in the line needs no reading."""
    if isinstance(waiting[0], Seen) or len(waiting) >= _AHEAD:
        return False
    return sum(one.size for one in waiting if isinstance(one, _Reading)) < _AHEAD_BYTES


def _look_up(
    reader: Reader, paths: list[str], start: int, index: Known, finished: Finished
) -> tuple[list[Seen | _Unread], float]:
    """Say of each row what is known without opening its file."""
    since = time.perf_counter()
    rows: list[Seen | _Unread] = []
    known: dict[int, str] = {}  # place in `rows` -> id
    for k, (path, stamp) in enumerate(zip(paths, reader.stamps(paths), strict=True)):
        if isinstance(stamp, DataError):
            rows.append(_unreadable(start + k, path, stamp))
            continue
        rows.append(_Unread(start + k, path, stamp))
        if id := index.known(start + k, stamp):
            known[k] = id
    if known:
        for (k, id), done in zip(known.items(), finished(list(known.values())), strict=True):
            if done:
                rows[k] = Seen(start + k, paths[k], id)
    return rows, time.perf_counter() - since


def _read(reader: Reader, row: _Unread) -> tuple[Seen, float]:
    since = time.perf_counter()
    try:
        # asked before the file is read, not when there is time to remember it
        data, sure = reader.read_as(row.path, row.stamp) if settled(row.stamp) else (reader.read(row.path), False)
        seen = Seen(row.row, row.path, content_id(data), data, row.stamp if sure else None)
    except DataError as error:
        seen = _unreadable(row.row, row.path, error)
    except MemoryError:
        seen = _unreadable(row.row, row.path, DataError("too large for the memory that is left"))
    return seen, time.perf_counter() - since


def _unreadable(row: int, path: str, error: DataError) -> Seen:
    return Seen(row, path, content_id(path.encode("utf-8", "surrogateescape")), reason=str(error))
