"""From the bytes of a file to the parts of it that hold metadata: PNG, WebP and GIF here, the others by their modules.

One walk from the first byte to the image's end.  A damaged file is walked as far as it can be; what stops the walk is
told.  Bytes after the image's end are told as well: programs do not show them, and phones keep films there.
Sources: PNG 3rd edition (2025), section 11; WebP container specification; GIF89a (1990) and the XMP specification
part 3 (2020), 1.1.2.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from fdetect.metadata.boxes import walk_boxes
from fdetect.metadata.jpeg import walk_jpeg
from fdetect.metadata.parts import STEPS, TEXT, Ledger, Part, inflated
from fdetect.metadata.tiff import walk_tiff
from fdetect.metadata.trailer import tell_trailer

__all__ = ["walk"]

_BLOCKS = 1 << 19  # of a GIF: one of 130 MB has so many
_XMP_IN_PNG = "XML:com.adobe.xmp"
_WHERE = {"eXIf": "exif", "EXIF": "exif", "XMP ": "xmp"}  # of PNG and WebP chunks


def walk(data: bytes, ledger: Ledger) -> Iterator[Part]:
    """Find the parts of a file; damage and formats that are not read go to the ledger's problems."""
    if data[:2] == b"\xff\xd8":
        yield from walk_jpeg(data, ledger)
    elif data[:8] == b"\x89PNG\r\n\x1a\n":
        yield from _png(data, ledger)
    elif data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        yield from _webp(data, ledger)
    elif data[:6] in (b"GIF87a", b"GIF89a"):
        yield from _gif(data, ledger)
    elif data[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        yield from walk_tiff(data, ledger)
    elif data[4:8] in (b"ftyp", b"jP  "):
        yield from walk_boxes(data, ledger)
    else:
        ledger.problem("metadata of this format are not read")


def _png(data: bytes, ledger: Ledger) -> Iterator[Part]:
    at = 8
    for _ in range(STEPS):
        if at + 12 > len(data):
            return ledger.problem("the PNG ends before its end chunk")
        length, kind = struct.unpack_from(">I4s", data, at)
        if kind == b"IEND":
            return tell_trailer(data, at + 12 + length, ledger)
        if kind in (b"tEXt", b"zTXt", b"iTXt", b"eXIf"):
            name = kind.decode()
            if at + 12 + length > len(data):
                return ledger.problem(f"the PNG ends within its chunk {name}")
            if ledger.take(length, f"a chunk {name}"):
                yield from _png_part(name, data[at + 8 : at + 8 + length], ledger)
        at += 12 + length
    ledger.problem(f"the PNG has more than {STEPS} chunks; the others are not read")


def _png_part(kind: str, body: bytes, ledger: Ledger) -> Iterator[Part]:
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
    if name == _XMP_IN_PNG:
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


def _webp(data: bytes, ledger: Ledger) -> Iterator[Part]:
    end = 8 + struct.unpack_from("<I", data, 4)[0]
    at = 12
    for _ in range(STEPS):
        if at + 8 > min(end, len(data)):
            break
        name, length = struct.unpack_from("<4sI", data, at)
        kind = _WHERE.get(name.decode("latin-1"))
        if kind and at + 8 + length > len(data):
            return ledger.problem("the WebP ends within its metadata")
        if kind and ledger.take(length, f"a chunk {name.decode().strip()}"):
            yield Part(kind, data[at + 8 : at + 8 + length])
        at += 8 + length + length % 2
    else:
        return ledger.problem(f"the WebP has more than {STEPS} chunks; the others are not read")
    if end > len(data) + 1:  # some writers leave the last byte of padding out
        return ledger.problem("the WebP is shorter than its header says")
    tell_trailer(data, end + end % 2, ledger)


def _gif(data: bytes, ledger: Ledger) -> Iterator[Part]:
    if len(data) < 13:
        return ledger.problem("the GIF ends within its header")
    at = 13 + (3 << (data[10] & 7) + 1 if data[10] & 0x80 else 0)
    steps = _BLOCKS
    while at < len(data) and steps > 0:
        mark = data[at : at + 1]
        if mark == b";":
            return tell_trailer(data, at + 1, ledger)
        if mark == b"!":
            label, start = data[at + 1 : at + 2], at + 2
        elif mark == b"," and at + 10 < len(data):
            label, flags = b"", data[at + 9]
            start = at + 11 + (3 << (flags & 7) + 1 if flags & 0x80 else 0)
        else:
            return ledger.problem("the GIF is damaged: a block of no known kind")
        at, steps = _after_blocks(data, start, steps)
        if label == b"\xfe" and ledger.take(at - start, "a GIF comment"):
            yield Part("text", _joined(data, start, at)[:TEXT], "GIF comment", "comment")
        elif label == b"\xff" and data[start : start + 12] == b"\x0bXMP DataXMP" and ledger.take(at - start, "XMP"):
            # the packet stands there unblocked; the 258 bytes after it lead any reader of blocks to the end
            yield Part("xmp", data[start + 12 : max(at - 258, start + 12)])
    why = "the GIF ends before its end mark" if steps > 0 else f"the GIF has more than {_BLOCKS} blocks"
    ledger.problem(why)


def _after_blocks(data: bytes, at: int, steps: int) -> tuple[int, int]:
    while at < len(data) and data[at] and steps > 0:
        at, steps = at + 1 + data[at], steps - 1
    return at + 1, steps - 1


def _joined(data: bytes, at: int, end: int) -> bytes:
    blocks = []
    while at < min(end, len(data)) and data[at]:
        blocks.append(data[at + 1 : at + 1 + data[at]])
        at += 1 + data[at]
    return b"".join(blocks)
