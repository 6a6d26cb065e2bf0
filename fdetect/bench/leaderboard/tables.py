"""The tables of a leaderboard: one grid for each board, whole or narrow, as text, CSV and LaTeX; and the runs in it."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from fdetect.bench.gate.checks import FEWEST_GROUPS
from fdetect.bench.leaderboard.boards import Board
from fdetect.bench.leaderboard.places import ABOVE, CORE, LEADER, LEVEL, Place
from fdetect.bench.leaderboard.runs import Run
from fdetect.bench.report.grid import Grid, interval_text, pretty, signed
from fdetect.bench.report.latex import latex_tables
from fdetect.bench.report.tables import bracketed
from fdetect.bench.scores.evaluate import FEW_GROUPS

__all__ = ["board_grid", "board_grids", "boards_csv", "boards_latex", "host_text", "runs_grid"]

_NOTHING = "–"

_COLUMNS: dict[str, Callable[[Place], str]] = {
    "detector": lambda one: one.detector,
    "rank": lambda one: str(one.rank) if math.isfinite(one.auroc) else _NOTHING,
    "macro AUROC": lambda one: f"{interval_text(one.auroc, one.low, one.high)}{one.star}{'!' if one.lost else ''}",
    "sd over seeds": lambda one: _NOTHING if one.same else f"{pretty(one.spread)} (n = {len(one.seeds)})",
    "minus the leader": lambda one: f"{signed(one.behind.value, one.behind.low, one.behind.high)}{_compared(one)}",
    "p (Holm)": lambda one: pretty(one.p),
    "verdict": lambda one: one.verdict,
    "worst generator": lambda one: _worst(one),
    "fakes found at the frozen threshold": lambda one: _mean(one, one.tpr),
    "FPR achieved": lambda one: _mean(one, one.fpr),
    "ECE": lambda one: _mean(one, one.ece),
    "ms an image": lambda one: f"{one.cost:.3g}{_device(one)}" if math.isfinite(one.cost) else _NOTHING,
    "weights": lambda one: one.weights or _NOTHING,
    "trained under": lambda one: one.trained_under or _NOTHING,
    "images scored": lambda one: f"{100 * one.coverage:.1f} %",
    "runs": lambda one: ", ".join(one.runs),
}
_TERMINAL = ("detector", "macro AUROC", "sd over seeds", "minus the leader", "p (Holm)", "verdict", "ms an image")
_NOT_IN_PAPER = ("rank", "verdict", "trained under", "images scored", "runs")
_AUROC = 1  # place of the macro AUROC in a table for a paper

_CSV = ("condition", "trained_on", "rank", "detector", "runs", "macro_auroc", "low", "high", "seeds", "sd",
        "by_seed", "worst_generator", "worst_auroc", "worst_groups", "tpr_frozen_5", "fpr_achieved_5", "ece",
        "images_scored", "minus_leader", "minus_leader_low", "minus_leader_high", "p_holm", "verdict", "cost_ms",
        "weights", "trained_under", "audit", "generators", "cost_on", "seen_in_training",
        "minus_leader_seeds")  # fmt: skip


def board_grid(board: Board, columns: Sequence[str] = tuple(_COLUMNS), *, marked: bool = True) -> Grid:
    """Return one board as a table of those of these columns that say something; its note says how to read it.

    marked  whether what the audit says, a mark or JPEG history that is left, stands in the title
    """
    mark = "; ".join(filter(None, (board.mark, board.history))) if marked else ""
    columns = [name for name in columns if any(_COLUMNS[name](one) != _NOTHING for one in board.places)]
    rows = tuple(tuple(_COLUMNS[name](one) for name in columns) for one in board.places)
    return Grid(f"{_title(board)}{bracketed(mark)}", tuple(columns), rows, _note(board))


def board_grids(boards: Sequence[Board], *, narrow: bool = False) -> list[Grid]:
    """Return a table for each board; `narrow`: as a terminal shows it, how to read it below the last."""
    if not narrow:
        return [board_grid(board) for board in boards]
    made = [board_grid(board, _TERMINAL) for board in boards]
    return [*(replace(grid, note=_reservations(board)) for grid, board in zip(made[:-1], boards, strict=False)),
            *made[-1:]]  # fmt: skip


def runs_grid(runs: Sequence[Run]) -> Grid:
    """What the leaderboard was made of: each run, and where its times are from."""
    rows = tuple(
        (run.name, str(run.seed), _detectors(run), ", ".join(run.conditions),
         str(run.result.header["versions"].get("fdetect", "")), run.result.header["fingerprint"],
         str(len({one.path for one in run.result.failures})),
         ", ".join(one.detector for one in run.result.not_run) or _NOTHING, host_text(run.about))
        for run in runs
    )  # fmt: skip
    columns = ("run", "seed", "detectors", "conditions", "fdetect", "fingerprint", "images failed", "not run",
               "times measured on")  # fmt: skip
    return Grid("Runs", columns, rows)


def _detectors(run: Run) -> str:
    """Count the detectors of a run; variants of others have no place."""
    variants = len(run.side.detectors) - len(run.ranked)
    return f"{len(run.ranked)}{f', and {variants} variants that are not ranked' if variants else ''}"


def host_text(about: Mapping[str, Any]) -> str:
    """Say where the costs of a run were measured; a dash where they were not."""
    cost, host = about.get("cost_ms"), about.get("host", {})
    if not cost:
        return _NOTHING
    machine = " ".join(filter(None, (host.get("system"), host.get("machine"))))
    on = "one core" if cost["backend"] == "cpu" else cost["backend"]
    return f"{on} of {machine}, {host.get('cores', '?')} cores; {cost['images']} images of {cost['px']} px"


def boards_csv(boards: Sequence[Board]) -> str:
    """Write every figure of every board as CSV, one line a detector; what is not defined is empty."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(_CSV)
    for board in boards:
        for one in board.places:
            seeds = " ".join(f"{seed}={value!r}" for seed, value in one.seeds.items())
            writer.writerow(map(_plain, (
                board.condition, board.train, one.rank, one.detector, "; ".join(one.runs), one.auroc, one.low, one.high,
                len(one.seeds), one.spread, seeds, *one.worst, one.tpr, one.fpr, one.ece, one.coverage,
                one.behind.value, one.behind.low, one.behind.high, one.p, one.verdict, one.cost, one.weights,
                one.trained_under, board.mark, "; ".join(board.generators), one.cost_on, "; ".join(one.seen),
                "{} of {}".format(*one.compared) if one.compared[1] else "",
            )))  # fmt: skip
    return file.getvalue()


