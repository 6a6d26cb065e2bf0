"""The single steps behind `extract` and `score`: data in, one table out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from fdetect.bench.contenders import configured, tasks_of
from fdetect.bench.inputs import Data, any_images, check_output
from fdetect.bench.running import Running
from fdetect.classifiers.calibrated import CalibratedDetector, judge
from fdetect.classifiers.saved import FittedDetector
from fdetect.engine.lanes import Timing
from fdetect.errors import DataError, ParameterError
from fdetect.features import FeatureTask, code_of, feature, feature_tasks, select_features
from fdetect.features.base import require_native
from fdetect.files import check_table, write_table
from fdetect.types import Failure, FeatureTable, Scores, Table

__all__ = ["Data", "Extracted", "Scorer", "any_images", "extract", "extract_to", "score", "score_table"]

IN_BANK = "a reference image itself: its distance to itself is 0"

Scorer = FittedDetector | CalibratedDetector | str  # a fitted detector of either kind, or a training-free one's name


@dataclass(frozen=True)
class Extracted:
    """What `extract_to` wrote, in figures: images, columns, those that failed, parts not trusted, and the timing."""

    n_images: int
    n_columns: int
    failures: tuple[Failure, ...] = field(repr=False)
    warnings: tuple[str, ...]
    timing: Timing


def extract(
    data: Data,
    *,
    features: str | Sequence[str] = "standard",
    condition: str = "native",
    crop: int = 224,
    seed: int = 0,
    **engine: Any,
) -> FeatureTable:
    """Compute named features of every image: N images -> FeatureTable with (N, D) float32 values.

    data       a path or a list of paths (files, folders, patterns, shards, a manifest file), or a manifest table
    features   names of presets, features or patterns, in a list or separated by commas
    condition  what is done to every image first
    crop       side in px of what features see
    seed       of crops and noise; both are drawn from the content of each image

    Further settings are those of `Running` (store, workers, time_limit, backend, progress, notice).  An image that
    fails is a row of NaN and a `Failure`.  Interrupted (Ctrl-C), what was finished is kept in the store, and the same
    call resumes.
    Raises UnknownName, ParameterError and DataError in one sentence each.
    """
    running, manifest = Running.of(engine), any_images(data)
    tasks = _tasks(features, manifest, condition, crop)
    extraction = running.run(manifest, tasks, condition, crop, seed)
    table = extraction.table(condition, [task.name for task in tasks], manifest=manifest)
    running.tell(extraction, table.failures)
    return table


def extract_to(
    out: str | Path,
    data: Data,
    *,
    features: str | Sequence[str] = "standard",
    condition: str = "native",
    crop: int = 224,
    seed: int = 0,
    **engine: Any,
) -> Extracted:
    """Compute named features of every image and write them to a .parquet or .csv file, in flat memory.

    The file holds what `extract(...).to_arrow()` holds (a .csv, one column for each name); it is written whole or not
    at all, and its bytes are the same however often the run was interrupted.  Settings are those of `extract`.
    Raises what `extract` raises, and where the file cannot be written or is one of the inputs, before the work.
    """
    out, running = Path(out), Running.of(engine)
    check_table(out)
    manifest = any_images(data)
    check_output(out, data, manifest)
    flat = out.suffix == ".csv"
    tasks = _tasks(features, manifest, condition, crop, flat=flat)
    extraction = running.run(manifest, tasks, condition, crop, seed)
    failures: list[Failure] = []

    def blocks() -> Any:
        for block in extraction.blocks(condition, [task.name for task in tasks], manifest=manifest):
            failures.extend(block.failures)
            yield block.to_arrow(flat=flat)

    write_table(blocks(), out)
    running.tell(extraction, failures)
    n_columns = sum(len(task.columns) for task in tasks)
    return Extracted(len(extraction), n_columns, tuple(failures), extraction.warnings, extraction.timing)


def score(
    data: Data,
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

    A fitted detector is used at the crop, seed and (unless another is named) condition of its fitting.  `encoder` and
    `autoencoder` say where a training-free detector finds its weights; those of a calibrated one must be the same.
    Raises ParameterError if a feature changed since it was fitted, and for a detector by name that needs reference
    images; WeightsError where weights are absent or others than those of the fit.
    """
    running, manifest = Running.of(engine), any_images(data)
    tasks: Sequence[Any]
    if isinstance(scorer, FittedDetector):
        for feature_name, code in scorer.codes.items():
            if code_of(feature.get(feature_name)) != code:
                raise ParameterError(f"feature '{feature_name}' changed since this detector was fitted; fit it again")
        name, shown, crop, seed = scorer.name, condition or scorer.condition, scorer.crop, scorer.seed
        entries = select_features(scorer.features)
        require_native(entries, shown)
        tasks = feature_tasks(entries, crop=crop)
        of_values: Callable[[np.ndarray], np.ndarray] = scorer.head.score
        settings: tuple[tuple[str, str], ...] = ()
    else:
        if isinstance(scorer, CalibratedDetector):
            name, shown, crop, seed = scorer.name, condition or scorer.condition, scorer.crop, scorer.seed
            given = {k: v for k, v in (("encoder", encoder), ("autoencoder", autoencoder)) if v}
            if strange := [k for k in given if not hasattr(scorer.instance, k)]:
                raise ParameterError(f"--{strange[0]}: {name} takes none; leave it out")
            instance = replace(scorer.instance, **given)
            tasks = tasks_of(instance, crop=crop, backend=running.backend)
            scorer.check(tasks[0].space)
            of_values = partial(scorer.score, tasks)
        else:
            name, shown = scorer, condition or "native"
            (entry,) = configured((scorer,), encoder=encoder, autoencoder=autoencoder)
            instance = entry()
            if instance.references:
                raise ParameterError(f"{name} compares with reference images; make their bank first: "
                                     f"fdetect fit DATA --detector {name} -o my.fdetect")  # fmt: skip
            tasks = tasks_of(instance, crop=crop, backend=running.backend)
            of_values = partial(judge, instance, tasks)
        settings = tuple((key, str(value)) for key, value in tasks[0].settings.items())

    if not isinstance(scorer, str) and shown != scorer.condition and running.notice:
        running.notice(f"the thresholds of {name} were set under {scorer.condition}: no promise under {shown}")
    extraction = running.run(manifest, tasks, shown, crop, seed)
    scores: list[np.ndarray] = []
    failures: list[Failure] = []
    for block in extraction.blocks(shown, [task.name for task in tasks]):
        scores.append(of_values(block.values))
        failures.extend(block.failures)
    n_known = int(scorer.in_bank(extraction.ids).sum()) if isinstance(scorer, CalibratedDetector) else 0
    if n_known and running.notice:
        running.notice(f"{n_known} of the images are references of {name} and get no p-value")
    running.tell(extraction, failures)
    return Scores(extraction.ids, extraction.paths, name, np.concatenate(scores), settings, tuple(failures))


