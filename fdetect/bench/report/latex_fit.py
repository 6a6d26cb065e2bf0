"""Tables that fit the line of a paper at a readable size: words set below each other, columns in parts, rows turned.

    Placed (a grid, and which cells are marked) --turned--> rows are columns --parts--> tables that fit, keys in each

Widths are estimates: a mean letter of 9 pt (the tables' \\small) and of 7 pt (the \\scriptsize of an interval).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from fdetect.bench.report.grid import Grid

__all__ = ["INTERVAL", "NUMBER", "Place", "Placed", "cell_lines", "head_lines", "parts", "stacked"]

Place = tuple[int, int]  # row and column of a cell, from 0

INTERVAL = re.compile(r"\[[-+]?\d[\d.]*, [-+]?\d[\d.]*\]")
NUMBER = re.compile(r"[-+]?\d+(?:\.\d+)?(?![\w.])")

_LETTER, _SMALL, _GAP = 4.6, 3.5, 8.0  # pt: of a letter, of one in an interval, between columns
_LINE = 430.0  # pt: 345 of an article at 10 pt, to which LaTeX shrinks the table, by a fifth at most
_WORDS, _COUNTED = 40, 24  # letters of a line in a cell: of words, and of what stands below a figure
_KEYS = ("trained on",)  # columns that name a row, beside the first


@dataclass(frozen=True)
class Placed:
    """A grid, and the places of its cells that are bold or underlined."""

    grid: Grid
    bold: frozenset[Place] = frozenset()
    underlined: frozenset[Place] = frozenset()

    @property
    def keys(self) -> list[int]:
        """Columns that name a row."""
        return [c for c, name in enumerate(self.grid.columns) if c == 0 or name in _KEYS]

    def columns(self, chosen: Sequence[int]) -> Placed:
        """Return the table of these columns, in this order."""
        grid = replace(self.grid, columns=tuple(self.grid.columns[c] for c in chosen),
                       rows=tuple(tuple(row[c] for c in chosen) for row in self.grid.rows))  # fmt: skip
        bold, underlined = (frozenset((r, chosen.index(c)) for r, c in marked if c in chosen)
                            for marked in (self.bold, self.underlined))  # fmt: skip
        return Placed(grid, bold, underlined)

    def turned(self, corner: str) -> Placed:
        """Return the table with a column for each row; `corner` is said above its rows."""
        keys, rows = self.keys, self.grid.rows
        rest = [c for c in range(len(self.grid.columns)) if c not in keys]
        names = tuple(" ".join(filter(None, (row[c] for c in keys))) for row in rows)
        grid = replace(self.grid, columns=(corner, *names),
                       rows=tuple((self.grid.columns[c], *(row[c] for row in rows)) for c in rest))  # fmt: skip
        bold, underlined = (frozenset((rest.index(c), r + 1) for r, c in marked if c in rest)
                            for marked in (self.bold, self.underlined))  # fmt: skip
        return Placed(grid, bold, underlined)


def parts(placed: Placed) -> list[Placed]:
    """Cut a table by columns into tables that fit; the key columns stand in each, the note below the last."""
    grid, keys = placed.grid, placed.keys
    widths = [_GAP + max(map(_width, _lines(grid, c))) for c in range(len(grid.columns))]
    named = sum(widths[c] for c in keys)
    made: list[list[int]] = [[]]
    for c in range(len(widths)):
        if c in keys:
            continue
        if made[-1] and named + sum(widths[k] for k in [*made[-1], c]) > _LINE:
            made.append([])
        made[-1].append(c)
    if len(made) == 1:
        return [placed]
    cut = [placed.columns(sorted([*keys, *chosen])) for chosen in made]
    return [replace(one, grid=replace(one.grid, title=f"{grid.title} ({k + 1} of {len(cut)})",
                                      note=grid.note if k + 1 == len(cut) else ""))
            for k, one in enumerate(cut)]  # fmt: skip


def head_lines(grid: Grid, c: int) -> list[str]:
    """Break the name of a column into lines no longer than its cells, or than its longest piece."""
    longest = max(map(len, _cells(grid, c)), default=0)
    return stacked(grid.columns[c], max(12, min(longest, _WORDS)))


def _cells(grid: Grid, c: int) -> list[str]:
    return [line for row in grid.rows for line in cell_lines(row[c])]


def _lines(grid: Grid, c: int) -> list[str]:
    return [*head_lines(grid, c), *_cells(grid, c)]


def cell_lines(text: str) -> list[str]:
    """Break a cell: what was counted for a figure, as in "0.698 dalle-mini (24 groups)", below it, long words anywhere.
    """
    figure = re.match(rf"{NUMBER.pattern}(?: {INTERVAL.pattern})?[*!]* (?=.*\(.+\)$)", text)
    if figure:
        return [figure.group().rstrip(" "), *stacked(text[figure.end() :], _COUNTED)]
    return [text] if NUMBER.match(text) else stacked(text, _WORDS)


def stacked(text: str, width: int) -> list[str]:
    """Break words into lines of at most so many letters where a space or a sign such as : , + _ / - allows it.

    What stands in brackets stays together, unless it is long.
    """
    lines = [""]
    for piece in re.findall(r"\([^()]{1,24}\) *|[^ :,+_/-]+[ :,+_/-]*|[ :,+_/-]+", text):
        if lines[-1] and len(f"{lines[-1]}{piece}".rstrip(" ")) > width:
            lines.append("")
        lines[-1] += piece
    return [line.rstrip(" ") for line in lines if line.strip(" ")] or [""]


def _width(line: str) -> float:
    interval = INTERVAL.search(line)
    small = len(interval.group()) if interval else 0
    return (len(line) - small) * _LETTER + small * _SMALL
