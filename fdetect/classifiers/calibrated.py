"""A training-free detector that was calibrated on real images: its thresholds, and its bank where it has one.

Reals that make the bank and reals that set the thresholds are never the same image, nor of one group.  What the
thresholds are worth on reals of another source is measured beside them: each source in turn is left out of both.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from fdetect.classifiers.seen import Seen
from fdetect.decide import Achieved, Calibration, Threshold, achieved
from fdetect.errors import DataError, WeightsError
from fdetect.registry import source_digest
from fdetect.rigid import Bank
from fdetect.rigid.references import bank_sha256, usable
from fdetect.splits import hold_out
from fdetect.types import FAKE, REAL

__all__ = ["LEVELS", "Calibrated", "CalibratedDetector", "KeptBank", "Pictures", "calibrate", "identity", "judge"]

LEVELS = (0.05, 0.01)  # false-positive rates of the two thresholds


@dataclass(frozen=True)
class KeptBank:
    """A bank with what must be known of it: how many reals and fakes it was made of, and their content ids, sorted.

    `n_dropped` images had no usable embedding and are not in it.
    """

    arrays: Bank = field(compare=False, repr=False)  # the hash compares them
    sha256: str
    n_reals: int
    n_fakes: int
    n_dropped: int
    ids: tuple[str, ...] = field(repr=False)

    @cached_property
    def known(self) -> frozenset[str]:
        """The ids, to look an image up."""
        return frozenset(self.ids)


@dataclass(frozen=True)
class CalibratedDetector:
    """A training-free detector with all that is needed to score and to judge another image.

    name         as it was asked for, such as "rigid:sigma=0.02"; `instance` is the detector itself
    space        what its vectors depend on beside the image, see `identity`
    n_failed     reals that could not be used
    seen         which images are in its bank, and which set its thresholds; None where that is not known
    """

    name: str
    instance: Any
    space: Mapping[str, Any]
    condition: str
    crop: int
    seed: int
    calibration: Calibration
    bank: KeptBank | None
    n_failed: int
    version: str
    seen: Seen | None = field(default=None, compare=False, repr=False)

    def check(self, space: Any) -> None:
        """Raise WeightsError unless the space computes what it computed at the fit: the same weights or feature."""
        here = identity(self.instance, space)
        changed = sorted(key for key in {*here, *self.space} if here.get(key) != self.space.get(key))
        if not changed:
            return
        if changed == ["code"]:
            raise WeightsError(f"{self.name} changed since its thresholds were set: this version computes otherwise",
                               "fit again")  # fmt: skip
        digests = " and ".join(f"{_short(side.get(changed[0]))} {where}" for side, where in
                               ((self.space, "at the fit"), (here, "here")))  # fmt: skip
        option = "give those as --autoencoder" if "autoencoders" in here else "give those as --encoder"
        fix = f"{option}, or fit again" if space.cards else "fit again"
        what = "the weights are not" if space.cards else "the feature is not"
        raise WeightsError(f"{self.name}: {what} what the thresholds were set with ({changed[0]}: {digests})", fix)

    def in_bank(self, ids: Sequence[str]) -> np.ndarray:
        """(N,) content ids -> (N,) bool: which images are references themselves; to itself an image's distance is 0."""
        known = self.bank.known if self.bank else frozenset()
        return np.array([id in known for id in ids], np.bool_)

    def score(self, tasks: Sequence[Any], values: np.ndarray) -> np.ndarray:
        """(N, sum of D) float32 of its tasks side by side -> (N,) float64, NaN where an image failed."""
        return judge(self.instance, tasks, values, self.bank.arrays if self.bank else None)


@dataclass(frozen=True)
class Pictures:
    """What is known of N images when a detector is calibrated: content ids, labels, groups, sources of reals."""

    ids: np.ndarray
    label: np.ndarray
    group: np.ndarray
    source: np.ndarray

    @cached_property
    def once(self) -> np.ndarray:
        """(N,) bool: the first of each content; copies would count twice, or stand on both sides of a split."""
        first = np.zeros(len(self.ids), np.bool_)
        first[np.unique(self.ids, return_index=True)[1]] = True
        return first


@dataclass(frozen=True)
class Calibrated:
    """What `calibrate` found: the parts of a detector, and how its levels hold on each source of reals."""

    calibration: Calibration
    ids: tuple[str, ...]  # content ids of the reals that set the thresholds, sorted
    bank: KeptBank | None
    achieved: tuple[tuple[Achieved, ...], ...]  # for each of LEVELS, a row for each source; empty with one source


def calibrate(
    instance: Any,
    pictures: Pictures,
    found: np.ndarray | Mapping[str, np.ndarray],
    *,
    share: float = 0.25,
    seed: int = 0,
) -> Calibrated:
    """Set thresholds on reals, and make the bank of a detector that has one from the other reals.

    found  (N,) float64 scores of a detector without references, else its vectors: (N, D) float32 for each view
    share  of the reals that set the thresholds; all of them where there is no bank

    Of copies of one image the first counts.  Fakes of a calibration real's group stay out of the bank.
    Raises DataError for a bank with too few images, ParameterError for a share outside (0, 1).
    """
    if isinstance(found, Mapping):
        return _with_bank(instance, pictures, found, share, seed)
    reals = np.flatnonzero((pictures.label == REAL) & pictures.once)

    def apart(source: str) -> tuple[np.ndarray, np.ndarray]:
        here = _of_source(pictures, reals, source)
        return found[here], found[_other_groups(pictures, reals, here)]

    ids = tuple(sorted(pictures.ids[reals[np.isfinite(found[reals])]]))
    return Calibrated(Calibration.of(found[reals]), ids, None, _each_source(pictures, reals, apart))


