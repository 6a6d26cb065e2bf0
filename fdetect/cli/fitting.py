"""fit: a head that is trained, or a training-free detector that is calibrated; one model folder out."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import rich_click as click

from fdetect.cli.adapting import adapt_options, adapt_to
from fdetect.cli.common import (
    counted,
    engine_options,
    engine_settings,
    printable,
    progress_bar,
    read_options,
    say,
    show_rows,
)

if TYPE_CHECKING:
    from fdetect.config import AlignedConfig

__all__ = ["fit", "network_options"]

F = TypeVar("F", bound=Callable[..., Any])


def network_options(*, autoencoder: str, encoder: str) -> Callable[[F], F]:
    """Return what adds the options of the networks that a detector looks through; the arguments say of what each is."""
    where = "a name (fdetect weights list), a hub id or a folder"

    def add(command: F) -> F:
        helps = {"--autoencoder": f"Autoencoder of {autoencoder}: {where}; several are joined by +.",
                 "--encoder": f"Encoder of {encoder}: {where}."}  # fmt: skip
        for name, text in helps.items():
            command = click.option(name, default="", help=text)(command)
        return command

    return add


def training_options(command: F) -> F:
    """Add the options that say how a head is trained; None where one was not given."""
    for option in (
        click.option("--head", help="A head to train, with settings where wanted (logreg:c=0.01; fdetect list heads); "
                     "default logreg. fused: the fused detector, a branch for each kind of --features."),
        click.option("--features", help="Presets, features or patterns for the head, the embedding of an encoder, "
                     "embedding:encoder=dinov2-small, and a detector network, network:weights=FOLDER; default "
                     "standard."),
        click.option("--search", is_flag=True, help="Search the head's settings by folds of groups within the training "
                     "images; what was tried goes into the card."),
        click.option("--balance", help="Weights of the images: none, generators, generators+sources; default none, "
                     "generators of the fused detector."),
        click.option("--calibrate", metavar="METHOD", help="Probabilities by platt, isotonic or venn_abers, fitted on "
                     "groups of both classes that nothing else is fitted on; default none: the head's own."),
        click.option("--folds", type=int, help="Folds of the cross-validation that says what the head is worth; "
                     "default 3, 0 for none."),
        click.option("--draws", type=int, help="Crops of each image that the head is fitted on, and by whose mean "
                     "score an image is judged; default 1."),
        click.option("--tiles", help="Set the thresholds of the head on all tiles of each picture, for fdetect score "
                     "by tiles: mean, max or attention; default one crop of each."),
        click.option("--aligned", is_flag=True, help="Train the head on photographs against their round trips through "
                     "autoencoders: those of --autoencoder, by default all that come with fdetect."),
        click.option("--pairs", type=int, help="With --aligned: pairs of each photograph with each autoencoder; "
                     "default 1."),
        click.option("--generated", type=float, help="With --aligned: share of generated images of DATA among the "
                     "fakes; default 0."),
    )[::-1]:  # fmt: skip
        command = option(command)
    return command


@click.command()
@click.argument("data", type=click.Path())
@click.option("-o", "--out", required=True, type=click.Path(), help="Folder of the model to write, such as my.fdetect; "
              "a model in its place is replaced.")  # fmt: skip
@training_options
@adapt_options
@click.option("--detector", help="A training-free detector to calibrate instead, such as rigid or rigid:sigma=0.02.")
@network_options(autoencoder="--detector, or of --aligned", encoder="--detector, or of the model of --adapt")
@click.option("--condition", "--conditions", help="Done to every image first; default matched for heads, native for "
              "--detector.")  # fmt: skip
@click.option("--crop", type=int, default=224, show_default=True, help="Side in px of what features see: 64, 72, ...")
@click.option("--calibration", type=float, default=0.25, show_default=True, help="Share of reals kept for thresholds, "
              "and of all images for --calibrate; a --detector without a bank takes all.")  # fmt: skip
@click.option("--strict", is_flag=True, help="Exit with 3 if any image failed.")
@read_options
@engine_options
def fit(data: str, out: str, detector: str | None, **flags: Any) -> None:
    """Make a detector whose thresholds are set on real images: a folder with a card (card.json) that holds no code.

    A head is trained on labelled DATA; with --aligned on its photographs alone, labelled or not, and no generated image
    is needed. With --detector, photographs alone set the thresholds of a training-free detector, and make its bank
    where it has one. With --adapt, a fused detector learns the generators of DATA beside those it knows.
    """
    from fdetect.classifiers.model_folder import check_target
    from fdetect.errors import ParameterError

    if not flags["adapt"] and (flags["old"] or flags["adapt_mode"] or flags["network"]):
        raise ParameterError("--with, --adapt-mode and --network go with --adapt; a head reads a network by --features "
                             "network:weights=FOLDER")  # fmt: skip

    aligned = flags["aligned"]
    if detector and (flags["head"] or flags["features"] or aligned):
        raise ParameterError("--head, --features and --aligned are of what is trained, --detector is not: "
                             "give one or the other")  # fmt: skip
    of_heads = ("search", "balance", "calibrate", "folds", "tiles", "draws")  # --folds 0 is given too, and equals False
    if detector and (given := [name for name in of_heads if not (flags[name] is None or flags[name] is False)]):
        raise ParameterError(f"--{given[0]} goes with a head that is trained, and --detector is not")
    if flags["encoder"] and not (detector or flags["adapt"]):
        raise ParameterError("--encoder goes with --detector or --adapt; for a head, name it as --features "
                             "embedding:encoder=NAME")  # fmt: skip
    if flags["autoencoder"] and not (detector or aligned):
        raise ParameterError("--autoencoder goes with --detector or --aligned")
    if not aligned and (flags["pairs"] is not None or flags["generated"] is not None):
        raise ParameterError("--pairs and --generated go with --aligned")
    if aligned and flags["draws"] is not None:
        raise ParameterError("--draws is of labelled images; aligned pairs are drawn by --pairs")
    check_target(Path(out))
    if flags["adapt"]:
        n_failed = adapt_to(data, out, {**flags, "detector": detector})
    else:
        n_failed = _calibrate(data, out, detector, flags) if detector else _fit_head(data, out, flags)
    if flags["strict"] and n_failed:
        sys.exit(3)


def _fit_head(data: str, out: str, flags: dict[str, Any]) -> int:
    """Fit a head, say what came of it, and return the number of images that failed."""
    from fdetect.bench.data.inputs import any_images
    from fdetect.bench.layouts import read_manifest
    from fdetect.bench.training import fitting
    from fdetect.bench.training.cross_validation import in_words
    from fdetect.classifiers.saved import save_detector

    read = any_images if flags["aligned"] else read_manifest
    manifest = read(data, layout=flags["layout"] or "auto", root=flags["root"])
    say(manifest.schema.metadata[b"fdetect.detected"].decode())
    with progress_bar() as progress:
        settings = dict(
            head=flags["head"] or "logreg", features=flags["features"] or "standard", search=flags["search"],
            balance=flags["balance"] or "", calibrate=flags["calibrate"] or "none",
            folds=3 if flags["folds"] is None else flags["folds"], tiles=flags["tiles"] or "",
            condition=flags["condition"] or "matched", crop=flags["crop"], calibration=flags["calibration"],
            seed=flags["seed"] or 0, notice=say, **engine_settings(flags, progress),
        )  # fmt: skip
        if flags["aligned"]:
            fitted = fitting.fit_aligned(manifest, aligned=_aligned(flags), **settings)
        else:
            fitted = fitting.fit(manifest, draws=1 if flags["draws"] is None else flags["draws"], **settings)
    save_detector(fitted, Path(out))
    counts = fitted.trained_on
    what = f"{sum(counts.values())} of {len(manifest)} images"
    if flags["aligned"]:
        launders = sum(n for name, n in counts.items() if name.startswith("launder_"))
        n_generated = sum(counts.values()) - counts[""] - launders
        what = f"{counts['']} aligned pairs" + (f" and {n_generated} generated images" if n_generated else "")
    click.echo(f"{fitted.name}, fitted on {what} under {fitted.condition}, {fitted.n_failed} failed, "
               f"{_kept(fitted)}: {printable(out)}")  # fmt: skip
    for line in (*_search_lines(fitted), *in_words(fitted.record["cross_validated"])):
        click.echo(printable(line))
    on = f", of scores of tiles by {fitted.tiles}" if fitted.tiles else ""
    click.echo(f"{fitted.calibration.text}{on}")
    click.echo("achieved false-positive rate on other real sources: not available for heads (needs a refit for each; "
               "run fdetect bench --protocol leave_one_real_source_out)")  # fmt: skip
    return fitted.n_failed


def _kept(fitted: Any) -> str:
    """Say what was kept from fitting, and for what."""
    kept, made = fitted.record["thresholds"], fitted.record["probabilities"]
    text = f"{counted(kept['n_real'], 'real')} kept for thresholds"
    if n := kept["n_fakes_unused"]:
        text += f", {counted(n, 'fake')} of their groups left out"
    if made:
        text += f", {made['n_real']} reals and {made['n_fake']} fakes kept for probabilities ({fitted.calibrate})"
    return text


def _search_lines(fitted: Any) -> list[str]:
    """Say which settings were chosen; of the fused detector, of each branch where there was a choice."""
    lines, tried = [], fitted.record["search"] or ()
    for branch in dict.fromkeys(one["settings"].get("branch") for one in tried):
        mine = [one for one in tried if one["settings"].get("branch") == branch]
        chosen = next(one for one in mine if one["chosen"])
        settings = ", ".join(f"{name}={value}" for name, value in chosen["settings"].items() if name != "branch")
        what = f"branch {branch}, settings" if branch else "settings"
        lines.append(f"{what} of {len(mine)} tried: {settings} (macro AUROC in the training images "
                     f"{chosen['macro_auroc']:.3f}, from which they were chosen)")  # fmt: skip
    return lines


def _aligned(flags: dict[str, Any]) -> AlignedConfig:
    from fdetect.config import AlignedConfig

    names = tuple(flags["autoencoder"].split("+")) if flags["autoencoder"] else ("shipped",)
    return AlignedConfig(names, 1 if flags["pairs"] is None else flags["pairs"], generated=(flags["generated"] or 0.0,))


def _calibrate(data: str, out: str, name: str, flags: dict[str, Any]) -> int:
    """Calibrate a training-free detector, say what came of it, and return the number of images that failed."""
    from fdetect.bench.data.inputs import any_images
    from fdetect.bench.training.calibrating import fit_detector
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
