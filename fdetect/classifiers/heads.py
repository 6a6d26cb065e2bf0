"""Heads: light scikit-learn classifiers over a table of features, with whatever scaling they need inside.

What a score is, each head says by its `scale`:

    log-odds   log-odds after the prior of the training set was taken off, as if both classes had been equally frequent
                   score(x) = log P(fake | x) / P(real | x) - log n_fake / n_real     (King and Zeng 2001, equation 7)
    margin     signed distance to a boundary between two classes that weigh the same
    distance   how far the row is from the real images, which alone were fitted; 0 is no boundary

Larger means more likely generated, and 0 is the balanced boundary of the first two.  Under weights the n are sums of
weights.  Scores are computed in float64 and rounded to float32, so that the last bits, which differ between
linear-algebra libraries, decide nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar

import numpy as np

from fdetect.classifiers.balance import class_weights, row_weights
from fdetect.decide import logistic
from fdetect.errors import DataError, NotFitted, ParameterError
from fdetect.registry import Entry, Registry
from fdetect.splits import group_folds
from fdetect.types import REAL

__all__ = [
    "DISTANCE", "LOG_ODDS", "MARGIN", "AnyHead", "FittedHead", "Rows", "fit_head", "fit_rows", "head", "in_parallel",
    "out_of_fold", "raw_scores", "registered", "scale_of",
]  # fmt: skip

S = TypeVar("S")
T = TypeVar("T")

LOG_ODDS, MARGIN, DISTANCE = "log-odds", "margin", "distance"

_LARGEST = float(np.finfo(np.float32).max)

# (*, settings) -> an unfitted scikit-learn estimator.  The decorator may say, where the default does not do:
#     scale   what its scores are, LOG_ODDS by default
#     raw     (pipeline, (N, D) float64) -> (N,) scores, or (N, K) for K > 2 classes; `decision_function` by default
#     fit     (pipeline, Rows) -> the fitted pipeline; `fit_plainly` by default
head = Registry("head")


@dataclass(frozen=True)
class Rows:
    """What a head is fitted on: finite rows alone.

    values  (N, D) float64;  label  (N,) int
    weight  (N,) float64 of mean 1, or None where every row counts the same
    groups, generator  (N,) str, where they were given
    """

    values: np.ndarray
    label: np.ndarray
    weight: np.ndarray | None = None
    groups: np.ndarray | None = None
    generator: np.ndarray | None = None

    def at(self, chosen: np.ndarray) -> Rows:
        """Return the chosen rows: a mask or row numbers."""
        parts = (self.weight, self.groups, self.generator)
        weight, groups, generator = (None if part is None else part[chosen] for part in parts)
        return Rows(self.values[chosen], self.label[chosen], weight, groups, generator)


class AnyHead(Protocol):
    """What every fitted head offers, one of this registry or one that is made otherwise."""

    @property
    def name(self) -> str:
        """As it was asked for."""
    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the D columns that it reads, in order."""
    @property
    def scale(self) -> str:
        """What its scores are: LOG_ODDS, MARGIN or DISTANCE."""
    def score(self, values: np.ndarray) -> np.ndarray:
        """(N, D) float32 -> (N,) float64, NaN where there is none."""
    def probability(self, scores: np.ndarray) -> np.ndarray:
        """(N,) scores -> (N,) the head's own probability of "generated"; NaN where it has none."""


@dataclass(frozen=True)
class FittedHead:
    """A head after `fit_head`, with the columns it expects, in order."""

    name: str
    columns: tuple[str, ...]
    pipeline: Any
    prior: float  # log n_fake / n_real of the training set; 0 where scores are no log-odds

    @property
    def scale(self) -> str:
        """What its scores are: LOG_ODDS, MARGIN or DISTANCE."""
        return scale_of(registered(self.name))

    def score(self, values: np.ndarray) -> np.ndarray:
        """(N, D) float32 -> (N,) float64 scores rounded to float32; NaN where a row is not finite.

        Raises DataError if the width is not that of `columns`, NotFitted if the pipeline was never fitted.
        """
        if values.ndim != 2 or values.shape[1] != len(self.columns):
            raise DataError(f"head {self.name} expects {len(self.columns)} columns, got an array {values.shape}")
        scores = np.full(len(values), np.nan)
        if (ok := np.isfinite(values).all(axis=1)).any():
            raw = raw_scores(registered(self.name), self.pipeline, values[ok].astype(np.float64))
            scores[ok] = np.clip(raw - self.prior, -_LARGEST, _LARGEST).astype(np.float32)
        return scores

    def probability(self, scores: np.ndarray) -> np.ndarray:
        """(N,) scores -> (N,) the head's own probability of "generated" (balanced classes, not calibrated).

        NaN where scores are no log-odds: a margin or a distance has no probability before it is calibrated.
        """
        if self.scale != LOG_ODDS:
            return np.full(len(scores), np.nan)
        return logistic(scores)


