"""extract and score: the commands that make one table; `fit`, which makes the model for it, is in fitting.py."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

from fdetect.cli.common import (
    cluster_options,
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
from fdetect.cli.fitting import fit, network_options

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fdetect.bench.applying import Scorer
    from fdetect.types import FeatureTable, Table

__all__ = ["extract", "fit", "score"]

_OUT = click.Path(dir_okay=False)


@click.command()
@list_options
@click.option("-o", "--out", required=True, type=_OUT, help="Table to write: .parquet or .csv.")
@click.option("--features", default="standard", show_default=True, help="Presets, features or patterns, and the "
              "embedding of an encoder, embedding:encoder=dinov2-small, and a detector network, "
              "network:weights=FOLDER.")  # fmt: skip
@click.option("--condition", "--conditions", default="native", show_default=True, help="What is done to every image "
              "first.")  # fmt: skip
@click.option("--crop", type=int, default=224, show_default=True, help="Side in px of what features see: 64, 72, ...")
@click.option("--strict", is_flag=True, help="Exit with 3 if any image failed.")
@read_options
@engine_options
@cluster_options
def extract(data: tuple[str, ...], out: str, features: str, condition: str, crop: int, **flags: Any) -> None:
    """Write the named features of every image of DATA to a table.

    DATA is any number of images, folders, patterns ('shots/**/*.jpg'), tar and zip shards, members of shards
    (a.tar::name) and Parquet files with an image column; or one labelled folder or manifest.
    """
    return_freed_memory()
    from fdetect.bench import steps

    manifest = _images(listed_inputs(data, flags["files_from"]), out, flags)
    with progress_bar() as progress:
        done = steps.extract_to(
            out, manifest, features=features, condition=condition, crop=crop, seed=flags["seed"] or 0,
            notice=say, **engine_settings(flags, progress),
        )  # fmt: skip
    n_failed = len(done.failures)
    click.echo(f"{counted(done.n_images, 'image')}, {done.n_columns} columns, {n_failed} failed: {printable(out)}")
    leave(done.n_images, len(done.failures), flags["strict"])


@click.command()
@list_options
@click.option("--model", type=click.Path(), help="Folder written by fdetect fit; default: the detector that ships.")
@click.option("--detector", help="A training-free detector instead, uncalibrated (fdetect list detectors).")
@network_options(autoencoder="--detector, or of a --model that looks through one",
                 encoder="--detector, or of a --model that looks through one")  # fmt: skip
@click.option("--network", default="", help="Detector network of a --model that reads one: a name or a folder.")
@click.option("--tiles", help="Score a model's head on all tiles of each picture, of any size: mean, max or attention "
              "of their scores; none for one crop of each. Default: as its thresholds were set.")  # fmt: skip
@click.option("--condition", "--conditions", default="", help="Default: the model's own; native for a training-free "
              "detector.")  # fmt: skip
@click.option("--crop", type=int, help="For conditions of training-free detectors; default 224.")
@click.option("-o", "--out", type=_OUT, help="Table to write: .parquet or .csv; default: the terminal.")
@click.option("--strict", is_flag=True, help="Exit with 3 if any image failed.")
@read_options
@engine_options
@cluster_options
def score(data: tuple[str, ...], model: str | None, detector: str | None, out: str | None, **flags: Any) -> None:
    """Score every image of DATA: larger = more likely generated.

    With a model each image also gets a p-value, how often real images score as high, and a decision: real,
    inconclusive (between the thresholds at 5 and 1 % false positives), fake or undecided. With a trained head, DATA may
    also be a table that fdetect extract wrote as .parquet: it is scored without its images, and refused where its
    columns or settings are not the model's.
    """
    return_freed_memory()
    from fdetect.bench import steps
    from fdetect.classifiers.saved import FittedDetector
    from fdetect.files import write_table

    scorer = _scorer(model, detector, flags)
    given = listed_inputs(data, flags["files_from"])
    features = steps.feature_table(given) if isinstance(scorer, FittedDetector) else None
    tiles = _tiles(scorer, None if features is None else given[0], flags["tiles"])
    if features is not None:
        manifest = _rows_of(features, given[0], out, flags)
    else:
        manifest = _images(given, out, flags)
    with progress_bar() as progress:
        settings = {"notice": say, **engine_settings(flags, progress)}
        settings |= {name: flags[name] for name in ("condition", "network")}
        if tiles and isinstance(scorer, FittedDetector):
            scores = steps.score_tiles(manifest, scorer, tiles, **settings)
        else:
            crop = 224 if flags["crop"] is None else flags["crop"]
            scores = steps.score(
                manifest if features is None else given, scorer, encoder=flags["encoder"],
                autoencoder=flags["autoencoder"], crop=crop, seed=flags["seed"] or 0, **settings,
            )  # fmt: skip
    condition = flags["condition"] or ("native" if isinstance(scorer, str) else scorer.condition)
    table = steps.score_table(scores, manifest, scorer, condition)
    if out:
        write_table(table, Path(out))
    else:
        _show_scores(table)
    _say_limits(scorer, table, shipped=not (model or detector))
    where = f": {printable(out)}" if out else ""
    click.echo(f"{counted(len(scores.ids), 'image')}, {len(scores.failures)} failed{where}")
    leave(len(scores.ids), len(scores.failures), flags["strict"])


def _scorer(model: str | None, detector: str | None, flags: dict[str, Any]) -> Scorer:
    """Return the model that is named, else the one that ships, or a detector's name; say which where none is named."""
    from fdetect.classifiers.embedding import is_embedding
    from fdetect.classifiers.network_columns import is_network
    from fdetect.classifiers.saved import FittedDetector, load_detector
    from fdetect.classifiers.shipped import model_of
    from fdetect.errors import ParameterError

    if model and detector:
        raise ParameterError("score takes either --model FOLDER or --detector NAME")
    if not detector and (flags["crop"] is not None or flags["seed"] is not None):
        raise ParameterError("--seed and --crop go with --detector; a model keeps those it was fitted with")
    scorer = detector or load_detector(model_of(model))
    if not (model or isinstance(scorer, str)):
        say(f"the detector that ships with fdetect: {scorer.name}")
    sources = scorer.features if isinstance(scorer, FittedDetector) else ()
    taken = {"network": any(map(is_network, sources))}
    if isinstance(scorer, FittedDetector):
        taken |= {"autoencoder": False, "encoder": any(map(is_embedding, sources))}
    if strange := [option for option, one in taken.items() if flags[option] and not one]:
        raise ParameterError(f"--{strange[0]}: {model or detector or 'the detector that ships'} looks through no "
                             f"{strange[0]}; leave it out")  # fmt: skip
    return scorer


