"""The chunks of a PNG file, and those that hold metadata: texts, packed or not, and EXIF.

Sources: PNG 3rd edition (2025), section 11; XMP specification part 3 (2020), 1.1.5; ImageMagick's raw profiles.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from fdetect.metadata.ledger import STEPS, TEXT, Ledger, Part, inflated
from fdetect.metadata.trailer import tell_trailer

__all__ = ["chunks", "walk_png"]

_XMP = "XML:com.adobe.xmp"
_END = b"IEND"


def chunks(data: bytes, ledger: Ledger) -> Iterator[tuple[bytes, int, int]]:
    """Find the chunks: (kind, start, end) of what each holds, IEND last; the end of a cut one lies outside."""
    at = 8
    for _ in range(STEPS):
        if at + 12 > len(data):
            return ledger.problem("the PNG ends before its end chunk")
        length, kind = struct.unpack_from(">I4s", data, at)
        yield kind, at + 8, at + 8 + length
        if kind == _END:
            return None
        at += 12 + length
    return ledger.problem(f"the PNG has more than {STEPS} chunks; the others are not read")


def walk_png(data: bytes, ledger: Ledger) -> Iterator[Part]:
    """Find the parts, as far as the end chunk or the first cut one, which is told."""
    for kind, start, end in chunks(data, ledger):
        if kind == _END:
            tell_trailer(data, end + 4, ledger)  # its CRC
        elif kind in (b"tEXt", b"zTXt", b"iTXt", b"eXIf"):
            name = kind.decode()
            if end + 4 > len(data):
                return ledger.problem(f"the PNG ends within its chunk {name}")
            if ledger.take(end - start, f"a chunk {name}"):
                yield from _parts(name, data[start:end], ledger)
    return None


def _parts(kind: str, body: bytes, ledger: Ledger) -> Iterator[Part]:
    if kind == "eXIf":
        yield Part("exif", body)
        return
    keyword, _, rest = body.partition(b"\0")
    name = keyword[:100].decode("latin-1")
    packed = kind == "zTXt"
    if packed:
        rest = rest[1:]  # the method, of which there is one
    elif kind == "iTXt":
        packed = rest[:1] == b"\1"
        _, _, rest = rest[2:].partition(b"\0")  # the language
        _, _, rest = rest.partition(b"\0")  # the keyword in that language
    if packed:
        rest = inflated(rest, f"the PNG text {name[:40]!r}", ledger)
    if name == _XMP:
        yield Part("xmp", rest)
    elif name.startswith("Raw profile type "):
        yield from _raw_profile(name, rest, ledger)
    else:
        yield Part("text", rest[:TEXT], "PNG text", name)


def _raw_profile(name: str, text: bytes, ledger: Ledger) -> Iterator[Part]:
    """Read what ImageMagick writes: the kind, a length, and the bytes as hexadecimal digits on many lines."""
    kind = name.rpartition(" ")[2].lower()
    try:
        body = bytes.fromhex(b"".join(text.split()[2:]).decode("ascii"))
    except ValueError:
        return ledger.problem(f"the PNG text {name[:40]!r} is not hexadecimal")
    if kind == "xmp" or body.startswith(b"http://ns.adobe.com/xap/1.0/\0"):
        yield Part("xmp", body.removeprefix(b"http://ns.adobe.com/xap/1.0/\0"))
    elif kind in ("exif", "app1"):
        yield Part("exif", body)
    elif kind in ("iptc", "8bim"):
        yield Part("photoshop" if body[:4] == b"8BIM" else "iptc", body)
