"""inspect: a careful answer about one suspicious image, or many of them ranked."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import rich_click as click

from fdetect.cli.common import (
    cluster_options,
    engine_settings,
    leave,
    list_options,
    listed_inputs,
    printable,
    progress_bar,
    say,
    show,
    work_options,
)

__all__ = ["inspect"]

_FEW = 3  # images that are told of one by one; more are ranked
_ROWS = 40  # of a ranking on the terminal


@click.command()
@list_options
@click.option("-o", "--out", multiple=True, type=click.Path(dir_okay=False), help="File to write, any number of them: "
              ".html (one image: its report; more: their ranking), .json, .csv or .parquet.")  # fmt: skip
@click.option("--reports", type=click.Path(file_okay=False), help="Folder for one HTML report of each image, which the "
              "ranking links to.")  # fmt: skip
@click.option("--json", "as_text", is_flag=True, help="JSON on stdout in place of words.")
@click.option("--quick", is_flag=True, help="Verdict, views and metadata alone: no tiles and no single traces. So it "
              "is where more than three images are ranked, unless --reports asks for all of it.")  # fmt: skip
@click.option("--model", type=click.Path(), help="Folder written by fdetect fit; default: the detector that ships.")
@click.option("--references", type=click.Path(dir_okay=False), help="What images are held against; default: what comes "
              "with the detector that ships. docs/inspect.md says how they are made of your own images.")  # fmt: skip
@click.option("--trust", type=click.Path(exists=True, dir_okay=False), help="PEM file of root certificates that you "
              "trust: a signer of Content Credentials whom one vouches for is told as valid.")  # fmt: skip
@click.option("--fail-if-generated", is_flag=True, help='Exit with 1 if a verdict is "likely generated".')
@click.option("--strict", is_flag=True, help="Exit with 3 if any image failed.")
@work_options
@cluster_options
def inspect(data: tuple[str, ...], out: tuple[str, ...], **flags: Any) -> None:
    """Answer about one suspicious image, with evidence to hand over; rank more than three.

    DATA is any number of images, folders, patterns, shards and their members. The verdict is likely real, likely
    generated or inconclusive: a claim takes what not 1 image in 100 of the other kind shows in four views of it. What a
    file says of itself (EXIF, XMP, settings of generators, Content Credentials) stands beside the verdict and is no
    part of it, since whoever passes a file on can write it and delete it.

    The detector that ships is weak: nearly every answer is inconclusive, and "likely real" is never said.
    docs/inspect.md has the counts, and says how often a claim is wrong.
    """
    from fdetect.bench.data.inputs import any_images, root_of
    from fdetect.bench.inspecting.inspection import GENERATED
    from fdetect.bench.inspecting.inspector import Inspector
    from fdetect.bench.inspecting.light import without_pictures
    from fdetect.bench.inspecting.shown.outputs import check_outputs, json_text, write_outputs, write_report
    from fdetect.bench.inspecting.shown.ranking import failures_grid, ranked, ranking_grid
    from fdetect.bench.inspecting.shown.terminal import terminal_lines
    from fdetect.bench.running import Running

    check_outputs(out, flags["reports"])
    manifest = any_images(listed_inputs(data, flags["files_from"]))
    many, folder = len(manifest) > _FEW, Path(flags["reports"]) if flags["reports"] else None
    with progress_bar() as progress:
        settings = engine_settings(flags, progress)
        if flags["workers"] is None and flags["engine"] == "local" and not many:
            settings["workers"] = 0  # to start processes would take longer than the work
        inspector = Inspector.of(flags["model"], flags["references"], flags["trust"],
                                 running=Running.of({**settings, "notice": say}))  # fmt: skip
        found, reports = [], {}
        for k, one in enumerate(inspector(manifest, whole=not flags["quick"] and not (many and folder is None))):
            if folder is not None:
                reports[one.path] = write_report(one, k, inspector, folder)
            found.append(without_pictures(one) if many else one)
        shown = ranked(found)
        write_outputs(out, shown, inspector, reports, root_of(manifest))
    if flags["as_text"]:
        click.echo(json_text(shown), nl=False)
    elif many:
        show(ranking_grid(shown, _ROWS, width=shutil.get_terminal_size((160, 24)).columns))
        if (failures := failures_grid(shown, _ROWS)).rows:
            show(failures)
    else:
        for one in shown:
            pages = [name for name in out if Path(name).suffix == ".html" and len(shown) == 1]
            place = (*pages, str(reports.get(one.path, "")))[0]
            click.echo("\n".join(terminal_lines(one, report=printable(place))) + "\n")
    n_failed = sum(one.failure is not None for one in found)
    if flags["fail_if_generated"] and any(one.verdict.word == GENERATED for one in found):
        say("--fail-if-generated: a verdict is likely generated")
        sys.exit(1)
    leave(len(found), n_failed, flags["strict"])
