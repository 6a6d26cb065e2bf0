"""Where every image of a class failed there is nothing to fit or to measure: the first failure says why."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fdetect.errors import DataError
from fdetect.types import FAKE, REAL, FeatureTable

__all__ = ["need_usable"]

_WORDS = {REAL: "real", FAKE: "fake"}


def need_usable(
    table: FeatureTable, label: np.ndarray, *, condition: str, classes: Sequence[int] = (REAL, FAKE)
) -> None:
    """Raise DataError, with the path, stage and reason of the first failure, where all images of a class failed.

    label      (N,) int of the table's rows
    condition  that the table was computed under
    classes    that are needed, each with a row at least
    """
    paths = np.array(table.paths, object)
    for value in classes:
        if not table.ok[label == value].any():
            mine = set(paths[label == value])
            first = next(failure for failure in table.failures if failure.path in mine)
            raise DataError(
                f"every {_WORDS[value]} image failed under condition {condition}; the first, {first.path}: "
                f"{first.stage}: {first.reason}"
            )
