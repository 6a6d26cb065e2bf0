"""What the pages of trained detectors share: cells of a run as text, and the tables that all of them have."""

from __future__ import annotations

import argparse
import datetime
import os
import sys

from fdetect.bench.report.grid import Grid, interval_text, pretty
from fdetect.bench.report.tables import audit_mark
from fdetect.bench.run import Bench
from fdetect.types import Cell


def about(done: Bench, options: argparse.Namespace, also: str = "") -> str:
    """Say what was run, on what, when and with which versions."""
    header, versions = done.result.header, done.result.header["versions"]
    data = header["data"]
    failed = len({failure.path for failure in done.result.failures})
    names = ("fdetect", "python", "numpy", "scikit-learn", "torch", "pillow")
    marks = "; ".join(f"`{name}` {audit_mark(done.result.audit, name) or 'not marked'}"
                      for name in options.conditions.split(","))  # fmt: skip
    return (
        f"{data['n_real']} photographs and {data['n_fake']} generated images of {len(data['generators'])} generators "
        f"in {data['n_groups']} groups; {failed} failed. Crop 224 px, features `{options.features}`, 3 folds by group, "
        f"95 % intervals by group bootstrap ({options.replicates} replicates), seed {options.seed}. "
        f"{also}Audit: {marks}. "
        f"Run on {datetime.date.today()} on {len(os.sched_getaffinity(0))} CPU cores, no GPU, with "
        f"{', '.join(f'{name} {versions[name]}' for name in names)}."
    )


def cells(done: Bench, generator: str) -> dict[tuple[str, str], Cell]:
    """Return the cells of one generator, or of "macro" and "worst", by detector and condition."""
    return {(c.detector, c.condition): c for c in done.result.cells if c.generator == generator and not c.real_source}


def detectors(done: Bench) -> list[str]:
    """Return the names of all that ran."""
    return list(dict.fromkeys(cell.detector for cell in done.result.cells))


def shown(cell: Cell | None, name: str = "auroc") -> str:
    """Return a metric with its interval, a dash where there is no cell."""
    if cell is None:
        return "–"
    value = cell.metric(name)
    return interval_text(value.value, value.low, value.high)


def by_generator(done: Bench, condition: str) -> Grid:
    """Return the AUROC of each generator that was left out."""
    generators = list(done.result.header["data"]["generators"])
    of = {name: cells(done, name) for name in generators}
    rows = tuple((f"`{d}`", *(_value(of[name].get((d, condition))) for name in generators)) for d in detectors(done))
    return Grid(f"AUROC by generator, {condition}, leave one generator out", ("detector", *generators), rows)


def reals(done: Bench, condition: str) -> Grid:
    """Return the false-positive rate of each real source at a threshold from the others."""
    found = [c for c in done.result.cells if c.condition == condition and c.real_source]
    sources = list(dict.fromkeys(c.real_source for c in found))
    by = {(c.detector, c.real_source): c for c in found}
    rows = tuple((f"`{d}`", *(_rate(by.get((d, s))) for s in sources)) for d in detectors(done))
    return Grid(f"False-positive rate promised 5 %, {condition}, by the real source that was left out",
                ("detector", *sources), rows)  # fmt: skip


def tell(what: str, done: int, total: int) -> None:
    """Say on stderr that a step is over."""
    if done == total:
        print(f"{what}: {total} done", file=sys.stderr)


def _value(cell: Cell | None) -> str:
    return "–" if cell is None else pretty(cell.metric("auroc").value)


def _rate(cell: Cell | None) -> str:
    return "–" if cell is None else interval_text(cell.metrics[0].value, cell.metrics[0].low, cell.metrics[0].high)
