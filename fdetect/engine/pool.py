"""Where chunks are worked on: in this process, or in a pool of processes with a bounded queue."""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool

from fdetect.engine.work import Chunk, Done, Plan, work
from fdetect.errors import FdetectError

__all__ = ["default_workers", "map_chunks"]

_plan: Plan | None = None  # in a worker process: the plan, sent once when the process starts


def default_workers() -> int:
    """Return the number of cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def map_chunks(plan: Plan, chunks: Iterable[Chunk], workers: int) -> Iterator[Done]:
    """Yield the result of every chunk as it finishes; 1 worker computes in this process.

    Raises FdetectError if a worker process dies; what was yielded before is the caller's and can be kept.
    """
    if workers <= 1:
        for chunk in chunks:
            yield work(plan, chunk)
        return
    context = multiprocessing.get_context("forkserver" if "forkserver" in _start_methods() else "spawn")
    waiting: set[Future[Done]] = set()
    with ProcessPoolExecutor(workers, context, initializer=_start, initargs=(plan,)) as pool:
        try:
            for chunk in chunks:
                waiting.add(pool.submit(_work, chunk))
                while len(waiting) >= 2 * workers:  # bounded: results never pile up behind a slow reader
                    finished, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                    yield from (future.result() for future in finished)
            while waiting:
                finished, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in finished)
        except BrokenProcessPool:
            raise FdetectError(
                "a worker process died; finished parts are kept: start again to resume, with --workers 1 to see why"
            ) from None
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _start_methods() -> list[str]:
    return multiprocessing.get_all_start_methods()


def _start(plan: Plan) -> None:
    global _plan
    _plan = plan
    threading.Thread(target=_leave_with_the_run, daemon=True).start()


def _leave_with_the_run() -> None:
    """End this worker when the run's process is gone: a killed run would leave its workers waiting for ever."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    multiprocessing.connection.wait([parent.sentinel])
    os._exit(1)


def _work(chunk: Chunk) -> Done:
    assert _plan is not None
    return work(_plan, chunk)
