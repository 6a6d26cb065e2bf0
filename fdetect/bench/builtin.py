"""The built-in benchmark: photographs that are installed anyway, and the same crops through simulated decoders.

It shows the machinery offline, in seconds, without torch; its numbers are never quoted as detection quality.

Reals are 160-px crops (so that the 128-px conditions can shift within them) of 15 photographs bundled with
scikit-image and scikit-learn, found by path: neither package is imported, nothing is downloaded.  Taken are camera
pictures with detail: people, animals, things, places, two textures, a star field (Hubble), the moon, a fundus and a
stained tissue under a microscope; five of them are grey.  Left out are drawings, masks and patterns (chessboard,
colour wheel, horse, logo, phantom), pictures of text (page, text), a hologram's computed phase (cell), a warped
material map of unknown origin (brick), a motion-blurred clock without detail, what is smaller than a crop, and the
second view of the motorcycle.

What the reals are not: camera originals.  Most were scaled or edited before they were published.  Five come from
JPEG files (hubble_deep_field, retina, rocket, china, flower), cut here at any phase of the 8-px grid, and some of
the others were JPEGs once; halving wipes out most of that in the fakes.  Real crops also keep more of the finest
detail than any decoder's output: that alone separates the classes, and it is meant to.

Every fake has the content of its real (the transposed convolution shifts it by half a pixel), and both share one
`group`, the source photograph.  All files are PNGs of one length without compression, so neither bytes nor container
tell the classes apart; the encoder is a few lines below so that file bytes, hence content hashes and the crops that
follow from them, are also equal on every machine.
"""

from __future__ import annotations

import csv
import importlib.util
import io
import logging
import os
import secrets
import shutil
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import xxhash

from fdetect.bench.simulate import DECODERS
from fdetect.errors import DataError, ParameterError
from fdetect.images import decode
from fdetect.types import FAKE, MANIFEST_COLUMNS, REAL

__all__ = ["CROPS_PER_PHOTOGRAPH", "DESCRIPTION", "PHOTOGRAPHS", "SIDE", "VERSION", "builtin_manifest", "is_flat"]

VERSION = 1  # raise it with any change of a pixel
SIDE = 160
CROPS_PER_PHOTOGRAPH = 12  # so that the three largest photographs do not outweigh the rest

DESCRIPTION = (
    "Built-in benchmark: 160-px crops of 15 photographs that come with scikit-image and scikit-learn, against the "
    "same crops through simulated decoders (sim-nearest, sim-bilinear, sim-transposed, sim-shuffle: halved, then "
    "up-sampled with fixed integer kernels, nothing learned). No generative model made any of these images: the "
    "numbers show that the machinery works and say nothing about the detection of AI-generated images."
)

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Photograph:
    """One source: where its package keeps it, and the xxh3_128 of its RGB pixels as version 1 knows them."""

    name: str
    package: str  # what `real_source` says
    file: str  # relative to the package's import folder
    category: str
    pixels: str

    @property
    def path(self) -> Path | None:
        """The installed file, or None where the package or the file is absent; imports nothing."""
        module = {"scikit-image": "skimage", "scikit-learn": "sklearn"}[self.package]
        spec = importlib.util.find_spec(module)
        folders = spec.submodule_search_locations if spec else None
        found = [Path(folder) / self.file for folder in folders or ()]
        return next((path for path in found if path.is_file()), None)


PHOTOGRAPHS = (
    Photograph("astronaut", "scikit-image", "data/astronaut.png", "scene", "e3855c00236c1fcb64ebd9516c6d0b8f"),
    Photograph("camera", "scikit-image", "data/camera.png", "scene", "ed577534f289de49f82858647d7415c9"),
    Photograph("chelsea", "scikit-image", "data/chelsea.png", "scene", "e8bd9764e0953c9ea011860d28c4d99e"),
    Photograph("coffee", "scikit-image", "data/coffee.png", "scene", "b26de89c8442fb5cbd38a563f83939b6"),
    Photograph("coins", "scikit-image", "data/coins.png", "scene", "329dea9db9883836c2e4658c1aa857da"),
    Photograph("grass", "scikit-image", "data/grass.png", "texture", "972d0f4503406f9bbbe22829f54bcc0e"),
    Photograph("gravel", "scikit-image", "data/gravel.png", "texture", "6237766c21a0bedce1374b9d1b6f6e31"),
    Photograph("hubble", "scikit-image", "data/hubble_deep_field.jpg", "science", "48af8a102ce8436447525d713dfc65aa"),
    Photograph("moon", "scikit-image", "data/moon.png", "science", "7dd36c366d05a21cbc7f36d7b20b1ecc"),
    Photograph("motorcycle", "scikit-image", "data/motorcycle_left.png", "scene", "891376fc085c16433c12004d3fc7068e"),
    Photograph("retina", "scikit-image", "data/retina.jpg", "science", "140ea2277e1cfd1daa1707c222ab6c7a"),
    Photograph("rocket", "scikit-image", "data/rocket.jpg", "scene", "b51689744154af1973f85c1c93f236a0"),
    Photograph("tissue", "scikit-image", "data/ihc.png", "science", "2f10145025b59926b962e68058250f9f"),
    Photograph("china", "scikit-learn", "datasets/images/china.jpg", "scene", "c763644aab074e9fcfb76cc5351e62ad"),
    Photograph("flower", "scikit-learn", "datasets/images/flower.jpg", "scene", "158e4146ad4a84b2d73fa95d29f15f63"),
)


