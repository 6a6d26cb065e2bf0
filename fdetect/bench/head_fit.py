"""How a head is fitted on rows: its settings searched where wanted, generators balanced, probabilities made."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from fdetect.bench.cross_validation import LabelledRows
from fdetect.bench.head_trials import TrialFit, check_heads
from fdetect.classifiers import FittedHead, head
from fdetect.classifiers.calibration import calibrator
from fdetect.classifiers.heads import DISTANCE, scale_of
from fdetect.classifiers.search import Searched
from fdetect.errors import DataError
from fdetect.registry import Entry
from fdetect.splits import hold_out
from fdetect.types import FAKE, REAL

__all__ = ["HeadFit", "Learnt", "constant_columns"]

FEWEST = 10  # usable images of a class from which a probability may be made

_SHOWN = 5  # names of constant columns that are spelt out


@dataclass(frozen=True)
class Learnt:
    """A fitted head, the settings that it has, and what its search tried, as JSON values; None without a search."""

    head: FittedHead
    settings: Mapping[str, Any]
    tried: list[dict[str, Any]] | None


@dataclass(frozen=True)
class HeadFit:
    """What is asked of a fit.

    entry      the head, with the settings of its name
    search     whether its settings are searched for, in folds of groups within the rows it is fitted on; those that
               stand behind its name stay
    balance    weights of rows: "none", "generators", "generators+sources"
    calibrate  how probabilities are made of scores: a name of `calibrator`, or "none" for the head's own
    """

    entry: Entry
    search: bool = False
    balance: str = "none"
    calibrate: str = "none"
    seed: int = 0

    @classmethod
    def of(cls, name: str, *, search: bool, balance: str, calibrate: str, seed: int) -> HeadFit:
        """Read the names; raises UnknownName and ParameterError for those that do not exist, as `check_heads` does."""
        check_heads((name,), balance=balance, search=search)
        if calibrate != "none":
            calibrator.get(calibrate)
        return cls(head.read(name), search, balance, calibrate, seed)

    @property
    def needs_fakes(self) -> bool:
        """Whether generated images are fitted; a head that measures the distance from reals needs none."""
        return scale_of(self.entry) != DISTANCE

    def __call__(self, rows: LabelledRows, chosen: np.ndarray) -> FittedHead:
        """Fit on the chosen rows, as `learn` does."""
        return self.learn(rows.at(chosen)).head

    def learn(self, rows: LabelledRows) -> Learnt:
        """Search the settings, where wanted, and fit; rows that are not finite are left out.

        Raises DataError where a class is empty or all columns are constant.
        """
        fitted, found = TrialFit(self.balance, self.search, self.seed).searched(
            self.entry, rows.columns, rows.values, rows.label,
            groups=rows.group, generator=rows.generator, source=rows.source,
        )  # fmt: skip
        settings = found.entry.settings if found else self.entry.settings
        return Learnt(fitted, dict(settings), _tried(found) if found else None)

    def apart(self, rows: LabelledRows, *, share: float) -> np.ndarray:
        """Return which rows make the probabilities, (N,) bool: whole groups of both classes; none without a wish.

        Raises DataError where fewer than FEWEST of a class are usable, and where none are left to fit on.
        """
        if self.calibrate == "none":
            return np.zeros(len(rows.label), np.bool_)
        strata = np.where(rows.label == FAKE, "fake " + rows.generator, "real " + rows.source)
        held = hold_out(list(rows.group), list(strata), share=share, seed=self.seed)
        ok = np.isfinite(rows.values).all(axis=1)
        if len({*rows.label[~held & ok]}) < 2:
            raise DataError("probabilities need whole groups of both classes apart from those that are fitted: give "
                            "more groups, another --calibration, or --calibrate none")  # fmt: skip
        n_real, n_fake = (int((held & ok & (rows.label == value)).sum()) for value in (REAL, FAKE))
        if min(n_real, n_fake) < FEWEST:
            raise DataError(f"--calibrate {self.calibrate} needs {FEWEST} usable images of each class apart from those "
                            f"that are fitted, and has {n_real} real and {n_fake} fake; give more images, a larger "
                            "--calibration, or --calibrate none")  # fmt: skip
        return held

    def probabilities(self, fitted: FittedHead, rows: LabelledRows) -> Any:
        """Fit what makes probabilities of the head's scores of these rows; None without a wish."""
        if self.calibrate == "none":
            return None
        scores = fitted.score(rows.values)
        ok = np.isfinite(scores)
        return calibrator.get(self.calibrate)(scores[ok], rows.label[ok])


def constant_columns(rows: LabelledRows, notice: Callable[[str], None] | None) -> list[str]:
    """Return the columns that are the same for all rows, and give notice of them: they say nothing."""
    values = rows.values[np.isfinite(rows.values).all(axis=1)]
    same = (values == values[:1]).all(axis=0) & bool(len(values))
    names = [name for name, constant in zip(rows.columns, same, strict=True) if constant]
    if names and notice:
        more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        notice(f"{len(names)} of {len(rows.columns)} columns are constant over the training images and say nothing: "
               f"{', '.join(names[:_SHOWN])}{more}")  # fmt: skip
    return names


def counts(rows: LabelledRows, *, fakes: bool) -> dict[str, int]:
    """Count the rows that were fitted, by generator; "" are the photographs."""
    ok = np.isfinite(rows.values).all(axis=1)
    found = {"": int((ok & (rows.label == REAL)).sum())}
    for name in sorted(set(rows.generator[rows.label == FAKE].tolist())) if fakes else ():
        found[name or "(unnamed)"] = int((ok & (rows.label == FAKE) & (rows.generator == name)).sum())
    return found


def _tried(found: Searched) -> list[dict[str, Any]]:
    """Every setting in the order it was tried: settings, macro AUROC, its worst cell, whether it was chosen."""
    lines = []
    for one in found.tried:
        worst = one.worst
        lines.append({
            "settings": dict(one.settings),
            "macro_auroc": one.auroc,
            "worst": [worst.generator, worst.auroc] if worst else None,
            "chosen": one is found.chosen,
        })  # fmt: skip
    return lines
