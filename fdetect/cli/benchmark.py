"""bench, evaluate, audit: the commands that judge."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

from fdetect.cli.common import (
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

    from fdetect.bench.compare import PairedDifference
    from fdetect.config import RunConfig

__all__ = ["audit", "bench", "evaluate"]


@click.command()
@click.argument("data", required=False, type=click.Path())
@click.option("--protocol", help="leave_one_generator_out (default), cross_generator, train_on, fixed_split, ...")
@click.option("--train", help="Generators that train_on (or cross_generator) trains on, by commas; aligned: "
              "no generator, photographs against their round trips.")  # fmt: skip
@click.option("--folds", type=int, help="Folds by group; default 3.")
@click.option("--calibration", type=float, help="Share of training reals kept for thresholds; default 0.25.")
@click.option("--conditions", help="native, matched, rescaled, jpeg70, resize50, ..., by commas; wear and sharing are "
              "lists of them (docs/conditions.md).")  # fmt: skip
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
@click.option("--detectors", help="Training-free detectors, also with settings (rigid:sigma=0.02), and networks with "
              "weights (pretrained:weights=NAME); default rigid.")  # fmt: skip
@click.option("--encoder", help="For detectors that need one: a name (fdetect weights list), a hub id or a folder.")
@click.option("--autoencoder", help="The same for those that reconstruct; several are joined by +.")
@click.option("--scores", multiple=True, type=click.Path(), help="Scores made elsewhere, CSV or Parquet; repeatable.")
@click.option("--replicates", type=int, help="Bootstrap replicates behind each interval; default 1000.")
@click.option("--out", type=click.Path(file_okay=False), help="Run folder; default runs/<data>-<fingerprint>.")
@click.option("--dry-run", is_flag=True, help="Show counts, sizes, formats, JPEG qualities and trials; run nothing.")
@click.option("--strict", is_flag=True, help="Exit with 3 if any image failed.")
@click.option("--fail-if-biased", is_flag=True, help="Exit with 1 if a condition is marked, or could not be judged.")
@read_options
@engine_options
def bench(data: str | None, **flags: Any) -> None:
    """Run a benchmark on DATA: a folder, a manifest, or a run.toml. Without DATA, the small built-in one, offline.

    Every detector is trained and tested in the trials of the protocol, under every condition, beside an audit of
    what could be told without any trace. A killed run resumes when the same command is given again.
    """
    from fdetect.bench.contenders import head_sets
    from fdetect.bench.fusing import columns_of
    from fdetect.bench.head_trials import SEARCHED
    from fdetect.bench.header import host
    from fdetect.bench.learnt import check_networks
    from fdetect.bench.output import write_run_json
    from fdetect.bench.run import bench as run_bench
    from fdetect.bench.terminal import terminal_grids
    from fdetect.features import select_features

    config = _config(data, flags)
    entries = select_features(config.features.names) if config.features.names else ()
    head_sets(config, entries)
    columns_of(config, entries, config.features.embeddings)
    check_networks(config)
    if flags["dry_run"]:
        _dry_run(config, flags)
        return
    out = Path(flags["out"]) if flags["out"] else None
    with progress_bar() as progress:
        settings = engine_settings(flags, progress)
        done = run_bench(config, out=out, **settings)
    about_run = {"seconds": dict(done.timing), "workers": settings["workers"], "host": host(), "engine": done.engine}
    write_run_json(done.folder, about_run)
    for warning in done.warnings:
        say(warning)
    say(str(done.engine))
    result, about = done.result, done.result.header["data"]
    click.secho(printable(about["detected"] or about["description"]), bold=bool(about["detected"]))
    click.echo(f"{about['n_real']} real and {about['n_fake']} fake images in {about['n_groups']} groups, "
               f"{result.header['trials']} trials of {config.protocol.name}")  # fmt: skip
    for grid in terminal_grids(result, done.folder):
        show(grid)
    seconds = sum(done.timing.values())
    more = (name for name in ("gains.csv", "three_way.csv", SEARCHED) if (done.folder / name).exists())
    files = ", ".join(["report.html", "tables.md", "cells.csv", *more])
    click.echo(f"\nevery generator, real source and metric: {printable(str(done.folder))}/ ({files}) "
               f"in {seconds:.0f} s")  # fmt: skip
    if flags["fail_if_biased"]:
        _gate(result.audit)
    if flags["strict"] and result.failures:
        sys.exit(3)


@click.command()
@click.argument("scores", nargs=-1, required=True, type=click.Path())
@click.option("--pair", multiple=True, help="FIRST,SECOND: paired difference of two detectors; repeatable.")
@click.option("--replicates", type=int, default=1000, show_default=True, help="Bootstrap replicates.")
@click.option("--level", type=float, default=0.95, show_default=True, help="Level of the intervals.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of the bootstrap.")
@click.option("--csv", type=click.Path(dir_okay=False), help="Write every metric of every cell to this file.")
def evaluate(
    scores: tuple[str, ...], pair: tuple[str, ...], replicates: int, level: float, seed: int, csv: str | None
) -> None:
    """Judge score tables (scores.parquet of a run, or anybody's with its columns); nothing but them is read."""
    import pyarrow as pa

    from fdetect.bench.compare import paired_differences
    from fdetect.bench.differences import difference_grids, differences_of
    from fdetect.bench.evaluate import cells_of
    from fdetect.bench.gains import gain_grids, gains_of
    from fdetect.bench.given import read_score_table
    from fdetect.bench.robustness import curve_grids, curves_of
    from fdetect.bench.suspicions import suspicions
    from fdetect.bench.tables import cells_csv, result_grids
    from fdetect.bench.terminal import narrow
    from fdetect.errors import ParameterError

    if csv and Path(csv).resolve() in {Path(file).resolve() for file in scores}:
        raise ParameterError(f"--csv {csv} is one of the score tables to read; give another file, nothing was written")
    table = pa.concat_tables([read_score_table(Path(file)) for file in scores], promote_options="permissive")
    settings: dict[str, Any] = {"replicates": replicates, "level": level, "seed": seed}
    pairs: list[PairedDifference] = []
    for text in pair:
        names = text.split(",")
        if len(names) != 2:
            raise ParameterError(f"--pair takes two detectors separated by a comma, got '{text}'")
        pairs += paired_differences(table, names[0], names[1], **settings)
    if not pair or csv:
        with progress_bar() as progress:
            cells = cells_of(table, progress=progress, **settings)
            gains = gains_of(table, cells, progress=progress, **settings)
            fused = differences_of(table, progress=progress, **settings)
        for warning in suspicions(table, cells):
            say(warning)
        curves = curve_grids(curves_of(table, **settings))
        for grid in (*result_grids(cells), *curves, *map(narrow, (*gain_grids(gains), *difference_grids(fused)))):
            show(grid)
        if csv:
            Path(csv).write_text(cells_csv(cells), encoding="utf-8")
    _show_pairs(pairs, level)


@click.command()
@click.argument("data", required=False, type=click.Path())
@click.option("--conditions", help="native, matched, rescaled, jpeg70, ..., separated by commas.")
@click.option("--crop", type=int, help="Side in px, a multiple of 8; default 224 (built-in 128).")
@click.option("--fail-if-biased", is_flag=True, help="Exit with 1 if a condition is marked, or could not be judged.")
@click.option("--replicates", type=int, help="Bootstrap replicates behind each interval; default 1000.")
@read_options
@engine_options
def audit(data: str | None, **flags: Any) -> None:
    """Show what the labels of DATA can be told from without any trace: sizes, formats, JPEG tables, content."""
    from fdetect.bench.audit import LABEL_PROBES
    from fdetect.bench.run import audit_only
    from fdetect.bench.tables import audit_grids, failure_grid

    config = _config(data, flags)
    with progress_bar() as progress:
        found = audit_only(config, **engine_settings(flags, progress))
    for grid in (*audit_grids(found.as_json()), failure_grid(found.failures)):
        show(grid)
    if all(len(names) == len(LABEL_PROBES) for names in found.unmeasured.values()):
        say("nothing could be measured: too few images under every condition")
    if flags["fail_if_biased"]:
        _gate(found.as_json())


def _gate(audit: dict[str, Any]) -> None:
    """Exit with 1 unless every condition was judged and none is biased; a probe without images vouches for nothing."""
    from fdetect.bench.tables import audit_mark

    failed = {name: mark for name in audit["biased_by"] if (mark := audit_mark(audit, name))}
    for name, mark in failed.items():
        say(f"--fail-if-biased: {name}: {mark}")
    if failed:
        sys.exit(1)


def _config(data: str | None, flags: dict[str, Any]) -> RunConfig:
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
        "metrics.replicates": flags.get("replicates"), "seed": flags.get("seed"),
    }  # fmt: skip
    return override(config, keys)


