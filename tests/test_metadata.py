"""Metadata of well-formed files: each format, each kind, read as what another program wrote."""

from __future__ import annotations

import csv
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import pytest
from metadata_files import (
    box,
    chunk,
    exif,
    file_with,
    gif,
    iptc,
    jpeg,
    picture,
    png,
    resources,
    saved,
    segment,
    tiff,
    written,
    xmp,
)
from PIL import Image, features
from PIL.PngImagePlugin import PngInfo
from PIL.TiffImagePlugin import IFDRational

from fdetect.metadata import Claim, Metadata, read_metadata
from fdetect.metadata.claims import LONGEST

XMP_MARK = b"http://ns.adobe.com/xap/1.0/\0"
TOOL = xmp(xmp_CreatorTool="Some Tool 1.0")
TAGS = {"Make": "Canon", "Model": "Canon EOS R5", "Software": "Firmware 1.8", "Artist": "A. Name",
        "ExposureTime": IFDRational(1, 125), "FNumber": 2.8, "DateTimeOriginal": "2024:05:01 10:00:00"}  # fmt: skip

needs_avif = pytest.mark.skipif(not features.check("avif"), reason="this Pillow was built without AVIF")
FORMATS = ["JPEG", "PNG", "WEBP", "TIFF", pytest.param("AVIF", marks=needs_avif)]


def values(told: Metadata, source: str) -> dict[str, str]:
    assert told.problems == ()
    return {claim.name: claim.value for claim in told.claims if claim.source == source}


@pytest.mark.parametrize("format", [*FORMATS, "GIF"])
def test_a_file_without_metadata_claims_nothing(format: str) -> None:
    assert read_metadata(saved(format)) == Metadata()


@pytest.mark.parametrize("format", ["BMP", "PPM"])
def test_a_format_that_is_not_read_is_told(format: str) -> None:
    assert read_metadata(saved(format)).problems == ("metadata of this format are not read",)


# -- EXIF -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("format", FORMATS)
def test_exif_in_each_format(format: str) -> None:
    told = read_metadata(saved(format, exif=exif(**TAGS)))
    found = values(told, "EXIF")
    assert {name: found[name] for name in ("Make", "Model", "Software", "Artist", "DateTimeOriginal")} == {
        name: TAGS[name] for name in ("Make", "Model", "Software", "Artist", "DateTimeOriginal")
    }
    assert found["ExposureTime"] == "1/125"
    assert {claim.name for claim in told.claims if claim.meaning == "camera"} == {"Make", "Model"}


@pytest.mark.parametrize(
    "body",
    [
        b"ASCII\0\0\0a caf\xc3\xa9 by the sea",
        b"ASCII\0\0\0a caf\xe9 by the sea\0\0",
        b"UNICODE\0" + "a café by the sea".encode("utf-16-be"),
        b"UNICODE\0" + "a café by the sea".encode("utf-16-le"),
        b"UNICODE\0" + "a café by the sea".encode("utf-16"),
        bytes(8) + b"a caf\xe9 by the sea",
        b"a caf\xc3\xa9 by the sea",  # without the code that must stand there
    ],
)
def test_a_user_comment_is_read_in_each_code(body: bytes) -> None:
    assert values(read_metadata(saved("JPEG", exif=exif(UserComment=body))), "EXIF") == {
        "UserComment": "a café by the sea"
    }


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("big", [False, True])
def test_a_tiff_in_either_order_and_size(order: str, big: bool) -> None:
    data = tiff((0x131, 2, 9, b"GIMP 2.1\0"), (0x13B, 2, 3, b"Me\0"), order=order, big=big)
    assert values(read_metadata(data), "EXIF") == {"Software": "GIMP 2.1", "Artist": "Me"}


def test_microsofts_tags_are_utf_16() -> None:
    data = tiff((0x9C9C, 1, 8, "çok!".encode("utf-16-le")))
    assert values(read_metadata(data), "EXIF") == {"XPComment": "çok!"}


def test_places_and_numbers_of_devices_are_told_but_not_repeated() -> None:
    made = Image.Exif()
    made.get_ifd(0x8825).update({1: "N", 2: (48.0, 51.0, 29.6), 3: "E", 4: (2.0, 17.0, 40.2)})
    made.get_ifd(0x8769)[0xA431] = "SN12345678"
    packet = xmp(exif_GPSLatitude="48,51.4933N", exif_GPSLongitude="2,17.67E")
    told = read_metadata(saved("JPEG", exif=made.tobytes(), xmp=packet))
    assert values(told, "EXIF") == {
        "GPSInfo": "it states one (not repeated here)",
        "BodySerialNumber": "it states one (not repeated here)",
    }
    assert set(values(told, "XMP")) == {"exif:GPSLatitude", "exif:GPSLongitude"}
    assert not any(secret in repr(told) for secret in ("51", "17", "SN12345678", "29.6", "2,"))


