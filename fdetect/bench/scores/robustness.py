"""Robustness curves: macro AUROC against the amount of an operation, and the area under it.

Among the conditions of a run, those that differ in the amount of one operation alone make a curve: jpeg95, matched
(which is jpeg90), jpeg70, ...; or matched (no blur), blur0.5, blur1, blur2.  Three amounts are needed.  The area is
that of the trapezoids over the amounts, in the order of severity, divided by their range, so that it is a mean AUROC:

    area = sum over k of |a[k+1] - a[k]| (y[k] + y[k+1]) / 2, divided by |a[n] - a[1]|

A detector that lacks one of the conditions has a gap there, and no area: one over fewer amounts would be of another
range.  What was trained under which conditions is told below the tables; thresholds play no part in an AUROC.  The
interval of an area comes from the same group-bootstrap replicates as those of its points.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from markupsafe import Markup

from fdetect.bench.report.charts import Line, Point, line_chart
from fdetect.bench.report.grid import Grid, interval_text
from fdetect.bench.report.tables import audit_mark, bracketed
from fdetect.bench.scores.chains import LAST, chain_of, is_plain
from fdetect.bench.scores.compare import macro_of, unseen
from fdetect.bench.scores.evaluate import ScoreTable
from fdetect.bootstrap import interval
from fdetect.registry import Entry
from fdetect.wear import Amounts, perturbation

__all__ = ["Course", "Curve", "area_under", "courses", "curve_charts", "curve_grids", "curves_of", "read_curves",
           "trained_names"]  # fmt: skip

LEAST = 3  # amounts of a curve
_DRAWN = 8  # lines of a chart: those with the largest areas
_NOTE = (
    "Macro AUROC with its interval at each amount, the mildest first. Area: trapezoids over the amounts in the order "
    "of severity, divided by their range, so a mean AUROC. A dash: no scores under this condition, or none that make "
    "an AUROC; such a curve has no area."
)


@dataclass(frozen=True)
class Course:
    """The conditions of one curve, the mildest first: an operation's name, its amounts, the conditions' names."""

    operation: str
    amounts: tuple[float, ...]
    conditions: tuple[str, ...]


@dataclass(frozen=True)
class Curve:
    """Macro AUROC of one detector along a course: `values` and their intervals, and the area under them with its own.

    `train` and `train_condition` say what it was trained on, as in `Cell`.  NaN where a value is not defined.
    """

    detector: str
    train: str
    operation: str
    amounts: tuple[float, ...]
    conditions: tuple[str, ...]
    values: tuple[float, ...]
    lows: tuple[float, ...]
    highs: tuple[float, ...]
    area: float
    low: float
    high: float
    train_condition: str = ""


def courses(names: Iterable[str]) -> tuple[Course, ...]:
    """Return the curves that conditions make, by their names; a condition that is no single operation is on none."""
    found: dict[tuple[str, bool], dict[float, str]] = {}
    plain = ""
    for name in dict.fromkeys(names):
        steps = _steps(name)
        if _is_plain(name):
            plain = plain or name
        if len(steps) == 1 or (len(steps) == 2 and steps[1] == LAST):
            operation, amount = steps[0]
            amounts = _amounts(perturbation.get(operation))
            if amounts is not None:
                above = amounts.neutral is not None and amount > amounts.neutral
                found.setdefault((operation, above), {}).setdefault(amount, name)
    made = []
    for (operation, above), at in found.items():
        neutral = _neutral(operation)
        if neutral is not None and plain:
            at.setdefault(neutral, plain)
        order = sorted(at, reverse=not above)
        both = (operation, not above) in found
        title = f"{operation} {'above' if above else 'below'} {neutral:g}" if both else operation
        if len(order) >= LEAST:
            made.append(Course(title, tuple(order), tuple(at[amount] for amount in order)))
    return tuple(made)


def area_under(amounts: Sequence[float], values: np.ndarray) -> np.ndarray:
    """(n,) amounts, (n, ...) values -> (...): the area of the trapezoids over the range of the amounts."""
    widths = np.abs(np.diff(np.asarray(amounts, np.float64)))
    heights = (values[1:] + values[:-1]) / 2
    return np.asarray(np.tensordot(widths, heights, 1) / widths.sum())


def curves_of(
    table: pa.Table, *, replicates: int = 1000, level: float = 0.95, seed: int = 0
) -> tuple[Curve, ...]:
    """Return the curves of every detector, training set and training condition of a score table, in its order.

    The mean is over the generators that the detector was trained on under none of the conditions.  What has scores
    under none of a curve's conditions is on none; a condition that it lacks is NaN, and so is then the area.
    """
    of_run = courses(table.column("condition").unique().to_pylist())
    if not of_run:
        return ()
    scores = ScoreTable.of(table)
    weights = scores.weights(replicates=replicates, seed=seed)
    none = np.zeros(0, np.int64)
    rows_of: dict[tuple[str, str, str], dict[str, np.ndarray]] = {}
    for (detector, train, under, name), rows in zip(scores.names, scores.by_key, strict=True):
        rows_of.setdefault((detector, train, under), {})[name] = rows
    found = []
    for course in of_run:
        for (detector, train, under), here in rows_of.items():
            mine = [here.get(name, none) for name in course.conditions]
            if not any(map(len, mine)):
                continue
            generators = unseen(scores, np.concatenate(mine))
            points = [macro_of(scores, rows, weights, generators) for rows in mine]
            values = np.array([point.value for point in points])
            drawn = np.stack([point.replicates for point in points])
            bounds = [interval(one, level=level) for one in drawn]
            of_area = interval(area_under(course.amounts, drawn), level=level)
            found.append(Curve(
                detector, train, course.operation, course.amounts, course.conditions, tuple(values.tolist()),
                tuple(one.low for one in bounds), tuple(one.high for one in bounds),
                float(area_under(course.amounts, values)), of_area.low, of_area.high, under,
            ))  # fmt: skip
    return tuple(found)


def read_curves(folder: Path) -> tuple[Curve, ...]:
    """Return the curves that stand in the result.json of a finished run."""
    rows: list[dict[str, Any]] = json.loads((folder / "result.json").read_text(encoding="utf-8")).get("curves", [])

    def plain(value: Any) -> Any:
        return tuple(map(plain, value)) if isinstance(value, list) else math.nan if value is None else value

    return tuple(Curve(**{key: plain(value) for key, value in row.items()}) for row in rows)


def curve_grids(curves: Sequence[Curve], audit: Mapping[str, Any] | None = None) -> list[Grid]:
    """Return one table for each operation, a detector a row; what the audit says of its conditions is in the title."""
    made = []
    for operation, here in _by_operation(curves).items():
        names = _names(here)
        rows = tuple(
            (name, *map(interval_text, curve.values, curve.lows, curve.highs),
             interval_text(curve.area, curve.low, curve.high))
            for name, curve in zip(names, here, strict=True)
        )  # fmt: skip
        made.append(Grid(
            f"Robustness to {operation}{_marked(here[0], audit)}", ("detector", *here[0].conditions, "area"), rows
        ))
    return [*made[:-1], *(replace(last, note=f"{_NOTE}{_trained(curves)}") for last in made[-1:])]


def curve_charts(curves: Sequence[Curve], audit: Mapping[str, Any] | None = None) -> list[tuple[str, Markup]]:
    """Return (caption, chart) for each operation: the detectors with the largest areas."""
    made = []
    for operation, here in _by_operation(curves).items():
        named = zip(_names(here), here, strict=True)
        shown = sorted(named, key=lambda one: -one[1].area if math.isfinite(one[1].area) else math.inf)[:_DRAWN]
        lines = [
            Line(name, tuple(map(Point, curve.amounts, curve.values, curve.lows, curve.highs)))
            for name, curve in shown
        ]
        caption = f"Macro AUROC against {operation}, the mildest at the left"
        if len(shown) < len(here):
            caption += f"; the {len(shown)} largest areas of {len(here)}, all in the table"
        made.append((caption + _marked(here[0], audit), line_chart(lines, label=caption)))
    return made


def trained_names(keys: Sequence[tuple[str, str, str]]) -> list[str]:
    """Name (detector, train, train_condition): with what was trained on where one detector has several."""
    several = len({key[:2] for key in keys}) > len({key[0] for key in keys})
    conditions = len(set(keys)) > len({key[:2] for key in keys})
    return [
        detector + (f" ← {train}" if several and train else "")
        + (f" (trained under {under or 'what is not said'})" if conditions else "")
        for detector, train, under in keys
    ]  # fmt: skip


def _marked(curve: Curve, audit: Mapping[str, Any] | None) -> str:
    """Say in brackets what the audit found, with the conditions that it found it in."""
    found: dict[str, list[str]] = {}
    for name in curve.conditions if audit else ():
        found.setdefault(audit_mark(audit or {}, name), []).append(name)
    return bracketed("; ".join(f"{', '.join(names)} {mark}" for mark, names in found.items() if mark))


def _by_operation(curves: Sequence[Curve]) -> Mapping[str, list[Curve]]:
    found: dict[str, list[Curve]] = {}
    for curve in curves:
        found.setdefault(curve.operation, []).append(curve)
    return found


def _names(curves: Sequence[Curve]) -> list[str]:
    return trained_names([(curve.detector, curve.train, curve.train_condition) for curve in curves])


def _trained(curves: Sequence[Curve]) -> str:
    """Say under which conditions the curves' detectors were trained, and which of those are tested here as well.

    Conditions that train together are joined by "+" in a score table, as the operations of one chain are.  Where more
    than `matched` was trained on, nothing is said to be new: a chain may have drawn the very operation.
    """
    labels = [label for label in dict.fromkeys(curve.train_condition for curve in curves) if label]
    tested = dict.fromkeys(name for curve in curves for name in curve.conditions if not _is_plain(name))
    known = [name for name in tested if any(f"+{name}+" in f"+{label}+" for label in labels)]
    if not labels:
        return ""
    trained = f" Trained under {', '.join(labels)}"
    if known:
        return f"{trained}: {', '.join(known)} stood among the training images of some, so no wear that is new to them."
    only_plain = all(map(_is_plain, "+".join(labels).split("+")))
    return f"{trained}{', never under the wear itself' if only_plain else ''}."


def _is_plain(name: str) -> bool:
    return is_plain(chain_of(name))


def _steps(name: str) -> tuple[tuple[str, float], ...]:
    """Return the operations of a condition that is a crop and these alone; none for all others."""
    chain = chain_of(name)
    return () if chain is None or chain.rescaled else chain.steps


def _amounts(entry: Entry) -> Amounts | None:
    """Return the amounts that an operation states; None where their order of severity is not known."""
    found: Amounts | None = entry.meta.get("amounts")
    return found


def _neutral(operation: str) -> float | None:
    amounts = _amounts(perturbation.get(operation))
    return amounts.neutral if amounts else None
