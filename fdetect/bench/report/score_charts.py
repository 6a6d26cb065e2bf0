"""Charts and tables of score curves: ROC, DET, risk against coverage, histograms and reliability.

A chart is of one condition and has the detectors with the largest macro AUROC; the table has them all, in numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from markupsafe import Markup

from fdetect.bench.report.grid import Grid, pretty
from fdetect.bench.report.plots import LINE, SAMPLE, Axis, Frame, Pen, key, pens, probit, titled
from fdetect.bench.report.svg import group, shortened, svg, text, width_of
from fdetect.bench.report.terminal import in_tables_alone
from fdetect.bench.report.verdict import audit_mark, bracketed
from fdetect.bench.scores.curves import ScoreCurves
from fdetect.bench.scores.robustness import trained_names
from fdetect.bench.scores.shapes import COVERAGE, FPR, UNITS, Reliability, least_area
from fdetect.metrics import ECE_EDGES

__all__ = ["DRAWN", "score_charts", "score_grids"]

DRAWN = 8  # detectors of a chart
_SIDE = 290.0  # px of the square of a ROC
_PANEL = (180.0, 110.0, 170.0)  # px: width of small panels, height of a histogram, height of a reliability diagram
_NAME = 26  # characters of a name above a panel
_ENDS = (0.001, 0.99)  # of both axes of a DET
_PERCENT = (0.1, 1, 5, 10, 20, 40, 60, 80, 90, 95, 99)
_BIN_ENDS = (0.0, *ECE_EDGES.tolist(), 1.0)
_COLUMNS = ("detector", "AUROC", "EER of the curve", "ECE", "risk", "AURC", "AURC in the best order", "reals", "fakes",
            "failed")  # fmt: skip
_NOTE = (
    "EER: of the averaged ROC curve, so another number than the mean EER of the results; a DET is flat where a trial "
    "has too few reals for so small a share. ECE: the macro ECE of the results. Risk: half the share of fakes called "
    "real and half that of reals called fake at the frozen threshold. AURC: mean risk over all coverages, the images "
    "farthest from the threshold first, in interquartile ranges of each trial's reals; in random order it would be the "
    "risk, in the best one the last of the three. Every generator counts alike. *: seen in training."
)

Named = Sequence[tuple[str, ScoreCurves]]


def score_charts(curves: Sequence[ScoreCurves]) -> list[tuple[str, Markup]]:
    """Return (caption, chart) of the curves of one condition: ROC, DET, risk, histograms, reliability.

    A kind that no detector has is left out; why, is in the note of the table.  Detectors that lack a family or a branch
    of another are in the table alone.
    """
    apart = in_tables_alone(curve.detector for curve in curves)
    named = [one for one in _named(curves) if one[1].detector not in apart]
    kinds: tuple[tuple[str, str, Callable[[Named, str], Markup]], ...] = (
        ("roc", "ROC: mean of the trials' curves at each share of reals, so that the area is the macro AUROC", _roc),
        ("roc", "DET: the same curves as errors, on axes of normal quantiles; dashed: equal errors", _det),
        ("risk", "Risk against coverage: balanced error at the frozen threshold, the images farthest from it first",
         _risk),
        ("histogram", "Scores of reals (filled) and fakes (line): distance from the frozen threshold, in interquartile "
         "ranges of each trial's reals; the end bins hold all beyond", _histograms),
        ("reliability", "Reliability in the 15 bins of the ECE, classes weighing alike, with exact binomial 95 % "
         "intervals that take images as independent; grey: share of the weight; dashed: calibrated", _reliabilities),
    )  # fmt: skip
    found = []
    for kind, caption, draw in kinds:
        here = [one for one in named if getattr(one[1], kind) is not None]
        if not here:
            continue
        shown = sorted(here, key=lambda one: -one[1].roc.auroc if one[1].roc else math.inf)[:DRAWN]
        if len(shown) < len(here):
            caption += f"; the {len(shown)} largest macro AUROCs of {len(here)}, all in the table"
        found.append((caption, draw(shown, caption)))
    return found


def score_grids(curves: Sequence[ScoreCurves], audit: Mapping[str, Any] | None = None) -> list[Grid]:
    """Return one table for each condition, a detector a row; what cannot be made is said in the note."""
    by_condition: dict[str, list[ScoreCurves]] = {}
    for curve in curves:
        by_condition.setdefault(curve.condition, []).append(curve)
    made: list[Grid] = []
    for condition, here in by_condition.items():
        named = _named(here)
        mark = bracketed(audit_mark(audit, condition)) if audit else ""
        reasons: dict[str, list[str]] = {}
        for name, curve in named:
            for reason in curve.missing:
                reasons.setdefault(reason, []).append(name)
        usual = (_NOTE,) if len(made) == len(by_condition) - 1 else ()  # below the last
        note = " ".join((*usual, *(f"{', '.join(names)}: {reason}." for reason, names in reasons.items())))
        title = f"Curves of the scores under {condition}{mark}"
        made.append(Grid(title, _COLUMNS, tuple((name, *_figures(curve)) for name, curve in named), note))
    return made


def _figures(curve: ScoreCurves) -> tuple[str, ...]:
    roc, risk, reliability = curve.roc, curve.risk, curve.reliability
    values = (
        *((roc.auroc, roc.eer) if roc else (None, None)), reliability.ece if reliability else None,
        *((risk.overall, risk.area, least_area(risk.overall)) if risk else (None, None, None)),
    )  # fmt: skip
    return (*map(pretty, values), str(curve.n_real), str(curve.n_fake), str(curve.n_failed))


def _named(curves: Sequence[ScoreCurves]) -> list[tuple[str, ScoreCurves]]:
    names = trained_names([(curve.detector, curve.train, curve.train_condition) for curve in curves])
    return [(name + "*" * curve.seen, curve) for name, curve in zip(names, curves, strict=True)]


def _lines(
    x: Axis, y: Axis, height: float, rule: tuple[tuple[float, float], tuple[float, float]] | None,
    figure: str, lines: Sequence[tuple[str, Sequence[float], Sequence[float]]], label: str,
) -> Markup:  # fmt: skip
    """Draw (name, xs, ys) in one pair of axes; below it their names, which begin with the figure of the title.

    Below, and not beside: so a phone shows both.
    """
    frame = Frame(x, y, Frame(x, y, 0, 0, 1, 1).gutter, 8, _SIDE, height)
    shown, left, below = pens(len(lines)), frame.left, frame.top + height + 50
    parts = [frame.axes(), *([frame.rule(*rule)] if rule else [])]
    parts += [frame.line(xs, ys, pen, title=name) for (name, xs, ys), pen in zip(lines, shown, strict=True)]
    names = [name for name, _, _ in lines]
    parts += [text(left + SAMPLE, below, figure), *key(names, shown, left, below + 10)]
    width = left + max(_SIDE + 14, SAMPLE + 4 + max(width_of(shortened(name)) for name in names))
    return svg(width, below + 14 + len(names) * LINE, label, parts)


def _roc(named: Named, label: str) -> Markup:
    lines = [(f"{curve.roc.auroc:.3f}  {name}", FPR, curve.roc.tpr) for name, curve in named if curve.roc]
    x, y = (Axis.even(words, 0, 1, 5) for words in ("share of reals called fake", "share of fakes found"))
    return _lines(x, y, _SIDE, ((0, 1), (0, 1)), "AUROC", lines, label)


def _det(named: Named, label: str) -> Markup:
    ticks = tuple((value / 100, f"{value:g}") for value in _PERCENT)
    x, y = (Axis(f"% of {words}", *_ENDS, ticks, probit) for words in ("reals called fake", "fakes missed"))
    within = slice(FPR.index(_ENDS[0]), FPR.index(_ENDS[1]) + 1)
    lines = [
        (f"{100 * curve.roc.eer:.1f} %  {name}", FPR[within], [1 - v for v in curve.roc.tpr[within]])
        for name, curve in named if curve.roc
    ]  # fmt: skip
    return _lines(x, y, _SIDE, (_ENDS, _ENDS), "EER", lines, label)


def _risk(named: Named, label: str) -> Markup:
    lines = [(f"{curve.risk.area:.3f}  {name}", COVERAGE, curve.risk.risk) for name, curve in named if curve.risk]
    steps = max(1, math.ceil(10 * max(max(ys) for _, _, ys in lines)))
    x = Axis.even("coverage, the clearest images first", 0, 1, 5)
    return _lines(x, Axis.even("risk", 0, steps / 10, steps), _SIDE * 0.7, None, "AURC", lines, label)


def _panels(
    named: Named, x: Axis, y: Axis, height: float, draw: Callable[[Frame, ScoreCurves], list[Markup]], label: str
) -> Markup:
    """Draw one small pair of axes for each detector, with its name above: pictures of their own, which may wrap."""
    above = 26.0
    frame = Frame(x, y, Frame(x, y, 0, 0, 1, 1).gutter, above, _PANEL[0], height)
    made = []
    for name, curve in named:
        short = shortened(name, longest=_NAME)
        title = group(titled(name if short != name else ""), [text(frame.left, frame.top - 12, short)])
        made.append(svg(frame.left + _PANEL[0] + 18, above + height + 46, f"{name}: {label}",
                        [title, frame.axes(), *draw(frame, curve)]))  # fmt: skip
    return Markup('<div class="panels">{}</div>').format(Markup("").join(made))


def _histograms(named: Named, label: str) -> Markup:
    most = max(max(*curve.histogram.reals, *curve.histogram.fakes) for _, curve in named if curve.histogram)
    step = 0.1 if most <= 0.2 else 0.2
    steps = math.ceil(most / step)
    ticks = tuple((float(k), f"{'≤' if k == UNITS[0] else '≥' if k == UNITS[-1] else ''}{k}") for k in range(-4, 5, 2))
    x, y = Axis("ranges from threshold", UNITS[0], UNITS[-1], ticks), Axis.even("share", 0, steps * step, steps)
    return _panels(named, x, y, _PANEL[1], partial(_histogram, top=y.high), label)


def _histogram(frame: Frame, curve: ScoreCurves, *, top: float) -> list[Markup]:
    reals, fakes = pens(2)
    made = curve.histogram
    if made is None:
        return []
    return [
        frame.steps(UNITS, made.reals, Pen(reals.ink), fill=0.45, title=f"{curve.n_real} reals"),
        frame.steps(UNITS, made.fakes, Pen(fakes.ink), fill=0.0, title=f"{curve.n_fake} fakes"),
        frame.rule((0, 0), (0, top)),
    ]


def _reliabilities(named: Named, label: str) -> Markup:
    x, y = Axis.even("mean probability", 0, 1, 4), Axis.even("share of fakes", 0, 1, 4)
    return _panels(named, x, y, _PANEL[2], lambda frame, curve: _reliability(frame, curve.reliability), label)


def _reliability(frame: Frame, made: Reliability | None) -> list[Markup]:
    if made is None:
        return []
    bars = [frame.bar(*bin) for bin in zip(_BIN_ENDS[:-1], _BIN_ENDS[1:], made.weight, strict=True) if bin[2]]
    points = [
        frame.point(p, r, low, high, pens(1)[0], title=f"{begin:.2f} to {end:.2f}: mean probability {p:.3f}, share of "
                    f"fakes {r:.3f} [{low:.2f}, {high:.2f}]; {n_real} reals, {n_fake} fakes")
        for begin, end, p, r, low, high, n_real, n_fake in zip(
            _BIN_ENDS[:-1], _BIN_ENDS[1:], made.predicted, made.rate, made.low, made.high, made.n_real, made.n_fake,
            strict=True)
        if n_real + n_fake
    ]  # fmt: skip
    return [*bars, frame.rule((0, 1), (0, 1)), *points]
