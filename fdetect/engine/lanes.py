"""Lanes: the stations of the loop that work at the same time, each behind a bounded queue, and where the time went.

    read      threads of the run's process: stat, read, hash
    decode    worker processes: bytes -> pixels            \\
    perturb   worker processes: condition, geometry          one after another within a worker
    compute   worker processes: tasks                      /
    device    one thread of the run's process: networks, and all tasks where arrays live on a GPU
    write     one thread of the run's process: finished rows -> parts of the store
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

__all__ = ["LANES", "Lane", "Timing"]

LANES = ("read", "decode", "perturb", "compute", "device", "write")


@dataclass(frozen=True)
class Timing:
    """Where the time of a run went: busy seconds by lane, summed over the `servers` that work in it side by side."""

    images: int
    seconds: float  # from the first file to the last row, start of the workers included
    busy: Mapping[str, float]
    servers: Mapping[str, int]
    preparing: float = 0.0  # seconds before that: kernels were compiled, or loaded

    @property
    def rate(self) -> float:
        """Images per second."""
        return self.images / self.seconds if self.seconds > 0 else 0.0

    @property
    def shares(self) -> dict[str, float]:
        """Share of all busy time by lane; the sum is 1 where anything was done."""
        total = sum(self.busy.values())
        return {lane: self.busy.get(lane, 0.0) / total if total else 0.0 for lane in LANES}

    @property
    def slowest(self) -> str:
        """The lane whose servers were busiest: the one to make faster first; empty where nothing was computed."""
        if not self.busy.get("compute") and not self.busy.get("device"):
            return ""
        loads = {lane: self.busy.get(lane, 0.0) / self.servers[lane] for lane in LANES}
        return max(loads, key=lambda lane: loads[lane])

    def __str__(self) -> str:
        text = f"{self.images} image{'s' * (self.images != 1)} in {self.seconds:.1f} s, {self.rate:.1f} images/s"
        if self.preparing >= 2:
            text += f" (and {self.preparing:.0f} s before that to compile kernels, which are kept for the next run)"
        if not self.slowest:
            return f"{text}; nothing had to be computed"
        shares = ", ".join(f"{lane} {share:.0%}" for lane, share in self.shares.items() if share >= 0.005)
        return f"{text}; time by lane: {shares}; slowest lane: {self.slowest}"


class Lane:
    """One thread that works in order; at most `queue` pieces wait for it, then `put` waits with them."""

    def __init__(self, name: str, busy: dict[str, float], *, queue: int = 2) -> None:
        self._name, self._busy, self._queue = name, busy, queue
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"fdetect-{name}")
        self._waiting: deque[Future[Any]] = deque()

    def put(self, function: Callable[..., Any], *arguments: Any) -> list[Any]:
        """Hand in work and return the results that are due; an error of earlier work is raised here."""
        self._waiting.append(self._thread.submit(self._timed, function, *arguments))
        return self._results(self._queue)

    @property
    def idle(self) -> bool:
        """Whether everything that was handed in is finished."""
        return all(future.done() for future in self._waiting)

    def drain(self) -> list[Any]:
        """Wait for everything that was handed in and return the results not returned yet."""
        return self._results(0)

    def close(self) -> None:
        """End the thread; work that has not begun is dropped."""
        self._thread.shutdown(cancel_futures=True)

    def _results(self, left: int) -> list[Any]:
        results = []
        while self._waiting and (len(self._waiting) > left or self._waiting[0].done()):
            results.append(self._waiting.popleft().result())
        return results

    def _timed(self, function: Callable[..., Any], *arguments: Any) -> Any:
        since = time.perf_counter()
        try:
            return function(*arguments)
        finally:
            self._busy[self._name] = self._busy.get(self._name, 0.0) + time.perf_counter() - since
