"""Whether a file holds a C2PA manifest at all, and how large, told from its bytes: no manifest is understood here.

Where it stands, by format.  JPEG: APP11 segments with a JUMBF superbox.  PNG: the chunk caBX.  WebP: the RIFF chunk
C2PA.  AVIF and HEIC: a uuid box.  TIFF: the tag 0xCD41.  GIF: an application extension C2PA_GIF.
Source: C2PA Technical Specification 2.2 (2025), appendix A "Embedding manifests"; JUMBF is ISO/IEC 19566-5.
"""

from __future__ import annotations

import contextlib
import re
import struct

__all__ = ["manifest_size", "remote_manifest"]

_UUID = bytes.fromhex("d8fec3d61b0e483c92975828877ec481")  # of the C2PA box in BMFF
_MOST = 1 << 16  # segments, chunks or boxes that are walked
_REMOTE = re.compile(rb"dcterms:provenance\s{0,9}(?:=\s{0,9}[\"']|>)([^\"'<>]{1,2000})")


def manifest_size(data: bytes) -> int:
    """Return the bytes of the C2PA manifest in a file, as its containers claim and the file holds; 0 where none is.

    Never raises: damaged bytes are walked as far as they go.
    """
    with contextlib.suppress(struct.error):  # a header that is cut off
        if data[:2] == b"\xff\xd8":
            return _in_jpeg(data)
        if data[:8] == b"\x89PNG\r\n\x1a\n":
            return _in_chunks(data, 8, ">I4s", b"caBX", after=4, padded=False)
        if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
            return _in_chunks(data, 12, "<4sI", b"C2PA", after=0, padded=True)
        if data[4:8] == b"ftyp":
            return _in_boxes(data)
        if data[:4] in (b"II*\0", b"MM\0*"):
            return _in_tiff(data)
        if data[:4] == b"GIF8":
            return _in_gif(data)
    return 0


def remote_manifest(data: bytes) -> str:
    """Return the address that XMP gives for a manifest kept elsewhere (dcterms:provenance), or "".

    Nothing is fetched.  The address is text that anybody may have written.
    """
    found = _REMOTE.search(data)
    text = found.group(1).decode("utf-8", "replace") if found else ""
    return text if text.startswith(("http://", "https://")) else ""


def _in_jpeg(data: bytes) -> int:
    at, total, boxes = 2, 0, set()
    for _ in range(_MOST):
        if at + 4 > len(data):
            break
        marker, length = struct.unpack_from(">HH", data, at)
        if marker < 0xFFC0 or marker in (0xFFD9, 0xFFDA) or length < 2:
            break
        # "JP", number of the box (2 bytes) and of its packet (4), header of the box (8), which every packet repeats
        body = data[at + 4 : at + 2 + length]
        if marker == 0xFFEB and body[:2] == b"JP" and body[12:16] == b"jumb":
            if body[4:8] == b"\0\0\0\1" and b"c2pa" in body[16:80]:
                boxes.add(body[2:4])
                total += len(body) - 8
            elif body[2:4] in boxes:
                total += len(body) - 16
        at += 2 + length
    return total


def _in_chunks(data: bytes, at: int, header: str, name: bytes, *, after: int, padded: bool) -> int:
    for _ in range(_MOST):
        one, two = struct.unpack_from(header, data, at)
        kind, length = (one, two) if isinstance(one, bytes) else (two, one)
        if kind == name:
            return min(int(length), len(data) - at - 8)
        at += 8 + length + after + (length & 1 if padded else 0)
    return 0


def _in_boxes(data: bytes) -> int:
    at = 0
    for _ in range(_MOST):
        length, kind = struct.unpack_from(">I4s", data, at)
        start = 8
        if length == 1:
            (length,) = struct.unpack_from(">Q", data, at + 8)
            start = 16
        rest = len(data) - at
        length = min(length or rest, rest)  # 0: to the end of the file; one may claim up to 2^64
        if length < start:
            return 0
        if kind == b"uuid" and data[at + start : at + start + 16] == _UUID:
            return max(int(length) - start - 16, 0)
        at += length
    return 0


def _in_tiff(data: bytes) -> int:
    order = "<" if data[:1] == b"I" else ">"
    (at,) = struct.unpack_from(order + "I", data, 4)
    (n_entries,) = struct.unpack_from(order + "H", data, at)
    for k in range(n_entries):
        tag, _, count, start = struct.unpack_from(order + "HHII", data, at + 2 + 12 * k)
        if tag == 0xCD41:
            return int(max(min(count, len(data) - start), 0))
    return 0


def _in_gif(data: bytes) -> int:
    at, total = data.find(b"\x21\xff\x0bC2PA_GIF"), 0
    if at < 0:
        return 0
    at += 14
    while at < len(data) and data[at]:  # blocks of at most 255 bytes; an empty one ends them
        total += min(data[at], len(data) - at - 1)
        at += 1 + data[at]
    return total