def builtin_manifest(folder: Path, *, seed: int = 0) -> pa.Table:
    """Write the built-in images below a folder, or keep them where they are complete, and return their manifest.

    The images go to `folder/builtin-v<VERSION>-seed<seed>`: `real/<photograph>-<crop>.png` and
    `sim-<layer>/<photograph>-<crop>.png`, SIDE x SIDE RGB, with `manifest.csv` and the xxh3_128 of every image's
    RGB pixels in `pixels.xxh3`.  All are made anew in memory (about a second) and compared with what is stored: a
    file that is missing or differs is written again, each file is replaced whole, a fresh folder appears only when
    it is complete, and nothing else there is touched.  The seed moves the grid of crops within each photograph and
    draws the crops of photographs that have more than CROPS_PER_PHOTOGRAPH.

    Returns a table with columns MANIFEST_COLUMNS (strings, `label` int64; `path` relative to that folder) and the
    schema metadata `fdetect.root` (that folder, absolute) and `fdetect.layout` ("builtin").

    Raises ParameterError for a negative seed; DataError where most photographs are not installed or the folder
    cannot be written.  A single absent or altered photograph is logged as a warning: the rest is made.
    """
    if seed < 0:
        raise ParameterError(f"--seed {seed} is negative; choose 0 or more")
    root = Path(os.path.abspath(folder)) / f"builtin-v{VERSION}-seed{seed}"
    images = _images(seed)
    paths = list(images)
    files = {path: _png(pixels) for path, pixels in images.items()}
    files["manifest.csv"] = _csv(paths)
    files["pixels.xxh3"] = "".join(f"{_pixel_hash(images[path])}  {path}\n" for path in paths).encode()
    try:
        _write(root, files)
    except OSError as error:
        reason = error.strerror or str(error)
        raise DataError(f"cannot write the built-in images to '{root}' ({reason}); name another folder") from None
    metadata = {b"fdetect.root": os.fsencode(root), b"fdetect.layout": b"builtin"}
    columns = dict(zip(MANIFEST_COLUMNS, zip(*map(_row, paths), strict=True), strict=True))
    types = [(name, pa.int64() if name == "label" else pa.string()) for name in MANIFEST_COLUMNS]
    return pa.table(columns, schema=pa.schema(types, metadata=metadata))


def is_flat(pixels: np.ndarray) -> bool:
    """Tell whether a crop has almost no texture, by an integer rule: such crops are left out.

    (H, W, 3) uint8 -> bool.  With grey = (R + 2G + B + 2) >> 2, a crop is flat where fewer than 1 in 16 of its
    horizontally or vertically neighbouring pixel pairs differ by 4 or more (clear sky, the border of the retina).
    """
    wide = pixels.astype(np.int32)
    grey = (wide[:, :, 0] + 2 * wide[:, :, 1] + wide[:, :, 2] + 2) >> 2
    steps = [np.abs(np.diff(grey, axis=axis)) for axis in (0, 1)]
    return bool(16 * sum(int((step >= 4).sum()) for step in steps) < sum(step.size for step in steps))


def _write(root: Path, files: dict[str, bytes]) -> None:
    """Write what is missing or damaged; a folder that does not exist yet is filled aside and then renamed."""
    token = f"{os.getpid()}-{secrets.token_hex(4)}"
    if not root.exists():
        aside = root.with_name(f".{root.name}-{token}")
        try:
            _write_files(aside, files, token)
            os.replace(aside, root)
            return
        except OSError:
            if not root.is_dir():  # otherwise another process was first: look through what it wrote
                raise
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    _write_files(root, files, token)