# -- XMP --------------------------------------------------------------------------------------------------------------


def boxed_item(content: bytes, kind: bytes, mime: bytes = b"") -> bytes:
    """A HEIF file with one item, as ISO/IEC 14496-12 draws it."""
    head = box(b"ftyp", b"heic", bytes(4), b"mif1")
    entry = box(b"infe", b"\2\0\0\0", struct.pack(">HH", 7, 0), kind, b"\0", mime + b"\0" if mime else b"")
    names = box(b"iinf", bytes(4), struct.pack(">H", 1), entry)

    def placed(at: int) -> bytes:
        piece = struct.pack(">HHHII", 7, 0, 1, at, len(content))
        return box(b"meta", bytes(4), names, box(b"iloc", bytes(4), b"\x44\x00", struct.pack(">H", 1), piece))

    return head + placed(len(head) + len(placed(0)) + 8) + box(b"mdat", content)


GIF_XMP = b"!\xff\x0bXMP DataXMP" + TOOL + b"\1" + bytes(range(255, -1, -1)) + b"\0"
HEX = b"\nxmp\n%8d\n" % len(TOOL) + TOOL.hex().encode()
JP2_XMP = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")
WITH_XMP = {
    "JPEG": lambda: jpeg(segment(0xE1, XMP_MARK + TOOL)),
    "JPEG by Pillow": lambda: saved("JPEG", xmp=TOOL),
    "PNG": lambda: png(chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + TOOL)),
    "PNG packed": lambda: png(chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(TOOL))),
    "PNG in hexadecimal": lambda: png(chunk(b"zTXt", b"Raw profile type xmp\0\0" + zlib.compress(HEX))),
    "WEBP": lambda: saved("WEBP", xmp=TOOL),
    "TIFF": lambda: tiff((700, 1, len(TOOL), TOOL)),
    "GIF": lambda: gif(GIF_XMP),
    "JPEG 2000": lambda: box(b"jP  ", b"\r\n\x87\n") + box(b"uuid", JP2_XMP, TOOL),
    "HEIF": lambda: boxed_item(TOOL, b"mime", b"application/rdf+xml"),
    "UTF-16": lambda: jpeg(segment(0xE1, XMP_MARK + TOOL.decode().replace("\ufeff", "").encode("utf-16"))),
}  # fmt: skip


@pytest.mark.parametrize("kind", WITH_XMP)
def test_xmp_in_each_format(kind: str) -> None:
    assert values(read_metadata(WITH_XMP[kind]()), "XMP") == {"xmp:CreatorTool": "Some Tool 1.0"}


@needs_avif
def test_xmp_and_exif_of_an_avif_file() -> None:
    told = read_metadata(saved("AVIF", xmp=TOOL, exif=exif(Make="Canon")))
    assert values(told, "XMP") == {"xmp:CreatorTool": "Some Tool 1.0"}
    assert values(told, "EXIF") == {"Make": "Canon"}


def test_exif_of_a_heif_file_stands_behind_an_offset() -> None:
    block = exif(Make="Canon").removeprefix(b"Exif\0\0")
    for before in (b"", b"Exif\0\0"):
        content = struct.pack(">I", len(before)) + before + block
        assert values(read_metadata(boxed_item(content, b"Exif")), "EXIF") == {"Make": "Canon"}


