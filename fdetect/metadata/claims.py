"""What a file says of itself: claims, each with its source, and what it would mean if it were true.

Metadata are written by whoever made, edited or passed on a file, and anybody may write or delete them.  A claim is a
claim: it is told beside a detector's verdict and never enters it.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["LONGEST", "MEANINGS", "Claim", "Metadata", "shortened"]

LONGEST = 400  # characters of a value that are kept

MEANINGS = {
    "generated": "claims to be made by a generator, whole or in part",
    "camera": "claims to come from a camera or a scanner",
    "edited": "claims to be edited by a program",
    "": "says nothing of how the picture was made",
}


@dataclass(frozen=True)
class Claim:
    """One claim of a file.

    source   where it stands: "EXIF", "XMP", "IPTC", "PNG text", "C2PA", "JPEG comment", ...
    name     its key there, as in "Software" or "parameters"
    value    its text, made one line and cut to LONGEST characters; binary values are described, not shown
    meaning  a key of MEANINGS: what it would mean if it were true
    note     a sentence on who writes such a key, or ""
    """

    source: str
    name: str
    value: str
    meaning: str = ""
    note: str = ""


@dataclass(frozen=True)
class Metadata:
    """All claims of a file, those with a meaning first, and what could not be read of its metadata.

    problems  sentences such as "its XMP packet is not well-formed XML: ..."; a part that cannot be read is told, and
              the others are read
    """

    claims: tuple[Claim, ...] = ()
    problems: tuple[str, ...] = ()


def shortened(text: str) -> str:
    """Make a text one line, and cut it to LONGEST characters, saying how many there are."""
    line = " ".join(text.split())
    return line if len(line) <= LONGEST else f"{line[:LONGEST]}… ({len(line)} characters in all)"
