"""The parts of AVIF, HEIF and JPEG 2000 files that hold metadata, from their boxes.

AVIF and HEIF keep EXIF and XMP as items: `iinf` names them and `iloc` says where their bytes stand.  Items in pieces,
in `idat` or built from other items are not read, and told.  JPEG 2000 keeps both in `uuid` boxes;
comments in its code stream are not read.
Sources: ISO/IEC 14496-12 (2022), 8.11; ISO/IEC 23008-12 (2022), annex A; XMP specification part 3 (2020), 1.1.4.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from fdetect.metadata.ledger import Ledger, Part

__all__ = ["boxes", "walk_boxes"]

_BOXES = 1 << 14  # boxes at one level, or items: a large grid of tiles has a few hundred
_UUIDS = {
    bytes.fromhex("be7acfcb97a942e89c71999491e3afac"): "xmp",
    b"JpgTiffExif->JP2": "exif",
}


def walk_boxes(data: bytes, ledger: Ledger) -> Iterator[Part]:
    """Find the parts; what is damaged ends the walk and is told."""
    try:
        for kind, start, end in boxes(data, 0, len(data), ledger):
            if kind == b"uuid" and data[start : start + 16] in _UUIDS and ledger.take(end - start, "a uuid box"):
                yield Part(_UUIDS[data[start : start + 16]], data[start + 16 : end])
            elif kind == b"meta":
                yield from _items(data, start + 4, end, ledger)
    except (struct.error, IndexError):
        ledger.problem("the file ends within a box of its metadata")


def boxes(data: bytes, at: int, end: int, ledger: Ledger) -> Iterator[tuple[bytes, int, int]]:
    """Find the boxes at one level, between two places: (kind, start, end) of what each holds.

    A box that is longer than what holds it is told, cut there, and the last.  Raises struct.error where the file ends
    within a header.
    """
    for _ in range(_BOXES):
        if at + 8 > end:
            return
        length, kind = struct.unpack_from(">I4s", data, at)
        start = at + 8
        if length == 1:
            (length,) = struct.unpack_from(">Q", data, start)
            start += 8
        stop = end if length == 0 else at + length
        if stop < start or stop > end:
            ledger.problem("a box is longer than what holds it, or shorter than its header")
        if stop < start or start > end:
            return
        yield kind, start, min(stop, end)
        at = stop
    ledger.problem(f"the file has more than {_BOXES} boxes at one level; the others are not read")


def _items(data: bytes, at: int, end: int, ledger: Ledger) -> Iterator[Part]:
    inside = {kind: (start, stop) for kind, start, stop in boxes(data, at, end, ledger)}
    if b"iinf" not in inside:
        return
    kinds = _kinds(data, *inside[b"iinf"], ledger)
    places = _places(data, *inside[b"iloc"], set(kinds), ledger) if kinds and b"iloc" in inside else {}
    for item, kind in kinds.items():
        place = places.get(item)
        if place is None or place[0] + place[1] > len(data):
            ledger.problem(f"its {kind.upper()} item is not read: its bytes are not in one place of the file")
        elif ledger.take(place[1], f"an {kind.upper()} item"):
            body = data[place[0] : sum(place)]
            if kind == "exif" and len(body) >= 4:  # how far the TIFF stands behind these four bytes
                body = body[4 + struct.unpack_from(">I", body)[0] :]
            yield Part(kind, body)


def _kinds(data: bytes, start: int, end: int, ledger: Ledger) -> dict[int, str]:
    """Return the items that are EXIF or XMP by their numbers."""
    found = {}
    for kind, at, stop in boxes(data, start + (6 if data[start] == 0 else 8), end, ledger):
        version = data[at] if at < stop else 0
        if kind != b"infe" or version < 2:
            continue
        item, _, name = struct.unpack_from(">HH4s" if version == 2 else ">IH4s", data, at + 4)
        text = data[at + (12 if version == 2 else 14) : stop]
        if name == b"Exif":
            found[item] = "exif"
        elif name == b"mime" and b"application/rdf+xml" in text:
            found[item] = "xmp"
    return found


def _places(data: bytes, at: int, end: int, wanted: set[int], ledger: Ledger) -> dict[int, tuple[int, int]]:
    """Return (start, length) of the wanted items that stand in one piece of the file itself."""
    version, sizes = data[at], struct.unpack_from(">H", data, at + 4)[0]
    offset_size, length_size, base_size, index_size = (sizes >> shift & 15 for shift in (12, 8, 4, 0))
    wide = 4 if version == 2 else 2
    n_items, at = _number(data, at + 6, wide)
    if n_items > _BOXES:
        ledger.problem(f"the file has more than {_BOXES} items; the others are not read")
    found = {}
    for _ in range(min(n_items, _BOXES)):
        item, at = _number(data, at, wide)
        method, at = _number(data, at, 2) if version else (0, at)
        base, at = _number(data, at + 2, base_size)
        n_pieces, at = _number(data, at, 2)
        start = length = 0
        if n_pieces:
            skipped = index_size if version else 0
            start, _ = _number(data, at + skipped, offset_size)
            length, _ = _number(data, at + skipped + offset_size, length_size)
            at += n_pieces * (skipped + offset_size + length_size)
        if at > end:
            ledger.problem("the list of the places of items is cut")
            break
        if item in wanted and n_pieces == 1 and method & 15 == 0 and length:
            found[item] = (base + start, length)
    return found


def _number(data: bytes, at: int, size: int) -> tuple[int, int]:
    if at + size > len(data):
        raise struct.error("beyond the end")
    return int.from_bytes(data[at : at + size], "big"), at + size
