"""The blocks of a GIF file, and the parts among them that hold metadata.

Sources: GIF89a (1990); XMP specification part 3 (2020), 1.1.2.
"""

from __future__ import annotations

from collections.abc import Iterator

from fdetect.metadata.ledger import TEXT, Ledger, Part
from fdetect.metadata.trailer import tell_trailer

__all__ = ["extensions", "joined", "walk_gif"]

_BLOCKS = 1 << 19  # of a GIF: one of 130 MB has so many
_END = b";"


def extensions(data: bytes, ledger: Ledger) -> Iterator[tuple[bytes, int, int]]:
    """Find the extensions: (label, start, end) of the blocks of each; pictures are passed over.

    The end mark is the last, and empty.  What ends the walk before it is told.
    """
    if len(data) < 13:
        return ledger.problem("the GIF ends within its header")
    at = 13 + (3 << (data[10] & 7) + 1 if data[10] & 0x80 else 0)
    steps = _BLOCKS
    while at < len(data) and steps > 0:
        mark = data[at : at + 1]
        if mark == _END:
            yield mark, at + 1, at + 1
            return None
        if mark == b"!":
            label, start = data[at + 1 : at + 2], at + 2
        elif mark == b"," and at + 10 < len(data):
            label, flags = b"", data[at + 9]
            start = at + 11 + (3 << (flags & 7) + 1 if flags & 0x80 else 0)
        else:
            return ledger.problem("the GIF is damaged: a block of no known kind")
        at, steps = _after_blocks(data, start, steps)
        if label not in (b"", _END):  # no extension has the end mark's label
            yield label, start, at
    why = "the GIF ends before its end mark" if steps > 0 else f"the GIF has more than {_BLOCKS} blocks"
    return ledger.problem(why)


def joined(data: bytes, at: int, end: int) -> bytes:
    """Join blocks of at most 255 bytes, each behind its length; an empty one ends them."""
    blocks = []
    while at < min(end, len(data)) and data[at]:
        blocks.append(data[at + 1 : at + 1 + data[at]])
        at += 1 + data[at]
    return b"".join(blocks)


def walk_gif(data: bytes, ledger: Ledger) -> Iterator[Part]:
    """Find the parts: comments and XMP."""
    for label, start, end in extensions(data, ledger):
        if label == _END:
            tell_trailer(data, end, ledger)
        elif label == b"\xfe" and ledger.take(end - start, "a GIF comment"):
            yield Part("text", joined(data, start, end)[:TEXT], "GIF comment", "comment")
        elif label == b"\xff" and data[start : start + 12] == b"\x0bXMP DataXMP" and ledger.take(end - start, "XMP"):
            # the packet stands there unblocked; the 258 bytes after it lead any reader of blocks to the end
            yield Part("xmp", data[start + 12 : max(end - 258, start + 12)])


def _after_blocks(data: bytes, at: int, steps: int) -> tuple[int, int]:
    while at < len(data) and data[at] and steps > 0:
        at, steps = at + 1 + data[at], steps - 1
    return at + 1, steps - 1
