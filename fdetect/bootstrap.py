"""Resampling by group and what is read off it: estimates, pooled trials, macro means, differences, intervals.

Images that share a scene or a prompt are not independent, so whole groups are drawn.  The draws are made once for
a run: every cell, mean and difference uses the same ones, and is paired with the others replicate by replicate.
This room knows no metric; `fdetect.metrics` does, and offers these names too.
Sources: Efron and Tibshirani 1993, An Introduction to the Bootstrap, chapter 13 (percentile intervals); Field and
Welsh 2007, 10.1111/j.1467-9868.2007.00593.x, section 2 (resampling of clusters).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from fdetect.coded import Coded
from fdetect.errors import ParameterError

__all__ = [
    "Difference",
    "Estimate",
    "GroupWeights",
    "Interval",
    "TrialSample",
    "difference",
    "group_weights",
    "interval",
    "macro",
    "pooled",
]

_BLOCK = 1 << 17  # weights handled at a time: 1 MB, most of which stays in a core's cache while they are used
_FEWEST, _MOST = 64, 256  # weightings among them: enough to be worked through side by side

Groups = Sequence[str] | np.ndarray | Coded


class Interval(NamedTuple):
    """Two ends of an interval, in units of the metric; NaN where too few replicates are defined."""

    low: float
    high: float


@dataclass(frozen=True)
class Difference:
    """A difference of two metrics with its paired interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, eq=False)
class Estimate:
    """A metric on the sample itself, and on each of B bootstrap replicates: `replicates` is (B,) float64."""

    value: float
    replicates: np.ndarray


@dataclass(frozen=True, eq=False)
class TrialSample:
    """The scored images of one cell in one trial; images without a score were left out (and counted) before.

    label (N,) 0 or 1; score (N,) finite; probability (N,), NaN where uncalibrated; decision (N,) 0 or 1, NaN or
    -1 where no threshold was attainable; group (N,) str, or Coded.  Raises ParameterError where these do not fit
    together.
    """

    label: np.ndarray
    score: np.ndarray
    probability: np.ndarray
    decision: np.ndarray
    group: np.ndarray | Coded

    def __post_init__(self) -> None:
        columns = (self.label, self.score, self.probability, self.decision, self.group)
        if len({np.shape(column) for column in columns}) != 1 or np.ndim(self.label) != 1:
            raise ParameterError("the columns of a trial must be of one length, one value for each image")
        if not np.isin(self.label, (0, 1)).all():
            raise ParameterError("labels must be 0 (real) or 1 (fake)")
        if not np.isfinite(self.score).all():
            raise ParameterError("scores must be finite; leave out the failed images and count them")

    def column(self, name: str) -> np.ndarray | None:
        """Return the column a metric needs, or None where some image has no value in it."""
        if name == "score":
            return np.asarray(self.score, dtype=np.float64)
        if name == "probability":
            probability = np.asarray(self.probability, dtype=np.float64)
            return None if np.isnan(probability).any() else probability
        if name == "decision":
            decision = np.asarray(self.decision, dtype=np.float64)
            return decision == 1.0 if (decision >= 0.0).all() else None
        raise ParameterError(f"no column '{name}' in a trial; a metric needs score, probability or decision")


