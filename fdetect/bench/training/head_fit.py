"""How a head is fitted on rows: its settings searched where wanted, generators balanced, probabilities made.

    asked_of("logreg", ...)   HeadFit: a head of the registry        asked_of("fused", ...)   FusedAsked
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fdetect.bench.training.columns import Columns
from fdetect.bench.training.cross_validation import LabelledRows
from fdetect.bench.training.head_trials import TrialFit, check_heads
from fdetect.classifiers import head
from fdetect.classifiers.branches import by_branch
from fdetect.classifiers.calibration import calibrator
from fdetect.classifiers.fused import FusedRows
from fdetect.classifiers.fused_head import FUSED, FusedFit, trunk_settings
from fdetect.classifiers.heads import DISTANCE, AnyHead, scale_of
from fdetect.classifiers.network_columns import NetworkTask
from fdetect.classifiers.search import Searched
from fdetect.errors import DataError, ParameterError, UnknownName, WeightsError
from fdetect.nets.weights import INSTALL_DEEP, torch_missing
from fdetect.registry import Entry, nearest
from fdetect.splits import hold_out
from fdetect.types import FAKE, REAL

__all__ = ["Asked", "FusedAsked", "HeadFit", "Learnt", "asked_of", "constant_columns", "counts"]

FEWEST = 10  # usable images of a class from which a probability may be made

_SHOWN = 5  # names of constant columns that are spelt out


@dataclass(frozen=True)
class Learnt:
    """A fitted head, the settings that it has, and what its search tried, as JSON values; None without a search."""

    head: AnyHead
    settings: Mapping[str, Any]
    tried: list[dict[str, Any]] | None


@dataclass(frozen=True)
class Asked:
    """What is asked of a fit, of whatever kind.

    balance    weights of rows: "none", "generators", "generators+sources"
    calibrate  how probabilities are made of scores: a name of `calibrator`, or "none" for the head's own
    """

    balance: str = "none"
    calibrate: str = "none"
    seed: int = 0

    @property
    def needs_fakes(self) -> bool:
        """Whether generated images are fitted."""
        return True

    @property
    def tells_fresh(self) -> bool:
        """Whether rows that a network was trained on can be among those to fit on, as it tells them from others."""
        return False

    def on(self, columns: Columns) -> Asked:
        """Return the same for these columns."""
        return self

    def usable(self, rows: LabelledRows) -> np.ndarray:
        """(N,) bool: rows that can be fitted on, and get a score."""
        return np.asarray(np.isfinite(rows.values).all(axis=1))

    def fresh(self, rows: LabelledRows) -> np.ndarray:
        """(N,) bool: rows that no network was trained on, among those that are fitted on; all where it leaves them out.

        Of the rows that it was trained on, a network is surer than of any other.
        """
        return np.ones(len(rows.label), np.bool_)

    def stacked(self, rows: LabelledRows) -> LabelledRows:
        """Return the rows that are fitted on, (N, D): several of an image where it is drawn several times."""
        return rows

    def learn(self, rows: LabelledRows) -> Learnt:
        """Fit on the usable rows; raises DataError where they do not suffice."""
        raise NotImplementedError

    def __call__(self, rows: LabelledRows, chosen: np.ndarray) -> AnyHead:
        """Fit on the chosen rows, as `learn` does."""
        return self.learn(rows.at(chosen)).head

    def apart(self, rows: LabelledRows, *, share: float) -> np.ndarray:
        """Return which rows are kept for probabilities, (N,) bool: whole groups of both classes; none without a wish.

        Groups are drawn by their fresh rows, of which alone `probabilities` makes them.
        Raises DataError where fewer than FEWEST of a class are usable, and where none are left to fit on.
        """
        if self.calibrate == "none":
            return np.zeros(len(rows.label), np.bool_)
        strata = np.where(rows.label == FAKE, "fake " + rows.generator, "real " + rows.source)
        fresh, ok = self.fresh(rows), self.usable(rows)
        drawn = hold_out(list(rows.group[fresh]), list(strata[fresh]), share=share, seed=self.seed)
        held = np.isin(rows.group.astype(str), rows.group[fresh][drawn].astype(str))
        if len({*rows.label[~held & ok]}) < 2:
            raise DataError("probabilities need whole groups of both classes apart from those that are fitted: give "
                            "more groups, another --calibration, or --calibrate none")  # fmt: skip
        n_real, n_fake = (int((held & ok & fresh & (rows.label == value)).sum()) for value in (REAL, FAKE))
        if min(n_real, n_fake) < FEWEST:
            known = "" if fresh.all() else ", of which its network knows none"
            raise DataError(f"--calibrate {self.calibrate} needs {FEWEST} usable images of each class apart from those "
                            f"that are fitted{known}, and has {n_real} real and {n_fake} fake; give more images, a "
                            "larger --calibration, or --calibrate none")  # fmt: skip
        return held

    def probabilities(self, fitted: AnyHead, rows: LabelledRows) -> Any:
        """Fit what makes probabilities of the head's scores of the fresh ones of these rows; None without a wish."""
        if self.calibrate == "none":
            return None
        scores = fitted.score(rows.values)
        ok = np.isfinite(scores) & self.fresh(rows)
        return calibrator.get(self.calibrate)(scores[ok], rows.label[ok])


