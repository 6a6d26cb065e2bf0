"""The single steps behind `extract`, `fit` and `score`: data in, one table or one fitted detector out."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

import fdetect
from fdetect.backend import resolve
from fdetect.bench import layouts
from fdetect.bench.layouts import read_manifest
from fdetect.classifiers import fit_head, head
from fdetect.classifiers.saved import FittedDetector
from fdetect.decide import conformal_threshold, decide
from fdetect.engine import Extraction, Store, run
from fdetect.engine.lanes import Timing
from fdetect.engine.listing import list_images
from fdetect.engine.loop import Progress
from fdetect.engine.pool import TIME_LIMIT
from fdetect.engine.sources import has_images
from fdetect.errors import DataError, ParameterError
from fdetect.features import code_of, feature, feature_tasks, select_features
from fdetect.files import check_table, write_table
from fdetect.perturb import condition
from fdetect.rigid import detector, prepare
from fdetect.splits import hold_out
from fdetect.types import FAKE, REAL, Failure, FeatureTable, Scores, Table

__all__ = ["Data", "Extracted", "any_images", "extract", "extract_to", "fit", "score", "score_table"]

Data = str | Path | Sequence[str | Path] | Table  # what holds images: one path, several, or a manifest table


@dataclass(frozen=True)
class Extracted:
    """What `extract_to` wrote, in figures: images, columns, those that failed, parts not trusted, and the timing."""

    n_images: int
    n_columns: int
    failures: tuple[Failure, ...]
    warnings: tuple[str, ...]
    timing: Timing


def any_images(data: Data, *, layout: str = "auto", root: str | Path | None = None) -> Table:
    """Return a manifest of anything that holds images, labelled or not.

    A folder or table file that a layout recognises keeps its labels.  Everything else is listed without: image files,
    folders, glob patterns, tar and zip shards, Parquet files with an image column, members of shards
    (`a.tar::name`), and any number of them together; the column `label` is then null.
    Raises DataError where there is no image, and for a folder that a layout recognises and cannot read: its labels
    are not dropped.
    """
    if isinstance(data, pa.Table):
        return data
    given = [data] if isinstance(data, str | Path) else list(data)
    if len(given) == 1 and (layout != "auto" or _has_layout(Path(given[0]))):
        return read_manifest(given[0], layout=layout, root=root)
    found = list_images(given, root=root)
    n, text = len(found.paths), pa.array([""], pa.string())
    names = ("generator", "family", "real_source", "category", "group", "split")
    empty = pa.DictionaryArray.from_arrays(pa.array(np.zeros(n, np.int32)), text)
    table = pa.table({"path": found.paths, "label": pa.nulls(n, pa.int64()), **dict.fromkeys(names, empty)})
    reading = f"{n} images without labels" + (f"; {found.remarks}" if found.remarks else "")
    return table.replace_schema_metadata(
        {"fdetect.root": os.fsencode(found.root), "fdetect.layout": "unlabelled", "fdetect.detected": reading}
    )


def extract(
    data: Data,
    *,
    features: str = "standard",
    condition_name: str = "native",
    crop: int = 224,
    seed: int = 0,
    **engine: Any,
) -> FeatureTable:
    """Compute named features of every image: N images -> FeatureTable with (N, D) float32 values.

    data            a path or a list of paths (files, folders, patterns, shards, a manifest file), or a manifest table
    features        names of presets, features or patterns
    condition_name  what is done to every image first
    crop            side in px of what features see
    seed            of crops and noise; both are drawn from the content of each image

    Further settings are those of `extract_to`.  An image that fails is a row of NaN and a `Failure`.  Interrupted
    (Ctrl-C), what was finished is kept in the store, and the same call resumes.
    Raises UnknownName, ParameterError and DataError in one sentence each.
    """
    manifest = any_images(data)
    extraction, names = _features(manifest, features, condition_name, crop, seed, **engine)
    return extraction.table(condition_name, names, manifest=manifest)


def extract_to(
    out: str | Path,
    data: Data,
    *,
    features: str = "standard",
    condition_name: str = "native",
    crop: int = 224,
    seed: int = 0,
    **engine: Any,
) -> Extracted:
    """Compute named features of every image and write them to a .parquet or .csv file, in flat memory.

    The file holds what `extract(...).to_arrow()` holds (a .csv, one column for each name); it is written whole or not
    at all, and its bytes are the same however often the run was interrupted.  Beside the settings of `extract`:

    store       where finished rows are kept: a `Store`, or None for $FDETECT_CACHE, else the user's cache
    workers     processes; 0 computes in this one, where an image that crashes or hangs takes the run with it.  A
                script that asks for workers must guard its main part by `if __name__ == "__main__":`
    time_limit  seconds that a worker may need for one step before its image is given up
    backend     "auto", "cpu" or "gpu"
    progress    called with (what, done, total)

    Raises what `extract` raises, and DataError where the file cannot be written.
    """
    out = Path(out)
    check_table(out)
    manifest = any_images(data)
    extraction, names = _features(manifest, features, condition_name, crop, seed, **engine)
    failures: list[Failure] = []
    n_columns = 0

    def blocks() -> Any:
        nonlocal n_columns
        for block in extraction.blocks(condition_name, names, manifest=manifest):
            failures.extend(block.failures)
            n_columns = len(block.columns)
            yield block.to_arrow(flat=out.suffix == ".csv")

    write_table(blocks(), out)
    return Extracted(len(extraction), n_columns, tuple(failures), extraction.warnings, extraction.timing)


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
    data: Data,
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
    manifest = any_images(data)
    if isinstance(scorer, FittedDetector):
        for feature_name, code in scorer.codes.items():
            if code_of(feature.get(feature_name)) != code:
                raise ParameterError(f"feature '{feature_name}' changed since this detector was fitted; fit it again")
        name, shown = scorer.name, condition_name or scorer.condition
        settings: tuple[tuple[str, str], ...] = ()
        crop, seed = scorer.crop, scorer.seed
        tasks: Sequence[Any] = feature_tasks(select_features(",".join(scorer.features)), crop=crop)
        judge: Callable[[np.ndarray], np.ndarray] = scorer.head.score
    else:
        instance = detector.get(scorer)(**({"weights": weights} if weights else {}))
        tasks = prepare(instance)
        name, shown = scorer, condition_name or "native"
        settings = tuple((key, str(value)) for key, value in tasks[0].settings.items())
        ends = np.cumsum([len(task.columns) for task in tasks])[:-1]

        def judge(values: np.ndarray) -> np.ndarray:
            views = zip(tasks, np.split(values, ends, axis=1), strict=True)
            return np.asarray(instance.score(**{task.view_name: view for task, view in views}))

    extraction = _run(manifest, tasks, shown, crop, seed, **engine)
    scores: list[np.ndarray] = []
    failures: list[Failure] = []
    for block in extraction.blocks(shown, [task.name for task in tasks]):
        scores.append(judge(block.values))
        failures.extend(block.failures)
    return Scores(extraction.ids, extraction.paths, name, np.concatenate(scores), settings, tuple(failures))


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


def _has_layout(path: Path) -> bool:
    """Whether a path is for the layouts to read: a folder that one recognises, or a table that is no image shard."""
    if path.suffix.lower() == ".parquet" and path.is_file() and has_images(path):
        return False
    return any(entry().recognise(path) for entry in layouts.layout)


def _features(
    manifest: Table, features: str, condition_name: str, crop: int, seed: int, **engine: Any
) -> tuple[Extraction, list[str]]:
    tasks = feature_tasks(select_features(features), crop=crop)
    return _run(manifest, tasks, condition_name, crop, seed, **engine), [task.name for task in tasks]


def _run(
    manifest: Table, tasks: Sequence[Any], condition_name: str, crop: int, seed: int, *,
    store: Store | None = None, workers: int = 0, time_limit: float = TIME_LIMIT, backend: str = "auto",
    progress: Progress | None = None,
) -> Extraction:  # fmt: skip
    return run(
        tasks,
        manifest.column("path"),
        root=os.fsdecode(manifest.schema.metadata[b"fdetect.root"]),
        conditions=[condition(condition_name)],
        crop=crop,
        seed=seed,
        store=store or Store(),
        workers=workers,
        time_limit=time_limit,
        backend=resolve(backend),
        progress=progress,
    )
