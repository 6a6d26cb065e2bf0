"""One image's inspection as a page: verdict, picture, stability, evidence, and apart from them what the file says.

The page loads nothing and stays below LIMIT bytes.  Where it would be larger, pictures go in the order of `_yielding`
and the page says which; where even that is too much, texts and lists are cut, and say so.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from markupsafe import Markup

from fdetect.bench.inspecting.evidence import tally
from fdetect.bench.inspecting.inspection import GENERATED, REAL, Evidence, Inspection, Verdict, View
from fdetect.bench.inspecting.shown.overlay import LEVELS, jpeg_uri, place_strip, place_ticks, swatch, tile_overlay
from fdetect.bench.inspecting.shown.pictures import caption
from fdetect.bench.inspecting.shown.provenance_shown import (
    LARGEST_PREVIEW,
    PREVIEW,
    Preview,
    Provenance,
    provenance_of,
)
from fdetect.bench.inspecting.shown.words import (
    Room,
    apart_text,
    by_rarity,
    compared,
    count_text,
    file_name,
    score_text,
    share_text,
    stands_out,
)
from fdetect.bench.report.page import render_page
from fdetect.bench.report.size import LIMIT
from fdetect.images import Decoded
from fdetect.types import Failure

__all__ = ["render_inspection"]

_KINDS = {GENERATED: "marked", REAL: ""}  # of the box around the word; "hint" for others
_TIGHT = Room(longest=200, most=30)  # what fits whatever the texts are


@dataclass(frozen=True)
class _Place:
    """A score with its place among photographs, as texts and a strip; `reason` where it has no score."""

    name: str
    text: str
    score: str
    count: str
    share: str
    strip: Markup
    reason: str


@dataclass(frozen=True)
class _Card:
    """One trace, as texts and drawings; `value` is "" without one, `out` says whether it stands out."""

    title: str
    sentence: str
    value: str
    out: bool
    reason: str
    picture: Markup
    caption: str
    chart: Markup


def render_inspection(
    inspection: Inspection, *, pictures: Mapping[str, Markup] | None = None, charts: Mapping[str, Markup] | None = None,
    limit: int = LIMIT,
) -> str:  # fmt: skip
    """Write an inspection as one self-contained page of less than `limit` bytes; every text is escaped.

    pictures  what a trace sees in the picture, by the name of its evidence
    charts    its place among photographs, by the same name; a strip is drawn where there is none

    The same values make the same bytes.
    """
    inspection = replace(inspection, evidence=by_rarity(inspection.evidence))
    for room in (Room(), _TIGHT):
        provenance = provenance_of(inspection, room)
        drawn, gone = _drawn(inspection, provenance, pictures or {}, charts or {}, room), list[str]()
        waiting = _yielding(inspection, drawn, room)
        page = _render(inspection, provenance, drawn, gone, room)
        while (excess := len(page.encode()) - limit) >= 0 and waiting:
            while waiting and excess >= 0:
                key, words = waiting.pop(0)
                excess -= len(drawn.pop(key).encode())
                gone.append(words)
            page = _render(inspection, provenance, drawn, gone, room)
        if len(page.encode()) < limit:
            break
    return page


def _drawn(
    inspection: Inspection, provenance: Provenance, pictures: Mapping[str, Markup], charts: Mapping[str, Markup],
    room: Room,
) -> dict[str, str]:  # fmt: skip
    """Return all that takes room: "picture 0" and "chart 0" of the first trace, "preview 0", "tiles", "image"."""
    made: dict[str, str] = {}
    for k, one in enumerate(inspection.evidence[: room.most]):
        if not one.reason and one.name in pictures:
            made[f"picture {k}"] = pictures[one.name]
        if chart := charts.get(one.name) or (place_ticks() + place_strip(one.standing) if one.standing else ""):
            made[f"chart {k}"] = chart
    previews = {f"preview {k}": one.uri for k, one in enumerate(provenance.previews) if one.uri}
    if inspection.pixels is not None:
        made["image"], made["size"] = jpeg_uri(inspection.pixels)
        if previews:
            made["beside"] = jpeg_uri(inspection.pixels, PREVIEW, PREVIEW, LARGEST_PREVIEW)[0]
        if inspection.tiles and np.isfinite(inspection.tiles.high).any():
            made["tiles"] = tile_overlay(inspection.tiles)
    return made | previews


def _yielding(inspection: Inspection, drawn: Mapping[str, str], room: Room) -> list[tuple[str, str]]:
    """Return what may go, first to last: pictures of traces, the last first; previews; charts; tiles; the picture."""
    traces = [(k, one.title) for k, one in reversed(list(enumerate(inspection.evidence)))]
    order = [(f"picture {k}", f"what is seen of {title}") for k, title in traces]
    order += [(f"preview {k}", f"preview {k + 1}") for k in reversed(range(len(inspection.thumbnails)))]
    order += [(f"chart {k}", f"the chart of {title}") for k, title in traces]
    order += [("beside", "the picture beside previews"), ("tiles", "the tiles"), ("image", "the picture")]
    return [(key, room.text(words, longest=100)) for key, words in order if key in drawn]


def _render(
    inspection: Inspection, provenance: Provenance, drawn: Mapping[str, str], gone: list[str], room: Room
) -> str:
    verdict, failure, tiles, facts = inspection.verdict, inspection.failure, inspection.tiles, inspection.facts
    question, figures = compared(verdict)
    score = score_text(verdict.score)
    previews = tuple(_preview(one, f"preview {k}" in drawn) for k, one in enumerate(provenance.previews))
    return render_page(
        "inspect.html.j2", name=room.text(file_name(inspection.path)), word=verdict.word,
        question=question, figures=figures, score=score if score != "–" else "",
        apart=room.text(apart_text(inspection)), sections=_sections(inspection),
        kind=_KINDS.get(verdict.word, "hint"), because=room.texts(verdict.because), meaning=room.text(verdict.meaning),
        not_meant=room.texts(verdict.not_meant), notices=room.texts(inspection.notices), gone=room.texts(gone),
        failure=room.text(failure.reason) if failure and not _told(failure, verdict) else "",
        image=drawn.get("image", ""), shown=drawn.get("size", ""), overlay=Markup(drawn.get("tiles", "")),
        decoded=inspection.pixels is not None, quick=failure is None and facts is not None,
        looked=inspection.metadata is not None, turned=facts.orientation if facts and facts.orientation != 1 else 0,
        size=f"{facts.width} x {facts.height} px" if facts else "", unscored=swatch(None),
        legend=[(swatch(k), words) for k, (*_, words) in enumerate(LEVELS)],
        tiles=room.text(tiles.reason or tiles.sentence) if tiles else "", ticks=place_ticks(),
        views=[_place(view, room) for view in inspection.views[: room.most]],
        cards=[_card(one, k, drawn, room, inspection.crop) for k, one in enumerate(inspection.evidence[: room.most])],
        tally=tally(inspection.evidence) if inspection.evidence else "",
        provenance=replace(provenance, previews=previews), beside=drawn.get("beside", ""),
        about=_about(inspection, room),
    )  # fmt: skip


def _told(failure: Failure, verdict: Verdict) -> bool:
    """Whether the verdict gives this reason already, with a capital."""
    return any(failure.reason[1:] in text for text in verdict.because)


def _sections(inspection: Inspection) -> list[tuple[str, str]]:
    """Return the sections to lead to, those that have anything in them."""
    full = [(inspection.pixels is not None, "picture", "Picture"), (bool(inspection.views), "stability", "Stability"),
            (bool(inspection.evidence), "evidence", "Evidence"), (True, "provenance", "What the file says"),
            (True, "how", "This report"), (True, "reading", "How to read this")]  # fmt: skip
    return [(anchor, words) for there, anchor, words in full if there]


def _place(view: View, room: Room) -> _Place:
    name, text, score = room.text(view.name), room.text(view.text), score_text(view.standing.value)
    reason = room.text(view.reason or "no reason was given") if score == "–" else ""
    share = share_text(view.standing.high)
    return _Place(name, text, score, count_text(view.standing), share, place_strip(view.standing), reason)


def _card(one: Evidence, k: int, drawn: Mapping[str, str], room: Room, crop: Decoded | None) -> _Card:
    picture, chart = (Markup(drawn.get(f"{kind} {k}", "")) for kind in ("picture", "chart"))
    value = f"{one.value:.4g}" if one.standing and one.standing.n and math.isfinite(one.value) else ""
    reason = room.text(one.reason)
    said = caption(one.picture, crop) if picture else ""
    return _Card(room.text(one.title), room.text(one.sentence), value, stands_out(one), reason, picture, said, chart)


def _preview(one: Preview, drawn: bool) -> Preview:
    return one if drawn or one.reason else replace(one, uri="", reason="it is not shown, to keep this page small")


def _about(inspection: Inspection, room: Room) -> list[tuple[str, str]]:
    items = [("content", inspection.id), *inspection.about.items()]
    return [(room.text(name), room.text(str(text))) for name, text in items[: room.most]]
