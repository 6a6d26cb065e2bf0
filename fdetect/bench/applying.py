"""`score`: a detector applied to images, or a trained head to a table of features; larger = more likely generated."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from fdetect.bench.columns import Columns
from fdetect.bench.contenders import configured, tasks_of
from fdetect.bench.inputs import Data, any_images
from fdetect.bench.running import Running
from fdetect.bench.same_table import refuse_other
from fdetect.classifiers.calibrated import CalibratedDetector, judge
from fdetect.classifiers.embedding import OF_MODEL
from fdetect.classifiers.saved import FittedDetector
from fdetect.errors import ParameterError
from fdetect.features.read import read_features
from fdetect.types import Failure, FeatureTable, Scores, Table

__all__ = ["Scorer", "feature_table", "score", "score_table"]

IN_BANK = "a reference image itself: its distance to itself is 0"

Scorer = FittedDetector | CalibratedDetector | str  # a fitted detector of either kind, or a training-free one's name


def score(
    data: Data | FeatureTable,
    scorer: Scorer,
    *,
    condition: str = "",
    encoder: str = "",
    autoencoder: str = "",
    crop: int = 224,
    seed: int = 0,
    **engine: Any,
) -> Scores:
    """Score every image with a fitted detector, or with a training-free one by name: larger = more likely generated.

    A fitted detector is used at the crop, seed and (unless another is named) condition of its fitting.  A trained head
    also takes a table of features, as `extract` returns it or wrote it to Parquet, and needs no image then.  `encoder`
    and `autoencoder` say where networks find their weights; those of a fitted detector must be the same.
    Raises ParameterError if a feature changed since it was fitted, and for a detector by name that needs reference
    images; WeightsError where weights are absent or others than those of the fit; DataError for a table whose columns
    or settings are not the model's, naming the first difference.
    """
    running = Running.of(engine)
    if (table := feature_table(data)) is not None and isinstance(scorer, FittedDetector):
        return _score_table_of_features(table, _place(data), scorer, condition, running)
    if isinstance(data, FeatureTable):
        raise ParameterError("a training-free detector looks at images, and a table of features is given")
    manifest = any_images(data)
    if isinstance(scorer, FittedDetector):
        use = _head(scorer, condition=condition, encoder=encoder, backend=running.backend)
    elif isinstance(scorer, CalibratedDetector):
        use = _calibrated(scorer, condition=condition, encoder=encoder, autoencoder=autoencoder,
                          backend=running.backend)  # fmt: skip
    else:
        use = _by_name(scorer, condition=condition, encoder=encoder, autoencoder=autoencoder, crop=crop, seed=seed,
                       backend=running.backend)  # fmt: skip
    _notice_condition(scorer, use.condition, running)
    extraction = running.run(manifest, use.tasks, use.condition, use.crop, use.seed)
    scores: list[np.ndarray] = []
    failures: list[Failure] = []
    for block in extraction.blocks(use.condition, [task.name for task in use.tasks]):
        scores.append(use.of_values(block.values))
        failures.extend(block.failures)
    n_known = int(scorer.in_bank(extraction.ids).sum()) if isinstance(scorer, CalibratedDetector) else 0
    if n_known and running.notice:
        running.notice(f"{n_known} of the images are references of {use.name} and get no p-value")
    running.tell(extraction, failures)
    return Scores(
        extraction.ids, extraction.paths, use.name, np.concatenate(scores), use.settings, tuple(failures)
    )  # fmt: skip


def score_table(scores: Scores, manifest: Table | None, scorer: Scorer, condition: str) -> pa.Table:
    """Return scores as a table with labels (where known), p-value, threshold, decision, status and reason.

    An image that is in the detector's bank has a score and no p-value: to itself its distance is 0.
    """
    n = len(scores.ids)
    values = np.where(np.isfinite(scores.values), scores.values, np.nan)
    reason = {failure.path: f"{failure.stage}: {failure.reason}" for failure in scores.failures}
    columns: dict[str, Any] = {"id": scores.ids, "path": scores.paths}
    for name in ("label", "generator", "real_source", "group"):
        there = manifest is not None and name in manifest.column_names
        unknown = pa.nulls(n, pa.int64() if name == "label" else pa.string())
        columns[name] = manifest.column(name) if there else unknown  # type: ignore[union-attr]
    probability, p_value, threshold = np.full(n, np.nan), np.full(n, np.nan), None
    decision = np.full(n, "undecided", dtype=object)
    if isinstance(scorer, FittedDetector):
        probability = scorer.probability(values)
    known = scorer.in_bank(scores.ids) if isinstance(scorer, CalibratedDetector) else np.zeros(n, np.bool_)
    if not isinstance(scorer, str):
        calibration = scorer.calibration
        threshold = calibration.five.value if calibration.five.attainable else None
        p_value[~known], decision[~known] = calibration.pvalue(values[~known]), calibration.decide(values[~known])
        reason |= {path: IN_BANK for path, here in zip(scores.paths, known, strict=True) if here}
    columns |= {
        "detector": [scores.detector] * n,
        "condition": [condition] * n,
        "score": values,
        "probability": probability,
        "p_value": p_value,
        "threshold": pa.array([threshold] * n, pa.float64()),
        "decision": decision.tolist(),
        "status": ["ok" if np.isfinite(value) else "failed" for value in values],
        "reason": [reason.get(path, "") for path in scores.paths],
    }
    return pa.table(columns)


def feature_table(data: Any) -> FeatureTable | None:
    """Return the table of features that is given, or that one Parquet file holds; None for anything else."""
    if isinstance(data, FeatureTable):
        return data
    place = _place(data)
    if not place.lower().endswith(".parquet") or not Path(place).is_file():
        return None
    try:
        schema = pq.read_schema(place)
    except (OSError, pa.ArrowException):
        return None  # whoever reads images says what is wrong with it
    ours = b"fdetect.features" in (schema.metadata or {})
    return read_features(place) if ours and any(b"columns" in (one.metadata or {}) for one in schema) else None


@dataclass(frozen=True)
class _Use:
    """A detector made ready: its tasks, and how their columns become scores."""

    name: str
    tasks: Sequence[Any]
    of_values: Callable[[np.ndarray], np.ndarray]
    condition: str
    crop: int
    seed: int
    settings: tuple[tuple[str, str], ...] = ()


def _head(scorer: FittedDetector, *, condition: str, encoder: str, backend: str) -> _Use:
    shown = condition or scorer.condition
    columns = Columns.of(scorer.features, condition=shown, crop=scorer.crop, backend=backend, encoder=encoder,
                         given_as=OF_MODEL)  # fmt: skip
    columns.check(scorer.codes, scorer.about)
    return _Use(scorer.name, columns.tasks, scorer.head.score, shown, scorer.crop, scorer.seed)


def _calibrated(scorer: CalibratedDetector, *, condition: str, encoder: str, autoencoder: str, backend: str) -> _Use:
    given = {k: v for k, v in (("encoder", encoder), ("autoencoder", autoencoder)) if v}
    if strange := [k for k in given if not hasattr(scorer.instance, k)]:
        raise ParameterError(f"--{strange[0]}: {scorer.name} takes none; leave it out")
    tasks = tasks_of(replace(scorer.instance, **given), crop=scorer.crop, backend=backend)
    scorer.check(tasks[0].space)
    of_values, shown = partial(scorer.score, tasks), condition or scorer.condition
    return _Use(scorer.name, tasks, of_values, shown, scorer.crop, scorer.seed, _settings(tasks))


def _by_name(name: str, *, condition: str, encoder: str, autoencoder: str, crop: int, seed: int, backend: str) -> _Use:
    (entry,) = configured((name,), encoder=encoder, autoencoder=autoencoder)
    instance = entry()
    if instance.references:
        raise ParameterError(f"{name} compares with reference images; make their bank first: "
                             f"fdetect fit DATA --detector {name} -o my.fdetect")  # fmt: skip
    tasks = tasks_of(instance, crop=crop, backend=backend)
    return _Use(name, tasks, partial(judge, instance, tasks), condition or "native", crop, seed, _settings(tasks))


def _settings(tasks: Sequence[Any]) -> tuple[tuple[str, str], ...]:
    return tuple((key, str(value)) for key, value in tasks[0].settings.items())


def _score_table_of_features(
    table: FeatureTable, place: str, scorer: FittedDetector, condition: str, running: Running
) -> Scores:
    """Score the rows of a table that holds exactly what the head was fitted on."""
    shown = condition or scorer.condition
    refuse_other(table, place, scorer, shown)
    _notice_condition(scorer, shown, running)
    return Scores(table.ids, table.paths, scorer.name, scorer.head.score(table.values), (), table.failures)


def _notice_condition(scorer: Scorer, shown: str, running: Running) -> None:
    if not isinstance(scorer, str) and shown != scorer.condition and running.notice:
        running.notice(f"the thresholds of {scorer.name} were set under {scorer.condition}: no promise under {shown}")


def _place(data: Any) -> str:
    """Where one file is given, its name; else how a table without a file is called."""
    if isinstance(data, str | Path):
        return str(data)
    one = list(data) if isinstance(data, list | tuple) else []
    return str(one[0]) if len(one) == 1 and isinstance(one[0], str | Path) else "the table of features"
