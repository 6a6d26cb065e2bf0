"""What is compared in a trial: a `Contender` gets ready under the training condition and becomes a `Model` that scores.

    Trained   a head on columns, fitted anew in every trial (on aligned pairs: fdetect/bench/training/aligned.py)
    Banked    a training-free detector that compares with reference images of the trial
    Fixed     scores that no trial changes
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

import numpy as np

from fdetect.bench.protocols import Samples, Trial
from fdetect.bench.training.draws import Draws
from fdetect.bench.training.head_trials import TrialFit, Tried
from fdetect.decide import Threshold, conformal_threshold
from fdetect.draws import mean_of_draws
from fdetect.registry import Entry, source_digest
from fdetect.types import FAKE, REAL

__all__ = ["Banked", "Contender", "FittedHeadModel", "Fixed", "Model", "Thresholded", "Trained", "TrainingRows",
           "Untrained"]  # fmt: skip


class Model(Protocol):
    """A detector ready to score within one trial."""

    def scores(self, condition: str, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return (n,) float64 scores (NaN = failed) and (n,) probabilities (NaN = the detector gives none)."""
        ...

    def reference(self, calibration: np.ndarray, condition: str) -> np.ndarray:
        """Return the finite scores of calibration reals: what thresholds and p-values are made of."""
        ...

    def threshold(self, on_reals: np.ndarray, condition: str, fpr: float) -> Threshold:
        """Return the threshold at a false-positive rate, from what `reference` returned under a condition."""
        ...


class Contender(Protocol):
    """Anything the benchmark compares: it gets ready for a trial, then scores rows."""

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def trains(self) -> bool:
        """Whether it learns from a trial's training images; generators that nobody learnt from were not seen."""
        ...

    @property
    def reasons(self) -> Mapping[str, Mapping[int, str]]:
        """Why a row failed: condition -> row number -> one line."""
        ...

    def ready(self, trial: Trial, condition: str) -> Model:
        """Return the model of this trial, trained under `condition` if there is anything to train.

        Raises DataError where the trial's images do not suffice for training.
        """
        ...


