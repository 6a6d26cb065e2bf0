"""What goes to a worker, and what comes back: images that miss the same jobs, and what became of them."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from fdetect.types import Batch

__all__ = ["CHUNK", "CHUNK_BYTES", "Chunk", "Done", "Failed", "Item", "Job", "in_chunks"]

CHUNK = 16  # images that a worker takes at a time: one batch per condition
CHUNK_BYTES = 32 << 20  # ... or fewer, where their files are large

Job = tuple[int, int]  # (index of the condition, index of the task)


@dataclass(frozen=True)
class Item:
    """One image: its content id and the bytes of its file."""

    id: str
    data: bytes


@dataclass(frozen=True)
class Chunk:
    """Images that miss the same jobs."""

    items: tuple[Item, ...]
    jobs: tuple[Job, ...]

    def halves(self) -> tuple[Chunk, Chunk]:
        """Return the first and the second half."""
        middle = len(self.items) // 2
        return replace(self, items=self.items[:middle]), replace(self, items=self.items[middle:])


@dataclass(frozen=True)
class Failed:
    """Why one image has no row: under which condition and task (-1: all of the chunk's), at which stage."""

    id: str
    stage: str
    reason: str
    condition: int = -1
    task: int = -1


@dataclass
class Done:
    """What became of a chunk: rows by job, failures, batches for the device lane, and seconds by lane."""

    n_items: int = 0
    rows: dict[Job, tuple[list[str], np.ndarray]] = field(default_factory=dict)
    failed: list[Failed] = field(default_factory=list)
    for_device: list[tuple[Batch, tuple[Job, ...]]] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)

    def add_rows(self, job: Job, ids: list[str], values: np.ndarray) -> None:
        """Add rows of a job: N ids and (N, D) float32."""
        known = self.rows.get(job)
        self.rows[job] = (known[0] + ids, np.concatenate([known[1], values])) if known else (ids, values)

    def add(self, other: Done) -> None:
        """Take in what became of another chunk."""
        for job, (ids, values) in other.rows.items():
            self.add_rows(job, ids, values)
        self.n_items += other.n_items
        self.failed += other.failed
        self.for_device += other.for_device
        for lane, seconds in other.seconds.items():
            self.seconds[lane] = self.seconds.get(lane, 0.0) + seconds

    def only(self, ids: set[str]) -> Done:
        """Return it without what belongs to other contents."""
        rows = {}
        for job, (of_job, values) in self.rows.items():
            if ids.issuperset(of_job):
                rows[job] = (of_job, values)
                continue
            kept = [k for k, id in enumerate(of_job) if id in ids]
            rows[job] = ([of_job[k] for k in kept], values[kept])
        return replace(self, rows=rows, failed=[one for one in self.failed if one.id in ids])

    def timed(self, lane: str, since: float) -> float:
        """Add the time since `since` to a lane, and return now."""
        now = time.perf_counter()
        self.seconds[lane] = self.seconds.get(lane, 0.0) + now - since
        return now


def in_chunks(items: Iterable[tuple[Item, tuple[Job, ...]]]) -> Iterator[Chunk]:
    """Put images that miss the same jobs together as workers take them, in their order."""
    groups: dict[tuple[Job, ...], list[Item]] = {}
    for item, jobs in items:
        group = groups.setdefault(jobs, [])
        group.append(item)
        if len(group) >= CHUNK or sum(len(one.data) for one in group) >= CHUNK_BYTES:
            yield Chunk(tuple(groups.pop(jobs)), jobs)
    for jobs, group in groups.items():
        yield Chunk(tuple(group), jobs)
