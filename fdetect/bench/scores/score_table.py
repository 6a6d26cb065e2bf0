"""The columns of a score table as arrays, read once for all that is judged by it, and its bootstrap weights."""

from __future__ import annotations

import weakref
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fdetect.coded import Coded
from fdetect.errors import DataError
from fdetect.metrics import GroupWeights, TrialSample, group_weights

__all__ = ["ScoreTable", "refuse_repeats", "without_threshold"]

Name = tuple[str, str, str, str]  # detector, train, train_condition, condition

_COLUMN = ("detector", "train", "train_condition", "condition")  # what names a column of the results
_ROW = (*_COLUMN, "trial", "path")  # what a row of scores is about
_TEXT = ("generator", "real_source", "trial", "path")


@dataclass(frozen=True)
class ScoreTable:
    """The columns of `scores.parquet` as (n,) arrays, and the four that name a column of the results.

    Text is kept in `text`; `generator`, `real_source`, `group`, `trial` and `path` are the same as arrays of str.
    """

    label: np.ndarray
    score: np.ndarray
    probability: np.ndarray
    seen: np.ndarray  # (n,) bool: the row's generator was in the training set of its trial
    called_fake: np.ndarray  # 1, 0, or NaN without a finite threshold: by one at infinity nothing is decided
    keys: np.ndarray  # (n,) number of the (detector, train, train_condition, condition) of each row
    names: tuple[Name, ...]  # what those numbers stand for, in order of appearance
    text: dict[str, Coded]  # of generator, real_source, group, trial and path
    _drawn: dict[tuple[int, int], GroupWeights] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def of(cls, table: pa.Table) -> ScoreTable:
        """Read an Arrow table with the columns of `scores.parquet`; an empty group becomes the path.

        The table that was read last is not read again.  Raises DataError where an image has two rows of one detector,
        condition and trial: see `refuse_repeats`.
        """
        global _last
        if _last is None or _last[0]() is not table:
            _last = weakref.ref(table, _forget), cls._read(table)
        return _last[1]

    @classmethod
    def _read(cls, table: pa.Table) -> ScoreTable:
        refuse_repeats(table)
        score, threshold = _numbers(table, "score"), _numbers(table, "threshold")
        columns = [_coded(table.column(name)) for name in _COLUMN]
        keys, first = _numbered(columns)
        path, group = table.column("path"), pc.fill_null(table.column("group").cast(pa.string()), "")
        text = {name: _coded(table.column(name)) for name in _TEXT}
        text["group"] = _coded(pc.if_else(pc.equal(group, ""), path, group))
        return cls(
            label=_numbers(table, "label").astype(np.int64),
            score=score,
            probability=_numbers(table, "probability"),
            seen=table.column("seen").to_numpy().astype(bool),
            called_fake=np.where(np.isfinite(threshold) & ~np.isnan(score), score > threshold, np.nan),
            keys=keys,
            names=tuple(zip(*(np.asarray(column[first]).tolist() for column in columns), strict=True)),
            text=text,
        )

    @cached_property
    def generator(self) -> np.ndarray:
        """(n,) str, "" for a real."""
        return np.asarray(self.text["generator"])

    @cached_property
    def real_source(self) -> np.ndarray:
        """(n,) str."""
        return np.asarray(self.text["real_source"])

    @cached_property
    def group(self) -> np.ndarray:
        """(n,) str: what is drawn together."""
        return np.asarray(self.text["group"])

    @cached_property
    def trial(self) -> np.ndarray:
        """(n,) str."""
        return np.asarray(self.text["trial"])

    @cached_property
    def path(self) -> np.ndarray:
        """(n,) str."""
        return np.asarray(self.text["path"])

    @cached_property
    def by_key(self) -> tuple[np.ndarray, ...]:
        """Row numbers of every (detector, train, train_condition, condition)."""
        order = np.argsort(self.keys, kind="stable")
        return tuple(np.split(order, np.cumsum(np.bincount(self.keys))[:-1]))

    def weights(self, *, replicates: int, seed: int) -> GroupWeights:
        """Draw the bootstrap weights of this table, once for all that is asked of it; they are kept with it."""
        if (replicates, seed) not in self._drawn:
            self._drawn[replicates, seed] = group_weights(self.text["group"], replicates=replicates, seed=seed)
        return self._drawn[replicates, seed]

    def samples(self, rows: np.ndarray) -> list[TrialSample]:
        """Return the rows that have a score, trial by trial."""
        rows = rows[np.isfinite(self.score[rows])]
        return [
            TrialSample(self.label[mine], self.score[mine], self.probability[mine], self.called_fake[mine],
                        self.text["group"][mine])
            for _, mine in self.split("trial", rows)
        ]  # fmt: skip

    def split(self, column: str, rows: np.ndarray) -> list[tuple[str, np.ndarray]]:
        """Part row numbers by a column of text: each of its values there, in sorted order, with its rows."""
        return [(name, rows[places]) for name, places in self.text[column][rows].split()]


