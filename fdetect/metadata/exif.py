"""Claims of EXIF: who and what made the picture, when, with what exposure, and the texts that programs put there.

What points to a place, a device or a person is told to be there and not repeated: GPS, serial numbers, the owner, the
computer.
Source: Exif 3.0 (CIPA DC-008-2023), 4.6; the XP tags are Microsoft's.
"""

from __future__ import annotations

from fdetect.metadata.ledger import Ledger, text_of
from fdetect.metadata.privacy import WITHHELD
from fdetect.metadata.tiff import Directory, directory, first_directory

__all__ = ["read_exif"]

_MAIN = {
    0x010E: "ImageDescription", 0x010F: "Make", 0x0110: "Model", 0x0131: "Software", 0x013B: "Artist",
    0x8298: "Copyright", 0x0132: "DateTime", 0x013C: "HostComputer", 0x010D: "DocumentName",
    0x000B: "ProcessingSoftware",
    0x9C9B: "XPTitle", 0x9C9C: "XPComment", 0x9C9D: "XPAuthor", 0x9C9E: "XPKeywords", 0x9C9F: "XPSubject",
}  # fmt: skip
_EXIF = {
    0x9003: "DateTimeOriginal", 0x9004: "DateTimeDigitized", 0x9286: "UserComment", 0x829A: "ExposureTime",
    0x829D: "FNumber", 0x8827: "ISOSpeedRatings", 0x920A: "FocalLength", 0xA433: "LensMake", 0xA434: "LensModel",
    0xA436: "ImageTitle", 0xA437: "Photographer", 0xA438: "ImageEditor", 0xA439: "CameraFirmware",
    0xA43A: "RAWDevelopingSoftware", 0xA43B: "ImageEditingSoftware", 0xA43C: "MetadataEditingSoftware",
}  # fmt: skip
_PRIVATE = {0xA430: "CameraOwnerName", 0xA431: "BodySerialNumber", 0xA435: "LensSerialNumber"}
_CODES = {
    0xA300: ("FileSource", {1: "film scanner", 2: "print scanner", 3: "digital camera"}),
    0xA460: ("CompositeImage", {2: "composite of several pictures", 3: "several exposures, joined when taken"}),
}
_EXIF_POINTER, _GPS_POINTER, _MAKER_NOTE, _USER_COMMENT = 0x8769, 0x8825, 0x927C, 0x9286


def read_exif(data: bytes, ledger: Ledger) -> None:
    """Read the main directory and the one of EXIF; the thumbnail's and the maker's own are left alone."""
    data = data.removeprefix(b"Exif\0\0")
    main = first_directory(data, ledger)
    if main is None:
        return
    _read(main, _MAIN, ledger)
    start = main.number(_EXIF_POINTER)
    exif = None if start is None else directory(data, start, main.order, main.big, ledger)
    for found in (main, exif):  # some writers put the second's tags into the first
        if found is not None:
            _read(found, _EXIF, ledger)
            _read_codes(found, ledger)
    if _GPS_POINTER in main:
        ledger.add("EXIF", "GPSInfo", WITHHELD)


def _read(found: Directory, names: dict[int, str], ledger: Ledger) -> None:
    for tag, name in names.items():
        if tag not in found:
            continue
        what = f"its EXIF tag {name}"
        if tag == _USER_COMMENT:
            text = _comment(found.raw(tag, what, ledger), found.order)
        elif name.startswith("XP"):
            text = found.raw(tag, what, ledger).decode("utf-16-le", "replace")
        else:
            text = found.text(tag, what, ledger)
        ledger.add("EXIF", name, text)


def _read_codes(found: Directory, ledger: Ledger) -> None:
    for tag, name in _PRIVATE.items():
        if tag in found:
            ledger.add("EXIF", name, WITHHELD)
    for tag, (name, words) in _CODES.items():
        code = found.raw(tag, f"its EXIF tag {name}", ledger)[:2] if tag in found else b""
        ledger.add("EXIF", name, words.get(next((byte for byte in code if byte), 0), ""))
    if _MAKER_NOTE in found:
        body = found.raw(_MAKER_NOTE, "its EXIF tag MakerNote", ledger).strip(b"\0")
        word = body.decode("ascii") if body.isalnum() and len(body) <= 40 else ""  # Fooocus keeps a word there
        ledger.add("EXIF", "MakerNote", word or f"{found.entries[_MAKER_NOTE][1]} bytes of the maker's own (not read)")


def _comment(body: bytes, order: str) -> str:
    """Decode a UserComment: eight bytes name its code, and "UNICODE" is UTF-16 in whichever order."""
    code, text = body[:8], body[8:]
    if code[:7] != b"UNICODE":
        known = code in (b"ASCII\0\0\0", b"JIS\0\0\0\0\0", bytes(8))
        return text_of((text if known else body).rstrip(b"\0"))
    if text[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return text.decode("utf-16", "replace")
    # most writers use their own order, not the directory's: Latin letters have their zero byte first or second
    first, second = text[:200:2].count(0), text[1:200:2].count(0)
    little = second > first if first != second else order == "<"
    return text.decode("utf-16-le" if little else "utf-16-be", "replace")
