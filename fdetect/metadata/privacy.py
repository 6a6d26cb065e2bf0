"""Which fields are told to be there and not repeated, by their names: the rule of the package's docstring.

Names are those of EXIF, XMP and IPTC, and of the PNG texts that programs copy from them ("exif:GPSLatitude").
Sources: Exif 3.0 (CIPA DC-008-2023), 4.6; IPTC Photo Metadata Standard (2023); Metadata Working Group, Guidelines 2.0
(2010), image regions.
"""

from __future__ import annotations

import re

__all__ = ["WITHHELD", "is_private"]

WITHHELD = "it states one (not repeated here)"

_PRIVATE = re.compile(
    r"(?i:GPS|Latitude|Longitude|Location|Province|Country)|City(?![a-z])|(?:\A|[:/])State\Z"  # places; no "Opacity"
    r"|(?i:Serial ?Number|Host ?Computer)"  # devices
    r"|(?i:Owner ?Name|Contact|PersonInImage|PersonDisplayName|RegionList)"  # persons, unless as the author
)


def is_private(name: str) -> bool:
    """Whether a field's name, or a part of its path in XMP, is that of a place, a device or a person."""
    return _PRIVATE.search(name) is not None
