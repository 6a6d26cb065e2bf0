"""How long the intervals of a large benchmark take on one core: cells of many detectors and generators, bootstrapped.

    python benchmarks/intervals.py [--detectors 20] [--generators 20] [--images 5000] [--replicates 2000]

Synthetic scores: every generator has half of `images` fakes, against the same half of reals, each image a group of its
own.  All metrics of every cell are computed, with their intervals; reading the table is part of it, compiling kernels,
which Numba keeps, is not.  As above, on one of 2 shared CPU cores with one thread (taskset -c 0, OMP_NUM_THREADS=1,
NUMBA_NUM_THREADS=1), 2026-11-27: 460 cells of 1,050,000 rows in 18 to 20 s, 17 to 19 s of them of the core.
"""

from __future__ import annotations

import argparse
import os
import time

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pyarrow as pa

from fdetect.bench.scores.evaluate import cells_of


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("detectors", 20), ("generators", 20), ("images", 5000), ("replicates", 2000)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    cells_of(scores(1, 1, 10), replicates=1)  # compiles the kernels
    table = scores(options.detectors, options.generators, options.images // 2)
    since, cpu = time.monotonic(), time.process_time()
    cells = cells_of(table, replicates=options.replicates)
    print(f"{len(cells)} cells of {options.detectors} detectors, {len(table)} rows, {options.replicates} replicates: "
          f"{time.monotonic() - since:.1f} s, {time.process_time() - cpu:.1f} s of one core")  # fmt: skip


def scores(detectors: int, generators: int, half: int) -> pa.Table:
    """Return a table as scores.parquet has it."""
    rng = np.random.default_rng(0)
    n = half * (generators + 1)
    kind = np.repeat(np.arange(generators + 1), half)  # 0: the reals
    generator = np.where(kind > 0, np.char.add("g", kind.astype(str)), "")
    path = np.char.add("i", np.arange(n).astype(str))
    parts = []
    for k in range(detectors):
        score = rng.normal(size=n) + 1.5 * (kind > 0) * rng.random()
        constant = {"real_source": "reals", "trial": "all/0", "detector": f"d{k}", "train": "", "train_condition": "",
                    "condition": "matched"}  # fmt: skip
        parts.append(pa.table({
            "path": path, "group": path, "label": (kind > 0).astype(np.int64), "generator": generator, "score": score,
            "probability": 1 / (1 + np.exp(-score)), "threshold": np.full(n, 1.6), "seen": np.zeros(n, bool),
            **{name: pa.repeat(value, n) for name, value in constant.items()},
        }))  # fmt: skip
    return pa.concat_tables(parts)


if __name__ == "__main__":
    main()
