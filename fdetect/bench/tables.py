"""The tables of a result, once: the terminal, Markdown, CSV and the HTML report all show these grids."""

from __future__ import annotations

import csv
import io
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from fdetect.bench.evaluate import SEEN
from fdetect.metrics import metric
from fdetect.types import Cell, MetricValue, RunResult

__all__ = ["Grid", "audit_grids", "cells_csv", "failure_grid", "grids", "interval_text", "markdown", "not_run_grid",
           "pretty", "result_grids", "summary_grids"]  # fmt: skip

OVERALL = ("macro", "worst")


@dataclass(frozen=True)
class Grid:
    """A titled table of text; `note` says how to read it."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""


def grids(result: RunResult) -> list[Grid]:
    """Return all tables of a run, the audit first."""
    return [
        *audit_grids(result.audit),
        *result_grids(result.cells, result.audit["biased_by"]),
        not_run_grid(result),
        failure_grid(result),
    ]


def audit_grids(audit: dict[str, Any]) -> list[Grid]:
    """What the labels can be told from without any trace, and how much JPEG history each condition leaves."""
    limit = audit["threshold"]
    probes = [
        (
            p["condition"],
            p["probe"],
            interval_text(p["auroc"], p["low"], p["high"]),
            pretty(p["balanced_accuracy"]),
            "BIASED" if p["biased"] else "",
        )
        for p in audit["probes"]
    ]
    history = [
        (h["condition"], h["images"], h["kind"], interval_text(h["auroc"], h["low"], h["high"]),
         f"{h['n_without']} / {h['n_with']}")
        for h in audit["history"]
    ]  # fmt: skip
    return [
        Grid(
            "Audit: the label from facts of the file and from a thumbnail",
            ("condition", "probe", "AUROC", "balanced accuracy", ""),
            tuple(probes),
            f"Above {limit:.2f} balanced accuracy a column is biased: its figures may measure this instead of traces.",
        ),
        Grid(
            "Audit: JPEG history left in the pixels",
            ("condition", "images", "told apart", "AUROC", "n without / with"),
            tuple(history),
            "0.5 = no history is left that this probe can read. It never sees the label.",
        ),
    ]


def result_grids(cells: Sequence[Cell], biased_by: dict[str, list[str]] | None = None) -> list[Grid]:
    """Return two tables per condition: AUROC by generator, and what the frozen threshold did, by real source."""
    made = []
    for condition in dict.fromkeys(cell.condition for cell in cells):
        here = [cell for cell in cells if cell.condition == condition]
        trained = ", ".join(dict.fromkeys(cell.train_condition for cell in here))
        names = (biased_by or {}).get(condition, [])
        mark = f"  [biased by {', '.join(names)}]" if names else ""
        made.append(_auroc_grid(here, f"AUROC under {condition} (trained under {trained}){mark}"))
        made.append(_threshold_grid(here, f"At the threshold frozen at 5 % FPR, under {condition}"))
    return made


def summary_grids(cells: Sequence[Cell], biased_by: dict[str, list[str]]) -> list[Grid]:
    """Return one narrow table per condition: what a terminal shows of a run."""
    made = []
    for condition in dict.fromkeys(cell.condition for cell in cells):
        here = [cell for cell in cells if cell.condition == condition]
        rows = []
        for name in dict.fromkeys((c.detector, c.train) for c in here):
            mine = {c.generator: c for c in here if (c.detector, c.train) == name and not c.real_source}
            macro, worst = mine["macro"], mine.get("worst")
            title = " ".join(name) if len({c.train for c in here}) > 1 else name[0]
            worst_text = f"{_short(worst)} {', '.join(worst.flags[:2])}" if worst else "–"
            decided = (_metric(macro, m) for m in ("tpr_frozen_5", "fpr_achieved_5"))
            rows.append((title, _metric(macro, "auroc"), worst_text, *decided))
        marks = ", ".join(biased_by.get(condition, []))
        title = f"{condition}, trained under {here[0].train_condition}" + (f"  [biased by {marks}]" if marks else "")
        columns = ("detector", "macro AUROC", "worst generator", "fakes found at 5 % FPR", "FPR achieved")
        made.append(Grid(title, columns, tuple(rows)))
    return made


def not_run_grid(result: RunResult) -> Grid:
    """Detectors that were asked for and could not run."""
    rows = tuple((row.detector, row.reason, row.fix) for row in result.not_run)
    return Grid("Not run", ("detector", "reason", "what to do"), rows)


def failure_grid(result: RunResult) -> Grid:
    """Images that failed, by stage and reason, with the first path of each."""
    first: dict[tuple[str, str], str] = {}
    seen: Counter[tuple[str, str]] = Counter()
    for failure in dict.fromkeys((f.path, f.stage, f.reason) for f in result.failures):
        first.setdefault(failure[1:], failure[0])
        seen[failure[1:]] += 1
    rows = tuple((str(n), stage, reason, first[stage, reason]) for (stage, reason), n in seen.most_common())
    return Grid("Images that failed", ("images", "stage", "reason", "first"), rows)


def markdown(grids: Iterable[Grid]) -> str:
    """Write grids as GitHub Markdown; empty ones are stated as such."""
    parts = []
    for grid in grids:
        parts.append(f"## {grid.title}\n")
        if not grid.rows:
            parts.append("None.\n")
            continue
        lines = [" | ".join(map(_escape, row)) for row in (grid.columns, *grid.rows)]
        rule = " | ".join("---" for _ in grid.columns)
        parts.append("\n".join(f"| {line} |" for line in (lines[0], rule, *lines[1:])) + "\n")
        if grid.note:
            parts.append(f"{grid.note}\n")
    return "\n".join(parts)


def cells_csv(cells: Iterable[Cell]) -> str:
    """Write every metric of every cell as one CSV line."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(
        ("detector", "train", "train_condition", "condition", "generator", "real_source", "metric", "better", "value",
         "low", "high", "n_real", "n_fake", "n_failed", "n_groups", "flags")
    )  # fmt: skip
    for c in cells:
        for m in c.metrics:
            numbers = ("" if math.isnan(v) else repr(v) for v in (m.value, m.low, m.high))
            writer.writerow(
                (c.detector, c.train, c.train_condition, c.condition, c.generator, c.real_source, m.name,
                 metric.get(m.name).better, *numbers, m.n_real, m.n_fake, m.n_failed, c.n_groups, "; ".join(c.flags))
            )  # fmt: skip
    return file.getvalue()


