"""`run`: images, conditions and tasks in; tables out; what is in the store is not computed.

    paths -> read lane -> chunks -> workers (decode, perturb, compute) -> device lane -> write lane -> store -> tables
                                                          (gathered on the way)

Every arrow is a bounded queue: memory does not grow with the number of images, save for their paths and ids.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fdetect.backend import Backend, resolve
from fdetect.engine.extraction import Extraction
from fdetect.engine.gathering import Gathering, compute
from fdetect.engine.index import Index
from fdetect.engine.jobs import Jobs
from fdetect.engine.lanes import Lane, Timing
from fdetect.engine.pool import TIME_LIMIT, map_chunks
from fdetect.engine.reading import READERS, Seen, read_ahead
from fdetect.engine.sources import Reader
from fdetect.engine.store import Store, id_bytes
from fdetect.engine.work import Chunk, Done, Item, Job, Plan, Task
from fdetect.errors import DataError, ParameterError
from fdetect.files import check_writable
from fdetect.perturb import Condition, check_crop

__all__ = ["Progress", "run"]

Progress = Callable[[str, int, int], None]  # (what, done, total)

CHUNK = 16  # images that a worker takes at a time: one batch per condition
CHUNK_BYTES = 32 << 20  # ... or fewer, where their files are large


def run(
    tasks: Sequence[Task],
    paths: pa.Array | Sequence[str],
    *,
    root: str | Path = ".",
    conditions: Sequence[Condition] = (Condition("native"),),
    only: Mapping[str, Collection[str]] | None = None,
    crop: int = 224,
    seed: int = 0,
    store: Store | None = None,
    workers: int = 0,
    time_limit: float = TIME_LIMIT,
    backend: Backend | None = None,
    progress: Progress | None = None,
) -> Extraction:
    """Compute every task under every condition for every path, once per content, resuming from the store.

    paths       names below `root`: of files, or of members of shards as `a.tar::name`; an Arrow array or a list
    only        of a condition, by its name, the tasks that are computed under it; all where it is not named
    store       where finished rows go and are found again; None for one that is gone with the result
    workers     processes; 0 computes in this one, without protection against images that crash or hang it
    time_limit  seconds that a worker may need for one step before its image is given up

    An image that fails, for whatever reason, is a row of NaN with a `Failure`.  Interrupted or killed at any moment,
    the run loses what was in memory, at most a few seconds of work.
    Raises ParameterError for a crop that is no multiple of 8 or below 64 px, or a path given twice; DataError where
    the store cannot be written; FdetectError where a task cannot run at all.
    """
    check_crop(crop, "crop")
    if not isinstance(workers, int) or workers < 0:
        raise ParameterError(f"workers must be a whole number of 0 or more, got {workers!r}")
    if time_limit <= 0:
        raise ParameterError(f"time_limit must be above 0 seconds, got {time_limit:g}")
    column = _column(paths)
    plan = Plan(tuple(conditions), tuple(tasks), crop, seed, backend or resolve("auto"))
    keep_alive = None
    if store is None:
        keep_alive = tempfile.TemporaryDirectory(prefix="fdetect-")
        store = Store(keep_alive.name)
    check_writable(store.folder)
    since, busy = time.perf_counter(), dict[str, float]()
    with (
        closing(Lane("write", busy)) as write,
        closing(Lane("device", busy)) as device,
        Reader(root) as reader,
    ):
        jobs = Jobs(plan, store, write, only)
        going = _Run(jobs, Index(store, Path(reader.root), column), column, progress)
        gathering = Gathering(plan)
        with ExitStack() as at_last:  # each of these, whatever happens, and the last named first
            at_last.callback(write.drain)
            at_last.callback(going.index.flush)
            at_last.callback(jobs.flush)
            with (
                closing(read_ahead(reader, column, going.index, jobs.finished, busy)) as seen,
                closing(map_chunks(plan, going.chunks(seen), workers, time_limit=time_limit)) as results,
            ):
                for done in results:
                    going.add(done, busy)
                    gathering.add(done)
                    if ready := gathering.take(everything=device.idle):
                        for late in device.put(compute, plan, ready):
                            going.add(late, busy)
            for late in [*device.put(compute, plan, gathering.take(everything=True)), *device.drain()]:
                going.add(late, busy)
    servers = {"read": READERS, "device": 1, "write": 1}
    servers |= dict.fromkeys(("decode", "perturb", "compute"), max(workers, 1))
    preparing = max(going.preparing, 0.0)
    timing = Timing(len(column), time.perf_counter() - since - preparing, busy, servers, preparing)
    return Extraction(column, going.ids, going.unreadable, jobs, going.n_stored, timing, keep_alive)


class _Run:
    """One run on its way: what was seen of each row, and how many rows are settled."""

    def __init__(self, jobs: Jobs, index: Index, paths: pa.Array, progress: Progress | None) -> None:
        self.jobs, self.index, self._progress = jobs, index, progress
        self.ids = np.zeros((len(paths), 16), np.uint8)
        self.unreadable: dict[int, str] = {}
        self.n_stored = 0
        self.preparing = -1.0  # seconds that it took to get the tasks ready; below 0 while nothing asked for it
        self._settled = 0
        self._claimed: set[bytes] = set()  # contents that this run has met

    def chunks(self, rows: Iterable[Seen]) -> Iterator[Chunk]:
        """Group images that miss the same jobs, in manifest order; settle the rows that need no work."""
        groups: dict[tuple[Job, ...], list[Item]] = {}
        for seen in rows:
            missing = self._meet(seen)
            if not missing:
                self._settle(1)
                continue
            if self.preparing < 0:
                self._prepare()
            group = groups.setdefault(missing, [])
            group.append(Item(seen.id, seen.data or b""))
            if len(group) >= CHUNK or sum(len(item.data) for item in group) >= CHUNK_BYTES:
                yield Chunk(tuple(groups.pop(missing)), missing)
        for missing, items in groups.items():
            yield Chunk(tuple(items), missing)

    def add(self, done: Done, busy: dict[str, float]) -> None:
        """Take in the result of a chunk."""
        self.jobs.add(done)
        for lane, seconds in done.seconds.items():
            busy[lane] = busy.get(lane, 0.0) + seconds
        if not done.for_device:
            self._settle(done.n_items)

    def _meet(self, seen: Seen) -> tuple[Job, ...]:
        """Note the content of a row, and return what has to be computed for it now."""
        self.ids[seen.row] = id_bytes([seen.id])[0]
        if seen.reason:
            self.unreadable[seen.row] = seen.reason
            return ()
        if seen.stamp:
            self.index.add(seen.path, seen.stamp, seen.id)
        content = bytes.fromhex(seen.id)
        if content in self._claimed:  # the same file under another path
            return ()
        self._claimed.add(content)
        missing = self.jobs.missing(seen.id) if seen.data is not None else ()
        self.n_stored += len(self.jobs.all) - len(missing)
        return missing

    def _prepare(self) -> None:
        """Get the tasks of the workers ready, here and once: workers that started together would all compile."""
        since, plan = time.perf_counter(), self.jobs.plan
        mine = [task for t, task in enumerate(plan.tasks) if not plan.in_lane((0, t))]
        steps = [prepare for task in mine if (prepare := getattr(task, "prepare", None))]
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


def _column(paths: pa.Array | Sequence[str]) -> pa.Array:
    """Return the paths as one Arrow array; raises ParameterError where one is listed twice, DataError if no text."""
    if isinstance(paths, pa.ChunkedArray):
        paths = paths.combine_chunks()
    try:
        column = paths if isinstance(paths, pa.Array) else pa.array(list(paths), pa.string())
    except UnicodeEncodeError as error:
        raise DataError(f"the name {error.object!a} is not valid UTF-8; rename the file") from None
    counts = pc.value_counts(column)
    twice = counts.filter(pc.greater(counts.field("counts"), 1))
    if len(twice):
        path = twice[0]["values"].as_py()
        raise ParameterError(f"the same path is listed twice, {path!r}; every row of a manifest needs its own path")
    return column
