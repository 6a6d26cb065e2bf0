"""How fast the loop is, here and on Ray, as ratios measured in one run; and how much memory it takes.

    python benchmarks/engine.py [--images DATA] [--count 1200] [--rounds 3]      speed
    python benchmarks/engine.py [--images DATA] --memory 1000,20000              memory
    python benchmarks/engine.py [--images DATA] --freed 6                        what keeping freed memory is worth
    python benchmarks/engine.py --intake 100000                                  rows that one run takes in a second

Images are crops of the photographs and generated pictures of DATA (a manifest or a folder; without it, of the
built-in benchmark), each written once as JPEG.  The rivals are what one would write by hand: a plain loop over
the files, and the same function under `ProcessPoolExecutor.map`.  The ceiling of two workers is what two processes
reach that do nothing but count.  Ray, where it is installed, is started once, before the clock; its workers start with
each row, and "everything in the store" shows what that costs.  All rows of a round run one after another; ratios are
taken within a round, and their median over the rounds is printed with its range.
"""

from __future__ import annotations

import argparse
import functools
import importlib.util
import multiprocessing
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from pathlib import Path

import numpy as np
import pyarrow as pa
from PIL import Image
from racing import ratios, spread

import fdetect
from fdetect.backend import resolve
from fdetect.engine import pool
from fdetect.engine.chunks import Chunk, Done, Item
from fdetect.engine.cluster.answers import Answer, answer_schema
from fdetect.engine.cluster.connection import Cluster
from fdetect.engine.index import Index
from fdetect.engine.jobs import Jobs
from fdetect.engine.lanes import Lane
from fdetect.engine.reading import Seen
from fdetect.engine.sources import Stamp
from fdetect.engine.standing import Standing
from fdetect.engine.work import Plan, content_id, work
from fdetect.features import feature_tasks, select_features
from fdetect.images import decode
from fdetect.perturb import condition
from fdetect.types import Batch

COUNTING = 60_000_000  # additions of the loop that only counts: some seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", help="manifest or folder that the crops are cut from")
    parser.add_argument("--count", type=int, default=1200, help="crops for the speed tables")
    parser.add_argument("--side", type=int, default=256, help="side of the crops in px")
    parser.add_argument("--crop", type=int, default=224, help="side in px of what features see")
    parser.add_argument("--features", default="standard")
    parser.add_argument("--condition", default="native")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--memory", help="counts of images, separated by commas: measure memory instead of speed")
    parser.add_argument("--intake", type=int, help="rows: what a run does with the answers of a cluster")
    parser.add_argument("--freed", type=int, help="pairs: a worker's work with and without keeping freed memory")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fdetect-bench-") as folder:
        if options.intake:
            intake(options, Path(folder))
        elif options.freed:
            freed(options, Path(folder))
        elif options.memory:
            memory(options, Path(folder))
        else:
            speed(options, Path(folder))


# --- speed -----------------------------------------------------------------------------------------------------------


