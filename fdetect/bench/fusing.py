"""The fused detector in a benchmark: branches of columns, and of a network that was trained in the same trial.

    handmade   the hand-crafted columns but the spectral ones       spectrum   the spectral ones
    trunk      logit and embedding of a detector network            encoder    embedding of an encoder

Gates are fitted on what branches say of rows that they do not know; of rows that trained its network, the trunk says
nothing there (`FusedRows.fresh`).  In each trial the settings of the branches are chosen on its training rows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar, Protocol

import numpy as np

from fdetect.bench.contenders import why_failed
from fdetect.bench.head_trials import Tried
from fdetect.bench.models import Model, Thresholded
from fdetect.bench.protocols import ALIGNED, Samples, Trial
from fdetect.bench.scoring import shown_and_trained
from fdetect.config import RunConfig
from fdetect.engine import Extraction
from fdetect.errors import ParameterError
from fdetect.features import ALONE
from fdetect.nets.weights import INSTALL_DEEP, torch_missing
from fdetect.registry import Entry
from fdetect.types import FAKE, NotRun

if TYPE_CHECKING:
    from fdetect.classifiers.fused import FittedFused

__all__ = ["TRUNK", "FusedContender", "FusedModel", "Trunk", "columns_of", "fused"]

TRUNK, LOGIT = "trunk", "logit"  # the branch of a network, and its first column


SPECTRAL = ("spectrum", "harmonics")  # families of the branch `spectrum`


def columns_of(
    config: RunConfig, entries: Sequence[Entry], encoders: Sequence[str]
) -> tuple[dict[str, list[str]], list[NotRun]]:
    """Return the tables whose columns make each branch of a run's fused detector; empty where it is not run.

    entries   features of the run; those of probes and of file history are in no branch
    encoders  names of the tables of embeddings

    Raises ParameterError for a branch that has no column here.
    """
    if not config.fused.branches or ALIGNED in config.protocol.train:  # on pairs alone, heads are trained
        return {}, []
    features = [entry for entry in entries if entry.family not in ALONE]
    known = {
        "handmade": [entry.name for entry in features if entry.family not in SPECTRAL],
        "spectrum": [entry.name for entry in features if entry.family in SPECTRAL],
        "encoder": list(encoders),
    }
    name = _name(config.fused.branches)
    if missing := torch_missing():
        return {}, [NotRun(name, missing, INSTALL_DEEP)]
    for branch in config.fused.branches:
        if branch == "encoder" and config.features.embeddings and not encoders:
            return {}, [NotRun(name, "its encoder is not run", "see the encoder's own row")]
        if not known[branch]:
            fix = "name an encoder with --embeddings" if branch == "encoder" else "add some with --features"
            raise ParameterError(f"fused: the branch {branch} has no column; {fix}, or leave it out")
    return {branch: known[branch] for branch in config.fused.branches}, []


def fused(
    config: RunConfig, samples: Samples, branches: Mapping[str, Sequence[str]], extraction: Extraction
) -> list[FusedContender]:
    """Return the fused detector of a run with the branches that `columns_of` found; none where there are none."""
    if not branches:
        return []
    conditions = shown_and_trained(config.conditions.names)
    tables = {branch: {c: [extraction.tables[c, name] for name in names] for c in conditions}
              for branch, names in branches.items()}  # fmt: skip
    values = {branch: {c: np.concatenate([one.values for one in of_c], axis=1) for c, of_c in by_c.items()}
              for branch, by_c in tables.items()}  # fmt: skip
    columns = {branch: tuple(name for one in by_c[conditions[0]] for name in one.columns)
               for branch, by_c in tables.items()}  # fmt: skip
    reasons = {c: why_failed([one for by_c in tables.values() for one in by_c[c]]) for c in conditions}
    return [FusedContender(_name(branches), columns, values, samples, None, config.seed, config.fused.hidden, reasons)]


def _name(branches: Iterable[str]) -> str:
    return f"fused:{'+'.join(branches)}"


class Trunk(Protocol):
    """What gives the branch of a network that is trained in each trial."""

    @property
    def columns(self) -> tuple[str, ...]:
        """LOGIT, and a name for each number of the embedding."""
        ...

    @property
    def digest(self) -> str:
        """What it depends on beside the trial."""
        ...

    def vectors(self, trial: Trial, condition: str, rows: np.ndarray) -> np.ndarray:
        """Return (n, 1 + D) float32 under a condition, NaN where an image failed."""
        ...

    def fresh(self, trial: Trial) -> np.ndarray:
        """Return those of the trial's training rows that the network was not trained on."""
        ...