@dataclass(frozen=True, kw_only=True)
class HeadFit(Asked):
    """What is asked of a fit of a head of the registry.

    entry   the head, with the settings of its name
    search  whether its settings are searched for, in folds of groups within the rows it is fitted on; those that stand
            behind its name stay
    """

    entry: Entry
    search: bool = False

    @classmethod
    def of(cls, name: str, *, search: bool, balance: str, calibrate: str, seed: int) -> HeadFit:
        """Read the names; raises UnknownName and ParameterError for those that do not exist, as `check_heads` does."""
        check_heads((name,), balance=balance or "none", search=search)
        if calibrate != "none":
            calibrator.get(calibrate)
        return cls(balance or "none", calibrate, seed, entry=head.read(name), search=search)

    @property
    def needs_fakes(self) -> bool:
        """Whether generated images are fitted; a head that measures the distance from reals needs none."""
        return scale_of(self.entry) != DISTANCE

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


@dataclass(frozen=True, kw_only=True)
class FusedAsked(Asked):
    """What is asked of a fit of the fused detector, whose settings are always chosen within the rows it is fitted on.

    fit    how it is fitted, with the columns of its branches
    known  content ids of images that the network of its trunk was trained on
    """

    fit: FusedFit
    known: frozenset[str] = frozenset()

    @classmethod
    def of(cls, name: str, *, search: bool, balance: str, calibrate: str, seed: int) -> FusedAsked:
        """Read what is asked; raises ParameterError for what it does not take, WeightsError without torch."""
        fit = FusedFit.of(name, balance=balance, seed=seed)
        if search:
            raise ParameterError(f"--search: --head {FUSED} always chooses its settings within the training images; "
                                 "leave it out")  # fmt: skip
        if missing := torch_missing():
            raise WeightsError(f"fitting a fused detector needs torch: {missing}", INSTALL_DEEP)
        if calibrate != "none":
            calibrator.get(calibrate)
        return cls(fit.balance, calibrate, seed, fit=fit)

    def on(self, columns: Columns) -> FusedAsked:
        """Part columns into branches; raises ParameterError for those of two networks."""
        sources = columns.sources
        branches = {branch: tuple(column for name in names for column in sources[name])
                    for branch, names in by_branch(sources).items()}  # fmt: skip
        trunk_settings(branches)
        known = [task.trained_on for task in columns.networks.values() if isinstance(task, NetworkTask)]
        fit = replace(self.fit, branches=branches)
        return replace(self, fit=fit, known=frozenset().union(*(one or () for one in known)))

    @property
    def tells_fresh(self) -> bool:
        """The branch of the network alone leaves them out."""
        return True

    def fresh(self, rows: LabelledRows) -> np.ndarray:
        """(N,) bool: rows that the network of the trunk was not trained on."""
        return np.array([one not in self.known for one in rows.ids], np.bool_)

    def rows(self, rows: LabelledRows) -> FusedRows:
        """Return usable rows by branch."""
        return self.fit.rows(rows.columns, rows.values, rows.label, group=rows.group, generator=rows.generator,
                             source=rows.source, fresh=self.fresh(rows))  # fmt: skip

    def usable(self, rows: LabelledRows) -> np.ndarray:
        """(N,) bool: rows of which a branch at least is there."""
        return self.fit.usable(rows.columns, rows.values)

    def learn(self, rows: LabelledRows) -> Learnt:
        """Choose the settings of the branches and fit; raises DataError where a class is empty."""
        fitted, tried = self.fit(rows.columns, self.rows(rows))
        return Learnt(fitted, {"forms": list(self.fit.forms)}, tried or None)


def asked_of(name: str, **how: Any) -> Asked:
    """Return what is asked of a fit by the name of the head; raises what `HeadFit.of` and `FusedAsked.of` raise."""
    base = name.partition(":")[0]
    if base == FUSED:
        return FusedAsked.of(name, **how)
    if base not in head and (hint := nearest(base, [FUSED])):  # which no registry of heads knows
        raise UnknownName(f"no head '{base}'{hint} (fdetect list heads)")
    return HeadFit.of(name, **how)


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


def counts(rows: LabelledRows, ok: np.ndarray, *, fakes: bool) -> dict[str, int]:
    """Count the rows that were fitted, those where `ok`, by generator; "" are the photographs."""
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
