"""From a path of the manifest to bytes: plain files, and members of tar, zip and Parquet shards.

A path is POSIX text relative to a root folder.  `a/b.jpg` is a file; `a.tar::b.jpg`, `a.zip::b.jpg` and
`a.parquet::17` (the row, from 0) are members of a shard.  Whatever a Reader cannot read is a DataError with one short
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
from fdetect.engine.walk import shown
from fdetect.errors import DataError

__all__ = [
    "MAX_BYTES",
    "SHARD_EXTENSIONS",
    "Members",
    "Reader",
    "Stamp",
    "has_images",
    "is_shard",
    "members",
    "split_member",
]

SHARD_EXTENSIONS = (".tar", ".zip", ".parquet")

_OPEN_SHARDS = 8
_TRIES = 3  # to read a member of a shard that is being written
_COMPRESSED = "tar.gz|tgz|tar.bz2|tbz2?|tar.xz|txz|tar.zst|tar.lz4|tar.Z"  # taken apart too, to say what to do
_MEMBER = re.compile(rf"\.(tar|zip|parquet|{_COMPRESSED})::", re.IGNORECASE | re.ASCII)
_ESCAPED = "; \\x stands for a byte of a name that is not UTF-8: rename the file"


@dataclass(frozen=True)
class Stamp:
    """Size in bytes and times of change of the file that holds the bytes (the shard, for a member).

    `mtime_ns` can be set, and is by `cp -p` and `rsync -t`; `ctime_ns` cannot, and tells a file that was replaced by
    one of equal size and `mtime_ns`.
    """

    size: int
    mtime_ns: int
    ctime_ns: int


@dataclass(frozen=True)
class Members:
    """What a shard holds, in its order."""

    names: Iterable[str]  # each once; rows of a Parquet file by number
    others: Counter[str]  # what can be no image, by kind: linked, special, repeated
    lost: str  # why members are missing: a tar that is damaged, cut short or followed by another; "" where it is whole


def split_member(path: str) -> tuple[str, str] | None:
    """Split `shard::name` at the first `::` that follows a shard's extension; None for the path of a plain file."""
    found = _MEMBER.search(path)
    return (path[: found.end() - 2], path[found.end() :]) if found else None


def is_shard(path: str) -> bool:
    """Whether a path is that of a shard, by its extension, and names no member."""
    return split_member(f"{path}::") == (path, "")


def members(path: str | Path) -> Members:
    """Return what a shard holds; raises DataError, naming it, where it cannot be read or has no image column."""
    with _named(path), _reasons(), _open(os.fspath(path)) as file:
        shard = open_shard(file, _kind(os.fspath(path)))
        return Members(shard.names, shard.others, shard.lost)


def has_images(path: str | Path) -> bool:
    """Whether a Parquet file has a column that can hold images; raises DataError, naming it, if it cannot be read."""
    with _named(path), _reasons(), _open(os.fspath(path)) as file:
        return has_image_column(file)


class Reader:
    """Reads the bytes that paths name, from any number of threads and in any order; the last few shards stay open.

    Rows of a Parquet file are cheap in their order; a row far behind the last one read decodes its row group again.
    A shard that is written again or replaced while it is open is opened anew: no member is read by an old index.
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
        with _reasons(path):
            found = os.stat(os.path.join(self.root, self._split(path)[0]))
            _check_regular(found)
            return Stamp(found.st_size, found.st_mtime_ns, found.st_ctime_ns)

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
        with _reasons(path):
            file, member = self._split(path)
            if member is None:
                return _read_file(os.path.join(self.root, path), limit)
            for _ in range(_TRIES):
                with self._shard(file) as (shard, version):
                    found = shard.read(member, limit)
                    if _version(os.fstat(shard.file.fileno())) == version:
                        return found
        raise DataError("the shard changed while it was read")

    def _split(self, path: str) -> tuple[str, str | None]:
        """Return the file and the member that a path names; a shard alone is no image, and says what is wrong."""
        parts = split_member(path)
        if parts is None and is_shard(path):
            with self._shard(path) as (shard, _):
                raise DataError(shard.lost or f"a shard; name its members as NAME.{path.rpartition('.')[2]}::member")
        return parts or (path, None)

    @contextmanager
    def _shard(self, path: str) -> Iterator[tuple[Shard, tuple[int, ...]]]:
        """Lend a shard that is as its file is now, and the version it is of."""
        # asked before the file is opened: if it is replaced in between, the version is out of date, never the index
        version = _version(os.stat(os.path.join(self.root, path)))
        with self._lock:
            slot = self._slots.setdefault(path, _Slot(version))
            if slot.version != version:
                slot.dropped = True
                slot.close_if_idle()
                slot = self._slots[path] = _Slot(version)
            self._slots.move_to_end(path)
            slot.users += 1
        try:
            with slot.lock:  # not the Reader's: indexing a large shard must not hold up the readers of others
                slot.shard = slot.shard or _open_shard(os.path.join(self.root, path))
            yield slot.shard, version
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
    version: tuple[int, ...]
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


def _version(found: os.stat_result) -> tuple[int, ...]:
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


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
def _named(path: str | Path) -> Iterator[None]:
    """Put the file's name before the reason."""
    try:
        yield
    except DataError as error:
        raise DataError(f"{shown(os.fspath(path))}: {error}") from None


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
