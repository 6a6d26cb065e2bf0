"""The lines of a leaderboard: a detector's figures over its seeds, its rank, and how it stands against the leader."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from fdetect.bench.gate.checks import FEWEST_GROUPS
from fdetect.bench.leaderboard.runs import Competitor
from fdetect.bench.scores.compare import bootstrap_p, macro_of
from fdetect.bench.scores.evaluate import FEW_GROUPS, LOST, ScoreTable, group_estimates
from fdetect.bench.training.networks import weights_text
from fdetect.metrics import Difference, Estimate, GroupWeights, difference, interval, macro
from fdetect.significance import holm
from fdetect.types import FAKE, REAL

__all__ = ["ABOVE", "BEHIND", "CORE", "LEADER", "LEVEL", "NOT_MEASURED", "Place", "Repetition", "groups_of",
           "judged_places", "place_of", "ranked"]  # fmt: skip

LEADER, LEVEL, BEHIND, ABOVE, NOT_MEASURED = "leader", "level", "behind", "above", "not measured"
CORE = "cpu"  # the backend whose times are those of one core; those of others are on the wall

_BESIDE = ("tpr_frozen_5", "fpr_achieved_5", "ece")  # macro means beside the AUROC
_UNKNOWN = Difference(math.nan, math.nan, math.nan)


@dataclass(frozen=True)
class Place:
    """One line of a board.  NaN is what is not defined or not known.

    seeds       macro AUROC by seed
    generators  AUROC by generator, the tested ones in their order
    worst       (generator, AUROC, groups) of the lowest with at least FEW_GROUPS groups; of all, where none has them
    behind      its macro AUROC minus the leader's, over the seeds that both have (all of each where they share none)
    compared    how many seeds both have, of how many that either has; (0, 0) for the leader
    p           of "no difference to the leader", corrected by Holm over the board
    verdict     LEADER, LEVEL (no difference to the leader is shown), BEHIND, NOT_MEASURED, or ABOVE: higher than the
                leader on the images and seeds that both have, though its own mean, over all that it has, is lower
    cost        ms an image, on the machine of its run
    cost_on     the backend that this was measured on: CORE where any run was; "" where no run was timed
    seen        generators of the macro means that it was trained on
    groups      groups of each generator that have a score
    same        whether every image has one score in all of its seeds: these repeat nothing
    """

    detector: str
    runs: tuple[str, ...]
    auroc: float
    low: float
    high: float
    seeds: dict[int, float]
    generators: dict[str, float]
    worst: tuple[str, float, int]
    tpr: float
    fpr: float
    ece: float
    coverage: float
    lost: bool
    cost: float
    cost_on: str
    weights: str
    trained_under: str
    seen: tuple[str, ...]
    same: bool
    rank: int = 0
    behind: Difference = _UNKNOWN
    p: float = math.nan
    verdict: str = NOT_MEASURED
    groups: dict[str, int] = field(default_factory=dict)
    compared: tuple[int, int] = (0, 0)

    @property
    def spread(self) -> float:
        """Standard deviation of the seeds' macro AUROCs, n - 1 in the divisor; NaN where they repeat nothing."""
        return math.nan if self.same else float(np.std(list(self.seeds.values()), ddof=1))

    @property
    def star(self) -> str:
        """The mark of its means: * where they are over generators that it was trained on."""
        return "*" if self.seen else ""


@dataclass(frozen=True)
class Repetition:
    """A detector's rows of one seed under one condition, and their macro AUROC."""

    rows: np.ndarray
    auroc: Estimate


def place_of(
    scores: ScoreTable, weights: GroupWeights, one: Competitor, repetitions: Mapping[int, Repetition],
    trained_under: str, generators: tuple[str, ...], level: float,
) -> Place:  # fmt: skip
    """Return the line of a detector, without what depends on the others."""
    whole = macro(of.auroc for of in repetitions.values())
    low, high = interval(whole.replicates, level=level)
    none_drawn = GroupWeights(weights.groups, weights.counts[:0])
    by_generator: dict[str, list[float]] = {}
    beside: dict[str, list[float]] = {name: [] for name in _BESIDE}
    for of in repetitions.values():
        found = group_estimates(scores, of.rows, none_drawn, ("auroc", *_BESIDE))
        for generator, (_, estimates) in found.items():
            by_generator.setdefault(generator, []).append(estimates["auroc"].value)
        for name in _BESIDE:
            beside[name].append(float(np.mean([found[g][1][name].value if g in found else np.nan for g in generators])))
    means = {name: float(np.mean(values)) for name, values in by_generator.items()}
    first = next(iter(repetitions.values())).rows
    groups = {name: groups_of(scores, first, FAKE, (name,)) for name in (*generators, *means)}
    rows = np.concatenate([of.rows for of in repetitions.values()])
    share, lost = _coverage(scores, rows)
    trained_on = set(scores.generator[rows[scores.seen[rows]]])
    cost, cost_on = _cost(one)
    of_weights = dict.fromkeys(weights_text(run.result.header).get(one.detector, "") for run in one.all_runs)
    tpr, fpr, ece = (float(np.mean(beside[name])) for name in _BESIDE)
    return Place(
        detector=one.name, runs=tuple(run.name for run in one.all_runs), auroc=whole.value, low=low, high=high,
        seeds={k: of.auroc.value for k, of in repetitions.items()}, generators=means,
        worst=_worst(means, groups, generators), tpr=tpr, fpr=fpr, ece=ece, coverage=share, lost=lost,
        cost=cost, cost_on=cost_on, weights="; ".join(filter(None, of_weights)), trained_under=trained_under,
        seen=tuple(name for name in generators if name in trained_on),
        same=len(repetitions) == 1 or _constant(scores, rows), groups=groups,
    )  # fmt: skip


