"""Embedded thumbnails: built into files here, of the same picture, of another, of a changed one, and hostile."""

from __future__ import annotations

import io
import itertools
import struct
from base64 import b64encode
from pathlib import Path

import naive_same_picture
import numpy as np
import pytest
from PIL import Image, ImageEnhance

from fdetect.metadata.same_picture import SAME, match
from fdetect.metadata.thumbnail_bytes import LARGEST, find_thumbnails
from fdetect.metadata.thumbnails import Thumbnail, embedded_thumbnails


def scene(seed: int, width: int = 480, height: int = 360) -> Image.Image:
    """Smooth colour, edges and fine grain, as a photograph has them, and another one for every seed."""
    rng = np.random.default_rng(seed)
    colours = Image.fromarray(rng.integers(0, 255, (6, 8, 3), dtype=np.uint8))
    image = colours.resize((width, height), Image.Resampling.BICUBIC)
    for _ in range(25):
        x, y = int(rng.integers(width)), int(rng.integers(height))
        size = (int(rng.integers(20, 120)), int(rng.integers(20, 120)))
        image.paste(tuple(int(v) for v in rng.integers(0, 255, 3)), (x, y, x + size[0], y + size[1]))
    grain = np.asarray(image).astype(float) + rng.normal(0, 6, (height, width, 3))
    return Image.fromarray(grain.clip(0, 255).astype(np.uint8))


def jpeg(image: Image.Image, quality: int = 85, **more: bytes) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality, **more)
    return file.getvalue()


def thumb(image: Image.Image, size: tuple[int, int] = (160, 120)) -> bytes:
    return jpeg(image.resize(size, Image.Resampling.BICUBIC), 75)


def segment(marker: int, body: bytes) -> bytes:
    return struct.pack(">HH", marker, len(body) + 2) + body


def exif(thumbnail: bytes, *, orientation: int = 1, order: str = "<", offset: int | None = None,
         length: int | None = None, second: int | None = None, compression: int = 6) -> bytes:  # fmt: skip
    """A TIFF of two directories: the first with the orientation, the second with a JPEG thumbnail after it."""
    first = struct.pack(order + "HHHIHxx", 1, 0x0112, 3, 1, orientation)
    after = 8 + len(first) + 4
    start = after + 2 + 3 * 12 + 4
    tags = struct.pack(order + "H", 3) + struct.pack(order + "HHIHxx", 0x0103, 3, 1, compression)
    tags += struct.pack(order + "HHII", 0x0201, 4, 1, start if offset is None else offset)
    tags += struct.pack(order + "HHII", 0x0202, 4, 1, len(thumbnail) if length is None else length)
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8)
    second = after if second is None else second
    return head + first + struct.pack(order + "I", second) + tags + bytes(4) + thumbnail


def with_exif(image: Image.Image, tiff: bytes) -> bytes:
    data = jpeg(image)
    return data[:2] + segment(0xFFE1, b"Exif\0\0" + tiff) + data[2:]


def only(data: bytes, picture: Image.Image) -> Thumbnail:
    (found,) = embedded_thumbnails(data, np.asarray(picture))
    return found


@pytest.mark.parametrize("order", ["<", ">"])
def test_the_thumbnail_of_exif_agrees_with_its_picture(order: str) -> None:
    picture = scene(0)
    small = thumb(picture)
    found = only(with_exif(picture, exif(small, order=order)), picture)
    assert (found.kind, found.width, found.height, found.jpeg) == ("EXIF thumbnail", 160, 120, small)
    assert found.agrees is True
    assert found.distance is not None
    assert found.distance < 0.1
    assert found.sentence.startswith("the EXIF thumbnail shows what the picture shows (distance 0.0")


def test_a_thumbnail_whose_stated_length_is_too_long_is_read_as_far_as_it_goes() -> None:
    picture = scene(0)
    small = thumb(picture)
    found = only(with_exif(picture, exif(small, length=0xFFFFFFF0)), picture)
    assert (found.agrees, found.jpeg) == (True, small)


