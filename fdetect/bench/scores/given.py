"""Scores made elsewhere: a table of a file becomes a detector like any other (`bench --scores FILE`).

    path, score                     one score per image, the same in every trial (a detector that nothing trains)
    + condition                     which condition the row was scored under; needed if the run has more than one
    + trial                         scores of a detector that was trained in each trial of the same protocol
    + detector                      several detectors in one file; without it the file's name names the detector
    + probability, threshold        of the image; of the detector at 5 % FPR, in that trial
    + label                         0 or 1, compared with the data's: another one is an error

What files may look like, and other names of columns: fdetect/bench/scores/files.py.  Every image that the run scores
needs its row; rows of images and conditions that the run has not are counted and said.

A larger score means more likely generated; an empty, NaN or infinite one is a failed image.  Without `threshold` it
is set like everybody's, on the calibration reals, if the table scores them too; otherwise metrics that need a
decision stay empty.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa

from fdetect.bench.models import Model
from fdetect.bench.protocols import Samples, Trial
from fdetect.bench.scores.evaluate import OVERALL, refuse_repeats
from fdetect.bench.scores.files import column, need, numbers, read_table, spelt_as
from fdetect.bench.scores.scoring import shown_and_trained, train_condition
from fdetect.decide import Threshold, conformal_threshold
from fdetect.engine.work import content_id
from fdetect.errors import DataError
from fdetect.perturb import Condition

__all__ = ["Given", "read_score_table", "read_scores"]

Row = tuple[float, float, float]  # score, probability, threshold

@dataclass(frozen=True)
class Given:
    """A detector whose scores were read from a file; `rows` maps (trial or "", condition, path) to a row.

    notes  what of the file is not used, in words
    """

    name: str
    file: Path
    rows: Mapping[tuple[str, str, str], Row]
    paths: np.ndarray
    digest: str
    reasons: Mapping[str, Mapping[int, str]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @cached_property
    def trains(self) -> bool:
        """Whether the table names trials: its detector was then trained in each of them."""
        return any(trial for trial, _, _ in self.rows)

    @cached_property
    def conditions(self) -> tuple[str, ...]:
        """Return the conditions that the table has rows for."""
        return tuple(dict.fromkeys(condition for _, condition, _ in self.rows))

    @property
    def hint(self) -> str:
        """How its paths look where none of them is one of the data's."""
        here = next(iter(self.rows))[2]
        strange = {path for _, _, path in self.rows}.isdisjoint(self.paths.tolist())
        return f"; its paths are such as {here!r}, those of the data such as {self.paths[0]!r}" if strange else ""

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
                f"{self.given.hint}"
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


def read_score_table(file: Path, table: pa.Table | None = None) -> pa.Table:
    """Read a table for `evaluate`: the columns of `scores.parquet`, those that are missing filled where they can be.

    Needed are path, label, generator and score; `detector` falls back to the file's name, `condition` to "as given",
    `trial` and `train` to one trial of an untrained detector; a column `file` keeps where each row is from, `id` the
    content id where it is known.  `table` is the file where it was read and completed already.  Raises
    DataError naming the file and the column, and for an image given twice.
    """
    table = read_table(file) if table is None else table
    need(file, table, "path", "label", "generator", "score")
    n = len(table)
    defaults = {"detector": file.stem, "train": "", "train_condition": "", "condition": "as given", "trial": "all/0"}
    defaults |= dict.fromkeys(("real_source", "group"), "")
    defaults |= dict.fromkeys(("path", "generator"), "")
    text = {name: [str(value) for value in column(table, name, default)] for name, default in defaults.items()}
    label = [int(value) if value in (0, 1, "0", "1") else -1 for value in column(table, "label", "")]
    if -1 in label:
        raise DataError(f"{file}: row {label.index(-1) + 1} has a label other than 0 (real) and 1 (fake)")
    text["generator"] = [g or "unknown" if k else g for g, k in zip(text["generator"], label, strict=True)]
    if reserved := sorted({*OVERALL} & {*text["generator"]}):
        raise DataError(f"{file}: a generator is called '{reserved[0]}', which names a row of every table; rename it")
    made = {name: pa.array(values, pa.string()) for name, values in text.items()}
    made["label"] = pa.array(label, pa.int64())
    made["seen"] = pa.array([value in (True, "true", "True") for value in column(table, "seen", False)], pa.bool_())
    for name in ("score", "probability", "threshold"):
        made[name] = pa.array(numbers(file, table, name), pa.float64(), from_pandas=True)
    made["file"] = pa.repeat(str(file), n)
    made["id"] = pa.array([str(value) for value in column(table, "id", "")], pa.string())
    refuse_repeats(judged := pa.table(made))
    one_label: dict[str, int] = {}
    if other := [path for path, k in zip(text["path"], label, strict=True) if one_label.setdefault(path, k) != k]:
        raise DataError(f"{file}: {other[0]} has label 0 in one row and 1 in another; give each image one label")
    return judged


