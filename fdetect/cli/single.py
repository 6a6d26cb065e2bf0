"""extract, fit, score: the commands that make one table or one file."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

from fdetect.cli.common import (
    engine_options,
    engine_settings,
    leave,
    list_options,
    listed_inputs,
    printable,
    progress_bar,
    read_options,
    return_freed_memory,
    say,
)

if TYPE_CHECKING:
    from fdetect.types import Table

__all__ = ["extract", "fit", "score"]

_OUT = click.Path(dir_okay=False)


@click.command()
@list_options
@click.option("-o", "--out", required=True, type=_OUT, help="Table to write: .parquet or .csv.")
@click.option("--features", default="standard", show_default=True, help="Presets, features or patterns.")
@click.option("--condition", default="native", show_default=True, help="What is done to every image first.")
@click.option("--crop", type=int, default=224, show_default=True, help="Side in px of what features see: 64, 72, ...")
@click.option("--strict", is_flag=True, help="Exit with 3 if any image failed.")
@read_options
@engine_options
def extract(data: tuple[str, ...], out: str, features: str, condition: str, crop: int, **flags: Any) -> None:
    """Write the named features of every image of DATA to a table.

    DATA is any number of images, folders, patterns ('shots/**/*.jpg'), tar and zip shards, members of shards
    (a.tar::name) and Parquet files with an image column; or one labelled folder or manifest.
    """
    return_freed_memory()
    from fdetect.bench import steps

    manifest = _images(data, out, flags)
    with progress_bar() as progress:
        done = steps.extract_to(
            out, manifest, features=features, condition=condition, crop=crop, seed=flags["seed"] or 0,
            notice=say, **engine_settings(flags, progress),
        )  # fmt: skip
    click.echo(f"{done.n_images} images, {done.n_columns} columns, {len(done.failures)} failed: {printable(out)}")
    leave(done.n_images, len(done.failures), flags["strict"])


@click.command()
@click.argument("data", type=click.Path())
@click.option("-o", "--out", required=True, type=_OUT, help="File of the fitted detector, such as my.fdetect.")
@click.option("--head", default="logreg", show_default=True, help="fdetect list heads")
@click.option("--features", default="standard", show_default=True, help="Presets, features or patterns.")
@click.option("--condition", default="matched", show_default=True, help="Condition under which it is trained.")
@click.option("--crop", type=int, default=224, show_default=True, help="Side in px of what features see: 64, 72, ...")
@click.option("--calibration", type=float, default=0.25, show_default=True, help="Share of reals kept for thresholds.")
@click.option("--strict", is_flag=True, help="Exit with 3 if any image failed.")
@read_options
@engine_options
def fit(data: str, out: str, head: str, features: str, condition: str, **flags: Any) -> None:
    """Fit a head on labelled DATA and write it, with its thresholds, to one file that holds no code."""
    from fdetect.bench import steps
    from fdetect.bench.layouts import read_manifest
    from fdetect.classifiers.saved import save_detector
    from fdetect.files import check_writable

    check_writable(Path(out).parent)
    manifest = read_manifest(data, layout=flags["layout"] or "auto", root=flags["root"])
    say(manifest.schema.metadata[b"fdetect.detected"].decode())
    with progress_bar() as progress:
        fitted = steps.fit(
            manifest, head=head, features=features, condition=condition, crop=flags["crop"],
            calibration=flags["calibration"], seed=flags["seed"] or 0, notice=say, **engine_settings(flags, progress),
        )  # fmt: skip
    save_detector(fitted, Path(out))
    n = sum(fitted.trained_on.values())
    click.echo(f"{fitted.name}, fitted on {n} of {len(manifest)} images under {condition}, {fitted.n_failed} failed, "
               f"the others kept for thresholds: {printable(out)}")  # fmt: skip
    click.echo(f"threshold at 5 % FPR {fitted.five}, at 1 % {fitted.one} ({fitted.five.n_reals} calibration reals)")
    if flags["strict"] and fitted.n_failed:
        sys.exit(3)


@click.command()
@list_options
@click.option("--model", type=click.Path(dir_okay=False), help="File written by fdetect fit.")
@click.option("--detector", help="A training-free detector instead (fdetect list detectors).")
@click.option("--weights", default="", help="Folder of the encoder's weights, or a hub id to look for in the cache.")
@click.option("--condition", default="", help="Default: the model's own; native for a training-free detector.")
@click.option("--crop", type=int, help="For conditions of training-free detectors; default 224.")
@click.option("-o", "--out", required=True, type=_OUT, help="Table to write: .parquet or .csv.")
@click.option("--strict", is_flag=True, help="Exit with 3 if any image failed.")
@read_options
@engine_options
def score(data: tuple[str, ...], model: str | None, detector: str | None, out: str, **flags: Any) -> None:
    """Score every image of DATA: larger = more likely generated."""
    return_freed_memory()
    from fdetect.bench import steps
    from fdetect.classifiers.saved import load_detector
    from fdetect.errors import ParameterError
    from fdetect.files import write_table

    if bool(model) == bool(detector):
        raise ParameterError("score needs either --model FILE or --detector NAME")
    if model and (flags["weights"] or flags["crop"]):
        raise ParameterError("--weights and --crop go with --detector; a model keeps the crop it was fitted with")
    scorer = load_detector(Path(model)) if model else str(detector)
    manifest = _images(data, out, flags)
    with progress_bar() as progress:
        scores = steps.score(
            manifest, scorer, condition=flags["condition"], weights=flags["weights"], crop=flags["crop"] or 224,
            seed=flags["seed"] or 0, notice=say, **engine_settings(flags, progress),
        )  # fmt: skip
    condition = flags["condition"] or ("native" if isinstance(scorer, str) else scorer.condition)
    write_table(steps.score_table(scores, manifest, scorer, condition), Path(out))
    click.echo(f"{len(scores.ids)} images, {len(scores.failures)} failed: {printable(out)}")
    leave(len(scores.ids), len(scores.failures), flags["strict"])


def _images(data: tuple[str, ...], out: str, flags: dict[str, Any]) -> Table:
    """Return the manifest of all inputs, said in one line, after it was seen that `out` can be written."""
    from fdetect.bench.inputs import any_images, check_output
    from fdetect.files import check_table

    check_table(Path(out))
    given = listed_inputs(data, flags["files_from"])
    manifest = any_images(given, layout=flags["layout"] or "auto", root=flags["root"])
    check_output(Path(out), given, manifest)
    say(manifest.schema.metadata[b"fdetect.detected"].decode())
    return manifest
