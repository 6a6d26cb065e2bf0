"""Why the figures of an attack may be too good: pictures that the detector knows, as far as its model tells them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from fdetect.bench.attacks.crop_scores import CropJudge
from fdetect.classifiers.calibrated import CalibratedDetector
from fdetect.classifiers.card import data_record
from fdetect.classifiers.saved import FittedDetector
from fdetect.classifiers.seen import in_words
from fdetect.types import REAL

__all__ = ["cautions_of"]


def cautions_of(
    judge: CropJudge, ids: Sequence[str], scorer: FittedDetector | CalibratedDetector, contents: Sequence[str],
    label: np.ndarray,
) -> tuple[str, ...]:  # fmt: skip
    """Return sentences, without a full stop, about a condition without a promise and pictures that are known.

    ids              contents of the attacked pictures
    contents, label  of all pictures of the data: a model that lists no pictures has one hash of those of its fit
    """
    found = []
    if judge.condition != scorer.condition:
        found.append(f"the thresholds were set under {scorer.condition}: no promise under {judge.condition}")
    if n_known := int((~judge.fresh(ids)).sum()):
        found.append(f"{n_known} of {len(ids)} pictures were in the training of a network that the detector reads")
    same = _those_of_the_fit(scorer, contents, label) if scorer.seen is None else ""
    return tuple(filter(None, (*found, same or in_words(scorer, ids))))


def _those_of_the_fit(scorer: FittedDetector | CalibratedDetector, contents: Sequence[str], label: np.ndarray) -> str:
    """Say whether the data as a whole, or its photographs, have a hash that a card states; "" where neither has."""
    record = scorer.record if isinstance(scorer, FittedDetector) else {}
    adapted = record.get("adapted")
    parts = (record.get("data"), adapted.get("data") if isinstance(adapted, Mapping) else None)
    hashes = {part.get("sha256") for part in parts if isinstance(part, Mapping)}
    real = label == REAL  # a fit on photographs leaves fakes aside
    reals = [id for id, one in zip(contents, real, strict=True) if one]
    for what, found in (("pictures", data_record(contents, label)), ("photographs", data_record(reals, label[real]))):
        if found["sha256"] in hashes:
            return (f"these {what} are those of the fit: the detector was fitted on them or they set its threshold, "
                    "and the figures before an attack are too good")  # fmt: skip
    return ""
