"""What a terminal shows of one image: the verdict first, then why, how stable it is, the traces, and the file's claims.

It is short: of what is left out, it says how much that is and that the report has it.
Lines have at most so many columns; a wide character, as of Chinese, counts two.  No colour is needed.
"""

from __future__ import annotations

import textwrap
import unicodedata
from collections.abc import Iterable, Sequence

from fdetect.bench.inspecting.evidence import tally
from fdetect.bench.inspecting.inspection import Evidence, Inspection, View
from fdetect.bench.inspecting.shown.words import (
    apart_text,
    by_rarity,
    claims_of,
    count_text,
    far_text,
    file_name,
    score_text,
    share_text,
    stands_out,
)
from fdetect.bench.report.grid import printable

__all__ = ["COLUMNS", "terminal_lines"]

COLUMNS = 100
MOST_CLAIMS, MOST_TRACES = 6, 5
LONGEST = 600  # characters of a sentence
_CROP = "crop "  # views of single crops, which are told in one row
_SHORT = {"generated": "generator", "camera": "camera", "edited": "edited"}  # who is claimed to have made it


def terminal_lines(inspection: Inspection, *, report: str = "", columns: int = COLUMNS) -> list[str]:
    """Return the lines of one image; `report` is where its page went, or "" for none."""
    verdict, failure = inspection.verdict, inspection.failure
    more = "in the report" if report else "with -o report.html"
    lines = wrapped(f"{verdict.word.upper()}: {file_name(inspection.path)}", columns)
    if failure and not any(failure.reason[1:] in reason for reason in verdict.because):
        lines += wrapped(f"- {failure.reason}", columns, "  ", "    ")
    for reason in verdict.because:
        lines += wrapped(f"- {reason}", columns, "  ", "    ")
    lines += wrapped(apart_text(inspection), columns, "  ")
    lines += wrapped(verdict.meaning, columns, "  ")
    lines += wrapped(_mind(verdict.not_meant, more), columns, "  ")
    for notice in inspection.notices:
        lines += wrapped(f"Note: {notice}", columns, "  ")
    if inspection.views:
        lines += _rows(("view", "score", "photographs as high"), _views(inspection.views), columns)
    if inspection.tiles:
        lines += wrapped(f"Tiles: {inspection.tiles.reason or inspection.tiles.sentence}", columns, "  ")
    lines += _traces(inspection.evidence, more, columns)
    lines += _claims(inspection, more, columns)
    return lines + (wrapped(f"Report: {report}", columns, "  ") if report else [])


def wrapped(text: str, columns: int, first: str = "", later: str = "") -> list[str]:
    """Break one text into lines that fit; none for no text."""
    text = printable(text)
    text = text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
    width = columns if width_of(text) == len(text) else columns // 2  # wide characters take two columns
    return textwrap.wrap(text, width, initial_indent=first, subsequent_indent=later or first)


def width_of(text: str) -> int:
    """Return the columns of a text."""
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def _mind(sentences: Sequence[str], more: str) -> str:
    if not sentences:
        return ""
    rest = len(sentences) - 1
    return f"Mind: {sentences[0]}{f' ({rest} more {more})' if rest else ''}"


def _views(views: Sequence[View]) -> list[tuple[str, ...]]:
    """Return a row for each view, and one for all single crops: their lowest and highest."""
    rows = [_view(view) for view in views if not view.name.startswith(_CROP)]
    crops = [view for view in views if view.name.startswith(_CROP) and _scored(view)]
    if len(crops) > 1:  # a single one is the picture as stored
        low, high = (_view(one(crops, key=lambda view: view.standing.value)) for one in (min, max))
        held = f"{low[2]} to {high[2]}" if low[2] != high[2] else low[2]
        rows.append((f"{len(crops)} single crops", f"{low[1]} to {high[1]}", held))
    return rows


def _scored(view: View) -> bool:
    return score_text(view.standing.value) != "–"


def _view(view: View) -> tuple[str, ...]:
    if not _scored(view):
        return (view.name, "–", f"no score: {view.reason or 'no reason was given'}")
    count = count_text(view.standing)
    shown = f"{count} ({share_text(view.standing.high)})" if count else "no reference photographs"
    return (view.name, score_text(view.standing.value), shown)


def _traces(evidence: Sequence[Evidence], more: str, columns: int) -> list[str]:
    """Say how many traces stand out, and show the rarest: all that stand out, and others up to MOST_TRACES."""
    run = [one for one in by_rarity(evidence) if not one.reason]
    missing = [one for one in evidence if one.reason]
    shown = run[: max(MOST_TRACES, sum(map(stands_out, run)))]
    lines = wrapped(tally(run), columns, "  ") if run else []
    if shown:
        lines += _rows(("trace", "photographs as far", "AUROC alone (chance: 0.50)"), map(_trace, shown), columns)
    if len(run) > len(shown):
        lines.append(f"    and {len(run) - len(shown)} more {more}")
    if len(missing) == 1:
        return lines + wrapped(f"Not run: {missing[0].title}: {missing[0].reason}", columns, "  ", "    ")
    titles = "; ".join(one.title for one in missing)
    return lines + (wrapped(f"Not run: {titles} (why: {more})", columns, "  ", "    ") if missing else [])


def _trace(one: Evidence) -> tuple[str, ...]:
    shown = far_text(one) or "no reference photographs"
    return (one.title, shown, f"{one.weight:.2f}" if one.weight == one.weight else "–")


def _claims(inspection: Inspection, more: str, columns: int) -> list[str]:
    claims = claims_of(inspection)
    telling = [one for one in claims if one.meaning in _SHORT][:MOST_CLAIMS]
    status = inspection.credentials.status if inspection.credentials else ""
    head = "Claims of the file (none entered the verdict)" if telling else "The file claims nothing on how it was made"
    if inspection.metadata is None and not telling:
        head = "What the file claims was not looked for"
    lines = wrapped(f"{head}{f'; Content Credentials: {status}' if status else ''}", columns, "  ")
    rows = [(f"  {_SHORT[one.meaning]}", f"{one.source} {one.name}", one.value) for one in telling]
    lines += _rows((), rows, columns)
    if len(claims) > len(telling):
        lines.append(f"    and {len(claims) - len(telling)} more {more}")
    for one in inspection.thumbnails:
        if one.agrees is False:
            lines += wrapped(f"Preview ({one.kind}): {one.sentence}", columns, "    ")
    return lines


def _rows(head: tuple[str, ...], rows: Iterable[tuple[str, ...]], columns: int) -> list[str]:
    """Align a table whose rows fit a line each: what is too long is cut, the last column by what is left."""
    table = [tuple(printable(text) for text in row) for row in rows]
    table = [head, *table] if head else table
    widths: dict[int, int] = {}  # of the columns that another one follows, in any row
    for row in table:
        widths |= {k: min(max(widths.get(k, 0), width_of(text)), columns * 2 // 5) for k, text in enumerate(row[:-1])
                   if any(row[k + 1 :])}  # fmt: skip
    lines = []
    for row in table:
        line = "  "
        for k, text in enumerate(row):
            if not any(row[k + 1 :]):
                lines.append((line + _cut(text, columns - width_of(line))).rstrip())
                break
            shown = _cut(text, widths[k])
            line += shown + " " * (widths[k] - width_of(shown) + 2)
    return lines


def _cut(text: str, columns: int) -> str:
    if width_of(text) <= columns:
        return text
    while text and width_of(text) > columns - 1:
        text = text[: -max(1, (width_of(text) - columns + 1) // 2)]
    return f"{text}…"