@dataclass(frozen=True)
class FusedContender:
    """The fused detector, fitted anew in every trial.

    columns   branch -> names; `values` branch -> condition -> (N, D) float32
    hidden    whether branches with a hidden layer are among the candidates
    """

    name: str
    columns: Mapping[str, tuple[str, ...]]
    values_of: Mapping[str, Mapping[str, np.ndarray]]
    samples: Samples
    trunk: Trunk | None = None
    seed: int = 0
    hidden: bool = True
    reasons: Mapping[str, Mapping[int, str]] = field(default_factory=dict)
    tried: Tried = field(default_factory=dict, compare=False, repr=False)
    trains: ClassVar[bool] = True
    searches: ClassVar[bool] = True

    @cached_property
    def digest(self) -> str:
        """What scores depend on beside the trials."""
        found = hashlib.blake2b(f"{self.hidden} {self.seed} {self.trunk.digest if self.trunk else ''}".encode(),
                                digest_size=16)  # fmt: skip
        for branch in sorted(self.values_of):
            for condition in sorted(self.values_of[branch]):
                values = self.values_of[branch][condition]
                found.update(f"{branch} {condition} {self.columns[branch]}".encode() + values.tobytes())
        return found.hexdigest()

    def ready(self, trial: Trial, condition: str) -> Model:
        """Choose and fit on the trial's training rows under `condition`."""
        from fdetect.classifiers.fused import BranchSettings, FusedRows, FusedSettings
        from fdetect.classifiers.fused_choice import CANDIDATES, choose_all
        from fdetect.classifiers.fused_fit import fit_fused

        rows, columns, fresh = trial.fit, dict(self.columns), {}
        vectors = self.vectors(trial, condition, rows)
        settings = FusedSettings()
        if self.trunk:
            columns[TRUNK], fresh[TRUNK] = self.trunk.columns, np.isin(rows, self.trunk.fresh(trial))
            settings = FusedSettings(branches={TRUNK: BranchSettings(decay=0.3, anchor=LOGIT)})
        known = FusedRows(vectors, columns, self.samples.label[rows], self.samples.group[rows].astype(str),
                          np.where(self.samples.label[rows] == FAKE, self.samples.generator[rows], "").astype(str),
                          fresh)  # fmt: skip
        chosen = choose_all(known, settings, CANDIDATES if self.hidden else CANDIDATES[:1], seed=self.seed)
        self.tried[trial.name, condition] = [
            {"head": f"{branch}:hidden={how.hidden}:decay={how.decay:g}", "fold": "all", "generator": "macro",
             "auroc": auroc, "macro_auroc": auroc, "chosen": how == chosen.settings.of(branch)}
            for branch, how, auroc in chosen.tried
        ]  # fmt: skip
        return FusedModel(fit_fused(known, chosen.settings, seed=self.seed), self, trial)

    def vectors(self, trial: Trial, condition: str, rows: np.ndarray) -> dict[str, np.ndarray]:
        """Return the vectors of every branch for some rows under a condition."""
        found = {branch: by_condition[condition][rows] for branch, by_condition in self.values_of.items()}
        return found | ({TRUNK: self.trunk.vectors(trial, condition, rows)} if self.trunk else {})


@dataclass(frozen=True)
class FusedModel(Thresholded):
    """A fused detector that was fitted in a trial."""

    fitted: FittedFused
    contender: FusedContender
    trial: Trial

    def scores(self, condition: str, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Score the rows; the probability is as the log-odds state it."""
        vectors = self.contender.vectors(self.trial, condition, rows)
        scores = self.fitted.score(vectors)
        return scores, self.fitted.probability(vectors)
