"""Permutation importance in a run: what a detector loses on test images when a family's columns are those of others.

    importance of a family = A(as they are) - mean over repeats of A(with the family's columns permuted)
    A                      = macro AUROC over generators, pairs counted within trials, as in every table (evaluate.py)

Columns are permuted among the test images of a trial, of both classes together, each time alike for all detectors and
conditions (fdetect/classifiers/importance.py).  The interval is the paired group bootstrap of all results: it is about
other images, not about other permutations, whose spread stands beside it.  Of families that say the same, each looks
less important than it is; a family may matter on these images by what it knows of their content.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from fdetect.bench.models import Contender, FittedHeadModel, Model, Trained, Untrained
from fdetect.bench.protocols import Trial
from fdetect.bench.report.grid import Grid, pretty, signed
from fdetect.bench.report.tables import audit_mark, bracketed
from fdetect.bench.scores.compare import macro_of, unseen
from fdetect.bench.scores.evaluate import ScoreTable
from fdetect.bench.scores.scoring import train_condition
from fdetect.bench.training.aligned import Aligned
from fdetect.bench.training.chosen import Keep
from fdetect.bench.training.fusing import TRUNK, FusedContender, FusedModel
from fdetect.classifiers import in_parallel
from fdetect.classifiers.importance import families_of, permuted_scores
from fdetect.config import RunConfig
from fdetect.draws import mean_of_draws
from fdetect.engine.loop import Progress
from fdetect.errors import DataError
from fdetect.metrics import difference, macro
from fdetect.types import Table

__all__ = ["REPEATS", "FamilyImportance", "importance_grids", "importances"]

REPEATS = 5

Looked = FusedContender | Trained | Aligned
Permuted = Mapping[tuple[str, str], Mapping[str, np.ndarray]]  # (trial, condition) -> family -> (REPEATS, n) scores


@dataclass(frozen=True)
class FamilyImportance:
    """What one family is worth to one detector under one condition: `drop` in macro AUROC with its interval.

    `auroc` is that of the columns as they are, `spread` the standard deviation of the drops over the repeats.
    """

    detector: str
    train: str
    condition: str
    family: str
    n_columns: int
    auroc: float
    drop: float
    low: float
    high: float
    spread: float
    n_images: int


def importances(
    detectors: Iterable[Contender], tables: Mapping[str, Table], trials: Sequence[Trial], config: RunConfig,
    keep: Keep, *, workers: int = 1, progress: Progress | None = None,
) -> list[dict[str, Any]]:  # fmt: skip
    """Return a `FamilyImportance` as a dict for every head on all columns, fused detector, condition and family.

    tables  scores of the detectors by name

    Heads are fitted once more for it; a fused detector has kept its fits.
    """
    looked_at = [one for one in detectors if isinstance(one, FusedContender)
                 or (isinstance(one, Trained | Aligned) and one.name.endswith(":all"))]  # fmt: skip
    found: list[dict[str, Any]] = []
    for k, one in enumerate(looked_at):
        found += keep("importance", one, partial(_of_one, one, tables[one.name], trials, config, workers))
        if progress:
            progress("importance of families", k + 1, len(looked_at))
    return found


def importance_grids(found: Sequence[Mapping[str, Any]], audit: Mapping[str, Any] | None = None) -> list[Grid]:
    """Return one table for each condition: a row for each family, a column for each detector."""
    made = []
    for condition in dict.fromkeys(row["condition"] for row in found):
        here = {(row["family"], row["train"], row["detector"]): row for row in found if row["condition"] == condition}
        detectors, several = dict.fromkeys(key[2] for key in here), len({key[1] for key in here}) > 1
        rows = tuple(
            (family, *((train,) if several else ()), *(_drop(here.get((family, train, one))) for one in detectors))
            for family, train in dict.fromkeys(key[:2] for key in here)
        )
        columns = ("family permuted", *(("trained on",) if several else ()), *detectors)
        mark = bracketed(audit_mark(audit, condition) if audit else "")
        spread = max((row["spread"] for row in here.values() if row["spread"] is not None), default=None)
        note = (
            "Drop in macro AUROC when the family's columns are those of other test images of the trial, of either "
            f"class; mean of {REPEATS} permutations, group-bootstrap interval. The spread over permutations (standard "
            f"deviation) is at most {pretty(spread)}. Families that say the same look less important than they are."
        )
        made.append(Grid(f"What detectors lose without a family (permutation importance), under {condition}{mark}",
                         columns, rows, note))  # fmt: skip
    return made


def _drop(row: Mapping[str, Any] | None) -> str:
    return signed(row["drop"], row["low"], row["high"]) if row else "–"


def _of_one(
    one: Looked, table: Table, trials: Sequence[Trial], config: RunConfig, workers: int
) -> list[dict[str, Any]]:
    by_trial = in_parallel(partial(_permuted, one, config), trials, workers=workers)
    permuted = {(trial.name, c): scores for trial, of in zip(trials, by_trial, strict=True) for c, scores in of.items()}
    scores, how = ScoreTable.of(table), config.metrics
    weights = scores.weights(replicates=how.replicates, seed=config.seed)
    found = []
    for (detector, train, _, condition), rows in zip(scores.names, scores.by_key, strict=True):
        changed = _in_rows(scores, rows, condition, permuted)
        ok = rows[np.isfinite(scores.score[rows])]
        for family in changed:
            ok = ok[np.isfinite(changed[family][0, ok])]  # the same rows for all
        generators, counts = unseen(scores, rows), Counter(_families(one))
        whole = macro_of(scores, ok, weights, generators)
        for family, drawn in changed.items():
            each = [macro_of(replace(scores, score=one_draw), ok, weights, generators) for one_draw in drawn]
            gap = difference(whole, macro(each), level=how.level)
            spread = float(np.std([estimate.value for estimate in each]))
            found.append(asdict(FamilyImportance(
                detector, train, condition, family, counts[family], whole.value, gap.value, gap.low, gap.high, spread,
                len(np.unique(scores.path[ok])),
            )))  # fmt: skip
    return found


def _in_rows(scores: ScoreTable, rows: np.ndarray, condition: str, permuted: Permuted) -> dict[str, np.ndarray]:
    """Put the scores of each trial where its rows are: family -> (REPEATS, all rows) float64.

    Rows of a trial stand in the order of its test images (scoring.py).
    """
    found: dict[str, np.ndarray] = {}
    for trial in dict.fromkeys(scores.trial[rows]):
        mine = rows[scores.trial[rows] == trial]
        for family, drawn in permuted[trial, condition].items():
            found.setdefault(family, np.full((REPEATS, len(scores.score)), np.nan))[:, mine] = drawn
    return found


def _permuted(one: Looked, config: RunConfig, trial: Trial) -> dict[str, dict[str, np.ndarray]]:
    """Condition -> family -> (REPEATS, n) scores of a trial's test images; NaN where it could not be trained."""
    families = tuple(dict.fromkeys(_families(one)))
    found: dict[str, dict[str, np.ndarray]] = {}
    for under in dict.fromkeys(map(train_condition, config.conditions.names)):
        with_it = [name for name in config.conditions.names if train_condition(name) == under]
        try:
            model = one.ready(trial, under)
        except DataError:  # as in scoring.py
            model = Untrained()
        for condition in with_it:
            as_they_are, _ = model.scores(condition, trial.test)
            scores = dict.fromkeys(families, np.tile(as_they_are, (REPEATS, 1)))  # of a branch that it lacks: no change
            if not isinstance(model, Untrained):
                scores |= _mean_over_draws(_opened(model, condition, trial), seed=config.seed, content=f"{trial.name}/")
            found[condition] = scores
    return found


