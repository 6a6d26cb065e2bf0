"""Slow, plain float64 references for detectors with a bank: neighbours, shrunk covariance, principal subspace.

Imports nothing from fdetect; every formula is written out over one image at a time.
"""

from __future__ import annotations

import math

import numpy as np


def cosine_distance(a, b):
    dot = sum(float(x) * float(y) for x, y in zip(a, b, strict=True))
    return 1 - dot / math.sqrt(sum(float(x) ** 2 for x in a) * sum(float(y) ** 2 for y in b))


def nearest(x, references, k):
    """The k smallest cosine distances, ascending."""
    return sorted(cosine_distance(x, r) for r in references)[:k]


def knn(x, reals, k):
    return sum(nearest(x, reals, k)) / k


def nearest_of_two(x, reals, fakes):
    return nearest(x, reals, 1)[0] - nearest(x, fakes, 1)[0]


def shrunk_covariance(reals):
    """Ledoit and Wolf 2004: their m, d^2, b^2 with the norm |A|^2 = sum of squares / p, image by image."""
    rows = np.asarray(reals, np.float64)
    n, p = rows.shape
    mean = np.array([sum(rows[:, j]) / n for j in range(p)])
    rows = rows - mean
    sample = sum(np.outer(x, x) for x in rows) / n
    m = sum(sample[j, j] for j in range(p)) / p
    d2 = ((sample - m * np.eye(p)) ** 2).sum() / p
    b2 = min(sum(((np.outer(x, x) - sample) ** 2).sum() / p for x in rows) / n**2, d2)
    share = b2 / d2
    return mean, share * m * np.eye(p) + (1 - share) * sample, share


def mahalanobis(x, reals):
    mean, covariance, _ = shrunk_covariance(reals)
    difference = np.asarray(x, np.float64) - mean
    return math.sqrt(difference @ np.linalg.solve(covariance, difference))


def residual(x, reals, share):
    """Length of what the first right singular vectors of the centred reals leave, and how many vectors those are."""
    rows = np.asarray(reals, np.float64)
    mean = rows.mean(axis=0)
    _, values, directions = np.linalg.svd(rows - mean, full_matrices=False)
    total, taken, m = sum(values**2), 0.0, 0
    while taken < share * total:
        taken += values[m] ** 2
        m += 1
    m = min(m, rows.shape[1] - 1)
    left = np.asarray(x, np.float64) - mean
    for direction in directions[:m]:
        left = left - (left @ direction) * direction
    return math.sqrt(left @ left), m
