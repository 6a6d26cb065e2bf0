"""The segments of a JPEG file, and the parts among them that hold metadata.

Sources: ITU-T T.81 (1992), annex B; Exif 3.0 (CIPA DC-008), 4.7; XMP specification part 3 (2020), 1.1.3; CIPA DC-007
(multi-picture format).
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator

from fdetect.metadata.ledger import STEPS, TEXT, Ledger, Part
from fdetect.metadata.trailer import tell_trailer

__all__ = ["segments", "segments_before_picture", "walk_jpeg"]

_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")  # within coded data, 00 and D0 to D7 belong to them; FF fills
_END, _SCAN = 0xD9, 0xDA
_PARTS = (
    (0xE1, b"Exif\0", "exif"),
    (0xE1, b"http://ns.adobe.com/xap/1.0/\0", "xmp"),
    (0xE1, b"http://ns.adobe.com/xmp/extension/\0", "extended xmp"),
    (0xED, b"Photoshop 3.0\0", "photoshop"),
)


def segments(data: bytes, ledger: Ledger) -> Iterator[tuple[int, int, int]]:
    """Find the segments: (marker, start, end) of what each holds; coded data are passed over.

    The end mark is the last, and empty.  A segment that the file cuts has its end outside; other damage is told.
    """
    at = 2
    for _ in range(STEPS):
        found = _MARKER.search(data, at)
        if found is None:
            return ledger.problem("the JPEG ends before its end mark")
        marker, at = data[found.start() + 1], found.end()
        if marker == _END:
            yield marker, at, at
            return None
        if marker in (0x01, 0xD8):  # without a length
            continue
        if at + 2 > len(data) or (length := struct.unpack_from(">H", data, at)[0]) < 2:
            ledger.problem("the JPEG is damaged: a segment without a length")
            continue
        yield marker, at + 2, at + length
        at += length
    return ledger.problem(f"the JPEG has more than {STEPS} segments; the others are not read")


def segments_before_picture(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Find the segments before the first scan of the picture; damage is told by `walk_jpeg`, not here."""
    for marker, start, end in segments(data, Ledger()):
        if marker == _SCAN:
            return
        yield marker, start, end


def walk_jpeg(data: bytes, ledger: Ledger) -> Iterator[Part]:
    """Find the parts; the segments of Photoshop's resources are joined, those of extended XMP are not."""
    resources: list[bytes] = []
    several = False
    for marker, start, end in segments(data, ledger):
        if marker == _END:
            tell_trailer(data, end, ledger, several=several)
        elif 0xE1 <= marker <= 0xEF or marker == 0xFE:
            body = data[start:end]
            if end > len(data):
                ledger.problem("the JPEG ends within a segment of metadata")
            several |= marker == 0xE2 and body.startswith(b"MPF\0")
            for part in _parts(marker, body, ledger):
                if part.kind == "photoshop":
                    resources.append(part.data)
                else:
                    yield part
    if resources:
        yield Part("photoshop", b"".join(resources))


def _parts(marker: int, body: bytes, ledger: Ledger) -> Iterator[Part]:
    if marker == 0xFE:
        if ledger.take(len(body), "a JPEG comment"):
            yield Part("text", body[:TEXT], "JPEG comment", "comment")
        return
    for mark, start, kind in _PARTS:
        if marker == mark and body.startswith(start) and ledger.take(len(body), f"a segment of {kind}"):
            yield Part(kind, body if kind == "exif" else body[len(start) :])
