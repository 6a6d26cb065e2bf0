"""What a manifest of millions of rows takes: opened, split and audited, in seconds and in memory.

    python benchmarks/manifest_scale.py [--rows 1000000,10000000] [--kinds parquet,csv] [--protocol NAME]

Every number of rows is one process, and the table one row for each of its steps:

    opened    `read_manifest`: columns, labels, paths (normal, below the root, none twice), names, metadata and reading
    sampled   `samples_of`: the columns of names that protocols, trials and tables of scores look at
    split     `trials_of`: groups into folds by strata, the trials of the protocol, reals kept for calibration in each
    counted   `counted`: the overview, its warnings included, of one header for each row
    audited   `audited_rows`, and what `audit` makes of the four probes that read no pixel, with bootstrapped intervals

The rows are synthetic: half reals of 3 sources, half fakes of 8 generators, in groups of a real and its fake.  No image
is there: headers and probe features are drawn, so that what takes time with files (reading headers, decoding, the
thumbnail and the JPEG history, and content hashes) is no part of it.  The audit looks at about as many images as
`fdetect.bench.audit.AUDITED` says.  MiB is the peak resident size of the process (VmHWM) so far: it never falls from
step to step.  Making the manifest is another process; compiling kernels, which Numba keeps, is left out.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import re
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

BLOCK = 1 << 20  # rows written at a time
PROBES = {"file_bytes": 2, "dimensions": 4, "container": 16, "tables_exif": 131}  # columns; what sees no pixel


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", default="1000000,10000000")
    parser.add_argument("--kinds", default="parquet,csv")
    parser.add_argument("--protocol", default="leave_one_generator_out")
    options = parser.parse_args()
    print("| rows | file | step | s | s of cores | peak MiB | |\n|---|---|---|---|---|---|---|")
    for rows in map(int, options.rows.split(",")):
        for kind in options.kinds.split(","):
            with tempfile.TemporaryDirectory() as folder:
                file = Path(folder, f"manifest.{kind}")
                alone(write, file, rows)
                alone(measure, file, rows, options.protocol)


def alone(function: Callable[..., None], *arguments: Any) -> None:
    """Call a function in a process of its own, whose memory begins anew."""
    process = multiprocessing.get_context("spawn").Process(target=function, args=arguments)
    process.start()
    process.join()
    if process.exitcode:
        raise SystemExit(f"{function.__name__} failed")


def write(file: Path, rows: int) -> None:
    """Write the manifest block by block."""
    writer: Any = None
    for start in range(0, rows, BLOCK):
        table = block(np.arange(start, min(start + BLOCK, rows)))
        if writer is None:
            make = pq.ParquetWriter if file.suffix == ".parquet" else pacsv.CSVWriter
            writer = make(str(file), table.schema)
        writer.write_table(table)
    writer.close()


def block(k: np.ndarray) -> pa.Table:
    """Return rows of the manifest: an even row is a real, the odd one after it the fake of its group."""
    fake = k % 2 == 1
    generator = np.where(fake, np.char.add("generator-", (k // 2 % 8).astype(str)), "")
    source = np.where(fake, "", np.char.add("source-", (k // 2 % 3).astype(str)))
    number = pc.utf8_lpad(pa.array(k).cast(pa.string()), 9, "0")
    folder = pa.array(np.where(fake, generator, source))
    return pa.table({
        "path": pc.binary_join_element_wise("images", folder, pc.binary_join_element_wise(number, "jpg", "."), "/"),
        "label": fake.astype(np.int64), "generator": generator, "real_source": source,
        "group": pc.binary_join_element_wise("scene", pa.array(k // 2).cast(pa.string()), "-"),
        "split": np.where(k // 2 % 5 == 0, "test", "train"),
    })  # fmt: skip


def measure(file: Path, rows: int, protocol: str) -> None:
    """Print one line of the table for each step."""
    for _ in steps(*small(file), protocol):  # compiles the kernels, loads the libraries
        pass
    before, since, cpu = peak(), time.monotonic(), time.process_time()
    began = since, cpu
    print(f"| {rows:,} | {file.suffix[1:]} | loaded | | | {before} | libraries and kernels |")
    for step, what in steps(file, rows, protocol):
        print(f"| {rows:,} | {file.suffix[1:]} | {step} | {time.monotonic() - since:.1f} | "
              f"{time.process_time() - cpu:.1f} | {peak()} | {what} |", flush=True)  # fmt: skip
        since, cpu = time.monotonic(), time.process_time()
    print(f"| {rows:,} | {file.suffix[1:]} | **all** | {since - began[0]:.1f} | {cpu - began[1]:.1f} | {peak()} | |")


def small(file: Path) -> tuple[Path, int]:
    """Write a manifest of few rows beside the large one."""
    first = file.with_name(f"small{file.suffix}")
    write(first, 600)
    return first, 600


def steps(file: Path, rows: int, protocol: str) -> Iterator[tuple[str, str]]:
    """Run one step after the other; yields its name and what came out."""
    from fdetect.bench.audit import audited_rows
    from fdetect.bench.data.overview import counted
    from fdetect.bench.layouts import read_manifest
    from fdetect.bench.protocols import samples_of, trials_of

    manifest = read_manifest(file)
    assert len(manifest) == rows
    yield "opened", f"{file.stat().st_size / 2**20:.0f} MiB on disk"
    samples = samples_of(manifest)
    yield "sampled", f"{len(samples.generators)} generators"
    trials = trials_of(samples, name=protocol)
    yield "split", f"{len(trials)} trials"
    del trials
    seen = counted(manifest, headers(samples.label))
    yield "counted", f"{len(seen.warnings)} warnings"
    del manifest, seen
    some = samples.at(audited_rows(samples))
    marked = probed(some)
    yield "audited", f"{len(some.path):,} images, marked: {', '.join(marked)}"


def headers(label: np.ndarray) -> Any:
    """Draw a header for each row: fakes are square, and less often JPEG."""
    from fdetect.bench.data.headers import Headers

    rng, n = np.random.default_rng(0), len(label)
    jpeg = rng.random(n, np.float32) < np.where(label == 1, 0.5, 0.9)
    side = rng.integers(256, 2048, n, np.int32)
    return Headers(
        np.full(n, -1, np.int32), np.where(jpeg, 0, 1).astype(np.int32), side,
        np.where(label == 1, side, side * 3 // 4), rng.integers(10_000, 4_000_000, n),
        np.where(jpeg, rng.integers(70, 100, n), -1).astype(np.int16), jpeg, (), ("JPEG", "PNG"),
    )  # fmt: skip


def probed(samples: Any) -> list[str]:
    """Audit drawn features of which the container gives the labels away; returns what was marked."""
    from fdetect.bench.audit import Judge

    judge = Judge(samples, replicates=1000, level=0.95, seed=0)
    rng = np.random.default_rng(0)
    values = {name: rng.integers(0, 100, (len(samples.label), d)).astype(np.float32) for name, d in PROBES.items()}
    values["container"][:, 0] = samples.label == (rng.random(len(samples.label)) < 0.8)
    found = [judge.label_probe("native", name, drawn) for name, drawn in values.items()]
    return [probe.probe for probe in found if probe.biased]


def peak() -> int:
    """Return the peak resident size of this process so far, in MiB."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found
    return int(found[1]) // 1024


if __name__ == "__main__":
    main()
