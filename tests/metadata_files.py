"""Small files with metadata for tests: by Pillow where it can write them, by hand where it cannot."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

from PIL import ExifTags, Image
from PIL.PngImagePlugin import PngInfo

TAGS = {name: tag for tag, name in ExifTags.TAGS.items()} | {"ImageEditor": 0xA438}
IN_EXIF_DIRECTORY = ("UserComment", "ExposureTime", "FNumber", "DateTimeOriginal", "FileSource", "BodySerialNumber",
                     "MakerNote", "LensModel")  # fmt: skip
NAMESPACES = {
    "x": "adobe:ns:meta/",
    "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
    "dc": "http://purl.org/dc/elements/1.1/",
    "xmp": "http://ns.adobe.com/xap/1.0/",
    "xmpMM": "http://ns.adobe.com/xap/1.0/mm/",
    "xmpNote": "http://ns.adobe.com/xmp/note/",
    "stEvt": "http://ns.adobe.com/xap/1.0/sType/ResourceEvent#",
    "stRef": "http://ns.adobe.com/xap/1.0/sType/ResourceRef#",
    "photoshop": "http://ns.adobe.com/photoshop/1.0/",
    "crs": "http://ns.adobe.com/camera-raw-settings/1.0/",
    "tiff": "http://ns.adobe.com/tiff/1.0/",
    "exif": "http://ns.adobe.com/exif/1.0/",
    "Iptc4xmpExt": "http://iptc.org/std/Iptc4xmpExt/2008-02-29/",
    "Iptc4xmpCore": "http://iptc.org/std/Iptc4xmpCore/1.0/xmlns/",
    "mwg-rs": "http://www.metadataworkinggroup.com/schemas/regions/",
    "GCamera": "http://ns.google.com/photos/1.0/camera/",
    "TC260": "http://www.tc260.org.cn/ns/AIGC/1.0/",
}
IPTC_NUMBERS = {"By-line": 80, "Credit": 110, "Originating Program": 65, "Special Instructions": 40, "Caption": 120}


def picture() -> Image.Image:
    """A picture of 8 x 8 pixels."""
    return Image.new("RGB", (8, 8), (90, 120, 60))


def saved(format: str, **options: Any) -> bytes:
    """The picture as a file that Pillow writes."""
    return written(picture(), format, **options)


def written(image: Image.Image, format: str, **options: Any) -> bytes:
    """An image as a file that Pillow writes."""
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def exif(**values: Any) -> bytes:
    """An EXIF block as Pillow writes it, by the names of the tags."""
    made = Image.Exif()
    for name, value in values.items():
        target = made.get_ifd(ExifTags.IFD.Exif) if name in IN_EXIF_DIRECTORY else made
        target[TAGS[name]] = value
    return made.tobytes()


def xmp(inside: str = "", **properties: str) -> bytes:
    """An XMP packet: properties as attributes ("prefix_name"), and elements."""
    spaces = " ".join(f'xmlns:{prefix}="{uri}"' for prefix, uri in NAMESPACES.items())
    attributes = " ".join(f'{name.replace("_", ":", 1)}="{value}"' for name, value in properties.items())
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
        f'<x:xmpmeta {spaces}><rdf:RDF><rdf:Description rdf:about="" {attributes}>{inside}'
        '</rdf:Description></rdf:RDF></x:xmpmeta>\n  <?xpacket end="w"?>'
    ).encode()


def iptc(*records: tuple[int, bytes]) -> bytes:
    """IPTC records of record 2."""
    return b"".join(struct.pack(">BBBH", 0x1C, 2, number, len(body)) + body for number, body in records)


def resources(records: bytes) -> bytes:
    """Photoshop's resources, one that says nothing and then IPTC."""
    other = b"8BIM\x03\xed\x00\x00" + struct.pack(">I", 3) + b"abc\0"
    return other + b"8BIM\x04\x04\x00\x00" + struct.pack(">I", len(records)) + records + b"\0" * (len(records) % 2)


