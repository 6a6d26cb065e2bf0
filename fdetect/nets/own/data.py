"""Training crops: cut once from decoded photographs or drawn as textures, held in memory, dealt out by seed and step.

Which images may be trained on is the caller's to say: groups of a test fold, sources without a licence and fakes are
left out before the paths come here.  Pixels are as stored; nothing is resized unless `percent` asks for it.  What a
step sees depends on the seed and the number of the step alone, so that training can stop and go on.  No torch here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fdetect.engine.sources import Reader
from fdetect.engine.work import content_id
from fdetect.errors import DataError, ParameterError
from fdetect.images import decode
from fdetect.nets.own.textures import texture_pictures
from fdetect.perturb import rng_for
from fdetect.types import Failure
from fdetect.wear import resize

__all__ = ["MOST_CROPS", "Crops", "crops_of_images", "crops_of_textures", "cut_images"]

MOST_CROPS = 4096  # held in memory at once: 0.45 GB at 192 px


@dataclass(frozen=True)
class Crops:
    """Crops to train on, in memory.

    pixels    (N, S, S, 3) uint8 RGB
    ids       (N,) the content that each was cut from, "dead-leaves/SEED/K" for a texture
    failures  images that gave no crop, with the reason
    left_out  images that were not opened because there are more of them than crops were asked for
    """

    pixels: np.ndarray
    ids: tuple[str, ...]
    failures: tuple[Failure, ...] = ()
    left_out: int = 0

    @classmethod
    def of(cls, found: Mapping[str, list[np.ndarray]], failures: tuple[Failure, ...], left_out: int = 0) -> Crops:
        """Return what `cut_images` found, one after another."""
        pixels = np.stack([one for cut in found.values() for one in cut])
        return cls(pixels, tuple(id for id, cut in found.items() for _ in cut), failures, left_out)

    def __len__(self) -> int:
        return len(self.pixels)

    def __add__(self, other: Crops) -> Crops:
        """Both, one after another; raises ParameterError where their sides differ."""
        if self.pixels.shape[1:] != other.pixels.shape[1:]:
            raise ParameterError(f"crops of {self.pixels.shape[1]} and {other.pixels.shape[1]} px do not go together; "
                                 "cut both with one side")  # fmt: skip
        pixels = np.concatenate([self.pixels, other.pixels])
        left_out = self.left_out + other.left_out
        return Crops(pixels, self.ids + other.ids, self.failures + other.failures, left_out)

    @property
    def sha256(self) -> str:
        """SHA-256 of the contents that crops came from: their distinct ids, sorted, a line each."""
        return hashlib.sha256("".join(f"{id}\n" for id in sorted(set(self.ids))).encode()).hexdigest()

    def batch(self, step: int, *, seed: int, count: int, size: int) -> np.ndarray:
        """Return what step `step` sees: (count, 3, size, size) float32 RGB in 0..1.

        Each is drawn with repetition from all crops, cut at any offset and mirrored left to right half of the time.
        Raises ParameterError where there are no crops or `size` exceeds their side.
        """
        if not len(self) or not 0 < size <= self.pixels.shape[1]:
            raise ParameterError(f"{len(self)} crops of {self.pixels.shape[1]} px cannot be cut to {size} px; "
                                 "give more images or a smaller size")  # fmt: skip
        rng = rng_for(seed, f"step {step}", "training-crops")
        which = rng.integers(0, len(self), count)
        offsets = rng.integers(0, self.pixels.shape[1] - size + 1, (count, 2))
        mirrored = rng.random(count) < 0.5
        taken = np.empty((count, size, size, 3), np.uint8)
        for k, (row, column) in enumerate(offsets):
            window = self.pixels[which[k], row : row + size, column : column + size]
            taken[k] = window[:, ::-1] if mirrored[k] else window
        return np.ascontiguousarray(taken.transpose(0, 3, 1, 2)).astype(np.float32) / np.float32(255)


def crops_of_images(
    paths: Iterable[str],
    *,
    root: str | Path = ".",
    side: int = 192,
    per_image: int = 8,
    most: int = MOST_CROPS,
    percent: float = 100.0,
    seed: int = 0,
) -> Crops:
    """Cut crops of `side` px from images at offsets drawn from their content: see `Crops`.

    paths      as in a manifest, relative to `root`; members of shards too.  An image that cannot be read or decoded,
               or has a side below `side`, is a `Failure`, never padded; one content under two paths is cut once
    per_image  crops an image; an image that is no larger than a crop gives one
    most       crops at most: fewer are taken of each image; of more images than `most`, that many are drawn
    percent    resize to so many per cent of each side first, bicubic; 100 leaves the stored pixels

    Raises ParameterError for a number that cannot be, DataError where no image gives a crop.
    """
    if min(side, per_image, most) < 1 or not percent > 0:
        raise ParameterError(f"side, per_image and most are at least 1 and percent is above 0; got {side}, "
                             f"{per_image}, {most}, {percent}")  # fmt: skip
    given, left_out = list(paths), 0
    if len(given) > most:
        kept = rng_for(seed, f"{most} of {len(given)}", "training-images").choice(len(given), most, replace=False)
        given, left_out = [given[k] for k in sorted(kept)], len(given) - most
    share = max(1, min(per_image, most // max(len(given), 1)))
    found, failures = cut_images(given, root, lambda image, id: _cut(image, id, side, share, percent, seed))
    if not found:
        why = f": {failures[0].path}: {failures[0].reason}" if failures else ""
        raise DataError(f"none of {len(given)} images gives a crop of {side} px{why}; give images that can be read and "
                        "whose sides are at least as long")  # fmt: skip
    return Crops.of(found, failures, left_out)


def cut_images(
    paths: Iterable[str], root: str | Path, cut: Callable[[np.ndarray, str], list[np.ndarray]]
) -> tuple[dict[str, list[np.ndarray]], tuple[Failure, ...]]:
    """Read and decode images and cut each: `cut(pixels, content id)` -> crops of one size.

    Returns crops by content, one content under two paths once, and the images that gave none, with the reason.
    """
    found: dict[str, list[np.ndarray]] = {}
    failures: list[Failure] = []
    seen: set[str] = set()
    with Reader(root) as reader:
        for path in paths:
            stage, id = "read", content_id(path.encode("utf-8", "backslashreplace"))
            try:
                data = reader.read(path)
                stage, id = "decode", content_id(data)
                if id in seen:
                    continue
                seen.add(id)
                image = decode(data).pixels
                stage = "geometry"
                found[id] = cut(image, id)
            except DataError as error:
                failures.append(Failure(id, path, stage, str(error)))
    return found, tuple(failures)


def crops_of_textures(count: int, *, side: int = 192, seed: int = 0) -> Crops:
    """Draw `count` dead-leaves pictures of `side` px as crops; see `fdetect.nets.own.textures`."""
    return Crops(texture_pictures(count, side=side, seed=seed), tuple(f"dead-leaves/{seed}/{k}" for k in range(count)))


def _cut(image: np.ndarray, id: str, side: int, count: int, percent: float, seed: int) -> list[np.ndarray]:
    """Return up to `count` crops (side, side, 3) uint8 of one image; raises DataError where it is too small."""
    rng = rng_for(seed, id, "training-cut")
    if percent != 100:
        image = resize(image, percent, rng)
    height, width = image.shape[:2]
    if min(height, width) < side:
        raise DataError(f"{width} x {height} px are too few for a crop of {side} px")
    places = 1 if (height, width) == (side, side) else count
    rows, columns = rng.integers(0, height - side + 1, places), rng.integers(0, width - side + 1, places)
    return [image[row : row + side, column : column + side].copy() for row, column in zip(rows, columns, strict=True)]