def refuse_repeats(table: pa.Table) -> None:
    """Raise DataError where an image has two rows of one detector, condition and trial; a column `file` is named.

    Such rows are one image judged twice, as when the scores of two runs are put together: pooled, they would pass
    for two images and make intervals too narrow.
    """
    numbers, first = _numbered([_coded(table.column(name)) for name in _ROW])
    if len(first) == len(table):
        return
    row = int(np.flatnonzero(np.bincount(numbers)[numbers] > 1)[0])
    last = int(np.flatnonzero(numbers == numbers[row])[-1])
    at, files = table.select(list(_ROW)).slice(row, 1).to_pylist()[0], ""
    if "file" in table.column_names:
        both = (table.column("file")[one].as_py() for one in (row, last))
        files = f"{' and '.join(dict.fromkeys(both))}: "
    raise DataError(
        f"{files}{at['detector']} has two rows for {at['path']} under {at['condition']} in {at['trial']}; keep one of "
        "them, or give the detectors different names in the column detector"
    )


def without_threshold(table: pa.Table) -> set[Name]:
    """Return the columns of the results that say nothing of a threshold in some row, as tables made elsewhere may.

    A number is said, infinity (not attainable), and the reals it was sought on: the `n_calibration` of a run.
    """
    said = ~np.isnan(_numbers(table, "threshold"))
    if "n_calibration" in table.column_names:
        said |= ~np.isnan(_numbers(table, "n_calibration"))
    keys, first = _numbered(columns := [_coded(table.column(name)) for name in _COLUMN])
    silent = first[np.unique(keys[~said])]
    return set(zip(*(np.asarray(column[silent]).tolist() for column in columns), strict=True))


_last: tuple[weakref.ref[pa.Table], ScoreTable] | None = None  # the table that was read last


def _forget(table: weakref.ref[pa.Table]) -> None:
    global _last
    if _last is not None and _last[0] is table:
        _last = None


def _coded(column: pa.ChunkedArray) -> Coded:
    """Number the distinct texts in their order; a null is an empty one."""
    encoded = pc.fill_null(column.cast(pa.string()), "").dictionary_encode().combine_chunks()
    names = np.array(encoded.dictionary.to_pylist(), dtype=object)
    order = np.argsort(names, kind="stable")
    place = np.empty(len(names), np.int64)
    place[order] = np.arange(len(names))
    return Coded(names[order], place[encoded.indices.to_numpy()])


def _numbers(table: pa.Table, name: str) -> np.ndarray:
    return np.asarray(table.column(name).cast(pa.float64()).to_numpy())  # NaN where there is none


def _numbered(columns: list[Coded]) -> tuple[np.ndarray, np.ndarray]:
    """Number the distinct rows of several columns in order of appearance: (n,) numbers, and the first row of each."""
    joint = np.zeros(len(columns[0]), np.int64)
    for column in columns:
        _, joint = np.unique(joint * len(column.names) + column.codes, return_inverse=True)
    _, first, which = np.unique(joint, return_index=True, return_inverse=True)
    order = np.argsort(first)
    number = np.empty(len(order), np.int64)
    number[order] = np.arange(len(order))
    return number[which], first[order]
