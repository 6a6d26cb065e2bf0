"""Metrics of one trial over B weightings of its images, and cells pooled from trials.

Every metric is a function of three positional arguments: `label` (N,) int, 0 = real and 1 = fake; the column it
reads, (N,); and `weight` (B, N) float64 >= 0, one row a weighting: all ones for the sample itself, counts for a
bootstrap replicate.  It returns (B,) float64, NaN where a class it needs has no weight.  The columns are
`score` float64, larger = more likely generated; `probability` float64 in [0, 1] of being fake; and `decision`
bool, whether the image was called fake at the threshold frozen at 5 % FPR.  Fakes are the positive class unless a
name says otherwise.  In the formulas w is a weight, R and F are the weights of all reals and of all fakes.

What the decorator is told: `better` ("higher" or "lower"), `range`, `needs` (the column) and `mass`: what a
trial counts by when trials are pooled into a cell ("pairs", "fakes", "reals" or "images"); and `share=True` where
it is a plain share of the fakes or of the reals, so that none or all of n have an exact interval.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from fdetect.bootstrap import (
    Difference,
    Estimate,
    GroupWeights,
    Interval,
    TrialSample,
    difference,
    group_weights,
    interval,
    macro,
    pooled,
)
from fdetect.memo import once_within, shared
from fdetect.registry import Registry
from fdetect.roc import ranking_of
from fdetect.sums import called, classes, images, sums_at, total

__all__ = [
    "ECE_EDGES",
    "Difference",
    "Estimate",
    "GroupWeights",
    "Interval",
    "TrialSample",
    "difference",
    "evaluate",
    "group_weights",
    "interval",
    "macro",
    "masses",
    "metric",
    "pooled",
]

_UNIT = (0.0, 1.0)
_BINS = 15  # of `ece`
ECE_EDGES = np.arange(1, _BINS) / _BINS  # between them

metric = Registry("metric", "better", "range")


def evaluate(trials: Sequence[TrialSample], names: Sequence[str], weights: GroupWeights) -> dict[str, Estimate]:
    """Compute metrics of a cell: within each trial, then pooled by the mass that each metric declares.

    T trials -> one Estimate per name, with `weights.replicates` replicates.  A metric whose column is missing in
    any of the trials is NaN for the whole cell: a mean over the other trials would be about other images.
    Raises UnknownName for a metric that does not exist, ParameterError for a group the weights do not know.
    """
    entries = [metric.get(name) for name in names]
    needs = {entry.name: entry.meta.get("needs", "score") for entry in entries}
    present = {need for need in needs.values() if all(trial.column(need) is not None for trial in trials)}
    shape = (len(trials), 1 + weights.replicates)  # column 0 is the sample itself
    values = {name: np.full(shape, np.nan) for name in needs}
    mass = {kind: np.zeros(shape) for kind in ("pairs", "fakes", "reals", "images")}

    for t, trial in enumerate(trials):
        order = np.argsort(-trial.score, kind="stable")  # so that the walk along the curve goes through memory in order
        label = trial.label[order]
        columns = {need: np.asarray(trial.column(need))[order] for need in present}
        with once_within():
            for rows, weight in weights.blocks(trial.group[order]):
                with once_within(weight):
                    for kind, amount in masses(label, weight).items():
                        mass[kind][t, rows] = amount
                    for entry in entries:
                        if needs[entry.name] in present:
                            values[entry.name][t, rows] = entry(label, columns[needs[entry.name]], weight)

    cells = {entry.name: pooled(values[entry.name], mass[entry.meta.get("mass", "images")]) for entry in entries}
    return {name: Estimate(float(cell[0]), cell[1:]) for name, cell in cells.items()}


def masses(label: np.ndarray, weight: np.ndarray) -> dict[str, np.ndarray]:
    """What a trial can count by: (N,) int, (B, N) float64 -> (B,) float64 of pairs, fakes, reals and images."""
    fakes, reals = classes(label, weight)
    return {"pairs": fakes * reals, "fakes": fakes, "reals": reals, "images": fakes + reals}


@metric(better="higher", range=_UNIT, needs="score", mass="pairs")
def auroc(label: np.ndarray, score: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Area under the ROC curve: the chance that a fake scores above a real, a tie counting half.

    sum over (fake i, real j) of w_i w_j ([s_i > s_j] + [s_i = s_j] / 2) / (F R), by the trapezium rule.
    Hanley and McNeil 1982, 10.1148/radiology.143.1.7063747; Fawcett 2006, algorithm 2.
    """
    return ranking_of(label, score, weight).auroc


