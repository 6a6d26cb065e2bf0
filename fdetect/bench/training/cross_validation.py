"""What a fit is worth on its own data: every generator left out of training in turn, whole groups kept together.

The head is fitted anew in every fold, with the same search of settings and the same weights if there are any, and its
thresholds are set on reals that are in neither part.  With one generator there is none to leave out: the test is then
on other images of the generator that was trained on, which says nothing about others, and the result says so.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

import numpy as np

from fdetect.bench.models import FittedHeadModel, Model
from fdetect.bench.protocols import Samples, Trial, trials_of
from fdetect.bench.scores.evaluate import cells_of
from fdetect.bench.scores.scoring import score_trials
from fdetect.classifiers.heads import AnyHead
from fdetect.engine.loop import Progress
from fdetect.errors import DataError, ParameterError
from fdetect.types import FAKE, Cell

__all__ = ["LEFT_OUT", "NOT_LEFT_OUT", "LabelledRows", "cross_validated", "in_words"]

LEFT_OUT = "tested on each generator by heads that were trained on the others alone"
NOT_LEFT_OUT = "tested on the one generator that was trained on: nothing is known of other generators"

REPLICATES = 200
_SHOWN = ("auroc", "tpr_frozen_5", "fpr_achieved_5")
_NO_THRESHOLD = ("tpr_frozen_5 and fpr_achieved_5 are null where a fold had too few reals for a threshold: one that "
                 f"promises 5 % needs {math.ceil(1 / 0.05) - 1}")  # fmt: skip


class Fit(Protocol):
    """Fits a head on the chosen rows of `LabelledRows`."""

    def __call__(self, rows: LabelledRows, chosen: np.ndarray) -> AnyHead: ...


@dataclass(frozen=True)
class LabelledRows:
    """What a head is fitted on: (N, D) float32 values with columns, labels, generators, groups, sources, content ids.

    An empty generator of a fake is a name like any other.
    """

    columns: tuple[str, ...]
    values: np.ndarray
    label: np.ndarray
    generator: np.ndarray
    source: np.ndarray
    group: np.ndarray
    ids: Sequence[str]

    def at(self, chosen: np.ndarray) -> LabelledRows:
        """Return the chosen rows: a mask or row numbers."""
        numbers = np.arange(len(self.label))[chosen]
        values, label, generator, source, group = (
            part[numbers] for part in (self.values, self.label, self.generator, self.source, self.group)
        )
        return LabelledRows(self.columns, values, label, generator, source, group, [self.ids[k] for k in numbers])

    @property
    def samples(self) -> Samples:
        """The same for protocols; a row is called after its number."""
        makers = np.where((self.label == FAKE) & (self.generator == ""), "(unnamed)", self.generator).astype(object)
        path = np.array([str(k) for k in range(len(self.label))], object)
        return Samples(path, self.label, makers, self.source, self.group, np.full(len(path), "", object))


@dataclass(frozen=True)
class _Anew:
    """A head on all rows: fitted anew in every trial."""

    rows: LabelledRows
    fit: Fit
    name: str = "head"
    reasons: Mapping[str, Mapping[int, str]] = field(default_factory=dict)
    trains: ClassVar[bool] = True

    def ready(self, trial: Trial, condition: str) -> Model:
        return FittedHeadModel(self.fit(self.rows, trial.fit), {condition: self.rows.values})


def cross_validated(
    rows: LabelledRows, fit: Fit, *, folds: int = 3, calibration: float = 0.25, seed: int = 0, workers: int = 1,
    progress: Progress | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Return AUROC by generator and their macro mean with 95 % intervals and counts, as JSON values for a card.

    Where it cannot be done, too few groups or a class that is empty in every fold, the result is the reason why not.
    """
    if not folds:
        return {"not_measured": "it was not asked for"}
    samples = rows.samples
    makers = samples.generators
    if not makers:
        return {"not_measured": "there are no generated images to test on"}
    protocol = {"name": "leave_one_generator_out"} if len(makers) > 1 else {"name": "train_on", "train": makers}
    try:
        trials = trials_of(samples, folds=min(folds, len(set(samples.group))), calibration=calibration, seed=seed,
                           **protocol)  # fmt: skip
        scores = score_trials(_Anew(rows, fit), samples, list(rows.ids), trials, ("native",), workers=max(workers, 1),
                              progress=_named(progress))  # fmt: skip
    except (DataError, ParameterError) as error:
        return {"not_measured": str(error)}
    cells = {cell.generator: cell for cell in cells_of(scores, replicates=REPLICATES, seed=seed)
             if not cell.real_source}  # fmt: skip
    if "macro" not in cells or not np.isfinite(cells["macro"].metric("auroc").value):
        return {"not_measured": "no fold could be trained and tested with both classes"}
    figures = {name: _figures(cell) for name, cell in cells.items() if name in ("macro", *makers)}
    no_threshold = any(one["tpr_frozen_5"][0] is None and one["n_fake"] for one in figures.values())
    return {
        "protocol": protocol["name"],
        "meaning": LEFT_OUT if len(makers) > 1 else NOT_LEFT_OUT,
        "folds": len({trial.name.rpartition("/")[2] for trial in trials}),
        "interval": f"95 %, bootstrap of groups, {REPLICATES} replicates",
        **({"why_null": _NO_THRESHOLD} if no_threshold else {}),
        "macro": figures["macro"],
        "generators": {name: figures[name] for name in makers if name in figures},
    }


def in_words(found: Mapping[str, Any]) -> list[str]:
    """Say what `cross_validated` found, a line for the mean and one for each generator."""
    if "not_measured" in found:
        return [f"cross-validated AUROC: not measured, {found['not_measured']}"]
    how = f"{found['folds']} folds of whole groups, {found['meaning']}"
    lines = [f"cross-validated AUROC {_text(found['macro'])}; {how}"]
    if len(found["generators"]) > 1:
        lines += [f"  {name}: {_text(one)}" for name, one in found["generators"].items()]
    return lines


def _figures(cell: Cell) -> dict[str, Any]:
    auroc = cell.metric("auroc")
    found: dict[str, Any] = {"n_real": auroc.n_real, "n_fake": auroc.n_fake, "n_failed": auroc.n_failed}
    for name in _SHOWN:
        one = cell.metric(name)
        found[name] = [float(value) if np.isfinite(value) else None for value in (one.value, one.low, one.high)]
    return found | ({"flags": list(cell.flags)} if cell.flags else {})


def _text(found: Mapping[str, Any]) -> str:
    value, low, high = found["auroc"]
    if value is None:
        return "none"
    between = f" ({low:.3f} to {high:.3f})" if low is not None and high is not None else ""
    return f"{value:.3f}{between}, {found['n_real']} reals, {found['n_fake']} fakes"


def _named(progress: Progress | None) -> Callable[[str, int, int], None] | None:
    return (lambda _, done, total: progress("cross-validating", done, total)) if progress else None
