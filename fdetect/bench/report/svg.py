"""The elements of charts: inline SVG as text, with names escaped, made printable and cut to what fits."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterable
from typing import TypeGuard

from markupsafe import Markup

from fdetect.bench.report.grid import printable

__all__ = ["SIZE", "SMALL", "defined", "group", "number", "shortened", "svg", "tag", "text", "titled", "width_of"]

SIZE = 12  # px of all text
SMALL = 440  # px of width up to which a picture may be shrunk to fit a phone: its text stays readable
LONGEST = 42  # characters of a name that are shown; the tooltip holds all of it


def shortened(name: str, *, longest: int = LONGEST) -> str:
    """Cut the middle out of a name that is too long to show, as it is printed: both ends tell most."""
    name = printable(name)
    if len(name) <= longest:
        return name
    tail = (longest - 1) // 2
    return f"{name[: longest - 1 - tail]}…{name[len(name) - tail :]}"


def text(x: float, y: float, text: str, *, anchor: str = "start", fill: str = "currentColor", **more: str) -> Markup:
    """Write text centred on y; a name that was cut carries all of itself as a tooltip."""
    short = shortened(text)
    body = Markup("{}").format(short) + titled(text if short != printable(text) else "")
    return tag("text", body, x=x, y=y, dy="0.35em", text_anchor=anchor, fill=fill, **more)


def svg(width: float, height: float, label: str, parts: Iterable[Markup]) -> Markup:
    """Put shapes into a picture of so many px; the label is for those who hear it."""
    box = f"0 0 {math.ceil(width)} {math.ceil(height)}"
    return tag("svg", Markup("").join(parts), role="img", aria_label=label, viewBox=box, width=math.ceil(width),
                height=math.ceil(height), font_size=SIZE, **({"class": "small"} if width <= SMALL else {}))  # fmt: skip


def titled(words: str) -> Markup:
    """Return a tooltip, or nothing."""
    return Markup("<title>{}</title>").format(printable(words)) if words else Markup("")


def group(title: Markup, parts: Iterable[Markup], **attributes: str) -> Markup:
    """Put shapes together, behind a <title> or nothing."""
    return tag("g", title + Markup("").join(parts), **attributes)


def tag(name: str, body: Markup | None = None, /, **attributes: str | float) -> Markup:
    """Write an element; values are escaped, `_` in a name becomes `-`, a trailing one is dropped."""
    texts = {key: printable(value) if isinstance(value, str) else number(value) for key, value in attributes.items()}
    pairs = [Markup(' {}="{}"').format(key.rstrip("_").replace("_", "-"), text) for key, text in texts.items()]
    start = Markup("<{}{}").format(name, Markup("").join(pairs))
    return start + Markup("/>") if body is None else start + Markup(">{}</{}>").format(body, name)


def number(value: float) -> str:
    """Write a coordinate: two digits behind the point at most."""
    return f"{round(value, 2):g}"


def width_of(text: str) -> float:
    """Estimate the width of text in px, on the wide side: no font is known here."""
    return sum(SIZE * (1.0 if unicodedata.east_asian_width(c) in "WF" else 0.6) for c in text)


def defined(value: float | None) -> TypeGuard[float]:
    """Whether there is a value, and a finite one."""
    return value is not None and math.isfinite(value)
