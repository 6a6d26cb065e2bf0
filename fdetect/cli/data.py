"""data: what is wrong with a data set, and a small part of it that is the same everywhere."""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

from fdetect.cli.common import (
    counted,
    engine_settings,
    printable,
    progress_bar,
    read_options,
    say,
    show,
    work_options,
)

if TYPE_CHECKING:
    from fdetect.bench.data.check import DataCheck
    from fdetect.bench.data.subset import Subset
    from fdetect.types import Table

__all__ = ["data"]

_SHOWN = 10  # images of each kind of finding that are spelt out; -o has them all


@click.group()
def data() -> None:
    """Check a labelled data set before anything is measured on it, or draw a small part of it."""


@data.command()
@click.argument("data", type=click.Path())
@click.option("--crop", type=int, default=224, show_default=True, help="Side in px that a run would see.")
@click.option("--near-bits", type=click.IntRange(0, 16), default=4, show_default=True,
              help="Near-duplicates are images whose hashes of 64 bits differ in so many at most.")  # fmt: skip
@click.option("-o", "--out", type=click.Path(dir_okay=False), help="File to write: .json with everything, or .csv or "
              ".parquet with a row and its findings for each image.")  # fmt: skip
@click.option("--strict", is_flag=True, help="Exit with 3 if anything was found.")
@read_options
@work_options
def check(data: str, crop: int, near_bits: int, out: str | None, strict: bool, **flags: Any) -> None:
    """Say what is wrong with DATA: unreadable images, duplicates across splits and labels, classes that are missing.

    Every image is read and decoded once; exact duplicates are found by content, near-duplicates by a hash of 64 low
    frequencies (encoded again or scaled: found; cropped by a twentieth or mirrored: not). Formats, sizes and JPEG
    qualities stand beside each other by class.
    """
    from fdetect.bench.data.check import check_data
    from fdetect.bench.data.inputs import root_of
    from fdetect.bench.data.overview import need_readable

    manifest = _read(data, out, flags, json_too=True)
    with progress_bar() as progress:
        found = check_data(
            manifest, crop=crop, near_bits=near_bits, notice=say, **engine_settings(flags, progress)
        )  # fmt: skip
    _show_check(found)
    if out:
        _write_check(found, Path(out))
    if len(found.failures) == manifest.num_rows:
        need_readable(found.overview, root_of(manifest))
    if strict and found.findings:
        sys.exit(3)


@data.command()
@click.argument("data", type=click.Path())
@click.option("--per-generator", type=click.IntRange(1), required=True, help="Images of each generator, at most.")
@click.option("--per-source", type=click.IntRange(1), help="Of each real source; default: as --per-generator.")
@click.option("-o", "--out", type=click.Path(dir_okay=False), required=True, help="Manifest, .csv or .parquet.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of the draw.")
@click.option("--strict", is_flag=True, help="Exit with 3 if an image that was drawn cannot be read.")
@read_options
@work_options
def subset(
    data: str, per_generator: int, per_source: int | None, out: str, seed: int, strict: bool, **flags: Any
) -> None:  # fmt: skip
    """Write a manifest of so many images of each generator and real source of DATA, by split.

    The choice depends on contents and seed alone: the same images on every machine and in any order. Groups are taken
    whole or not at all, copies of one content once. Images are not copied.
    """
    from fdetect.bench.data.subset import draw_subset, portable
    from fdetect.files import write_table

    data_table = _read(data, out, flags)
    with progress_bar() as progress:
        drawn = draw_subset(
            data_table, per_generator=per_generator, per_source=per_source or 0, seed=seed, notice=say,
            **engine_settings(flags, progress),
        )  # fmt: skip
    manifest, root = portable(drawn.manifest, Path(out))
    write_table(manifest, Path(out))
    _show_subset(drawn, per_generator, per_source or per_generator)
    where = f"; read it with --root {printable(root)}" if root else ""
    click.echo(f"{counted(manifest.num_rows, 'image')}: {printable(out)}{where}")
    if strict and drawn.failures:
        sys.exit(3)


def _read(data: str, out: str | None, flags: dict[str, Any], *, json_too: bool = False) -> Table:
    """Read DATA, and refuse an output that would take the place of what is read, or of anything that is not ours."""
    from fdetect.bench.data.inputs import check_output
    from fdetect.bench.layouts import read_manifest
    from fdetect.errors import ParameterError
    from fdetect.files import check_table, check_writable

    if out and json_too and out.endswith(".json"):
        check_writable(Path(out).parent)
    elif out:
        check_table(Path(out))
    manifest = read_manifest(data, layout=flags["layout"] or "auto", root=flags["root"])
    if out:
        check_output(Path(out), data, manifest)
        if Path(out).exists() and not _is_ours(Path(out)):
            raise ParameterError(f"{out} exists and is no output of fdetect data; give another name or remove it, "
                                 "nothing was written")  # fmt: skip
    return manifest


