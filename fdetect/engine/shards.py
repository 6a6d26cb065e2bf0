"""Shards: tar, zip and Parquet files whose members are read singly, by name, without unpacking.

All take an open file and answer the same two questions: which members there are, and the bytes of one.  Whatever is
wrong with a shard or a member is a DataError with one short reason.
"""

from __future__ import annotations

import lzma
import re
import stat
import struct
import tarfile
import threading
import zipfile
import zlib
from bisect import bisect_right
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import accumulate

import pyarrow as pa
import pyarrow.parquet as pq

from fdetect.engine.filesystems import File, check_size, read_at, size_of
from fdetect.errors import DataError

__all__ = ["Shard", "has_image_column", "open_shard"]

_BATCH_BYTES = 8 << 20  # of one batch of Parquet rows, about
_COMPRESSED = (b"\x1f\x8b", b"\x1f\x9d", b"BZh", b"\xfd7zXZ\0", b"(\xb5/\xfd", b"\x04\x22M\x18")
_REASON = 200  # characters
_IMAGE_COLUMNS = frozenset(("image", "jpg", "png", "webp", "bytes", "img"))
_DAMAGE = (  # what the parsers below raise on damaged bytes; NotImplementedError and RecursionError are RuntimeErrors
    *(tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, pa.ArrowException, EOFError),
    *(OSError, ValueError, LookupError, ArithmeticError, RuntimeError, MemoryError, TypeError, AttributeError),
)


class Shard:
    """An open shard; any thread may call `read`."""

    names: Iterable[str]  # of the members that hold bytes, each once, in the shard's order
    others: Counter[str]  # members that cannot be an image, by kind: linked, special, repeated
    lost = ""  # why members are missing, as far as that can be known; only a tar opens all the same

    def __init__(self, file: File) -> None:
        self.file, self.lock, self.others = file, threading.Lock(), Counter()

    def read(self, name: str, limit: int | None) -> tuple[bytes, int]:
        """Return a member's bytes (the first `limit` of them) and its whole length; raises DataError."""
        with _as_data_error():
            return self._read(name, limit)

    def _read(self, name: str, limit: int | None) -> tuple[bytes, int]:
        raise NotImplementedError


def open_shard(file: File, kind: str) -> Shard:
    """Return the shard in a file that is open; `kind` is "zip", "parquet" or, as anything else, a tar."""
    with _as_data_error():
        return {"zip": _Zip, "parquet": _Parquet}.get(kind, _Tar)(file)


def has_image_column(file: File) -> bool:
    """Whether a Parquet file has a column that can hold images; raises DataError where it cannot be read."""
    with _as_data_error():
        return bool(_image_columns(pq.read_schema(file)))


