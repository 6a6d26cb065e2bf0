"""bench: the main job."""

from __future__ import annotations

import shutil
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

from fdetect.cli.common import (
    cluster_options,
    engine_options,
    engine_settings,
    open_store,
    printable,
    progress_bar,
    read_options,
    say,
    shares,
    show,
    show_rows,
    words,
)

if TYPE_CHECKING:
    import numpy as np

    from fdetect.config import RunConfig

__all__ = ["bench", "fail_if_biased", "run_config"]


@click.command()
@click.argument("data", required=False, type=click.Path())
@click.option("--protocol", help="leave_one_generator_out (default), cross_generator, train_on, fixed_split, ...")
@click.option("--train", help="Generators that train_on (or cross_generator) trains on, by commas; aligned: "
              "no generator, photographs against their round trips.")  # fmt: skip
@click.option("--folds", type=int, help="Folds by group; default 3.")
@click.option("--calibration", type=float, help="Share of training reals kept for thresholds; default 0.25.")
@click.option("--conditions", "--condition", help="native, matched, rescaled, jpeg70, resize50, ..., by commas; wear "
              "and sharing are lists of them (fdetect list conditions).")  # fmt: skip
@click.option("--crop", type=int, help="Side in px of what detectors see, a multiple of 8; default 224 (built-in 128).")
@click.option("--features", help="Presets, features or patterns; none for no hand-crafted detector.")
@click.option("--embeddings", help="Encoders whose embeddings the heads of --family-heads look at, as linear probes: "
              "names (fdetect weights list), hub ids or folders, by commas; default none.")  # fmt: skip
@click.option("--heads", help="Heads on all columns together, with settings where wanted (svm_rbf:c=3); default "
              "logreg,hist_gb.")  # fmt: skip
@click.option("--family-heads", help="Heads on each family alone; default logreg.")
@click.option("--per-preset", help="Heads on every preset whose features are all chosen; default none.")
@click.option("--drop-one", help="Heads on all columns but those of each family in turn: what each adds; default none.")
@click.option("--balance", help="Weights of training images: none (default), generators, generators+sources.")
@click.option("--search", is_flag=True, help="Search every head's settings by folds of groups within the training "
              "images of each trial.")  # fmt: skip
@click.option("--best-single", is_flag=True, help="Choose the best of all heads in each trial by folds of its training "
              "images; --fused does so too, and is compared with it.")  # fmt: skip
@click.option("--importance", is_flag=True, help="Permute each family's columns among the test images: what heads on "
              "all columns, and the fused detector, lose.")  # fmt: skip
@click.option("--draws", type=int, help="Crops of each image that heads are fitted on, and by whose mean score they "
              "judge an image; default 1.")  # fmt: skip
@click.option("--train-conditions", help="Conditions that heads are trained on together, for all columns but native; "
              "default: matched alone.")  # fmt: skip
@click.option("--aligned", help="Train heads on photographs and their round trips through these autoencoders as well: "
              "shipped, names or folders, separated by commas.")  # fmt: skip
@click.option("--pairs", type=int, help="Pairs of each photograph with each autoencoder; default 1.")
@click.option("--generated", help="Shares of generated images among the fakes of --aligned heads, such as 0,0.25.")
@click.option("--three-way", help="Heads that tell pristine photographs, laundered ones and generated images apart; "
              "laundered by the autoencoders of --aligned (default: shipped).")  # fmt: skip
@click.option("--fused", help="Branches of the fused detector: handmade, spectrum, trunk, encoder (those of "
              "--embeddings), by commas; default none.")  # fmt: skip
@click.option("--trunk", help="Network that is trained in every trial for the branch trunk (fdetect list networks); "
              "default residual_trunk.")  # fmt: skip
@click.option("--networks", help="Detector networks that are trained in every trial, by commas (fdetect list "
              "networks); default none.")  # fmt: skip
@click.option("--steps", type=int, help="Steps of each training of --networks; default 600.")
@click.option("--detectors", help="Training-free detectors, also with settings (rigid:sigma=0.02), networks with "
              "weights (pretrained:weights=NAME), and anybody's classes (FILE.py:Class); default rigid.")  # fmt: skip
@click.option("--encoder", help="For detectors that need one: a name (fdetect weights list), a hub id or a folder.")
@click.option("--autoencoder", help="The same for those that reconstruct; several are joined by +.")
@click.option("--scores", multiple=True, type=click.Path(), help="Scores made elsewhere: CSV, Parquet or JSON; "
              "repeatable.")  # fmt: skip
@click.option("--external", multiple=True, metavar="NAME=COMMAND", help="A program that scores pictures, run under "
              "each condition with --manifest, --out and --device (docs/external.md); repeatable.")  # fmt: skip
