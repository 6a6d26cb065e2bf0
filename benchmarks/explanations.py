"""Which explanations of a network find the generated half of spliced pictures: one table in Markdown.

    python benchmarks/explanations.py NETWORK_FOLDER PHOTOGRAPHS [--layout manifest] [--count 64] [--crop 128]
                                      [--autoencoder own-nearest8+own-shuffle4] [--condition native,matched]
                                      [--method all] [--no-curves] [--seed 0]

PHOTOGRAPHS is a folder, a manifest or a pattern; rows that are labelled generated are left out.  One half of each
picture is a photograph, the other its round trip through an autoencoder.  Above the table stands whether the network
tells whole photographs from whole round trips at all: where it does not, no explanation of it can find anything.  Of
a network whose card names its training data (`data.ids`), photographs that it was trained on are counted.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

from fdetect.bench.data.inputs import any_images
from fdetect.bench.data.splices import splices_of
from fdetect.bench.explaining.explaining import judge, told_apart
from fdetect.bench.explaining.table import explanation_table
from fdetect.bench.training.pair_sources import find_sources
from fdetect.classifiers.explain import NetworkView, read_methods
from fdetect.errors import FdetectError
from fdetect.nets.detector_cards import training_contents
from fdetect.types import Table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", type=Path, help="folder with config.json and model.safetensors")
    parser.add_argument("photographs", nargs="+", help="folder, manifest, files or patterns")
    parser.add_argument("--layout", default="auto", help="how PHOTOGRAPHS is read, such as manifest")
    parser.add_argument("--autoencoder", default="shipped", help="names joined by +; default all that are shipped")
    parser.add_argument("--count", type=int, default=64, help="photographs at most")
    parser.add_argument("--crop", type=int, default=128, help="side of the pictures in px")
    parser.add_argument("--condition", default="native,matched", help="done to the whole spliced picture, by commas")
    parser.add_argument("--method", default="all", help="names separated by commas")
    parser.add_argument("--steps", type=int, default=16, help="of deletion and insertion")
    parser.add_argument("--no-curves", action="store_true", help="leave deletion and insertion out")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    began = time.perf_counter()
    try:
        view = NetworkView.load(given.network)
        trained = training_contents(str(given.network))
        manifest = any_images(given.photographs, layout=given.layout)
        for name in given.condition.split(","):
            judged(view, manifest, name, given, trained)
    except FdetectError as error:
        sys.exit(str(error))
    print(f"{time.perf_counter() - began:.0f} s", file=sys.stderr)


def judged(
    view: NetworkView, manifest: Table, condition: str, given: argparse.Namespace, trained: frozenset[str] | None
) -> None:
    """Print what was asked of the network under one condition, whether it tells round trips at all, and the table."""
    sources = find_sources(given.autoencoder.split("+"))
    made = splices_of(manifest, sources, count=given.count, crop=given.crop, seed=given.seed, shown=condition)
    right = told_apart(view, made.splices, seed=given.seed)
    rows = judge(view, made.splices, read_methods(given.method.split(",")), steps=given.steps,
                 curves=not given.no_curves, seed=given.seed,
                 progress=lambda what, done, total: print(f"{what} {done}/{total}", file=sys.stderr))  # fmt: skip
    known = "its card does not say which" if trained is None else len(trained & {one.id for one in made.splices})
    print(f"Network {view.name}; {len(made)} spliced pictures of {given.crop} px under {condition}, "
          f"{len(made.failures)} photographs failed, {made.left_out} left out; photographs that it was trained on: "
          f"{known}; autoencoders {', '.join(source.name for source in sources)}; seed {given.seed}.")  # fmt: skip
    print(f"Whole round trips with a larger logit than their photograph: {right.value:.3f} "
          f"[{right.low:.3f}, {right.high:.3f}].\n")  # fmt: skip
    print(explanation_table(rows) + "\n")
    for failure in made.failures:
        print(f"{failure.path}: {failure.stage}: {failure.reason}", file=sys.stderr)


if __name__ == "__main__":
    main()