def fit_head(
    entry: Entry,
    columns: tuple[str, ...],
    values: np.ndarray,
    label: np.ndarray,
    *,
    groups: Sequence[str] | np.ndarray | None = None,
    generator: Sequence[str] | np.ndarray | None = None,
    source: Sequence[str] | np.ndarray | None = None,
    weights: str = "none",
) -> FittedHead:
    """Fit a registered head on (N, D) float32 `values` and (N,) labels; rows that are not finite are left out.

    groups     (N,) str, for a head that parts its rows itself (`stacking`)
    generator  (N,) str of each fake, for `weights`; source (N,) str of each real
    weights    "none", "generators" or "generators+sources", see fdetect/classifiers/balance.py

    A head whose scores are distances is fitted on the reals alone and needs no fakes.
    Raises DataError where a class is empty and where all columns are constant, ParameterError for a head that lacks
    its groups or takes no weights.
    """
    rows = _usable(entry, values, label, groups=groups, generator=generator, source=source, weights=weights)
    if (rows.values == rows.values[:1]).all():
        raise DataError(f"head {entry.name} cannot be fitted: all {values.shape[1]} columns are constant over its "
                        f"{len(rows.values)} rows; give other features, or see why these say nothing")  # fmt: skip
    return _fitted(entry, columns, rows)


def fit_rows(entry: Entry, rows: Rows) -> Any:
    """Fit a head on rows that are known to do, those of a margin weighted by class: the fitted pipeline."""
    if scale_of(entry) == MARGIN and rows.weight is None:
        rows = replace(rows, weight=class_weights(rows.label))
    return entry.meta.get("fit", fit_plainly)(entry(), rows, name=entry.name)


def fit_plainly(pipeline: Any, rows: Rows, *, name: str) -> Any:
    """Fit a pipeline, each step with the weights if it takes any.  Raises ParameterError where the last takes none."""
    if rows.weight is None:
        return pipeline.fit(rows.values, rows.label)
    from sklearn.utils.validation import has_fit_parameter

    steps = dict(getattr(pipeline, "steps", ()))
    if not takes_weights(pipeline):
        raise ParameterError(f"head {name} takes no weights; fit it with weights='none', or choose logreg or hist_gb")
    weighted = [f"{key}__sample_weight" for key, step in steps.items() if has_fit_parameter(step, "sample_weight")]
    return pipeline.fit(rows.values, rows.label, **dict.fromkeys(weighted or ["sample_weight"], rows.weight))


def takes_weights(pipeline: Any) -> bool:
    """Whether the last step of a pipeline, or an estimator alone, is fitted with weights of its rows."""
    from sklearn.utils.validation import has_fit_parameter

    steps = getattr(pipeline, "steps", None)
    return bool(has_fit_parameter(steps[-1][1] if steps else pipeline, "sample_weight"))


def raw_scores(entry: Entry | None, pipeline: Any, values: np.ndarray) -> np.ndarray:
    """(N, D) float64 -> (N,) float64 as the pipeline says it, its prior still in it; (N, K) for K > 2 classes.

    Raises NotFitted if the pipeline was never fitted.
    """
    try:
        raw = entry.meta.get("raw") if entry else None
        return np.asarray(raw(pipeline, values) if raw else pipeline.decision_function(values), np.float64)
    except AttributeError as error:
        name = entry.name if entry else type(pipeline).__name__
        raise NotFitted(f"head {name} was not fitted ({error}); call fit_head first") from None


def scale_of(entry: Entry | None) -> str:
    """What the scores of a head are; log-odds where it does not say."""
    return str(entry.meta.get("scale", LOG_ODDS)) if entry else LOG_ODDS


