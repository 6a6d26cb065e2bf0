"""Paired difference of two detectors on the same images, trials and conditions, by group bootstrap."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from fdetect.bench.scores.evaluate import ScoreTable, group_estimates
from fdetect.errors import ParameterError
from fdetect.metrics import Estimate, GroupWeights, difference, macro
from fdetect.registry import nearest
from fdetect.significance import delong
from fdetect.types import FAKE, REAL

__all__ = ["PairedDifference", "bootstrap_p", "compare", "failures_wrong", "macro_of", "paired_differences", "unseen"]


@dataclass(frozen=True)
class PairedDifference:
    """`first` minus `second` in macro AUROC under one condition, both trained on `train`.

    `value`, `low`, `high` rest on the images that both detectors scored; `failures_wrong` is the difference when
    every image that a detector failed on counts against it (a real as the highest score, a fake as the lowest).
    `n_images` counts the images that both scored, `n_failed` those that either failed on, in any trial.
    `p` is the two-sided bootstrap p-value of "no difference", `p_delong` DeLong's: NaN where images are not independent
    (groups of several, several trials or generators), which that test takes for granted.
    """

    first: str
    second: str
    train: str
    condition: str
    generators: tuple[str, ...]
    auroc_first: float
    auroc_second: float
    value: float
    low: float
    high: float
    failures_wrong: float
    n_images: int
    n_failed: int
    p: float = math.nan
    p_delong: float = math.nan

    @property
    def verdict(self) -> str:
        """Whether the interval leaves 0 out, in words about `first`."""
        if not (math.isfinite(self.low) and math.isfinite(self.high)):
            return "not measured"
        return "better" if self.low > 0 else "worse" if self.high < 0 else "no difference shown"


def paired_differences(
    table: pa.Table, first: str, second: str, *, replicates: int = 1000, level: float = 0.95, seed: int = 0
) -> tuple[PairedDifference, ...]:
    """Compare two detectors of a score table, once per condition and training set that both have.

    The macro mean is over the generators that neither was trained on.  Raises ParameterError for a detector that
    the table does not hold, and where the two share no trial.
    """
    scores = ScoreTable.of(table)
    detectors = tuple(dict.fromkeys(name[0] for name in scores.names))
    for wanted in (first, second):
        if wanted not in detectors:
            raise ParameterError(
                f"no detector '{wanted}' in the scores{nearest(wanted, detectors)} ({', '.join(detectors)})"
            )
    found = compare(scores, scores.weights(replicates=replicates, seed=seed), first, second, level=level)
    if not found:
        raise ParameterError(f"'{first}' and '{second}' share no trial and condition in these scores")
    return found


def compare(
    scores: ScoreTable, weights: GroupWeights, first: str, second: str, *, level: float = 0.95,
    only: Mapping[tuple[str, str], str] | None = None,
) -> tuple[PairedDifference, ...]:  # fmt: skip
    """Compare two detectors as `paired_differences` does, on a table that was read and weights that were drawn.

    `only` names one generator for each (train, condition), which then stands for the mean over all; training sets
    and conditions that it lacks are left out.
    """
    rows_of = dict(zip(scores.names, scores.by_key, strict=True))
    none_drawn = replace(weights, counts=weights.counts[:0])
    found = []
    for name, mine in rows_of.items():
        theirs = _opposite(rows_of, second, name)
        if name[0] != first or theirs is None or (only is not None and (name[1], name[3]) not in only):
            continue
        mine, theirs = _shared(scores, mine, theirs)
        if not len(mine):
            continue
        both_ok = np.isfinite(scores.score[mine]) & np.isfinite(scores.score[theirs])
        generators = unseen(scores, np.concatenate([mine, theirs])) if only is None else (only[name[1], name[3]],)
        pair = [macro_of(scores, rows[both_ok], weights, generators) for rows in (mine, theirs)]
        gap = difference(*pair, level=level)
        bound = gap.value
        if not both_ok.all():
            bad = failures_wrong(scores)
            wrong = [macro_of(bad, rows, none_drawn, generators).value for rows in (mine, theirs)]
            bound = wrong[0] - wrong[1]
        found.append(
            PairedDifference(
                first=first,
                second=second,
                train=name[1],
                condition=name[3],
                generators=generators,
                auroc_first=pair[0].value,
                auroc_second=pair[1].value,
                value=gap.value,
                low=gap.low,
                high=gap.high,
                failures_wrong=bound,
                n_images=scores.text["path"][mine[both_ok]].distinct(),
                n_failed=scores.text["path"][mine[~both_ok]].distinct(),
                p=bootstrap_p(pair[0].replicates - pair[1].replicates),
                p_delong=_delong_p(scores, mine[both_ok], theirs[both_ok]),
            )
        )
    return tuple(found)


def _opposite(
    rows_of: Mapping[tuple[str, str, str, str], np.ndarray], second: str, name: tuple[str, str, str, str]
) -> np.ndarray | None:
    """Return the rows of the second detector that go with a column of the first, also where it trained under others."""
    _, train, _, condition = name
    there = {key: rows for key, rows in rows_of.items() if (key[0], key[1], key[3]) == (second, train, condition)}
    return there.get((second, *name[1:]), next(iter(there.values())) if len(there) == 1 else None)


def _shared(scores: ScoreTable, mine: np.ndarray, theirs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows of both detectors for the (trial, path) that both have, in the same order."""
    path = scores.text["path"]
    image = scores.text["trial"].codes * len(path.names) + path.codes
    _, first, second = np.intersect1d(image[mine], image[theirs], assume_unique=True, return_indices=True)
    order = np.argsort(first)
    return mine[first[order]], theirs[second[order]]


