"""The fused detector in a benchmark: branches of columns, and of a network that was trained in the same trial.

    handmade   the hand-crafted columns but the spectral ones       spectrum   the spectral ones
    trunk      logit and embedding of a detector network            encoder    embedding of an encoder

Gates are fitted on what branches say of rows that they do not know; of rows that trained its network, the trunk says
nothing there (`FusedRows.fresh`).  In each trial the settings of the branches are chosen on its training rows.  Where
its network could not be trained in a trial, the branch is absent there, and the result says so.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np

from fdetect.bench.contenders import why_failed
from fdetect.bench.models import Thresholded
from fdetect.bench.protocols import ALIGNED, Samples, Trial
from fdetect.bench.scores.scoring import shown_and_trained
from fdetect.bench.training.draws import Draws
from fdetect.bench.training.head_trials import Tried
from fdetect.bench.training.network_outputs import Outputs
from fdetect.classifiers.branches import HANDMADE, SPECTRUM, TRUNK, branch_of
from fdetect.classifiers.fused_choice import FORMS, candidates_of
from fdetect.config import RunConfig
from fdetect.decide import logistic
from fdetect.draws import drawn_names, mean_of_draws
from fdetect.engine import Extraction
from fdetect.errors import DataError, ParameterError
from fdetect.features import ALONE
from fdetect.nets.weights import INSTALL_DEEP, torch_missing
from fdetect.registry import Entry
from fdetect.types import FAKE, NotRun

if TYPE_CHECKING:
    from fdetect.classifiers.fused import FittedFused

__all__ = ["TRUNK", "FusedContender", "FusedModel", "Trunk", "columns_of", "fused", "trunk_header"]


def columns_of(
    config: RunConfig, entries: Sequence[Entry], encoders: Sequence[str], trunk: Trunk | None = None
) -> tuple[dict[str, list[str]], list[NotRun]]:
    """Return the tables whose columns make each branch of a run's fused detector; empty where it is not run.

    entries   features of the run; those of probes and of file history are in no branch
    encoders  names of the tables of embeddings
    trunk     one that was trained already, where the configuration names none; its name stands for its columns

    Raises ParameterError for a branch that has no column here, and for a form that no branch can have.
    """
    if not config.fused.branches:
        return {}, []
    features = [entry for entry in entries if entry.family not in ALONE]
    network = config.fused.trunk or (trunk.name if trunk else "")
    known = {
        HANDMADE: [entry.name for entry in features if branch_of(entry) == HANDMADE],
        SPECTRUM: [entry.name for entry in features if branch_of(entry) == SPECTRUM],
        TRUNK: [network] if network else [],
        "encoder": list(encoders),
    }
    name = _name(config.fused.branches)
    if missing := torch_missing():
        return {}, [NotRun(name, missing, INSTALL_DEEP)]
    candidates_of(config.fused.forms)
    if ALIGNED in config.protocol.train:
        return {}, [NotRun(name, f"it is not trained on {ALIGNED} pairs", f"leave --train {ALIGNED} out")]
    for branch in config.fused.branches:
        if branch == "encoder" and config.features.embeddings and not encoders:
            return {}, [NotRun(name, "its encoder is not run", "see the encoder's own row")]
        if not known[branch]:
            fix = _FIXES.get(branch, "add some with --features")
            raise ParameterError(f"fused: the branch {branch} has no column; {fix}, or leave it out")
    return {branch: known[branch] for branch in config.fused.branches}, []


def fused(
    config: RunConfig, samples: Samples, branches: Mapping[str, Sequence[str]], extraction: Extraction,
    trunk: Trunk | None = None, not_run: Sequence[NotRun] = (),
) -> tuple[list[FusedContender], list[NotRun]]:  # fmt: skip
    """Return the fused detector of a run with the branches that `columns_of` found; none where there are none.

    not_run  networks that could not be built; a fused detector whose trunk is among them is not run either
    """
    if not branches:
        return [], []
    if TRUNK in branches and trunk is None:
        (why,) = (one for one in not_run if one.detector in branches[TRUNK])
        return [], [NotRun(_name(branches), f"its network {why.detector}: {why.reason}", why.fix)]
    draws = Draws.of_fused(config)
    conditions = tuple(draws.needed(shown_and_trained(config.conditions.names)))
    tables = {branch: {c: [extraction.tables[c, name] for name in names] for c in conditions}
              for branch, names in branches.items() if branch != TRUNK}  # fmt: skip
    values = {branch: {c: np.concatenate([one.values for one in of_c], axis=1) for c, of_c in by_c.items()}
              for branch, by_c in tables.items()}  # fmt: skip
    columns = {branch: tuple(name for one in by_c[conditions[0]] for name in one.columns)
               for branch, by_c in tables.items()}  # fmt: skip
    trunk = trunk if TRUNK in branches else None
    reasons = {c: dict(trunk.reasons.get(c, {}) if trunk else {})
                  | why_failed([one for by_c in tables.values() for one in by_c[c]]) for c in conditions}  # fmt: skip
    return [FusedContender(_name(branches), columns, values, samples, trunk, config.seed, config.fused.forms,
                           reasons, draws)], []  # fmt: skip


_FIXES = {"encoder": "name an encoder with --embeddings", TRUNK: "name a network with --trunk"}


def trunk_header(fused: Sequence[FusedContender], trials: Sequence[Trial]) -> dict[str, Any]:
    """Return the part `trunk` of a result's header: the network, and trials without it; nothing without that branch."""
    for one in fused:
        if one.trunk:
            missing = {trial.name: why for trial in trials if (why := one.trunk.missing(trial))}
            return {TRUNK: {"fused": one.name, "network": one.trunk.name, "trials": len(trials), "missing": missing}}
    return {}


