"""Charts of the report as inline SVG, written by hand: a heat map and a dot plot with intervals.

Nothing is loaded and nothing runs: shapes, text, and a <title> on each value that browsers show as a tooltip.
Cells of the heat map bring their own colours, so that they print as they look; everything else takes the page's
text colour or one of its classes (`dot`, `warn`, `faint`).  Names are escaped and cut to what fits.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeGuard

from markupsafe import Markup

__all__ = ["CHANCE", "Dot", "HeatCell", "colour_scale", "contrast", "dot_plot", "heat_colour", "heat_map", "shortened"]

CHANCE = 0.5
_STOPS = (  # orange below chance, blue above: told apart with every common colour blindness; darker = farther away
    (0.00, (130, 50, 0)),
    (0.25, (240, 160, 90)),
    (0.50, (246, 246, 244)),
    (0.75, (115, 170, 222)),
    (1.00, (8, 60, 125)),
)
_SIZE = 12  # px of all text
_LONGEST = 42  # characters of a name that are shown; the tooltip holds all of it
_CELL = (60, 30)  # px
_ROW = 22  # px between two lines of a dot plot
_SPAN = 300  # px that a dot plot gives to the range 0..1


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


def shortened(name: str, *, longest: int = _LONGEST) -> str:
    """Cut the middle out of a name that is too long to show: both ends tell most."""
    if len(name) <= longest:
        return name
    tail = (longest - 1) // 2
    return f"{name[: longest - 1 - tail]}…{name[len(name) - tail :]}"


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
    turned = any(_width(shortened(name)) > width - 6 for name in columns)
    slope = math.radians(40 if turned else 0)
    reach = max((_width(shortened(name)) for name in columns), default=0.0)
    left = max((_width(shortened(name)) for name in rows), default=0.0) + 10
    top = reach * math.sin(slope) + _SIZE + 10
    starts = [left + k * width + (8 if apart and k >= apart else 0) for k in range(len(columns))]
    ends = [x + width / 2 + _width(shortened(name)) * math.cos(slope) for name, x in zip(columns, starts, strict=True)]
    right = max([left, *(x + width for x in starts), *(ends if turned else ())]) + 4
    parts = [_column_name(name, x + width / 2, top - 8, turned) for name, x in zip(columns, starts, strict=True)]
    for r, (name, line) in enumerate(zip(rows, cells, strict=True)):
        y = top + r * height
        parts.append(_text(left - 8, y + height / 2, name, anchor="end"))
        parts += [_heat_cell(cell or HeatCell(None), x, y) for cell, x in zip(line, starts, strict=True)]
    return _svg(right, top + len(rows) * height + 4, label, parts)


def dot_plot(dots: Sequence[Dot], *, label: str) -> Markup:
    """Draw one line per value over the range 0..1: interval, dot, second value, and the number at the right.

    A rule stands at 0.5.  A value that is not defined has a line without a dot, and a dash for a number.
    """
    left = max((_width(shortened(dot.label)) for dot in dots), default=0.0) + 16
    bottom = len(dots) * _ROW + 8
    parts = []
    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        x = left + tick * _SPAN
        kind = "chance" if tick == CHANCE else "faint"
        parts.append(_tag("line", class_=kind, x1=x, x2=x, y1=4, y2=bottom))
        parts.append(_text(x, bottom + 10, f"{tick:g}", anchor="middle"))
    for k, dot in enumerate(dots):
        y = k * _ROW + _ROW / 2 + 4
        parts.append(_text(left - 12, y, dot.label, anchor="end"))
        parts.append(_dot(dot, left, y))
        parts.append(_text(left + _SPAN + 12, y, f"{dot.value:.3f}" if _defined(dot.value) else "–"))
    return _svg(left + _SPAN + 56, bottom + 20, label, parts)


def colour_scale() -> Markup:
    """Draw the colours of the heat map from 0 to 1."""
    steps, width, left = 40, 6, 8
    parts = [
        _tag("rect", x=left + k * width, y=2, width=width + 0.5, height=14, fill=heat_colour((k + 0.5) / steps)[0])
        for k in range(steps)
    ]
    for value, name in ((0.0, "0"), (CHANCE, "0.5 = chance"), (1.0, "1")):
        parts.append(_text(left + value * steps * width, 26, name, anchor="middle"))
    return _svg(2 * left + steps * width, 36, "colours from 0 (orange) over 0.5 (white) to 1 (blue)", parts)


def _heat_cell(cell: HeatCell, x: float, y: float) -> Markup:
    width, height = _CELL
    middle = (x + width / 2, y + height / 2)
    title = Markup("<title>{}</title>").format(cell.title) if cell.title else Markup("")
    if cell.value is None or not math.isfinite(cell.value):
        lines = [f"M{_number(x + k)} {_number(y + height - 1)}l15 {2 - height}" for k in range(2, width - 14, 10)]
        parts = [
            _tag("rect", x=x, y=y, width=width - 1, height=height - 1, fill="#d8d8d6"),
            _tag("path", d=" ".join(lines), stroke="#9a9a98"),
            _tag("rect", x=middle[0] - 10, y=y + 6, width=20, height=height - 13, fill="#d8d8d6"),
            _text(*middle, "–", anchor="middle", fill="#000000"),
        ]
        return _group(title, parts)
    fill, ink = heat_colour(cell.value)
    parts = [_tag("rect", x=x, y=y, width=width - 1, height=height - 1, fill=fill)]
    if cell.outlined:
        parts.append(_tag("rect", x=x + 2, y=y + 2, width=width - 5, height=height - 5, fill="none", stroke=ink,
                          stroke_width=1.5))  # fmt: skip
    if cell.value < CHANCE:
        triangle = f"M{_number(x + 5)} {_number(middle[1] - 3)}h7l-3.5 6z"
        parts.append(_tag("path", class_="below", d=triangle, fill=ink))
    parts.append(_text(*middle, f"{cell.value:.3f}", anchor="middle", fill=ink))
    if cell.marks:
        parts.append(_text(middle[0] + 17, middle[1] - 4, cell.marks, fill=ink))
    return _group(title, parts)


def _dot(dot: Dot, left: float, y: float) -> Markup:
    title = Markup("<title>{}</title>").format(dot.title) if dot.title else Markup("")
    kind = "dot warn" if dot.warn else "dot"
    parts = []
    if _defined(dot.low) and _defined(dot.high):
        parts.append(_tag("line", x1=left + dot.low * _SPAN, x2=left + dot.high * _SPAN, y1=y, y2=y, stroke_width=2))
    if _defined(dot.second):
        at = f"M{_number(left + dot.second * _SPAN - 5)} {_number(y)}l5 -5l5 5l-5 5z"
        parts.append(_tag("path", class_="second", d=at, fill="none", stroke_width=1.5))
    if _defined(dot.value):
        parts.append(_tag("circle", cx=left + dot.value * _SPAN, cy=y, r=4.5))
    return _group(title, parts, class_=kind)


def _column_name(name: str, x: float, y: float, turned: bool) -> Markup:
    if not turned:
        return _text(x, y - 2, name, anchor="middle")
    return _text(0, 0, name, transform=f"translate({_number(x)} {_number(y)}) rotate(-40)")


def _text(x: float, y: float, text: str, *, anchor: str = "start", fill: str = "currentColor", **more: str) -> Markup:
    """Write text centred on y; a name that was cut carries all of itself as a tooltip."""
    short = shortened(text)
    body = Markup("{}<title>{}</title>").format(short, text) if short != text else Markup("{}").format(text)
    return _tag("text", body, x=x, y=y, dy="0.35em", text_anchor=anchor, fill=fill, **more)


def _svg(width: float, height: float, label: str, parts: Iterable[Markup]) -> Markup:
    box = f"0 0 {math.ceil(width)} {math.ceil(height)}"
    return _tag("svg", Markup("").join(parts), role="img", aria_label=label, viewBox=box, width=math.ceil(width),
                height=math.ceil(height), font_size=_SIZE)  # fmt: skip


def _group(title: Markup, parts: Iterable[Markup], **attributes: str) -> Markup:
    return _tag("g", title + Markup("").join(parts), **attributes)


def _tag(name: str, body: Markup | None = None, /, **attributes: str | float) -> Markup:
    """Write an element; values are escaped, `_` in a name becomes `-`, a trailing one is dropped."""
    texts = {key: value if isinstance(value, str) else _number(value) for key, value in attributes.items()}
    pairs = [Markup(' {}="{}"').format(key.rstrip("_").replace("_", "-"), text) for key, text in texts.items()]
    start = Markup("<{}{}").format(name, Markup("").join(pairs))
    return start + Markup("/>") if body is None else start + Markup(">{}</{}>").format(body, name)


def _number(value: float) -> str:
    return f"{round(value, 2):g}"


def _width(text: str) -> float:
    """Estimate the width of text in px, on the wide side: no font is known here."""
    return sum(_SIZE * (1.0 if unicodedata.east_asian_width(c) in "WF" else 0.6) for c in text)


def _luminance(colour: str) -> float:
    channels = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _defined(value: float | None) -> TypeGuard[float]:
    return value is not None and math.isfinite(value)
