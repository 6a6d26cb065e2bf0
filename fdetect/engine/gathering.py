"""Gathering: batches of several chunks become one where the tasks of the device lane like more than a chunk holds.

A chunk of 16 images does not fill a GPU.  A task says in `batch` how many images it likes at a time; batches of one
shape and the same jobs wait for each other until they are that many, but never while the device has nothing to do:
so they grow just as far as the device is the slower one, and no result is held back at the end of a run.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from fdetect.engine.chunks import Done, Job
from fdetect.engine.work import Plan, on_device
from fdetect.types import Batch

__all__ = ["Gathering", "Ready", "compute"]

_BYTES = 64 << 20  # pixels that may wait for company: what a gathering costs in memory, beside those in the lane


@dataclass
class _Chunk:
    """Of one chunk: how many images it had, and how many of its batches are not computed yet."""

    n_items: int
    open: int


_Parts = list[tuple[Batch, _Chunk]]
Ready = list[tuple[tuple[Job, ...], _Parts]]  # what goes to the device: by jobs, the batches that become one


class Gathering:
    """Batches that wait for company, by shape and jobs."""

    def __init__(self, plan: Plan) -> None:
        self._liked = [int(getattr(task, "batch", 0)) for task in plan.tasks]
        self._waiting: dict[Any, _Parts] = {}

    def add(self, done: Done) -> None:
        """Take the batches that a chunk left for the device."""
        chunk = _Chunk(done.n_items, len(done.for_device))
        for batch, jobs in done.for_device:
            self._waiting.setdefault((jobs, batch.rgb8.shape[1:]), []).append((batch, chunk))

    def take(self, *, everything: bool) -> Ready:
        """Return what has to go now: groups that are large enough; all if asked to, or if they fill `_BYTES`."""
        everything = everything or sum(_n_bytes(parts) for parts in self._waiting.values()) >= _BYTES
        go = [
            key for key, parts in self._waiting.items()
            if everything or sum(len(batch) for batch, _ in parts) >= max(self._liked[t] for _, t in key[0])
        ]  # fmt: skip
        return [(key[0], self._waiting.pop(key)) for key in go]


def compute(plan: Plan, ready: Ready) -> Done:
    """Compute what was gathered; of its chunks, those that are finished with it are counted in `n_items`."""
    done = Done()
    for jobs, parts in ready:
        batch = _one([batch for batch, _ in parts])
        chunks = [chunk for _, chunk in parts]
        parts.clear()  # the pixels now stand in one array
        on_device(plan, batch, jobs, done)
        for chunk in chunks:
            chunk.open -= 1
            done.n_items += 0 if chunk.open else chunk.n_items
    return done


def _n_bytes(parts: _Parts) -> int:
    return sum(batch.rgb8.nbytes for batch, _ in parts)


def _one(batches: list[Batch]) -> Batch:
    if len(batches) == 1:
        return batches[0]
    ids = tuple(id for batch in batches for id in batch.ids)
    facts = tuple(fact for batch in batches for fact in batch.facts)
    return Batch(ids, np.concatenate([batch.rgb8 for batch in batches]), facts, batches[0].seed)
