"""What every family of features finds by itself, and what it adds to all others: writes docs/catalogue.md.

    python benchmarks/catalogue.py DATA

Three runs of `fdetect bench`, all leaving one generator out: a head on every family, on every preset and on all
columns, under every condition; under `matched`, the same head on all columns but those of each family in turn; under
`native`, the head on the families that stand alone.  A killed run resumes when it is started again.
"""

from __future__ import annotations

import argparse
import datetime
import sys
from collections.abc import Callable
from pathlib import Path

from fdetect.bench.contenders import head_sets
from fdetect.bench.report.grid import Grid, interval_text, markdown
from fdetect.bench.report.tables import LOW_END, audit_mark, low_end, marks
from fdetect.bench.run import Bench, bench
from fdetect.bench.scores.gains import gain_grids, read_gains
from fdetect.config import RunConfig, override
from fdetect.engine import Store
from fdetect.engine.pool import default_workers
from fdetect.errors import FdetectError
from fdetect.features import ALONE, column_names, select_features
from fdetect.files import write_atomic
from fdetect.types import Cell

NOTE = "Intervals by group bootstrap; * = seen in training, ! = more than 1 % of a class lost."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="manifest or folder of labelled images")
    parser.add_argument("--features", default="full", help="presets, features or patterns (default: full)")
    parser.add_argument("--alone", default="provenance", help="features of families that stand alone; none for none")
    parser.add_argument("--head", default="logreg", help="fdetect list heads (default: logreg)")
    parser.add_argument("--conditions", default="native,matched,jpeg70,rescaled")
    parser.add_argument("--drop-conditions", default="matched", help="conditions of the drop-one run")
    parser.add_argument("--crop", type=int, default=224)
    parser.add_argument("--replicates", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=default_workers())
    parser.add_argument("--store", default=None, help="folder of finished rows")
    parser.add_argument("--runs", type=Path, default=None, help="folder for the runs (default: runs/)")
    parser.add_argument("--out", type=Path, default=Path("docs/catalogue.md"))
    given = parser.parse_args()
    common = {
        "data.path": given.data, "features.names": tuple(given.features.split(",")), "conditions.crop": given.crop,
        "metrics.replicates": given.replicates, "seed": given.seed, "detectors.names": (),
    }  # fmt: skip
    together = {"conditions.names": tuple(given.conditions.split(",")), "heads.per_family": (given.head,),
                "heads.per_preset": (given.head,), "heads.all_columns": (given.head,)}  # fmt: skip
    dropped = {"conditions.names": tuple(given.drop_conditions.split(",")), "heads.per_family": (),
               "heads.drop_one": (given.head,), "heads.all_columns": ()}  # fmt: skip
    alone = {"features.names": tuple(given.alone.split(",")), "conditions.names": ("native",),
             "heads.per_family": (given.head,), "heads.all_columns": ()}  # fmt: skip
    wanted = {"together": together, "dropped": dropped} | ({"alone": alone} if given.alone != "none" else {})
    configs = {name: override(RunConfig(), common | flags) for name, flags in wanted.items()}
    try:
        for config in configs.values():
            head_sets(config, select_features(config.features.names))  # what cannot be run is said before any work
        done = {
            name: bench(config, out=given.runs / name if given.runs else None, store=Store(given.store),
                        workers=given.workers, progress=tell)
            for name, config in configs.items()
        }  # fmt: skip
    except FdetectError as error:
        parser.error(str(error))
    options = [
        f"--{name.replace('_', '-')} {value}" for name, value in vars(given).items()
        if name not in ("data", "workers", "store", "runs", "out") and value != parser.get_default(name)
    ]  # fmt: skip
    text = page(configs, done, command=" ".join(("python benchmarks/catalogue.py DATA", *options)))
    write_atomic(given.out, lambda path: path.write_text(text, encoding="utf-8"))
    print(f"{given.out}: written from {', '.join(str(run.folder) for run in done.values())}")


def tell(what: str, done: int, total: int) -> None:
    if done == total:
        print(f"{what}: {total} done", file=sys.stderr)


