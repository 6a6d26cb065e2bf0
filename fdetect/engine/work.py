"""What one worker does with one chunk of images: decode, condition, geometry, batch, tasks.

Each image is decoded once for all conditions and tasks that still miss it.  Whatever goes wrong with an image
becomes a `Failed` of that image alone.  Tasks of the device lane are not run here: their batches travel back.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, cast

import numpy as np
import xxhash

from fdetect.backend import Backend, asnumpy
from fdetect.engine.chunks import Chunk, Done, Failed, Item, Job
from fdetect.errors import BackendError, DataError, FdetectError, ImageTooLarge, WeightsError
from fdetect.images import Decoded, Geometry, decode
from fdetect.perturb import Condition
from fdetect.types import Batch

__all__ = ["Alive", "Plan", "Task", "content_id", "on_device", "work"]


class Task(Protocol):
    """Anything that turns a batch of images of one exact size into columns.

    A task that is `in_process` runs in the device lane of the run's own process, where networks are loaded once;
    every other task travels to the workers and must pickle.  A task may have a method `prepare()`: it is called once,
    in the run's own process, before any worker starts, so that what is compiled on first use is compiled once.

    Tasks may compute together what they share: those of equal `group` (an attribute that a task may have) get a batch
    in one call of `together(batch, tasks) -> [(B, D) float32 of each]`, a method of theirs.  In the device lane, a task
    may say in `batch` how many images it likes at a time; without it, or with 0, they come by the chunk.  In `device`,
    it may say what its network runs on: a cluster's lanes get a GPU each unless that is "cpu", as it is without it.
    """

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def version(self) -> str: ...  # noqa: D102
    @property
    def settings(self) -> Mapping[str, Any]: ...  # noqa: D102
    @property
    def columns(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def geometry(self) -> Geometry: ...  # noqa: D102
    @property
    def in_process(self) -> bool: ...  # noqa: D102

    def __call__(self, batch: Batch) -> np.ndarray:
        """(B, H, W, 3) images -> (B, D) float32."""
        ...


@dataclass(frozen=True)
class Plan:
    """What is the same for all chunks of a run; sent to each worker once."""

    conditions: tuple[Condition, ...]
    tasks: tuple[Task, ...]
    crop: int
    seed: int
    backend: Backend

    def in_lane(self, job: Job) -> bool:
        """Whether a job belongs to the device lane: a network's, or any at all where arrays live on a GPU."""
        return self.backend.name == "gpu" or self.tasks[job[1]].in_process

    @property
    def preparations(self) -> list[Callable[[], object]]:
        """What gets the tasks of workers ready, such as compiling: once on a machine, before its workers start."""
        mine = [task for t, task in enumerate(self.tasks) if not self.in_lane((0, t))]
        return [prepare for task in mine if (prepare := getattr(task, "prepare", None))]

    def for_workers(self) -> Plan:
        """Return the plan as workers need it: of tasks that stay in the device lane, what their images look like."""
        tasks = (_Elsewhere(task.geometry) if self.in_lane((0, t)) else task for t, task in enumerate(self.tasks))
        return replace(self, tasks=cast(tuple[Task, ...], tuple(tasks)))


@dataclass(frozen=True)
class _Elsewhere:
    geometry: Geometry
    in_process: bool = True


# called before every step with its name and the jobs that are lost if it never ends; ("", ()) before an image is
# decoded, which are all: so that a hang can be told from slow work, and the culprit from the others
Alive = Callable[[str, tuple[Job, ...]], None]


def content_id(data: bytes) -> str:
    """Return the identity of a file's content: xxh3_128 as 32 hex digits."""
    return xxhash.xxh3_128_hexdigest(data)


def work(plan: Plan, chunk: Chunk, alive: Alive = lambda name, jobs: None) -> Done:
    """Carry one chunk through all its jobs; those of the device lane are returned as batches, ready to compute."""
    done = Done(len(chunk.items))
    images: dict[tuple[int, Geometry], list[tuple[str, Decoded]]] = {}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")  # odd EXIF, large images: decode decides, not a warning
        for item in chunk.items:
            _prepare(plan, chunk, item, images, done, alive)
    for (condition, geometry), prepared in images.items():
        jobs = [job for job in chunk.jobs if job[0] == condition and plan.tasks[job[1]].geometry == geometry]
        later = tuple(job for job in jobs if plan.in_lane(job))
        for batch in _batches(plan, prepared):
            if later:
                done.for_device.append((replace(batch, maps={}), later))
            for group in _groups(plan, [job for job in jobs if job not in later]):
                more = f" and {len(group) - 1} more" if len(group) > 1 else ""
                alive(f"{plan.tasks[group[0][1]].name}{more}", group)
                _compute(plan, group, batch, done)
    return done


def on_device(plan: Plan, batch: Batch, jobs: tuple[Job, ...], done: Done) -> None:
    """Compute jobs of the device lane for a batch, with one upload, and note in `done` what came of them."""
    uploaded = replace(batch, rgb8=plan.backend.asarray(batch.rgb8))
    for group in _groups(plan, jobs):
        _compute(plan, group, uploaded, done)


