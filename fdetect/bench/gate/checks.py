"""What the gate of `fdetect compare` asks: may this detector take the place of that one?

    passed           d - margin excluded: the lower bound of  d = metric(detector) - metric(baseline)  is above -margin
    inferior         the upper bound of d is at or below -margin: it is worse, by more than the margin
    underpowered     not passed, and the interval is so wide, or the groups so few, that even d = 0 would not pass
    not shown        not passed, though there are data enough
    not shown worse  of one source of reals: not passed, and no harm shown; it fails no gate
    too few          the same, of a source with too few groups to show any

d is the paired difference of macro means on the images that the baseline scored, with the percentile interval of the
group bootstrap; for a metric of which lower is better its sign is turned.  What the detector did not score there counts
against it.  A bootstrap of sides that differ nowhere it looked has no width; where their rows are not the same, the
exact bound of no case among so many groups stands in its place (Clopper and Pearson).  Coverage and false positives are
gated beside it.  All of these must pass, so that no correction for many tests is due.  False positives on all reals are
a test of non-inferiority like the metric; on a single source, of which there are seldom enough, they are looked at for
harm that is shown, and nothing else fails.

Source: Wellek 2010, Testing Statistical Hypotheses of Equivalence and Noninferiority, chapter 1; Berger 1982,
10.1080/00401706.1982.10487790, for the intersection-union test.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from fdetect.bench.report.grid import Grid, pretty, printable, signed
from fdetect.bench.scores.compare import failures_wrong, macro_of, unseen
from fdetect.bench.scores.evaluate import LOST, ScoreTable
from fdetect.bench.scores.suspicions import REVERSED
from fdetect.decide import exact_interval
from fdetect.metrics import Difference, Estimate, GroupWeights, difference, evaluate, metric
from fdetect.registry import Entry
from fdetect.types import FAKE, REAL

__all__ = ["NOT_WORSE", "TOO_FEW", "Check", "Margins", "check_pair", "gate_grids"]

PASSED, INFERIOR, UNDERPOWERED, NOT_SHOWN, NOT_MEASURED = (
    "passed", "inferior", "underpowered", "not shown", "not measured")  # fmt: skip
NOT_WORSE, TOO_FEW = "not shown worse", "too few"  # of a single source: open, and no failure

_OF_SOURCE = "false positives, "

FEWEST_GROUPS = 10  # of a class: intervals of a bootstrap of fewer are too narrow to judge by


@dataclass(frozen=True)
class Margins:
    """What may be lost.

    metric  a registered metric of scores, probabilities or decisions; `margin` in its units
    fpr     of the false-positive rate at the frozen 5 % threshold; NaN: it is not gated
    level   of the two-sided intervals
    """

    metric: str = "auroc"
    margin: float = 0.01
    fpr: float = 0.05
    level: float = 0.95


@dataclass(frozen=True)
class Check:
    """One thing that was asked of a detector, and the answer.

    `value`, `low`, `high` are of the detector minus the baseline, `mine` and `theirs` the figures of either, `margin`
    what may be lost; NaN where there is no such figure.
    """

    detector: str
    baseline: str
    condition: str
    what: str
    verdict: str
    reason: str
    value: float = math.nan
    low: float = math.nan
    high: float = math.nan
    mine: float = math.nan
    theirs: float = math.nan
    margin: float = math.nan

    @property
    def passed(self) -> bool:
        """Whether the gate lets it through; what is open of a single source does not fail."""
        return self.verdict == PASSED or self.open

    @property
    def open(self) -> bool:
        """Whether neither loss nor its absence was shown of a single source."""
        return self.verdict in (NOT_WORSE, TOO_FEW)

    @property
    def source(self) -> str:
        """The source of reals that a check of false positives is of; "" for one of all, and for other checks."""
        return self.what.removeprefix(_OF_SOURCE) if self.what.startswith(_OF_SOURCE) else ""

    @property
    def figures(self) -> str:
        """Both figures, their difference and the margin, as in "0.802 against 0.810, -0.008 [-0.012, -0.004]"."""
        if not math.isfinite(self.value):
            return ""
        gap = signed(self.value, self.low, self.high)
        return f"{pretty(self.mine)} against {pretty(self.theirs)}, difference {gap}, margin {self.margin:g}"


def check_pair(
    table: pa.Table, detector: str, baseline: str, condition: str, margins: Margins, *, replicates: int = 1000,
    seed: int = 0,
) -> list[Check]:  # fmt: skip
    """Gate a detector by a baseline on a table that holds the same images of both, the metric first.

    table  rows of both under the condition: first all of the detector, then the same images of the baseline, in the
           same order (`sides.paired`)
    """
    scores = ScoreTable.of(table)
    names = table.column("detector").to_pylist()
    mine, theirs = (np.array([k for k, one in enumerate(names) if one == name]) for name in (detector, baseline))
    weights = scores.weights(replicates=replicates, seed=seed)
    about = detector, baseline, condition
    coverage = _coverage(scores, mine, theirs, about)
    judged = np.isfinite(scores.score[theirs])  # what the baseline did not score is no task
    scores, mine, theirs = failures_wrong(scores), mine[judged], theirs[judged]
    checks = [_metric(scores, mine, theirs, weights, margins, about), coverage]
    if math.isfinite(margins.fpr):
        checks += _false_positives(scores, mine, theirs, weights, margins, about)
    return checks


def gate_grids(checks: Sequence[Check], *, why: bool = True) -> list[Grid]:
    """Return a table for each detector and condition.

    Without `why`, for a terminal, the note says it of what is open or failed, a line for each.
    """
    grids = []
    for about in dict.fromkeys((one.detector, one.baseline, one.condition) for one in checks):
        here = [one for one in checks if (one.detector, one.baseline, one.condition) == about]
        rows = tuple((one.what, pretty(one.mine), pretty(one.theirs), signed(one.value, one.low, one.high),
                      f"{one.margin:g}" if math.isfinite(one.margin) else pretty(None), one.verdict,
                      *((one.reason,) if why else ())) for one in here)  # fmt: skip
        said = [printable(f"{one.what}: {one.verdict}, {one.reason}") for one in here if one.open or not one.passed]
        note = "" if why else "\n".join(said)
        columns = ("what", "detector", "baseline", "difference", "margin", "verdict", *(("why",) if why else ()))
        grids.append(Grid(f"{about[0]} against {about[1]} under {about[2]}", columns, rows, note))
    return grids


def _metric(
    scores: ScoreTable, mine: np.ndarray, theirs: np.ndarray, weights: GroupWeights, margins: Margins,
    about: tuple[str, str, str],
) -> Check:  # fmt: skip
    entry = metric.get(margins.metric)
    what = f"{entry.name}, macro"
    generators = unseen(scores, np.concatenate([mine, theirs]))
    pair = [macro_of(scores, rows, weights, generators, entry.name) for rows in (mine, theirs)]
    gap = difference(*pair, level=margins.level)
    known = gap.value, gap.low, gap.high, pair[0].value, pair[1].value, margins.margin
    if not (math.isfinite(gap.low) and math.isfinite(gap.high)):
        return Check(*about, what, NOT_MEASURED, _lacking(scores, mine, theirs, entry), *known)
    turned = gap if entry.better == "higher" else Difference(-gap.value, -gap.high, -gap.low)
    counted = (scores.label[mine] == REAL, np.isin(scores.generator[mine].astype(str), generators))
    groups = min(len(np.unique(scores.group[mine[of_class]])) for of_class in counted)
    same = _same(scores, mine, theirs, entry.meta.get("needs", "score"))
    verdict, why = _verdict(turned, margins.margin, groups, same, margins.level)
    if entry.name == "auroc" and pair[0].value < REVERSED:
        why += (f"; {pretty(pair[0].value)} is far below chance: is a larger score more likely real? It is never "
                "turned round here")  # fmt: skip
    return Check(*about, what, verdict, why, *known)


def _lacking(scores: ScoreTable, mine: np.ndarray, theirs: np.ndarray, entry: Entry) -> str:
    """Say why a metric has no figure."""
    columns = {"decision": (scores.called_fake, "threshold"), "probability": (scores.probability, "probability")}
    column, name = columns.get(entry.meta.get("needs", "score"), (scores.score, "score"))
    for whose, rows in (("the detector", mine), ("the baseline", theirs)):
        if np.isnan(column[rows]).any():
            return f"{whose} has no {name} for {scores.path[rows[np.isnan(column[rows])]][0]}, among others"
    return f"{entry.name} is not defined for some generator or replicate, as where nothing is called fake"


def _same(scores: ScoreTable, mine: np.ndarray, theirs: np.ndarray, needs: str) -> bool:
    """Whether both sides say the same of every row, as far as a metric sees: the order in each trial, or the values."""
    if needs != "score":
        column = scores.called_fake if needs == "decision" else scores.probability
        return bool(np.array_equal(column[mine], column[theirs], equal_nan=True))
    if not np.array_equal(scores.trial[mine], scores.trial[theirs]):
        return False
    for trial in np.unique(scores.trial[mine].astype(str)):
        here = scores.trial[mine] == trial
        first, second = (np.unique(scores.score[rows[here]], return_inverse=True)[1] for rows in (mine, theirs))
        if not np.array_equal(first, second):
            return False
    return True


def _verdict(gap: Difference, margin: float, groups: int, same: bool, level: float) -> tuple[str, str]:
    """Return the verdict on a difference of which larger is better, and why; `same`: the two say the same of all."""
    lost, half = -gap.low + 0.0, gap.value - gap.low
    if groups < FEWEST_GROUPS:
        return UNDERPOWERED, f"{groups} groups of a class are too few to judge by: it takes {FEWEST_GROUPS}"
    if not same and gap.low == gap.high:  # no resample tells them apart
        half = exact_interval(0, groups, level=level).high
        lost = half - gap.value
    if lost < margin:
        return PASSED, f"at worst {max(lost, 0.0):.3f} is lost, less than the margin of {margin:g}"
    if -gap.high >= margin:
        return INFERIOR, f"at least {-gap.high:.3f} is lost, and the margin is {margin:g}"
    if half >= margin:
        times = math.ceil((half / margin) ** 2)
        return UNDERPOWERED, (f"even with no difference {half:.3f} might be lost, and the margin is {margin:g}; it "
                              f"takes about {times} times as many groups, or a wider margin")  # fmt: skip
    return NOT_SHOWN, f"up to {lost:.3f} may be lost, and the margin is {margin:g}"


def _coverage(scores: ScoreTable, mine: np.ndarray, theirs: np.ndarray, about: tuple[str, str, str]) -> Check:
    """Whether the detector scored what the baseline did; an image counts once, however many trials tested it.

    Its figures are the share of the class that fares worse which was scored, of what the baseline scored.
    """
    judged = np.isfinite(scores.score[theirs])
    lost = judged & ~np.isfinite(scores.score[mine])
    parts, worst = [], 0.0
    for label, name in ((REAL, "real"), (FAKE, "fake")):
        here = scores.label[mine] == label
        n, total = (len(np.unique(scores.path[mine[rows & here]])) for rows in (lost, judged))
        worst = max(worst, n / total if total else 0.0)
        parts.append(f"{n} of {total} {name} images")
    first = f"; the first is {scores.path[mine[lost]][0]}" if lost.any() else ""
    return Check(*about, "coverage", PASSED if worst <= LOST else INFERIOR,
                 f"not scored, though the baseline did: {' and '.join(parts)}{first}", 1 - worst - 1,
                 mine=1 - worst, theirs=1.0, margin=LOST)  # fmt: skip


def _false_positives(
    scores: ScoreTable, mine: np.ndarray, theirs: np.ndarray, weights: GroupWeights, margins: Margins,
    about: tuple[str, str, str],
) -> list[Check]:  # fmt: skip
    """All reals must be shown to fare no worse by the margin; a single source must not be shown to fare worse by it."""
    both = scores.label[mine] == REAL
    whole, pair = _fpr(scores, mine[both], theirs[both], weights, margins.level)
    what = "false positives at the frozen 5 % threshold"
    if not math.isfinite(whole.value):
        why = _lacking(scores, mine[both], theirs[both], metric.get("fpr_achieved_5"))
        return [Check(*about, what, NOT_MEASURED, f"{why}; give thresholds that can be attained, or leave this out by "
                      "--fpr-margin none", margin=margins.fpr)]  # fmt: skip
    found = [Check(*about, what, *_rise(scores, mine[both], theirs[both], whole, margins), whole.value, whole.low,
                   whole.high, pair[0].value, pair[1].value, margins.fpr)]  # fmt: skip
    for source in sorted(set(scores.real_source[mine[both]].tolist())):
        here = both & (scores.real_source[mine] == source)
        gap, pair = _fpr(scores, mine[here], theirs[here], weights, margins.level)
        verdict, why = _rise(scores, mine[here], theirs[here], gap, margins)
        images, groups = (len(np.unique(of[mine[here]])) for of in (scores.path, scores.group))
        if gap.low > 0 and gap.value > margins.fpr:
            verdict, why = INFERIOR, f"shown to be worse, and by more than {margins.fpr:g}"
        elif verdict != PASSED:
            verdict = TOO_FEW if groups < FEWEST_GROUPS else NOT_WORSE
            why = f"no harm is shown, but no absence of it either: {why}"
        found.append(Check(*about, f"{_OF_SOURCE}{source or 'unnamed'}", verdict,
                           f"{images} images in {groups} groups; {why}", gap.value, gap.low, gap.high, pair[0].value,
                           pair[1].value, margins.fpr))  # fmt: skip
    return found if len(found) > 2 else found[:1]  # one source is all of them


def _rise(
    scores: ScoreTable, mine: np.ndarray, theirs: np.ndarray, gap: Difference, margins: Margins
) -> tuple[str, str]:
    """Return the verdict on a difference of false-positive rates over some reals, and why."""
    groups, same = len(np.unique(scores.group[mine])), _same(scores, mine, theirs, "decision")
    return _verdict(Difference(-gap.value, -gap.high, -gap.low), margins.fpr, groups, same, margins.level)


def _fpr(
    scores: ScoreTable, mine: np.ndarray, theirs: np.ndarray, weights: GroupWeights, level: float
) -> tuple[Difference, list[Estimate]]:
    pair = [evaluate(scores.samples(rows), ("fpr_achieved_5",), weights)["fpr_achieved_5"] for rows in (mine, theirs)]
    return difference(*pair, level=level), pair
