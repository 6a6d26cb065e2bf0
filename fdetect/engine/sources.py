"""From a path of the manifest to bytes: plain files, and members of tar, zip and Parquet shards.

A path is POSIX text relative to a root folder.  `a/b.jpg` is a file; `a.tar::b.jpg`, `a.zip::b.jpg` and
`a.parquet::17` (the row, from 0) are members of a shard.  Whatever cannot be read is a DataError with one short
reason and without the path: it becomes the reason of a `Failure`, which stands beside the path.
"""

from __future__ import annotations

import errno
import os
import re
import stat
import threading
from collections import Counter, OrderedDict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from fdetect.engine.shards import MAX_BYTES, Shard, check_size, has_image_column, open_shard
from fdetect.errors import DataError

__all__ = ["MAX_BYTES", "SHARD_EXTENSIONS", "Members", "Reader", "Stamp", "has_images", "members", "split_member"]

SHARD_EXTENSIONS = (".tar", ".zip", ".parquet")

_OPEN_SHARDS = 8
_COMPRESSED = "tar.gz|tgz|tar.bz2|tbz2?|tar.xz|txz|tar.zst|tar.lz4|tar.Z"  # taken apart too, to say what to do
_MEMBER = re.compile(rf"\.(tar|zip|parquet|{_COMPRESSED})::", re.IGNORECASE | re.ASCII)
_ESCAPED = "; \\x stands for a byte of a name that is not UTF-8: rename the file"


@dataclass(frozen=True)
class Stamp:
    """Size in bytes and time of change of the file that holds the bytes (the shard, for a member)."""

    size: int
    mtime_ns: int


@dataclass(frozen=True)
class Members:
    """What a shard holds, in its order."""

    names: Iterable[str]  # each once; rows of a Parquet file by number
    others: Counter[str]  # what can be no image, by kind: linked, special, repeated
    whole: bool  # False for a tar that is damaged or cut short: what follows the break is unknown


def split_member(path: str) -> tuple[str, str] | None:
    """Split `shard::name` at the first `::` that follows a shard's extension; None for the path of a plain file."""
    found = _MEMBER.search(path)
    return (path[: found.end() - 2], path[found.end() :]) if found else None


def members(path: str | Path) -> Members:
    """Return what a shard holds; raises DataError with the reason where it cannot be read or has no image column."""
    with _reasons(), _open(os.fspath(path)) as file:
        shard = open_shard(file, _kind(os.fspath(path)))
        return Members(shard.names, shard.others, shard.whole)


def has_images(path: str | Path) -> bool:
    """Whether a Parquet file has a column that can hold images; raises DataError where it cannot be read."""
    with _reasons(), _open(os.fspath(path)) as file:
        return has_image_column(file)


class Reader:
    """Reads the bytes that paths name, from any number of threads and in any order; the last few shards stay open.

    Rows of a Parquet file are cheap in their order; a row far behind the last one read decodes its row group again.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = os.path.abspath(root)
        self._lock = threading.Lock()
        self._slots: OrderedDict[str, _Slot] = OrderedDict()  # by the shard's path, latest use last

    def read(self, path: str) -> bytes:
        """Return all bytes of a file or member; raises DataError with one short reason."""
        return self._read(path, None)[0]

    def head(self, path: str, size: int) -> tuple[bytes, int]:
        """Return the first `size` bytes, and the length in bytes of the whole; raises DataError as `read` does."""
        return self._read(path, size)

    def stamp(self, path: str) -> Stamp:
        """Return the stamp of the file, or of the shard that holds the member; raises DataError as `read` does."""
        parts = split_member(path)
        with _reasons(path):
            found = os.stat(os.path.join(self.root, parts[0] if parts else path))
            _check_regular(found)
            return Stamp(found.st_size, found.st_mtime_ns)

    def close(self) -> None:
        """Close all shards (one that another thread still reads closes after it); a later read opens them again."""
        with self._lock:
            for slot in self._slots.values():
                slot.dropped = True
                slot.close_if_idle()
            self._slots.clear()

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _read(self, path: str, limit: int | None) -> tuple[bytes, int]:
        parts = split_member(path)
        with _reasons(path):
            if parts is None:
                return _read_file(os.path.join(self.root, path), limit)
            with self._shard(parts[0]) as shard:
                return shard.read(parts[1], limit)

    @contextmanager
    def _shard(self, path: str) -> Iterator[Shard]:
        with self._lock:
            slot = self._slots.setdefault(path, _Slot())
            self._slots.move_to_end(path)
            slot.users += 1
        try:
            with slot.lock:  # not the Reader's: indexing a large shard must not hold up the readers of others
                slot.shard = slot.shard or _open_shard(os.path.join(self.root, path))
            yield slot.shard
        finally:
            with self._lock:
                slot.users -= 1
                idle = [name for name, other in self._slots.items() if not other.users]
                for name in idle[: max(len(self._slots) - _OPEN_SHARDS, 0)]:
                    self._slots[name].dropped = True
                    self._slots.pop(name).close_if_idle()
                slot.close_if_idle()


@dataclass
class _Slot:
    shard: Shard | None = None
    users: int = 0
    dropped: bool = False  # closed with its last user
    lock: threading.Lock = field(default_factory=threading.Lock)

    def close_if_idle(self) -> None:
        if self.dropped and not self.users and self.shard is not None:
            self.shard.file.close()
            self.shard = None


def _open_shard(path: str) -> Shard:
    file = _open(path)
    try:
        return open_shard(file, _kind(path))
    except BaseException:
        file.close()
        raise


def _kind(path: str) -> str:
    return path.rpartition(".")[2].lower()


def _open(path: str) -> BinaryIO:
    """Open a regular file, and nothing else: a FIFO would wait for ever for somebody to write into it."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        _check_regular(os.fstat(descriptor))
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def _read_file(path: str, limit: int | None) -> tuple[bytes, int]:
    with _open(path) as file:
        size = os.fstat(file.fileno()).st_size
        check_size(size)
        data = file.read(size + 1 if limit is None else min(limit, size))
    if limit is None and len(data) != size:
        raise DataError("the file changed while it was read")
    return data, size


def _check_regular(found: os.stat_result) -> None:
    if stat.S_ISDIR(found.st_mode):
        raise DataError(os.strerror(errno.EISDIR))
    if not stat.S_ISREG(found.st_mode):
        raise DataError("not a regular file")


@contextmanager
def _reasons(path: str = "") -> Iterator[None]:
    """Turn what the file system says into a DataError of one line."""
    try:
        yield
    except OSError as error:
        # a socket cannot even be opened
        reason = "not a regular file" if error.errno == errno.ENXIO else error.strerror or str(error)
        hint = _ESCAPED if isinstance(error, FileNotFoundError) and "\\x" in path else ""
        raise DataError(reason + hint) from None
    except ValueError as error:  # a NUL byte, or text that no file's name can be
        raise DataError(f"no file can have this name ({error})") from None