@dataclass(frozen=True, eq=False)
class GroupWeights:
    """How often each group of a run was drawn: `counts` is (replicates, G) uint16, `groups` the G sorted names.

    The replicates of a group lie side by side in memory, where `group_weights` made them: images are read by group.
    """

    groups: np.ndarray
    counts: np.ndarray
    _known: dict[int, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict, repr=False)  # columns of names

    @property
    def replicates(self) -> int:
        """Number of bootstrap replicates."""
        return len(self.counts)

    def of(self, groups: Groups, *, rows: slice = slice(None)) -> np.ndarray:
        """Return the weight of each image: (n,) str -> (replicates, n) float64, or only some rows of it.

        Raises ParameterError for a group that the run does not have.
        """
        return self._drawn(self._columns(groups), rows)

    def blocks(self, groups: Groups) -> Iterator[tuple[slice, np.ndarray]]:
        """Yield the weightings of some images a few at a time: first all ones, the sample itself, then the replicates.

        (n,) str -> slices of 0..replicates, each with its weights (rows, n) float64; memory stays bounded.
        """
        columns = self._columns(groups)
        step = min(max(_BLOCK // max(1, len(columns)), _FEWEST), _MOST)
        for start in range(0, 1 + self.replicates, step):
            weight = self._drawn(columns, slice(max(0, start - 1), start + step - 1))
            if start == 0:
                weight = np.concatenate((np.ones((1, len(columns))), weight))
            yield slice(start, start + len(weight)), weight

    def _drawn(self, columns: np.ndarray, rows: slice) -> np.ndarray:
        """(rows, n) float64, with the weights of one image side by side in memory, as they are read and used."""
        from fdetect._sums_cpu import drawn  # here: Numba takes a while to import

        counts = self.counts.T[:, rows]
        weight = np.empty((len(columns), counts.shape[1]))
        drawn(counts, columns, weight)
        return weight.T

    def _columns(self, groups: Groups) -> np.ndarray:
        """Return the column of `counts` of each image."""
        if isinstance(groups, Coded):  # its names are looked up once, however many rows are asked for
            if id(groups.names) not in self._known:
                self._known[id(groups.names)] = groups.names, self._found(groups.names)
            column = self._known[id(groups.names)][1][groups.codes]
        else:
            column = self._found(np.asarray(groups))
        if (unknown := column < 0).any():
            name = np.asarray(groups)[unknown][0]
            raise ParameterError(f"group '{name}' is not among the groups the weights were made for")
        return np.asarray(column)

    def _found(self, names: np.ndarray) -> np.ndarray:
        """(n,) str -> (n,) place in `groups`, -1 for one that is not there."""
        names = names.astype(np.str_)
        column = np.minimum(np.searchsorted(self.groups, names), len(self.groups) - 1)
        return np.where(self.groups[column] == names, column, -1)


def group_weights(groups: Groups, *, replicates: int = 1000, seed: int = 0) -> GroupWeights:
    """Draw whole groups with replacement, as many as there are, once for all images of a run.

    (N,) str -> counts (replicates, G) that follow the multinomial (G; 1/G, ..., 1/G), from
    `numpy.random.default_rng(seed)`; they depend on the set of groups, not on the order of the images.
    Raises ParameterError for an empty group, no group at all, and fewer than 0 replicates.
    """
    if isinstance(groups, Coded):
        groups = groups.names[np.unique(groups.codes)]
    names = np.unique(np.asarray(groups, dtype=np.str_))
    if len(names) == 0 or names[0] == "":
        raise ParameterError("every image needs a group for the bootstrap; give each its own if none is known")
    if replicates < 0:
        raise ParameterError(f"replicates is {replicates}; give 0 or more, such as 1000")
    rng = np.random.default_rng(seed)
    size = len(names)
    counts = np.empty((size, replicates), dtype=np.uint16).T  # 65,536 draws of one among as many do not happen
    for start in range(0, replicates, 64):  # some at a time: written one by one they would be strewn over memory
        draws = [np.bincount(rng.integers(size, size=size), minlength=size) for _ in counts[start : start + 64]]
        counts[start : start + 64] = np.array(draws, dtype=np.uint16)
    return GroupWeights(names, counts)


def pooled(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Mean over trials weighted by their mass; scores of differently trained models are never mixed.

    (T, B), (T, B) float64 -> (B,) float64:  sum_t w_t v_t / sum_t w_t  over the trials with a defined value and
    some mass; NaN where there is none.  With real x fake pairs as the mass, the mean of the trials' AUROCs is the
    share of concordant pairs among all pairs within trials.
    """
    values, weights = np.asarray(values, dtype=np.float64), np.asarray(weights, dtype=np.float64)
    used = np.isfinite(values) & (weights > 0)
    mass = np.where(used, weights, 0.0).sum(axis=0)
    total = np.where(used, weights * values, 0.0).sum(axis=0)
    return np.asarray(total / np.where(mass > 0, mass, np.nan))


def macro(estimates: Iterable[Estimate]) -> Estimate:
    """Mean of several estimates, each counting the same, replicate by replicate.

    A member that is NaN makes the mean NaN, in that replicate or as a whole: a mean over fewer generators than
    the table shows would be a different quantity.  Raises ParameterError where there is nothing to average.
    """
    members = tuple(estimates)
    if not members:
        raise ParameterError("a macro mean needs at least one estimate")
    return Estimate(
        float(np.mean([member.value for member in members])),
        np.mean(_aligned(*members), axis=0),
    )


def difference(first: Estimate, second: Estimate, *, level: float = 0.95) -> Difference:
    """Difference of two estimates of one run, first minus second, with the percentile interval of its replicates.

    Raises ParameterError where the estimates have different numbers of replicates, so cannot be paired.
    """
    ours, theirs = _aligned(first, second)
    low, high = interval(ours - theirs, level=level)
    return Difference(first.value - second.value, low, high)


def interval(replicates: np.ndarray, *, level: float = 0.95) -> Interval:
    """Percentile interval of bootstrap replicates: their (1 - level) / 2 and (1 + level) / 2 quantiles.

    (B,) float64 -> Interval.  Replicates that are not finite are left out; where fewer than half are finite, or
    there are none, both ends are NaN.  Raises ParameterError for a level outside (0, 1).
    """
    if not 0.0 < level < 1.0:
        raise ParameterError(f"level is {level}; give a confidence level between 0 and 1, such as 0.95")
    finite = replicates[np.isfinite(replicates)]
    if len(finite) == 0 or 2 * len(finite) < len(replicates):
        return Interval(float("nan"), float("nan"))
    low, high = np.quantile(finite, ((1.0 - level) / 2.0, (1.0 + level) / 2.0))
    return Interval(float(low), float(high))


def _aligned(*estimates: Estimate) -> np.ndarray:
    if len({len(estimate.replicates) for estimate in estimates}) > 1:
        raise ParameterError("estimates with different numbers of replicates cannot be paired; use one set of weights")
    return np.stack([estimate.replicates for estimate in estimates])
