"""How often an earlier JPEG is found in a picture, and how often where there was none: docs/jpeg-history.md.

    python benchmarks/jpeg_history.py DATA [--signs FILE]

DATA is a manifest of photographs and generated pictures.  Pictures without JPEG history are Kodak's PNGs and the
other photographs made smaller by a factor of 2.1 to 2.7 (Lanczos), after which blocks of 8 px have no period of 8 px;
those of 512 px and more are put together from pieces of 221 px of one source, Kodak's from whole pictures.  From them
every history is made by Pillow.  Thresholds come from the pictures of even number, rates from the others.  --signs
keeps what was measured (JSON), and reads it where it is there.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import sys
import time
from collections.abc import Iterator
from multiprocessing import Pool
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from hard_photographs import screenshot
from jpeg_history_page import write_page
from PIL import Image

from fdetect.bench.data.inputs import root_of
from fdetect.bench.inspecting.jpeg_history import jpeg_history
from fdetect.bench.layouts import read_manifest
from fdetect.engine.sources import Reader
from fdetect.images import Decoded, decode
from fdetect.nets.shipped import SHIPPED
from fdetect.perturb import launderer
from fdetect.types import Record, records

SIZES = {224: (100, 24), 512: (10, 8), 1000: (6, 4)}  # px: pictures, and those that histories are made of
QUALITIES = (60, 75, 90, 95)
ALIGNED = ((60, 75), (75, 90), (90, 95), (90, 75), (95, 75), (95, 90))
SHIFTED = ((60, 90), (75, 90), (90, 95), (90, 90), (90, 75))
PER_GENERATOR = 12  # files as stored, of each generator and each source of photographs

Row = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--signs", type=Path)
    given = parser.parse_args()
    if given.signs and given.signs.exists():
        kept = json.loads(given.signs.read_text(encoding="utf-8"))
        found, day = kept["rows"], kept["day"]
    else:
        found, day = measure(given.data), time.strftime("%Y-%m-%d")
        if given.signs:
            given.signs.write_text(json.dumps({"day": day, "rows": found}), encoding="utf-8")
    write_page(found, day)


def measure(data: Path) -> list[Row]:
    """Return one row for each picture with one history, of all sizes, and of the files as stored."""
    manifest = read_manifest(data)
    with Reader(root_of(manifest)) as reader:
        files = [(one, reader.read(one.path)) for one in records(manifest)]
    pictures = never_compressed([file for file in files if not file[0].label])
    seen: dict[str, int] = {}
    jobs: list[tuple[Any, ...]] = []
    for record, content in files:
        seen[record.origin] = seen.get(record.origin, 0) + 1
        if seen[record.origin] <= PER_GENERATOR:
            jobs.append((_stored, record, content))
    for size, (n_without, n_with) in SIZES.items():
        cut = list(of_size(pictures, size, n_without))
        jobs += [(_picture, source, k, pixels, k < n_with) for k, (source, pixels) in enumerate(cut)]
    np.random.default_rng(0).shuffle(jobs)  # so that the time that is left can be told
    found: list[Row] = []
    with Pool(2) as pool:
        for k, rows in enumerate(pool.imap_unordered(_job, jobs)):
            found += rows
            if k % 10 == 9:
                print(f"{k + 1} of {len(jobs)} pictures", file=sys.stderr)
    return found


def never_compressed(files: list[tuple[Record, bytes]]) -> list[tuple[str, np.ndarray]]:
    """Return (source, pixels) of every photograph without its JPEG history, sources in turn."""
    by_source: dict[str, list[np.ndarray]] = {}
    for record, content in files:
        image = decode(content)
        pixels = image.pixels
        if image.facts.format == "JPEG":
            factor = np.clip(min(pixels.shape[:2]) / 232, 2.1, 2.7)  # 232 px leave room for a shift
            height, width = (round(side / factor) for side in pixels.shape[:2])
            pixels = np.asarray(Image.fromarray(pixels).resize((width, height), Image.LANCZOS))
        if min(pixels.shape[:2]) >= 232:
            by_source.setdefault(record.origin, []).append(pixels)
    longest = max(map(len, by_source.values()))
    return [(name, some[k]) for k in range(longest) for name, some in by_source.items() if k < len(some)]


def of_size(pictures: list[tuple[str, np.ndarray]], size: int, count: int) -> Iterator[tuple[str, np.ndarray]]:
    """Give pictures of `size` + 8 px a side: pieces of 221 px (whole pictures of Kodak) put together where need be."""
    if size == 224:
        yield from ((source, pixels[: size + 8, : size + 8]) for source, pixels in pictures[:count])
        return
    rng = np.random.default_rng(size)
    sources = list(dict.fromkeys(source for source, _ in pictures))
    for k in range(count):
        source = sources[k % len(sources)]
        own = [pixels for name, pixels in pictures if name == source]
        piece = min(min(min(pixels.shape[:2]) for pixels in own), 500) // 8 * 8 - 3
        n = -(-(size + 8) // piece)
        chosen = [own[int(i)][:piece, :piece] for i in rng.integers(0, len(own), n * n)]
        page = np.concatenate([np.concatenate(chosen[i * n : i * n + n], axis=1) for i in range(n)])
        yield source, page[: size + 8, : size + 8]


def _job(job: tuple[Any, ...]) -> list[Row]:
    return list(job[0](*job[1:]))


def _stored(record: Record, content: bytes) -> Iterator[Row]:
    yield _row(decode(content), "stored", record.origin, 0, generated=bool(record.label))


def _picture(source: str, k: int, pixels: np.ndarray, with_history: bool) -> Iterator[Row]:
    size = len(pixels) - 8
    plain = np.ascontiguousarray(pixels[:size, :size])
    about: dict[str, Any] = {"origin": source, "number": k, "size": size}
    yield _row(_saved(plain, "PNG"), "PNG, never compressed", **about)
    yield _row(_saved(plain, "WEBP", 80), "WebP 80", **about)
    for quality in QUALITIES:
        yield _row(_saved(plain, "JPEG", quality), f"one JPEG, Q{quality}", **about)
    shot = np.asarray(screenshot(Image.fromarray(plain), np.random.default_rng(k))[0])
    yield _row(_saved(shot, "PNG"), "screenshot, PNG", **about)
    yield _row(_saved(shot, "JPEG", 90), "screenshot, JPEG Q90", **about)
    if size == 224 and source == "kodak24" and k < 30:
        for name in SHIPPED:
            again = launderer.get("autoencoder")(name=name)(plain)
            yield _row(_saved(again, "PNG"), f"PNG, round trip {name}", **about)
    if not with_history:
        return
    for quality in QUALITIES:
        once = _saved(plain, "JPEG", quality).pixels
        yield _row(_saved(once, "PNG"), f"PNG of JPEG Q{quality}", **about, phase=(0, 0), before=quality)
        once = _saved(pixels, "JPEG", quality).pixels[3 : 3 + size, 5 : 5 + size]
        yield _row(_saved(once, "PNG"), f"PNG of JPEG Q{quality}, cropped", **about, phase=(5, 3), before=quality)
    once = _saved(plain, "JPEG", 75).pixels
    yield _row(_saved(once, "WEBP", 80), "WebP 80 of JPEG Q75", **about, phase=(0, 0), before=75)
    smaller = np.asarray(Image.fromarray(once).resize((size * 7 // 10,) * 2, Image.LANCZOS))
    yield _row(_saved(smaller, "PNG"), "PNG of JPEG Q75, at 70 % of its size", **about, phase=(0, 0), before=75)
    for first, last in ALIGNED:
        twice = _saved(_saved(plain, "JPEG", first).pixels, "JPEG", last)
        yield _row(twice, f"JPEG Q{first}, Q{last}", **about, phase=(0, 0), before=first)
    for (down, right), word in (((3, 5), "cropped"), ((0, 5), "cropped on one side")):
        for first, last in SHIFTED if down else SHIFTED[1:3]:
            once = _saved(pixels, "JPEG", first).pixels[down : down + size, right : right + size]
            phase = (-down % 8, -right % 8)
            twice = _saved(once, "JPEG", last)
            yield _row(twice, f"JPEG Q{first}, {word}, Q{last}", **about, phase=phase, before=first)


def _saved(pixels: np.ndarray, container: str, quality: int = 0) -> Decoded:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, container, **({"quality": quality} if quality else {"compress_level": 1}))
    return decode(file.getvalue())


def _row(image: Decoded, case: str, origin: str, number: int, **known: Any) -> Row:
    found = jpeg_history(image)
    signs = {name: getattr(found.signs, name) for name in ("grid", "one_way", "requantised", "values")}
    return {
        "case": case, "origin": origin, "number": number, "format": image.facts.format, **known, **signs,
        "found": found.earlier, "found_phase": found.phase, "found_before": found.quality_before,
    }  # fmt: skip


if __name__ == "__main__":
    main()
