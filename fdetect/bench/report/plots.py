"""Curves, steps and points within a pair of axes, as inline SVG: what charts of scores are put together from.

An axis places values by a scale of its own (even, or of probits); what lies outside its ends is drawn at the end.
Colours are the page's own, or `INKS`, which show on light and dark; a second set of four lines is dashed, so that no
more than four are told apart by their colour alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import NormalDist

from markupsafe import Markup

from fdetect.bench.report.charts import INKS
from fdetect.bench.report.svg import SIZE, defined, group, number, tag, text, titled, width_of

__all__ = ["LINE", "SAMPLE", "Axis", "Frame", "Pen", "key", "pens", "probit", "titled"]

_SOLID = 4  # lines before the first dashed one
LINE = SIZE * 1.5  # px from one line of a key to the next
SAMPLE = 28  # px that a line in a key takes, with the gap behind it


@dataclass(frozen=True)
class Axis:
    """A range of values with the ticks to write, (value, text); `scale` maps values to even distances."""

    label: str
    low: float
    high: float
    ticks: tuple[tuple[float, str], ...]
    scale: Callable[[float], float] = float

    @classmethod
    def even(cls, label: str, low: float, high: float, steps: int) -> Axis:
        """Return an even axis with so many steps between its ticks."""
        values = [low + k * (high - low) / steps for k in range(steps + 1)]
        return cls(label, low, high, tuple((value, f"{value:.3g}") for value in values))

    def place(self, value: float) -> float:
        """Return where a value lies, 0 at the low end and 1 at the high one."""
        low, at, high = (self.scale(v) for v in (self.low, min(max(value, self.low), self.high), self.high))
        return (at - low) / (high - low)


@dataclass(frozen=True)
class Pen:
    """How a line is drawn: its colour, and the lengths of its dashes and gaps, none for a solid one."""

    ink: str
    dash: str = ""

    @property
    def stroke(self) -> dict[str, str | float]:
        """Attributes of the line."""
        return {"stroke": self.ink, "stroke_width": 1.75, **({"stroke_dasharray": self.dash} if self.dash else {})}


@dataclass(frozen=True)
class Frame:
    """A pair of axes on a rectangle of so many px; all methods return shapes."""

    x: Axis
    y: Axis
    left: float
    top: float
    width: float
    height: float

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Return the px of a pair of values."""
        return self.left + self.x.place(x) * self.width, self.top + (1 - self.y.place(y)) * self.height

    def axes(self, *, label: bool = True) -> Markup:
        """Draw the grid with the texts of its ticks, where they have room, and the names of the axes."""
        right, bottom, parts, last = self.left + self.width, self.top + self.height, [], -math.inf
        for value, words in self.x.ticks:
            at, half = self.at(value, self.y.low)[0], width_of(words) / 2
            parts.append(tag("line", class_="faint", x1=at, x2=at, y1=self.top, y2=bottom))
            if at - half >= last + 4:
                parts.append(text(at, bottom + 12, words, anchor="middle"))
                last = at + half
        for value, words in self.y.ticks:
            at = self.at(self.x.low, value)[1]
            parts.append(tag("line", class_="faint", x1=self.left, x2=right, y1=at, y2=at))
            parts.append(text(self.left - 6, at, words, anchor="end"))
        if label:
            x, y = self.left - self.gutter + SIZE / 2, self.top + self.height / 2
            parts.append(text(self.left + self.width / 2, bottom + 28, self.x.label, anchor="middle"))
            turned = f"translate({number(x)} {number(y)}) rotate(-90)"
            parts.append(text(0, 0, self.y.label, anchor="middle", transform=turned))
        return group(Markup(""), parts)

    @property
    def gutter(self) -> float:
        """The px that names and ticks take at the left."""
        return max((width_of(words) for _, words in self.y.ticks), default=0.0) + 10 + SIZE * 1.25

    def line(self, xs: Iterable[float], ys: Iterable[float], pen: Pen, *, title: str = "") -> Markup:
        """Draw straight pieces between points; one that is not defined interrupts them."""
        path, move = "", "M"
        for x, y in zip(xs, ys, strict=True):
            if not (defined(x) and defined(y)):
                move = "M"
                continue
            path, move = f"{path}{move}{' '.join(map(number, self.at(x, y)))}", "L"
        return tag("path", titled(title), d=path or "M0 0", fill="none", stroke_linejoin="round", **pen.stroke)

    def steps(self, ends: Sequence[float], heights: Sequence[float], pen: Pen, *, fill: float, title: str) -> Markup:
        """Draw bars without gaps as one outline: n + 1 ends, n heights; `fill` is the opacity of the inside."""
        path = f"M{' '.join(map(number, self.at(ends[0], 0)))}"
        for low, high, height in zip(ends[:-1], ends[1:], heights, strict=True):
            (left, y), right = self.at(low, height), self.at(high, height)[0]
            path += f"L{number(left)} {number(y)}L{number(right)} {number(y)}"
        path += f"L{' '.join(map(number, self.at(ends[-1], 0)))}"
        return tag("path", titled(title), d=path, fill=pen.ink, fill_opacity=fill, **pen.stroke)

    def bar(self, low: float, high: float, height: float) -> Markup:
        """Draw a pale bar from the bottom."""
        (left, y), (right, bottom) = self.at(low, height), self.at(high, self.y.low)
        return tag("rect", x=left, y=y, width=right - left, height=bottom - y, fill="currentColor", fill_opacity=0.14)

    def point(self, x: float, y: float, low: float, high: float, pen: Pen, *, title: str) -> Markup:
        """Draw a value with its interval."""
        (at, middle), ends = self.at(x, y), (self.at(x, low)[1], self.at(x, high)[1])
        bar = tag("line", x1=at, x2=at, y1=ends[0], y2=ends[1], stroke=pen.ink, stroke_opacity=0.55, stroke_width=2.5)
        return group(titled(title), [bar, tag("circle", cx=at, cy=middle, r=3.5, fill=pen.ink)])

    def rule(self, xs: tuple[float, float], ys: tuple[float, float]) -> Markup:
        """Draw a dashed line in the page's colour, as where there is nothing but chance."""
        (x1, y1), (x2, y2) = (self.at(x, y) for x, y in zip(xs, ys, strict=True))
        return tag("line", class_="chance", x1=x1, x2=x2, y1=y1, y2=y2)


def pens(count: int) -> tuple[Pen, ...]:
    """Return a pen for each of so many lines, told apart by colour, and by dashes after the first four."""
    return tuple(Pen(INKS[k % len(INKS)], "" if k % len(INKS) < _SOLID else "7 3") for k in range(count))


def key(names: Sequence[str], shown: Sequence[Pen], left: float, top: float) -> list[Markup]:
    """Write the name of each line behind a piece of it, from top to bottom."""
    parts = []
    for k, (name, pen) in enumerate(zip(names, shown, strict=True)):
        y = top + (k + 0.5) * LINE
        parts.append(tag("line", x1=left, x2=left + SAMPLE - 6, y1=y, y2=y, **pen.stroke))
        parts.append(text(left + SAMPLE, y, name))
    return parts


def probit(share: float) -> float:
    """Return the quantile of the normal distribution, which makes the DET curve of normal scores straight.

    Martin, Doddington, Kamm, Ordowski and Przybocki 1997, The DET curve in assessment of detection task performance.
    """
    return NormalDist().inv_cdf(share)
