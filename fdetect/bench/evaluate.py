"""From a table of scores to cells: metrics per test generator, macro mean, worst generator, each real source.

Nothing but the table is read, so anybody's scores are judged by the same rules.  Failed images are left out of
the metrics and counted; the bootstrap weights are drawn once for the whole table, so all cells are paired.

A bootstrap of nothing but misses (or hits) is nothing but misses: where a share of one class is exactly 0 or 1, its
interval is the exact binomial one of Clopper and Pearson over the groups of that class, the fewest of any generator
where several are averaged.  A group counts as one draw, whatever its images: the bound holds for these too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fdetect.decide import exact_interval
from fdetect.engine.loop import Progress
from fdetect.errors import DataError
from fdetect.metrics import (
    Estimate,
    GroupWeights,
    Interval,
    TrialSample,
    evaluate,
    group_weights,
    interval,
    macro,
    metric,
)
from fdetect.types import FAKE, REAL, Cell, MetricValue

__all__ = ["FEW", "FEW_GROUPS", "OVERALL", "SEEN", "ScoreTable", "cells_of", "group_estimates",
           "lowest_left_out", "refuse_repeats"]  # fmt: skip

OVERALL = ("macro", "worst")  # the rows over all generators; no generator may be called so
FEW_GROUPS = 20  # a generator with fewer groups cannot be "the worst" while another has as many
FEW = "few groups"  # flag of a worst generator where none has as many
LOST = 0.01  # share of a class whose loss flags a cell
SEEN = "seen in training"
REAL_ONLY = ("fpr_achieved_5", "real_accuracy")

_ROW = ("detector", "train", "train_condition", "condition", "trial", "path")  # what a row of scores is about


@dataclass(frozen=True)
class ScoreTable:
    """The columns of `scores.parquet` as (n,) arrays, and the four that name a column of the results."""

    label: np.ndarray
    generator: np.ndarray
    real_source: np.ndarray
    group: np.ndarray
    trial: np.ndarray
    path: np.ndarray
    score: np.ndarray
    probability: np.ndarray
    seen: np.ndarray  # (n,) bool: the row's generator was in the training set of its trial
    called_fake: np.ndarray  # 1, 0, or NaN where no threshold was attainable
    keys: np.ndarray  # (n,) number of the (detector, train, train_condition, condition) of each row
    names: tuple[tuple[str, str, str, str], ...]  # what those numbers stand for

    @classmethod
    def of(cls, table: pa.Table) -> ScoreTable:
        """Read an Arrow table with the columns of `scores.parquet`; an empty group becomes the path.

        Raises DataError where an image has two rows of one detector, condition and trial: see `refuse_repeats`.
        """
        refuse_repeats(table)

        def text(name: str) -> np.ndarray:
            return np.array(table.column(name).to_pylist(), dtype=object)

        def number(name: str) -> np.ndarray:
            values = table.column(name).to_pylist()
            return np.array([np.nan if value is None else value for value in values], np.float64)

        names, keys = _numbered([text(n) for n in ("detector", "train", "train_condition", "condition")])
        path, group, score, threshold = text("path"), text("group"), number("score"), number("threshold")
        called = np.where(np.isnan(threshold) | np.isnan(score), np.nan, score > threshold)
        return cls(
            label=number("label").astype(np.int64),
            generator=text("generator"),
            real_source=text("real_source"),
            group=np.where(group == "", path, group).astype(object),
            trial=text("trial"),
            path=path,
            score=score,
            probability=number("probability"),
            seen=np.array(table.column("seen").to_pylist(), dtype=bool),
            called_fake=called,
            keys=keys,
            names=names,
        )

    @cached_property
    def by_key(self) -> tuple[np.ndarray, ...]:
        """Row numbers of every (detector, train, train_condition, condition)."""
        order = np.argsort(self.keys, kind="stable")
        return tuple(np.split(order, np.cumsum(np.bincount(self.keys))[:-1]))

    def weights(self, *, replicates: int, seed: int) -> GroupWeights:
        """Draw the bootstrap weights of this table, once for all its cells."""
        return group_weights(list(self.group), replicates=replicates, seed=seed)

    def samples(self, rows: np.ndarray) -> list[TrialSample]:
        """Return the rows that have a score, trial by trial."""
        rows = rows[np.isfinite(self.score[rows])]
        return [
            TrialSample(self.label[mine], self.score[mine], self.probability[mine], self.called_fake[mine],
                        self.group[mine].astype(str))
            for _, mine in _split_by(self.trial, rows)
        ]  # fmt: skip


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


def refuse_repeats(table: pa.Table) -> None:
    """Raise DataError where an image has two rows of one detector, condition and trial; a column `file` is named.

    Such rows are one image judged twice, as when the scores of two runs are put together: pooled, they would pass
    for two images and make intervals too narrow.
    """
    row = pa.array(np.arange(len(table)))
    numbered = table.select(list(_ROW)).append_column("row", row).group_by(list(_ROW))
    found = numbered.aggregate([("row", "count"), ("row", "min"), ("row", "max")])
    twice = found.filter(pc.field("row_count") > 1).sort_by("row_min").slice(0, 1).to_pylist()
    if not twice:
        return
    at, files = twice[0], ""
    if "file" in table.column_names:
        both = (table.column("file")[at[row]].as_py() for row in ("row_min", "row_max"))
        files = f"{' and '.join(dict.fromkeys(both))}: "
    raise DataError(
        f"{files}{at['detector']} has two rows for {at['path']} under {at['condition']} in {at['trial']}; keep one of "
        "them, or give the detectors different names in the column detector"
    )


def group_estimates(
    scores: ScoreTable, rows: np.ndarray, weights: GroupWeights, names: tuple[str, ...]
) -> dict[str, tuple[np.ndarray, dict[str, Estimate]]]:
    """Return, for every generator tested in these rows, its row numbers (with the reals') and its estimates.

    A generator is judged in the trials that tested it, against the reals of the same trials.
    """
    found: dict[str, tuple[np.ndarray, dict[str, Estimate]]] = {}
    fakes = rows[scores.label[rows] == FAKE]
    reals = rows[scores.label[rows] == REAL]
    for generator, mine in _split_by(scores.generator, fakes):
        beside = reals[np.isin(scores.trial[reals], np.unique(scores.trial[mine]))]
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
    for source, mine in _split_by(scores.real_source, reals):
        estimates = evaluate(scores.samples(mine), REAL_ONLY, weights)
        values = _values(scores, [mine], estimates, level)
        yield cell("", source or "unnamed", values, _groups(scores, mine, REAL), _lost(scores, mine))


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
    n_real, n_fake = (len(np.unique(scores.path[rows[ok & (scores.label[rows] == k)]])) for k in (REAL, FAKE))
    failed = len(np.unique(scores.path[rows[~ok]]))
    return tuple(
        MetricValue(name, estimate.value, *bounds(name, estimate), n_real, n_fake, failed)
        for name, estimate in estimates.items()
    )


def _groups(scores: ScoreTable, rows: np.ndarray, label: int) -> int:
    """Count the groups of a class that have a score: those that the figures rest on."""
    return len(np.unique(scores.group[rows[(scores.label[rows] == label) & np.isfinite(scores.score[rows])]]))


def _lost(scores: ScoreTable, rows: np.ndarray) -> tuple[str, ...]:
    """Flag a cell that lost more than 1 % of either class: what is left may be another population."""
    flags = []
    for label, name in ((REAL, "real"), (FAKE, "fake")):
        mine = rows[scores.label[rows] == label]
        failed = ~np.isfinite(scores.score[mine])
        if failed.mean() > LOST if len(mine) else False:
            flags.append(f"lost {100 * failed.mean():.1f} % of the {name} images")
    return tuple(flags)


def _split_by(values: np.ndarray, rows: np.ndarray) -> list[tuple[str, np.ndarray]]:
    """Group row numbers by a column's value, in sorted order of the values."""
    if not len(rows):
        return []
    names, codes = np.unique(values[rows].astype(str), return_inverse=True)
    return [(str(name), rows[codes == k]) for k, name in enumerate(names)]


def _numbered(columns: list[np.ndarray]) -> tuple[tuple[tuple[str, str, str, str], ...], np.ndarray]:
    """Number the distinct rows of several columns in order of first appearance."""
    numbers: dict[tuple[str, str, str, str], int] = {}
    keys = [numbers.setdefault((a, b, c, d), len(numbers)) for a, b, c, d in zip(*columns, strict=True)]
    return tuple(numbers), np.array(keys, dtype=np.int64)
