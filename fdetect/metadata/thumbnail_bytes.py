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
from fdetect.metadata.jpeg import segments_before_picture
from fdetect.metadata.ledger import Ledger, Part
from fdetect.metadata.photoshop import resources
from fdetect.metadata.tiff import directory, first_directory

__all__ = ["LARGEST", "ThumbnailBytes", "find_thumbnails"]

LARGEST = 1 << 22  # bytes of a thumbnail: the largest that cameras keep, 1920 x 1080, has half a megabyte

_MOST = 64  # pictures of the multi-picture format, thumbnails of XMP
_IN_XMP = re.compile(rb"GImg:image\s{0,9}(?:=\s{0,9}[\"']|>)([A-Za-z0-9+/=\s&#;]{100,6000000})")


@dataclass(frozen=True)
class ThumbnailBytes:
    """One small picture: where it stands, its bytes as JPEG, or b"" and why there are none.

    swapped  whether its red and blue are exchanged, as Photoshop 4 did
    """

    kind: str
    jpeg: bytes
    why: str = ""
    swapped: bool = False


def find_thumbnails(data: bytes) -> Iterator[ThumbnailBytes]:
    """Find the thumbnails of a file, in the order above; never raises."""
    ledger = Ledger()  # what cannot be read is told by the readers of claims
    for part in walk(data, ledger):
        if part.kind == "exif":
            yield from _in_exif(part, ledger)
        elif part.kind == "photoshop":
            yield from _in_photoshop(part.data, ledger)
        elif part.kind == "xmp":
            for found in itertools.islice(_IN_XMP.finditer(part.data), _MOST):
                yield _checked("XMP thumbnail", _unpacked(found.group(1)))
    if data[:2] == b"\xff\xd8":
        yield from _in_segments(data)


def _checked(kind: str, jpeg: bytes, *, swapped: bool = False) -> ThumbnailBytes:
    if len(jpeg) > LARGEST:
        return ThumbnailBytes(kind, b"", f"it has more than {LARGEST} bytes")
    if jpeg[:3] != b"\xff\xd8\xff":
        return ThumbnailBytes(kind, b"", "where it should stand is no JPEG")
    return ThumbnailBytes(kind, jpeg, swapped=swapped)


def _in_exif(part: Part, ledger: Ledger) -> Iterator[ThumbnailBytes]:
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
        outside = ThumbnailBytes("EXIF thumbnail", b"", "its place lies outside the EXIF")
        yield _checked("EXIF thumbnail", jpeg) if inside else outside
    elif found.number(0x0103) == 1 and len(part.data) < 1 << 16:  # of a TIFF file, that is its second page
        yield ThumbnailBytes("EXIF thumbnail", b"", "it is kept uncompressed, which is not read")


def _in_photoshop(data: bytes, ledger: Ledger) -> Iterator[ThumbnailBytes]:
    for number, start, end in resources(data, ledger):
        body = data[start : min(end, start + LARGEST + 29)]
        if number in (0x0409, 0x040C) and body[:4] == b"\0\0\0\1":  # JPEG, behind a header of 28 bytes
            yield _checked("Photoshop thumbnail", body[28:], swapped=number == 0x0409)


def _in_segments(data: bytes) -> Iterator[ThumbnailBytes]:
    for marker, start, end in segments_before_picture(data):
        body = data[start:end] if marker in (0xE0, 0xE2) else b""
        if marker == 0xE0 and body[:5] == b"JFXX\0":
            raw = ThumbnailBytes("JFIF thumbnail", b"", "it is kept uncompressed, which is not read")
            yield _checked("JFIF thumbnail", body[6:]) if body[5:6] == b"\x10" else raw
        elif marker == 0xE2 and body[:4] == b"MPF\0":
            yield from _in_several(data, start + 4)


def _in_several(data: bytes, start: int) -> Iterator[ThumbnailBytes]:
    """Find the large thumbnails; the other pictures of this format are views of their own, or no pictures."""
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
            outside = ThumbnailBytes("large thumbnail", b"", "its place lies outside the file")
            yield _checked("large thumbnail", jpeg) if inside else outside


def _unpacked(text: bytes) -> bytes:
    try:
        return binascii.a2b_base64(text.replace(b"&#xA;", b"").replace(b"&#10;", b""))
    except binascii.Error:
        return b""
