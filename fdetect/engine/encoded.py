"""Pictures as conditions show them, as files: the bytes whose decoding is what detectors see.

    paths -> read -> workers (decode, perturb, encode) -> bytes of one JPEG file for each condition

Natively they are the bytes that were read, of pictures that can be decoded.  Nothing goes to the store.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

import numpy as np

from fdetect.backend import resolve
from fdetect.engine.chunks import Done, Item, Job, in_chunks
from fdetect.engine.loop import Progress
from fdetect.engine.pictures import Kept, once_each
from fdetect.engine.pool import TIME_LIMIT, map_chunks
from fdetect.engine.work import Plan, content_id
from fdetect.images import Decoded
from fdetect.perturb import Condition
from fdetect.types import Facts, Failure

__all__ = ["File", "encoded"]


@dataclass(frozen=True)
class File:
    """One picture (its row among the paths) under one condition (its number): its file, or why there is none.

    same_as  the earlier row of the same content, whose file or failure this is
    """

    row: int
    condition: int
    data: bytes = field(default=b"", repr=False)
    failure: Failure | None = None
    same_as: int | None = None


@dataclass(frozen=True)
class _AsFile(Condition):
    """A condition whose "pixels" are the bytes of its JPEG, (1, n) uint8, so that they travel as batches do."""

    def __call__(self, image: Decoded, content: str, *, seed: int, crop: int) -> Decoded:
        shown = super().__call__(image, content, seed=seed, crop=crop)
        return replace(shown, pixels=np.zeros((1, 0), np.uint8)) if self.is_native else shown

    def finish(self, pixels: np.ndarray, content: str, *, seed: int, crop: int) -> Decoded:
        data = self.encode(pixels, content, seed=seed, crop=crop)
        return Decoded(np.frombuffer(data, np.uint8)[None], Facts("JPEG", 0, 0, len(data)))


def encoded(
    paths: Sequence[str],
    *,
    conditions: Sequence[Condition],
    crop: int,
    root: str | Path = ".",
    seed: int = 0,
    workers: int = 0,
    time_limit: float = TIME_LIMIT,
    progress: Progress | None = None,
) -> Iterator[File]:
    """Yield the file of every picture under every condition, or its failure, as they finish.

    A content that several paths have is made for the first of them; the others follow at the end.  Memory holds what
    is under way alone.  Settings are those of `fdetect.engine.run`.
    """
    made = tuple(_AsFile(**{one.name: getattr(each, one.name) for one in fields(Condition)}) for each in conditions)
    plan = Plan(made, (Kept(name="file"),), crop, seed, resolve("cpu"))
    everywhere = range(len(made))
    rows: dict[str, list[int]] = {}
    unread: dict[int, str] = {}
    under_way: dict[str, bytes] = {}  # what native copies

    def items() -> Iterator[tuple[Item, tuple[Job, ...]]]:
        for item in once_each(paths, root, rows, unread):
            under_way[item.id] = item.data if any(one.is_native for one in made) else b""
            yield item, tuple((c, 0) for c in everywhere)

    n_done = 0
    with closing(map_chunks(plan, in_chunks(items()), workers, time_limit=time_limit)) as results:
        for done in results:
            for one in done.failed:
                row = rows[one.id][0]
                for c in everywhere if one.condition < 0 else (one.condition,):
                    yield File(row, c, failure=Failure(one.id, paths[row], one.stage, one.reason))
            for id, c, data in _files(done):
                yield File(rows[id][0], c, under_way[id] if made[c].is_native else data)
            for id in {*(one.id for one in done.failed), *(id for batch, _ in done.for_device for id in batch.ids)}:
                under_way.pop(id, None)
            n_done += done.n_items
            if progress:
                progress("perturbing", n_done, len(paths))
    lost = [Failure(content_id(paths[row].encode()), paths[row], "read", why) for row, why in unread.items()]
    for c in everywhere:
        yield from (File(row, c, failure=why) for row, why in zip(unread, lost, strict=True))
        yield from (File(row, c, same_as=first) for first, *others in rows.values() for row in others)


def _files(done: Done) -> Iterator[tuple[str, int, bytes]]:
    """Yield (content, number of the condition, bytes) of what a chunk came to."""
    for batch, jobs in done.for_device:
        for c, _ in jobs:
            for id, data in zip(batch.ids, batch.rgb8, strict=True):
                yield id, c, data.tobytes()
