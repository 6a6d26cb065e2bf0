"""evaluate, audit: the commands that judge what is there already, scores and data."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

from fdetect.cli.benchmark import fail_if_biased, run_config
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
    from fdetect.bench.scores.compare import PairedDifference

__all__ = ["audit", "evaluate"]


@click.command()
@click.argument("scores", nargs=-1, required=True, type=click.Path())
@click.option("--pair", multiple=True, help="FIRST,SECOND: paired difference of two detectors; repeatable.")
@click.option("--replicates", type=int, default=1000, show_default=True, help="Bootstrap replicates.")
@click.option("--level", type=float, default=0.95, show_default=True, help="Level of the intervals.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of the bootstrap.")
@click.option("--csv", type=click.Path(dir_okay=False), help="Write every metric of every cell to this file.")
def evaluate(
    scores: tuple[str, ...], pair: tuple[str, ...], replicates: int, level: float, seed: int, csv: str | None
) -> None:
    """Judge score tables (scores.parquet of a run, or anybody's with its columns); nothing but them is read."""
    import pyarrow as pa

    from fdetect.bench.report.tables import cells_csv, result_grids
    from fdetect.bench.report.terminal import narrow
    from fdetect.bench.scores.by_source import by_source
    from fdetect.bench.scores.by_source_tables import source_grids
    from fdetect.bench.scores.compare import paired_differences
    from fdetect.bench.scores.differences import difference_grids, differences_of
    from fdetect.bench.scores.evaluate import cells_of, fitted_on
    from fdetect.bench.scores.gains import gain_grids, gains_of
    from fdetect.bench.scores.given import read_score_table
    from fdetect.bench.scores.robustness import curve_grids, curves_of
    from fdetect.bench.scores.score_table import without_threshold
    from fdetect.bench.scores.suspicions import suspicions
    from fdetect.errors import ParameterError

    if csv and Path(csv).resolve() in {Path(file).resolve() for file in scores}:
        raise ParameterError(f"--csv {csv} is one of the score tables to read; give another file, nothing was written")
    table = pa.concat_tables([read_score_table(Path(file)) for file in scores], promote_options="permissive")
    settings: dict[str, Any] = {"replicates": replicates, "level": level, "seed": seed}
    pairs: list[PairedDifference] = []
    for sentence in fitted_on(table):
        say(sentence)
    for text in pair:
        names = text.split(",")
        if len(names) != 2:
            raise ParameterError(f"--pair takes two detectors separated by a comma, got '{text}'")
        pairs += paired_differences(table, names[0], names[1], **settings)
    if not pair or csv:
        with progress_bar() as progress:
            cells = cells_of(table, progress=progress, **settings)
            gains = gains_of(table, cells, progress=progress, **settings)
            fused = differences_of(table, progress=progress, **settings)
            sources = source_grids(by_source(table, progress=progress, **settings))
        for warning in suspicions(table, cells):
            say(warning)
        curves = curve_grids(curves_of(table, **settings))
        paired = map(narrow, (*gain_grids(gains), *difference_grids(fused)))
        for grid in (*result_grids(cells, unstated=without_threshold(table)), *sources, *curves, *paired):
            show(grid)
        if csv:
            Path(csv).write_text(cells_csv(cells), encoding="utf-8")
    _show_pairs(pairs, level)


@click.command()
@click.argument("data", required=False, type=click.Path())
@click.option("--conditions", "--condition", help="native, matched, rescaled, jpeg70, ..., separated by commas.")
@click.option("--crop", type=int, help="Side in px, a multiple of 8; default 224 (built-in 128).")
@click.option("--fail-if-biased", is_flag=True, help="Exit with 1 if a condition is marked, or could not be judged.")
@click.option("--replicates", type=int, help="Bootstrap replicates behind each interval; default 1000.")
@read_options
@engine_options
def audit(data: str | None, **flags: Any) -> None:
    """Show what the labels of DATA can be told from without any trace: sizes, formats, JPEG tables, content."""
    from fdetect.bench.audit import LABEL_PROBES
    from fdetect.bench.report.tables import audit_grids, failure_grid, verdict_line
    from fdetect.bench.run import audit_only

    config = run_config(data, flags)
    with progress_bar() as progress:
        found = audit_only(config, **engine_settings(flags, progress))
    click.secho(printable(verdict_line(found.as_json())), bold=True)
    for grid in (*audit_grids(found.as_json()), failure_grid(found.failures)):
        show(grid)
    if all(len(names) == len(LABEL_PROBES) for names in found.unmeasured.values()):
        say("nothing could be measured: too few images under every condition")
    if flags["fail_if_biased"]:
        fail_if_biased(found.as_json())


def _show_pairs(pairs: list[PairedDifference], level: float) -> None:
    from fdetect.bench.report.grid import pretty, signed
    from fdetect.significance import holm

    several = sum(math.isfinite(pair.p) for pair in pairs)  # as `holm` counts them
    for p, corrected in zip(pairs, holm([pair.p for pair in pairs]), strict=True):
        click.echo(
            f"\n{p.first} minus {p.second} under {p.condition}: macro AUROC {pretty(p.auroc_first)} - "
            f"{pretty(p.auroc_second)} = {signed(p.value, p.low, p.high)} ({100 * level:g} %, paired group bootstrap "
            f"over {counted(p.n_images, 'image')}): {p.verdict}"
        )
        if math.isfinite(p.p):
            holms = f", {corrected:.2g} corrected for {several} comparisons (Holm)" if several > 1 else ""
            independent = f"; DeLong's p = {p.p_delong:.2g}" if math.isfinite(p.p_delong) else ""
            click.echo(f"  p = {p.p:.2g} of no difference{holms}{independent}")
        click.echo(f"  failures counted wrong: {signed(p.failures_wrong, None, None)} "
                   f"({counted(p.n_failed, 'image')} failed in either)")  # fmt: skip
