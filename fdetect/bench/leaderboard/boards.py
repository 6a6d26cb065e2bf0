"""The leaderboard of several runs: who leads, who is level with the leader, at what cost.

    runs -> competitors                                     runs.py
    their scores, one table for each condition -> `Board`   here; its lines: places.py
    boards -> tables, CSV, LaTeX, page                      tables.py, page.py

All figures are made anew from the scores, with the same draws of groups for all, so that differences are paired.  A
figure of a detector with several seeds is the mean over them, in every replicate; `spread` is the standard deviation
of the seeds' macro AUROCs (n - 1), NaN for one.  A board is over the generators that none of its detectors was trained
on; where there is no such one it is over all of them, and says so (`seen`).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from fdetect.bench.leaderboard.places import Place, Repetition, groups_of, judged_places, place_of, ranked
from fdetect.bench.leaderboard.runs import Competitor, Run, competitors
from fdetect.bench.report.verdict import audit_mark, history_mark
from fdetect.bench.scores.compare import macro_of, unseen
from fdetect.bench.scores.evaluate import ScoreTable
from fdetect.engine.loop import Progress
from fdetect.errors import ParameterError
from fdetect.registry import nearest
from fdetect.types import FAKE, REAL

__all__ = ["FIRST", "Board", "boards", "replicates_for"]

FIRST = "matched"  # the condition that leads
_PER_TEST = 40  # replicates for each corrected test, so that a p-value can fall below 0.05 / tests at all


@dataclass(frozen=True)
class Board:
    """All detectors under one condition, trained on the same, the highest macro AUROC first."""

    condition: str
    train: str  # "" where all boards are of one training set
    places: tuple[Place, ...]
    generators: tuple[str, ...]  # that the macro means are over
    groups: int  # of the class that has fewer of them
    mark: str  # what the audit says of the condition
    missing: tuple[str, ...]  # detectors that were not run under it
    level: float
    replicates: int
    history: str = ""  # JPEG history that the audit found left, softer than a mark

    @property
    def weak(self) -> bool:
        """Whether the replicates are so few that no corrected p-value can fall below 1 - level."""
        return 2 * self.compared / (self.replicates + 1) >= 1 - self.level

    @property
    def compared(self) -> int:
        """How many places were compared with the leader: those that have a p-value."""
        return sum(math.isfinite(one.p) for one in self.places)

    @property
    def seen(self) -> str:
        """Say whose training held the generators of the means; "" where no detector was trained on any."""
        known = {one.seen for one in self.places}
        by = "" if len(known) == 1 else " by some detectors"
        return f"generators seen in training{by}" if any(known) else ""


def replicates_for(n: int) -> int:
    """Return how many bootstrap replicates a board of n detectors needs: 1000, or more where many are compared."""
    return max(1000, 2 * _PER_TEST * n)


def boards(
    runs: Sequence[Run], *, conditions: Sequence[str] = (), replicates: int = 0, level: float = 0.95, seed: int = 0,
    progress: Progress | None = None,
) -> tuple[Board, ...]:  # fmt: skip
    """Return a board for each condition and training set, `matched` first.

    conditions  those wanted, each once; empty: all that a run has
    replicates  of the group bootstrap; 0: as many as `replicates_for` says

    Raises ParameterError for a condition that no run has.
    """
    known = tuple(dict.fromkeys(name for run in runs for name in run.conditions))
    for name in conditions:
        if name not in known:
            raise ParameterError(f"no run has the condition '{name}'{nearest(name, known)} ({', '.join(known)})")
    all_of_them = competitors(runs)
    replicates = replicates or replicates_for(len(all_of_them))
    found: list[Board] = []
    wanted = tuple(dict.fromkeys(conditions)) or sorted(known, key=lambda name: name != FIRST)
    for k, condition in enumerate(wanted):
        found += _under(condition, all_of_them, runs, replicates, level, seed)
        if progress:
            progress("leaderboard", k + 1, len(wanted))
    return tuple(found)


def _under(
    condition: str, all_of_them: Sequence[Competitor], runs: Sequence[Run], replicates: int, level: float, seed: int
) -> list[Board]:
    tables: list[pa.Table] = []
    at: list[tuple[Competitor, int]] = []
    for one in all_of_them:
        for k in one.runs:
            if len(rows := one.rows(k, condition)):
                place = rows.column_names.index("detector")
                tables.append(rows.set_column(place, "detector", pa.repeat(str(len(at)), len(rows))))
                at.append((one, k))
    scores = ScoreTable.of(pa.concat_tables(tables))
    weights = scores.weights(replicates=replicates, seed=seed)
    trains = dict.fromkeys(name[1] for name in scores.names)
    mark, history = _mark(condition, runs), _history(condition, runs)
    made = []
    for train in trains:
        here = [(name, rows) for name, rows in zip(scores.names, scores.by_key, strict=True) if name[1] == train]
        generators = unseen(scores, np.concatenate([rows for _, rows in here]))
        repeated: dict[tuple[str, str], tuple[Competitor, dict[int, Repetition]]] = {}
        for name, rows in here:
            one, k = at[int(name[0])]
            _, repetitions = repeated.setdefault((one.name, name[2]), (one, {}))
            repetitions[k] = Repetition(rows, macro_of(scores, rows, weights, generators))
        often = Counter(name for name, _ in repeated)
        fewest = min(groups_of(scores, here[0][1], label, generators) for label in (REAL, FAKE))
        missing = tuple(one.name for one in all_of_them if one.name not in often)
        found, by_name = [], {}
        for (_, under), (one, repetitions) in repeated.items():
            called = one.name if often[one.name] == 1 else f"{one.name}, trained under {under}"
            found.append(place_of(scores, weights, replace(one, name=called), repetitions, under, generators, level))
            by_name[called] = repetitions
        places = ranked(found)
        judged = judged_places(places, by_name, scores, weights, generators, fewest, level)
        made.append(Board(condition, train if len(trains) > 1 else "", judged, generators, fewest, mark, missing, level,
                          replicates, history))  # fmt: skip
    return made


def _mark(condition: str, runs: Sequence[Run]) -> str:
    """Return what the audits of all runs under a condition say, and of how many runs where they differ."""
    audited = [run for run in runs if condition in run.result.audit["biased_by"]]
    marks = [audit_mark(run.result.audit, condition) for run in audited]
    if len(set(marks)) <= 1:
        return next(iter(marks), "")
    return "; ".join(f"{mark} in {marks.count(mark)} of {len(marks)} runs" for mark in dict.fromkeys(marks) if mark)


def _history(condition: str, runs: Sequence[Run]) -> str:
    """Return the JPEG history that the audits found left: of the first run that has any, where they differ."""
    found = {run.name: history_mark(run.result.audit, condition) for run in runs
             if condition in run.result.audit["biased_by"]}  # fmt: skip
    left = {name: text for name, text in found.items() if text}
    first = next(iter(left), "")
    if not first or len(set(found.values())) == 1:
        return left.get(first, "")
    return f"{left[first]} in {first}, left in {len(left)} of {len(found)} runs"
