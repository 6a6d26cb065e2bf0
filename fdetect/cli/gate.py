"""compare: the gate of a CI job."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

from fdetect.cli.common import progress_bar, say, show, words

if TYPE_CHECKING:
    from fdetect.bench.gate.gate import Gate, Refusal

__all__ = ["compare"]


@click.command()
@click.argument("baseline", type=click.Path())
@click.argument("run", required=False, type=click.Path())
@click.option("--scores", type=click.Path(), help="In place of RUN: scores made elsewhere, a table with path and score "
              "of the images of BASELINE.")  # fmt: skip
@click.option("--detector", help="Detectors of RUN that are gated, by commas; default all.")
@click.option("--against", help="Detector of BASELINE; default the one of the same name, or its only one.")
@click.option("--condition", "--conditions", default="matched", show_default=True, help="By commas.")
@click.option("--metric", default="auroc", show_default=True, help="Its macro mean over generators is compared "
              "(fdetect list metrics).")  # fmt: skip
@click.option("--margin", type=float, default=0.01, show_default=True, help="How much of the metric may be lost.")
@click.option("--fpr-margin", default="0.05", show_default=True, help="How much the false-positive rate at the frozen "
              "5 % threshold may rise; none: it is not gated.")  # fmt: skip
@click.option("--level", type=click.FloatRange(0, 1, min_open=True, max_open=True), default=0.95, show_default=True,
              help="Level of the two-sided intervals.")  # fmt: skip
@click.option("--replicates", type=click.IntRange(100), default=1000, show_default=True, help="Bootstrap replicates.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of the bootstrap.")
@click.option("--junit", type=click.Path(dir_okay=False), help="Write the checks as JUnit XML.")
@click.option("--markdown", type=click.Path(dir_okay=False), help="Write a summary as Markdown.")
@click.option("--json", "json_file", type=click.Path(dir_okay=False), help="Write everything as JSON.")
def compare(baseline: str, run: str | None, **flags: Any) -> None:
    """Fail where a detector of RUN falls behind that of BASELINE: exit code 1, and 0 where it does not.

    BASELINE and RUN are run folders of `fdetect bench`, or score tables; `builtin` is the baseline that ships, scores
    of two heads on the built-in benchmark (`fdetect bench` alone). A detector passes when it is shown to lose less than
    the margin on the same images, to score what the baseline scores, and to call no more photographs fake. Too few data
    are no pass; a single source of photographs fails only where harm is shown. Where the two cannot be compared the
    files say so, and the exit code is 2.
    """
    from fdetect.bench.gate.checks import gate_grids
    from fdetect.bench.gate.gate import Refusal
    from fdetect.errors import FdetectError

    try:
        found = _compared(baseline, run, flags)
    except (FdetectError, OSError) as error:
        _write_files(Refusal(str(error)), flags)  # or a job would read those of an earlier pass
        raise
    for grid in gate_grids(found.checks, why=False):
        show(replace(grid, note=""))
        for line in grid.note.split("\n") if grid.note else ():
            click.secho(f"  {line}", dim=True)
    _write_files(found, flags)
    if found.note:
        say(found.note)
    say(found.text)
    if not found.passed:
        sys.exit(1)


def _compared(baseline: str, run: str | None, flags: dict[str, Any]) -> Gate:
    """Read both sides and gate one by the other; raises FdetectError where they cannot be compared."""
    import math

    from fdetect.bench.gate.checks import Margins
    from fdetect.bench.gate.gate import gate
    from fdetect.bench.gate.pinned import NAME, pinned_side
    from fdetect.bench.gate.sides import read_scores_alone, read_side
    from fdetect.errors import ParameterError

    if (run is None) == (flags["scores"] is None):
        raise ParameterError("compare takes BASELINE and either RUN or --scores FILE")
    conditions = words(flags["condition"]) or ()
    if not conditions:
        raise ParameterError("--condition names none; give one, such as matched")
    try:
        fpr = math.nan if flags["fpr_margin"] == "none" else float(flags["fpr_margin"])
        if math.isnan(fpr) and flags["fpr_margin"] != "none":
            raise ValueError
    except ValueError:
        raise ParameterError(f"--fpr-margin takes a number or none; got '{flags['fpr_margin']}'") from None
    first = pinned_side() if baseline == NAME and not Path(baseline).exists() else read_side(Path(baseline))
    second = read_side(Path(run)) if run else read_scores_alone(Path(flags["scores"]), first, conditions)
    margins = Margins(flags["metric"], flags["margin"], fpr, flags["level"])
    with progress_bar() as progress:
        return gate(first, second, margins=margins, detectors=words(flags["detector"]) or (), conditions=conditions,
                    against=flags["against"] or "", replicates=flags["replicates"], seed=flags["seed"],
                    progress=progress)  # fmt: skip


def _write_files(outcome: Gate | Refusal, flags: dict[str, Any]) -> None:
    import json
    from functools import partial

    from fdetect.files import write_atomic

    written = {"junit": outcome.junit(), "markdown": outcome.markdown().encode(),
               "json_file": (json.dumps(outcome.as_json(), indent=1) + "\n").encode()}  # fmt: skip
    for option, content in written.items():
        if flags[option]:
            write_atomic(Path(flags[option]), partial(_write, content))


def _write(content: bytes, path: Path) -> None:
    path.write_bytes(content)
