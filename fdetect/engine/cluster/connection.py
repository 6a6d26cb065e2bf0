"""The loop's second form, on a Ray cluster: blocks of rows out, answers in; the store stays where the run is.

    rows -> blocks -> workers (read, decode, perturb, compute) -> device lanes (networks) -> answers -> store
                      one CPU each                                one GPU each, where they use one

Ray Data streams the blocks: it holds back what nobody is free for, and gives the block of a worker or machine that is
lost to another.  A block is asked for as paths, since workers read files themselves, with what the index and the store
know of them, since workers need not see the store.
"""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import Generator, Iterator
from contextlib import redirect_stdout
from typing import Any

import pyarrow as pa

from fdetect.addresses import masked
from fdetect.engine.chunks import CHUNK, Job
from fdetect.engine.cluster.answers import Answer, answer_schema
from fdetect.engine.cluster.workers import DeviceLane, Errand, Worker
from fdetect.engine.index import Index
from fdetect.engine.jobs import Jobs
from fdetect.engine.pool import default_workers
from fdetect.engine.work import Plan
from fdetect.errors import FdetectError, ParameterError
from fdetect.types import Table

__all__ = ["Cluster"]

_BLOCK = 512  # images under one condition that a block has: what is done again when its worker is lost
_BLOCKS_EACH = 8  # blocks for every worker at least, so that none waits long for the last
_MOST_BLOCKS = 8192  # of a run, unless their pixels wait for the device lane: each costs the run some milliseconds
_WAITING_BYTES = 64 << 20  # pixels of a block that may wait for the device lane
_PLACES = ("FDETECT_DNCNN", "FDETECT_WEIGHTS", "HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "XDG_CACHE_HOME",
           "XDG_DATA_HOME")  # fmt: skip
_THREADS = "OMP_NUM_THREADS"
_HERE = "local"  # the address of a cluster that is started on this machine

_connected: list[str] = []  # the address that this process is connected to, once it is


