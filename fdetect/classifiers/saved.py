"""A fitted detector in a folder, of either kind, with its calibration and its card.  No pickle.

A trained head is an estimator (estimator_files.py), a calibrated training-free detector is arrays; what belongs to them
stands in card.json, and all of it under one digest (model_folder.py).  A model from a stranger can so hold numbers,
but neither code nor a way out of its arrays.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

from fdetect.classifiers.calibrated import CalibratedDetector, KeptBank
from fdetect.classifiers.calibration import Calibrator, calibrator_of, state_of
from fdetect.classifiers.card import PURPOSE, need, thresholds, versions
from fdetect.classifiers.embedding import is_embedding
from fdetect.classifiers.estimator_files import TRUSTED, estimator_bytes, read_estimator
from fdetect.classifiers.heads import FittedHead, head
from fdetect.classifiers.model_folder import ARRAYS, HEAD, check_target, read_folder, write_folder
from fdetect.decide import Calibration
from fdetect.errors import DataError, FdetectError
from fdetect.perturb import condition
from fdetect.registry import Entry
from fdetect.rigid import detector as training_free
from fdetect.rigid.references import bank_sha256

__all__ = ["TRUSTED", "FittedDetector", "check_target", "load_detector", "save_detector"]


@dataclass(frozen=True)
class FittedDetector:
    """A head that was fitted on features under one condition, with all that is needed to score another image.

    codes          by feature, the digest of its source at the time of fitting
    trained_on     rows by generator; "" = photographs ("real" in card.json), launder_NAME = their round trips
    n_failed       images that could not be used
    settings       of the head, all of them; empty where it has those of its name
    about          by feature, all that its columns depend on beside the image; see `FeatureTable`
    calibrate      the registered calibrator that makes probabilities of scores; "none": they are the head's own
    probabilities  the same, fitted
    record         how it was made and what it came to, as JSON values, for its card
    """

    head: FittedHead
    features: tuple[str, ...]
    codes: dict[str, str]
    condition: str
    crop: int
    seed: int
    calibration: Calibration
    trained_on: dict[str, int]
    n_failed: int
    version: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    about: Mapping[str, Any] = field(default_factory=dict)
    calibrate: str = "none"
    probabilities: Calibrator | None = field(default=None, compare=False)  # its numbers are in the card
    record: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Return the head and the families or features it reads."""
        return f"{self.head.name}:{'+'.join(self.features)}"

    def probability(self, scores: np.ndarray) -> np.ndarray:
        """(N,) scores -> (N,) probabilities of "generated", classes balanced; NaN where there is none."""
        return np.asarray((self.probabilities or self.head).probability(scores))


def save_detector(detector: FittedDetector | CalibratedDetector, path: Path) -> None:
    """Write a fitted detector to a folder that is whole or absent; a model in its place is replaced.

    Raises DataError where it cannot be written, and for a file or a folder of anything else in its place.
    """
    made = _of_calibrated(detector) if isinstance(detector, CalibratedDetector) else _of_head(detector)
    write_folder(path, *made)


def load_detector(path: Path) -> FittedDetector | CalibratedDetector:
    """Read a fitted detector of either kind, whichever the folder holds.

    Raises DataError for a folder that is none, for one that was changed, for one that holds a type its head is not
    made of or arrays that its detector does not keep, and for the single files of earlier versions.
    """
    try:
        card, files = read_folder(path)
        return _read_calibrated(card, files) if card["kind"] == "training-free" else _read_head(card, files)
    except DataError as error:
        raise error if str(error).startswith(str(path)) else DataError(f"{path}: {error}") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None
    except Exception as error:  # a damaged folder fails in many ways; each is one that is no detector
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise DataError(f"{path}: not a fitted detector ({reason})") from None


_SHARED = {"condition": str, "crop": int, "seed": int, "n_failed": int, "version": str}
_OF_HEAD = _SHARED | {"columns": list, "features": list, "trained_on": dict, "record": dict, "head": dict}
_OF_FREE = _SHARED | {"name": str, "space": dict, "settings": dict}

REALS = "real"  # what a card calls the photographs of `trained_on`