@metric(better="higher", range=_UNIT, needs="score", mass="images")
def ap_fake(label: np.ndarray, score: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Average precision with the fakes as the positive class.

    sum_k (recall_k - recall_{k-1}) precision_k over the distinct scores from high to low, without interpolation.
    Manning, Raghavan and Schuetze 2008, Introduction to Information Retrieval, section 8.4.
    """
    return ranking_of(label, score, weight).ap_fake


@metric(better="higher", range=_UNIT, needs="score", mass="images")
def ap_real(label: np.ndarray, score: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Average precision with the reals as the positive class, ranked by the negative score, as RIGID reports it.

    The formula of `ap_fake` over the distinct scores from low to high.
    """
    return ranking_of(label, score, weight).ap_real


@metric(better="higher", range=_UNIT, needs="score", mass="fakes")
def tpr_roc_1(label: np.ndarray, score: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Share of fakes found at the largest FPR <= 1 % on the test curve: read off the test, not a frozen threshold.

    max TPR_k over the points k of the ROC curve with FPR_k <= 0.01, without interpolation.
    """
    return ranking_of(label, score, weight).tpr_roc_1


@metric(better="higher", range=_UNIT, needs="score", mass="fakes")
def tpr_roc_5(label: np.ndarray, score: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Share of fakes found at the largest FPR <= 5 % on the test curve: read off the test, not a frozen threshold.

    max TPR_k over the points k of the ROC curve with FPR_k <= 0.05, without interpolation.
    """
    return ranking_of(label, score, weight).tpr_roc_5


@metric(better="lower", range=_UNIT, needs="score", mass="reals")
def fpr_at_95_tpr(label: np.ndarray, score: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Share of reals called fake once at least 95 % of the fakes are found, read off the test curve.

    min FPR_k over the points k of the ROC curve with TPR_k >= 0.95.  Papers on out-of-distribution detection, and
    RIGID, take the reals as the positive class: theirs is another number.
    """
    return ranking_of(label, score, weight).fpr_at_95_tpr


@metric(better="lower", range=_UNIT, needs="score", mass="images")
def eer(label: np.ndarray, score: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Equal error rate: the FPR where the straight pieces of the ROC curve meet FPR = 1 - TPR.

    With d_k = FPR_k + TPR_k - 1, k the first point with d_k >= 0 and t = d_{k-1} / (d_{k-1} - d_k), it is
    FPR_{k-1} + t (FPR_k - FPR_{k-1}).
    """
    return ranking_of(label, score, weight).eer


@metric(better="higher", range=_UNIT, needs="decision", mass="images")
def balanced_accuracy(label: np.ndarray, decision: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Mean of the shares of fakes and of reals that the frozen threshold gets right.

    (TPR + 1 - FPR) / 2.  Brodersen, Ong, Stephan and Buhmann 2010, 10.1109/ICPR.2010.764.
    """
    (fakes, reals), (found, wrong) = classes(label, weight), called(label, decision, weight)
    return np.asarray((_ratio(found, fakes) + 1.0 - _ratio(wrong, reals)) / 2.0)


@metric(better="higher", range=_UNIT, needs="decision", mass="fakes", share=True)
def tpr_frozen_5(label: np.ndarray, decision: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Share of the fakes called fake at the threshold frozen at 5 % FPR, sum of w [called, fake] / F."""
    return _ratio(called(label, decision, weight)[0], classes(label, weight)[0])


@metric(better="lower", range=_UNIT, needs="decision", mass="reals", share=True)
def fpr_achieved_5(label: np.ndarray, decision: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Share of the reals called fake at the threshold frozen at 5 % FPR, sum of w [called, real] / R."""
    return _ratio(called(label, decision, weight)[1], classes(label, weight)[1])


@metric(better="higher", range=_UNIT, needs="decision", mass="images")
def precision(label: np.ndarray, decision: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Share of fakes among the images called fake at the frozen threshold; NaN where none is called fake.

    It depends on how many reals and fakes the test has: compare it within one test only.
    """
    found, wrong = called(label, decision, weight)
    return np.where(_both(label, weight), _ratio(found, found + wrong), np.nan)


@metric(better="higher", range=_UNIT, needs="decision", mass="fakes", share=True)
def recall(label: np.ndarray, decision: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Share of the fakes called fake at the frozen threshold: `tpr_frozen_5` under its other name."""
    return tpr_frozen_5(label, decision, weight)


@metric(better="higher", range=_UNIT, needs="decision", mass="images")
def f1(label: np.ndarray, decision: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Harmonic mean of precision and recall at the frozen threshold, 2 TP / (called + F); 0 where TP = 0.

    van Rijsbergen 1979, Information Retrieval, chapter 7.
    """
    found, wrong = called(label, decision, weight)
    value = _ratio(2.0 * found, found + wrong + classes(label, weight)[0])
    return np.where(_both(label, weight), value, np.nan)


@metric(better="higher", range=_UNIT, needs="probability", mass="images")
def accuracy_at_half(label: np.ndarray, probability: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Share of images that calling fake at probability >= 0.5 gets right; it leans to the larger class."""
    (fakes, reals), (found, wrong) = classes(label, weight), called(label, _half(probability), weight)
    return _ratio(found + reals - wrong, fakes + reals)


@metric(better="higher", range=_UNIT, needs="probability", mass="reals", share=True)
def real_accuracy(label: np.ndarray, probability: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Share of the reals with a probability below 0.5."""
    reals, wrong = classes(label, weight)[1], called(label, _half(probability), weight)[1]
    return _ratio(reals - wrong, reals)


@metric(better="higher", range=_UNIT, needs="probability", mass="fakes", share=True)
def fake_accuracy(label: np.ndarray, probability: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Share of the fakes with a probability of 0.5 or more."""
    return _ratio(called(label, _half(probability), weight)[0], classes(label, weight)[0])


@metric(better="lower", range=_UNIT, needs="probability", mass="images")
def ece(label: np.ndarray, probability: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Expected calibration error in 15 equal bins of the probability, either class having half of the weight.

    sum_m |sum_{i in bin m} v_i (p_i - y_i)|,  v_i = w_i / 2F for fakes and w_i / 2R for reals,
    bin m = [m/15, (m+1)/15), the last one closed.
    Guo, Pleiss, Sun and Weinberger 2017, arXiv 1706.04599, equation 3; balanced as in B-Free, arXiv 2412.17671.
    """
    place, gap = _bins(label, probability)
    fakes, reals = classes(label, weight)
    of_reals, of_fakes = sums_at(weight, place, 2 * _BINS, gap).reshape(2, _BINS, len(weight))
    return np.asarray(abs(_ratio(of_fakes, fakes) + _ratio(of_reals, reals)).sum(axis=0) / 2.0)


@metric(better="lower", range=(0.0, math.inf), needs="probability", mass="images")
def nll(label: np.ndarray, probability: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Negative log-likelihood in nats, the mean of -log(probability of the true class), clipped at 1e-12."""
    return _ratio(-total(weight, _log_right(label, probability)), images(label, weight))


@metric(better="lower", range=_UNIT, needs="probability", mass="images")
def brier(label: np.ndarray, probability: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Mean squared distance between probability and label, sum of w (p - y)^2 / sum of w.

    Brier 1950, 10.1175/1520-0493(1950)078<0001:VOFEIT>2.0.CO;2, halved for two classes.
    """
    return _ratio(total(weight, _squared(label, probability)), images(label, weight))


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.asarray(part / np.where(whole > 0, whole, np.nan))


@shared
def _half(probability: np.ndarray) -> np.ndarray:
    return np.asarray(probability >= 0.5)


@shared
def _bins(label: np.ndarray, probability: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where each image is summed for `ece`, by class and bin, and how far its probability is from its label."""
    return np.digitize(probability, ECE_EDGES) + _BINS * (label == 1), probability - label


@shared
def _log_right(label: np.ndarray, probability: np.ndarray) -> np.ndarray:
    """Logarithm of the probability of the true class, for `nll`."""
    return np.asarray(np.log(np.clip(np.where(label == 1, probability, 1.0 - probability), 1e-12, 1.0)))


@shared
def _squared(label: np.ndarray, probability: np.ndarray) -> np.ndarray:
    return np.asarray((probability - label) ** 2)


def _both(label: np.ndarray, weight: np.ndarray) -> np.ndarray:
    return np.asarray(masses(label, weight)["pairs"] > 0)