def boards_latex(boards: Sequence[Board], paragraph: str = "") -> str:
    """Write boards for a paper: the leader's macro AUROC is bold, those level with it are underlined."""
    shown = [name for name in _COLUMNS if name not in _NOT_IN_PAPER]
    grids = [board_grid(board, shown) for board in boards]
    bold, underlined = ({k: [(r, _AUROC) for r, one in enumerate(board.places) if one.verdict == wanted]
                         for k, board in enumerate(boards)} for wanted in (LEADER, LEVEL))  # fmt: skip
    return latex_tables(grids, paragraph=paragraph, bold=bold, underlined=underlined)


def _title(board: Board) -> str:
    trained = ", ".join(dict.fromkeys(one.trained_under for one in board.places if one.trained_under))
    parts = [f"trained on {board.train}" if board.train else "", f"trained under {trained}" if trained else "",
             f"over {board.seen}" if board.seen else ""]  # fmt: skip
    return ", ".join(filter(None, (f"Leaderboard under {board.condition}", *parts)))


def _note(board: Board) -> str:
    n, compared = len(board.generators), board.compared
    parts = [
        f"Macro AUROC: mean over {n} generator{'s' * (n != 1)} ({', '.join(board.generators)}), "
        f"{100 * board.level:.10g} % interval by group bootstrap ({board.replicates:,} replicates). Worst generator: "
        f"the lowest of those with at least {FEW_GROUPS} groups.",
    ]
    if any(not one.same for one in board.places):
        parts.append("Of several seeds every figure is the mean; their standard deviation (n - 1) stands beside it and "
                     "is in no interval.")  # fmt: skip
    if unchanged := [one.detector for one in board.places if one.same and len(one.seeds) > 1]:
        parts.append(f"The same scores in all seeds, which repeats nothing: {', '.join(unchanged)}.")
    if compared:
        some = ("With a count of seeds: over those that both have alone, so that it is not the difference of the "
                "means shown. " if any(map(_compared, board.places)) else "")  # fmt: skip
        parts.append(
            "Minus the leader: paired, on the images that both scored and the seeds that both have; p is two-sided, "
            f"corrected by Holm for {compared} comparison{'s' * (compared != 1)}. {some}{LEVEL.capitalize()}: no "
            f"difference to the leader is shown (p of {1 - board.level:.2g} or more), which does not say that there is "
            "none. The leader was found on these images, so that its lead is exploratory."
        )
    if on := dict.fromkeys(one.cost_on for one in board.places if math.isfinite(one.cost)):
        times = " or ".join("of one core" if name == CORE else f"on the wall with {name} (marked so)" for name in on)
        parts.append(f"ms an image: time {times} for columns and head, on noise, on the machine of its run, without "
                     f"decoding{'; the two cannot be compared' if len(on) > 1 else ''}.")  # fmt: skip
    return " ".join(filter(None, (*parts, _reservations(board))))


