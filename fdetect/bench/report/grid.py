"""A titled table of text, the way every table of results looks, and how figures are written in it."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["Grid", "interval_text", "markdown", "pretty", "printable", "signed"]


@dataclass(frozen=True)
class Grid:
    """A titled table of text; `note` says how to read it."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""


def markdown(grids: Iterable[Grid]) -> str:
    """Write grids as GitHub Markdown; empty ones are stated as such."""
    parts = []
    for grid in grids:
        parts.append(f"## {_plain(grid.title)}\n")
        if not grid.rows:
            parts.append("None.\n")
            continue
        lines = [" | ".join(map(_escape, row)) for row in (grid.columns, *grid.rows)]
        rule = " | ".join("---" for _ in grid.columns)
        parts.append("\n".join(f"| {line} |" for line in (lines[0], rule, *lines[1:])) + "\n")
        if grid.note:
            parts.append(_BLOCK.sub(r"\g<0>\\", _plain(grid.note)) + "\n")
    return "\n".join(parts)


def pretty(value: float | None) -> str:
    """Write a metric with three digits; a dash where it is not defined."""
    return "–" if value is None or not math.isfinite(value) else f"{value:.3f}"


def interval_text(value: float | None, low: float | None, high: float | None) -> str:
    """Write a metric with its interval, as in "0.678 [0.64, 0.71]"."""
    if low is None or high is None or not (math.isfinite(low) and math.isfinite(high)):
        return pretty(value)
    return f"{pretty(value)} [{low:.2f}, {high:.2f}]"


def signed(value: float | None, low: float | None, high: float | None) -> str:
    """Write a difference with its interval, as in "+0.012 [-0.003, +0.027]"; a dash where it is not defined."""
    if value is None or not math.isfinite(value):
        return "–"
    if low is None or high is None or not (math.isfinite(low) and math.isfinite(high)):
        return f"{value:+.3f}"
    return f"{value:+.3f} [{low:+.3f}, {high:+.3f}]"


def printable(text: str) -> str:
    """Return text in which characters that would steer a terminal, or break a line, are shown as escapes."""
    return text if text.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def _escape(text: str) -> str:
    return _plain(text.replace("\n", " ")).replace("|", "\\|")


def _plain(text: str) -> str:
    """Write what would be a tag, a link, a picture or a line's end as text: names of files and detectors are anybody's.

    Backticks stay: commands stand between them, and what a name has between them is text anyway.
    """
    text = re.sub(r"\\(?=[!-/:-@\[-`{-~])", r"\\\\", printable(text))  # a backslash here would undo one of ours
    return re.sub(r"\](?=[(\[])", r"\\]", re.sub(r"<(?=[A-Za-z/!?])", "&lt;", text))


_BLOCK = re.compile(r"^\s*(?=#|>|\[|~~~|[-+*]\s)")  # where a note would begin as something else than a paragraph
