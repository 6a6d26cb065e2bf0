"""Many images, the most suspicious first: as a table, and as rows for people."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import pyarrow as pa

from fdetect.bench.inspecting.inspection import GENERATED, INCONCLUSIVE, NO_VERDICT, REAL, Inspection
from fdetect.bench.inspecting.shown.words import AS_MUCH, claimed, share_text
from fdetect.bench.report.grid import Grid, printable
from fdetect.bench.report.svg import shortened

__all__ = ["claims_text", "counts", "counts_text", "failures_grid", "ranked", "ranking_grid", "ranking_table", "ranks",
           "share_digits"]  # fmt: skip

_FIXED = 38  # columns of a terminal that place, verdict, share and the spaces between take
_OWN = "claims"  # the heading of what a file says of itself


def ranked(inspections: Iterable[Inspection]) -> list[Inspection]:
    """Sort by the share of photographs that stand out as much, `p_real` ascending, then by score descending.

    Equal ones stay in the order given.  Those with a score and without `p_real` come behind all that have it, by their
    score; those without a score come last.
    """
    return sorted(inspections, key=_key)


def ranks(inspections: Sequence[Inspection]) -> list[int | None]:
    """Return the places of ranked images from 1; None without a score.

    Images with equal `p_real` and equal score share a place, and the next one has the place that it would have anyway
    (1, 2, 2, 4).  With `p_real` alone equal, as it often is, the score decides: p-values have few steps.
    """
    places: list[int | None] = []
    for k, one in enumerate(inspections):
        same = k > 0 and _key(one) == _key(inspections[k - 1])
        places.append(places[-1] if same else k + 1 if math.isfinite(one.verdict.score) else None)
    return places


def ranking_table(inspections: Sequence[Inspection]) -> pa.Table:
    """Return one row an image, in their order: place, path, verdict, why, p-values, scores of views, claims, reason."""
    verdicts = [one.verdict for one in inspections]
    names = list(dict.fromkeys(view.name for one in inspections for view in one.views))
    values = [{view.name: view.standing.value for view in one.views} for one in inspections]
    columns: dict[str, Sequence[object]] = {
        "rank": ranks(inspections),
        "id": [one.id for one in inspections],
        "path": [one.path for one in inspections],
        "verdict": [one.word for one in verdicts],
        "because": [" ".join(one.because) for one in verdicts],
        "score": [_known(one.score) for one in verdicts],
        "p_real": [_known(one.p_real) for one in verdicts],
        "p_generated": [_known(one.p_generated) for one in verdicts],
        "generated_as_high": [_known(one.generated_as_high) for one in verdicts],
        "real_as_low": [_known(one.real_as_low) for one in verdicts],
    }
    columns |= {f"score: {name}": [_known(of.get(name, math.nan)) for of in values] for name in names}
    columns |= {
        "claims_generated": [claims_text(one) for one in inspections],
        "c2pa": [one.credentials.status if one.credentials else "" for one in inspections],
        "format": [one.facts.format if one.facts else "" for one in inspections],
        "width": [one.facts.width if one.facts else None for one in inspections],
        "height": [one.facts.height if one.facts else None for one in inspections],
        "status": ["failed" if one.failure else "ok" for one in inspections],
        "reason": [one.failure.reason if one.failure else "" for one in inspections],
    }
    kinds = {"rank": pa.int64(), "width": pa.int64(), "height": pa.int64()}
    kinds |= {name: pa.float64() for name in columns if name.startswith(("score", "p_", "generated_as", "real_as"))}
    return pa.table({name: pa.array(of, kinds.get(name, pa.string())) for name, of in columns.items()})


def ranking_grid(inspections: Sequence[Inspection], most: int, *, width: int = 160) -> Grid:
    """Return the first rows with a score for a terminal of so many columns: place, path, verdict, share, claims.

    Long paths lose their middle, long claims their end; the table that --out writes has all of them.
    """
    scored = [one for one in inspections if math.isfinite(one.verdict.score)]
    shown, rest = scored[:most], max(width - _FIXED, 40)
    own = [claims_text(one) for one in shown]
    name = rest - min(max(map(len, [_OWN, *own])), rest * 2 // 5)
    rows = tuple((str(place), shortened(one.path, longest=name), one.verdict.word, share_digits(one.verdict.p_real),
                  _cut(text, rest - name))
                 for place, one, text in zip(ranks(shown), shown, own, strict=True))  # fmt: skip
    more = f"{len(scored) - most} more in the table that --out writes. " if len(scored) > most else ""
    note = f"{counts_text(inspections)}. {more}As much: {AS_MUCH}. Claims: of the file, "
    note += "no part of the verdict"
    return Grid("Images, the most suspicious first", ("", "image", "verdict", "as much", _OWN), rows, note)


def failures_grid(inspections: Sequence[Inspection], most: int) -> Grid:
    """Return the first failures with their reasons; no rows where nothing failed."""
    failed = [(one.path, one.failure.reason) for one in inspections if one.failure]
    note = f"{len(failed) - most} more in the table that --out writes" if len(failed) > most else ""
    return Grid("Failed", ("image", "reason"), tuple(failed[:most]), note)


def counts(inspections: Sequence[Inspection]) -> dict[str, int]:
    """Count the words of verdicts."""
    words = [one.verdict.word for one in inspections]
    return {word: words.count(word) for word in (GENERATED, INCONCLUSIVE, REAL, NO_VERDICT)}


def counts_text(inspections: Sequence[Inspection]) -> str:
    """Say the counts: "Of 32 judged 1 likely generated, 30 inconclusive, 1 likely real; 3 without a verdict"."""
    found = counts(inspections)
    none = found.pop(NO_VERDICT)
    told = f"Of {sum(found.values())} judged {', '.join(f'{n} {word}' for word, n in found.items())}"
    return f"{told}; {none} without a verdict" if none else told


def claims_text(inspection: Inspection) -> str:
    """Name where a file claims to be generated: "claims to be generated: PNG text parameters"; "" where it does not."""
    named = claimed(inspection)
    return f"claims to be generated: {named}" if named else ""


def share_digits(share: float) -> str:
    """Write a share in per cent, always as a number, so that columns can be sorted by it; a dash where unknown."""
    return f"{100 * share:.1g} %" if 0 < share < 0.001 else share_text(share)


def _key(one: Inspection) -> tuple[bool, bool, float, float]:
    p, score = one.verdict.p_real, one.verdict.score
    scored, placed = math.isfinite(score), math.isfinite(score) and math.isfinite(p)
    return not scored, not placed, p if placed else 1.0, -score if scored else 0.0


def _cut(text: str, longest: int) -> str:
    text = printable(text)
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None
