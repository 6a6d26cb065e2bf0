"""Fitting the fused detector: branches, then gates on what branches say of rows that they were not fitted on.

    fitted = fit_fused(rows, FusedSettings(branches={"trunk": BranchSettings(decay=0.3, anchor="logit")}), seed=0)

The rows are cut into inner folds, each branch is fitted on the others and scores its own, and only then refitted on
all.  A branch whose vectors come from a network that was trained on some of the rows takes part in fitting with the
other rows alone (`FusedRows.fresh`): of the rows it was trained on, a network is surer than it is of anything else.
Torch is needed (the extra `deep`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from fdetect.classifiers.expert import Expert, in_float32, in_float64
from fdetect.classifiers.fused import FittedFused, FusedRows, FusedSettings
from fdetect.classifiers.heads import LOG_ODDS, FittedHead, Rows, fit_rows, head, scale_of, takes_weights
from fdetect.errors import DataError, ParameterError, WeightsError
from fdetect.nets.fusion import GateNet, fit_branch, fit_gates, start_branch, start_gates
from fdetect.nets.weights import INSTALL_DEEP, torch_missing
from fdetect.registry import Entry, nearest
from fdetect.splits import group_folds

__all__ = ["OutOfFold", "assembled", "balanced", "check_rows", "expert_head", "fit_expert", "fit_fused", "fit_gate",
           "gate_folds", "out_of_fold"]  # fmt: skip


def fit_fused(rows: FusedRows, settings: FusedSettings | None = None, *, seed: int = 0) -> FittedFused:
    """Fit branches and gates; the seed decides the inner folds and all that is drawn.

    Raises DataError where a class is empty, or where a branch lacks one among the rows it may be fitted on.
    """
    settings = settings or FusedSettings()
    check_rows(rows, settings)
    names = sorted(rows.vectors)
    experts = {name: fit_expert(rows, name, settings, seed=seed) for name in names}

    def fit(training: np.ndarray, name: str) -> Expert:
        return fit_expert(rows.take(training), name, settings, seed=seed)

    found = out_of_fold(rows, settings, fit, seed=seed)
    gate = fit_gate(start_gates(len(names)), found, rows, settings, seed=seed)
    return assembled(rows, settings, experts, gate, seed)


def fit_expert(
    rows: FusedRows, name: str, settings: FusedSettings, *, seed: int, start: Expert | None = None
) -> Expert:
    """Fit one branch on the rows that it may use, from nothing or from a fitted one whose last layer moves alone.

    One whose logit is of a head has no such layer, and stays as it was.
    """
    if start and start.head:
        return start
    own, usable = settings.of(name), rows.usable(name)
    if missing := [what for what, k in (("real", 0), ("fake", 1)) if not (rows.label[usable] == k).any()]:
        held = " that its network was not trained on" if name in rows.fresh else ""
        raise DataError(f"branch {name} cannot be fitted: no {missing[0]} image among its {int(usable.sum())} "
                        f"rows{held}; give some, or leave the branch out")  # fmt: skip
    values = rows.vectors[name][usable].astype(np.float64)
    label, weight = rows.label[usable], balanced(rows.label[usable], rows.stratum[usable], settings.balance)
    anchor = rows.columns[name].index(own.anchor) if own.anchor else None
    begin = in_float64(start.net) if start else start_branch(values, hidden=own.hidden, anchor=anchor, seed=seed)
    if own.head:
        entry = expert_head(own.head)
        pipeline = fit_rows(entry, Rows(values, label, weight * len(label)))
        return Expert(in_float32(begin), own.clip, FittedHead(entry.name, tuple(rows.columns[name]), pipeline, 0.0))
    net = fit_branch(begin, values, label, weight, decay=own.decay, clip=own.clip, last=start is not None)
    return Expert(net, own.clip)


def expert_head(name: str) -> Entry:
    """Return the head that may give a branch its logit: log-odds, fitted on weighted rows.

    Raises ParameterError for another one, UnknownName for a name that is none.
    """
    entry = head.read(name)
    if not _can_be_expert(entry):
        usable = ", ".join(one.name for one in head if _can_be_expert(one))
        raise ParameterError(f"fused: {entry.name} cannot give a branch its logit; choose of linear, hidden, {usable}")
    return entry


def _can_be_expert(entry: Entry) -> bool:
    return scale_of(entry) == LOG_ODDS and "fit" not in entry.meta and takes_weights(entry())


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
    rows: FusedRows, settings: FusedSettings, fit: Callable[[np.ndarray, str], Expert], *, seed: int
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
            said = fit(training, name).seen(rows.vectors[name][here])
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
    rows: FusedRows, settings: FusedSettings, experts: Mapping[str, Expert], gate: GateNet, seed: int
) -> FittedFused:
    """Put fitted parts together, rounded to float32 as they are kept."""
    kinds, counts = np.unique(rows.stratum.astype(str), return_counts=True)
    kept = {name: replace(one, net=in_float32(one.net)) for name, one in experts.items()}
    return FittedFused(
        {name: tuple(rows.columns[name]) for name in sorted(rows.columns)}, kept, in_float32(gate), settings,
        dict(zip(kinds.tolist(), counts.tolist(), strict=True)), seed,
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
