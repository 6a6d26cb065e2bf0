"""Which families of features a fitted head lives on: what it loses without one, and its weights where it has any."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from fdetect.classifiers.heads import FittedHead
from fdetect.classifiers.search import auroc_by_generator
from fdetect.errors import DataError, ParameterError
from fdetect.features import feature
from fdetect.perturb import rng_for

__all__ = ["FamilyWeights", "Importance", "coefficients_by_family", "families_of", "permutation_importance",
           "permuted_scores"]  # fmt: skip


@dataclass(frozen=True)
class Importance:
    """How much macro AUROC a head loses when it sees the family's columns of other images.

    `drops` has one number for each repeat; below 0 the head was better off without.  `baseline` is the macro AUROC of
    the columns as they are.
    """

    family: str
    n_columns: int
    baseline: float
    drops: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Mean of the drops."""
        return float(np.mean(self.drops))

    @property
    def std(self) -> float:
        """Root of the mean squared distance of the drops from their mean: how much the permutation matters."""
        return float(np.std(self.drops))


@dataclass(frozen=True)
class FamilyWeights:
    """Weights of a linear head on one family's standardised columns.

    total  sum of |w|;  top  the columns of largest |w| with their w: positive means larger in fakes, beside the others
    """

    family: str
    n_columns: int
    total: float
    top: tuple[tuple[str, float], ...]


def families_of(columns: Sequence[str]) -> tuple[str, ...]:
    """Return the family of each column `feature:column`; of a column of no registered feature, its part before the :.

    Columns of an embedding or of another detector so make a family of their own.
    """
    known = {entry.name: str(entry.family) for entry in feature}
    return tuple(known.get(name.partition(":")[0], name.partition(":")[0]) for name in columns)


def permutation_importance(
    fitted: FittedHead,
    values: np.ndarray,
    label: np.ndarray,
    generator: Sequence[str] | np.ndarray,
    families: Sequence[str] | None = None,
    *,
    repeats: int = 5,
    seed: int = 0,
) -> tuple[Importance, ...]:
    """Drop in macro AUROC on held-out rows when all columns of a family are permuted together.

    (N, D) float32, (N,) int, (N,) str, D names of families (those of the columns' features by default) -> one row for
    each family, in the order of columns:

        drop = A(x) - A(x with the family's columns of row pi(i) in row i),   A = mean over generators of AUROC

    pi is one permutation of all N rows, of both classes and every generator together, the same for all columns of the
    family and drawn from seed, family and repeat.  So what ties columns within a family stays, and what ties them to
    other families is broken; of two families that say the same, both look less important than they are.  Rows that are
    not finite are left out.
    Source: Breiman 2001, 10.1023/A:1010933404324, section 10; by groups Gregorutti, Michel and Saint-Pierre 2015,
    10.1016/j.csda.2015.04.002.
    Raises DataError where a class is empty, ParameterError for another number of families than columns.
    """
    families = _checked(fitted, families)
    ok = np.isfinite(values).all(axis=1)
    values, label, makers = values[ok], label[ok], np.asarray(generator, dtype=object)[ok]
    baseline, counts = _macro(label, fitted.score(values), makers), Counter(families)
    return tuple(
        Importance(family, counts[family], baseline, tuple(baseline - _macro(label, one, makers) for one in scores))
        for family, scores in permuted_scores(fitted.score, values, families, repeats=repeats, seed=seed).items()
    )


def permuted_scores(
    score: Callable[[np.ndarray], np.ndarray], values: np.ndarray, families: Sequence[str], *, repeats: int = 5,
    seed: int = 0, content: str = "",
) -> dict[str, np.ndarray]:  # fmt: skip
    """Scores of rows that have a family's columns from other rows: (N, D), D names -> family -> (repeats, N) float64.

    `permutation_importance` has the rule; `content` tells draws of one family apart.  Rows that are not finite have no
    part in it, and NaN.  Raises ParameterError for less than one repeat.
    """
    if repeats < 1:
        raise ParameterError(f"repeats is {repeats}; give 1 or more")
    ok = np.isfinite(values).all(axis=1)
    finite, found = values[ok], {}
    for family, mine in _by_family(families):
        found[family] = np.full((repeats, len(values)), np.nan)
        for repeat in range(repeats if len(finite) else 0):
            changed = finite.copy()
            order = rng_for(seed, f"{content}{family}/{repeat}", "importance").permutation(len(finite))
            changed[:, mine] = finite[np.ix_(order, mine)]
            found[family][repeat, ok] = score(changed)
    return found


def coefficients_by_family(
    fitted: FittedHead, families: Sequence[str] | None = None, *, n_top: int = 5
) -> tuple[FamilyWeights, ...]:
    """Weights of a linear head by family: those on standardised columns, so that units do not matter.

    One row for each family, in the order of columns.  Columns that say the same share a weight between them, so a small
    one is no proof of uselessness.
    Raises ParameterError for a head that is not linear.
    """
    families = _checked(fitted, families)
    last = fitted.pipeline[-1] if hasattr(fitted.pipeline, "steps") else None
    weights = np.ravel(getattr(last, "coef_", np.zeros(0)))  # of a kernel there are as many as support vectors
    if len(weights) != len(fitted.columns) or hasattr(last, "support_vectors_"):
        raise ParameterError(f"head {fitted.name} is not linear and has no weights of columns; give one of logreg, "
                             "elastic, lda and svm_linear, or use permutation importance")  # fmt: skip
    rows = []
    for family, mine in _by_family(families):
        order = sorted(mine.tolist(), key=lambda k: -abs(weights[k]))[:n_top]
        top = tuple((fitted.columns[k], float(weights[k])) for k in order)
        rows.append(FamilyWeights(family, len(mine), float(np.abs(weights[mine]).sum()), top))
    return tuple(rows)


def _checked(fitted: FittedHead, families: Sequence[str] | None) -> Sequence[str]:
    families = families_of(fitted.columns) if families is None else families
    if len(families) != len(fitted.columns):
        raise ParameterError(f"{len(families)} families for {len(fitted.columns)} columns; give one for every column")
    return families


def _by_family(families: Sequence[str]) -> list[tuple[str, np.ndarray]]:
    names = np.asarray(families, dtype=object)
    return [(name, np.flatnonzero(names == name)) for name in dict.fromkeys(families)]


def _macro(label: np.ndarray, scores: np.ndarray, generator: np.ndarray) -> float:
    each = auroc_by_generator(label, scores, generator)
    if not each:
        raise DataError("importance needs real and fake images with finite values among the held-out rows")
    return float(np.mean(list(each.values())))
