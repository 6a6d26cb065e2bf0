"""Claims of IPTC-IIM, the records that newsrooms keep, on their own or among Photoshop's resources.

Source: IPTC-NAA Information Interchange Model 4.2 (2014).
"""

from __future__ import annotations

import struct

from fdetect.metadata.ledger import TEXT, Ledger, text_of
from fdetect.metadata.photoshop import resources

__all__ = ["read_iptc", "read_photoshop"]

_RECORDS = 1 << 10  # data sets of a file: long lists of keywords have a hundred
_IPTC_RESOURCE = 0x0404
_NAMES = {
    5: "Object Name", 7: "Edit Status", 10: "Urgency", 15: "Category", 20: "Supplemental Category", 25: "Keywords",
    26: "Content Location Code", 27: "Content Location Name", 40: "Special Instructions", 55: "Date Created",
    60: "Time Created", 62: "Digital Creation Date", 63: "Digital Creation Time", 65: "Originating Program",
    70: "Program Version", 80: "By-line", 85: "By-line Title", 90: "City", 92: "Sub-location", 95: "Province/State",
    100: "Country Code", 101: "Country", 103: "Original Transmission Reference", 105: "Headline", 110: "Credit",
    115: "Source", 116: "Copyright Notice", 118: "Contact", 120: "Caption", 122: "Writer/Editor",
}  # fmt: skip


def read_photoshop(data: bytes, ledger: Ledger) -> None:
    """Read the IPTC records among Photoshop's resources; the other resources say nothing of the kind."""
    for number, start, end in resources(data, ledger):
        if number == _IPTC_RESOURCE:
            read_iptc(data[start:end], ledger)


def read_iptc(data: bytes, ledger: Ledger) -> None:
    """Read the data sets of record 2, the description of the object."""
    at = 0
    for _ in range(_RECORDS):
        if at + 5 > len(data) or data[at] != 0x1C:
            break
        record, number, size = struct.unpack_from(">BBH", data, at + 1)
        at += 5
        if size & 0x8000:  # the length of the length
            wide = size & 0x7FFF
            if wide > 8 or at + wide > len(data):
                return ledger.problem("an IPTC record has no readable length")
            size, at = int.from_bytes(data[at : at + wide], "big"), at + wide
        if at + size > len(data):
            ledger.problem("its IPTC records are cut")
        if record == 2 and number:  # 2:00 is the version
            ledger.add("IPTC", _NAMES.get(number, f"2:{number:03}"), text_of(data[at : at + min(size, TEXT)]))
        at += size
    else:
        ledger.problem(f"it has more than {_RECORDS} IPTC records; the others are not read")
    if at < len(data) and data[at:].strip(b"\0"):
        ledger.problem("its IPTC records are damaged")
