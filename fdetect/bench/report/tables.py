"""The tables of a result, once: the terminal, Markdown, CSV and the HTML report all show these grids."""

from __future__ import annotations

import csv
import io
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from fdetect.bench.report.grid import Grid, interval_text, pretty
from fdetect.bench.scores.evaluate import FEW, FEW_GROUPS, OVERALL, SEEN, lowest_left_out
from fdetect.bench.training.networks import networks_grids, with_weights
from fdetect.metrics import metric
from fdetect.types import Cell, Failure, MetricValue, RunResult

__all__ = ["LOW_END", "audit_grids", "audit_mark", "bracketed", "by_detector", "cells_csv", "failure_grid", "grids",
           "history_text", "low_end", "marks", "not_run_grid", "result_grids", "summary_grids",
           "trained_under", "verdict_line"]  # fmt: skip

LOW_END = (f"worst of {FEW_GROUPS}+ groups", f"lowest below {FEW_GROUPS} groups")  # columns; see `low_end`

TOO_FEW = "too few images"
_MARKS = "* = seen in training; ! = more than 1 % of a class lost."
_WORST = (
    f"Worst: the lowest generator with at least {FEW_GROUPS} groups; those with fewer are too uncertain to be called "
    f"so, and the lowest of them (of all, where none has {FEW_GROUPS}) stands beside it."
)


def grids(result: RunResult, more: Sequence[Grid] = ()) -> list[Grid]:
    """Return all tables of a run, the audit first; `more` of them stand behind the results."""
    return [
        *audit_grids(result.audit),
        *(with_weights(grid, result.header) for grid in result_grids(result.cells, result.audit)),
        *more,
        *networks_grids(result.header),
        not_run_grid(result),
        failure_grid(result.failures),
    ]


def audit_grids(audit: dict[str, Any]) -> list[Grid]:
    """What the labels can be told from without any trace, and how much JPEG history each condition leaves."""
    limit = audit["threshold"]
    probes = []
    for p in audit["probes"]:
        known, n = _finite(p["balanced_accuracy"]), f"({p['n_real']} real, {p['n_fake']} fake)"
        verdict = ("BIASED" if p["biased"] else "") if known else f"{TOO_FEW} {n}"
        auroc = interval_text(p["auroc"], p["low"], p["high"])
        probes.append((p["condition"], p["probe"], auroc, pretty(p["balanced_accuracy"]), verdict))
    history = [
        (h["condition"], h["images"], h["kind"], history_text(h), f"{h['n_without']} / {h['n_with']}")
        for h in audit["history"]
    ]  # fmt: skip
    return [
        Grid(
            "Audit: the label from facts of the file and from a thumbnail",
            ("condition", "probe", "AUROC", "balanced accuracy", "verdict"),
            tuple(probes),
            f"Above {limit:.2f} balanced accuracy a column is biased: its figures may measure this instead of traces. "
            f"Where a probe had {TOO_FEW}, nothing is known.",
        ),
        Grid(
            "Audit: JPEG history left in the pixels",
            ("condition", "images", "told apart", "AUROC", "n without / with"),
            tuple(history),
            "0.5 = no history is left that this probe can read. It never sees the label.",
        ),
    ]


def verdict_line(audit: Mapping[str, Any]) -> str:
    """Say in one sentence what stands on top of every report: which conditions are biased, and which were not judged.

    "Audit: 2 of 3 conditions biased: native by file_bytes, dimensions; jpeg70 by thumbnail. Not marked: matched."
    """
    found = audit["biased_by"]
    if not found:
        return "No condition was audited."
    biased = [f"{name} by {', '.join(probes)}" for name, probes in found.items() if probes]
    open_ = [f"{name} ({', '.join(probes)})" for name, probes in audit["unmeasured"].items() if probes]
    clean = [name for name in found if not found[name] and not audit["unmeasured"].get(name)]
    n = len(found)
    parts = [f"Audit: {len(biased) or 'none'} of {n} condition{'s' if n > 1 else ''} biased"]
    parts[0] += f": {'; '.join(biased)}." if biased else "."
    if clean:
        parts.append(f"Not marked: {', '.join(clean)}.")
    if open_:
        parts.append(f"{TOO_FEW.capitalize()} for {'; '.join(open_)}.")
    return " ".join(parts)