def _prepare(plan: Plan, chunk: Chunk, item: Item, images: Any, done: Done, alive: Alive) -> None:
    """Decode and perturb one image into every (condition, geometry) that its jobs need."""
    alive("", ())
    clock = time.perf_counter()
    try:
        decoded = decode(item.data)
    except Exception as error:  # whatever a codec raises on bytes that nobody has seen before
        done.failed.append(Failed(item.id, "decode", _one_line(error)))
        return
    finally:
        clock = done.timed("decode", clock)
    for c in sorted({job[0] for job in chunk.jobs}):
        alive(f"condition {plan.conditions[c].name}", tuple(job for job in chunk.jobs if job[0] == c))
        try:
            shown = plan.conditions[c](decoded, item.id, seed=plan.seed, crop=plan.crop)
            geometries = dict.fromkeys(plan.tasks[t].geometry for condition, t in chunk.jobs if condition == c)
            for geometry in geometries:
                # a copy of what is shown alone: a view would keep the whole decoded picture until the chunk is done
                fitted = np.ascontiguousarray(geometry(shown.pixels))
                fitted = fitted.copy() if fitted.base is not None else fitted
                images.setdefault((c, geometry), []).append((item.id, Decoded(fitted, shown.facts)))
        except DataError as error:
            done.failed.append(Failed(item.id, "geometry", str(error), c))
        except FdetectError:  # a setting, not the image
            raise
        except Exception as error:
            done.failed.append(Failed(item.id, "geometry", _one_line(error), c))
    done.timed("perturb", clock)


def _batches(plan: Plan, prepared: list[tuple[str, Decoded]]) -> list[Batch]:
    """Stack images of equal shape; conditions and geometries make all shapes equal but for "as_is"."""
    by_shape: dict[tuple[int, ...], list[tuple[str, Decoded]]] = {}
    for one in prepared:
        by_shape.setdefault(one[1].pixels.shape, []).append(one)
    return [
        Batch(
            tuple(id for id, _ in group),
            np.stack([image.pixels for _, image in group]),
            tuple(image.facts for _, image in group),
            plan.seed,
        )
        for group in by_shape.values()
    ]


def _groups(plan: Plan, jobs: Iterable[Job]) -> list[tuple[Job, ...]]:
    """Put jobs of one batch together where their tasks compute together."""
    groups: dict[Any, list[Job]] = {}
    for job in jobs:
        shared = getattr(plan.tasks[job[1]], "group", None)
        groups.setdefault(job if shared is None else ("group", shared), []).append(job)
    return [tuple(group) for group in groups.values()]


def _compute(plan: Plan, jobs: tuple[Job, ...], batch: Batch, done: Done) -> None:
    """Run tasks on a batch; if they raise, halves of it down to one image and one task: only the culprit fails."""
    tasks, clock = [plan.tasks[t] for _, t in jobs], time.perf_counter()
    try:
        values = _checked(tasks, batch)
    except Exception as error:
        if isinstance(error, WeightsError | BackendError) and not isinstance(error, ImageTooLarge):
            raise  # nothing about the image: the whole task cannot run
        if len(batch) > 1:
            middle = len(batch) // 2
            for part in (slice(middle), slice(middle, None)):
                half = Batch(batch.ids[part], batch.rgb8[part], batch.facts[part], batch.seed)
                _compute(plan, jobs, half, done)
        elif len(jobs) > 1:
            for job in jobs:
                _compute(plan, (job,), batch, done)
        else:
            done.failed.append(Failed(batch.ids[0], tasks[0].name, _one_line(error), *jobs[0]))
        return
    if not plan.in_lane(jobs[0]):  # the device lane keeps its own time
        done.timed("compute", clock)
    for job, task, rows in zip(jobs, tasks, values, strict=True):
        finite = np.isfinite(rows).all(axis=1)
        for id in (id for id, good in zip(batch.ids, finite, strict=True) if not good):
            done.failed.append(Failed(id, task.name, "the result is not finite", *job))
        ids = [id for id, good in zip(batch.ids, finite, strict=True) if good]
        done.add_rows(job, ids, rows[finite])


def _one_line(error: Exception) -> str:
    text = str(error) if isinstance(error, FdetectError) else f"{type(error).__name__}: {error}"
    return " ".join(text.encode("utf-8", "backslashreplace").decode().split())


def _checked(tasks: Sequence[Any], batch: Batch) -> list[np.ndarray]:
    computed = [tasks[0](batch)] if len(tasks) == 1 else tasks[0].together(batch, tasks)
    values = [asnumpy(rows) for rows in computed]
    for task, rows in zip(tasks, values, strict=True):
        if rows.shape != (len(batch), len(task.columns)) or rows.dtype != np.float32:
            raise TypeError(
                f"task {task.name} returned {rows.dtype} {rows.shape}, "
                f"promised float32 ({len(batch)}, {len(task.columns)})"
            )
    return values
