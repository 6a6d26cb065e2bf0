"""Settings of the fused detector's branches, chosen within the training rows; every one that was tried is kept.

    chosen = choose(rows, "handmade", CANDIDATES, settings)      # -> Chosen(settings, tried)

A candidate is judged by the macro AUROC, over the generators of the rows, of what the branch says of rows that it was
not fitted on: whole generators are left out where there is more than one, since unseen ones are what matters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from fdetect.classifiers.fused import BranchSettings, FusedRows, FusedSettings
from fdetect.classifiers.fused_fit import fit_net, out_of_fold
from fdetect.classifiers.search import auroc_by_generator
from fdetect.nets.fusion import BranchNet

__all__ = ["CANDIDATES", "Chosen", "choose", "choose_all"]

CANDIDATES = (BranchSettings(), BranchSettings(hidden=64), BranchSettings(hidden=64, decay=0.03))


@dataclass(frozen=True)
class Chosen:
    """Settings with the best candidate of each branch, and what each candidate came to: (branch, candidate, AUROC)."""

    settings: FusedSettings
    tried: tuple[tuple[str, BranchSettings, float], ...]


def choose(
    rows: FusedRows, name: str, candidates: Sequence[BranchSettings], settings: FusedSettings, *, seed: int = 0
) -> Chosen:
    """Return the settings with the best candidate for one branch; of equal ones the first.

    A branch with an anchor keeps its settings.  Raises DataError as `fit_fused` does.
    """
    if settings.of(name).anchor:
        return Chosen(settings, ())
    alone = FusedRows({name: rows.vectors[name]}, {name: rows.columns[name]}, rows.label, rows.group, rows.stratum)
    tried = []
    for candidate in candidates:
        with_it = replace(settings, branches={name: candidate}, inner="generator")

        def fit(training: np.ndarray, name: str, how: FusedSettings = with_it) -> BranchNet:
            return fit_net(alone.take(training), name, how, seed=seed)

        found = out_of_fold(alone, with_it, fit, seed=seed)
        said = found.present[:, 0]
        by_generator = auroc_by_generator(rows.label[said], found.logit[said, 0], rows.stratum[said])
        tried.append((name, candidate, float(np.mean(list(by_generator.values())))))
    best = max(range(len(tried)), key=lambda k: (tried[k][2], -k))
    branches: Mapping[str, BranchSettings] = {**settings.branches, name: tried[best][1]}
    return Chosen(replace(settings, branches=branches), tuple(tried))


def choose_all(
    rows: FusedRows, settings: FusedSettings, candidates: Sequence[BranchSettings] = CANDIDATES, *, seed: int = 0
) -> Chosen:
    """Return the settings with the best candidate for every branch."""
    tried: tuple[tuple[str, BranchSettings, float], ...] = ()
    for name in sorted(rows.vectors):
        chosen = choose(rows, name, candidates, settings, seed=seed)
        settings, tried = chosen.settings, tried + chosen.tried
    return Chosen(settings, tried)
