"""Figures and claims of an inspection in words, the same for the page and the terminal."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from fdetect.bench.inspecting.inspection import Evidence, Inspection, Standing
from fdetect.bench.report.grid import printable
from fdetect.metadata.claims import MEANINGS, Claim

__all__ = ["FEW", "HARDLY_ANY", "Room", "claims_of", "count_text", "file_name", "score_text", "share_text",
           "value_text", "worth_text"]  # fmt: skip

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
    if standing is None or not math.isfinite(standing.high):
        return ""
    n = round(standing.high * (standing.n + 1)) - 1
    return f"{n or 'none'} of {standing.n}"


def value_text(evidence: Evidence) -> str:
    """Say a trace's value, and how many photographs have so high and so low a one; "" without a value."""
    if not math.isfinite(evidence.value):
        return ""
    standing = evidence.standing
    if not (standing and standing.n):
        return f"{evidence.value:.4g}; no reference photographs"
    n_low = round(standing.low * (standing.n + 1)) - 1
    return f"{evidence.value:.4g}; {count_text(standing)} photographs are as high, {n_low or 'none'} as low"


def worth_text(weight: float) -> str:
    """Say what a trace is worth alone."""
    if not math.isfinite(weight):
        return "not measured"
    return f"macro AUROC {weight:.2f} over unseen generators (0.50 is chance)"


def file_name(path: str) -> str:
    """Return the last part of a path: folders may name people."""
    return path.replace("\\", "/").rstrip("/").rpartition("/")[2] or path


def claims_of(inspection: Inspection) -> list[Claim]:
    """Return the claims of metadata and of Content Credentials, each once, those with a meaning first."""
    found = [claim for part in (inspection.metadata, inspection.credentials) for claim in getattr(part, "claims", ())]
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
