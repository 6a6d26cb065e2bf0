"""Slow and plain float64 references of heads, calibrators and choices among settings.  Imports nothing from fdetect.

Rows are lists of lists, labels lists of 0 and 1, scores lists of numbers.
"""

import math


def standardised(rows, fitted, weight=None):
    """Rows by the mean and deviation of fitted rows; a constant column is only centred."""
    weight = weight or [1.0] * len(fitted)
    total, width = sum(weight), len(fitted[0])
    mean = [sum(w * row[d] for w, row in zip(weight, fitted, strict=True)) / total for d in range(width)]
    spread = [
        math.sqrt(sum(w * (row[d] - mean[d]) ** 2 for w, row in zip(weight, fitted, strict=True)) / total)
        for d in range(width)
    ]
    return [[(row[d] - mean[d]) / (spread[d] or 1.0) for d in range(width)] for row in rows]


def smoothed_log_odds(fakes, reals):
    return math.log((fakes + 0.5) / (reals + 0.5))


def knn(rows, fitted, label, k):
    found = []
    for row in rows:
        far = [(sum(abs(a - b) for a, b in zip(row, other, strict=True)), i) for i, other in enumerate(fitted)]
        fakes = sum(label[i] for _, i in sorted(far)[:k])
        found.append(smoothed_log_odds(fakes, k - fakes))
    return found


def forest(row, trees):
    """Each tree is (left, right, column, threshold, share of fakes), lists by node; -1 = no child."""
    share = 0.0
    for left, right, column, threshold, fakes in trees:
        node = 0
        while left[node] != -1:
            node = left[node] if row[column[node]] <= threshold[node] else right[node]
        share += fakes[node]
    return smoothed_log_odds(share, len(trees) - share)


def shrunk_covariance(rows):
    """Ledoit and Wolf 2004, equation 14, of rows of mean zero: the covariance, and how much it was shrunk."""
    n, width = len(rows), len(rows[0])
    each = range(width)
    cov = [[sum(row[i] * row[j] for row in rows) / n for j in each] for i in each]
    level = sum(cov[i][i] for i in each) / width
    d2 = sum((cov[i][j] - level * (i == j)) ** 2 for i in each for j in each) / width
    b2 = sum(sum((row[i] * row[j] - cov[i][j]) ** 2 for i in each for j in each) for row in rows) / n**2 / width
    a = min(b2, d2) / d2
    return [[(1 - a) * cov[i][j] + a * level * (i == j) for j in each] for i in each], a


def solve(matrix, vector):
    """Gaussian elimination with the largest pivot."""
    rows = [[*row, value] for row, value in zip(matrix, vector, strict=True)]
    n = len(rows)
    for k in range(n):
        best = max(range(k, n), key=lambda i: abs(rows[i][k]))
        rows[k], rows[best] = rows[best], rows[k]
        for i in range(k + 1, n):
            factor = rows[i][k] / rows[k][k]
            rows[i] = [x - factor * y for x, y in zip(rows[i], rows[k], strict=True)]
    found = [0.0] * n
    for k in reversed(range(n)):
        found[k] = (rows[k][n] - sum(rows[k][j] * found[j] for j in range(k + 1, n))) / rows[k][k]
    return found


def one_class(rows, reals):
    covariance, _ = shrunk_covariance(standardised(reals, reals))
    return [
        sum(x * y for x, y in zip(row, solve(covariance, row), strict=True)) / len(row)
        for row in standardised(rows, reals)
    ]


def kernel(x, y, gamma):
    return math.exp(-gamma * sum((a - b) ** 2 for a, b in zip(x, y, strict=True)))


def elastic_slopes(rows, label, weights, offset, c, ratio):
    """Slopes of the smooth part of the elastic net's objective by weight, and by offset; the L1 part is left to see."""
    slope, by_offset = [(1 - ratio) * w / c for w in weights], 0.0
    for row, y in zip(rows, label, strict=True):
        p = 1 / (1 + math.exp(-(sum(w * x for w, x in zip(weights, row, strict=True)) + offset)))
        slope = [s + (p - y) * x for s, x in zip(slope, row, strict=True)]
        by_offset += p - y
    return slope, by_offset


