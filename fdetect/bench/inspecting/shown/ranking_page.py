"""The ranking of many images as one self-contained page: how many of each verdict, what that means, then the rows.

The page loads nothing and stays below LIMIT bytes: first come rows, at most MOST of them, then pictures from the top as
far as room is.  What is not shown is counted.
"""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import quote

from markupsafe import Markup

from fdetect.bench.inspecting.inspection import GENERATED, INCONCLUSIVE, NO_VERDICT, REAL, Inspection
from fdetect.bench.inspecting.judging import CLAIM, FLAG, ODDS
from fdetect.bench.inspecting.shown.overlay import place_on
from fdetect.bench.inspecting.shown.ranking import claims_text, counts, ranks, share_digits
from fdetect.bench.inspecting.shown.words import AS_MUCH, Room, file_name
from fdetect.bench.inspecting.verdict import ALWAYS
from fdetect.bench.report.page import render_page
from fdetect.bench.report.size import LIMIT
from fdetect.bench.report.svg import number, tag
from fdetect.metadata.credentials import ABSENT

__all__ = ["MOST", "PICTURED", "render_ranking"]

MOST = 2000  # rows
PICTURED = 500  # rows with a picture, at most

_KINDS = {GENERATED: "badge", REAL: "badge fine", INCONCLUSIVE: "badge hint", NO_VERDICT: "badge hint"}
_MEANINGS = {
    GENERATED: f"in its weakest view it stands out as at most 1 photograph in {1 / CLAIM:.0f} does in its own, and "
               f"generated images do so at least {ODDS:g} times as often",
    INCONCLUSIVE: "the evidence carries no claim: the usual answer, and no sign of a photograph",
    REAL: f"in its strongest view it stands out as little as at most 1 generated image in {1 / CLAIM:.0f} does in its "
          f"own, and photographs do so at least {ODDS:g} times as often; only of generators like those of the "
          "references",
    NO_VERDICT: "it could not be judged: nothing is known of it, and its row says why",
}  # fmt: skip
_ROOM = Room(longest=300, most=50)
_WIDTH, _HEIGHT, _MARGIN = 120, 14, 6  # px of a strip
_NOTICES = 4
_OF_A_PICTURE = 60  # bytes of its elements, at most


@dataclass(frozen=True)
class _Row:
    """One image as texts; `href` leads to its own page, or is "" ; `picture` is a data URI, or ""."""

    rank: str
    name: str
    folder: str
    href: str
    word: str
    kind: str
    reason: str
    share: str
    strip: Markup
    claims: str
    status: str
    picture: str = ""


