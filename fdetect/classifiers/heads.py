"""Heads: light scikit-learn classifiers over a table of features, with whatever scaling they need inside.

Scores are log-odds after the prior of the training set was taken off, as if both classes had been equally
frequent: 0 is the balanced boundary, larger means more likely generated.

    score(x) = log P(fake | x) / P(real | x) - log n_fake / n_real        (King and Zeng 2001, equation 7)

They are computed in float64 and rounded to float32, so that the last bits, which differ between linear-algebra
libraries, decide nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from fdetect.errors import DataError, NotFitted
from fdetect.registry import Entry, Registry
from fdetect.splits import group_folds

__all__ = ["FittedHead", "fit_head", "head", "in_parallel", "out_of_fold"]

S = TypeVar("S")
T = TypeVar("T")

head = Registry("head")  # (*, settings) -> an unfitted scikit-learn classifier with decision_function


@head
def logreg(*, c: float = 0.1, max_iter: int = 2000) -> Any:
    """Logistic regression with an L2 penalty on standardised columns: (N, D) float32 -> (N,) log-odds.

        log-odds = w . (x - mean) / std + b,   minimise |w|^2 / (2 C) + sum of log-losses

    Source: scikit-learn `LogisticRegression` (lbfgs) behind `StandardScaler`.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), LogisticRegression(C=c, max_iter=max_iter))


@head
def hist_gb(
    *,
    learning_rate: float = 0.1,
    max_iter: int = 100,
    max_leaf_nodes: int = 15,
    min_samples_leaf: int = 10,
    max_bins: int = 64,
) -> Any:
    """Histogram gradient boosting of shallow trees: (N, D) float32 -> (N,) log-odds.

        log-odds = b + sum over trees of learning_rate * leaf(x)

    Source: scikit-learn `HistGradientBoostingClassifier` (Ke et al. 2017, LightGBM).
    """
    from sklearn.ensemble import HistGradientBoostingClassifier

    return HistGradientBoostingClassifier(
        learning_rate=learning_rate,
        max_iter=max_iter,
        max_leaf_nodes=max_leaf_nodes,
        min_samples_leaf=min_samples_leaf,
        max_bins=max_bins,
        early_stopping=False,
        random_state=0,
    )


@head
def lda(*, shrinkage: str = "auto") -> Any:
    """Linear discriminant of two Gaussians with one shrunk covariance: (N, D) float32 -> (N,) log-odds.

        log-odds = (m1 - m0)' S^-1 (x - (m0 + m1) / 2) + log n_fake / n_real,   S = (1 - a) C + a tr(C) / D I

    on standardised columns; C is the covariance within classes and a its optimal shrinkage.
    Source: scikit-learn `LinearDiscriminantAnalysis` (lsqr) behind `StandardScaler`; Ledoit and Wolf 2004, "A
    well-conditioned estimator for large-dimensional covariance matrices", equation 14, for "auto".
    """
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), LinearDiscriminantAnalysis(solver="lsqr", shrinkage=shrinkage))


@dataclass(frozen=True)
class FittedHead:
    """A head after `fit_head`, with the columns it expects, in order."""

    name: str
    columns: tuple[str, ...]
    pipeline: Any
    prior: float  # log n_fake / n_real of the training set

    def score(self, values: np.ndarray) -> np.ndarray:
        """(N, D) float32 -> (N,) float64 log-odds rounded to float32; NaN where a row is not finite.

        Raises DataError if the width is not that of `columns`, NotFitted if the pipeline was never fitted.
        """
        if values.ndim != 2 or values.shape[1] != len(self.columns):
            raise DataError(f"head {self.name} expects {len(self.columns)} columns, got an array {values.shape}")
        scores = np.full(len(values), np.nan)
        if (ok := np.isfinite(values).all(axis=1)).any():
            try:
                log_odds = self.pipeline.decision_function(values[ok].astype(np.float64))
                scores[ok] = (log_odds - self.prior).astype(np.float32)
            except AttributeError as error:
                raise NotFitted(f"head {self.name} was not fitted ({error}); call fit_head first") from None
        return scores

    def probability(self, scores: np.ndarray) -> np.ndarray:
        """(N,) log-odds -> (N,) the head's own probability of "generated" (balanced classes, not calibrated)."""
        return np.asarray(1 / (1 + np.exp(-np.clip(scores, -700, 700))))


def fit_head(entry: Entry, columns: tuple[str, ...], values: np.ndarray, label: np.ndarray) -> FittedHead:
    """Fit a registered head on (N, D) float32 `values` and (N,) labels; rows that are not finite are left out.

    Raises DataError where a class is empty.
    """
    ok = np.isfinite(values).all(axis=1)
    if missing := [name for name, k in (("real", 0), ("fake", 1)) if not (label[ok] == k).any()]:
        raise DataError(f"head {entry.name} cannot be fitted: no {missing[0]} image among its {len(label)} rows")
    pipeline = entry()
    pipeline.fit(values[ok].astype(np.float64), label[ok])
    n_fake = int(label[ok].sum())
    return FittedHead(entry.name, columns, pipeline, float(np.log(n_fake / (ok.sum() - n_fake))))


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
    entry: Entry, values: np.ndarray, label: np.ndarray, groups: Sequence[str], *, folds: int = 5, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Score every row by a head that was fitted on the other folds; whole groups stay together.

    Returns scores (N,) and the fold (N,) of each row; NaN where a training part lacks a class.
    """
    fold = group_folds(groups, [str(k) for k in label], n_folds=folds, seed=seed)
    scores = np.full(len(label), np.nan)
    columns = tuple(str(k) for k in range(values.shape[1]))
    for k in range(folds):
        test = fold == k
        if test.any() and len(np.unique(label[~test])) == 2:
            scores[test] = fit_head(entry, columns, values[~test], label[~test]).score(values[test])
    return scores, fold
