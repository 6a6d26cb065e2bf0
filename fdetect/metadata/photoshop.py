"""Photoshop's image resources: numbered pieces, among which stand IPTC records and a thumbnail.

Source: Adobe Photoshop file formats (2019), image resource blocks.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from fdetect.metadata.ledger import Ledger

__all__ = ["resources"]

_RESOURCES = 1 << 12
_MARKS = (b"8BIM", b"MeSa", b"AgHg", b"PHUT", b"DCSR")


def resources(data: bytes, ledger: Ledger) -> Iterator[tuple[int, int, int]]:
    """Find the resources: (number, start, end) of each; the end of a cut one, which is told, lies outside."""
    at = 0
    for _ in range(_RESOURCES):
        if data[at : at + 4] not in _MARKS or at + 7 > len(data):
            break
        (number,) = struct.unpack_from(">H", data, at + 4)
        at += 6 + (data[at + 6] + 2) // 2 * 2  # a name, with its length before it, made even
        if at + 4 > len(data):
            return ledger.problem("its Photoshop resources are cut")
        (size,) = struct.unpack_from(">I", data, at)
        start, at = at + 4, at + 4 + size + size % 2
        if start + size > len(data):
            ledger.problem("its Photoshop resources are cut")
        yield number, start, start + size
    if at < len(data) and data[at:].strip(b"\0"):
        ledger.problem("its Photoshop resources are damaged")
