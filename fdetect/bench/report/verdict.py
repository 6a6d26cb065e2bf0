"""What the audit says of a condition: its tables, the sentence on top of every output, and the marks of figures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from fdetect.bench.report.grid import Grid, interval_text, pretty
from fdetect.bench.report.svg import defined

__all__ = ["TOO_FEW", "audit_grids", "audit_mark", "bracketed", "brief_mark", "histories_in_words", "histories_left",
           "history_left", "history_mark", "history_text", "looked_at", "verdict_line"]  # fmt: skip

TOO_FEW = "too few images"
CHANCE = 0.5
SEVERAL = 6  # conditions that the sentence on top names one by one
_LEFT = "JPEG history left"


def audit_grids(audit: dict[str, Any]) -> list[Grid]:
    """What the labels can be told from without any trace, and how much JPEG history each condition leaves."""
    limit = audit["threshold"]
    probes = []
    for p in audit["probes"]:
        known, n = defined(p["balanced_accuracy"]), f"({p['n_real']} real, {p['n_fake']} fake)"
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
            f"Where a probe had {TOO_FEW}, nothing is known.{_behind(looked_at(audit))}",
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

    "Audit: 2 of 3 conditions biased: native by file_bytes, dimensions; jpeg70 by thumbnail. Not marked: matched. JPEG
    history left: matched 0.719 [0.61, 0.81]."  The last is said of conditions that are not biased: see `history_left`.
    More than SEVERAL that are not biased are counted, and of their histories the one farthest from chance is said.
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
        parts.append(f"Not marked: {', '.join(clean) if len(clean) <= SEVERAL else f'{len(clean)} conditions'}.")
    if open_:
        parts.append(f"{TOO_FEW.capitalize()} for {'; '.join(open_)}.")
    if left := histories_in_words(audit, [name for name in found if not found[name]]):
        parts.append(f"{_LEFT}{left}.")
    return " ".join(parts) + _behind(looked_at(audit))


def looked_at(audit: Mapping[str, Any]) -> str:
    """Say how many images were looked at, where it was a sample of them; "" where it was all, or is not known."""
    images, of = audit.get("images", 0), audit.get("of", 0)
    return f"Looked at {images:,} of {of:,} images, whole groups." if images < of else ""


def _behind(sentence: str) -> str:
    return sentence and f" {sentence}"


def histories_in_words(audit: Mapping[str, Any], conditions: Iterable[str]) -> str:
    """Say where JPEG history is left, behind a word for it: ": matched 0.719 [0.61, 0.81]"; "" for nowhere.

    Of more than SEVERAL conditions: " under 7 conditions, most under jpeg36: 0.660 [0.55, 0.80] (fake images)".
    """
    asked = set(conditions)
    left = {name: text for name, text in histories_left(audit).items() if name in asked}
    if len(left) <= SEVERAL:
        return f": {'; '.join(f'{name} {text}' for name, text in left.items())}" if left else ""
    most = max(left, key=lambda name: _farthest(audit, name))
    return f" under {len(left)} conditions, most under {most}: {left[most]}"


def _farthest(audit: Mapping[str, Any], condition: str) -> float:
    """Return how far from chance the farthest probe of JPEG history under a condition is."""
    aurocs = [h["auroc"] for h in audit["history"] if h["condition"] == condition and defined(h["auroc"])]
    return max((float(abs(auroc - CHANCE)) for auroc in aurocs), default=0.0)


def audit_mark(audit: Mapping[str, Any], condition: str) -> str:
    """Say what stands beside every figure of a condition: what biases it, and which probes had too few images."""
    parts = []
    if names := audit["biased_by"].get(condition):
        parts.append(f"biased by {', '.join(names)}")
    if names := audit["unmeasured"].get(condition):
        measured = any(p["condition"] == condition and p["probe"] not in names for p in audit["probes"])
        parts.append(f"{TOO_FEW} for {', '.join(names)}" if measured else f"not audited: {TOO_FEW}")
    return "; ".join(parts)


def brief_mark(mark: str) -> str:
    """Shorten a mark for what stands below a title that says all of it: "BIASED", "too few images"."""
    return "; ".join(
        "BIASED" if part.startswith("biased by ") else part.partition(" for ")[0] if part.startswith(TOO_FEW) else part
        for part in mark.split("; ")
    )


def history_left(audit: Mapping[str, Any], condition: str) -> str:
    """Return the AUROC of each probe of a condition that still told JPEG history apart; "" for none.

    Those are the probes whose interval leaves 0.5 out.  It is softer than a bias, as the probe compares images of one
    class: no figure is marked for it, and no run fails.
    """
    rows = [h for h in audit.get("history", ()) if h["condition"] == condition]
    told = [h for h in rows if defined(h["low"]) and defined(h["high"]) and not h["low"] <= CHANCE <= h["high"]]
    called = [f"{h['images']} images{', placebo' if h['kind'].startswith('placebo') else ''}" for h in told]
    return ", ".join(f"{history_text(h)} ({name})" for h, name in zip(told, called, strict=True))


def histories_left(audit: Mapping[str, Any]) -> dict[str, str]:
    """Return `history_left` of every condition that has any, in the order of the run."""
    left = {name: history_left(audit, name) for name in dict.fromkeys(h["condition"] for h in audit.get("history", ()))}
    return {name: text for name, text in left.items() if text}


def history_mark(audit: Mapping[str, Any], condition: str) -> str:
    """Return `history_left` as the marker that stands beside "not marked"."""
    left = history_left(audit, condition)
    return f"{_LEFT}: {left}" if left else ""


def history_text(row: Mapping[str, Any]) -> str:
    """Write the AUC of a JPEG-history probe with its interval, or why there is none."""
    return interval_text(row["auroc"], row["low"], row["high"]) if defined(row["auroc"]) else TOO_FEW


def bracketed(mark: str) -> str:
    """Return a mark as it stands behind a title; nothing for no mark."""
    return f"  [{mark}]" if mark else ""