class _Tar(Shard):
    """An index of the regular members, made once; as tar does, the last of several members of one name wins."""

    def __init__(self, file: File) -> None:
        super().__init__(file)
        if read_at(file, 6, 0).startswith(_COMPRESSED):
            raise DataError("compressed tar: its members cannot be reached singly; unpack it or pack it uncompressed")
        self.size = size_of(file)
        self.index: dict[str, tuple[int, int] | None] = {}  # offset and size in bytes; None: sparse
        self.names = self.index.keys()
        archive = tarfile.open(fileobj=file, mode="r:", encoding="utf-8", errors="surrogateescape")  # noqa: SIM115
        end = 0
        try:
            while (member := archive.next()) is not None:
                archive.members.clear()  # type: ignore[attr-defined]  # they would be kept, and are large
                if archive.offset <= end:
                    raise tarfile.ReadError("a member of negative size")
                end = archive.offset
                self._add(member)
            # where a header is damaged tarfile ends as if the archive did; a true end is marked by zeros
            if read_at(file, 512, archive.offset) != bytes(512):
                self.lost = _BREAK
            elif not _only_zeros(file, archive.offset):
                self.lost = _JOINED
        except _DAMAGE:
            self.lost = _BREAK

    def _read(self, name: str, limit: int | None) -> tuple[bytes, int]:
        name = name if name in self.index else _without_dot(name)
        if name not in self.index:
            raise DataError(_ABSENT + (f" ({self.lost})" if self.lost else ""))
        place = self.index[name]
        if place is None:
            raise DataError("sparse member; pack the tar again without --sparse")
        offset, size = place
        check_size(size)
        if offset + size > self.size:
            raise DataError("the member is cut short: the tar ends within it")
        wanted, parts = size if limit is None else min(limit, size), []
        while wanted and (part := read_at(self.file, wanted, offset)):
            parts.append(part)
            offset, wanted = offset + len(part), wanted - len(part)
        if wanted:
            raise DataError("the shard changed while it was read")
        return b"".join(parts), size

    def _add(self, member: tarfile.TarInfo) -> None:
        name = _without_dot(member.name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace"))
        if self.index.pop(name, 0) != 0:
            self.others["repeated"] += 1
        if member.isreg():
            self.index[name] = None if member.issparse() else (member.offset_data, member.size)
        elif not member.isdir():
            self.others["linked" if member.issym() or member.islnk() else "special"] += 1


class _Zip(Shard):
    """The central directory, as zipfile reads it."""

    def __init__(self, file: File) -> None:
        super().__init__(file)
        self.archive = zipfile.ZipFile(file)
        self.others["repeated"] = len(self.archive.filelist) - len(self.archive.NameToInfo)
        files = {name: info for name, info in self.archive.NameToInfo.items() if not info.is_dir()}
        self.index = {name: info for name, info in files.items() if not stat.S_ISLNK(info.external_attr >> 16)}
        self.others["linked"] = len(files) - len(self.index)
        self.names = self.index.keys()

    def _read(self, name: str, limit: int | None) -> tuple[bytes, int]:
        info = self.index.get(name)
        if info is None:
            raise DataError(_ABSENT)
        if info.flag_bits & 1:
            raise DataError("the member is encrypted; unpack the zip with its password")
        check_size(info.file_size)
        with self.lock, self.archive.open(info) as member:
            data = member.read(info.file_size + 1 if limit is None else min(limit, info.file_size))
        if limit is None and len(data) != info.file_size:
            raise DataError(f"the member has {len(data)} bytes where the zip's directory says {info.file_size}")
        return data, info.file_size


class _Parquet(Shard):
    """One column of images, decoded a few rows at a time; the latest batches are kept for readers a little behind."""

    def __init__(self, file: File) -> None:
        super().__init__(file)
        # streamed, not pre-buffered: a row group of images may be larger than memory
        self.table = pq.ParquetFile(file, pre_buffer=False, buffer_size=1 << 20, page_checksum_verification=True)
        self.column = _image_column(self.table.schema_arrow)
        groups = [self.table.metadata.row_group(i) for i in range(self.table.num_row_groups)]
        self.starts = list(accumulate((group.num_rows for group in groups), initial=0))
        if min(self.starts) < 0 or self.starts[-1] != self.table.metadata.num_rows:
            raise DataError("the shard is damaged (its counts of rows do not agree)")
        self.names = map(str, range(self.starts[-1]))
        self.recent: deque[tuple[int, pa.Array]] = deque(maxlen=4)  # (first row, values)
        self.batches: Iterator[pa.RecordBatch] | None = None
        self.group = self.next_row = -1

    def _read(self, name: str, limit: int | None) -> tuple[bytes, int]:
        if not re.fullmatch(r"0|[1-9][0-9]{0,17}", name, re.ASCII):
            raise DataError("no such row: a row of a Parquet file is named by its number, from 0")
        if int(name) >= self.starts[-1]:
            raise DataError(f"no such row: the Parquet file has {self.starts[-1]}")
        with self.lock:
            value = self._value(int(name))
        if pa.types.is_struct(value.type) and value.is_valid:
            value = value["bytes"]
        if not value.is_valid:
            raise DataError("the row holds no image bytes (null)")
        data = value.as_buffer()
        check_size(data.size)
        return data.slice(0, data.size if limit is None else min(limit, data.size)).to_pybytes(), data.size

    def _value(self, row: int) -> pa.Scalar:
        for first, values in self.recent:
            if first <= row < first + len(values):
                return values[row - first]
        group = bisect_right(self.starts, row) - 1
        batches, self.batches = self.batches, None  # after an error the row group is begun again
        if batches is None or group != self.group or row < self.next_row:
            self.group, self.next_row, batches = group, self.starts[group], self._begin(group)
        for batch in batches:
            first, values = self.next_row, batch.column(batch.schema.get_field_index(self.column))
            self.recent.append((first, values))
            self.next_row += len(values)
            if row < self.next_row:
                self.batches = batches
                return values[row - first]
        raise DataError("the shard is damaged (a row group ends before its last row)")

    def _begin(self, group: int) -> Iterator[pa.RecordBatch]:
        about = self.table.metadata.row_group(group)
        is_struct = pa.types.is_struct(self.table.schema_arrow.field(self.column).type)
        name = f"{self.column}.bytes" if is_struct else self.column
        # of all columns: asking for one column's size aborts the whole process where that column's metadata is damaged
        rows = min(max(_BATCH_BYTES * about.num_rows // max(about.total_byte_size, 1), 4), 64)
        return iter(self.table.iter_batches(rows, row_groups=[group], columns=[name], use_threads=False))


_ABSENT = "the shard has no such member"
_BREAK = "damaged or cut short: members after the break are lost"
_JOINED = "more follows the end of the tar: members there are lost; join tars with tar --concatenate, not cat"


def _only_zeros(file: File, offset: int) -> bool:
    while piece := read_at(file, 1 << 20, offset):
        if piece.strip(b"\0"):
            return False
        offset += len(piece)
    return True


def _without_dot(name: str) -> str:
    while name.startswith("./"):
        name = name[2:]
    return name


def _image_columns(schema: pa.Schema) -> list[str]:
    def binary(kind: pa.DataType) -> bool:
        return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))

    def nested(kind: pa.DataType) -> bool:
        return pa.types.is_struct(kind) and any(child.name == "bytes" and binary(child.type) for child in kind)

    found = [column for column in schema if binary(column.type) or nested(column.type)]
    likely = [column for column in found if column.name in _IMAGE_COLUMNS or nested(column.type)]
    return [column.name for column in (likely if len(likely) == 1 else found)]


def _image_column(schema: pa.Schema) -> str:
    found = _image_columns(schema)
    if len(found) != 1:
        what = f"several columns of bytes ({', '.join(found)})" if found else f"no column of bytes among {schema.names}"
        raise DataError(f"{what}; name the one that holds the images 'image'")
    return found[0]


@contextmanager
def _as_data_error() -> Iterator[None]:
    try:
        yield
    except DataError as error:
        raise DataError(_brief(str(error))) from None
    except _DAMAGE as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise DataError(_brief(f"the shard is damaged ({reason})")) from None


def _brief(reason: str) -> str:
    """Return a reason as one line: a damaged shard has names of any length and any bytes, which its parser quotes."""
    line = "".join(char if char.isprintable() else "?" for char in " ".join(reason.split()))
    return line if len(line) <= _REASON else f"{line[: _REASON - 63]} … {line[-60:]}"
