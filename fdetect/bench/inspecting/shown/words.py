"""Figures and claims of an inspection in words, the same for the page and the terminal."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass

from fdetect.bench.inspecting.evidence import p_value, stands_out
from fdetect.bench.inspecting.inspection import Evidence, Inspection, Standing
from fdetect.bench.report.grid import printable
from fdetect.metadata.claims import MEANINGS, Claim

__all__ = ["FEW", "HARDLY_ANY", "Room", "by_rarity", "claims_of", "count_text", "far_text", "file_name", "score_text",
           "share_text", "stands_out"]  # fmt: skip

_SEPARATOR = re.compile(r"/|\\(?!x[0-9a-f]{2})")  # \xff stands for a byte of a name that is no UTF-8
FEW, HARDLY_ANY = 0.05, 0.01  # shares of reference photographs from which a place is marked


def score_text(value: float) -> str:
    """Write a score with its sign, as in "+2.31"; a dash where there is none."""
    return f"{value:+.2f}" if math.isfinite(value) else "–"


def share_text(share: float) -> str:
    """Write a share in per cent, as in "0.6 %" or "42 %"; a dash where it is not known."""
    if not math.isfinite(share):
        return "–"
    if 0 < share < 0.001:
        return "below 0.1 %"
    return f"{100 * share:.1f} %" if share < 0.0995 else f"{100 * share:.0f} %"


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
    credentials = inspection.credentials
    own = [claim for claim in getattr(inspection.metadata, "claims", ()) if claim.source != "C2PA" or not credentials]
    found = [*own, *getattr(credentials, "claims", ())]
    ranks = {meaning: rank for rank, meaning in enumerate(MEANINGS)}
    return sorted(dict.fromkeys(found), key=lambda claim: ranks.get(claim.meaning, len(ranks)))


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
