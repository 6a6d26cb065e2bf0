"""Heads trained on aligned pairs against heads trained on generated images: writes the tables of docs/aligned.md.

    python benchmarks/aligned.py DATA

Runs of `fdetect bench`, which share what they compute; a killed one resumes when the command is given again:

    leave one generator out       heads on generated images, on aligned pairs, and on both at stated shares
    leave one real source out     the same
    one autoencoder at a time     what each adds: alone, and all without it
    crops alone                   pairs without the drawn history of sizes and JPEG

Every head that ran is in the tables.  Nothing is chosen by what is found here.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from pathlib import Path

from figures import about, by_generator, cells, detectors, reals, shown, tell
from racing import write_between

from fdetect.bench.protocols import ALIGNED
from fdetect.bench.report.grid import Grid, markdown
from fdetect.bench.run import Bench, bench
from fdetect.bench.scores.compare import paired_differences
from fdetect.config import RunConfig, override
from fdetect.engine import Store
from fdetect.engine.pool import default_workers
from fdetect.errors import FdetectError
from fdetect.nets.shipped import SHIPPED

PAGE, MARKER = Path("docs/aligned.md"), "benchmark:aligned"
HEADS = ("logreg", "lda", "hist_gb")
FEW = ("logreg", "hist_gb")  # where many sets of autoencoders are compared


@dataclass(frozen=True)
class Plan:
    """What the runs have in common."""

    options: argparse.Namespace
    seconds: dict[str, float]

    def run(self, title: str, **flags: object) -> Bench:
        """Run one benchmark under a title of its own."""
        options, since = self.options, time.monotonic()
        config = override(RunConfig(), {
            "data.path": options.data, "conditions.names": tuple(options.conditions.split(",")),
            "features.names": (options.features,), "heads.per_family": (), "detectors.names": (),
            "heads.all_columns": HEADS, "metrics.replicates": options.replicates, "seed": options.seed,
            **{name.replace("__", "."): value for name, value in flags.items()},
        })  # fmt: skip
        folder = options.runs / title.replace(" ", "-")
        done = bench(config, out=folder, store=Store(options.store), workers=options.workers, progress=tell)
        self.seconds[title] = time.monotonic() - since
        return done


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="manifest or folder of labelled images")
    parser.add_argument("--autoencoders", default="shipped", help="names or folders, separated by commas")
    parser.add_argument("--generated", default="0,0.25,0.5", help="shares of generated images among the fakes")
    parser.add_argument("--features", default="standard")
    parser.add_argument("--conditions", default="matched,jpeg70,rescaled")
    parser.add_argument("--replicates", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=default_workers())
    parser.add_argument("--store", default=None, help="folder of finished rows")
    parser.add_argument("--runs", type=Path, default=Path("runs/aligned"), help="folder of the run folders")
    parser.add_argument("--out", type=Path, default=PAGE, help="page with the markers; - prints the tables")
    given = parser.parse_args()
    names = tuple(one for name in given.autoencoders.split(",") for one in (SHIPPED if name == "shipped" else (name,)))
    try:
        text = tables(Plan(given, {}), names)
    except FdetectError as error:
        parser.error(str(error))
    if str(given.out) == "-":
        print(text)
        return
    write_between(given.out, MARKER, text)


def tables(plan: Plan, names: tuple[str, ...]) -> str:
    options = plan.options
    shares = tuple(float(share) for share in options.generated.split(","))
    first = plan.run("leave one generator out", heads__per_family=("logreg",), aligned__autoencoders=names,
                     aligned__generated=shares)  # fmt: skip
    source = plan.run("leave one real source out", protocol__name="leave_one_real_source_out",
                      aligned__autoencoders=names, aligned__generated=shares)  # fmt: skip
    main_condition = options.conditions.split(",")[0]
    # no generator is in these, so that leaving one out changes nothing
    one: dict[str, object] = {"heads__all_columns": FEW, "conditions__names": (main_condition,),
                              "protocol__name": "train_on", "protocol__train": (ALIGNED,)}  # fmt: skip
    whole = plan.run("all autoencoders", aligned__autoencoders=names, **one)
    plain = plan.run("crops alone", aligned__autoencoders=names, aligned__history=False, **one)
    alone = {name: plan.run(f"alone {Path(name).name}", aligned__autoencoders=(name,), **one) for name in names}
    without = {
        name: plan.run(f"without {Path(name).name}", aligned__autoencoders=tuple(n for n in names if n != name), **one)
        for name in (names if len(names) > 1 else ())
    }
    grids = [
        *(_macro(title, done) for title, done in (("Leave one generator out", first),
                                                  ("Leave one real source out", source))),
        *(_differences(title, done, options) for title, done in (("leave one generator out", first),
                                                                 ("leave one real source out", source))),
        *(by_generator(first, condition) for condition in options.conditions.split(",")),
        reals(source, main_condition),
        _variety(whole, plain, alone, without, main_condition),
        Grid("Seconds of each run", ("run", "seconds"), tuple((k, f"{v:.0f}") for k, v in plan.seconds.items()),
             "With what earlier runs had left in the store: the first pays for nearly all of it."),
    ]  # fmt: skip
    also = f"Left out because they know tested photographs: {first.result.header['aligned']['left_out'] or 'none'}. "
    return f"{about(first, options, also)}\n\n{markdown(grids)}"


def _macro(title: str, done: Bench) -> Grid:
    macro, worst = cells(done, "macro"), cells(done, "worst")
    conditions = list(dict.fromkeys(condition for _, condition in macro))
    rows = tuple(
        (f"`{name}`", *(shown(macro.get((name, c))) for c in conditions),
         shown(worst.get((name, conditions[0]))), ", ".join(worst[name, conditions[0]].flags[:1]))
        for name in detectors(done)
    )  # fmt: skip
    columns = ("head", *conditions, f"worst under {conditions[0]}", "which")
    note = "Macro AUROC over the generators. @aligned: photographs against their round trips; +25: 25 % of the fakes " \
           "are generated images."  # fmt: skip
    return Grid(title, columns, rows, note)


def _differences(title: str, done: Bench, options: argparse.Namespace) -> Grid:
    rows = []
    names = detectors(done)
    for name in names:
        head, _, columns = name.partition(":")
        base, mark, _ = head.partition("@")
        if not mark or f"{base}:{columns}" not in names:
            continue
        found = paired_differences(done.scores, name, f"{base}:{columns}", replicates=options.replicates,
                                   seed=options.seed)  # fmt: skip
        rows.append((f"`{name}`", *(f"{one.value:+.3f} [{one.low:+.3f}, {one.high:+.3f}]" for one in found)))
    conditions = tuple(options.conditions.split(","))
    note = "Against the same head and columns trained on generated images alone: macro AUROC, paired."
    return Grid(f"Aligned minus generated, {title}", ("head", *conditions), tuple(rows), note)


def _variety(whole: Bench, plain: Bench, alone: dict[str, Bench], without: dict[str, Bench], condition: str) -> Grid:
    names = [f"{head}@aligned:all" for head in FEW]

    def row(title: str, done: Bench) -> tuple[str, ...]:
        macro = cells(done, "macro")
        return (title, *(shown(macro.get((name, condition))) for name in names))

    rows = [row("all", whole), row("all, crops alone", plain)]
    rows += [row(f"{Path(name).name} alone", done) for name, done in alone.items()]
    rows += [row(f"all without {Path(name).name}", done) for name, done in without.items()]
    columns = ("pairs made with", *(f"`{name}`" for name in names))
    return Grid(f"What each autoencoder adds, {condition}", columns, tuple(rows), "Macro AUROC over all generators.")


if __name__ == "__main__":
    main()