def pretty(value: float | None) -> str:
    """Write a metric with three digits; a dash where it is not defined."""
    return "–" if value is None or not math.isfinite(value) else f"{value:.3f}"


def interval_text(value: float | None, low: float | None, high: float | None) -> str:
    """Write a metric with its interval, as in "0.678 [0.64, 0.71]"."""
    if low is None or high is None or not (math.isfinite(low) and math.isfinite(high)):
        return pretty(value)
    return f"{pretty(value)} [{low:.2f}, {high:.2f}]"


def _auroc_grid(cells: list[Cell], title: str) -> Grid:
    generators = list(dict.fromkeys(c.generator for c in cells if c.generator and c.generator not in OVERALL))
    trains = {c.train for c in cells}
    rows = []
    for detector, train in dict.fromkeys((c.detector, c.train) for c in cells):
        mine = {c.generator: c for c in cells if (c.detector, c.train) == (detector, train) and not c.real_source}
        worst = mine.get("worst")
        rows.append(
            (
                detector,
                *((train,) if len(trains) > 1 else ()),
                _metric(mine.get("macro"), "auroc"),
                f"{_metric(worst, 'auroc')} {', '.join(worst.flags)}" if worst else "–",
                *(_short(mine.get(g)) for g in generators),
            )
        )
    n = {g: max(c.n_groups for c in cells if c.generator == g) for g in generators}
    columns = ("detector", *(("trained on",) if len(trains) > 1 else ()), "macro", "worst",
               *(f"{g} ({n[g]} groups)" for g in generators))  # fmt: skip
    note = "Pairs are counted within trials; intervals by group bootstrap; * = seen in training; ! = images lost."
    return Grid(title, columns, tuple(rows), note)


def _threshold_grid(cells: list[Cell], title: str) -> Grid:
    sources = list(dict.fromkeys(c.real_source for c in cells if c.real_source))
    rows = []
    for detector, train in dict.fromkeys((c.detector, c.train) for c in cells):
        mine = [c for c in cells if (c.detector, c.train) == (detector, train)]
        macro = next((c for c in mine if c.generator == "macro"), None)
        by_source = {c.real_source: c for c in mine if c.real_source}
        rows.append(
            (
                f"{detector} {train}" if len({c.train for c in cells}) > 1 else detector,
                _metric(macro, "tpr_frozen_5"),
                _metric(macro, "fpr_achieved_5"),
                _metric(macro, "balanced_accuracy"),
                *(_metric(by_source.get(s), "fpr_achieved_5") for s in sources),
            )
        )
    columns = ("detector", "fakes found", "FPR achieved", "balanced accuracy", *(f"FPR on {s}" for s in sources))
    note = "Macro means over generators. The promise is 5 % on reals like the calibration reals; beside it what came."
    return Grid(title, columns, tuple(rows), note)


def _metric(cell: Cell | None, name: str) -> str:
    value = _value(cell, name)
    return interval_text(value.value, value.low, value.high) if value else "–"


def _short(cell: Cell | None) -> str:
    value = _value(cell, "auroc")
    if value is None or cell is None:
        return "–"
    marks = ("*" if SEEN in cell.flags else "") + ("!" if any("lost" in f for f in cell.flags) else "")
    return f"{pretty(value.value)}{marks}"


def _value(cell: Cell | None, name: str) -> MetricValue | None:
    return next((m for m in cell.metrics if m.name == name), None) if cell else None


def _escape(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