@click.option("--replicates", type=int, help="Bootstrap replicates behind each interval; default 1000.")
@click.option("-o", "--out", type=click.Path(file_okay=False), help="Run folder; default runs/<data>-<fingerprint>.")
@click.option("--dry-run", is_flag=True, help="Check every setting; show counts, sizes, formats, JPEG "
              "qualities, trials and which detectors would run; run nothing. Without DATA, the built-in images are "
              "written to the cache all the same.")  # fmt: skip
@click.option("--no-thumbnails", is_flag=True, help="No small pictures of the worst errors in report.html; a page with "
              "them shows images of DATA to whoever gets it.")  # fmt: skip
@click.option("--strict", is_flag=True, help="Exit with 3 if any image failed, or a program of --external or "
              "FILE.py:Class of --detectors was not run.")  # fmt: skip
@click.option("--fail-if-biased", is_flag=True, help="Exit with 1 if a condition is marked, or could not be judged.")
@read_options
@engine_options
@cluster_options
def bench(data: str | None, **flags: Any) -> None:
    """Run a benchmark on DATA: a folder, a manifest, or a run.toml. Without DATA, the small built-in one, offline.

    Every detector is trained and tested in the trials of the protocol, under every condition, beside an audit of
    what could be told without any trace. A killed run resumes when the same command is given again.
    """
    from fdetect.bench.header import host
    from fdetect.bench.leaderboard.best import best_lines
    from fdetect.bench.output import write_run_json
    from fdetect.bench.report.tables import verdict_line
    from fdetect.bench.report.terminal import in_files_alone, terminal_grids
    from fdetect.bench.run import bench as run_bench
    from fdetect.bench.training.head_trials import SEARCHED

    config = run_config(data, flags)
    if flags["dry_run"]:
        _dry_run(config, flags)
        return
    out = Path(flags["out"]).absolute() if flags["out"] else None  # plug-ins may change the working folder
    with progress_bar() as progress:
        settings = engine_settings(flags, progress)
        done = run_bench(config, out=out, thumbnails=not flags["no_thumbnails"], **settings)
    about_run = {"seconds": dict(done.timing), "workers": settings["workers"], "host": host(), "engine": done.engine}
    write_run_json(done.folder, about_run)  # before detectors run in this process, which they might crash
    write_run_json(done.folder, {**about_run, "cost_ms": done.costing()})
    for warning in done.warnings:
        say(warning)
    say(str(done.engine))
    result, about = done.result, done.result.header["data"]
    click.secho(printable(about["detected"] or about["description"]), bold=bool(about["detected"]))
    click.echo(f"{about['n_real']} real and {about['n_fake']} fake images in {about['n_groups']} groups, "
               f"{result.header['trials']} trials of {config.protocol.name}")  # fmt: skip
    click.secho(printable(verdict_line(result.audit)), bold=True)
    for grid in terminal_grids(result, done.folder):
        show(grid)
    if left := in_files_alone(result):
        click.echo(f"\n{printable(left)}")
    seconds = sum(done.timing.values())
    more = (name for name in ("gains.csv", "three_way.csv", SEARCHED) if (done.folder / name).exists())
    files = ", ".join(["report.html", "tables.md", "tables.tex", "cells.csv", "by_source.csv", *more])
    click.echo(f"\nevery generator, real source and metric: {printable(flags['out'] or str(done.folder))}/ ({files}) "
               f"in {seconds:.0f} s")  # fmt: skip
    for line in best_lines(done.folder, result.cells, level=config.metrics.level, seed=config.seed):
        click.secho(printable(line), bold=True)
    if done.lost:
        say(done.lost)
    theirs = _theirs(config)
    absent = [one for one in result.not_run if one.detector in theirs]
    for one in absent:
        say(f"not run: {one.detector}: {one.reason}; {one.fix}")
    if flags["fail_if_biased"]:
        fail_if_biased(result.audit)
    if flags["strict"] and (result.failures or absent):
        sys.exit(3)


def _theirs(config: RunConfig) -> set[str]:
    """Name the detectors that are somebody's own program or file: whoever asks for one counts on its row."""
    from fdetect.bench.scores.external_runs import programs_of
    from fdetect.rigid.plugged import named

    return {*(one.name for one in programs_of(config.detectors.external)),
            *(named(text).name for text in config.detectors.names if ".py:" in text)}  # fmt: skip


def fail_if_biased(audit: dict[str, Any]) -> None:
    """Exit with 1 unless every condition was judged and none is biased; a probe without images vouches for nothing."""
    from fdetect.bench.report.tables import audit_mark

    failed = {name: mark for name in audit["biased_by"] if (mark := audit_mark(audit, name))}
    for name, mark in failed.items():
        say(f"--fail-if-biased: {name}: {mark}")
    if failed:
        sys.exit(1)


