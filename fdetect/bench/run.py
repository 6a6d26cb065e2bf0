"""`bench`: a manifest, a protocol, conditions and detectors in; scores, cells, an audit and a report out.

    manifest -> trials                                     protocols.py
    files -> features, embeddings under every condition    engine, one pass over the images
    probe features -> audit                                audit.py
    features -> scores of every detector in every trial    scoring.py, kept by detector as it finishes
    scores -> cells                                        evaluate.py, which reads the score table alone
    all of it -> run folder                                output.py
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import fdetect
from fdetect.backend import resolve
from fdetect.bench import builtin
from fdetect.bench.audit import PROBE_FEATURES, Audit, audit, placebo_rows
from fdetect.bench.contenders import Prepared, check_names, head_sets, heads, training_free, untrained
from fdetect.bench.evaluate import cells_of
from fdetect.bench.given import read_scores
from fdetect.bench.header import data_name, header, portable, versions
from fdetect.bench.inputs import root_of
from fdetect.bench.layouts import read_manifest
from fdetect.bench.models import Banked, Contender, Fixed, Trained
from fdetect.bench.output import claim_data, claim_folder, write_outputs
from fdetect.bench.protocols import Samples, Trial, samples_of, trials_of
from fdetect.bench.running import Running
from fdetect.bench.scoring import score_failures, score_trials, thresholds_table, train_condition
from fdetect.config import RunConfig, fingerprint
from fdetect.engine import Extraction, Store, Task, run
from fdetect.engine.lanes import Timing
from fdetect.engine.loop import Progress
from fdetect.engine.pool import TIME_LIMIT
from fdetect.engine.work import content_id
from fdetect.errors import DataError, ParameterError
from fdetect.features import feature, feature_tasks, select_features
from fdetect.features.base import require_native
from fdetect.files import write_atomic
from fdetect.perturb import Condition, condition
from fdetect.registry import Entry, source_digest
from fdetect.splits import join_same_content
from fdetect.types import FAKE, REAL, RunResult, Table

__all__ = ["Bench", "audit_only", "bench", "load_data", "resolved", "trials_for"]


@dataclass(frozen=True)
class Bench:
    """What `bench` returns: the result, the folder it was written to, and what was noticed on the way."""

    result: RunResult
    folder: Path
    scores: pa.Table
    timing: Mapping[str, float]  # seconds by step
    engine: Timing  # of the step `extract`, by lane
    warnings: tuple[str, ...]


def bench(
    config: RunConfig,
    *,
    out: Path | None = None,
    store: Store | None = None,
    workers: int = 0,
    time_limit: float = TIME_LIMIT,
    backend: str = "auto",
    progress: Progress | None = None,
) -> Bench:
    """Run a benchmark, resuming whatever an earlier run with the same configuration and data has finished.

    `out` is the run folder (default `runs/<data>-<fingerprint8>`); a folder of another run is refused.  `workers`
    processes compute features and fit heads; with more than 0 a script must guard its main part by
    `if __name__ == "__main__":`.
    Raises FdetectError in one sentence for data or settings that cannot be used.
    """
    clock = _Clock()
    store = store or Store()
    config = resolved(config)
    manifest = load_data(config, store)
    samples = samples_of(manifest)
    trials_for(samples, config)  # whatever is wrong with the protocol is said before hours of work
    conditions = tuple(condition(name) for name in config.conditions.names)
    chosen = resolve(backend)
    entries = select_features(config.features.names) if config.features.names else ()
    require_native(entries, *config.conditions.names)
    head_sets(config, entries)
    tables_given = [given for file in config.detectors.scores for given in read_scores(Path(file), samples, conditions)]
    prepared, not_run = training_free(config, backend=backend)
    weights = {one.name: [card.sha256 for card in one.cards] for one in prepared}
    name = fingerprint(portable(config), weights, manifest.to_pydict(), fdetect.__version__, chosen.name)
    folder = claim_folder(out, data_name(config), name, config)
    clock("prepare")
    engine = Running(store, workers, time_limit, backend, progress).engine()
    extraction, placebo = _extract(config, manifest, samples, conditions, entries, prepared, engine)
    _need_both_classes(samples, extraction)
    samples = replace(samples, group=join_same_content(samples.group, extraction.ids))
    trials = trials_for(samples, config)
    clock("extract")
    audited = _audit(config, samples, extraction, placebo, conditions, workers)
    clock("audit")

    detectors = [*heads(config, samples, entries, extraction), *untrained(prepared, samples, extraction, conditions)]
    detectors += tables_given
    check_names(detectors)
    data = fingerprint(manifest.to_pydict(), extraction.ids)
    claim_data(folder, data)
    tables = [
        _scores(one, config, samples, extraction.ids, trials, f"{name}-{data}", folder, workers, progress)
        for one in detectors
    ]
    if not tables:
        raise ParameterError("no detector is left to run: name heads, features, detectors or --scores")
    scores = pa.concat_tables(tables).combine_chunks()
    clock("train and score")
    cells = cells_of(
        scores, replicates=config.metrics.replicates, level=config.metrics.level, seed=config.seed, progress=progress
    )
    clock("evaluate")

    failures = tuple(dict.fromkeys(f for table in extraction.tables.values() for f in table.failures))
    failures += score_failures(scores, failures)
    about = header(config, manifest, samples, trials, name, data, chosen, prepared, extraction)
    result = RunResult(
        about, audited.as_json(), cells, tuple(thresholds_table(scores)), failures, tuple(not_run)
    )
    write_outputs(folder, result, scores, config)
    clock("write")
    return Bench(result, folder, scores, clock.seconds, extraction.timing, extraction.warnings)


def audit_only(
    config: RunConfig,
    *,
    store: Store | None = None,
    workers: int = 0,
    time_limit: float = TIME_LIMIT,
    backend: str = "auto",
    progress: Progress | None = None,
) -> Audit:
    """Run the audit of a benchmark and nothing else."""
    store = store or Store()
    config = resolved(config)
    manifest = load_data(config, store)
    samples = samples_of(manifest)
    conditions = tuple(condition(name) for name in config.conditions.names)
    engine = Running(store, workers, time_limit, backend, progress).engine()
    extraction, placebo = _extract(config, manifest, samples, conditions, (), (), engine)
    return _audit(config, samples, extraction, placebo, conditions, workers)


def resolved(config: RunConfig) -> RunConfig:
    """Return the configuration with its automatic values filled in, and absolute paths."""
    crop = config.conditions.crop or (224 if config.data.path else 128)
    path = str(Path(config.data.path).absolute()) if config.data.path else ""
    if crop % 8 or crop < 64:
        raise ParameterError(f"--crop must be a multiple of 8 and at least 64 px, got {crop}")
    if not config.conditions.names:
        raise ParameterError("conditions: name at least one, such as native,matched")
    if len(set(config.conditions.names)) != len(config.conditions.names):
        raise ParameterError(f"conditions: one is named twice in {','.join(config.conditions.names)}")
    return replace(
        config, conditions=replace(config.conditions, crop=crop), data=replace(config.data, path=path)
    )


def load_data(config: RunConfig, store: Store) -> Table:
    """Return the manifest that a configuration names; the built-in benchmark where it names none."""
    if not config.data.path:
        return builtin.builtin_manifest(store.folder)
    return read_manifest(config.data.path, layout=config.data.layout, root=config.data.root or None)


def trials_for(samples: Samples, config: RunConfig) -> tuple[Trial, ...]:
    """Return the trials that a configuration asks for."""
    wanted = config.protocol
    return trials_of(
        samples, name=wanted.name, folds=wanted.folds, calibration=wanted.calibration, train=wanted.train,
        seed=config.seed,
    )  # fmt: skip


def _extract(
    config: RunConfig, manifest: Table, samples: Samples, conditions: tuple[Condition, ...],
    entries: tuple[Entry, ...], prepared: Sequence[Prepared], engine: Mapping[str, Any],
) -> tuple[Extraction, tuple[np.ndarray, Extraction]]:  # fmt: skip
    """Compute everything that later steps read, for all conditions in one pass; and the audit's placebo."""
    crop = config.conditions.crop
    probes = tuple(feature.get(name) for name in PROBE_FEATURES)
    views = {task.name: task for one in prepared for task in one.tasks}
    needed = {name: condition(name) for c in conditions for name in (c.name, train_condition(c.name), "native")}
    common: dict[str, Any] = {**engine, "root": root_of(manifest), "crop": crop, "seed": config.seed}
    features = entries + tuple(probe for probe in probes if probe not in entries)
    tasks: list[Task] = [*feature_tasks(features, crop=crop), *views.values()]
    extraction = run(tasks, list(samples.path), conditions=list(needed.values()), **common)
    extra = placebo_rows(samples, extraction.ids, seed=config.seed)
    again = [replace(c, name=f"after_jpeg:{c.name}", after_jpeg=True) for c in conditions]
    history = feature_tasks(probes[-1:], crop=crop)
    return extraction, (extra, run(history, list(samples.path[extra]), conditions=again, **common))


