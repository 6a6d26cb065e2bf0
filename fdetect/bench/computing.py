"""What the engine computes for a run: features and embeddings of all images under all conditions, in one pass.

    computed     every table that detectors and the audit read, and the audit's placebo
    scored       one detector's scores, kept in the run folder as it finishes
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import fdetect
from fdetect.bench.audit import PROBE_FEATURES, placebo_rows
from fdetect.bench.both_classes import need_usable
from fdetect.bench.contenders import Prepared
from fdetect.bench.head_trials import Tried
from fdetect.bench.header import versions
from fdetect.bench.inputs import root_of
from fdetect.bench.models import Contender
from fdetect.bench.protocols import Samples, Trial
from fdetect.bench.scoring import score_trials, train_condition
from fdetect.config import RunConfig, fingerprint
from fdetect.engine import Extraction, Task, run
from fdetect.engine.loop import Progress
from fdetect.engine.work import content_id
from fdetect.features import feature, feature_tasks
from fdetect.files import write_atomic
from fdetect.perturb import Condition, condition
from fdetect.registry import Entry, source_digest
from fdetect.types import Table

__all__ = ["computed", "need_both_classes", "scored"]


def computed(
    config: RunConfig, manifest: Table, samples: Samples, conditions: tuple[Condition, ...],
    entries: tuple[Entry, ...], prepared: Sequence[Prepared], engine: Mapping[str, Any],
    embedded: Sequence[Task] = (),
) -> tuple[Extraction, tuple[np.ndarray, Extraction]]:  # fmt: skip
    """Compute everything that later steps read, for all conditions in one pass; and the audit's placebo."""
    crop = config.conditions.crop
    probes = tuple(feature.get(name) for name in PROBE_FEATURES)
    views = {task.name: task for one in prepared for task in one.tasks}
    needed = {name: condition(name) for c in conditions for name in (c.name, train_condition(c.name), "native")}
    common: dict[str, Any] = {**engine, "root": root_of(manifest), "crop": crop, "seed": config.seed}
    features = entries + tuple(probe for probe in probes if probe not in entries)
    tasks: list[Task] = [*feature_tasks(features, crop=crop), *views.values(), *embedded]
    extraction = run(tasks, list(samples.path), conditions=list(needed.values()), **common)
    extra = placebo_rows(samples, extraction.ids, seed=config.seed)
    again = [replace(c, name=f"after_jpeg:{c.name}", after_jpeg=True) for c in conditions]
    history = feature_tasks(probes[-1:], crop=crop)
    return extraction, (extra, run(history, list(samples.path[extra]), conditions=again, **common))


def need_both_classes(samples: Samples, extraction: Extraction) -> None:
    """Raise DataError, with the first reason, where all images of a class failed under a condition."""
    for (name, _), table in extraction.tables.items():
        need_usable(table, samples.label, condition=name)


def scored(
    one: Contender, config: RunConfig, samples: Samples, ids: tuple[str, ...], trials: tuple[Trial, ...],
    name: str, folder: Path, workers: int, progress: Progress | None,
) -> pa.Table:  # fmt: skip
    """Score one detector, or read what an earlier, killed run had finished of the same work.

    What a search of its settings `tried` is kept beside its scores, and read with them.
    """
    values = getattr(one, "values", {})  # a table of somebody's scores has none
    inputs = [content_id(values[c].tobytes()) for c in sorted(values)] + [getattr(one, "digest", "")]
    code = source_digest(*(str(Path(fdetect.__file__).parent / f) for f in _SCORING_CODE))
    key = fingerprint(name, one.name, code, inputs, versions())
    part, beside = folder / "parts" / f"scores-{key}.parquet", folder / "parts" / f"searched-{key}.json"
    tried: Tried = getattr(one, "tried", {})
    searches = hasattr(one, "tried") and getattr(one, "searches", config.heads.search)
    if part.exists():
        try:
            if searches:
                tried.update({(trial, under): rows for trial, under, rows in json.loads(beside.read_bytes())})
            return pq.read_table(part)
        except (OSError, TypeError, ValueError, pa.ArrowException):
            tried.clear()  # a damaged part is computed again and replaced
    table = score_trials(one, samples, ids, trials, config.conditions.names, workers=workers, progress=progress)
    if searches:
        text = json.dumps([[*of, rows] for of, rows in sorted(tried.items())])
        write_atomic(beside, lambda path: path.write_text(text, encoding="utf-8"))
    write_atomic(part, lambda path: pq.write_table(table, path, compression="zstd"))
    return table


_SCORING_CODE = (
    "bench/scoring.py", "bench/models.py", "bench/aligned.py", "bench/pair_sources.py", "bench/pairing.py",
    "bench/protocols.py", "bench/given.py", "bench/head_trials.py", "bench/fusing.py", "classifiers/heads.py",
    "classifiers/estimators.py", "classifiers/stacking.py", "classifiers/balance.py", "classifiers/search.py",
    "classifiers/calibration.py", "classifiers/embedding.py", "classifiers/fused.py", "classifiers/fused_fit.py",
    "classifiers/fused_choice.py", "nets/fusion.py", "decide.py", "splits.py", "metrics.py",
    "perturb.py", "rigid/base.py", "rigid/references.py",
)  # fmt: skip