def audit_mark(audit: Mapping[str, Any], condition: str) -> str:
    """Say what stands beside every figure of a condition: what biases it, and which probes had too few images."""
    parts = []
    if names := audit["biased_by"].get(condition):
        parts.append(f"biased by {', '.join(names)}")
    if names := audit["unmeasured"].get(condition):
        measured = any(p["condition"] == condition and p["probe"] not in names for p in audit["probes"])
        parts.append(f"{TOO_FEW} for {', '.join(names)}" if measured else f"not audited: {TOO_FEW}")
    return "; ".join(parts)


def history_text(row: Mapping[str, Any]) -> str:
    """Write the AUC of a JPEG-history probe with its interval, or why there is none."""
    return interval_text(row["auroc"], row["low"], row["high"]) if _finite(row["auroc"]) else TOO_FEW


def result_grids(cells: Sequence[Cell], audit: Mapping[str, Any] | None = None) -> list[Grid]:
    """Return two tables per condition: AUROC by generator, and what the frozen threshold did, by real source."""
    made = []
    for condition in dict.fromkeys(cell.condition for cell in cells):
        here = [cell for cell in cells if cell.condition == condition]
        trained = trained_under(here)
        mark = bracketed(audit_mark(audit, condition) if audit else "")
        under = f" (trained under {trained})" if trained else ""
        made.append(_auroc_grid(here, f"AUROC under {condition}{under}{mark}"))
        made.append(_threshold_grid(here, f"At the threshold frozen at 5 % FPR, under {condition}"))
    return made


def trained_under(cells: Iterable[Cell]) -> str:
    """Name the training conditions of some cells, as some detectors may be trained on more than others."""
    return ", ".join(dict.fromkeys(cell.train_condition for cell in cells if cell.train_condition))


def summary_grids(cells: Sequence[Cell], audit: Mapping[str, Any]) -> list[Grid]:
    """Return one narrow table per condition: what a terminal shows of a run."""
    made = []
    for condition in dict.fromkeys(cell.condition for cell in cells):
        here = [cell for cell in cells if cell.condition == condition]
        several = len({c.train for c in here}) > 1
        rows = [
            (
                " ".join(name) if several else name[0],
                _metric(one.get("macro"), "auroc"),
                *low_end(one),
                *(_metric(one.get("macro"), m) for m in ("tpr_frozen_5", "fpr_achieved_5")),
            )
            for name, one in by_detector(here).items()
        ]
        title = f"{condition}, trained under {trained_under(here)}{bracketed(audit_mark(audit, condition))}"
        columns = ("detector", "macro AUROC", *LOW_END, "fakes found at 5 % FPR",
                   f"FPR achieved ({_n_real(here, 'macro')} reals)")  # fmt: skip
        made.append(Grid(title, columns, tuple(rows)))
    return [*made[:-1], *(replace(last, note=f"{_WORST} {_MARKS}") for last in made[-1:])]


def not_run_grid(result: RunResult) -> Grid:
    """What was asked for and could not run: detectors, generators of the built-in benchmark."""
    rows = tuple((row.detector, row.reason, row.fix) for row in result.not_run)
    return Grid("Not run", ("what", "reason", "what to do"), rows)


def failure_grid(failures: Iterable[Failure]) -> Grid:
    """Images that failed, by stage and reason, with the first path of each."""
    first: dict[tuple[str, str], str] = {}
    seen: Counter[tuple[str, str]] = Counter()
    for failure in dict.fromkeys((f.path, f.stage, f.reason) for f in failures):
        first.setdefault(failure[1:], failure[0])
        seen[failure[1:]] += 1
    rows = tuple((str(n), stage, reason, first[stage, reason]) for (stage, reason), n in seen.most_common())
    return Grid("Images that failed", ("images", "stage", "reason", "first"), rows)


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


def low_end(cells: Mapping[str, Cell]) -> tuple[str, str]:
    """Return the two columns LOW_END of a detector: its worst generator, and the lowest of those with few groups.

    `cells` are those of one detector, training set and condition, by generator.
    """
    worst, small = cells.get("worst"), lowest_left_out(cells.values())
    if worst and FEW in worst.flags[1:]:
        return f"none has {FEW_GROUPS}", _named(worst)
    return _named(worst), _named(small)


