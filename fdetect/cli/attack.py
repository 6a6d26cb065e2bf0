"""attack: what small changes of the pixels, made to mislead a detector, do to its decisions."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

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
    words,
)

__all__ = ["attack"]

_SHOWN = 10  # failures that are spelt out; all of them stand in attack.json


@click.command()
@click.argument("data", type=click.Path())
@click.option("--model", type=click.Path(), help="Folder that fdetect fit wrote; default: the detector that ships.")
@click.option("--method", help="Attacks, separated by commas (fdetect list attacks), with settings behind a colon such "
              "as square:share=0.1. Default: all that the detector can have.")  # fmt: skip
@click.option("--epsilon", type=click.IntRange(1, 255), default=2, show_default=True,
              help="Levels of 255 by which every sample may change.")  # fmt: skip
@click.option("--queries", type=click.IntRange(1), default=200, show_default=True,
              help="Scores that an attack may ask for, for each image; pgd has steps instead.")  # fmt: skip
@click.option("--condition", "--conditions", default="", help="What is done to every image before; default: the "
              "condition of the model's thresholds.")  # fmt: skip
@click.option("--images", type=click.IntRange(1), default=32, show_default=True, help="Images of each class, drawn "
              "from their contents.")  # fmt: skip
@click.option("-o", "--out", type=click.Path(file_okay=False),
              help="New folder for attack.json, images.csv and tables.md.")  # fmt: skip
@click.option("--pictures", is_flag=True, help="Write the attacked crops as PNG too.")
@click.option("--encoder", default="", help="For a head that reads an embedding: its encoder.")
@click.option("--network", default="", help="For a head that reads a detector network: its name or folder.")
@click.option("--strict", is_flag=True, help="Exit with 3 if any image failed.")
@read_options
@engine_options
def attack(data: str, out: str | None, model: str | None, **flags: Any) -> None:
    """Attack a fitted detector on labelled DATA: fakes are made to pass, photographs to be accused.

    Decisions at the frozen threshold before and after, and again after a JPEG of Q90. Every image is changed by at most
    --epsilon levels; fakes and photographs have the same budget. random is the placebo: what it does too, an attack has
    no merit in. Everything but decoding runs in this process, and nothing is stored.
    """
    from fdetect.attacks import attack as registry
    from fdetect.bench.attacks.attacking import attack_detector, read_attacks
    from fdetect.bench.attacks.tables import attack_grids, check_folder, write_attacks
    from fdetect.bench.data.inputs import any_images
    from fdetect.classifiers.saved import load_detector
    from fdetect.classifiers.shipped import model_of
    from fdetect.errors import ParameterError

    if flags["pictures"] and not out:
        raise ParameterError("--pictures needs a folder to write to; give --out")
    named = words(flags["method"])
    methods = read_attacks(registry.names() if named is None else named, epsilon=flags["epsilon"],
                           queries=flags["queries"])  # fmt: skip
    detector = load_detector(model_of(model))
    if not model:
        say(f"the detector that ships with fdetect: {detector.name}")
    if out:
        check_folder(Path(out))
    with progress_bar() as progress:
        done = attack_detector(
            any_images(data, layout=flags["layout"] or "auto", root=flags["root"]), detector, methods,
            per_class=flags["images"], condition=flags["condition"], encoder=flags["encoder"], network=flags["network"],
            seed=flags["seed"] or 0, spare=named is None, notice=say, **engine_settings(flags, progress),
        )  # fmt: skip
    for failure in done.failures[:_SHOWN]:
        say(f"{failure.path}: {failure.stage}: {failure.reason}")
    if len(done.failures) > _SHOWN:
        say(f"and {len(done.failures) - _SHOWN} more that failed" + (": see attack.json" if out else ""))
    for grid in attack_grids(done)[: 2 if done.not_run else 1]:
        show(grid)
    click.echo(f"\n{counted(len(done.images), 'image')} attacked, {counted(len(done.failures), 'failure')}")
    if out:
        write_attacks(done, Path(out), images=flags["pictures"])
        click.echo(f"written: {printable(out)}")
    if flags["strict"] and done.failures:
        sys.exit(3)
