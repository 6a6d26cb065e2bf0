"""`fit` on several draws of each image: rows hold their columns side by side, a head is fitted on each as a row.

    LabelledRows (N images, n D) --stacked--> (n N rows, D), a draw of an image in its group --fit--> MeanHead
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from fdetect.bench.training.columns import Columns
from fdetect.bench.training.cross_validation import LabelledRows
from fdetect.bench.training.head_fit import Asked, Learnt
from fdetect.classifiers.mean_head import MeanHead

__all__ = ["OnDraws"]


@dataclass(frozen=True, kw_only=True)
class OnDraws(Asked):
    """What is asked of a fit, of a head that is fitted on `n` draws of each image."""

    single: Asked
    n: int

    @classmethod
    def of(cls, single: Asked, n: int) -> Asked:
        """Return the same on n draws; of one there is nothing to do."""
        return cls(single.balance, single.calibrate, single.seed, single=single, n=n) if n > 1 else single

    @property
    def needs_fakes(self) -> bool:
        """As of one draw."""
        return self.single.needs_fakes

    @property
    def tells_fresh(self) -> bool:
        """As of one draw."""
        return self.single.tells_fresh

    def on(self, columns: Columns) -> Asked:
        """Return the same for these columns."""
        return replace(self, single=self.single.on(columns))

    def usable(self, rows: LabelledRows) -> np.ndarray:
        """(N,) bool: images of which a draw at least can be fitted on, and gets a score."""
        return np.asarray(self.single.usable(self.stacked(rows)).reshape(self.n, -1).any(axis=0))

    def fresh(self, rows: LabelledRows) -> np.ndarray:
        """As of one draw: an image is known or not, whatever is drawn of it."""
        return self.single.fresh(rows)

    def stacked(self, rows: LabelledRows) -> LabelledRows:
        """(N, n D) -> (n N, D), draw by draw."""
        every = rows.at(np.tile(np.arange(len(rows.label)), self.n))
        return replace(every, values=np.concatenate(np.split(rows.values, self.n, axis=1)))

    def learn(self, rows: LabelledRows) -> Learnt:
        """Fit on all draws; raises DataError where they do not suffice."""
        learnt = self.single.learn(self.stacked(rows))
        return replace(learnt, head=MeanHead(learnt.head, self.n))
