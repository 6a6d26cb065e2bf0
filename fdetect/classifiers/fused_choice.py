"""Settings of the fused detector's branches, chosen within the training rows; every one that was tried is kept.

    chosen = choose(rows, "handmade", candidates_of(FORMS), settings)      # -> Chosen(settings, tried)

A candidate is judged as settings of heads are (search.py): in each inner fold the branch is fitted on the other groups
and generators; the macro mean is over generators, of the mean of their folds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from fdetect.classifiers.fused import BranchSettings, FusedRows, FusedSettings
from fdetect.classifiers.fused_fit import expert_head, fit_expert
from fdetect.classifiers.search import InnerFold, auroc_by_generator, inner_folds
from fdetect.config import FusedConfig
from fdetect.errors import DataError, ParameterError

__all__ = ["FORMS", "Chosen", "candidates_of", "choose", "choose_all"]

FORMS = FusedConfig.forms  # unless others are asked for

_OF_FORM = {
    "linear": (BranchSettings(),),
    "hidden": (BranchSettings(hidden=64), BranchSettings(hidden=64, decay=0.03)),
}


@dataclass(frozen=True)
class Chosen:
    """Settings with the best candidate of each branch, and what each candidate came to: (branch, candidate, AUROC)."""

    settings: FusedSettings
    tried: tuple[tuple[str, BranchSettings, float], ...]


def candidates_of(forms: Sequence[str]) -> tuple[BranchSettings, ...]:
    """Return the candidates of some forms: linear, hidden (a layer of 64 units), or the name of a head of log-odds.

    Raises ParameterError for a head of another scale or where none is named, UnknownName for another name.
    """
    if not forms:
        raise ParameterError("fused: name a form of the branches, such as linear, hidden or hist_gb")
    return tuple(one for form in dict.fromkeys(forms)
                 for one in _OF_FORM.get(form) or (BranchSettings(head=expert_head(form).name),))  # fmt: skip


def choose(
    rows: FusedRows, name: str, candidates: Sequence[BranchSettings], settings: FusedSettings, *, seed: int = 0
) -> Chosen:
    """Return the settings with the best candidate for one branch; of equal ones the first.

    A branch with an anchor keeps its settings; where there is one candidate, nothing is tried.  Rows on which the
    branch is absent or not honest (`FusedRows.usable`) take no part.  Raises DataError where no inner fold holds both
    classes on both sides.
    """
    if settings.of(name).anchor:
        return Chosen(settings, ())
    if len(candidates) == 1:
        return Chosen(replace(settings, branches={**settings.branches, name: candidates[0]}), ())
    mine = rows.take(rows.usable(name))
    alone = FusedRows({name: mine.vectors[name]}, {name: mine.columns[name]}, mine.label, mine.group, mine.stratum)
    folds = inner_folds(alone.label, alone.group.astype(object), alone.stratum.astype(object), seed=seed)
    if not folds:
        raise DataError(f"branch {name}: no inner fold of its {len(alone)} training images holds both classes on both "
                        "sides; add images or groups, or give one candidate alone")  # fmt: skip
    tried = tuple((name, one, _macro(alone, name, one, settings, folds, seed)) for one in candidates)
    best = max(range(len(tried)), key=lambda k: (tried[k][2], -k))
    branches: Mapping[str, BranchSettings] = {**settings.branches, name: tried[best][1]}
    return Chosen(replace(settings, branches=branches), tried)


def choose_all(
    rows: FusedRows, settings: FusedSettings, candidates: Sequence[BranchSettings], *, seed: int = 0
) -> Chosen:
    """Return the settings with the best candidate for every branch."""
    tried: tuple[tuple[str, BranchSettings, float], ...] = ()
    for name in sorted(rows.vectors):
        chosen = choose(rows, name, candidates, settings, seed=seed)
        settings, tried = chosen.settings, tried + chosen.tried
    return Chosen(settings, tried)


def _macro(
    rows: FusedRows, name: str, candidate: BranchSettings, settings: FusedSettings, folds: Sequence[InnerFold],
    seed: int,
) -> float:  # fmt: skip
    """Return the macro AUROC of a branch with these settings; scores of different fits are never pooled."""
    with_it, cells = replace(settings, branches={name: candidate}), dict[str, list[float]]()
    for fold in folds:
        said, _, _ = fit_expert(rows.take(fold.fit), name, with_it, seed=seed).seen(rows.vectors[name][fold.test])
        for generator, value in auroc_by_generator(rows.label[fold.test], said, rows.stratum[fold.test]).items():
            cells.setdefault(generator, []).append(value)
    return math.fsum(float(np.mean(of_one)) for of_one in cells.values()) / len(cells)
