"""From the bytes of a file to pixels and facts, by stated rules; `Geometry` says how they are cut or resized.

Decoding rules.  JPEG through simplejpeg where it is installed (its pixels equal Pillow's), everything else and
every doubtful JPEG through Pillow.  Pixels are those stored: no EXIF rotation (the orientation is recorded), no
colour management, the first frame of an animation.  Grey is repeated to three channels, a palette is looked up,
alpha is dropped (the stored colour under it is kept, nothing is blended), CMYK becomes RGB by Pillow's plain
formula, 16-bit samples keep their high byte.  32-bit integer and float samples have no agreed range: refused.
A PNG that Pillow refuses is tried once more without its ancillary chunks (texts, profiles, EXIF): they may be damaged
or huge, and decide no pixel.  EXIF of another format that cannot be read counts as none.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import importlib.util
import io
import itertools
import logging
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
import PIL
from PIL import ExifTags, Image, UnidentifiedImageError, _imaging, features

from fdetect.errors import DataError
from fdetect.geometry import Geometry
from fdetect.types import Facts

__all__ = ["MAX_PIXELS", "Decoded", "Geometry", "decode", "decoder_id", "ijg_luma_tables", "jpeg_quality", "read_facts"]

MAX_PIXELS = 1 << 27  # 134 megapixels, 0.4 GB as RGB: beyond every camera, below what a bomb claims

_MAX_NUMBERS = 1 << 20  # in the tags of a TIFF or of EXIF; twice the tiles of 16 px of the largest image

_MAX_CHUNKS = 1 << 18  # of a PNG that is tried once more: twice those of 8 KiB that the largest image has
_PNG, _CRITICAL = b"\x89PNG\r\n\x1a\n", (b"IHDR", b"PLTE", b"IDAT", b"IEND")

# What is opened at all: still images.  Pillow also knows formats that start other programs (EPS) or hold no photograph.
FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP", "JPEG2000", "AVIF", "PPM")

_EIGHT_BIT = ("RGB", "L", "1", "P", "PA", "LA", "RGBA", "RGBX", "CMYK", "YCbCr", "RGBa", "La", "HSV", "LAB")
_SIXTEEN_BIT = ("I;16", "I;16B", "I;16L", "I;16N")

T = TypeVar("T")


@dataclass(frozen=True)
class Decoded:
    """Pixels (H, W, 3) uint8 and the facts of the file they came from."""

    pixels: np.ndarray
    facts: Facts


def decode(data: bytes) -> Decoded:
    """Decode one image file by the rules at the top of this module.

    Raises DataError in one line for bytes that are no image, a truncated image, a pixel type without an agreed
    range, and, before anything of that size is allocated, for a header that claims more than MAX_PIXELS, tiles of
    more than that, or more than a million numbers in its tags.
    """
    return Decoded(*_read(data, _pixels))


def read_facts(data: bytes) -> Facts:
    """Read the facts of one image file without its pixels: the `facts` that `decode` returns, from the header.

    The first bytes of a file are enough where they hold the whole header; `Facts.bytes` is then their number.  WebP
    and AVIF are opened whole or not at all.
    Raises DataError as `decode` does, save for what only the pixels would show (a truncated or damaged body).
    """
    return _read(data, lambda *_: None)[1]


@functools.cache
def decoder_id() -> str:
    """Return the libraries that turn bytes into pixels, with versions: part of every cache key."""
    parts = [f"Pillow {PIL.__version__}", f"libjpeg-turbo {features.version('libjpeg_turbo') or 'none'}"]
    parts += [f"{name} {features.version(name) or 'none'}" for name in ("zlib", "webp", "avif")]
    return ", ".join(parts)


def jpeg_quality(qtables: tuple[tuple[int, ...], ...]) -> tuple[int, bool] | None:
    """Return the IJG quality whose scaled luma table is nearest, and whether it is equal; None without tables.

    IJG scaling: s = 5000/q for q < 50, else 200 - 2q; entry = clip((base * s + 50) // 100, 1, 255).
    Source: ITU-T T.81 (1992) Table K.1 and libjpeg `jcparam.c` (jpeg_quality_scaling).
    """
    if not qtables or len(qtables[0]) != 64:
        return None
    table = np.asarray(qtables[0])
    distance = np.abs(ijg_luma_tables() - table).sum(axis=1)
    best = int(distance.argmin())
    return best + 1, bool(distance[best] == 0)


def _read(data: bytes, part: Callable[[Image.Image, bytes, Facts], T]) -> tuple[T, Facts]:
    """Read a part of a file and its facts; a PNG that fails is tried without what its pixels do not need."""
    try:
        with _opened(data) as (image, facts):
            return part(image, data, facts), facts
    except DataError:
        bare = _without_ancillary(data)
        with contextlib.suppress(DataError), _opened(bare) as (image, facts):
            return part(image, bare, facts), replace(facts, bytes=len(data))
        raise  # the first reason


def _without_ancillary(data: bytes) -> bytes:
    """Return a PNG of its critical chunks alone, which decide the pixels; empty where that would be nothing else.

    Nothing may stand between chunks of pixels: what does is likely one of them with a damaged name, and without it
    the pixels would be others.  Source: ISO/IEC 15948:2004, 5.3 to 5.6.
    """
    chunks = list(itertools.islice(_png_chunks(data), _MAX_CHUNKS))
    runs = [name for name, _ in itertools.groupby(name for name, _ in chunks)]
    bare = b"".join([data[:8], *(chunk for name, chunk in chunks if name in _CRITICAL)])
    return bare if runs.count(b"IDAT") == 1 and len(bare) < len(data) else b""


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, memoryview]]:
    """Yield the chunks of a PNG by name, each whole: length (4 bytes), name (4), body, checksum (4)."""
    at, whole = 8, memoryview(data)
    while data.startswith(_PNG) and at + 8 <= len(data):
        end = at + 12 + int.from_bytes(data[at : at + 4])  # the last one may go beyond the file
        yield data[at + 4 : at + 8], whole[at:end]
        at = end


@contextlib.contextmanager
def _opened(data: bytes) -> Iterator[tuple[Image.Image, Facts]]:
    """Open with the limit and the errors that `decode` promises, for whatever is done inside the block too."""
    if not data:
        raise DataError("the file is empty (0 bytes)")
    _quiet()
    try:
        _check_tags(data)  # of a TIFF: to open it is to unpack them
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            width, height = image.size
            if width * height > MAX_PIXELS:
                raise DataError(f"the header claims {width} x {height} pixels, above the limit of {MAX_PIXELS}")
            if _tile_pixels(image) > MAX_PIXELS:  # libtiff holds a whole tile, however small the image
                raise DataError(f"the header claims tiles above the limit of {MAX_PIXELS} pixels")
            yield image, _facts(image, data)
    except DataError:
        raise
    except UnidentifiedImageError:
        raise DataError("no image of a known format (unknown or damaged header)") from None
    except Image.DecompressionBombError:
        raise DataError(f"the header claims more pixels than the limit of {MAX_PIXELS}") from None
    except Exception as error:  # Pillow's plug-ins raise nearly anything on damaged bytes
        text = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"cannot be decoded: {text}") from None


def _facts(image: Image.Image, data: bytes) -> Facts:
    qtables = getattr(image, "quantization", None) or {}
    exif = _exif(image, data)
    names = ((ExifTags.TAGS.get(tag, str(tag)), str(value)[:80]) for tag, value in exif.items())
    orientation = exif.get(ExifTags.Base.Orientation, 1)
    width, height = _stored_size(image)
    return Facts(
        format="JPEG" if image.format == "MPO" else image.format or "",
        width=width,
        height=height,
        bytes=len(data),
        mode=image.mode,
        subsampling=_subsampling(image),
        qtables=tuple(tuple(int(v) for v in qtables[key]) for key in sorted(qtables)),
        progressive=bool(image.info.get("progressive", False)),
        orientation=orientation if isinstance(orientation, int) and 1 <= orientation <= 8 else 1,
        exif=tuple(sorted(names)),
    )


def _stored_size(image: Image.Image) -> tuple[int, int]:
    # of a TIFF on its side, and of nothing else, Pillow states the size after the turn that is not done here
    tags: Any = getattr(image, "tag_v2", None) if image.format == "TIFF" else None
    if not tags:
        return image.size
    return int(tags[ExifTags.Base.ImageWidth]), int(tags[ExifTags.Base.ImageLength])


def _tile_pixels(image: Image.Image) -> int:
    tags: Any = getattr(image, "tag_v2", None) or {}
    return int(tags.get(ExifTags.Base.TileWidth, 0)) * int(tags.get(ExifTags.Base.TileLength, 0))


def _exif(image: Image.Image, data: bytes) -> Image.Exif:
    # Pillow decodes a whole PNG to look for EXIF after the pixels; only a file that names such a chunk needs that
    if image.format == "PNG" and not any(key in data for key in (b"eXIf", b"Raw profile type", b"adobe.xmp")):
        return Image.Exif()
    try:
        _check_tags(image.info.get("exif", b"").removeprefix(b"Exif\0\0"))
        return image.getexif()
    except Exception:  # Pillow raises nearly anything here too
        if image.format in ("TIFF", "PNG"):  # a TIFF is made of tags; of a PNG all metadata are then left out
            raise
        return Image.Exif()


def _check_tags(data: bytes) -> None:
    """Raise DataError where the first directory of a TIFF or of EXIF lists very many numbers.

    Pillow makes objects of each, which takes a hundred times their memory and minutes; text and bytes are cheap.
    """
    if data[:4] not in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return
    order, big = "<" if data[:1] == b"I" else ">", b"+" in data[2:4]
    pointer, length, entry = (8, "Q", "HHQ8x") if big else (4, "H", "HHI4x")
    with contextlib.suppress(struct.error):  # too short, and for Pillow to say so
        (start,) = struct.unpack_from(order + ("Q" if big else "I"), data, pointer)
        (n_entries,) = struct.unpack_from(order + length, data, start)
        n_numbers = 0
        for k in range(min(n_entries, 1 << 16)):
            at = start + struct.calcsize(order + length) + k * struct.calcsize(order + entry)
            _, kind, count = struct.unpack_from(order + entry, data, at)
            if kind not in (1, 2, 6, 7) and count <= len(data):  # what claims more than the file is passed over
                n_numbers += count
        if n_numbers > _MAX_NUMBERS:
            raise DataError(f"its tags list {n_numbers} numbers, above the limit of {_MAX_NUMBERS}")


def _subsampling(image: Image.Image) -> str:
    layer: Any = getattr(image, "layer", None)  # [(component, h, v, table), ...] of Pillow's JPEG plug-in
    if not layer or len(layer) != 3:
        return ""
    ratio = (layer[0][1] // max(layer[1][1], 1), layer[0][2] // max(layer[1][2], 1))
    return {(1, 1): "4:4:4", (2, 1): "4:2:2", (2, 2): "4:2:0", (1, 2): "4:4:0", (4, 1): "4:1:1"}.get(ratio, "other")


def _pixels(image: Image.Image, data: bytes, facts: Facts) -> np.ndarray:
    pixels = _fast_jpeg(data, facts)
    return _to_rgb(image) if pixels is None else pixels


def _fast_jpeg(data: bytes, facts: Facts) -> np.ndarray | None:
    """Decode with simplejpeg, or return None where Pillow must decide (absent, CMYK, any warning)."""
    if facts.format != "JPEG" or facts.mode not in ("RGB", "L") or not _has_simplejpeg():
        return None
    import simplejpeg

    try:
        # the size was checked as Pillow reads it: a damaged header may say another one here
        if simplejpeg.decode_jpeg_header(data)[:2] != (facts.height, facts.width):
            return None
        return np.asarray(simplejpeg.decode_jpeg(data, "RGB", fastdct=False, fastupsample=False, strict=True))
    except ValueError:
        return None


@functools.cache
def _quiet() -> None:
    """Keep off stderr what Pillow's log and libtiff say of a damaged file: the reason is in the DataError."""
    logging.getLogger("PIL").addHandler(logging.NullHandler())
    with contextlib.suppress(OSError, AttributeError):  # linked into Pillow in another way
        ctypes.CDLL(_imaging.__file__).TIFFSetErrorHandler(None)


@functools.cache
def _has_simplejpeg() -> bool:
    return importlib.util.find_spec("simplejpeg") is not None


def _to_rgb(image: Image.Image) -> np.ndarray:
    if image.format == "TIFF":  # Pillow would turn a TIFF, and nothing else, by its orientation
        image.getexif().pop(ExifTags.Base.Orientation, None)
        image = image.copy()  # the copy has the size of the stored pixels, the original that of the turned ones
    if image.mode in _SIXTEEN_BIT:
        high = (np.asarray(image).astype(np.uint16) >> 8).astype(np.uint8)
        return np.repeat(high[:, :, None], 3, axis=2)
    if image.mode not in _EIGHT_BIT:
        raise DataError(f"pixel type '{image.mode}' has no agreed range; convert the image to 8 or 16 bits a sample")
    if image.mode in ("P", "PA"):  # in one step Pillow warns where a palette has transparency
        image = image.convert("RGBA")
    if image.mode in ("RGBA", "RGBX"):
        return np.ascontiguousarray(np.asarray(image)[:, :, :3])
    if image.mode == "LA":
        return np.repeat(np.asarray(image)[:, :, :1], 3, axis=2)
    if image.mode != "RGB":  # it would be copied
        image = image.convert("RGB")
    return np.array(image)


@functools.cache
def ijg_luma_tables() -> np.ndarray:
    """Return libjpeg's luma tables of qualities 1 to 100, (100, 64) int64 row by row: annex K of ITU-T T.81, scaled."""
    base = np.array([
        16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55, 14, 13, 16, 24, 40, 57, 69, 56,
        14, 17, 22, 29, 51, 87, 80, 62, 18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92,
        49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99,
    ])  # fmt: skip
    quality = np.arange(1, 101)
    scale = np.where(quality < 50, 5000 // quality, 200 - 2 * quality)
    return np.asarray(np.clip((base[None] * scale[:, None] + 50) // 100, 1, 255))
