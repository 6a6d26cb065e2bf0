"""Which features belong together, judged inside the training parts alone: the figures of docs/choices.md.

    python benchmarks/choices.py DATA --set standard --set radial_spectrum,npr_statistics [--condition matched]

For every trial of leave-one-generator-out, the rows that the trial may train on are cut into inner folds that hold out
whole generators and whole groups of reals.  A head is fitted on the other folds and judged by the mean AUROC over
the held-out generators; rows of the trial's own test part are never touched.  A set is a preset, or features
separated by commas (patterns too).  Printed: the mean over all trials, the lowest generator, and in how many trials a
set was best.
"""

from __future__ import annotations

import argparse
import sys
from concurrent.futures import ProcessPoolExecutor

import numpy as np
from sklearn.metrics import roc_auc_score
from threadpoolctl import threadpool_limits

import fdetect
from fdetect.bench.layouts import read_manifest
from fdetect.bench.protocols import Samples, samples_of, trials_of
from fdetect.classifiers import fit_head, head
from fdetect.errors import FdetectError
from fdetect.features import column_names, select_features
from fdetect.splits import group_folds
from fdetect.types import FAKE, REAL


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--set", action="append", required=True, dest="sets", help="features; repeat for every set")
    parser.add_argument("--condition", default="matched")
    parser.add_argument("--crop", type=int, default=224)
    parser.add_argument("--head", default="logreg")
    parser.add_argument("--c", type=float, help="the penalty of logreg")
    parser.add_argument("--folds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    try:
        compare(options)
    except FdetectError as error:
        parser.error(str(error))


def compare(options: argparse.Namespace) -> None:
    manifest = read_manifest(options.data)
    samples = samples_of(manifest)
    wanted = ",".join(options.sets)
    table = fdetect.extract(manifest, features=wanted, condition=options.condition, crop=options.crop, workers=2)
    if table.failures:
        print(f"{len(table.failures)} images failed and are left out", file=sys.stderr)
    places = {name: k for k, name in enumerate(table.columns)}
    columns = {
        text: np.array([places[c] for entry in select_features(text) for c in column_names(entry)])
        for text in options.sets
    }
    trials = trials_of(samples, name="leave_one_generator_out", folds=options.folds, seed=options.seed)
    print(f"{len(table)} images under {options.condition}, {len(trials)} trials, head {options.head}"
          f"{'' if options.c is None else f', C = {options.c:g}'}\n")  # fmt: skip
    jobs = [
        (table.values[:, columns[text]], samples, trial.fit, options) for text in options.sets for trial in trials
    ]
    with ProcessPoolExecutor(2) as pool:
        found = list(pool.map(judge, *zip(*jobs, strict=True)))
    by_set = {text: found[k * len(trials) : (k + 1) * len(trials)] for k, text in enumerate(options.sets)}
    means = np.array([[np.mean(list(one.values())) for one in by_set[text]] for text in options.sets])
    print("| set | columns | inner mean AUROC | lowest generator | best in trials |\n|---|---|---|---|---|")
    for k, text in enumerate(options.sets):
        of_generator = {g: np.mean([one[g] for one in by_set[text] if g in one]) for g in samples.generators}
        lowest = min(of_generator, key=lambda g: of_generator[g])
        wins = int((means.argmax(axis=0) == k).sum())
        worst = f"{of_generator[lowest]:.3f} {lowest}"
        print(f"| {text} | {len(columns[text])} | {means[k].mean():.3f} | {worst} | {wins} |")


def judge(
    values: np.ndarray, samples: Samples, rows: np.ndarray, options: argparse.Namespace
) -> dict[str, float]:
    """Return the AUROC of every generator of the training rows, each held out once, with a third of the reals."""
    rows = rows[np.isfinite(values[rows]).all(axis=1)]
    label, generator = samples.label[rows], samples.generator[rows]
    names = sorted(set(generator[label == FAKE]))
    fold_of = {name: k % 3 for k, name in enumerate(np.random.default_rng(options.seed).permutation(names))}
    reals = group_folds(list(samples.group[rows]), list(samples.stratum[rows]), n_folds=3, seed=options.seed)
    entry = head.get(options.head)
    entry = entry if options.c is None else entry.configured(c=options.c)
    result = {}
    with threadpool_limits(1):
        for k in range(3):
            held = np.array([fold_of.get(name, -1) == k for name in generator])
            tested = (label == REAL) & (reals == k)
            groups = set(samples.group[rows[held | tested]])
            apart = np.array([group in groups for group in samples.group[rows]])
            training = ~held & ~tested & ~apart
            if len(set(label[training])) < 2:
                continue
            fitted = fit_head(entry, (), values[rows[training]], label[training])
            for name in (name for name in names if fold_of[name] == k):
                shown = tested | (generator == name)
                found = fitted.pipeline.decision_function(values[rows[shown]].astype(np.float64))
                result[name] = float(roc_auc_score(label[shown], found))
    return result


if __name__ == "__main__":
    main()
