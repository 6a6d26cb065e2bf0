"""The read lane: files in manifest order, read and hashed ahead by a few threads, within bounded memory."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import pyarrow as pa

from fdetect.engine.index import Index, settled
from fdetect.engine.sources import Reader, Stamp
from fdetect.engine.work import content_id
from fdetect.errors import DataError

__all__ = ["READERS", "Seen", "read_ahead"]

READERS = 4
_AHEAD = 64  # files at most that are read and wait for a worker
_AHEAD_BYTES = 64 << 20  # ... and bytes, beyond which no further file is begun


@dataclass(frozen=True)
class Seen:
    """What the read lane found in one row: its content, and the bytes where they are still needed."""

    row: int
    path: str
    id: str
    data: bytes | None = None  # None: unreadable, or everything about this content is finished
    stamp: Stamp | None = None  # of the file, where it was read whole and no later change can leave it as it is
    reason: str = ""  # why it cannot be read


def read_ahead(
    reader: Reader, paths: pa.Array, index: Index, finished: Callable[[str], bool], busy: dict[str, float]
) -> Generator[Seen]:
    """Yield every row in order; a file that the index knows and that is `finished` is not opened."""
    waiting: deque[Future[tuple[Seen, float]]] = deque()
    rows = iter(range(len(paths)))
    with ThreadPoolExecutor(READERS, thread_name_prefix="fdetect-read") as pool:
        try:
            while True:
                while _has_room(waiting) and (row := next(rows, None)) is not None:
                    waiting.append(pool.submit(_see, reader, paths[row].as_py(), row, index, finished))
                if not waiting:
                    return
                seen, seconds = waiting.popleft().result()
                busy["read"] = busy.get("read", 0.0) + seconds
                yield seen
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _has_room(waiting: deque[Future[tuple[Seen, float]]]) -> bool:
    read = [one.result()[0] for one in waiting if one.done()]
    held = sum(len(seen.data or b"") for seen in read)
    return len(waiting) < _AHEAD and held < _AHEAD_BYTES and len(waiting) - len(read) < 2 * READERS


def _see(
    reader: Reader, path: str, row: int, index: Index, finished: Callable[[str], bool]
) -> tuple[Seen, float]:
    since = time.perf_counter()
    try:
        stamp = reader.stamp(path)
        known = index.known(row, stamp)
        if known and finished(known):
            seen = Seen(row, path, known)
        else:
            sure = settled(stamp)  # asked before the file is read, not when there is time to remember it
            data = reader.read(path)
            sure = sure and reader.stamp(path) == stamp
            seen = Seen(row, path, content_id(data), data, stamp if sure else None)
    except DataError as error:
        seen = Seen(row, path, content_id(path.encode("utf-8", "surrogateescape")), reason=str(error))
    return seen, time.perf_counter() - since
