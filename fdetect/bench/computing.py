"""What the engine computes for a run: features and embeddings of all images under all conditions, in one pass.

    computed     every table that detectors and the audit read, and the audit's placebo
    audit_of     what the audit makes of them
    scored       one detector's scores, kept in the run folder as it finishes
    kept         whatever else a run finds out about a detector, likewise
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import fdetect
from fdetect.bench.audit import PROBE_FEATURES, Audit, audit, placebo_rows
from fdetect.bench.both_classes import need_usable
from fdetect.bench.contenders import Prepared
from fdetect.bench.data.inputs import root_of
from fdetect.bench.header import versions
from fdetect.bench.models import Contender
from fdetect.bench.protocols import Samples, Trial
from fdetect.bench.scores.scoring import score_trials, shown_and_trained, train_condition
from fdetect.bench.training.draws import Draws
from fdetect.bench.training.head_trials import Tried
from fdetect.config import RunConfig, fingerprint
from fdetect.engine import Extraction, Task, run
from fdetect.engine.loop import Progress
from fdetect.engine.work import content_id
from fdetect.errors import DataError
from fdetect.features import feature, feature_tasks
from fdetect.files import write_atomic
from fdetect.perturb import Condition, condition
from fdetect.registry import Entry, source_digest
from fdetect.rigid.plugged import Plugged
from fdetect.types import NotRun, Table

__all__ = ["audit_of", "computed", "kept", "need_both_classes", "scored"]


def computed(
    config: RunConfig, manifest: Table, samples: Samples, conditions: tuple[Condition, ...],
    entries: tuple[Entry, ...], prepared: Sequence[Prepared], engine: Mapping[str, Any],
    embedded: Sequence[Task] = (),
) -> tuple[Extraction, tuple[np.ndarray, Extraction]]:  # fmt: skip
    """Compute everything that later steps read, for all conditions in one pass; and the audit's placebo.

    What trained detectors alone are shown, further draws and conditions, is computed for their columns alone.
    """
    crop = config.conditions.crop
    probes = tuple(feature.get(name) for name in PROBE_FEATURES)
    views = {task.name: task for one in prepared for task in one.tasks}
    needed = {name: condition(name) for c in conditions for name in (c.name, train_condition(c.name), "native")}
    names = shown_and_trained(config.conditions.names)
    shown = Draws.of(config).needed(names) | (Draws.of_fused(config).needed(names) if config.fused.branches else {})
    mine = {task.name for task in (*feature_tasks(entries, crop=crop), *embedded)}
    more = {name: mine for name in shown if mine and name not in needed}
    common: dict[str, Any] = {**engine, "root": root_of(manifest), "crop": crop, "seed": config.seed}
    features = entries + tuple(probe for probe in probes if probe not in entries)
    tasks: list[Task] = [*feature_tasks(features, crop=crop), *views.values(), *embedded]
    extraction = run(tasks, list(samples.path), conditions=[*needed.values(), *(shown[name] for name in more)],
                     only=more, **common)  # fmt: skip
    extra = placebo_rows(samples, extraction.ids, seed=config.seed)
    again = [replace(c, name=f"after_jpeg:{c.name}", after_jpeg=True) for c in conditions]
    history = feature_tasks(probes[-1:], crop=crop)
    return extraction, (extra, run(history, list(samples.path[extra]), conditions=again, **common))


def audit_of(
    config: RunConfig, samples: Samples, extraction: Extraction, placebo: tuple[np.ndarray, Extraction],
    conditions: tuple[Condition, ...], workers: int, *, of: int | None = None,
) -> Audit:  # fmt: skip
    """Judge the probe features, as `audit` says; the format a file was stored in is a fact of its native form."""
    extra, again = placebo
    native = extraction.tables["native", "container"]
    columns = [name.partition(":")[2].upper() for name in native.columns[:6]]
    stored_as = [columns[int(row.argmax())] if row.any() else "" for row in np.nan_to_num(native.values[:, :6])]
    names = [c.name for c in conditions]
    return audit(
        samples,
        stored_as,
        extraction.tables,
        {name: (extra, again.tables[f"after_jpeg:{name}", PROBE_FEATURES[-1]]) for name in names},
        conditions=names,
        of=of,
        replicates=config.metrics.replicates,
        level=config.metrics.level,
        seed=config.seed,
        workers=workers,
    )


def need_both_classes(
    samples: Samples, extraction: Extraction, prepared: Sequence[Prepared]
) -> tuple[list[Prepared], list[NotRun]]:
    """Raise DataError, with the first reason, where all images of a class failed under a condition.

    Returns the detectors; a plug-in on which they all failed, where others did not, is "not run" with that reason.
    """
    plugins = {task.name: one for one in prepared if isinstance(one.instance, Plugged) for task in one.tasks}
    lost: dict[str, NotRun] = {}
    for (name, task), table in extraction.tables.items():
        try:
            need_usable(table, samples.label, condition=name)
        except DataError as error:
            if task not in plugins:
                raise
            lost.setdefault(plugins[task].name, NotRun(plugins[task].name, str(error), "mend the plug-in"))
    return [one for one in prepared if one.name not in lost], list(lost.values())


def scored(
    one: Contender, config: RunConfig, samples: Samples, ids: tuple[str, ...], trials: tuple[Trial, ...],
    name: str, folder: Path, workers: int, progress: Progress | None,
) -> pa.Table:  # fmt: skip
    """Score one detector, or read what an earlier, killed run had finished of the same work.

    What a search of its settings `tried` is kept beside its scores, and read with them.
    """
    key = _key(one, name, _SCORING_CODE)
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


def kept(kind: str, one: Contender, compute: Callable[[], Any], *, name: str, folder: Path) -> Any:
    """Return what `compute` returns, as JSON gives it back; or what an earlier, killed run had found of the same kind.

    name  of the run and its data, as for `scored`
    """
    part = folder / "parts" / f"{kind}-{_key(one, name, (*_SCORING_CODE, *_JUDGING_CODE))}.json"
    if part.exists():
        with suppress(OSError, ValueError):  # a damaged part is computed again and replaced
            return json.loads(part.read_bytes())
    text = json.dumps(compute())
    write_atomic(part, lambda path: path.write_text(text, encoding="utf-8"))
    return json.loads(text)


def _key(one: Contender, name: str, code: Sequence[str]) -> str:
    """Return what tells this detector's work from all other: the run, what it reads, and the code."""
    values = getattr(one, "values", {})  # a table of somebody's scores has none
    inputs = [content_id(values[c].tobytes()) for c in sorted(values)] + [getattr(one, "digest", "")]
    files = source_digest(*(str(Path(fdetect.__file__).parent / f) for f in code))
    return fingerprint(name, one.name, files, inputs, versions())


