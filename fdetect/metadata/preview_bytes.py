"""Where a file keeps small pictures of itself: EXIF, Photoshop's resources, JFIF, the multi-picture format, XMP.

Only those kept as JPEG are taken out; an uncompressed one is told.  Nothing is decoded here, and no stated length or
place is trusted.
Sources: Exif 3.0 (CIPA DC-008-2023), 4.5.8; Adobe Photoshop file formats (2019), resources 1033 and 1036; JFIF 1.02
(1992); multi-picture format (CIPA DC-007-2021); XMP specification part 2 (2016), 1.2.2.2.
"""

from __future__ import annotations

import binascii
import itertools
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from fdetect.metadata.containers import walk
from fdetect.metadata.parts import Ledger, Part
from fdetect.metadata.tiff import directory, first_directory

__all__ = ["LARGEST", "Preview", "previews"]

LARGEST = 1 << 22  # bytes of a preview: the largest that cameras keep, 1920 x 1080, has half a megabyte

_MOST = 64  # resources with a thumbnail, pictures of the multi-picture format, thumbnails of XMP
_SEGMENTS = 1 << 12  # of a JPEG before its picture
_IN_XMP = re.compile(rb"GImg:image\s{0,9}(?:=\s{0,9}[\"']|>)([A-Za-z0-9+/=\s&#;]{100,6000000})")


@dataclass(frozen=True)
class Preview:
    """One small picture: where it stands, its bytes as JPEG, or b"" and why there are none.

    swapped  whether its red and blue are exchanged, as Photoshop 4 did
    """

    kind: str
    jpeg: bytes
    why: str = ""
    swapped: bool = False


def previews(data: bytes) -> Iterator[Preview]:
    """Find the previews of a file, in the order above; never raises."""
    ledger = Ledger()  # what cannot be read is told by the readers of claims
    for part in walk(data, ledger):
        if part.kind == "exif":
            yield from _in_exif(part, ledger)
        elif part.kind == "photoshop":
            yield from _in_photoshop(part.data)
        elif part.kind == "xmp":
            for found in itertools.islice(_IN_XMP.finditer(part.data), _MOST):
                yield _checked("XMP thumbnail", _unpacked(found.group(1)))
    if data[:2] == b"\xff\xd8":
        yield from _in_segments(data)


def _checked(kind: str, jpeg: bytes, *, swapped: bool = False) -> Preview:
    if len(jpeg) > LARGEST:
        return Preview(kind, b"", f"it has more than {LARGEST} bytes")
    if jpeg[:3] != b"\xff\xd8\xff":
        return Preview(kind, b"", "where it should stand is no JPEG")
    return Preview(kind, jpeg, swapped=swapped)


def _in_exif(part: Part, ledger: Ledger) -> Iterator[Preview]:
    tiff = part.data.removeprefix(b"Exif\0\0")
    main = first_directory(tiff, ledger)
    if main is None or main.big:
        return
    try:
        (at,) = struct.unpack_from(main.order + "I", tiff, 4)
        (n_entries,) = struct.unpack_from(main.order + "H", tiff, at)
        (second,) = struct.unpack_from(main.order + "I", tiff, at + 2 + 12 * n_entries)
    except struct.error:
        return
    if not second or (found := directory(tiff, second, main.order, False, ledger)) is None:
        return
    start, length = found.number(0x0201), found.number(0x0202)
    if start is not None and length is not None:
        inside = start < len(tiff)  # a stated length may be a little too long: some cameras' is
        jpeg = tiff[start : start + min(length, LARGEST + 1)]
        outside = Preview("EXIF thumbnail", b"", "its place lies outside the EXIF")
        yield _checked("EXIF thumbnail", jpeg) if inside else outside
    elif found.number(0x0103) == 1 and len(part.data) < 1 << 16:  # of a TIFF file, that is its second page
        yield Preview("EXIF thumbnail", b"", "it is kept uncompressed, which is not read")


def _in_photoshop(data: bytes) -> Iterator[Preview]:
    at = 0
    for _ in range(_SEGMENTS):
        if data[at : at + 4] != b"8BIM" or at + 7 > len(data):
            return
        (number,) = struct.unpack_from(">H", data, at + 4)
        at += 6 + (data[at + 6] + 2) // 2 * 2  # a name, with its length before it, made even
        if at + 4 > len(data):
            return
        (size,) = struct.unpack_from(">I", data, at)
        body = data[at + 4 : at + 4 + min(size, LARGEST + 29)]
        if number in (0x0409, 0x040C) and body[:4] == b"\0\0\0\1":  # JPEG, behind a header of 28 bytes
            yield _checked("Photoshop thumbnail", body[28:], swapped=number == 0x0409)
        at += 4 + size + size % 2


def _in_segments(data: bytes) -> Iterator[Preview]:
    at = 2
    for _ in range(_SEGMENTS):
        if at + 4 > len(data):
            return
        marker, length = struct.unpack_from(">HH", data, at)
        if not 0xFFC0 <= marker <= 0xFFFE or marker == 0xFFDA or length < 2:
            return
        body = data[at + 4 : at + 2 + length]
        if marker == 0xFFE0 and body[:5] == b"JFXX\0":
            raw = Preview("JFIF thumbnail", b"", "it is kept uncompressed, which is not read")
            yield _checked("JFIF thumbnail", body[6:]) if body[5:6] == b"\x10" else raw
        elif marker == 0xFFE2 and body[:4] == b"MPF\0":
            yield from _in_several(data, at + 8)
        at += 2 + length


def _in_several(data: bytes, start: int) -> Iterator[Preview]:
    """Find the large previews; the other pictures of this format are views of their own, or no pictures."""
    ledger = Ledger()
    tiff = data[start : start + (1 << 16)]
    index = first_directory(tiff, ledger)
    if index is None or index.big:
        return
    entries = index.raw(0xB002, "its list of pictures", ledger)
    for k in range(min(len(entries) // 16, _MOST)):
        kind, size, place = struct.unpack_from(index.order + "III", entries, 16 * k)
        if kind & 0xFFFFFF in (0x010001, 0x010002):  # as large as VGA, or as Full HD
            inside = start + place + size <= len(data)
            jpeg = data[start + place : start + place + min(size, LARGEST + 1)]
            outside = Preview("large preview", b"", "its place lies outside the file")
            yield _checked("large preview", jpeg) if inside else outside


def _unpacked(text: bytes) -> bytes:
    try:
        return binascii.a2b_base64(text.replace(b"&#xA;", b"").replace(b"&#10;", b""))
    except binascii.Error:
        return b""