def read_scores(
    file: Path, samples: Samples, conditions: Sequence[Condition], *, root: str = "", name: str = ""
) -> list[Given]:
    """Read the detectors of a score table, and why some of its images have no score that can be used.

    root  of the data: absolute paths below it are known
    name  of the detector where the table names none; without it the file's

    Raises DataError for missing columns, rows given twice, and a label that is not the data's.
    """
    table = read_table(file)
    need(file, table, "path", "score")
    if "condition" not in table.column_names and len(conditions) > 1:
        raise DataError(f"{file}: no column 'condition', and the run has {len(conditions)}; say which each row is for")
    number = {path: k for k, path in enumerate(samples.path)} if samples else {}
    paths = [spelt_as(str(path), number, root) for path in column(table, "path", "")]
    _refuse_other_labels(file, table, paths, number, samples)
    detector = column(table, "detector", name or file.stem)
    trial = column(table, "trial", "")
    condition = column(table, "condition", conditions[0].name)
    values = zip(*(numbers(file, table, one) for one in ("score", "probability", "threshold")), strict=True)
    found: dict[str, dict[tuple[str, str, str], Row]] = {}
    for called, *key, row in zip(detector, trial, condition, paths, values, strict=True):
        rows, at = found.setdefault(str(called), {}), (str(key[0]), str(key[1]), str(key[2]))
        if at in rows:
            raise DataError(f"{file}: {called} has two rows for {at[2]} under {at[1]}{' in ' + at[0] if at[0] else ''};"
                            " keep one")  # fmt: skip
        rows[at] = row
    digest = content_id(file.read_bytes())
    names = shown_and_trained([one.name for one in conditions])
    return [
        Given(one, file, rows, samples.path, digest, _reasons(one, file, rows, number),
              _notes(one, file, rows, number, names))
        for one, rows in found.items()
    ]  # fmt: skip


def _refuse_other_labels(
    file: Path, table: pa.Table, paths: Sequence[str], number: Mapping[str, int], samples: Samples
) -> None:
    """Raise DataError where a table says of an image that it is of the other class."""
    said = [{"0": 0, "1": 1}.get(str(value), -1) for value in column(table, "label", "")]
    other = [k for k, label in enumerate(said)
             if label >= 0 and paths[k] in number and samples.label[number[paths[k]]] != label]  # fmt: skip
    if other:
        raise DataError(f"{file}: {paths[other[0]]} has label {said[other[0]]}, and {1 - said[other[0]]} in the data "
                        f"({len(other)} such rows); 0 is real and 1 is fake")  # fmt: skip


def _notes(
    name: str, file: Path, rows: Mapping[tuple[str, str, str], Row], number: Mapping[str, int], names: Sequence[str]
) -> tuple[str, ...]:
    """Say which rows no part of the run looks at."""
    strange = list(dict.fromkeys(path for _, _, path in rows if path not in number))
    under = [one for one in dict.fromkeys(condition for _, condition, _ in rows) if one not in names]
    notes = [f"{file}: {len(strange)} of the images of {name} are not in the data, such as {strange[0]}; they are not "
             "used"] if strange else []  # fmt: skip
    return (*notes, *(f"{file}: {name} has rows under {one}, which is not run; they are not used" for one in under))


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
