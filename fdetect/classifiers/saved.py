"""A fitted detector in one file, of either kind, with its calibration.  No pickle.

A head and the features it reads are written by skops.  On loading, the estimator must consist of the very types that
its head makes, and the branches of its trees must lead to nodes and columns that exist: scikit-learn follows them
unchecked.  A calibrated training-free detector is arrays in safetensors with a JSON card in their metadata; the card
holds a digest of all of it.  A file from a stranger can so hold numbers, but neither code nor a way out of its arrays.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from fdetect.classifiers.calibrated import CalibratedDetector, KeptBank
from fdetect.classifiers.heads import FittedHead, head
from fdetect.decide import Calibration
from fdetect.errors import DataError, FdetectError
from fdetect.files import write_atomic
from fdetect.perturb import condition
from fdetect.rigid import detector as training_free
from fdetect.rigid.references import bank_sha256

__all__ = ["TRUSTED", "FittedDetector", "load_detector", "save_detector"]

FORMAT = 2
CARD = "fdetect"  # the key of the card in the metadata of a safetensors file

_ANOTHER_VERSION = "was written by another version of fdetect; fit it again"

# What our heads consist of beside the types that skops trusts by itself; it leaves out trees, see `_check_trees`.
TRUSTED = ("sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",)


@dataclass(frozen=True)
class FittedDetector:
    """A head that was fitted on features under one condition, with all that is needed to score another image.

    `codes` maps each feature to the digest of its source at the time of fitting.
    """

    head: FittedHead
    features: tuple[str, ...]
    codes: dict[str, str]
    condition: str
    crop: int
    seed: int
    calibration: Calibration
    trained_on: dict[str, int]  # rows by generator; "" = photographs, launder_NAME = their round trips
    n_failed: int  # images that could not be used
    version: str

    @property
    def name(self) -> str:
        """Return the head and the families or features it reads."""
        return f"{self.head.name}:{'+'.join(self.features)}"


def save_detector(detector: FittedDetector | CalibratedDetector, path: Path) -> None:
    """Write a fitted detector to one file, atomically."""
    data = _calibrated_bytes(detector) if isinstance(detector, CalibratedDetector) else _fitted_bytes(detector)
    write_atomic(path, lambda temporary: temporary.write_bytes(data))


def load_detector(path: Path) -> FittedDetector | CalibratedDetector:
    """Read a fitted detector of either kind, whichever the file holds.

    Raises DataError for a file that is none, for one that was changed, and for one that holds a type its head is not
    made of or arrays that its detector does not keep.
    """
    try:
        data = path.read_bytes()
        return _read_calibrated(data, path) if data[8:9] == b"{" else _read_fitted(data, path)
    except DataError as error:
        raise error if str(error).startswith(str(path)) else DataError(f"{path}: {error}") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None
    except Exception as error:  # a damaged file fails in many ways; each is a file that is no detector
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise DataError(f"{path}: not a fitted detector ({reason})") from None


def _fitted_bytes(detector: FittedDetector) -> bytes:
    import skops.io

    card = {k: v for k, v in asdict(detector).items() if k not in ("head", "calibration")}
    card |= {"format": FORMAT, "head": detector.head.name, "columns": list(detector.head.columns)}
    card |= {"prior": detector.head.prior, "calibration": list(detector.calibration.scores)}
    content = {"card": json.dumps(card, sort_keys=True), "estimator": detector.head.pipeline}
    return bytes(skops.io.dumps(content))


def _read_fitted(data: bytes, path: Path) -> FittedDetector:
    import skops.io

    unknown = [name for name in skops.io.get_untrusted_types(data=data) if name not in TRUSTED]
    if unknown:
        raise DataError(f"{path}: holds the type {unknown[0]}, which no fitted head of fdetect needs; not loaded")
    content: dict[str, Any] = skops.io.loads(data, trusted=list(TRUSTED))
    card = json.loads(content["card"])
    if card.pop("format") != FORMAT:
        raise DataError(f"{path}: {_ANOTHER_VERSION}")
    fitted = FittedHead(card.pop("head"), tuple(card.pop("columns")), content["estimator"], card.pop("prior"))
    made_of, expected = _types(fitted.pipeline), _types(head.get(fitted.name)())
    if made_of != expected:
        strange = next((name for name in made_of if name not in expected), made_of[-1])
        raise DataError(f"{path}: holds the type {strange}, of which no head {fitted.name} is made; not loaded")
    _check_trees(fitted.pipeline, len(fitted.columns))
    fitted.score(np.zeros((1, len(fitted.columns)), np.float32))
    calibration = _calibration(np.array(card.pop("calibration"), np.float64))
    return FittedDetector(head=fitted, features=tuple(card.pop("features")), calibration=calibration, **card)


def _calibrated_bytes(detector: CalibratedDetector) -> bytes:
    from safetensors.numpy import save

    arrays: dict[str, np.ndarray] = {"calibration": np.array(detector.calibration.scores, np.float64)}
    settings = {one.name: getattr(detector.instance, one.name) for one in fields(detector.instance)}
    card: dict[str, Any] = {"format": FORMAT, "settings": settings, "bank": None}
    card |= {name: getattr(detector, name) for name in _PLAIN}
    if bank := detector.bank:
        arrays |= {f"bank.{name}": np.ascontiguousarray(array) for name, array in bank.arrays.items()}
        arrays["bank_ids"] = np.frombuffer(bytes.fromhex("".join(bank.ids)), np.uint8).reshape(-1, 16)
        card["bank"] = {name: getattr(bank, name) for name in ("sha256", "n_reals", "n_fakes", "n_dropped")}
    return bytes(save(arrays, {CARD: json.dumps(card | {"digest": _digest(card, arrays)}, sort_keys=True)}))


_PLAIN = {"name": str, "space": dict, "condition": str, "crop": int, "seed": int, "n_failed": int, "version": str}


def _read_calibrated(data: bytes, path: Path) -> CalibratedDetector:
    from safetensors.numpy import load

    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    card = json.loads(header.get("__metadata__", {}).get(CARD, "{}"))
    if not card:
        raise DataError(f"{path}: not a fitted detector (safetensors without the card of one)")
    if card.get("format") != FORMAT:
        raise DataError(f"{path}: {_ANOTHER_VERSION}")
    arrays: dict[str, np.ndarray] = load(data)
    if card.pop("digest", "") != _digest(card, arrays):
        raise DataError(f"{path}: was changed since it was written, or is damaged; fit it again")
    plain = {name: card[name] for name in _PLAIN}
    if wrong := [name for name, kind in _PLAIN.items() if type(plain[name]) is not kind]:
        raise DataError(f"{path}: not a fitted detector ({wrong[0]} is {plain[wrong[0]]!r})")
    condition(plain["condition"])
    try:
        entry = training_free.get(plain["name"].partition(":")[0]).configured(**card["settings"])
        for name, default in training_free.get(entry.name).settings.items():
            if type(entry.settings[name]) not in (type(default), int if isinstance(default, float) else type(default)):
                raise DataError(f"its setting {name} is {entry.settings[name]!r}")
        instance = entry()
    except FdetectError as error:
        raise DataError(f"{path}: its detector cannot be made here: {error}") from None
    calibration, bank = _calibration(arrays.pop("calibration")), None
    if card["bank"] is not None:
        ids = arrays.pop("bank_ids")
        bank = _kept_bank(card["bank"], ids, {name.removeprefix("bank."): array for name, array in arrays.items()})
        getattr(instance, "check_bank", lambda _: None)(bank.arrays)
    if (bank is not None) != bool(instance.references) or (arrays and bank is None):
        raise DataError(f"{path}: not a fitted detector (a bank where {entry.name} has none, or none where it has one)")
    return CalibratedDetector(instance=instance, calibration=calibration, bank=bank, **plain)


def _kept_bank(card: dict[str, Any], ids: np.ndarray, arrays: dict[str, np.ndarray]) -> KeptBank:
    if card["sha256"] != bank_sha256(arrays):
        raise DataError("its bank is not the one that was kept; fit it again")
    names = tuple(bytes(row).hex() for row in ids)
    n_reals, n_fakes = card["n_reals"], card["n_fakes"]
    if ids.dtype != np.uint8 or ids.shape != (n_reals + n_fakes, 16) or sorted(names) != list(names):
        raise DataError(f"its bank of {n_reals} reals and {n_fakes} fakes has ids of {ids.dtype} {ids.shape}")
    return KeptBank(arrays, card["sha256"], n_reals, n_fakes, int(card["n_dropped"]), names)


def _calibration(scores: np.ndarray) -> Calibration:
    if scores.dtype != np.float64 or scores.ndim != 1 or not np.isfinite(scores).all() or (np.diff(scores) < 0).any():
        raise DataError("its calibration must be finite float64 scores in ascending order; fit it again")
    return Calibration(tuple(scores.tolist()))


def _digest(card: dict[str, Any], arrays: dict[str, np.ndarray]) -> str:
    text = json.dumps(card, sort_keys=True)
    return hashlib.sha256(f"{bank_sha256(arrays)} {text}".encode()).hexdigest()


def _types(estimator: Any) -> list[str]:
    """Name the type of an estimator and, if it is a pipeline, of its steps."""
    parts = [estimator, *(step for _, step in getattr(estimator, "steps", ()))]
    return [f"{type(part).__module__}.{type(part).__qualname__}" for part in parts]


def _check_trees(estimator: Any, width: int) -> None:
    """Raise ValueError for a tree that a fit on `width` numeric columns cannot have made."""
    trees = [tree for of_class in getattr(estimator, "_predictors", ()) for tree in of_class]
    if not trees:
        return
    mapper = estimator._bin_mapper
    if estimator._preprocessor is not None or np.any(mapper.is_categorical_) or len(mapper.is_categorical_) != width:
        raise ValueError("its trees were fitted on other columns")
    for tree in trees:
        at = np.flatnonzero(tree.nodes["is_leaf"] == 0)
        inner = tree.nodes[at]
        forward = [(inner[side] > at) & (inner[side] < len(tree.nodes)) for side in ("left", "right")]
        known = (inner["feature_idx"] >= 0) & (inner["feature_idx"] < width) & (inner["is_categorical"] == 0)
        if not len(tree.nodes) or not np.all([*forward, known]):
            raise ValueError("a branch of a tree leads nowhere")