def judge(instance: Any, tasks: Sequence[Any], values: np.ndarray, bank: Bank | None = None) -> np.ndarray:
    """Scores of a training-free detector: (N, sum of D) float32 of its tasks side by side -> (N,) float64."""
    vectors = named(tasks, values)
    return np.asarray(instance.score(bank=bank, **vectors) if instance.references else instance.score(**vectors))


def named(tasks: Sequence[Any], values: np.ndarray) -> dict[str, np.ndarray]:
    """Split columns of tasks that stand side by side into the vectors of each view."""
    ends = np.cumsum([len(task.columns) for task in tasks])[:-1]
    return {task.view_name: rows for task, rows in zip(tasks, np.split(values, ends, axis=1), strict=True)}


def identity(instance: Any, space: Any) -> dict[str, Any]:
    """Return what scores depend on, as JSON values: code, hashes and settings, but neither the names that weights go by
    nor the device nor, where networks compute, the versions of their libraries.
    """
    code = str(space.version).split(" ")[0] if space.cards else str(space.version)
    code = f"{source_digest(inspect.getsourcefile(type(instance)) or '')} {code}"
    settings: dict[str, Any] = json.loads(json.dumps(dict(space.settings)))
    for name in ("encoder", "device"):
        settings.pop(name, None)
    if "autoencoders" in settings:
        settings["autoencoders"] = [hashes for _, *hashes in settings["autoencoders"]]
    return settings | {"code": code}


def _with_bank(
    instance: Any, pictures: Pictures, vectors: Mapping[str, np.ndarray], share: float, seed: int
) -> Calibrated:
    good = usable(vectors) & pictures.once
    reals, fakes = (np.flatnonzero(good & (pictures.label == label)) for label in (REAL, FAKE))
    if len(reals) < 2:
        n = int((pictures.label == REAL).sum())
        raise DataError(f"{len(reals)} of {n} real images can be used, and some must make the bank while others set "
                        "the thresholds; give more, or see why these failed")  # fmt: skip
    held = hold_out(list(pictures.group[reals]), list(pictures.source[reals]), share=share, seed=seed)
    kept, calibration = reals[~held], reals[held]

    def bank_of(rows: np.ndarray, apart_from: np.ndarray) -> tuple[Bank, np.ndarray, np.ndarray]:
        # in the order of contents, so that the bank does not depend on that of the files
        rows = rows[np.argsort(pictures.ids[rows])]
        others = _other_groups(pictures, fakes, apart_from) if instance.references == "both" else fakes[:0]
        others = others[np.argsort(pictures.ids[others])]
        of_fakes = {name: values[others] for name, values in vectors.items()} if len(others) else None
        return instance.bank({name: values[rows] for name, values in vectors.items()}, of_fakes), rows, others

    def scores(bank: Bank, rows: np.ndarray) -> np.ndarray:
        return np.asarray(instance.score(bank=bank, **{name: values[rows] for name, values in vectors.items()}))

    def apart(source: str) -> tuple[np.ndarray, np.ndarray]:
        here = _of_source(pictures, reals, source)
        elsewhere = _other_groups(pictures, calibration, here)
        bank, _, _ = bank_of(_other_groups(pictures, kept, here), np.concatenate([here, elsewhere]))
        return scores(bank, here), scores(bank, elsewhere)

    bank, of_reals, of_fakes = bank_of(kept, calibration)
    wanted = pictures.once & ((pictures.label == REAL) | (instance.references == "both"))
    ids = tuple(sorted(pictures.ids[np.concatenate([of_reals, of_fakes])]))
    whole = KeptBank(bank, bank_sha256(bank), len(of_reals), len(of_fakes), int((wanted & ~good).sum()), ids)
    found = scores(bank, calibration)
    setting = tuple(sorted(pictures.ids[calibration[np.isfinite(found)]]))
    return Calibrated(Calibration.of(found), setting, whole, _each_source(pictures, reals, apart))


def _each_source(
    pictures: Pictures, reals: np.ndarray, apart: Callable[[str], tuple[np.ndarray, np.ndarray]]
) -> tuple[tuple[Achieved, ...], ...]:
    """Leave each source out in turn; a source that leaves too little for a bank has no attainable threshold."""
    sources = sorted(set(pictures.source[reals]))
    if len(sources) < 2:
        return ()
    rows: list[list[Achieved]] = [[] for _ in LEVELS]
    for source in sources:
        try:
            here, elsewhere = apart(source)
        except DataError:
            n = int((pictures.source[reals] == source).sum())
            for k, fpr in enumerate(LEVELS):
                rows[k].append(Achieved(source, n, 0, Threshold(float("inf"), fpr, 0, False)))
            continue
        for k, fpr in enumerate(LEVELS):
            rows[k].append(achieved(source, here, elsewhere, fpr=fpr))
    return tuple(tuple(of_level) for of_level in rows)


def _of_source(pictures: Pictures, rows: np.ndarray, source: str) -> np.ndarray:
    return np.asarray(rows[pictures.source[rows] == source])


def _other_groups(pictures: Pictures, rows: np.ndarray, than: np.ndarray) -> np.ndarray:
    """Those rows whose group has no image among others."""
    return np.asarray(rows[~np.isin(pictures.group[rows].astype(str), pictures.group[than].astype(str))])


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 24 else f"{text[:20]}..."
