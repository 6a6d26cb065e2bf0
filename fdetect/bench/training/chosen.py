"""The best single head of a run, chosen in each trial on its training images: what a fused detector must beat.

    a head's inner AUROC   macro mean over generators, in inner folds of the trial's training rows (search.py)
    best_single            in each trial the scores of the head with the highest one, of equals the first

Inner folds leave groups and generators out, as the test does; images that are tested take no part.  Where a run
searched for settings, the figures are those of the settings that were found: each is the highest of several, so that a
head with a large grid is flattered a little.  All figures stand in searched.csv.

Candidates are the heads that learn from the generated images of the trial, on features or embeddings, so that those
fitted on reals alone are none.  Those on features of ALONE are none: file history and probes are in no branch of the
fused detector either.  Networks are none, as they are validated on generators that they know; nor heads on aligned
pairs, whose inner folds ask another question.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fdetect.bench.models import Contender, Model, Trained
from fdetect.bench.protocols import Samples, Trial
from fdetect.bench.report.grid import Grid, pretty
from fdetect.bench.scores.scoring import score_trials, train_condition
from fdetect.bench.training.head_trials import Tried
from fdetect.classifiers import in_parallel, search
from fdetect.classifiers.heads import DISTANCE, scale_of
from fdetect.classifiers.importance import families_of
from fdetect.config import RunConfig
from fdetect.engine.loop import Progress
from fdetect.errors import DataError
from fdetect.features import ALONE
from fdetect.types import NotRun

__all__ = ["BEST_SINGLE", "BestSingle", "best_single", "chosen_grids"]

BEST_SINGLE = "best_single"

_FOLDS = 3  # fewer than a search has: every head of the run is fitted in each, in every trial

Rows = list[dict[str, Any]]  # of `searched.csv`
Keep = Callable[[str, Contender, Callable[[], Any]], Any]  # (kind, detector, compute) -> JSON, as it was kept if it was


def best_single(config: RunConfig, detectors: Iterable[Contender]) -> tuple[list[BestSingle], list[NotRun]]:
    """Return it where a run asks for it or has a fused detector, or the reason why there is none."""
    if not (config.heads.best_single or config.fused.branches):
        return [], []
    heads = [one for one in detectors if isinstance(one, Trained) and scale_of(one.head) != DISTANCE
             and not {*families_of(one.columns)} & {*ALONE}]  # fmt: skip
    if not heads:
        fix = "name some with --heads or --family-heads"
        return [], [NotRun(BEST_SINGLE, "no head is trained on generated images in this run", fix)]
    return [BestSingle(tuple(heads))], []


@dataclass(frozen=True)
class BestSingle:
    """The head that is chosen in each trial among those of a run.

    tried  rows of searched.csv, filled by `choose`
    """

    heads: tuple[Trained, ...]
    tried: Tried = field(default_factory=dict, compare=False, repr=False)
    name: ClassVar[str] = BEST_SINGLE
    trains: ClassVar[bool] = True
    reasons: ClassVar[Mapping[str, Mapping[int, str]]] = {}

    def choose(
        self, trials: Sequence[Trial], conditions: Sequence[str], keep: Keep, *, workers: int = 1,
        progress: Progress | None = None,
    ) -> None:  # fmt: skip
        """Judge every head in inner folds of every trial's training rows; what was `tried` before is not fitted again.

        conditions  that are tested under
        """
        under = tuple(dict.fromkeys(map(train_condition, conditions)))
        jobs = [(trial, condition) for trial in trials for condition in under]
        of_head: list[list[Rows]] = []
        for k, one in enumerate(self.heads):
            if one.fit.search:
                of_head.append([[{**row, "head": one.name} for row in one.tried.get((trial.name, condition), ())
                                 if row["chosen"]] for trial, condition in jobs])  # fmt: skip
            else:
                of_head.append(keep("inner", one, partial(_inner, one, jobs, workers)))
            if progress:
                progress("inner folds of heads", k + 1, len(self.heads))
        for k, (trial, condition) in enumerate(jobs):
            judged = [rows[k] for rows in of_head if rows[k] and math.isfinite(rows[k][0]["macro_auroc"])]
            best = max(judged, key=lambda rows: float(rows[0]["macro_auroc"]), default=None)
            self.tried[trial.name, condition] = [{**row, "chosen": rows is best} for rows in judged for row in rows]

    def trained_under(self, condition: str) -> str:
        """Name the conditions of training, which all heads of a run share, for thresholds set under `condition`."""
        return self.heads[0].trained_under(condition)

    def chosen(self, trial: str, condition: str) -> str | None:
        """Return the name of the head of a trial under its training condition; None where none could be judged."""
        return next((row["head"] for row in self.tried[trial, condition] if row["chosen"]), None)

    def scores(
        self, tables: Mapping[str, pa.Table], samples: Samples, ids: Sequence[str], trials: Sequence[Trial],
        conditions: Sequence[str],
    ) -> pa.Table:  # fmt: skip
        """Return the rows of the heads that were chosen, under this name; failures where none was.

        tables  scores of the heads by name
        """
        parts = []
        for trial in trials:
            for under in dict.fromkeys(map(train_condition, conditions)):
                with_it = [one for one in conditions if train_condition(one) == under]
                if name := self.chosen(trial.name, under):
                    mine = (pc.field("trial") == trial.name) & pc.field("condition").isin(with_it)
                    rows = tables[name].filter(mine)
                    at = rows.column_names.index("detector")
                    parts.append(rows.set_column(at, "detector", pa.array([BEST_SINGLE] * len(rows), pa.string())))
                else:
                    parts.append(score_trials(self, samples, ids, [trial], with_it))
        return pa.concat_tables(parts).combine_chunks()

    def ready(self, trial: Trial, condition: str) -> Model:
        """Nothing is left to be made ready where none was chosen: raises DataError."""
        raise DataError("no head could be judged in inner folds of the training images, so that none is chosen")

    def about(self, trials: Sequence[Trial]) -> list[dict[str, Any]]:
        """Return for the header: a row for each trial and training condition, with the inner AUROC of every head."""
        return [
            {"trial": trial.name, "train_condition": self.trained_under(condition),
             "chosen": self.chosen(trial.name, condition), "auroc": {row["head"]: row["macro_auroc"] for row in rows}}
            for trial in trials for (name, condition), rows in self.tried.items() if name == trial.name
        ]  # fmt: skip


def chosen_grids(header: Mapping[str, Any]) -> list[Grid]:
    """Return one table of what was chosen how often, and of the inner AUROC of every head; nothing without a choice."""
    rows = header.get(BEST_SINGLE, [])
    under = tuple(dict.fromkeys(row["train_condition"] for row in rows))
    names = dict.fromkeys(name for row in rows for name in row["auroc"])
    if not names:
        return []
    often = Counter((row["train_condition"], row["chosen"]) for row in rows)
    of = {(c, name): [row["auroc"][name] for row in rows if row["train_condition"] == c and name in row["auroc"]]
          for c in under for name in names}  # fmt: skip
    body = tuple(
        (name, *(text for c in under for text in
                 (f"{often[c, name]} of {sum(row['train_condition'] == c for row in rows)}",
                  pretty(float(np.mean(of[c, name]))) if of[c, name] else "–")))
        for name in sorted(names, key=lambda name: -sum(often[c, name] for c in under))
    )  # fmt: skip
    columns = ("head", *(text for c in under for text in (f"{c}: chosen in", f"{c}: mean inner AUROC")))
    note = (
        "Chosen in each trial by macro AUROC in inner folds of its training images, which leave groups and generators "
        "out: what the choice rests on, and no estimate of what a head is worth. Networks have no such figure and are "
        "no candidates."
    )
    return [Grid(f"Which heads {BEST_SINGLE} took", columns, body, note)]


def _inner(one: Trained, jobs: Sequence[tuple[Trial, str]], workers: int) -> list[Rows]:
    return list(in_parallel(partial(_judged, one), jobs, workers=workers))


def _judged(one: Trained, job: tuple[Trial, str]) -> Rows:
    """Return a row of `searched.csv` for each inner fold and generator of a head; none where no fold can be fitted."""
    rows = one.training_rows(*job)
    try:
        found = search(one.head, [{}], rows.values, rows.label, rows.group, rows.generator, one.fit.seed,
                       source=rows.source, weights=one.fit.balance, folds=_FOLDS)  # fmt: skip
    except DataError:
        return []
    return [
        {"head": one.name, "fold": cell.fold, "generator": cell.generator, "auroc": cell.auroc,
         "macro_auroc": found.chosen.auroc, "chosen": False}
        for cell in found.chosen.cells
    ]  # fmt: skip
