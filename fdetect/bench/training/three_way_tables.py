"""Three-way answers, counted: the confusion matrix of every head under every condition, as rows, tables and CSV.

Answers of several trials are counted together: each names a class, so that no scores of different models are mixed.
Intervals are those of evaluate.py: groups are drawn, and where a share is exactly 0 or 1 the interval is the exact
binomial one over the groups.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import numpy as np

from fdetect.bench.report.grid import Grid, interval_text
from fdetect.bench.report.tables import audit_mark, bracketed
from fdetect.bench.scores.scoring import train_condition
from fdetect.bench.training.networks import with_weights
from fdetect.bench.training.three_way_answers import CLASSES, PRISTINE, SYNTHETIC, Answers, TrialAnswers
from fdetect.bootstrap import Estimate, GroupWeights, group_weights, interval, macro
from fdetect.classifiers import NO_ANSWER
from fdetect.decide import exact_interval
from fdetect.types import RunResult

__all__ = ["BALANCED", "Count", "counted", "counts_of", "three_way_csv", "three_way_grids"]

BALANCED = "balanced accuracy"  # the row of the mean of the three shares; chance is 1/3
SAME = "The same autoencoder in training and test"


@dataclass(frozen=True)
class Count:
    """One row of a confusion matrix: how often a head named each class where `truth` was the true one.

    of        "" for the whole class, else one autoencoder or one generator of it
    seen      whether the generator was in training; those are in the whole class only where all were
    share     of the true class among the answers, with its interval; of BALANCED the mean of the three shares
    n_failed  images without an answer, which are in no other number
    """

    detector: str
    train: str
    condition: str
    truth: str
    of: str
    seen: bool
    pristine: int
    laundered: int
    synthetic: int
    n_failed: int
    n_groups: int
    share: float
    low: float
    high: float


def counted(
    answers: Mapping[str, Sequence[TrialAnswers]], groups: Sequence[str] | np.ndarray, *, replicates: int = 1000,
    level: float = 0.95, seed: int = 0,
) -> dict[str, Any]:  # fmt: skip
    """Return the part `three_way` of a result's header: rows of `Count`, and which autoencoder each trial held out.

    groups  of all images of the run, for the bootstrap
    """
    weights = group_weights(np.asarray(groups).astype(str), replicates=replicates, seed=seed)
    rows: list[Count] = []
    for detector, trials in answers.items():
        of_train: dict[tuple[str, str], list[Answers]] = {}
        for one in trials:
            for condition, mine in one.answers.items():
                of_train.setdefault((condition, one.train), []).append(mine)
        for (condition, train), parts in of_train.items():
            rows += counts_of((detector, train, condition), Answers.joined(parts), weights, level)
    asked = [one for trials in answers.values() for one in trials if one.held_out]
    return {
        "rows": [{key: _plain(value) for key, value in asdict(row).items()} for row in rows],
        "held_out": {one.trial: one.held_out for one in asked},
        "same": list(dict.fromkeys(one.trial for one in asked if one.alone)),
        "left_out": {one.trial: list(one.left_out) for one in asked if one.left_out},
    }


def counts_of(about: tuple[str, str, str], answers: Answers, weights: GroupWeights, level: float) -> Iterator[Count]:
    """Yield the rows of one confusion matrix; `about` is the detector, its training set and the condition."""
    shares, totals = [], []
    for k in range(len(CLASSES)):
        mine = answers.truth == k
        unseen = mine & ~answers.seen
        row, share = _row(about, k, "", answers, unseen if unseen.any() else mine, weights, level)
        shares.append(share)
        totals.append(row)
        yield row
        for of in [] if k == PRISTINE else np.unique(answers.of[mine]):
            yield _row(about, k, str(of), answers, mine & (answers.of == of), weights, level)[0]
    groups, mean = min(row.n_groups for row in totals), macro(shares)
    low, high = _ends(mean, groups, level)
    sums = {name: sum(getattr(row, name) for row in totals) for name in (*CLASSES, "n_failed")}
    yield Count(*about, truth=BALANCED, of="", seen=totals[SYNTHETIC].seen, n_groups=groups, share=mean.value,
                low=low, high=high, **sums)  # fmt: skip


def three_way_grids(result: RunResult, *, whole: bool = True) -> list[Grid]:
    """Return a table for each condition of a result, also one read from JSON; none where nothing was asked.

    whole  False: without the rows of single autoencoders and generators
    """
    part: Mapping[str, Any] = result.header.get("three_way", {})
    rows = [Count(**row) for row in part.get("rows", ())]
    several = len({row.train for row in rows}) > 1
    grids = []
    for condition in dict.fromkeys(row.condition for row in rows):
        body = tuple(
            (row.detector, *((row.train,) if several else ()), _truth(row), *_called(row),
             interval_text(row.share, row.low, row.high), str(row.n_failed), str(row.n_groups))
            for row in rows if row.condition == condition and (whole or not row.of)
        )  # fmt: skip
        columns = ("detector", *(("trained on",) if several else ()), "true class", *(f"called {c}" for c in CLASSES),
                   "share right", "failed", "groups")  # fmt: skip
        mark = bracketed(audit_mark(result.audit, condition))
        title = f"Three classes under {condition} (trained under {train_condition(condition)}){mark}"
        grids.append(with_weights(Grid(title, columns, body), result.header))
    return [*grids[:-1], *(replace(last, note=_note(part)) for last in grids[-1:])]


def three_way_csv(part: Mapping[str, Any]) -> str:
    """Write every row of what `counted` returned as one CSV line, with the train condition, and n of the answers."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    names = [one.name for one in fields(Count)]
    writer.writerow((*names, "n", "train_condition"))
    for row in part.get("rows", ()):
        numbers = ["" if row[name] is None else row[name] for name in names]
        writer.writerow((*numbers, sum(row[name] for name in CLASSES), train_condition(row["condition"])))
    return file.getvalue()


