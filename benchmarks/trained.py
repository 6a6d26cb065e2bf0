"""Trained detectors on one set of images: writes the tables of docs/trained-figures.md.

    python benchmarks/trained.py DATA --runs RUNS [--networks OUT/scores.parquet]
    python benchmarks/trained.py DATA --fused handmade,spectrum,trunk --trunk OUT/trainings --trunk-name residual_trunk

Two runs of `fdetect bench`, leave one generator out and leave one real source out, with every head on all columns and
the fused detector; networks that benchmarks/networks.py trained in the same trials stand beside them where --networks
names their scores, and one of them is the trunk where --trunk names their outputs.  Every detector that ran is in the
tables.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq
from figures import about, by_generator, cells, detectors, reals, shown, tell
from racing import write_between
from trainings import Trainings

from fdetect.bench.compare import paired_differences
from fdetect.bench.differences import difference_grids, read_differences
from fdetect.bench.grid import Grid, markdown
from fdetect.bench.networks import networks_grids
from fdetect.bench.run import Bench, bench
from fdetect.classifiers import head
from fdetect.classifiers.fused_choice import FORMS
from fdetect.config import FusedConfig, RunConfig, override
from fdetect.engine import Store
from fdetect.engine.pool import default_workers
from fdetect.errors import FdetectError

PAGE, MARKER = Path("docs/trained-figures.md"), "benchmark:trained"
PROTOCOLS = {"Leave one generator out": "leave_one_generator_out",
             "Leave one real source out": "leave_one_real_source_out"}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="manifest or folder of labelled images")
    parser.add_argument("--heads", default=",".join(head.names()))
    parser.add_argument("--features", default="standard")
    parser.add_argument("--fused", default="handmade,spectrum", help="branches of the fused detector; empty: without")
    parser.add_argument("--trunk", type=Path, help="OUT/trainings of benchmarks/networks.py; without, it is trained")
    parser.add_argument("--trunk-name", default=FusedConfig.network, help="which network of it is the trunk")
    parser.add_argument("--forms", default="+".join(FORMS), help="what may give a branch of it its logit, by +")
    parser.add_argument("--draws", type=int, default=4, help="of each image, for heads and the fused detector")
    parser.add_argument("--conditions", default="native,matched,jpeg70,rescaled")
    parser.add_argument("--networks", type=Path, help="scores.parquet of benchmarks/networks.py")
    parser.add_argument("--compare", default="", help="a detector that was chosen on training folds, for differences")
    parser.add_argument("--replicates", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=default_workers())
    parser.add_argument("--store", default=None, help="folder of finished rows")
    parser.add_argument("--runs", type=Path, default=Path("runs/trained"), help="folder of the run folders")
    parser.add_argument("--out", type=Path, default=PAGE, help="page with the markers; - prints the tables")
    options = parser.parse_args()
    seconds: dict[str, float] = {}
    try:
        done = {title: run(name, options, seconds) for title, name in PROTOCOLS.items()}
    except FdetectError as error:
        parser.error(str(error))
    first = done["Leave one generator out"]
    grids = [macro(title, one) for title, one in done.items()]
    grids += [differences(title, one, options) for title, one in done.items() if options.compare]
    grids += [replace(grid, title=f"{grid.title}, {title.lower()}") for title, one in done.items()
              for grid in difference_grids(read_differences(one.folder), one.result.audit)]  # fmt: skip
    grids += [by_generator(first, condition) for condition in options.conditions.split(",")]
    source = done["Leave one real source out"]
    grids += [reals(source, condition) for condition in conditions(PROTOCOLS["Leave one real source out"], options)]
    grids += [replace(grid, title=f"{grid.title}, {title.lower()}") for title, one in done.items()
              for grid in networks_grids(one.result.header)]  # fmt: skip
    rows = tuple((title, f"{value:.0f}") for title, value in seconds.items())
    grids.append(Grid("Seconds of each run", ("run", "seconds"), rows, "With what earlier runs had left in the store."))
    drawn = f"Heads and the fused detector see {options.draws} draws of each image. "
    text = f"{about(first, options, drawn)}\n\n{markdown(grids)}"
    if str(options.out) == "-":
        print(text)
        return
    write_between(options.out, MARKER, text)


def run(protocol: str, options: argparse.Namespace, seconds: dict[str, float]) -> Bench:
    since = time.monotonic()
    config = override(RunConfig(), {
        "data.path": options.data, "conditions.names": conditions(protocol, options), "protocol.name": protocol,
        "features.names": (options.features,), "heads.per_family": (), "detectors.names": (), "seed": options.seed,
        "heads.all_columns": tuple(options.heads.split(",")), "metrics.replicates": options.replicates,
        "fused.branches": tuple(options.fused.split(",")) if options.fused else (),
        "fused.forms": tuple(options.forms.split("+")), "heads.draws": options.draws,
        "fused.network": "" if options.trunk else options.trunk_name,
        "detectors.scores": given(protocol, options),
    })  # fmt: skip
    done = bench(config, out=options.runs / protocol, store=Store(options.store), workers=options.workers,
                 progress=tell, trunk=Trainings.read(options.trunk, options.trunk_name) if options.trunk else None,
                 )  # fmt: skip
    seconds[protocol] = time.monotonic() - since
    return done


def conditions(protocol: str, options: argparse.Namespace) -> tuple[str, ...]:
    """Return what is tested under; stored pixels, a biased column, are left out where real sources are."""
    names = tuple(options.conditions.split(","))
    return names if protocol == "leave_one_generator_out" else tuple(name for name in names if name != "native")


def given(protocol: str, options: argparse.Namespace) -> tuple[str, ...]:
    """Return the file with the scores of networks that were trained in every trial of a protocol."""
    if not options.networks:
        return ()
    table = pq.read_table(options.networks)
    mine = table.filter(pc.equal(table.column("protocol"), protocol)).drop_columns(["protocol"])
    trials = {name: len(set(mine.filter(pc.equal(mine.column("detector"), name)).column("trial").to_pylist()))
              for name in set(mine.column("detector").to_pylist())}  # fmt: skip
    whole = [name for name, n in trials.items() if n == max(trials.values())]
    for name in sorted(set(trials) - set(whole)):
        print(f"{name} was trained in {trials[name]} of {max(trials.values())} trials of {protocol}, and is left out",
              file=sys.stderr)  # fmt: skip
    if not whole:
        return ()
    path = options.runs / f"networks-{protocol}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(mine.filter(pc.is_in(mine.column("detector"), value_set=pc.cast(whole, "string"))), path)
    return (str(path),)


def macro(title: str, done: Bench) -> Grid:
    mean, worst = cells(done, "macro"), cells(done, "worst")
    tested = list(dict.fromkeys(condition for _, condition in mean))
    main_condition = "matched" if "matched" in tested else tested[0]
    rows = tuple(
        (f"`{name}`", *(shown(mean.get((name, c))) for c in tested), shown(worst.get((name, main_condition))),
         ", ".join(worst[name, main_condition].flags[:1]), shown(mean.get((name, main_condition)), "tpr_frozen_5"),
         shown(mean.get((name, main_condition)), "fpr_achieved_5"))
        for name in detectors(done)
    )  # fmt: skip
    columns = ("detector", *tested, f"worst, {main_condition}", "which", "fakes found at frozen 5 %",
               "false positives there")  # fmt: skip
    note = "Macro AUROC over the generators. The last two: under the same condition, thresholds from training reals."
    return Grid(title, columns, rows, note)


def differences(title: str, done: Bench, options: argparse.Namespace) -> Grid:
    rows = []
    for name in detectors(done):
        if name != options.compare:
            found = paired_differences(done.scores, name, options.compare, replicates=options.replicates,
                                       seed=options.seed)  # fmt: skip
            rows.append((f"`{name}`", *(f"{one.value:+.3f} [{one.low:+.3f}, {one.high:+.3f}]" for one in found)))
    tested = tuple(dict.fromkeys(c.condition for c in done.result.cells))
    note = f"Macro AUROC minus that of `{options.compare}`, paired."
    return Grid(f"Against {options.compare}, {title.lower()}", ("detector", *tested), tuple(rows), note)


if __name__ == "__main__":
    main()
