"""What one worker does with one chunk of files: read, decode, condition, geometry, batch, tasks.

Each file is read and decoded once for all conditions and tasks that still miss it.  Whatever goes wrong with an
image becomes a `Failure` of that image alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import xxhash

from fdetect.backend import Backend, asnumpy
from fdetect.errors import BackendError, DataError, FdetectError, WeightsError
from fdetect.images import Decoded, Geometry, decode
from fdetect.perturb import Condition
from fdetect.types import Batch, Failure

__all__ = ["Chunk", "Done", "Item", "Plan", "Task", "content_id", "work"]


class Task(Protocol):
    """Anything that turns a batch of images of one exact size into columns; it must pickle if not `in_process`."""

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


Job = tuple[int, int]  # (index of the condition, index of the task)


@dataclass(frozen=True)
class Plan:
    """What is the same for all chunks of a run; sent to each worker once."""

    root: Path
    conditions: tuple[Condition, ...]
    tasks: tuple[Task, ...]
    crop: int
    seed: int
    backend: Backend


@dataclass(frozen=True)
class Item:
    """One file to read, and the content it had when the run began."""

    id: str
    path: str


@dataclass(frozen=True)
class Chunk:
    """Files that miss the same jobs."""

    items: tuple[Item, ...]
    jobs: tuple[Job, ...]


@dataclass(frozen=True)
class Done:
    """What became of a chunk: rows by job, and failures by condition (-1: of every condition)."""

    n_items: int
    rows: dict[Job, tuple[list[str], np.ndarray]]
    failures: list[tuple[int, int, Failure]]  # (condition or -1, task or -1, failure)


def content_id(data: bytes) -> str:
    """Return the identity of a file's content: xxh3_128 as 32 hex digits."""
    return xxhash.xxh3_128_hexdigest(data)


def work(plan: Plan, chunk: Chunk) -> Done:
    """Carry one chunk through all its jobs."""
    done = Done(len(chunk.items), {}, [])
    images: dict[tuple[int, Geometry], list[tuple[Item, Decoded]]] = {}
    for item in chunk.items:
        _prepare(plan, chunk, item, images, done)
    for (condition, geometry), prepared in images.items():
        for batch, items in _batches(plan, prepared):
            for job in chunk.jobs:
                if job[0] == condition and plan.tasks[job[1]].geometry == geometry:
                    _compute(plan, job, batch, items, done)
    return done


def _prepare(plan: Plan, chunk: Chunk, item: Item, images: Any, done: Done) -> None:
    """Read, decode and perturb one file into every (condition, geometry) that its jobs need."""
    stage = "read"
    try:
        data = (plan.root / item.path).read_bytes()
        if content_id(data) != item.id:
            raise DataError("the file changed while the run was reading it; start again")
        stage = "decode"
        decoded = decode(data)
    except (OSError, DataError) as error:
        reason = error.strerror or str(error) if isinstance(error, OSError) else str(error)
        done.failures.append((-1, -1, Failure(item.id, item.path, stage, reason)))
        return
    for c in sorted({job[0] for job in chunk.jobs}):
        try:
            shown = plan.conditions[c](decoded, item.id, seed=plan.seed, crop=plan.crop)
            geometries = dict.fromkeys(plan.tasks[t].geometry for condition, t in chunk.jobs if condition == c)
            for geometry in geometries:
                fitted = Decoded(geometry(shown.pixels), shown.facts)
                images.setdefault((c, geometry), []).append((item, fitted))
        except DataError as error:
            done.failures.append((c, -1, Failure(item.id, item.path, "geometry", str(error))))


def _batches(plan: Plan, prepared: list[tuple[Item, Decoded]]) -> list[tuple[Batch, list[Item]]]:
    """Stack images of equal shape; conditions and geometries make all shapes equal but for "as_is"."""
    by_shape: dict[tuple[int, ...], list[tuple[Item, Decoded]]] = {}
    for item, image in prepared:
        by_shape.setdefault(image.pixels.shape, []).append((item, image))
    return [(_batch(plan, group), [item for item, _ in group]) for group in by_shape.values()]


def _batch(plan: Plan, group: list[tuple[Item, Decoded]]) -> Batch:
    pixels = plan.backend.asarray(np.stack([image.pixels for _, image in group]))
    return Batch(tuple(item.id for item, _ in group), pixels, tuple(image.facts for _, image in group), plan.seed)


def _compute(plan: Plan, job: Job, batch: Batch, items: list[Item], done: Done) -> None:
    """Run one task on a batch; if it raises, one image at a time, so that only the culprit fails."""
    task = plan.tasks[job[1]]
    try:
        values = _checked(task, batch)
    except (WeightsError, BackendError):  # nothing about the image: the whole task cannot run
        raise
    except Exception as error:
        if len(batch) > 1:
            for k, item in enumerate(items):
                one = Batch(batch.ids[k : k + 1], batch.rgb8[k : k + 1], batch.facts[k : k + 1], batch.seed)
                _compute(plan, job, one, [item], done)
            return
        text = str(error) if isinstance(error, FdetectError) else f"{type(error).__name__}: {error}"
        done.failures.append((*job, Failure(items[0].id, items[0].path, task.name, " ".join(text.split()))))
        return
    finite = np.isfinite(values).all(axis=1)
    for item in (item for item, good in zip(items, finite, strict=True) if not good):
        done.failures.append((*job, Failure(item.id, item.path, task.name, "the result is not finite")))
    ids = [item.id for item, good in zip(items, finite, strict=True) if good]
    known_ids, known = done.rows.get(job, ([], np.empty((0, len(task.columns)), np.float32)))
    done.rows[job] = (known_ids + ids, np.concatenate([known, values[finite]]))


def _checked(task: Task, batch: Batch) -> np.ndarray:
    values = asnumpy(task(batch))
    if values.shape != (len(batch), len(task.columns)) or values.dtype != np.float32:
        raise TypeError(
            f"task {task.name} returned {values.dtype} {values.shape}, "
            f"promised float32 ({len(batch)}, {len(task.columns)})"
        )
    return values