def test_a_thumbnail_of_another_picture_does_not_agree() -> None:
    for k in range(6):
        picture = scene(k)
        found = only(with_exif(picture, exif(thumb(scene(k + 100)))), picture)
        assert found.agrees is False
        assert found.distance is not None
        assert found.distance > 2 * SAME
        assert "is of another picture" in found.sentence


@pytest.mark.parametrize("area", [0.1, 0.3])
def test_a_part_that_was_replaced_does_not_agree(area: float) -> None:
    for k in range(6):
        picture, other = scene(k), scene(k + 100)
        w, h = (round(side * area**0.5) for side in picture.size)
        changed = picture.copy()
        changed.paste(other.crop((0, 0, w, h)), (40 * (k % 3), 30 * (k % 2)))
        assert only(with_exif(changed, exif(thumb(picture))), changed).agrees is False


def test_tones_compression_and_size_leave_it_the_same_picture() -> None:
    picture = scene(3)
    small = thumb(picture)
    edits = {
        "brighter": ImageEnhance.Brightness(picture).enhance(1.3),
        "darker": ImageEnhance.Brightness(picture).enhance(0.7),
        "flatter": ImageEnhance.Contrast(picture).enhance(0.6),
        "gamma": picture.point([round(255 * (v / 255) ** 1.6) for v in range(256)] * 3),
        "coarse": Image.open(io.BytesIO(jpeg(picture, 15))).convert("RGB"),
        "half": picture.resize((240, 180)),
    }
    for name, edited in edits.items():
        found = only(with_exif(edited, exif(small)), edited)
        assert found.agrees, (name, found.distance)


def test_bars_and_crops_of_another_shape_are_laid_as_cameras_do() -> None:
    picture = scene(4, 480, 320)
    bars = Image.new("RGB", (160, 120))
    bars.paste(picture.resize((160, 107)), (0, 6))
    below = Image.new("RGB", (160, 120))
    below.paste(picture.resize((160, 107)), (0, 0))
    middle = picture.crop((27, 0, 453, 320)).resize((160, 120))
    for name, small, words in (("bars", bars, "bars"), ("below", below, "bars"), ("middle", middle, "cropped")):
        found = only(with_exif(picture, exif(jpeg(small))), picture)
        assert found.agrees, (name, found)
        assert words in found.sentence


def test_turned_pictures_agree_and_mirrored_ones_only_where_exif_says_so() -> None:
    picture = scene(5)
    small = thumb(picture)
    turned = picture.transpose(Image.Transpose.ROTATE_90)
    found = only(with_exif(turned, exif(small)), turned)  # a viewer turned the picture and left the thumbnail
    assert found.agrees
    assert "turned by 90°" in found.sentence
    upright = thumb(picture.transpose(Image.Transpose.ROTATE_270), (120, 160))  # stored lying, thumbnail upright
    assert only(with_exif(picture, exif(upright, orientation=6)), picture).agrees
    mirrored = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    assert only(with_exif(mirrored, exif(small)), mirrored).agrees is False
    assert only(with_exif(mirrored, exif(small, orientation=2)), mirrored).agrees


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_done_as_pillow_does_it(orientation: int) -> None:
    from PIL import ImageOps

    stored = scene(6)
    tagged = Image.open(io.BytesIO(with_exif(stored, exif(b"", orientation=orientation))))
    upright = ImageOps.exif_transpose(tagged).convert("RGB")
    upright.thumbnail((160, 160))
    found = match(np.asarray(stored), np.asarray(upright), orientation)
    assert found is not None
    assert found.turn == orientation
    assert found.distance < 0.1


