"""From scores to probabilities of "generated", learnt on images that the head was not fitted on.

A calibrator is fitted on finite scores (n,) and labels (n,) of held-out groups and becomes a frozen dataclass of arrays
and numbers: `probability` maps scores to probabilities and never falls where the score rises.  What it maps to is the
chance among images of which half are generated; the prior of the calibration rows is taken off:

    p' / (1 - p') = p / (1 - p) * n_real / n_fake        (Saerens, Latinne and Decaestecker 2002, equation 2.4)

With `balanced=False` it is the chance among images mixed as the calibration rows are.  Whoever judges images of another
mixture puts their own odds in: p' / (1 - p') * P(fake) / P(real).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Protocol

import numpy as np

from fdetect.decide import logistic
from fdetect.errors import DataError, ParameterError
from fdetect.registry import Registry
from fdetect.types import FAKE, REAL

__all__ = ["Calibrator", "Isotonic", "Platt", "VennAbers", "calibrator", "calibrator_of", "state_of"]

calibrator = Registry("calibrator")  # (scores, label, *, settings) -> a `Calibrator`, a frozen dataclass


class Calibrator(Protocol):
    """What a registered calibrator returns."""

    prior: float  # log n_fake / n_real of the calibration rows, or 0 where it stays in

    def probability(self, scores: np.ndarray) -> np.ndarray:
        """(N,) scores -> (N,) float64 in [0, 1]; NaN where a score is NaN."""
        ...


@dataclass(frozen=True, eq=False)
class Platt:
    """A logistic curve: p = 1 / (1 + exp(-(slope s + offset))), slope >= 0."""

    slope: float
    offset: float
    prior: float

    def probability(self, scores: np.ndarray) -> np.ndarray:
        """(N,) scores -> (N,) float64 in (0, 1); NaN where a score is NaN."""
        return logistic(self.slope * np.asarray(scores, np.float64) + self.offset - self.prior)


@dataclass(frozen=True, eq=False)
class Isotonic:
    """Straight pieces between knots: scores (m,) ascending, shares (m,) of fakes, never falling; level outside."""

    scores: np.ndarray
    shares: np.ndarray
    prior: float

    def probability(self, scores: np.ndarray) -> np.ndarray:
        """(N,) scores -> (N,) float64 in [0, 1], 0 and 1 included; NaN where a score is NaN."""
        return _without_prior(np.interp(np.asarray(scores, np.float64), self.scores, self.shares), self.prior)


@dataclass(frozen=True, eq=False)
class VennAbers:
    """Two probabilities for each place a score can have among the m distinct calibration scores.

    scores     (m,) ascending
    low, high  (2 m + 1,) p0 and p1: below the first, at the first, between the first and second, ..., above the last
    """

    scores: np.ndarray
    low: np.ndarray
    high: np.ndarray
    prior: float

    def bounds(self, scores: np.ndarray) -> np.ndarray:
        """(N,) scores -> (N, 2) float64, p0 and p1, one of which is calibrated; NaN where a score is NaN."""
        scores = np.asarray(scores, np.float64)
        place = np.searchsorted(self.scores, scores, "left") + np.searchsorted(self.scores, scores, "right")
        pair = np.stack([self.low[place], self.high[place]], axis=1)
        pair[np.isnan(scores)] = np.nan
        return _without_prior(pair, self.prior)

    def probability(self, scores: np.ndarray) -> np.ndarray:
        """(N,) scores -> (N,) float64, p1 / (1 - p0 + p1): of the numbers between both the one that risks least."""
        low, high = self.bounds(scores).T
        return np.asarray(high / (1.0 - low + high))


@calibrator
def platt(scores: np.ndarray, label: np.ndarray, *, balanced: bool = True) -> Platt:
    """Logistic curve through scores: (n,) float64, (n,) int -> Platt.

        minimise - sum of t log p + (1 - t) log (1 - p),   p = 1 / (1 + exp(-(a s + b))),   a >= 0
        t = (n_fake + 1) / (n_fake + 2) of a fake,  1 / (n_real + 2) of a real

    by Newton's method on standardised scores, halving steps that do not help.  The targets keep p from 0 and 1 where
    the classes do not overlap; where a < 0 would fit better, a = 0, so that a larger score never means less.
    Source: Platt 1999, "Probabilistic outputs for support vector machines", equations 5 to 7; Lin, Lin and Weng 2007,
    10.1007/s10994-007-5018-6, for the minimisation.
    Raises DataError where a class is empty, ParameterError for scores that are not finite.
    """
    scores, label, prior = _checked(scores, label)
    fakes, reals = int((label == FAKE).sum()), int((label == REAL).sum())
    target = np.where(label == FAKE, (fakes + 1) / (fakes + 2), 1 / (reals + 2))
    mean, spread = float(scores.mean()), float(scores.std())
    level = float(np.log(target.mean() / (1 - target.mean())))  # the best offset of slope 0
    if not spread > 0:
        return Platt(0.0, level, prior if balanced else 0.0)
    slope, offset = _newton((scores - mean) / spread, target, level)
    if slope <= 0:
        slope, offset = 0.0, level
    return Platt(slope / spread, offset - slope * mean / spread, prior if balanced else 0.0)


@calibrator
def isotonic(scores: np.ndarray, label: np.ndarray, *, balanced: bool = True) -> Isotonic:
    """The best curve that never falls: (n,) float64, (n,) int -> Isotonic.

        minimise sum of (g(s_i) - y_i)^2 over all g that never fall

    It reaches 0 and 1 where a class is alone at an end.
    Source: Zadrozny and Elkan 2002, 10.1145/775047.775151; scikit-learn `IsotonicRegression`.
    Raises DataError where a class is empty, ParameterError for scores that are not finite.
    """
    scores, label, prior = _checked(scores, label)
    from sklearn.isotonic import isotonic_regression

    places, count, fakes = _by_score(scores, label)
    shares = isotonic_regression(fakes / count, sample_weight=count, y_min=0.0, y_max=1.0)
    return Isotonic(places, np.asarray(shares, np.float64), prior if balanced else 0.0)


@calibrator
def venn_abers(scores: np.ndarray, label: np.ndarray, *, balanced: bool = True) -> VennAbers:
    """Inductive Venn-Abers prediction: (n,) float64, (n,) int -> VennAbers.

        p_y(s) = g(s),   g the isotonic regression of the calibration rows and one more, (s, y),   y = 0, 1

    Of p0 <= p1 one is perfectly calibrated, whatever the distribution, if the rows are drawn alike; how far they lie
    apart says how much the calibration rows leave open.  All places a score can have are computed at the fit, each by
    an isotonic regression of its own: O(m^2) for m distinct scores.
    Source: Vovk, Petej and Fedorova 2015, "Large-scale probabilistic predictors with and without guarantees of
    validity", section 3 (inductive) and 4 (merging, log loss).
    Raises DataError where a class is empty, ParameterError for scores that are not finite.
    """
    scores, label, prior = _checked(scores, label)
    places, count, fakes = _by_score(scores, label)
    low, high = (_with_one_more(count, fakes, y) for y in (0.0, 1.0))
    return VennAbers(places, low, high, prior if balanced else 0.0)


def state_of(fitted: Calibrator) -> dict[str, np.ndarray]:
    """Return a calibrator as float64 arrays by name, for safetensors or JSON; see `calibrator_of`."""
    return {one.name: np.asarray(getattr(fitted, one.name), np.float64) for one in fields(fitted)}  # type: ignore[arg-type]


def calibrator_of(name: str, state: Mapping[str, Any]) -> Calibrator:
    """Make a calibrator of arrays or lists, as `state_of` returns them; `name` is the registered one.

    Raises DataError for arrays that no fit can have made.
    """
    kind: Any = {"platt": Platt, "isotonic": Isotonic, "venn_abers": VennAbers}.get(calibrator.get(name).name)
    if kind is None:
        raise ParameterError(f"calibrator {name} is a plug-in's, which must read its own state")
    try:
        arrays = {one.name: np.asarray(state[one.name], np.float64) for one in fields(kind)}
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"not a calibrator {name}: {type(error).__name__}: {error}; fit it again") from None
    numbers = {one.name for one in fields(kind) if one.type == "float"}
    made = kind(**{key: float(value) if key in numbers and value.ndim == 0 else value for key, value in arrays.items()})
    if not _can_be(made, numbers):
        raise DataError(f"not a calibrator {name}: its arrays do not fit together; fit it again")
    return made  # type: ignore[no-any-return]


def _can_be(fitted: Any, numbers: set[str]) -> bool:
    """Whether shapes fit together, all is finite, scores ascend and nothing falls."""
    state = state_of(fitted)
    if not all(np.isfinite(array).all() for array in state.values()) or any(state[name].ndim for name in numbers):
        return False
    if isinstance(fitted, Platt):
        return fitted.slope >= 0
    m = len(fitted.scores) if fitted.scores.ndim == 1 else 0
    curves = {name: array for name, array in state.items() if name not in (*numbers, "scores")}
    size = 2 * m + 1 if isinstance(fitted, VennAbers) else m
    level = all(a.shape == (size,) and (np.diff(a) >= 0).all() and a.min() >= 0 and a.max() <= 1 for a in
                curves.values()) if m else False  # fmt: skip
    return bool(level and (np.diff(fitted.scores) > 0).all())


def _checked(scores: np.ndarray, label: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Return scores as float64, labels, and the logarithm of fakes by reals."""
    scores, label = np.asarray(scores, np.float64), np.asarray(label)
    if scores.ndim != 1 or scores.shape != label.shape:
        raise ParameterError(f"scores are {scores.shape} and labels {label.shape}; give one of each for every row")
    if not np.isfinite(scores).all():
        raise ParameterError("calibration scores must be finite; leave out the failed images and count them")
    fakes, reals = int((label == FAKE).sum()), int((label == REAL).sum())
    if not fakes or not reals:
        missing = "real" if fakes else "fake"
        raise DataError(f"scores cannot be calibrated: no {missing} image among the {len(label)} calibration rows")
    return scores, label, float(np.log(fakes / reals))


