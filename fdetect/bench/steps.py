"""The single steps behind `extract`, `fit` and `score`: data in, one table or one fitted detector out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

import fdetect
from fdetect import classifiers
from fdetect.bench.inputs import Data, any_images, check_output
from fdetect.bench.layouts import read_manifest
from fdetect.bench.running import Running
from fdetect.classifiers import fit_head
from fdetect.classifiers.saved import FittedDetector
from fdetect.decide import conformal_threshold, decide
from fdetect.engine.lanes import Timing
from fdetect.errors import DataError, ParameterError
from fdetect.features import FeatureTask, code_of, feature, feature_tasks, select_features
from fdetect.features.base import require_native
from fdetect.files import check_table, write_table
from fdetect.rigid import detector, prepare
from fdetect.splits import hold_out
from fdetect.types import FAKE, REAL, Failure, FeatureTable, Scores, Table

__all__ = ["Data", "Extracted", "any_images", "extract", "extract_to", "fit", "score", "score_table"]


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


def fit(
    data: str | Path | Table,
    *,
    head: str = "logreg",
    features: str | Sequence[str] = "standard",
    condition: str = "matched",
    crop: int = 224,
    calibration: float = 0.25,
    seed: int = 0,
    **engine: Any,
) -> FittedDetector:
    """Fit a head on all images but the calibration reals, and set its thresholds on these.

    Raises DataError where a class is empty or has only failed images, ParameterError where features of file history
    (family provenance) are mixed with others: what they know must not stand in for traces of synthesis.
    """
    manifest = data if isinstance(data, pa.Table) else read_manifest(data)
    entries = select_features(features)
    history = [entry.name for entry in entries if entry.family == "provenance"]
    if 0 < len(history) < len(entries):
        raise ParameterError(
            f"{', '.join(history)}: features of file history are never fused with others; fit them by themselves, "
            "or leave them out"
        )
    require_native(entries, condition)
    chosen = classifiers.head.get(head)  # a misspelt head is said before hours of work
    label = np.array(manifest.column("label").to_pylist())
    paths, groups, sources, generators = (
        manifest.column(name).to_pylist() for name in ("path", "group", "real_source", "generator")
    )
    group = np.array([g or path for g, path in zip(groups, paths, strict=True)], dtype=object)
    reals = np.flatnonzero(label == REAL)
    if len(reals) < 2 or not (label == FAKE).any():
        raise DataError("fitting needs at least two real images and one fake; check the labels of the data")
    table = extract(manifest, features=features, condition=condition, crop=crop, seed=seed, **engine)
    held = reals[hold_out(list(group[reals]), [sources[k] for k in reals], share=calibration, seed=seed)]
    kept = set(group[held])
    rows = np.array([name not in kept for name in group])
    fitted = fit_head(chosen, table.columns, table.values[rows], label[rows])
    on_reals = fitted.score(table.values[held])
    five, one = (conformal_threshold(on_reals[np.isfinite(on_reals)], fpr=fpr) for fpr in (0.05, 0.01))
    used = rows & table.ok
    return FittedDetector(
        head=fitted,
        features=tuple(entry.name for entry in entries),
        codes={entry.name: code_of(entry) for entry in entries},
        condition=condition,
        crop=crop,
        seed=seed,
        five=five,
        one=one,
        trained_on={name: int((np.array(generators) == name)[used].sum()) for name in sorted(set(generators))},
        n_failed=len(table.failures),
        version=fdetect.__version__,
    )


def score(
    data: Data,
    scorer: FittedDetector | str,
    *,
    condition: str = "",
    weights: str = "",
    crop: int = 224,
    seed: int = 0,
    **engine: Any,
) -> Scores:
    """Score every image with a fitted detector, or with a training-free one by name: larger = more likely generated.

    A fitted detector is used at the crop, seed and (unless another is named) condition of its fitting.
    Raises ParameterError if a feature changed since it was fitted, WeightsError where weights are absent.
    """
    running, manifest = Running.of(engine), any_images(data)
    if isinstance(scorer, FittedDetector):
        for feature_name, code in scorer.codes.items():
            if code_of(feature.get(feature_name)) != code:
                raise ParameterError(f"feature '{feature_name}' changed since this detector was fitted; fit it again")
        name, shown = scorer.name, condition or scorer.condition
        settings: tuple[tuple[str, str], ...] = ()
        crop, seed = scorer.crop, scorer.seed
        entries = select_features(scorer.features)
        require_native(entries, shown)
        tasks: Sequence[Any] = feature_tasks(entries, crop=crop)
        judge: Callable[[np.ndarray], np.ndarray] = scorer.head.score
    else:
        instance = detector.get(scorer)(**({"weights": weights} if weights else {}))
        tasks = prepare(instance)
        name, shown = scorer, condition or "native"
        settings = tuple((key, str(value)) for key, value in tasks[0].settings.items())
        ends = np.cumsum([len(task.columns) for task in tasks])[:-1]

        def judge(values: np.ndarray) -> np.ndarray:
            views = zip(tasks, np.split(values, ends, axis=1), strict=True)
            return np.asarray(instance.score(**{task.view_name: view for task, view in views}))

    extraction = running.run(manifest, tasks, shown, crop, seed)
    scores: list[np.ndarray] = []
    failures: list[Failure] = []
    for block in extraction.blocks(shown, [task.name for task in tasks]):
        scores.append(judge(block.values))
        failures.extend(block.failures)
    running.tell(extraction, failures)
    return Scores(extraction.ids, extraction.paths, name, np.concatenate(scores), settings, tuple(failures))


def score_table(scores: Scores, manifest: Table, scorer: FittedDetector | str, condition: str) -> pa.Table:
    """Return scores as a table with labels (where known), probability, threshold, decision, status and reason."""
    n = len(scores.ids)
    reason = {failure.path: f"{failure.stage}: {failure.reason}" for failure in scores.failures}
    columns: dict[str, Any] = {"id": scores.ids, "path": scores.paths}
    for name in ("label", "generator", "real_source", "group"):
        columns[name] = manifest.column(name)
    probability, threshold, decision = np.full(n, np.nan), None, np.full(n, "undecided")
    if isinstance(scorer, FittedDetector):
        probability = scorer.head.probability(scores.values)
        threshold = scorer.five.value if scorer.five.attainable else None
        decision = decide(scores.values, scorer.five, scorer.one)
    columns |= {
        "detector": [scores.detector] * n,
        "condition": [condition] * n,
        "score": scores.values,
        "probability": probability,
        "threshold": pa.array([threshold] * n, pa.float64()),
        "decision": decision.tolist(),
        "status": ["ok" if np.isfinite(value) else "failed" for value in scores.values],
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