def _need_both_classes(samples: Samples, extraction: Extraction) -> None:
    """Raise DataError, with the first reason, where all images of a class failed under a condition."""
    for (name, _), table in extraction.tables.items():
        for label, word in ((REAL, "real"), (FAKE, "fake")):
            if not table.ok[samples.label == label].any():
                paths = set(samples.path[samples.label == label])
                first = next(failure for failure in table.failures if failure.path in paths)
                raise DataError(
                    f"every {word} image failed under condition {name}; the first, {first.path}: "
                    f"{first.stage}: {first.reason}"
                )


def _audit(
    config: RunConfig, samples: Samples, extraction: Extraction, placebo: tuple[np.ndarray, Extraction],
    conditions: tuple[Condition, ...], workers: int,
) -> Audit:  # fmt: skip
    """Judge the probe features; the format a file was stored in is a fact of its native form."""
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
        replicates=config.metrics.replicates,
        level=config.metrics.level,
        seed=config.seed,
        workers=workers,
    )


def _scores(
    one: Contender, config: RunConfig, samples: Samples, ids: tuple[str, ...], trials: tuple[Trial, ...],
    name: str, folder: Path, workers: int, progress: Progress | None,
) -> pa.Table:  # fmt: skip
    """Score one detector, or read what an earlier, killed run had finished of the same work."""
    values = [one.values[c].tobytes() for c in sorted(one.values)] if isinstance(one, Trained | Fixed | Banked) else []
    code = source_digest(*(str(Path(fdetect.__file__).parent / f) for f in _SCORING_CODE))
    inputs = [*(content_id(v) for v in values), getattr(one, "digest", "")]
    key = fingerprint(name, one.name, code, inputs, versions())
    part = folder / "parts" / f"scores-{key}.parquet"
    if part.exists():
        try:
            return pq.read_table(part)
        except (OSError, pa.ArrowException):
            pass  # a damaged part is computed again and replaced
    table = score_trials(one, samples, ids, trials, config.conditions.names, workers=workers, progress=progress)
    write_atomic(part, lambda path: pq.write_table(table, path, compression="zstd"))
    return table


_SCORING_CODE = (
    "bench/scoring.py", "bench/models.py", "bench/protocols.py", "bench/given.py", "classifiers/heads.py", "decide.py",
    "splits.py", "rigid/base.py", "rigid/references.py",
)  # fmt: skip


class _Clock:
    """Seconds of each step, for run.json."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.monotonic()

    def __call__(self, step: str) -> None:
        now = time.monotonic()
        self.seconds[step] = round(now - self._last, 3)
        self._last = now
