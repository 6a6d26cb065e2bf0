"""The leaderboard of several runs: who leads, who is level with the leader, at what cost.

    runs -> competitors                                     runs.py
    their scores, one table for each condition -> `Board`   here; its lines: places.py
    boards -> tables, CSV, LaTeX, page                      tables.py, page.py

All figures are made anew from the scores, with the same draws of groups for all, so that differences are paired.  A
figure of a detector with several seeds is the mean over them, in every replicate; `spread` is the standard deviation
of the seeds' macro AUROCs (n - 1), NaN for one.  A board is over generators that none of its detectors was trained on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from fdetect.bench.leaderboard.places import Place, Repetition, groups_of, judged_places, place_of, ranked
from fdetect.bench.leaderboard.runs import Competitor, Run, competitors
from fdetect.bench.report.tables import audit_mark
from fdetect.bench.scores.compare import macro_of, unseen
from fdetect.bench.scores.evaluate import ScoreTable
from fdetect.engine.loop import Progress
from fdetect.errors import ParameterError
from fdetect.registry import nearest
from fdetect.types import FAKE, REAL

__all__ = ["Board", "boards", "replicates_for"]

_FIRST = "matched"  # the condition that leads
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

    @property
    def weak(self) -> bool:
        """Whether the replicates are so few that no corrected p-value can fall below the level."""
        return 2 * (len(self.places) - 1) / (self.replicates + 1) > 1 - self.level


def replicates_for(n: int) -> int:
    """Return how many bootstrap replicates a board of n detectors needs: 1000, or more where many are compared."""
    return max(1000, 2 * _PER_TEST * n)


def boards(
    runs: Sequence[Run], *, conditions: Sequence[str] = (), replicates: int = 0, level: float = 0.95, seed: int = 0,
    progress: Progress | None = None,
) -> tuple[Board, ...]:  # fmt: skip
    """Return a board for each condition and training set, `matched` first.

    conditions  those wanted; empty: all that a run has
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
    wanted = conditions or sorted(known, key=lambda name: name != _FIRST)
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
    mark = _mark(condition, runs)
    made = []
    for train in trains:
        here = [(name, rows) for name, rows in zip(scores.names, scores.by_key, strict=True) if name[1] == train]
        generators = unseen(scores, np.concatenate([rows for _, rows in here]))
        repeated: dict[str, tuple[Competitor, dict[int, Repetition], str]] = {}
        for name, rows in here:
            one, k = at[int(name[0])]
            _, repetitions, _ = repeated.setdefault(one.name, (one, {}, name[2]))
            repetitions[k] = Repetition(rows, macro_of(scores, rows, weights, generators))
        fewest = min(groups_of(scores, here[0][1], label, generators) for label in (REAL, FAKE))
        missing = tuple(one.name for one in all_of_them if one.name not in repeated)
        places = ranked([place_of(scores, weights, *of, generators, level) for of in repeated.values()])
        by_name = {name: of[1] for name, of in repeated.items()}
        judged = judged_places(places, by_name, scores, weights, generators, fewest, level)
        made.append(Board(condition, train if len(trains) > 1 else "", judged, generators, fewest, mark, missing, level,
                          replicates))  # fmt: skip
    return made


def _mark(condition: str, runs: Sequence[Run]) -> str:
    """Return what the audits of all runs under a condition say, and of how many runs where they differ."""
    audited = [run for run in runs if condition in run.result.audit["biased_by"]]
    marks = [audit_mark(run.result.audit, condition) for run in audited]
    if len(set(marks)) <= 1:
        return next(iter(marks), "")
    return "; ".join(f"{mark} in {marks.count(mark)} of {len(marks)} runs" for mark in dict.fromkeys(marks) if mark)
