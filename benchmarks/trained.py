"""Trained detectors on one set of images: writes the tables of docs/trained-figures.md.

    python benchmarks/trained.py DATA --runs RUNS [--networks OUT/scores.parquet]
    python benchmarks/trained.py DATA --fused handmade,spectrum,trunk --trunk OUT/trainings --trunk-name residual_trunk

Two runs of `fdetect bench`, leave one generator out and leave one real source out, with every head on all columns and
the fused detector.  Networks that benchmarks/networks.py trained in the same trials stand beside them where --networks
names their scores (a run of their own, as they need no features), and one of them is the trunk where --trunk names
their outputs.  Every detector that ran is in the tables; --more names the scores of another run in the same trials,
whose other detectors and conditions stand beside them.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from figures import about, by_generator, cells, detectors, reals, shown, tell
from racing import write_between
from trainings import Trainings

from fdetect.bench.report.grid import Grid, markdown
from fdetect.bench.run import Bench, bench
from fdetect.bench.scores.compare import paired_differences
from fdetect.bench.scores.differences import difference_grids, read_differences
from fdetect.bench.scores.evaluate import cells_of
from fdetect.bench.training.learnt_tables import verdict
from fdetect.bench.training.networks import networks_grids
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
    parser.add_argument("--more", type=Path, nargs="*", default=(), help="scores.parquet of runs in the same trials")
    parser.add_argument("--protocols", default=",".join(PROTOCOLS.values()))
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
        done = {title: run(name, options, seconds) for title, name in PROTOCOLS.items()
                if name in options.protocols.split(",")}  # fmt: skip
    except FdetectError as error:
        parser.error(str(error))
    grids = [macro(title, one) for title, one in done.items()]
    grids += [differences(title, one, options) for title, one in done.items() if options.compare]
    grids += [replace(grid, title=f"{grid.title}, {title.lower()}") for title, one in done.items()
              for grid in difference_grids(read_differences(one.folder), one.result.audit)]  # fmt: skip
    for title, one in done.items():
        tested = conditions(PROTOCOLS[title], options)
        grids += [(by_generator if title == "Leave one generator out" else reals)(one, name) for name in tested]
    grids += [replace(grid, title=f"{grid.title}, {title.lower()}") for title, one in done.items()
              for grid in networks_grids(one.result.header)]  # fmt: skip
    if options.networks:
        grids += [grid for title, one in done.items() for grid in
                  (budgets(title, PROTOCOLS[title], options), *first_fold(title, one, options))]  # fmt: skip
    rows = tuple((title, f"{value:.0f}") for title, value in seconds.items())
    grids.append(Grid("Seconds of each run", ("run", "seconds"), rows, "With what earlier runs had left in the store."))
    drawn = f"Heads and the fused detector see {options.draws} draws of each image. "
    text = f"{about(next(iter(done.values())), options, drawn)}\n\n{markdown(grids)}"
    if str(options.out) == "-":
        print(text)
        return
    write_between(options.out, MARKER, text)


def run(protocol: str, options: argparse.Namespace, seconds: dict[str, float]) -> Bench:
    since = time.monotonic()
    trunk = Trainings.read(options.trunk, options.trunk_name) if options.trunk else None
    done = judged(protocol, options, options.runs / protocol, {
        "features.names": (options.features,), "heads.all_columns": tuple(options.heads.split(",")),
        "fused.branches": tuple(options.fused.split(",")) if options.fused else (),
        "fused.forms": tuple(options.forms.split("+")), "heads.draws": options.draws,
        "fused.network": "" if options.trunk else options.trunk_name,
    }, trunk)  # fmt: skip
    seconds[protocol] = time.monotonic() - since
    tables = [pq.read_table(file) for file in options.more]
    if scores := given(protocol, options):
        nothing = dict.fromkeys(("features.names", "heads.all_columns"), ())
        networks = judged(protocol, options, options.runs / f"networks-{protocol}",
                          {**nothing, "detectors.scores": scores})  # fmt: skip
        tables.append(networks.scores)
    return with_more(done, tables, options)


def judged(
    protocol: str, options: argparse.Namespace, folder: Path, settings: dict[str, Any], trunk: Trainings | None = None
) -> Bench:
    """Run a benchmark with what all runs of this page have in common, and some settings of its own."""
    config = override(RunConfig(), {
        "data.path": options.data, "conditions.names": conditions(protocol, options), "protocol.name": protocol,
        "heads.per_family": (), "detectors.names": (), "seed": options.seed, "metrics.replicates": options.replicates,
        **settings,
    })  # fmt: skip
    return bench(config, out=folder, store=Store(options.store), workers=options.workers, progress=tell, trunk=trunk)


def with_more(done: Bench, tables: Sequence[pa.Table], options: argparse.Namespace) -> Bench:
    """Return the run with what other tables have beside it, of those that were judged in its trials."""

    def names(table: pa.Table) -> list[str]:
        pairs = zip(table.column("detector").to_pylist(), table.column("condition").to_pylist(), strict=True)
        return [f"{detector} {condition}" for detector, condition in pairs]

    joined, trials = [done.scores], set(done.scores.column("trial").to_pylist())
    known = set(names(done.scores))
    for table in tables:
        if not set(table.column("trial").to_pylist()) <= trials:
            continue  # of the other protocol
        table = table.filter(pa.array([name not in known for name in names(table)]))
        joined.append(table.select(done.scores.column_names).cast(done.scores.schema))
        known |= set(names(table))
    if len(joined) == 1:
        return done
    scores = pa.concat_tables(joined)
    cells = cells_of(scores, replicates=options.replicates, seed=options.seed)
    return replace(done, scores=scores, result=replace(done.result, cells=cells))


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
    whole = [name for name, n in trials.items() if n == max(trials.values(), default=0)]
    for name in sorted(set(trials) - set(whole)):
        print(f"{name} was trained in {trials[name]} of {max(trials.values())} trials of {protocol}, and is left out",
              file=sys.stderr)  # fmt: skip
    if not whole:
        return ()
    path = options.runs / f"networks-{protocol}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(mine.filter(pc.is_in(mine.column("detector"), value_set=pc.cast(whole, "string"))), path)
    return (str(path),)


def budgets(title: str, protocol: str, options: argparse.Namespace) -> Grid:
    """Return what each network of --networks was given, and how far it came, as run.json beside its scores says."""
    found: dict[str, list[dict[str, Any]]] = {}
    run = json.loads((options.networks.parent / "run.json").read_text())
    for one in run["trainings"]:
        if one["protocol"] == protocol:
            found.setdefault(one["network"], []).append(one)
    rows = []
    for name, trials in found.items():
        ended = [one for one in trials if "auroc" in one]
        aurocs = [one["auroc"] for one in ended]
        flattened = ["the loss still falls" not in one["undertrained"] for one in ended]
        spread = f"{np.mean(aurocs):.3f} ({min(aurocs):.3f} to {max(aurocs):.3f})" if ended else "–"
        rows.append((f"`{name}`", f"{ended[0]['parameters'] / 1e6:.3g}" if ended else "–",
                     f"{trials[0]['steps']} x {trials[0]['batch']}", f"{len(ended)} of {len(trials)}", spread,
                     f"{sum(flattened)}", verdict(aurocs, flattened)))  # fmt: skip
    columns = ("network", "parameters (M)", "steps x batch", "trials", "validation AUROC: mean (range)",
               "loss flattened", "verdict")  # fmt: skip
    note = (f"Trained on crops of {run['options']['train_crop']} px; validated under matched on groups kept apart, by "
            "the generators of the training images.")  # fmt: skip
    return Grid(f"Budgets of the networks, {title.lower()}", columns, tuple(rows), note)


def first_fold(title: str, done: Bench, options: argparse.Namespace) -> list[Grid]:
    """Return macro AUROC on the first fold alone, of networks that were trained there alone and of all others.

    None where there is no such network.
    """
    def key(row: dict[str, Any]) -> tuple[str, ...]:
        return row["trial"], row["path"], row["condition"]

    rows = [row for row in done.scores.to_pylist() if row["trial"].endswith("/0")]
    known, own = {key(row): row for row in rows}, set(done.scores.column("detector").to_pylist())
    nothing = {"threshold": None, "probability": None}
    more = [{**known[key(row)], **nothing, "detector": row["detector"], "score": row["score"]}
            for row in pq.read_table(options.networks).to_pylist()
            if row["protocol"] == PROTOCOLS[title] and key(row) in known and row["detector"] not in own]  # fmt: skip
    if not more:
        return []
    table = pa.Table.from_pylist(rows + more, done.scores.schema)
    mean = {(c.detector, c.condition): c for c in cells_of(table, replicates=options.replicates, seed=options.seed)
            if c.generator == "macro" and not c.real_source}  # fmt: skip
    tested, names = (list(dict.fromkeys(one[k] for one in mean)) for k in (1, 0))
    shown_rows = tuple((f"`{name}`", *(shown(mean.get((name, c))) for c in tested)) for name in names)
    note = "A third of the images. Networks that are in no other table were trained in these trials alone."
    return [Grid(f"The first of three folds alone, {title.lower()}", ("detector", *tested), shown_rows, note)]


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