def _write_files(folder: Path, files: dict[str, bytes], token: str) -> None:
    for name, data in files.items():
        path = folder / name
        if path.is_file() and path.read_bytes() == data:
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}-{token}")
        try:
            temporary.write_bytes(data)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


def _images(seed: int) -> dict[str, np.ndarray]:
    """All images by path: the reals first, then each decoder's."""
    crops = {
        f"{name}-{number:02d}.png": crop
        for name, pixels in _photographs().items()
        for number, crop in enumerate(_crops(pixels, name, seed))
    }
    images = {f"real/{name}": crop for name, crop in crops.items()}
    for decoder, simulate in DECODERS.items():
        images |= {f"{decoder}/{name}": simulate(crop) for name, crop in crops.items()}
    return images


def _photographs() -> dict[str, np.ndarray]:
    """Pixels of the installed photographs by name; one that is absent, damaged or altered is logged."""
    found: dict[str, np.ndarray] = {}
    for photograph in PHOTOGRAPHS:
        path = photograph.path
        try:
            if path is None:
                raise DataError("it is not installed")
            pixels = decode(path.read_bytes()).pixels
        except (DataError, OSError) as error:
            _log.warning("built-in benchmark: %s of %s is left out: %s", photograph.file, photograph.package, error)
            continue
        if _pixel_hash(pixels) != photograph.pixels:
            _log.warning("built-in benchmark: %s of %s does not have the pixels of version %d of the set: figures "
                         "will differ from other machines", photograph.file, photograph.package, VERSION)  # fmt: skip
        found[photograph.name] = pixels
    if 2 * len(found) < len(PHOTOGRAPHS):
        raise DataError(
            f"the built-in benchmark can read {len(found)} of its {len(PHOTOGRAPHS)} photographs; "
            "repair with: pip install --force-reinstall scikit-image scikit-learn"
        )
    return found


def _crops(pixels: np.ndarray, name: str, seed: int) -> list[np.ndarray]:
    """Cut a grid of crops that do not overlap, its origin drawn; drop the flat ones; draw at most the cap."""
    height, width = pixels.shape[:2]
    top = _draw(height % SIDE + 1, seed, name, "top")
    left = _draw(width % SIDE + 1, seed, name, "left")
    corners = [(y, x) for y in range(top, height - SIDE + 1, SIDE) for x in range(left, width - SIDE + 1, SIDE)]
    grid = [np.ascontiguousarray(pixels[y : y + SIDE, x : x + SIDE]) for y, x in corners]
    textured = [crop for crop in grid if not is_flat(crop)]
    order = sorted(range(len(textured)), key=lambda index: _draw(1 << 64, seed, name, "crop", index))
    return [textured[index] for index in sorted(order[:CROPS_PER_PHOTOGRAPH])]


def _draw(below: int, *key: object) -> int:
    """Return an integer in 0..below-1 from a hash of the key: unlike a generator's stream, the same for ever."""
    return xxhash.xxh3_64_intdigest("/".join(map(str, key)).encode()) % below


def _row(path: str) -> tuple[str | int, ...]:
    """Return the manifest row that a path stands for, in the order of MANIFEST_COLUMNS."""
    source, file = path.split("/")
    photograph = next(each for each in PHOTOGRAPHS if each.name == file.rsplit("-", 1)[0])
    if source == "real":
        return (path, REAL, "", "", photograph.package, photograph.category, photograph.name, "")
    return (path, FAKE, source, "simulated", "", photograph.category, photograph.name, "")


def _csv(paths: list[str]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([MANIFEST_COLUMNS, *map(_row, paths)])
    return text.getvalue().encode()


def _pixel_hash(pixels: np.ndarray) -> str:
    return xxhash.xxh3_128_hexdigest(pixels.tobytes())


def _png(pixels: np.ndarray) -> bytes:
    """Encode (H, W, 3) uint8 as a PNG with stored, not compressed, data: one length for one size, always.

    Source: PNG specification (W3C, third edition) sections 5 and 11; stored blocks of RFC 1951, section 3.2.4.
    """
    height, width, _ = pixels.shape
    no_filter = np.zeros((height, 1), np.uint8)  # PNG puts one filter byte before each line
    data = np.concatenate((no_filter, pixels.reshape(height, width * 3)), axis=1).tobytes()
    stored = b""
    for start in range(0, len(data), 65535):
        block, last = data[start : start + 65535], start + 65535 >= len(data)
        stored += struct.pack("<BHH", last, len(block), len(block) ^ 65535) + block
    stream = b"\x78\x01" + stored + struct.pack(">I", zlib.adler32(data))
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)  # 8 bits, RGB, not interlaced
    chunks = ((b"IHDR", header), (b"IDAT", stream), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )
