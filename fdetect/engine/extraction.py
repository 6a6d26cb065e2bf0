"""What a run comes to: tables that are read from the store when they are asked for, whole or block by block."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

from fdetect.engine.chunks import Job
from fdetect.engine.jobs import Jobs
from fdetect.engine.lanes import Timing
from fdetect.engine.store import Rows
from fdetect.errors import DataError
from fdetect.types import Failure, FeatureTable

__all__ = ["BLOCK", "Extraction"]

_IN_ORDER, _GATHERED = 8, 64 << 20  # a block from more parts than this is gathered with others, up to so many bytes
BLOCK = 512  # rows that are in memory at a time when a table is streamed; also the row groups of files


class Extraction:
    """All tables of a run, by (condition name, task name), in the order of the manifest.

    paths       (N,) Arrow text
    n_computed  (content, condition, task) triples computed now
    n_stored    ... and found in the store
    warnings    parts of the store that could not be trusted
    timing      images a second, and the share of each lane
    """

    def __init__(
        self, paths: pa.Array, ids: np.ndarray, unreadable: Mapping[int, str], jobs: Jobs, n_stored: int,
        timing: Timing, keep_alive: object,
    ) -> None:  # fmt: skip
        self._paths, self._ids, self._unreadable, self._jobs = paths, ids, unreadable, jobs
        self._keep_alive = keep_alive  # a temporary store is removed with the last thing that reads from it
        self.n_computed, self.n_stored = jobs.n_computed, n_stored
        self.warnings = tuple(jobs.store.warnings)
        self.timing = timing

    def __len__(self) -> int:
        return len(self._paths)

    @cached_property
    def ids(self) -> tuple[str, ...]:
        """N content ids, 32 hex digits each; of the path, where the file could not be read."""
        return tuple(bytes(id).hex() for id in self._ids)

    @cached_property
    def paths(self) -> tuple[str, ...]:
        """N paths as in the manifest."""
        return tuple(self._paths.to_pylist())

    @cached_property
    def tables(self) -> Mapping[tuple[str, str], FeatureTable]:
        """Every table, read when it is first asked for."""
        return _Tables(self)

    @property
    def names(self) -> tuple[tuple[str, str], ...]:
        """(condition, task) of every table."""
        plan = self._jobs.plan
        return tuple((plan.conditions[c].name, plan.tasks[t].name) for c, t in self._jobs.all)

    def blocks(
        self, condition: str, tasks: Sequence[str], *, rows: int = 0, manifest: pa.Table | None = None
    ) -> Iterator[FeatureTable]:
        """Yield the columns of some tasks side by side, `rows` images at a time, with their rows of the manifest.

        0 rows stands for BLOCK.  There is one block at least, empty where there is no image.
        """
        rows = rows or BLOCK
        jobs = [self._jobs.all[self.names.index((condition, task))] for task in tasks]
        opened = [self._open(job, keep=1) for job in jobs]
        step = rows
        if max(one.n_parts(self._ids[:rows]) for one in opened) > _IN_ORDER:
            row_bytes = 4 * sum(len(self._jobs.plan.tasks[t].columns) for _, t in jobs)
            step *= max(_GATHERED // (row_bytes * rows), 1)
        for start in range(0, max(len(self), 1), step):
            values = [one.take(self._ids[start : start + step]) for one in opened]
            for k in range(0, max(len(values[0]), 1), rows):
                here = [of_job[k : k + rows] for of_job in values]
                yield self._block(jobs, here, slice(start + k, start + k + rows), manifest)

    def table(self, condition: str, tasks: Sequence[str], *, manifest: pa.Table | None = None) -> FeatureTable:
        """Return the columns of some tasks side by side, for all images at once."""
        (block,) = self.blocks(condition, tasks, rows=max(len(self), 1), manifest=manifest)
        return block

    def _open(self, job: Job, keep: int) -> Rows:
        return self._jobs.store.rows(self._jobs.keys[job], len(self._jobs.plan.tasks[job[1]].columns), keep=keep)

    def _block(self, jobs: Sequence[Job], values: Sequence[np.ndarray], rows: slice, manifest: Any) -> FeatureTable:
        here = self._ids[rows]
        ids, paths = tuple(bytes(id).hex() for id in here), self._paths[rows].to_pylist()
        failures: dict[int, Failure] = {}
        for job, of_job in zip(jobs, values, strict=True):
            for k in np.flatnonzero(np.isnan(of_job).any(axis=1)) if of_job.shape[1] else ():
                failures.setdefault(int(k), self._failure(job, rows.start + int(k), ids[k], paths[k]))
        return FeatureTable(
            ids,
            tuple(paths),
            tuple(column for _, t in jobs for column in self._jobs.plan.tasks[t].columns),
            values[0] if len(values) == 1 else np.concatenate(values, axis=1),
            tuple(failures[k] for k in sorted(failures)),
            manifest.slice(rows.start, len(ids)) if manifest is not None else None,
            {self._jobs.plan.tasks[job[1]].name: self._jobs.described[job] for job in jobs},
        )

    def _failure(self, job: Job, row: int, id: str, path: str) -> Failure:
        if row in self._unreadable:
            return Failure(id, path, "read", self._unreadable[row])
        if failed := self._jobs.why_missing(id, job):
            return Failure(id, path, failed.stage, failed.reason)
        folder = self._jobs.store.folder / self._jobs.keys[job]
        raise DataError(f"{folder}: finished rows are gone or damaged since they were written; start again")


class _Tables(Mapping[tuple[str, str], FeatureTable]):
    def __init__(self, extraction: Extraction) -> None:
        self._extraction = extraction
        self._read: dict[tuple[str, str], FeatureTable] = {}

    def __getitem__(self, name: tuple[str, str]) -> FeatureTable:
        if name not in self._read:
            if name not in self._extraction.names:
                raise KeyError(name)
            self._read[name] = self._extraction.table(name[0], [name[1]])
        return self._read[name]

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self._extraction.names)

    def __len__(self) -> int:
        return len(self._extraction.names)
