"""What a file says of itself: its EXIF, XMP, IPTC and text, read as claims and kept apart from any verdict.

`read_metadata` turns the bytes of one file into claims.  From the inside out:

jpeg, png, webp, gif, tiff, boxes, photoshop  one walk through a format each, and the parts in it (trailer: after it)
containers  which of them a file needs
exif, xmp, iptc  readers of a part, which give fields to the ledger
generators  the table of names and texts by which programs and cameras make themselves known (with digital_source)
claiming    fields against the table: claims
credentials, manifest_bytes  Content Credentials (C2PA), with their signature
thumbnails, thumbnail_bytes, same_picture  small pictures within the file, held against the picture

What points to a place, a device or a person is told to be there and its value is not repeated: positions and places in
words, serial numbers and computers, owners, contacts and persons shown (privacy).  Who made or credits the picture
(Artist, By-line, creator, Credit, Copyright) is shown, since that is a statement of authorship.

Metadata are anybody's to write, to copy and to delete.  They prove nothing, and their absence says nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fdetect.metadata.claims import MEANINGS, Claim, Metadata

if TYPE_CHECKING:
    from collections.abc import Callable

    from fdetect.metadata.ledger import Ledger, Part

__all__ = ["MEANINGS", "Claim", "Metadata", "read_metadata"]


def read_metadata(data: bytes) -> Metadata:
    """Read the claims of one file from its bytes; never raises, whatever they are.

    What is damaged, too large or not understood is told in `problems`, and the other parts are read.  Time and memory
    are bounded: some seconds and some tens of megabytes for the worst of files, milliseconds for others.
    """
    from fdetect.metadata.claiming import claims_of
    from fdetect.metadata.containers import walk
    from fdetect.metadata.ledger import Ledger
    from fdetect.metadata.manifest_bytes import manifest_size
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
    claims = claims_of(ledger)
    return Metadata(claims, tuple(ledger.problems))


def _read(part: Part, ledger: Ledger) -> None:
    from fdetect.metadata.exif import read_exif
    from fdetect.metadata.iptc import read_iptc, read_photoshop
    from fdetect.metadata.ledger import text_of
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
