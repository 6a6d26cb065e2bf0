"""Which jobs of a run are finished for which content: a job is one task under one condition, with its own key."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from dataclasses import asdict
from importlib.metadata import version
from inspect import getsourcefile
from typing import Any

import numpy as np
import scipy

from fdetect import backend as arrays
from fdetect import geometry, images, perturb, sharing, wear
from fdetect.config import fingerprint
from fdetect.engine.chunks import Done, Failed, Job
from fdetect.engine.cluster.ledger import Ledger
from fdetect.engine.lanes import Lane
from fdetect.engine.store import Store, id_bytes
from fdetect.engine.work import Plan
from fdetect.errors import ParameterError
from fdetect.registry import source_digest

__all__ = ["Jobs", "describe"]

FLUSH_BYTES, FLUSH_SECONDS = 4 << 20, 10.0  # rows that wait in memory for their part: what a kill may cost


class Jobs:
    """The jobs of a plan, their keys in the store, what stands there, and the rows on their way to it."""

    def __init__(
        self, plan: Plan, store: Store, lane: Lane, only: Mapping[str, Collection[str]] | None = None
    ) -> None:
        self.plan, self.store, self._lane = plan, store, lane
        self.all: tuple[Job, ...] = tuple(
            (c, t)
            for c, condition in enumerate(plan.conditions)
            for t, task in enumerate(plan.tasks)
            if task.name in (only or {}).get(condition.name, (task.name,))
        )
        self.described = {job: describe(plan, job) for job in self.all}
        self.keys = {job: f"{plan.tasks[job[1]].name}-{fingerprint(self.described[job])}" for job in self.all}
        named: dict[tuple[str, str], str] = {}
        for (c, t), key in self.keys.items():
            pair = (plan.conditions[c].name, plan.tasks[t].name)
            if named.setdefault(pair, key) != key:
                raise ParameterError(
                    f"two different things are named condition '{pair[0]}', task '{pair[1]}'; rename one"
                )
        self._stored = {job: store.rows(key, len(plan.tasks[job[1]].columns)) for job, key in self.keys.items()}
        self.failed: dict[str, list[Failed]] = {}
        self.n_computed = 0
        self._unsaved: dict[Job, list[tuple[list[str], np.ndarray]]] = {}
        self._unsaved_bytes, self._flushed = 0, time.monotonic()

    def missing(self, id: str) -> tuple[Job, ...]:
        """Return the jobs that the store had not finished for a content when the run began."""
        wanted = id_bytes([id])
        return tuple(job for job in self.all if not self._stored[job].has(wanted)[0])

    def finished(self, ids: list[str]) -> np.ndarray:
        """N ids -> (N,) bool: whether the store had everything about each when the run began."""
        done, wanted = np.ones(len(ids), bool), id_bytes(ids)
        for job in self.all:
            done[done] = self._stored[job].has(wanted[done])
        return done

    def ledger(self) -> Ledger:
        """Return what the store had finished when the run began as a value that travels; every part is verified."""
        return Ledger.of({job: self._stored[job].ids() for job in self.all})

    def add(self, done: Done) -> None:
        """Take in what a chunk came to; rows go to the store when there are enough, or after a few seconds."""
        for failed in done.failed:
            self.failed.setdefault(failed.id, []).append(failed)
        for job, (ids, values) in done.rows.items():
            self._unsaved.setdefault(job, []).append((ids, values))
            self._unsaved_bytes += values.nbytes
            self.n_computed += len(ids)
        if self._unsaved_bytes >= FLUSH_BYTES or time.monotonic() - self._flushed > FLUSH_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Hand all unsaved rows to the write lane."""
        for job, pieces in self._unsaved.items():
            ids = id_bytes([id for piece, _ in pieces for id in piece])
            values = np.concatenate([values for _, values in pieces])
            if len(ids):
                self._lane.put(self.store.write, self.keys[job], self.described[job], ids, values)
        self._unsaved = {}
        self._unsaved_bytes, self._flushed = 0, time.monotonic()

    def why_missing(self, id: str, job: Job) -> Failed | None:
        """Return what went wrong with a content in a job."""
        for failed in self.failed.get(id, ()):
            if failed.condition in (-1, job[0]) and failed.task in (-1, job[1]):
                return failed
        return None


def describe(plan: Plan, job: Job) -> dict[str, Any]:
    """Everything that a row depends on beside the content: the store's key, and its metadata in clear text."""
    condition, task = plan.conditions[job[0]], plan.tasks[job[1]]
    # the kind of a condition may be defined elsewhere, as that of aligned pairs is
    kind = getsourcefile(type(condition)) or ""
    files = (*(m.__file__ for m in (images, geometry, perturb, wear, sharing, arrays)), kind)
    return {
        "name": task.name,
        "version": task.version,
        "settings": dict(task.settings),
        "columns": fingerprint(task.columns),
        "geometry": asdict(task.geometry),
        "condition": condition.settings,
        "steps": [perturb.perturbation.get(step).code for step, _ in condition.steps],  # those of others are elsewhere
        "crop": plan.crop,
        "seed": plan.seed,
        "backend": plan.backend.name,
        "decoder": images.decoder_id(),
        "code": source_digest(*dict.fromkeys(files)),
        "libraries": f"numpy {np.__version__}, scipy {scipy.__version__}, numba {version('numba')}",
    }