def _is_ours(out: Path) -> bool:
    """Whether a file begins as those do that these commands write; only such a one is written over."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from fdetect.types import MANIFEST_COLUMNS

    columns = ",".join(f'"{name}"' for name in MANIFEST_COLUMNS)
    try:
        if out.suffix == ".parquet":
            schema = pq.read_schema(out)
            is_manifest = schema.names[: len(MANIFEST_COLUMNS)] == list(MANIFEST_COLUMNS)
            return is_manifest and b"fdetect.detected" in (schema.metadata or {})
        begins = (columns if out.suffix == ".csv" else '{\n "detected": "').encode()
        with out.open("rb") as file:
            return file.read(len(begins)) == begins
    except (OSError, pa.ArrowException):
        return False


def _write_check(found: DataCheck, out: Path) -> None:
    from fdetect.files import write_atomic, write_table

    if out.suffix == ".json":
        text = json.dumps(found.as_json(), indent=1, ensure_ascii=False, allow_nan=False)
        write_atomic(out, lambda path: path.write_text(text + "\n", encoding="utf-8", errors="backslashreplace"))
    else:
        write_table(found.as_table(), out)


def _show_check(found: DataCheck) -> None:
    from fdetect.bench.data.overview import files_grid
    from fdetect.bench.report.grid import Grid

    click.secho(printable(found.overview.detected), bold=True)
    show(files_grid(found.overview))
    counts = found.counts()
    if any(split for _, _, split, _ in counts):
        texts = tuple((label, printable(name), split, str(n)) for label, name, split, n in counts)
        show(Grid("images by split", ("label", "name", "split", "images"), texts))
    _show_findings(found)
    files, paths = found.shared_reals
    n_images = found.manifest.num_rows - len(found.failures)
    click.echo(f"\n{counted(n_images, 'readable image')} of {counted(found.n_contents, 'content')}"
               + (f"; {counted(files, 'real')} under {paths} paths, counted as one group each" if files else "")
               + (f"; {counted(found.paired, 'near-duplicate pair')} of a real and a fake within a group"
                  if found.paired else "")
               + (f"; {counted(found.flat, 'image')} of one colour not compared" if found.flat else ""))  # fmt: skip
    for warning in found.overview.warnings:
        click.secho(f"beware: {printable(warning)}", fg="yellow")
    for line in found.findings:
        click.secho(f"found: {printable(line)}", fg="red")
    if not found.findings:
        click.echo("nothing was found")


def _show_findings(found: DataCheck) -> None:
    """Show the first images of each kind of finding."""
    from fdetect.bench.report.grid import Grid

    kinds = (
        ("unreadable", [(one.path, f"{one.stage}: {one.reason}") for one in found.failures]),
        ("equal content", [(f"{one.first} = {one.second}", f"across {one.across}") for one in found.exact]),
        ("near-duplicates", [(f"{one.first} ~ {one.second}", f"across {one.across}, {one.bits} of 64 bits apart")
                             for one in found.near]),
        ("too small", list(found.too_small.items())),
    )  # fmt: skip
    for title, rows in kinds:
        if rows:
            more = f"and {len(rows) - _SHOWN} more; -o FILE has all" if len(rows) > _SHOWN else ""
            shown = tuple(tuple(map(printable, row)) for row in rows[:_SHOWN])
            show(Grid(title, ("image", "what"), shown, more))


def _show_subset(drawn: Subset, per_generator: int, per_source: int) -> None:
    from fdetect.bench.report.grid import Grid

    rows = []
    for (label, name, split), n in drawn.available.items():
        taken, wanted = drawn.taken[label, name, split], per_generator if label else per_source
        short = "" if taken == wanted else "all there are" if taken == n else "the rest shares groups with what is full"
        rows.append((("real", "fake")[label], printable(name), split, str(taken), str(n - taken), short))
    show(Grid("taken", ("label", "name", "split", "taken", "left out", ""), tuple(rows)))
    if gone := [name for (_, name), n in _taken(drawn).items() if not n]:
        say(f"not one image was taken of {', '.join(gone)}: groups are taken whole, and those shared with other "
            "generators or sources have no room; give a larger number to have them")  # fmt: skip
    for n, why in ((drawn.copies, "copies of others"), (drawn.conflicts, "labelled real and fake")):
        if n:
            say(f"{counted(n, 'image')} left out: {why}")
    for one in drawn.failures[:_SHOWN]:
        say(f"{one.path}: {one.stage}: {one.reason}")
    if drawn.failures:
        say(f"{counted(len(drawn.failures), 'image')} left out: unreadable; others came in their place")


def _taken(drawn: Subset) -> Counter[tuple[int, str]]:
    """Count what was taken of each generator and real source over all splits; 0 where there is nothing."""
    found: Counter[tuple[int, str]] = Counter()
    for (label, name, _), n in drawn.taken.items():
        found[label, name] += n
    return found
