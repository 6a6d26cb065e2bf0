"""Where chunks are worked on: in this process, or by worker processes that may crash or hang without harm.

A worker holds one chunk at a time, so it is known what it was working on when it died.  The chunk is given once more
to a fresh worker, since a death may come from outside; if that one dies too, it is halved until one image alone
stands accused.  With one image a worker says before each step what it begins, so that only what killed it twice is
lost: a task under a condition (with those that compute together with it), a condition, or all of an image that
cannot be decoded.  Where deaths come at other steps each time, the `_DEATHS`-th is taken for the culprit's.  A task
that was lost under `_CONDITIONS` conditions is not tried under the others.  The rest is tried again, until more than
`_CULPRITS` are found: then it is the image.  A worker that is silent for longer than the time limit is ended, and its
chunk treated in the same way.
"""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import os
import signal
import threading
import time
from collections import Counter, deque
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import islice
from multiprocessing.connection import Connection, wait
from typing import Any

from fdetect.engine.chunks import Chunk, Done, Failed, Job
from fdetect.engine.work import Plan, work
from fdetect.errors import FdetectError

__all__ = ["TIME_LIMIT", "Pool", "default_workers", "map_chunks"]

START_LIMIT = 120.0  # seconds to import everything that the tasks need
TIME_LIMIT = 60.0  # seconds that a worker may go without finishing one step (one image decoded, one batch computed)

_SIGN_OF_LIFE = 0.5  # seconds between two signs at least, or a quarter of the time limit
_ALIVE = "alive"
_CULPRITS = 4  # of one image: each costs two workers, and two time limits where it hangs
_CONDITIONS = 2  # under which a task is lost for an image before it is no longer tried
_DEATHS = 3  # of one image, each at another step, before the last step is accused without having been there twice
_CONDITION, _UNTRIED = "condition ", f", under {_CONDITIONS} conditions; it was not tried under this one"


