"""What a score costs: milliseconds of one core an image, by detector: of its columns (or views) and of its head.

Rows of a run come from the store and from several processes at once, so that its own times say little of a detector.
Here a batch is timed on purpose, when all else is done: noise of the run's crop, in place of decoded pixels.

    columns   all features of the detector together, which share their maps; or the views of a training-free one
    head      its score of these columns, after a fit on at most FIT_ROWS of a trial's training images

Counted is the processor time of the process, which hardly depends on what else the machine does; where a device
computes, the time on the wall; for a plug-in, which may compute anywhere, the larger of both.  Left out are reading,
decoding and the condition, which are the same for all.  Plug-ins that run in workers are not timed: they may crash the
process.  Times belong to the machine: they stand in run.json beside the host, never in result.json.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fdetect.backend import Backend, asnumpy
from fdetect.bench.contenders import Prepared
from fdetect.bench.protocols import Trial
from fdetect.bench.scores.scoring import shown_and_trained
from fdetect.classifiers import fit_head, in_parallel
from fdetect.engine import Task
from fdetect.rigid.plugged import PluginSpace
from fdetect.types import REAL, Batch, Facts

__all__ = ["BATCH", "FIT_ROWS", "Costing"]

BATCH = 16  # images, as many as a worker takes at a time
FIT_ROWS = 500
_ROUNDS = 3  # of which the quickest counts: other work on the machine only adds to a time
_CPU = "cpu"
_SECONDS = 4.0  # after which no further time is taken


@dataclass(frozen=True)
class Costing:
    """What there is to be timed; calling it takes the times, in a few seconds.

    detectors  contenders of the run, of which those that are heads on columns, or training-free, can be timed
    tasks      that compute the columns; `prepared` holds those of the views
    """

    detectors: Sequence[Any]
    tasks: Sequence[Task]
    prepared: Sequence[Prepared]
    trials: Sequence[Trial]
    conditions: Sequence[str]
    crop: int
    backend: Backend

    def __call__(self, seconds: float = _SECONDS) -> dict[str, Any]:
        """Return JSON values: how it was timed, and by detector `columns`, `head` and `total` in ms an image.

        A detector that was not timed has None for a total, and `reason` says why.
        """
        return next(in_parallel(lambda given: self._measured(given), [seconds]))  # threads of BLAS and OpenMP: one

    def _measured(self, seconds: float) -> dict[str, Any]:
        until = time.perf_counter() + seconds
        with _one_thread_of_torch():
            known: dict[tuple[str, ...], float] = {}
            found = {one.name: self._cost(one, until, known) for one in self.detectors}
        return {"images": BATCH, "px": self.crop, "threads": 1, "backend": self.backend.name, "detectors": found}

    def _cost(self, one: Any, until: float, known: dict[tuple[str, ...], float]) -> dict[str, Any]:
        """Time one detector; `known` holds the times of columns, which heads share."""
        if time.perf_counter() > until:
            return _unknown("the seconds for timing were over")
        try:
            views = next((p.tasks for p in self.prepared if p.name == one.name), None)
            if views is not None:
                if any(isinstance(task.space, PluginSpace) and not task.in_process for task in views):
                    return _unknown("it runs in workers alone, which it may crash")
                columns = round(self._of_tasks(views, until), 4)
                return {"columns": columns, "head": None, "total": columns}
            if not hasattr(one, "head") or not hasattr(one, "columns"):
                return _unknown("only heads on columns and training-free detectors are timed")
            named = {task.name: task for task in self.tasks}
            wanted = tuple(dict.fromkeys(column.partition(":")[0] for column in one.columns))
            if missing := [name for name in wanted if name not in named]:
                return _unknown(f"its columns {missing[0]} are computed elsewhere")
            n = one.draws.n
            if wanted not in known:
                known[wanted] = self._of_tasks([named[name] for name in wanted], until)
            columns = n * known[wanted]
            head = n * self._of_head(one)
            return {"columns": round(columns, 4), "head": round(head, 4), "total": round(columns + head, 4)}
        except Exception as error:  # a finished run is not lost to its timing: few rows, noise, memory of a device
            return _unknown(" ".join(f"{type(error).__name__}: {error}".split()))

    def _of_tasks(self, tasks: Sequence[Any], until: float) -> float:
        """Milliseconds an image of tasks together; of one image alone where a batch would take too long."""
        groups: dict[Any, list[Any]] = {}
        for task in tasks:
            getattr(task, "prepare", lambda: None)()
            shared = getattr(task, "group", None)
            groups.setdefault((task.geometry, task.name if shared is None else shared), []).append(task)

        devices = {str(getattr(getattr(task, "space", None), "device", _CPU)) for task in tasks}
        here = {*devices, self.backend.name} == {_CPU}
        clocks = [time.process_time if here else time.perf_counter]
        if any(isinstance(getattr(task, "space", None), PluginSpace) for task in tasks):
            clocks = [time.process_time, time.perf_counter]

        def compute(n: int) -> float:
            batches = {geometry: self._noise(n, geometry) for geometry, _ in groups}  # without maps that are known
            begin = [clock() for clock in clocks]
            for (geometry, _), mine in groups.items():
                batch = batches[geometry]
                for values in mine[0].together(batch, mine) if hasattr(mine[0], "together") else [mine[0](batch)]:
                    asnumpy(values)
            return 1000 * max(clock() - since for clock, since in zip(clocks, begin, strict=True)) / n

        compute(1)
        begin = time.perf_counter()
        single = compute(1)
        now = time.perf_counter()
        if now + (now - begin) * BATCH * _ROUNDS > until:
            return single
        return min(compute(BATCH) for _ in range(_ROUNDS))

    def _noise(self, n: int, geometry: Callable[[np.ndarray], np.ndarray]) -> Batch:
        pixels = np.random.default_rng(0).integers(0, 256, (n, self.crop, self.crop, 3), np.uint8)
        shown = np.stack([np.ascontiguousarray(geometry(one)) for one in pixels])
        facts = tuple(Facts("RAW", self.crop, self.crop, 0) for _ in range(n))
        batch = Batch(tuple(f"{k:032x}" for k in range(n)), shown, facts)
        return replace(batch, rgb8=self.backend.asarray(shown))

    def _of_head(self, one: Any) -> float:
        """Milliseconds an image of a head's score, after a fit on few rows."""
        trained = shown_and_trained(self.conditions)[-1]
        name = one.draws.shown(trained)[0]
        rows = _few(self.trials[0].fit, one.samples.label)
        of, values = one.samples, one.values[name]
        fitted = fit_head(one.head, one.columns, values[rows], of.label[rows], groups=of.group[rows].astype(str))
        few = values[rows[:1].repeat(BATCH)] if len(rows) < BATCH else values[rows[:BATCH]]
        fitted.score(few)
        return 1000 * min(_timed(lambda: [fitted.score(few) for _ in range(BATCH)]) for _ in range(_ROUNDS)) / BATCH**2


def _few(rows: np.ndarray, label: np.ndarray) -> np.ndarray:
    """Return at most FIT_ROWS row numbers, half of them of each class where there are as many, spread evenly."""
    parts: Iterable[np.ndarray] = (rows[(label[rows] == REAL) == real] for real in (True, False))
    return np.concatenate([part[:: max(len(part) * 2 // FIT_ROWS, 1)][: FIT_ROWS // 2] for part in parts])


def _timed(call: Callable[[], Any]) -> float:
    begin = time.process_time()
    call()
    return time.process_time() - begin


def _one_thread_of_torch() -> Any:
    if "torch" not in sys.modules:
        return nullcontext()
    from fdetect.nets.threads import one_thread

    return one_thread()


def _unknown(reason: str) -> dict[str, Any]:
    return {"columns": None, "head": None, "total": None, "reason": reason}
