"""A leaderboard as one HTML page: for each board its table, detectors by generators, and cost against AUROC."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from markupsafe import Markup

from fdetect.bench.leaderboard.boards import Board
from fdetect.bench.leaderboard.places import CORE, Place
from fdetect.bench.leaderboard.runs import Run
from fdetect.bench.leaderboard.tables import board_grid, runs_grid
from fdetect.bench.report.charts import INKS, Dot, HeatCell, colour_scale, dot_plot, heat_map
from fdetect.bench.report.grid import Grid, interval_text, pretty
from fdetect.bench.report.page import render_page
from fdetect.bench.report.paragraph import protocol_paragraph
from fdetect.bench.report.parts import Figure, Section, badge
from fdetect.bench.report.plots import Axis, Frame, Pen, titled
from fdetect.bench.report.svg import SIZE, defined, group, shortened, svg, text, width_of
from fdetect.bench.report.tables import not_run_grid
from fdetect.bench.report.verdict import SEVERAL
from fdetect.bench.scores.evaluate import FEW_GROUPS

__all__ = ["render_leaderboard"]

_PLOT = (290, 240)  # px of the cost chart within its axes, so that a narrow screen shows all of it
FEWEST_COSTS = 3  # of a cost chart
_FEWEST_TICKS = 3
_DOT = 3.5  # px around the middle of a point
_LINE = SIZE * 1.35  # px between two names below it


def render_leaderboard(boards: Sequence[Board], runs: Sequence[Run]) -> str:
    """Write boards as one self-contained page, the same bytes for the same boards; every name is escaped."""
    tables = zip(boards, _read_once(boards), strict=True)
    sections = [_section(board, grid, f"board-{k + 1}") for k, (board, grid) in enumerate(tables)]
    marked = {board.condition: board.mark for board in boards if board.mark}
    not_run = [Section(run.name, f"not-run-{k + 1}", grids=(not_run_grid(run.result),), words=True)
               for k, run in enumerate(runs) if run.result.not_run]  # fmt: skip
    others = f" That of {runs[0].name}; the others differ in what the table of runs shows." if len(runs) > 1 else ""
    data = runs[0].result.header["data"]
    tail = [
        Section("Runs", "runs", grids=(runs_grid(runs),), words=True),
        Section("Not run", "not-run", parts=tuple(not_run)),
        Section("Protocol", "protocol", (protocol_paragraph(runs[0].result),), f"For a paper.{others}"),
    ]
    return render_page(
        "leaderboard.html.j2", name=data.get("name", ""), description=data.get("description", ""), marked=marked,
        summary=_summary(boards, runs), scale=colour_scale(), few=FEW_GROUPS,
        sections=[one for one in (*sections, *tail) if not one.empty],
        conditions=list(dict.fromkeys(board.condition for board in boards)),
    )  # fmt: skip


def cost_chart(places: Sequence[Place], *, label: str) -> Markup:
    """Draw macro AUROC with its interval against the cost, on a logarithmic axis; names below, highest first.

    Places without a cost or an AUROC are left out; a number that would cover another stands below alone.  Nothing is
    drawn of fewer than FEWEST_COSTS costs: they say no more than the table does, where they are close in figures that
    cover each other.
    """
    known = [one for one in places if defined(one.cost) and one.cost > 0 and defined(one.auroc)]
    if len({one.cost for one in known}) < FEWEST_COSTS:
        return Markup("")
    on = dict.fromkeys("one core" if one.cost_on == CORE else one.cost_on for one in known)
    called = [one.detector if one.cost_on == CORE else f"{one.detector} ({one.cost_on})" for one in known]
    costs = [one.cost for one in known]
    padding = 10 ** max(0.06, 0.06 * math.log10(max(costs) / min(costs)))
    ends = min(costs) / padding, max(costs) * padding
    lowest = min((one.low if defined(one.low) else one.auroc for one in known), default=0.0)
    floor = min(math.floor(lowest * 10) / 10, 0.5)
    frame = Frame(
        Axis(f"ms an image, {' or '.join(on)} (logarithmic)", *ends, _ticks(*ends), math.log10),
        Axis.even("macro AUROC", floor, 1.0, round((1 - floor) * 10)), 0, 10, *_PLOT,
    )  # fmt: skip
    frame = Frame(frame.x, frame.y, frame.gutter + 2, frame.top, frame.width, frame.height)
    below = frame.top + frame.height + 52
    parts = [frame.axes(), frame.rule((frame.x.low, frame.x.high), (0.5, 0.5))]
    numbers = _apart([frame.at(one.cost, one.auroc) for one in known], frame)
    for k, one in enumerate(known):
        ink, y = INKS[k % len(INKS)], below + k * _LINE
        ends_of = (one.low, one.high) if defined(one.low) and defined(one.high) else (one.auroc, one.auroc)
        words = f"{called[k]}: {one.cost:.3g} ms, macro AUROC {interval_text(one.auroc, one.low, one.high)}{one.star}"
        parts.append(frame.point(one.cost, one.auroc, *ends_of, Pen(ink), title=words))
        if at := numbers[k]:
            parts.append(text(*at, str(k + 1), fill=ink))
        parts.append(group(titled(words), [text(frame.left, y, f"{k + 1}  {called[k]}", fill=ink)]))
    names = max(width_of(f"{k + 1}  {shortened(name)}") for k, name in enumerate(called))
    return svg(frame.left + max(frame.width + 14, names), below + len(known) * _LINE, label, parts)


def _ticks(low: float, high: float) -> tuple[tuple[float, str], ...]:
    """Return the roundest values between two, at least three of them where tenths of a power of ten suffice."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    found: list[float] = []
    for digits in ((10,), (10, 30), (10, 20, 50), range(10, 100, 10), range(10, 100, 5), range(10, 100)):
        found = [value for k in powers for d in digits if low <= (value := d * 10.0 ** (k - 1)) <= high]
        if len(found) >= _FEWEST_TICKS:
            break
    return tuple((value, f"{value:.3g}") for value in found)


