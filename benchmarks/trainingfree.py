"""Training-free detectors that need no large network, on images of your own: writes a table into docs/trainingfree.md.

    fdetect weights import taef2_encoder.pth taef2_decoder.pth --as taef2
    python benchmarks/trainingfree.py DATA

One run of `fdetect bench`: the relatives of RIGID on hand-crafted features, which need no weights, and the detectors
that reconstruct with TAEF2.  Every detector that ran is in the table, those below chance too; nothing is chosen or
turned by what is found here.  A killed run resumes when it is started again.
"""

from __future__ import annotations

import argparse
import datetime
import os
import sys
from dataclasses import replace
from pathlib import Path

from racing import write_between

from fdetect.bench.report.grid import Grid, markdown
from fdetect.bench.report.tables import audit_mark, not_run_grid, summary_grids
from fdetect.bench.run import Bench, bench
from fdetect.bench.training.networks import networks_grids, with_weights
from fdetect.config import RunConfig, override
from fdetect.engine import Store
from fdetect.engine.pool import default_workers
from fdetect.errors import FdetectError
from fdetect.rigid import detector

PAGE = Path("docs/trainingfree.md")
MARKER = "benchmark:trainingfree"
WANTED = ("feature_drift*", "aeroblade_taef2*", "hfi_taef2*")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="manifest or folder of labelled images")
    parser.add_argument("--detectors", default=",".join(WANTED), help="names or patterns of fdetect list detectors")
    parser.add_argument("--autoencoder", default="", help="for those that reconstruct; default their own")
    parser.add_argument("--protocol", default="leave_one_generator_out")
    parser.add_argument("--conditions", default="native,matched,jpeg70,rescaled")
    parser.add_argument("--crop", type=int, default=224)
    parser.add_argument("--replicates", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=default_workers())
    parser.add_argument("--store", default=None, help="folder of finished rows")
    parser.add_argument("--run", type=Path, default=None, help="run folder (default: in runs/)")
    parser.add_argument("--out", type=Path, default=PAGE, help="page with the markers; - prints the table")
    given = parser.parse_args()
    flags = {
        "data.path": given.data, "protocol.name": given.protocol, "conditions.crop": given.crop,
        "conditions.names": tuple(given.conditions.split(",")), "features.names": (), "heads.per_family": (),
        "heads.all_columns": (), "detectors.autoencoder": given.autoencoder, "metrics.replicates": given.replicates,
        "detectors.names": tuple(entry.name for entry in detector.select(*given.detectors.split(","))),
        "seed": given.seed,
    }  # fmt: skip
    config = override(RunConfig(), flags)
    try:
        done = bench(config, out=given.run, store=Store(given.store), workers=given.workers, progress=tell)
    except FdetectError as error:
        parser.error(str(error))
    print(done.engine, file=sys.stderr)
    own = ("data", "workers", "store", "run", "out", "autoencoder")
    options = [
        f"--{name} {value}" for name, value in vars(given).items()
        if name not in own and value != parser.get_default(name)
    ]  # fmt: skip
    text = table(config, done, command=" ".join(("python benchmarks/trainingfree.py DATA", *options)))
    if str(given.out) == "-":
        print(text)
        return
    write_between(given.out, MARKER, text)
    print(f"{given.out}: written from {done.folder}")


def tell(what: str, done: int, total: int) -> None:
    if done == total:
        print(f"{what}: {total} done", file=sys.stderr)


def table(config: RunConfig, done: Bench, *, command: str) -> str:
    """Write what was run, what each detector is, and one table a condition."""
    result, versions = done.result, done.result.header["versions"]
    data, failed = result.header["data"], len({failure.path for failure in result.failures})
    names = ("fdetect", "python", "numpy", "torch", "pillow")
    level = f"{config.metrics.level:.0%}"
    paragraphs = [
        f"{data['n_real']} real images ({_counted(data['real_sources'])}) and {data['n_fake']} generated ones "
        f"({_counted(data['generators'])}) in {data['n_groups']} groups; {failed} failed. Nothing is fitted; the "
        f"threshold of a trial comes from its calibration reals ({config.protocol.name}, {result.header['trials']} "
        f"trials, {config.protocol.folds} folds by group), under `native` for `native` and under `matched` for all "
        f"other conditions. Crop {config.conditions.crop} px, seed {config.seed}, {level} intervals by group bootstrap "
        f"({config.metrics.replicates} replicates). Run on {datetime.date.today()} on "
        f"{len(os.sched_getaffinity(0))} CPU cores, no GPU, with "
        f"{', '.join(f'{name} {versions[name]}' for name in names)}. The command:",
        f"    {command}",
        "What the audit says of each condition:",
        "\n".join(f"- `{name}`: {audit_mark(result.audit, name) or 'not marked'}" for name in config.conditions.names),
    ]
    ran = {cell.detector for cell in result.cells}
    grids = [
        _what([name for name in config.detectors.names if name in ran]),
        *(with_weights(_untrained(grid), result.header) for grid in summary_grids(result.cells, result.audit)),
        *networks_grids(result.header),
        *([not_run_grid(result)] if result.not_run else []),
    ]
    return "\n\n".join(paragraphs) + "\n\n" + markdown(grids)


def _untrained(grid: Grid) -> Grid:
    return replace(grid, title=grid.title.replace("trained under", "threshold from"))


def _what(names: list[str]) -> Grid:
    """The settings of each detector and its cost."""
    rows = []
    for name in names:
        entry = detector.get(name)
        settings = {key: value for key, value in entry.settings.items() if key not in ("dtype", "whole")}
        text = ", ".join(f"{key} {value:g}" if isinstance(value, float) else f"{key} {value}"
                         for key, value in settings.items())  # fmt: skip
        cost = ("", str(entry().passes)) if "feature" not in settings else (str(entry().passes), "")
        rows.append((f"`{name}`", text, *(number or "–" for number in cost)))
    columns = ("detector", "settings", "features for each image", "round trips for each image")
    return Grid("Detectors", columns, tuple(rows))


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{name or 'unnamed'} {n}" for name, n in counts.items())


if __name__ == "__main__":
    main()