def render_ranking(
    inspections: Sequence[Inspection], about: Mapping[str, str], *, reports: Mapping[str, Path], folder: Path,
    thumbnails: Mapping[str, str] | None = None, limit: int = LIMIT,
) -> str:  # fmt: skip
    """Write inspections, ranked already, as one page of less than `limit` bytes; every text is escaped.

    about       what every verdict rests on, as `Inspector.about`
    reports     by path of an image its own page, which its row links to, relative to `folder`, where this page will be
    thumbnails  by path of an image, a data URI

    The same values make the same bytes.
    """
    places = ranks(inspections)
    rows = [_row(one, place, reports.get(one.path), folder)
            for one, place in zip(inspections[:MOST], places, strict=False)]  # fmt: skip
    page = _render(inspections, rows, about, 0)
    while len(page.encode()) >= limit and rows:
        rows = rows[: len(rows) // 2]
        page = _render(inspections, rows, about, 0)
    room = limit - len(page.encode()) - 300  # the sentence on pictures
    n = 0
    for k, one in enumerate(inspections[: min(len(rows), PICTURED)]):
        uri = (thumbnails or {}).get(one.path, "")
        room -= len(uri) + _OF_A_PICTURE
        if room <= 0:
            break
        rows[k], n = replace(rows[k], picture=uri), k + 1
    return _render(inspections, rows, about, n) if n and thumbnails else page


def _render(inspections: Sequence[Inspection], rows: Sequence[_Row], about: Mapping[str, str], n_pictured: int) -> str:
    found = counts(inspections)
    n, n_generated, n_claims = len(inspections), found[GENERATED], sum(map(bool, map(claims_text, inspections)))
    n_judged = n - found[NO_VERDICT]
    told = [(count, word, _KINDS[word], _MEANINGS[word]) for word, count in found.items()
            if count or word != NO_VERDICT]  # fmt: skip
    title = f"{n_generated or 'none'} of {n_judged} judged likely generated" if n_judged else NO_VERDICT
    return render_page(
        "ranking.html.j2", n=n, title=title,
        kind="marked" if n_generated else "hint", counts=told, n_claims=n_claims,
        meaning=(*_chance(inspections, about), *_common(inspections)), rows=rows, n_more=n - len(rows),
        n_pictured=n_pictured, axis=_axis(), width=_WIDTH, height=_HEIGHT, notices=_notices(inspections),
        linked=any(row.href for row in rows), as_much=AS_MUCH,
        about=[(_ROOM.text(name), _ROOM.text(str(text), longest=1000)) for name, text in list(about.items())[:50]],
    )  # fmt: skip


def _chance(inspections: Sequence[Inspection], about: Mapping[str, str]) -> tuple[str, ...]:
    """Say how many photographs would be called likely generated by chance, and what that makes of those found."""
    n = sum(math.isfinite(one.verdict.p_real) for one in inspections)
    if not n:
        return ("No image could be held against photographs, so that there is no verdict; the rows say why.",)
    among, expected, found = about.get("calibration set", ""), n * CLAIM, counts(inspections)[GENERATED]
    many = f"{expected:.1f}" if expected < 10 else f"{expected:.0f}"
    told = [f"Held against {_ROOM.text(among) or 'reference photographs'}. If all {n} that were judged were "
            f"photographs like these, chance alone would call up to {many} of them likely generated on average: 1 of "
            f"{1 / CLAIM:.0f}. Other photographs may stand out more often."]  # fmt: skip
    if 0 < found <= expected:
        told.append(f"The {found} found {'is' if found == 1 else 'are'} no more than that: alone no reason to think "
                    "that there is a generated image among these.")  # fmt: skip
    elif found:
        told.append("Which of those found are right is not known: look at each, and ask where it comes from.")
    return tuple(told)


def _common(inspections: Sequence[Inspection]) -> tuple[str, ...]:
    """Return what to keep in mind of every inconclusive image alike: claims that no image can have."""
    verdicts = [one.verdict for one in inspections if one.verdict.word == INCONCLUSIVE]
    every = Counter(text for one in verdicts for text in one.not_meant if text not in ALWAYS)
    return _ROOM.texts(text for text, count in every.items() if count == len(verdicts) > 1)


def _notices(inspections: Sequence[Inspection]) -> tuple[str, ...]:
    """Say once what weakens the answers on several images, the most frequent first."""
    every = Counter(notice for one in inspections for notice in one.notices).most_common()
    told = tuple(f"{count} of {len(inspections)} images: {_ROOM.text(notice)}" for notice, count in every[:_NOTICES])
    rest = len(every) - _NOTICES
    return (*told, f"and {rest} other remarks, which the reports of the images have") if rest > 0 else told


def _row(one: Inspection, place: int | None, report: Path | None, folder: Path) -> _Row:
    verdict, failure, name = one.verdict, one.failure, file_name(one.path)
    word, because = verdict.word, (failure.reason,) if failure else verdict.because
    status = one.credentials.status if one.credentials else ""
    return _Row(
        rank=str(place or "–"), name=_ROOM.text(name, longest=160), href=_link(report, folder) if report else "",
        folder=_ROOM.text(one.path[: len(one.path) - len(name)] if one.path.endswith(name) else "", longest=160),
        word=word, kind=_KINDS.get(word, "badge hint"), reason=_ROOM.text(because[0]) if because else "",
        share=share_digits(verdict.p_real), strip=_strip(verdict.p_real), claims=_ROOM.text(claims_text(one)),
        status=_ROOM.text(status, longest=60) if status != ABSENT else "",
    )  # fmt: skip


def _link(report: Path, folder: Path) -> str:
    """Return the relative URL of a report, every byte that is no letter, digit or one of "_.-~/" as %XX."""
    try:
        relative = os.path.relpath(os.path.realpath(report), os.path.realpath(folder))
    except ValueError:  # on another drive
        return ""
    return quote(os.fsencode(relative.replace(os.sep, "/")), safe="/")


def _strip(share: float) -> Markup:
    """Draw where a share of photographs stands, rarer to the right, over the line that all strips have in common."""
    if not math.isfinite(share):
        return Markup("")
    at, middle = _at(share), _HEIGHT / 2
    if share <= FLAG:
        return tag("path", d=f"M{number(at - 5)} {number(middle)}l5 -5l5 5l-5 5z", class_="dot warn")
    return tag("circle", cx=at, cy=middle, r=4, class_="dot")


def _axis() -> Markup:
    """Draw the line of all strips: what is behind the 5 % and the 1 % place is shaded, as in the report of an image."""
    shades = [tag("rect", x=_at(level), y=1, width=_WIDTH - _MARGIN - _at(level), height=_HEIGHT - 2,
                  fill="currentColor", fill_opacity=0.12) for level in (FLAG, CLAIM)]  # fmt: skip
    whole = f"M{_MARGIN} {number(_HEIGHT / 2)}H{_WIDTH - _MARGIN}"
    line = tag("path", d=whole, stroke="currentColor", stroke_opacity=0.6)
    return Markup("").join([*shades, line])


def _at(share: float) -> float:
    return place_on(share, _MARGIN, _WIDTH - _MARGIN)
