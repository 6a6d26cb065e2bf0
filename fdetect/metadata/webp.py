"""The chunks of a WebP file, which is a RIFF file, and those that hold metadata.

Source: WebP container specification.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from fdetect.metadata.ledger import STEPS, Ledger, Part
from fdetect.metadata.trailer import tell_trailer

__all__ = ["riff_chunks", "walk_webp"]

_KINDS = {b"EXIF": "exif", b"XMP ": "xmp"}


def riff_chunks(data: bytes, ledger: Ledger) -> Iterator[tuple[bytes, int, int]]:
    """Find the chunks: (name, start, end) of what each holds; the end of a cut one lies outside."""
    at, stop = 12, min(_end(data), len(data))
    for _ in range(STEPS):
        if at + 8 > stop:
            return None
        name, length = struct.unpack_from("<4sI", data, at)
        yield name, at + 8, at + 8 + length
        at += 8 + length + length % 2
    return ledger.problem(f"the WebP has more than {STEPS} chunks; the others are not read")


def walk_webp(data: bytes, ledger: Ledger) -> Iterator[Part]:
    """Find the parts; a cut file is told."""
    for name, start, end in riff_chunks(data, ledger):
        kind = _KINDS.get(name)
        if kind and end > len(data):
            return ledger.problem("the WebP ends within its metadata")
        if kind and ledger.take(end - start, f"a chunk {name.decode().strip()}"):
            yield Part(kind, data[start:end])
    if _end(data) > len(data) + 1:  # some writers leave the last byte of padding out
        return ledger.problem("the WebP is shorter than its header says")
    return tell_trailer(data, _end(data) + _end(data) % 2, ledger)


def _end(data: bytes) -> int:
    return int(8 + struct.unpack_from("<I", data, 4)[0])
