"""What a run hands to a paper: its protocol in a paragraph and its tables, in LaTeX (`tables.tex`)."""

from __future__ import annotations

from dataclasses import replace

from fdetect.bench.report.grid import Grid
from fdetect.bench.report.latex import best_cells, latex_tables
from fdetect.bench.report.latex_fit import Placed, parts
from fdetect.bench.report.paragraph import protocol_paragraph
from fdetect.bench.report.tables import LOW_END, audit_grids, result_grids
from fdetect.bench.training.networks import with_weights
from fdetect.types import RunResult

__all__ = ["paper_tex"]

_AUROC = "AUROC under "
_ASIDE = (*LOW_END, "weights")  # columns of words: a table beside where the others are turned


def paper_tex(result: RunResult) -> str:
    """Write the audit and the two tables of each condition; the largest AUROC of each column is bold.

    Where a table would not fit and all detectors fit beside each other, they are its columns, with a row for each
    generator or rate.  A figure of a generator that was seen in training (*) is never bold.
    """
    results = (with_weights(grid, result.header) for grid in result_grids(result.cells, result.audit))
    placed = [*map(Placed, audit_grids(result.audit)), *(one for grid in results for one in _fitted(grid))]
    grids, bold = [one.grid for one in placed], {k: one.bold for k, one in enumerate(placed)}
    return latex_tables(grids, paragraph=protocol_paragraph(result), bold=bold)


def _fitted(grid: Grid) -> list[Placed]:
    """Return a table of results as it is, or turned and what is words in one of its own."""
    of_auroc = grid.title.startswith(_AUROC)
    whole = Placed(grid, frozenset(best_cells(grid, _figures(grid)) if of_auroc else ()))
    if len(parts(whole)) == 1:
        return [whole]
    words = [c for c, name in enumerate(grid.columns) if name in _ASIDE]
    figures = whole.columns([c for c in range(len(grid.columns)) if c not in words])
    turned = figures.turned("tested on" if of_auroc else "rate")
    if len(parts(turned)) > 1:
        return [whole]
    if not words:
        return [turned]
    aside = whole.columns(sorted([*whole.keys, *words]))
    title = f"{grid.title}: {', '.join(grid.columns[c] for c in words)}"
    return [replace(turned, grid=replace(turned.grid, note="")), replace(aside, grid=replace(aside.grid, title=title))]


def _figures(grid: Grid) -> list[int]:
    """Return the columns of the macro mean and of each generator."""
    return [c for c, name in enumerate(grid.columns) if name == "macro" or name.endswith(" groups)")]
