"""Directories of a TIFF, of which EXIF is one: tags by number, read where they are wanted and nowhere else.

Pillow would do for well-made files; of others it copies what each tag points to, however many point to the same bytes.
Sources: TIFF 6.0 (1992), section 2; BigTIFF (2007); TIFF technical notes of Adobe and the IPTC for the tags of XMP
(700), IPTC (33723) and Photoshop (34377).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from fdetect.metadata.ledger import TEXT, Ledger, Part, text_of

__all__ = ["Directory", "directory", "first_directory", "walk_tiff"]

_ENTRIES = 1 << 10  # of a directory: TIFF and EXIF together define a third of that
_UTF8 = 129  # of Exif 3.0
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8,
          _UTF8: 1}  # bytes of a value by its type  # fmt: skip
_NUMBERS = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 11: "f", 12: "d", 13: "I", 16: "Q", 17: "q", 18: "Q"}
_PARTS = {700: "xmp", 33723: "iptc", 34377: "photoshop"}


@dataclass(frozen=True)
class Directory:
    """The entries of one directory: {tag: (type, count, where the value starts)}, and the bytes they point into."""

    data: bytes
    order: str
    big: bool
    entries: dict[int, tuple[int, int, int]]

    def __contains__(self, tag: int) -> bool:
        return tag in self.entries

    def place(self, tag: int) -> tuple[int, int]:
        """Return (start, bytes) of a value, as stated; (0, 0) where there is none or its type is not known."""
        kind, count, start = self.entries.get(tag, (0, 0, 0))
        return (start, _SIZES[kind] * count) if kind in _SIZES else (0, 0)

    def raw(self, tag: int, what: str, ledger: Ledger) -> bytes:
        """Return the bytes of a value, TEXT at most; b"" where there is none.

        Told, and b"" too: a value that points outside, and one of a type that is not known.
        """
        start, size = self.place(tag)
        if tag in self and (kind := self.entries[tag][0]) not in _SIZES:
            ledger.problem(f"{what} is not read: its type {kind} is not known")
            return b""
        if start + size > len(self.data):
            ledger.problem(f"{what} points outside its EXIF or TIFF")
            return b""
        if size > TEXT:
            ledger.problem(f"{what} is cut: it has {size} bytes")
        size = min(size, TEXT)
        return self.data[start : start + size] if ledger.take(size, what) else b""

    def text(self, tag: int, what: str, ledger: Ledger) -> str:
        """Return a value as text: ASCII and bytes as they stand to the last NUL, numbers up to four of them."""
        kind, count, _ = self.entries.get(tag, (0, 0, 0))
        body = self.raw(tag, what, ledger)
        if kind in (2, 7, _UTF8):
            return text_of(body.rstrip(b"\0"))
        if kind in (5, 10):
            pairs = struct.iter_unpack(self.order + ("II" if kind == 5 else "ii"), body[:32])
            return ", ".join(f"{a}/{b}" if b != 1 else f"{a}" for a, b in pairs)
        code = _NUMBERS.get(kind)
        n = min(count, 4, len(body) // _SIZES[kind]) if code else 0
        return ", ".join(f"{value:g}" for value in struct.unpack_from(f"{self.order}{n}{code}", body)) if n else ""

    def number(self, tag: int) -> int | None:
        """Return the first whole number of a value, as a place in the file, or None."""
        kind, count, start = self.entries.get(tag, (0, 0, 0))
        code = _NUMBERS.get(kind, "") if kind in (3, 4, 13, 16, 18) and count else ""
        if not code or start + _SIZES[kind] > len(self.data):
            return None
        return int(struct.unpack_from(self.order + code, self.data, start)[0])


def first_directory(data: bytes, ledger: Ledger) -> Directory | None:
    """Return the first directory of a TIFF; None, and a problem, where there is none."""
    if data[:4] not in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        ledger.problem("its EXIF has no TIFF header")
        return None
    order, big = "<" if data[:1] == b"I" else ">", b"+" in data[2:4]
    try:
        (start,) = struct.unpack_from(order + ("Q" if big else "I"), data, 8 if big else 4)
    except struct.error:
        ledger.problem("its EXIF or TIFF ends within its header")
        return None
    return directory(data, start, order, big, ledger)


def directory(data: bytes, start: int, order: str, big: bool, ledger: Ledger) -> Directory | None:
    """Return the directory at a place; None, and a problem, where it lies outside; a cut one as far as it goes."""
    length, entry = ("Q", "HHQ8x") if big else ("H", "HHI4x")
    first, step, inline = start + struct.calcsize(order + length), struct.calcsize(order + entry), 8 if big else 4
    if first > len(data):
        ledger.problem("a directory of its EXIF or TIFF lies outside it")
        return None
    (n_entries,) = struct.unpack_from(order + length, data, start)
    fitting = (len(data) - first) // step
    if n_entries > min(fitting, _ENTRIES):
        ledger.problem(f"a directory of its EXIF or TIFF claims {n_entries} tags; {min(fitting, _ENTRIES)} are read")
    entries: dict[int, tuple[int, int, int]] = {}
    for k in range(min(n_entries, fitting, _ENTRIES)):
        tag, kind, count = struct.unpack_from(order + entry, data, first + k * step)
        place = first + (k + 1) * step - inline
        if _SIZES.get(kind, 0) * count > inline:
            (place,) = struct.unpack_from(order + ("Q" if big else "I"), data, place)
        entries.setdefault(tag, (kind, count, place))
    return Directory(data, order, big, entries)


def walk_tiff(data: bytes, ledger: Ledger) -> Iterator[Part]:
    """Find the parts of a TIFF file: its own tags are EXIF's, and three of them hold other metadata."""
    yield Part("exif", data)
    found = first_directory(data, Ledger())  # the reader of EXIF tells of its damage
    for tag, kind in _PARTS.items():
        body = found.raw(tag, f"the tag {tag} ({kind})", ledger) if found else b""
        if body:
            yield Part(kind, body)
