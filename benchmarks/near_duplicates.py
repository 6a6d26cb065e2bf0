"""How far apart copies of a picture and two pictures are, in bits of the hash of `fdetect data check`: docs/data.md.

    python benchmarks/near_duplicates.py DATA

Every third image is compared with copies of itself; and every two images with each other.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from fdetect.bench.data.inputs import root_of
from fdetect.bench.data.near_duplicates import NEAR_BITS, dct_hash, shrunk
from fdetect.bench.layouts import read_manifest
from fdetect.engine.sources import Reader
from fdetect.images import decode
from fdetect.types import records


def main() -> None:
    manifest = read_manifest(Path(sys.argv[1]))
    with Reader(root_of(manifest)) as reader:
        pictures = [Image.fromarray(decode(reader.read(path)).pixels) for path in manifest.column("path").to_pylist()]
    hashes = [hash_of(one) for one in pictures]
    print(f"| copy of {len(pictures[::3])} images | largest distance | share within {NEAR_BITS} bits |\n|---|---|---|")
    for name, change in COPIES.items():
        apart = np.array([(one ^ hash_of(change(picture))).bit_count()
                          for one, picture in zip(hashes[::3], pictures[::3], strict=True)])  # fmt: skip
        print(f"| {name} | {apart.max()} | {100 * (apart <= NEAR_BITS).mean():.1f} % |")
    words = np.array(hashes, np.uint64)
    first, second = np.triu_indices(len(words), 1)
    near = np.bitwise_count(words[first] ^ words[second]) <= NEAR_BITS
    origins = [one.origin for one in records(manifest)]
    kinds = sorted(f"{origins[i]} and {origins[j]}" for i, j in zip(first[near], second[near], strict=True))
    print(f"| two different images | | {near.sum()} of {len(near):,} pairs: {'; '.join(kinds)} |")


def hash_of(picture: Image.Image) -> int:
    return dct_hash(shrunk(np.asarray(picture)))


def coded(container: str, quality: int) -> Callable[[Image.Image], Image.Image]:
    def change(picture: Image.Image) -> Image.Image:
        file = io.BytesIO()
        picture.save(file, container, quality=quality)
        return Image.fromarray(decode(file.getvalue()).pixels)

    return change


def scaled(share: float) -> Callable[[Image.Image], Image.Image]:
    return lambda picture: picture.resize([max(round(share * side), 1) for side in picture.size])


def cropped(share: float) -> Callable[[Image.Image], Image.Image]:
    def change(picture: Image.Image) -> Image.Image:
        x, y = (round(share * side) for side in picture.size)
        return picture.crop((x, y, picture.width - x, picture.height - y))

    return change


COPIES: dict[str, Callable[[Image.Image], Image.Image]] = {
    **{f"JPEG Q{quality}": coded("JPEG", quality) for quality in (90, 50, 30)},
    "WebP Q60": coded("WEBP", 60),
    "half the size": scaled(0.5),
    "squashed to 256 x 256 px": lambda picture: picture.resize((256, 256)),
    "a quarter of the size, then JPEG Q70": lambda picture: coded("JPEG", 70)(scaled(0.25)(picture)),
    "gamma 1.2": lambda picture: picture.point([round(255 * (k / 255) ** 1.2) for k in range(256)] * 3),
    "cropped by 1 % on every side": cropped(0.01),
    "cropped by 2.5 % on every side": cropped(0.025),
    "mirrored": ImageOps.mirror,
}


if __name__ == "__main__":
    main()
