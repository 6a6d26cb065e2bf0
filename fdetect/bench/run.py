"""`bench`: a manifest, a protocol, conditions and detectors in; scores, cells, an audit and a report out.

    manifest -> trials                                     protocols.py
    files -> features, embeddings under every condition    engine, one pass over the images
    probe features -> audit                                audit.py
    features -> scores of every detector in every trial    scoring.py, kept by detector as it finishes
    scores -> cells                                        evaluate.py, which reads the score table alone
    all of it -> run folder                                output.py
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import fdetect
from fdetect import images
from fdetect.backend import Backend, resolve
from fdetect.bench import builtin
from fdetect.bench.audit import PROBE_FEATURES, Audit, audit, placebo_rows
from fdetect.bench.evaluate import cells_of
from fdetect.bench.given import read_scores
from fdetect.bench.layouts import read_manifest
from fdetect.bench.output import claim_folder, write_outputs
from fdetect.bench.protocols import Samples, Trial, samples_of, trials_of
from fdetect.bench.scoring import Contender, Fixed, Trained, score_trials, thresholds_table, train_condition
from fdetect.classifiers import head
from fdetect.config import RunConfig, fingerprint
from fdetect.engine import Extraction, Store, run
from fdetect.engine.loop import Progress
from fdetect.engine.store import write_atomic
from fdetect.engine.work import content_id
from fdetect.errors import BackendError, ParameterError, WeightsError
from fdetect.features import feature, feature_tasks, select_features
from fdetect.perturb import Condition, condition
from fdetect.registry import Entry, source_digest
from fdetect.rigid import EncodeView, detector, prepare
from fdetect.types import FeatureTable, NotRun, RunResult, Table

__all__ = ["Bench", "audit_only", "bench", "host", "load_data", "resolved", "trials_for"]


@dataclass(frozen=True)
class Bench:
    """What `bench` returns: the result, the folder it was written to, and what was noticed on the way."""

    result: RunResult
    folder: Path
    scores: pa.Table
    timing: Mapping[str, float]
    warnings: tuple[str, ...]


def bench(
    config: RunConfig,
    *,
    out: Path | None = None,
    store: Store | None = None,
    workers: int = 1,
    backend: str = "auto",
    progress: Progress | None = None,
) -> Bench:
    """Run a benchmark, resuming whatever an earlier run with the same configuration and data has finished.

    `out` is the run folder (default `runs/<data>-<fingerprint8>`); a folder of another run is refused.
    Raises FdetectError in one sentence for data or settings that cannot be used.
    """
    clock = _Clock()
    store = store or Store()
    config = resolved(config)
    manifest = load_data(config, store)
    samples = samples_of(manifest)
    trials = trials_for(samples, config)
    conditions = tuple(condition(name) for name in config.conditions.names)
    chosen = resolve(backend)
    name = fingerprint(_portable(config), manifest.to_pydict(), fdetect.__version__, chosen.name)
    folder = claim_folder(out, _data_name(config), name, config)

    entries = select_features(",".join(config.features.names)) if config.features.names else ()
    prepared, not_run = _training_free(config)
    clock("prepare")
    extraction, placebo = _extract(
        config, manifest, samples, conditions, entries, prepared, store, workers, chosen, progress
    )
    clock("extract")
    audited = _audit(config, samples, extraction, placebo, conditions, workers)
    clock("audit")

    detectors = [*_heads(config, samples, entries, extraction), *_fixed(prepared, extraction, conditions)]
    detectors += [given for file in config.detectors.scores for given in read_scores(Path(file), samples, conditions)]
    _check_names(detectors)
    data = fingerprint(manifest.to_pydict(), extraction.ids)
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
    header = _header(config, manifest, samples, trials, name, data, chosen, prepared, extraction)
    result = RunResult(
        header, audited.as_json(), cells, tuple(thresholds_table(scores)), failures, tuple(not_run)
    )
    write_outputs(folder, result, scores, config)
    clock("write")
    return Bench(result, folder, scores, clock.seconds, extraction.warnings)


def audit_only(
    config: RunConfig,
    *,
    store: Store | None = None,
    workers: int = 1,
    backend: str = "auto",
    progress: Progress | None = None,
) -> Audit:
    """Run the audit of a benchmark and nothing else."""
    store = store or Store()
    config = resolved(config)
    manifest = load_data(config, store)
    samples = samples_of(manifest)
    conditions = tuple(condition(name) for name in config.conditions.names)
    extraction, placebo = _extract(
        config, manifest, samples, conditions, (), (), store, workers, resolve(backend), progress
    )
    return _audit(config, samples, extraction, placebo, conditions, workers)


def resolved(config: RunConfig) -> RunConfig:
    """Return the configuration with its automatic values filled in, and absolute paths."""
    crop = config.conditions.crop or (224 if config.data.path else 128)
    path = str(Path(config.data.path).absolute()) if config.data.path else ""
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


def _training_free(config: RunConfig) -> tuple[list[tuple[str, Any, tuple[EncodeView, ...]]], list[NotRun]]:
    """Find the weights of every training-free detector; those without become rows "not run"."""
    prepared, not_run = [], []
    for name in config.detectors.names:
        entry = detector.get(name)
        try:
            instance = entry(**({"weights": config.detectors.weights} if config.detectors.weights else {}))
            prepared.append((name, instance, prepare(instance)))
        except (WeightsError, BackendError) as error:
            reason, fix = getattr(error, "reason", str(error)), getattr(error, "fix", "")
            not_run.append(NotRun(name, reason, fix or "see fdetect doctor"))
    return prepared, not_run


def _extract(
    config: RunConfig, manifest: Table, samples: Samples, conditions: tuple[Condition, ...],
    entries: tuple[Entry, ...], prepared: Sequence[Any], store: Store, workers: int, backend: Backend,
    progress: Progress | None,
) -> tuple[Extraction, tuple[np.ndarray, Extraction]]:  # fmt: skip
    """Compute everything that later steps read, for all conditions in one pass; and the audit's placebo."""
    crop = config.conditions.crop
    probes = tuple(feature.get(name) for name in PROBE_FEATURES)
    views = {task.name: task for _, _, tasks in prepared for task in tasks}
    needed = {name: condition(name) for c in conditions for name in (c.name, train_condition(c.name), "native")}
    common: dict[str, Any] = {
        "root": manifest.schema.metadata[b"fdetect.root"].decode(), "crop": crop, "seed": config.seed,
        "store": store, "workers": workers, "backend": backend, "progress": progress,
    }  # fmt: skip
    tasks = [*feature_tasks(entries + tuple(p for p in probes if p not in entries), crop=crop), *views.values()]
    extraction = run(tasks, list(samples.path), conditions=list(needed.values()), **common)
    extra = placebo_rows(samples, extraction.ids, seed=config.seed)
    again = [replace(c, name=f"after_jpeg:{c.name}", after_jpeg=True) for c in conditions]
    history = feature_tasks(probes[-1:], crop=crop)
    return extraction, (extra, run(history, list(samples.path[extra]), conditions=again, **common))


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


