"""Claims of XMP: every property of a packet as one name and its text, whatever structure it stands in.

XMP is RDF in XML.  No document type, no entity and no external reference is allowed (defusedxml); no tree is built,
and sizes, elements and depth have their most.  Names have the customary prefix of their namespace, whatever prefix the
writer chose; properties of a structure follow a slash, as in "xmpMM:History/stEvt:softwareAgent".
Source: XMP specification parts 1 (2012) and 3 (2020), 1.1.3.1 for extended XMP.
"""

from __future__ import annotations

from collections.abc import Iterable

from fdetect.metadata.ledger import Ledger
from fdetect.metadata.privacy import WITHHELD, is_private

__all__ = ["joined_extension", "read_xmp"]

_PACKET = 1 << 22  # bytes: extended packets with a depth map have as much
_DEPTH = 100
_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_UNNAMED = {f"{{{_RDF}}}{name}" for name in ("RDF", "Description", "Seq", "Bag", "Alt", "li", "value")}
_UNNAMED |= {"{adobe:ns:meta/}xmpmeta", "{adobe:ns:meta/}xapmeta"}
_SKIPPED = {f"{{{_RDF}}}{name}" for name in ("about", "parseType", "ID", "nodeID", "datatype")}
_SKIPPED.add("{http://www.w3.org/XML/1998/namespace}lang")
_PREFIXES = {
    _RDF: "rdf",
    "adobe:ns:meta/": "x",
    "http://purl.org/dc/elements/1.1/": "dc",
    "http://purl.org/dc/terms/": "dcterms",
    "http://ns.adobe.com/xap/1.0/": "xmp",
    "http://ns.adobe.com/xap/1.0/mm/": "xmpMM",
    "http://ns.adobe.com/xap/1.0/rights/": "xmpRights",
    "http://ns.adobe.com/xap/1.0/sType/ResourceEvent#": "stEvt",
    "http://ns.adobe.com/xap/1.0/sType/ResourceRef#": "stRef",
    "http://ns.adobe.com/xmp/note/": "xmpNote",
    "http://ns.adobe.com/photoshop/1.0/": "photoshop",
    "http://ns.adobe.com/camera-raw-settings/1.0/": "crs",
    "http://ns.adobe.com/tiff/1.0/": "tiff",
    "http://ns.adobe.com/exif/1.0/": "exif",
    "http://ns.adobe.com/exif/1.0/aux/": "aux",
    "http://cipa.jp/exif/1.0/": "exifEX",
    "http://iptc.org/std/Iptc4xmpCore/1.0/xmlns/": "Iptc4xmpCore",
    "http://iptc.org/std/Iptc4xmpExt/2008-02-29/": "Iptc4xmpExt",
    "http://ns.google.com/photos/1.0/camera/": "GCamera",
    "http://ns.google.com/photos/1.0/container/": "Container",
    "http://ns.google.com/photos/1.0/container/item/": "Item",
    "http://www.tc260.org.cn/ns/AIGC/1.0/": "TC260",
}


class _TooMuchError(Exception):
    """The packet has more elements, or deeper ones, than are read."""


class _Properties:
    """What the parser tells, made into fields as it comes."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        # of each open element: the path so far, whether a part of it is private, and the text
        self._open: list[tuple[str, bool, list[str]]] = []
        self._prefixes = dict(_PREFIXES)

    def start_ns(self, prefix: str, uri: str) -> None:
        if uri not in self._prefixes and len(self._prefixes) < 1000:
            taken = prefix in self._prefixes.values()  # a foreign namespace under a known prefix
            self._prefixes[uri] = f"{prefix}({uri[:60]})" if taken or not prefix else prefix

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        self._ledger.elements_left -= 1 + len(attributes)
        if self._ledger.elements_left < 0 or len(self._open) >= _DEPTH:
            raise _TooMuchError
        path, private, _ = self._open[-1] if self._open else ("", False, [])
        if tag not in _UNNAMED:
            named = self._named(tag)
            path, private = f"{path}/{named}"[:400], private or is_private(named)
        self._open.append((path, private, []))
        for name, value in attributes.items():
            if name == f"{{{_RDF}}}resource":
                self._add(path, private, value)
            elif name not in _SKIPPED:
                named = self._named(name)
                self._add(f"{path}/{named}", private or is_private(named), value)

    def data(self, text: str) -> None:
        if self._open:
            self._open[-1][2].append(text)

    def end(self, tag: str) -> None:
        path, private, texts = self._open.pop()
        if path:
            self._add(path, private, "".join(texts))

    def close(self) -> None:
        self._open.clear()

    def _named(self, tag: str) -> str:
        uri, _, local = tag[1:].rpartition("}") if tag[:1] == "{" else ("", "", tag)
        return f"{self._prefixes.get(uri, uri)}:{local}" if uri else local

    def _add(self, path: str, private: bool, value: str) -> None:
        self._ledger.add("XMP", path.lstrip("/"), WITHHELD if private and value.strip() else value)


def read_xmp(packet: bytes, ledger: Ledger, *, what: str = "its XMP packet") -> None:
    """Read one packet; what stands before the fault of a damaged one is kept."""
    wide = packet[:2] in (b"\xff\xfe", b"\xfe\xff")  # UTF-16, of whose letters NULs are a half
    packet = packet if wide else packet.strip(b"\0 \t\r\n")
    if len(packet) > _PACKET:
        return ledger.problem(f"{what} is not read: it has {len(packet)} bytes, above the limit of {_PACKET}")
    if not packet:
        return None
    from defusedxml.common import DefusedXmlException
    from defusedxml.ElementTree import ParseError, XMLParser

    parser = XMLParser(target=_Properties(ledger), forbid_dtd=True, forbid_entities=True, forbid_external=True)
    try:
        parser.feed(packet)
        parser.close()
    except _TooMuchError:
        ledger.problem(f"{what} is cut: it has too many elements, or more than {_DEPTH} in each other")
    except DefusedXmlException:
        ledger.problem(f"{what} is not read on: it declares a document type or entities, as attacks do")
    except ParseError as error:
        ledger.problem(f"{what} is not well-formed XML: {error}")
    except (LookupError, ValueError):
        ledger.problem(f"{what} is not read: it is in an unknown encoding")


def joined_extension(segments: Iterable[bytes], ledger: Ledger) -> bytes:
    """Join the segments of extended XMP: 32 characters of a digest, its length and this one's place, then its bytes."""
    pieces: dict[bytes, dict[int, bytes]] = {}
    lengths: dict[bytes, int] = {}
    for body in segments:
        if len(body) >= 40:
            digest, place = body[:32], int.from_bytes(body[36:40], "big")
            lengths[digest] = int.from_bytes(body[32:36], "big")
            pieces.setdefault(digest, {})[place] = body[40:]
    for digest, found in pieces.items():
        joined = b"".join(found[place] for place in sorted(found))
        if len(joined) == lengths[digest]:
            return joined
    if pieces:
        ledger.problem("its extended XMP is incomplete")
    return b""
