"""The curves that scores make: ROC, histograms, reliability and risk against coverage, of trials side by side.

Scores of differently trained models are never ranked against each other.  A ROC is made within each trial and
averaged at fixed false-positive rates.  Histograms and risk have a unit of their own for every trial: the distance
from the frozen threshold in interquartile ranges of the trial's reals.  Probabilities have the same meaning everywhere.

All curves are means over generators that count alike.  G is their number; F and R count the fakes and the reals of a
generator g over its trials t; n = F + R; v_i is the weight of image i.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from fdetect.decide import exact_interval
from fdetect.metrics import ECE_EDGES
from fdetect.types import FAKE, REAL

__all__ = [
    "COVERAGE", "FPR", "UNITS", "Histogram", "Reliability", "Risk", "Roc", "TrialScores", "histogram_of",
    "least_area", "reliability_of", "risk_of", "roc_of",
]  # fmt: skip

FPR: tuple[float, ...] = tuple(  # where a ROC is read: 0, evenly in the logarithm up to 0.1, in steps of 0.02, 1
    sorted({0.0, 0.02, 0.05, *(round(0.001 * 10 ** (k / 20), 6) for k in range(41)),
            *(round(0.02 * k, 2) for k in range(6, 50)), 0.99, 1.0})
)  # fmt: skip
COVERAGE: tuple[float, ...] = tuple(k / 100 for k in range(1, 101))
UNITS: tuple[float, ...] = tuple(k / 4 for k in range(-16, 17))  # ends of the bins of a histogram
_DIGITS = 6  # of a point; what is read off all points is exact


@dataclass(frozen=True, eq=False)
class TrialScores:
    """The scored images of n (generator, trial, image), each trial with both classes.

    label (n,) int; score (n,) float64; probability (n,) float64, NaN where there is none; units (n,) float64: the
    score minus the threshold, in interquartile ranges of the trial's reals, NaN where the trial has no threshold or
    no range; generator (n,) int 0..G-1; part (n,) int 0..P-1, the number of the generator and trial; path (n,) int,
    the number of the image.
    """

    label: np.ndarray
    score: np.ndarray
    probability: np.ndarray
    units: np.ndarray
    generator: np.ndarray
    part: np.ndarray
    path: np.ndarray


@dataclass(frozen=True)
class Roc:
    """`tpr` at each of FPR; the exact AUROC, and the equal error rate of the drawn curve."""

    tpr: tuple[float, ...]
    auroc: float
    eer: float


@dataclass(frozen=True)
class Histogram:
    """Shares of the reals and of the fakes in each bin (UNITS[k], UNITS[k + 1]]; the end bins hold what lies beyond."""

    reals: tuple[float, ...]
    fakes: tuple[float, ...]


@dataclass(frozen=True)
class Reliability:
    """The 15 bins of ECE: `predicted` mean probability, `rate` of fakes with its interval, NaN in an empty bin.

    `weight` sums to 1; `gap` is the bin's part of `ece`, which is the metric; `n_real` and `n_fake` count different
    images.
    """

    predicted: tuple[float, ...]
    rate: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    weight: tuple[float, ...]
    gap: tuple[float, ...]
    n_real: tuple[int, ...]
    n_fake: tuple[int, ...]
    ece: float


@dataclass(frozen=True)
class Risk:
    """`risk` at each of COVERAGE; the area under all of it (AURC), and the risk of all images, `overall`."""

    risk: tuple[float, ...]
    area: float
    overall: float


def roc_of(trials: TrialScores) -> Roc:
    """Average the ROC curves of all trials at fixed false-positive rates, each by its pairs as AUROC is.

        TPR(x) = mean over g of [sum_t F_gt R_gt TPR_gt(x) / sum_t F_gt R_gt]

    TPR_gt(x) is the largest at a false-positive rate of x; images of one score make a straight piece.  The area under
    TPR is then the macro AUROC: the trapezia between the points of FPR are off by at most half of sum_k dx_k dy_k.
    The equal error rate is that of the averaged curve, which is no mean of the trials' own.
    Fawcett 2006, 10.1016/j.patrec.2005.10.010, algorithm 3 (vertical averaging).
    """
    size = (int(trials.generator.max()) + 1, len(FPR) + 1)
    total, mass = np.zeros(size), np.zeros((size[0], 1))
    for rows in _split(trials.part):
        label, g = trials.label[rows], trials.generator[rows[0]]
        fpr, tpr = _points(label, trials.score[rows])
        pairs = (label == FAKE).sum() * (label == REAL).sum()
        total[g] += pairs * np.append(np.interp(FPR, fpr, tpr), np.trapezoid(tpr, fpr))  # upper end of a vertical piece
        mass[g] += pairs
    mean = (total / mass).mean(axis=0)
    return Roc(_short(mean[:-1]), float(mean[-1]), _equal_error(np.array(FPR), mean[:-1]))


def histogram_of(trials: TrialScores) -> Histogram | None:
    """Count each class in units of its trial, v_i = 1 / G F_g for fakes and 1 / G R_g for reals.

    The share of the fakes above 0 is then the macro TPR at the frozen threshold, that of the reals the macro FPR,
    where every trial has units.  None where a generator has no trial with units.
    """
    kept = _with_units(trials)
    if kept is None:
        return None
    bins = np.searchsorted(UNITS[1:-1], trials.units[kept], side="left")
    weight = 2 * _by_generator(trials, kept)
    sides = ((REAL, trials.label[kept] == REAL), (FAKE, trials.label[kept] == FAKE))
    shares = {kind: np.bincount(bins[mine], weight[mine], len(UNITS) - 1) for kind, mine in sides}
    return Histogram(_short(shares[REAL]), _short(shares[FAKE]))


def reliability_of(trials: TrialScores, *, level: float = 0.95) -> Reliability | None:
    """Compare probabilities with what they are probabilities of, in the bins and with the weights of the ECE.

    In each trial either class has half of the weight; a trial counts in its generator by its images:

        v_i = n_gt / (G n_g) / (2 F_gt) for fakes, with R_gt for reals
        gap_m = sum over g, t of |sum over its i in bin m of v_i (p_i - y_i)|

    so that the gaps sum to the macro ECE (`fdetect.metrics.ece`).  Over several trials they exceed the distance of a
    point from the diagonal: errors of differently trained models do not make up for each other.  The interval of a rate
    r is Clopper and Pearson's with k = r n* of n* = (sum w)^2 / sum w^2 images, w the weight of a whole image, as
    Korn and Graubard 1998, Survey Methodology 24, 193-201; the images are taken as independent.
    None where an image has no probability.
    """
    label, p = trials.label, trials.probability
    if not np.isfinite(p).all():
        return None
    bins, size = np.digitize(p, ECE_EDGES), len(ECE_EDGES) + 1
    n_part, n_all = np.bincount(trials.part), np.bincount(trials.generator)
    weight = _halves(label, trials.part) * n_part[trials.part] / n_all[trials.generator] / len(n_all)
    mass, fakes, predicted = (np.bincount(bins, v, size) for v in (weight, weight * label, weight * p))
    gaps = np.bincount(trials.part * size + bins, weight * (p - label), len(n_part) * size).reshape(-1, size)
    gap = abs(gaps).sum(axis=0)
    image, row = np.unique(trials.path * size + bins, return_inverse=True)  # one image in several trials is one image
    whole, kind = np.bincount(row, weight), np.zeros(len(image), np.int64)
    kind[row] = label
    squares = np.bincount(image % size, whole**2, size)
    rate, bounds = np.full(size, math.nan), np.full((2, size), math.nan)
    for m in np.flatnonzero(mass):
        rate[m], n = fakes[m] / mass[m], max(1.0, mass[m] ** 2 / squares[m])
        bounds[:, m] = exact_interval(rate[m] * n, n, level=level)
    n_real, n_fake = (tuple(np.bincount(image[kind == k] % size, minlength=size).tolist()) for k in (REAL, FAKE))
    mean, low, high = predicted / np.where(mass > 0, mass, math.nan), *bounds
    return Reliability(
        _short(mean), _short(rate), _short(low), _short(high), _short(mass), _short(gap), n_real, n_fake,
        float(gap.sum()),
    )  # fmt: skip


def risk_of(trials: TrialScores) -> Risk | None:
    """Return the error among the most confident images: confidence is the distance from the threshold, in units.

    With the images in falling order of confidence and v_i = 1 / 2 G F_g for fakes, 1 / 2 G R_g for reals,

        coverage C_k = sum_{i <= k} v_i,   risk_k = sum_{i <= k} v_i [i is on the wrong side] / C_k

    so that the risk of all images is (1 - macro TPR + macro FPR) / 2 at the frozen threshold.  Images of one
    confidence come in random order, whose mean is straight in the errors: E(c) = E_{k-1} + e (c - C_{k-1}), and

        area = integral of E(c) / c dc = sum over k of e dC + (E_{k-1} - e C_{k-1}) log(C_k / C_{k-1})

    None where a generator has no trial with units.
    El-Yaniv and Wiener 2010, JMLR 11, 1605-1641; Geifman and El-Yaniv 2017, arXiv 1705.08500.
    """
    kept = _with_units(trials)
    if kept is None:
        return None
    units, weight = trials.units[kept], _by_generator(trials, kept)
    wrong = (units > 0) != (trials.label[kept] == FAKE)
    order = np.argsort(-abs(units), kind="stable")
    ends = np.append(np.diff(abs(units)[order]) != 0, True)
    covered, errors = (np.append(0.0, np.cumsum(v[order])[ends]) for v in (weight, weight * wrong))
    slope = np.diff(errors) / np.diff(covered)
    bent = errors[1:-1] - slope[1:] * covered[1:-1]  # 0 in the first piece, which begins at 0
    area = (slope * np.diff(covered)).sum() + (bent * np.log(covered[2:] / covered[1:-1])).sum()
    risk = np.interp(np.array(COVERAGE) * covered[-1], covered, errors) / (np.array(COVERAGE) * covered[-1])
    return Risk(_short(risk), float(area), float(errors[-1] / covered[-1]))


def least_area(overall: float) -> float:
    """Return the area under the curve of the best order, all errors last: r + (1 - r) log(1 - r).

    Geifman, Uziel and El-Yaniv 2019, arXiv 1805.08206 (the risk curve in hindsight).
    """
    return overall + (1 - overall) * math.log(1 - overall) if overall < 1 else 1.0


def _points(label: np.ndarray, score: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the FPR and the TPR of every distinct score from high to low, after (0, 0)."""
    order = np.argsort(-score, kind="stable")
    ends = np.append(np.diff(score[order]) != 0, True)
    reals, fakes = (np.append(0, np.cumsum(label[order] == kind)[ends]) for kind in (REAL, FAKE))
    return reals / reals[-1], fakes / fakes[-1]


