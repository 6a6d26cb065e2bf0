"""The single steps behind `extract`, `fit` and `score`: data in, one table or one fitted detector out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

import fdetect
from fdetect.backend import resolve
from fdetect.bench import layouts
from fdetect.bench.layouts import IMAGE_EXTENSIONS, read_manifest
from fdetect.bench.layouts.base import absolute
from fdetect.classifiers import fit_head, head
from fdetect.classifiers.saved import FittedDetector
from fdetect.decide import conformal_threshold, decide
from fdetect.engine import Store, run
from fdetect.engine.loop import Progress
from fdetect.engine.store import write_atomic
from fdetect.errors import DataError, ParameterError
from fdetect.features import code_of, feature, feature_tasks, select_features
from fdetect.perturb import condition
from fdetect.rigid import detector, prepare
from fdetect.splits import hold_out
from fdetect.types import FAKE, REAL, FeatureTable, Scores, Table

__all__ = ["any_images", "as_table", "extract", "fit", "score", "score_table", "write_table"]


def any_images(path: str | Path, *, layout: str = "auto", root: str | Path | None = None) -> Table:
    """Return a manifest of anything that holds images: a labelled set, one file, or a folder without labels.

    Without labels the column `label` is null.  Raises DataError where there is no image, and for a folder that a
    layout recognises and cannot read: its labels are not dropped.
    """
    path = Path(path)
    if path.is_file() and path.suffix.lower() in IMAGE_EXTENSIONS:
        return _unlabelled([path.name], absolute(path).parent)
    try:
        return read_manifest(path, layout=layout, root=root)
    except DataError:
        if layout != "auto" or not path.is_dir() or any(entry().recognise(path) for entry in layouts.layout):
            raise
        found = sorted(p for p in path.rglob("*") if p.is_file() and p.suffix.lower() in IMAGE_EXTENSIONS)
        if not found:
            raise
        return _unlabelled([p.relative_to(path).as_posix() for p in found], absolute(path))


def extract(
    data: str | Path | Table,
    *,
    features: str = "standard",
    condition_name: str = "native",
    crop: int = 224,
    seed: int = 0,
    workers: int = 1,
    store: Store | None = None,
    backend: str = "auto",
    progress: Progress | None = None,
) -> FeatureTable:
    """Compute named features of every image: N images -> FeatureTable with (N, D) float32 values.

    `data` is a folder, a manifest file, an image or a manifest table; `features` names presets, features or
    patterns.  An image that fails is a row of NaN and a `Failure`.  With more than one worker a script must guard
    its main part by `if __name__ == "__main__":`, since workers import it.
    Raises UnknownName, ParameterError and DataError in one sentence each.
    """
    manifest = data if isinstance(data, pa.Table) else any_images(data)
    entries = select_features(features)
    result = run(
        feature_tasks(entries, crop=crop),
        manifest.column("path").to_pylist(),
        root=manifest.schema.metadata[b"fdetect.root"].decode(),
        conditions=[condition(condition_name)],
        crop=crop,
        seed=seed,
        workers=workers,
        store=store,
        backend=resolve(backend),
        progress=progress,
    )
    tables = [result.tables[condition_name, entry.name] for entry in entries]
    failures = {failure.path: failure for table in reversed(tables) for failure in table.failures}
    return FeatureTable(
        result.ids,
        result.paths,
        tuple(column for table in tables for column in table.columns),
        np.concatenate([table.values for table in tables], axis=1),
        tuple(failures[path] for path in result.paths if path in failures),
    )


def fit(
    data: str | Path | Table,
    *,
    head_name: str = "logreg",
    features: str = "standard",
    condition_name: str = "matched",
    crop: int = 224,
    calibration: float = 0.25,
    seed: int = 0,
    **engine: Any,
) -> FittedDetector:
    """Fit a head on all images but the calibration reals, and set its thresholds on these.

    Raises DataError where a class is empty or has only failed images.
    """
    manifest = data if isinstance(data, pa.Table) else read_manifest(data)
    entries = select_features(features)
    label = np.array(manifest.column("label").to_pylist())
    paths, groups, sources, generators = (
        manifest.column(name).to_pylist() for name in ("path", "group", "real_source", "generator")
    )
    group = np.array([g or path for g, path in zip(groups, paths, strict=True)], dtype=object)
    reals = np.flatnonzero(label == REAL)
    if len(reals) < 2 or not (label == FAKE).any():
        raise DataError("fitting needs at least two real images and one fake; check the labels of the data")
    table = extract(manifest, features=features, condition_name=condition_name, crop=crop, seed=seed, **engine)
    held = reals[hold_out(list(group[reals]), [sources[k] for k in reals], share=calibration, seed=seed)]
    kept = set(group[held])
    rows = np.array([name not in kept for name in group])
    fitted = fit_head(head.get(head_name), table.columns, table.values[rows], label[rows])
    on_reals = fitted.score(table.values[held])
    five, one = (conformal_threshold(on_reals[np.isfinite(on_reals)], fpr=fpr) for fpr in (0.05, 0.01))
    used = rows & table.ok
    return FittedDetector(
        head=fitted,
        features=tuple(entry.name for entry in entries),
        codes={entry.name: code_of(entry) for entry in entries},
        condition=condition_name,
        crop=crop,
        seed=seed,
        five=five,
        one=one,
        trained_on={name: int((np.array(generators) == name)[used].sum()) for name in sorted(set(generators))},
        n_failed=len(table.failures),
        version=fdetect.__version__,
    )


def score(
    data: str | Path | Table,
    scorer: FittedDetector | str,
    *,
    condition_name: str = "",
    weights: str = "",
    crop: int = 224,
    seed: int = 0,
    **engine: Any,
) -> Scores:
    """Score every image with a fitted detector, or with a training-free one by name: larger = more likely generated.

    A fitted detector is used at the crop, seed and (unless another is named) condition of its fitting.
    Raises ParameterError if a feature changed since it was fitted, WeightsError where weights are absent.
    """
    manifest = data if isinstance(data, pa.Table) else any_images(data)
    if isinstance(scorer, FittedDetector):
        for name, code in scorer.codes.items():
            if code_of(feature.get(name)) != code:
                raise ParameterError(f"feature '{name}' changed since this detector was fitted; fit it again")
        table = extract(
            manifest,
            features=",".join(scorer.features),
            condition_name=condition_name or scorer.condition,
            crop=scorer.crop,
            seed=scorer.seed,
            **engine,
        )
        return Scores(table.ids, table.paths, scorer.name, scorer.head.score(table.values), failures=table.failures)
    instance = detector.get(scorer)(**({"weights": weights} if weights else {}))
    tasks = prepare(instance)
    shown = condition(condition_name or "native")
    progress, store, backend = (engine.get(name) for name in ("progress", "store", "backend"))
    result = run(
        tasks,
        manifest.column("path").to_pylist(),
        root=manifest.schema.metadata[b"fdetect.root"].decode(),
        conditions=[shown],
        crop=crop,
        seed=seed,
        store=store,
        backend=resolve(backend or "auto"),
        progress=progress,
    )
    views = {task.view_name: result.tables[shown.name, task.name] for task in tasks}
    values = instance.score(**{name: table.values for name, table in views.items()})
    failures = {f.path: f for table in views.values() for f in table.failures}
    settings = tuple((name, str(value)) for name, value in tasks[0].settings.items())
    return Scores(result.ids, result.paths, scorer, values, settings, tuple(failures.values()))


def score_table(scores: Scores, manifest: Table, scorer: FittedDetector | str, condition_name: str) -> pa.Table:
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
        "condition": [condition_name] * n,
        "score": scores.values,
        "probability": probability,
        "threshold": pa.array([threshold] * n, pa.float64()),
        "decision": decision.tolist(),
        "status": ["ok" if np.isfinite(value) else "failed" for value in scores.values],
        "reason": [reason.get(path, "") for path in scores.paths],
    }
    return pa.table(columns)


def as_table(table: FeatureTable, manifest: Table) -> pa.Table:
    """Return features as an Arrow table: id, the manifest's columns, status, reason, and one column per feature.

    A manifest's own column `id`, `status` or `reason` is kept as `manifest_id` and so on.
    """
    reason = {failure.path: f"{failure.stage}: {failure.reason}" for failure in table.failures}
    columns: dict[str, Any] = {"id": table.ids}
    own = ("id", "status", "reason")
    columns |= {f"manifest_{k}" if k in own else k: manifest.column(k) for k in manifest.column_names}
    columns["status"] = ["ok" if good else "failed" for good in table.ok]
    columns["reason"] = [reason.get(path, "") for path in table.paths]
    columns |= {name: table.values[:, k] for k, name in enumerate(table.columns)}
    return pa.table(columns)


def write_table(table: pa.Table, path: Path) -> None:
    """Write a table as .parquet or .csv, by the file's name; raises ParameterError for another ending."""
    if path.suffix not in (".parquet", ".csv"):
        raise ParameterError(f"{path}: a table is written as .parquet or .csv; give it one of these endings")
    if path.suffix == ".csv":
        write_atomic(path, lambda temporary: pa.csv.write_csv(table, temporary))
    else:
        write_atomic(path, lambda temporary: pa.parquet.write_table(table, temporary, compression="zstd"))


def _unlabelled(paths: Sequence[str], root: Path) -> Table:
    text = pa.array([""] * len(paths))
    names = ("generator", "family", "real_source", "category", "group", "split")
    table = pa.table(
        {"path": list(paths), "label": pa.nulls(len(paths), pa.int64()), **dict.fromkeys(names, text)}
    )
    reading = f"{len(paths)} images without labels"
    return table.replace_schema_metadata(
        {"fdetect.root": str(root), "fdetect.layout": "unlabelled", "fdetect.detected": reading}
    )