def marks(cell: Cell) -> str:
    """Return the marks that stand behind a figure: * for seen in training, ! for images lost."""
    flags = cell.flags[1:] if cell.generator == "worst" else cell.flags  # its first one is the generator's name
    return ("*" if SEEN in flags else "") + ("!" if any(flag.startswith("lost ") for flag in flags) else "")


def _auroc_grid(cells: list[Cell], title: str) -> Grid:
    generators = list(dict.fromkeys(c.generator for c in cells if c.generator and c.generator not in OVERALL))
    several = len({c.train for c in cells}) > 1
    rows = [
        (*(name if several else name[:1]), _metric(one.get("macro"), "auroc"), *low_end(one),
         *(_short(one.get(g)) for g in generators))
        for name, one in by_detector(cells).items()
    ]  # fmt: skip
    n = {g: max(c.n_groups for c in cells if c.generator == g) for g in generators}
    columns = ("detector", *(("trained on",) if several else ()), "macro", *LOW_END,
               *(f"{g} ({n[g]} groups)" for g in generators))  # fmt: skip
    note = f"Pairs are counted within trials; intervals by group bootstrap. {_WORST} {_MARKS}"
    return Grid(title, columns, tuple(rows), note)


def _threshold_grid(cells: list[Cell], title: str) -> Grid:
    sources = list(dict.fromkeys(c.real_source for c in cells if c.real_source))
    several = len({c.train for c in cells}) > 1
    of_source = {(c.detector, c.train, c.real_source): c for c in cells}
    rows = [
        (
            " ".join(name) if several else name[0],
            *(_metric(one.get("macro"), m) for m in ("tpr_frozen_5", "fpr_achieved_5", "balanced_accuracy")),
            *(_metric(of_source.get((*name, s)), "fpr_achieved_5") for s in sources),
        )
        for name, one in by_detector(cells).items()
    ]
    of = {s: [(m.n_real, c.n_groups) for c in cells if c.real_source == s for m in c.metrics] for s in sources}
    n = {s: "{} reals, {} groups".format(*map(max, zip(*counts, strict=True))) for s, counts in of.items()}
    columns = ("detector", "fakes found", f"FPR achieved ({_n_real(cells, 'macro')} reals)", "balanced accuracy",
               *(f"FPR on {s} ({n[s]})" for s in sources))  # fmt: skip
    note = (
        "Macro means over generators. The promise is 5 % on reals like the calibration reals; beside it what came. "
        f"Where none or all were called fake, the interval is the exact binomial one over groups. {_MARKS}"
    )
    return Grid(title, columns, tuple(rows), note)


def by_detector(cells: Iterable[Cell]) -> dict[tuple[str, str], dict[str, Cell]]:
    """Return the cells of one condition by (detector, training set), then by generator."""
    found: dict[tuple[str, str], dict[str, Cell]] = {}
    for cell in cells:
        one = found.setdefault((cell.detector, cell.train), {})
        if not cell.real_source:
            one[cell.generator] = cell
    return found


def _n_real(cells: Iterable[Cell], generator: str) -> int:
    return max((m.n_real for cell in cells if cell.generator == generator for m in cell.metrics), default=0)


def bracketed(mark: str) -> str:
    """Return a mark as it stands behind a title; nothing for no mark."""
    return f"  [{mark}]" if mark else ""


def _finite(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _metric(cell: Cell | None, name: str) -> str:
    value = _value(cell, name)
    if not cell or not value:
        return "–"
    if name in ("tpr_frozen_5", "fpr_achieved_5") and not _finite(value.value) and value.n_real > 0:
        return "not attainable"  # so few calibration reals that no threshold promises 5 %
    return f"{interval_text(value.value, value.low, value.high)}{marks(cell)}"


def _named(cell: Cell | None) -> str:
    if cell is None:
        return "–"
    name = cell.flags[0] if cell.generator == "worst" else cell.generator
    return f"{_metric(cell, 'auroc')} {name} ({cell.n_groups} groups)"


def _short(cell: Cell | None) -> str:
    value = _value(cell, "auroc")
    return f"{pretty(value.value)}{marks(cell)}" if cell and value else "–"


def _value(cell: Cell | None, name: str) -> MetricValue | None:
    return next((m for m in cell.metrics if m.name == name), None) if cell else None