def _equal_error(fpr: np.ndarray, tpr: np.ndarray) -> float:
    """Return the FPR where straight pieces meet FPR = 1 - TPR, as `fdetect.metrics.eer` does."""
    over = fpr + tpr - 1
    k = int(np.argmax(over >= 0))
    if k == 0:
        return float(fpr[0])
    share = over[k - 1] / (over[k - 1] - over[k])
    return float(fpr[k - 1] + share * (fpr[k] - fpr[k - 1]))


def _with_units(trials: TrialScores) -> np.ndarray | None:
    """Return the rows of trials with units; None where a generator has none."""
    kept = np.flatnonzero(~np.isnan(trials.units))
    return kept if len(np.unique(trials.generator[kept])) == trials.generator.max() + 1 else None


def _by_generator(trials: TrialScores, kept: np.ndarray) -> np.ndarray:
    """Weigh either class of each generator by half, and all generators alike; they sum to 1."""
    return _halves(trials.label[kept], trials.generator[kept]) / (int(trials.generator.max()) + 1)


def _halves(label: np.ndarray, unit: np.ndarray) -> np.ndarray:
    """Return 1 / 2F for the fakes and 1 / 2R for the reals of each unit."""
    number = 2 * unit + label
    return np.asarray(0.5 / np.bincount(number)[number])


def _split(number: np.ndarray) -> list[np.ndarray]:
    order = np.argsort(number, kind="stable")
    return np.split(order, np.cumsum(np.bincount(number))[:-1])


def _short(values: np.ndarray) -> tuple[float, ...]:
    return tuple(np.round(values, _DIGITS).tolist())