def _dry_run(config: RunConfig, flags: dict[str, Any]) -> None:
    from fdetect.bench.overview import overview
    from fdetect.bench.protocols import ALIGNED, samples_of
    from fdetect.bench.run import load_data, resolved, trials_for
    from fdetect.perturb import check_condition

    config = resolved(config)
    for name in (*config.conditions.names, *config.heads.train_conditions):
        check_condition(name)
    manifest = load_data(config, open_store(flags["store"]))
    seen = overview(manifest)
    if seen.detected:
        click.secho(printable(seen.detected), bold=True)
    rows = seen.as_rows()
    show_rows(tuple(rows[0]), [tuple(str(value) for value in row.values()) for row in rows])
    for warning in seen.warnings:
        click.secho(f"beware: {printable(warning)}", fg="yellow")
    samples = samples_of(manifest)
    trials = trials_for(samples, config)
    click.echo(f"\n{config.protocol.name}: {len(trials)} trials, crop {config.conditions.crop} px, "
               f"conditions {', '.join(config.conditions.names)}")  # fmt: skip
    aligned = ALIGNED in config.protocol.train
    of_trials = [(t.name, t.train, _to_fit(samples.label[t.fit], aligned), str(len(t.calibration)), str(len(t.test)))
                 for t in trials]  # fmt: skip
    show_rows(("trial", "trained on", "to fit", "calibration reals", "to test"), of_trials)


