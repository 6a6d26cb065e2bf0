"""perturb: pictures written as files, as conditions show them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import rich_click as click

from fdetect.cli.common import counted, leave, printable, progress_bar, read_options, say, words

if TYPE_CHECKING:
    from fdetect.bench.data.perturbing import Perturbed

__all__ = ["perturb"]

_SHOWN = 10  # failures that are spelt out; all of them stand in failures.csv


@click.command()
@click.argument("data", type=click.Path(), metavar="IN")
@click.argument("out", type=click.Path(file_okay=False))
@click.option("--condition", "--conditions", required=True, help="Names, separated by commas: jpeg70, blur1, chain3, "
              "social_chat, parity, native, ..., or the lists wear, sharing (fdetect list conditions).")  # fmt: skip
@click.option("--crop", type=int, default=224, show_default=True, help="Side in px of what is cut: 64, 72, ...")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of crops, noise and chains.")
@click.option("--workers", type=click.IntRange(0), default=None, help="Worker processes; default: the cores.")
@click.option("--time-limit", type=click.FloatRange(0, min_open=True), default=60.0, show_default=True,
              help="Seconds that a worker may need for one step before its image is given up.")  # fmt: skip
@click.option("--strict", is_flag=True, help="Exit with 3 if any image failed.")
@read_options
def perturb(data: str, out: str, condition: str, crop: int, seed: int, strict: bool, **flags: Any) -> None:
    """Write the images of IN to the new folder OUT, as conditions show them to every detector.

    Real and generated images are treated alike. Each file is the JPEG that the condition ends in (native: a copy);
    folders are kept, and OUT/manifest.csv has the labels, for fdetect bench OUT/manifest.csv; what has none is read
    again as a folder. With several conditions each has its folder in OUT.
    """
    from fdetect.bench.data.perturbing import perturb_to
    from fdetect.engine.pool import default_workers

    workers = default_workers() if flags["workers"] is None else flags["workers"]
    with progress_bar() as progress:
        done = perturb_to(
            out, data, conditions=words(condition) or (), crop=crop, seed=seed, layout=flags["layout"] or "auto",
            root=flags["root"], workers=workers, time_limit=flags["time_limit"], progress=progress,
        )  # fmt: skip
    for name, failure in done.failures[:_SHOWN]:
        say(f"{name}: {failure.path}: {failure.stage}: {failure.reason}")
    if len(done.failures) > _SHOWN:
        say(f"and {len(done.failures) - _SHOWN} more that failed: see failures.csv")
    for name, folder in done.folders.items():
        lost = sum(1 for condition, _ in done.failures if condition == name)
        click.echo(f"{name}: {counted(done.written[name], 'image')}, {lost} failed: {printable(str(folder))}/")
    if any(done.written.values()):
        for line in _next(done):
            click.echo(line)
    leave(sum(done.written.values()) + len(done.failures), len(done.failures), strict)


def _next(done: Perturbed) -> Iterator[str]:
    """Say what the next command reads: the table where there are labels, with a crop that its files allow."""
    from fdetect.perturb import MARGIN, MIN_CROP

    table = next(iter(done.tables.values()))
    folder = table.parent.parent / "CONDITION" if len(done.tables) > 1 else table.parent
    if table.name != "manifest.csv":
        yield f"next: fdetect score {printable(str(folder))}, or any other command with that folder (no labels)"
        return
    crops = {name: (side - MARGIN) // 8 * 8 for name, side in done.sides.items()}
    if small := [name for name, crop in crops.items() if crop < MIN_CROP]:
        yield (f"too small for fdetect bench, which needs {MIN_CROP + MARGIN} px: {', '.join(small)} "
               f"({min(done.sides[name] for name in small)} px); perturb with a larger --crop")  # fmt: skip
    if fit := [crop for crop in crops.values() if crop >= MIN_CROP]:
        yield (f"next: fdetect bench {printable(str(folder / table.name))} --conditions native --crop "
               f"{min(fit)}")  # fmt: skip
