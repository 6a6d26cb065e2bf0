"""Hours of work in one process: do memory, open files, threads and processes stay what they were?

    python benchmarks/soak.py --images DATA                                                       extract_to
    python benchmarks/soak.py --images DATA --score --side 256 --rounds 50,400 --minutes 10       the shipped detector

Round after round asks the public API for crops that no round had before, with a store of its own that is removed after
it: one that grows has more ids to hold in memory, which is no leak and would hide one.  Most rounds are short, so that
runs begin and end often; every fourth is long, so that a worker lives long.  In each, one file is no image.  In some,
an image crashes its worker (SIGSEGV) or hangs it, or the run is interrupted (SIGINT) and called again.  What is not
as foreseen ends the soak: a row lost, a failure more or less, another row of the picture that every round has.
"""

from __future__ import annotations

import argparse
import ctypes
import itertools
import os
import resource
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import fdetect
from fdetect.features import feature

SECONDS = 30.0  # between two samples
TIME_LIMIT = 15.0  # seconds of a step; a hang costs six of them, since its chunk is halved down to it
SETTLED = 0.2  # of the time, after which memory ought to be what it stays
SLOTS = 10  # rows of the table
CRASH, HANG, INTERRUPT = 77, 78, 79  # the first two are also the red of a mark in the middle of a picture
EVENTS = (CRASH, INTERRUPT, 0, CRASH, HANG, 0)  # of every second round, in turn
NAMES = {CRASH: "crash.png", HANG: "hang.png"}
REASONS = {"broken.jpg": "decode: ", "crash.png": "worker: soak_probe ended the worker process twice (SIGSEGV)",
           "hang.png": f"worker: soak_probe took longer than {TIME_LIMIT:g} s, twice"}  # fmt: skip
FIELDS = ("own", "largest", "together", "files", "threads", "processes")  # of the table
Rows = dict[str, tuple[str, Any]]  # path -> (reason of its failure, values)


