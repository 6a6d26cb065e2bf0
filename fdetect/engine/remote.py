"""Folders of other file systems, which fsspec reaches (`s3://bucket/set`), and files there that are read by ranges.

fsspec and the package that a protocol needs are loaded when a folder is made.  Requests are tried again where that may
help (`retries`); what goes wrong is a DataError with one short reason, without the address and without credentials.
"""

from __future__ import annotations

import errno
import io
import math
import os
import re
import threading
from collections import OrderedDict
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import astuple
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar
from urllib.parse import unquote

import xxhash

from fdetect.addresses import absolute, is_http, join, masked
from fdetect.engine.filesystems import MAX_BYTES, File, Stamp, check_size
from fdetect.engine.retries import reason_of, tried
from fdetect.errors import DataError

__all__ = ["RemoteFile", "RemoteFolder"]

_BLOCK, _KEPT = 128 << 10, 32  # bytes that a file is read in, at least; how many such blocks it keeps
_UNKNOWN = (1 << 63) - 1  # as a time: later than any clock, so that the stamp is never settled
_TAGS = ("ETag", "etag", "generation", "Content-MD5", "content_md5", "md5Hash", "md5", "checksum", "version_id",
         "VersionId", "blob_id", "sha")  # fmt: skip
_TIMES = ("mtime", "LastModified", "last_modified", "Last-Modified", "updated", "modified", "modificationTime")

_T = TypeVar("_T")


class RemoteFolder:
    """A folder that fsspec reaches; any thread may use it, in the process that made it."""

    threads = 16  # that read at a time: each waits for the network, most of the time

    def __init__(self, root: str) -> None:
        self.root = absolute(root)
        try:
            from fsspec.core import url_to_fs
            from fsspec.dircache import DirCache

            self._fs, _ = url_to_fs(self.root)
        except ImportError as error:
            name = (getattr(error.__cause__ or error, "name", None) or "fsspec").partition(".")[0]
            package = "'fdetect[remote]'" if name == "fsspec" else name
            raise DataError(f"{masked(root)}: reading it needs the package {name}; pip install {package}") from None
        except Exception as error:
            raise DataError(f"{masked(root)}: cannot be reached ({reason_of(error)}); check the address") from None
        # what was listed is not kept: a stamp must be of now.  Given as an option, sftp and smb would refuse it
        if isinstance(listed := getattr(self._fs, "dircache", None), DirCache):
            listed.use_listings_cache = False
            listed.clear()
        protocols = (self._fs.protocol,) if isinstance(self._fs.protocol, str) else self._fs.protocol
        # file systems that are not made for several threads take turns
        self._turn: Any = nullcontext() if self._fs.async_impl or "hf" in protocols else threading.Lock()

    def stamp(self, path: str) -> Stamp:
        """Return the stamp of a file; raises DataError."""
        return self._stamp(path, self._info(path))

    def version(self, file: str | File) -> tuple[int, ...]:
        """Return what changes when a file is written again or replaced: its stamp.

        Of an open file it is that of all bytes fetched so far, and is asked for only where some came since the last
        time; () where it changed meanwhile.
        """
        if isinstance(file, str):
            return astuple(self.stamp(file))
        assert isinstance(file, RemoteFile)
        fetched = file.fetched
        if fetched > file.checked:
            if astuple(self.stamp(file.name)) != file.version:
                file.version = ()
            file.checked = max(file.checked, fetched)
        return file.version

    def open(self, path: str) -> RemoteFile:
        """Open a file for reading by range requests."""
        info = self._info(path)
        if info["size"] is None:
            raise DataError("the server does not say how large the shard is; copy it to where it is a file")
        size, version = int(info["size"]), astuple(self._stamp(path, info))
        return RemoteFile(path, size, version, lambda start, end: self._fetch(path, start, end, size))

    def read(self, path: str, limit: int | None, known_size: int = 0) -> tuple[bytes, int]:
        """Return a file's bytes (the first `limit` of them) and its whole length, where that is known.

        `known_size` is what a stamp of it says (-1: not known), which saves asking for it; 0 asks.
        """
        size = known_size or self._info(path)["size"]
        if size is None or size < 0:
            with self._tried(lambda: self._fs.open(self._at(path), "rb")) as stream:
                data = self._tried(lambda: stream.read(MAX_BYTES + 1))
            check_size(len(data))
            return data[:limit], len(data)
        check_size(size)
        if not size or limit == 0:
            return b"", size
        part = {} if limit is None else {"start": 0, "end": min(limit, size)}
        data = self._tried(lambda: self._fs.cat_file(self._at(path), **part))
        if limit is None and len(data) != size:
            if known_size:
                return self.read(path, limit)  # it changed since the stamp was taken
            raise DataError("the file changed while it was read")
        return data[:limit], size

    def is_folder(self) -> bool:
        """Whether this is a folder, and no file; raises DataError where there is neither."""
        info = self._tried(lambda: self._fs.info(self.root))
        return bool(info["type"] == "directory" or info.get("mimetype") == "text/html")  # a web server's list of files

    def entries(self) -> list[tuple[str, bool, bool]]:
        """List the folder: (name, whether it is a folder, whether it is a link), in no order; raises DataError."""
        found, here = set(), self._fs._strip_protocol(self.root).rstrip("/")
        for info in self._tried(lambda: self._fs.ls(self.root, detail=True)):
            path = info["name"].rstrip("/")
            name = path.rpartition("/")[2]
            if path == here or (is_http(self.root) and re.search("[?#]", name)):
                continue  # the folder itself, which an empty object stands for; a link that sorts a page
            is_link = bool(info.get("islink"))
            is_folder = info["type"] == "directory" or (is_link and self._fs.isdir(info["name"]))
            found.add((unquote(name) if is_http(self.root) else name, is_folder, is_link))
        return list(found)

    def _at(self, path: str) -> str:
        return join(self.root, path)

    def _info(self, path: str) -> dict[str, Any]:
        info: dict[str, Any] = self._tried(lambda: self._fs.info(self._at(path)))
        if info["type"] == "directory":
            raise DataError(os.strerror(errno.EISDIR))
        if info["type"] not in ("file", "link"):
            raise DataError("not a regular file")
        return {"size": None, **info}

    def _stamp(self, path: str, info: dict[str, Any]) -> Stamp:
        size = -1 if info["size"] is None else int(info["size"])
        tag = next((f"{info[name]}" for name in _TAGS if info.get(name)), "")
        time_of = next((info[name] for name in _TIMES if info.get(name)), None)
        if tag.startswith("W/"):  # weak: other bytes may have it too
            tag = ""
        if time_of is None and not tag:
            try:
                time_of = self._tried(lambda: self._fs.modified(self._at(path)))
            except DataError:  # most have no such question
                return Stamp(size, _UNKNOWN, 0)
        changed = _nanoseconds(time_of)
        if changed is None and not tag:
            return Stamp(size, _UNKNOWN, 0)
        hashed = xxhash.xxh3_64_intdigest(tag.encode()) if tag else 0
        return Stamp(size, changed or 0, hashed - (1 << 64) if hashed >> 63 else hashed)

    def _fetch(self, path: str, start: int, end: int, size: int) -> bytes:
        data: bytes = self._tried(lambda: self._fs.cat_file(self._at(path), start=start, end=end))
        if len(data) == end - start:
            return data
        if len(data) >= size:
            raise DataError("the server sends whole files alone, and a shard is read in parts; download it first")
        raise DataError("the shard changed while it was read")

    def _tried(self, request: Callable[[], _T]) -> _T:
        def in_turn() -> _T:
            with self._turn:
                return request()

        return tried(in_turn)


