"""What a run hands to a paper: its protocol in a paragraph and its tables, in LaTeX (`tables.tex`)."""

from __future__ import annotations

from fdetect.bench.report.grid import Grid
from fdetect.bench.report.latex import best_cells, latex_tables
from fdetect.bench.report.paragraph import protocol_paragraph
from fdetect.bench.report.tables import audit_grids, result_grids
from fdetect.bench.training.networks import with_weights
from fdetect.types import RunResult

__all__ = ["paper_tex"]


def paper_tex(result: RunResult) -> str:
    """Write the audit and the two tables of each condition; the largest AUROC of each column is bold.

    A figure of a generator that was seen in training (*) is never bold.
    """
    results = result_grids(result.cells, result.audit)
    grids = [*audit_grids(result.audit), *(with_weights(grid, result.header) for grid in results)]
    of_auroc = {k: grid for k, grid in enumerate(grids) if grid.title.startswith("AUROC under ")}
    bold = {k: best_cells(grid, _figures(grid)) for k, grid in of_auroc.items()}
    return latex_tables(grids, paragraph=protocol_paragraph(result), bold=bold)


def _figures(grid: Grid) -> list[int]:
    """Return the columns of the macro mean and of each generator."""
    return [c for c, name in enumerate(grid.columns) if name == "macro" or name.endswith(" groups)")]