@feature(columns=("middle",), family="probe")
def soak_probe(rgb8: Any) -> np.ndarray:
    """Red of the middle pixel; a mark there makes it crash or hang instead: (B, H, W, 3) uint8 -> (B, 1) float32."""
    middle = rgb8[:, rgb8.shape[1] // 2 - 4 :, rgb8.shape[2] // 2 - 4 :][:, :8, :8]
    if (middle == mark(CRASH)).all(axis=(1, 2, 3)).any():
        os.kill(os.getpid(), signal.SIGSEGV)
    if (middle == mark(HANG)).all(axis=(1, 2, 3)).any():
        time.sleep(10 * TIME_LIMIT)
    return middle[:, 4, 4, :1].astype(np.float32)


def mark(event: int) -> np.ndarray:
    return np.array((event, 1, 254), np.uint8)  # no colour of a photograph over 8 x 8 px


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", required=True, help="folder or manifest that the crops are cut from")
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--crops", type=int, default=200_000)
    parser.add_argument("--side", type=int, default=160, help="side of the crops in px")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--rounds", default="400,5000", help="crops of a short and of a long round")
    parser.add_argument("--score", action="store_true", help="score with the shipped detector; no crash, no hang")
    options = parser.parse_args()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell has its background jobs ignore it
    with tempfile.TemporaryDirectory(prefix="fdetect-soak-") as folder, Watch() as watch:
        soak(options, Path(folder), watch)
        left = [path.name for path in Path(folder).iterdir()]
    report(options, watch)
    print(f"\nfiles left in the folder of the runs: {left or 'none'}")


# --- rounds ----------------------------------------------------------------------------------------------------------


def soak(options: argparse.Namespace, folder: Path, watch: Watch) -> None:
    pictures, events = Pictures(options.images, options.side), itertools.cycle(EVENTS)
    short, long = map(int, options.rounds.split(","))
    known: dict[str, Any] = {}
    for number in itertools.count():
        event = next(events) if number % 2 else 0
        event = 0 if options.score and event in NAMES else event
        condition = "matched" if number % 8 in (2, 4) and not options.score else "native"
        fails = pictures.write(folder / "images", long if number % 4 == 0 else short, event)
        n_files = sum(1 for _ in (folder / "images").iterdir())
        table = call(options, folder, condition, event, watch)
        found = {path: reason[: len(REASONS.get(path, reason))] for path, (reason, _) in table.items() if reason}
        same = known.setdefault(condition, table["known.png"]) == table["known.png"]
        if found != {path: REASONS[path] for path in fails} or len(table) != n_files or not same:
            raise SystemExit(f"round {number}: {len(table)} rows of {n_files} files; {fails} should fail, this did: "
                             f"{found}; the picture that every round has got the same row: {same}")  # fmt: skip
        shutil.rmtree(folder / "images")
        watch.round_over(n_files, event)
        if time.monotonic() - watch.since > 60 * options.minutes or watch.done >= options.crops:
            return


def call(options: argparse.Namespace, folder: Path, condition: str, event: int, watch: Watch) -> Rows:
    """Ask the public API for the images of a round; where that is to be interrupted, once more."""
    interrupts = [signal.SIGINT] if event == INTERRUPT else []

    def progress(what: str, done: int, total: int) -> None:
        watch.under_way = done if what == "extracting" else 0
        if interrupts and watch.under_way > total // 2:
            signal.raise_signal(interrupts.pop())

    ask = scored if options.score else extracted
    with tempfile.TemporaryDirectory(dir=folder) as store:
        settings = {"condition": condition, "store": store, "workers": options.workers, "progress": progress}
        if event == INTERRUPT:
            try:
                raise SystemExit(f"a run of {len(ask(folder, settings))} images was interrupted and went on")
            except KeyboardInterrupt:
                pass  # as it should be
        return ask(folder, settings)


def extracted(folder: Path, settings: dict[str, Any]) -> Rows:
    import pyarrow.parquet as pq

    out, features = folder / "features.parquet", ["standard", "soak_probe"]
    fdetect.extract_to(out, folder / "images", features=features, crop=128, time_limit=TIME_LIMIT, **settings)
    table = pq.read_table(out)
    out.unlink()
    paths, reasons = table["path"].to_pylist(), table["reason"].to_pylist()
    known = table.slice(paths.index("known.png"), 1).to_pylist()
    return {path: (reason or "", known if path == "known.png" else None)
            for path, reason in zip(paths, reasons, strict=True)}  # fmt: skip


def scored(folder: Path, settings: dict[str, Any]) -> Rows:
    from fdetect.classifiers.saved import load_detector
    from fdetect.classifiers.shipped import model_of

    scores = fdetect.score(folder / "images", load_detector(model_of(None)), **settings)
    failures = {one.path: f"{one.stage}: {one.reason}" for one in scores.failures}
    return {path: (failures.get(path, ""), value)
            for path, value in zip(scores.paths, scores.values.tolist(), strict=True)}  # fmt: skip


class Pictures:
    """Crops of photographs: JPEG of random quality, in every eight one PNG and one WebP."""

    def __init__(self, images: str, side: int) -> None:
        from fdetect.bench.steps import any_images  # here, since workers import this file
        from fdetect.images import decode

        manifest = any_images(images)
        root = Path(os.fsdecode(manifest.schema.metadata[b"fdetect.root"]))
        paths = manifest["path"].to_pylist()
        found = [decode((root / path).read_bytes()).pixels for path in paths[:: max(len(paths) // 200, 1)]]
        self.sources = [pixels for pixels in found if min(pixels.shape[:2]) > side]
        if not self.sources:
            raise SystemExit(f"no image of the data is larger than {side} px; give a smaller --side")
        self.side, self.rng, self.n = side, np.random.default_rng(0), 0

    def write(self, folder: Path, count: int, event: int) -> list[str]:
        """Write new crops, the picture that every round has, and what is to fail; return the names of the last."""
        folder.mkdir()
        for k in range(count):
            pixels = self.sources[self.n % len(self.sources)]
            top, left = (int(self.rng.integers(0, length - self.side)) for length in pixels.shape[:2])
            crop = Image.fromarray(pixels[top : top + self.side, left : left + self.side])
            suffix, quality = {0: "png", 1: "webp"}.get(k % 8, "jpg"), int(self.rng.integers(60, 96))
            crop.save(folder / f"{self.n:07d}.{suffix}", quality=quality)
            self.n += 1
        same = self.sources[0][: self.side, : self.side].copy()
        Image.fromarray(same).save(folder / "known.png")
        (folder / "broken.jpg").write_bytes(b"no image")
        if event not in NAMES:
            return ["broken.jpg"]
        middle = slice(self.side // 2 - 16, self.side // 2 + 16)
        same[middle, middle] = mark(event)
        Image.fromarray(same).save(folder / NAMES[event])
        return ["broken.jpg", NAMES[event]]


# --- what is watched -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Sample:
    """Of this process and those below it, at one moment: resident memory in MiB, and counts."""

    seconds: float
    images: int
    own: float
    used: float  # of `own`, what the program has not freed: the rest its allocator keeps for later
    largest: float  # of the processes below
    together: float
    files: int
    threads: int
    processes: int


class Watch:
    """Takes a sample every `SECONDS` in a thread of its own, and one after each round, when nothing runs."""

    def __enter__(self) -> Watch:
        self.since, self.done, self.under_way, self.events = time.monotonic(), 0, 0, Counter[int]()
        self.samples, self.at_rest = list[Sample](), [self.sample()]
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.over.set()
        self.thread.join()

    def _run(self) -> None:
        while not self.over.wait(SECONDS):
            self.samples.append(self.sample())
            print(self.samples[-1], file=sys.stderr, flush=True)

    def round_over(self, images: int, event: int) -> None:
        """Count a round that is over, and take a sample at rest."""
        self.done, self.under_way = self.done + images, 0
        self.events[event] += 1
        self.at_rest.append(self.sample())

    def sample(self) -> Sample:
        """Look at this process and those below it."""
        from engine import below

        others = [one for pid in below(os.getpid()) if (one := resident(pid))]
        own, files, threads = resident(os.getpid()), os.listdir("/proc/self/fd"), os.listdir("/proc/self/task")
        return Sample(
            time.monotonic() - self.since, self.done + self.under_way, own, in_use(), max(others, default=0.0),
            own + sum(others), len(files), len(threads), 1 + len(others),
        )  # fmt: skip


def in_use() -> float:
    """Return the MiB that this process holds from malloc and from Arrow's pool; NaN without glibc."""
    import pyarrow as pa

    ask: Any = getattr(ctypes.CDLL(None), "mallinfo2", None)
    if ask is None:
        return float("nan")
    ask.restype = type("Mallinfo2", (ctypes.Structure,), {"_fields_": [(str(k), ctypes.c_size_t) for k in range(10)]})
    found = ask()
    return (getattr(found, "4") + getattr(found, "7") + pa.total_allocated_bytes()) / (1 << 20)  # hblkhd, uordblks


def resident(pid: int) -> float:
    """Return the resident memory of a process in MiB; 0 where it has ended."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize() / (1 << 20)
    except OSError:
        return 0.0


# --- report ----------------------------------------------------------------------------------------------------------


def report(options: argparse.Namespace, watch: Watch) -> None:
    from scipy.stats import theilslopes

    n, seconds = watch.events, watch.at_rest[-1].seconds
    print(f"{watch.done} images in {seconds / 60:.0f} minutes, {n.total()} rounds, {options.workers} worker(s): "
          f"{n[CRASH]} with a crash, {n[HANG]} with a hang, {n[INTERRUPT]} interrupted; "
          f"{len(os.sched_getaffinity(0))} cores\n")  # fmt: skip
    print("| minutes | images done | own process, MiB | largest other | all together | files | threads | processes |")
    print("|---|---|---|---|---|---|---|---|")
    for k in range(SLOTS):
        first, last = (seconds * i / SLOTS for i in (k, k + 1))
        if here := [one for one in watch.samples if first <= one.seconds < last]:
            series = [[getattr(one, field) for one in here] for field in FIELDS]
            memory = [f"{np.median(values):.0f} (to {max(values):.0f})" for values in series[:3]]
            counts = [f"{min(values)}-{max(values)}" for values in series[3:]]
            cells = " | ".join(memory + counts)
            print(f"| {first / 60:.0f}-{last / 60:.0f} | {here[-1].images} | {cells} |")
    rest, columns = watch.at_rest, ("own", "used", "files", "threads", "processes")
    print("\n| at rest, between rounds | own process, MiB | of it in use | files | threads | processes |")
    print("|---|---|---|---|---|---|")
    places = {"before the first": 0, "after the first": 1, "after a fifth": len(rest) // 5, "after the last": -1}
    for name, k in places.items():
        print(f"| {name} | {' | '.join(format(getattr(rest[k], column), '.0f') for column in columns)} |")
    print("\n| growth after the first fifth (Theil-Sen, 95 %) | MiB an hour |\n|---|---|")
    growing = {"own process": (watch.samples, "own"), "own process at rest": (rest, "own"),
               "of it in use": (rest, "used"), "largest other": (watch.samples, "largest")}  # fmt: skip
    for name, (samples, field) in growing.items():
        late = [one for one in samples if one.seconds > SETTLED * seconds]
        slope, _, low, high = theilslopes([getattr(s, field) for s in late], [s.seconds / 3600 for s in late])
        print(f"| {name} | {slope:+.1f} ({low:+.1f} to {high:+.1f}) |")


if __name__ == "__main__":
    main()
