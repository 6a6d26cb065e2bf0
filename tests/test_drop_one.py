"""Heads without one family, heads on presets, and what a family adds: columns, gains, tables, the catalogue page."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import naive_evaluate as naive
import numpy as np
import pyarrow as pa
import pytest
from test_evaluate import fakes, reals, run_like, table

from fdetect.bench.contenders import head_sets
from fdetect.bench.run import bench
from fdetect.bench.scores.compare import compare, paired_differences
from fdetect.bench.scores.evaluate import ScoreTable, cells_of
from fdetect.bench.scores.gains import Gain, gain_grids, gains_csv, gains_of, left_out, read_gains
from fdetect.config import RunConfig, override
from fdetect.engine import Store
from fdetect.errors import ParameterError, UnknownName
from fdetect.features import ALONE, PRESETS, column_names, preset, select_features

ROOT = Path(__file__).resolve().parent.parent
STANDARD = {entry.family for entry in preset("standard")}

# -- which columns --------------------------------------------------------------------------------------------------


def sets(features: str, **heads: tuple[str, ...]) -> dict[str, set[str]]:
    """Names of the features that every head of a configuration is trained on."""
    plain = {"heads.per_family": (), "heads.all_columns": ()}
    config = override(RunConfig(), plain | {f"heads.{name}": value for name, value in heads.items()})
    found = head_sets(config, select_features(features))
    assert len({f"{head}:{name}" for head, name, _ in found}) == len(found)
    return {f"{head}:{name}": {entry.name for entry in mine} for head, name, mine in found}


def test_every_family_is_left_out_once_and_nothing_else_with_it():
    found = sets("standard", drop_one=("logreg",))
    whole = found.pop("logreg:all")  # comes with drop_one: there is nothing else to compare with
    assert whole == set(PRESETS["standard"])
    assert set(found) == {f"logreg:all-{family}" for family in STANDARD}
    for name, mine in found.items():
        family = name.partition("-")[2]
        assert {e.family for e in select_features("standard") if e.name in whole - mine} == {family}


def test_columns_of_probes_and_provenance_are_in_no_larger_set():
    assert ALONE == ("probe", "provenance")
    found = sets("standard,thumbnail", per_family=("logreg",), all_columns=("hist_gb",), drop_one=("logreg",),
                 per_preset=("logreg",))  # fmt: skip
    assert found.pop("logreg:probe") == {"thumbnail"}
    assert not any("thumbnail" in mine for mine in found.values())
    assert "logreg:all-probe" not in found
    assert {"hist_gb:all", "logreg:all", "logreg:preset-standard"} <= set(found)


def test_a_preset_of_what_stands_alone_is_none_to_train_on():
    if "provenance" not in PRESETS:
        pytest.skip("no preset of provenance")
    with pytest.raises(ParameterError, match="--per-preset finds no preset"):
        sets("provenance", per_preset=("logreg",))


def test_a_preset_has_a_head_where_all_of_it_is_chosen(monkeypatch):
    monkeypatch.setitem(PRESETS, "tiny", ("radial_spectrum", "npr_statistics"))
    monkeypatch.setitem(PRESETS, "wide", ("radial_spectrum", "radial_spectrum_hann"))
    found = sets("standard", per_preset=("logreg", "hist_gb"))
    chosen = {name for name, members in PRESETS.items() if set(members) <= set(PRESETS["standard"])}
    assert {"tiny", "standard"} <= chosen
    assert "wide" not in chosen
    assert set(found) == {f"{head}:preset-{name}" for head in ("logreg", "hist_gb") for name in chosen}
    assert found["logreg:preset-tiny"] == {"radial_spectrum", "npr_statistics"}


def test_what_cannot_be_trained_is_one_sentence_that_names_the_option():
    with pytest.raises(ParameterError, match=r"--drop-one needs two families besides probe and provenance, the chosen "
                       r"features have spectrum; name more with --features$"):  # fmt: skip
        sets("radial_*,thumbnail", drop_one=("logreg",))
    with pytest.raises(ParameterError, match=r"--per-preset finds no preset \(.*standard.*; add one to --features$"):
        sets("radial_*", per_preset=("logreg",))
    with pytest.raises(UnknownName, match="did you mean 'hist_gb'"):
        sets("standard", drop_one=("hist_gbb",))


# -- gains from scores ----------------------------------------------------------------------------------------------


def named(**detectors: list[dict[str, object]]) -> pa.Table:
    names = {"all": "logreg:all", "other": "hist_gb:all"}
    return table([
        {**row, "detector": names.get(name, f"logreg:all-{name}")} for name, rows in detectors.items() for row in rows
    ])  # fmt: skip


def gains(scores: pa.Table, **settings: object) -> tuple[Gain, ...]:
    how = {"replicates": 100, **settings}
    return gains_of(scores, cells_of(scores, **how), **how)


def test_drop_one_detectors_are_known_by_their_names_beside_the_whole():
    names = ["logreg:all", "logreg:all-noise", "hist_gb:all-noise", "mine", "logreg:all-up-sampling", "logreg:all-"]
    assert left_out(names) == {"logreg:all-noise": ("logreg", "noise"),
                               "logreg:all-up-sampling": ("logreg", "up-sampling")}  # fmt: skip
    assert gains(named(other=run_like(), noise=run_like())) == ()  # nothing to compare with


def test_verdicts_where_the_answer_is_known():
    rng = np.random.default_rng(0)
    low, high = rng.uniform(0, 1, (2, 40))
    perfect = reals(list(low)) + fakes("gan", list(2 + high))
    chance = reals(list(low)) + fakes("gan", list(high))
    lost = reals([None] * 40) + fakes("gan", [None] * 40)
    found = gains(named(all=perfect, needed=chance, idle=perfect, broken=lost))
    assert {g.family: g.verdict for g in found} == {"needed": "gain", "idle": "no gain shown", "broken": "not measured"}
    needed, idle, broken = found
    assert (needed.auroc_all, needed.value) == (1.0, 1.0 - needed.auroc_without)
    assert (idle.value, idle.low, idle.high, idle.worst_value) == (0.0, 0.0, 0.0, 0.0)
    assert np.isnan(broken.value)
    assert broken.n_failed == 80
    (harmful,) = gains(named(all=chance, harmful=perfect))
    assert harmful.verdict == "loss"
    (grid,) = gain_grids(found)
    assert grid.note.startswith("Gain: needed. No gain shown: idle. Not measured: broken. A gain is logreg:all minus")
    assert gain_grids([harmful])[0].note.startswith("Gain: none. No gain shown: none. Loss: harmful. ")
    assert [row[0] for row in grid.rows] == ["needed", "idle", "broken"]
    assert grid.rows[1][1:5] == ("1.000", "1.000", "+0.000 [+0.000, +0.000]", "no gain shown")
    assert grid.rows[2][3:5] == ("–", "not measured")


def test_a_gain_is_the_paired_difference_of_the_two_detectors():
    both = [{**row, "condition": c} for c in ("native", "jpeg70") for row in run_like(seed=1)]
    dull = [{**row, "condition": c} for c in ("native", "jpeg70") for row in run_like(seed=2, noise=2.0)]
    scores = named(all=both, colour=dull, noise=both)
    found = gains(scores, seed=3)
    assert [(g.family, g.condition) for g in found] == [
        (f, c) for f in ("colour", "noise") for c in ("native", "jpeg70")
    ]
    for family in ("colour", "noise"):
        pairs = paired_differences(scores, "logreg:all", f"logreg:all-{family}", replicates=100, seed=3)
        for one, pair in zip([g for g in found if g.family == family], pairs, strict=True):
            assert (one.auroc_all, one.auroc_without, one.value, one.low, one.high, one.failures_wrong) == (
                pair.auroc_first, pair.auroc_second, pair.value, pair.low, pair.high, pair.failures_wrong
            )  # fmt: skip
            assert (one.train, one.condition) == (pair.train, pair.condition) == ("all but the tested", pair.condition)


def test_the_worst_generator_is_that_of_all_and_stays_the_same_for_both():
    sharp, dull = run_like(seed=1), run_like(seed=2, noise=2.0)
    (found,) = gains(named(all=sharp, colour=dull))
    assert (found.worst, found.worst_groups, found.worst_of_few) == ("low", 22, False)  # "rare" is lower, with 6 groups
    lost = {(r["trial"], r["path"]) for r in [*sharp, *dull] if r["score"] is None}
    kept = [[r for r in rows if (r["trial"], r["path"]) not in lost] for rows in (sharp, dull)]
    expected = [naive.macro([r for r in rows if r["trial"].startswith("low")]) for rows in kept]
    assert (found.worst_all, found.worst_without) == pytest.approx(expected, abs=1e-12)
    assert found.worst_low <= found.worst_value <= found.worst_high
    assert gain_grids([found])[0].rows[0][-1].endswith(" low (22 groups)")
    few = replace(found, worst="rare", worst_groups=6, worst_of_few=True)
    assert gain_grids([few])[0].rows[0][-1].startswith("none has 20; lowest: ")
    assert gain_grids([replace(found, worst="")])[0].rows[0][-1] == "–"


def test_of_one_generator_the_worst_is_the_mean():
    rows = reals([0.1, 0.4, 0.2, 0.9]) + fakes("gan", [0.3, 0.5, 0.8])
    (found,) = gains(named(all=rows, noise=[{**r, "score": -r["score"]} for r in rows]))
    assert found.worst_of_few
    assert (found.worst_value, found.worst_low, found.worst_high) == (found.value, found.low, found.high)


def test_a_comparison_on_one_generator_leaves_out_what_is_not_named():
    rows = [{**row, "condition": c} for c in ("native", "jpeg70") for row in run_like()]
    scores = ScoreTable.of(named(all=rows, noise=rows))
    weights = scores.weights(replicates=5, seed=0)
    (one,) = compare(
        scores, weights, "logreg:all", "logreg:all-noise", only={("all but the tested", "jpeg70"): "rare"}
    )
    assert (one.condition, one.generators) == ("jpeg70", ("rare",))


def test_several_training_sets_and_heads_are_told_apart():
    rows = [{**row, "train": t} for t in ("a", "b") for row in run_like()]
    other = [{**row, "detector": name} for name in ("hist_gb:all", "hist_gb:all-noise") for row in run_like()]
    found = gains(pa.concat_tables([named(all=rows, noise=rows), table(other)]))
    forest, linear = sorted(gain_grids(found), key=lambda grid: grid.title)
    assert forest.title == "What each family adds to hist_gb:all, under native"
    assert linear.columns[:2] == ("family left out", "trained on")
    assert [row[:2] for row in linear.rows] == [("noise", "a"), ("noise", "b")]
    assert "No gain shown: noise (a), noise (b)." in linear.note
    assert forest.columns[1] == "macro AUROC of all"


def test_csv_holds_every_field_and_nothing_for_what_is_not_known():
    (found,) = gains(named(all=run_like(seed=1), noise=run_like(seed=2)))
    nothing = replace(found, value=float("nan"), family='a,"b"')
    rows = list(csv.DictReader(gains_csv([found, nothing]).splitlines()))
    assert [float(rows[0][name]) for name in ("value", "low", "worst_high")] == [found.value, found.low,
                                                                                 found.worst_high]  # fmt: skip
    assert (rows[1]["value"], rows[1]["family"], rows[1]["verdict"]) == ("", 'a,"b"', found.verdict)


# -- a run ----------------------------------------------------------------------------------------------------------

QUICK = {
    "conditions.names": ("native", "matched"), "conditions.crop": 128, "detectors.names": (),
    "features.names": ("radial_spectrum", "npr_statistics"), "metrics.replicates": 50,
    "heads.per_family": ("logreg",), "heads.all_columns": (), "heads.drop_one": ("logreg",),
}  # fmt: skip


@pytest.fixture(scope="module")
def finished(small_set: Path, tmp_path_factory: pytest.TempPathFactory):
    base = tmp_path_factory.mktemp("drop_one")
    config = override(RunConfig(), {**QUICK, "data.path": str(small_set)})
    return bench(config, out=base / "run", store=Store(base / "store"))


def test_of_two_families_all_but_one_is_the_other(finished):
    """Trained on the same columns, the scores must be the same to the last bit."""
    rows = finished.scores.to_pylist()
    by = {name: [r for r in rows if r["detector"] == f"logreg:{name}"]
          for name in ("all", "spectrum", "neighbours", "all-spectrum", "all-neighbours")}  # fmt: skip
    assert len({len(mine) for mine in by.values()}) == 1
    for name, same in (("all-spectrum", "neighbours"), ("all-neighbours", "spectrum")):
        assert [r | {"detector": ""} for r in by[name]] == [r | {"detector": ""} for r in by[same]]
    assert [r["score"] for r in by["all"]] != [r["score"] for r in by["spectrum"]]


def test_gains_stand_in_every_file_of_the_run(finished):
    found = read_gains(finished.folder)
    assert found == gains(finished.scores, replicates=50)
    assert {(g.family, g.condition) for g in found} == {
        (f, c) for f in ("spectrum", "neighbours") for c in ("native", "matched")
    }
    assert json.loads((finished.folder / "result.json").read_text())["schema"] == 1
    assert (finished.folder / "gains.csv").read_text() == gains_csv(found)
    tables, page = ((finished.folder / name).read_text(encoding="utf-8") for name in ("tables.md", "report.html"))
    for grid in gain_grids(found):
        assert grid.title in tables
        assert grid.title in page
        for row in grid.rows:
            assert "| " + " | ".join(row) + " |" in tables
            assert all(text in page for text in row)
    assert tables.index("At the threshold") < tables.index("What each family adds") < tables.index("## Not run")
    assert "stand in the tables alone" in page
    charts = " ".join(part.split("</svg>")[0] for part in page.split("<svg")[1:])
    assert "logreg:all-spectrum" not in charts
    assert "logreg:spectrum" in charts


def test_a_run_without_them_has_no_gains(small_set, tmp_path):
    flags = {"heads.drop_one": (), "conditions.names": ("native",), "heads.per_family": ("logreg",)}
    config = override(RunConfig(), {**QUICK, **flags, "data.path": str(small_set)})
    done = bench(config, out=tmp_path / "run", store=Store(tmp_path / "store"))
    assert not (done.folder / "gains.csv").exists()
    assert json.loads((done.folder / "result.json").read_text())["gains"] == []
    assert "What each family adds" not in (done.folder / "tables.md").read_text(encoding="utf-8")
    assert "stand in the tables alone" not in (done.folder / "report.html").read_text(encoding="utf-8")


def test_the_command_line_prints_the_same_gains_from_the_run_and_from_its_scores(finished, small_set, tmp_path):
    def command(*arguments: object) -> str:
        start = [sys.executable, "-m", "fdetect", *map(str, arguments)]
        done = subprocess.run(start, capture_output=True, text=True, timeout=120, check=True, cwd=tmp_path)
        return done.stdout

    options = ("--crop", 128, "--conditions", "native,matched", "--features", "radial_spectrum,npr_statistics",
               "--heads", "none", "--drop-one", "logreg", "--detectors", "none", "--replicates", 50, "--workers", 0,
               "--store", finished.folder.parent / "store", "--out", finished.folder)  # fmt: skip
    ran = command("bench", small_set, *options)  # the same folder: the flags mean the same configuration
    judged = command("evaluate", finished.folder / "scores.parquet", "--replicates", 50)
    shown = [text.split("What each family adds")[1:] for text in (ran, judged)]
    lines = [[line for line in "".join(parts).splitlines() if "[" in line and "biased" not in line] for parts in shown]
    assert len(lines[0]) >= 4
    assert lines[0] == lines[1]
    assert "logreg:all-spectrum" not in ran
    assert "gains.csv" in ran


# -- the catalogue page ---------------------------------------------------------------------------------------------


def test_the_catalogue_page_is_written_from_its_runs(small_set, tmp_path):
    command = [
        sys.executable, str(ROOT / "benchmarks" / "catalogue.py"), str(small_set), "--features", "standard",
        "--alone", "thumbnail",
        "--conditions", "native,matched", "--crop", "128", "--replicates", "20", "--workers", "0",
        "--store", str(tmp_path / "store"), "--runs", str(tmp_path / "runs"), "--out", str(tmp_path / "page.md"),
    ]  # fmt: skip
    subprocess.run(command, capture_output=True, text=True, timeout=200, check=True, cwd=tmp_path)
    page = (tmp_path / "page.md").read_text(encoding="utf-8")
    assert "catalogue.py DATA --features standard --alone thumbnail --conditions native,matched --crop 128 " in page
    assert str(tmp_path) not in page
    assert str(small_set.parent) not in page
    assert "seed 0" in page
    for family in STANDARD:
        mine = [entry for entry in select_features("standard") if entry.family == family]
        n_columns = sum(len(column_names(entry)) for entry in mine)
        assert f"| {family} | {n_columns} | {', '.join(entry.name for entry in mine)} |" in page
    rows = list(csv.DictReader((tmp_path / "runs" / "together" / "cells.csv").open(encoding="utf-8")))
    for name in (*STANDARD, "preset-standard", "all"):
        value = next(r for r in rows if r["detector"] == f"logreg:{name}" and r["generator"] == "macro"
                     and r["metric"] == "auroc" and r["condition"] == "matched")["value"]  # fmt: skip
        line = next(line for line in page.split("## Macro AUROC")[1].splitlines() if line.startswith(f"| {name} |"))
        assert f"{float(value):.3f}" in line.split(" | ")[3]
    macro = page.split("## Macro AUROC")[1].split("\n## ")[0]
    (by_itself,) = (line for line in macro.splitlines() if line.startswith("| probe |"))
    assert by_itself.split(" | ")[1] == "256"
    assert by_itself.endswith("] | – |")  # native has a figure, matched none
    for gain in read_gains(tmp_path / "runs" / "dropped"):
        assert gain.condition == "matched"
        assert f"| {gain.family} | {gain.auroc_all:.3f} | {gain.auroc_without:.3f} | {gain.value:+.3f} " in page


def test_the_catalogue_says_what_it_cannot_run_in_one_sentence(tmp_path):
    command = [sys.executable, str(ROOT / "benchmarks" / "catalogue.py"), str(tmp_path), "--features", "radial_*"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False, cwd=tmp_path)
    assert done.returncode == 2
    assert "--per-preset finds no preset" in done.stderr
    assert "Traceback" not in done.stderr