@pytest.mark.parametrize("height, width", [(24, 31), (30, 26)])
def test_the_distance_is_that_of_plain_sums(height: int, width: int) -> None:
    rng = np.random.default_rng(height)
    rough = Image.fromarray(rng.integers(0, 255, (4, 5), dtype=np.uint8))
    small = np.asarray(rough.resize((width, height), Image.Resampling.BICUBIC))
    picture = np.roll(255 - (255 - small.astype(int)) ** 2 // 255, 1, axis=1)  # other tones, one pixel aside
    picture[5:14, 8:17] = rng.integers(0, 255, (9, 9))
    picture = picture.astype(np.uint8)
    found = match(*(np.repeat(one[:, :, None], 3, axis=2) for one in (picture, small)))
    assert found is not None
    assert (found.turn, found.fit) == (1, "whole")
    assert found.distance == pytest.approx(naive_same_picture.distance(picture, small), rel=1e-9)


def test_a_difference_is_told_in_units_of_the_thumbnails_tones() -> None:
    """A difference that tones do not explain: of d levels over a window, d over the thumbnail's deviation."""
    rng = np.random.default_rng(0)
    tones = Image.fromarray(rng.integers(60, 200, (6, 8), dtype=np.uint8))
    base = np.asarray(tones.resize((160, 120), Image.Resampling.BICUBIC))
    changed = base.astype(int)
    changed[40:90, 50:110] += 40  # 50 x 60 px: a window of 30 px lies inside
    picture = np.repeat(changed.astype(np.uint8)[:, :, None], 3, axis=2)
    found = match(picture, np.repeat(base[:, :, None], 3, axis=2))
    assert found is not None
    assert found.distance == pytest.approx(40 / base.std(), rel=0.15)


def test_photoshop_jfif_large_and_xmp_thumbnails_are_found() -> None:
    picture = scene(7)
    small, plain = thumb(picture), jpeg(picture)
    header = struct.pack(">6IHH", 1, 160, 120, 480, 57600, len(small), 24, 1)

    def resource(number: int, body: bytes) -> bytes:
        return b"8BIM" + struct.pack(">HHI", number, 0, len(body)) + body + b"\0" * (len(body) % 2)

    swapped = thumb(Image.fromarray(np.asarray(picture)[:, :, ::-1]))
    photoshop = segment(0xFFED, b"Photoshop 3.0\0" + resource(0x03ED, b"abc") + resource(0x040C, header + small))
    older = segment(0xFFED, b"Photoshop 3.0\0" + resource(0x0409, header + swapped))
    jfif = segment(0xFFE0, b"JFXX\0\x10" + small)
    xmp = (b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
           b'<rdf:Description xmlns:xmpGImg="http://ns.adobe.com/xap/1.0/g/img/"><xmpGImg:image>'
           + b64encode(small).replace(b"A", b"A&#xA;", 3)
           + b"</xmpGImg:image></rdf:Description></rdf:RDF></x:xmpmeta>")  # fmt: skip
    packet = segment(0xFFE1, b"http://ns.adobe.com/xap/1.0/\0" + xmp)
    for kind, added in (("Photoshop thumbnail", photoshop), ("Photoshop thumbnail", older), ("JFIF thumbnail", jfif),
                        ("XMP thumbnail", packet)):  # fmt: skip
        found = only(plain[:2] + added + plain[2:], picture)
        assert (found.kind, found.agrees, found.width) == (kind, True, 160)
    large = jpeg(picture.resize((640, 480)))
    entry = struct.pack("<IIIHH", 0x030000, len(plain), 0, 0, 0)
    for place, agrees in ((None, True), (1 << 30, None)):
        # the list's places count from the TIFF of its segment, which stands at byte 10
        body = b"MPF\0II*\0" + struct.pack("<IHHHIII", 8, 1, 0xB002, 7, 32, 26, 0) + entry
        at = 2 + 4 + len(body) + 16 + len(plain) - 2
        body += struct.pack("<IIIHH", 0x010002, len(large), at - 10 if place is None else place, 0, 0)
        found = only(plain[:2] + segment(0xFFE2, body) + plain[2:] + large, picture)
        assert (found.kind, found.agrees) == ("large thumbnail", agrees)


def bomb(width: int, height: int) -> bytes:
    """A JPEG that claims a size: the bytes of a small one with another frame header."""
    data = bytearray(thumb(scene(0)))
    at = data.find(b"\xff\xc0")
    data[at + 5 : at + 9] = struct.pack(">HH", height, width)
    return bytes(data)


def test_a_thumbnail_that_claims_a_huge_size_is_not_decoded() -> None:
    picture = scene(8)
    for side, words in ((60000, "the header claims more pixels than the limit"), (9000, "which no thumbnail has")):
        found = only(with_exif(picture, exif(bomb(side, side))), picture)
        assert (found.agrees, found.distance) == (None, None)
        assert words in found.sentence


@pytest.mark.parametrize("tiff, words", [
    (exif(b"\xff\xd8\xff", offset=1 << 31), "outside"),
    (exif(b"\xff\xd8\xff", length=0xFFFFFFFF), "cannot be read"),
    (exif(b"\xff\xd8\xff", offset=0xFFFFFFFF, length=0xFFFFFFFF), "outside"),
    (exif(b"no jpeg"), "no JPEG"),
    (exif(b"", length=0), "outside"),
    (exif(b"\xff\xd8\xff\xe0" + b"\0" * 50), "cannot be read"),
    (exif(thumb(scene(0))[:400]), "cannot be read"),
    (exif(jpeg(Image.new("RGB", (160, 120), "white"))), "one tone"),
    (exif(jpeg(Image.new("RGB", (8, 8), "white"))), "too small"),
], ids=range(9))  # fmt: skip
def test_hostile_places_and_lengths_are_told(tiff: bytes, words: str) -> None:
    picture = scene(9)
    found = only(with_exif(picture, tiff), picture)
    assert found.agrees is None
    assert words in found.sentence
    assert "\n" not in found.sentence


@pytest.mark.parametrize("second", [8, 1, 0xFFFFFFFF, 70])  # itself, within the header, outside, within entries
def test_a_second_directory_that_leads_astray_never_raises(second: int) -> None:
    picture = scene(9)
    for found in embedded_thumbnails(with_exif(picture, exif(thumb(picture), second=second)), np.asarray(picture)):
        assert found.agrees is None


def test_damaged_files_never_raise() -> None:
    picture = scene(10)
    pixels = np.asarray(picture.resize((64, 48)))
    whole = with_exif(picture, exif(thumb(picture)))
    rng = np.random.default_rng(0)
    for k in range(200):
        data = bytearray(whole)
        for at in rng.integers(2, 200, 4):
            data[at] = rng.integers(256)
        found = embedded_thumbnails(bytes(data[: rng.integers(len(data))] if k % 4 == 0 else data), pixels)
        assert len(found) <= 9
    for data in (b"", b"\xff\xd8", b"\xff\xd8\xff\xe2\0\x08MPF\0II", b"text"):
        assert embedded_thumbnails(data, pixels) == ()


def test_many_thumbnails_are_not_all_compared_and_a_large_one_is_not_kept() -> None:
    picture = scene(11)
    plain = jpeg(picture)
    many = segment(0xFFE0, b"JFXX\0\x10" + thumb(picture)) * 40
    found = embedded_thumbnails(plain[:2] + many + plain[2:], np.asarray(picture.resize((160, 120))))
    assert [one.agrees for one in found] == [True] * 8 + [None]
    assert "more than 8 thumbnails" in found[-1].sentence
    large = b"\xff\xd8\xff" + bytes(LARGEST)
    tiff = exif(large)
    (first,) = find_thumbnails(tiff)  # of a TIFF file, whose second page is such a JPEG
    assert (first.jpeg, first.why) == (b"", f"it has more than {LARGEST} bytes")


def test_photographs_of_many_cameras_agree_with_their_thumbnails_and_not_with_others(shared_data: Path) -> None:
    from fdetect.images import decode

    seen = []
    for path in sorted((shared_data / "real" / "metadata_extractor").glob("*.jpg"))[::4]:
        data = path.read_bytes()
        pixels = decode(data).pixels
        found = embedded_thumbnails(data, pixels)
        assert all(one.agrees is not False for one in found), path.name
        seen += [(pixels, one.jpeg) for one in found if one.agrees][:1]
    assert len(seen) >= 4
    for (pixels, _), (_, other) in itertools.pairwise(seen):
        exchanged = match(pixels, decode(other).pixels)
        assert exchanged is not None
        assert exchanged.distance > SAME