def _name(branches: Iterable[str]) -> str:
    return f"fused:{'+'.join(branches)}"


class Trunk(Protocol):
    """What gives the branch of a network that is trained in each trial."""

    @property
    def name(self) -> str:
        """Of the network."""
        ...

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the logit and of each number of the embedding (`embedding_columns`)."""
        ...

    @property
    def digest(self) -> str:
        """What it depends on beside the trial."""
        ...

    @property
    def reasons(self) -> Mapping[str, Mapping[int, str]]:
        """Why it sees no picture: condition -> row number -> one line."""
        ...

    def outputs(self, trial: Trial) -> Outputs:
        """Return what it says in a trial, with embeddings; raises DataError where it could not be trained there."""
        ...

    def missing(self, trial: Trial) -> str:
        """Say why it could not be trained in a trial, as far as is known; "" where it was.  Trains nothing."""
        ...


@dataclass(frozen=True)
class FusedContender:
    """The fused detector, fitted anew in every trial.

    columns   branch -> names, of all but the trunk; `values_of` branch -> draw of a condition -> (N, D) float32
    forms     what may give a branch its logit
    """

    name: str
    columns: Mapping[str, tuple[str, ...]]
    values_of: Mapping[str, Mapping[str, np.ndarray]]
    samples: Samples
    trunk: Trunk | None = None
    seed: int = 0
    forms: tuple[str, ...] = FORMS
    reasons: Mapping[str, Mapping[int, str]] = field(default_factory=dict)
    draws: Draws = field(default_factory=Draws)
    tried: Tried = field(default_factory=dict, compare=False, repr=False)
    _models: dict[tuple[str, str], FusedModel] = field(default_factory=dict, init=False, compare=False, repr=False)
    trains: ClassVar[bool] = True
    searches: ClassVar[bool] = True

    @property
    def branches(self) -> tuple[str, ...]:
        """Names of the branches."""
        return (*self.values_of, *((TRUNK,) if self.trunk else ()))

    @cached_property
    def digest(self) -> str:
        """What scores depend on beside the trials."""
        found = hashlib.blake2b(f"{self.forms} {self.seed} {self.trunk.digest if self.trunk else ''}".encode(),
                                digest_size=16)  # fmt: skip
        for branch in sorted(self.values_of):
            for condition in sorted(self.values_of[branch]):
                values = self.values_of[branch][condition]
                found.update(f"{branch} {condition} {self.columns[branch]}".encode() + values.tobytes())
        return found.hexdigest()

    def trained_under(self, condition: str) -> str:
        """Name the conditions of its training, for thresholds set under `condition`."""
        return self.draws.label(condition)

    def ready(self, trial: Trial, condition: str) -> FusedModel:
        """Choose and fit on the trial's training images, once for all that ask for thresholds under `condition`."""
        if (trial.name, condition) not in self._models:
            self._models[trial.name, condition] = FusedModel(self._fitted(trial, condition), self, trial)
        return self._models[trial.name, condition]

    def _fitted(self, trial: Trial, condition: str) -> FittedFused:
        from fdetect.classifiers.fused import FusedRows
        from fdetect.classifiers.fused_head import FusedFit

        columns, fresh = dict(self.columns), {}
        shown = [(name, k) for name in self.draws.conditions(condition) for k in range(self.draws.n)]
        each = [self.vectors(trial, name, trial.fit, draw=k) for name, k in shown]
        vectors = {branch: np.concatenate([one[branch] for one in each]) for branch in each[0]}
        rows = np.tile(trial.fit, len(shown))
        if self.trunk and TRUNK in vectors:
            columns[TRUNK] = self.trunk.columns
            fresh[TRUNK] = np.isin(rows, self.trunk.outputs(trial).fresh)
        known = FusedRows(vectors, columns, self.samples.label[rows], self.samples.group[rows].astype(str),
                          np.where(self.samples.label[rows] == FAKE, self.samples.generator[rows], "").astype(str),
                          fresh)  # fmt: skip
        fit = FusedFit(columns, seed=self.seed, forms=self.forms)
        head, tried = fit(tuple(name for names in columns.values() for name in names), known)
        self.tried[trial.name, condition] = [
            {"head": ":".join(f"{k}={v}" for k, v in one["settings"].items()).removeprefix("branch="), "fold": "all",
             "generator": "macro", "auroc": one["macro_auroc"], "macro_auroc": one["macro_auroc"],
             "chosen": one["chosen"]}
            for one in tried
        ]  # fmt: skip
        return head.fitted

    def vectors(self, trial: Trial, condition: str, rows: np.ndarray, *, draw: int = 0) -> dict[str, np.ndarray]:
        """Return the vectors of every branch for some rows in a draw, of the trunk where it was trained.

        A trunk looks at an image once: its vectors are the same in every draw, and NaN where it did not look.
        Raises DataError where no other branch is left.
        """
        name = drawn_names(condition, draw + 1)[draw]
        found = {branch: by_draw[name][rows] for branch, by_draw in self.values_of.items()}
        if self.trunk:
            try:
                said = self.trunk.outputs(trial)
                nothing = np.full((len(rows), len(self.trunk.columns)), np.nan, np.float32)
                found[TRUNK] = said.vectors(condition, rows) if condition in said.rows else nothing
            except DataError:  # `trunk_header` says it
                if not found:
                    raise
        return found


@dataclass(frozen=True)
class FusedModel(Thresholded):
    """A fused detector that was fitted in a trial."""

    fitted: FittedFused
    contender: FusedContender
    trial: Trial

    def scores(self, condition: str, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Score the rows by the mean log-odds over draws; the probability is as these state it."""
        return self.scores_by(self.fitted.branches, condition, rows)

    def scores_by(self, branches: Iterable[str], condition: str, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Score the rows by some of the branches alone."""
        each = [self.contender.vectors(self.trial, condition, rows, draw=k) for k in range(self.contender.draws.n)]
        scores = mean_of_draws(np.stack([self.fitted.score({b: one[b] for b in branches}) for one in each]))
        return scores, logistic(scores)
