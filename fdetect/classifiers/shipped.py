"""The detector that comes with the package, in `shipped/model` beside this file, as `fdetect fit` writes models."""

from __future__ import annotations

from pathlib import Path

from fdetect.classifiers.model_folder import CARD
from fdetect.errors import ParameterError

__all__ = ["MODEL", "model_of"]

MODEL = Path(__file__).with_name("shipped") / "model"


def model_of(model: str | None) -> Path:
    """Return the folder that was named, or that of the shipped detector; raises ParameterError where none ships."""
    if model:
        return Path(model)
    if not (MODEL / CARD).is_file():
        raise ParameterError("no detector ships yet; give --model FOLDER")
    return MODEL
