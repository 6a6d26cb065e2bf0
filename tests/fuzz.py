"""A mutation fuzzer of image files: real photographs in every container that is read, and what damage does to them.

`mutant(sources, seed, number)` is always the same bytes for the same sources, so a finding is replayed by two
numbers.  Most mutations are blind to structure; a few keep a container's frame intact (a PNG's checksums, a RIFF's
length), since otherwise the first check of a decoder would hide everything behind it.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import resource
import struct
import sys
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageOps
from PIL.PngImagePlugin import PngInfo

from fdetect.bench.data.builtin import PHOTOGRAPHS
from fdetect.errors import DataError
from fdetect.images import Geometry, decode
from fdetect.types import Batch

__all__ = ["CENTRE", "PeakMemory", "chunk", "decode_apart", "mutant", "mutant_of", "png", "sources"]


CENTRE = Geometry("aligned_crop", 64)


def sources() -> dict[str, bytes]:
    """Photographs that are installed anyway, 96 to 200 px, by the name of their container and its variant."""
    pictures = [Image.open(one.path).convert("RGB") for one in PHOTOGRAPHS if one.path is not None]
    made: dict[str, bytes] = {}
    for k, (name, write) in enumerate(_writers().items()):
        picture = pictures[k % len(pictures)]
        size = (96 + 8 * (k % 13), 200 - 7 * (k % 14))  # odd and even, upright and across; all above 72
        made[name] = write(ImageOps.fit(picture, size, Image.Resampling.BICUBIC, centering=(0.3, 0.6)))
    return made


def mutant(from_: Mapping[str, bytes], seed: int, number: int) -> bytes:
    """Return mutant `number` of the series `seed`: one to five mutations of one of the sources."""
    return mutant_of(from_, seed, number)[1]


def mutant_of(from_: Mapping[str, bytes], seed: int, number: int) -> tuple[str, bytes]:
    """Return the name of the source of mutant `number`, and the mutant."""
    rng = random.Random(f"{seed}/{number}")
    names = sorted(from_)
    source = rng.choice(names)
    data = from_[source]
    for _ in range(rng.choice((1, 1, 1, 2, 2, 3, 5))):
        mutate = rng.choice(MUTATIONS)
        data = mutate(data, rng, from_[rng.choice(names)]) if data else b"\0"
    return source, data


@dataclass(frozen=True)
class PeakMemory:
    """An engine task: the largest resident set that the worker process ever had, in MiB."""

    name: str = "peak"
    version: str = "1"
    geometry: Geometry = CENTRE
    in_process: bool = False
    columns: tuple[str, ...] = ("peak:mib",)

    @property
    def settings(self) -> Mapping[str, Any]:
        return {}

    def __call__(self, batch: Batch) -> np.ndarray:
        with open("/proc/self/status") as file:
            kib = next(int(line.split()[1]) for line in file if line.startswith("VmHWM"))
        return np.full((len(batch), 1), kib / 1024, np.float32)


# --- containers ---------------------------------------------------------------------------------------------------


def chunk(name: bytes, body: bytes) -> bytes:
    """A PNG chunk with its length and checksum."""
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png(size: tuple[int, int], kind: bytes, *chunks: bytes) -> bytes:
    """A PNG of ready chunks; `kind` is depth, colour type, compression, filter, interlace."""
    header = chunk(b"IHDR", struct.pack(">II", *size) + kind)
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + chunk(b"IEND", b"")


Writer = Callable[[Image.Image], bytes]


def _writers() -> dict[str, Writer]:
    exif = Image.Exif()
    exif[274], exif[271], exif[305] = 6, "A maker", "a program of some name"
    exif.get_ifd(0x8769)[36867] = "2020:02:02 02:02:02"
    marks: dict[str, Any] = {"exif": exif, "icc_profile": bytes(range(256)) * 2, "dpi": (72, 72)}
    texts = PngInfo()
    texts.add_text("Comment", "plain text")
    texts.add_text("parameters", "a prompt, " * 40, zip=True)
    texts.add_itxt("Title", "ein Titel äöü", "de", zip=True)
    made: dict[str, Writer] = {
        "jpeg": _pillow("JPEG", quality=90),
        "jpeg 4:4:4": _pillow("JPEG", quality=75, subsampling=0),
        "jpeg 4:2:2 optimised": _pillow("JPEG", quality=95, subsampling=1, optimize=True, comment=b"no comment"),
        "jpeg progressive": _pillow("JPEG", quality=80, progressive=True),
        "jpeg restart": _pillow("JPEG", quality=85, restart_marker_rows=1),
        "jpeg marks": _pillow("JPEG", quality=85, **marks),
        "jpeg cmyk": _pillow("JPEG", "CMYK", quality=85),
        "jpeg grey": _pillow("JPEG", "L", quality=85),
        "jpeg twice": lambda p: _saved(p, "MPO", save_all=True, append_images=[p.rotate(180)]),
        "png": _pillow("PNG"),
        "png palette": lambda p: _saved(p.quantize(64), "PNG"),
        "png palette transparent": lambda p: _saved(p.quantize(16), "PNG", transparency=3),
        "png transparent colour": _pillow("PNG", transparency=(1, 2, 3)),
        "png 16 bits": lambda p: _saved(_sixteen_bits(p), "PNG"),
        "png alpha": lambda p: _saved(_with_alpha(p), "PNG"),
        "png grey": _pillow("PNG", "L"),
        "png grey alpha": _pillow("PNG", "LA"),
        "png one bit": _pillow("PNG", "1"),
        "png interlaced": _interlaced_png,
        "png texts": _pillow("PNG", pnginfo=texts, **marks),
        "png animated": lambda p: _saved(p, "PNG", save_all=True, append_images=[p.rotate(180)]),
        "webp": _pillow("WEBP", quality=80),
        "webp lossless": _pillow("WEBP", lossless=True),
        "webp alpha": lambda p: _saved(_with_alpha(p), "WEBP", quality=70),
        "webp marks": _pillow("WEBP", quality=60, exif=exif, icc_profile=bytes(200)),
        "webp animated": lambda p: _saved(p, "WEBP", save_all=True, append_images=[p.rotate(180)]),
        "tiff": _pillow("TIFF"),
        "tiff 16 bits": lambda p: _saved(_sixteen_bits(p), "TIFF"),
        "tiff 16 bits lzw": lambda p: _saved(_sixteen_bits(p), "TIFF", compression="tiff_lzw"),
        "tiff alpha": lambda p: _saved(_with_alpha(p), "TIFF", compression="tiff_adobe_deflate"),
        "tiff cmyk": _pillow("TIFF", "CMYK"),
        "tiff big": _pillow("TIFF", big_tiff=True),
        "tiff marks": _pillow("TIFF", compression="tiff_lzw", exif=exif),
        "tiff pages": lambda p: _saved(p, "TIFF", save_all=True, append_images=[p.rotate(180)]),
        "tiff tiles": _tiled_tiff,
        "tiff fax": _pillow("TIFF", "1", compression="group4"),
        "gif": _pillow("GIF"),
        "gif transparent": lambda p: _saved(p.quantize(32), "GIF", transparency=5, interlace=False),
        "gif animated": lambda p: _saved(p, "GIF", save_all=True, append_images=[p.rotate(180)], duration=50),
        "bmp": _pillow("BMP"),
        "bmp palette": lambda p: _saved(p.quantize(256), "BMP"),
        "ppm": _pillow("PPM"),
        "pgm": _pillow("PPM", "L"),
    }
    for compression in ("tiff_lzw", "tiff_adobe_deflate", "jpeg", "packbits"):
        made[f"tiff {compression}"] = _pillow("TIFF", compression=compression)
    if _has("jpg_2000"):
        made["jpeg 2000"] = _pillow("JPEG2000")
        made["jpeg 2000 tiles"] = _pillow("JPEG2000", tile_size=(64, 64), irreversible=True, no_jp2=True)
    if _has("avif"):
        made["avif"] = _pillow("AVIF", quality=60, speed=10)
        made["avif marks"] = _pillow("AVIF", quality=60, speed=10, exif=exif)
    return made


def _has(name: str) -> bool:
    from PIL import features

    return bool(features.check(name))


def _pillow(container: str, mode: str = "RGB", **options: Any) -> Writer:
    return lambda picture: _saved(picture.convert(mode), container, **options)


def _saved(picture: Image.Image, container: str, **options: Any) -> bytes:
    file = io.BytesIO()
    picture.save(file, container, **options)
    return file.getvalue()


def _with_alpha(picture: Image.Image) -> Image.Image:
    picture.putalpha(Image.linear_gradient("L").resize(picture.size))
    return picture


def _sixteen_bits(picture: Image.Image) -> Image.Image:
    return Image.fromarray(np.asarray(picture.convert("L")).astype(np.uint16) * 257)


def _interlaced_png(picture: Image.Image) -> bytes:
    """Adam7, which Pillow reads and does not write."""
    pixels, rows = np.asarray(picture), b""
    for top, left, down, right in ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2),
                                   (1, 0, 2, 1)):  # fmt: skip
        rows += b"".join(b"\0" + row.tobytes() for row in pixels[top::down, left::right])
    return png(picture.size, b"\x08\x02\0\0\x01", chunk(b"IDAT", zlib.compress(rows)))


def _tiled_tiff(picture: Image.Image) -> bytes:
    """Deflated tiles of 64 px, which Pillow reads and does not write."""
    pixels = np.asarray(picture)
    height, width = pixels.shape[:2]
    pixels = np.pad(pixels, ((0, -height % 64), (0, -width % 64), (0, 0)))
    tiles = [zlib.compress(pixels[top : top + 64, left : left + 64].tobytes())
             for top in range(0, height, 64) for left in range(0, width, 64)]  # fmt: skip
    n, start = len(tiles), 8 + 2 + 12 * 11 + 4
    offsets = [start + 6 + 8 * n + sum(map(len, tiles[:k])) for k in range(n)]
    entries = [(256, 4, 1, width), (257, 4, 1, height), (258, 3, 3, start), (259, 4, 1, 8), (262, 4, 1, 2),
               (277, 4, 1, 3), (284, 4, 1, 1), (322, 4, 1, 64), (323, 4, 1, 64), (324, 4, n, start + 6),
               (325, 4, n, start + 6 + 4 * n)]  # fmt: skip
    directory = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", *one) for one in entries) + bytes(4)
    lists = struct.pack("<HHH", 8, 8, 8) + struct.pack(f"<{2 * n}I", *offsets, *map(len, tiles))
    return b"II*\0" + struct.pack("<I", 8) + directory + lists + b"".join(tiles)


# --- mutations: (data, rng, other) -> data ------------------------------------------------------------------------

EDGES = (0, 1, 2, 7, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)

TOKENS = (
    *(bytes((0xFF, mark)) for mark in (0xD8, 0xC0, 0xC1, 0xC2, 0xC4, 0xD0, 0xD9, 0xDA, 0xDB, 0xDD, 0xE0, 0xE1, 0xEE)),
    *(b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND", b"iCCP", b"zTXt", b"iTXt", b"eXIf", b"acTL", b"fcTL", b"fdAT"),
    *(b"RIFF", b"WEBP", b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ANIM", b"ANMF", b"EXIF", b"ICCP"),
    *(b"II*\0", b"MM\0*", b"II+\0", b"GIF87a", b"GIF89a", b"NETSCAPE2.0", b"\x21\xf9\x04", b"\x2c", b"\x3b", b"BM"),
    *(b"P6\n", b"P5\n", b"jP  ", b"ihdr", b"jp2c", b"\xff\x4f", b"\xff\x51", b"\xff\x90", b"ftypavif", b"ispe"),
    *(struct.pack("<H", tag) for tag in (256, 257, 258, 259, 262, 273, 277, 278, 279, 320, 322, 323, 324, 325, 347)),
)


def _place(data: bytes, rng: random.Random) -> int:
    """A third of all damage goes to the head, where the sizes are."""
    return rng.randrange(min(len(data), 200) if rng.random() < 1 / 3 else len(data))


def _block(data: bytes, rng: random.Random) -> slice:
    start = _place(data, rng)
    return slice(start, start + int(2 ** rng.uniform(0, 9)))


def flip_bits(data: bytes, rng: random.Random, other: bytes) -> bytes:
    out = bytearray(data)
    for _ in range(int(2 ** rng.uniform(0, 6))):
        out[_place(data, rng)] ^= 1 << rng.randrange(8)
    return bytes(out)


def set_bytes(data: bytes, rng: random.Random, other: bytes) -> bytes:
    out = bytearray(data)
    for _ in range(int(2 ** rng.uniform(0, 5))):
        out[_place(data, rng)] = rng.choice((0, 255, rng.randrange(256)))
    return bytes(out)


def cut_short(data: bytes, rng: random.Random, other: bytes) -> bytes:
    return data[: _place(data, rng)]


def delete_block(data: bytes, rng: random.Random, other: bytes) -> bytes:
    block = _block(data, rng)
    return data[: block.start] + data[block.stop :]


def repeat_block(data: bytes, rng: random.Random, other: bytes) -> bytes:
    block = _block(data, rng)
    return data[: block.start] + data[block] * rng.choice((2, 2, 3, 50)) + data[block.stop :]


def swap_blocks(data: bytes, rng: random.Random, other: bytes) -> bytes:
    a, b, c, d = sorted(_place(data, rng) for _ in range(4))
    return data[:a] + data[c:d] + data[b:c] + data[a:b] + data[d:]


def insert_block(data: bytes, rng: random.Random, other: bytes) -> bytes:
    at, block = _place(data, rng), rng.choice((rng.randbytes(rng.randrange(1, 300)), other[_block(other, rng)]))
    return data[:at] + block + data[at:]


def splice(data: bytes, rng: random.Random, other: bytes) -> bytes:
    return data[: _place(data, rng)] + other[_place(other, rng) :]


def set_number(data: bytes, rng: random.Random, other: bytes) -> bytes:
    at, order, size = _place(data, rng), rng.choice("<>"), rng.choice("HI")
    value = struct.pack(order + size, rng.choice(EDGES) & (0xFFFF if size == "H" else 0xFFFFFFFF))
    return data[:at] + value + data[at + len(value) :]


def set_token(data: bytes, rng: random.Random, other: bytes) -> bytes:
    at, token = _place(data, rng), rng.choice(TOKENS)
    return data[:at] + token + data[at + rng.choice((0, len(token))) :]


def append_junk(data: bytes, rng: random.Random, other: bytes) -> bytes:
    return data + rng.choice((other, bytes(rng.randrange(1, 5000)), rng.randbytes(rng.randrange(1, 5000))))


def inside_png_chunk(data: bytes, rng: random.Random, other: bytes) -> bytes:
    """Damage one chunk's content and make its checksum right again; of IDAT, what is inside the compression."""
    chunks = []
    at = 8
    while data.startswith(b"\x89PNG") and at + 12 <= len(data):
        (size,) = struct.unpack_from(">I", data, at)
        chunks.append((at, data[at + 4 : at + 8], data[at + 8 : at + 8 + size]))
        at += 12 + size
    if not chunks:
        return set_number(data, rng, other)
    at, name, body = rng.choice(chunks)
    damage = rng.choice((flip_bits, set_bytes, set_number, cut_short, insert_block))
    damaged = b""
    with contextlib.suppress(zlib.error):
        damaged = zlib.compress(damage(zlib.decompress(body), rng, other)) if name == b"IDAT" and body else b""
    damaged = damaged or damage(body or b"\0", rng, other)
    return data[:at] + chunk(name, damaged) + data[at + 12 + len(body) :]


