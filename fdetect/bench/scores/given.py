"""Scores made elsewhere: a table of a file becomes a detector like any other (`bench --scores FILE`).

    path, score                     one score per image, the same in every trial (a detector that nothing trains)
    + condition                     which condition the row was scored under; needed if the run has more than one
    + trial                         scores of a detector that was trained in each trial of the same protocol
    + detector                      several detectors in one file; without it the file's name names the detector
    + probability, threshold        of the image; of the detector at 5 % FPR, in that trial
    + label                         0 (real) or 1 (fake), compared with the data's: another one is an error

What files may look like, and other names of columns: fdetect/bench/scores/files.py.  Every image that the run scores
needs its row; rows of images, conditions and trials that the run has not are counted and said.

A larger score means more likely generated; an empty, NaN or infinite one is a failed image.  Without `threshold` it
is set like everybody's, on the calibration reals, if the table scores them too; otherwise metrics that need a
decision stay empty.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
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
Rows = Mapping[tuple[str, str, str], Row]  # of (trial or "", condition, path)


@dataclass(frozen=True)
class Given:
    """A detector whose scores were read from a file.

    notes   what of the file is not used, in words
    trials  names of those of the run
    """

    name: str
    file: Path
    rows: Rows
    paths: np.ndarray
    digest: str
    reasons: Mapping[str, Mapping[int, str]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    trials: frozenset[str] = frozenset()

    @cached_property
    def trains(self) -> bool:
        """Whether the table names trials of the run: its detector was then trained in each of them."""
        return any(trial in self.trials for trial, _, _ in self.rows)

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

    def need_rows(self, conditions: Sequence[str], rows: np.ndarray) -> None:
        """Raise DataError where an image, of these rows of the data, has no score under a condition in any trial.

        Whether its own trial has one is known when groups are joined by content, and then seen by `scores`.
        """
        there = {(condition, path) for _, condition, path in self.rows}
        for condition in conditions:
            if missing := [str(path) for path in self.paths[rows] if (condition, str(path)) not in there]:
                raise self.missing(missing, f"under {condition}")

    def missing(self, paths: Sequence[str], where: str) -> DataError:
        """Return the error of images without a row."""
        return DataError(f"{self.file}: no score of {self.name} for {paths[0]} {where} ({len(paths)} missing); add the "
                         f"rows, with an empty score where it failed{self.hint}")  # fmt: skip

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
            raise self.given.missing(missing, f"under {condition} in trial {self.trial.name}")
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
    content id where it is known, `n_calibration` a run's calibration reals.  `table` is the file where it was read and
    completed already.  Raises DataError naming the file and the column, for a probability outside [0, 1], and for an
    image given twice.
    """
    table = read_table(file) if table is None else table
    need(file, table, "path", "label", "generator", "score")
    n = len(table)
    defaults = {"detector": file.stem, "train": "", "train_condition": "", "condition": "as given", "trial": "all/0"}
    defaults |= dict.fromkeys(("real_source", "group"), "")
    defaults |= dict.fromkeys(("path", "generator"), "")
    text = {name: [str(value) for value in column(table, name, default)] for name, default in defaults.items()}
    label = _labels(file, table)
    if -1 in label:
        raise DataError(f"{file}: row {label.index(-1) + 1} has no label; give each row 0 (real) or 1 (fake)")
    text["generator"] = [g or "unknown" if k else g for g, k in zip(text["generator"], label, strict=True)]
    if reserved := sorted({*OVERALL} & {*text["generator"]}):
        raise DataError(f"{file}: a generator is called '{reserved[0]}', which names a row of every table; rename it")
    made = {name: pa.array(values, pa.string()) for name, values in text.items()}
    made["label"] = pa.array(label, pa.int64())
    made["seen"] = pa.array([value in (True, "true", "True") for value in column(table, "seen", False)], pa.bool_())
    made["probability"] = pa.array(_probabilities(file, table), pa.float64(), from_pandas=True)
    for name in ("score", "threshold", "n_calibration"):
        made[name] = pa.array(numbers(file, table, name), pa.float64(), from_pandas=True)
    made["file"] = pa.repeat(str(file), n)
    made["id"] = pa.array([str(value) for value in column(table, "id", "")], pa.string())
    refuse_repeats(judged := pa.table(made))
    one_label: dict[str, int] = {}
    if other := [path for path, k in zip(text["path"], label, strict=True) if one_label.setdefault(path, k) != k]:
        raise DataError(f"{file}: {other[0]} has label 0 in one row and 1 in another; give each image one label")
    return judged