def registered(name: str) -> Entry | None:
    """The registered head of a name, settings behind it or not; None for a head that was never registered."""
    base = name.partition(":")[0]
    return head.get(base) if base in head else None


def in_parallel(function: Callable[[S], T], items: Iterable[S], *, workers: int = 1) -> Iterator[T]:
    """Map in threads, in order, each fit on one core: fits are small, and threads inside them wait for each other.

    One core a fit also fixes the order of its sums, so that the number of workers changes no result.
    """
    import sklearn.ensemble  # noqa: F401 (only libraries that are loaded can be limited)
    from threadpoolctl import threadpool_limits

    def start() -> None:
        threadpool_limits(1)  # OpenMP counts its threads for each calling thread

    with threadpool_limits(1), ThreadPoolExecutor(max(workers, 1), initializer=start) as pool:
        yield from pool.map(function, items)


def out_of_fold(
    entry: Entry,
    values: np.ndarray,
    label: np.ndarray,
    groups: Sequence[str] | np.ndarray,
    *,
    generator: Sequence[str] | np.ndarray | None = None,
    source: Sequence[str] | np.ndarray | None = None,
    weights: str = "none",
    folds: int = 5,
    seed: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """Score every row by a head that was fitted on the other folds; whole groups stay together.

    Returns scores (N,) and the fold (N,) of each row; NaN where a training part lacks a class.  Columns that are
    constant are allowed, all of them too: that they say nothing is then what the scores show.
    """
    fold = group_folds(groups, [str(k) for k in label], n_folds=folds, seed=seed)
    scores = np.full(len(label), np.nan)
    columns = tuple(str(k) for k in range(values.shape[1]))
    given = {"groups": groups, "generator": generator, "source": source}
    for k in range(folds):
        test = fold == k
        if test.any() and len(np.unique(label[~test])) == 2:
            there = {name: None if part is None else np.asarray(part, object)[~test] for name, part in given.items()}
            rows = _usable(entry, values[~test], label[~test], **there, weights=weights)
            scores[test] = _fitted(entry, columns, rows).score(values[test])
    return scores, fold


def _usable(
    entry: Entry,
    values: np.ndarray,
    label: np.ndarray,
    *,
    groups: Sequence[str] | np.ndarray | None,
    generator: Sequence[str] | np.ndarray | None,
    source: Sequence[str] | np.ndarray | None,
    weights: str,
) -> Rows:
    """Return the rows that a head is fitted on, weighted.  Raises DataError where one of its classes is empty."""
    ok = np.isfinite(values).all(axis=1)
    needed = (("real", 0),) if scale_of(entry) == DISTANCE else (("real", 0), ("fake", 1))
    if missing := [name for name, k in needed if not (label[ok] == k).any()]:
        raise DataError(f"head {entry.name} cannot be fitted: no {missing[0]} image among its {len(label)} rows")
    if len(needed) == 1:
        ok = ok & (label == REAL)
        if weights != "none":
            raise ParameterError(f"head {entry.name} is fitted on reals alone and takes no weights; "
                                 "fit it with weights='none'")  # fmt: skip
    group, maker, camera = (_texts(name, part, ok) for name, part in
                            (("groups", groups), ("generator", generator), ("source", source)))  # fmt: skip
    weight = row_weights(weights, label[ok], maker, camera)
    return Rows(values[ok].astype(np.float64), label[ok], weight, group, maker)


def _texts(name: str, part: Sequence[str] | np.ndarray | None, ok: np.ndarray) -> np.ndarray | None:
    if part is None:
        return None
    if len(part) != len(ok):
        raise ParameterError(f"{len(part)} {name} for {len(ok)} rows; give one for every row")
    return np.asarray(np.asarray(part, dtype=object)[ok])


def _fitted(entry: Entry, columns: tuple[str, ...], rows: Rows) -> FittedHead:
    prior = _prior(rows) if scale_of(entry) == LOG_ODDS else 0.0
    return FittedHead(entry.name, columns, fit_rows(entry, rows), prior)


def _prior(rows: Rows) -> float:
    """Log of the fakes' weight over the reals'; of their numbers where there are no weights."""
    if rows.weight is not None:
        return float(np.log(rows.weight[rows.label == 1].sum() / rows.weight[rows.label == 0].sum()))
    n_fake = int(rows.label.sum())
    return float(np.log(n_fake / (len(rows.label) - n_fake)))
