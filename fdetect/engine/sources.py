"""From a path of the manifest to bytes: plain files, and members of tar, zip and Parquet shards.

A path is POSIX text relative to a root folder, of this machine or of another file system (`s3://bucket/set`, see
`filesystems`).  `a/b.jpg` is a file; `a.tar::b.jpg`, `a.zip::b.jpg` and
`a.parquet::17` (the row, from 0) are members of a shard.  Whatever a Reader cannot read is a DataError with one short
reason and without the path: it becomes the reason of a `Failure`, which stands beside the path.
"""

from __future__ import annotations

import errno
import os
import re
import threading
from collections import Counter, OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import astuple, dataclass, field
from pathlib import Path

from fdetect.addresses import absolute, is_address, levels_of
from fdetect.engine.filesystems import MAX_BYTES, File, LocalFolder, Stamp, folder_at, opened
from fdetect.engine.shards import Shard, has_image_column, open_shard
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
    with _named(path), _reasons(), opened(os.fspath(path)) as file:
        shard = open_shard(file, _kind(os.fspath(path)))
        return Members(shard.names, shard.others, shard.lost)


def has_images(path: str | Path) -> bool:
    """Whether a Parquet file has a column that can hold images; raises DataError, naming it, if it cannot be read."""
    with _named(path), _reasons(), opened(os.fspath(path)) as file:
        return has_image_column(file)


class Reader:
    """Reads the bytes that paths name, from any number of threads and in any order; the last few shards stay open.

    Rows of a Parquet file are cheap in their order; a row far behind the last one read decodes its row group again.
    A shard that is written again or replaced while it is open is opened anew: no member is read by an old index.
    A Reader is made in the process that uses it, from its root alone: pickled, it is its root.

    Raises DataError where the root is an address and the package that reads it is not installed.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = absolute(root)
        self._folder = folder_at(self.root)
        self.threads = self._folder.threads  # that it pays to read with
        self._lock = threading.Lock()
        self._slots: OrderedDict[str, _Slot] = OrderedDict()  # by the shard's path, latest use last

    def __reduce__(self) -> tuple[type[Reader], tuple[str]]:
        return Reader, (self.root,)

    def read(self, path: str) -> bytes:
        """Return all bytes of a file or member; raises DataError with one short reason."""
        return self._read(path, None)[0]

    def read_as(self, path: str, stamp: Stamp) -> tuple[bytes, bool]:
        """Return all bytes as `read` does, and whether they are for certain those of the file with this stamp.

        The stamp was looked up, and `settled` when it was.  Over a network it stands for what `read` asks for first,
        and a shard is asked for its own after bytes were fetched, not for members of bytes that are here.
        """
        if isinstance(self._folder, LocalFolder):
            return self.read(path), self.stamp(path) == stamp
        with _reasons(path):
            file, member = self._split(path)
            if member is None:
                return self._folder.read(path, None, stamp.size)[0], self._folder.stamp(path) == stamp
            (data, _), version = self._member(file, member, None, astuple(stamp))
            return data, version == astuple(stamp)

    def head(self, path: str, size: int) -> tuple[bytes, int]:
        """Return the first `size` bytes, and the length in bytes of the whole; raises DataError as `read` does."""
        return self._read(path, size)

    def stamp(self, path: str) -> Stamp:
        """Return the stamp of the file, or of the shard that holds the member; raises DataError as `read` does."""
        with _reasons(path):
            return self._folder.stamp(self._split(path)[0])

    def stamps(self, paths: Sequence[str]) -> list[Stamp | DataError]:
        """Return of every path the stamp or why there is none; over a network, many are asked for at a time."""
        if isinstance(self._folder, LocalFolder):
            return [self._stamp_or_error(path) for path in paths]
        file_of = {path: parts[0] + "::" if (parts := split_member(path)) else path for path in paths}
        first = {file: path for path, file in reversed(file_of.items())}  # members of one shard share its stamp
        with ThreadPoolExecutor(self.threads, thread_name_prefix="fdetect-stamp") as pool:
            found = dict(zip(first, pool.map(self._stamp_or_error, first.values()), strict=True))
        return [found[file_of[path]] for path in paths]

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

    def _stamp_or_error(self, path: str) -> Stamp | DataError:
        try:
            return self.stamp(path)
        except DataError as error:
            return error

    def _read(self, path: str, limit: int | None) -> tuple[bytes, int]:
        with _reasons(path):
            file, member = self._split(path)
            return self._folder.read(path, limit) if member is None else self._member(file, member, limit)[0]

    def _member(
        self, file: str, member: str, limit: int | None, settled: tuple[int, ...] | None = None
    ) -> tuple[tuple[bytes, int], tuple[int, ...]]:
        """Return what is read of a member, and the version of the shard that it is of."""
        for _ in range(_TRIES):
            with self._shard(file, settled) as (shard, version):
                found = shard.read(member, limit)
                if self._folder.version(shard.file) == version:
                    return found, version
            settled = None  # it is out of date
        raise DataError("the shard changed while it was read")

    def _split(self, path: str) -> tuple[str, str | None]:
        """Return the file and the member that a path names; a shard alone is no image, and says what is wrong."""
        parts = split_member(path)
        if parts is None and is_shard(path):
            with self._shard(path) as (shard, _):
                raise DataError(shard.lost or f"a shard; name its members as NAME.{path.rpartition('.')[2]}::member")
        return parts or (path, None)

    @contextmanager
    def _shard(self, path: str, settled: tuple[int, ...] | None = None) -> Iterator[tuple[Shard, tuple[int, ...]]]:
        """Lend a shard that is as its file is now, or was at a version that was settled, and the version it is of."""
        with self._lock:
            slot = self._slots.get(path)
        # asked before the file is opened: if it is replaced in between, the version is out of date, never the index
        as_it_was = settled and (slot is None or (slot.version, slot.settled) == (settled, True))
        version = settled if settled and as_it_was else self._folder.version(path)
        with self._lock:
            slot = self._slots.setdefault(path, _Slot(version, version == settled))
            # bytes that came before the version was settled may be of another file of the same version
            if slot.version != version or (version == settled and not slot.settled):
                slot.dropped = True
                slot.close_if_idle()
                slot = self._slots[path] = _Slot(version, version == settled)
            self._slots.move_to_end(path)
            slot.users += 1
        try:
            with slot.lock:  # not the Reader's: indexing a large shard must not hold up the readers of others
                slot.shard = slot.shard or _shard_in(self._folder.open(path), path)
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
    settled: bool  # before it was opened
    shard: Shard | None = None
    users: int = 0
    dropped: bool = False  # closed with its last user
    lock: threading.Lock = field(default_factory=threading.Lock)

    def close_if_idle(self) -> None:
        if self.dropped and not self.users and self.shard is not None:
            self.shard.file.close()
            self.shard = None


def _shard_in(file: File, path: str) -> Shard:
    try:
        return open_shard(file, _kind(path))
    except BaseException:
        file.close()
        raise


def _kind(path: str) -> str:
    name = levels_of(path)[1][-1] if is_address(path) else path  # without a query
    return name.rpartition(".")[2].lower()


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
