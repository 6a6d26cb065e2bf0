"""extract, fit, score: the commands that make one table or one file."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import rich_click as click

from fdetect.cli.common import (
    counted,
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
    show_rows,
)

if TYPE_CHECKING:
    from fdetect.config import AlignedConfig
    from fdetect.types import Table

__all__ = ["extract", "fit", "score"]

F = TypeVar("F", bound=Callable[..., Any])

_OUT = click.Path(dir_okay=False)


def network_options(command: F) -> F:
    """Add the options that say which network a training-free detector looks through."""
    where = "a name (fdetect weights list), a hub id or a folder"
    helps = {
        "--autoencoder": f"Autoencoder of --detector, or of fit's --aligned: {where}; several are joined by +.",
        "--encoder": f"Encoder of --detector: {where}.",
    }
    for name, text in helps.items():
        command = click.option(name, default="", help=text)(command)
    return command


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
    n_failed = len(done.failures)
    click.echo(f"{counted(done.n_images, 'image')}, {done.n_columns} columns, {n_failed} failed: {printable(out)}")
    leave(done.n_images, len(done.failures), flags["strict"])


@click.command()
@click.argument("data", type=click.Path())
@click.option("-o", "--out", required=True, type=_OUT, help="File of the fitted detector, such as my.fdetect.")
@click.option("--head", help="A head to train (fdetect list heads); default logreg.")
@click.option("--features", help="Presets, features or patterns for the head; default standard.")
@click.option("--aligned", is_flag=True, help="Train the head on photographs against their round trips through "
              "autoencoders: those of --autoencoder, by default all that come with fdetect.")  # fmt: skip
@click.option("--pairs", type=int, help="With --aligned: pairs of each photograph with each autoencoder; default 1.")
@click.option("--generated", type=float, help="With --aligned: share of generated images of DATA among the fakes; "
              "default 0.")  # fmt: skip
@click.option("--detector", help="A training-free detector to calibrate instead, such as rigid or rigid:sigma=0.02.")
@network_options
@click.option("--condition", help="Done to every image first; default matched for heads, native for --detector.")
@click.option("--crop", type=int, default=224, show_default=True, help="Side in px of what features see: 64, 72, ...")
@click.option("--calibration", type=float, default=0.25, show_default=True, help="Share of reals kept for thresholds; "
              "a --detector without a bank takes all.")  # fmt: skip
@click.option("--strict", is_flag=True, help="Exit with 3 if any image failed.")
@read_options
@engine_options
def fit(data: str, out: str, detector: str | None, **flags: Any) -> None:
    """Make a detector whose thresholds are set on real images, in one file that holds no code.

    A head is trained on labelled DATA; with --aligned on its photographs alone, labelled or not, and no generated image
    is needed. With --detector, photographs alone set the thresholds of a training-free detector, and make its bank
    where it has one.
    """
    from fdetect.errors import ParameterError
    from fdetect.files import check_writable

    aligned = flags["aligned"]
    if detector and (flags["head"] or flags["features"] or aligned):
        raise ParameterError("--head, --features and --aligned are of what is trained, --detector is not: "
                             "give one or the other")  # fmt: skip
    if flags["encoder"] and not detector:
        raise ParameterError("--encoder goes with --detector")
    if flags["autoencoder"] and not (detector or aligned):
        raise ParameterError("--autoencoder goes with --detector or --aligned")
    if not aligned and (flags["pairs"] is not None or flags["generated"] is not None):
        raise ParameterError("--pairs and --generated go with --aligned")
    check_writable(Path(out).parent)
    n_failed = _calibrate(data, out, detector, flags) if detector else _fit_head(data, out, flags)
    if flags["strict"] and n_failed:
        sys.exit(3)


def _fit_head(data: str, out: str, flags: dict[str, Any]) -> int:
    """Fit a head, say what came of it, and return the number of images that failed."""
    from fdetect.bench import fitting
    from fdetect.bench.inputs import any_images
    from fdetect.bench.layouts import read_manifest
    from fdetect.classifiers.saved import save_detector

    read = any_images if flags["aligned"] else read_manifest
    manifest = read(data, layout=flags["layout"] or "auto", root=flags["root"])
    say(manifest.schema.metadata[b"fdetect.detected"].decode())
    with progress_bar() as progress:
        settings = dict(
            head=flags["head"] or "logreg", features=flags["features"] or "standard",
            condition=flags["condition"] or "matched", crop=flags["crop"], calibration=flags["calibration"],
            seed=flags["seed"] or 0, notice=say, **engine_settings(flags, progress),
        )  # fmt: skip
        if flags["aligned"]:
            fitted = fitting.fit_aligned(manifest, aligned=_aligned(flags), **settings)
        else:
            fitted = fitting.fit(manifest, **settings)
    save_detector(fitted, Path(out))
    counts = fitted.trained_on
    what = f"{sum(counts.values())} of {len(manifest)} images"
    if flags["aligned"]:
        n_pairs, n_generated = counts[""], sum(n for name, n in counts.items() if name) - counts[""]
        what = f"{n_pairs} aligned pairs" + (f" and {n_generated} generated images" if n_generated else "")
    click.echo(f"{fitted.name}, fitted on {what} under {fitted.condition}, {fitted.n_failed} failed, the others kept "
               f"for thresholds: {printable(out)}")  # fmt: skip
    click.echo(fitted.calibration.text)
    click.echo("achieved false-positive rate on other real sources: not available for heads (needs a refit for each; "
               "run fdetect bench --protocol leave_one_real_source_out)")  # fmt: skip
    return fitted.n_failed


def _aligned(flags: dict[str, Any]) -> AlignedConfig:
    from fdetect.config import AlignedConfig

    names = tuple(flags["autoencoder"].split("+")) if flags["autoencoder"] else ("shipped",)
    return AlignedConfig(names, 1 if flags["pairs"] is None else flags["pairs"], generated=(flags["generated"] or 0.0,))


def _calibrate(data: str, out: str, name: str, flags: dict[str, Any]) -> int:
    """Calibrate a training-free detector, say what came of it, and return the number of images that failed."""
    from fdetect.bench.calibrating import fit_detector
    from fdetect.bench.inputs import any_images
    from fdetect.classifiers.saved import save_detector

    manifest = any_images(data, layout=flags["layout"] or "auto", root=flags["root"])
    say(manifest.schema.metadata[b"fdetect.detected"].decode())
    with progress_bar() as progress:
        made = fit_detector(
            manifest, name, encoder=flags["encoder"], autoencoder=flags["autoencoder"],
            condition=flags["condition"] or "native", crop=flags["crop"], calibration=flags["calibration"],
            seed=flags["seed"] or 0, notice=say, **engine_settings(flags, progress),
        )  # fmt: skip
    fitted, bank = made.detector, made.detector.bank
    save_detector(fitted, Path(out))
    counts = ((made.n_copies, "copy", "copies"), (made.n_fakes_unused, "fake", "fakes"))
    unused = [f"{n} {one if n == 1 else more}" for n, one, more in counts if n]
    n = len(fitted.calibration.scores)
    click.echo(f"{name}, calibrated on {n} of {made.n_images} images under {fitted.condition}, {fitted.n_failed} failed"
               f"{''.join(f', {text} not used' for text in unused)}: {printable(out)}")  # fmt: skip
    if bank:
        fakes = f" and {bank.n_fakes} fakes" if bank.n_fakes else ""
        click.echo(f"bank of {bank.n_reals} reals{fakes}, {bank.n_dropped} left out; sha256 {bank.sha256}")
    click.echo(fitted.calibration.text)
    if not made.achieved:
        click.echo("achieved false-positive rate on other real sources: not measured, all reals are of one source "
                   "(the column real_source of a manifest, or folders in real/)")  # fmt: skip
        return fitted.n_failed
    click.echo("achieved false-positive rate of each real source, thresholds"
               f"{' and bank' if bank else ''} from all others, with 95 % intervals:")  # fmt: skip
    rows = [(five.source or "(unnamed)", str(five.n_reals), five.text, one.text)
            for five, one in zip(*made.achieved, strict=True)]  # fmt: skip
    show_rows(("real source", "reals", "promised 5 %", "promised 1 %"), rows)
    return fitted.n_failed


@click.command()
@list_options
@click.option("--model", type=click.Path(dir_okay=False), help="File written by fdetect fit.")
@click.option("--detector", help="A training-free detector instead, uncalibrated (fdetect list detectors).")
@network_options
@click.option("--condition", default="", help="Default: the model's own; native for a training-free detector.")
@click.option("--crop", type=int, help="For conditions of training-free detectors; default 224.")
@click.option("-o", "--out", type=_OUT, help="Table to write: .parquet or .csv; default: the terminal.")
@click.option("--strict", is_flag=True, help="Exit with 3 if any image failed.")
@read_options
@engine_options
def score(data: tuple[str, ...], model: str | None, detector: str | None, out: str | None, **flags: Any) -> None:
    """Score every image of DATA: larger = more likely generated.

    With --model each image also gets a p-value, how often real images score as high, and a decision: real,
    inconclusive (between the thresholds at 5 and 1 % false positives), fake or undecided.
    """
    return_freed_memory()
    from fdetect.bench import steps
    from fdetect.classifiers.saved import FittedDetector, load_detector
    from fdetect.errors import ParameterError
    from fdetect.files import write_table

    if bool(model) == bool(detector):
        raise ParameterError("score needs either --model FILE or --detector NAME")
    if model and (flags["crop"] or flags["seed"] is not None):
        raise ParameterError("--seed and --crop go with --detector; a model keeps those it was fitted with")
    scorer = load_detector(Path(model)) if model else str(detector)
    if isinstance(scorer, FittedDetector) and (flags["encoder"] or flags["autoencoder"]):
        raise ParameterError(f"--encoder and --autoencoder go with training-free detectors, and {model} holds a head")
    manifest = _images(data, out, flags)
    with progress_bar() as progress:
        scores = steps.score(
            manifest, scorer, condition=flags["condition"], encoder=flags["encoder"], autoencoder=flags["autoencoder"],
            crop=flags["crop"] or 224, seed=flags["seed"] or 0, notice=say, **engine_settings(flags, progress),
        )  # fmt: skip
    condition = flags["condition"] or ("native" if isinstance(scorer, str) else scorer.condition)
    table = steps.score_table(scores, manifest, scorer, condition)
    if out:
        write_table(table, Path(out))
    else:
        _show_scores(table)
    where = f": {printable(out)}" if out else ""
    click.echo(f"{counted(len(scores.ids), 'image')}, {len(scores.failures)} failed{where}")
    leave(len(scores.ids), len(scores.failures), flags["strict"])


def _show_scores(table: Table) -> None:
    columns = ("path", "score", "p_value", "threshold", "decision", "status", "reason")

    def text(value: Any) -> str:
        if isinstance(value, float):
            return "" if value != value else f"{value:.6g}"
        return printable(value or "")

    show_rows(columns, [tuple(text(row[name]) for name in columns) for row in table.to_pylist()])


def _images(data: tuple[str, ...], out: str | None, flags: dict[str, Any]) -> Table:
    """Return the manifest of all inputs, said in one line, after it was seen that `out`, if any, can be written."""
    from fdetect.bench.inputs import any_images, check_output
    from fdetect.files import check_table

    if out:
        check_table(Path(out))
    given = listed_inputs(data, flags["files_from"])
    manifest = any_images(given, layout=flags["layout"] or "auto", root=flags["root"])
    if out:
        check_output(Path(out), given, manifest)
    say(manifest.schema.metadata[b"fdetect.detected"].decode())
    return manifest