def unseen(scores: ScoreTable, rows: np.ndarray) -> tuple[str, ...]:
    """Return the tested generators that no detector of these rows was trained on; all of them where there is none."""
    fakes = rows[scores.label[rows] == FAKE]
    tested, seen = (
        {name for name, _ in scores.split("generator", part)} for part in (fakes, fakes[scores.seen[fakes]])
    )
    return tuple(sorted(tested - seen or tested))


def macro_of(
    scores: ScoreTable, rows: np.ndarray, weights: GroupWeights, generators: tuple[str, ...], name: str = "auroc"
) -> Estimate:
    """Mean of a metric over these generators; NaN where one of them is left without a fake or a real in every trial."""
    generator = scores.text["generator"]
    codes = np.flatnonzero(np.isin(generator.names.astype(str), generators))
    rows = rows[(scores.label[rows] == REAL) | np.isin(generator.codes[rows], codes)]
    found = group_estimates(scores, rows, weights, (name,))
    nothing = Estimate(float("nan"), np.full(weights.replicates, np.nan))
    return macro([found[one][1][name] if one in found else nothing for one in generators] or [nothing])


def bootstrap_p(differences: np.ndarray) -> float:
    """(B,) -> twice the share of replicates on the other side of 0, counting one more that is (a p-value is never 0).

    Source: Davison and Hinkley 1997, Bootstrap Methods and their Application, equation 4.11, two-sided.
    """
    known = differences[np.isfinite(differences)]
    if not len(known) or 2 * len(known) < len(differences):
        return math.nan
    return min(1.0, 2 * (1 + min(int((known <= 0).sum()), int((known >= 0).sum()))) / (len(known) + 1))


def _delong_p(scores: ScoreTable, mine: np.ndarray, theirs: np.ndarray) -> float:
    label = scores.label[mine]
    kinds = (scores.text["trial"][mine], scores.text["generator"][mine[label == FAKE]])
    if any(kind.distinct() != 1 for kind in kinds) or scores.text["group"][mine].distinct() < len(mine):
        return math.nan
    if min((label == REAL).sum(), (label == FAKE).sum()) < 2:
        return math.nan
    return delong(label, scores.score[mine], scores.score[theirs]).p


def failures_wrong(scores: ScoreTable) -> ScoreTable:
    """Return the table with every failure as wrong as can be: a real as the highest score, a fake as the lowest."""
    failed, real, most = ~np.isfinite(scores.score), scores.label == REAL, np.finfo(np.float64).max
    return replace(
        scores,
        score=np.where(failed, np.where(real, most, -most), scores.score),
        probability=np.where(failed, real, scores.probability),
        called_fake=np.where(failed, real, scores.called_fake),
    )
