"""How often each number occurs, so that millions of them are compared by the few that differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["Spread", "Tally"]


@dataclass(frozen=True)
class Spread:
    """Smallest, median and largest of whole numbers; the median is one of them (the lower of two)."""

    low: int
    median: int
    high: int

    @classmethod
    def of(cls, numbers: np.ndarray) -> Spread | None:
        """Return that of (n,) whole numbers, which need not be sorted; None of no numbers."""
        if not len(numbers):
            return None
        middle = (len(numbers) - 1) // 2
        return cls(int(numbers.min()), int(np.partition(numbers, middle)[middle]), int(numbers.max()))

    def __str__(self) -> str:
        return f"{self.low}/{self.median}/{self.high}"


@dataclass(frozen=True, eq=False)
class Tally:
    """(K,) int64 different numbers in rising order, and how often each occurs, (K,) int64."""

    values: np.ndarray
    counts: np.ndarray

    @classmethod
    def of(cls, values: np.ndarray, counts: np.ndarray | None = None) -> Tally:
        """Count (n,) whole numbers, each as often as `counts` says, or once."""
        if counts is None:
            return cls(*np.unique(np.asarray(values, np.int64), return_counts=True))
        different, place = np.unique(np.asarray(values, np.int64), return_inverse=True)
        return cls(different, np.bincount(place, weights=counts, minlength=len(different)).astype(np.int64))

    @classmethod
    def together(cls, tallies: Sequence[Tally]) -> Tally:
        """Return what several tallies counted."""
        return cls.of(*(np.concatenate([getattr(one, part) for one in tallies]) for part in ("values", "counts")))

    def __len__(self) -> int:
        return int(self.counts.sum())

    def middle(self) -> int:
        """Return the place in `values` of the lower median."""
        return int(np.searchsorted(np.cumsum(self.counts), (len(self) - 1) // 2, side="right"))

    def spread(self) -> Spread | None:
        """Return smallest, median and largest; None of no numbers."""
        if not len(self):
            return None
        return Spread(*(int(self.values[k]) for k in (0, self.middle(), -1)))

    def distance(self, other: Tally) -> float:
        """Return the largest difference of the cumulative shares (Kolmogorov-Smirnov), in 0..1."""
        at = np.concatenate((self.values, other.values))
        return float(np.abs(self._below(at) - other._below(at)).max())

    def _below(self, at: np.ndarray) -> np.ndarray:
        """Return the share of numbers that are at most as large."""
        cumulative = np.concatenate(([0], np.cumsum(self.counts)))
        return np.asarray(cumulative[np.searchsorted(self.values, at, side="right")] / len(self))
