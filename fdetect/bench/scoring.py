"""From features, embeddings or somebody's table to `scores`: one row per image, detector, condition and trial.

All detectors go through the same loop.  For each trial a detector is made ready under the training condition
(`native` for the native column, `matched` for all others), its threshold is set on the trial's calibration reals
under that condition, and the test rows are scored under every condition that goes with it.  Where a trial cannot be
trained (a class is empty, or all of it failed) its test rows are failures with that reason, and the others go on.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fdetect.bench.protocols import Samples, Trial
from fdetect.classifiers import fit_head, in_parallel
from fdetect.decide import Threshold, conformal_pvalue, conformal_threshold, decide
from fdetect.engine.loop import Progress
from fdetect.errors import DataError
from fdetect.registry import Entry, source_digest
from fdetect.types import FAKE, REAL, Failure

__all__ = [
    "SCORE_COLUMNS",
    "Banked",
    "Contender",
    "Fixed",
    "Model",
    "Trained",
    "score_failures",
    "score_trials",
    "thresholds_table",
    "train_condition",
]

SCORE_COLUMNS = (
    "id", "path", "label", "generator", "real_source", "group", "split", "trial", "train", "seen", "detector",
    "train_condition", "condition", "score", "probability", "threshold", "threshold_1",
    "n_calibration", "p_value", "decision", "status", "reason",
)  # fmt: skip


def train_condition(condition: str) -> str:
    """Return the condition under which detectors are trained and thresholds frozen for a test condition."""
    return "native" if condition == "native" else "matched"


class Model(Protocol):
    """A detector ready to score within one trial."""

    def scores(self, condition: str, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return (n,) float64 scores (NaN = failed) and (n,) probabilities (NaN = the detector gives none)."""
        ...

    def reference(self, calibration: np.ndarray, condition: str) -> np.ndarray:
        """Return the finite scores of calibration reals: what p-values are counted among."""
        ...

    def threshold(self, calibration: np.ndarray, condition: str, fpr: float) -> Threshold:
        """Return the threshold at a false-positive rate, from calibration reals."""
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
class _Calibrated:
    """The rule that all detectors share: split-conformal thresholds on the trial's calibration reals."""

    def scores(self, condition: str, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        raise NotImplementedError

    def reference(self, calibration: np.ndarray, condition: str) -> np.ndarray:
        scores, _ = self.scores(condition, calibration)
        return np.asarray(scores[np.isfinite(scores)])

    def threshold(self, calibration: np.ndarray, condition: str, fpr: float) -> Threshold:
        return conformal_threshold(self.reference(calibration, condition), fpr=fpr)


@dataclass(frozen=True)
class _Untrained(_Calibrated):
    """What stands for the model of a trial that could not be trained: it scores nothing."""

    def scores(self, condition: str, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.full(len(rows), np.nan), np.full(len(rows), np.nan)


@dataclass(frozen=True)
class Trained:
    """A head on some columns: fitted anew in every trial.  `values` maps a condition to (N, D) float32."""

    name: str
    head: Entry
    columns: tuple[str, ...]
    values: Mapping[str, np.ndarray]
    label: np.ndarray
    reasons: Mapping[str, Mapping[int, str]] = field(default_factory=dict)
    trains: ClassVar[bool] = True

    def ready(self, trial: Trial, condition: str) -> Model:
        """Fit the head on the trial's training rows under `condition`."""
        fitted = fit_head(self.head, self.columns, self.values[condition][trial.fit], self.label[trial.fit])
        return _FittedModel(fitted, self.values)


@dataclass(frozen=True)
class _FittedModel(_Calibrated):
    fitted: Any
    values: Mapping[str, np.ndarray]

    def scores(self, condition: str, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        scores = self.fitted.score(self.values[condition][rows])
        return scores, self.fitted.probability(scores)


@dataclass(frozen=True)
class Fixed(_Calibrated):
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
class _BankModel(_Calibrated):
    instance: Any
    bank: Mapping[str, np.ndarray]
    vectors: Mapping[str, Mapping[str, np.ndarray]]

    def scores(self, condition: str, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        views = {name: values[rows] for name, values in self.vectors[condition].items()}
        return self.instance.score(bank=self.bank, **views), np.full(len(rows), np.nan)


def score_trials(
    detector: Contender,
    samples: Samples,
    ids: Sequence[str],
    trials: Sequence[Trial],
    conditions: Sequence[str],
    *,
    workers: int = 1,
    progress: Progress | None = None,
) -> pa.Table:
    """Return the scores of one detector over all trials and conditions, with thresholds and decisions."""
    tables = []
    one = partial(_score_trial, detector, samples, np.array(ids, dtype=object), tuple(conditions))
    for k, parts in enumerate(in_parallel(one, trials, workers=workers)):
        tables += parts
        if progress:
            progress(detector.name, k + 1, len(trials))
    return pa.concat_tables(tables).combine_chunks()


def thresholds_table(scores: pa.Table) -> list[dict[str, Any]]:
    """Return every threshold once: detector, training condition, trial, the thresholds at 5 and 1 % FPR and the
    number of calibration reals; a threshold is None where that many reals cannot support the level.
    """
    names = ("detector", "train_condition", "trial", "threshold", "threshold_1", "n_calibration")
    rows: dict[tuple[Any, ...], None] = dict.fromkeys(zip(*(scores.column(name).to_pylist() for name in names)))  # noqa: B905
    return [dict(zip(names, row, strict=True)) for row in rows]


def score_failures(scores: pa.Table, known: Iterable[Failure] = ()) -> tuple[Failure, ...]:
    """Return the images that failed at a detector, each with its reasons once; `known` are listed already."""
    listed = {(failure.path, f"{failure.stage}: {failure.reason}") for failure in known}
    failed = scores.filter(pc.equal(scores.column("status"), "failed"))
    rows = dict.fromkeys(zip(*(failed.column(name).to_pylist() for name in ("id", "path", "reason")), strict=True))
    found = []
    for id, path, reason in rows:
        stage, colon, why = reason.partition(": ")
        if (path, reason) not in listed:
            found.append(Failure(id, path, stage, why) if colon else Failure(id, path, "score", reason))
    return tuple(found)


def _score_trial(
    detector: Contender, samples: Samples, ids: np.ndarray, conditions: tuple[str, ...], trial: Trial
) -> list[pa.Table]:
    tables = []
    for trained_under in dict.fromkeys(train_condition(name) for name in conditions):
        model, otherwise = _ready(detector, trial, trained_under)
        five, one = (model.threshold(trial.calibration, trained_under, fpr) for fpr in (0.05, 0.01))
        on_reals = model.reference(trial.calibration, trained_under)
        for condition in (name for name in conditions if train_condition(name) == trained_under):
            score, probability = model.scores(condition, trial.test)
            rows = trial.test
            failed = ~np.isfinite(score)
            score = np.where(failed, np.nan, score)
            why = detector.reasons.get(condition, {})
            reason = ["" if not bad else why.get(int(row), otherwise) for row, bad in zip(rows, failed, strict=True)]
            columns = {
                "id": ids[rows], "path": samples.path[rows], "label": samples.label[rows],
                "generator": samples.generator[rows], "real_source": samples.real_source[rows],
                "group": samples.group[rows], "split": samples.split[rows],
                "seen": np.isin(samples.generator[rows], trial.seen if detector.trains else ()),
                "score": score, "probability": probability, "decision": decide(score, five, one),
                "p_value": conformal_pvalue(score, on_reals) if len(on_reals) else np.full(len(rows), np.nan),
                "status": np.where(failed, "failed", "ok"), "reason": reason,
            }  # fmt: skip
            same = {"trial": trial.name, "train": trial.train, "detector": detector.name,
                    "train_condition": trained_under, "condition": condition,
                    "threshold": five.value if five.attainable else None,
                    "threshold_1": one.value if one.attainable else None,
                    "n_calibration": five.n_reals}  # fmt: skip
            tables.append(_table(columns, same, len(rows)))
    return tables


def _ready(detector: Contender, trial: Trial, condition: str) -> tuple[Model, str]:
    """Return the model of a trial, and why an image has no score where nothing else is known."""
    try:
        return detector.ready(trial, condition), "score: none, or none that is finite"
    except DataError as error:  # one generator with too few images must not end the trials of all others
        return _Untrained(), f"train: trial {trial.name} under {condition}: {error}"


def _table(columns: Mapping[str, Iterable[Any]], same: Mapping[str, Any], n: int) -> pa.Table:
    kinds = dict.fromkeys(("score", "probability", "p_value", "threshold", "threshold_1"), pa.float64())
    kinds |= {"label": pa.int64(), "n_calibration": pa.int64(), "seen": pa.bool_()}
    made = {}
    for name in SCORE_COLUMNS:
        values = list(columns[name]) if name in columns else [same[name]] * n
        made[name] = pa.array(values, kinds.get(name, pa.string()))
    return pa.table(made)