def _mean_over_draws(opened: _Opened, **how: Any) -> dict[str, np.ndarray]:
    """Family -> (REPEATS, n) mean scores; NaN where a draw has a score though a branch of it is absent.

    Such a draw cannot be permuted: without it the mean would be over other draws than that of the columns as they are.
    """
    partly = [np.isfinite(opened.score(values)) & ~np.isfinite(values).all(axis=1) for values in opened.draws]
    out = np.any(partly, axis=0)
    each = [permuted_scores(opened.score, values, opened.families, repeats=REPEATS, **how) for values in opened.draws]
    means = {family: mean_of_draws(np.stack([one[family].ravel() for one in each])).reshape(REPEATS, -1)
             for family in each[0]}  # fmt: skip
    return {family: np.where(out, np.nan, drawn) for family, drawn in means.items()}


@dataclass(frozen=True)
class _Opened:
    """What a model reads of test images, (n, D) for each draw; the family of each column; how it scores such rows."""

    draws: list[np.ndarray]
    families: tuple[str, ...]
    score: Callable[[np.ndarray], np.ndarray]


def _opened(model: Model, condition: str, trial: Trial) -> _Opened:
    rows = trial.test
    if isinstance(model, FittedHeadModel):
        draws = [model.values[name][rows] for name in model.draws.shown(condition)]
        return _Opened(draws, families_of(model.fitted.columns), model.fitted.score)
    if not isinstance(model, FusedModel):
        raise TypeError(f"no columns are known of a {type(model).__name__}")
    fitted, n_draws = model.fitted, model.contender.draws.n
    each = [model.contender.vectors(trial, condition, rows, draw=k) for k in range(n_draws)]
    at = np.cumsum([len(fitted.columns[branch]) for branch in fitted.branches])[:-1]

    def score(values: np.ndarray) -> np.ndarray:
        return fitted.score(dict(zip(fitted.branches, np.split(values, at, axis=1), strict=True)))

    draws = [np.concatenate([one[branch] for branch in fitted.branches], axis=1) for one in each]
    return _Opened(draws, _of_branches(fitted.columns, fitted.branches), score)


def _families(one: Looked) -> tuple[str, ...]:
    if not isinstance(one, FusedContender):
        return families_of(one.columns)
    columns = dict(one.columns) | ({TRUNK: one.trunk.columns} if one.trunk else {})
    return _of_branches(columns, one.branches)


def _of_branches(columns: Mapping[str, Sequence[str]], branches: Sequence[str]) -> tuple[str, ...]:
    """Return the family of each column of the branches in turn; those of a network are one family."""
    each = [[TRUNK] * len(columns[one]) if one == TRUNK else families_of(columns[one]) for one in branches]
    return tuple(family for families in each for family in families)
