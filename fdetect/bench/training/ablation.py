"""What each branch of a fused detector is worth: the same fit, scored without a branch, and by one branch alone.

    fused:handmade+spectrum+trunk:without=trunk     every branch but one
    fused:handmade+spectrum+trunk:only=trunk        one branch; of two branches this is the same as without the other

Nothing is fitted for it: gates are fitted with branches left out at random, so that any subset gives a score.  A
detector that had never known the branch may do better than one that lost it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from fdetect.bench.models import Model, Thresholded
from fdetect.bench.protocols import Trial
from fdetect.bench.training.fusing import FusedContender, FusedModel
from fdetect.errors import DataError

__all__ = ["Ablated", "ablations", "parts_of", "wholes"]

_WITHOUT, _ONLY = ":without=", ":only="


@dataclass(frozen=True)
class Ablated:
    """A fused detector that sees some of its branches only."""

    name: str
    whole: FusedContender
    kept: tuple[str, ...]
    trains: ClassVar[bool] = True

    @property
    def reasons(self) -> Mapping[str, Mapping[int, str]]:
        """Those of the whole."""
        return self.whole.reasons

    @property
    def digest(self) -> str:
        """What scores depend on beside the trials."""
        return f"{self.whole.digest} {self.kept}"

    def trained_under(self, condition: str) -> str:
        """Name the conditions of its training, as of the whole."""
        return self.whole.trained_under(condition)

    def ready(self, trial: Trial, condition: str) -> Model:
        """Return the whole's model of this trial, with the branches that are kept; DataError where it has none."""
        model = self.whole.ready(trial, condition)
        kept = tuple(branch for branch in self.kept if branch in model.fitted.branches)
        if not kept:
            raise DataError(f"the branch {' '.join(self.kept)} could not be trained in this trial")
        return _Part(model, kept)


@dataclass(frozen=True)
class _Part(Thresholded):
    model: FusedModel
    kept: tuple[str, ...]

    def scores(self, condition: str, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return self.model.scores_by(self.kept, condition, rows)


def ablations(whole: FusedContender) -> list[Ablated]:
    """Return the fused detector without each branch, and each branch alone; no subset twice, nothing of one branch."""
    return [Ablated(name, whole, kept) for name, kept in parts_of(whole.name, whole.branches).items()]


def parts_of(name: str, branches: Collection[str]) -> dict[str, tuple[str, ...]]:
    """Return the names of those of a fused detector of this name, each with the branches that it keeps."""
    parts = {f"{name}{_WITHOUT}{out}": tuple(b for b in branches if b != out) for out in branches}
    if len(branches) > 2:
        parts |= {f"{name}{_ONLY}{branch}": (branch,) for branch in branches}
    return {part: kept for part, kept in parts.items() if kept}


def wholes(detectors: Iterable[str]) -> dict[str, str]:
    """Return the ablated detectors among these names, each with the name of its whole, where that is among them."""
    names = tuple(dict.fromkeys(detectors))
    cut = {name: name.partition(_WITHOUT)[0].partition(_ONLY)[0] for name in names}
    return {name: whole for name, whole in cut.items() if name.startswith("fused:") and whole != name and whole in cut}
