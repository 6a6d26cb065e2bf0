"""A fused detector that learns new generators, of which there may be few images, and what that does to the old ones.

    head    the branches' last layers and the gates move, drawn to where they are, on new fakes and all reals; a branch
            whose logit is that of a head has no such layer, and stays
    mix     everything is fitted anew on old and new rows together

In `head` the pull is decay x (groups of old fakes / groups of new fakes): what was learnt weighs as much as the images
it was learnt from, so that a handful of images moves little.  Gates are again fitted on rows that no branch was fitted
on, which is why the old rows are needed: in every inner fold the old branches are fitted without it.

What adapting does is measured by the same procedure on folds of the groups: in each, the detector "before" is fitted on
the old rows of the other folds, adapted on their new rows, and both score the fold.  So no figure is of an image that
either had seen, whatever the detector that was given had been fitted on, nor of one that a branch's network knows.
Source: the pull towards earlier weights as in Li, Grandvalet and Davoine 2018, "Explicit inductive bias for transfer
learning with convolutional networks" (L2-SP), equation 2.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from fdetect.classifiers.expert import Expert
from fdetect.classifiers.fused import BranchSettings, FittedFused, FusedRows, FusedSettings
from fdetect.classifiers.fused_fit import assembled, check_rows, fit_expert, fit_fused, fit_gate, out_of_fold
from fdetect.errors import DataError, ParameterError
from fdetect.metrics import auroc, masses
from fdetect.splits import group_folds
from fdetect.types import FAKE, REAL

__all__ = ["MODES", "Adapted", "Change", "adapt"]

MODES = ("head", "mix")


@dataclass(frozen=True)
class Change:
    """AUROC of one generator before and after adapting, on held-out groups; NaN where none could be measured.

    Images that the network of a branch was trained on are not counted.
    """

    generator: str
    new: bool
    before: float
    after: float
    n_real: int
    n_fake: int


@dataclass(frozen=True, eq=False)
class Adapted:
    """The adapted detector and a row of every generator, old ones first."""

    fitted: FittedFused
    mode: str
    changes: tuple[Change, ...]

    def macro(self, *, new: bool) -> tuple[float, float]:
        """Return the means over new (or old) generators before and after, of those that were measured."""
        rows = [one for one in self.changes if one.new is new and not math.isnan(one.before + one.after)]
        if not rows:
            return math.nan, math.nan
        return sum(one.before for one in rows) / len(rows), sum(one.after for one in rows) / len(rows)


def adapt(
    fitted: FittedFused, new: FusedRows, old: FusedRows, *, mode: str = "head", folds: int = 3, seed: int = 0
) -> Adapted:
    """Adapt a fused detector to the generators of `new`, and measure new and old ones before and after.

    new    fakes of generators that `old` has none of, reals or none
    old    the rows that the detector was fitted on, or others like them: reals and fakes
    folds  in which that is measured, 2 or more; 0: it is not, and there are no changes

    Raises ParameterError for another mode and where generators are in both, DataError where `new` has no fakes of at
    least two groups or the rows' columns are not the detector's.
    """
    _check(fitted, new, old, mode)
    adapted = _adapted(fitted, new, old, mode, seed)
    folds = min(folds, _fake_groups(new))
    return Adapted(adapted, mode, _measured(fitted.settings, new, old, mode, folds, seed) if folds else ())


def _adapted(fitted: FittedFused, new: FusedRows, old: FusedRows, mode: str, seed: int) -> FittedFused:
    rows = old.joined(new)
    if mode == "mix":
        return fit_fused(rows, fitted.settings, seed=seed)
    is_old = np.arange(len(rows)) < len(old)
    new_fakes = ~is_old & (rows.label == FAKE)
    moving = ~is_old | (rows.label == REAL)
    base = fitted.settings
    held = _held(base, fitted, _fake_groups(old) / _fake_groups(new))

    def fit(training: np.ndarray, name: str) -> Expert:
        start = fit_expert(rows.take(training & is_old), name, base, seed=seed)
        if not (training & new_fakes & rows.usable(name)).any():
            return start  # all new fakes are in the fold that is left out
        return fit_expert(rows.take(training & moving), name, held, seed=seed, start=start)

    part = rows.take(moving)
    experts = {
        name: fit_expert(part, name, held, seed=seed, start=fitted.experts[name]) for name in fitted.branches
    }
    folded = replace(rows, stratum=np.where(new_fakes, "new", rows.stratum).astype(object))  # as in `_measured`
    said = out_of_fold(folded, held, fit, seed=seed).take(moving)
    gate = fit_gate(fitted.gate, said, part, held, seed=seed)
    return assembled(rows, base, experts, gate, seed)


def _held(settings: FusedSettings, fitted: FittedFused, times: float) -> FusedSettings:
    """Return settings that draw parameters to where they are `times` as strongly; folds are by group."""
    times = max(times, 1.0)
    own: dict[str, BranchSettings] = {name: settings.of(name) for name in fitted.branches}
    return replace(
        settings, gate_decay=settings.gate_decay * times, input_decay=settings.input_decay * times,
        branches={name: replace(one, decay=one.decay * times) for name, one in own.items()},
    )  # fmt: skip


def _measured(
    settings: FusedSettings, new: FusedRows, old: FusedRows, mode: str, folds: int, seed: int
) -> tuple[Change, ...]:
    """Count concordant pairs before and after, fold by fold, each within its own, of rows that no network knows."""
    rows = old.joined(new)
    fakes = rows.label == FAKE
    fresh = np.logical_and.reduce([np.ones(len(rows), np.bool_), *rows.fresh.values()])
    kinds = [(name, False) for name in sorted(set(old.stratum[old.label == FAKE].tolist()))]
    kinds += [(name, True) for name in sorted(set(new.stratum[new.label == FAKE].tolist()))]
    strata = [f"{label} {name}" for label, name in zip(rows.label, rows.stratum, strict=True)]
    # of new generators there may be one group each, which only taken together are spread over the folds
    strata = ["1 new" if k >= len(old) and fakes[k] else one for k, one in enumerate(strata)]
    fold = group_folds([str(one) for one in rows.group], strata, n_folds=folds, seed=seed)
    counted = {name: np.zeros(3) for name, _ in kinds}  # pairs, and concordant ones before and after
    for k in range(folds):
        here = fold == k
        if not (fakes & ~here)[len(old) :].any():
            continue  # nothing to adapt to
        before = fit_fused(old.take(~here[: len(old)]), settings, seed=seed)
        after = _adapted(before, new.take(~here[len(old) :]), old.take(~here[: len(old)]), mode, seed)
        scores = np.full((2, len(rows)), np.nan)
        test = rows.take(here)
        scores[:, here] = [one.score(test.vectors) for one in (before, after)]
        for name, _ in kinds:
            counted[name] += _pairs(rows.label, scores, here & fresh & (~fakes | (rows.stratum == name)))
    n_real = int((fresh & ~fakes).sum())
    return tuple(
        Change(name, is_new, *_shares(counted[name]), n_real, int((fresh & fakes & (rows.stratum == name)).sum()))
        for name, is_new in kinds
    )


def _pairs(label: np.ndarray, scores: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """(3,) pairs of a fake and a real among some rows, and how many of them each of two scores orders rightly."""
    rows = rows & np.isfinite(scores).all(axis=0)
    weight = np.ones((1, int(rows.sum())))
    pairs = float(masses(label[rows], weight)["pairs"][0])
    if pairs == 0:
        return np.zeros(3)
    return np.array([pairs, *(pairs * float(auroc(label[rows], one[rows], weight)[0]) for one in scores)])


def _shares(counted: np.ndarray) -> tuple[float, float]:
    pairs, before, after = counted.tolist()
    return (before / pairs, after / pairs) if pairs else (math.nan, math.nan)


def _fake_groups(rows: FusedRows) -> int:
    return len(set(rows.group[rows.label == FAKE].tolist()))


def _check(fitted: FittedFused, new: FusedRows, old: FusedRows, mode: str) -> None:
    if mode not in MODES:
        raise ParameterError(f"adapting is by {' or '.join(MODES)}, not '{mode}'")
    if dict(old.columns) != dict(fitted.columns):
        raise DataError("the old rows have other branches or columns than the detector; give those it was fitted on")
    check_rows(old, fitted.settings)
    both = set(new.stratum[new.label == FAKE].tolist()) & set(old.stratum[old.label == FAKE].tolist())
    if both:
        raise ParameterError(f"generator '{sorted(both)[0]}' is among the old rows and the new ones; leave it in one")
    if _fake_groups(new) < 2:
        raise DataError(f"adapting needs fakes of at least 2 groups among the new rows, to keep some apart; there are "
                        f"{_fake_groups(new)}")  # fmt: skip
