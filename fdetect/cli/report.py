"""report: several runs in one leaderboard."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import rich_click as click

from fdetect.cli.common import progress_bar, say, show, words

__all__ = ["report"]


@click.command()
@click.argument("runs", nargs=-1, type=click.Path(), metavar="RUN...")
@click.option("-o", "--out", type=click.Path(dir_okay=False), help="HTML page; default leaderboard.html.")
@click.option("--latex", type=click.Path(dir_okay=False), help="Write the tables and the protocol for a paper.")
@click.option("--markdown", "markdown_file", type=click.Path(dir_okay=False), help="Write the tables as Markdown.")
@click.option("--csv", "csv_file", type=click.Path(dir_okay=False), help="Write every figure as CSV.")
@click.option("--condition", "--conditions", help="Conditions, by commas; default: all that a run has, matched first.")
@click.option("--replicates", type=click.IntRange(100), help="Bootstrap replicates; default 1000, or more where many "
              "detectors are compared.")  # fmt: skip
@click.option("--level", type=click.FloatRange(0, 1, min_open=True, max_open=True), default=0.95, show_default=True,
              help="Level of intervals and tests.")  # fmt: skip
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of the bootstrap.")
def report(runs: tuple[str, ...], **flags: Any) -> None:
    """Rank the detectors of several runs on the same images in one leaderboard.

    RUN is a run folder of `fdetect bench`. Who leads, who is level with the leader (no difference shown, Holm), the
    mean and spread over seeds, what an image costs. Runs of one configuration with different seeds are repetitions of
    its detectors; runs on other images, or under another protocol or crop, are refused.
    """
    from functools import partial

    from fdetect.bench.leaderboard.boards import boards
    from fdetect.bench.leaderboard.page import render_leaderboard
    from fdetect.bench.leaderboard.runs import read_runs
    from fdetect.bench.leaderboard.tables import board_grids, boards_csv, boards_latex, runs_grid
    from fdetect.bench.report.grid import markdown
    from fdetect.bench.report.paragraph import protocol_paragraph
    from fdetect.files import write_atomic

    read = read_runs([Path(run) for run in runs])
    with progress_bar() as progress:
        found = boards(read, conditions=words(flags["condition"]) or (), replicates=flags["replicates"] or 0,
                       level=flags["level"], seed=flags["seed"], progress=progress)  # fmt: skip
    out = flags["out"] or "leaderboard.html"
    whole = [*board_grids(found), runs_grid(read)]
    written = {
        out: render_leaderboard(found, read),
        flags["latex"]: boards_latex(found, protocol_paragraph(read[0].result)),
        flags["markdown_file"]: markdown(whole),
        flags["csv_file"]: boards_csv(found),
    }
    files = [name for name in written if name]
    for name in files:
        write_atomic(Path(name), partial(_write, written[name]))
    for grid in board_grids(found, narrow=True):
        show(grid)
    say(f"written: {', '.join(files)}")


def _write(content: str, path: Path) -> None:
    path.write_text(content, encoding="utf-8")
