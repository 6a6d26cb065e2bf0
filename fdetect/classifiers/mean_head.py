"""A head that judges an image by several draws: their columns side by side in, the mean of its scores out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fdetect.classifiers.fused_head import FusedHead, in_all
from fdetect.classifiers.heads import AnyHead
from fdetect.draws import mean_of_draws

__all__ = ["MOST_DRAWS", "MeanHead"]

MOST_DRAWS = 64  # of an image: each is computed, and more say nothing that is new


@dataclass(frozen=True, eq=False)
class MeanHead:
    """A head that was fitted on single draws, applied to `n` of each image: (N, n D), columns of a draw together."""

    head: AnyHead
    n: int

    @property
    def name(self) -> str:
        """Name of the head."""
        return self.head.name

    @property
    def scale(self) -> str:
        """What its scores are."""
        return self.head.scale

    @property
    def columns(self) -> tuple[str, ...]:
        """The D columns of a draw."""
        return self.head.columns

    def parts(self, values: np.ndarray) -> list[np.ndarray]:
        """(N, n D) -> (N, D) of each draw."""
        return np.split(values, self.n, axis=1)

    def score(self, values: np.ndarray) -> np.ndarray:
        """(N, n D) -> (N,) float64, the mean over the draws that have a score; NaN where none has."""
        return mean_of_draws(np.stack([self.head.score(one) for one in self.parts(values)]))

    def probability(self, scores: np.ndarray) -> np.ndarray:
        """(N,) scores -> (N,), as the head states it of a score."""
        return self.head.probability(scores)

    def present(self, values: np.ndarray) -> tuple[str, ...]:
        """Of a fused detector, the branches that every draw with a score has, joined by +; "" where there is none.

        The mean of draws that rest on different branches alone is a score of none of them: "" too, with a score.
        """
        assert isinstance(self.head, FusedHead)
        return tuple(map(in_all, zip(*(self.head.present(one) for one in self.parts(values)), strict=True)))

    def subsets(self) -> list[str]:
        """Every choice of fewer than all branches of a fused detector; none of another head."""
        return self.head.subsets() if isinstance(self.head, FusedHead) else []

    def only(self, values: np.ndarray, subset: str) -> np.ndarray:
        """Return a copy of the columns in which the branches of a fused detector outside a subset are absent."""
        assert isinstance(self.head, FusedHead)
        return np.concatenate([self.head.only(one, subset) for one in self.parts(values)], axis=1)
