"""The files of OUT/trainings: what benchmarks/networks.py keeps of each training, and benchmarks/trained.py reads."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from fdetect.bench.protocols import Trial
from fdetect.bench.training.network_outputs import Outputs, embedding_columns
from fdetect.config import fingerprint
from fdetect.engine.work import content_id
from fdetect.errors import DataError, ParameterError


def file_of(folder: Path, network: str, trial: int, key: str) -> Path:
    """Return where a training is kept; the key says which protocol, budget, data and code."""
    return folder / f"{_plain(network)}-{trial}-{key}.npz"


def _plain(network: str) -> str:
    return network.replace(":", "-")


def scored_rows(trial: Trial) -> np.ndarray:
    """Return the images that a training scores, by which it is known again: tested ones, and calibration reals."""
    return np.concatenate([trial.test, trial.calibration])


@dataclass(frozen=True)
class Trainings:
    """A network that was trained in every trial, as the branch `trunk` of the fused detector."""

    name: str
    folder: Path
    by_rows: Mapping[bytes, Outputs]  # of `scored_rows`
    digest: str
    reasons: Mapping[str, Mapping[int, str]] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path, name: str) -> Trainings:
        """Read all trainings of a network; raises ParameterError where there are none, or two of one trial."""
        mine = re.compile(re.escape(_plain(name)) + r"-\d+-[0-9a-f]{16}\.npz")
        files = sorted(path for path in folder.glob("*.npz") if mine.fullmatch(path.name))
        found, of = dict[bytes, Outputs](), dict[bytes, Path]()
        for path in files:
            with np.load(path) as file:
                rows = file["rows"].astype(np.int64).tobytes()
            if rows in of:
                raise ParameterError(f"{path} and {of[rows].name} are of one trial; leave one of them in the folder")
            found[rows], of[rows] = Outputs.read(path), path
        if not any(outputs.embedding for outputs in found.values()):
            raise ParameterError(f"{folder}: no training of {name} with embeddings; make some with networks.py --embed")
        return cls(name, folder, found, fingerprint([content_id(path.read_bytes()) for path in files]))

    @property
    def columns(self) -> tuple[str, ...]:
        """Logit, and the numbers of the embedding."""
        return embedding_columns(max(one.shape[1] for of in self.by_rows.values() for one in of.embedding.values()))

    def outputs(self, trial: Trial) -> Outputs:
        """Return what it says in a trial; raises DataError where no training of the trial is in the folder."""
        if why := self.missing(trial):
            raise DataError(why)
        found = self.by_rows[scored_rows(trial).tobytes()]
        if not np.isin(found.fresh, trial.fit).all():
            raise ParameterError(f"{self.folder}: {self.name} was trained on other images than those of {trial.name}")
        return found

    def missing(self, trial: Trial) -> str:
        """Say that no training of a trial is in the folder, or nothing."""
        return "" if scored_rows(trial).tobytes() in self.by_rows else f"it was not trained there ({self.folder.name})"
