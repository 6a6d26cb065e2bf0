"""Scores made elsewhere: a CSV or Parquet table becomes a detector like any other (`bench --scores FILE`).

    path, score                     one score per image, the same in every trial (a detector that nothing trains)
    + condition                     which condition the row was scored under; needed if the run has more than one
    + trial                         scores of a detector that was trained in each trial of the same protocol
    + detector                      several detectors in one file; without it the file's name names the detector
    + probability, threshold        of the image; of the detector at 5 % FPR, in that trial

A larger score means more likely generated; an empty, NaN or infinite one is a failed image.  Without `threshold` it
is set like everybody's, on the calibration reals, if the table scores them too; otherwise metrics that need a
decision stay empty.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from fdetect.bench.evaluate import OVERALL, refuse_repeats
from fdetect.bench.models import Model
from fdetect.bench.protocols import Samples, Trial
from fdetect.bench.scoring import train_condition
from fdetect.decide import Threshold, conformal_threshold
from fdetect.engine.work import content_id
from fdetect.errors import DataError
from fdetect.perturb import Condition
from fdetect.registry import nearest

__all__ = ["Given", "read_score_table", "read_scores", "read_table"]

Row = tuple[float, float, float]  # score, probability, threshold

# Read as text even where a CSV shows only digits in them: group 007 is not group 7.
_TEXT = ("path", "generator", "real_source", "group", "split", "trial", "train", "detector", "train_condition",
         "condition", "id")  # fmt: skip


@dataclass(frozen=True)
class Given:
    """A detector whose scores were read from a file; `rows` maps (trial or "", condition, path) to a row."""

    name: str
    file: Path
    rows: Mapping[tuple[str, str, str], Row]
    paths: np.ndarray
    digest: str
    reasons: Mapping[str, Mapping[int, str]] = field(default_factory=dict)

    @cached_property
    def trains(self) -> bool:
        """Whether the table names trials: its detector was then trained in each of them."""
        return any(trial for trial, _, _ in self.rows)

    @cached_property
    def conditions(self) -> tuple[str, ...]:
        """Return the conditions that the table has rows for."""
        return tuple(dict.fromkeys(condition for _, condition, _ in self.rows))

    def ready(self, trial: Trial, condition: str) -> Model:
        """Nothing is trained here."""
        return _GivenModel(self, trial)

    def row(self, trial: str, condition: str, path: str) -> Row | None:
        """Return the row of an image in a trial, or the one that holds in all trials."""
        return self.rows.get((trial, condition, path)) or self.rows.get(("", condition, path))


@dataclass(frozen=True)
class _GivenModel:
    given: Given
    trial: Trial

    def scores(self, condition: str, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        found = self._rows(condition, rows)
        if missing := [str(path) for path, row in zip(self.given.paths[rows], found, strict=True) if row is None]:
            raise DataError(
                f"{self.given.file}: no score of {self.given.name} for {missing[0]} under {condition} in trial "
                f"{self.trial.name} ({len(missing)} missing); add the rows, with an empty score where it failed"
            )
        values = np.array([row[:2] for row in found if row is not None]).reshape(-1, 2)
        return values[:, 0], values[:, 1]

    def reference(self, calibration: np.ndarray, condition: str) -> np.ndarray:
        on_reals = [row[0] for row in self._rows(condition, calibration) if row is not None]
        return np.array([score for score in on_reals if np.isfinite(score)])

    def threshold(self, on_reals: np.ndarray, condition: str, fpr: float) -> Threshold:
        under = [name for name in self.given.conditions if train_condition(name) == condition]
        found = [row for name in under for row in self._rows(name, self.trial.test) if row is not None]
        stated = {row[2] for row in found if np.isfinite(row[2])}
        if len(stated) > 1:
            raise DataError(
                f"{self.given.file}: {self.given.name} has several thresholds in trial {self.trial.name} under "
                f"{' and '.join(under)}; a threshold is one number per detector, trial and training condition"
            )
        if stated:
            return Threshold(stated.pop(), fpr, 0, True) if fpr == 0.05 else Threshold(np.inf, fpr, 0, False)
        return conformal_threshold(on_reals, fpr=fpr)

    def _rows(self, condition: str, rows: np.ndarray) -> list[Row | None]:
        return [self.given.row(self.trial.name, condition, str(path)) for path in self.given.paths[rows]]


def read_table(file: Path) -> pa.Table:
    """Read a CSV or Parquet file as an Arrow table; raises DataError naming the file."""
    try:
        if file.suffix == ".parquet":
            table = pa.parquet.ParquetFile(file).read()
        else:
            types = pa.csv.ConvertOptions(column_types=dict.fromkeys(_TEXT, pa.string()))
            table = pa.csv.read_csv(file, convert_options=types)
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{file}: not a readable CSV or Parquet table: {str(error).splitlines()[0]}") from None
    if not table.num_rows:
        raise DataError(f"{file}: holds no rows; give one for each image")
    if twice := [name for name in table.column_names if table.column_names.count(name) > 1]:
        raise DataError(f"{file}: two columns are called '{twice[0]}'; rename or remove one")
    return table


def read_score_table(file: Path, table: pa.Table | None = None) -> pa.Table:
    """Read a table for `evaluate`: the columns of `scores.parquet`, those that are missing filled where they can be.

    Needed are path, label, generator and score; `detector` falls back to the file's name, `condition` to "as given",
    `trial` and `train` to one trial of an untrained detector; a column `file` keeps where each row is from, `id` the
    content id where it is known.  `table` is the file where it was read and completed already.  Raises
    DataError naming the file and the column, and for an image given twice.
    """
    table = read_table(file) if table is None else table
    for needed in ("path", "label", "generator", "score"):
        if needed not in table.column_names:
            raise DataError(f"{file}: no column '{needed}'{nearest(needed, table.column_names)}")
    n = len(table)
    defaults = {"detector": file.stem, "train": "", "train_condition": "", "condition": "as given", "trial": "all/0"}
    defaults |= dict.fromkeys(("real_source", "group"), "")
    defaults |= dict.fromkeys(("path", "generator"), "")
    text = {name: [str(value) for value in _column(table, name, default, n)] for name, default in defaults.items()}
    label = [int(value) if value in (0, 1, "0", "1") else -1 for value in _column(table, "label", "", n)]
    if -1 in label:
        raise DataError(f"{file}: row {label.index(-1) + 1} has a label other than 0 (real) and 1 (fake)")
    text["generator"] = [g or "unknown" if k else g for g, k in zip(text["generator"], label, strict=True)]
    if reserved := sorted({*OVERALL} & {*text["generator"]}):
        raise DataError(f"{file}: a generator is called '{reserved[0]}', which names a row of every table; rename it")
    made = {name: pa.array(values, pa.string()) for name, values in text.items()}
    made["label"] = pa.array(label, pa.int64())
    made["seen"] = pa.array([value in (True, "true", "True") for value in _column(table, "seen", False, n)], pa.bool_())
    for name in ("score", "probability", "threshold"):
        made[name] = pa.array(_numbers(file, table, name, n), pa.float64(), from_pandas=True)
    made["file"] = pa.repeat(str(file), n)
    made["id"] = pa.array([str(value) for value in _column(table, "id", "", n)], pa.string())
    refuse_repeats(judged := pa.table(made))
    return judged


def read_scores(file: Path, samples: Samples, conditions: Sequence[Condition]) -> list[Given]:
    """Read the detectors of a score table, and why some of its images have no score that can be used.

    Raises DataError for missing columns and rows given twice.
    """
    table = read_table(file)
    for needed in ("path", "score"):
        if needed not in table.column_names:
            raise DataError(f"{file}: no column '{needed}'{nearest(needed, table.column_names)}")
    if "condition" not in table.column_names and len(conditions) > 1:
        raise DataError(f"{file}: no column 'condition', and the run has {len(conditions)}; say which each row is for")
    n = len(table)
    detector = _column(table, "detector", file.stem, n)
    trial = _column(table, "trial", "", n)
    condition = _column(table, "condition", conditions[0].name, n)
    numbers = zip(*(_numbers(file, table, name, n) for name in ("score", "probability", "threshold")), strict=True)
    found: dict[str, dict[tuple[str, str, str], Row]] = {}
    for name, *key, row in zip(detector, trial, condition, _column(table, "path", "", n), numbers, strict=True):
        rows, at = found.setdefault(str(name), {}), (str(key[0]), str(key[1]), str(key[2]))
        if at in rows:
            raise DataError(f"{file}: {name} has two rows for {at[2]} under {at[1]}{' in ' + at[0] if at[0] else ''}; "
                            "keep one")  # fmt: skip
        rows[at] = row
    digest = content_id(file.read_bytes())
    number = {path: k for k, path in enumerate(samples.path)}
    return [
        Given(name, file, rows, samples.path, digest, _reasons(name, file, rows, number))
        for name, rows in found.items()
    ]


def _reasons(
    name: str, file: Path, rows: Mapping[tuple[str, str, str], Row], number: Mapping[str, int]
) -> dict[str, dict[int, str]]:
    """Say why images of the data failed: condition -> row number -> "score: what the table holds instead"."""
    found: dict[str, dict[int, str]] = {}
    for (_, condition, path), (score, _, _) in rows.items():
        if not np.isfinite(score) and path in number:
            held = "no score" if np.isnan(score) else f"the score {score}"
            found.setdefault(condition, {})[number[path]] = f"score: {name} has {held} in {file.name}"
    return found


def _column(table: pa.Table, name: str, default: Any, n: int) -> list[Any]:
    if name not in table.column_names:
        return [default] * n
    return ["" if value is None else value for value in table.column(name).to_pylist()]


def _numbers(file: Path, table: pa.Table, name: str, n: int) -> list[float]:
    if name not in table.column_names:
        return [np.nan] * n
    try:
        return [np.nan if value is None else float(value) for value in table.column(name).to_pylist()]
    except (TypeError, ValueError) as error:
        raise DataError(f"{file}: column '{name}' must hold numbers ({error})") from None
