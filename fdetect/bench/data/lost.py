"""Images that are lost: those of a run, and, from sizes in headers alone, those that a run would lose."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from fdetect.bench.data.overview import Overview
from fdetect.bench.protocols import Samples
from fdetect.errors import DataError
from fdetect.perturb import MARGIN, MIN_CROP, Condition
from fdetect.types import FAKE, REAL, Failure

__all__ = ["lost_line", "need_large", "too_small"]

_CLASSES = {REAL: "real", FAKE: "fake"}
_SHOWN = 3  # conditions of one size that are named


def lost_line(samples: Samples, failures: Iterable[Failure]) -> str:
    """Say how many distinct images failed anywhere, and which generators and real sources have none left that did not.

    Empty where none failed.
    """
    failed = {failure.path for failure in failures}
    gone = np.fromiter(map(failed.__contains__, samples.path), np.bool_, len(samples.path))
    if not gone.any():
        return ""
    of = np.bincount(samples.by_stratum)
    lost = np.bincount(samples.by_stratum[gone], minlength=len(of))
    strata = samples.strata
    whole = ", ".join(_named(kind) for kind in sorted(strata[k] for k in np.flatnonzero((lost == of) & (lost > 0))))
    text = f"{gone.sum()} of {len(gone)} images failed under a condition at least"
    return f"{text}: all of {whole}" if whole else text


def _named(kind: str) -> str:
    label, _, name = kind.partition(" ")  # as `Samples.stratum` writes it
    return name or f"the {label} images without a name"


def too_small(seen: Overview, conditions: Iterable[Condition], crop: int) -> Iterator[str]:
    """Say of each class how many readable images the conditions will refuse for their size, one line a size."""
    for need, names in _needs(conditions, crop).items():
        under = ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
        for label, of_class in _CLASSES.items():
            rows = [row for row in seen.rows if row.label == label]
            lost = [sum(images for side, images in row.sides if side < need) for row in rows]
            if n := sum(lost):
                whole = [row.name or "those without a name" for row, k in zip(rows, lost, strict=True)
                         if k == row.images]  # fmt: skip
                yield (f"{n} of {sum(row.images for row in rows)} {of_class} images"
                       f"{' (all of ' + ', '.join(whole) + ')' if whole else ''} are smaller than {need} px and will "
                       f"fail under {under}")  # fmt: skip


def need_large(seen: Overview, conditions: Iterable[Condition], crop: int) -> None:
    """Raise DataError where no image of a class is readable and as large as a condition needs, as the run would."""
    for need, names in _needs(conditions, crop).items():
        for label, of_class in _CLASSES.items():
            rows = [row for row in seen.rows if row.label == label]
            sides = [side for row in rows for side, _ in row.sides]
            if rows and all(side < need for side in sides):
                largest = max(sides, default=0)
                fix = "give a smaller --crop" if largest >= MIN_CROP + MARGIN else f"the least --crop is {MIN_CROP}"
                raise DataError(f"no {of_class} image can be used under {names[0]}: with --crop {crop} both sides need "
                                f"{need} px, and the largest has {largest}; {fix}")  # fmt: skip


def _needs(conditions: Iterable[Condition], crop: int) -> dict[int, list[str]]:
    """Return the conditions by the px that both sides need, each name once."""
    found: dict[int, list[str]] = {}
    for one in conditions:
        names = found.setdefault(one.window(crop) + MARGIN, [])
        if one.name not in names:
            names.append(one.name)
    return found
