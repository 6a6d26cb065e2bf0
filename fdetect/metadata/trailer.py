"""Bytes after an image's end: how many, and what they are where their first ones tell."""

from __future__ import annotations

from fdetect.metadata.ledger import Ledger

__all__ = ["tell_trailer"]

_STARTS = (
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"\x89PNG\r\n", "a PNG picture"),
    (b"RIFF", "a RIFF file (WebP, or a film or sound)"),
    (b"PK\3\4", "a ZIP archive"),
    (b"Rar!", "a RAR archive"),
    (b"7z\xbc\xaf", "a 7-Zip archive"),
    (b"%PDF", "a PDF document"),
    (b"<?xml", "XML text"),
)


def tell_trailer(data: bytes, end: int, ledger: Ledger, *, several: bool = False) -> None:
    """Add the claim that bytes follow the end of the image; `several`: the file says that it holds more pictures."""
    rest = data[end : end + 64]
    if not rest:
        return
    what = next((words for start, words in _STARTS if rest.startswith(start)), "")
    if b"MotionPhoto_Data" in rest:  # Samsung's own frame around the film
        what = "the film of a motion photo"
    elif rest[4:8] == b"ftyp":
        what = "a film or picture in boxes (MP4, HEIC): what a motion photo keeps"
    elif not what and data.count(b"\0", end) == len(data) - end:
        what = "zeros"
    if several and what == "a JPEG picture":
        what = "a further JPEG picture, which its multi-picture index announces"
    ledger.add("file", "bytes after the image's end", f"{len(data) - end} bytes: {what or 'of no known kind'}")