def _tiles(scorer: Scorer, table: str | None, asked: str | None) -> str:
    """Return how scores are made of tiles, as the model's own where nothing is asked; "" = of single crops.

    table  the name of a table of features, where one is scored
    """
    from fdetect.bench.tiled import SINGLE
    from fdetect.classifiers.saved import FittedDetector
    from fdetect.errors import ParameterError

    if not isinstance(scorer, FittedDetector):
        if asked is not None:
            raise ParameterError("--tiles goes with a head that was fitted, and a training-free detector is given")
        return ""
    if table is not None and asked not in (None, SINGLE):
        raise ParameterError(f"--tiles: {table} is a table of single crops; give the images themselves")
    how = SINGLE if table is not None else scorer.tiles if asked is None else asked
    return "" if how == SINGLE else how


def _rows_of(features: FeatureTable, place: str, out: str | None, flags: dict[str, Any]) -> Table:
    """Return the manifest of a table of features, after it was seen that nothing was asked that needs images."""
    from fdetect.bench.data.inputs import check_output
    from fdetect.errors import ParameterError
    from fdetect.files import check_table

    if named := [name for name in ("layout", "root", "encoder", "network") if flags[name]]:
        raise ParameterError(f"--{named[0]} is for images, and {place} is a table of their features; leave it out")
    manifest = features.manifest
    if out:
        check_table(Path(out))
        check_output(Path(out), [place], manifest)
    say(f"{counted(len(features), 'row')} of {len(features.columns)} columns of features; their images are not read")
    return manifest


def _say_limits(scorer: Scorer, table: Table, *, shipped: bool) -> None:
    """Say which images are no test of a model, and what its decision `real` is worth where there is one."""
    from fdetect.classifiers.saved import FittedDetector
    from fdetect.classifiers.seen import in_words

    if isinstance(scorer, str):
        packaged = ", once its class is installed as a package" if ".py:" in scorer else ""
        say(f"{scorer} has no threshold, so every decision is undecided; fdetect fit PHOTOS --detector {scorer} -o "
            f"my.fdetect sets one on photographs of yours, for score --model my.fdetect{packaged}")  # fmt: skip
        return
    if not shipped and (said := in_words(scorer, table.column("id").to_pylist())):
        say(said)
    if "real" not in table.column("decision").to_pylist():
        return
    if shipped:
        found = "this detector is weak: docs/shipped.md says what share of fakes of each generator it finds"
    else:
        record = scorer.record if isinstance(scorer, FittedDetector) and not scorer.tiles else {}
        found = _share_found(record, scorer.condition)
    say(f"a decision real means not flagged, not proven; {found}")


def _share_found(record: Mapping[str, Any], condition: str) -> str:
    """Say from a model's card what share of fakes it found at its 5 % threshold."""
    tested = record.get("cross_validated") or {}
    share, low, high = tested.get("macro", {}).get("tpr_frozen_5") or (None, None, None)
    if share is None:
        return "what share of fakes this model finds at its threshold was not measured"
    between = "" if low is None or high is None else f" ({100 * low:.0f} to {100 * high:.0f})"
    return (f"at a threshold of 5 % false positives this model found {100 * share:.0f} %{between} of the fakes under "
            f"{condition}, {tested['meaning']}")  # fmt: skip


def _show_scores(table: Table) -> None:
    known = ("path", "score", "n_tiles", "branches", "p_value", "threshold", "decision", "status", "reason")
    columns = [name for name in known if name in table.column_names]

    def text(value: Any) -> str:
        if isinstance(value, float):
            return "" if value != value else f"{value:.6g}"
        return printable(str(value or ""))

    show_rows(columns, [tuple(text(row[name]) for name in columns) for row in table.to_pylist()])


def _images(given: list[str], out: str | None, flags: dict[str, Any]) -> Table:
    """Return the manifest of all inputs, said in one line, after it was seen that `out`, if any, can be written."""
    from fdetect.bench.data.inputs import any_images, check_output
    from fdetect.files import check_table

    if out:
        check_table(Path(out))
    manifest = any_images(given, layout=flags["layout"] or "auto", root=flags["root"])
    if out:
        check_output(Path(out), given, manifest)
    say(manifest.schema.metadata[b"fdetect.detected"].decode())
    return manifest
