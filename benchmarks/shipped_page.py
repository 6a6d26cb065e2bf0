"""What the detector that ships is worth: its scores of all images that nothing was fitted on, as docs/shipped.md.

    python benchmarks/shipped_page.py DATA [--store FOLDER] [--work FOLDER] [--out PAGE | -]

Thresholds were set on photographs of DATA that the network does not know (benchmarks/shipped.py).  The false-positive
rate is told for every source, also of those that were fitted on, which are marked.  Below stand cases made of the
photographs that were not (hard_photographs.py).
"""

from __future__ import annotations

import argparse
import datetime
import os
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from hard_photographs import CASES, make
from racing import write_between
from shipped import FREE, free_photographs

from fdetect.bench.data.inputs import any_images, root_of
from fdetect.bench.header import versions
from fdetect.bench.layouts import read_manifest
from fdetect.bench.protocols import samples_of
from fdetect.bench.report.grid import Grid, interval_text, markdown
from fdetect.bench.scores.evaluate import cells_of
from fdetect.bench.scores.given import read_score_table
from fdetect.bench.steps import score, score_table
from fdetect.classifiers.saved import FittedDetector, load_detector
from fdetect.classifiers.shipped import MODEL
from fdetect.decide import exact_interval
from fdetect.engine import Store
from fdetect.types import REAL, Cell, Table

PAGE = Path(__file__).parent.parent / "docs" / "shipped.md"
MARKER = "benchmark:shipped"
CONDITIONS = ("matched", "jpeg70", "rescaled", "native", "jpeg50", "webp80", "blur1", "noise2", "resize50")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="the manifest that benchmarks/shipped.py was given")
    parser.add_argument("--licence", default=FREE)
    parser.add_argument("--conditions", default=",".join(CONDITIONS))
    parser.add_argument("--store", default=None, help="folder of finished rows")
    parser.add_argument("--work", type=Path, default=None, help="folder for the cases that are made")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--replicates", type=int, default=1000)
    parser.add_argument("--out", default=str(PAGE), help="page with the markers; - prints the tables")
    options = parser.parse_args()
    detector, manifest = load_detector(MODEL), read_manifest(options.data)
    assert isinstance(detector, FittedDetector)
    samples = samples_of(manifest)
    fitted_on = np.zeros(len(samples.label), np.bool_)
    fitted_on[free_photographs(manifest, samples, options.licence)] = True
    names = options.conditions.split(",")
    tables = {name: scored(detector, manifest, name, options) for name in names}
    cells = judged(tables, ~fitted_on, options)
    grids = [by_generator(cells, names), by_source(tables, samples.real_source, samples.label, fitted_on, names),
             by_case(detector, manifest, ~fitted_on & (samples.label == REAL), options)]  # fmt: skip
    text = f"{about(detector, samples.label, fitted_on)}\n\n{markdown(grids)}"
    print(text) if options.out == "-" else write_between(Path(options.out), MARKER, text)


def scored(detector: FittedDetector, manifest: Table, condition: str, options: argparse.Namespace) -> pa.Table:
    """Return the score table of all images under a condition, at the model's thresholds."""
    how = {"store": Store(options.store), "workers": options.workers}
    return score_table(score(manifest, detector, condition=condition, **how), manifest, detector, condition)


def judged(
    tables: dict[str, pa.Table], kept: np.ndarray, options: argparse.Namespace
) -> dict[tuple[str, str], Cell]:
    """Return the cells of the images that are kept, by generator (macro and worst among them) and condition."""
    joined = pa.concat_tables([table.filter(pa.array(kept)) for table in tables.values()])
    joined = joined.set_column(joined.column_names.index("detector"), "detector", pa.array(["shipped"] * len(joined)))
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "scores.parquet"
        pq.write_table(joined, file)
        cells = cells_of(read_score_table(file), replicates=options.replicates, seed=0)
    return {(cell.generator, cell.condition): cell for cell in cells if not cell.real_source}


