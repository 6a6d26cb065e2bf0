"""Folders that files are read from: of this machine here, of other file systems (`s3://bucket/set`) in `remote`.

Both kinds answer the same questions: the stamp and version of a file, its bytes, and the file opened.  Nothing of
fsspec is loaded for a folder of this machine.
"""

from __future__ import annotations

import errno
import io
import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, TypeAlias, cast

from fdetect.addresses import is_address, levels_of
from fdetect.errors import DataError

if TYPE_CHECKING:
    from fdetect.engine.remote import RemoteFile, RemoteFolder

__all__ = ["MAX_BYTES", "File", "Folder", "LocalFolder", "Stamp", "check_size", "folder_at", "opened", "read_at",
           "remote_folder", "size_of"]  # fmt: skip

MAX_BYTES = 1 << 30  # a larger file or member is refused from its size, before anything is allocated

File: TypeAlias = "BinaryIO | RemoteFile"
Folder: TypeAlias = "LocalFolder | RemoteFolder"


@dataclass(frozen=True)
class Stamp:
    """Size in bytes and times of change of the file that holds the bytes (the shard, for a member).

    `mtime_ns` can be set, and is by `cp -p` and `rsync -t`; `ctime_ns` cannot, and tells a file that was replaced by
    one of equal size and `mtime_ns`.  Of a remote file `ctime_ns` is the hash (xxh3_64) of what the file system says
    changes with the content, such as an ETag or a generation, or 0.  Where it gives neither that nor a time, no stamp
    can be trusted: the file is never `settled`, and is read every time.  A size that is not known is -1.
    """

    size: int
    mtime_ns: int
    ctime_ns: int


def folder_at(root: str) -> Folder:
    """Return the folder at an absolute path or address; raises what `remote_folder` raises."""
    return remote_folder(root) if is_address(root) else LocalFolder(root)


def remote_folder(address: str) -> RemoteFolder:
    """Return the folder at an address; raises DataError, naming it, where the package that reads it is absent."""
    from fdetect.engine.remote import RemoteFolder  # for an address alone: it loads fsspec

    return RemoteFolder(address)


def opened(path: str) -> File:
    """Open one file by its local path or address; raises what `open` of its folder raises."""
    if not is_address(path):
        return LocalFolder("").open(path)
    top, levels = levels_of(path)
    return folder_at(top).open("/".join(levels))


def read_at(file: File, size: int, offset: int) -> bytes:
    """Return up to `size` bytes from an offset, wherever the file stands, from any thread."""
    if isinstance(file, io.BufferedReader):
        return os.pread(file.fileno(), size, offset)
    return cast("RemoteFile", file).read_at(size, offset)


def size_of(file: File) -> int:
    """Return the size of an open file in bytes."""
    return os.fstat(file.fileno()).st_size if isinstance(file, io.BufferedReader) else cast("RemoteFile", file).size


def check_size(size: int) -> None:
    """Raise DataError for more bytes than an image may have."""
    if size > MAX_BYTES:
        raise DataError(f"larger than the {MAX_BYTES >> 30} GiB that an image may have ({size} bytes)")


class LocalFolder:
    """A folder of this machine; raises DataError for what is no regular file, else OSError and ValueError."""

    threads = 4  # that read at a time

    def __init__(self, root: str) -> None:
        self.root = root

    def stamp(self, path: str) -> Stamp:
        """Return the stamp of a regular file."""
        found = os.stat(os.path.join(self.root, path))
        _check_regular(found)
        return Stamp(found.st_size, found.st_mtime_ns, found.st_ctime_ns)

    def version(self, file: str | File) -> tuple[int, ...]:
        """Return what changes when a file, or the one that is open, is written again or replaced."""
        found = os.stat(os.path.join(self.root, file)) if isinstance(file, str) else os.fstat(file.fileno())
        return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns

    def open(self, path: str) -> BinaryIO:
        """Open a regular file, and nothing else: a FIFO would wait for ever for somebody to write into it."""
        descriptor = os.open(os.path.join(self.root, path), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            _check_regular(os.fstat(descriptor))
            return os.fdopen(descriptor, "rb")
        except BaseException:
            os.close(descriptor)
            raise

    def read(self, path: str, limit: int | None) -> tuple[bytes, int]:
        """Return a file's bytes (the first `limit` of them) and its whole length."""
        with self.open(path) as file:
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
