"""How the heads of a run are fitted in its trials: rows weighed, settings searched, and all that a search tried kept.

    check_heads     what a head refuses is said before the work
    TrialFit        training rows of a trial, or of `fit` -> a fitted head
    searched.csv    a row for each setting, inner fold and generator, in the run folder

A search sees the training rows of its trial alone; its inner folds are those of fdetect/classifiers/search.py.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from fdetect.bench.protocols import Trial
from fdetect.classifiers import WEIGHTS, FittedHead, fit_head, head, in_parallel, search
from fdetect.classifiers.search import GRIDS, Searched
from fdetect.config import RunConfig
from fdetect.errors import DataError, ParameterError
from fdetect.files import write_atomic
from fdetect.registry import Entry, nearest

__all__ = ["SEARCHED", "TrialFit", "Tried", "check_heads", "grid_of", "write_searched"]

SEARCHED = "searched.csv"

# (trial, condition of its thresholds) -> what its search tried, as rows of SEARCHED
Tried = dict[tuple[str, str], list[dict[str, Any]]]

_COLUMNS = ("detector", "trial", "train_condition", "head", "fold", "generator", "auroc", "macro_auroc", "chosen")


@dataclass(frozen=True)
class TrialFit:
    """How heads are fitted.

    balance  weights of rows: "none", "generators", "generators+sources"
    search   whether settings are searched for within the training rows; those behind a head's name stay
    """

    balance: str = "none"
    search: bool = False
    seed: int = 0

    @classmethod
    def of(cls, config: RunConfig) -> TrialFit:
        """Return what a configuration asks for."""
        return cls(config.heads.balance, config.heads.search, config.seed)

    def __call__(
        self, entry: Entry, columns: tuple[str, ...], values: np.ndarray, label: np.ndarray, *,
        groups: np.ndarray, generator: np.ndarray, source: np.ndarray,
    ) -> tuple[FittedHead, list[dict[str, Any]]]:  # fmt: skip
        """Fit on (N, D) float32, (N,) labels and (N,) str each; with it comes what a search tried, else nothing.

        Raises DataError where the rows do not suffice.
        """
        fitted, found = self.searched(entry, columns, values, label, groups=groups, generator=generator, source=source)
        return fitted, _rows(entry, found) if found else []

    def searched(
        self, entry: Entry, columns: tuple[str, ...], values: np.ndarray, label: np.ndarray, *,
        groups: np.ndarray, generator: np.ndarray, source: np.ndarray,
    ) -> tuple[FittedHead, Searched | None]:  # fmt: skip
        """Fit as above; with it comes the search as it was, None without one."""
        given: dict[str, Any] = {"groups": groups, "generator": generator, "source": source, "weights": self.balance}
        found = search(entry, grid_of(entry), values, label, seed=self.seed, **given) if self.search else None
        return fit_head(found.entry if found else entry, columns, values, label, **given), found


def check_heads(names: Iterable[str], *, balance: str = "none", search: bool = False) -> None:
    """Raise UnknownName or ParameterError for what would end a run in the midst of its trials.

    That is a head or a setting that does not exist, a value that a head does not take, weights that it refuses, and a
    search for a head without a grid.  Each head is fitted on a few made-up rows to see.
    """
    if balance not in WEIGHTS:
        raise ParameterError(f"--balance: no weights '{balance}'{nearest(balance, WEIGHTS)} ({', '.join(WEIGHTS)})")
    names = tuple(dict.fromkeys(names))
    for name in names:
        entry = head.read(name)
        try:
            _fitted_on_few(name, "none")
        except ValueError as error:  # scikit-learn's, of a value that is out of range
            raise ParameterError(f"head '{name}': {' '.join(str(error).split())}") from None
        if search:
            grid_of(entry)
    if refusing := [name for name in names if not _takes(name, balance)]:
        raise ParameterError(f"--balance {balance}: {', '.join(refusing)} can be fitted without weights alone; leave "
                             "them out, or give them a run with --balance none")  # fmt: skip


def grid_of(entry: Entry) -> list[Mapping[str, Any]]:
    """Return what a search tries for a head: its grid, each setting once, without those that its name fixes.

    Raises ParameterError for a head without a grid.
    """
    name, *pairs = entry.name.split(":")
    if name not in GRIDS:
        raise ParameterError(f"--search: head {name} has no grid of settings; leave it out ({', '.join(GRIDS)} have)")
    fixed = {pair.partition("=")[0] for pair in pairs}
    found: list[Mapping[str, Any]] = []
    for one in GRIDS[name]:
        left = {setting: value for setting, value in one.items() if setting not in fixed}
        if left not in found:
            found.append(left)
    return found


def write_searched(folder: Path, detectors: Iterable[Any], trials: Sequence[Trial]) -> None:
    """Write SEARCHED where a detector of the run has `tried` anything; the same bytes when the run is repeated."""
    rows = [
        {"detector": one.name, "trial": trial.name,
         "train_condition": getattr(one, "trained_under", str)(condition), **row}
        for one in detectors
        for trial in trials
        for condition in ("native", "matched")
        for row in getattr(one, "tried", {}).get((trial.name, condition), ())
    ]  # fmt: skip
    if not rows:
        return
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, _COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows({**row, "chosen": str(row["chosen"]).lower()} for row in rows)
    write_atomic(folder / SEARCHED, lambda path: path.write_text(text.getvalue(), encoding="utf-8"))


def _rows(entry: Entry, found: Searched) -> list[dict[str, Any]]:
    """Return JSON values; a head stands with all its settings as `--heads` takes it."""
    base = entry.name.partition(":")[0]
    return [
        {"head": ":".join((base, *(f"{name}={_text(value)}" for name, value in row["settings"].items()))),
         "fold": row["fold"], "generator": row["generator"], "auroc": row["auroc"], "macro_auroc": row["macro"],
         "chosen": row["chosen"]}
        for row in found.rows()
    ]  # fmt: skip


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _takes(name: str, balance: str) -> bool:
    """Whether a head can be fitted with these weights."""
    try:
        _fitted_on_few(name, balance)
    except ParameterError:
        return False
    return True


@cache
def _fitted_on_few(name: str, weights: str) -> None:
    """Fit a head on sixty made-up rows; that these are too few for it is no objection."""
    label = np.arange(60) % 2
    values = np.random.default_rng(0).normal(size=(60, 3)) + label[:, None]
    group = np.array([f"group {k // 4}" for k in range(60)], object)
    maker, camera = (np.where(label == k, ("one", "two")[k], "").astype(object) for k in (1, 0))

    def fit(entry: Entry) -> None:
        with suppress(DataError):
            fit_head(entry, ("a", "b", "c"), values.astype(np.float32), label, groups=group, generator=maker,
                     source=camera, weights=weights)  # fmt: skip

    list(in_parallel(fit, [head.read(name)]))
