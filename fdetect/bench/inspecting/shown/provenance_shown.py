"""What a page says of where a file comes from: facts, JPEG history, Content Credentials, claims and previews.

All of it is what a file says of itself, or what its compression left; none of it entered the verdict.
"""

from __future__ import annotations

from dataclasses import dataclass

from fdetect.bench.inspecting.inspection import Inspection
from fdetect.bench.inspecting.shown.overlay import jpeg_uri
from fdetect.bench.inspecting.shown.words import Room, claims_of
from fdetect.bench.report.grid import Grid
from fdetect.errors import DataError
from fdetect.images import decode, jpeg_quality
from fdetect.metadata.claims import Claim
from fdetect.metadata.credentials import Credentials
from fdetect.metadata.thumbnails import Thumbnail
from fdetect.types import Facts

__all__ = ["LARGEST_PREVIEW", "PREVIEW", "Preview", "Provenance", "provenance_of"]

PREVIEW = 220  # px of the longer side of a preview, at most
LARGEST_PREVIEW = 40_000  # bytes

_CLAIMS_TO = {"generated": "made by a generator", "camera": "from a camera or scanner", "edited": "edited by a program"}


@dataclass(frozen=True)
class Preview:
    """One preview within the file: words, its picture as a data URI or why there is none, and whether it differs."""

    title: str
    sentence: str
    uri: str
    reason: str
    differs: bool


@dataclass(frozen=True)
class Provenance:
    """What the page shows, as texts; `telling` are claims with a meaning, each behind its words."""

    facts: tuple[tuple[str, str], ...]
    history: tuple[str, ...]
    status: str
    credentials: tuple[tuple[str, str], ...]
    failures: tuple[str, ...]
    telling: tuple[tuple[str, Claim], ...]
    others: Grid
    hidden: str
    previews: tuple[Preview, ...]
    problems: tuple[str, ...]


def provenance_of(inspection: Inspection, room: Room) -> Provenance:
    """Put the provenance of an inspection into words."""
    claims = claims_of(inspection)
    telling = [one for one in claims if one.meaning in _CLAIMS_TO]
    others = [one for one in claims if one.meaning not in _CLAIMS_TO]
    hidden = len(telling[room.most :]) + len(others[room.most :])
    told = inspection.credentials
    return Provenance(
        facts=_facts(inspection.facts) if inspection.facts else (),
        history=room.texts(inspection.history.sentences if inspection.history else ()),
        status=room.text(told.status if told else ""),
        credentials=_credentials(told, room) if told else (),
        failures=room.texts(told.failures if told else ()),
        telling=tuple((_CLAIMS_TO[one.meaning], _cut(one, room)) for one in telling[: room.most]),
        others=Grid("", ("where", "what it says"), tuple(_row(_cut(one, room)) for one in others[: room.most])),
        hidden=f"{hidden} more claims are not shown." if hidden else "",
        previews=tuple(_preview(one, room) for one in inspection.thumbnails[: room.most]),
        problems=room.texts(inspection.metadata.problems if inspection.metadata else ()),
    )


def _row(claim: Claim) -> tuple[str, str]:
    return f"{claim.source}: {claim.name}", f"{claim.value} ({claim.note})" if claim.note else claim.value


def _cut(claim: Claim, room: Room) -> Claim:
    source, name = (room.text(text, longest=100) for text in (claim.source, claim.name))
    value, note = (room.text(text, longest=500) for text in (claim.value, claim.note))
    return Claim(source, name, value, claim.meaning, note)


def _facts(facts: Facts) -> tuple[tuple[str, str], ...]:
    made = [("format", facts.format), ("size", f"{facts.width} x {facts.height} px"), ("bytes", f"{facts.bytes:,}"),
            ("stored as", facts.mode)]  # fmt: skip
    if quality := jpeg_quality(facts.qtables):
        number, exact = quality
        words = f"those of quality {number}" if exact else f"a program's own, near quality {number}"
        made.append(("JPEG tables", words))
    if facts.subsampling:
        made.append(("colour", f"{facts.subsampling}{', progressive' if facts.progressive else ''}"))
    if facts.orientation != 1:
        made.append(("orientation", f"EXIF {facts.orientation}: viewers turn or mirror it, this page does not"))
    return tuple(made)


def _credentials(told: Credentials, room: Room) -> tuple[tuple[str, str], ...]:
    texts = (("finding", told.reason), ("signer", told.signer), ("time stamp", told.time),
             ("written by", told.claim_generator))  # fmt: skip
    return tuple((words, room.text(text)) for words, text in texts if text)


def _preview(one: Thumbnail, room: Room) -> Preview:
    title = room.text(f"{one.kind}, {one.width} x {one.height} px" if one.width else one.kind)
    sentence, differs = room.text(one.sentence), one.agrees is False
    try:
        pixels = decode(one.jpeg).pixels
    except DataError as error:
        return Preview(title, sentence, "", room.text(f"it cannot be shown: {error}"), differs)
    return Preview(title, sentence, jpeg_uri(pixels, PREVIEW, PREVIEW, LARGEST_PREVIEW)[0], "", differs)
