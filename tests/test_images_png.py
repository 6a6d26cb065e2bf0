"""Images whose metadata Pillow refuses: the pixels are those of the same file without them, or there is a reason."""

from __future__ import annotations

import struct
import time
import zlib
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from test_images import grey, png_rows, random_pixels, refusal, saved

from fdetect.images import decode, read_facts


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png(samples: np.ndarray, colour: int, *, before: bytes = b"", after: bytes = b"", n_idat: int = 1) -> bytes:
    """A PNG by hand, with what stands before its chunks of pixels and after them."""
    depth, rows = 8 * samples.itemsize, zlib.compress(png_rows(samples))
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", samples.shape[1], len(samples), depth, colour, 0, 0, 0))
    step = -(-len(rows) // n_idat)
    idat = b"".join(chunk(b"IDAT", rows[k : k + step]) for k in range(0, len(rows), step))
    return b"\x89PNG\r\n\x1a\n" + header + before + idat + after + chunk(b"IEND", b"")


def wrong(name: bytes, body: bytes) -> bytes:
    """A chunk whose checksum is another one."""
    whole = chunk(name, body)
    return whole[:-1] + bytes([whole[-1] ^ 1])


def packed(size: int) -> bytes:
    return zlib.compress(bytes(size), 1)


REFUSED = {
    "text of 2 MB": chunk(b"zTXt", b"Comment\0\0" + packed(2_000_000)),
    "international text of 2 MB": chunk(b"iTXt", b"workflow\0\1\0\0\0" + packed(2_000_000)),
    "profile of 2 MB": chunk(b"iCCP", b"p\0\0" + packed(2_000_000)),
    "plain text of 70 MB": chunk(b"tEXt", b"Comment\0" + b"a" * 70_000_000),
    "text by an unknown method": chunk(b"zTXt", b"Comment\0\5" + packed(9)),
    "profile by an unknown method": chunk(b"iCCP", b"p\0\1" + packed(9)),
    "profile of no bytes": chunk(b"iCCP", b""),
    "EXIF that is none": chunk(b"eXIf", b"nonsense"),
    "EXIF of very many numbers": chunk(b"eXIf", b"II*\0\x08\0\0\0\1\0" + struct.pack("<HHII", 40_000, 5, 1 << 21, 26)
                                       + bytes(17 << 20)),
    "short pHYs": chunk(b"pHYs", b"\0"),
    "short gAMA": chunk(b"gAMA", b"\0"),
    "short cHRM": chunk(b"cHRM", b"\0"),
    "short tRNS": chunk(b"tRNS", b"\0"),
    "short acTL": chunk(b"acTL", b"\0"),
    "a frame out of order": chunk(b"fcTL", struct.pack(">IIIIIHHBB", 5, 1, 1, 0, 0, 1, 1, 0, 0)),
    "text with a wrong checksum": wrong(b"tEXt", b"Comment\0hi"),
    "unknown chunk with a wrong checksum": wrong(b"fdTe", b"hi"),
    "chunk whose name is no name": chunk(b"\0\1\2\3", b"hi"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_decides_no_pixel_prevents_none(name: str) -> None:
    pixels = random_pixels()
    data = png(pixels, 2, before=REFUSED[name])
    decoded = decode(data)
    assert np.array_equal(decoded.pixels, pixels)
    assert decoded.facts == replace(decode(png(pixels, 2)).facts, bytes=len(data))
    assert read_facts(data) == decoded.facts


@pytest.mark.parametrize("container", ["JPEG", "WEBP"])
def test_exif_prevents_no_pixel_of_other_formats(container: str) -> None:
    pixels, numbers = random_pixels(), REFUSED["EXIF of very many numbers"][8 : (3 << 20)]
    plain = decode(saved(pixels, container))
    for exif in (b"nonsense", b"II", numbers[:1000] if container == "JPEG" else numbers):
        data = saved(pixels, container, exif=b"Exif\0\0" + exif)
        decoded = decode(data)
        assert np.array_equal(decoded.pixels, plain.pixels)
        assert (decoded.facts.orientation, decoded.facts.bytes) == (1, len(data))
        assert read_facts(data) == decoded.facts


@pytest.mark.parametrize("name", ["text of 2 MB", "short pHYs", "short tRNS", "EXIF that is none"])
def test_it_may_stand_after_the_pixels(name: str) -> None:
    pixels = random_pixels()
    assert np.array_equal(decode(png(pixels, 2, after=REFUSED[name], n_idat=5)).pixels, pixels)


def test_palettes_grey_alpha_and_sixteen_bits_are_those_of_the_file_without_the_chunk() -> None:
    bad, plane = REFUSED["text of 2 MB"], random_pixels(channels=0)
    colours = random_pixels(1, 256)[0]
    palette = chunk(b"PLTE", colours.tobytes()) + chunk(b"tRNS", bytes(range(256)))
    assert np.array_equal(decode(png(plane, 3, before=palette + bad)).pixels, colours[plane])
    assert np.array_equal(decode(png(plane, 0, before=chunk(b"tRNS", b"\0\7") + bad)).pixels, grey(plane))
    wide = np.random.default_rng(1).integers(0, 65536, (9, 3 * 7), np.uint16)
    for colour in (2, 6):
        image = wide.reshape(9, 7, 3) if colour == 2 else np.dstack([wide.reshape(9, 7, 3), wide[:, :7]])
        assert np.array_equal(decode(png(image, colour, before=bad)).pixels, image[:, :, :3] >> 8)
        assert np.array_equal(decode(png(image, colour)).pixels, image[:, :, :3] >> 8)


def test_transparency_decides_no_pixel_of_what_pillow_opens() -> None:
    """Why tRNS is not kept: with it and without it the stored colours are the same."""
    plane, rgb = random_pixels(channels=0) & 3, random_pixels() & 3
    colours = chunk(b"PLTE", bytes(range(12)))
    for body in (b"\0\1", b"\0\1\0\2\0\3", b"\xff" * 6, b"\xff\0\xff", bytes(4)):
        clear = chunk(b"tRNS", body)
        assert np.array_equal(decode(png(plane, 0, before=clear)).pixels, grey(plane))
        assert np.array_equal(decode(png(plane, 3, before=colours + clear)).pixels,
                              decode(png(plane, 3, before=colours)).pixels)  # fmt: skip
        assert np.array_equal(decode(png(rgb, 2, before=clear)).pixels, rgb)


def test_an_animation_with_a_damaged_frame_is_its_first_picture() -> None:
    pixels = random_pixels(20, 24)
    moving = saved(pixels, "PNG", save_all=True, append_images=[Image.fromarray(255 - pixels)])
    assert np.array_equal(decode(moving[:33] + REFUSED["short pHYs"] + moving[33:]).pixels, pixels)


def test_exif_that_is_whole_is_lost_with_what_is_not() -> None:
    exif = Image.Exif()
    exif[274] = 6
    data = saved(random_pixels(), "PNG", exif=exif)
    assert decode(data).facts.orientation == 6
    facts = decode(data[:33] + REFUSED["short pHYs"] + data[33:]).facts
    assert (facts.orientation, facts.exif) == (1, ())


def test_damage_to_what_pixels_need_fails_with_the_reason_it_had() -> None:
    pixels, bad = random_pixels(90, 120), REFUSED["text of 2 MB"]
    cut, other = png(pixels, 2, after=bad)[:-9000], png(pixels, 2)[:-7000]
    assert refusal(cut) == refusal(other)
    header = bytearray(png(pixels, 2, before=REFUSED["short gAMA"]))
    header[29] ^= 1  # the checksum of IHDR
    assert refusal(bytes(header)) == "no image of a known format (unknown or damaged header)"
    stream = bytearray(png(pixels, 2, before=bad))
    stream[stream.index(b"IDAT") + 4] ^= 0xFF
    assert "MAX_TEXT_CHUNK" in refusal(bytes(stream))


@pytest.mark.parametrize("place", range(1, 6))
def test_pixels_under_a_damaged_name_are_never_left_out(place: int) -> None:
    """Stored rows, more than the picture needs, 25 to a chunk: without one of them, others would move up."""
    image, more = random_pixels(90, 120), random_pixels(60, 120)
    rows = png_rows(np.concatenate([image, more]))
    stored = b"\x78\x01\1" + struct.pack("<HH", len(rows), len(rows) ^ 0xFFFF) + rows
    parts = [stored[:7], *(stored[k : k + 25 * 361] for k in range(7, len(stored), 25 * 361))]
    whole = png(image, 2)
    start, end = whole[: whole.index(b"IDAT") - 4], whole[-12:]
    assert np.array_equal(decode(start + b"".join(chunk(b"IDAT", part) for part in parts) + end).pixels, image)
    names = [b"iDAT" if k == place else b"IDAT" for k in range(len(parts))]
    damaged = start + b"".join(map(chunk, names, parts)) + end
    if place > 4:  # the picture is whole before it
        assert np.array_equal(decode(damaged).pixels, image)
    else:
        assert refusal(damaged)


@pytest.mark.parametrize("length", [0, 1, 5, 1000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFF4, 0xFFFFFFFF])
def test_lengths_that_lie_end_the_walk(length: int) -> None:
    pixels = random_pixels()
    lying = struct.pack(">I", length) + b"tEXtComment\0hi" + bytes(4)
    began = time.perf_counter()
    assert refusal(png(pixels, 2, before=lying))
    assert time.perf_counter() - began < 1
    assert np.array_equal(decode(png(pixels, 2, before=REFUSED["short pHYs"], after=lying)).pixels, pixels)


def test_very_many_chunks_are_walked_within_bounds() -> None:
    pixels = random_pixels()
    empty = chunk(b"teSt", b"")
    data = png(pixels, 2, before=wrong(b"tEXt", b"hi") + empty * 300_000)
    began = time.perf_counter()
    assert refusal(data) == "no image of a known format (unknown or damaged header)"
    assert time.perf_counter() - began < 10
    few = png(pixels, 2, before=wrong(b"tEXt", b"hi") + empty * 1000)
    assert np.array_equal(decode(few).pixels, pixels)


def test_other_formats_and_text_are_not_tried_as_png() -> None:
    assert refusal(b"\x89PNG\r\n\x1a\n") == refusal(b"\x89PNG\r\n\x1a\nIHDR") == refusal(b"text" * 99)
