"""Many images, the most suspicious first: as a table, and as rows for people."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import pyarrow as pa

from fdetect.bench.inspecting.inspection import VERDICTS, Inspection
from fdetect.bench.report.grid import Grid

__all__ = ["claims_text", "ranked", "ranking_grid", "ranking_table"]

_CLAIMS = 3  # that are named; the others are counted


def ranked(inspections: Iterable[Inspection]) -> list[Inspection]:
    """Sort by how few photographs stand out as much in every view, then by score; those without a verdict last."""

    def place(one: Inspection) -> tuple[bool, float, float]:
        verdict = one.verdict
        p, score = verdict.p_real, verdict.score
        return not math.isfinite(score), p if math.isfinite(p) else 1.0, -score if math.isfinite(score) else 0.0

    return sorted(inspections, key=place)


def ranking_table(inspections: Sequence[Inspection]) -> pa.Table:
    """Return one row an image, in their order: id, path, verdict, why, p-values, scores of views, claims, reason."""
    verdicts = [one.verdict for one in inspections]
    names = list(dict.fromkeys(view.name for one in inspections for view in one.views))
    values = [{view.name: view.standing.value for view in one.views} for one in inspections]
    columns: dict[str, list[object]] = {
        "rank": list(range(1, len(inspections) + 1)),
        "id": [one.id for one in inspections],
        "path": [one.path for one in inspections],
        "verdict": [one.word for one in verdicts],
        "because": [" ".join(one.because) for one in verdicts],
        "score": [_known(one.score) for one in verdicts],
        "p_real": [_known(one.p_real) for one in verdicts],
        "p_generated": [_known(one.p_generated) for one in verdicts],
    }
    columns |= {f"score: {name}": [_known(of.get(name, math.nan)) for of in values] for name in names}
    columns |= {
        "claims_generated": [claims_text(one) for one in inspections],
        "c2pa": [one.credentials.status if one.credentials else "" for one in inspections],
        "format": [one.facts.format if one.facts else "" for one in inspections],
        "width": [one.facts.width if one.facts else None for one in inspections],
        "height": [one.facts.height if one.facts else None for one in inspections],
        "status": ["failed" if one.failure else "ok" for one in inspections],
        "reason": [f"{one.failure.stage}: {one.failure.reason}" if one.failure else "" for one in inspections],
    }
    kinds = {"rank": pa.int64(), "width": pa.int64(), "height": pa.int64()}
    kinds |= {name: pa.float64() for name in columns if name.startswith(("score", "p_"))}
    return pa.table({name: pa.array(of, kinds.get(name, pa.string())) for name, of in columns.items()})


def ranking_grid(inspections: Sequence[Inspection], most: int) -> Grid:
    """Return the first rows for a terminal or a page: place, path, verdict, photographs as high, what it claims."""
    rows = tuple((str(k + 1), one.path, one.verdict.word, _share(one), claims_text(one) or _failed(one))
                 for k, one in enumerate(inspections[:most]))  # fmt: skip
    note = counts_text(inspections)
    if len(inspections) > most:
        note += f"; {len(inspections) - most} more in the table that --out writes"
    columns = ("", "image", "verdict", "photographs as high in every view", "claims of the file, failures")
    return Grid("Images, the most suspicious first", columns, rows, note)


def counts_text(inspections: Sequence[Inspection]) -> str:
    """Count the verdicts, and the images without one."""
    words = [one.verdict.word for one in inspections]
    told = [f"{words.count(word)} {word}" for word in VERDICTS]
    failed = sum(one.failure is not None for one in inspections)
    return f"{len(words)} images: {', '.join(told)}" + (f" ({failed} of these failed)" if failed else "")


def claims_text(inspection: Inspection) -> str:
    """Name where a file claims to be generated: "claims to be generated: PNG text parameters"; "" where it does not."""
    claims = [*(inspection.metadata.claims if inspection.metadata else ()),
              *(inspection.credentials.claims if inspection.credentials else ())]  # fmt: skip
    named = list(dict.fromkeys(f"{one.source} {one.name}" for one in claims if one.meaning == "generated"))
    more = f" and {len(named) - _CLAIMS} more" if len(named) > _CLAIMS else ""
    return f"claims to be generated: {', '.join(named[:_CLAIMS])}{more}" if named else ""


def _failed(one: Inspection) -> str:
    return f"{one.failure.stage}: {one.failure.reason}" if one.failure else ""


def _share(one: Inspection) -> str:
    p = one.verdict.p_real
    return f"{p:.1%}" if math.isfinite(p) else "–"


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None