def page(configs: dict[str, RunConfig], done: dict[str, Bench], *, command: str) -> str:
    """Write the whole page from what the runs returned and the registry of features."""
    config, result, dropped = configs["together"], done["together"].result, done["dropped"]
    header, audit, failed = result.header, result.audit, len({failure.path for failure in result.failures})
    data, versions, head = header["data"], header["versions"], config.heads.per_family[0]
    names = ("fdetect", "python", "numpy", "scipy", "scikit-learn", "scikit-image", "pillow")
    conditions, level = config.conditions.names, f"{config.metrics.level:.0%}"
    biased = [f"- `{name}`: {audit_mark(audit, name) or 'not marked'}" for name in conditions]
    paragraphs = [
        "# Catalogue of traces: what each family finds, and what it adds",
        f"{data['n_real']} real images ({_counted(data['real_sources'])}) and {data['n_fake']} generated ones "
        f"({_counted(data['generators'])}) in {data['n_groups']} groups; {failed} failed. Every generator is "
        f"tested by heads `{head}` that were trained on the others ({header['trials']} trials), under `native` for "
        f"`native` and under `matched` for all other conditions. Crop {config.conditions.crop} px, "
        f"{config.protocol.folds} folds by group, seed {header['seed']}, {level} intervals by group bootstrap "
        f"({config.metrics.replicates} replicates). Run on {datetime.date.today()} with "
        f"{', '.join(f'{name} {versions[name]}' for name in names)}. The command:",
        f"    {command}",
        "This page is written by the command. What the audit says of each condition:",
        "\n".join(biased),
    ]
    tables = markdown([*_by_condition(configs, done), *gain_grids(read_gains(dropped.folder), dropped.result.audit)])
    return "\n\n".join(paragraphs) + "\n\n" + tables


def _by_condition(configs: dict[str, RunConfig], done: dict[str, Bench]) -> list[Grid]:
    """What the columns are, and the macro AUROC and the low end of the head on each set of them, by condition."""
    config, shown = configs["together"], [name for name in ("together", "alone") if name in done]
    sets = [(name, mine) for run in shown for _, name, mine in
            head_sets(configs[run], select_features(configs[run].features.names))]  # fmt: skip
    what = [(name, str(sum(len(column_names(e)) for e in mine)), ", ".join(e.name for e in mine))
            for name, mine in sets if name != "all" and not name.startswith("preset-")]  # fmt: skip
    count = {name: str(sum(len(column_names(e)) for e in mine)) for name, mine in sets}
    detector = {name: f"{config.heads.per_family[0]}:{name}" for name, _ in sets}
    of: dict[tuple[str, str], dict[str, Cell]] = {}
    for cell in (cell for run in shown for cell in done[run].result.cells):
        if not cell.real_source:
            of.setdefault((cell.detector, cell.condition), {})[cell.generator] = cell
    conditions = config.conditions.names
    audit = done["together"].result.audit
    heads = [f"{name} (marked)" if audit_mark(audit, name) else name for name in conditions]

    def grid(title: str, text: str, note: str, write: Callable[[dict[str, Cell]], str]) -> Grid:
        rows = [(name, count[name], *(write(of.get((detector[name], c), {})) for c in conditions)) for name, _ in sets]
        return Grid(title, (text, "columns", *heads), tuple(rows), note)

    together = (
        f"`all` and the presets hold no column of the families {' and '.join(ALONE)}, which tell how a file was made "
        "or what it shows: these stand alone, under native, and have no drop-one gain."
    )
    return [
        Grid("Families", ("family", "columns", "features"), tuple(what), together),
        grid("Macro AUROC by condition", "columns of", NOTE, _macro),
        grid(f"AUROC of the {LOW_END[0]} by condition", "columns of", NOTE, lambda cells: low_end(cells)[0]),
        grid(f"AUROC of the {LOW_END[1]} by condition", "columns of", NOTE, lambda cells: low_end(cells)[1]),
    ]


def _macro(cells: dict[str, Cell]) -> str:
    if "macro" not in cells:
        return "–"
    value = cells["macro"].metric("auroc")
    return interval_text(value.value, value.low, value.high) + marks(cells["macro"])


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{name or 'unnamed'} {n}" for name, n in counts.items())


if __name__ == "__main__":
    main()
