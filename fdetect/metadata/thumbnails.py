"""The small pictures that a file keeps of itself, and whether they show what the picture shows.

Cameras and editors write a thumbnail with the picture.  A program that changes the picture and copies the metadata
leaves the old thumbnail, which then shows what was there before.  A thumbnail that agrees proves nothing: most editors
write a new one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fdetect.errors import DataError
from fdetect.images import decode, read_facts
from fdetect.metadata.same_picture import SAME, Match, match
from fdetect.metadata.thumbnail_bytes import ThumbnailBytes, find_thumbnails

__all__ = ["Thumbnail", "embedded_thumbnails"]

_MOST = 8  # thumbnails of a file that are compared; cameras write three at most
_PIXELS = 1 << 23  # of a thumbnail: four times Full HD; what claims more is not decoded
_TURNS = {2: "mirrored", 3: "turned by 180°", 4: "turned upside down as in a mirror", 5: "turned and mirrored",
          6: "turned by 90°", 7: "turned and mirrored", 8: "turned by 270°"}  # fmt: skip
_FITS = {"whole": "", "cropped": "cropped to the thumbnail's shape", "with bars": "laid between the thumbnail's bars"}


@dataclass(frozen=True)
class Thumbnail:
    """One small picture that a file keeps of itself.

    kind           where it stands: "EXIF thumbnail", "Photoshop thumbnail", "JFIF thumbnail", "large thumbnail" (of the
                   multi-picture format) or "XMP thumbnail"
    width, height  px, 0 where it could not be read
    jpeg           its bytes, at most 4 MB; b"" where they could not be taken out
    distance       of `same_picture.match`, or None
    agrees         whether distance <= SAME; None where the two could not be compared
    sentence       what was found, in words
    """

    kind: str
    width: int
    height: int
    jpeg: bytes
    distance: float | None
    agrees: bool | None
    sentence: str


def embedded_thumbnails(data: bytes, pixels: np.ndarray) -> tuple[Thumbnail, ...]:
    """Find the thumbnails of a file and compare each with its picture, (H, W, 3) uint8 as stored.

    Never raises for what a file holds: a thumbnail that cannot be read or compared is told with agrees None.
    """
    try:
        orientation = read_facts(data).orientation
    except DataError:
        orientation = 1
    made: list[Thumbnail] = []
    for found in find_thumbnails(data):
        if len(made) == _MOST:
            sentence = f"it has more than {_MOST} thumbnails; the others were not compared with the picture"
            made.append(Thumbnail("thumbnails beyond these", 0, 0, b"", None, None, sentence))
            break
        made.append(_compared(found, pixels, orientation))
    return tuple(made)


def _compared(found: ThumbnailBytes, pixels: np.ndarray, orientation: int) -> Thumbnail:
    def untold(why: str, width: int = 0, height: int = 0) -> Thumbnail:
        sentence = f"the {found.kind} was not compared with the picture: {why}"
        return Thumbnail(found.kind, width, height, found.jpeg, None, None, sentence)

    if found.why:
        return untold(found.why)
    try:
        facts = read_facts(found.jpeg)
        if facts.format != "JPEG":
            return untold(f"it is no JPEG but {facts.format}")
        if facts.width * facts.height > _PIXELS:
            return untold(f"it claims {facts.width} x {facts.height} px, which no thumbnail has", facts.width,
                          facts.height)  # fmt: skip
        small = decode(found.jpeg).pixels
    except DataError as error:
        return untold(f"it cannot be read ({error})")
    height, width = small.shape[:2]
    best = match(pixels, small[:, :, ::-1] if found.swapped else small, orientation)
    if best is None:
        return untold("one of the two is too small, or shows one tone only", width, height)
    agrees = best.distance <= SAME
    sentence = _told(found.kind, best, agrees)
    return Thumbnail(found.kind, width, height, found.jpeg, best.distance, agrees, sentence)


def _told(kind: str, found: Match, agrees: bool) -> str:
    measured = f"distance {found.distance:.2f}, {'at most' if agrees else 'more than'} {SAME}"
    if not agrees:
        return (f"the {kind} does not show what the picture shows ({measured}): the picture was changed after the "
                "thumbnail was made, or the thumbnail is of another picture")  # fmt: skip
    laid = " and ".join(words for words in (_TURNS.get(found.turn, ""), _FITS[found.fit]) if words)
    return f"the {kind} shows what the picture shows{f', {laid}' if laid else ''} ({measured})"
