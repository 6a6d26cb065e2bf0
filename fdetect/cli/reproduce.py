"""reproduce: whether a published figure is reached here."""

from __future__ import annotations

import shutil
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

from fdetect.cli.common import (
    counted,
    engine_options,
    engine_settings,
    printable,
    progress_bar,
    read_options,
    say,
    show,
)

if TYPE_CHECKING:
    from fdetect.bench.reproduce.published import Reproduction

__all__ = ["reproduce"]


@click.command()
@click.argument("name", required=False)
@click.argument("data", required=False, type=click.Path())
@click.option("--encoder", default="", help="Where the encoder lies: a folder or hub id; default: found by name.")
@click.option("--weights", default="", help="Where a checkpoint lies: a folder; default: found by name.")
@click.option("--steps", type=click.IntRange(1), default=None, help="Of a training, fewer than its authors' budget.")
@click.option("-o", "--out", type=click.Path(file_okay=False), help="Run folder; default runs/<data>-<fingerprint>.")
@read_options
@engine_options
def reproduce(name: str | None, data: str | None, **flags: Any) -> None:
    """Measure a published figure on DATA, beside what was published. Without NAME, list what there is.

    With NAME alone, say which data, weights and preprocessing the figure wants. A figure that is reached within the
    margin stated beforehand raises the evidence level of the weights; otherwise the exit code is 1, and 2 where it
    was not run for what is missing here.
    """
    from fdetect.bench.reproduce.outcome import NOT_RUN, REACHED, reproductions_grid
    from fdetect.bench.reproduce.outcome import reproduce as measure
    from fdetect.bench.reproduce.published import reproduction

    if name is None:
        show(reproductions_grid())
        return
    entry = reproduction.get(name)
    if data is None:
        _state(entry.summary, entry())
        say(f"with the data at hand: fdetect reproduce {name} DATA")
        return
    with progress_bar() as progress:
        settings = engine_settings(flags, progress)
        found = measure(
            name, data, encoder=flags["encoder"], weights=flags["weights"], layout=flags["layout"] or "auto",
            root=flags["root"] or "", out=Path(flags["out"]) if flags["out"] else None, seed=flags["seed"] or 0,
            steps=flags["steps"] or 0, **settings,
        )  # fmt: skip
    if found.verdict == NOT_RUN:
        say(f"not run: {'; '.join(found.missing)}")
        sys.exit(2)
    show(found.grid())
    if found.aside:
        what = "other splits, generators that the figure leaves out or does not name"
        say(f"{counted(found.aside, 'image')} of the data not tested: {what}")
    for reason in found.reasons:
        say(f"not comparable: {reason}")
    for card in found.networks:
        said = "evidence is now: reproduced" if card["name"] in found.recorded else "nothing was recorded of them"
        click.echo(f"weights {card['name']} ({card['purpose']}, sha256 {card['sha256'][:12]}): {said}")
    if found.folder:
        click.echo(f"audit, every generator and metric: {printable(str(found.folder))}/")
    if found.verdict != REACHED:
        sys.exit(1)


def _state(summary: str, published: Reproduction) -> None:
    """Print what a figure wants, wrapped to the terminal."""
    click.secho(summary, bold=True)
    click.echo("  (C: read in code; P: the authors' own page or paper; T: a third party's table; U: not read)")
    width = max(60, shutil.get_terminal_size((110, 24)).columns - 2)
    for word, text in published.statement():
        click.echo(textwrap.fill(printable(text), width, initial_indent=f"  {word:<10}", subsequent_indent=" " * 12))