def _heads(
    config: RunConfig, samples: Samples, entries: tuple[Entry, ...], extraction: Extraction
) -> Iterator[Contender]:
    """The cross product: every head of `per_family` on each family, every head of `all_columns` on all columns."""
    names = dict.fromkeys(e.family for e in entries)
    families = {family: [e for e in entries if e.family == family] for family in names}
    sets = [(h, family, mine) for family, mine in families.items() for h in config.heads.per_family]
    sets += [(h, "all", list(entries)) for h in config.heads.all_columns if entries]
    conditions = {name for name, _ in extraction.tables}
    for name, columns_name, mine in sets:
        tables = {c: [extraction.tables[c, e.name] for e in mine] for c in conditions}
        values = {c: np.concatenate([table.values for table in of_c], axis=1) for c, of_c in tables.items()}
        columns = tuple(column for table in next(iter(tables.values())) for column in table.columns)
        reasons = {c: _reasons(of_c) for c, of_c in tables.items()}
        yield Trained(f"{name}:{columns_name}", head.get(name), columns, values, samples.label, reasons)


def _fixed(
    prepared: Sequence[Any], extraction: Extraction, conditions: tuple[Condition, ...]
) -> Iterator[Contender]:
    """Training-free detectors: their score of every image under every condition, from the embeddings."""
    names = {name for c in conditions for name in (c.name, train_condition(c.name))}
    for name, instance, tasks in prepared:
        tables = {c: [extraction.tables[c, task.name] for task in tasks] for c in names}
        values = {
            c: instance.score(**{t.view_name: table.values for t, table in zip(tasks, of_c, strict=True)})
            for c, of_c in tables.items()
        }
        yield Fixed(name, values, {c: _reasons(of_c) for c, of_c in tables.items()})