def test_structures_of_xmp_become_paths() -> None:
    inside = """
      <dc:creator><rdf:Seq><rdf:li>First</rdf:li><rdf:li>Second</rdf:li></rdf:Seq></dc:creator>
      <dc:description><rdf:Alt><rdf:li xml:lang="x-default">A hill</rdf:li></rdf:Alt></dc:description>
      <xmpMM:DerivedFrom rdf:parseType="Resource"><stRef:documentID>one</stRef:documentID></xmpMM:DerivedFrom>
      <xmpMM:History><rdf:Seq>
        <rdf:li stEvt:action="created" stEvt:softwareAgent="Adobe Photoshop 25.0"/>
        <rdf:li rdf:parseType="Resource"><stEvt:softwareAgent>Adobe Firefly</stEvt:softwareAgent></rdf:li>
      </rdf:Seq></xmpMM:History>
      <foo:bar xmlns:foo="http://example.org/foo">42</foo:bar>
      <xmp:Page rdf:resource="http://example.org/page"/>"""
    told = read_metadata(jpeg(segment(0xE1, XMP_MARK + xmp(inside, GCamera_MotionPhoto="1"))))
    assert told.problems == ()
    assert [(claim.name, claim.value, claim.meaning) for claim in told.claims] == [
        ("xmpMM:History/stEvt:softwareAgent", "Adobe Firefly", "generated"),
        ("xmpMM:History/stEvt:softwareAgent", "Adobe Photoshop 25.0", "edited"),
        ("GCamera:MotionPhoto", "1", ""),
        ("dc:creator", "First", ""),
        ("dc:creator", "Second", ""),
        ("dc:description", "A hill", ""),
        ("xmpMM:DerivedFrom/stRef:documentID", "one", ""),
        ("xmpMM:History/stEvt:action", "created", ""),
        ("foo:bar", "42", ""),
        ("xmp:Page", "http://example.org/page", ""),
    ]


def test_extended_xmp_is_joined() -> None:
    long = xmp(f"<dc:description>{'word ' * 20_000}</dc:description>")
    pieces = [(at, long[at : at + 60_000]) for at in range(0, len(long), 60_000)]
    segments = [
        segment(0xE1, b"http://ns.adobe.com/xmp/extension/\0" + b"A" * 32 + struct.pack(">II", len(long), at) + piece)
        for at, piece in reversed(pieces)
    ]
    assert len(segments) > 1
    told = read_metadata(jpeg(segment(0xE1, XMP_MARK + xmp(xmpNote_HasExtendedXMP="A" * 32)), *segments))
    assert set(values(told, "XMP")) == {"xmpNote:HasExtendedXMP", "dc:description"}
    cut = read_metadata(jpeg(*segments[1:]))
    assert cut == Metadata((), ("its extended XMP is incomplete",))


# -- texts and IPTC ---------------------------------------------------------------------------------------------------


def test_texts_of_png_packed_or_not() -> None:
    info = PngInfo()
    info.add_text("Plain", "a house")
    info.add_text("Packed", "a hill", zip=True)
    info.add_itxt("International", "ein Hügel", "de", "Titel")
    info.add_itxt("Both", "東京", zip=True)
    found = values(read_metadata(saved("PNG", pnginfo=info)), "PNG text")
    assert found == {"Plain": "a house", "Packed": "a hill", "International": "ein Hügel", "Both": "東京"}


def test_comments_of_jpeg_and_gif() -> None:
    assert values(read_metadata(saved("JPEG", comment="made by hand")), "JPEG comment") == {"comment": "made by hand"}
    assert values(read_metadata(saved("GIF", comment=b"long " * 100)), "GIF comment") == {
        "comment": " ".join(["long"] * 100)[:LONGEST] + "… (499 characters in all)"
    }


def test_an_animated_gif_is_walked_to_its_end() -> None:
    frames = [picture().point(lambda v, k=k: (v + 40 * k) % 256) for k in range(3)]
    data = saved("GIF", save_all=True, append_images=frames, comment=b"three more")
    assert values(read_metadata(data), "GIF comment") == {"comment": "three more"}


PHOTOSHOP = b"Photoshop 3.0\0"
RECORDS = iptc((80, b"A. Name"), (110, b"Agency"), (25, b"sea"), (25, b"sky"), (231, b"?"), (120, "Öl".encode()))
IPTC_HEX = b"\niptc\n 9\n" + resources(RECORDS).hex().encode()
IPTC_VALUES = [("By-line", "A. Name"), ("Credit", "Agency"), ("Keywords", "sea"), ("Keywords", "sky"),
               ("2:231", "?"), ("Caption", "Öl")]  # fmt: skip


@pytest.mark.parametrize(
    "make",
    [
        lambda: jpeg(segment(0xED, PHOTOSHOP + resources(RECORDS))),
        lambda: jpeg(*(segment(0xED, PHOTOSHOP + half) for half in (resources(RECORDS)[:30], resources(RECORDS)[30:]))),
        lambda: tiff((33723, 1, len(RECORDS), RECORDS)),
        lambda: tiff((34377, 1, len(resources(RECORDS)), resources(RECORDS))),
        lambda: png(chunk(b"zTXt", b"Raw profile type iptc\0\0" + zlib.compress(IPTC_HEX))),
    ],
    ids=["JPEG", "JPEG, two segments", "TIFF", "TIFF, Photoshop", "PNG"],
)
def test_iptc_in_each_format(make) -> None:
    told = read_metadata(make())
    assert told.problems == ()
    assert [(claim.name, claim.value) for claim in told.claims if claim.source == "IPTC"] == IPTC_VALUES


