"""The report of a run: one HTML page that needs no network, no script and no file beside it.

The tables are those of `tables.py`; this page adds the order of reading (what was run, the audit, the results, what
is missing), a mark on every figure of a condition that the audit found biased or could not judge, and the charts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

from fdetect.bench.charts import Dot, HeatCell, colour_scale, dot_plot, heat_map
from fdetect.bench.chosen import BEST_SINGLE, chosen_grids
from fdetect.bench.compare import PairedDifference
from fdetect.bench.differences import difference_grids
from fdetect.bench.evaluate import FEW_GROUPS, OVERALL, SEEN
from fdetect.bench.gains import Gain, gain_grids
from fdetect.bench.grid import Grid, interval_text, pretty
from fdetect.bench.importances import importance_grids
from fdetect.bench.networks import networks_grids, with_weights
from fdetect.bench.robustness import Curve, curve_charts, curve_grids
from fdetect.bench.tables import (
    LOW_END,
    audit_grids,
    audit_mark,
    by_detector,
    failure_grid,
    history_text,
    low_end,
    marks,
    not_run_grid,
    result_grids,
    trained_under,
)
from fdetect.bench.terminal import in_tables_alone
from fdetect.bench.three_way_tables import three_way_grids
from fdetect.types import Cell, RunResult

__all__ = ["render_report"]


@dataclass(frozen=True)
class _Figure:
    """A chart and the sentence above it."""

    caption: str
    chart: Markup


@dataclass(frozen=True)
class _Verdict:
    """What the audit says of one condition, in words: its mark (empty where there is none), and the JPEG history."""

    condition: str
    mark: str
    history: tuple[str, ...]


@dataclass(frozen=True)
class _Section:
    """All results under one condition."""

    condition: str
    trained_under: str
    mark: str
    figures: tuple[_Figure, ...]
    grids: tuple[Grid, ...]


def render_report(
    result: RunResult, gains: Sequence[Gain] = (), differences: Sequence[PairedDifference] = (),
    curves: Sequence[Curve] = (),
) -> str:  # fmt: skip
    """Write a result as one self-contained HTML page: the same bytes for the same result, also read from JSON.

    `gains` are the drop-one gains of the run, `differences` those of its fused detector: each condition's stand below
    its results.  `curves` are those of robustness, which stand below all conditions.

    Every text is escaped, whatever files and detectors are called, and the page forbids browsers to load anything.
    """
    conditions = dict.fromkeys(cell.condition for cell in result.cells)
    audited = dict.fromkeys(probe["condition"] for probe in result.audit["probes"])
    data = result.header.get("data", {})
    not_run, failures = not_run_grid(result), failure_grid(result.failures)
    return _template().render(
        name=data.get("name", ""),
        summary=_summary(result.header),
        description=data.get("description", ""),
        facts=_facts(result.header),
        missing=_missing(not_run, failures),
        limit=result.audit["threshold"],
        verdicts=[_verdict(result.audit, name) for name in audited],
        audit_figures=[_audit_figure(result.audit, name) for name in audited],
        audit_grids=audit_grids(result.audit),
        scale=colour_scale(),
        few=FEW_GROUPS,
        dropped=bool(in_tables_alone(cell.detector for cell in result.cells)),
        sections=[_section(result, gains, differences, name) for name in conditions],
        curves=curve_grids(curves, result.audit),
        curve_figures=[_Figure(*one) for one in curve_charts(curves, result.audit)],
        chosen=chosen_grids(result.header),
        three_way=three_way_grids(result),
        networks=networks_grids(result.header),
        not_run=not_run,
        failures=failures,
        thresholds=_thresholds(result.thresholds),
        settings=_settings({key: value for key, value in result.header.items() if key not in _SHOWN_ELSEWHERE}),
    )


_SHOWN_ELSEWHERE = (  # of the header, in tables of their own
    "data", "networks", "trunk", "three_way", BEST_SINGLE, "importance",
)  # fmt: skip


@cache
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("fdetect.bench"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True, keep_trailing_newline=True,
    )  # fmt: skip
    return environment.get_template("report.html.j2")


def _summary(header: Mapping[str, Any]) -> str:
    """Say in one sentence what was run."""
    data, config = header.get("data", {}), header.get("config", {})
    protocol, conditions = config.get("protocol", {}), config.get("conditions", {})
    names, crop, seed = conditions.get("names", ()), conditions.get("crop", 0), header.get("seed", 0)
    trained = f" on {', '.join(protocol['train'])}" if protocol.get("train") else ""
    return (
        f"{data.get('n_real', 0):,} real images against {data.get('n_fake', 0):,} generated ones of "
        f"{_count(len(data.get('generators', {})), 'generator')}, in {_count(data.get('n_groups', 0), 'group')} that "
        f"are never split; protocol {protocol.get('name', '')}{trained} ({_count(header.get('trials', 0), 'trial')}) "
        f"under {', '.join(names)} at {crop} px, seed {seed}."
    )


def _facts(header: Mapping[str, Any]) -> list[tuple[str, str]]:
    data = header.get("data", {})
    facts = [
        ("Generators", _counted(data.get("generators", {}))),
        ("Real sources", _counted(data.get("real_sources", {}))),
        ("Read as", " – ".join(filter(None, (data.get("layout", ""), data.get("detected", ""))))),
        ("Fingerprint", header.get("fingerprint", "")),
    ]
    if doubles := data.get("n_same_content", 0):
        facts.insert(2, ("Same content", f"{_count(doubles, 'file')} with the content of another file"))
    return [(term, text) for term, text in facts if text]


def _missing(not_run: Grid, failures: Grid) -> str:
    """Say what the results lack, for the top of the page; empty where nothing is missing."""
    failed = sum(int(row[0]) for row in failures.rows)
    names = ", ".join(row[0] for row in not_run.rows)
    parts = [f"not run: {names}"] if names else []
    parts += [f"{_count(failed, 'image')} failed"] if failed else []
    return "; ".join(parts)


def _verdict(audit: Mapping[str, Any], condition: str) -> _Verdict:
    history = [
        f"{history_text(h)} ({h['images']} images, {h['kind']})"
        for h in audit["history"]
        if h["condition"] == condition
    ]
    return _Verdict(condition, audit_mark(audit, condition), tuple(history))


def _audit_figure(audit: Mapping[str, Any], condition: str) -> _Figure:
    dots = [
        Dot(
            p["probe"], p["auroc"], p["low"], p["high"], p["balanced_accuracy"], p["biased"],
            f"{p['probe']}: AUROC {interval_text(p['auroc'], p['low'], p['high'])}, "
            f"balanced accuracy {pretty(p['balanced_accuracy'])}, {p['n_real']} reals, {p['n_fake']} fakes",
        )
        for p in audit["probes"]
        if p["condition"] == condition
    ]  # fmt: skip
    return _Figure(condition, dot_plot(dots, label=f"Audit probes under {condition}"))


def _section(
    result: RunResult, gains: Sequence[Gain], differences: Sequence[PairedDifference], condition: str
) -> _Section:
    cells = [cell for cell in result.cells if cell.condition == condition]
    dropped = in_tables_alone(cell.detector for cell in cells)  # tables of differences say more of them
    drawn = [cell for cell in cells if cell.detector not in dropped]
    figures = (*_heat_maps(drawn), _forest(drawn, condition))
    results = [with_weights(grid, result.header) for grid in result_grids(cells)]
    importance = [row for row in result.header.get("importance", []) if row["condition"] == condition]
    tables = (*results, *gain_grids([gain for gain in gains if gain.condition == condition]),
              *difference_grids([one for one in differences if one.condition == condition]),
              *importance_grids(importance))  # fmt: skip
    return _Section(condition, trained_under(cells), audit_mark(result.audit, condition), figures, tables)


def _heat_maps(cells: Sequence[Cell]) -> list[_Figure]:
    """One map of all detectors with a single training set, and one for each that has several, row by training set."""
    trains: dict[str, dict[str, None]] = {}
    for cell in cells:
        trains.setdefault(cell.detector, {})[cell.train] = None
    single = [(detector, detector, next(iter(names))) for detector, names in trains.items() if len(names) == 1]
    figures = [_heat_map("AUROC: detector by test generator", cells, single)] if single else []
    for detector, names in trains.items():
        if len(names) > 1:
            rows = [(train or "untrained", detector, train) for train in names]
            figures.append(_heat_map(f"AUROC of {detector}: training set by test generator", cells, rows))
    return figures


def _heat_map(caption: str, cells: Sequence[Cell], rows: Sequence[tuple[str, str, str]]) -> _Figure:
    names = dict.fromkeys(cell.generator for cell in cells if cell.generator and cell.generator not in OVERALL)
    columns = ("macro", *names)
    found = {(c.detector, c.train, c.generator): c for c in cells if not c.real_source}
    matrix = [[_heat_cell(found.get((detector, train, column))) for column in columns] for _, detector, train in rows]
    return _Figure(caption, heat_map([row[0] for row in rows], columns, matrix, apart=1, label=caption))


def _heat_cell(cell: Cell | None) -> HeatCell | None:
    if cell is None:
        return None
    auroc = cell.metric("auroc")
    few = cell.n_groups < FEW_GROUPS
    title = (
        f"{cell.detector}{f' trained on {cell.train}' if cell.train else ''}, tested on {cell.generator}: AUROC "
        f"{interval_text(auroc.value, auroc.low, auroc.high)}; {_count(cell.n_groups, 'group')}, {auroc.n_fake} fakes, "
        f"{auroc.n_real} reals, {auroc.n_failed} failed"
    )
    behind = marks(cell) + ("°" if few else "")
    return HeatCell(auroc.value, behind, SEEN in cell.flags, "; ".join((title, *cell.flags)))


def _forest(cells: Sequence[Cell], condition: str) -> _Figure:
    several = len({cell.train for cell in cells}) > 1
    dots = []
    for (detector, train), one in by_detector(cells).items():
        macro, worst = (one.get(name) for name in OVERALL)
        if macro is None:
            continue
        mean, least = macro.metric("auroc"), worst.metric("auroc").value if worst else None
        label = (f"{detector} ← {train}" if several and train else detector) + marks(macro)
        low = "; ".join(f"{name} {text}" for name, text in zip(LOW_END, low_end(one), strict=True))
        title = f"{label}: macro AUROC {interval_text(mean.value, mean.low, mean.high)}; {low}"
        dots.append(Dot(label, mean.value, mean.low, mean.high, least, title=title))
    return _Figure(
        f"Macro AUROC with its interval; diamond: the {LOW_END[0]} (of all, where none has as many). Smaller "
        "generators may be lower: see the table.",
        dot_plot(dots, label=f"Macro AUROC of every detector under {condition}"),
    )


def _thresholds(rows: Sequence[Mapping[str, Any]]) -> Grid:
    names = ("detector", "train_condition", "trial")
    levels = ("threshold", "threshold_1")
    body: list[tuple[str, ...]] = []
    for row in rows:
        nothing = f"not attainable ({row.get('n_calibration', 0)})"  # a level needs at least 1 / FPR - 1 reals
        body.append((*(_plain(row.get(key), "") for key in names), *(_plain(row.get(key), nothing) for key in levels)))
    columns = (*names, "5 % FPR", "1 % FPR")
    return Grid("Frozen thresholds", columns, tuple(body), "Split-conformal, on the calibration reals of each trial.")


def _settings(header: Mapping[str, Any]) -> Grid:
    return Grid("Settings and versions", ("setting", "value"), tuple(sorted(_flat("", header))))


def _flat(prefix: str, value: Any) -> Iterable[tuple[str, str]]:
    """Write nested settings as lines "table.key", value."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _flat(f"{prefix}.{key}" if prefix else str(key), item)
    elif isinstance(value, list | tuple) and any(isinstance(item, Mapping) for item in value):
        for k, item in enumerate(value):
            yield from _flat(f"{prefix}.{k}", item)
    else:
        yield prefix, _plain(value, "")


def _plain(value: Any, nothing: str) -> str:
    if value is None:
        return nothing
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list | tuple):
        return ", ".join(_plain(item, nothing) for item in value)
    return str(value)


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name or 'unnamed'} ({count:,})" for name, count in counts.items())


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