def _of_head(detector: FittedDetector) -> tuple[dict[str, Any], dict[str, bytes]]:
    from safetensors.numpy import save

    fitted = detector.head
    own = {f.name: getattr(fitted, f.name) for f in fields(fitted) if f.name not in ("columns", "pipeline")}
    features = [
        {"name": name, "code": detector.codes[name], "about": detector.about.get(name)} for name in detector.features
    ]
    numbers, arrays = _probability_parts(detector)
    card = {
        "kind": "head",
        "name": detector.name,
        "purpose": PURPOSE,
        "head": own | {"settings": dict(detector.settings)},
        **{name: getattr(detector, name) for name in _SHARED},
        "trained_on": _renamed(detector.trained_on, "", REALS),
        "thresholds": thresholds(detector.calibration),
        "probabilities": numbers,
        "record": detector.record,
        "features": features,
        "columns": list(fitted.columns),
        "versions": versions(networks=any(map(is_embedding, detector.features))),
    }
    arrays["calibration"] = np.array(detector.calibration.scores, np.float64)
    estimator = estimator_bytes(fitted.name, fitted.pipeline, _template(fitted.name, detector.settings)())
    return card, {HEAD: estimator, ARRAYS: bytes(save(arrays))}


def _read_head(card: dict[str, Any], files: Mapping[str, bytes]) -> FittedDetector:
    from safetensors.numpy import load

    known, arrays = need(card, _OF_HEAD), load(files[ARRAYS])
    _check_head(known)
    condition(known["condition"])
    columns, own = tuple(known.pop("columns")), dict(known.pop("head"))
    settings = own.pop("settings")
    entry = _template(own["name"], settings)
    known["trained_on"] = _renamed(known["trained_on"], REALS, "")
    estimator = read_estimator(own["name"], files[HEAD], entry(), len(columns))
    fitted = FittedHead(columns=columns, pipeline=estimator, **own)
    fitted.score(np.zeros((1, len(columns)), np.float32))
    features = known.pop("features")
    calibration = _calibration(arrays.pop("calibration"), card)
    calibrate, probabilities = _probabilities(card["probabilities"], arrays)
    return FittedDetector(
        head=fitted,
        features=tuple(one["name"] for one in features),
        codes={one["name"]: one["code"] for one in features},
        about={one["name"]: one["about"] for one in features if one["about"] is not None},
        calibration=calibration,
        settings=settings,
        calibrate=calibrate,
        probabilities=probabilities,
        **known,
    )


def _check_head(card: Mapping[str, Any]) -> None:
    """Raise DataError for a side, columns or counts that no fit can have had."""
    if card["crop"] <= 0:
        raise DataError(f"not a fitted detector (crop is {card['crop']}, no side in px)")
    if strange := [one for one in card["columns"] if type(one) is not str]:
        raise DataError(f"not a fitted detector (a column is {strange[0]!r}, no name)")
    if strange := [name for name, n in card["trained_on"].items() if type(n) is not int or n < 0]:
        raise DataError(f"not a fitted detector (trained_on has {card['trained_on'][strange[0]]!r} of "
                        f"{strange[0]!r}, no number of images)")  # fmt: skip


def _renamed(counts: Mapping[str, int], old: str, new: str) -> dict[str, int]:
    """Return counts with one name in place of another; as they are where a generator has the new one already."""
    return dict(counts) if new in counts else {new if name == old else name: n for name, n in counts.items()}


def _template(name: str, settings: Mapping[str, Any]) -> Entry:
    """Return the entry that makes the head's estimator before it is fitted; raises DataError where it cannot be."""
    try:
        return head.get(name.partition(":")[0]).configured(**settings) if settings else head.read(name)
    except FdetectError as error:
        raise DataError(f"its head cannot be made here: {error}") from None