# -- order, doubles, what is not metadata -----------------------------------------------------------------------------


def test_claims_with_a_meaning_come_first_and_each_once() -> None:
    text = [("PNG text", "Author", "Me"), ("PNG text", "Software", "Adobe ImageReady"), ("PNG text", "Author", "Me")]
    made = [
        ("EXIF", "Make", "Canon"),
        ("EXIF", "ExposureTime", "0.01"),
        ("XMP", "photoshop:Credit", "Made with Google AI"),
    ]
    told = read_metadata(file_with(*text, *made))
    assert [(claim.source, claim.name, claim.meaning) for claim in told.claims] == [
        ("XMP", "photoshop:Credit", "generated"),
        ("EXIF", "Make", "camera"),
        ("PNG text", "Software", "edited"),
        ("PNG text", "Author", ""),
        ("EXIF", "ExposureTime", ""),
    ]


def test_a_manifest_is_told_to_be_there() -> None:
    manifest = box(b"jumb", box(b"jumd", b"c2pa", bytes(13)))
    assert read_metadata(png(chunk(b"caBX", manifest))).claims == (
        Claim("C2PA", "manifest", f"{len(manifest)} bytes of Content Credentials"),
    )


MPF = segment(0xE2, b"MPF\0II*\0\x08\0\0\0\0\0\0\0\0\0")
FILM = box(b"ftyp", b"mp42", bytes(4)) + bytes(50)


@pytest.mark.parametrize(
    "make, told",
    [
        (lambda: jpeg(after=saved("JPEG")), "a JPEG picture"),
        (lambda: jpeg(MPF, after=saved("JPEG")), "a further JPEG picture, which its multi-picture index announces"),
        (lambda: jpeg(after=FILM), "a film or picture in boxes (MP4, HEIC): what a motion photo keeps"),
        (lambda: jpeg(after=b"\0\0\x30\x0a\x10\0\0\0MotionPhoto_Data" + FILM), "the film of a motion photo"),
        (lambda: jpeg(after=bytes(1210)), "zeros"),
        (lambda: png(after=b"PK\3\4" + bytes(20)), "a ZIP archive"),
        (lambda: saved("WEBP") + b"%PDF-1.7", "a PDF document"),
        (lambda: gif(after=b"hidden"), "of no known kind"),
    ],
)
def test_bytes_after_the_end_are_told(make, told: str) -> None:
    (claim,) = read_metadata(make()).claims
    assert (claim.source, claim.name, claim.meaning) == ("file", "bytes after the image's end", "")
    assert claim.value.partition(" bytes: ")[2] == told


def test_the_number_of_bytes_after_the_end() -> None:
    for make in (jpeg, png, gif):
        (claim,) = read_metadata(make(after=b"x" * 123)).claims
        assert claim.value == "123 bytes: of no known kind"


def test_an_image_in_many_scans_with_restarts_is_walked_to_its_end() -> None:
    noisy = Image.effect_noise((64, 64), 60).convert("RGB")
    for options in ({"progressive": True}, {"restart_marker_blocks": 1}, {"quality": 100}):
        data = written(noisy, "JPEG", **options)
        assert read_metadata(data) == Metadata()
        assert read_metadata(data + b"abc").claims[0].value == "3 bytes: of no known kind"


def test_nothing_heavy_is_loaded() -> None:
    check = (
        "import fdetect.metadata, sys; print([n for n in ('PIL', 'numpy', 'defusedxml', 'xml') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"


# -- real files -------------------------------------------------------------------------------------------------------


def test_real_photographs_never_claim_to_be_generated_and_originals_claim_a_camera(shared_data: Path) -> None:
    with (shared_data / "manifest.csv").open(encoding="utf-8", newline="") as file:
        reals = [row for row in csv.DictReader(file) if row["label"] == "0"]
    assert reals
    for row in reals:
        told = read_metadata((shared_data / row["path"]).read_bytes())
        meanings = {claim.meaning for claim in told.claims}
        assert told.problems == (), row["path"]
        assert "generated" not in meanings, (row["path"], told.claims[0])
        if row["real_source"] == "metadata_extractor":  # straight from cameras, with their EXIF
            assert "camera" in meanings, row["path"]
