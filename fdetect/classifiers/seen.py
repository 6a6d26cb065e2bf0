"""Which images a model knows: those that it was fitted on and those that set its thresholds, by content.

    Seen.of(ids, ids)        sorted first halves of content ids (xxh3_128), (n,) uint64 each
    known(model, ids)        which of N images a model knows
    in_words(model, ids)     the same as a sentence, for whoever scores them

Half of an id suffices: that one of n strange images meets one of m known halves has a chance of about n m / 2^64.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from fdetect.engine.store import id_bytes
from fdetect.errors import DataError

__all__ = ["Seen", "in_words", "known"]

_PARTS = ("fit", "calibration")


@dataclass(frozen=True, eq=False, repr=False)
class Seen:
    """First 64 bits of content ids, (n,) uint64, ascending and each once.

    fit          of the images that anything of the model was fitted on
    calibration  of the reals that set its thresholds
    """

    fit: np.ndarray
    calibration: np.ndarray

    @classmethod
    def of(cls, fit: Sequence[str] | np.ndarray, calibration: Sequence[str] | np.ndarray) -> Seen:
        """Return those of content ids, 32 hex digits each."""
        return cls(np.unique(_halves(fit)), np.unique(_halves(calibration)))

    @property
    def counts(self) -> dict[str, int]:
        """How many contents there are of each, for a card."""
        return {name: len(getattr(self, name)) for name in _PARTS}

    def and_fitted(self, before: Seen | None) -> Seen:
        """Return the same with all that another was fitted on: a model that was adapted has seen both."""
        return self if before is None else Seen(np.union1d(self.fit, before.fit), self.calibration)

    def to_bytes(self) -> bytes:
        """Return them as a safetensors file with the arrays `fit` and `calibration`."""
        from safetensors.numpy import save

        return bytes(save({name: np.ascontiguousarray(getattr(self, name)) for name in _PARTS}))

    @classmethod
    def from_bytes(cls, data: bytes) -> Seen:
        """Read them back; raises DataError for arrays that are no such halves."""
        from safetensors.numpy import load

        arrays = load(data)
        if set(arrays) != set(_PARTS):
            raise DataError(f"its images seen must be the arrays {' and '.join(_PARTS)}; fit it again")
        for name, array in arrays.items():
            if array.dtype != np.uint64 or array.ndim != 1 or (array[1:] <= array[:-1]).any():
                raise DataError(f"its images seen ({name}) must be ascending uint64; fit it again")
        return cls(**arrays)


class _Model(Protocol):
    @property
    def seen(self) -> Seen | None: ...


def known(model: _Model, ids: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """N content ids -> (N,) bool, those that a model was fitted on, and (N,) bool, those that set its thresholds.

    All False where `model.seen` is None: it does not say, as models of earlier versions and the one that ships.
    """
    if model.seen is None:
        return np.zeros(len(ids), np.bool_), np.zeros(len(ids), np.bool_)
    halves = _halves(ids)
    return np.isin(halves, model.seen.fit), np.isin(halves, model.seen.calibration)


def in_words(model: _Model, ids: Sequence[str]) -> str:
    """Say how many of some images a model knows, or that it does not say; "" where it knows none."""
    if model.seen is None:
        return ("this model does not say which images it was fitted on, and these may be among them; fit it again for "
                "a model that does")  # fmt: skip
    fitted, calibration = (int(one.sum()) for one in known(model, ids))
    if not fitted and not calibration:
        return ""
    n = f"{len(ids)} image{'s' * (len(ids) != 1)}"
    were = "was" if fitted == 1 else "were"
    return (f"{fitted} of {n} {were} among those that this model was fitted on, {calibration} among those that set its "
            "threshold: figures of these are no test of it")  # fmt: skip


def _halves(ids: Sequence[str] | np.ndarray) -> np.ndarray:
    """N content ids -> (N,) uint64, their first 16 hex digits as numbers."""
    whole = id_bytes([str(one) for one in ids])
    return np.ascontiguousarray(whole[:, :8]).view(">u8").reshape(len(whole)).astype(np.uint64)
