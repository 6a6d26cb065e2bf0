"""Heads that tell several classes apart: any registered head, fitted on more than two.

Scores are logarithms of the probabilities that the classes would have if all had been equally frequent in training:

    score_k(x) = log P'(k | x),   P'(k | x) = (P(k | x) / n_k) / sum over j of (P(j | x) / n_j)

with P as fitted and n_k the rows of class k (Saerens, Latinne and Decaestecker 2002, 10.1162/089976602753284446,
equation 2.4).  The answer is the class with the highest.  As in heads.py, sums run in float64 and scores are rounded to
float32.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fdetect.classifiers.heads import LOG_ODDS, Rows, fit_rows, head, raw_scores, registered, scale_of
from fdetect.errors import DataError, ParameterError
from fdetect.registry import Entry

__all__ = ["NO_ANSWER", "FittedClasses", "fit_classes"]

NO_ANSWER = -1  # in place of a class's number, where a row is not finite


@dataclass(frozen=True, eq=False)
class FittedClasses:
    """A head after `fit_classes`: the names of its K classes, the columns it expects, and the rows of each class."""

    name: str
    classes: tuple[str, ...]
    columns: tuple[str, ...]
    pipeline: Any
    n_rows: np.ndarray  # (K,) of the training set

    def score(self, values: np.ndarray) -> np.ndarray:
        """(N, D) float32 -> (N, K) float64 log-probabilities rounded to float32; NaN where a row is not finite.

        Raises DataError if the width is not that of `columns`.
        """
        if values.ndim != 2 or values.shape[1] != len(self.columns):
            raise DataError(f"head {self.name} expects {len(self.columns)} columns, got an array {values.shape}")
        scores = np.full((len(values), len(self.classes)), np.nan)
        if (ok := np.isfinite(values).all(axis=1)).any():
            # log P but for a term that all classes share; with two classes, log P(1) / P(0) alone
            log_odds = raw_scores(registered(self.name), self.pipeline, values[ok].astype(np.float64))
            each = np.stack([np.zeros_like(log_odds), log_odds], axis=1) if log_odds.ndim == 1 else log_odds
            balanced = each - np.log(self.n_rows)
            scores[ok] = (balanced - np.logaddexp.reduce(balanced, axis=1, keepdims=True)).astype(np.float32)
        return scores

    def answer(self, values: np.ndarray) -> np.ndarray:
        """(N, D) float32 -> (N,) int64, the number of the class with the highest score, of equal ones the first.

        NO_ANSWER where a row is not finite.
        """
        scores = self.score(values)
        ok = np.isfinite(scores).all(axis=1)
        return np.where(ok, np.where(ok[:, None], scores, 0.0).argmax(axis=1), NO_ANSWER)


def fit_classes(
    entry: Entry, columns: tuple[str, ...], values: np.ndarray, label: np.ndarray, classes: Sequence[str]
) -> FittedClasses:
    """Fit a registered head on (N, D) float32 `values` and (N,) numbers 0..K-1 of `classes`, K >= 2.

    Rows that are not finite are left out.  Raises DataError where a class is empty then, ParameterError for a head
    whose scores are no log-odds.
    """
    if scale_of(entry) != LOG_ODDS:
        usable = ", ".join(one.name for one in head if scale_of(one) == LOG_ODDS and one.name != "stacking")
        raise ParameterError(f"head {entry.name} gives no log-odds between classes; choose of {usable}")
    ok = np.isfinite(values).all(axis=1)
    n_rows = np.bincount(label[ok], minlength=len(classes))
    if not n_rows.all():
        missing = classes[int(n_rows.argmin())]
        raise DataError(f"head {entry.name} cannot be fitted: no {missing} image among its {len(label)} rows")
    pipeline = fit_rows(entry, Rows(values[ok].astype(np.float64), label[ok]))
    return FittedClasses(entry.name, tuple(classes), columns, pipeline, n_rows)