def read_scores(
    file: Path,
    samples: Samples,
    conditions: Sequence[Condition],
    trials: Sequence[Trial],
    *,
    root: str = "",
    name: str = "",
) -> list[Given]:
    """Read the detectors of a score table, and why some of its images have no score that can be used.

    root  of the data: absolute paths below it are known
    name  of the detector where the table names none; without it the file's

    Raises DataError for missing columns, a probability outside [0, 1], rows given twice, a label that is not the
    data's, and a detector without a row of any trial of the run.
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
    values = zip(numbers(file, table, "score"), _probabilities(file, table), numbers(file, table, "threshold"),
                 strict=True)  # fmt: skip
    found: dict[str, dict[tuple[str, str, str], Row]] = {}
    for called, *key, row in zip(detector, trial, condition, paths, values, strict=True):
        rows, at = found.setdefault(str(called), {}), (str(key[0]), str(key[1]), str(key[2]))
        if at in rows:
            raise DataError(f"{file}: {called} has two rows for {at[2]} under {at[1]}{' in ' + at[0] if at[0] else ''};"
                            " keep one")  # fmt: skip
        rows[at] = row
    digest = content_id(file.read_bytes())
    names = shown_and_trained([one.name for one in conditions])
    _refuse_other_trials(file, found, trials)
    known = frozenset(one.name for one in trials)
    return [
        Given(one, file, rows, samples.path, digest, _reasons(one, file, rows, number),
              _notes(one, file, rows, number, names, known), known)
        for one, rows in found.items()
    ]  # fmt: skip


def _labels(file: Path, table: pa.Table) -> list[int]:
    """Return the label of each row, -1 where there is none; 1 may be written as 1.0, as text of either, or as true.

    Raises DataError for any other.
    """
    found = []
    for row, value in enumerate(column(table, "label", ""), 1):
        try:
            number = np.nan if value == "" else float(value)
        except (TypeError, ValueError):
            number = np.inf
        if not (np.isnan(number) or number in (0, 1)):
            raise DataError(f"{file}: row {row} has a label other than 0 (real) and 1 (fake): {str(value)!r}")
        found.append(-1 if np.isnan(number) else int(number))
    return found


def _probabilities(file: Path, table: pa.Table) -> list[float]:
    """Return the column of probabilities, NaN where there is none; raises DataError for one outside [0, 1]."""
    found = numbers(file, table, "probability")
    if strange := [k for k, value in enumerate(found) if not (np.isnan(value) or 0 <= value <= 1)]:
        raise DataError(f"{file}: row {strange[0] + 1} has the probability {found[strange[0]]:g}, and one lies between "
                        f"0 and 1 ({len(strange)} such rows); write 97% as 0.97, or leave the column out")  # fmt: skip
    return found


def _refuse_other_labels(
    file: Path, table: pa.Table, paths: Sequence[str], number: Mapping[str, int], samples: Samples
) -> None:
    """Raise DataError where a table says of an image that it is of the other class."""
    said = _labels(file, table)
    other = [k for k, label in enumerate(said)
             if label >= 0 and paths[k] in number and samples.label[number[paths[k]]] != label]  # fmt: skip
    if other:
        raise DataError(f"{file}: {paths[other[0]]} has label {said[other[0]]}, and {1 - said[other[0]]} in the data "
                        f"({len(other)} such rows); 0 is real and 1 is fake")  # fmt: skip


def _refuse_other_trials(file: Path, found: Mapping[str, Rows], trials: Sequence[Trial]) -> None:
    """Raise DataError for a detector without a row that any trial of the run could use."""
    known = {"", *(one.name for one in trials)}
    for name, rows in found.items():
        if known.isdisjoint(trial for trial, _, _ in rows):
            raise DataError(f"{file}: {name} has no row of a trial of the run; its trials are such as "
                            f"{next(iter(rows))[0]!r}, those of the run such as {trials[0].name!r}")  # fmt: skip


def _notes(
    name: str,
    file: Path,
    rows: Rows,
    number: Mapping[str, int],
    names: Sequence[str],
    trials: Collection[str],
) -> tuple[str, ...]:
    """Say which rows no part of the run looks at."""
    strange = list(dict.fromkeys(path for _, _, path in rows if path not in number))
    under = [one for one in dict.fromkeys(condition for _, condition, _ in rows) if one not in names]
    notes = [f"{file}: {len(strange)} of the images of {name} are not in the data, such as {strange[0]}; they are not "
             "used"] if strange else []  # fmt: skip
    if other := [trial for trial, _, _ in rows if trial and trial not in trials]:
        notes.append(f"{file}: {len(other)} of the rows of {name} are of trials that the run has not, such as "
                     f"{other[0]}; they are not used")  # fmt: skip
    return (*notes, *(f"{file}: {name} has rows under {one}, which is not run; they are not used" for one in under))


def _reasons(name: str, file: Path, rows: Rows, number: Mapping[str, int]) -> dict[str, dict[int, str]]:
    """Say why images of the data failed: condition -> row number -> "score: what the table holds instead"."""
    found: dict[str, dict[int, str]] = {}
    for (_, condition, path), (score, _, _) in rows.items():
        if not np.isfinite(score) and path in number:
            held = "no score" if np.isnan(score) else f"the score {score}"
            found.setdefault(condition, {})[number[path]] = f"score: {name} has {held} in {file.name}"
    return found
