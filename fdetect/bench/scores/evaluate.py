"""From a table of scores to cells: metrics per test generator, macro mean, worst generator, each real source.

Nothing but the table is read, so anybody's scores are judged by the same rules.  Failed images are left out of
the metrics and counted; the bootstrap weights are drawn once for the whole table, so all cells are paired.

A bootstrap of nothing but misses (or hits) is nothing but misses: where a share of one class is exactly 0 or 1, its
interval is the exact binomial one of Clopper and Pearson over the groups of that class, the fewest of any generator
where several are averaged.  A group counts as one draw, whatever its images: the bound holds for these too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial

import numpy as np
import pyarrow as pa

from fdetect.bench.scores.score_table import ScoreTable, refuse_repeats
from fdetect.decide import exact_interval
from fdetect.engine.loop import Progress
from fdetect.metrics import Estimate, GroupWeights, Interval, evaluate, interval, macro, metric
from fdetect.types import FAKE, REAL, Cell, MetricValue

__all__ = ["FEW", "FEW_GROUPS", "OVERALL", "SEEN", "ScoreTable", "cells_of", "fitted_on", "group_estimates",
           "lowest_left_out", "refuse_repeats"]  # fmt: skip

OVERALL = ("macro", "worst")  # the rows over all generators; no generator may be called so
FEW_GROUPS = 20  # a generator with fewer groups cannot be "the worst" while another has as many
FEW = "few groups"  # flag of a worst generator where none has as many
LOST = 0.01  # share of a class whose loss flags a cell
SEEN = "seen in training"
REAL_ONLY = ("fpr_achieved_5", "real_accuracy")


def cells_of(
    table: pa.Table, *, replicates: int = 1000, level: float = 0.95, seed: int = 0, progress: Progress | None = None
) -> tuple[Cell, ...]:
    """Return all cells of a score table, in its order of detectors: generators, macro, worst, real sources.

    Raises DataError where an image has two rows of one detector, condition and trial.
    """
    scores = ScoreTable.of(table)
    weights = scores.weights(replicates=replicates, seed=seed)
    cells: list[Cell] = []
    for k, (name, rows) in enumerate(zip(scores.names, scores.by_key, strict=True)):
        cells += _cells_of_one(scores, name, rows, weights, level)
        if progress:
            progress("evaluating", k + 1, len(scores.names))
    return tuple(cells)


def lowest_left_out(cells: Iterable[Cell]) -> Cell | None:
    """Return the lowest of the generators that had too few groups to be called the worst; None where none was left out.

    `cells` are those of one detector, training set and condition.
    """
    by_name = {cell.generator: cell for cell in cells if not cell.real_source}
    worst = by_name.get("worst")
    if worst is None or FEW in worst.flags[1:]:
        return None
    small = [
        cell for name, cell in by_name.items()
        if name not in OVERALL and cell.n_groups < FEW_GROUPS and (SEEN in cell.flags) == (SEEN in worst.flags[1:])
        and np.isfinite(cell.metric("auroc").value)
    ]  # fmt: skip
    return min(small, key=lambda cell: cell.metric("auroc").value, default=None)


def fitted_on(table: pa.Table) -> tuple[str, ...]:
    """Say how many rows of a detector are of images that it was fitted on; nothing of one where no real is marked.

    In a run `seen` is about the generator of a row, and no real has one.  A real that is marked, as `fdetect score`
    does by content, was itself fitted on, and so were the fakes that are marked beside it.
    """
    scores, found = ScoreTable.of(table), []
    of = np.array([name[0] for name in scores.names])[scores.keys]
    for name in dict.fromkeys(one[0] for one in scores.names):
        mine = of == name
        if (seen := scores.seen & mine)[scores.label == REAL].any():
            found.append(f"{seen.sum():,} of {mine.sum():,} rows of {name} are of images that it was fitted on: no "
                         "test of it")  # fmt: skip
    return tuple(found)


def group_estimates(
    scores: ScoreTable, rows: np.ndarray, weights: GroupWeights, names: tuple[str, ...]
) -> dict[str, tuple[np.ndarray, dict[str, Estimate]]]:
    """Return, for every generator tested in these rows, its row numbers (with the reals') and its estimates.

    A generator is judged in the trials that tested it, against the reals of the same trials.
    """
    found: dict[str, tuple[np.ndarray, dict[str, Estimate]]] = {}
    fakes = rows[scores.label[rows] == FAKE]
    reals = rows[scores.label[rows] == REAL]
    trial = scores.text["trial"].codes
    for generator, mine in scores.split("generator", fakes):
        beside = reals[np.isin(trial[reals], trial[mine])]
        both = np.sort(np.concatenate([mine, beside]))
        samples = [s for s in scores.samples(both) if 0 < s.label.sum() < len(s.label)]
        found[generator] = (both, evaluate(samples, names, weights))
    return found


def _cells_of_one(
    scores: ScoreTable, name: tuple[str, str, str, str], rows: np.ndarray, weights: GroupWeights, level: float
) -> Iterator[Cell]:
    cell = partial(Cell, *name)
    metrics = tuple(entry.name for entry in metric)
    found = group_estimates(scores, rows, weights, metrics)
    cells = {}
    for generator, (both, estimates) in found.items():
        flags: tuple[str, ...] = (SEEN,) if scores.seen[both].any() else ()
        flags += _lost(scores, both)
        cells[generator] = cell(
            generator, "", _values(scores, [both], estimates, level), _groups(scores, both, FAKE), flags
        )
    yield from cells.values()
    unseen = [generator for generator in cells if SEEN not in cells[generator].flags] or list(cells)
    if unseen:  # a table of reals alone has no generator to average over
        parts = [found[generator][0] for generator in unseen]
        everything = np.unique(np.concatenate(parts))
        mean = {m: macro([found[generator][1][m] for generator in unseen]) for m in metrics}
        flags = ((SEEN,) if SEEN in cells[unseen[0]].flags else ()) + _lost(scores, everything)
        if others := [generator for generator in unseen if set(cells[generator].flags) - set(flags)]:
            flags += (f"lost more than {LOST:.0%} of a class: {', '.join(others)}",)  # too few among all to show there
        yield cell("macro", "", _values(scores, parts, mean, level), _groups(scores, everything, FAKE), flags)
    many = [generator for generator in unseen if cells[generator].n_groups >= FEW_GROUPS]
    aurocs = {generator: found[generator][1]["auroc"].value for generator in many or unseen}
    if aurocs := {generator: value for generator, value in aurocs.items() if np.isfinite(value)}:
        worst = cells[min(aurocs, key=lambda generator: aurocs[generator])]
        flags = (worst.generator, *(() if many else (FEW,)), *worst.flags)
        yield cell("worst", "", worst.metrics, worst.n_groups, flags)
    reals = rows[scores.label[rows] == REAL]
    for source, mine in scores.split("real_source", reals):
        estimates = evaluate(scores.samples(mine), REAL_ONLY, weights)
        values = _values(scores, [mine], estimates, level)
        flags = (SEEN,) * bool(scores.seen[mine].any()) + _lost(scores, mine)
        yield cell("", source or "unnamed", values, _groups(scores, mine, REAL), flags)


def _values(
    scores: ScoreTable, parts: Sequence[np.ndarray], estimates: dict[str, Estimate], level: float
) -> tuple[MetricValue, ...]:
    """Turn estimates into values with intervals; images are counted once, however many trials tested them.

    `parts` are the rows of each generator that an estimate is averaged over.
    """
    rows = np.unique(np.concatenate(parts))
    groups = {
        mass: min(_groups(scores, part, label) for part in parts) for mass, label in (("reals", REAL), ("fakes", FAKE))
    }

    def bounds(name: str, estimate: Estimate) -> Interval:
        meta = metric.get(name).meta
        if meta.get("share") and estimate.value in (0.0, 1.0):
            n = groups[meta["mass"]]
            return exact_interval(n * int(estimate.value), n, level=level)
        return interval(estimate.replicates, level=level)

    ok = np.isfinite(scores.score[rows])
    path = scores.text["path"]
    n_real, n_fake = (path[rows[ok & (scores.label[rows] == k)]].distinct() for k in (REAL, FAKE))
    failed = path[rows[~ok]].distinct()
    return tuple(
        MetricValue(name, estimate.value, *bounds(name, estimate), n_real, n_fake, failed)
        for name, estimate in estimates.items()
    )


def _groups(scores: ScoreTable, rows: np.ndarray, label: int) -> int:
    """Count the groups of a class that have a score: those that the figures rest on."""
    return scores.text["group"][rows[(scores.label[rows] == label) & np.isfinite(scores.score[rows])]].distinct()


def _lost(scores: ScoreTable, rows: np.ndarray) -> tuple[str, ...]:
    """Flag a cell that lost more than 1 % of either class: what is left may be another population."""
    flags = []
    for label, name in ((REAL, "real"), (FAKE, "fake")):
        mine = rows[scores.label[rows] == label]
        failed = ~np.isfinite(scores.score[mine])
        if failed.mean() > LOST if len(mine) else False:
            flags.append(f"lost {100 * failed.mean():.1f} % of the {name} images")
    return tuple(flags)
