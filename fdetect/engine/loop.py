"""`run`: files, conditions and tasks in; one table per (condition, task) out; what is in the store is not computed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy

from fdetect import backend as arrays
from fdetect import images, perturb
from fdetect.backend import Backend, resolve
from fdetect.config import fingerprint
from fdetect.engine.pool import map_chunks
from fdetect.engine.store import Store
from fdetect.engine.work import Chunk, Item, Job, Plan, Task, content_id
from fdetect.errors import ParameterError
from fdetect.perturb import Condition
from fdetect.registry import source_digest
from fdetect.types import Failure, FeatureTable

__all__ = ["Extraction", "Progress", "run"]

Progress = Callable[[str, int, int], None]  # (what, done, total)

CHUNK = 16  # images a worker takes at a time: one batch per condition
FLUSH_ROWS, FLUSH_SECONDS = 512, 5.0  # what a kill may cost


@dataclass(frozen=True)
class Extraction:
    """All tables of a run, by (condition name, task name), in the order of `paths`."""

    ids: tuple[str, ...]
    paths: tuple[str, ...]
    tables: dict[tuple[str, str], FeatureTable]
    n_computed: int  # (image, condition, task) triples computed now
    n_stored: int  # ... and found in the store
    warnings: tuple[str, ...]


def run(
    tasks: Sequence[Task],
    paths: Sequence[str],
    *,
    root: str | Path = ".",
    conditions: Sequence[Condition] = (Condition("native"),),
    crop: int = 224,
    seed: int = 0,
    store: Store | None = None,
    workers: int = 1,
    backend: Backend | None = None,
    progress: Progress | None = None,
) -> Extraction:
    """Compute every task under every condition for every path, once per content, resuming from the store.

    Images that fail are NaN rows with a `Failure`.  Without a store everything is computed and nothing is kept.
    Raises ParameterError for a crop that is no multiple of 8 or below 64 px, or a path given twice.
    """
    if crop % 8 or crop < 64:
        raise ParameterError(f"crop must be a multiple of 8 and at least 64 px, got {crop}")
    if len(set(paths)) != len(paths):
        raise ParameterError("the same path is listed twice; every row of a manifest needs its own path")
    plan = Plan(Path(root), tuple(conditions), tuple(tasks), crop, seed, backend or resolve("auto"))
    ids, unreadable = _identify(plan.root, paths, progress)
    collected = _Collected(plan, store)
    wanted = dict.fromkeys(id for id in ids if id not in unreadable)
    n_stored = sum(len(rows.keys() & wanted.keys()) for rows in collected.rows.values())
    path_of = dict(zip(reversed(ids), reversed(list(paths)), strict=True))  # the first path of each content
    n_computed = 0
    try:
        for in_process in (False, True):
            todo = list(_chunks(wanted, path_of, collected, in_process))
            total, done = sum(len(chunk.items) for chunk in todo), 0
            for result in map_chunks(plan, todo, 1 if in_process else min(workers, max(len(todo), 1))):
                n_computed += collected.add(result.rows, result.failures)
                done += result.n_items
                if progress:
                    progress("encoding" if in_process else "extracting", done, total)
    finally:
        collected.flush()
    tables = {
        (condition.name, task.name): collected.table((c, t), ids, tuple(paths), unreadable)
        for c, condition in enumerate(plan.conditions)
        for t, task in enumerate(plan.tasks)
    }
    return Extraction(ids, tuple(paths), tables, n_computed, n_stored, tuple(store.warnings if store else ()))


class _Collected:
    """Rows and failures by job as they come in; full buffers go to the store."""

    def __init__(self, plan: Plan, store: Store | None) -> None:
        self.plan, self.store = plan, store
        self.jobs: list[Job] = [(c, t) for c in range(len(plan.conditions)) for t in range(len(plan.tasks))]
        self.described = {job: _describe(plan, job) for job in self.jobs}
        self.keys = {job: f"{plan.tasks[job[1]].name}-{fingerprint(self.described[job])}" for job in self.jobs}
        named: dict[tuple[str, str], str] = {}
        for job, key in self.keys.items():
            pair = (plan.conditions[job[0]].name, plan.tasks[job[1]].name)
            if named.setdefault(pair, key) != key:
                raise ParameterError(
                    f"two different things are named condition '{pair[0]}', task '{pair[1]}'; rename one"
                )
        self.rows: dict[Job, dict[str, np.ndarray]] = {
            job: store.load(self.keys[job], len(plan.tasks[job[1]].columns)) if store else {} for job in self.jobs
        }
        self.failures: dict[tuple[Job, str], Failure] = {}
        self.unsaved: dict[Job, list[tuple[list[str], np.ndarray]]] = {}
        self.flushed = time.monotonic()

    def add(self, rows: dict[Job, tuple[list[str], np.ndarray]], failures: list[tuple[int, int, Failure]]) -> int:
        for job, (ids, values) in rows.items():
            self.rows[job].update(zip(ids, values, strict=True))
            self.unsaved.setdefault(job, []).append((ids, values))
        for c, t, failure in failures:
            for job in self.jobs:
                if c in (-1, job[0]) and t in (-1, job[1]):
                    self.failures[job, failure.id] = failure
        waiting = max((sum(len(ids) for ids, _ in parts) for parts in self.unsaved.values()), default=0)
        if waiting >= FLUSH_ROWS or time.monotonic() - self.flushed > FLUSH_SECONDS:
            self.flush()
        return sum(len(ids) for ids, _ in rows.values())

    def flush(self) -> None:
        for job, parts in self.unsaved.items():
            ids = [id for part_ids, _ in parts for id in part_ids]
            if self.store and ids:
                values = np.concatenate([values for _, values in parts])
                self.store.write(self.keys[job], self.described[job], ids, values)
        self.unsaved.clear()
        self.flushed = time.monotonic()

    def table(
        self, job: Job, ids: tuple[str, ...], paths: tuple[str, ...], unreadable: dict[str, Failure]
    ) -> FeatureTable:
        columns = self.plan.tasks[job[1]].columns
        values = np.full((len(ids), len(columns)), np.nan, np.float32)
        failures = []
        for k, (id, path) in enumerate(zip(ids, paths, strict=True)):
            row = self.rows[job].get(id)
            if row is not None:
                values[k] = row
            else:
                failure = unreadable.get(id) or self.failures[job, id]
                failures.append(Failure(id, path, failure.stage, failure.reason))
        return FeatureTable(ids, paths, columns, values, tuple(failures))


def _identify(
    root: Path, paths: Sequence[str], progress: Progress | None
) -> tuple[tuple[str, ...], dict[str, Failure]]:
    """Return the content id of every file (of the path, where it cannot be read) and the unreadable ones."""

    def identify(path: str) -> tuple[str, Failure | None]:
        try:
            return content_id((root / path).read_bytes()), None
        except (OSError, ValueError) as error:
            id = content_id(path.encode("utf-8", "surrogateescape"))
            return id, Failure(id, path, "read", getattr(error, "strerror", None) or str(error))

    found = []
    with ThreadPoolExecutor(8) as pool:
        for k, one in enumerate(pool.map(identify, paths)):
            found.append(one)
            if progress and (k % 256 == 255 or k + 1 == len(paths)):
                progress("reading", k + 1, len(paths))
    return tuple(id for id, _ in found), {id: failure for id, failure in found if failure}


def _chunks(wanted: dict[str, None], path_of: dict[str, str], done: _Collected, in_process: bool) -> Iterator[Chunk]:
    """Group the images that miss the same jobs, CHUNK at a time, in manifest order."""
    jobs = [job for job in done.jobs if done.plan.tasks[job[1]].in_process == in_process]
    by_missing: dict[tuple[Job, ...], list[Item]] = {}
    for id in wanted:
        if missing := tuple(job for job in jobs if id not in done.rows[job]):
            by_missing.setdefault(missing, []).append(Item(id, path_of[id]))
    for missing, items in by_missing.items():
        for start in range(0, len(items), CHUNK):
            yield Chunk(tuple(items[start : start + CHUNK]), missing)


def _describe(plan: Plan, job: Job) -> dict[str, Any]:
    """Everything that a row depends on beside the content: the store's key, and its metadata in clear text."""
    condition, task = plan.conditions[job[0]], plan.tasks[job[1]]
    return {
        "name": task.name,
        "version": task.version,
        "settings": dict(task.settings),
        "columns": fingerprint(task.columns),
        "geometry": asdict(task.geometry),
        "condition": asdict(condition),
        "steps": [perturb.perturbation.get(step).code for step, _ in condition.steps],  # a plug-in's are elsewhere
        "crop": plan.crop,
        "seed": plan.seed,
        "backend": plan.backend.name,
        "decoder": images.decoder_id(),
        "code": source_digest(images.__file__, perturb.__file__, arrays.__file__),
        "libraries": f"numpy {np.__version__}, scipy {scipy.__version__}",
    }
