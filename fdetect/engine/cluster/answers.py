"""What workers of a cluster are asked and what they answer, as Arrow tables: one row for each row of the manifest.

    question   row, path; size, times and id as the index has them
    answer     row, id; size, times where they are sure; why it cannot be read; failures; seconds by lane;
               "<condition>/<task>": fixed_size_list<float32>, null where nothing was computed now

A run takes in the answers of all workers, so answers stay columns as far as they can.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fdetect.engine.chunks import Done, Failed, Job
from fdetect.engine.cluster.batches import BATCH, batch_of, batch_value, error_of, error_value
from fdetect.engine.index import STAMP
from fdetect.engine.lanes import LANES
from fdetect.engine.reading import Seen
from fdetect.engine.sources import Stamp
from fdetect.engine.store import id_array, id_bytes, id_column, id_texts
from fdetect.engine.work import Plan
from fdetect.types import Table

__all__ = ["Answer", "answer_schema", "rows_of"]

_FAILED = pa.struct({"stage": pa.string(), "reason": pa.string(), "condition": pa.int32(), "task": pa.int32()})


def answer_schema(plan: Plan, jobs: Sequence[Job]) -> pa.Schema:
    """Return the columns of an answer; the same for all of a run, so that tables can be put together."""
    columns: dict[str, Any] = {"row": pa.int64(), "id": pa.binary(16)}
    columns |= dict.fromkeys(STAMP, pa.int64())
    columns |= {"reason": pa.string(), "n_stored": pa.int32(), "failed": pa.list_(_FAILED)}
    columns |= {"seconds": pa.struct(dict.fromkeys(LANES, pa.float64()))}
    columns |= {"for_device": pa.list_(BATCH), "error": pa.list_(pa.string())}
    columns |= {_column(job): pa.list_(pa.float32(), len(plan.tasks[job[1]].columns)) for job in jobs}
    return pa.schema(columns)


@dataclass
class Answer:
    """What is known now about N rows.

    rows      (N,) int64, their numbers in the manifest
    ids       (N, 16) uint8
    stamps    (N, 3) int64, the fields of `Stamp`
    sure      (N,) bool: whether the stamp is one that the index may remember
    n_stored  (N,) int32: how many jobs the store had for the content; 0 where it is repeated within the answer
    reasons   of rows that cannot be read, by their place in `rows`
    done      what was computed; of a content that is repeated, once
    error     what ends the run: nothing about any image
    """

    rows: np.ndarray
    ids: np.ndarray
    stamps: np.ndarray
    sure: np.ndarray
    n_stored: np.ndarray
    reasons: Mapping[int, str] = field(default_factory=dict)
    done: Done = field(default_factory=Done)
    error: Exception | None = None

    @classmethod
    def about(
        cls, seen: Sequence[Seen], n_stored: Sequence[int], done: Done, error: Exception | None = None
    ) -> Answer:
        """Return what the read lane found in some rows, and what was computed of them."""
        return cls(
            np.array([one.row for one in seen], np.int64),
            id_bytes([one.id for one in seen]),
            np.array([[getattr(one.stamp, name, 0) for name in STAMP] for one in seen], np.int64),
            np.array([one.stamp is not None for one in seen]),
            np.array(n_stored, np.int32),
            {k: one.reason for k, one in enumerate(seen) if one.reason},
            done,
            error,
        )

    @classmethod
    def of_error(cls, error: Exception) -> Answer:
        """Return the answer that no row can have one."""
        return cls.about([Seen(-1, "", "00" * 16)], [0], Done(), error)

    def table(self, schema: pa.Schema) -> Table:
        """Return it as a table; what belongs to no row, such as batches for the device lane, stands in the first."""
        n, first = len(self.rows), dict[str, int]()
        for k, id in enumerate(id_texts(self.ids)):
            first.setdefault(id, k)
        failed: list[list[dict[str, Any]] | None] = [None] * n
        for one in self.done.failed:
            about = {name: value for name, value in asdict(one).items() if name != "id"}
            failed[first[one.id]] = [*(failed[first[one.id]] or ()), about]
        batches = [batch_value(batch, jobs) for batch, jobs in self.done.for_device]
        columns: dict[str, Any] = {
            "row": self.rows,
            "id": id_array(self.ids),
            **{name: pa.array(self.stamps[:, k], mask=~self.sure) for k, name in enumerate(STAMP)},
            "reason": [self.reasons.get(k) for k in range(n)],
            "n_stored": self.n_stored,
            "failed": failed,
            "seconds": _in_first(dict.fromkeys(LANES, 0.0) | self.done.seconds, n),
            "for_device": _in_first(batches or None, n),
            "error": _in_first(error_value(self.error) if self.error else None, n),
        }
        for job in (name for name in schema.names if "/" in name):
            ids, values = self.done.rows.get(_job(job), ((), None))
            columns[job] = _spread([first[id] for id in ids], values, n, schema.field(job).type.list_size)
        return pa.table(columns, schema)

    @classmethod
    def of(cls, table: Table) -> Answer:
        """Return what a table says: of one answer, or of several put together."""
        table = table.combine_chunks()
        ids, done = id_column(table), Done()
        texts = np.array(id_texts(ids), object)
        stamps = [table.column(name).combine_chunks() for name in STAMP]
        for k, of_row in _present(table, "failed"):
            done.failed += [Failed(texts[k], **one) for one in of_row]
        for _, seconds in _present(table, "seconds"):
            done.add(Done(seconds=seconds))
        for _, values in _present(table, "for_device"):
            done.for_device += map(batch_of, values)
        for name in (name for name in table.column_names if "/" in name):
            column = table.column(name).combine_chunks()
            here = _valid(column)
            if len(here):
                rows = column.flatten().to_numpy().reshape(len(here), column.type.list_size)
                done.rows[_job(name)] = (texts[here].tolist(), rows)
        return cls(
            table.column("row").to_numpy(),
            ids,
            np.stack([pc.fill_null(stamp, 0).to_numpy() for stamp in stamps], axis=1),
            stamps[0].is_valid().to_numpy(zero_copy_only=False),
            table.column("n_stored").to_numpy(),
            dict(_present(table, "reason")),
            done,
            next((error_of(value) for _, value in _present(table, "error")), None),
        )


def rows_of(table: Table) -> tuple[pa.Array, list[tuple[Stamp, str] | None]]:
    """Return what a question asks for: paths, and the stamp and id that the index has of each."""
    stamps = zip(*(table.column(name).to_pylist() for name in STAMP), strict=True)
    known = [
        None if id is None else (Stamp(*stamp), bytes(id).hex())
        for stamp, id in zip(stamps, table.column("id").to_pylist(), strict=True)
    ]
    return table.column("path").combine_chunks(), known


def _present(table: Table, name: str) -> list[tuple[int, Any]]:
    """Return the values of a column that are not null, with their places."""
    column = table.column(name).combine_chunks()
    here = _valid(column)
    return list(zip(here.tolist(), column.take(pa.array(here)).to_pylist(), strict=True))


def _valid(column: pa.Array) -> np.ndarray:
    return np.flatnonzero(column.is_valid().to_numpy(zero_copy_only=False))


def _spread(rows: list[int], values: np.ndarray | None, n: int, width: int) -> pa.Array:
    """(len(rows), width) float32 -> fixed_size_list of n rows, null in all others."""
    spread, empty = np.zeros((n, width), np.float32), np.ones(n, bool)
    if values is not None:
        spread[rows], empty[rows] = values, False
    return pa.FixedSizeListArray.from_arrays(pa.array(spread.ravel()), width, mask=pa.array(empty))


def _in_first(value: Any, n: int) -> list[Any]:
    return [value, *[None] * (n - 1)]


def _column(job: Job) -> str:
    return f"{job[0]}/{job[1]}"


def _job(column: str) -> Job:
    condition, _, task = column.partition("/")
    return int(condition), int(task)
