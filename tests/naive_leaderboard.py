"""Slow and plain references of a leaderboard: mean and spread over seeds, Holm by its definition, who is level.

Rows are dicts as in naive_evaluate; nothing from fdetect.
"""

import math

import naive_evaluate


def over_seeds(rows_by_seed):
    """(mean, standard deviation with n - 1 in the divisor) of the macro AUROCs of repetitions."""
    values = [naive_evaluate.macro(rows) for rows in rows_by_seed.values()]
    mean = sum(values) / len(values)
    if len(values) == 1:
        return mean, math.nan
    return mean, math.sqrt(sum((value - mean) ** 2 for value in values) / (len(values) - 1))


def holm(p_values):
    """Corrected p-values: step down through the sorted ones, never below the one before."""
    order = sorted(range(len(p_values)), key=lambda k: p_values[k])
    corrected, last = [0.0] * len(p_values), 0.0
    for step, k in enumerate(order):
        last = max(last, min(1.0, (len(p_values) - step) * p_values[k]))
        corrected[k] = last
    return corrected


def coverage(rows):
    """Share of the images that have a score in every trial."""
    paths = {row["path"] for row in rows}
    failed = {row["path"] for row in rows if row["score"] is None}
    return 1 - len(failed) / len(paths)
