"""A fitted detector in one file: a head, the features it reads, their settings, its thresholds.  No pickle.

The file is written by skops.  On loading, the estimator must consist of the very types that its head makes, and
the branches of its trees must lead to nodes and columns that exist: scikit-learn follows them unchecked.  A file
from a stranger can so hold numbers, but neither code nor a way out of its arrays.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fdetect.classifiers.heads import FittedHead, head
from fdetect.decide import Threshold
from fdetect.errors import DataError
from fdetect.files import write_atomic

__all__ = ["TRUSTED", "FittedDetector", "load_detector", "save_detector"]

FORMAT = 1

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
    five: Threshold
    one: Threshold
    trained_on: dict[str, int]  # images by generator ("" = real)
    n_failed: int  # images that could not be used
    version: str

    @property
    def name(self) -> str:
        """Return the head and the families or features it reads."""
        return f"{self.head.name}:{'+'.join(self.features)}"


def save_detector(detector: FittedDetector, path: Path) -> None:
    """Write a fitted detector to one file, atomically."""
    import skops.io

    card = {k: v for k, v in asdict(detector).items() if k != "head"}
    card |= {"format": FORMAT, "head": detector.head.name, "columns": list(detector.head.columns)}
    card["prior"] = detector.head.prior
    content = {"card": json.dumps(card, sort_keys=True), "estimator": detector.head.pipeline}
    write_atomic(path, lambda temporary: temporary.write_bytes(skops.io.dumps(content)))


def load_detector(path: Path) -> FittedDetector:
    """Read a fitted detector.

    Raises DataError for a file that is none, and for one that holds a type its head is not made of.
    """
    import skops.io

    try:
        data = path.read_bytes()
        unknown = [name for name in skops.io.get_untrusted_types(data=data) if name not in TRUSTED]
        if unknown:
            raise DataError(f"{path}: holds the type {unknown[0]}, which no fitted head of fdetect needs; not loaded")
        content: dict[str, Any] = skops.io.loads(data, trusted=list(TRUSTED))
        card = json.loads(content["card"])
        if card.pop("format") != FORMAT:
            raise DataError(f"{path}: was written by another version of fdetect; fit it again")
        fitted = FittedHead(card.pop("head"), tuple(card.pop("columns")), content["estimator"], card.pop("prior"))
        made_of, expected = _types(fitted.pipeline), _types(head.get(fitted.name)())
        if made_of != expected:
            strange = next((name for name in made_of if name not in expected), made_of[-1])
            raise DataError(f"{path}: holds the type {strange}, of which no head {fitted.name} is made; not loaded")
        _check_trees(fitted.pipeline, len(fitted.columns))
        fitted.score(np.zeros((1, len(fitted.columns)), np.float32))
        five, one = (Threshold(**card.pop(name)) for name in ("five", "one"))
        return FittedDetector(head=fitted, features=tuple(card.pop("features")), five=five, one=one, **card)
    except DataError:
        raise
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None
    except Exception as error:  # a damaged archive fails in many ways; each is a file that is no detector
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise DataError(f"{path}: not a fitted detector ({reason})") from None


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