def speed(options: argparse.Namespace, folder: Path) -> None:
    files = make_crops(options, folder / "images", options.count)
    by_hand = functools.partial(one_by_hand, features=options.features, shown=options.condition, crop=options.crop)
    rows: dict[str, Callable[[], object]] = {
        "decode only": lambda: [decode(file.read_bytes()) for file in files],
        "by hand, a plain loop": lambda: [by_hand(file) for file in files],
        "by hand, ProcessPoolExecutor(2)": lambda: in_pool(by_hand, files),
        "fdetect, in its own process": lambda: engine(options, folder, workers=0),
        "fdetect, everything in the store": lambda: engine(options, folder, workers=2, store="kept"),
        "fdetect, 1 worker": lambda: engine(options, folder, workers=1),
        "counting, 1 process": lambda: count_in(1),
        "fdetect, 2 workers": lambda: engine(options, folder, workers=2),
        "counting, 2 processes": lambda: count_in(2),
    }
    if importlib.util.find_spec("ray"):
        Cluster(workers=2)
        rows |= {
            "fdetect on Ray, everything in the store": lambda: engine(options, folder, 2, store="kept", on="ray"),
            "fdetect on Ray, 1 worker": lambda: engine(options, folder, 1, on="ray"),
            "fdetect on Ray, 2 workers": lambda: engine(options, folder, 2, on="ray"),
        }
    engine(options, folder, workers=2, store="kept")
    seconds: dict[str, list[float]] = {name: [] for name in rows}
    timings = []
    for _ in range(options.rounds):
        for name, run in rows.items():
            since = time.perf_counter()
            result = run()
            seconds[name].append(time.perf_counter() - since)
            if name == "fdetect, 2 workers":
                timings.append(result)
    print(f"{options.count} JPEG crops of {options.side} px; features {options.features} at {options.crop} px under "
          f"{options.condition}; {options.rounds} rounds; {len(os.sched_getaffinity(0))} cores\n")  # fmt: skip
    print("| | images/s (best round) | time, relative to the plain loop |\n|---|---|---|")
    for name in rows:
        if not name.startswith("counting"):
            relative = ratios(seconds[name], seconds["by hand, a plain loop"])
            print(f"| {name} | {options.count / min(seconds[name]):.1f} | {relative} |")
    def speed_up(one: str, two: str) -> list[float]:
        return [a / b for a, b in zip(seconds[one], seconds[two], strict=True)]

    ceiling = [2 * value for value in speed_up("counting, 1 process", "counting, 2 processes")]
    two = speed_up("fdetect, 1 worker", "fdetect, 2 workers")
    pool = speed_up("by hand, a plain loop", "by hand, ProcessPoolExecutor(2)")
    print("\n| two at a time | speed-up over one | share of the ceiling |\n|---|---|---|")
    print(f"| counting (the ceiling) | {spread(ceiling)} | 1 |")
    print(f"| fdetect, 2 workers over 1 | {spread(two)} | {ratios(two, ceiling)} |")
    print(f"| by hand, 2 processes over a plain loop | {spread(pool)} | {ratios(pool, ceiling)} |")
    if "fdetect on Ray, 1 worker" in rows:
        there = speed_up("fdetect on Ray, 1 worker", "fdetect on Ray, 2 workers")
        print(f"| fdetect on Ray, 2 workers over 1 | {spread(there)} | {ratios(there, ceiling)} |")
        print("\n| Ray against the engine of one machine | time | without the start |\n|---|---|---|")
        start = seconds["fdetect on Ray, everything in the store"]
        for n in ("1 worker", "2 workers"):
            own, ray = seconds[f"fdetect, {n}"], seconds[f"fdetect on Ray, {n}"]
            without = [a - b for a, b in zip(ray, start, strict=True)]
            print(f"| {n} | {ratios(ray, own)} | {ratios(without, own)} |")
    print(f"\nlast round with 2 workers: {timings[-1]}")


def engine(options: argparse.Namespace, folder: Path, workers: int, *, store: str = "", on: str = "local") -> object:
    """Extract with an empty store, unless one is named, and write the table."""
    with tempfile.TemporaryDirectory(dir=folder) as empty:
        kept = fdetect.Store(folder / store if store else empty)
        return fdetect.extract_to(
            Path(empty) / "features.parquet", folder / "images", features=options.features, crop=options.crop,
            condition=options.condition, workers=workers, store=kept, engine=on,
        ).timing  # fmt: skip


def one_by_hand(file: Path, *, features: str, shown: str, crop: int) -> np.ndarray:
    """What a script without an engine does with one file: the same functions, one image at a time."""
    data = file.read_bytes()
    seen = condition(shown)(decode(data), content_id(data), seed=0, crop=crop)
    tasks = feature_tasks(select_features(features), crop=crop)
    batch = Batch((content_id(data),), tasks[0].geometry(seen.pixels)[None], (seen.facts,))
    return np.concatenate([task(batch)[0] for task in tasks])


