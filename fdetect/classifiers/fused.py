"""The fused detector: branches of named columns, gated, so that any subset of them gives a score.

    rows   = FusedRows(vectors={"trunk": (N, D), "handmade": (N, D')}, columns={...}, label=..., group=..., stratum=...)
    fitted = fit_fused(rows, FusedSettings())
    fitted.score(vectors), fitted.branch_logits(vectors), fitted.gates(vectors), fitted.contributions(vectors)

A row that is not finite throughout is a branch that is absent for this image.  The formula is fdetect/nets/fusion.py's,
but that a head may give a branch's logit l_b; fitting is fused_fit.py.  Scoring needs no torch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fdetect.classifiers.expert import Expert, in_float64, present_rows
from fdetect.decide import logistic
from fdetect.errors import DataError, ParameterError
from fdetect.nets.fusion import Fused, GateNet, fuse
from fdetect.registry import nearest

__all__ = ["BranchSettings", "FittedFused", "FusedRows", "FusedSettings"]

Vectors = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class BranchSettings:
    """How a branch is fitted.

    decay    of its weights, see `fdetect.nets.fusion.fit_branch`; 1 / (C N) in terms of logistic regression
    hidden   units of one hidden layer beside the linear part, 0 = linear
    clip     standard deviations at which a column is cut off
    anchor   name of a column that is a logit already, from which the branch starts and to which it is drawn
    head     a registered head of log-odds that gives the logit instead, "" = none: it has no decay, hidden or anchor

    Raises ParameterError for a value outside its range.
    """

    decay: float = 0.1
    hidden: int = 0
    clip: float = 3.0
    anchor: str = ""
    head: str = ""

    def __post_init__(self) -> None:
        _above_zero(self, "decay", "clip")
        if type(self.hidden) is not int or not 0 <= self.hidden <= 1024:
            raise ParameterError(f"fused: hidden must be a whole number from 0 to 1024, got {self.hidden!r}")
        if type(self.head) is not str:
            raise ParameterError(f"fused: head must be the name of one, got {self.head!r}")
        if self.head and (self.hidden or self.anchor):
            raise ParameterError(f"fused: a branch whose logit is of {self.head} has no hidden units and no anchor")

    def told(self) -> dict[str, Any]:
        """Return what tells candidates apart: the head, or hidden units and decay."""
        return {"head": self.head} if self.head else {"hidden": self.hidden, "decay": self.decay}


@dataclass(frozen=True)
class FusedSettings:
    """How the whole is fitted.

    branches      settings of branches by name; one that is not named has those of `BranchSettings()`
    drop          probability that a branch is left out while the gates are fitted
    branch_share  weight of the branches' own losses beside that of the fused logit
    gate_decay    of the gates' constants; `input_decay` of what lets them depend on the image
    folds         inner folds
    balance       1: every stratum weighs alike within its class, 0: every row does

    Raises ParameterError for a value outside its range.
    """

    branches: Mapping[str, BranchSettings] = field(default_factory=dict)
    drop: float = 0.2
    branch_share: float = 0.5
    gate_decay: float = 0.0003
    input_decay: float = 0.03
    folds: int = 4
    balance: float = 1.0

    def __post_init__(self) -> None:
        _above_zero(self, "gate_decay", "input_decay")
        for name in ("drop", "branch_share", "balance"):
            if not 0 <= getattr(self, name) <= 1 or (name == "drop" and self.drop == 1):
                raise ParameterError(f"fused: {name} must be between 0 and 1, got {getattr(self, name)!r}")
        if type(self.folds) is not int or self.folds < 2:
            raise ParameterError(f"fused: folds must be a whole number of at least 2, got {self.folds!r}")

    def of(self, name: str) -> BranchSettings:
        """Return the settings of a branch."""
        return self.branches.get(name, BranchSettings())


@dataclass(frozen=True, eq=False)
class FusedRows:
    """N labelled images to fit on; several draws of one image are rows of one group.

    vectors   by branch, (N, D) float; a row that is not finite = the branch is absent
    columns   by branch, D names
    label     (N,) 0 real, 1 generated
    group     (N,) texts, never parted
    stratum   (N,) texts: the generator of a fake; the source of a real, or "" for all
    fresh     by branch, (N,) bool: rows on which what makes its vectors was not trained; not named = all

    Raises DataError where shapes, names and lengths do not agree.
    """

    vectors: Vectors
    columns: Mapping[str, tuple[str, ...]]
    label: np.ndarray
    group: np.ndarray
    stratum: np.ndarray
    fresh: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.vectors or sorted(self.vectors) != sorted(self.columns):
            raise DataError(f"fused rows need vectors and columns of the same branches, at least one; got "
                            f"{sorted(self.vectors)} and {sorted(self.columns)}")  # fmt: skip
        for name, values in self.vectors.items():
            _check_width(name, values, len(self.columns[name]))
        if strange := sorted(set(self.fresh) - set(self.vectors)):
            hint = nearest(strange[0], self.vectors)
            raise DataError(f"fused rows: fresh names '{strange[0]}', which is no branch{hint}")
        named = {"group": self.group, "stratum": self.stratum} | {f"vectors of {k}": v for k, v in self.vectors.items()}
        for what, array in (named | {f"fresh of {k}": v for k, v in self.fresh.items()}).items():
            if len(array) != len(self.label):
                raise DataError(f"fused rows: {len(self.label)} labels but {len(array)} {what}")

    def __len__(self) -> int:
        return len(self.label)

    def take(self, rows: np.ndarray) -> FusedRows:
        """Return some rows, by a mask or by numbers."""
        return FusedRows(
            {k: v[rows] for k, v in self.vectors.items()}, self.columns, self.label[rows], self.group[rows],
            self.stratum[rows], {k: v[rows] for k, v in self.fresh.items()},
        )  # fmt: skip

    def joined(self, other: FusedRows) -> FusedRows:
        """Return these rows and others of the same branches and columns; raises DataError where they have others."""
        for name in sorted({*self.columns, *other.columns}):
            if self.columns.get(name) != other.columns.get(name):
                raise DataError(f"fused rows: branch {name} has other columns in the one set of rows than in the other")
        fresh = {
            name: np.concatenate([one.fresh.get(name, np.ones(len(one), np.bool_)) for one in (self, other)])
            for name in {*self.fresh, *other.fresh}
        }
        vectors = {name: np.concatenate([values, other.vectors[name]]) for name, values in self.vectors.items()}
        label, group, stratum = (
            np.concatenate([getattr(self, name), getattr(other, name)]) for name in ("label", "group", "stratum")
        )
        return FusedRows(vectors, self.columns, label, group, stratum, fresh)

    def usable(self, name: str) -> np.ndarray:
        """(N,) bool: rows in which the branch is present and honest, so that it can be fitted on them."""
        return present_rows(self.vectors[name]) & np.asarray(self.fresh.get(name, True), np.bool_)


@dataclass(frozen=True, eq=False)
class FittedFused:
    """A fused detector; parameters are float32 arrays, sums run in float64.

    `trained_on` counts the rows by stratum, `settings` are those of the fit.
    """

    columns: Mapping[str, tuple[str, ...]]
    experts: Mapping[str, Expert]
    gate: GateNet  # branches in sorted order
    settings: FusedSettings
    trained_on: Mapping[str, int]
    seed: int = 0

    @property
    def branches(self) -> tuple[str, ...]:
        """Names of the branches, sorted."""
        return tuple(sorted(self.columns))

    def score(self, vectors: Vectors) -> np.ndarray:
        """Vectors of any subset of the branches, each (N, D) -> (N,) float64 log-odds rounded to float32.

        Larger = more likely generated, 0 = the balanced boundary; NaN where no branch is present.  Raises DataError
        for a branch that was not fitted, a wrong width or no branch at all.
        """
        fused, present = self._fused(vectors)
        return _rounded(np.where(present.any(axis=1), fused.logit, np.nan))

    def probability(self, vectors: Vectors) -> np.ndarray:
        """Return (N,) float64, the probability of "generated" as the log-odds state it; NaN without a score."""
        return logistic(self.score(vectors))

    def branch_logits(self, vectors: Vectors) -> dict[str, np.ndarray]:
        """Return each branch's own calibrated logit, (N,) float64; NaN where it is absent."""
        fused, present = self._fused(vectors)
        return self._by_branch(np.where(present, fused.own, np.nan))

    def gates(self, vectors: Vectors) -> dict[str, np.ndarray]:
        """Return each branch's share, (N,) in 0..1; over the branches they sum to 1, or to 0 where all are absent."""
        return self._by_branch(self._fused(vectors)[0].share)

    def contributions(self, vectors: Vectors) -> dict[str, np.ndarray]:
        """Return what each branch adds to the score, (N,); they sum to it, an absent branch adds 0."""
        fused, _ = self._fused(vectors)
        return self._by_branch(fused.scale * fused.share * fused.own)

    def coefficients(self, name: str) -> dict[str, float]:
        """Return by column what a standard deviation of it adds to the linear part of a branch's calibrated logit.

        Raises ParameterError for a branch whose logit is of a head.
        """
        if self.experts[name].head:
            raise ParameterError(f"fused: the logit of branch {name} is of {self.settings.of(name).head}, no sum over "
                                 "columns; see column_parts")  # fmt: skip
        weight = self.experts[name].net.weight
        return {column: float(w * self._slope(name)) for column, w in zip(self.columns[name], weight, strict=True)}

    def column_parts(self, name: str, values: np.ndarray) -> np.ndarray:
        """(D,) columns of a branch -> (D,), what its calibrated logit loses where one is put at its mean in training.

        Of a linear branch that is clip((x - mean) * scale) * weight * slope, and they sum up; of others they do not.
        """
        expert = self.experts[name]
        without = np.repeat(np.asarray(values, np.float64)[None], len(values) + 1, axis=0)
        np.fill_diagonal(without[1:], expert.net.mean)
        logit, _, _ = expert.seen(without)
        return np.asarray((logit[0] - logit[1:]) * self._slope(name))

    def _slope(self, name: str) -> float:
        return float(np.exp(float(self.gate.log_slope[self.branches.index(name)])))

    def _by_branch(self, values: np.ndarray) -> dict[str, np.ndarray]:
        return {name: _rounded(values[:, k]) for k, name in enumerate(self.branches)}

    def _fused(self, vectors: Vectors) -> tuple[Fused, np.ndarray]:
        """Fuse what is present, and say what that is: (N, B) bool."""
        if strange := sorted(set(vectors) - set(self.columns)):
            raise DataError(f"the fused detector has no branch '{strange[0]}'{nearest(strange[0], self.columns)} "
                            f"({', '.join(self.branches)})")  # fmt: skip
        if not vectors:
            raise DataError(f"the fused detector needs vectors of at least one branch ({', '.join(self.branches)})")
        if len({len(values) for values in vectors.values()}) > 1:
            raise DataError("the fused detector needs as many rows of every branch; got "
                            + ", ".join(f"{len(values)} of {name}" for name, values in vectors.items()))  # fmt: skip
        n = len(next(iter(vectors.values())))
        found = {name: (np.zeros(n), np.zeros(n), np.zeros(n, np.bool_)) for name in self.branches}
        for name, values in vectors.items():
            _check_width(name, values, len(self.columns[name]))
            found[name] = self.experts[name].seen(values)
        logit, novelty, present = (np.stack([found[name][k] for name in self.branches], axis=1) for k in range(3))
        return fuse(in_float64(self.gate), logit, novelty, present.astype(np.float64)), present


def _rounded(values: np.ndarray) -> np.ndarray:
    return values.astype(np.float32).astype(np.float64)


def _check_width(name: str, values: np.ndarray, width: int) -> None:
    if values.ndim != 2 or values.shape[1] != width:
        raise DataError(f"branch {name} expects {width} columns, got an array {values.shape}")


def _above_zero(settings: Any, *names: str) -> None:
    for name in names:
        value = getattr(settings, name)
        if not (isinstance(value, int | float) and math.isfinite(value) and value > 0):
            raise ParameterError(f"fused: {name} must be a number above 0, got {value!r}")
