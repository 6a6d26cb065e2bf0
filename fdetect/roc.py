"""The ROC curve of one sample under B weightings: sorted once, summed once, read by every ranking metric.

Ties are exact: a point of the curve stands for one distinct score, with all images that share it.
Source: Fawcett 2006, An introduction to ROC analysis, 10.1016/j.patrec.2005.10.010, algorithm 1.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cached_property
from operator import is_

import numpy as np

__all__ = ["Curve", "curve_of", "share_curve"]


@dataclass(frozen=True, eq=False)
class Curve:
    """Weight of the images called fake at each of K distinct thresholds, from the highest to the lowest.

    `fakes` and `reals` are (B, K + 1) float64: column 0 is zero (nothing is called fake), column k holds the
    images whose score is at least the k-th highest distinct score, the last column holds all.
    """

    fakes: np.ndarray
    reals: np.ndarray

    @cached_property
    def tpr(self) -> np.ndarray:
        """Share of the fakes called fake, (B, K + 1); a row of NaN where either class has no weight."""
        return np.asarray(self.fakes / self._totals(self.fakes))

    @cached_property
    def fpr(self) -> np.ndarray:
        """Share of the reals called fake, (B, K + 1); a row of NaN where either class has no weight."""
        return np.asarray(self.reals / self._totals(self.reals))

    @property
    def both(self) -> np.ndarray:
        """Whether both classes have weight, (B,) bool."""
        return np.asarray((self.fakes[:, -1] > 0) & (self.reals[:, -1] > 0))

    def exchanged(self) -> Curve:
        """Return the curve of the same sample with the classes exchanged and the scores negated."""
        fakes, reals = (counted[:, -1:] - counted[:, ::-1] for counted in (self.fakes, self.reals))
        return Curve(fakes=reals, reals=fakes)

    def _totals(self, counted: np.ndarray) -> np.ndarray:
        return np.where(self.both[:, None], counted[:, -1:], np.nan)


def curve_of(label: np.ndarray, score: np.ndarray, weight: np.ndarray) -> Curve:
    """Return the curve of one sample: (N,) int, (N,) float64, (B, N) float64 -> Curve.

    Inside `share_curve` of the same three arrays it is the curve that was made there.
    """
    shared = _shared.get()
    if shared is not None and all(map(is_, (label, score, weight), shared[0])):
        return shared[1]
    order = np.argsort(-score, kind="stable")
    ordered = score[order]
    falls = np.flatnonzero(ordered[1:] != ordered[:-1])  # the last image of every tie but the lowest
    points = np.concatenate(([0], falls + 1, [len(order)]))
    weight = weight[:, order]
    fakes = weight * (label[order] == 1)
    return Curve(_running(fakes, points), _running(weight - fakes, points))


@contextmanager
def share_curve(label: np.ndarray, score: np.ndarray, weight: np.ndarray) -> Iterator[None]:
    """Make the curve once for all metrics computed inside the `with` block from these very arrays."""
    token = _shared.set(((label, score, weight), curve_of(label, score, weight)))
    try:
        yield
    finally:
        _shared.reset(token)


_shared: ContextVar[tuple[tuple[np.ndarray, np.ndarray, np.ndarray], Curve] | None] = ContextVar(
    "the curve shared by the metrics of one sample", default=None
)


def _running(weight: np.ndarray, points: np.ndarray) -> np.ndarray:
    """(B, N) weights in order of falling score -> (B, K + 1) their sums up to each point."""
    sums = np.zeros((weight.shape[0], weight.shape[1] + 1))
    np.cumsum(weight, axis=1, out=sums[:, 1:])
    return sums if len(points) == sums.shape[1] else sums[:, points]
