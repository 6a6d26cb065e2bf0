"""From features, embeddings or somebody's table to `scores`: one row per image, detector, condition and trial.

All detectors go through the same loop.  For each trial a detector is made ready under the training condition
(`native` for the native column, `matched` for all others), its threshold is set on the trial's calibration reals
under that condition, and the test rows are scored under every condition that goes with it.  A detector that is trained
on more than that condition says so (`trained_under`).  Where a trial cannot be trained (a class is empty, or all of it
failed) its test rows are failures with that reason, and the others go on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fdetect.bench.models import Contender, Model, Untrained
from fdetect.bench.protocols import Samples, Trial
from fdetect.classifiers import in_parallel
from fdetect.decide import conformal_pvalue, decide
from fdetect.engine.loop import Progress
from fdetect.errors import DataError
from fdetect.types import FAKE, Failure

__all__ = [
    "SCORE_COLUMNS", "score_failures", "score_trials", "shown_and_trained", "thresholds_table", "train_condition",
]  # fmt: skip

SCORE_COLUMNS = (
    "id", "path", "label", "generator", "real_source", "group", "split", "trial", "train", "seen", "detector",
    "train_condition", "condition", "score", "probability", "threshold", "threshold_1",
    "n_calibration", "p_value", "decision", "status", "reason",
)  # fmt: skip


def train_condition(condition: str) -> str:
    """Return the condition under which detectors are trained and thresholds frozen for a test condition."""
    return "native" if condition == "native" else "matched"


def shown_and_trained(names: Iterable[str]) -> tuple[str, ...]:
    """Return test conditions and those that detectors are trained under for them, each once."""
    return tuple(dict.fromkeys(name for condition in names for name in (condition, train_condition(condition))))


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
        label = getattr(detector, "trained_under", str)(trained_under)
        on_reals = model.reference(trial.calibration, trained_under)
        five, one = (model.threshold(on_reals, trained_under, fpr) for fpr in (0.05, 0.01))
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
                "seen": (samples.label[rows] == FAKE)  # a real may name the generator it is paired with
                & np.isin(samples.generator[rows], trial.seen if detector.trains else ()),
                "score": score, "probability": probability, "decision": decide(score, five, one),
                "p_value": conformal_pvalue(score, on_reals) if len(on_reals) else np.full(len(rows), np.nan),
                "status": np.where(failed, "failed", "ok"), "reason": reason,
            }  # fmt: skip
            same = {"trial": trial.name, "train": trial.train, "detector": detector.name,
                    "train_condition": label, "condition": condition,
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
        return Untrained(), f"train: trial {trial.name} under {condition}: {error}"


def _table(columns: Mapping[str, Iterable[Any]], same: Mapping[str, Any], n: int) -> pa.Table:
    kinds = dict.fromkeys(("score", "probability", "p_value", "threshold", "threshold_1"), pa.float64())
    kinds |= {"label": pa.int64(), "n_calibration": pa.int64(), "seen": pa.bool_()}
    made = {}
    for name in SCORE_COLUMNS:
        values = list(columns[name]) if name in columns else [same[name]] * n
        made[name] = pa.array(values, kinds.get(name, pa.string()))
    return pa.table(made)
