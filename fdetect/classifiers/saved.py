"""A fitted detector in one file: a head, the features it reads, their settings, its thresholds.  No pickle.

The file is written by skops; on loading, only the types listed here are accepted, so a file from a stranger can
hold numbers and trees but no code.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fdetect.classifiers.heads import FittedHead
from fdetect.decide import Threshold
from fdetect.engine.store import write_atomic
from fdetect.errors import DataError

__all__ = ["TRUSTED", "FittedDetector", "load_detector", "save_detector"]

FORMAT = 1

# What scikit-learn's pipelines of our heads consist of beside the types that skops trusts by itself.
TRUSTED = (
    "numpy.dtype",
    "sklearn._loss.link.Interval",
    "sklearn._loss.link.LogitLink",
    "sklearn._loss.loss.HalfBinomialLoss",
    "sklearn.ensemble._hist_gradient_boosting.binning._BinMapper",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
)


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
    """Read a fitted detector; raises DataError for a file that is none, or that holds a type not listed in TRUSTED."""
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
        five, one = (Threshold(**card.pop(name)) for name in ("five", "one"))
        return FittedDetector(head=fitted, features=tuple(card.pop("features")), five=five, one=one, **card)
    except DataError:
        raise
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None
    except Exception as error:  # a damaged archive fails in many ways; each is a file that is no detector
        raise DataError(f"{path}: not a fitted detector ({type(error).__name__}: {error})") from None