def in_pool(function: Callable[[Path], np.ndarray], files: list[Path]) -> list[np.ndarray]:
    with ProcessPoolExecutor(2, multiprocessing.get_context("forkserver")) as pool:
        return list(pool.map(function, files, chunksize=16))


def count_in(processes: int) -> None:
    context = multiprocessing.get_context("forkserver")
    running = [context.Process(target=count) for _ in range(processes)]
    for process in running:
        process.start()
    for process in running:
        process.join()


def count() -> int:
    total = 0
    for k in range(COUNTING):
        total += k
    return total


# --- answers of a cluster --------------------------------------------------------------------------------------------


def intake(options: argparse.Namespace, folder: Path) -> None:
    """Take in made-up answers: as tables in memory -> rows, index and store; what one run can feed of workers."""
    plan = Plan((condition(options.condition),), feature_tasks(select_features(options.features), crop=options.crop),
                options.crop, 0, resolve("cpu"))  # fmt: skip
    of_plan, rng = [(0, task) for task in range(len(plan.tasks))], np.random.default_rng(0)
    schema, block = answer_schema(plan, of_plan), 512
    paths = pa.array([f"images/{k // 1000:06d}/{k:010d}.jpg" for k in range(options.intake)])
    values = {job: rng.random((block, len(plan.tasks[job[1]].columns)), np.float32) for job in of_plan}

    def answer(start: int) -> pa.Table:
        rows = range(start, min(start + block, options.intake))
        ids = [rng.bytes(16).hex() for _ in rows]
        done = Done(len(ids), {job: (ids, values[job][: len(ids)]) for job in of_plan})
        seen = [Seen(row, "", id, None, Stamp(50_000, row, row)) for row, id in zip(rows, ids, strict=True)]
        return Answer.about(seen, [0] * len(ids), done).table(schema)

    with closing(Lane("write", {})) as lane:
        store = fdetect.Store(folder)
        jobs = Jobs(plan, store, lane)
        going = Standing(jobs, Index(store, "/images", paths), paths, None)
        size, took, before = 0, 0.0, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for start in range(0, options.intake, block):
            table = answer(start)
            since = time.perf_counter()
            going.take(Answer.of(table), {})
            took += time.perf_counter() - since
            size += table.nbytes
        since = time.perf_counter()
        jobs.flush()
        going.index.flush()
        lane.drain()
        took += time.perf_counter() - since
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 / options.intake
    speed = f"{options.intake / took:.0f} rows/s, {size / took / 1e6:.0f} MB/s; {grown:.0f} bytes of memory a row"
    print(f"{options.intake} rows of {options.features} ({size / options.intake:.0f} bytes each) taken in: {speed}")


# --- freed memory ----------------------------------------------------------------------------------------------------


def freed(options: argparse.Namespace, folder: Path) -> None:
    """Work through the crops in fresh processes, in turn with memory kept as workers do and without."""
    files = make_crops(options, folder / "images", options.count)
    gains = []
    for k in range(options.freed):
        seconds = {}
        for keep in (True, False) if k % 2 else (False, True):
            with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as fresh:
                asked = (files, options.features, options.condition, options.crop, keep)
                seconds[keep] = fresh.submit(work_through, *asked).result()
        gains.append(seconds[False] / seconds[True])
    print(f"keeping freed memory: {spread(gains)} times as fast, {options.freed} pairs of {options.count} crops")


def work_through(files: list[Path], features: str, shown: str, crop: int, keep: bool) -> float:
    if keep:
        pool._reuse_memory()
    plan = Plan((condition(shown),), feature_tasks(select_features(features), crop=crop), crop, 0, resolve("cpu"))
    items = [Item(content_id(data), data) for data in (file.read_bytes() for file in files)]
    jobs = tuple((0, task) for task in range(len(plan.tasks)))
    chunks = [Chunk(tuple(items[k : k + 16]), jobs) for k in range(0, len(items), 16)]
    work(plan, chunks[0])
    since = time.perf_counter()
    for chunk in chunks:
        work(plan, chunk)
    return time.perf_counter() - since