def _by_score(scores: np.ndarray, label: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Distinct scores (m,) ascending, with how many rows (m,) and how many fakes (m,) each has."""
    places, which = np.unique(scores, return_inverse=True)
    return places, np.bincount(which).astype(np.float64), np.bincount(which, weights=(label == FAKE).astype(np.float64))


def _with_one_more(count: np.ndarray, fakes: np.ndarray, y: float) -> np.ndarray:
    """(m,), (m,) -> (2 m + 1,): the isotonic regression at each place after one row of label y was added there."""
    from sklearn.isotonic import isotonic_regression

    values = np.empty(2 * len(count) + 1)
    for place in range(len(values)):
        k, between = place // 2, place % 2 == 0
        n, f = (np.insert(part, k, 0.0) if between else part.copy() for part in (count, fakes))
        n[k], f[k] = n[k] + 1.0, f[k] + y
        values[place] = isotonic_regression(f / n, sample_weight=n)[k]
    return np.maximum.accumulate(values)  # it never falls, but for the last bits of different sums


def _newton(scores: np.ndarray, target: np.ndarray, level: float) -> tuple[float, float]:
    """Minimise the log-loss of slope and offset from (0, level); it is convex, so where it stops is the minimum."""

    def loss(at: np.ndarray) -> float:
        odds = at[0] * scores + at[1]
        return float((np.logaddexp(0.0, odds) - target * odds).sum())

    at, best = np.array([0.0, level]), loss(np.array([0.0, level]))
    for _ in range(100):
        p = logistic(at[0] * scores + at[1])
        gradient = np.array([((p - target) * scores).sum(), (p - target).sum()])
        if np.abs(gradient).max() < 1e-10 * len(scores):
            break
        w = p * (1 - p)
        cross = float((w * scores).sum())
        hessian = np.array([[(w * scores**2).sum(), cross], [cross, w.sum()]]) + 1e-12 * np.eye(2)
        step, factor = np.linalg.solve(hessian, gradient), 1.0
        while factor > 1e-10 and loss(at - factor * step) > best - 1e-4 * factor * float(step @ gradient):
            factor /= 2
        if factor <= 1e-10:
            break
        at = at - factor * step
        best = loss(at)
    return float(at[0]), float(at[1])


def _without_prior(p: np.ndarray, prior: float) -> np.ndarray:
    """Turn chances among rows of this prior into chances among as many reals as fakes; 0 and 1 stay."""
    return np.asarray(p / (p + (1.0 - p) * np.exp(prior)))
