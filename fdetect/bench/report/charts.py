"""Charts of the report as inline SVG, written by hand: a heat map, a dot plot and lines, both with intervals.

Nothing is loaded and nothing runs: shapes, text, and a <title> on each value that browsers show as a tooltip.
Cells of the heat map bring their own colours, so that they print as they look; everything else takes the page's
text colour or one of its classes (`dot`, `warn`, `faint`).  Names are escaped and cut to what fits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle

from markupsafe import Markup

from fdetect.bench.report.svg import SIZE, defined, group, number, shortened, svg, tag, text, titled, width_of

__all__ = ["CHANCE", "INKS", "Dot", "HeatCell", "Line", "Point", "colour_scale", "contrast", "dot_plot", "heat_colour",
           "heat_map", "line_chart", "shortened"]  # fmt: skip

CHANCE = 0.5
_STOPS = (  # orange below chance, blue above: told apart with every common colour blindness; darker = farther away
    (0.00, (130, 50, 0)),
    (0.25, (240, 160, 90)),
    (0.50, (246, 246, 244)),
    (0.75, (115, 170, 222)),
    (1.00, (8, 60, 125)),
)
_CELL = (60, 30)  # px
_ROW = 22  # px between two lines of a dot plot
_SPAN = 240  # px that a dot plot gives to the range 0..1
_PLOT = (360, 240)  # px of a line chart within its axes
INKS = ("#3f7fd0", "#d0722a", "#2d9a62", "#b4509c", "#8d7d25", "#c8484a", "#6b6fd6", "#3f8f9b")  # on light and dark


@dataclass(frozen=True)
class HeatCell:
    """One value of a heat map: None or NaN is drawn hatched, with a dash."""

    value: float | None
    marks: str = ""  # raised behind the value
    outlined: bool = False
    title: str = ""


@dataclass(frozen=True)
class Dot:
    """One line of a dot plot: a value with its interval, and a second value as a hollow diamond."""

    label: str
    value: float | None
    low: float | None = None
    high: float | None = None
    second: float | None = None
    warn: bool = False
    title: str = ""


@dataclass(frozen=True)
class Point:
    """A value at an amount, with its interval; NaN or None where it is not defined."""

    at: float
    value: float | None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Line:
    """One line of a line chart, from left to right."""

    label: str
    points: tuple[Point, ...]


def heat_colour(value: float) -> tuple[str, str]:
    """Return fill and text colour of a value in 0..1: orange below 0.5, near white at it, blue above.

    Fill is linear in sRGB between five stops; text is black or white, whichever has the larger contrast.
    """
    value = min(max(value, 0.0), 1.0)
    after = next(k for k in range(1, len(_STOPS)) if value <= _STOPS[k][0])
    (start, first), (end, last) = _STOPS[after - 1], _STOPS[after]
    share = (value - start) / (end - start)
    red, green, blue = (round(a + share * (b - a)) for a, b in zip(first, last, strict=True))
    fill = f"#{red:02x}{green:02x}{blue:02x}"
    return fill, max("#000000", "#ffffff", key=lambda ink: contrast(fill, ink))


def contrast(first: str, second: str) -> float:
    """Return the contrast ratio of two colours "#rrggbb", 1..21 (WCAG 2.2, definition of relative luminance)."""
    low, high = sorted((_luminance(first), _luminance(second)))
    return (high + 0.05) / (low + 0.05)


def heat_map(
    rows: Sequence[str],
    columns: Sequence[str],
    cells: Sequence[Sequence[HeatCell | None]],
    *,
    apart: int = 0,
    label: str,
) -> Markup:
    """Draw a matrix of values in 0..1 with the number in each cell; `cells[row][column]`, None = not measured.

    The first `apart` columns stand apart from the others.  A value below 0.5 also has a triangle that points down,
    so that it shows where colours do not.
    """
    width, height = _CELL
    turned = any(width_of(shortened(name)) > width - 6 for name in columns)
    slope = math.radians(40 if turned else 0)
    reach = max((width_of(shortened(name)) for name in columns), default=0.0)
    left = math.ceil(max((width_of(shortened(name)) for name in rows), default=0.0) + 10)  # whole px: short numbers
    top = math.ceil(reach * math.sin(slope) + SIZE + 10)
    starts = [left + k * width + (8 if apart and k >= apart else 0) for k in range(len(columns))]
    spans = [width_of(shortened(name)) * math.cos(slope) for name in columns]
    ends = [x + width / 2 + span for x, span in zip(starts, spans, strict=True)]
    right = max([left, *(x + width for x in starts), *(ends if turned else ())]) + 4
    parts = [_column_name(name, x + width / 2, top - 8, turned) for name, x in zip(columns, starts, strict=True)]
    for r, (name, line) in enumerate(zip(rows, cells, strict=True)):
        y = top + r * height
        parts.append(text(left - 8, y + height / 2, name, anchor="end"))
        shown = [_heat_cell(cell or HeatCell(None), x, y) for cell, x in zip(line, starts, strict=True)]
        parts.append(group(Markup(""), shown, text_anchor="middle"))
    return svg(right, top + len(rows) * height + 4, label, parts)


def dot_plot(dots: Sequence[Dot], *, label: str) -> Markup:
    """Draw one line per value over the range 0..1: interval, dot, second value, and the number at the right.

    A rule stands at 0.5.  A value that is not defined has a line without a dot, and a dash for a number.
    """
    left = max((width_of(shortened(dot.label)) for dot in dots), default=0.0) + 16
    bottom = len(dots) * _ROW + 8
    parts = []
    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        x = left + tick * _SPAN
        kind = "chance" if tick == CHANCE else "faint"
        parts.append(tag("line", class_=kind, x1=x, x2=x, y1=4, y2=bottom))
        parts.append(text(x, bottom + 10, f"{tick:g}", anchor="middle"))
    for k, dot in enumerate(dots):
        y = k * _ROW + _ROW / 2 + 4
        parts.append(text(left - 12, y, dot.label, anchor="end"))
        parts.append(_dot(dot, left, y))
        parts.append(text(left + _SPAN + 12, y, f"{dot.value:.3f}" if defined(dot.value) else "–"))
    return svg(left + _SPAN + 56, bottom + 20, label, parts)


def line_chart(lines: Sequence[Line], *, label: str) -> Markup:
    """Draw values in 0..1 against amounts: the first amount at the left, intervals as bars, names at the line ends.

    All lines have the same amounts, rising or falling.  A value that is not defined interrupts its line.
    """
    (width, height), left, top = _PLOT, 40.0, 10.0
    amounts = [point.at for point in lines[0].points]
    begin, reach = amounts[0], (amounts[-1] - amounts[0]) or 1.0
    parts = []
    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        y = top + (1 - tick) * height
        parts.append(tag("line", class_="chance" if tick == CHANCE else "faint", x1=left, x2=left + width, y1=y, y2=y))
        parts.append(text(left - 8, y, f"{tick:g}", anchor="end"))
    last = -math.inf
    for at in amounts:
        x = left + (at - begin) / reach * width
        parts.append(tag("line", class_="faint", x1=x, x2=x, y1=top, y2=top + height))
        if x - last >= width_of(f"{at:g}") + 4:  # amounts may lie close together
            parts.append(text(x, top + height + 14, f"{at:g}", anchor="middle"))
            last = x
    for line, y, ink in zip(lines, _line_ends(lines, top, height), cycle(INKS), strict=False):
        places = [(left + (p.at - begin) / reach * width, p) for p in line.points]
        parts.append(_line(line.label, places, top, height, ink))
        parts.append(text(left + width + 12, y, line.label, fill=ink))
    right = left + width + 16 + max(width_of(shortened(line.label)) for line in lines)
    return svg(right, top + max(height + 26, len(lines) * SIZE * 1.2 + 8), label, parts)


def colour_scale() -> Markup:
    """Draw the colours of the heat map from 0 to 1."""
    steps, width, left = 40, 6, 8
    parts = [
        tag("rect", x=left + k * width, y=2, width=width + 0.5, height=14, fill=heat_colour((k + 0.5) / steps)[0])
        for k in range(steps)
    ]
    for value, name in ((0.0, "0"), (CHANCE, "0.5 = chance"), (1.0, "1")):
        parts.append(text(left + value * steps * width, 26, name, anchor="middle"))
    return svg(2 * left + steps * width, 36, "colours from 0 (orange) over 0.5 (white) to 1 (blue)", parts)


def _heat_cell(cell: HeatCell, x: float, y: float) -> Markup:
    width, height = _CELL
    middle = (x + width / 2, y + height / 2)
    title = titled(cell.title)
    if cell.value is None or not math.isfinite(cell.value):
        lines = [f"M{number(x + k)} {number(y + height - 1)}l15 {2 - height}" for k in range(2, width - 14, 10)]
        parts = [
            tag("rect", x=x, y=y, width=width - 1, height=height - 1, fill="#d8d8d6"),
            tag("path", d=" ".join(lines), stroke="#9a9a98"),
            tag("rect", x=middle[0] - 10, y=y + 6, width=20, height=height - 13, fill="#d8d8d6"),
            _centred(middle, "–", "#000000"),
        ]
        return group(title, parts)
    fill, ink = heat_colour(cell.value)
    parts = [tag("rect", x=x, y=y, width=width - 1, height=height - 1, fill=fill)]
    if cell.outlined:
        parts.append(tag("rect", x=x + 2, y=y + 2, width=width - 5, height=height - 5, fill="none", stroke=ink,
                          stroke_width=1.5))  # fmt: skip
    if cell.value < CHANCE:
        triangle = f"M{number(x + 5)} {number(middle[1] - 3)}h7l-3.5 6z"
        parts.append(tag("path", class_="below", d=triangle, fill=ink))
    parts.append(_centred(middle, f"{cell.value:.3f}", ink))
    if cell.marks:
        parts.append(text(middle[0] + 17, middle[1] - 4, cell.marks, fill=ink))
    return group(title, parts)


def _centred(middle: tuple[float, float], figure: str, ink: str) -> Markup:
    """Write the figure of a cell; a large map has thousands, whose anchor is therefore that of their row."""
    return tag("text", Markup("{}").format(figure), x=middle[0], y=middle[1] + 4, fill=ink)


def _dot(dot: Dot, left: float, y: float) -> Markup:
    kind = "dot warn" if dot.warn else "dot"
    parts = []
    if defined(dot.low) and defined(dot.high):
        parts.append(tag("line", x1=left + dot.low * _SPAN, x2=left + dot.high * _SPAN, y1=y, y2=y, stroke_width=2))
    if defined(dot.second):
        at = f"M{number(left + dot.second * _SPAN - 5)} {number(y)}l5 -5l5 5l-5 5z"
        parts.append(tag("path", class_="second", d=at, fill="none", stroke_width=1.5))
    if defined(dot.value):
        parts.append(tag("circle", cx=left + dot.value * _SPAN, cy=y, r=4.5))
    return group(titled(dot.title), parts, class_=kind)


def _line(name: str, places: Sequence[tuple[float, Point]], top: float, height: float, ink: str) -> Markup:
    parts, path, pen = [], "", "M"
    for x, p in places:
        if not defined(p.value):
            pen = "M"
            continue
        y = top + (1 - p.value) * height
        path, pen = f"{path}{pen}{number(x)} {number(y)}", "L"
        if defined(p.low) and defined(p.high):
            parts.append(tag("line", x1=x, x2=x, y1=top + (1 - p.low) * height, y2=top + (1 - p.high) * height,
                              stroke=ink, stroke_opacity=0.45, stroke_width=3))  # fmt: skip
        title = titled(f"{name} at {p.at:g}: {p.value:.3f}")
        parts.append(tag("circle", title, cx=x, cy=y, r=3.5, fill=ink))
    return group(Markup(""), [tag("path", d=path or "M0 0", fill="none", stroke=ink, stroke_width=1.5), *parts])


def _line_ends(lines: Sequence[Line], top: float, height: float) -> list[float]:
    """Return the y of each name: at the end of its line where there is room, else below the name above it."""
    ends = [next((p.value for p in reversed(line.points) if defined(p.value)), 0.0) for line in lines]
    step, y, found = SIZE * 1.2, top - SIZE, dict[int, float]()
    for place, k in enumerate(sorted(range(len(lines)), key=lambda k: -ends[k])):
        lowest = top + height - (len(lines) - 1 - place) * step  # the names below this one need room too
        y = max(y + step, min(top + (1 - ends[k]) * height, lowest))
        found[k] = y
    return [found[k] for k in range(len(lines))]


def _column_name(name: str, x: float, y: float, turned: bool) -> Markup:
    if not turned:
        return text(x, y - 2, name, anchor="middle")
    return text(0, 0, name, transform=f"translate({number(x)} {number(y)}) rotate(-40)")


def _luminance(colour: str) -> float:
    channels = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
