"""A fitted detector in a folder, of either kind, with its calibration and its card.  No pickle.

A trained head is an estimator (estimator_files.py); a fused detector (fused_file.py) or a calibrated training-free one
(saved_free.py) is arrays.  What belongs to them stands in card.json, and all of it under one digest (model_folder.py).
A model from a stranger can so hold numbers, but neither code nor a way out of its arrays.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from fdetect.classifiers.branches import BRANCHES
from fdetect.classifiers.calibrated import CalibratedDetector
from fdetect.classifiers.calibration import Calibrator, calibrator_of, state_of
from fdetect.classifiers.card import PURPOSE, SHARED, ascending, calibration_of, need, thresholds, versions
from fdetect.classifiers.estimator_files import TRUSTED, estimator_bytes, read_estimator
from fdetect.classifiers.fused_file import fused_of, parts_of
from fdetect.classifiers.fused_head import FUSED, FusedHead
from fdetect.classifiers.heads import AnyHead, FittedHead, head
from fdetect.classifiers.mean_head import MOST_DRAWS, MeanHead
from fdetect.classifiers.model_folder import ARRAYS, HEAD, SEEN, check_target, read_folder, write_folder
from fdetect.classifiers.network_columns import looks_through_network
from fdetect.classifiers.saved_free import FREE, of_calibrated, read_calibrated
from fdetect.classifiers.seen import Seen
from fdetect.classifiers.tiles import AGGREGATES
from fdetect.decide import Calibration
from fdetect.errors import DataError, FdetectError
from fdetect.perturb import condition
from fdetect.registry import Entry

__all__ = ["TRUSTED", "FittedDetector", "check_target", "load_detector", "save_detector"]


@dataclass(frozen=True)
class FittedDetector:
    """A head that was fitted on features under one condition, with all that is needed to score another image.

    head           a fitted head of the registry, or the fused detector
    codes          by feature, the digest of its source at the time of fitting
    trained_on     rows by generator; "" = photographs ("real" in card.json), launder_NAME = their round trips
    n_failed       images that could not be used
    settings       of the head, all of them; empty where it has those of its name
    about          by feature, all that its columns depend on beside the image; see `FeatureTable`
    calibrate      the registered calibrator that makes probabilities of scores; "none": they are the head's own
    probabilities  the same, fitted
    record         how it was made and what it came to, as JSON values, for its card
    tiles          how scores of tiles became those that set the thresholds, a name of AGGREGATES; "" = single crops
    draws          of an image, whose mean score is held to the thresholds; each is a crop that the head looks at
    subsets        of the fused detector: the same thresholds for every choice of fewer branches, "handmade+spectrum"
    seen           which images it was fitted on, and which set its thresholds; None where that is not known
    """

    head: AnyHead
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
    tiles: str = ""
    draws: int = 1
    subsets: Mapping[str, Calibration] = field(default_factory=dict)
    seen: Seen | None = field(default=None, compare=False, repr=False)

    @property
    def name(self) -> str:
        """Return the head and the families or features it reads."""
        return f"{self.head.name}:{'+'.join(self.features)}"

    @property
    def judge(self) -> AnyHead:
        """Return the head as it is applied to images: to the columns of all draws side by side."""
        return MeanHead(self.head, self.draws) if self.draws > 1 else self.head

    def thresholds_of(self, branches: str) -> Calibration:
        """Return the calibration of scores that rest on some branches; "" for those of a head that has none."""
        return self.subsets.get(branches, self.calibration)

    def probability(self, scores: np.ndarray) -> np.ndarray:
        """(N,) scores -> (N,) probabilities of "generated", classes balanced; NaN where there is none."""
        return np.asarray((self.probabilities or self.head).probability(scores))


def save_detector(detector: FittedDetector | CalibratedDetector, path: Path) -> None:
    """Write a fitted detector to a folder that is whole or absent; a model in its place is replaced.

    Raises DataError where it cannot be written, and for a file or a folder of anything else in its place.
    """
    card, files = of_calibrated(detector) if isinstance(detector, CalibratedDetector) else _of_head(detector)
    if detector.seen is not None:
        card, files = {**card, "seen": detector.seen.counts}, {**files, SEEN: detector.seen.to_bytes()}
    write_folder(path, card, files)


def load_detector(path: Path) -> FittedDetector | CalibratedDetector:
    """Read a fitted detector of either kind, whichever the folder holds.

    Raises DataError for a folder that is none, for one that was changed, for one that holds a type its head is not
    made of or arrays that its detector does not keep, and for the single files of earlier versions.
    """
    try:
        card, files = read_folder(path)
        if card["kind"] not in _KINDS:
            raise DataError(f"not a fitted detector of a kind that this version knows ({card['kind']!r})")
        seen = Seen.from_bytes(files.pop(SEEN)) if SEEN in files else None
        if card.get("seen") != (None if seen is None else seen.counts):
            raise DataError("the images seen of its card are not those of its file; fit it again")
        made = read_calibrated(card, files) if card["kind"] == FREE else _read_head(card, files)
        return replace(made, seen=seen)
    except DataError as error:
        raise error if str(error).startswith(str(path)) else DataError(f"{path}: {error}") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None
    except Exception as error:  # a damaged folder fails in many ways; each is one that is no detector
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise DataError(f"{path}: not a fitted detector ({reason})") from None


_HEAD = "head"
_KINDS = (_HEAD, FUSED, FREE)
_SUBSET = "calibration."  # in front of the branches that scores of an array rest on
_PROBABILITY = "probability."  # in front of an array of a calibrator

_OF_HEAD = SHARED | {"columns": list, "features": list, "trained_on": dict, "record": dict, "head": dict}

REALS = "real"  # what a card calls the photographs of `trained_on`


def _of_head(detector: FittedDetector) -> tuple[dict[str, Any], dict[str, bytes]]:
    from safetensors.numpy import save

    features = [
        {"name": name, "code": detector.codes[name], "about": detector.about.get(name)} for name in detector.features
    ]
    numbers, arrays = _probability_parts(detector)
    own, of_head, files = _head_parts(detector)
    card = {
        **own,
        "name": detector.name,
        "purpose": PURPOSE,
        **{name: getattr(detector, name) for name in SHARED},
        "trained_on": _renamed(detector.trained_on, "", REALS),
        "thresholds": thresholds(detector.calibration),
        "tiles": detector.tiles,
        "draws": detector.draws,
        "probabilities": numbers,
        "record": detector.record,
        "features": features,
        "columns": list(detector.head.columns),
        "versions": versions(networks=any(map(looks_through_network, detector.features))),
    }
    arrays |= of_head | {"calibration": np.array(detector.calibration.scores, np.float64)}
    arrays |= {f"{_SUBSET}{name}": np.array(one.scores, np.float64) for name, one in detector.subsets.items()}
    return card, {**files, ARRAYS: bytes(save(arrays))}


def _head_parts(detector: FittedDetector) -> tuple[dict[str, Any], dict[str, np.ndarray], dict[str, bytes]]:
    """Return what a card says of the head itself, its arrays, and its file."""
    fitted = detector.head
    if isinstance(fitted, FusedHead):
        card, arrays, files = parts_of(fitted.fitted)
        named = {f"{FUSED}.{name}": array for name, array in arrays.items()}
        return {"kind": FUSED, "head": {"name": FUSED, "settings": dict(detector.settings), FUSED: card}}, named, files
    assert isinstance(fitted, FittedHead)
    own = {f.name: getattr(fitted, f.name) for f in fields(fitted) if f.name not in ("columns", "pipeline")}
    estimator = estimator_bytes(fitted.name, fitted.pipeline, _template(fitted.name, detector.settings)())
    return {"kind": _HEAD, "head": own | {"settings": dict(detector.settings)}}, {}, {HEAD: estimator}


def _read_head(card: dict[str, Any], files: Mapping[str, bytes]) -> FittedDetector:
    from safetensors.numpy import load

    known, arrays = need(card, _OF_HEAD), load(files[ARRAYS])
    _check_head(known)
    condition(known["condition"])
    columns, own = tuple(known.pop("columns")), dict(known.pop("head"))
    settings = own.pop("settings")
    known["trained_on"] = _renamed(known["trained_on"], REALS, "")
    fitted = _fused(own, columns, arrays, files) if card["kind"] == FUSED else _estimator(own, settings, columns, files)
    fitted.score(np.zeros((1, len(columns)), np.float32))
    features = known.pop("features")
    calibration = calibration_of(arrays.pop("calibration"), card)
    wanted = fitted.subsets() if isinstance(fitted, FusedHead) else []
    subsets = {name: Calibration(ascending(arrays.pop(f"{_SUBSET}{name}"))) for name in wanted}
    calibrate, probabilities = _probabilities(card["probabilities"], arrays)
    if arrays:
        raise DataError(f"it has no place for the array {min(arrays)}")
    if (tiles := card.get("tiles", "")) not in ("", *AGGREGATES):
        raise DataError(f"not a fitted detector (tiles is {tiles!r})")
    if type(draws := card.get("draws", 1)) is not int or not 1 <= draws <= MOST_DRAWS:
        raise DataError(f"not a fitted detector (draws is {draws!r}, and is 1 to {MOST_DRAWS})")
    return FittedDetector(
        head=fitted,
        features=tuple(one["name"] for one in features),
        codes={one["name"]: one["code"] for one in features},
        about={one["name"]: one["about"] for one in features if one["about"] is not None},
        calibration=calibration,
        settings=settings,
        calibrate=calibrate,
        probabilities=probabilities,
        tiles=tiles,
        draws=draws,
        subsets=subsets,
        **known,
    )


def _estimator(
    own: Mapping[str, Any], settings: Mapping[str, Any], columns: tuple[str, ...], files: Mapping[str, bytes]
) -> FittedHead:
    if strange := sorted(set(files) - {HEAD, ARRAYS}):
        raise DataError(f"it has no place for the file {strange[0]}")
    entry = _template(own["name"], settings)
    pipeline = read_estimator(own["name"], files[HEAD], entry(), len(columns))
    return FittedHead(columns=columns, pipeline=pipeline, **own)


def _fused(
    own: Mapping[str, Any], columns: tuple[str, ...], arrays: dict[str, np.ndarray], files: Mapping[str, bytes]
) -> FusedHead:
    """Take the arrays of a fused detector out of those of its model; every choice of its branches has thresholds."""
    if strange := sorted(set(own[FUSED]["columns"]) - set(BRANCHES)):
        raise DataError(f"not a fitted detector (it has a branch '{strange[0]}', and there are {', '.join(BRANCHES)})")
    of_branches = {name: data for name, data in files.items() if name != ARRAYS}
    return FusedHead(columns, fused_of(own[FUSED], _taken(arrays, f"{FUSED}."), of_branches))


def _taken(arrays: dict[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    """Take those whose names begin so out of all arrays, by the rest of their names."""
    mine = [name for name in arrays if name.startswith(prefix)]
    return {name.removeprefix(prefix): arrays.pop(name) for name in mine}


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


def _probability_parts(detector: FittedDetector) -> tuple[dict[str, Any] | None, dict[str, np.ndarray]]:
    """Return what a card says of a calibrator, its method and plain numbers, and its arrays."""
    if detector.probabilities is None:
        return None, {}
    state = state_of(detector.probabilities)
    numbers = {name: float(value) for name, value in state.items() if not value.ndim}
    arrays = {f"{_PROBABILITY}{name}": np.ascontiguousarray(value) for name, value in state.items() if value.ndim}
    return {"method": detector.calibrate, **numbers}, arrays


def _probabilities(said: Mapping[str, Any] | None, arrays: dict[str, np.ndarray]) -> tuple[str, Calibrator | None]:
    """Take the arrays of a calibrator out of those of its model, and put it together."""
    if said is None:
        return "none", None
    numbers = {name: value for name, value in said.items() if name != "method"}
    made = calibrator_of(said["method"], numbers | _taken(arrays, _PROBABILITY))
    return said["method"], made
