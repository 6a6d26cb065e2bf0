"""Tables of what by_source.py computes: AUROC against each source alone, placebos with a verdict, and both as CSV."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any

from fdetect.bench.report.grid import Grid, interval_text, signed
from fdetect.bench.report.tables import audit_mark, bracketed
from fdetect.bench.scores.by_source_verdict import (
    ALL,
    HISTORY,
    NO_FAKES,
    PARTLY,
    PASSED,
    PLACEBO,
    SOURCE,
    UNKNOWN,
    Column,
    SourceRow,
    Verdict,
    verdicts,
)
from fdetect.bench.scores.evaluate import FEW_GROUPS

__all__ = ["by_source_csv", "source_grids", "verdict_grids", "verdict_text"]

_SEEN = "* = over generators seen in training, as there is no other, or on reals that the detector was fitted on."
_ALONE = (
    "Macro AUROC over generators not trained on, against all reals and against each source of reals alone, pairs "
    "within trials; intervals by group bootstrap. The column of all reals is an average that can hide a source. "
    f"{_SEEN}"
)
_PLACEBO = (
    "A placebo is an AUROC of reals against other reals: 0.5 where the score measures synthesis alone, above it where "
    "those named first look more generated; the intervals of a row hold together (Bonferroni). Beyond placebo: how "
    "much further the AUROC of fakes lies above 0.5 than the placebo of the verdict lies from it. Sources below "
    f"{FEW_GROUPS} groups, in trials that test both, are shown and left out of the verdict. {_SEEN}"
)
_NARROW = (
    "Of all conditions the one with the gravest verdict, and its largest placebo: reals against reals, 0.5 where the "
    f"score measures synthesis alone. {_SEEN}"
)


def source_grids(rows: Sequence[SourceRow], audit: Mapping[str, Any] | None = None) -> list[Grid]:
    """Return two tables per condition: AUROC against each source of reals, and the placebos with their verdict."""
    made = []
    of_column = {one.whole.column: one for one in verdicts(rows)}
    for condition in dict.fromkeys(row.condition for row in rows):
        here = [row for row in rows if row.condition == condition]
        trained = ", ".join(dict.fromkeys(row.train_condition for row in here if row.train_condition))
        under = f"under {condition}{f' (trained under {trained})' if trained else ''}"
        under += bracketed(audit_mark(audit, condition) if audit else "")
        lines = _by_column(here)
        names = _names([lines_of[ALL, ""] for lines_of in lines.values()])
        sources, told = (_heads(here, kind) for kind in (SOURCE, HISTORY))
        alone, placebo = [], []
        for column, found in lines.items():
            whole, verdict = found[ALL, ""], of_column[column]
            auroc = _alone(whole)
            alone.append((*names[column], auroc, *(_alone(found.get((SOURCE, one))) for one in sources)))
            placebo.append((
                *names[column], auroc,
                *(_placebo(found.get((kind, one))) for kind, these in ((SOURCE, sources), (HISTORY, told))
                  for one in these),
                _beyond(verdict), verdict_text(verdict),
            ))  # fmt: skip
        about = ("detector", *(("trained on",) if len(next(iter(names.values()))) > 1 else ()))
        if len(sources) > 1:
            made.append(Grid(f"AUROC against each source of reals alone, {under}",
                             (*about, "all reals", *sources.values()), tuple(alone), _ALONE))  # fmt: skip
        columns = (*about, "AUROC of fakes", *(f"{one} against the others" for one in sources), *told, "beyond placebo",
                   "verdict")  # fmt: skip
        made.append(Grid(f"Placebo: reals against reals, {under}", columns, tuple(placebo), _PLACEBO))
    return made


def verdict_grids(rows: Sequence[SourceRow]) -> list[Grid]:
    """Return one narrow table for all conditions, a detector a row: the placebo that comes closest, and the verdict."""
    found: dict[tuple[str, ...], list[Verdict]] = {}
    several = len({row.train for row in rows}) > 1
    for verdict in verdicts(rows):
        found.setdefault(verdict.whole.column[: 2 if several else 1], []).append(verdict)
    if not found:
        return []
    made = []
    for name, here in found.items():
        worst = min(here, key=lambda one: (_SEVERITY.index(one.word), one.furthest.gap if one.furthest else math.inf))
        whole, far = worst.whole, worst.furthest
        placebo = "–" if far is None else f"{_placebo(far)} {far.name}"
        also = [one.whole.condition for one in here if one.word == worst.word and one is not worst]
        words = "; so under ".join((_SHORT[worst.word], *([", ".join(also)] if also else [])))
        made.append((*name, whole.condition, _alone(whole), placebo, words))
    about = ("detector", *(("trained on",) if several else ()))
    # no column "condition": the page would hide a row where another one is chosen, and its verdict is about all of them
    columns = (*about, "gravest under", "AUROC of fakes", "largest placebo", "verdict")
    return [Grid("Placebo: are photographs told from photographs?", columns, tuple(made), _NARROW)]


def verdict_text(verdict: Verdict) -> str:
    """Write the verdict about one column, with the placebo that it rests on."""
    row = verdict.furthest
    if row is None or verdict.word == UNKNOWN:
        return f"{_SHORT[UNKNOWN]}: {_unknown(verdict)}"
    found = f"fakes {verdict.whole.auroc - 0.5:+.2f}, placebo ±{row.distance:.2f} ({row.name})"
    if verdict.word == PLACEBO:
        how = "about as well as it finds fakes" if verdict.whole.low > 0.5 else "and was not shown to find fakes"
        return f"{found}: tells photographs apart {how}: {_SHORT[PLACEBO]}"
    return f"{found}: {_SHORT[verdict.word]}"


def by_source_csv(rows: Iterable[SourceRow]) -> str:
    """Write every line with all its fields as one CSV line, and the verdict's word on those of kind ALL."""
    rows = tuple(rows)
    words = {one.whole.column: one.word for one in verdicts(rows)}
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow((*(field.name for field in fields(SourceRow)), "verdict"))
    for row in rows:
        values = ("" if isinstance(value, float) and math.isnan(value) else value for value in asdict(row).values())
        writer.writerow((*values, words[row.column] if row.kind == ALL else ""))
    return file.getvalue()