class Cluster:
    """A connection to Ray: to the cluster at an address, or to one that is started on this machine.

    workers  that compute at the same time
    lanes    that do, with networks; 1 until `answers` is called
    """

    def __init__(self, address: str = "", workers: int = 0) -> None:
        """Connect; 0 workers are as many as the cluster has CPUs.

        Raises FdetectError where that cannot be done, or where this process is connected to another cluster.
        """
        ray = self._ray = _ray()
        address = address or os.environ.get("RAY_ADDRESS") or _HERE
        if not ray.is_initialized():
            ours: dict[str, Any] = {}
            if address == _HERE:
                ours = {"num_cpus": max(workers, default_workers()), "include_dashboard": False}
            try:
                ray.init(address, log_to_driver=False, logging_level=logging.ERROR, **ours)
            except Exception as error:
                raise FdetectError(f"no Ray cluster at '{address}' ({_last_line(error)})") from None
            _connected[:] = [address]
        elif address not in (_HERE, "auto", *_connected, ray.get_runtime_context().gcs_address):
            raise FdetectError(f"this process is connected to another Ray cluster than {address}; ray.shutdown() first")
        resources = ray.cluster_resources()
        self.workers = workers or max(int(resources.get("CPU", 1)), 1)
        self.lanes = 1
        self._gpus = int(resources.get("GPU", 0))

    def answers(
        self, jobs: Jobs, index: Index, paths: pa.Array, *, root: str, time_limit: float
    ) -> Generator[Answer]:
        """Yield what workers answer, in any order; every row is in one answer.

        Raises ParameterError for what workers cannot import; FdetectError where the run needs a GPU and the cluster has
        none, or where the cluster gives up.
        """
        ray, plan = self._ray, jobs.plan
        _check_importable(plan)
        for_lane = [job for job in jobs.all if plan.in_lane(job)]
        gpus = int(any(plan.backend.name == "gpu" or _device(plan, job) != "cpu" for job in for_lane))
        self.lanes = self._n_lanes(gpus)
        kept, ledger = ray.put(plan), ray.put(jobs.ledger())
        errand = Errand(
            (lambda: ray.get(kept)), jobs.described, answer_schema(plan, jobs.all), root, time_limit,
            (lambda: ray.get(ledger)), tuple(sys.path), _variables(), _connected == [_HERE], os.path.isdir(root),
        )  # fmt: skip
        blocks = list(_blocks(index, paths, self._rows(plan, for_lane, len(paths))))
        if not blocks:
            return
        data = ray.data.from_blocks(blocks)  # from_arrow would start a process to look at them first
        del blocks
        data.context.target_max_block_size = None  # an answer stays whole: the device lane needs all of it
        data.context.max_errored_blocks = 0  # whatever the caller has set: no row is dropped
        data.context.enable_progress_bars = False
        data = self._stage(data, Worker, errand, self.workers, num_cpus=1)
        if for_lane:
            data = self._stage(data, DeviceLane, errand, self.lanes, num_cpus=0, num_gpus=gpus)
        n_rows = 0
        try:
            tables = iter(data.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0))
            while (table := _next(tables)) is not None:
                n_rows += len(table)
                yield Answer.of(table)
        except ray.exceptions.RayError as error:
            raise FdetectError(f"the Ray cluster gave up ({_last_line(error)}); a new run resumes") from None
        if n_rows != len(paths):
            raise FdetectError(f"the Ray cluster answered for {n_rows} of {len(paths)} rows; a new run resumes")

    def _n_lanes(self, gpus: int) -> int:
        """Return how many device lanes there are: one for each GPU where they compute on one.

        On CPUs, one for as many workers as a lane has threads, which is as many as this machine has cores.
        """
        if not gpus:
            threads = os.environ.get(_THREADS, "").split(",")[0]
            return max(self.workers // (int(threads) if threads.isdigit() and int(threads) else default_workers()), 1)
        if not self._gpus:
            raise FdetectError("the Ray cluster has no GPU, while the run found one where it began; use --backend cpu")
        return self._gpus

    def _stage(self, data: Any, actor: type, errand: Errand, most: int, **resources: float) -> Any:
        """Add a pool of actors; one whose machine is lost comes again elsewhere, as often as it takes."""
        size = self._ray.data.ActorPoolStrategy(min_size=1, max_size=most, initial_size=most)
        return data.map_batches(
            actor, fn_constructor_args=(errand,), batch_size=None, batch_format="pyarrow", compute=size, **resources
        )

    def _rows(self, plan: Plan, for_lane: list[Job], n: int) -> int:
        """Return how many rows a block has: whole chunks, so that images stand together as in the local engine."""
        most = max(_BLOCK // len(plan.conditions), n // _MOST_BLOCKS)
        chunks = min(n // (self.workers * _BLOCKS_EACH), most) // CHUNK
        shown = {(c, plan.tasks[t].geometry) for c, t in for_lane}
        if pixels := sum((geometry.size or plan.crop) ** 2 for _, geometry in shown):
            chunks = min(chunks, _WAITING_BYTES // (3 * pixels) // CHUNK)
        return CHUNK * max(chunks, 1)


def _next(tables: Iterator[Table]) -> Table | None:
    """Wait for the next table; what Ray has to say of lost machines meanwhile is no result: it goes to stderr."""
    with redirect_stdout(sys.stderr):
        return next(tables, None)


def _blocks(index: Index, paths: pa.Array, rows: int) -> Iterator[Table]:
    """Ask for all rows, so many at a time."""
    for start in range(0, len(paths), rows):
        here = paths.slice(start, rows)
        numbers = pa.array(range(start, start + len(here)), pa.int64())
        yield pa.table({"row": numbers, "path": here, **index.entries(start, len(here))})


def _device(plan: Plan, job: Job) -> str:
    return str(getattr(plan.tasks[job[1]], "device", "cpu"))


def _check_importable(plan: Plan) -> None:
    """Raise ParameterError for what the script itself defines: workers would look for it in Ray's script."""
    parts: list[Any] = [*plan.tasks, *plan.conditions]
    for one in parts:
        if type(one).__module__ == "__main__":
            raise ParameterError(f"{one.name} is defined in the script that runs; put it into a module for engine ray")


def _variables() -> dict[str, str]:
    """Return what workers need of this process's environment."""
    found = {name: os.path.abspath(value) for name in _PLACES if (value := os.environ.get(name))}
    return found | ({_THREADS: os.environ[_THREADS]} if _THREADS in os.environ else {})


def _ray() -> Any:
    """Import Ray, quietly; raises FdetectError where it is not installed."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent anywhere
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # its warnings are written for those who write for Ray
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise FdetectError(f"engine ray cannot be used ({error}); pip install 'fdetect[ray]'") from None
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # an error is raised, and said once
    return ray


def _last_line(error: Exception) -> str:
    """Return what an error of Ray comes to: it begins with a traceback, in colours."""
    lines = re.sub(r"\x1b\[[0-9;]*m", "", str(error)).strip().splitlines()
    return masked(lines[-1].strip()) if lines else type(error).__name__
