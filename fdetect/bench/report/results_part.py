"""The results on the report page: what is highest at a glance, and every condition with its charts and tables."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from fdetect.bench.report.audit_part import marked_conditions
from fdetect.bench.report.charts import Dot, HeatCell, colour_scale, dot_plot, heat_map
from fdetect.bench.report.grid import Grid, interval_text
from fdetect.bench.report.parts import Figure, Section
from fdetect.bench.report.tables import (
    LOW_END,
    above_promise,
    by_detector,
    low_end,
    marks,
    result_grids,
    several_trained,
    trained_under,
)
from fdetect.bench.report.terminal import in_tables_alone
from fdetect.bench.report.verdict import TOO_FEW, audit_mark, history_mark
from fdetect.bench.scores.compare import PairedDifference
from fdetect.bench.scores.differences import difference_grids
from fdetect.bench.scores.evaluate import FEW_GROUPS, OVERALL, SEEN
from fdetect.bench.scores.gains import Gain, gain_grids
from fdetect.bench.training.importances import importance_grids
from fdetect.bench.training.networks import with_weights
from fdetect.types import Cell, RunResult

__all__ = ["condition_sections", "glance_section", "results_section"]

_HIGHEST = (
    "The detector with the highest macro AUROC of each condition. It is the highest on these very images: with many "
    "detectors some of that is chance, and what a new set gives is lower. Biased conditions stand last. ↑: all of the "
    "interval lies above the promised 5 %."
)
_SCALE = (
    "Blue: above chance. Orange with ▼: below chance, the detector ranks the wrong way round. Hatched with a dash: not "
    "measured. Outlined with *: seen in training, left out of the macro mean; a macro mean with * is over seen "
    f"generators, as there is no other. °: fewer than {FEW_GROUPS} groups, so a wide interval, and never the worst "
    f"where another has {FEW_GROUPS}. !: more than 1 % of a class was lost. n: groups of a generator."
)
_DROPPED = (
    " Heads on all columns but one family's, and fused detectors without a branch, stand in the tables alone, not in "
    "the charts."
)


def glance_section(result: RunResult) -> Section:
    """Return the map of macro AUROC, detector by condition, and the highest detector of each condition."""
    cells, conditions = _drawn(result.cells), _conditions(result)
    if not cells:
        return Section("Results at a glance", "glance")
    several = several_trained(cells)
    macro = {name: {key: one.get("macro") for key, one in by_detector(c for c in cells if c.condition == name).items()}
             for name in conditions}  # fmt: skip
    rows = list(dict.fromkeys(key for here in macro.values() for key in here))
    matrix = [[_heat_cell(macro[name].get(row), several, few=False) for name in conditions] for row in rows]
    caption = "Macro AUROC: detector by condition"
    mark = "; ".join(f"{name}: {why}" for name, why in marked_conditions(result.audit).items())
    drawn = heat_map([_name(*row, several) for row in rows], conditions, matrix, label=caption)
    return Section("Results at a glance", "glance", figures=(Figure(caption, drawn, mark),),
                   grids=(_highest(result, cells, several),))  # fmt: skip


def results_section(result: RunResult, parts: tuple[Section, ...]) -> Section:
    """Return the section that holds those of all conditions, and says how to read colours and marks of the maps."""
    dropped = _DROPPED if in_tables_alone(cell.detector for cell in result.cells) else ""
    return Section("Results by condition", "results", note=_SCALE + dropped, parts=parts,
                   figures=(Figure("Colours of the maps", colour_scale()),))  # fmt: skip


def condition_sections(
    result: RunResult, gains: Sequence[Gain], differences: Sequence[PairedDifference]
) -> tuple[Section, ...]:
    """Return one section per condition: maps by generator, macro means with intervals, tables, gains, differences."""
    made = []
    for k, condition in enumerate(_conditions(result), 1):
        cells = [cell for cell in result.cells if cell.condition == condition]
        drawn = _drawn(cells)
        importance = [row for row in result.header.get("importance", []) if row["condition"] == condition]
        tables = (
            *(with_weights(grid, result.header) for grid in result_grids(cells)),
            *gain_grids([gain for gain in gains if gain.condition == condition]),
            *difference_grids([one for one in differences if one.condition == condition]),
            *importance_grids(importance),
        )
        under = trained_under(cells)
        made.append(Section(
            f"{condition}, {under}" if under else condition, f"condition-{k}",
            figures=(*_heat_maps(drawn), _forest(drawn, condition)), grids=tables,
            mark=audit_mark(result.audit, condition), condition=condition,
        ))  # fmt: skip
    return tuple(made)


def _conditions(result: RunResult) -> list[str]:
    return list(dict.fromkeys(cell.condition for cell in result.cells))


def _drawn(cells: Iterable[Cell]) -> list[Cell]:
    """Leave out those that lack a family or a branch of another: tables of differences say more of them."""
    cells = list(cells)
    dropped = in_tables_alone(cell.detector for cell in cells)
    return [cell for cell in cells if cell.detector not in dropped]


def _name(detector: str, train: str, several: bool) -> str:
    return f"{detector} ← {train}" if several and train else detector


def _highest(result: RunResult, cells: Sequence[Cell], several: bool) -> Grid:
    rows = []
    biased = result.audit["biased_by"]
    for condition in sorted(_conditions(result), key=lambda name: bool(biased.get(name))):  # the biased ones last
        here = by_detector(cell for cell in cells if cell.condition == condition)
        known = {key: one["macro"].metric("auroc") for key, one in here.items() if "macro" in one}
        known = {key: auroc for key, auroc in known.items() if math.isfinite(auroc.value)}
        audited = _verdict(result, condition)
        if not known:
            rows.append((condition, audited, *"–––––"))
            continue
        best = max(known, key=lambda key: known[key].value)
        auroc, one = known[best], here[best]
        lowest = next(text for text in low_end(one) if not text.startswith("none has"))
        rates = [next((m for m in one["macro"].metrics if m.name == name), None)
                 for name in ("tpr_frozen_5", "fpr_achieved_5")]  # fmt: skip
        found, false = (f"{interval_text(m.value, m.low, m.high)}{above_promise(m)}" if m else "–" for m in rates)
        rows.append((condition, audited, _name(*best, several) + marks(one["macro"]),
                     interval_text(auroc.value, auroc.low, auroc.high), lowest, found, false))  # fmt: skip
    columns = ("condition", "audit", f"highest of {len({(c.detector, c.train) for c in cells})}", "macro AUROC",
               "worst generator", "fakes found at the frozen threshold", "FPR achieved")  # fmt: skip
    return Grid("Highest by condition", columns, tuple(rows), _HIGHEST)


def _verdict(result: RunResult, condition: str) -> str:
    if result.audit["biased_by"].get(condition):
        return "BIASED"
    said = TOO_FEW if audit_mark(result.audit, condition) else "not marked"
    return "; ".join(filter(None, (said, history_mark(result.audit, condition))))


def _heat_maps(cells: Sequence[Cell]) -> list[Figure]:
    """One map of all detectors with a single training set, and one for each that has several, row by training set."""
    trains: dict[str, dict[str, None]] = {}
    for detector, train in by_detector(cells):
        trains.setdefault(detector, {})[train] = None
    single = [(detector, detector, next(iter(names))) for detector, names in trains.items() if len(names) == 1]
    figures = [_heat_map("AUROC: detector by test generator", cells, single)] if single else []
    for detector, names in trains.items():
        if len(names) > 1:
            rows = [(train or "untrained", detector, train) for train in names]
            figures.append(_heat_map(f"AUROC of {detector}: training set by test generator", cells, rows))
    return figures


def _heat_map(caption: str, cells: Sequence[Cell], rows: Sequence[tuple[str, str, str]]) -> Figure:
    names = dict.fromkeys(cell.generator for cell in cells if cell.generator and cell.generator not in OVERALL)
    columns = ("macro", *names)
    found = by_detector(cells)
    several = several_trained(cells)
    matrix = [[_heat_cell(found[detector, train].get(column), several) for column in columns]
              for _, detector, train in rows]  # fmt: skip
    return Figure(caption, heat_map([row[0] for row in rows], columns, matrix, apart=1, label=caption))


def _heat_cell(cell: Cell | None, several: bool, *, few: bool = True) -> HeatCell | None:
    if cell is None:
        return None
    auroc = cell.metric("auroc")
    groups = f"{cell.n_groups:,} group{'' if cell.n_groups == 1 else 's'}"
    title = (
        f"{cell.detector}{f' trained on {cell.train}' if several and cell.train else ''}, {cell.generator}: AUROC "
        f"{interval_text(auroc.value, auroc.low, auroc.high)}; {groups}, {auroc.n_fake} fakes, "
        f"{auroc.n_real} reals, {auroc.n_failed} failed"
    )
    behind = marks(cell) + ("°" if few and cell.n_groups < FEW_GROUPS else "")
    return HeatCell(auroc.value, behind, SEEN in cell.flags, "; ".join((title, *cell.flags)))


def _forest(cells: Sequence[Cell], condition: str) -> Figure:
    several = several_trained(cells)
    dots = []
    for (detector, train), one in by_detector(cells).items():
        macro, worst = (one.get(name) for name in OVERALL)
        if macro is None:
            continue
        mean, least = macro.metric("auroc"), worst.metric("auroc").value if worst else None
        label = _name(detector, train, several) + marks(macro)
        low = "; ".join(f"{name} {text}" for name, text in zip(LOW_END, low_end(one), strict=True))
        title = f"{label}: macro AUROC {interval_text(mean.value, mean.low, mean.high)}; {low}"
        dots.append(Dot(label, mean.value, mean.low, mean.high, least, title=title))
    return Figure(
        f"Macro AUROC with its interval; diamond: the {LOW_END[0]} (of all, where none has as many). Smaller "
        "generators may be lower: see the table.",
        dot_plot(dots, label=f"Macro AUROC of every detector under {condition}"),
    )
