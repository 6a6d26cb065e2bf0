"""Settings of a head, chosen by cross-validation within the training rows; every setting tried is kept.

With three generators or more an inner fold leaves generators out, as the test will: whoever chooses by folds that hold
known generators chooses what remembers them best.

    fold f tests   the reals of group fold f, and in it the fakes of the generators whose turn is f
    fold f fits    all rows of other group folds but those generators' fakes

With fewer, a fold tests all of its rows and fits the others.  A group is never on both sides.  What counts is

    AUROC of a setting = mean over generators of the mean over folds of AUROC(its fakes against the fold's reals)
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fdetect.classifiers.heads import fit_head
from fdetect.errors import DataError, ParameterError
from fdetect.metrics import auroc
from fdetect.registry import Entry
from fdetect.splits import group_folds
from fdetect.types import FAKE, REAL

__all__ = ["GRIDS", "InnerFold", "OfGenerator", "Searched", "Tried", "auroc_by_generator", "inner_folds", "search"]

Grid = Sequence[Mapping[str, Any]]

MOST_FOLDS = 5
FEWEST_GENERATORS = 3  # from which on they are left out

# What `search` tries unless told otherwise, from simple to complex, as of equals the first is taken.
GRIDS: dict[str, tuple[dict[str, Any], ...]] = {
    "logreg": tuple({"c": c} for c in (0.001, 0.01, 0.1, 1.0)),
    "elastic": tuple({"c": c, "l1_ratio": ratio} for c in (0.01, 0.1) for ratio in (0.9, 0.5, 0.1)),
    "lda": tuple({"shrinkage": amount} for amount in ("0.9", "0.5", "0.1", "auto")),
    "svm_linear": tuple({"c": c} for c in (0.0001, 0.001, 0.01, 0.1)),
    "svm_rbf": tuple({"c": c} for c in (0.1, 0.3, 1.0, 3.0, 10.0)),
    "hist_gb": (
        {"max_leaf_nodes": 4, "max_iter": 50},
        {"max_leaf_nodes": 4, "max_iter": 100},
        {"max_leaf_nodes": 15, "max_iter": 100},
        {"max_leaf_nodes": 31, "max_iter": 200},
    ),
    "random_forest": tuple({"min_samples_leaf": n} for n in (20, 5, 2)),
    "knn": tuple({"n_neighbors": k} for k in (45, 15, 5)),
    "one_class": ({},),
    "one_class_svm": tuple({"nu": nu} for nu in (0.5, 0.1, 0.02)),
    "stacking": tuple({"c": c} for c in (0.01, 1.0)),
}


@dataclass(frozen=True)
class InnerFold:
    """One inner fold: numbers of the rows that are fitted and tested, and which generators are left out of the fit."""

    name: str
    fit: np.ndarray
    test: np.ndarray
    left_out: tuple[str, ...]


@dataclass(frozen=True)
class OfGenerator:
    """What a setting reached on one generator in one inner fold."""

    fold: str
    generator: str
    auroc: float


@dataclass(frozen=True)
class Tried:
    """A setting with all that it reached; `auroc` is the macro mean over generators, NaN where nothing was reached."""

    settings: dict[str, Any]
    cells: tuple[OfGenerator, ...]

    @property
    def auroc(self) -> float:
        """The mean over generators of the means over their folds."""
        each: dict[str, list[float]] = {}
        for cell in self.cells:
            each.setdefault(cell.generator, []).append(cell.auroc)
        means = [math.fsum(values) / len(values) for values in each.values()]
        return math.fsum(means) / len(means) if means else math.nan

    @property
    def worst(self) -> OfGenerator | None:
        """The lowest of the cells."""
        return min(self.cells, key=lambda cell: cell.auroc, default=None)


@dataclass(frozen=True)
class Searched:
    """The head with the settings that were chosen, and everything that was tried, in the order of the grid."""

    entry: Entry
    chosen: Tried
    tried: tuple[Tried, ...]

    def rows(self) -> list[dict[str, Any]]:
        """One row for each setting, fold and generator: head, settings, fold, generator, AUROC, macro, chosen."""
        return [
            {"head": self.entry.name, "settings": dict(one.settings), "fold": cell.fold, "generator": cell.generator,
             "auroc": cell.auroc, "macro": one.auroc, "chosen": one is self.chosen}
            for one in self.tried for cell in one.cells
        ]  # fmt: skip


def search(
    entry: Entry,
    grid: Grid | None,
    values: np.ndarray,
    label: np.ndarray,
    groups: Sequence[str] | np.ndarray,
    generator: Sequence[str] | np.ndarray,
    seed: int = 0,
    *,
    source: Sequence[str] | np.ndarray | None = None,
    weights: str = "none",
    folds: int = MOST_FOLDS,
) -> Searched:
    """Try every setting of a grid on the inner folds of the training rows and choose the best, of equals the first.

    grid    settings to try, None for those of GRIDS;  values (N, D) float32, label (N,), the others (N,) str
    source  of each real, and `weights`: as for `fit_head`
    folds   inner folds at most

    Rows that are not finite are left out.  Fakes take part in the choice of a head that is fitted on reals alone.
    Raises ParameterError for an empty grid, a setting that does not exist and a head without a grid, DataError where no
    inner fold has both classes on both sides.
    """
    entries = [entry.configured(**settings) for settings in _grid_of(entry, grid)]
    ok = np.isfinite(values).all(axis=1)
    part = {name: np.asarray(texts, object)[ok] for name, texts in
            (("groups", groups), ("generator", generator), ("source", source)) if texts is not None}  # fmt: skip
    values, label = values[ok], label[ok]
    inner = inner_folds(label, part["groups"], part["generator"], seed=seed, most=folds)
    if not inner:
        raise DataError(f"head {entry.name}: no inner fold has real and fake images on both sides; give more groups, "
                        "or leave out the search")  # fmt: skip
    columns = tuple(str(k) for k in range(values.shape[1]))
    tried = []
    for one in entries:
        cells: list[OfGenerator] = []
        for fold in inner:
            mine: dict[str, Any] = {name: texts[fold.fit] for name, texts in part.items()}
            fitted = fit_head(one, columns, values[fold.fit], label[fold.fit], **mine, weights=weights)
            scores, makers = fitted.score(values[fold.test]), part["generator"][fold.test]
            reached = auroc_by_generator(label[fold.test], scores, makers)
            cells += [OfGenerator(fold.name, name, value) for name, value in reached.items()]
        tried.append(Tried(dict(one.settings), tuple(cells)))
    best = max(range(len(tried)), key=lambda k: (tried[k].auroc, -k))
    return Searched(entries[best], tried[best], tuple(tried))


def inner_folds(
    label: np.ndarray, groups: np.ndarray, generator: np.ndarray, *, seed: int = 0, most: int = MOST_FOLDS
) -> list[InnerFold]:
    """Cut the training rows as the head of this file says: (N,) int, (N,) str, (N,) str -> folds with both classes.

    Generators take turns in the order of their names; there are as many folds as generators, 3 at least and `most`
    at most, and no more than groups.
    """
    makers = sorted(set(generator[label == FAKE]))
    n_folds = min(max(len(makers), FEWEST_GENERATORS), most, len(set(groups.tolist())))
    if n_folds < 2:
        return []
    strata = np.where(label == FAKE, "fake " + generator, "real")
    fold = group_folds(groups, strata, n_folds=n_folds, seed=seed)
    found = []
    for k in range(n_folds):
        out = tuple(makers[k::n_folds]) if len(makers) >= FEWEST_GENERATORS else ()
        theirs = (label == FAKE) & np.isin(generator.astype(str), out)
        test = np.flatnonzero((fold == k) & ((label == REAL) | theirs | (not out)))
        fit = np.flatnonzero((fold != k) & ~theirs)
        if len(set(label[test])) == len(set(label[fit])) == 2:
            found.append(InnerFold(f"without {', '.join(out)}" if out else f"fold {k}", fit, test, out))
    return found


def auroc_by_generator(label: np.ndarray, scores: np.ndarray, generator: np.ndarray) -> dict[str, float]:
    """AUROC of each generator's fakes against all reals: (N,) int, (N,) float64, (N,) str -> by name, sorted.

    Rows without a score are left out, and so are generators without a row that has one.
    """
    ok = np.isfinite(scores)
    reals = ok & (label == REAL)
    found = {}
    for name in sorted(set(generator[ok & (label == FAKE)])) if reals.any() else ():
        rows = reals | (ok & (label == FAKE) & (generator == name))
        found[str(name)] = float(auroc(label[rows], scores[rows], np.ones((1, int(rows.sum()))))[0])
    return found


def _grid_of(entry: Entry, grid: Grid | None) -> Grid:
    name = entry.name.partition(":")[0]
    if grid is None and name not in GRIDS:
        raise ParameterError(f"head {name} has no grid of its own; give one, such as [{{'c': 0.1}}, {{'c': 1.0}}]")
    chosen = GRIDS[name] if grid is None else grid
    if not chosen:
        raise ParameterError(f"head {name}: the grid is empty; give settings to try, or None for those it has")
    return chosen
