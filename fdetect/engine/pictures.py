"""Pictures as conditions show them, in arrays: what a network is trained on and judged by.

    paths -> read -> workers (decode, perturb, crop) -> (N, H, W, 3) uint8 for each condition

Nothing is computed of them and nothing goes to the store; each picture is decoded once for all conditions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from fdetect.backend import resolve
from fdetect.engine.chunks import Done, Failed, Item, in_chunks
from fdetect.engine.loop import Progress
from fdetect.engine.pool import TIME_LIMIT, map_chunks
from fdetect.engine.sources import Reader
from fdetect.engine.work import Plan, content_id
from fdetect.errors import FdetectError
from fdetect.geometry import Geometry
from fdetect.perturb import Condition
from fdetect.types import Batch, Failure

__all__ = ["Kept", "Pictures", "once_each", "pictures"]


@dataclass(frozen=True)
class Pictures:
    """N pictures under each condition.

    pixels   condition -> (N, H, W, 3) uint8, black where a picture failed
    ok       condition -> (N,) bool
    reasons  condition -> number of a picture that failed -> "stage: reason"
    """

    paths: tuple[str, ...]
    ids: tuple[str, ...]
    pixels: Mapping[str, np.ndarray]
    ok: Mapping[str, np.ndarray]
    failures: tuple[Failure, ...]
    reasons: Mapping[str, Mapping[int, str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Kept:
    """The task that keeps what was made: it never runs, its batches are taken where the device lane would begin."""

    geometry: Geometry = field(default_factory=Geometry)  # as it is
    name: str = "pixels"
    version: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    columns: tuple[str, ...] = ()
    in_process: bool = True

    def __call__(self, batch: Batch) -> np.ndarray:
        """Never called."""
        raise NotImplementedError


def pictures(
    paths: Sequence[str],
    *,
    conditions: Sequence[Condition],
    crop: int,
    root: str | Path = ".",
    seed: int = 0,
    workers: int = 0,
    time_limit: float = TIME_LIMIT,
    folder: Path | None = None,
    progress: Progress | None = None,
) -> Pictures:
    """Show every picture under every condition; natively the centre crop of `crop` px on the 8-px grid.

    folder  where the arrays are kept as <number of the condition>.npy, mapped into memory; None: in memory

    A picture that fails is black and a `Failure`.  Other settings are those of `fdetect.engine.run`.
    """
    plan = Plan(tuple(conditions), (Kept(Geometry("aligned_crop", crop)),), crop, seed, resolve("cpu"))
    arrays = _Arrays([c.name for c in conditions], len(paths), folder)
    rows: dict[str, list[int]] = {}
    failed: list[Failed] = []
    unread: dict[int, str] = {}
    items = once_each(paths, root, rows, unread)
    n_done = 0
    chunks = in_chunks((item, tuple((c, 0) for c in range(len(conditions)))) for item in items)
    with closing(map_chunks(plan, chunks, workers, time_limit=time_limit)) as results:
        for done in results:
            arrays.take(done, rows)
            failed += done.failed
            n_done += done.n_items
            if progress:
                progress("reading pictures", n_done, len(paths))
    ids = [""] * len(paths)
    for id, here in (*rows.items(), *((content_id(paths[row].encode()), [row]) for row in unread)):
        for row in here:
            ids[row] = id
    failures = [Failure(ids[row], paths[row], "read", why) for row, why in unread.items()]
    failures += [Failure(one.id, paths[row], one.stage, one.reason) for one in failed for row in rows[one.id]]
    reasons = {one.name: {row: f"read: {why}" for row, why in unread.items()} for one in conditions}
    for lost in failed:
        for one in conditions if lost.condition < 0 else (conditions[lost.condition],):
            reasons[one.name] |= dict.fromkeys(rows[lost.id], f"{lost.stage}: {lost.reason}")
    return Pictures(tuple(paths), tuple(ids), *arrays.finished(), tuple(dict.fromkeys(failures)), reasons)


class _Arrays:
    """The arrays of each condition, made when its first batch says how large pictures are."""

    def __init__(self, names: Sequence[str], n: int, folder: Path | None) -> None:
        self._names, self._n, self._folder = names, n, folder
        self._pixels: dict[str, np.ndarray] = {}
        self._ok = {name: np.zeros(n, np.bool_) for name in names}

    def take(self, done: Done, rows: Mapping[str, Sequence[int]]) -> None:
        """Put the batches of a chunk in their rows; a content may have several."""
        for batch, jobs in done.for_device:
            for condition, _ in jobs:
                name = self._names[condition]
                pixels = self._of(condition, batch.rgb8.shape[1:])
                for id, one in zip(batch.ids, batch.rgb8, strict=True):
                    pixels[rows[id]] = one
                    self._ok[name][rows[id]] = True

    def finished(self) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """Return the pixels and which of them are there; a condition that no picture passed has an empty shape."""
        missing = {name: np.zeros((self._n, 0, 0, 3), np.uint8) for name in self._names}
        return missing | self._pixels, self._ok

    def _of(self, condition: int, shape: tuple[int, ...]) -> np.ndarray:
        name = self._names[condition]
        if name not in self._pixels:
            if self._folder is None:
                self._pixels[name] = np.zeros((self._n, *shape), np.uint8)
            else:
                self._folder.mkdir(parents=True, exist_ok=True)
                self._pixels[name] = np.lib.format.open_memmap(
                    self._folder / f"{condition}.npy", "w+", np.uint8, (self._n, *shape)
                )
        return self._pixels[name]


def once_each(
    paths: Sequence[str], root: str | Path, rows: dict[str, list[int]], unread: dict[int, str]
) -> Iterator[Item]:
    """Read pictures, and yield each content once.

    It fills `rows`, content id -> numbers of the paths that have it, and `unread`, number -> why there is nothing.
    """
    with Reader(root) as reader:
        for row, path in enumerate(paths):
            try:
                data = reader.read(path)
            except (FdetectError, OSError) as error:
                unread[row] = str(error)
                continue
            id = content_id(data)
            rows.setdefault(id, []).append(row)
            if len(rows[id]) == 1:
                yield Item(id, data)
