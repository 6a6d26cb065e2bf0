"""Fitting the fused detector: branches, then gates on what branches say of rows that they were not fitted on.

    fitted = fit_fused(rows, FusedSettings(branches={"trunk": BranchSettings(decay=0.3, anchor="logit")}), seed=0)

The rows are cut into inner folds, each branch is fitted on the others and scores its own, and only then refitted on
all.  A branch whose vectors come from a network that was trained on some of the rows takes part in fitting with the
other rows alone (`FusedRows.fresh`): of the rows it was trained on, a network is surer than it is of anything else.
Torch is needed (the extra `deep`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from fdetect.classifiers.fused import FittedFused, FusedRows, FusedSettings, in_float32, in_float64, seen
from fdetect.errors import DataError, ParameterError, WeightsError
from fdetect.nets.fusion import BranchNet, GateNet, fit_branch, fit_gates, start_branch, start_gates
from fdetect.nets.weights import INSTALL_DEEP, torch_missing
from fdetect.registry import nearest
from fdetect.splits import group_folds

__all__ = ["OutOfFold", "assembled", "balanced", "check_rows", "fit_fused", "fit_gate", "fit_net", "gate_folds",
           "out_of_fold"]  # fmt: skip


def fit_fused(rows: FusedRows, settings: FusedSettings | None = None, *, seed: int = 0) -> FittedFused:
    """Fit branches and gates; the seed decides the inner folds and all that is drawn.

    Raises DataError where a class is empty, or where a branch lacks one among the rows it may be fitted on.
    """
    settings = settings or FusedSettings()
    check_rows(rows, settings)
    names = sorted(rows.vectors)
    nets = {name: fit_net(rows, name, settings, seed=seed) for name in names}

    def fit(training: np.ndarray, name: str) -> BranchNet:
        return fit_net(rows.take(training), name, settings, seed=seed)

    found = out_of_fold(rows, settings, fit, seed=seed)
    gate = fit_gate(start_gates(len(names)), found, rows, settings, seed=seed)
    return assembled(rows, settings, nets, gate, seed)


def fit_net(
    rows: FusedRows, name: str, settings: FusedSettings, *, seed: int, start: BranchNet | None = None
) -> BranchNet:
    """Fit one branch on the rows that it may use, from nothing or from a fitted one whose last layer moves alone."""
    own, usable = settings.of(name), rows.usable(name)
    if missing := [what for what, k in (("real", 0), ("fake", 1)) if not (rows.label[usable] == k).any()]:
        held = " that its network was not trained on" if name in rows.fresh else ""
        raise DataError(f"branch {name} cannot be fitted: no {missing[0]} image among its {int(usable.sum())} "
                        f"rows{held}; give some, or leave the branch out")  # fmt: skip
    values = rows.vectors[name][usable].astype(np.float64)
    label, weight = rows.label[usable], balanced(rows.label[usable], rows.stratum[usable], settings.balance)
    anchor = rows.columns[name].index(own.anchor) if own.anchor else None
    begin = in_float64(start) if start else start_branch(values, hidden=own.hidden, anchor=anchor, seed=seed)
    return fit_branch(begin, values, label, weight, decay=own.decay, clip=own.clip, last=start is not None)


@dataclass(frozen=True, eq=False)
class OutOfFold:
    """What branches say of rows that they were not fitted on: logits and novelties (N, B), and where they do."""

    logit: np.ndarray
    novelty: np.ndarray
    present: np.ndarray  # (N, B) bool

    def take(self, rows: np.ndarray) -> OutOfFold:
        """Return some rows."""
        return OutOfFold(self.logit[rows], self.novelty[rows], self.present[rows])


def out_of_fold(
    rows: FusedRows, settings: FusedSettings, fit: Callable[[np.ndarray, str], BranchNet], *, seed: int
) -> OutOfFold:
    """Score every row by branches that `fit(mask of rows, branch)` made from the other inner folds.

    A branch says nothing of a row where it is absent, where its network knew the row, or where the other folds lack a
    class.
    """
    names = sorted(rows.vectors)
    shape = len(rows), len(names)
    found = OutOfFold(np.zeros(shape), np.zeros(shape), np.zeros(shape, np.bool_))
    for test, training in gate_folds(rows, settings, seed):
        for k, name in enumerate(names):
            here = test & rows.usable(name)
            if len(set(rows.label[training & rows.usable(name)])) < 2 or not here.any():
                continue
            net = fit(training, name)
            said = seen(net, rows.vectors[name][here], settings.of(name).clip)
            found.logit[here, k], found.novelty[here, k], found.present[here, k] = said
    return found


def gate_folds(rows: FusedRows, settings: FusedSettings, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Pairs of masks (tested, fitted on): no group is in both."""
    strata = np.char.add(rows.label.astype(str), np.char.add(" ", rows.stratum.astype(str)))
    groups = rows.group.astype(str)
    folds = min(settings.folds, len(set(groups)))
    if folds < 2:
        raise DataError("the fused detector needs images of at least two groups to fit its gates")
    fold = group_folds(list(groups), list(strata), n_folds=folds, seed=seed)
    return [(fold == k, fold != k) for k in range(folds)]


