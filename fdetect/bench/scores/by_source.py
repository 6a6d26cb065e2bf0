"""Each source of reals alone, and the placebo: does a column measure synthesis, or which photographs these are?

Computed from the score table alone, for every detector, training set, training condition and condition.  A is the
AUROC of `fdetect.metrics`, its pairs counted within trials and summed over them; weights are drawn by group once for
the whole table, so that all that follows is paired, replicate by replicate.

    against a source    macro mean over the generators not trained on of A(fakes of g, reals of source s ALONE)
    placebo of s        A(reals of s, reals of all other sources), in the trials that test both
    placebo of history  A(scores under the one condition, under the plain one) of the same reals in the same trials

Nothing in a placebo is generated, so a score of synthesis has 0.5 there: which of two photographs scores higher is an
even bet.  Above 0.5 those named first look more generated.  Histories are chains of `jpeg` and `double`, and
`rescaled`; the plain condition is `matched` (crop, JPEG Q90).  A column is charged with the history that it applies;
`matched`, which applies none, with those that end in its own JPEG, as its images could differ by what is left of them.

The placebo's interval holds for all placebos of a column together: of K with at least FEW_GROUPS groups on both sides
each has the level 1 - (1 - level) / K, as some of many would miss 0.5 by luck (Bonferroni).  What is made of them is
the rule of by_source_verdict.py.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from fdetect.bench.scores.by_source_pairs import pairs_of
from fdetect.bench.scores.by_source_verdict import ALL, HISTORY, SOURCE, Column, SourceRow
from fdetect.bench.scores.chains import LAST, chain_of, is_plain
from fdetect.bench.scores.compare import unseen
from fdetect.bench.scores.evaluate import ScoreTable
from fdetect.engine.loop import Progress
from fdetect.metrics import Estimate, GroupWeights, interval, macro
from fdetect.types import FAKE, REAL

__all__ = ["MOST", "SourceRow", "by_source", "histories", "reals_of"]

MOST = 20  # sources with lines of their own

_NAN = float("nan")


def by_source(
    table: pa.Table | ScoreTable, *, replicates: int = 1000, level: float = 0.95, seed: int = 0,
    progress: Progress | None = None,
) -> tuple[SourceRow, ...]:  # fmt: skip
    """Return the lines of every column of a score table, in its order: all reals, each source, then histories.

    Raises DataError where an image has two rows of one detector, condition and trial.
    """
    scores = table if isinstance(table, ScoreTable) else ScoreTable.of(table)
    weights = scores.weights(replicates=replicates, seed=seed)
    plain, worn = histories(name[3] for name in scores.names)
    rows_of = dict(zip(scores.names, scores.by_key, strict=True))
    moved: dict[Column, _Apart] = {}
    for name, rows in rows_of.items():
        before = rows_of.get((*name[:3], plain))
        if name[3] in worn and before is not None:
            moved[name] = _history(scores, rows, before, weights)
    found: list[SourceRow] = []
    for k, (name, rows) in enumerate(rows_of.items()):
        mine = [name[3]] if name[3] in worn else [one for one in worn if worn[one]] if name[3] == plain else []
        told = {f"{one} against {plain}": moved[*name[:3], one] for one in mine if (*name[:3], one) in moved}
        found += _lines(scores, name, rows, weights, level, told)
        if progress:
            progress("sources of reals", k + 1, len(rows_of))
    return tuple(found)


def histories(names: Iterable[str]) -> tuple[str, dict[str, bool]]:
    """Return the plain condition ("" without one), and the others that are a JPEG history: do they end as it does?"""
    plain, worn = "", dict[str, bool]()
    for name in dict.fromkeys(names):
        chain = chain_of(name)
        if chain is None or chain.is_native or {step for step, _ in chain.steps} - {"jpeg", "double"}:
            continue
        if is_plain(chain):
            plain = plain or name
        else:
            worn[name] = chain.steps[-1] == LAST
    return plain, worn if plain else {}


def reals_of(scores: ScoreTable, rows: np.ndarray) -> dict[str, np.ndarray]:
    """Return the row numbers of the reals among `rows` by source, in sorted order; one without a name is "unnamed".

    Beyond MOST sources the smallest are put together, as "7 smaller sources": some sets have one for every photograph.
    """
    reals = rows[scores.label[rows] == REAL]
    names = np.array([name or "unnamed" for name in scores.real_source[reals]], dtype=object)
    sizes = Counter(names.tolist())
    if len(sizes) > MOST:
        large = sorted(sizes, key=lambda name: (-sizes[name], name))[: MOST - 1]
        rest = f"{len(sizes) - len(large)} smaller sources"
        names = np.array([name if name in large else rest for name in names], dtype=object)
    return {name: reals[names == name] for name in sorted(set(names.tolist()))}


@dataclass(frozen=True)
class _Apart:
    """How well two sets of reals are told apart, and the rows of each that this rests on: of trials that test both."""

    estimate: Estimate
    first: np.ndarray
    second: np.ndarray


def _lines(
    scores: ScoreTable, name: Column, rows: np.ndarray, weights: GroupWeights, level: float, told: dict[str, _Apart]
) -> list[SourceRow]:
    generators, sources = unseen(scores, rows), reals_of(scores, rows)
    n, fakes = len(sources), rows[scores.label[rows] == FAKE]
    seen = bool(scores.seen[fakes[np.isin(scores.generator[fakes], generators)]].any())  # then all of them are
    kinds = [*sources.values(), *(fakes[scores.generator[fakes] == one] for one in generators)]
    counted, kind = _scored(scores, kinds)
    pairs = pairs_of(scores, counted, kind, weights, n_kinds=len(kinds), n_columns=n)

    def against(columns: Sequence[int]) -> Estimate:
        nothing = Estimate(_NAN, np.full(weights.replicates, np.nan))
        return macro([pairs.auroc(n + g, columns) for g in range(len(generators))] or [nothing])

    whole = against(range(n))

    def apart(s: int) -> _Apart:
        others = [u for u in range(n) if u != s]
        own, other = (counted[np.isin(kind, these)] for these in ([s], others))
        trial = scores.text["trial"].codes
        return _Apart(
            pairs.auroc(s, others), own[np.isin(trial[own], trial[other])], other[np.isin(trial[other], trial[own])]
        )

    parts: list[tuple[str, str, np.ndarray, Estimate | None, _Apart | None]] = [
        (ALL, "", counted[kind < n], whole, None),
        *((SOURCE, source, kinds[s], against([s]), apart(s)) for s, source in enumerate(sources)),
        *((HISTORY, both, one.first, None, one) for both, one in told.items()),
    ]
    lines = []
    for what, of, mine, auroc, other in parts:
        figures: dict[str, Any] = _figures(auroc, level, "auroc", "") if auroc else {}
        if other:
            n_own, n_others = (_counted(scores, side)[1] for side in (other.first, other.second))
            figures |= {"placebo": other.estimate.value, "n_own": n_own, "n_others": n_others}
            figures |= _figures(_gap(whole, other.estimate), level, "gap", "gap_")
        told_from = [mine, *([other.first, other.second] if other else [])]
        lines.append(SourceRow(*name, what, of, *_counted(scores, mine), **figures, seen=seen and what != HISTORY,
                               reals_seen=bool(scores.seen[np.concatenate(told_from)].any())))  # fmt: skip
    joint = 1 - (1 - level) / max(1, sum(line.counts for line in lines))
    for k, (*_, other) in enumerate(parts):
        if other:
            low, high = interval(other.estimate.replicates, level=joint)
            lines[k] = replace(lines[k], placebo_low=low, placebo_high=high)
    return lines


def _history(scores: ScoreTable, rows: np.ndarray, before: np.ndarray, weights: GroupWeights) -> _Apart:
    """Tell the reals of `rows` from themselves in `before`: those that have a score in both, in the same trial."""
    usable = np.isfinite(scores.score) & (scores.label == REAL)
    at = {(scores.trial[row], scores.path[row]): row for row in before[usable[before]]}
    keys = [(row, (scores.trial[row], scores.path[row])) for row in rows[usable[rows]]]
    both = np.array([(row, at[key]) for row, key in keys if key in at], dtype=np.int64).reshape(-1, 2)
    worn, plain = both[:, 0], both[:, 1]
    pairs = pairs_of(scores, *_scored(scores, [plain, worn]), weights, n_kinds=2, n_columns=1)
    return _Apart(pairs.auroc(1, [0]), worn, plain)


def _scored(scores: ScoreTable, kinds: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows of all kinds that have a score, and the number of the kind of each."""
    rows = np.concatenate([*kinds, np.empty(0, np.int64)])
    kind = np.repeat(np.arange(len(kinds)), [len(one) for one in kinds])
    ok = np.isfinite(scores.score[rows])
    return rows[ok], kind[ok]


def _gap(whole: Estimate, placebo: Estimate) -> Estimate:
    """M - 0.5 - |P - 0.5|; a sign of its own in every replicate would make the distance of an even bet seem large."""
    sign = -1.0 if placebo.value < 0.5 else 1.0
    return Estimate(
        whole.value - 0.5 - sign * (placebo.value - 0.5), whole.replicates - 0.5 - sign * (placebo.replicates - 0.5)
    )


def _figures(estimate: Estimate, level: float, name: str, prefix: str) -> dict[str, float]:
    low, high = interval(estimate.replicates, level=level)
    return {name: estimate.value, f"{prefix}low": low, f"{prefix}high": high}


def _counted(scores: ScoreTable, rows: np.ndarray) -> tuple[int, int]:
    """Count the images and the groups that have a score."""
    rows = rows[np.isfinite(scores.score[rows])]
    return len(set(scores.path[rows])), len(set(scores.group[rows]))
