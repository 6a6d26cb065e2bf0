"""From the bytes of a file to the parts of it that hold metadata, by its format.

One walk from the first byte to the image's end, in the module of the format.  A damaged file is walked as far as it
can be; what stops the walk is told.  Bytes after the image's end are told as well: programs do not show them, and
phones keep films there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from fdetect.metadata.boxes import walk_boxes
from fdetect.metadata.gif import walk_gif
from fdetect.metadata.jpeg import walk_jpeg
from fdetect.metadata.ledger import Ledger, Part
from fdetect.metadata.png import walk_png
from fdetect.metadata.tiff import walk_tiff
from fdetect.metadata.webp import walk_webp

__all__ = ["format_of", "walk"]

_WALKS: dict[str, Callable[[bytes, Ledger], Iterator[Part]]] = {
    "JPEG": walk_jpeg,
    "PNG": walk_png,
    "WebP": walk_webp,
    "GIF": walk_gif,
    "TIFF": walk_tiff,
    "ISO media": walk_boxes,
    "JPEG 2000": walk_boxes,
}


def walk(data: bytes, ledger: Ledger) -> Iterator[Part]:
    """Find the parts of a file; damage and formats that are not read go to the ledger's problems."""
    found = _WALKS.get(format_of(data))
    if found is None:
        return ledger.problem("metadata of this format are not read")
    yield from found(data, ledger)
    return None


def format_of(data: bytes) -> str:
    """Return the format by its first bytes, "ISO media" for AVIF and HEIF, or "" for one that is not read."""
    if data[:2] == b"\xff\xd8":
        return "JPEG"
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        return "PNG"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WebP"
    if data[:6] in (b"GIF87a", b"GIF89a"):
        return "GIF"
    if data[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return "TIFF"
    return {b"ftyp": "ISO media", b"jP  ": "JPEG 2000"}.get(data[4:8], "")