def fit_gate(
    start: GateNet, found: OutOfFold, rows: FusedRows, settings: FusedSettings, *, seed: int
) -> GateNet:
    """Fit the gates on what branches say out of fold; raises DataError where that leaves a class empty."""
    said = found.present.any(axis=1)
    if len(set(rows.label[said])) < 2:
        raise DataError("the fused detector has too few images to fit its gates: in every inner fold a class is empty; "
                        "add images or groups")  # fmt: skip
    weight = balanced(rows.label[said], rows.stratum[said], settings.balance)
    return fit_gates(
        start, found.logit[said], found.novelty[said], found.present[said].astype(np.float64), rows.label[said], weight,
        drop=settings.drop, branch_share=settings.branch_share, decay=settings.gate_decay,
        input_decay=settings.input_decay, seed=seed,
    )  # fmt: skip


def assembled(
    rows: FusedRows, settings: FusedSettings, nets: Mapping[str, BranchNet], gate: GateNet, seed: int
) -> FittedFused:
    """Put fitted parts together, rounded to float32 as they are kept."""
    kinds, counts = np.unique(rows.stratum.astype(str), return_counts=True)
    return FittedFused(
        {name: tuple(rows.columns[name]) for name in sorted(rows.columns)}, {k: in_float32(v) for k, v in nets.items()},
        in_float32(gate), settings, dict(zip(kinds.tolist(), counts.tolist(), strict=True)), seed,
    )  # fmt: skip


def balanced(label: np.ndarray, stratum: np.ndarray, power: float = 1.0) -> np.ndarray:
    """(N,) 0 or 1, (N,) texts -> (N,) float64 that sum to 1, half for each class.

    A stratum of n rows has a share of its class in proportion to n^(1 - power).
    """
    weight = np.zeros(len(label))
    for k in (0, 1):
        here = label == k
        _, which, counts = np.unique(stratum[here].astype(str), return_inverse=True, return_counts=True)
        weight[here] = counts[which].astype(np.float64) ** -power
        weight[here] /= 2.0 * max(weight[here].sum(), 1e-300)
    return weight


def check_rows(rows: FusedRows, settings: FusedSettings) -> None:
    """Raise ParameterError for a branch or column that the rows lack, DataError for an empty class.

    WeightsError where torch, which fits, is missing.
    """
    if missing := torch_missing():
        raise WeightsError(f"fitting a fused detector needs torch: {missing}", INSTALL_DEEP)
    for name, own in settings.branches.items():
        if name not in rows.vectors:
            hint = nearest(name, rows.vectors)
            raise ParameterError(f"fused: settings for a branch '{name}' that the rows lack{hint}")
        if own.anchor and own.anchor not in rows.columns[name]:
            raise ParameterError(f"fused: branch {name} has no column '{own.anchor}' to anchor it"
                                 f"{nearest(own.anchor, rows.columns[name])}")  # fmt: skip
    if empty := [what for what, k in (("real", 0), ("fake", 1)) if not (rows.label == k).any()]:
        raise DataError(f"the fused detector cannot be fitted: no {empty[0]} image among its {len(rows)} rows")
