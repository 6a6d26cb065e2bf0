"""Tests of differences: DeLong's for two AUROCs on the same images, and Holm's correction for several tests."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fdetect.errors import ParameterError

__all__ = ["DeLong", "delong", "holm"]


@dataclass(frozen=True)
class DeLong:
    """AUROC of a first score minus that of a second, its standard error, and the two-sided p-value of "they are equal".

    The p-value is NaN where the standard error is 0: the two order all pairs alike, or there is nothing to tell by.
    """

    value: float
    error: float
    p: float


def delong(label: np.ndarray, first: np.ndarray, second: np.ndarray) -> DeLong:
    """Compare two scores of the same images, each of which counts as independent of all others.

    (N,) int of 0 and 1, (N,), (N,) float64 finite -> DeLong.  With V(i) the share of reals below fake i, ties half, and
    U(j) the share of fakes above real j, both of the first score minus of the second,

        value = mean V,   error^2 = var(V) / n_fake + var(U) / n_real,   p = 2 Phi(-|value| / error)

    where variances divide by n - 1.  Images of one scene are not independent: the group bootstrap is for these.
    Sources: DeLong, DeLong and Clarke-Pearson 1988, 10.2307/2531595; by midranks as in Sun and Xu 2014,
    10.1109/LSP.2014.2337313.
    Raises ParameterError for other shapes, fewer than two images of a class, or scores that are not finite.
    """
    label, scores = np.asarray(label), np.asarray([first, second], dtype=np.float64)
    fake = label == 1
    if label.ndim != 1 or scores.shape != (2, len(label)) or not np.isfinite(scores).all():
        raise ParameterError("DeLong's test compares two finite scores of the same images, (N,) each, with (N,) labels")
    n_fake, n_real = int(fake.sum()), int((label == 0).sum())
    if min(n_fake, n_real) < 2 or n_fake + n_real != len(label):
        raise ParameterError(f"DeLong's test needs two images of each class, labels 0 and 1; got {n_real} real and "
                             f"{n_fake} fake of {len(label)}")  # fmt: skip
    # in half pairs, whole numbers, so that equal ones are equal
    below, above = (np.subtract(*(part(one, fake) for one in scores)) for part in (_reals_below, _fakes_above))
    value = float(below.sum() / (2 * n_fake * n_real))
    spread = [0.0 if (one == one[0]).all() else float((one / (2 * other)).var(ddof=1)) / n
              for one, n, other in ((below, n_fake, n_real), (above, n_real, n_fake))]  # fmt: skip
    error = math.sqrt(sum(spread))
    return DeLong(value, error, math.erfc(abs(value) / error / math.sqrt(2)) if error > 0 else math.nan)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values corrected for their number: the chance of any wrong rejection stays below the level.

    With p_(1) <= ... <= p_(m):  corrected p_(k) = max over i <= k of min(1, (m - i + 1) p_(i)).  NaN stays NaN and is
    not counted.  Source: Holm 1979, "A simple sequentially rejective multiple test procedure".
    Raises ParameterError for what is no probability.
    """
    values = np.asarray(p_values, dtype=np.float64)
    known = np.flatnonzero(np.isfinite(values))
    if ((values[known] < 0) | (values[known] > 1)).any():
        raise ParameterError("p-values lie between 0 and 1")
    order = known[np.argsort(values[known], kind="stable")]
    steps = values[order] * (len(order) - np.arange(len(order)))
    corrected = np.full(len(values), np.nan)
    corrected[order] = np.minimum(np.maximum.accumulate(steps), 1.0) if len(order) else steps
    return [float(one) for one in corrected]


def _reals_below(score: np.ndarray, fake: np.ndarray) -> np.ndarray:
    """Of every fake, twice the number of reals below it, ties half: midrank among all minus midrank among fakes."""
    return np.asarray(_midrank(score)[fake] - _midrank(score[fake]))


def _fakes_above(score: np.ndarray, fake: np.ndarray) -> np.ndarray:
    return np.asarray(2 * fake.sum() - (_midrank(score)[~fake] - _midrank(score[~fake])))


def _midrank(values: np.ndarray) -> np.ndarray:
    """(N,) -> (N,) twice the ranks from 1, those of equal values their mean."""
    _, which, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((2 * last - counts + 1)[which])
