"""Rare but well-formed bytes: UTF-8 of Exif 3.0, fill bytes between JPEG segments, manifests in every TIFF and box."""

from __future__ import annotations

import struct

import pytest
from metadata_files import box, chunk, gif, jpeg, png, saved, segment, tiff

from fdetect.metadata import read_metadata
from fdetect.metadata.manifest_bytes import manifest_size
from fdetect.metadata.thumbnail_bytes import find_thumbnails

MANIFEST = box(b"jumb", box(b"jumd", b"c2pa", bytes(13)), bytes(40))
IN_JPEG = segment(0xEB, b"JP" + struct.pack(">HI", 1, 1) + MANIFEST)
UUID = bytes.fromhex("d8fec3d61b0e483c92975828877ec481")


@pytest.mark.parametrize("kind", [2, 129])
@pytest.mark.parametrize("big", [False, True])
def test_exif_text_in_ascii_and_utf_8(kind: int, big: bool) -> None:
    text = b"ComfyUI 0.3.1\0"
    (claim,) = read_metadata(tiff((0x131, kind, len(text), text), big=big)).claims
    assert (claim.name, claim.value, claim.meaning) == ("Software", "ComfyUI 0.3.1", "generated")


def test_exif_utf_8_beyond_ascii_and_inline() -> None:
    name = "Zoë Öl".encode()
    told = read_metadata(tiff((0x13B, 129, len(name), name), (0x131, 129, 3, "é".encode() + b"\0")))
    assert told.problems == ()
    assert {claim.name: claim.value for claim in told.claims} == {"Artist": "Zoë Öl", "Software": "é"}


@pytest.mark.parametrize("kind", [0, 14, 15, 19, 128, 130, 65535])
def test_a_type_that_is_not_known_is_told(kind: int) -> None:
    told = read_metadata(tiff((0x131, kind, 9, b"GIMP 2.1\0"), (0x13B, 2, 3, b"Me\0")))
    assert told.problems == (f"its EXIF tag Software is not read: its type {kind} is not known",)
    assert [claim.value for claim in told.claims] == ["Me"]


@pytest.mark.parametrize("fill", [b"", b"\xff", b"\xff" * 7])
def test_fill_bytes_before_a_segment_hide_no_manifest(fill: bytes) -> None:
    assert manifest_size(jpeg(fill + IN_JPEG)) == len(MANIFEST)


@pytest.mark.parametrize("fill", [b"", b"\xff", b"\xff" * 7])
def test_fill_bytes_before_a_segment_hide_no_thumbnail(fill: bytes) -> None:
    small = saved("JPEG")
    (found,) = find_thumbnails(jpeg(fill + segment(0xE0, b"JFXX\0\x10" + small)))
    assert (found.kind, found.jpeg) == ("JFIF thumbnail", small)


def test_a_manifest_after_the_picture_has_begun_is_none() -> None:
    assert manifest_size(jpeg(after=IN_JPEG)) == 0


@pytest.mark.parametrize(
    "make",
    [
        lambda: tiff((0xCD41, 7, len(MANIFEST), MANIFEST)),
        lambda: tiff((0xCD41, 7, len(MANIFEST), MANIFEST), big=True),
        lambda: tiff((0xCD41, 7, len(MANIFEST), MANIFEST), order=">", big=True),
        lambda: png(chunk(b"caBX", MANIFEST)),
        lambda: gif(b"!\xff\x0bC2PA_GIF\1\0\0" + bytes([len(MANIFEST)]) + MANIFEST + b"\0"),
        lambda: box(b"ftyp", b"avif") + box(b"uuid", UUID, MANIFEST),
        lambda: box(b"ftyp", b"avif") + struct.pack(">I", 1) + b"uuid" + struct.pack(">Q", 32 + len(MANIFEST)) + UUID
        + MANIFEST,
        lambda: b"RIFF" + struct.pack("<I", 12 + len(MANIFEST)) + b"WEBPC2PA" + struct.pack("<I", len(MANIFEST))
        + MANIFEST,
    ],
    ids=["TIFF", "BigTIFF", "BigTIFF, big-endian", "PNG", "GIF", "boxes", "boxes of 64 bits", "WebP"],
)  # fmt: skip
def test_the_size_of_a_manifest_in_each_format(make) -> None:
    data = make()
    assert len(MANIFEST) < 256
    assert manifest_size(data) == len(MANIFEST)


@pytest.mark.parametrize(
    "head",
    [
        b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 1000) + b"caBX",
        b"RIFF\xff\xff\0\0WEBPC2PA" + struct.pack("<I", 1000),
        box(b"ftyp", b"avif") + struct.pack(">I", 1024) + b"uuid" + UUID,
    ],
    ids=["PNG", "WebP", "boxes"],
)
def test_of_a_cut_manifest_what_the_file_holds_is_counted(head: bytes) -> None:
    assert manifest_size(head + bytes(60)) == 60