def default_workers() -> int:
    """Return the number of cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def map_chunks(
    plan: Plan, chunks: Iterable[Chunk], workers: int, *, time_limit: float = TIME_LIMIT
) -> Generator[Done]:
    """Yield the result of every chunk as it finishes; 0 workers computes in this process, without protection.

    A chunk is taken from `chunks` only when a worker is free for it.  Raises FdetectError where a task says that it
    cannot run at all, or where worker processes do not start.
    """
    with closing(Pool(plan, workers, time_limit=time_limit)) as pool:
        yield from pool.map(chunks)


class Pool:
    """Workers that stay from one `map` to the next; they start with the first chunk that there is for them."""

    def __init__(self, plan: Plan, workers: int, *, time_limit: float = TIME_LIMIT) -> None:
        self._plan, self._n, self._time_limit = plan if workers < 1 else plan.for_workers(), workers, time_limit
        self._workers: list[_Worker] = []

    def map(self, chunks: Iterable[Chunk]) -> Generator[Done]:
        """As `map_chunks`; workers that are busy when it is closed early are ended."""
        if self._n < 1:
            yield from (work(self._plan, chunk) for chunk in chunks)
            return
        source, pool = iter(chunks), self._workers
        waiting = deque(_Try(chunk) for chunk in islice(source, self._n))
        try:
            while len(pool) < len(waiting):  # no more processes than there is work for
                pool.append(_Worker(self._plan, self._time_limit))
            while pool:
                for worker in pool:
                    if worker.idle and (one := waiting.popleft() if waiting else _next(source)):
                        worker.give(one)
                if any(worker.idle for worker in pool) and not any(worker.trying for worker in pool):
                    return
                for worker in _speaking(pool, self._time_limit):
                    yield from _heard(worker, waiting, self._time_limit)
        finally:
            for worker in [worker for worker in pool if worker.trying]:
                pool.remove(worker)
                worker.end()

    def close(self) -> None:
        """End all workers."""
        while self._workers:
            self._workers.pop().end()


_Step = tuple[str, tuple[Job, ...]]  # what `Alive` is told
_DECODING: _Step = ("", ())


@dataclass(frozen=True)
class _Try:
    """A chunk, whether it is its last chance before it is halved; of one image, where workers died and what is lost."""

    chunk: Chunk
    last: bool = False
    died: tuple[_Step, ...] = ()
    failed: tuple[Failed, ...] = ()


class _Worker:
    """One worker process and what it is trying."""

    def __init__(self, plan: Plan, time_limit: float) -> None:
        self.plan, self.silence = plan, min(_SIGN_OF_LIFE, time_limit / 4)
        self.start()

    def start(self) -> None:
        methods = multiprocessing.get_all_start_methods()
        context: Any = multiprocessing.get_context("forkserver" if "forkserver" in methods else "spawn")
        # imported once by the server, not by each worker: one that crashes is replaced in a moment
        context.set_forkserver_preload([__name__, *{type(task).__module__ for task in self.plan.tasks}])
        connection, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs, self.plan, self.silence), daemon=True)
        # Ctrl-C while the server is being started is for this process alone; the server would print a traceback
        before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
        try:
            process.start()
        except Exception as error:  # a task that does not pickle, or no process to be had
            raise _no_start(f"{type(error).__name__}: {error}") from None
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        theirs.close()
        self.connection, self.process = connection, process
        self.ready, self.heard_at = False, time.monotonic()
        self.trying: _Try | None = None
        self.step = _DECODING

    @property
    def idle(self) -> bool:
        """Whether it has started and has nothing to do."""
        return self.ready and self.trying is None

    def give(self, one: _Try) -> None:
        self.trying, self.step, self.heard_at = one, _DECODING, time.monotonic()
        with contextlib.suppress(OSError):  # it died while idle: its end of the pipe says so when it is listened to
            self.connection.send(one.chunk)

    def hear(self) -> Any:
        """Return what the worker says: a sign of life, a result, an error; None where it is dead."""
        self.heard_at = time.monotonic()
        try:
            return self.connection.recv()
        except (EOFError, OSError):
            self.process.join(5)
            return None

    def end(self) -> str:
        """Let an idle worker leave, kill one that is busy, and return how it ended."""
        self.connection.close()
        self.process.join(0 if self.trying else 5)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        code = self.process.exitcode or 0
        return signal.Signals(-code).name if code < 0 else f"exit code {code}"


def _next(source: Iterator[Chunk]) -> _Try | None:
    chunk = next(source, None)
    return None if chunk is None else _Try(chunk)


def _speaking(pool: list[_Worker], time_limit: float) -> list[_Worker]:
    """Wait for workers that have something to say, or that have been silent for too long."""
    awaited = {worker: worker.heard_at + (time_limit if worker.ready else START_LIMIT)
               for worker in pool if not worker.idle}  # fmt: skip
    heard = wait([worker.connection for worker in awaited], max(min(awaited.values()) - time.monotonic(), 0.0))
    if heard:
        return [worker for worker in awaited if worker.connection in heard]
    return [worker for worker, until in awaited.items() if time.monotonic() >= until]


def _heard(worker: _Worker, waiting: deque[_Try], time_limit: float) -> Iterator[Done]:
    """Act on what one worker says, or on its silence: a result is yielded, lost work is put up for another try."""
    silent = not worker.connection.poll()
    message = None if silent else worker.hear()
    if message == _ALIVE:
        worker.ready = True
    elif isinstance(message, tuple):
        worker.step = message
    elif isinstance(message, Done):
        message.failed += worker.trying.failed if worker.trying else ()
        worker.trying = None
        yield message
    elif isinstance(message, Exception) and not isinstance(message, MemoryError):
        raise message
    else:
        lost, step, how = worker.trying, worker.step, worker.end()
        how = "out of memory" if isinstance(message, MemoryError) else how
        if lost is None:
            raise _no_start(f"silent for {START_LIMIT:g} s" if silent else how)
        worker.start()
        if len(lost.chunk.items) > 1:
            once = not lost.last and not silent
            waiting.extend([replace(lost, last=True)] if once else
                           [_Try(half, last=len(half.items) > 1) for half in lost.chunk.halves()])  # fmt: skip
        elif step not in lost.died and len(lost.died) < _DEATHS - 1:  # from outside, or a computer that slept
            waiting.append(replace(lost, died=(*lost.died, step)))
        else:
            slow, dead = f"took longer than {time_limit:g} s, twice", f"ended the worker process twice ({how})"
            if step not in lost.died:
                slow, dead = (f"{text}, the last of {_DEATHS} steps that did so or died once each" for text in
                              (f"took longer than {time_limit:g} s", f"ended the worker process ({how})"))  # fmt: skip
            failed, rest = _accused(lost, step, slow if silent else dead)
            if rest:
                waiting.append(_Try(rest, failed=failed))
            else:
                yield Done(1, failed=list(failed))


def _accused(lost: _Try, step: _Step, how: str) -> tuple[tuple[Failed, ...], Chunk | None]:
    """Return what the image of a lost try has lost by now, and what is left to try, if there is anything."""
    (name, jobs), id = step, lost.chunk.items[0].id
    failed = (*lost.failed, *(Failed(id, "worker", f"{name} {how}", *job) for job in jobs))
    rest = tuple(job for job in lost.chunk.jobs if job not in jobs)
    culprits = {one.reason for one in failed if not one.reason.endswith(_UNTRIED)}
    if not jobs or (rest and len(culprits) > _CULPRITS):
        return (*failed, Failed(id, "worker", how)), None
    times = Counter(one.task for one in failed if not one.reason.startswith(_CONDITION))  # a condition accuses no task
    untried = [job for job in rest if times[job[1]] >= _CONDITIONS]
    failed = (*failed, *(Failed(id, "worker", f"{name} {how}{_UNTRIED}", *job) for job in untried))
    rest = tuple(job for job in rest if job not in untried)
    return failed, replace(lost.chunk, jobs=rest) if rest else None


def _no_start(reason: str) -> FdetectError:
    return FdetectError(
        f"a worker process did not start ({' '.join(reason.split())}); a script must guard its main part by "
        "if __name__ == '__main__':, or use workers=0 to compute in its own process"
    )


# --- in a worker process ---------------------------------------------------------------------------------------------


def _serve(connection: Connection, plan: Plan, silence: float) -> None:
    """Work on chunks until the pipe is closed; give a sign of life before a step when the last is `silence` s ago.

    With one image, each step is said.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all; the run's own process decides
    threading.Thread(target=_leave_with_the_run, daemon=True).start()
    _reuse_memory()
    _one_thread()
    said = time.monotonic()

    def alive(name: str, jobs: tuple[Job, ...]) -> None:
        nonlocal said
        if len(chunk.items) == 1:
            connection.send((name, jobs))
        elif time.monotonic() - said > silence:
            connection.send(_ALIVE)
            said = time.monotonic()

    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):  # the run is over
        connection.send(_ALIVE)
        while True:
            chunk: Chunk = connection.recv()
            try:
                answer: Any = work(plan, chunk, alive)
            except Exception as error:
                answer = error
            connection.send(answer)


def _leave_with_the_run() -> None:
    """End this worker when the run's process is gone: a killed run would leave its workers waiting for ever."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)


def _one_thread() -> None:
    """One core a worker: BLAS and OpenMP threads of several workers would only wait for each other."""
    from threadpoolctl import threadpool_limits

    threadpool_limits(1)


def _reuse_memory() -> None:
    """Keep freed batches instead of returning them to the system: every map would fault its pages in again."""
    with contextlib.suppress(OSError, AttributeError):  # not glibc
        libc = ctypes.CDLL(None)
        libc.mallopt(-3, 1 << 30)  # M_MMAP_THRESHOLD
        libc.mallopt(-1, 1 << 28)  # M_TRIM_THRESHOLD: what may lie unused, at most