class RemoteFile(io.RawIOBase):
    """A file that is read by ranges, in blocks of which the latest are kept; `read_at` from any thread."""

    def __init__(self, path: str, size: int, version: tuple[int, ...], fetch: Callable[[int, int], bytes]) -> None:
        super().__init__()
        self.name, self.size, self.version = path, size, version  # the name is relative to the folder
        self.fetched = self.checked = 0  # requests answered, and how many of them are known to be of that version
        self._fetch, self._place, self._lock = fetch, 0, threading.Lock()
        self._blocks: OrderedDict[int, bytes] = OrderedDict()  # latest use last

    def read_at(self, size: int, offset: int) -> bytes:
        """Return up to `size` bytes from an offset; all that is missing of them is asked for at once."""
        end = min(offset + size, self.size)
        if offset >= end:
            return b""
        wanted = range(offset // _BLOCK, (end - 1) // _BLOCK + 1)
        with self._lock:
            blocks = {k: self._blocks[k] for k in wanted if k in self._blocks}
        if missing := [k for k in wanted if k not in blocks]:
            start = missing[0] * _BLOCK
            data = self._fetch(start, min((missing[-1] + 1) * _BLOCK, self.size))
            with self._lock:
                self.fetched += 1
            for k in range(missing[0], missing[-1] + 1):
                blocks[k] = data[k * _BLOCK - start : (k + 1) * _BLOCK - start]
        with self._lock:
            for k in wanted[-_KEPT:]:
                self._blocks[k] = blocks[k]
                self._blocks.move_to_end(k)
            while len(self._blocks) > _KEPT:
                self._blocks.popitem(last=False)
        first = wanted[0] * _BLOCK
        return b"".join(blocks[k] for k in wanted)[offset - first : end - first]

    def read(self, size: int | None = -1) -> bytes:
        """Return up to `size` bytes from where the file stands; all the rest where it is negative."""
        data = self.read_at(self.size if size is None or size < 0 else size, self._place)
        self._place += len(data)
        return data

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to an offset from the start, from here or from the end."""
        self._place = offset + (0, self._place, self.size)[whence]
        return self._place

    def tell(self) -> int:
        """Return the offset at which the file stands."""
        return self._place

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True


def _nanoseconds(value: Any) -> int | None:
    """Return a time in any of the forms in which file systems give it, in ns since 1970; None for another."""
    if isinstance(value, str):
        for read in (datetime.fromisoformat, parsedate_to_datetime):
            try:
                value = read(value)
                break
            except ValueError:
                continue
    if isinstance(value, datetime):
        found = round((value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp() * 1e6) * 1000
    elif isinstance(value, int | float) and math.isfinite(value):
        # some count in ms, µs or ns: as seconds that would be after the year 5000
        unit = next((10**k for limit, k in ((1e11, 9), (1e14, 6), (1e17, 3)) if abs(value) < limit), 1)
        found = int(value * unit)
    else:
        return None
    return found if abs(found) < _UNKNOWN else None
