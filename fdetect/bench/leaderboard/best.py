"""The last line of a run: who leads under the condition that counts first, and who is level with the leader."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from fdetect.bench.leaderboard.boards import FIRST, Board, boards
from fdetect.bench.leaderboard.places import LEVEL
from fdetect.bench.leaderboard.runs import read_runs
from fdetect.bench.report.grid import interval_text
from fdetect.types import Cell

__all__ = ["best_lines"]

_BOARDS = 3  # training sets that are spelt out; a cross-generator protocol has one for each generator
_NAMES = 6  # detectors that are named as level with the leader


def best_lines(folder: Path, cells: Sequence[Cell] = (), *, level: float = 0.95, seed: int = 0) -> list[str]:
    """Return a line for each training set of a finished run, under `matched` where it has that.

    "highest under matched: hist_gb:all, macro AUROC 0.808 [0.77, 0.84]; no difference to it is shown of: logreg:all"

    Figures and tests are those of `fdetect report`; the interval is that of the run's `cells`, as in the tables above,
    where their mean is the same.  Raises DataError for a folder that is no finished run.
    """
    runs = read_runs([folder])
    known = runs[0].conditions
    found = boards(runs, conditions=[FIRST if FIRST in known else known[0]], level=level, seed=seed)
    said = [line for board in found[:_BOARDS] if (line := _line(board, cells))]
    return said + [f"and {len(found) - _BOARDS} more training sets: fdetect report"] * (len(found) > _BOARDS)


def _line(board: Board, cells: Sequence[Cell]) -> str:
    first, *others = board.places
    if not math.isfinite(first.auroc):
        return ""
    where = f"{board.condition}{f', trained on {board.train}' if board.train else ''}"
    text = f"highest under {where}: {first.detector}, macro AUROC {_interval(board, cells)}"
    if like := [one.detector for one in others if one.verdict == LEVEL]:
        more = f" and {len(like) - _NAMES} more" if len(like) > _NAMES else ""
        text += f"; no difference to it is shown of: {', '.join(like[:_NAMES])}{more}"
    return text + (f" ({board.mark})" if board.mark else "")


def _interval(board: Board, cells: Sequence[Cell]) -> str:
    """Write the leader's mean with the run's own interval: a board draws more replicates where its tests need them."""
    first = board.places[0]
    for cell in cells:
        if (cell.generator, cell.detector, cell.condition) == ("macro", first.detector, board.condition) and (
            board.train in ("", cell.train)
        ):
            own = cell.metric("auroc")
            if math.isclose(own.value, first.auroc, abs_tol=1e-9):
                return interval_text(own.value, own.low, own.high)
    return interval_text(first.auroc, first.low, first.high)
