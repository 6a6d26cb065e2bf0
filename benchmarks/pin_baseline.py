"""The hand-crafted baseline that ships for the gate: its scores on the `sim-*` part of the built-in benchmark.

    python benchmarks/pin_baseline.py WORK

Writes fdetect/bench/gate/pinned/scores.parquet, which `fdetect compare builtin RUN` reads.  To be made anew whenever
the built-in images, the conditions, the standard features or these heads change; tests/test_pinned.py says when the
first two did.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from fdetect.bench.data.builtin import builtin_manifest
from fdetect.bench.gate.pinned import COLUMNS, CONDITIONS, CROP, DETECTORS, FILE, recipe
from fdetect.bench.header import versions
from fdetect.bench.run import bench
from fdetect.config import RunConfig, override
from fdetect.engine import Store


def main() -> None:
    work = Path(sys.argv[1])
    manifest = builtin_manifest(work, networks=())
    folder = Path((manifest.schema.metadata or {})[b"fdetect.root"].decode())
    config = override(RunConfig(), {
        "data.path": str(folder / "manifest.csv"), "conditions.names": CONDITIONS, "conditions.crop": CROP,
        "features.names": ("standard",), "heads.per_family": (), "detectors.names": (),
        "heads.all_columns": tuple(name.partition(":")[0] for name in DETECTORS), "metrics.replicates": 10,
    })  # fmt: skip
    done = bench(config, out=work / "run", store=Store(str(work / "store")), workers=2)
    table = done.scores.select([*COLUMNS])
    table = table.set_column(table.column_names.index("score"), "score", table.column("score").cast(pa.float32()))
    table = table.set_column(table.column_names.index("threshold"), "threshold",
                             table.column("threshold").cast(pa.float32()))  # fmt: skip
    about = {"recipe": recipe(), "versions": str(versions())}
    FILE.parent.mkdir(exist_ok=True)
    pq.write_table(table.replace_schema_metadata(about), FILE, compression="zstd")
    print(f"{FILE}: {len(table)} rows, {FILE.stat().st_size} bytes")


if __name__ == "__main__":
    main()