def by_generator(cells: dict[tuple[str, str], Cell], names: list[str]) -> Grid:
    generators = list(dict.fromkeys(generator for generator, _ in cells))
    rows = []
    for generator in generators:
        found = [cells[generator, name].metric("auroc") for name in names]
        rows.append((generator, *(interval_text(one.value, one.low, one.high) for one in found)))
    caught = [cells["macro", name].metric("tpr_frozen_5") for name in names]
    rows.append(("fakes found at the 5 % threshold", *(interval_text(c.value, c.low, c.high) for c in caught)))
    title = "AUROC by generator, against photographs that nothing was fitted on"
    return Grid(title, ("generator", *names), tuple(rows),
                "Thresholds are those of the model, set under `matched`, whatever the condition.")  # fmt: skip


def by_source(
    tables: dict[str, pa.Table], source: np.ndarray, label: np.ndarray, fitted_on: np.ndarray, names: list[str]
) -> Grid:
    rows = []
    for name in sorted(set(source[label == REAL])):
        mine = (label == REAL) & (source == name)
        note = " (fitted on)" if fitted_on[mine].all() else " (in part fitted on)" if fitted_on[mine].any() else ""
        rows.append((f"{name}{note}", str(int(mine.sum())), *(share(tables[c], mine) for c in names)))
    return Grid("Photographs called generated at the 5 % threshold, by source", ("source", "photographs", *names),
                tuple(rows), "With exact binomial intervals. The threshold was set under `matched`, on all photographs "
                "together that the network does not know; under other conditions nothing was promised.")  # fmt: skip


def by_case(detector: FittedDetector, manifest: Table, reals: np.ndarray, options: argparse.Namespace) -> Grid:
    root, paths = root_of(manifest), manifest.column("path").to_pylist()
    photographs = [Path(root) / paths[k] for k in np.flatnonzero(reals)]
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name, files in make(photographs, Path(options.work or folder)).items():
            table = scored(detector, any_images(files), detector.condition, options)
            all_of_it = np.ones(len(table), np.bool_)
            doc = (CASES[name].__doc__ or "").split(".")[0].removeprefix("Return ")
            rows.append((name, doc, str(len(files)), share(table, all_of_it)))
    columns = ("case", "what it is", "pictures", "called generated")
    return Grid("The same photographs in hard cases", columns, tuple(rows),
                "`matched`; made from photographs that nothing was fitted on.")  # fmt: skip


def share(table: pa.Table, rows: np.ndarray) -> str:
    """Return the share above the 5 % threshold, with an exact interval; failures are counted beside it."""
    scores, limits = (np.array(table.column(name).to_pylist(), np.float64)[rows] for name in ("score", "threshold"))
    ok = np.isfinite(scores)
    n, above = int(ok.sum()), int((scores[ok] > limits[ok]).sum())
    if not n:
        return "none could be scored"
    bounds = exact_interval(above, n)
    failed = f", {len(scores) - n} failed" if n < len(scores) else ""
    return interval_text(above / n, bounds.low, bounds.high) + failed


def about(detector: FittedDetector, label: np.ndarray, fitted_on: np.ndarray) -> str:
    reals = label == REAL
    known = versions()
    with_versions = ", ".join(f"{name} {known[name]}" for name in ("fdetect", "numpy", "torch") if name in known)
    return (
        f"{int((label != REAL).sum())} generated images and {int((reals & ~fitted_on).sum())} photographs that nothing "
        f"was fitted on; {int(fitted_on.sum())} photographs were. Crop {detector.crop} px, mean of {detector.draws} "
        f"draws. {detector.calibration.text}. Run on {datetime.date.today()} on {len(os.sched_getaffinity(0))} CPU "
        f"cores, no GPU, with {with_versions}."
    )


if __name__ == "__main__":
    sys.exit(main())
