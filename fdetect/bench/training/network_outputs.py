"""What a network that was trained in a trial says of images, in memory and as a file that a resumed run reads.

    rows|CONDITION  logit|CONDITION                  of a network that is a detector
    embedding|CONDITION  fresh                       beside them, of one that is the trunk of the fused detector
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fdetect.classifiers.network_columns import LOGIT, NETWORK
from fdetect.engine.pictures import Pictures
from fdetect.errors import DataError
from fdetect.files import write_atomic

if TYPE_CHECKING:
    from fdetect.nets.detectors.model import DetectorNetwork

__all__ = ["Outputs", "embedding_columns", "write_arrays"]


@dataclass(frozen=True, eq=False)
class Outputs:
    """Outputs of a trained network by condition, for the n images that it looked at there.

    rows       (n,) their numbers; `logit` (n,) float64
    embedding  (n, D) float32; no condition where a detector alone is wanted
    fresh      numbers of the trial's training images that the network was not trained on; none there
    """

    rows: Mapping[str, np.ndarray]
    logit: Mapping[str, np.ndarray]
    embedding: Mapping[str, np.ndarray] = field(default_factory=dict)
    fresh: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))

    @classmethod
    def of(
        cls, model: DetectorNetwork, shown: Pictures, rows: Mapping[str, np.ndarray], fresh: np.ndarray | None = None
    ) -> Outputs:
        """Have a network look at some rows under each condition, those that failed left out; `fresh` keeps embeddings.

        Raises ParameterError where pictures are too small for it.
        """
        from fdetect.nets.learning import judge

        there = {name: mine[shown.ok[name][mine]] for name, mine in rows.items()}
        said = {name: judge(model, shown.pixels[name][mine]) for name, mine in there.items()}
        logit = {name: one.logit for name, one in said.items()}
        if fresh is None:
            return cls(there, logit)
        return cls(there, logit, {name: one.embedding for name, one in said.items()}, fresh)

    def scores(self, condition: str, rows: np.ndarray) -> np.ndarray:
        """Return (n,) float64 logits of some rows, NaN where the network saw no picture."""
        return self._looked_up(condition, rows, self.logit[condition])

    def vectors(self, condition: str, rows: np.ndarray) -> np.ndarray:
        """Return (n, 1 + D) float32, logit and embedding of some rows, NaN where the network saw no picture."""
        width = max(one.shape[1] for one in self.embedding.values())  # 0 where it saw none
        embedding = self.embedding[condition].reshape(len(self.rows[condition]), width)
        both = np.concatenate([self.logit[condition][:, None].astype(np.float32), embedding], axis=1)
        return self._looked_up(condition, rows, both)

    def write(self, path: Path) -> None:
        """Write an .npz; raises DataError where it cannot be written."""
        write_arrays(path, self.arrays())

    def arrays(self) -> dict[str, np.ndarray]:
        """Return what `read` reads, by name."""
        kept = {"rows": self.rows, "logit": self.logit, "embedding": self.embedding}
        found = {f"{what}|{name}": one for what, of_all in kept.items() for name, one in of_all.items()}
        return found | ({"fresh": self.fresh} if self.embedding else {})

    @classmethod
    def read(cls, path: Path) -> Outputs:
        """Read an .npz, whatever else it holds; raises DataError where that is not possible."""
        found: dict[str, Any] = {"rows": {}, "logit": {}, "embedding": {}}
        try:
            with np.load(path, allow_pickle=False) as file:
                for name in file.files:
                    what, bar, condition = name.partition("|")
                    if bar and what in found:
                        found[what][condition] = file[name]
                if "fresh" in file.files:
                    found["fresh"] = file["fresh"]
        except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
            raise DataError(f"{path}: not readable as outputs of a network: {error}") from None
        if not found["rows"] or found["rows"].keys() != found["logit"].keys():
            raise DataError(f"{path}: holds no outputs of a network (rows|CONDITION and logit|CONDITION)")
        return cls(**found)

    def _looked_up(self, condition: str, rows: np.ndarray, values: np.ndarray) -> np.ndarray:
        """(n, ...) values of the rows that were seen -> those of the rows asked for, NaN of others."""
        place = {row: k for k, row in enumerate(self.rows[condition].tolist())}
        nothing = np.full((1, *values.shape[1:]), np.nan, values.dtype)
        where = [place.get(row, len(place)) for row in rows.tolist()]
        return np.concatenate([values, nothing])[where]


def embedding_columns(width: int) -> tuple[str, ...]:
    """Return names for logit and embedding side by side, as `Outputs.vectors` returns them; the logit comes first."""
    return tuple(f"{NETWORK}:{name}" for name in (LOGIT, *(f"e{k:03d}" for k in range(width))))


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write an .npz, whole or not at all; raises DataError where it cannot be written."""

    def store(temporary: Path) -> None:
        with temporary.open("wb") as file:  # a name of another ending would get .npz behind it
            np.savez_compressed(file, **dict(arrays))  # type: ignore[arg-type]

    write_atomic(path, store)
