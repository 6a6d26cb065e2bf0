"""Figures and claims of an inspection in words, the same for the page and the terminal."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass

from fdetect.bench.inspecting.evidence import p_value, stands_out
from fdetect.bench.inspecting.inspection import REAL, Evidence, Inspection, Standing, Verdict
from fdetect.bench.inspecting.verdict import share_text
from fdetect.bench.report.grid import printable
from fdetect.metadata.claims import MEANINGS, Claim

__all__ = ["AS_LITTLE", "AS_MUCH", "Room", "apart_text", "by_rarity", "claimed", "claims_of", "compared", "count_text",
           "far_text", "file_name", "score_text", "share_text", "stands_out"]  # fmt: skip

_SEPARATOR = re.compile(r"/|\\(?!x[0-9a-f]{2})")  # \xff stands for a byte of a name that is no UTF-8

# what `p_real` and `p_generated` are shares of; photographs that are as high in every view are fewer
AS_MUCH = "photographs that stand out as much in their weakest view"
AS_LITTLE = "generated images that stand out as little in their strongest view"
_CLAIMS = 3  # that are named; the others are counted


def score_text(value: float) -> str:
    """Write a score with its sign, as in "+2.31"; a dash where there is none."""
    return f"{value:+.2f}" if math.isfinite(value) else "–"


def count_text(standing: Standing | None) -> str:
    """Say how many reference photographs are at least as high, as in "3 of 180"; "" where there are none to ask."""
    return "" if standing is None else _count(standing.high, standing.n)


def far_text(one: Evidence) -> str:
    """Say how many photographs lie as far on the side of generated images, as in "3 of 180 (2.2 %)"; "" if unknown."""
    share = p_value(one)
    count = _count(share, one.standing.n) if one.standing else ""
    return f"{count} ({share_text(share)})" if count else ""


def by_rarity(evidence: Iterable[Evidence]) -> tuple[Evidence, ...]:
    """Sort traces: those that stand out most come first, those not run last; equal ones keep their order."""
    return tuple(sorted(evidence, key=lambda one: (bool(one.reason), not stands_out(one), _or_one(p_value(one)))))


def _count(share: float, n: int) -> str:
    return f"{round(share * (n + 1)) - 1 or 'none'} of {n}" if math.isfinite(share) else ""


def _or_one(share: float) -> float:
    return share if math.isfinite(share) else 1.0


def file_name(path: str) -> str:
    """Return the last part of a path: folders may name people."""
    return _SEPARATOR.split(path.rstrip("/\\"))[-1] or path


def claims_of(inspection: Inspection) -> list[Claim]:
    """Return the claims of metadata and of Content Credentials, each once, those with a meaning first.

    That a manifest is there is said by Content Credentials, where these were looked for.
    """
    metadata, credentials = inspection.metadata, inspection.credentials
    own = metadata.claims if metadata else ()
    if credentials:
        own = (*(claim for claim in own if claim.source != "C2PA"), *credentials.claims)
    ranks = {meaning: rank for rank, meaning in enumerate(MEANINGS)}
    return sorted(dict.fromkeys(own), key=lambda claim: ranks.get(claim.meaning, len(ranks)))


def claimed(inspection: Inspection) -> str:
    """Name where a file claims to be generated: "PNG text parameters, XMP k1 and 2 more"; "" where it does not."""
    claims = [*(inspection.metadata.claims if inspection.metadata else ()),
              *(inspection.credentials.claims if inspection.credentials else ())]  # fmt: skip
    named = list(dict.fromkeys(f"{one.source} {one.name}" for one in claims if one.meaning == "generated"))
    more = f" and {len(named) - _CLAIMS} more" if len(named) > _CLAIMS else ""
    return f"{', '.join(named[:_CLAIMS])}{more}"


def apart_text(inspection: Inspection) -> str:
    """Say what stands apart from the verdict: that the file claims to be generated; "" where it does not."""
    named = claimed(inspection)
    return f"Apart from this, the file itself claims to be generated ({named})." if named else ""


def compared(verdict: Verdict) -> tuple[str, tuple[tuple[str, str], ...]]:
    """Return the one question that decides, and how many of both kinds do so: (("1.1 %", "of ..."), ...).

    Of a picture that is likely real it is how little it stands out, of every other one how much; no figures, no rows.
    """
    if verdict.word == REAL:
        question, shares = "as little in their strongest view", (verdict.real_as_low, verdict.p_generated)
    else:
        question, shares = "as much in their weakest view", (verdict.p_real, verdict.generated_as_high)
    kinds = ("of reference photographs", "of generated images")
    rows = [(share_text(share), kind) for share, kind in zip(shares, kinds, strict=True) if math.isfinite(share)]
    return f"Stand out {question}:", tuple(rows)


@dataclass(frozen=True)
class Room:
    """How much text a page has room for: characters of one text as it is shown, and entries of one list."""

    longest: int = 2000
    most: int = 200

    def text(self, text: str, *, longest: int = 0) -> str:
        """Return a text as it is shown, cut where it is too long, with its length."""
        most = min(longest or self.longest, self.longest)
        shown = printable(text[: most + 1])  # escapes are longer than what they stand for
        return shown if len(shown) <= most else f"{shown[:most]}… ({len(text)} characters in all)"

    def texts(self, texts: Iterable[str]) -> tuple[str, ...]:
        """Return texts as they are shown, and how many were left out as the last one."""
        every = tuple(texts)
        rest = len(every) - self.most
        shown = tuple(map(self.text, every[: self.most]))
        return shown if rest <= 0 else (*shown, f"… and {rest} more, which are not shown")
