"""From a score to a decision: conformal thresholds, p-values, and the band in which nothing should be claimed.

Thresholds come from calibration reals that were neither trained on nor tested on.  The promise "at most 5 % of
the reals are called fake" holds for reals like the calibration reals, in the mean over calibration sets; that it
holds for reals of another source is not promised, only measured.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

import numpy as np

from fdetect.bootstrap import Interval
from fdetect.errors import ParameterError

__all__ = [
    "DECISIONS", "Achieved", "Calibration", "Threshold", "achieved", "conformal_pvalue", "conformal_threshold",
    "decide", "exact_interval", "logistic",
]  # fmt: skip

DECISIONS = ("real", "inconclusive", "fake", "undecided")


@dataclass(frozen=True)
class Threshold:
    """A frozen threshold: an image is called fake when its score lies strictly above `value`.

    value       in units of the score; +inf where the level is not attainable, so that nothing is called fake
    fpr         the promised false-positive rate, in (0, 1)
    n_reals     calibration reals it rests on
    attainable  whether that many reals can support the level at all: n >= 1 / fpr - 1
    """

    value: float
    fpr: float
    n_reals: int
    attainable: bool

    @property
    def text(self) -> str:
        """The threshold for a table: six significant digits, or "not attainable (n)" with the number of reals."""
        return f"{self.value:.6g}" if self.attainable else f"not attainable ({self.n_reals})"

    def __str__(self) -> str:
        return self.text


def conformal_threshold(real_scores: np.ndarray, *, fpr: float = 0.05) -> Threshold:
    """Split-conformal threshold: a new real scores above it with a probability of at most `fpr`.

    (n,) float64 -> Threshold.  With the calibration scores in ascending order s_(1) <= ... <= s_(n),

        value = s_(k),   k = ceil((n + 1) (1 - fpr)),   not attainable where k > n

    k is computed from the decimal digits of `fpr`: in binary, 125 * (1 - 0.176) lies just above 103.
    Sources: Vovk, Gammerman and Shafer 2005, Algorithmic Learning in a Random World, section 2.2; Lei, G'Sell,
    Rinaldo, Tibshirani and Wasserman 2018, 10.1080/01621459.2017.1307116, algorithm 2.
    Raises ParameterError for a level outside (0, 1) and for scores that are not finite.
    """
    if not 0.0 < fpr < 1.0:
        raise ParameterError(f"fpr is {fpr}; give a false-positive rate between 0 and 1, such as 0.05")
    scores = np.sort(_calibration(real_scores))
    n = len(scores)
    k = math.ceil((n + 1) * (1 - Fraction(str(float(fpr)))))
    value = float(scores[k - 1]) if k <= n else math.inf
    return Threshold(value, float(fpr), n, k <= n)


def conformal_pvalue(scores: np.ndarray, real_scores: np.ndarray) -> np.ndarray:
    """Conformal p-value of "this image is real": small where few calibration reals score as high.

    (N,), (n,) float64 -> (N,) float64 in [1 / (n + 1), 1], NaN where the score is NaN:

        p = (1 + #{i : s_i >= s}) / (n + 1)

    `p <= fpr` holds exactly where the score lies above `conformal_threshold(real_scores, fpr=fpr)`.
    Source: Bates, Candes, Lei, Romano and Sesia 2023, 10.1214/22-AOS2244 (marginal p-value).
    Raises ParameterError for calibration scores that are not finite.
    """
    scores = np.asarray(scores, dtype=np.float64)
    calibration = np.sort(_calibration(real_scores))
    at_least = len(calibration) - np.searchsorted(calibration, scores, side="left")
    return np.where(np.isnan(scores), np.nan, (1.0 + at_least) / (len(calibration) + 1.0))


def decide(scores: np.ndarray, five: Threshold, one: Threshold) -> np.ndarray:
    """Put each score into words; between the 5 % and the 1 % threshold lies what is too weak to be claimed.

    (N,) float64 and the thresholds at 5 % and 1 % -> (N,) str:

        "real"          at or below the 5 % threshold: not distinguished from the calibration reals
        "inconclusive"  above the 5 % and at or below the 1 % threshold
        "fake"          above the 1 % threshold; where 1 % is not attainable, above the 5 % threshold
        "undecided"     the score is NaN, or even 5 % is not attainable

    Raises ParameterError where the 1 % threshold lies below the 5 % threshold, as it cannot for the same reals.
    """
    scores = np.asarray(scores, dtype=np.float64)
    if one.value < five.value:
        raise ParameterError(
            f"the {one.fpr:.3g} threshold {one} lies below the {five.fpr:.3g} threshold {five}; "
            "make both from the same calibration reals"
        )
    claim = one.value if one.attainable else five.value
    words = np.where(scores > claim, "fake", np.where(scores > five.value, "inconclusive", "real"))
    return np.where(np.isnan(scores) | (not five.attainable), "undecided", words)


@dataclass(frozen=True)
class Calibration:
    """The scores of calibration reals, ascending, and all that follows from them."""

    scores: tuple[float, ...]

    @classmethod
    def of(cls, real_scores: Iterable[float]) -> Calibration:
        """Sort (n,) scores; those of failed images, NaN or infinite, are left out."""
        return cls(tuple(sorted(float(score) for score in real_scores if math.isfinite(score))))

    @cached_property
    def five(self) -> Threshold:
        """The threshold at 5 % FPR."""
        return conformal_threshold(np.array(self.scores), fpr=0.05)

    @cached_property
    def one(self) -> Threshold:
        """The threshold at 1 % FPR."""
        return conformal_threshold(np.array(self.scores), fpr=0.01)

    def pvalue(self, scores: np.ndarray) -> np.ndarray:
        """(N,) float64 -> (N,) conformal p-values of "this image is real"; NaN without calibration reals."""
        return conformal_pvalue(scores, np.array(self.scores)) if self.scores else np.full(len(scores), np.nan)

    def decide(self, scores: np.ndarray) -> np.ndarray:
        """(N,) float64 -> (N,) str, words of DECISIONS."""
        return decide(scores, self.five, self.one)

    @property
    def text(self) -> str:
        """The thresholds in words, and how many reals a level wants that these do not support."""
        parts, n = [], len(self.scores)
        for level, threshold in (("5 %", self.five), ("1 %", self.one)):
            wanted = math.ceil(1 / Fraction(str(threshold.fpr))) - 1
            value = threshold.text if threshold.attainable else f"not attainable (it takes {wanted})"
            parts.append(f"at {level} FPR {value}")
        return f"threshold {', '.join(parts)}; {n} calibration real{'s' * (n != 1)}"


@dataclass(frozen=True)
class Achieved:
    """How often reals of one source were called fake by a threshold that was set on reals of all other sources.

    `n_called` of `n_reals` scored strictly above `threshold`; nothing is called where it is not attainable.
    """

    source: str
    n_reals: int
    n_called: int
    threshold: Threshold

    @property
    def text(self) -> str:
        """Counts, rate and its 95 % interval, or "not attainable (n)"."""
        if not self.threshold.attainable:
            return self.threshold.text
        if not self.n_reals:
            return "no reals"
        low, high = exact_interval(self.n_called, self.n_reals)
        rate = self.n_called / self.n_reals
        return f"{self.n_called} of {self.n_reals} = {100 * rate:.1f} % ({100 * low:.1f} to {100 * high:.1f})"


def achieved(source: str, here: np.ndarray, elsewhere: np.ndarray, *, fpr: float) -> Achieved:
    """Set a threshold on the scores of reals elsewhere and count the reals of a source above it.

    (n,), (m,) float64 -> Achieved; scores that are not finite are left out of both.
    """
    here, elsewhere = (np.asarray(scores, np.float64) for scores in (here, elsewhere))
    threshold = conformal_threshold(elsewhere[np.isfinite(elsewhere)], fpr=fpr)
    scored = here[np.isfinite(here)]
    return Achieved(source, len(scored), int((scored > threshold.value).sum()), threshold)


def exact_interval(k: float, n: float, *, level: float = 0.95) -> Interval:
    """Interval of a rate of which k of n were seen: the rates that do not make so many, or so few, too unlikely.

        low = B(alpha / 2; k, n - k + 1),   high = B(1 - alpha / 2; k + 1, n - k),   alpha = 1 - level

    with B the quantile of the beta distribution; 0 and 1 at the ends.  The n are taken as independent.
    Both may be effective numbers, no integers, where images have weights (Korn and Graubard 1998).
    Source: Clopper and Pearson 1934, 10.1093/biomet/26.4.404.
    Raises ParameterError unless 0 <= k <= n and n > 0.
    """
    if not 0 <= k <= n or n < 1:
        raise ParameterError(f"{k} of {n} is no rate; give 0 <= k <= n and n > 0")
    from scipy.special import betaincinv  # here: it is slow to import, and most who decide need no interval

    tail = (1 - level) / 2
    low = float(betaincinv(k, n - k + 1, tail)) if k else 0.0
    high = float(betaincinv(k + 1, n - k, 1 - tail)) if k < n else 1.0
    return Interval(low, high)


def _calibration(real_scores: np.ndarray) -> np.ndarray:
    scores = np.asarray(real_scores, dtype=np.float64).ravel()
    if not np.isfinite(scores).all():
        raise ParameterError("calibration scores must be finite; leave out the failed images and count them")
    return scores


def logistic(log_odds: np.ndarray) -> np.ndarray:
    """Return the probability that log-odds state: (...) -> (...) float64, 1 / (1 + exp(-x)); NaN stays NaN."""
    return np.asarray(1 / (1 + np.exp(-np.clip(log_odds, -700, 700))))  # beyond that exp overflows
