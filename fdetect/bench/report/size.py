"""A page that stays small enough to be sent: with many conditions, what stands in other files too makes room.

First the curves of single conditions go, then their tables by source, then their results: the last condition first,
and never the condition that the page is about.  What is not shown is named where it would have stood, with the files
that hold it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from fdetect.bench.report.parts import Section

__all__ = ["LIMIT", "MAIN", "fitting"]

LIMIT = 2_950_000  # bytes of a page
MAIN = "matched"  # the condition whose parts stay

_YIELDING = {  # anchors of sections whose parts may go, in this order, and the files that hold the same
    "curves": "tables.md and score_curves.json",
    "sources": "tables.md and by_source.csv",
    "results": "tables.md and cells.csv",
}
_OF_A_CELL = 60  # bytes of a table's cell beside its text


def fitting(page: Sequence[Section], render: Callable[[Sequence[Section]], str], *, limit: int = LIMIT) -> str:
    """Return the rendered page, without as many parts as it takes to stay below `limit` bytes.

    Where even that is too much, all the rest is shown: nothing but what stands in other files may go.
    """
    text = render(page)
    while (excess := len(text.encode()) - limit) > 0:
        fewer = _lightened(page, excess)
        if fewer == page:
            return text
        page, text = fewer, render(fewer)
    return text


def _lightened(page: Sequence[Section], excess: int) -> tuple[Section, ...]:
    """Take parts away that are about as long as the excess."""
    made = list(page)
    for anchor, files in _YIELDING.items():
        for k, section in enumerate(made):
            if section.anchor != anchor:
                continue
            going: list[str] = []
            for part in reversed(section.parts):
                if excess > 0 and part.condition not in ("", MAIN) and part is not section.parts[0]:
                    going.insert(0, part.condition)
                    excess -= _length(part)
            if going:
                left = tuple(part for part in section.parts if part.condition not in going)
                gone = (*going, *section.left_out)  # in the order of the page: the last went first
                made[k] = replace(section, parts=left, left_out=gone, elsewhere=files)
    return tuple(made)


def _length(section: Section) -> int:
    """Estimate the bytes of a part on the page."""
    own = sum(len(one.chart) + len(one.caption) + _OF_A_CELL for one in section.figures)
    for grid in section.grids:
        own += len(grid.title) + len(grid.note) + sum(len(text) + _OF_A_CELL for row in grid.rows for text in row)
    return own + sum(_length(part) for part in section.parts)
