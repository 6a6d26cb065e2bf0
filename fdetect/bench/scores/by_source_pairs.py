"""Pairs of images in the right order, counted once for all pairs of sets that a table by source is made of.

Weights are whole numbers and a tie counts half, so that every sum is exact, whatever its order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fdetect.bench.scores.evaluate import ScoreTable
from fdetect.metrics import Estimate, GroupWeights

__all__ = ["Pairs", "pairs_of"]


@dataclass(frozen=True, eq=False)
class Pairs:
    """Weight of the pairs within trials, summed over trials: of the first kind above the second, and of all of them.

    (K, S, 1 + B) float64 each: K kinds against the first S of them; index 0 of the last axis is the sample itself,
    the others are its B bootstrap replicates.
    """

    right: np.ndarray
    all: np.ndarray

    def auroc(self, first: int, second: Sequence[int]) -> Estimate:
        """AUROC of one kind over several together, NaN where a weighting has no pair of them.

        sum over trials, and over pairs of a trial (i, j), of w_i w_j ([s_i > s_j] + [s_i = s_j] / 2) / sum of w_i w_j
        """
        columns = list(second)
        right, pairs = self.right[first, columns].sum(axis=0), self.all[first, columns].sum(axis=0)
        value = right / np.where(pairs > 0, pairs, np.nan)
        return Estimate(float(value[0]), value[1:])


def pairs_of(
    scores: ScoreTable, rows: np.ndarray, kind: np.ndarray, weights: GroupWeights, *, n_kinds: int, n_columns: int
) -> Pairs:
    """Count the pairs of these rows: (n,) row numbers with a score, (n,) int the kind 0..n_kinds - 1 of each."""
    from fdetect.bench.scores._pairs_cpu import concordant  # here: Numba takes a while to import

    shape = (n_kinds, n_columns, 1 + weights.replicates)
    right, pairs = np.zeros(shape), np.zeros(shape)
    order = np.argsort(scores.score[rows], kind="stable")
    rows, kind = rows[order], kind[order].astype(np.int64)
    trials, trial = np.unique(scores.trial[rows].astype(str), return_inverse=True)
    for k in range(len(trials)):
        here = trial == k
        score, mine = scores.score[rows[here]], kind[here]
        ends = np.append(score[1:] != score[:-1], True)
        member = (mine[:, None] == np.arange(n_kinds)).astype(np.float64)
        for block, weight in weights.blocks(scores.group[rows[here]].astype(str)):
            right[:, :, block] += concordant(np.ascontiguousarray(weight.T), mine, ends, n_kinds, n_columns)
            mass = (weight @ member).T
            pairs[:, :, block] += mass[:, None] * mass[None, :n_columns]
    return Pairs(right, pairs)
