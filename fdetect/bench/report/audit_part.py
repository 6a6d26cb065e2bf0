"""The audit on the report page: the verdict below the title, and the section with the probes behind it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from fdetect.bench.report.charts import Dot, dot_plot
from fdetect.bench.report.grid import interval_text, pretty, printable
from fdetect.bench.report.parts import Figure, Section, badge
from fdetect.bench.report.verdict import audit_grids, audit_mark, brief_mark, history_mark, history_text

__all__ = ["audit_section", "marked_conditions"]


def marked_conditions(audit: Mapping[str, Any]) -> dict[str, str]:
    """Return what biases a condition, or which probes could not judge it, for every condition that is so marked."""
    found = {name: audit_mark(audit, name) for name in _audited(audit)}
    return {name: mark for name, mark in found.items() if mark}


def audit_section(audit: dict[str, Any]) -> Section:
    """Return what else tells the classes apart: a sentence and a chart for each condition, and the tables."""
    explained = (
        "Probes that see no pixels, and one that sees a thumbnail, are trained to tell real from generated. Above "
        f"{audit['threshold']:.2f} balanced accuracy they mark the condition: its figures may measure this instead of "
        "traces. With too few images a probe says nothing."
    )
    names = _audited(audit)
    return Section(
        "Audit: what else tells the classes apart", "audit", (explained, *(_sentence(audit, name) for name in names)),
        "Dot and line: AUROC with its interval. Diamond: balanced accuracy.",
        tuple(_figure(audit, name) for name in names), tuple(audit_grids(audit)),
    )  # fmt: skip


def _audited(audit: Mapping[str, Any]) -> list[str]:
    return list(dict.fromkeys(probe["condition"] for probe in audit["probes"]))


def _sentence(audit: Mapping[str, Any], condition: str) -> Markup:
    mark, left = audit_mark(audit, condition), history_mark(audit, condition)
    text = Markup("<strong>{}</strong>: {}").format(printable(condition), badge(mark) if mark else "not marked")
    text += Markup(" ") + badge(left, soft=True) if left else Markup("")
    for h in audit["history"]:
        if h["condition"] == condition:
            line = f"JPEG history AUC {history_text(h)} ({h['images']} images, {h['kind']})"
            text += Markup('<br><span class="soft">{}</span>').format(printable(line))
    return Markup('<span data-condition="{}">{}</span>').format(printable(condition), text)


def _figure(audit: Mapping[str, Any], condition: str) -> Figure:
    dots = [
        Dot(
            p["probe"], p["auroc"], p["low"], p["high"], p["balanced_accuracy"], p["biased"],
            f"{p['probe']}: AUROC {interval_text(p['auroc'], p['low'], p['high'])}, "
            f"balanced accuracy {pretty(p['balanced_accuracy'])}, {p['n_real']} reals, {p['n_fake']} fakes",
        )
        for p in audit["probes"]
        if p["condition"] == condition
    ]  # fmt: skip
    mark = brief_mark(audit_mark(audit, condition))  # its sentence says all of it
    return Figure(condition, dot_plot(dots, label=f"Audit probes under {condition}"), mark, condition)
