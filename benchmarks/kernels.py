"""How fast the kernels are beside the best that others offer, and what the presets cost beside decoding.

    python benchmarks/kernels.py [--rounds 9] [--images DATA] [--readme]

Each task is done by our kernel and by every rival that is installed: NumPy, SciPy, scikit-image and torch, and OpenCV
(pip install opencv-python-headless; absent, its rows say so).  One thread.  In each round all contestants of a task run
one after another; times are medians over the rounds, ratios are taken within a round.  "% of memcpy" is the least
that must be moved (input once, result once) at the speed of copying an array of 64 MiB, in the same run.  Every rival
computes the same thing: its result is compared with ours before anything is timed.

With `--images` (a manifest or folder), the presets are measured end to end too: two worker processes, files from disk,
beside the same processes that only decode.  `--readme` writes the tables between the markers of README.md.
"""

from __future__ import annotations

import argparse
import io
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

import numpy as np
from PIL import Image
from racing import about, memcpy_speed, race, spread, write_between
from rivals import picture, tasks

import fdetect
from fdetect.bench.steps import any_images
from fdetect.engine import pool
from fdetect.errors import FdetectError
from fdetect.features import PRESETS, compute, preset
from fdetect.images import decode
from fdetect.types import Batch

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--images", help="manifest or folder: measure the presets end to end too")
    parser.add_argument("--readme", action="store_true", help="write the tables into README.md")
    options = parser.parse_args()
    if options.images:
        try:
            any_images(options.images)  # said before the kernels are raced, not after
        except FdetectError as error:
            parser.error(str(error))
    lines = [about(), "", *kernels(options.rounds)]
    lines += ["", *presets(max(options.rounds, 3))]
    if options.images:
        lines += ["", *end_to_end(options.images)]
    lines += ["", "GPU: not run (the CuPy twins were compiled and emulated on the host, never timed on a device)."]
    text = "\n".join(lines)
    print(text)
    if options.readme:
        write_between(ROOT / "README.md", "benchmark:kernels", text)


# --- kernels ---------------------------------------------------------------------------------------------------------


def kernels(rounds: int) -> list[str]:
    copied = memcpy_speed(rounds)
    rows = [
        f"| one thread | Mpx/s | % of memcpy ({copied / 1e9:.0f} GB/s) | ratio to rivals, best first | aimed at |",
        "|---|---|---|---|---|",
    ]
    for make in tasks():
        task = make()
        seconds = race(task.contestants, rounds)
        mine = statistics.median(seconds["fdetect"])
        ratios = {
            name: [theirs / ours for theirs, ours in zip(times, seconds["fdetect"], strict=True)]
            for name, times in seconds.items()
            if name != "fdetect"
        }
        order = sorted(ratios, key=lambda name: statistics.median(ratios[name]))
        said = [f"{name} {spread(ratios[name])}" for name in order] + [f"{name} not run" for name in task.missing]
        aims = [aim(name, value, statistics.median(ratios[order[0] if name == "best" else name])) for name, value in
                task.aims if name == "best" or name in ratios]  # fmt: skip
        share = task.moved / mine / copied
        rows.append(
            f"| {task.name} | {task.pixels / mine / 1e6:.0f} | {share:.0%} | {'; '.join(said)} | {', '.join(aims)} |"
        )
        print(rows[-1], file=sys.stderr)
    return rows


def aim(name: str, wanted: float, reached: float) -> str:
    return f"{wanted:g} x {name}: {'reached' if reached >= wanted else 'missed'}"


# --- presets ---------------------------------------------------------------------------------------------------------


def presets(rounds: int) -> list[str]:
    """Time of one core for a 256 x 256 image in memory, by preset and by family; and of decoding it."""
    pool._reuse_memory()  # as in every worker process
    photograph = picture(512)
    corners = [(y, x) for y in range(0, 257, 64) for x in (0, 128, 256)]
    crops = [np.ascontiguousarray(photograph[y : y + 256, x : x + 256]) for y, x in corners]
    files = []
    for crop in crops:
        file = io.BytesIO()
        Image.fromarray(crop).save(file, "JPEG", quality=90)
        files.append(file.getvalue())
    decoded = [decode(data) for data in files]
    batches = [((f"{k:032x}",), one.pixels[None], (one.facts,)) for k, one in enumerate(decoded)]
    full = preset("full")
    families = {name: [e for e in full if e.family == name] for name in dict.fromkeys(e.family for e in full)}

    def run(entries: Any) -> Callable[[], None]:
        def all_of_it() -> None:
            for parts in batches:
                batch = Batch(*parts)
                for entry in entries:
                    compute(entry, batch)

        return all_of_it

    contestants: dict[str, Callable[[], Any]] = {"decode": lambda: [decode(data) for data in files]}
    contestants |= {f"preset {name}": run(preset(name)) for name in PRESETS if name != "provenance"}
    contestants |= {f"family {name}": run(entries) for name, entries in families.items()}
    seconds = race(contestants, rounds)
    aims = {"preset standard": 6.0, "preset full": 25.0}
    rows = ["| one core, 256 x 256 px | ms | x decoding | aimed at |", "|---|---|---|---|"]
    for name, times in seconds.items():
        ms = 1e3 * statistics.median(times) / len(files)
        ratio = spread([mine / theirs for mine, theirs in zip(times, seconds["decode"], strict=True)])
        wanted = f"{aims[name]:g} ms: {'reached' if ms <= aims[name] else 'missed'}" if name in aims else ""
        rows.append(f"| {name} | {ms:.2f} | {ratio} | {wanted} |")
    return rows


def end_to_end(images: str) -> list[str]:
    """Images/s of two worker processes, files from disk: decoding alone, and each preset, in turn."""
    count: dict[str, int] = {}

    def extract(features: str) -> float:
        with tempfile.TemporaryDirectory() as folder:
            since = time.perf_counter()
            done = fdetect.extract_to(Path(folder) / "f.parquet", images, features=features, workers=2,
                                      store=fdetect.Store(Path(folder) / "store"))  # fmt: skip
            count["n"] = done.n_images
            return time.perf_counter() - since

    names = [name for name in PRESETS if name != "provenance"]
    # `dimensions` reads the facts alone: what is left is reading, decoding, the loop and the writing of the table
    runs: dict[str, list[float]] = {name: [] for name in ("dimensions", *names)}
    extract("dimensions")
    for _ in range(3):
        for name, found in runs.items():
            found.append(extract(name))
    rows = [
        f"| end to end, 2 workers, {count['n']} files | images/s | relative to decoding only | aimed at |",
        "|---|---|---|---|",
    ]
    for name, found in runs.items():
        relative = [base / mine for base, mine in zip(runs["dimensions"], found, strict=True)]
        wanted = f"0.60: {'reached' if statistics.median(relative) >= 0.6 else 'missed'}" if name == "fast" else ""
        label = "decoding only" if name == "dimensions" else f"preset {name}"
        rows.append(f"| {label} | {count['n'] / statistics.median(found):.0f} | {spread(relative)} | {wanted} |")
    return rows


if __name__ == "__main__":
    main()