def inside_jpeg_segment(data: bytes, rng: random.Random, other: bytes) -> bytes:
    """Damage one header segment of a JPEG and state its length rightly; or drop or repeat it."""
    segments = []
    at = 2
    while data.startswith(b"\xff\xd8") and at + 4 <= len(data) and data[at] == 0xFF:
        (size,) = struct.unpack_from(">H", data, at + 2)
        segments.append((at, data[at + 4 : at + 2 + size]))
        if data[at + 1] == 0xDA:
            break
        at += 2 + size
    if not segments:
        return set_number(data, rng, other)
    at, body = rng.choice(segments)
    times = rng.choice((1, 1, 1, 1, 0, 2))
    if times == 1:
        damage = rng.choice((flip_bits, set_bytes, set_number, cut_short))
        damaged = damage(body or b"\0", rng, other)
    else:
        damaged = body
    segment = data[at : at + 2] + struct.pack(">H", (len(damaged) + 2) & 0xFFFF) + damaged
    return data[:at] + segment * times + data[at + 4 + len(body) :]


def inside_tiff_entry(data: bytes, rng: random.Random, other: bytes) -> bytes:
    """Change tag, type, count or value of one entry of the first directory of a TIFF, or of EXIF in another file."""
    starts = [at for mark in (b"II*\0", b"MM\0*") if (at := data.find(mark)) >= 0]
    if not starts:
        return set_number(data, rng, other)
    start = min(starts)
    order = "<" if data[start : start + 1] == b"I" else ">"
    with contextlib.suppress(struct.error):
        (offset,) = struct.unpack_from(order + "I", data, start + 4)
        (count,) = struct.unpack_from(order + "H", data, start + offset)
        at = start + offset + 2 + 12 * rng.randrange(max(count, 1))
        entry = list(struct.unpack_from(order + "HHII", data, at))
        field = rng.randrange(4)
        entry[field] = rng.choice((*EDGES, entry[field] + 1, entry[field] * 2)) & (0xFFFF if field < 2 else 0xFFFFFFFF)
        return data[:at] + struct.pack(order + "HHII", *entry) + data[at + 12 :]
    return set_number(data, rng, other)