def _row(
    about: tuple[str, str, str], k: int, of: str, answers: Answers, mine: np.ndarray, weights: GroupWeights,
    level: float,
) -> tuple[Count, Estimate]:  # fmt: skip
    ok = mine & (answers.answer != NO_ANSWER)
    called = dict(zip(CLASSES, np.bincount(answers.answer[ok], minlength=len(CLASSES)).tolist(), strict=True))
    share, groups = _share(answers.answer[ok] == k, answers.group[ok], weights), len(np.unique(answers.group[ok]))
    low, high = _ends(share, groups, level)
    row = Count(*about, truth=CLASSES[k], of=of, seen=bool(answers.seen[mine].any()), n_failed=int((mine & ~ok).sum()),
                n_groups=groups, share=share.value, low=low, high=high, **called)  # fmt: skip
    return row, share


def _share(right: np.ndarray, groups: np.ndarray, weights: GroupWeights) -> Estimate:
    """Return the share of right answers, (n,) bool, on the sample and when groups are drawn; NaN for none."""
    if not len(right):
        return Estimate(math.nan, np.full(weights.replicates, math.nan))
    place = np.searchsorted(weights.groups, groups)
    per_group = [np.bincount(place, weights=w, minlength=len(weights.groups)) for w in (right, np.ones(len(right)))]
    hits, all_of_them = (weights.counts.astype(np.float64) @ column for column in per_group)
    return Estimate(float(right.mean()), hits / np.where(all_of_them > 0, all_of_them, np.nan))


def _ends(share: Estimate, groups: int, level: float) -> tuple[float, float]:
    if share.value in (0.0, 1.0) and groups:
        return exact_interval(groups * int(share.value), groups, level=level)
    return interval(share.replicates, level=level)


def _truth(row: Count) -> str:
    if row.truth == BALANCED:
        return f"{BALANCED} (chance 0.333)"
    return f"{row.truth}{f': {row.of}' if row.of else ''}{'*' if row.seen else ''}"


def _called(row: Count) -> list[str]:
    return ["" if row.truth == BALANCED else str(getattr(row, name)) for name in CLASSES]


def _note(part: Mapping[str, Any]) -> str:
    turns: dict[str, int] = {}
    for name in part["held_out"].values():
        turns[name] = turns.get(name, 0) + 1
    used = ", ".join(f"{name} ({count})" for name, count in sorted(turns.items()))
    text = ("Counts of answers in all trials, as if the classes had been equally frequent in training. A photograph is "
            "asked about in every trial that tests it, as it is and laundered by the autoencoder that the trial's "
            f"training does without (trials): {used}. * = seen in training.")  # fmt: skip
    for name in sorted({name for names in part["left_out"].values() for name in names}):
        knows = ", ".join(trial for trial, names in part["left_out"].items() if name in names)
        text += f" {name} knows tested images or made some of the trial's, and is left out in {knows}."
    return f"{text} {SAME}: {', '.join(part['same'])}." if part["same"] else text


def _plain(value: Any) -> Any:
    """Return a value as JSON has it: numbers that are not finite are null."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
