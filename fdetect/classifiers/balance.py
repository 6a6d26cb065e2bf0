"""Weights of rows: what each class, each generator and each source of reals counts in a fit.

    none                 every row counts the same
    generators           fakes and reals have the same total, and among the fakes every generator has:
                             w = N / 2 / (generators * rows of the generator),    N / 2 / reals
    generators+sources   and among the reals every source has: w = N / 2 / (sources * rows of the source)

The weights of N rows sum to N, so that a penalty weighs against them what it weighs without weights.
"""

from __future__ import annotations

import numpy as np

from fdetect.errors import DataError, ParameterError
from fdetect.registry import nearest
from fdetect.types import FAKE, REAL

__all__ = ["WEIGHTS", "class_weights", "generator_weights", "row_weights"]

WEIGHTS = ("none", "generators", "generators+sources")


def row_weights(
    name: str, label: np.ndarray, generator: np.ndarray | None = None, source: np.ndarray | None = None
) -> np.ndarray | None:
    """Weights by name: (N,) labels, (N,) str of each fake, (N,) str of each real -> (N,) float64, or None for "none".

    Raises ParameterError for an unknown name and where the generators or sources that it needs were not given.
    """
    if name not in WEIGHTS:
        raise ParameterError(f"no weights '{name}'{nearest(name, WEIGHTS)} ({', '.join(WEIGHTS)})")
    if name == "none":
        return None
    if generator is None:
        raise ParameterError(f"weights='{name}' needs generator=, the generator of every fake")
    if name == "generators":
        return generator_weights(label, generator)
    if source is None:
        raise ParameterError(f"weights='{name}' needs source=, the source of every real")
    return generator_weights(label, generator, source)


def generator_weights(label: np.ndarray, generator: np.ndarray, source: np.ndarray | None = None) -> np.ndarray:
    """(N,) labels, (N,) str, (N,) str -> (N,) float64 > 0 that sum to N: the formulas of "generators" above.

    Without `source` every real counts the same.  Raises DataError for a fake that names no generator.
    """
    fakes, reals = label == FAKE, label == REAL
    if fakes.any() and (generator[fakes] == "").any():
        raise DataError("a fake among the rows names no generator, and weights between generators need one for every "
                        "fake; name it (the column generator of a manifest), or give weights none")  # fmt: skip
    weight = np.zeros(len(label))
    weight[fakes] = _evenly(generator[fakes])
    weight[reals] = _evenly(np.full(int(reals.sum()), "") if source is None else source[reals])
    return np.asarray(weight * (len(label) / weight.sum()))


def class_weights(label: np.ndarray) -> np.ndarray:
    """(N,) whole numbers -> (N,) float64 that sum to N: every class has the same total."""
    return np.asarray(_evenly(label) * len(label))


def _evenly(names: np.ndarray) -> np.ndarray:
    """(n,) names -> (n,) float64 that sum to 1, every name with the same total."""
    if not len(names):
        return np.zeros(0)
    kinds, which, counts = np.unique(names, return_inverse=True, return_counts=True)
    return np.asarray(1.0 / (len(kinds) * counts[which]))