def right_riff_length(data: bytes, rng: random.Random, other: bytes) -> bytes:
    """Damage a RIFF behind its head, and state the length of what came out."""
    if not data.startswith(b"RIFF") or len(data) < 20:
        return set_token(data, rng, other)
    body = rng.choice((flip_bits, set_number, delete_block, repeat_block))(data[12:], rng, other)
    return b"RIFF" + struct.pack("<I", len(body) + 4) + data[8:12] + body


MUTATIONS = (
    *(flip_bits, set_bytes, cut_short, delete_block, repeat_block, swap_blocks, insert_block, splice, set_number),
    *(set_number, set_token, append_junk, inside_png_chunk, inside_jpeg_segment, inside_tiff_entry, right_riff_length),
)


# --- python fuzz.py MEMORY FILE...: decode each file in a process of its own --------------------------------------


def decode_apart(memory: int, path: str) -> tuple[str, int, float]:
    """Decode a file in a fork of this process that may have `memory` bytes of address space beyond today's.

    Returns "decoded H W", the reason of the DataError, or another error or signal after "!"; the growth of the
    resident set at its peak, in bytes; and the seconds of processor time that the fork took, whatever else runs.
    """
    with open("/proc/self/statm") as file:
        size, resident = (int(pages) * resource.getpagesize() for pages in file.read().split()[:2])
    with open(path, "rb") as file:
        data = file.read()
    heard, said = os.pipe()
    child = os.fork()
    if not child:
        outcome = "!"
        try:
            resource.setrlimit(resource.RLIMIT_AS, (size + memory, resource.RLIM_INFINITY))
            outcome = "decoded {} {}".format(*decode(data).pixels.shape)
        except DataError as error:
            outcome = str(error)
        except BaseException as error:
            outcome = f"!{error!r}"
        finally:
            os.write(said, outcome.encode()[:4000])
            os._exit(0)
    os.close(said)
    with open(heard, "rb") as pipe:
        outcome = pipe.read().decode()
    _, status, usage = os.wait4(child, 0)
    outcome = f"!status {status}" if status else outcome
    return outcome, usage.ru_maxrss * 1024 - resident, usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    for name in sys.argv[2:]:
        print(json.dumps(decode_apart(int(sys.argv[1]), name)), flush=True)