def _apart(points: Sequence[tuple[float, float]], frame: Frame) -> list[tuple[float, float] | None]:
    """Place the number of each point beside it, clear of all points and of the numbers before; None without room."""
    taken = [(x - _DOT, y - _DOT, x + _DOT, y + _DOT) for x, y in points]
    found: list[tuple[float, float] | None] = []
    for k, (x, y) in enumerate(points):
        wide = width_of(str(k + 1))
        beside = [(x + side, y + down) for down in (-7, 8, -18, 19) for side in (6, -6 - wide)]
        boxes = [((left, middle), (left, middle - SIZE / 2, left + wide, middle + SIZE / 2)) for left, middle in beside]
        free = [(at, box) for at, box in boxes if not any(map(partial(_overlap, box), taken))
                and frame.left <= box[0] and frame.top <= box[1] and box[3] <= frame.top + frame.height]  # fmt: skip
        found.append(free[0][0] if free else None)
        taken += [box for _, box in free[:1]]
    return found


def _overlap(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _read_once(boards: Sequence[Board]) -> list[Grid]:
    """Return the tables of the page; how to read one is not said again where it is read as one above."""
    said: dict[str, str] = {}
    made = []
    for board in boards:
        grid = board_grid(board, marked=False)  # the section says it, and its table
        first = said.setdefault(grid.note, grid.title)
        made.append(grid if first == grid.title else replace(grid, note=f"To be read as: {first}."))
    return made


def _section(board: Board, grid: Grid, anchor: str) -> Section:
    about = f"under {board.condition}{f', trained on {board.train}' if board.train else ''}"
    figures = [
        Figure("Macro AUROC with its interval; diamond: the worst generator", _dots(board, about)),
        Figure(f"AUROC: detector by test generator{'; * = trained on it' if board.seen else ''}",
               _heat_map(board, about)),
    ]
    if chart := cost_chart(board.places, label=f"Macro AUROC against cost {about}"):
        unknown = [one.detector for one in board.places if not defined(one.cost)]
        lacking = f"; cost not measured: {', '.join(unknown)}" if unknown else ""
        figures.append(Figure(f"Cost against macro AUROC, numbers by rank among those with a cost{lacking}", chart))
    title = f"{board.condition}{f', trained on {board.train}' if board.train else ''}"
    mark = "; ".join(filter(None, (board.mark, board.seen)))
    charts = Section(f"{title}: charts", f"{anchor}-charts", figures=tuple(figures), mark=mark)
    left = (badge(board.history, soft=True),) if board.history else ()
    return Section(title, anchor, left, grids=(grid,), parts=(charts,), mark=mark, condition=board.condition)


def _dots(board: Board, about: str) -> Markup:
    dots = [
        Dot(one.detector, one.auroc, one.low, one.high, one.worst[1],
            title=f"{one.detector}: macro AUROC {interval_text(one.auroc, one.low, one.high)}{one.star}, "
            f"{one.verdict}; worst {' '.join(filter(None, (one.worst[0], pretty(one.worst[1]))))}")
        for one in board.places
    ]  # fmt: skip
    return dot_plot(dots, label=f"Macro AUROC of every detector {about}")


def _heat_map(board: Board, about: str) -> Markup:
    names = list(dict.fromkeys(name for one in board.places for name in one.generators))
    matrix = []
    for one in board.places:
        values = {"macro": one.auroc, **one.generators}
        matrix.append([
            HeatCell(values[name], outlined=name != "macro" and name not in board.generators,
                     marks=_marks(one, name),
                     title=f"{one.detector}, {name}: AUROC {pretty(values[name])}") if name in values else None
            for name in ("macro", *names)
        ])  # fmt: skip
    return heat_map([one.detector for one in board.places], ("macro", *names), matrix, apart=1,
                    label=f"AUROC by generator {about}")  # fmt: skip


def _marks(one: Place, name: str) -> str:
    few = name != "macro" and one.groups.get(name, FEW_GROUPS) < FEW_GROUPS
    return (one.star if name == "macro" or name in one.seen else "") + "°" * few


def _summary(boards: Sequence[Board], runs: Sequence[Run]) -> str:
    data, seeds = runs[0].result.header["data"], dict.fromkeys(str(run.seed) for run in runs)
    detectors = {one.detector for board in boards for one in board.places}
    left = list(dict.fromkeys(f"{board.condition}: {board.history}." for board in boards if board.history))
    left = left if len(left) <= SEVERAL else [left[0], f"Under {len(left) - 1} more conditions it is at their titles."]
    return (f"{len(detectors)} detectors of {len(runs)} run{'s' * (len(runs) != 1)} (seed{'s' * (len(seeds) != 1)} "
            f"{', '.join(seeds)}) on the same images: {data['n_real']:,} real and {data['n_fake']:,} generated ones in "
            f"{data['n_groups']:,} groups.{' '.join(('', *left))}")  # fmt: skip