def _of_calibrated(detector: CalibratedDetector) -> tuple[dict[str, Any], dict[str, bytes]]:
    from safetensors.numpy import save

    arrays: dict[str, np.ndarray] = {"calibration": np.array(detector.calibration.scores, np.float64)}
    card: dict[str, Any] = {
        "kind": "training-free",
        "name": detector.name,
        "purpose": PURPOSE,
        "settings": {one.name: getattr(detector.instance, one.name) for one in fields(detector.instance)},
        "space": detector.space,
        **{name: getattr(detector, name) for name in _SHARED},
        "thresholds": thresholds(detector.calibration),
        "bank": None,
        "versions": versions(networks="sha256" in detector.space or "autoencoders" in detector.space),
    }
    if bank := detector.bank:
        arrays |= {f"bank.{name}": np.ascontiguousarray(array) for name, array in bank.arrays.items()}
        arrays["bank_ids"] = np.frombuffer(bytes.fromhex("".join(bank.ids)), np.uint8).reshape(-1, 16)
        card["bank"] = {name: getattr(bank, name) for name in ("sha256", "n_reals", "n_fakes", "n_dropped")}
    return card, {ARRAYS: bytes(save(arrays))}


def _read_calibrated(card: dict[str, Any], files: Mapping[str, bytes]) -> CalibratedDetector:
    from safetensors.numpy import load

    plain, arrays = need(card, _OF_FREE), load(files[ARRAYS])
    settings = plain.pop("settings")
    condition(plain["condition"])
    try:
        entry = training_free.get(plain["name"].partition(":")[0]).configured(**settings)
        for name, default in training_free.get(entry.name).settings.items():
            if type(entry.settings[name]) not in (type(default), int if isinstance(default, float) else type(default)):
                raise DataError(f"its setting {name} is {entry.settings[name]!r}")
        instance = entry()
    except FdetectError as error:
        raise DataError(f"its detector cannot be made here: {error}") from None
    calibration, bank = _calibration(arrays.pop("calibration"), card), None
    if card["bank"] is not None:
        ids = arrays.pop("bank_ids")
        bank = _kept_bank(card["bank"], ids, {name.removeprefix("bank."): array for name, array in arrays.items()})
        getattr(instance, "check_bank", lambda _: None)(bank.arrays)
    if (bank is not None) != bool(instance.references) or (arrays and bank is None):
        raise DataError(f"not a fitted detector (a bank where {entry.name} has none, or none where it has one)")
    return CalibratedDetector(instance=instance, calibration=calibration, bank=bank, **plain)


def _kept_bank(card: dict[str, Any], ids: np.ndarray, arrays: dict[str, np.ndarray]) -> KeptBank:
    if card["sha256"] != bank_sha256(arrays):
        raise DataError("its bank is not the one that was kept; fit it again")
    names = tuple(bytes(row).hex() for row in ids)
    n_reals, n_fakes = card["n_reals"], card["n_fakes"]
    if ids.dtype != np.uint8 or ids.shape != (n_reals + n_fakes, 16) or sorted(names) != list(names):
        raise DataError(f"its bank of {n_reals} reals and {n_fakes} fakes has ids of {ids.dtype} {ids.shape}")
    return KeptBank(arrays, card["sha256"], n_reals, n_fakes, int(card["n_dropped"]), names)


def _calibration(scores: np.ndarray, card: Mapping[str, Any]) -> Calibration:
    if scores.dtype != np.float64 or scores.ndim != 1 or not np.isfinite(scores).all() or (np.diff(scores) < 0).any():
        raise DataError("its calibration must be finite float64 scores in ascending order; fit it again")
    calibration = Calibration(tuple(scores.tolist()))
    if card["thresholds"] != thresholds(calibration):
        raise DataError("the thresholds of its card are not those of its calibration scores; fit it again")
    return calibration


def _probability_parts(detector: FittedDetector) -> tuple[dict[str, Any] | None, dict[str, np.ndarray]]:
    """Return what a card says of a calibrator, its method and plain numbers, and its arrays."""
    if detector.probabilities is None:
        return None, {}
    state = state_of(detector.probabilities)
    numbers = {name: float(value) for name, value in state.items() if not value.ndim}
    arrays = {f"probability.{name}": np.ascontiguousarray(value) for name, value in state.items() if value.ndim}
    return {"method": detector.calibrate, **numbers}, arrays


def _probabilities(said: Mapping[str, Any] | None, arrays: Mapping[str, np.ndarray]) -> tuple[str, Calibrator | None]:
    if said is None:
        return "none", None
    numbers = {name: value for name, value in said.items() if name != "method"}
    state = numbers | {name.removeprefix("probability."): array for name, array in arrays.items()}
    return said["method"], calibrator_of(said["method"], state)
