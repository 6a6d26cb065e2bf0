"""The fused detector as a head among others: columns side by side in, a score out; and how it is fitted on such rows.

    fit = FusedFit(columns_of_branches, balance="generators", seed=0)
    head, tried = fit(columns, fit.rows(columns, values, label, group=..., generator=..., source=...))
    head.score(values)                                                    # (N, D), NaN where a branch is absent
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from fdetect.classifiers.balance import WEIGHTS
from fdetect.classifiers.branches import TRUNK
from fdetect.classifiers.expert import present_rows
from fdetect.classifiers.fused import BranchSettings, FittedFused, FusedRows, FusedSettings
from fdetect.classifiers.fused_choice import FORMS, candidates_of, choose_all
from fdetect.classifiers.fused_fit import fit_fused
from fdetect.classifiers.heads import LOG_ODDS
from fdetect.decide import logistic
from fdetect.errors import DataError, ParameterError
from fdetect.registry import Registry, nearest
from fdetect.types import FAKE

__all__ = ["BALANCE", "FUSED", "FusedFit", "FusedHead", "fused_detector", "in_all", "trunk_settings"]

FUSED = "fused"
BALANCE = "generators"  # unless another is asked for

fused_detector = Registry("fused detector", group="fdetect.fused")


@fused_detector(name=FUSED)
def settings_of(*, forms: str = "+".join(FORMS)) -> dict[str, Any]:
    """Columns by branch, each with a logit of its own, and gates between them: any branch may be absent.

    It stands where a head does: `fdetect fit --head fused`; in a benchmark it is `fdetect bench --fused BRANCHES`.

    forms  what may give a branch its logit, by +: linear, hidden (a layer of 64 units; minutes, not seconds), or a head
           of log-odds that takes weights; which one does is chosen for each branch within the training images, but that
           `trunk` stays a line from the network's own logit
    """
    return {"forms": tuple(forms.split("+"))}


@dataclass(frozen=True, eq=False)
class FusedHead:
    """A fused detector with the order in which its columns stand side by side, D names."""

    columns: tuple[str, ...]
    fitted: FittedFused
    name: ClassVar[str] = FUSED
    scale: ClassVar[str] = LOG_ODDS

    def __post_init__(self) -> None:
        of_branches = [name for branch in self.fitted.columns.values() for name in branch]
        if sorted(of_branches) != sorted(self.columns) or len(set(of_branches)) != len(of_branches):
            raise DataError("the columns of a fused detector are not those of its branches")

    def vectors(self, values: np.ndarray) -> dict[str, np.ndarray]:
        """(N, D) -> by branch, (N, D of the branch); raises DataError for another width."""
        if values.ndim != 2 or values.shape[1] != len(self.columns):
            raise DataError(f"head {self.name} expects {len(self.columns)} columns, got an array {values.shape}")
        return {branch: values[:, at] for branch, at in self._places.items()}

    @cached_property
    def _places(self) -> dict[str, np.ndarray]:
        place = {name: k for k, name in enumerate(self.columns)}
        return {branch: np.array([place[name] for name in names]) for branch, names in self.fitted.columns.items()}

    def score(self, values: np.ndarray) -> np.ndarray:
        """(N, D) float32 -> (N,) float64 log-odds rounded to float32; NaN where no branch is there throughout."""
        return self.fitted.score(self.vectors(values))

    def probability(self, scores: np.ndarray) -> np.ndarray:
        """(N,) scores -> (N,) the probability of "generated" that the log-odds state (balanced classes)."""
        return logistic(scores)

    def present(self, values: np.ndarray) -> tuple[str, ...]:
        """(N, D) -> N texts, the branches that each score rests on, sorted and joined by +; "" for none."""
        there = {branch: present_rows(vectors) for branch, vectors in sorted(self.vectors(values).items())}
        return tuple("+".join(branch for branch, rows in there.items() if rows[k]) for k in range(len(values)))

    def subsets(self) -> list[str]:
        """Every choice of fewer than all branches, as `present` names it."""
        names = self.fitted.branches
        return ["+".join(one) for n in range(1, len(names)) for one in itertools.combinations(names, n)]

    def only(self, values: np.ndarray, subset: str) -> np.ndarray:
        """Return a copy of the columns in which the branches outside a subset are absent: (N, D) -> (N, D)."""
        kept = values.copy()
        for branch, at in self._places.items():
            if branch not in subset.split("+"):
                kept[:, at] = np.nan
        return kept


@dataclass(frozen=True)
class FusedFit:
    """How a fused detector is fitted on columns side by side.

    branches  by branch, its columns
    balance   "generators": every generator weighs alike among the fakes; "generators+sources": and every source among
              the reals; "none": every row does
    forms     what may give a branch its logit, see `fdetect.classifiers.fused_choice.candidates_of`
    """

    branches: Mapping[str, tuple[str, ...]]
    balance: str = BALANCE
    seed: int = 0
    forms: tuple[str, ...] = FORMS

    @classmethod
    def of(cls, name: str, *, balance: str = "", seed: int = 0) -> FusedFit:
        """Read `fused`, with settings where wanted, and the balance, "" for the default; it has no branches yet.

        Raises ParameterError for a setting or a balance that does not exist.
        """
        settings = fused_detector.read(name)()
        candidates_of(settings["forms"])
        if balance and balance not in WEIGHTS:
            raise ParameterError(f"--balance: no weights '{balance}'{nearest(balance, WEIGHTS)} ({', '.join(WEIGHTS)})")
        return cls({}, balance or BALANCE, seed, **settings)

    def rows(
        self, columns: tuple[str, ...], values: np.ndarray, label: np.ndarray, *, group: np.ndarray,
        generator: np.ndarray, source: np.ndarray, fresh: np.ndarray | None = None,
    ) -> FusedRows:  # fmt: skip
        """Return rows by branch; those without any branch are left out.

        fresh  (N,) bool, rows that the network of the trunk was not trained on; None = all
        """
        place = {name: k for k, name in enumerate(columns)}
        vectors = {branch: values[:, [place[name] for name in names]] for branch, names in self.branches.items()}
        of_reals = source if self.balance == "generators+sources" else np.full(len(label), "", object)
        stratum = np.where(label == FAKE, np.where(generator == "", "(unnamed)", generator), of_reals)
        known = {TRUNK: fresh} if fresh is not None and TRUNK in vectors else {}
        rows = FusedRows(vectors, self.branches, label, group.astype(str), stratum.astype(str), known)
        return rows.take(self.usable(columns, values))

    def usable(self, columns: tuple[str, ...], values: np.ndarray) -> np.ndarray:
        """(N, D) -> (N,) bool: rows of which a branch at least is there."""
        place = {name: k for k, name in enumerate(columns)}
        parts = [present_rows(values[:, [place[name] for name in names]]) for names in self.branches.values()]
        return np.asarray(np.any(parts, axis=0))

    def __call__(self, columns: tuple[str, ...], rows: FusedRows) -> tuple[FusedHead, list[dict[str, Any]]]:
        """Choose the settings of the branches within the rows, and fit; with it comes all that was tried.

        Raises DataError where a class is empty, in a branch or in all folds; WeightsError where torch is missing.
        """
        settings = FusedSettings(branches=trunk_settings(self.branches), balance=float(self.balance != "none"))
        chosen = choose_all(rows, settings, candidates_of(self.forms), seed=self.seed)
        tried = [
            {"settings": {"branch": branch, **how.told()}, "macro_auroc": auroc, "worst": None,
             "chosen": how == chosen.settings.of(branch)}
            for branch, how, auroc in chosen.tried
        ]  # fmt: skip
        return FusedHead(columns, fit_fused(rows, chosen.settings, seed=self.seed)), tried


def in_all(of_each: Iterable[str]) -> str:
    """Return the branches that all scores rest on, of texts as `FusedHead.present` gives; "" are those without one."""
    sets = [set(one.split("+")) for one in of_each if one]
    return "+".join(sorted(set.intersection(*sets))) if sets else ""


def trunk_settings(branches: Mapping[str, tuple[str, ...]]) -> dict[str, BranchSettings]:
    """Return the settings of the branch of a network, where there is one: it starts from the logit, its first column.

    Raises ParameterError for columns of two networks: a branch has one anchor.
    """
    if TRUNK not in branches:
        return {}
    columns = branches[TRUNK]
    if len({name.partition(":")[0] for name in columns}) > 1:
        raise ParameterError("fused: the trunk is one network, and columns of several are given; take one of them")
    return {TRUNK: replace(BranchSettings(), decay=0.3, anchor=columns[0])}