@dataclass(frozen=True)
class Thresholded:
    """The rule that all detectors share: split-conformal thresholds on the trial's calibration reals."""

    def scores(self, condition: str, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return (n,) float64 scores (NaN = failed) and (n,) probabilities (NaN = the detector gives none)."""
        raise NotImplementedError

    def reference(self, calibration: np.ndarray, condition: str) -> np.ndarray:
        """Return the finite scores of calibration reals."""
        scores, _ = self.scores(condition, calibration)
        return np.asarray(scores[np.isfinite(scores)])

    def threshold(self, on_reals: np.ndarray, condition: str, fpr: float) -> Threshold:
        """Return the split-conformal threshold."""
        return conformal_threshold(on_reals, fpr=fpr)


@dataclass(frozen=True)
class Untrained(Thresholded):
    """What stands for the model of a trial that could not be trained: it scores nothing."""

    def scores(self, condition: str, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """NaN for every row."""
        return np.full(len(rows), np.nan), np.full(len(rows), np.nan)


@dataclass(frozen=True)
class TrainingRows:
    """What a trained detector is fitted on in a trial, draw by draw: (n, D) float32, (n,) labels and (n,) str each.

    All draws of an image are rows of its group.
    """

    values: np.ndarray
    label: np.ndarray
    group: np.ndarray
    generator: np.ndarray
    source: np.ndarray


@dataclass(frozen=True)
class Trained:
    """A head on some columns: fitted anew in every trial.  `values` maps each draw of a condition to (N, D) float32.

    cards  of the networks that made the columns
    draws  which of these it is fitted on, and scores by
    tried  what its searches tried, filled while trials run: under the trial and the condition of its thresholds
    """

    name: str
    head: Entry
    columns: tuple[str, ...]
    values: Mapping[str, np.ndarray]
    samples: Samples
    reasons: Mapping[str, Mapping[int, str]] = field(default_factory=dict)
    fit: TrialFit = field(default_factory=TrialFit)
    cards: tuple[Any, ...] = ()
    draws: Draws = field(default_factory=Draws)
    tried: Tried = field(default_factory=dict, compare=False, repr=False)
    trains: ClassVar[bool] = True

    def trained_under(self, condition: str) -> str:
        """Name the conditions of its training, for thresholds set under `condition`."""
        return self.draws.label(condition)

    def training_rows(self, trial: Trial, condition: str) -> TrainingRows:
        """Return the rows of all draws of the trial's training images, for thresholds set under `condition`."""
        names, of = self.draws.trained(condition), self.samples
        rows = np.tile(trial.fit, len(names))
        values = np.concatenate([self.values[name][trial.fit] for name in names])
        return TrainingRows(values, of.label[rows], of.group[rows], of.generator[rows], of.real_source[rows])

    def ready(self, trial: Trial, condition: str) -> Model:
        """Fit the head on the trial's training images, for thresholds set under `condition`."""
        rows = self.training_rows(trial, condition)
        fitted, tried = self.fit(
            self.head, self.columns, rows.values, rows.label, groups=rows.group, generator=rows.generator,
            source=rows.source,
        )  # fmt: skip
        if tried:
            self.tried[trial.name, condition] = tried
        return FittedHeadModel(fitted, self.values, self.draws)


@dataclass(frozen=True)
class FittedHeadModel(Thresholded):
    """A head that was fitted in a trial; `values` maps each draw of a condition to (N, D) float32."""

    fitted: Any
    values: Mapping[str, np.ndarray]
    draws: Draws = field(default_factory=Draws)

    def scores(self, condition: str, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Score the rows by the mean over draws, with the head's own probabilities of it.

        These are NaN where its scores are no log-odds.
        """
        of_draws = [self.fitted.score(self.values[name][rows]) for name in self.draws.shown(condition)]
        scores = mean_of_draws(np.stack(of_draws))
        return scores, self.fitted.probability(scores)


@dataclass(frozen=True)
class Fixed(Thresholded):
    """Scores that no trial changes (training-free detectors): `values` maps a condition to (N,) float64."""

    name: str
    values: Mapping[str, np.ndarray]
    reasons: Mapping[str, Mapping[int, str]] = field(default_factory=dict)
    trains: ClassVar[bool] = False

    def ready(self, trial: Trial, condition: str) -> Model:
        """Nothing is trained."""
        return self

    def scores(self, condition: str, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Look the rows up."""
        return self.values[condition][rows], np.full(len(rows), np.nan)


@dataclass(frozen=True)
class Banked:
    """A training-free detector that compares with reference images: those of each trial's training rows.

    `vectors` maps a condition to the vectors of each view; the bank of a trial is made under its training condition.
    """

    name: str
    instance: Any
    vectors: Mapping[str, Mapping[str, np.ndarray]]
    label: np.ndarray
    reasons: Mapping[str, Mapping[int, str]] = field(default_factory=dict)

    @property
    def trains(self) -> bool:
        """Whether fakes are among the references: only then has a generator been seen."""
        return bool(self.instance.references == "both")

    @property
    def digest(self) -> str:
        """What scores depend on beside the vectors: the detector's settings and its code."""
        return f"{self.instance!r} {source_digest(inspect.getsourcefile(type(self.instance)) or '')}"

    @property
    def values(self) -> dict[str, np.ndarray]:
        """The vectors of all views side by side: what a score depends on."""
        return {c: np.concatenate(list(views.values()), axis=1) for c, views in self.vectors.items()}

    def ready(self, trial: Trial, condition: str) -> Model:
        """Make the bank from the trial's training rows under `condition`; its calibration reals are not among them."""
        views = self.vectors[condition]
        reals, fakes = (
            {name: rows[trial.fit[self.label[trial.fit] == label]] for name, rows in views.items()}
            for label in (REAL, FAKE)
        )
        bank = self.instance.bank(reals, fakes if self.instance.references == "both" else None)
        return _BankModel(self.instance, bank, self.vectors)


@dataclass(frozen=True)
class _BankModel(Thresholded):
    instance: Any
    bank: Mapping[str, np.ndarray]
    vectors: Mapping[str, Mapping[str, np.ndarray]]

    def scores(self, condition: str, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        views = {name: values[rows] for name, values in self.vectors[condition].items()}
        return self.instance.score(bank=self.bank, **views), np.full(len(rows), np.nan)
