"""The ledger that the readers of one file share: fields and problems, the limits they keep, and what a part is.

A file is anybody's.  It may state any length, offset or count, hold a bomb, or go round in circles; so every walk
has a most, and what is left out is told among the problems.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field

from fdetect.metadata.privacy import WITHHELD, is_private

__all__ = ["STEPS", "TEXT", "Field", "Ledger", "Part", "inflated", "text_of"]

TEXT = 1 << 20  # bytes of one text, packed or not: a long prompt or graph has a tenth of that, a bomb a hundred times
STEPS = 1 << 17  # chunks or segments that are walked: the largest PNG in chunks of 8 KiB has half of that
_ALL = 1 << 23  # bytes of all metadata of a file together: what is judged by patterns stays a fraction of a second
_PARTS = 1 << 12  # parts, and fields, of a file: the fullest camera files have some hundreds
_ELEMENTS = 20_000  # and attributes of all XMP: the longest histories of edits have some thousands
_TOLD = 20  # problems that are told
_NAME = 120  # characters of a field's name


@dataclass(frozen=True)
class Part:
    """A piece of a file that holds metadata, as it stands there.

    kind  "exif" (a TIFF), "xmp", "extended xmp" (a segment of it), "iptc" (records), "photoshop" (resources), or
          "text" (of `source` and `name`, without packing)
    """

    kind: str
    data: bytes
    source: str = ""
    name: str = ""


@dataclass(frozen=True)
class Field:
    """One name and its whole text, before it is judged and shortened."""

    source: str
    name: str
    text: str


@dataclass
class Ledger:
    """The fields and problems of one file, and how much may still be read."""

    fields: list[Field] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    left: int = _ALL
    elements_left: int = _ELEMENTS
    n_parts: int = 0

    def add(self, source: str, name: str, text: str) -> None:
        """Keep a field that says anything, without the spaces and NULs around it; a private one without its text."""
        text = text.strip(" \t\r\n\0").strip()  # the second takes the spaces of all scripts
        if text and len(self.fields) >= _PARTS:
            self.problem(f"it has more than {_PARTS} fields of metadata; the others are not read")
        elif text:
            line = " ".join(name.split()) or "(no name)"
            text = WITHHELD if is_private(line) else text
            self.fields.append(Field(source, line if len(line) <= _NAME else line[:_NAME] + "…", text))

    def problem(self, sentence: str) -> None:
        """Keep a sentence, once; the first ones are enough."""
        if sentence not in self.problems and len(self.problems) <= _TOLD:
            full = len(self.problems) == _TOLD
            self.problems.append("more problems are not told" if full else sentence)

    def take(self, n_bytes: int, what: str) -> bool:
        """Count a part and its bytes that are about to be read; False, and a problem, where it is too much."""
        self.n_parts += 1
        if self.n_parts > _PARTS:
            self.problem(f"it has more than {_PARTS} parts of metadata; the others are not read")
            return False
        if n_bytes > self.left:
            self.problem(f"{what} ({n_bytes} bytes) is not read: at most {_ALL} bytes of metadata are")
            return False
        self.left -= n_bytes
        return True


def text_of(data: bytes) -> str:
    """Decode text of no stated encoding: UTF-8 where it is that, else Latin-1, which every byte is."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def inflated(data: bytes, what: str, ledger: Ledger) -> bytes:
    """Unpack a zlib stream as far as TEXT bytes; a longer or a damaged one is told and gives what was unpacked."""
    unpacker = zlib.decompressobj()
    most = min(TEXT, ledger.left)
    if not most:
        ledger.problem(f"{what} is not unpacked: at most {_ALL} bytes of metadata are read")
        return b""
    try:
        found = unpacker.decompress(data, most)
    except zlib.error:
        ledger.problem(f"{what} cannot be unpacked")
        return b""
    ledger.left -= len(found)
    if not unpacker.eof:
        why = f"it unpacks to more than {most} bytes" if unpacker.unconsumed_tail else "its packing ends early"
        ledger.problem(f"{what} is cut: {why}")
    return found
