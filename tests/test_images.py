"""From bytes to pixels: every rule of `fdetect.images`, on files made here and on real ones."""

from __future__ import annotations

import csv
import io
import struct
import sys
import time
import tracemalloc
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image

from fdetect import images
from fdetect.errors import DataError, ParameterError
from fdetect.images import MAX_PIXELS, Geometry, decode, decoder_id, jpeg_quality, read_facts

ORIENTATION = int(ExifTags.Base.Orientation)


def random_pixels(height: int = 37, width: int = 51, channels: int = 3, seed: int = 0) -> np.ndarray:
    shape = (height, width, channels) if channels else (height, width)
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def saved(image: Image.Image | np.ndarray, container: str, **options) -> bytes:
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    file = io.BytesIO()
    image.save(file, container, **options)
    return file.getvalue()


def pillow_rgb(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as image:
        return np.array(image.convert("RGB"))


def png(width: int, height: int, depth: int, colour: int, rows: bytes, *chunks: bytes) -> bytes:
    """A PNG written by hand: no Pillow decides here what a sample is."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    extra = b"".join(chunk(one[:4], one[4:]) for one in chunks)
    return b"\x89PNG\r\n\x1a\n" + header + extra + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def png_rows(samples: np.ndarray) -> bytes:
    """Filter byte 0 and big-endian samples, row by row."""
    return b"".join(b"\0" + np.ascontiguousarray(row).astype(row.dtype.newbyteorder(">")).tobytes() for row in samples)


def grey(channel: np.ndarray) -> np.ndarray:
    return np.stack([channel] * 3, axis=-1)


def refusal(data: bytes) -> str:
    with pytest.raises(DataError) as caught:
        decode(data)
    text = str(caught.value)
    assert text
    assert "\n" not in text
    return text


# --- JPEG: simplejpeg or Pillow, the same pixels ------------------------------------------------------------------


def jpegs() -> dict[str, bytes]:
    pixels = random_pixels()
    made = {f"subsampling {k}": saved(pixels, "JPEG", quality=85, subsampling=k) for k in (0, 1, 2)}
    made |= {f"quality {q}": saved(pixels, "JPEG", quality=q) for q in (1, 30, 100)}
    made["progressive"] = saved(pixels, "JPEG", progressive=True)
    made["restart markers"] = saved(pixels, "JPEG", restart_marker_rows=1)
    made["optimised"] = saved(pixels, "JPEG", optimize=True)
    made["stored as RGB"] = saved(pixels, "JPEG", keep_rgb=True)
    made["grey"] = saved(pixels[:, :, 0], "JPEG")
    made["one pixel"] = saved(pixels[:1, :1], "JPEG")
    made["bytes after the end"] = made["subsampling 2"] + b"some maker's trailer"
    return made


@pytest.mark.parametrize("name", jpegs())
def test_a_jpeg_has_the_pixels_of_pillow(name: str) -> None:
    data = jpegs()[name]
    decoded = decode(data)
    assert decoded.pixels.dtype == np.uint8
    assert np.array_equal(decoded.pixels, pillow_rgb(data))
    assert decoded.facts.format == "JPEG"
    assert decoded.facts.progressive == (name == "progressive")
    assert decoded.facts.mode == ("L" if name == "grey" else "RGB")


@pytest.mark.parametrize("name", ["444", "422", "420", "440", "411", "Gray"])
def test_every_subsampling_is_named_and_decoded_as_pillow_does(name: str) -> None:
    simplejpeg = pytest.importorskip("simplejpeg", reason="the fast extra is not installed")
    pixels = np.ascontiguousarray(random_pixels()[:, :, : 1 if name == "Gray" else 3])
    data = simplejpeg.encode_jpeg(pixels, 80, "GRAY" if name == "Gray" else "RGB", name)
    decoded = decode(data)
    assert decoded.facts.subsampling == ("" if name == "Gray" else ":".join(name))
    assert np.array_equal(decoded.pixels, pillow_rgb(data))


def test_the_fast_decoder_is_really_used_and_pillow_is_the_fallback(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("simplejpeg", reason="the fast extra is not installed")
    cases = jpegs()
    fast = {name: images._fast_jpeg(data, read_facts(data)) is not None for name, data in cases.items()}
    assert all(fast[name] for name in fast if name != "bytes after the end")
    with_fast = {name: decode(data).pixels for name, data in cases.items()}
    images._has_simplejpeg.cache_clear()
    monkeypatch.setitem(sys.modules, "simplejpeg", None)  # what an interpreter without the package looks like
    try:
        for name, data in cases.items():
            assert images._fast_jpeg(data, read_facts(data)) is None
            assert np.array_equal(decode(data).pixels, with_fast[name])
    finally:
        images._has_simplejpeg.cache_clear()


def test_real_jpegs_have_the_pixels_of_pillow(shared_data: Path) -> None:
    with (shared_data / "manifest.csv").open(encoding="utf-8", newline="") as file:
        paths = [row["path"] for row in csv.DictReader(file) if row["format"] == "JPEG"]
    by_kind: dict[tuple, list[str]] = {}
    for path in paths[::2]:
        facts = read_facts((shared_data / path).read_bytes())
        assert facts.format == "JPEG"
        if facts.width * facts.height < 3e6:
            kind = (facts.subsampling, facts.mode, facts.progressive, facts.orientation)
            by_kind.setdefault(kind, []).append(path)
    chosen = [path for same in by_kind.values() for path in same[:6]][:24]
    assert len(by_kind) >= 3
    assert len(chosen) >= 15
    for path in chosen:
        data = (shared_data / path).read_bytes()
        decoded = decode(data)
        assert np.array_equal(decoded.pixels, pillow_rgb(data)), path
        assert decoded.pixels.shape == (decoded.facts.height, decoded.facts.width, 3)
        assert decoded.facts.bytes == len(data)


# --- pixel types: what becomes of grey, palettes, alpha, CMYK and 16 bits -----------------------------------------


def test_plain_colours_are_stored_pixels_in_every_lossless_container() -> None:
    pixels = random_pixels()
    for container, options in (("PNG", {}), ("BMP", {}), ("TIFF", {}), ("PPM", {}), ("WEBP", {"lossless": True})):
        decoded = decode(saved(pixels, container, **options))
        assert np.array_equal(decoded.pixels, pixels), container
        assert (decoded.facts.format, decoded.facts.width, decoded.facts.height) == (container, 51, 37)
        assert (decoded.facts.subsampling, decoded.facts.qtables, decoded.facts.orientation) == ("", (), 1)


def test_grey_is_repeated_and_one_bit_is_black_and_white() -> None:
    channel = random_pixels(channels=0)
    assert np.array_equal(decode(saved(channel, "PNG")).pixels, grey(channel))
    bits = channel > 127
    one_bit = decode(saved(Image.fromarray(bits), "PNG"))
    assert one_bit.facts.mode == "1"
    assert np.array_equal(one_bit.pixels, grey(bits * np.uint8(255)))
    packed = png(51, 37, 1, 0, b"".join(b"\0" + np.packbits(row).tobytes() for row in bits))
    assert np.array_equal(decode(packed).pixels, grey(bits * np.uint8(255)))


def test_transparent_grey_and_colour_stay_as_stored() -> None:
    channel, pixels = random_pixels(channels=0), random_pixels()
    keyed_grey = png(51, 37, 8, 0, png_rows(channel), b"tRNS" + struct.pack(">H", int(channel[0, 0])))
    keyed_rgb = png(51, 37, 8, 2, png_rows(pixels), b"tRNS" + struct.pack(">HHH", *map(int, pixels[0, 0])))
    assert np.array_equal(decode(keyed_grey).pixels, grey(channel))
    assert np.array_equal(decode(keyed_rgb).pixels, pixels)


@pytest.mark.parametrize("transparency", [None, bytes([0, 128, 255, 3]), bytes(256)])
@pytest.mark.filterwarnings("error")
def test_a_palette_is_looked_up_whatever_is_transparent(transparency: bytes | None) -> None:
    palette = random_pixels(16, 16, seed=1).reshape(256, 3)
    indices = random_pixels(channels=0)
    chunks = [b"PLTE" + palette.tobytes()] + ([b"tRNS" + transparency] if transparency else [])
    decoded = decode(png(51, 37, 8, 3, png_rows(indices), *chunks))
    assert decoded.facts.mode == "P"
    assert np.array_equal(decoded.pixels, palette[indices])


@pytest.mark.parametrize("container, options", [("PNG", {}), ("TIFF", {}), ("WEBP", {"lossless": True, "exact": True})])
def test_alpha_is_dropped_and_the_colour_under_it_kept(container: str, options: dict) -> None:
    pixels = random_pixels(channels=4)
    pixels[::2, :, 3] = 0  # fully transparent: a viewer would show none of these colours
    decoded = decode(saved(Image.fromarray(pixels), container, **options))
    assert decoded.facts.mode == "RGBA"
    assert np.array_equal(decoded.pixels, pixels[:, :, :3])
    assert decoded.pixels.flags.c_contiguous


def test_grey_with_alpha_keeps_the_grey() -> None:
    pixels = random_pixels(channels=2)
    pixels[::2, :, 1] = 0
    decoded = decode(png(51, 37, 8, 4, png_rows(pixels)))
    assert decoded.facts.mode == "LA"
    assert np.array_equal(decoded.pixels, grey(pixels[:, :, 0]))


@pytest.mark.parametrize("container", ["TIFF", "JPEG"])
def test_cmyk_becomes_rgb_by_the_plain_formula(container: str) -> None:
    inks = random_pixels(channels=4)
    data = saved(Image.frombytes("CMYK", (51, 37), inks.tobytes()), container)
    decoded = decode(data)
    assert decoded.facts.mode == "CMYK"
    if container == "JPEG":  # lossy: the inks are those that come out
        with Image.open(io.BytesIO(data)) as image:
            inks = np.array(image)
    ink = inks.astype(np.float64)
    wanted = (255 - ink[:, :, :3]) * (255 - ink[:, :, 3:]) / 255
    assert np.abs(decoded.pixels - wanted).max() <= 1


@pytest.mark.parametrize("colour, channels", [(0, 1), (2, 3), (4, 2), (6, 4)])
def test_sixteen_bit_png_samples_keep_their_high_byte(colour: int, channels: int) -> None:
    samples = np.random.default_rng(2).integers(0, 1 << 16, (37, 51, channels), np.uint16)
    samples[0, 0], samples[0, 1] = 0x00FF, 0xFFFF  # rounding would make 1 of the first
    decoded = decode(png(51, 37, 16, colour, png_rows(samples)))
    high = (samples >> 8).astype(np.uint8)
    assert np.array_equal(decoded.pixels, high[:, :, :3] if channels >= 3 else grey(high[:, :, 0]))


@pytest.mark.parametrize("order", ["<", ">"])
def test_sixteen_bit_grey_tiff_keeps_its_high_byte(order: str) -> None:
    samples = np.random.default_rng(3).integers(0, 1 << 16, (37, 51), np.uint16)
    mode = {"<": "I;16", ">": "I;16B"}[order]
    image = Image.frombytes(mode, (51, 37), samples.astype(f"{order}u2").tobytes())
    decoded = decode(saved(image, "TIFF"))
    assert decoded.facts.mode == mode
    assert np.array_equal(decoded.pixels, grey((samples >> 8).astype(np.uint8)))


@pytest.mark.parametrize("mode", ["F", "I"])
def test_samples_without_an_agreed_range_are_refused(mode: str) -> None:
    image = Image.fromarray(random_pixels(channels=0)).convert(mode)
    assert f"pixel type '{mode}' has no agreed range" in refusal(saved(image, "TIFF"))


@pytest.mark.parametrize("container, options", [("GIF", {}), ("WEBP", {"lossless": True}), ("PNG", {}), ("TIFF", {})])
def test_an_animation_is_its_first_frame(container: str, options: dict) -> None:
    frames = [Image.fromarray(random_pixels(seed=k)).quantize(64).convert("RGB") for k in range(3)]
    palette = [frame.quantize(64) for frame in frames] if container == "GIF" else frames
    data = saved(palette[0], container, save_all=True, append_images=palette[1:], **options)
    with Image.open(io.BytesIO(data)) as image:
        assert image.n_frames == 3
    assert np.array_equal(decode(data).pixels, np.array(palette[0].convert("RGB")))


def test_a_stereo_jpeg_is_its_first_picture_and_a_jpeg() -> None:
    data = saved(random_pixels(), "MPO", save_all=True, append_images=[Image.fromarray(random_pixels(seed=1))])
    decoded = decode(data)
    assert decoded.facts.format == "JPEG"
    assert np.array_equal(decoded.pixels, pillow_rgb(data))


# --- orientation and EXIF -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("turn", range(1, 9))
@pytest.mark.parametrize("container, options", [("JPEG", {}), ("PNG", {}), ("WEBP", {"lossless": True}), ("TIFF", {})])
def test_orientation_is_recorded_and_never_applied(container: str, options: dict, turn: int) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = turn
    exif[int(ExifTags.Base.Make)] = "A maker"
    pixels = random_pixels()
    upright, turned = saved(pixels, container, **options), saved(pixels, container, exif=exif, **options)
    decoded = decode(turned)
    assert decoded.facts.orientation == turn
    assert (decoded.facts.height, decoded.facts.width) == (37, 51)
    assert np.array_equal(decoded.pixels, decode(upright).pixels)
    assert ("Make", "A maker") in decoded.facts.exif
    assert ("Orientation", str(turn)) in decoded.facts.exif
    assert decoded.facts.exif == tuple(sorted(decoded.facts.exif))
    assert read_facts(turned) == decoded.facts


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "I;16", "1", "P", "CMYK"])
@pytest.mark.parametrize("compression", [None, "tiff_lzw"])
def test_a_tiff_on_its_side_keeps_its_rows_in_every_pixel_type(mode: str, compression: str | None) -> None:
    if mode == "I;16":
        image = Image.fromarray(random_pixels(channels=0).astype(np.uint16) * 257)
    else:
        image = Image.fromarray(random_pixels(channels=4)).convert(mode)
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    upright = decode(saved(image, "TIFF", compression=compression))
    turned = decode(saved(image, "TIFF", compression=compression, exif=exif))
    assert turned.pixels.shape == (37, 51, 3)
    assert np.array_equal(turned.pixels, upright.pixels)
    assert (turned.facts.width, turned.facts.height) == (51, 37)


def test_an_orientation_that_is_none_is_one() -> None:
    for value in (0, 9, 200):
        exif = Image.Exif()
        exif[ORIENTATION] = value
        assert decode(saved(random_pixels(), "JPEG", exif=exif)).facts.orientation == 1


def test_facts_come_from_the_first_bytes_alone() -> None:
    for container in ("JPEG", "PNG", "GIF", "BMP"):
        data = saved(random_pixels(200, 300), container)
        facts = decode(data).facts
        assert facts.bytes == len(data)
        assert read_facts(data) == facts
        assert read_facts(data[:2000]) == replace(facts, bytes=2000)
    with pytest.raises(DataError, match="cannot be decoded"):
        read_facts(saved(random_pixels(200, 300), "WEBP")[:2000])


# --- what is refused ----------------------------------------------------------------------------------------------


def test_no_bytes_text_and_noise_are_refused() -> None:
    assert refusal(b"") == "the file is empty (0 bytes)"
    for data in (b"a text that was named photo.jpg\n" * 9, bytes(1000), random_pixels().tobytes()):
        assert refusal(data) == "no image of a known format (unknown or damaged header)"


@pytest.mark.parametrize("share", [0.25, 0.5, 0.9])
@pytest.mark.parametrize(
    "container, options",
    [("JPEG", {}), ("JPEG", {"progressive": True}), ("PNG", {}), ("WEBP", {}), ("GIF", {}), ("TIFF", {}), ("BMP", {})],
)
def test_a_truncated_file_is_refused(container: str, options: dict, share: float) -> None:
    data = saved(random_pixels(200, 300), container, **options)
    decode(data)
    assert refusal(data[: int(share * len(data))])


@pytest.mark.parametrize("side, words", [(60000, "more pixels than the limit"), (12000, "claims 12000 x 12000 pixels")])
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_pixel_bomb_is_refused_before_anything_is_allocated(side: int, words: str) -> None:
    bomb = png(side, side, 8, 2, bytes(1000))
    tracemalloc.start()
    began = time.perf_counter()
    text = refusal(bomb)
    seconds = time.perf_counter() - began
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert words in text
    assert str(MAX_PIXELS) in text
    assert seconds < 1
    assert peak < 5e6


def containers() -> dict[str, bytes]:
    small, exif = random_pixels(20, 24), Image.Exif()
    exif[ORIENTATION] = 6
    made = {name: saved(small, name, exif=exif) for name in ("JPEG", "PNG", "WEBP", "TIFF")}
    made["progressive"] = saved(small, "JPEG", progressive=True)
    made["compressed"] = saved(small, "TIFF", compression="tiff_adobe_deflate")
    return made | {name: saved(small, name) for name in ("GIF", "BMP", "PPM", "TGA", "ICO")}


@settings(max_examples=250, deadline=None)
@given(
    name=st.sampled_from(sorted(containers())),
    edits=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=6),
    kept=st.floats(0.05, 1),
)
@pytest.mark.filterwarnings("ignore")
def test_damaged_bytes_are_decoded_or_refused_in_one_line(name: str, edits: list, kept: float) -> None:
    data = bytearray(containers()[name])
    for place, value in edits:
        data[int(place * len(data))] = value
    data = data[: max(1, int(kept * len(data)))]
    try:
        decoded = decode(bytes(data))
    except DataError as error:
        assert "\n" not in str(error)
    else:
        assert decoded.pixels.dtype == np.uint8
        assert decoded.pixels.shape == (decoded.facts.height, decoded.facts.width, 3)


# --- quality tables, versions, geometry ---------------------------------------------------------------------------


def test_the_quality_of_every_pillow_jpeg_is_exact() -> None:
    pixels = random_pixels(8, 8)
    for quality in range(1, 101):
        for channels in (pixels, pixels[:, :, 0]):
            assert jpeg_quality(read_facts(saved(channels, "JPEG", quality=quality)).qtables) == (quality, True)


def test_other_tables_have_the_nearest_quality() -> None:
    tables = read_facts(saved(random_pixels(8, 8), "JPEG", quality=75)).qtables
    changed = (tables[0][0] + 1, *tables[0][1:])
    assert jpeg_quality((changed, tables[1])) == (75, False)
    assert jpeg_quality(()) is None
    assert jpeg_quality(((1, 2, 3),)) is None
    assert tables[0][:3] == (8, 6, 5)  # Table K.1 at half, in row order: 16 11 10 -> 8 6 5
    assert tables[0][8:11] == (6, 6, 7)


def test_the_decoder_names_its_libraries() -> None:
    text = decoder_id()
    for name in ("Pillow", "libjpeg-turbo", "zlib", "webp", "avif"):
        assert name in text


def test_aligned_crop_known_answers() -> None:
    pixels = random_pixels(100, 60)
    assert np.array_equal(Geometry("aligned_crop", 32)(pixels), pixels[32:64, 8:40])
    assert np.array_equal(Geometry("aligned_crop", 48)(pixels), pixels[24:72, 0:48])
    assert np.array_equal(Geometry("aligned_crop", 60)(pixels), pixels[16:76])
    assert np.array_equal(Geometry("aligned_crop", 64)(pixels), pixels[16:80])  # the short side as it is
    assert np.array_equal(Geometry("aligned_crop", 100)(pixels), pixels)
    assert np.array_equal(Geometry("aligned_crop", 500)(pixels), pixels)


def test_as_is_and_squash_known_answers() -> None:
    pixels = random_pixels(100, 60)
    assert Geometry()(pixels) is pixels
    for name, resample in (("bilinear", Image.Resampling.BILINEAR), ("bicubic", Image.Resampling.BICUBIC)):
        wanted = np.array(Image.fromarray(pixels).resize((32, 32), resample))
        assert np.array_equal(Geometry("squash", 32, name)(pixels), wanted)
    constant = np.full((50, 90, 3), 77, np.uint8)
    assert (Geometry("squash", 20, "bicubic")(constant) == 77).all()


def test_resize_crop_keeps_the_aspect_ratio_and_takes_the_centre() -> None:
    for height, width, to in ((100, 60, (53, 32)), (60, 100, (32, 53)), (61, 61, (32, 32)), (20, 33, (32, 52))):
        pixels = random_pixels(height, width)
        large = np.array(Image.fromarray(pixels).resize(to[::-1], Image.Resampling.BICUBIC))
        top, left = ((side - 32) // 2 for side in to)
        if 21 in (to[0] - 32, to[1] - 32):  # 10.5 is rounded to the even 10
            assert 10 in (top, left)
        assert np.array_equal(Geometry("resize_crop", 32, "bicubic")(pixels), large[top : top + 32, left : left + 32])
    narrow = random_pixels(35, 32)  # already as wide: nothing is resampled, and 1.5 is rounded to the even 2
    assert np.array_equal(Geometry("resize_crop", 32, "bilinear")(narrow), narrow[2:34])


def test_centre_crop_cuts_without_a_resize_and_pads_with_zeros() -> None:
    pixels = random_pixels(37, 51)
    assert np.array_equal(Geometry("centre_crop", 32)(pixels), pixels[2:34, 10:42])  # 2.5 and 9.5, to even
    assert np.array_equal(Geometry("centre_crop", 37)(pixels), pixels[:, 7:44])
    padded = Geometry("centre_crop", 44)(pixels)
    assert padded.shape == (44, 44, 3)
    assert np.array_equal(padded[3:40], pixels[:, 4:48])  # 7 rows are missing, 4 of them below; columns: 3.5, to even
    assert not padded[:3].any()
    assert not padded[40:].any()
    assert np.array_equal(Geometry("centre_crop", 60)(pixels)[11:48, 4:55], pixels)


def test_textured_crop_finds_the_texture_on_the_grid() -> None:
    pixels = np.full((100, 140, 3), 90, np.uint8)
    assert np.array_equal(Geometry("textured_crop", 32)(pixels), pixels[:32, :32])  # a tie: the first
    pixels[48:80, 72:104] = random_pixels(32, 32)
    assert np.array_equal(Geometry("textured_crop", 32)(pixels), pixels[48:80, 72:104])
    ramp = np.repeat(np.arange(140, dtype=np.uint8)[None, :, None], 100, axis=0).repeat(3, axis=2)
    ramp[:, 96:] += (np.arange(100)[:, None, None] % 2 * 50).astype(np.uint8)
    assert np.array_equal(Geometry("textured_crop", 40)(ramp), ramp[:40, 96:136])  # whole cells; of rows, the first
    for small in (random_pixels(20, 24), random_pixels(39, 39)):
        assert np.array_equal(Geometry("textured_crop", 32)(small), small[:32, :32])
    assert Geometry("textured_crop", 32)(random_pixels(20, 90)).shape == (20, 32, 3)


@settings(max_examples=60, deadline=None)
@given(height=st.integers(8, 90), width=st.integers(8, 90), size=st.integers(8, 48), seed=st.integers(0, 9))
def test_textured_crop_equals_a_search_of_all_crops(height: int, width: int, size: int, seed: int) -> None:
    pixels = random_pixels(height, width, seed=seed) // 8
    green = pixels[:, :, 1].astype(int)
    change = np.zeros(green.shape, int)
    change[:, 1:] += abs(green[:, 1:] - green[:, :-1])
    change[1:] += abs(green[1:] - green[:-1])
    best, place = -1, (0, 0)
    for top in range(0, max(height - size, 0) + 1, 8):
        for left in range(0, max(width - size, 0) + 1, 8):
            whole = change[top : top + min(size, height) // 8 * 8, left : left + min(size, width) // 8 * 8].sum()
            if whole > best:
                best, place = whole, (top, left)
    top, left = place
    found = Geometry("textured_crop", size)(pixels)
    assert np.array_equal(found, pixels[top : top + size, left : left + size])


def test_an_unknown_geometry_or_filter_is_named() -> None:
    known = "as_is, trim, aligned_crop, textured_crop, centre_crop, squash, resize_crop"
    with pytest.raises(ParameterError, match=rf"^no geometry 'center_crop' \({known}\)$"):
        Geometry("center_crop", 32)(random_pixels())
    for name in ("squash", "resize_crop"):
        with pytest.raises(ParameterError, match=rf"^geometry {name} has no filter 'lanczos' \(bilinear, bicubic\)$"):
            Geometry(name, 32, "lanczos")(random_pixels())