def squared_hinge_slopes(rows, label, weight, w, b, c):
    """Slopes of (|w|^2 + b^2) / 2 + c sum of v max(0, 1 - y margin)^2."""
    slope, by_offset = list(w), b
    for row, k, v in zip(rows, label, weight, strict=True):
        y = 2 * k - 1
        short = 1 - y * (sum(x * wx for x, wx in zip(row, w, strict=True)) + b)
        if short > 0:
            slope = [s - 2 * c * v * short * y * x for s, x in zip(slope, row, strict=True)]
            by_offset -= 2 * c * v * short * y
    return slope, by_offset


def generator_weights(label, generator, source=None):
    """Every generator the same, fakes and reals the same; and every source, where there are any."""
    n, weights = len(label), []
    for k, maker, camera in zip(label, generator, source or [""] * n, strict=True):
        if k == 1:
            kinds = {g for y, g in zip(label, generator, strict=True) if y == 1}
            mine = sum(1 for y, g in zip(label, generator, strict=True) if y == 1 and g == maker)
        else:
            cameras = list(zip(label, source or [""] * n, strict=True))
            kinds = {s for y, s in cameras if y == 0}
            mine = sum(1 for y, s in cameras if y == 0 and s == camera)
        weights.append(n / 2 / (len(kinds) * mine))
    return weights


def auroc(label, score):
    pairs = [(f > r) + (f == r) / 2 for f, y in zip(score, label, strict=True) if y == 1
             for r, z in zip(score, label, strict=True) if z == 0]  # fmt: skip
    return sum(pairs) / len(pairs)


def macro_auroc(label, score, generator):
    each = []
    for name in sorted({g for g, y in zip(generator, label, strict=True) if y == 1}):
        rows = [i for i, y in enumerate(label) if y == 0 or generator[i] == name]
        each.append(auroc([label[i] for i in rows], [score[i] for i in rows]))
    return sum(each) / len(each)


# -- calibration ------------------------------------------------------------------------------------------------------


def platt_loss(slope, offset, score, label):
    fakes = sum(label)
    high, low = (fakes + 1) / (fakes + 2), 1 / (len(label) - fakes + 2)
    loss = 0.0
    for s, y in zip(score, label, strict=True):
        odds, t = slope * s + offset, high if y else low
        loss += max(odds, 0.0) + math.log1p(math.exp(-abs(odds))) - t * odds
    return loss


def _smallest(function, low, high, steps=80):
    """Golden section: the place of the minimum of a convex function."""
    ratio = (math.sqrt(5) - 1) / 2
    for _ in range(steps):
        a, b = high - ratio * (high - low), low + ratio * (high - low)
        if function(a) < function(b):
            high = b
        else:
            low = a
    return (low + high) / 2


def platt(score, label, reach=50.0):
    """Slope >= 0 and offset of the least loss, by golden section within golden section."""

    def best_offset(slope):
        return _smallest(lambda offset: platt_loss(slope, offset, score, label), -reach, reach)

    slope = _smallest(lambda slope: platt_loss(slope, best_offset(slope), score, label), 0.0, reach)
    return slope, best_offset(slope)


def isotonic(score, label):
    """By distinct score: the largest over starts of the least over ends of the mean label between them."""
    places = sorted(set(score))
    found = {}
    for i, here in enumerate(places):
        best = -math.inf
        for first in places[: i + 1]:
            least = math.inf
            for last in places[i:]:
                inside = [y for s, y in zip(score, label, strict=True) if first <= s <= last]
                least = min(least, sum(inside) / len(inside))
            best = max(best, least)
        found[here] = best
    return found


def venn_abers(score, label, new):
    """p0 and p1 of one new score: the isotonic regression with it among the rows, once as real, once as fake."""
    return tuple(isotonic([*score, new], [*label, y])[new] for y in (0, 1))


def merged(low, high):
    return high / (1 - low + high)


def without_prior(p, label):
    """The chance among as many reals as fakes."""
    fakes = sum(label)
    if p in (0.0, 1.0):
        return p
    odds = p / (1 - p) * (len(label) - fakes) / fakes
    return odds / (1 + odds)
