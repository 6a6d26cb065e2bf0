"""`fit --adapt`: what the command reads, and what it says of old and new generators."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click as click_core
import rich_click as click
from click.core import ParameterSource

from fdetect.cli.common import engine_settings, printable, progress_bar, say, show_rows

if TYPE_CHECKING:
    from fdetect.classifiers.adapt import Adapted

__all__ = ["adapt_options", "adapt_to"]

F = TypeVar("F", bound=Callable[..., Any])

_KEPT = ("head", "features", "search", "balance", "calibrate", "tiles", "draws", "aligned", "pairs", "generated",
         "detector", "autoencoder", "condition", "seed")  # fmt: skip
_WITH_DEFAULT = ("crop", "calibration")


def adapt_options(command: F) -> F:
    """Add the options that adapt a fused detector to new generators."""
    for option in (
        click.option("--adapt", metavar="FOLDER", type=click.Path(), help="A fused detector that fdetect fit wrote, "
                     "to be adapted to the generators of DATA; it stays as it is."),
        click.option("--with", "old", metavar="OLDDATA", type=click.Path(), help="With --adapt: the images that it was "
                     "fitted on: they hold it back, and what it loses on the generators it knows is told. --root is of "
                     "both."),
        click.option("--adapt-mode", help="With --adapt: head (default; last layers and gates move, on new fakes and "
                     "all reals) or mix (all is fitted anew on both)."),
        click.option("--network", default="", help="With --adapt: where the detector network that the model reads is "
                     "now, a name or a folder."),
    )[::-1]:  # fmt: skip
        command = option(command)
    return command


def adapt_to(data: str, out: str, flags: dict[str, Any]) -> int:
    """Adapt, write the model, say what it did to each generator, and return the number of images that failed."""
    from fdetect.bench.layouts import read_manifest
    from fdetect.bench.training.adapting import adapt_model
    from fdetect.classifiers.saved import FittedDetector, load_detector, save_detector
    from fdetect.errors import ParameterError

    source = click_core.get_current_context().get_parameter_source
    given = [name for name in _KEPT if not (flags[name] is None or flags[name] is False or flags[name] == "")]
    if given := [*given, *(name for name in _WITH_DEFAULT if source(name) is ParameterSource.COMMANDLINE)]:
        raise ParameterError(f"--{given[0]}: an adapted detector keeps what it was fitted with; leave it out")
    if not flags["old"]:
        raise ParameterError("--adapt needs --with OLDDATA, the images that the detector was fitted on")
    model = load_detector(Path(flags["adapt"]))
    if not isinstance(model, FittedDetector):
        raise ParameterError(f"--adapt: {flags['adapt']} holds a training-free detector, of which nothing is trained")
    manifest = read_manifest(data, layout=flags["layout"] or "auto", root=flags["root"])
    say(manifest.schema.metadata[b"fdetect.detected"].decode())
    known = read_manifest(flags["old"], root=flags["root"])
    with progress_bar() as progress:
        made = adapt_model(model, manifest, known, mode=flags["adapt_mode"] or "head",
                           folds=3 if flags["folds"] is None else flags["folds"], encoder=flags["encoder"],
                           network=flags["network"], notice=say, **engine_settings(flags, progress))  # fmt: skip
    fitted, found = made.detector, made.adapted
    save_detector(fitted, Path(out))
    counts = fitted.trained_on
    click.echo(f"{fitted.name}, adapted by {found.mode} on {sum(counts.values())} images under {fitted.condition}, "
               f"{fitted.n_failed} failed: {printable(out)}")  # fmt: skip
    if found.changes:
        _show(found)
    click.echo(fitted.calibration.text)
    return fitted.n_failed


def _show(found: Adapted) -> None:
    """Say what adapting did to each generator."""
    rows = [(one.generator, "new" if one.new else "old", f"{one.before:.3f}", f"{one.after:.3f}", str(one.n_fake))
            for one in found.changes]  # fmt: skip
    for word, is_new in (("old", False), ("new", True)):
        before, after = found.macro(new=is_new)
        rows.append(("macro", word, f"{before:.3f}", f"{after:.3f}", ""))
    click.echo("AUROC of each generator on held-out groups, by detectors fitted and adapted without them:")
    show_rows(("generator", "", "before", "after", "fakes"), rows)
    before, after = found.macro(new=False)
    if after < before and found.mode == "head":
        click.echo(f"those it knew fell from {before:.3f} to {after:.3f}; --adapt-mode mix fits all anew on both")