def run_config(data: str | None, flags: dict[str, Any]) -> RunConfig:
    """Read run.toml if DATA is one, then let the flags override it."""
    from fdetect.config import RunConfig, override, read_config

    is_toml = bool(data) and str(data).endswith(".toml")
    config = read_config(Path(str(data))) if is_toml else RunConfig()
    keys = {
        "data.layout": flags.get("layout"), "data.root": flags.get("root"),
        "data.path": None if is_toml else data,
        "protocol.name": flags.get("protocol"), "protocol.folds": flags.get("folds"),
        "protocol.calibration": flags.get("calibration"),
        "protocol.train": words(flags.get("train")),
        "conditions.names": words(flags.get("conditions")), "conditions.crop": flags.get("crop"),
        "features.names": words(flags.get("features")), "features.embeddings": words(flags.get("embeddings")),
        "heads.all_columns": words(flags.get("heads")), "heads.per_family": words(flags.get("family_heads")),
        "heads.per_preset": words(flags.get("per_preset")), "heads.drop_one": words(flags.get("drop_one")),
        "heads.balance": flags.get("balance"), "heads.search": flags.get("search") or None,
        "heads.draws": flags.get("draws"), "heads.train_conditions": words(flags.get("train_conditions")),
        "heads.best_single": flags.get("best_single") or None, "heads.importance": flags.get("importance") or None,
        "aligned.autoencoders": words(flags.get("aligned")), "aligned.draws": flags.get("pairs"),
        "aligned.generated": shares(flags.get("generated")), "aligned.three_way": words(flags.get("three_way")),
        "networks.names": words(flags.get("networks")),
        "fused.branches": words(flags.get("fused")), "fused.network": flags.get("trunk"),
        "networks.steps": flags.get("steps"),
        "detectors.names": words(flags.get("detectors")), "detectors.encoder": flags.get("encoder"),
        "detectors.autoencoder": flags.get("autoencoder"), "detectors.scores": flags.get("scores") or None,
        "detectors.external": flags.get("external") or None,
        "metrics.replicates": flags.get("replicates"), "seed": flags.get("seed"),
    }  # fmt: skip
    return override(config, keys)


def _dry_run(config: RunConfig, flags: dict[str, Any]) -> None:
    """Settle everything that a run settles before its first image, and only then print."""
    from fdetect.bench.data.inputs import root_of
    from fdetect.bench.data.lost import need_large, too_small
    from fdetect.bench.data.overview import files_grid, need_readable, overview
    from fdetect.bench.header import data_name
    from fdetect.bench.output import run_folder
    from fdetect.bench.plan import planned
    from fdetect.bench.protocols import ALIGNED
    from fdetect.bench.scores.scoring import shown_and_trained
    from fdetect.perturb import condition

    plan = planned(config, open_store(flags["store"]), backend=flags["backend"])
    config, trials = plan.config, plan.trials
    out = Path(flags["out"]).absolute() if flags["out"] else None
    folder = run_folder(out, data_name(config), plan.fingerprint, config)
    seen = overview(plan.manifest)
    if seen.detected:
        click.secho(printable(seen.detected), bold=True)
    show(files_grid(seen))
    shown, crop = shown_and_trained(config.conditions.names), config.conditions.crop
    passing = [condition(name) for name in dict.fromkeys((*shown, *config.heads.train_conditions))]
    for warning in (*seen.warnings, *too_small(seen, passing, crop)):
        click.secho(f"beware: {printable(warning)}", fg="yellow")
    need_readable(seen, root_of(plan.manifest))
    need_large(seen, passing, crop)
    click.echo(f"\n{config.protocol.name}: {len(trials)} trials, crop {config.conditions.crop} px, "
               f"conditions {', '.join(config.conditions.names)}")  # fmt: skip
    aligned = ALIGNED in config.protocol.train
    of_trials = [(t.name, t.train, _to_fit(plan.samples.label[t.fit], aligned), str(len(t.calibration)),
                  str(len(t.test))) for t in trials]  # fmt: skip
    show_rows(("trial", "trained on", "to fit", "calibration reals", "to test"), of_trials)
    running, not_run = plan.detectors()
    click.secho("\nwill run", bold=True)
    for kind, names in running.items():
        text = f"{kind} ({len(names)}): {', '.join(map(printable, names))}"
        width = max(60, shutil.get_terminal_size((160, 24)).columns - 2)
        click.echo(textwrap.fill(text, width, initial_indent="  ", subsequent_indent="    ", break_on_hyphens=False))
    for one in not_run:
        click.secho(f"not run: {printable(f'{one.detector}: {one.reason}; {one.fix}')}", fg="yellow")
    images = "" if config.data.path else f"; the built-in images are in {printable(root_of(plan.manifest))}/"
    click.echo(f"\nnothing was run{images}; without --dry-run it is written to "
               f"{printable(flags['out'] or str(folder))}/")  # fmt: skip


def _to_fit(label: np.ndarray, aligned: bool) -> str:
    if aligned:
        return f"{len(label)} and round trips"
    missing = [name for name, k in (("real", 0), ("fake", 1)) if not (label == k).any()]
    return f"{len(label)}{f' (no {missing[0]}: nothing can be trained)' if missing else ''}"
