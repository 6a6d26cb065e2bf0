"""The built-in benchmark's crops through small learned autoencoders, which come with fdetect; made once and kept.

    photograph, continued by reflection -> window around a crop -> autoencoder -> the same crop

A window has at least MARGIN px on every side of its crop, so that the zeros beyond its border are not seen (they move
one value in a thousand by one grey level), and begins at a place drawn for the crop, so that the latent's grid has any
phase in it.

Sums of floats may differ in their last bits from machine to machine, and with them a pixel here and there by one.  So
these images are not compared with new ones in each run: `<network>.xxh3` lists the xxh3_128 of each file below a line
that names the weights, the code and the windows they were made with, and a network is run again where anything differs
from its list.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import xxhash

from fdetect.bench.data.builtin_files import png
from fdetect.errors import WeightsError
from fdetect.nets.laundering import Laundering
from fdetect.types import NotRun, Table

__all__ = [
    "MARGIN",
    "NETWORKS",
    "Progress",
    "RoundTrips",
    "Window",
    "generators_not_run",
    "not_run_metadata",
    "round_trips",
    "window_around",
]

NETWORKS = ("own-nearest8", "own-transposed8", "own-shuffle8", "own-quantised4", "own-adversarial8")
MARGIN = 32
_PHASES = 8  # of the coarsest latent's grid

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Window:
    """A crop with its surroundings: (H, W, 3) uint8, in which the crop of `side` px begins at (top, left)."""

    pixels: np.ndarray
    top: int
    left: int
    side: int

    @property
    def crop(self) -> np.ndarray:
        """The crop itself, (side, side, 3) uint8."""
        return self.cut(self.pixels)

    def cut(self, pixels: np.ndarray) -> np.ndarray:
        """Cut the crop's place out of a picture of the window's size."""
        return np.ascontiguousarray(pixels[self.top : self.top + self.side, self.left : self.left + self.side])


@dataclass(frozen=True)
class RoundTrips:
    """The `paths` of all images, what of their `files` is to be written, and the networks that could not run."""

    paths: tuple[str, ...]
    files: Mapping[str, bytes]
    not_run: tuple[NotRun, ...]


def window_around(pixels: np.ndarray, top: int, left: int, side: int, phase: tuple[int, int]) -> Window:
    """Cut the window of a crop: (H, W, 3) uint8, sides of more than MARGIN + 8 px -> sides of side + 2 MARGIN + 8 px.

    top, left  of the crop in the photograph, which is continued by reflection
    phase      of the latent's grid in the crop, 0..7 by rows and by columns: the window begins MARGIN + phase px before
    """
    edge = MARGIN + _PHASES
    whole = np.pad(pixels, ((edge, edge), (edge, edge), (0, 0)), mode="reflect")
    rows, columns = (start + _PHASES - part for start, part in zip((top, left), phase, strict=True))
    length = side + 2 * MARGIN + _PHASES
    cut = whole[rows : rows + length, columns : columns + length].copy()
    return Window(cut, MARGIN + phase[0], MARGIN + phase[1], side)


def round_trips(
    root: Path,
    windows: Mapping[str, Window],
    networks: Sequence[str] = NETWORKS,
    *,
    progress: Progress | None = None,
) -> RoundTrips:
    """Put every crop through every network, or keep what the folder has of it.

    windows   of the crops, by the file's name
    networks  names of SHIPPED; the images of each are `<network>/<file's name>`

    A network that cannot run (without torch none can) is left out and told in `not_run`.
    """
    paths: list[str] = []
    files: dict[str, bytes] = {}
    missing: list[NotRun] = []
    for name in networks:
        try:
            found = _of_network(name, root, windows, progress)
        except (WeightsError, ImportError, OSError) as error:
            reason, fix = getattr(error, "reason", ""), getattr(error, "fix", "")
            missing.append(NotRun(f"generator {name}", reason or " ".join(str(error).split())[:200],
                                  fix or "see fdetect doctor"))  # fmt: skip
            continue
        files |= found
        paths += [f"{name}/{file}" for file in windows]
    return RoundTrips(tuple(paths), files, tuple(missing))


def generators_not_run(manifest: Table) -> list[NotRun]:
    """Return the networks whose images a manifest of the built-in benchmark lacks; none for other manifests."""
    rows = json.loads((manifest.schema.metadata or {}).get(b"fdetect.not_run", b"[]"))
    return [NotRun(**row) for row in rows]


def not_run_metadata(made: RoundTrips) -> dict[bytes, bytes]:
    """Return what `generators_not_run` reads, as metadata of a manifest's schema."""
    return {b"fdetect.not_run": json.dumps([asdict(row) for row in made.not_run]).encode()}


def _of_network(
    name: str, root: Path, windows: Mapping[str, Window], progress: Progress | None
) -> dict[str, bytes]:
    """Return the files to write: none where the folder has them, else all images and their list."""
    network = Laundering.of(name)
    listed = f"{name}.xxh3"
    first = f"# {network.identity} {network.code} {_digest(windows)}"
    if _kept(root, listed, first, [f"{name}/{file}" for file in windows]):
        return {}
    files: dict[str, bytes] = {}
    for done, (file, window) in enumerate(windows.items(), 1):
        files[f"{name}/{file}"] = png(window.cut(network(window.pixels)))
        if progress:
            progress(name, done, len(windows))
    files[listed] = _list(first, files)
    return files


def _kept(root: Path, listed: str, first: str, paths: Sequence[str]) -> bool:
    """Whether the list is that of these images, and each file as listed."""
    try:
        return (root / listed).read_bytes() == _list(first, {path: (root / path).read_bytes() for path in paths})
    except OSError:
        return False


def _list(first: str, files: Mapping[str, bytes]) -> bytes:
    lines = (f"{xxhash.xxh3_128_hexdigest(data)}  {path}\n" for path, data in files.items())
    return f"{first}\n{''.join(lines)}".encode()


def _digest(windows: Mapping[str, Window]) -> str:
    hasher = xxhash.xxh3_128()
    for file, window in windows.items():
        hasher.update(f"{file} {window.top} {window.left} {window.side} {window.pixels.shape}".encode())
        hasher.update(window.pixels.tobytes())
    return hasher.hexdigest()
