"""Whether a file holds a C2PA manifest at all, and how large, told from its bytes: no manifest is understood here.

Where it stands, by format.  JPEG: APP11 segments with a JUMBF superbox.  PNG: the chunk caBX.  WebP: the RIFF chunk
C2PA.  AVIF and HEIC: a uuid box.  TIFF: the tag 0xCD41.  GIF: an application extension C2PA_GIF.
Source: C2PA Technical Specification 2.2 (2025), appendix A "Embedding manifests"; JUMBF is ISO/IEC 19566-5.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable

from fdetect.metadata.boxes import boxes
from fdetect.metadata.containers import format_of
from fdetect.metadata.gif import extensions, joined
from fdetect.metadata.jpeg import segments_before_picture
from fdetect.metadata.ledger import Ledger
from fdetect.metadata.png import chunks
from fdetect.metadata.tiff import first_directory
from fdetect.metadata.webp import riff_chunks

__all__ = ["manifest_size", "remote_manifest"]

_UUID = bytes.fromhex("d8fec3d61b0e483c92975828877ec481")  # of the C2PA box in BMFF
_TAG = 0xCD41
_REMOTE = re.compile(rb"dcterms:provenance\s{0,9}(?:=\s{0,9}[\"']|>)([^\"'<>]{1,2000})")


def manifest_size(data: bytes) -> int:
    """Return the bytes of the C2PA manifest in a file, as its containers claim and the file holds; 0 where none is.

    Never raises: damaged bytes are walked as far as they go.
    """
    ledger = Ledger()  # what cannot be read is told by the readers of claims
    match format_of(data):
        case "JPEG":
            return _in_jpeg(data)
        case "PNG":
            return _first(data, chunks(data, ledger), b"caBX")
        case "WebP":
            return _first(data, riff_chunks(data, ledger), b"C2PA")
        case "ISO media":
            return _in_boxes(data, ledger)
        case "TIFF":
            found = first_directory(data, ledger)
            start, size = found.place(_TAG) if found else (0, 0)
            return max(min(size, len(data) - start), 0)
        case "GIF":
            return _in_gif(data, ledger)
    return 0


def remote_manifest(data: bytes) -> str:
    """Return the address that XMP gives for a manifest kept elsewhere (dcterms:provenance), or "".

    Nothing is fetched.  The address is text that anybody may have written.
    """
    found = _REMOTE.search(data)
    text = found.group(1).decode("utf-8", "replace") if found else ""
    return text if text.startswith(("http://", "https://")) else ""


def _first(data: bytes, found: Iterable[tuple[bytes, int, int]], name: bytes) -> int:
    return next((min(end, len(data)) - start for kind, start, end in found if kind == name), 0)


def _in_jpeg(data: bytes) -> int:
    total, boxes_seen = 0, set()
    for marker, start, end in segments_before_picture(data):
        # "JP", number of the box (2 bytes) and of its packet (4), header of the box (8), which every packet repeats
        body = data[start:end] if marker == 0xEB else b""
        if body[:2] == b"JP" and body[12:16] == b"jumb":
            if body[4:8] == b"\0\0\0\1" and b"c2pa" in body[16:80]:
                boxes_seen.add(body[2:4])
                total += len(body) - 8
            elif body[2:4] in boxes_seen:
                total += len(body) - 16
    return total


def _in_boxes(data: bytes, ledger: Ledger) -> int:
    try:
        found = boxes(data, 0, len(data), ledger)
        uuids = ((start + 16, end) for kind, start, end in found if kind == b"uuid")
        return next((max(end - start, 0) for start, end in uuids if data[start - 16 : start] == _UUID), 0)
    except struct.error:  # a header that is cut off
        return 0


def _in_gif(data: bytes, ledger: Ledger) -> int:
    for label, start, end in extensions(data, ledger):
        if label == b"\xff" and data[start : start + 9] == b"\x0bC2PA_GIF":
            return len(joined(data, start + 12, end))
    return 0