def ranked(places: Sequence[Place]) -> list[Place]:
    """Return lines in order, the highest macro AUROC first; equal ones share their rank, undefined ones are last."""
    order = sorted(places, key=lambda one: -one.auroc if math.isfinite(one.auroc) else math.inf)
    above = [sum(other.auroc > one.auroc for other in order) if math.isfinite(one.auroc) else
             sum(math.isfinite(other.auroc) for other in order) for one in order]  # fmt: skip
    return [replace(one, rank=1 + n) for one, n in zip(order, above, strict=True)]


def judged_places(
    places: Sequence[Place], repeated: Mapping[str, Mapping[int, Repetition]], scores: ScoreTable,
    weights: GroupWeights, generators: tuple[str, ...], fewest: int, level: float,
) -> tuple[Place, ...]:  # fmt: skip
    """Compare every detector with the first one, all p-values corrected together.

    repeated  the repetitions of each, by its name
    fewest    groups of the class that has fewer of them; of too few no difference is tested
    """
    if not places or not math.isfinite(places[0].auroc):
        return tuple(places)
    leader, *others = places
    gaps = [_gap(repeated[one.detector], repeated[leader.detector], scores, weights, generators) for one in others]
    known = fewest >= FEWEST_GROUPS  # intervals of a bootstrap of fewer are too narrow to judge by
    p_values = holm([bootstrap_p(mine.replicates - theirs.replicates) if known else math.nan for mine, theirs in gaps])
    judged = [replace(leader, verdict=LEADER)]
    for one, (mine, theirs), p in zip(others, gaps, p_values, strict=True):
        gap = difference(mine, theirs, level=level)
        seeds = repeated[one.detector].keys(), repeated[leader.detector].keys()
        compared = len(seeds[0] & seeds[1]), len(seeds[0] | seeds[1])
        judged.append(replace(one, behind=gap, p=p, verdict=_verdict(gap, p, level), compared=compared))
    return tuple(judged)


def _verdict(gap: Difference, p: float, level: float) -> str:
    if math.isnan(p):
        return NOT_MEASURED
    if p >= 1 - level or gap.value == 0:
        return LEVEL
    return BEHIND if gap.value < 0 else ABOVE


def _gap(
    mine: Mapping[int, Repetition], theirs: Mapping[int, Repetition], scores: ScoreTable, weights: GroupWeights,
    generators: tuple[str, ...],
) -> tuple[Estimate, Estimate]:  # fmt: skip
    """Return the macro AUROCs of two detectors over the same seeds, on the images that both scored in all of them."""
    shared = [k for k in mine if k in theirs]
    pair = [[of[k] for k in shared or of] for of in (mine, theirs)]
    failed = {path for of in pair for one in of for path in scores.path[one.rows[~np.isfinite(scores.score[one.rows])]]}
    if not failed:
        return macro(one.auroc for one in pair[0]), macro(one.auroc for one in pair[1])
    known = ~np.isin(scores.path.astype(str), sorted(failed))
    first, second = (macro(macro_of(scores, one.rows[known[one.rows]], weights, generators) for one in of)
                     for of in pair)  # fmt: skip
    return first, second


def _worst(
    means: dict[str, float], groups: dict[str, int], generators: tuple[str, ...]
) -> tuple[str, float, int]:  # fmt: skip
    known = [name for name in generators if math.isfinite(means.get(name, math.nan))]
    enough = [name for name in known if groups[name] >= FEW_GROUPS] or known
    worst = min(enough, key=lambda name: means[name], default="")
    return worst, means.get(worst, math.nan), groups.get(worst, 0)


def groups_of(scores: ScoreTable, rows: np.ndarray, label: int, generators: Sequence[str]) -> int:
    """Count the groups of a class that have a score; of fakes, those of some generators."""
    chosen = (scores.label[rows] == label) & np.isfinite(scores.score[rows])
    if label == FAKE:
        chosen &= np.isin(scores.generator[rows].astype(str), generators)
    return len(np.unique(scores.group[rows[chosen]].astype(str)))


def _coverage(scores: ScoreTable, rows: np.ndarray) -> tuple[float, bool]:
    """Return the share of images with a score in every trial, and whether more than LOST of a class lack one."""
    failed = set(scores.path[rows[~np.isfinite(scores.score[rows])]])
    of_class = [set(scores.path[rows[scores.label[rows] == label]]) for label in (REAL, FAKE)]
    lost = any(len(failed & paths) > LOST * len(paths) for paths in of_class)
    return 1 - len(failed) / max(sum(map(len, of_class)), 1), lost


def _constant(scores: ScoreTable, rows: np.ndarray) -> bool:
    """Whether every image has one score in all of these rows; failures are all the same."""
    image, score = scores.text["path"].codes[rows], np.unique(scores.score[rows], return_inverse=True)[1]
    return len(np.unique(image)) == len(np.unique(np.stack([image, score], axis=1), axis=0))


def _cost(one: Competitor) -> tuple[float, str]:
    """Return the least of the runs' costs, and of which backend: other work on a machine only adds to a time.

    Times of one core go before those of a device, which cannot be compared with them.
    """
    known: dict[str, list[float]] = {}
    for run in one.all_runs:
        timed = run.about.get("cost_ms", {})
        if (total := timed.get("detectors", {}).get(one.detector, {}).get("total")) is not None:
            known.setdefault(timed.get("backend", CORE), []).append(float(total))
    on = CORE if CORE in known else next(iter(known), "")
    return min(known.get(on, ()), default=math.nan), on
