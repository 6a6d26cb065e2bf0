"""From fields to claims: each held against the table of generators, told once, those with a meaning first."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable

from fdetect.metadata.claims import MEANINGS, Claim, shortened
from fdetect.metadata.digital_source import digital_source_meaning
from fdetect.metadata.generators import ROWS, Row
from fdetect.metadata.ledger import Field, Ledger

__all__ = ["MOST_CLAIMS", "claims_of"]

MOST_CLAIMS = 200  # that are told; those with a meaning come first

_SOURCES = ("PNG text", "EXIF", "XMP", "IPTC", "JPEG comment", "GIF comment", "C2PA", "file")


def claims_of(ledger: Ledger) -> tuple[Claim, ...]:
    """Return the claims of the fields that were read: generated, camera, edited, then the rest by their sources."""
    places = [_place(field) for field in ledger.fields]
    held = [row for row in ROWS if row.also is None or _stands(*row.also, ledger.fields, places)]
    rows = {place: [row for row in held if _compiled(row.where).fullmatch(place)] for place in set(places)}
    pairs = zip(ledger.fields, places, strict=True)
    claims = dict.fromkeys(_claim(field, place, rows[place]) for field, place in pairs)
    ranks = {meaning: rank for rank, meaning in enumerate(MEANINGS)}
    order = sorted(claims, key=lambda claim: (ranks[claim.meaning], _SOURCES.index(claim.source)))
    if len(order) > MOST_CLAIMS:
        ledger.problem(f"only {MOST_CLAIMS} of its {len(order)} claims are told, those with a meaning first")
    return tuple(order[:MOST_CLAIMS])


def _place(field: Field) -> str:
    return f"{field.source}:{field.name.rpartition('/')[2] if field.source == 'XMP' else field.name}"


def _claim(field: Field, place: str, rows: Iterable[Row]) -> Claim:
    if place.lower().endswith("digitalsourcetype"):
        meaning, note = digital_source_meaning(field.text)
    else:
        shaped = (row for row in rows if all(_compiled(one).search(field.text) for one in row.shape))
        row = next(shaped, None)
        meaning, note = (row.meaning, row.note) if row else ("", "")
    return Claim(field.source, field.name, shortened(field.text), meaning, note)


def _stands(where: str, shape: str, fields: list[Field], places: list[str]) -> bool:
    pairs = zip(fields, places, strict=True)
    return any(_compiled(where).fullmatch(place) and _compiled(shape).search(field.text) for field, place in pairs)


@functools.cache
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE)