_SHORT = {
    PLACEBO: "not shown to measure synthesis",
    NO_FAKES: "not shown to find fakes",
    PARTLY: "tells photographs apart, less than it finds fakes",
    PASSED: "no placebo shown",
    UNKNOWN: "not measured",
}
_SEVERITY = (PLACEBO, NO_FAKES, PARTLY, PASSED, UNKNOWN)


def _unknown(verdict: Verdict) -> str:
    if not math.isfinite(verdict.whole.auroc):
        return "no AUROC of fakes"
    if not math.isfinite(verdict.whole.low):
        return "no interval"
    return f"no two sources of {FEW_GROUPS}+ groups are tested in one trial"


def _by_column(rows: Iterable[SourceRow]) -> dict[Column, dict[tuple[str, str], SourceRow]]:
    found: dict[Column, dict[tuple[str, str], SourceRow]] = {}
    for row in rows:
        found.setdefault(row.column, {})[row.kind, row.name] = row
    return found


def _names(rows: Sequence[SourceRow]) -> dict[Column, tuple[str, ...]]:
    """Return what stands in front of a column's figures: the detector, and what tells it from its namesakes."""
    several = len({row.train for row in rows}) > 1 or len({row.detector for row in rows}) < len(rows)
    return {
        row.column: (row.detector, f"{row.train}, {row.train_condition}".strip(", ")) if several else (row.detector,)
        for row in rows
    }


def _heads(rows: Iterable[SourceRow], kind: str) -> dict[str, str]:
    """Return the sources, or histories, of some lines, each with its column's title: how many reals and groups."""
    most: dict[str, tuple[int, int]] = {}
    for row in rows:
        if row.kind == kind:
            most[row.name] = max(most.get(row.name, (0, 0)), (row.n_real, row.n_groups))
    return {name: f"{name} ({n_real} reals, {n_groups} groups)" for name, (n_real, n_groups) in most.items()}


def _alone(row: SourceRow | None) -> str:
    return "–" if row is None else interval_text(row.auroc, row.low, row.high) + "*" * (row.seen or row.reals_seen)


def _placebo(row: SourceRow | None) -> str:
    return "–" if row is None else interval_text(row.placebo, row.placebo_low, row.placebo_high) + _star(row)


def _star(row: SourceRow) -> str:
    return "*" if row.reals_seen and math.isfinite(row.placebo) else ""


def _beyond(verdict: Verdict) -> str:
    row = verdict.furthest
    return "–" if row is None else signed(row.gap, row.gap_low, row.gap_high)