def segment(marker: int, body: bytes) -> bytes:
    """A JPEG segment."""
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


def jpeg(*segments: bytes, after: bytes = b"") -> bytes:
    """A JPEG with segments after its first mark, and bytes after its end."""
    plain = saved("JPEG")
    return plain[:2] + b"".join(segments) + plain[2:] + after


def chunk(kind: bytes, body: bytes) -> bytes:
    """A PNG chunk."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(*chunks: bytes, after: bytes = b"") -> bytes:
    """A PNG with chunks after its header, and bytes after its end."""
    plain = saved("PNG")
    return plain[:33] + b"".join(chunks) + plain[33:] + after


def gif(*extensions: bytes, after: bytes = b"") -> bytes:
    """A GIF with extensions before its end mark."""
    plain = saved("GIF")
    assert plain[-1:] == b";"
    return plain[:-1] + b"".join(extensions) + b";" + after


def box(kind: bytes, *bodies: bytes) -> bytes:
    """A box of ISO media or JPEG 2000."""
    body = b"".join(bodies)
    return struct.pack(">I", len(body) + 8) + kind + body


def tiff(*entries: tuple[int, int, int, bytes], order: str = "<", big: bool = False) -> bytes:
    """A TIFF of one directory, from (tag, type, count, value); a value of up to four bytes stands inline."""
    code, inline = ("Q", 8) if big else ("I", 4)
    mark = {"<": b"II", ">": b"MM"}[order]
    head = mark + (struct.pack(order + "HHHQ", 43, 8, 0, 16) if big else struct.pack(order + "HI", 42, 8))
    directory = struct.pack(order + ("Q" if big else "H"), len(entries))
    place = len(head) + len(directory) + len(entries) * (20 if big else 12) + inline
    values = b""
    for tag, kind, count, value in entries:
        stands = value.ljust(inline, b"\0") if len(value) <= inline else struct.pack(order + code, place + len(values))
        values += value if len(value) > inline else b""
        directory += struct.pack(order + "HH" + code, tag, kind, count) + stands
    return head + directory + bytes(inline) + values


def file_with(*fields: tuple[str, str, str]) -> bytes:
    """A file that has fields (source, name, text) where they belong: a PNG where one is its text, else a JPEG."""
    by_source: dict[str, list[tuple[str, str]]] = {}
    for source, name, text in fields:
        by_source.setdefault(source, []).append((name, text))
    tags: dict[str, Any] = {name: _of_exif(name, text) for name, text in by_source.get("EXIF", ())}
    block = exif(**tags) if tags else b""
    escaped = {name.replace(":", "_", 1): _escaped(text) for name, text in by_source.get("XMP", ())}
    packet = xmp(**escaped) if escaped else b""
    if "PNG text" in by_source:
        info = PngInfo()
        for name, text in by_source["PNG text"]:
            info.add_text(name, text)
        if packet:
            info.add_itxt("XML:com.adobe.xmp", packet.decode())
        return saved("PNG", pnginfo=info, **({"exif": block} if block else {}))
    segments = [segment(0xE1, block)] if block else []
    segments += [segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + packet)] if packet else []
    records = iptc(*((IPTC_NUMBERS[name], text.encode()) for name, text in by_source.get("IPTC", ())))
    segments += [segment(0xED, b"Photoshop 3.0\0" + resources(records))] if records else []
    segments += [segment(0xFE, text.encode()) for _, text in by_source.get("JPEG comment", ())]
    return jpeg(*segments)


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace('"', "&quot;")


def _of_exif(name: str, text: str) -> Any:
    if name == "UserComment":
        return b"UNICODE\0" + text.encode("utf-16-be")
    if name == "FileSource":
        return bytes([int(text)])
    if name == "MakerNote":
        return text.encode()
    return float(text) if name in ("ExposureTime", "FNumber") else text
