"""What a file says of itself: its EXIF, XMP, IPTC and text, read as claims and kept apart from any verdict.

`read_metadata` turns the bytes of one file into claims.  From the inside out:

containers  the one walk through a file (with jpeg, boxes, tiff and trailer), which gives its parts
exif, xmp, iptc  readers of a part, which give fields
generators  the table of names and texts by which programs and cameras make themselves known (with digital_source)
judged      fields against the table: claims
credentials  Content Credentials (C2PA), with their signature

Metadata are anybody's to write, to copy and to delete.  They prove nothing, and their absence says nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fdetect.metadata.claims import MEANINGS, Claim, Metadata

if TYPE_CHECKING:
    from collections.abc import Callable

    from fdetect.metadata.parts import Ledger, Part

__all__ = ["MEANINGS", "Claim", "Metadata", "read_metadata"]


def read_metadata(data: bytes) -> Metadata:
    """Read the claims of one file from its bytes; never raises, whatever they are.

    What is damaged, too large or not understood is told in `problems`, and the other parts are read.  Time and memory
    are bounded: some seconds and some tens of megabytes for the worst of files, milliseconds for others.
    """
    from fdetect.metadata.containers import walk
    from fdetect.metadata.judged import judged
    from fdetect.metadata.manifest_bytes import manifest_size
    from fdetect.metadata.parts import Ledger
    from fdetect.metadata.xmp import joined_extension, read_xmp

    ledger = Ledger()
    extension: list[bytes] = []
    for part in walk(data, ledger):
        if part.kind == "extended xmp":
            extension.append(part.data)
        else:
            _read(part, ledger)
    read_xmp(joined_extension(extension, ledger), ledger, what="its extended XMP")
    if size := manifest_size(data):
        ledger.add("C2PA", "manifest", f"{size} bytes of Content Credentials")
    claims = judged(ledger)
    return Metadata(claims, tuple(ledger.problems))


def _read(part: Part, ledger: Ledger) -> None:
    from fdetect.metadata.exif import read_exif
    from fdetect.metadata.iptc import read_iptc, read_photoshop
    from fdetect.metadata.parts import text_of
    from fdetect.metadata.xmp import read_xmp

    if part.kind == "text":
        ledger.add(part.source, part.name, text_of(part.data))
    else:
        readers: dict[str, Callable[[bytes, Ledger], None]] = {
            "exif": read_exif,
            "xmp": read_xmp,
            "iptc": read_iptc,
            "photoshop": read_photoshop,
        }
        readers[part.kind](part.data, ledger)
