"""The report of a run: one HTML page that needs no network, no script and no file beside it.

Here is the order of reading: the verdict of the audit, what was run, the results at a glance, the audit, the results
with a mark on every figure of a condition that the audit found biased or could not judge, what is missing, and what
the figures rest on.  The parts are made in `report_*.py`, the tables are those that every other output shows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fdetect.bench.report.audit_part import audit_section, marked_conditions
from fdetect.bench.report.grid import Grid
from fdetect.bench.report.page import render_page
from fdetect.bench.report.paragraph import protocol_paragraph
from fdetect.bench.report.parts import Figure, Section
from fdetect.bench.report.provenance_part import count, counted, provenance_section, settings_section
from fdetect.bench.report.results_part import condition_sections, glance_section, results_section
from fdetect.bench.report.size import fitting
from fdetect.bench.report.tables import failure_grid, not_run_grid
from fdetect.bench.report.verdict import histories_left, verdict_line
from fdetect.bench.scores.compare import PairedDifference
from fdetect.bench.scores.gains import Gain
from fdetect.bench.scores.robustness import Curve, curve_charts, curve_grids
from fdetect.bench.training.chosen import chosen_grids
from fdetect.bench.training.three_way_tables import three_way_grids
from fdetect.types import Failure, RunResult

__all__ = ["render_report"]


def render_report(
    result: RunResult, gains: Sequence[Gain] = (), differences: Sequence[PairedDifference] = (),
    curves: Sequence[Curve] = (), sections: Sequence[Section] = (),
) -> str:  # fmt: skip
    """Write a result as one self-contained HTML page: the same bytes for the same result, also read from JSON.

    `gains` are the drop-one gains of the run, `differences` those of its fused detector: each condition's stand below
    its results.  `curves` are those of robustness, which stand below all conditions.  `sections` are those that need
    more than the result (see `scores_part.py`); they stand between the results and what is missing.

    Under many conditions parts that stand in other files too make room, so that it can be sent (`size.py`).
    Every text is escaped, whatever files and detectors are called, and the page forbids browsers to load anything.
    """
    not_run, failures = not_run_grid(result), failure_grid(result.failures)
    robustness = Section("Robustness: what is left as wear grows", "robustness",
                         figures=tuple(Figure(*one) for one in curve_charts(curves, result.audit)),
                         grids=tuple(curve_grids(curves, result.audit)))  # fmt: skip
    conditions = condition_sections(result, gains, differences)
    three_way = Section("Pristine, laundered or synthetic", "three-way", grids=tuple(three_way_grids(result)))
    chosen = Section("Heads chosen on training images", "chosen", grids=tuple(chosen_grids(result.header)))
    page = (
        glance_section(result),
        audit_section(result.audit),
        results_section(result, (*conditions, robustness, three_way, chosen)),
        *sections,
        Section("What is missing", "missing", grids=(not_run, failures), words=True),
        Section("Protocol, in a paragraph for a paper", "protocol", (protocol_paragraph(result),)),
        provenance_section(result.header),
        settings_section(result),
    )
    data = result.header.get("data", {})
    about = {
        "name": data.get("name", ""),
        "description": data.get("description", ""),
        "verdict": verdict_line(result.audit),
        "marked": bool(marked_conditions(result.audit) or not result.audit["biased_by"]),
        "hint": bool(histories_left(result.audit)),
        "summary": _summary(result.header),
        "facts": _facts(result.header),
        "missing": _missing(not_run, result.failures),
    }

    def render(page: Sequence[Section]) -> str:
        shown = [section for section in page if not section.empty]
        return render_page("report.html.j2", **about, sections=shown)

    return fitting(page, render)


def _summary(header: Mapping[str, Any]) -> str:
    """Say in one sentence what was run."""
    data, config = header.get("data", {}), header.get("config", {})
    protocol, conditions = config.get("protocol", {}), config.get("conditions", {})
    names, crop, seed = conditions.get("names", ()), conditions.get("crop", 0), header.get("seed", 0)
    trained = f" on {', '.join(protocol['train'])}" if protocol.get("train") else ""
    return (
        f"{data.get('n_real', 0):,} real images against {data.get('n_fake', 0):,} generated ones of "
        f"{count(len(data.get('generators', {})), 'generator')}, in {count(data.get('n_groups', 0), 'group')} that "
        f"are never split; protocol {protocol.get('name', '')}{trained} ({count(header.get('trials', 0), 'trial')}) "
        f"under {', '.join(names)} at {crop} px, seed {seed}."
    )


def _facts(header: Mapping[str, Any]) -> list[tuple[str, str]]:
    data = header.get("data", {})
    facts = [
        ("Generators", counted(data.get("generators", {}))),
        ("Real sources", counted(data.get("real_sources", {}))),
    ]
    return [(term, text) for term, text in facts if text]


def _missing(not_run: Grid, failures: Sequence[Failure]) -> str:
    """Say what the results lack, for the top of the page; empty where nothing is missing."""
    failed = len({failure.path for failure in failures})  # an image may have failed at several stages
    names = ", ".join(row[0] for row in not_run.rows)
    parts = [f"not run: {names}"] if names else []
    parts += [f"{count(failed, 'image')} failed"] if failed else []
    return "; ".join(parts)
