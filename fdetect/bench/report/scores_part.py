"""The sections of the report that need the score table: what follows the results by condition, in order.

Each is placed by one line of `score_sections`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import pyarrow as pa
from markupsafe import Markup, escape

from fdetect.bench.report.errors_shown import Case, Errors, worst_errors
from fdetect.bench.report.grid import printable
from fdetect.bench.report.parts import Figure, Section
from fdetect.bench.report.score_charts import score_charts, score_grids
from fdetect.bench.report.thumbnails import thumbnail
from fdetect.bench.report.verdict import audit_mark
from fdetect.bench.scores.by_source import SourceRow
from fdetect.bench.scores.by_source_tables import source_grids, verdict_grids
from fdetect.bench.scores.curves import ScoreCurves
from fdetect.engine.sources import Reader
from fdetect.errors import DataError
from fdetect.types import REAL, RunResult

__all__ = ["curves_section", "errors_section", "score_sections", "sources_section"]

_ERRORS = (
    "Each image with its path, where it comes from, how far its score lies from the threshold frozen at 5 % FPR (in "
    "units of that detector's score: above 0 called generated), and its conformal p-value of being a photograph. "
    "Small pictures of the files as they are stored; what the detector saw is a crop of them."
)
_WITHOUT = " No thumbnails were asked for."


def score_sections(
    result: RunResult, scores: pa.Table, *, sources: Sequence[SourceRow] = (), curves: Sequence[ScoreCurves] = (),
    images: str | Path | None = None,
) -> list[Section]:  # fmt: skip
    """Return the sections that are made of the score table, in the order of the page.

    `sources` are the figures by real source with their placebos, `curves` those of the scores; an empty one has no
    section.  `images` is the folder that the paths of the table are relative to; None for a page without thumbnails.
    """
    return [
        curves_section(result, curves),
        sources_section(result, sources),
        errors_section(result, worst_errors(scores, result.cells), images),
    ]


def curves_section(result: RunResult, curves: Sequence[ScoreCurves]) -> Section:
    """Return ROC, DET, risk against coverage, histograms and reliability of every condition, and their figures."""
    parts = []
    for k, name in enumerate(dict.fromkeys(one.condition for one in curves), 1):
        here = [one for one in curves if one.condition == name]
        parts.append(Section(
            f"Curves under {name}", f"curves-{k}", figures=tuple(Figure(*one) for one in score_charts(here)),
            grids=tuple(score_grids(here)), mark=audit_mark(result.audit, name), condition=name,
        ))  # fmt: skip
    return Section("Curves of the scores", "curves", parts=tuple(parts))


def sources_section(result: RunResult, rows: Sequence[SourceRow]) -> Section:
    """Return the placebos of all conditions in one table, and those of each condition with its sources behind it."""
    parts = []
    for k, name in enumerate(dict.fromkeys(row.condition for row in rows), 1):
        here = [row for row in rows if row.condition == name]
        parts.append(Section(f"Sources under {name}", f"sources-{k}", grids=tuple(source_grids(here)),
                             mark=audit_mark(result.audit, name), condition=name, folded=True))  # fmt: skip
    return Section("Sources of the reals, and placebos", "sources", grids=tuple(verdict_grids(rows)),
                   parts=tuple(parts))  # fmt: skip


def errors_section(result: RunResult, errors: Iterable[Errors], images: str | Path | None = None) -> Section:
    """Return the worst errors as thumbnails; with a dash and the reason where a file cannot be read any more."""
    several, errors = len({cell.train for cell in result.cells}) > 1, list(errors)
    with Reader(images if images is not None else ".") as reader:
        figures = tuple(
            Figure(_caption(one, several), _gallery(one, reader if images is not None else None)) for one in errors
        )
    note = _ERRORS if images is not None else _ERRORS.partition(" Small pictures")[0] + _WITHOUT
    condition = errors[0].condition if errors else ""  # all are of the same
    return Section("Worst errors", "errors", note=note, figures=figures, mark=audit_mark(result.audit, condition),
                   condition=condition)  # fmt: skip


def _caption(errors: Errors, several: bool) -> str:
    kind, called = ("photographs", "generated") if errors.label == REAL else ("generated images", "real")
    trained = f" ← {errors.train}" if several and errors.train else ""
    shown = "" if len(errors.cases) == errors.n_wrong else f"; the {len(errors.cases)} worst"
    about = f"{errors.detector}{trained} under {errors.condition}"
    if errors.n_decisions == errors.n_images:  # one trial an image
        return f"{about}: {errors.n_wrong:,} of {errors.n_images:,} {kind} called {called}{shown}"
    share = 100 * errors.n_wrong_decisions / errors.n_decisions
    return (
        f"{about}: {errors.n_wrong_decisions:,} of {errors.n_decisions:,} decisions ({share:.1f} %) called {kind} "
        f"{called}, on {errors.n_wrong:,} of {errors.n_images:,} {kind} that at least one of {errors.n_trials} trials "
        f"called {called}{shown}"
    )


def _gallery(errors: Errors, reader: Reader | None) -> Markup:
    cases = [_case(case, reader) for case in errors.cases]
    return Markup('<ul class="errors">{}</ul>').format(Markup("").join(cases)) if cases else Markup("None.")


def _case(case: Case, reader: Reader | None) -> Markup:
    picture = _picture(case.path, reader) if reader else Markup("")
    p_value = "–" if case.p_value != case.p_value else f"{case.p_value:.3g}"
    path = escape(printable(case.path)).replace("/", Markup("/<wbr>"))  # a long path breaks at its folders
    trials = f"in {case.n_wrong} of {case.n_trials} trials" if case.n_trials > 1 else ""
    return Markup(
        '<li title="{}">{}<strong>{}</strong><br>{:+.3g}, p {}<br>{}<span class="path">{}</span></li>'
    ).format(printable(case.path), picture, printable(case.origin) or "unnamed", case.distance, p_value,
             Markup("{}<br>").format(trials) if trials else "", path)  # fmt: skip


def _picture(path: str, reader: Reader) -> Markup:
    try:
        return Markup('<img src="{}" alt="">').format(thumbnail(reader, path))
    except DataError as error:
        return Markup('<span class="none" title="{0}">–</span>{0}<br>').format(str(error))