def _reservations(board: Board) -> str:
    """Say what keeps this board from being what it seems."""
    parts = []
    if board.seen:
        alike = len({one.seen for one in board.places}) == 1
        parts.append("* = its means are over generators that it was trained on: no tested one was new to it." if alike
                     else "Every tested generator was in some detector's training, so that detectors are not on a par: "
                     "* = its means are over some that it was trained on.")  # fmt: skip
    if above := [one.detector for one in board.places if one.verdict == ABOVE]:
        parts.append(f"{ABOVE.capitalize()}: higher than the leader on the images and seeds that both have, and ranked "
                     f"by what each has ({', '.join(above)}).")  # fmt: skip
    if board.groups < FEWEST_GROUPS and len(board.places) > 1:
        parts.append(f"{board.groups} groups of a class are too few to test a difference: it takes {FEWEST_GROUPS}.")
    elif board.weak:
        parts.append(f"With {board.replicates} replicates no corrected p can fall below {1 - board.level:.2g}: give "
                     "more (--replicates).")  # fmt: skip
    if any(one.lost for one in board.places):
        parts.append("! = more than 1 % of a class was lost.")
    if board.missing:
        parts.append(f"Not run under {board.condition}: {', '.join(board.missing)}.")
    return " ".join(parts)


def _worst(one: Place) -> str:
    name, auroc, groups = one.worst
    if not name:
        return _NOTHING
    star = "*" if name in one.seen else ""
    return f"{pretty(auroc)}{star} {name} ({groups} groups{', few' if groups < FEW_GROUPS else ''})"


def _mean(one: Place, value: float) -> str:
    return f"{pretty(value)}{one.star}" if math.isfinite(value) else _NOTHING


def _compared(one: Place) -> str:
    """Say where a difference is that of some seeds, so that it is not that of the means shown."""
    shared, either = one.compared
    return f" ({shared} of {either} seeds)" if 0 < shared < either and math.isfinite(one.behind.value) else ""


def _device(one: Place) -> str:
    return "" if one.cost_on == CORE else f" ({one.cost_on})"


def _plain(value: Any) -> Any:
    """Return a CSV value: all digits of a number, nothing where it is not defined."""
    if isinstance(value, float):
        return repr(value) if math.isfinite(value) else ""
    return value
