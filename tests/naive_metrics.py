"""Slow and plain float64 references: metrics of one weighting, conformal rules.  Imports nothing from fdetect.

label, column and weight are lists of N numbers.  Each function returns one float, NaN where it is not defined.
"""

import itertools
import math

NAN = float("nan")


def _weight_of(label, weight, kind):
    return sum(w for y, w in zip(label, weight, strict=True) if y == kind)


def _one_class_is_missing(label, weight):
    return _weight_of(label, weight, 0) == 0 or _weight_of(label, weight, 1) == 0


def concordant(label, score, weight):
    """Weight of the (fake, real) pairs in the right order, ties half, and the weight of all such pairs."""
    right = pairs = 0.0
    for i in range(len(label)):
        for j in range(len(label)):
            if label[i] == 1 and label[j] == 0:
                pair = weight[i] * weight[j]
                pairs += pair
                if score[i] > score[j]:
                    right += pair
                elif score[i] == score[j]:
                    right += pair / 2
    return right, pairs


def auroc(label, score, weight):
    right, pairs = concordant(label, score, weight)
    return right / pairs if pairs > 0 else NAN


def roc_points(label, score, weight):
    """(FPR, TPR) from "nothing is called fake" to "everything is", one point for each distinct score."""
    reals, fakes = _weight_of(label, weight, 0), _weight_of(label, weight, 1)
    points = [(0.0, 0.0)]
    for threshold in sorted(set(score), reverse=True):
        called = [s >= threshold for s in score]
        false = sum(w for c, y, w in zip(called, label, weight, strict=True) if c and y == 0)
        true = sum(w for c, y, w in zip(called, label, weight, strict=True) if c and y == 1)
        points.append((false / reals, true / fakes))
    return points


def ap_fake(label, score, weight):
    if _one_class_is_missing(label, weight):
        return NAN
    fakes = _weight_of(label, weight, 1)
    total, recall_before = 0.0, 0.0
    for threshold in sorted(set(score), reverse=True):
        true = sum(w for s, y, w in zip(score, label, weight, strict=True) if s >= threshold and y == 1)
        every = sum(w for s, w in zip(score, weight, strict=True) if s >= threshold)
        if every > 0:
            total += (true / fakes - recall_before) * true / every
            recall_before = true / fakes
    return total


def ap_real(label, score, weight):
    return ap_fake([1 - y for y in label], [-s for s in score], weight)


def _tpr_at(label, score, weight, level):
    if _one_class_is_missing(label, weight):
        return NAN
    return max(tpr for fpr, tpr in roc_points(label, score, weight) if fpr <= level)


def tpr_roc_1(label, score, weight):
    return _tpr_at(label, score, weight, 0.01)


def tpr_roc_5(label, score, weight):
    return _tpr_at(label, score, weight, 0.05)


def fpr_at_95_tpr(label, score, weight):
    if _one_class_is_missing(label, weight):
        return NAN
    return min(fpr for fpr, tpr in roc_points(label, score, weight) if tpr >= 0.95)


def eer(label, score, weight):
    """Walk along the curve until FPR reaches 1 - TPR, then halve the piece until the crossing is found."""
    if _one_class_is_missing(label, weight):
        return NAN
    points = roc_points(label, score, weight)
    for (x0, y0), (x1, y1) in itertools.pairwise(points):
        if x1 >= 1 - y1:
            low, high = 0.0, 1.0
            for _ in range(100):
                t = (low + high) / 2
                if x0 + t * (x1 - x0) >= 1 - (y0 + t * (y1 - y0)):
                    high = t
                else:
                    low = t
            return x0 + high * (x1 - x0)
    return NAN


def _share(label, hit, weight, kind):
    whole = _weight_of(label, weight, kind)
    part = sum(w for y, h, w in zip(label, hit, weight, strict=True) if y == kind and h)
    return part / whole if whole > 0 else NAN


def tpr_frozen_5(label, decision, weight):
    return _share(label, decision, weight, 1)


recall = tpr_frozen_5


def fpr_achieved_5(label, decision, weight):
    return _share(label, decision, weight, 0)


def balanced_accuracy(label, decision, weight):
    return (_share(label, decision, weight, 1) + _share(label, [not d for d in decision], weight, 0)) / 2


def precision(label, decision, weight):
    called = sum(w for d, w in zip(decision, weight, strict=True) if d)
    found = sum(w for y, d, w in zip(label, decision, weight, strict=True) if d and y == 1)
    return NAN if called == 0 or _one_class_is_missing(label, weight) else found / called


def f1(label, decision, weight):
    if _one_class_is_missing(label, weight):
        return NAN
    p, r = precision(label, decision, weight), tpr_frozen_5(label, decision, weight)
    return 0.0 if r == 0 else 2 * p * r / (p + r)


def _mean(values, weight):
    whole = sum(weight)
    return sum(v * w for v, w in zip(values, weight, strict=True)) / whole if whole > 0 else NAN


def accuracy_at_half(label, probability, weight):
    return _mean([float((p >= 0.5) == (y == 1)) for y, p in zip(label, probability, strict=True)], weight)


def real_accuracy(label, probability, weight):
    return _share(label, [p < 0.5 for p in probability], weight, 0)


def fake_accuracy(label, probability, weight):
    return _share(label, [p >= 0.5 for p in probability], weight, 1)


def ece(label, probability, weight):
    """Mean over bins of |mean probability - share of fakes|, after both classes were given half of the weight."""
    if _one_class_is_missing(label, weight):
        return NAN
    share = [w / (2 * _weight_of(label, weight, y)) for y, w in zip(label, weight, strict=True)]
    total = 0.0
    for m in range(15):
        inside = [
            i for i, p in enumerate(probability) if m / 15 <= p and (p < (m + 1) / 15 or (m == 14 and p <= 1.0))
        ]
        mass = sum(share[i] for i in inside)
        if mass > 0:
            confidence = sum(share[i] * probability[i] for i in inside) / mass
            fakes = sum(share[i] * label[i] for i in inside) / mass
            total += mass * abs(confidence - fakes)
    return total


def nll(label, probability, weight):
    right = [p if y == 1 else 1 - p for y, p in zip(label, probability, strict=True)]
    return _mean([-math.log(min(max(p, 1e-12), 1.0)) for p in right], weight)


def brier(label, probability, weight):
    return _mean([(p - y) ** 2 for y, p in zip(label, probability, strict=True)], weight)


def conformal_threshold(real_scores, percent):
    """The smallest calibration score with at most `percent` in a hundred of n + 1 ranks above it, or None.

    Counts in whole numbers: of n + 1 equally likely ranks of a new real, those above the threshold may be at most
    percent * (n + 1) / 100.
    """
    n = len(real_scores)
    for rank, score in enumerate(sorted(real_scores), start=1):
        if 100 * (n + 1 - rank) <= percent * (n + 1):
            return score
    return None


def conformal_pvalue(score, real_scores):
    return (1 + sum(1 for s in real_scores if s >= score)) / (len(real_scores) + 1)
