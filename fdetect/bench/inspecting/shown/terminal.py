"""What a terminal shows of one image: the verdict first, then why, how stable it is, the traces, and the file's claims.

Lines have at most so many columns; a wide character, as of Chinese, counts two.  No colour is needed.
"""

from __future__ import annotations

import textwrap
import unicodedata
from collections.abc import Iterable

from fdetect.bench.inspecting.inspection import Evidence, Inspection, View
from fdetect.bench.inspecting.shown.words import claims_of, count_text, file_name, score_text, share_text
from fdetect.bench.report.grid import printable

__all__ = ["COLUMNS", "terminal_lines"]

COLUMNS = 100
MOST_CLAIMS = 8
LONGEST = 600  # characters of a sentence
_SHORT = {"generated": "generator", "camera": "camera", "edited": "edited"}  # who is claimed to have made it


def terminal_lines(inspection: Inspection, *, report: str = "", columns: int = COLUMNS) -> list[str]:
    """Return the lines of one image; `report` is where its page went, or "" for none."""
    verdict, failure = inspection.verdict, inspection.failure
    lines = wrapped(f"{verdict.word.upper()}: {file_name(inspection.path)}", columns)
    if failure:
        lines += wrapped(f"not scored: {failure.stage}: {failure.reason}", columns, "  ")
    for reason in verdict.because:
        lines += wrapped(f"- {reason}", columns, "  ", "    ")
    lines += wrapped(verdict.meaning, columns, "  ")
    lines += wrapped(f"Not meant: {' '.join(verdict.not_meant)}" if verdict.not_meant else "", columns, "  ")
    for notice in inspection.notices:
        lines += wrapped(f"Note: {notice}", columns, "  ")
    if inspection.views:
        lines += _rows(("view", "score", "photographs as high"), map(_view, inspection.views), columns)
    if inspection.tiles:
        lines += wrapped(f"Tiles: {inspection.tiles.reason or inspection.tiles.sentence}", columns, "  ")
    if inspection.evidence:
        lines += _rows(("trace", "photographs as high", "AUROC alone"), map(_trace, inspection.evidence), columns)
    lines += _claims(inspection, columns)
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


def _view(view: View) -> tuple[str, ...]:
    score = score_text(view.standing.value)
    if score == "–":
        return (view.name, "–", f"no score: {view.reason or 'no reason was given'}")
    count = count_text(view.standing)
    return (view.name, score, f"{count} ({share_text(view.standing.high)})" if count else "no reference photographs")


def _trace(one: Evidence) -> tuple[str, ...]:
    if one.reason:
        return (one.title, f"not run: {one.reason}", "")
    count = count_text(one.standing)
    shown = f"{count} ({share_text(one.standing.high)})" if count and one.standing else "no reference photographs"
    return (one.title, shown, f"{one.weight:.2f}" if one.weight == one.weight else "–")


def _claims(inspection: Inspection, columns: int) -> list[str]:
    claims = claims_of(inspection)
    telling = [one for one in claims if one.meaning in _SHORT][:MOST_CLAIMS]
    status = getattr(inspection.credentials, "status", "")
    none = "" if telling else ": nothing on how it was made"
    lines = wrapped(f"What the file says of itself (claims; none entered the verdict){none}", columns, "  ")
    rows = [(f"  {_SHORT[one.meaning]}", f"{one.source} {one.name}", one.value) for one in telling]
    lines += _rows((), rows, columns)
    if len(claims) > len(telling):
        lines.append(f"    and {len(claims) - len(telling)} more in the report")
    lines += wrapped(f"Content Credentials: {status}" if status else "", columns, "    ")
    for one in inspection.thumbnails:
        if getattr(one, "agrees", None) is False:
            lines += wrapped(f"Preview ({getattr(one, 'kind', '')}): {getattr(one, 'sentence', '')}", columns, "    ")
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