def _to_fit(label: np.ndarray, aligned: bool) -> str:
    if aligned:
        return f"{len(label)} and round trips"
    missing = [name for name, k in (("real", 0), ("fake", 1)) if not (label == k).any()]
    return f"{len(label)}{f' (no {missing[0]}: nothing can be trained)' if missing else ''}"


def _show_pairs(pairs: list[PairedDifference], level: float) -> None:
    from fdetect.significance import holm

    for p, corrected in zip(pairs, holm([pair.p for pair in pairs]), strict=True):
        click.echo(
            f"\n{p.first} minus {p.second} under {p.condition}: macro AUROC {p.auroc_first:.3f} - {p.auroc_second:.3f} "
            f"= {p.value:+.3f} [{p.low:+.3f}, {p.high:+.3f}] ({level:.0%}, paired group bootstrap over "
            f"{p.n_images} images): {p.verdict}"
        )
        several = f", {corrected:.2g} corrected for {len(pairs)} comparisons (Holm)" if len(pairs) > 1 else ""
        independent = f"; DeLong's p = {p.p_delong:.2g}" if p.p_delong == p.p_delong else ""
        click.echo(f"  p = {p.p:.2g} of no difference{several}{independent}")
        click.echo(f"  failures counted wrong: {p.failures_wrong:+.3f} ({p.n_failed} images failed in either)")