def score_table(scores: Scores, manifest: Table, scorer: Scorer, condition: str) -> pa.Table:
    """Return scores as a table with labels (where known), p-value, threshold, decision, status and reason.

    An image that is in the detector's bank has a score and no p-value: to itself its distance is 0.
    """
    n = len(scores.ids)
    values = np.where(np.isfinite(scores.values), scores.values, np.nan)
    reason = {failure.path: f"{failure.stage}: {failure.reason}" for failure in scores.failures}
    columns: dict[str, Any] = {"id": scores.ids, "path": scores.paths}
    for name in ("label", "generator", "real_source", "group"):
        columns[name] = manifest.column(name)
    probability, p_value, threshold = np.full(n, np.nan), np.full(n, np.nan), None
    decision = np.full(n, "undecided", dtype=object)
    if isinstance(scorer, FittedDetector):
        probability = scorer.head.probability(values)
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


def _tasks(
    features: str | Sequence[str], manifest: Table, condition: str, crop: int, *, flat: bool = False
) -> list[FeatureTask]:
    """Return the tasks of named features; raises DataError where a column of the manifest stands in their way."""
    entries = select_features(features)
    require_native(entries, condition)
    tasks = list(feature_tasks(entries, crop=crop))
    ours = {"manifest_id", "manifest_status", "manifest_reason", *(task.name for task in tasks)}
    for column in manifest.schema:
        if column.name in ours:
            raise DataError(f"the manifest's column '{column.name}' has the name of one of ours; rename it")
        if flat and pa.types.is_nested(column.type):
            raise DataError(f"the manifest's column '{column.name}' holds {column.type}; write to .parquet instead")
    return tasks