def _reasons(tables: Sequence[FeatureTable]) -> dict[int, str]:
    """Why rows failed: row number -> "stage: reason" of the first table that failed."""
    found: dict[int, str] = {}
    for table in tables:
        row_of = {path: k for k, path in enumerate(table.paths)}
        for failure in table.failures:
            found.setdefault(row_of[failure.path], f"{failure.stage}: {failure.reason}")
    return found


def _scores(
    one: Contender, config: RunConfig, samples: Samples, ids: tuple[str, ...], trials: tuple[Trial, ...],
    name: str, folder: Path, workers: int, progress: Progress | None,
) -> pa.Table:  # fmt: skip
    """Score one detector, or read what an earlier, killed run had finished of the same work."""
    values = [one.values[c].tobytes() for c in sorted(one.values)] if isinstance(one, Trained | Fixed) else []
    code = source_digest(*(str(Path(fdetect.__file__).parent / f) for f in _SCORING_CODE))
    key = fingerprint(name, one.name, code, [content_id(v) for v in values], getattr(one, "digest", ""))
    part = folder / "parts" / f"scores-{key}.parquet"
    if part.exists():
        try:
            return pq.read_table(part)
        except (OSError, pa.ArrowException):
            pass  # a damaged part is computed again and replaced
    table = score_trials(one, samples, ids, trials, config.conditions.names, workers=workers, progress=progress)
    write_atomic(part, lambda path: pq.write_table(table, path, compression="zstd"))
    return table


_SCORING_CODE = ("bench/scoring.py", "bench/protocols.py", "classifiers/heads.py", "decide.py", "splits.py")


def _check_names(detectors: Sequence[Contender]) -> None:
    names = [one.name for one in detectors]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ParameterError(f"two detectors are called '{twice[0]}'; rename the one in the --scores file")


def _header(
    config: RunConfig, manifest: Table, samples: Samples, trials: tuple[Trial, ...], name: str, data: str,
    backend: Backend, prepared: Sequence[Any], extraction: Extraction,
) -> dict[str, Any]:  # fmt: skip
    """Everything a reader needs to judge or repeat the run; nothing that changes when it is repeated."""
    meta = manifest.schema.metadata
    doubles = len(extraction.ids) - len(set(extraction.ids))
    return {
        "fingerprint": name,
        "data": {
            "name": _data_name(config),
            "layout": meta[b"fdetect.layout"].decode(),
            "detected": meta.get(b"fdetect.detected", b"").decode(),
            "description": builtin.DESCRIPTION if not config.data.path else "",
            "hash": data,
            "n_real": int((samples.label == 0).sum()),
            "n_fake": int((samples.label == 1).sum()),
            "n_groups": len(set(samples.group)),
            "n_same_content": doubles,
            "generators": {g: int((samples.generator == g).sum()) for g in samples.generators},
            "real_sources": {
                s: int(((samples.real_source == s) & (samples.label == 0)).sum()) for s in samples.real_sources
            },
        },
        "trials": len(trials),
        "config": asdict(_portable(config)),
        "seed": config.seed,
        "versions": {**_versions(), "decoder": images.decoder_id()},
        "backend": asdict(backend),
        "weights": {name: asdict(tasks[0].card) for name, _, tasks in prepared},
    }


def _versions() -> dict[str, str]:
    from importlib.metadata import PackageNotFoundError, version

    found = {"fdetect": fdetect.__version__, "python": platform.python_version()}
    for package in ("numpy", "scipy", "scikit-learn", "scikit-image", "pillow", "simplejpeg", "pyarrow", "torch",
                    "transformers", "cupy"):  # fmt: skip
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def _portable(config: RunConfig) -> RunConfig:
    """The configuration without the folders of this machine."""
    return replace(config, data=replace(config.data, path=Path(config.data.path).name, root=""))


def _data_name(config: RunConfig) -> str:
    path = Path(config.data.path)
    if not config.data.path:
        return "builtin"
    return path.parent.name if path.stem == "manifest" else path.stem


class _Clock:
    """Seconds of each step, for run.json."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.monotonic()

    def __call__(self, step: str) -> None:
        now = time.monotonic()
        self.seconds[step] = round(now - self._last, 3)
        self._last = now


def host() -> dict[str, Any]:
    """Return what is known of the machine, for run.json."""
    return {"system": platform.system(), "machine": platform.machine(), "cores": os.cpu_count()}
