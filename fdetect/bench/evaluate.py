"""From a table of scores to cells: metrics per test generator, macro mean, worst generator, each real source.

Nothing but the table is read, so anybody's scores are judged by the same rules.  Failed images are left out of
the metrics and counted; the bootstrap weights are drawn once for the whole table, so all cells are paired.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa

from fdetect.engine.loop import Progress
from fdetect.metrics import Estimate, GroupWeights, TrialSample, evaluate, group_weights, interval, macro, metric
from fdetect.types import FAKE, REAL, Cell, MetricValue

__all__ = ["FEW_GROUPS", "SEEN", "ScoreTable", "cells_of", "group_estimates"]

FEW_GROUPS = 20  # a generator with fewer groups cannot be "the worst" while another has as many
LOST = 0.01  # share of a class whose loss flags a cell
SEEN = "seen in training"
REAL_ONLY = ("fpr_achieved_5", "real_accuracy")


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
        """Read an Arrow table with the columns of `scores.parquet`; an empty group becomes the path."""

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
    """Return all cells of a score table, in its order of detectors: generators, macro, worst, real sources."""
    scores = ScoreTable.of(table)
    weights = scores.weights(replicates=replicates, seed=seed)
    cells: list[Cell] = []
    for k, (name, rows) in enumerate(zip(scores.names, scores.by_key, strict=True)):
        cells += _cells_of_one(scores, name, rows, weights, level)
        if progress:
            progress("evaluating", k + 1, len(scores.names))
    return tuple(cells)


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
    detector, train, train_condition, condition = name
    metrics = tuple(entry.name for entry in metric)
    found = group_estimates(scores, rows, weights, metrics)
    cells = {}
    for generator, (both, estimates) in found.items():
        flags = (SEEN,) if scores.seen[both].any() else ()
        cells[generator] = Cell(
            detector, train, train_condition, condition, generator, "",
            _values(scores, both, estimates, level), _groups(scores, both, FAKE), flags + _lost(scores, both),
        )  # fmt: skip
    yield from cells.values()
    unseen = [generator for generator, cell in cells.items() if SEEN not in cell.flags] or list(cells)
    if unseen:  # a table of reals alone has no generator to average over
        everything = np.unique(np.concatenate([found[generator][0] for generator in unseen]))
        mean = {m: macro([found[generator][1][m] for generator in unseen]) for m in metrics}
        flags = (SEEN,) if SEEN in cells[unseen[0]].flags else ()
        yield Cell(
            detector, train, train_condition, condition, "macro", "", _values(scores, everything, mean, level),
            _groups(scores, everything, FAKE), flags + _lost(scores, everything),
        )  # fmt: skip
    many = [generator for generator in unseen if cells[generator].n_groups >= FEW_GROUPS]
    aurocs = {generator: found[generator][1]["auroc"].value for generator in many or unseen}
    if aurocs := {generator: value for generator, value in aurocs.items() if np.isfinite(value)}:
        worst = cells[min(aurocs, key=lambda generator: aurocs[generator])]
        flags = (worst.generator, *(() if many else ("few groups",)), *worst.flags)
        yield Cell(
            detector, train, train_condition, condition, "worst", "", worst.metrics, worst.n_groups, flags
        )
    reals = rows[scores.label[rows] == REAL]
    for source, mine in _split_by(scores.real_source, reals):
        estimates = evaluate(scores.samples(mine), REAL_ONLY, weights)
        yield Cell(
            detector, train, train_condition, condition, "", source or "unnamed",
            _values(scores, mine, estimates, level), _groups(scores, mine, REAL), _lost(scores, mine),
        )  # fmt: skip


def _values(
    scores: ScoreTable, rows: np.ndarray, estimates: dict[str, Estimate], level: float
) -> tuple[MetricValue, ...]:
    """Turn estimates into values with intervals; images are counted once, however many trials tested them."""
    ok = np.isfinite(scores.score[rows])
    n_real, n_fake = (len(np.unique(scores.path[rows[ok & (scores.label[rows] == k)]])) for k in (REAL, FAKE))
    failed = len(np.unique(scores.path[rows[~ok]]))
    return tuple(
        MetricValue(name, estimate.value, *interval(estimate.replicates, level=level), n_real, n_fake, failed)
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
