"""The tables of a result, once: the terminal, Markdown, CSV and the HTML report all show these grids."""

from __future__ import annotations

import csv
import io
import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from fdetect.bench.report.grid import Grid, interval_text, pretty
from fdetect.bench.report.svg import defined
from fdetect.bench.report.verdict import audit_grids, audit_mark, bracketed, history_text, verdict_line
from fdetect.bench.scores.evaluate import FEW, FEW_GROUPS, OVERALL, SEEN, lowest_left_out
from fdetect.bench.training.networks import networks_grids, with_weights
from fdetect.metrics import metric
from fdetect.types import Cell, Failure, MetricValue, RunResult

__all__ = ["LOW_END", "above_promise", "audit_grids", "audit_mark", "bracketed", "by_detector", "cells_csv",
           "failure_grid", "grids", "history_text", "low_end", "marks", "not_run_grid", "result_grids",
           "several_trained", "summary_grids", "trained_under", "verdict_line"]  # fmt: skip

LOW_END = (f"worst of {FEW_GROUPS}+ groups", f"lowest below {FEW_GROUPS} groups")  # columns; see `low_end`

_PROMISED = 0.05  # of reals called generated, by thresholds
_MARKS = (
    "* = seen in training; ! = more than 1 % of a class lost; ↑ = FPR achieved above the promised 5 %: all of its "
    "interval is."
)
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


def result_grids(
    cells: Sequence[Cell], audit: Mapping[str, Any] | None = None, *,
    unstated: Collection[tuple[str, str, str, str]] = (),
) -> list[Grid]:  # fmt: skip
    """Return two tables per condition: AUROC by generator, and what the frozen threshold did, by real source.

    Where a cell has scores and no decision, its threshold was not attainable: so few calibration reals that none
    promises 5 %.  `unstated` names the (detector, train, train_condition, condition) of which that is not known.
    """
    made = []
    for condition in dict.fromkeys(cell.condition for cell in cells):
        here = [cell for cell in cells if cell.condition == condition]
        trained = trained_under(here)
        mark = bracketed(audit_mark(audit, condition) if audit else "")
        under = f" ({trained})" if trained else ""
        made.append(_auroc_grid(here, f"AUROC under {condition}{under}{mark}"))
        made.append(_threshold_grid(here, f"At the threshold frozen at 5 % FPR, under {condition}", unstated))
    return made


def trained_under(cells: Iterable[Cell]) -> str:
    """Say under which conditions thresholds were set and detectors trained, if they were; "" where it is not known.

    Some may be trained on more than others, "matched+jpeg70"; their thresholds are then of one of those alone.
    """
    names = list(dict.fromkeys(cell.train_condition for cell in cells if cell.train_condition))
    if not names:
        return ""
    alone = not any("+" in name for name in names)  # not all detectors are trained, and all have thresholds
    return f"{'thresholds and any training' if alone else 'trained'} under {', '.join(names)}"


def summary_grids(cells: Sequence[Cell], audit: Mapping[str, Any]) -> list[Grid]:
    """Return one narrow table per condition: what a terminal shows of a run."""
    made = []
    for condition in dict.fromkeys(cell.condition for cell in cells):
        here = [cell for cell in cells if cell.condition == condition]
        several = several_trained(here)
        rows = [
            (
                " ".join(name) if several else name[0],
                _metric(one.get("macro"), "auroc"),
                *low_end(one),
                *(_metric(one.get("macro"), m) for m in ("tpr_frozen_5", "fpr_achieved_5")),
            )
            for name, one in by_detector(here).items()
        ]
        about = ", ".join(filter(None, (condition, trained_under(here))))
        title = f"{about}{bracketed(audit_mark(audit, condition))}"
        columns = ("detector", "macro AUROC", *LOW_END, "fakes found at the frozen threshold",
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
    several = several_trained(cells)
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


def _threshold_grid(cells: list[Cell], title: str, unstated: Collection[tuple[str, str, str, str]]) -> Grid:
    sources = list(dict.fromkeys(c.real_source for c in cells if c.real_source))
    several, called = several_trained(cells), _called(cells)
    of_source = {(*called[c.detector, c.train, c.train_condition], c.real_source): c for c in cells}
    rows = [
        (
            " ".join(name) if several else name[0],
            *(_metric(one.get("macro"), m, unstated) for m in ("tpr_frozen_5", "fpr_achieved_5", "balanced_accuracy")),
            *(_metric(of_source.get((*name, s)), "fpr_achieved_5", unstated) for s in sources),
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
    """Return the cells of one condition by (detector, training set), then by generator.

    Of a detector that was fitted under several conditions on one training set, they stand behind the set's name.
    """
    cells = tuple(cells)
    called = _called(cells)
    found: dict[tuple[str, str], dict[str, Cell]] = {}
    for cell in cells:
        one = found.setdefault(called[cell.detector, cell.train, cell.train_condition], {})
        if not cell.real_source:
            one[cell.generator] = cell
    return found


def several_trained(cells: Iterable[Cell]) -> bool:
    """Whether what was trained on must be said beside a detector: there is more than one of it under one condition."""
    of_condition: dict[str, list[Cell]] = {}
    for cell in cells:
        of_condition.setdefault(cell.condition, []).append(cell)
    return any(len({train for _, train in _called(here).values()}) > 1 for here in of_condition.values())


def _called(cells: Iterable[Cell]) -> dict[tuple[str, str, str], tuple[str, str]]:
    """Return (detector, train, train_condition) -> (detector, what it was trained on), of one condition's cells."""
    keys = tuple(dict.fromkeys((cell.detector, cell.train, cell.train_condition) for cell in cells))
    fits = Counter(key[:2] for key in keys)
    return {
        (detector, train, under): (detector, f"{train}, {under}".strip(", ") if fits[detector, train] > 1 else train)
        for detector, train, under in keys
    }


def _n_real(cells: Iterable[Cell], generator: str) -> int:
    return max((m.n_real for cell in cells if cell.generator == generator for m in cell.metrics), default=0)


def _metric(cell: Cell | None, name: str, unstated: Collection[tuple[str, str, str, str]] = ()) -> str:
    value = _value(cell, name)
    if not cell or not value:
        return "–"
    if name in ("tpr_frozen_5", "fpr_achieved_5") and not defined(value.value) and _has_scores(cell):
        column = (cell.detector, cell.train, cell.train_condition, cell.condition)
        return "no threshold" if column in unstated else "not attainable"
    return f"{interval_text(value.value, value.low, value.high)}{marks(cell)}{above_promise(value)}"


def above_promise(value: MetricValue) -> str:
    """Return the mark of a rate of reals called generated whose interval lies above the promised 5 %."""
    return "↑" if value.name == "fpr_achieved_5" and value.low > _PROMISED else ""  # NaN is not


def _has_scores(cell: Cell) -> bool:
    """Whether a rate without a value is for want of a threshold: an AUROC needs the same images, and none."""
    auroc = _value(cell, "auroc")
    return defined(auroc.value) if auroc else any(m.n_real for m in cell.metrics)


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