# --- memory ----------------------------------------------------------------------------------------------------------


def memory(options: argparse.Namespace, folder: Path) -> None:
    """Run the command line on growing folders, and watch the peak of every process of it."""
    print("| images | run's own process, MiB | largest worker | all processes | how many | seconds |")
    print("|---|---|---|---|---|---|")
    first: list[float] = []
    for n in (int(text) for text in options.memory.split(",")):
        make_crops(options, folder / f"images-{n}", n)
        command = [
            sys.executable, "-m", "fdetect", "extract", str(folder / f"images-{n}"), "-o", str(folder / f"{n}.parquet"),
            "--workers", "2", "--store", str(folder / f"store-{n}"), "--features", options.features,
            "--crop", str(options.crop), "--condition", options.condition,
        ]  # fmt: skip
        since = time.perf_counter()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        peaks: dict[int, float] = {}
        watcher = threading.Thread(target=watch, args=(process, peaks))
        watcher.start()
        if process.wait():
            raise SystemExit(f"{' '.join(command)} failed")
        watcher.join()
        mine = peaks.pop(process.pid)
        found = [mine, max(peaks.values()), mine + sum(peaks.values())]
        first = first or found
        cells = " | ".join(f"{value:.0f} ({value / base - 1:+.1%})" for value, base in zip(found, first, strict=True))
        print(f"| {n} | {cells} | {len(peaks) + 1} | {time.perf_counter() - since:.0f} |", flush=True)


def watch(process: subprocess.Popen[bytes], peaks: dict[int, float]) -> None:
    """Note the highest resident memory of a process and all below it, in MiB, as the kernel kept it (VmHWM)."""
    while process.poll() is None:
        for pid in [process.pid, *below(process.pid)]:
            try:
                status = Path(f"/proc/{pid}/status").read_text()
            except OSError:
                continue
            for line in status.splitlines():
                if line.startswith("VmHWM:"):
                    peaks[pid] = max(peaks.get(pid, 0.0), int(line.split()[1]) / 1024)
        time.sleep(0.02)


def below(pid: int) -> list[int]:
    try:
        children = [int(text) for task in Path(f"/proc/{pid}/task").iterdir()
                    for text in (task / "children").read_text().split()]  # fmt: skip
    except OSError:
        return []
    return [one for child in children for one in (child, *below(child))]


# --- shared ----------------------------------------------------------------------------------------------------------


def make_crops(options: argparse.Namespace, folder: Path, count: int) -> list[Path]:
    """Cut `count` different crops from the images of the data, in turn, and write each as JPEG (quality 90)."""
    from fdetect.bench.data.builtin import builtin_manifest  # here, since workers import this file
    from fdetect.bench.steps import any_images

    folder.mkdir(parents=True)
    manifest = any_images(options.images) if options.images else builtin_manifest(folder.parent / "builtin")
    root = Path(os.fsdecode(manifest.schema.metadata[b"fdetect.root"]))
    sources = [decode((root / path).read_bytes()).pixels for path in manifest.column("path").to_pylist()[:400]]
    side = options.side
    sources = [pixels for pixels in sources if min(pixels.shape[:2]) > side]
    if not sources:
        raise SystemExit(f"no image of the data is larger than {side} px; give a smaller --side and --crop")
    rng, files = np.random.default_rng(0), []
    for k in range(count):
        pixels = sources[k % len(sources)]
        top, left = (int(rng.integers(0, length - side)) for length in pixels.shape[:2])
        files.append(folder / f"{k % 100:02d}" / f"{k:06d}.jpg")
        files[-1].parent.mkdir(exist_ok=True)
        Image.fromarray(pixels[top : top + side, left : left + side]).save(files[-1], quality=90)
    return files


if __name__ == "__main__":
    main()
