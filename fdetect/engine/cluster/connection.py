"""The loop's second form, on a Ray cluster: blocks of rows out, answers in; the store stays where the run is.

    rows -> blocks -> workers (read, decode, perturb, compute) -> device lanes (networks) -> answers -> store
                      one CPU each                                one GPU each, where there are some

Ray Data streams the blocks: it holds back what nobody is free for, and gives the block of a worker or machine that is
lost to another.  A block is asked for as paths, since workers read files themselves, with what the index and the store
know of them, since workers need not see the store.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Generator, Iterator
from contextlib import redirect_stdout
from typing import Any

import pyarrow as pa

from fdetect.engine.chunks import CHUNK
from fdetect.engine.cluster.answers import Answer, answer_schema
from fdetect.engine.cluster.workers import DeviceLane, Errand, Worker
from fdetect.engine.index import Index
from fdetect.engine.jobs import Jobs
from fdetect.engine.pool import default_workers
from fdetect.engine.work import Plan
from fdetect.errors import FdetectError
from fdetect.types import Table

__all__ = ["Cluster"]

_BLOCK = 512  # images under one condition that a block has at most: what is done again when its worker is lost
_BLOCKS_EACH = 8  # blocks for every worker at least, so that none waits long for the last
_VARIABLES = ("FDETECT_WEIGHTS", "HF_HOME", "HF_HUB_CACHE", "OMP_NUM_THREADS")  # that change or find a result
_WAITING_BYTES = 64 << 20  # pixels of a block that may wait for the device lane


class Cluster:
    """A connection to Ray: to the cluster at an address, or to one that is started on this machine.

    workers  that compute at the same time
    """

    def __init__(self, address: str = "", workers: int = 0) -> None:
        """Connect; 0 workers are as many as the cluster has CPUs.  Raises FdetectError where that cannot be done."""
        ray = self._ray = _ray()
        if not ray.is_initialized():
            started = {} if address or "RAY_ADDRESS" in os.environ else {"num_cpus": workers or default_workers(),
                                                                         "include_dashboard": False}  # fmt: skip
            try:
                ray.init(address or None, log_to_driver=False, logging_level=logging.ERROR, **started)
            except Exception as error:
                raise FdetectError(f"no Ray cluster at '{address or 'this machine'}' ({_one_line(error)})") from None
        resources = ray.cluster_resources()
        self.workers = workers or max(int(resources.get("CPU", 1)), 1)
        self.gpus = int(resources.get("GPU", 0))

    def answers(
        self, jobs: Jobs, index: Index, paths: pa.Array, *, root: str, time_limit: float
    ) -> Generator[Answer]:
        """Yield what workers answer, in any order; every row is in one answer.

        Raises FdetectError where the cluster gives up.
        """
        ray = self._ray
        plan = jobs.plan
        kept, ledger = ray.put(plan), ray.put(jobs.ledger())
        errand = Errand(
            (lambda: ray.get(kept)), jobs.described, answer_schema(plan, jobs.all), root, time_limit,
            (lambda: ray.get(ledger)), tuple(sys.path),
            {name: os.environ[name] for name in _VARIABLES if name in os.environ},
        )  # fmt: skip
        blocks = list(_blocks(index, paths, self._rows(plan, len(paths))))
        if not blocks:
            return
        data = ray.data.from_arrow(blocks)
        data.context.target_max_block_size = None  # an answer stays whole: the device lane needs all of it
        data.context.enable_progress_bars = False
        data = self._stage(data, Worker, errand, self.workers, num_cpus=1)
        if any(plan.in_lane(job) for job in jobs.all):
            data = self._stage(data, DeviceLane, errand, self.lanes(plan), num_cpus=0, num_gpus=int(_on_gpu(plan)))
        try:
            tables = iter(data.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0))
            while (table := _next(tables)) is not None:
                yield Answer.of(table)
        except ray.exceptions.RayError as error:
            raise FdetectError(f"the Ray cluster gave up ({_one_line(error)}); a new run resumes") from None

    def lanes(self, plan: Plan) -> int:
        """Return how many device lanes there are: one for each GPU where they compute on one.

        On CPUs, one for as many workers as a lane has threads, which is as many as this machine has cores.
        Raises FdetectError where the run needs a GPU and the cluster has none.
        """
        if not _on_gpu(plan):
            return max(self.workers // int(os.environ.get("OMP_NUM_THREADS") or default_workers()), 1)
        if not self.gpus:
            raise FdetectError("the Ray cluster has no GPU, while the run found one where it began; use --backend cpu")
        return self.gpus

    def _stage(self, data: Any, actor: type, errand: Errand, most: int, **resources: float) -> Any:
        """Add a pool of actors; one whose machine is lost comes again elsewhere, as often as it takes."""
        size = self._ray.data.ActorPoolStrategy(min_size=1, max_size=most, initial_size=most)
        return data.map_batches(
            actor, fn_constructor_args=(errand,), batch_size=None, batch_format="pyarrow", compute=size, **resources
        )

    def _rows(self, plan: Plan, n: int) -> int:
        """Return how many rows a block has: whole chunks, so that images stand together as in the local engine."""
        chunks = min(n // (self.workers * _BLOCKS_EACH), _BLOCK // len(plan.conditions)) // CHUNK
        if any(plan.in_lane((0, t)) for t in range(len(plan.tasks))):
            geometries = len({task.geometry for task in plan.tasks})
            chunks = min(chunks, _WAITING_BYTES // (3 * plan.crop**2 * len(plan.conditions) * geometries) // CHUNK)
        return CHUNK * max(chunks, 1)


def _next(tables: Iterator[Table]) -> Table | None:
    """Wait for the next table; what Ray has to say of lost machines meanwhile is no result: it goes to stderr."""
    with redirect_stdout(sys.stderr):
        return next(tables, None)


def _on_gpu(plan: Plan) -> bool:
    return plan.backend.name == "gpu" or any(getattr(task, "device", "cpu") != "cpu" for task in plan.tasks)


def _blocks(index: Index, paths: pa.Array, rows: int) -> Iterator[Table]:
    """Ask for all rows, so many at a time."""
    for start in range(0, len(paths), rows):
        here = paths.slice(start, rows)
        numbers = pa.array(range(start, start + len(here)), pa.int64())
        yield pa.table({"row": numbers, "path": here, **index.entries(start, len(here))})


def _ray() -> Any:
    """Import Ray, quietly; raises FdetectError where it is not installed."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent anywhere
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # its warnings are written for those who write for Ray
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise FdetectError(f"engine ray cannot be used ({error}); pip install 'fdetect[ray]'") from None
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    return ray


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
