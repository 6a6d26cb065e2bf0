"""How far a run is: what was found in each row, which contents it has met, and how many rows are settled."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

import numpy as np
import pyarrow as pa

from fdetect.engine.chunks import Done, Item, Job
from fdetect.engine.cluster.answers import Answer
from fdetect.engine.index import Index
from fdetect.engine.jobs import Jobs
from fdetect.engine.reading import Seen
from fdetect.engine.store import id_bytes, id_texts

__all__ = ["Progress", "Standing"]

Progress = Callable[[str, int, int], None]  # (what, done, total)


class Standing:
    """One run on its way."""

    def __init__(self, jobs: Jobs, index: Index, paths: pa.Array, progress: Progress | None) -> None:
        self.jobs, self.index, self.paths, self._progress = jobs, index, paths, progress
        self.ids = np.zeros((len(paths), 16), np.uint8)
        self.unreadable: dict[int, str] = {}
        self.n_stored = 0
        self.preparing = -1.0  # seconds that it took to get the tasks ready; below 0 while nothing asked for it
        self._settled = 0
        self._claimed: set[bytes] = set()  # contents that this run has met

    def missing(self, rows: Iterable[Seen]) -> Iterator[tuple[Item, tuple[Job, ...]]]:
        """Yield the images that miss something, in manifest order; settle the rows that need no work."""
        for seen in rows:
            missing = self._meet(seen)
            if not missing:
                self._settle(1)
                continue
            if self.preparing < 0:
                self._prepare()
            yield Item(seen.id, seen.data or b""), missing

    def add(self, done: Done, busy: dict[str, float]) -> None:
        """Take in the result of a chunk."""
        self.jobs.add(done)
        for lane, seconds in done.seconds.items():
            busy[lane] = busy.get(lane, 0.0) + seconds
        if not done.for_device:
            self._settle(done.n_items)

    def take(self, answer: Answer, busy: dict[str, float]) -> None:
        """Take in what a worker of a cluster answered; of a content that another one answered for, nothing twice."""
        if answer.error:
            raise answer.error
        self.ids[answer.rows] = answer.ids
        self.unreadable |= {int(answer.rows[k]): reason for k, reason in answer.reasons.items()}
        sure = np.flatnonzero(answer.sure)
        self.index.add_all(self.paths.take(pa.array(answer.rows[sure])), answer.stamps[sure], answer.ids[sure])
        new = set()
        for k, (id, n_stored) in enumerate(zip(id_texts(answer.ids), answer.n_stored.tolist(), strict=True)):
            if k not in answer.reasons and self._claim(id):
                new.add(id)
                self.n_stored += n_stored
        self.add(replace(answer.done.only(new), n_items=len(answer.rows)), busy)

    def _meet(self, seen: Seen) -> tuple[Job, ...]:
        """Note the content of a row, and return what has to be computed for it now."""
        if not self._note(seen):
            return ()
        missing = self.jobs.missing(seen.id) if seen.data is not None else ()
        self.n_stored += len(self.jobs.all) - len(missing)
        return missing

    def _note(self, seen: Seen) -> bool:
        """Note the content of a row, and return whether the run has met it for the first time."""
        self.ids[seen.row] = id_bytes([seen.id])[0]
        if seen.reason:
            self.unreadable[seen.row] = seen.reason
            return False
        if seen.stamp:
            self.index.add(seen.path, seen.stamp, seen.id)
        return self._claim(seen.id)

    def _claim(self, id: str) -> bool:
        """Return whether the run meets a content for the first time: the same file may lie under several paths."""
        content = bytes.fromhex(id)
        new = content not in self._claimed
        self._claimed.add(content)
        return new

    def _prepare(self) -> None:
        """Get the tasks of the workers ready, here and once: workers that started together would all compile."""
        since, steps = time.perf_counter(), self.jobs.plan.preparations
        for k, prepare in enumerate(steps):
            if self._progress:
                self._progress("preparing (kernels are compiled on first use)", k, len(steps))
            prepare()
        if self._progress and steps:
            self._progress("preparing (kernels are compiled on first use)", len(steps), len(steps))
        self.preparing = time.perf_counter() - since

    def _settle(self, rows: int) -> None:
        before, self._settled = self._settled, self._settled + rows
        due = self._settled // 64 > before // 64 or self._settled == len(self.ids)
        if self._progress and rows and due:
            self._progress("extracting", self._settled, len(self.ids))