_JUDGING_CODE = (
    "bench/training/chosen.py", "bench/training/importances.py", "bench/scores/evaluate.py",
    "bench/scores/score_table.py", "bench/scores/compare.py", "classifiers/importance.py", "bootstrap.py", "roc.py",
    "sums.py", "_roc_cpu.py", "_sums_cpu.py",
)  # fmt: skip

_SCORING_CODE = (
    "decide.py", "draws.py", "metrics.py", "perturb.py", "splits.py", "bench/models.py", "bench/protocols.py",
    "bench/samples.py", "bench/scores/files.py", "bench/scores/given.py", "bench/scores/scoring.py",
    "bench/training/ablation.py", "bench/training/aligned.py", "bench/training/draws.py", "bench/training/fusing.py",
    "bench/training/head_trials.py", "bench/training/network_outputs.py", "bench/training/pair_sources.py",
    "bench/training/pairing.py", "classifiers/balance.py", "classifiers/calibration.py", "classifiers/embedding.py",
    "classifiers/estimators.py", "classifiers/fused.py", "classifiers/fused_choice.py", "classifiers/fused_fit.py",
    "classifiers/fused_head.py", "classifiers/heads.py", "classifiers/search.py", "classifiers/stacking.py",
    "nets/fusion.py", "rigid/base.py", "rigid/references.py", "_splits_cpu.py",
)  # fmt: skip
