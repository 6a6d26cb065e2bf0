"""One branch of the fused detector after its fit: columns in, a logit and how novel they are out."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TypeVar

import numpy as np

from fdetect.classifiers.heads import FittedHead
from fdetect.nets.fusion import BranchNet, GateNet, evidence

__all__ = ["Expert", "in_float32", "in_float64", "present_rows"]


@dataclass(frozen=True, eq=False)
class Expert:
    """A branch after its fit: how columns are standardised and cut, and what gives the logit, a net or a head.

    head   of log-odds; where it is, the net's own weights are 0 and it serves for the novelty alone
    """

    net: BranchNet
    clip: float
    head: FittedHead | None = None

    def seen(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(N, D) -> logit, novelty (N,), 0 where the branch is absent, and presence."""
        present = present_rows(values)
        logit, novelty = np.zeros(len(values)), np.zeros(len(values))
        logit[present], novelty[present] = evidence(in_float64(self.net), values[present].astype(np.float64), self.clip)
        if self.head:
            logit[present] = self.head.score(values[present])
        return logit, novelty, present


def present_rows(values: np.ndarray) -> np.ndarray:
    """(N, D) -> (N,) bool: rows that are finite throughout; a branch is absent in the others."""
    return np.asarray(np.isfinite(values).all(axis=1))


Net = TypeVar("Net", BranchNet, GateNet)


def in_float64(net: Net) -> Net:
    """Return parameters as they are computed with."""
    return replace(net, **{one.name: getattr(net, one.name).astype(np.float64) for one in fields(net)})


def in_float32(net: Net) -> Net:
    """Return parameters as they are kept."""
    return replace(net, **{one.name: getattr(net, one.name).astype(np.float32) for one in fields(net)})
