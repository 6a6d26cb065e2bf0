"""The built-in benchmark: photographs that are installed anyway, and the same crops through decoders.

It shows the machinery offline; its numbers are never quoted as detection quality.  Four decoders are simulated
(simulate.py); the others are those of small autoencoders that come with fdetect (builtin_own.py) and need torch.

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

Every fake has the content of its real (sim-transposed shifts it by half a pixel), and both share one `group`, the
source photograph.
"""

from __future__ import annotations

import csv
import importlib.util
import io
import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import xxhash

from fdetect.bench.data.builtin_files import png, write_folder
from fdetect.bench.data.builtin_own import NETWORKS, Progress, Window, not_run_metadata, round_trips, window_around
from fdetect.bench.data.simulate import DECODERS
from fdetect.errors import DataError, ParameterError
from fdetect.images import decode
from fdetect.types import FAKE, MANIFEST_COLUMNS, REAL

__all__ = ["CROPS_PER_PHOTOGRAPH", "DESCRIPTION", "PHOTOGRAPHS", "SIDE", "VERSION", "builtin_manifest", "is_flat"]

VERSION = 2  # raise it with any change of a pixel; the reals and the simulated are those of version 1
SIDE = 160
CROPS_PER_PHOTOGRAPH = 12  # so that the three largest photographs do not outweigh the rest

DESCRIPTION = (
    "Built-in benchmark: 160-px crops of 15 photographs that come with scikit-image and scikit-learn, against the "
    "same crops through simulated decoders (sim-nearest, sim-bilinear, sim-transposed, sim-shuffle: halved, then "
    "up-sampled with fixed integer kernels, nothing learned) and, where torch is installed, through small learned "
    f"autoencoders that come with fdetect ({', '.join(NETWORKS)}: trained on synthetic dead leaves, on no photograph). "
    "No generative model made any of these images: the numbers show that the machinery works and say nothing about "
    "the detection of AI-generated images."
)

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Photograph:
    """One source: where its package keeps it, and the xxh3_128 of its RGB pixels as version 1 of the set knows them."""

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


def builtin_manifest(
    folder: Path, *, seed: int = 0, networks: Sequence[str] = NETWORKS, progress: Progress | None = None
) -> pa.Table:
    """Write the built-in images below a folder, or keep them where they are complete, and return their manifest.

    The images go to `folder/builtin-v<VERSION>-seed<seed>`: `real/<photograph>-<crop>.png` and the same file of every
    decoder, `sim-<layer>/...` and `own-<network>/...`, SIDE x SIDE RGB, with `manifest.csv`.  `pixels.xxh3` holds the
    xxh3_128 of the RGB pixels of reals and simulated fakes; these are all made anew in memory (about a second) and
    compared with what is stored.  Those of networks are made once (about ten seconds each) and verified by the hashes
    in `own-<network>.xxh3`.  A file that is missing or differs is written again, each file is replaced whole, a fresh
    folder appears only when it is complete, and nothing else there is touched.  The seed moves the grid of crops within
    each photograph and draws the crops of photographs that have more than CROPS_PER_PHOTOGRAPH.

    networks  names of shipped autoencoders
    progress  called with (network, done, total) while their images are made

    Returns a table with columns MANIFEST_COLUMNS (strings, `label` int64; `path` relative to that folder) and the
    schema metadata `fdetect.root` (that folder, absolute), `fdetect.layout` ("builtin") and what
    `fdetect.bench.data.builtin_own.generators_not_run` reads: the networks that could not run, whose images are absent.

    Raises ParameterError for a negative seed; DataError where most photographs are not installed or the folder
    cannot be written.  A single absent or altered photograph is logged as a warning: the rest is made.
    """
    if seed < 0:
        raise ParameterError(f"--seed {seed} is negative; choose 0 or more")
    root = Path(os.path.abspath(folder)) / f"builtin-v{VERSION}-seed{seed}"
    windows = {f"{name}-{number:02d}.png": window
               for name, pixels in _photographs().items()
               for number, window in enumerate(_windows(pixels, name, seed))}  # fmt: skip
    images = _images({name: window.crop for name, window in windows.items()})
    made = round_trips(root, windows, networks, progress=progress)
    paths = [*images, *made.paths]
    files = {path: png(pixels) for path, pixels in images.items()} | dict(made.files)
    files["manifest.csv"] = _csv(paths)
    files["pixels.xxh3"] = "".join(f"{_pixel_hash(pixels)}  {path}\n" for path, pixels in images.items()).encode()
    try:
        write_folder(root, files)
    except OSError as error:
        reason = error.strerror or str(error)
        raise DataError(f"cannot write the built-in images to '{root}' ({reason}); name another folder") from None
    metadata = {b"fdetect.root": os.fsencode(root), b"fdetect.layout": b"builtin", **not_run_metadata(made)}
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


def _images(crops: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The reals and the simulated by path: the reals first, then each decoder's."""
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
            _log.warning("built-in benchmark: %s of %s does not have the pixels that the set knows: figures "
                         "will differ from other machines", photograph.file, photograph.package)  # fmt: skip
        found[photograph.name] = pixels
    if 2 * len(found) < len(PHOTOGRAPHS):
        raise DataError(
            f"the built-in benchmark can read {len(found)} of its {len(PHOTOGRAPHS)} photographs; "
            "repair with: pip install --force-reinstall scikit-image scikit-learn"
        )
    return found


def _windows(pixels: np.ndarray, name: str, seed: int) -> Iterator[Window]:
    """Lay a grid of crops that do not overlap, its origin drawn; drop the flat ones; draw at most the cap."""
    height, width = pixels.shape[:2]
    top = _draw(height % SIDE + 1, seed, name, "top")
    left = _draw(width % SIDE + 1, seed, name, "left")
    corners = [(y, x) for y in range(top, height - SIDE + 1, SIDE) for x in range(left, width - SIDE + 1, SIDE)]
    textured = [(y, x) for y, x in corners if not is_flat(pixels[y : y + SIDE, x : x + SIDE])]
    order = sorted(range(len(textured)), key=lambda index: _draw(1 << 64, seed, name, "crop", index))
    for index in sorted(order[:CROPS_PER_PHOTOGRAPH]):
        phase = (_draw(8, seed, name, "phase of rows", index), _draw(8, seed, name, "phase of columns", index))
        yield window_around(pixels, *textured[index], SIDE, phase)


def _draw(below: int, *key: object) -> int:
    """Return an integer in 0..below-1 from a hash of the key: unlike a generator's stream, the same for ever."""
    return xxhash.xxh3_64_intdigest("/".join(map(str, key)).encode()) % below


def _row(path: str) -> tuple[str | int, ...]:
    """Return the manifest row that a path stands for, in the order of MANIFEST_COLUMNS."""
    source, file = path.split("/")
    photograph = next(each for each in PHOTOGRAPHS if each.name == file.rsplit("-", 1)[0])
    if source == "real":
        return (path, REAL, "", "", photograph.package, photograph.category, photograph.name, "")
    family = "simulated" if source in DECODERS else "autoencoder"
    return (path, FAKE, source, family, "", photograph.category, photograph.name, "")


def _csv(paths: list[str]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([MANIFEST_COLUMNS, *map(_row, paths)])
    return text.getvalue().encode()


def _pixel_hash(pixels: np.ndarray) -> str:
    return xxhash.xxh3_128_hexdigest(pixels.tobytes())
