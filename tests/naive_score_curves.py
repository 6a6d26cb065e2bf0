"""Slow and plain references of the curves of a score table: loops over rows, nothing from fdetect.

A row is a dict with the columns of `scores.parquet`; a score of None is an image that failed.
"""

import itertools
import math

import naive_evaluate


def parts(rows):
    """{generator: {trial: (scored reals, scored fakes)}} of the generators averaged over, where a trial has both."""
    found = {}
    for name in naive_evaluate.unseen(rows):
        mine = naive_evaluate.of_generator(rows, name)
        found[name] = {}
        for trial in sorted({row["trial"] for row in mine}):
            here = [row for row in mine if row["trial"] == trial and row["score"] is not None]
            reals, fakes = ([row for row in here if row["label"] == kind] for kind in (0, 1))
            if reals and fakes:
                found[name][trial] = (reals, fakes)
    return found


def tpr(rows, x):
    """Mean over generators of the trials' TPR at the false-positive rate x, by pairs."""
    means = []
    for trials in parts(rows).values():
        total = sum(len(r) * len(f) * tpr_of_trial(r, f, x) for r, f in trials.values())
        means.append(total / sum(len(r) * len(f) for r, f in trials.values()))
    return sum(means) / len(means)


def tpr_of_trial(reals, fakes, x):
    """The largest TPR at x on the straight pieces between the points of all thresholds."""
    cuts = sorted({row["score"] for row in reals + fakes}, reverse=True)
    points = [[sum(row["score"] >= cut for row in side) / len(side) for side in (reals, fakes)] for cut in cuts]
    best = 0.0
    for (x0, y0), (x1, y1) in itertools.pairwise([(0.0, 0.0), *points]):
        if x1 <= x:
            best = max(best, y1)
        elif x0 <= x:
            best = max(best, y0 + (x - x0) / (x1 - x0) * (y1 - y0))
    return best


def quantile(values, share):
    values, at = sorted(values), share * (len(values) - 1)
    low = math.floor(at)
    high = min(low + 1, len(values) - 1)
    return values[low] + (at - low) * (values[high] - values[low])


def placed(rows):
    """[(units, label, weight)]: distance from the threshold, classes of each generator weighing 1 / 2G in all."""
    found, every = [], parts(rows)
    for trials in every.values():
        mine = []
        for reals, fakes in trials.values():
            scores = [row["score"] for row in reals]
            unit = quantile(scores, 0.75) - quantile(scores, 0.25)
            if unit > 0 and reals[0]["threshold"] is not None:
                mine += [((row["score"] - row["threshold"]) / unit, row["label"]) for row in reals + fakes]
        count = {kind: sum(label == kind for _, label in mine) for kind in (0, 1)}
        found += [(u, label, 0.5 / count[label] / len(every)) for u, label in mine]
    return found


def share(rows, label, low, high):
    """Share of a class in (low, high]."""
    return 2 * sum(w for u, y, w in placed(rows) if y == label and low < u <= high)


def risk(rows, coverage):
    """Mean error of the most confident images that make up a share of all weight, ties in random order."""
    return errors_within(placed(rows), coverage) / coverage


def errors_within(images, coverage):
    left, errors = coverage, 0.0
    for confidence in sorted({abs(u) for u, _, _ in images}, reverse=True):
        tied = [(u, y, w) for u, y, w in images if abs(u) == confidence]
        weight = sum(w for _, _, w in tied)
        taken = min(1.0, left / weight)
        errors += taken * sum(w for u, y, w in tied if (u > 0) != (y == 1))
        left -= taken * weight
        if left <= 1e-15:
            break
    return errors


def area(rows, steps=4000):
    """The area under the risk by the midpoint rule."""
    images = placed(rows)
    return sum(errors_within(images, (k + 0.5) / steps) / ((k + 0.5) / steps) for k in range(steps)) / steps


def bins(rows, count=15):
    """For each bin: (weight, weighted mean probability, weighted share of fakes, sum of the trials' gaps)."""
    found, every = [[0.0, 0.0, 0.0, 0.0] for _ in range(count)], parts(rows)
    for trials in every.values():
        images = sum(len(r) + len(f) for r, f in trials.values())
        for reals, fakes in trials.values():
            gap = [0.0] * count
            for row in reals + fakes:
                side = fakes if row["label"] else reals
                w = (len(reals) + len(fakes)) / images / len(every) / (2 * len(side))
                p = row["probability"]
                m = sum(p >= k / count for k in range(1, count))
                for k, value in enumerate((w, w * p, w * row["label"])):
                    found[m][k] += value
                gap[m] += w * (p - row["label"])
            for m in range(count):
                found[m][3] += abs(gap[m])
    nan = float("nan")
    return [(w, p / w if w else nan, y / w if w else nan, gap) for w, p, y, gap in found]
