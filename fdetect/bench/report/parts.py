"""What the report is made of: a page is sections in order, and a section is words, charts, tables and smaller sections.

Whoever has something to show returns a `Section` and is placed by one line, in `report.py` if it comes from the
result, in `scores_part.py` if it needs the score table.  All text is escaped by the template; what is `Markup`
already (charts, a text with a badge in it) is written as it is, and its names were escaped where it was made.
"""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import Markup

from fdetect.bench.report.grid import Grid, printable

__all__ = ["Figure", "Section", "badge"]


@dataclass(frozen=True)
class Figure:
    """A chart and the sentence above it; `mark` is what the audit says of it, where its section does not say it.

    `condition` is the one that it is about, by which readers filter, where its section is about several.
    """

    caption: str
    chart: Markup
    mark: str = ""
    condition: str = ""


@dataclass(frozen=True)
class Section:
    """One part of the page; `anchor` is its id, unique on the page, of letters, digits and hyphens.

    texts      paragraphs below the title: text, or Markup
    note       small print below them: how to read what follows
    mark       what the audit says of everything in it: stands beside the title, and in brief at charts and tables
    condition  the one that all of it is about, by which readers filter; "" for several
    words      whether its tables hold sentences, which may wrap
    folded     whether its tables are shut until a reader opens them
    left_out   conditions whose parts are not on the page, to keep it small, and `elsewhere` the files that hold them
    """

    title: str
    anchor: str
    texts: tuple[str, ...] = ()
    note: str = ""
    figures: tuple[Figure, ...] = ()
    grids: tuple[Grid, ...] = ()
    parts: tuple[Section, ...] = ()
    mark: str = ""
    condition: str = ""
    words: bool = False
    folded: bool = False
    left_out: tuple[str, ...] = ()
    elsewhere: str = ""

    @property
    def empty(self) -> bool:
        """Whether nothing but a title and a note is left: such a section is not shown."""
        return not (self.texts or self.figures or self.grids or any(not part.empty for part in self.parts))


def badge(text: str, *, soft: bool = False) -> Markup:
    """Write what the audit says as a badge, or in outline what is softer than a mark; nothing for no text."""
    kind = "badge hint" if soft else "badge"
    return Markup('<span class="{}">{}</span>').format(kind, printable(text)) if text else Markup("")
