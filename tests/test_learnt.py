"""Detector networks in the benchmark: end to end, what is said of their training, and what is refused early."""

from __future__ import annotations

import csv
import json
import math
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pytest

pytest.importorskip("torch")

from fdetect.bench.computing import scored
from fdetect.bench.protocols import Samples, Trial, trials_of
from fdetect.bench.report.tables import result_grids
from fdetect.bench.run import Bench, bench
from fdetect.bench.training.learnt import Network, apart, check_networks
from fdetect.bench.training.learnt_tables import learnt_header, read_record, safe_name, verdict
from fdetect.bench.training.network_outputs import Outputs
from fdetect.bench.training.network_pictures import NetworkPictures, check_memory
from fdetect.bench.training.network_training import schedule_of
from fdetect.bench.training.networks import networks_grids, with_weights
from fdetect.config import NetworksConfig, RunConfig, override
from fdetect.decide import conformal_threshold
from fdetect.engine import Store
from fdetect.errors import DataError, ParameterError, UnknownName
from fdetect.nets.detectors import network
from fdetect.perturb import condition
from fdetect.types import FAKE, REAL

QUICK = {
    "conditions.names": ("native", "rescaled"), "conditions.crop": 128, "features.names": (), "heads.per_family": (),
    "heads.all_columns": (), "detectors.names": (), "metrics.replicates": 20, "protocol.folds": 2,
    "networks.names": ("tiny_ladeda", "resnext101"), "networks.steps": 20, "networks.batch": 4, "networks.crop": 64,
    "networks.draws": 2, "networks.validate_every": 10, "networks.validation": 0.25,
}  # fmt: skip


def quick(data: Path | str, **flags: Any) -> RunConfig:
    return override(RunConfig(), {**QUICK, "data.path": str(data), **flags})


@pytest.fixture(scope="module")
def spoilt(small_set: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small set with a fake that is cut too small and a real that cannot be read."""
    from PIL import Image

    with small_set.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    base = tmp_path_factory.mktemp("spoilt")
    for row in rows:
        (base / row["path"]).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(small_set.parent / row["path"], base / row["path"])
    fake, real = (next(row for row in rows if row["label"] == label) for label in "10")
    Image.open(base / fake["path"]).crop((0, 0, 70, 100)).save(base / "small.png")
    (base / "broken.png").write_bytes(b"no picture")
    fake["path"], real["path"] = "small.png", "broken.png"
    manifest = base / "spoilt.csv"
    with manifest.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return manifest


@pytest.fixture(scope="module")
def done(spoilt: Path, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    base = tmp_path_factory.mktemp("learnt")
    return bench(quick(spoilt), out=base / "run", store=Store(base / "store"), backend="cpu")


def test_every_image_is_scored_in_every_trial_and_condition(done: Bench) -> None:
    rows = done.scores.to_pylist()
    assert {row["detector"] for row in rows} == {"tiny_ladeda"}
    assert {row["trial"] for row in rows} == {f"sim-{name}/{k}" for name in ("nearest", "transposed") for k in (0, 1)}
    n = {name: [row["path"] for row in rows if row["condition"] == name] for name in ("native", "rescaled")}
    assert n["native"] == n["rescaled"]
    paths = {row["path"] for row in rows}
    fakes = {row["path"] for row in rows if row["label"] == FAKE}
    assert len(n["native"]) == len(fakes) + 2 * len(paths - fakes)  # each real beside each of two generators
    failed = {row["path"]: row["reason"] for row in rows if row["status"] == "failed"}
    assert {Path(path).name for path in failed} == {"small.png", "broken.png"}
    assert all(math.isfinite(row["score"]) for row in rows if row["path"] not in failed)
    of = {Path(row["path"]).name: row["reason"] for row in rows if row["condition"] == "native"}
    assert "too small for condition native" in of["small.png"], "the reason is that of its condition"
    assert of["broken.png"].startswith("decode: ")


def test_thresholds_are_those_of_calibration_reals_under_the_training_condition(done: Bench) -> None:
    """Counted again from the outputs that are kept beside the training."""
    table = done.scores.filter(pc.equal(done.scores.column("trial"), "sim-nearest/0"))
    assert set(table.column("n_calibration").to_pylist()) != {0}
    kept = Outputs.read(done.folder / "networks" / "tiny_ladeda" / "sim-nearest-0" / "outputs.npz")
    assert set(kept.rows) == {"native", "rescaled", "matched"}
    assert not kept.embedding, "a detector alone needs none"
    for row in table.to_pylist():
        if row["threshold"] is not None:
            assert row["threshold"] in kept.logit[row["train_condition"]]
    ready = {"native": "native", "rescaled": "matched"}
    assert {(row["condition"], row["train_condition"]) for row in table.to_pylist()} == set(ready.items())


def test_what_is_missing_is_stated(done: Bench) -> None:
    (missing,) = (row for row in done.result.not_run if row.detector == "resnext101")
    assert "needs pretrained weights" in missing.reason
    assert "fdetect weights get timm/resnext101_32x8d.tv_in1k" in missing.fix
    listed = [(Path(one.path).name, one.stage, one.reason) for one in done.result.failures]
    assert [one[1] for one in listed if one[0] == "broken.png"] == ["decode"], "once, not once a network or condition"
    small = [reason for name, _, reason in listed if name == "small.png"]
    of_crops = [reason for reason in small if "no network is trained on it (networks.crop" in reason]
    assert len(of_crops) == 1, "once, and not once a draw"
    assert any("condition native" in reason for reason in small)


def test_the_result_says_how_far_the_training_came(done: Bench) -> None:
    about = json.loads((done.folder / "result.json").read_text())["header"]["networks"]
    assert list(about) == ["tiny_ladeda"]
    one = about["tiny_ladeda"]
    assert (one["steps"], one["batch"], one["rate"], one["augmentation"], one["draws"], one["crop"]) == (
        20, 4, 1e-3, "full", 2, 64)  # fmt: skip
    assert (one["optimiser"], one["device"], one["precision"]) == ("adamw", "cpu", "float32")
    assert one["parameters"] == one["trained"] == 1297
    assert one["torch"]
    aurocs = one["validation_auroc"]
    assert set(aurocs) == {f"sim-{name}/{k}" for name in ("nearest", "transposed") for k in (0, 1)}
    assert one["mean"] == pytest.approx(sum(aurocs.values()) / 4)
    assert one["least"] == min(aurocs.values())
    assert one["trials"] == 4
    assert one["verdict"].startswith("undertrained: "), "20 steps are not enough for anything"
    assert one["undertrained"]
    assert one["one_generator"] == {
        trial: "sim-transposed" if "nearest" in trial else "sim-nearest" for trial in aurocs
    }, "of two generators one is held out"
    (grid,) = (grid for grid in networks_grids(done.result.header) if grid.title == "Trained networks")
    (row,) = grid.rows
    assert row[:3] == ("tiny_ladeda", "0.0013", "20 x 4")
    assert row[-1] == one["verdict"]
    assert "it alone validates" in grid.note
    marked = with_weights(result_grids(done.result.cells)[0], done.result.header)
    assert marked.rows[0][:2] == ("tiny_ladeda", "trained here, undertrained")
    for name in ("report.html", "tables.md"):
        text = (done.folder / name).read_text()
        assert "Trained networks" in text
        assert "undertrained" in text


def test_logs_and_curves_stand_beside_and_no_checkpoint_is_left(done: Bench) -> None:
    for home in (done.folder / "networks" / "tiny_ladeda").iterdir():
        assert {one.name for one in home.iterdir()} == {"record.json", "log.csv", "curve.svg", "outputs.npz"}
        with (home / "log.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        record = json.loads((home / "record.json").read_text())
        assert len(rows) == record["steps"] == 20
        assert [row["step"] for row in rows if row["validation"]] == ["10", "20"]
        assert max(float(row["validation"]) for row in rows if row["validation"]) == pytest.approx(record["auroc"])


def test_the_same_seed_gives_the_same_bytes_whoever_works(done: Bench, spoilt: Path, tmp_path: Path) -> None:
    """With two workers, trials wait for each other: torch has one random generator."""
    store = Store(done.folder.parent / "store")
    anew = bench(quick(spoilt), out=tmp_path / "anew", store=store, backend="cpu", workers=2)
    for name in ("result.json", "scores.parquet"):
        assert (anew.folder / name).read_bytes() == (done.folder / name).read_bytes()


# --- refused before hours of work ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flags", "error", "text"),
    [
        ({"networks.names": ("tiny_ladedda",)}, UnknownName, "did you mean 'tiny_ladeda'"),
        ({"networks.names": ("npr:factr=4",)}, ParameterError, "no setting 'factr'"),
        ({"networks.names": ("lenet", "lenet")}, ParameterError, "'lenet' is named twice"),
        ({"networks.names": ("patchcraft",), "networks.crop": 48}, ParameterError, "least 64 px.*crop is 48"),
        ({"networks.batch": 5}, ParameterError, "batch is even.*got 5 and 64"),
        ({"networks.crop": 60}, ParameterError, "crop a multiple of 8; got 4 and 60"),
        ({"networks.draws": 10**9}, ParameterError, "lower networks.draws"),
    ],
)  # fmt: skip
def test_mistakes_are_said_before_anything_is_computed(
    flags: dict[str, Any], error: type[Exception], text: str, small_set: Path, tmp_path: Path
) -> None:
    with pytest.raises(error, match=text):
        check_networks(quick(small_set, **flags), 72)
    with pytest.raises(error, match=text):
        bench(quick(small_set, **flags), out=tmp_path / "run", store=Store(tmp_path / "store"), backend="cpu")
    assert not (tmp_path / "run").exists()
    assert not (tmp_path / "store").exists() or not list((tmp_path / "store").rglob("*.parquet"))


def test_memory_is_asked_for_in_bytes_of_all_pictures() -> None:
    config = NetworksConfig(draws=4, crop=64)
    check_memory(config, 1000, 3, 128)
    with pytest.raises(ParameterError, match=r"4 draws at 64 px and 3 conditions at 128 px of 100,000,000 images take "
                       r"18310\.5 GiB, more than 50% of the memory"):  # fmt: skip
        check_memory(config, 10**8, 3, 128)  # 3 * 10^8 * (4 * 64^2 + 3 * 128^2) / 2^30


# --- a trial -------------------------------------------------------------------------------------------------------


def samples(n_groups: int, generators: tuple[str, ...] = ("a", "b")) -> Samples:
    """One real and one fake in each group."""
    n = 2 * n_groups
    label = np.arange(n) % 2
    generator = np.array([generators[k // 2 % len(generators)] if k % 2 else "" for k in range(n)], object)
    text = [np.array([f"{what}{k // 2 if what == 'g' else k}" for k in range(n)], object) for what in "pg"]
    source = np.array(["" if k % 2 else f"s{k // 2 % 2}" for k in range(n)], object)
    return Samples(text[0], label, generator, source, text[1], np.array([""] * n, object))


def test_memory_is_asked_for_what_trains_the_fused_detector_too() -> None:
    """Its trunk looks at training images under every condition of theirs."""
    flags = {"fused.branches": ("trunk",), "fused.network": "tiny_ladeda", "networks.names": ()}
    config = quick("", **flags)
    shown = len({"native", "matched", "rescaled"})
    each = 3 * (config.networks.draws * config.networks.crop**2 + shown * config.conditions.crop**2)
    fitting = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // (2 * each)
    check_networks(config, fitting)
    more = {"heads.train_conditions": ("matched", "jpeg70", "blur1")}
    with pytest.raises(ParameterError, match="and 5 conditions at 128 px"):
        check_networks(quick("", **flags, **more), fitting)
    alone = {"fused.branches": (), "networks.names": ("tiny_ladeda",), "fused.network": ""}
    check_networks(quick("", **(flags | alone), **more), fitting)  # a network by itself is shown none of them


def test_validation_groups_are_kept_apart_whole() -> None:
    of = samples(40)
    trial = trials_of(of, name="train_on", train=("a", "b"), folds=2)[0]
    fit, held = apart(of, trial, share=0.25, seed=0)
    assert sorted([*fit, *held]) == trial.fit.tolist()
    assert not set(of.group[fit]) & set(of.group[held])
    for part in (fit, held):
        assert set(of.label[part]) == {REAL, FAKE}
        assert set(of.generator[part]) == {"", "a", "b"}
        assert set(of.real_source[part]) == {"", "s0", "s1"}
    assert 0.15 < len(held) / len(trial.fit) < 0.35
    again = apart(of, trial, share=0.25, seed=0)
    np.testing.assert_array_equal(again[1], held)


def test_too_few_images_to_validate_are_said() -> None:
    of = samples(3, ("a",))
    trial = Trial("a/0", "a", np.arange(2), np.array([2]), np.array([4, 5]))
    with pytest.raises(DataError, match="trial a/0 has too few training images to keep 0.15 of them for validation"):
        apart(of, trial, share=0.15)


@pytest.fixture(scope="module")
def contender(small_set: Path) -> tuple[Network, Samples, tuple[Trial, ...]]:
    with small_set.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    column = {name: np.array([row[name] for row in rows], object) for name in rows[0]}
    of = Samples(column["path"], column["label"].astype(int), column["generator"], column["real_source"],
                 column["group"], np.array([""] * len(rows), object))  # fmt: skip
    config = NetworksConfig(names=("lenet",), steps=4, batch=4, draws=1, crop=64, validate_every=2, validation=0.3)
    shown = NetworkPictures.compute(config, of, [condition("native"), condition("matched")], crop=128,
                                    root=small_set.parent)  # fmt: skip
    one = Network(config, network.get("lenet")(), "lenet", shown, of, about={"parameters": 1})
    return one, of, trials_of(of, name="leave_one_generator_out", folds=2)


def test_a_trial_that_cannot_be_trained_fails_alone(contender: Any, tmp_path: Path) -> None:
    """A class that is empty, and a training that diverges, become the reason of its rows; others go on."""
    one, of, trials = contender
    bare = replace(trials[0], name="bare/0", fit=trials[0].fit[of.label[trials[0].fit] == REAL])
    with pytest.raises(DataError, match="bare/0 has too few training images"):
        one.ready(bare, "native")
    assert "too few" in one.record(bare)["error"]
    wild = replace(one, config=replace(one.config, rate=1e30), folder=tmp_path, records={}, _found={})
    with pytest.raises(DataError, match="training stopped at step [0-9]+: the (loss|gradient) is (nan|inf)"):
        wild.ready(trials[0], "native")
    assert "training stopped" in json.loads((tmp_path / "sim-nearest-0" / "record.json").read_text())["error"]
    model = one.ready(trials[1], "native")
    scores, probability = model.scores("native", trials[1].test)
    assert np.isfinite(scores).all()
    np.testing.assert_allclose(probability, 1 / (1 + np.exp(-scores)))


def test_progress_tells_loss_and_validation(contender: Any) -> None:
    one, _, trials = contender
    told: list[tuple[str, int, int]] = []
    replace(one, records={}, _found={}, progress=lambda *given: told.append(given)).ready(trials[0], "native")
    assert [(done, total) for _, done, total in told] == [(1, 4), (2, 4), (3, 4), (4, 4)]
    names = [what.partition(" | ") for what, _, _ in told]
    assert {name for name, _, _ in names} == {"lenet sim-nearest/0"}
    assert "AUROC" not in names[0][2]
    assert names[1][2].startswith("loss 0.")
    assert ", AUROC " in names[1][2]


def test_thresholds_come_from_the_scores_of_calibration_reals(contender: Any) -> None:
    one, _, trials = contender
    trial = trials[1]
    model = one.ready(trial, "matched")
    reals = model.reference(trial.calibration, "matched")
    np.testing.assert_array_equal(reals, model.scores("matched", trial.calibration)[0])
    assert model.threshold(reals, "matched", 0.2) == conformal_threshold(reals, fpr=0.2)
    assert one.ready(trial, "native") == model, "trained once for both"


def test_a_damaged_checkpoint_ends_the_run_and_is_no_failure_of_images(contender: Any, tmp_path: Path) -> None:
    one, _, trials = contender
    kept = replace(one, folder=tmp_path, records={}, _found={})
    (tmp_path / "sim-nearest-0").mkdir()
    key = kept._key(trials[0])
    (tmp_path / "sim-nearest-0" / f"checkpoint-{key}.safetensors").write_bytes(b"damaged")
    with pytest.raises(ParameterError, match="not a checkpoint of this training"):
        kept.ready(trials[0], "native")
    assert not kept.records


def test_conditions_that_show_too_little_are_failures_with_the_reason(contender: Any) -> None:
    one, _, trials = contender
    small = replace(one.pictures, shown=replace(one.pictures.shown, pixels={
        "native": one.pictures.shown.pixels["native"][:, :24, :24], "matched": one.pictures.shown.pixels["matched"],
    }))  # fmt: skip
    found = replace(one, pictures=small, records={}, _found={})
    scores, _ = found.ready(trials[0], "native").scores("native", trials[0].test)
    assert np.isnan(scores).all()
    assert found.reasons["native"][int(trials[0].test[0])] == "score: lenet takes sides of at least 32 px; got 24"
    assert np.isfinite(found.ready(trials[0], "native").scores("matched", trials[0].test)[0]).all()


def test_what_was_trained_is_not_trained_again_and_the_same_is_said(contender: Any, tmp_path: Path) -> None:
    """From the part that an earlier process kept, and from its trainings where it was killed before that."""
    one, of, trials = contender
    config = override(RunConfig(), {"conditions.names": ("native", "matched")})

    def run() -> tuple[Any, dict[str, Any], bool]:
        mine = replace(one, folder=tmp_path / "networks" / "lenet", records={}, _found={})
        table = scored(mine, config, of, one.pictures.shown.ids, trials, "run", tmp_path, 2, None)
        return table, learnt_header([mine], trials), bool(mine.records)

    table, about, trained = run()
    assert trained
    assert about["lenet"]["trials"] == len(trials) == 4
    files = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("networks/*/*/*")}
    assert run() == (table, about, False)
    for part in (tmp_path / "parts").iterdir():
        part.unlink()
    assert run() == (table, about, False)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("networks/*/*/*")} == files
    shutil.rmtree(tmp_path / "networks")
    again, bare, trained = run()
    assert again == table
    assert not trained
    assert bare["lenet"]["verdict"] == "not trained"
    assert bare["lenet"]["mean"] is None
    assert bare["lenet"]["not_trained"] == {trial.name: "no record is here" for trial in trials}
    (grid,) = networks_grids({"networks": bare})
    assert grid.rows[0][3:] == ("– (–)", "0 of 0 trials", "not trained")


def test_records_are_of_one_training(contender: Any, tmp_path: Path) -> None:
    one, _, trials = contender
    kept = replace(one, folder=tmp_path, records={}, _found={})
    kept.ready(trials[0], "native")
    fresh = replace(kept, records={}, _found={})
    assert fresh.record(trials[0]) == kept.record(trials[0])
    assert fresh.record(trials[0])["auroc"] == kept.records[trials[0].name]["auroc"]
    assert fresh.record(replace(trials[0], fit=trials[0].fit[1:])) == {}
    assert replace(fresh, config=replace(fresh.config, steps=5)).record(trials[0]) == {}
    others = replace(fresh, config=replace(fresh.config, names=("lenet", "npr")))
    assert others.record(trials[0]) == fresh.record(trials[0]), "they change nothing"
    (tmp_path / "sim-nearest-0" / "record.json").write_text("{")
    assert read_record(tmp_path / "sim-nearest-0", "") == {}


# --- rules --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("aurocs", "flattened", "failed", "text"),
    [
        ([0.85, 0.95], [True, True], 0, "rival"),
        ([0.85, 0.95], [True, False], 0, "rival"),
        ([0.85, 0.94], [True, True], 0, "undertrained: validation AUROC 0.895 below 0.90"),
        ([0.99, 0.99, 0.99], [True, False, False], 0, "undertrained: the loss still falls in 2 of 3 trials"),
        ([0.5], [False], 2, "undertrained: validation AUROC 0.500 below 0.90, the loss still falls in 1 of 1 trials; "
         "2 more not trained"),
        ([], [], 3, "not trained"),
        ([math.nan], [True], 0, "undertrained: validation AUROC nan below 0.90"),
    ],
)  # fmt: skip
def test_the_verdict_follows_its_rule(aurocs: list[float], flattened: list[bool], failed: int, text: str) -> None:
    assert verdict(aurocs, flattened, failed) == text


def test_the_authors_recipe_is_taken_where_it_is_asked_for() -> None:
    npr, lenet, dinov2 = (network.read(name)() for name in ("npr", "lenet", "dinov2:mode=full"))
    ours = schedule_of(npr, NetworksConfig(rate=3e-3), seed=7)
    assert (ours.rate, ours.optimiser, ours.warm_up, ours.largest_gradient, ours.seed) == (3e-3, "adamw", 0.05, 1.0, 7)
    theirs = schedule_of(npr, NetworksConfig(recipes=True, steps=9, batch=6))
    assert (theirs.rate, theirs.optimiser, theirs.decline, theirs.decay) == (2e-4, "adam", "step", 0.0)
    assert (theirs.warm_up, theirs.largest_gradient) == (0.0, math.inf)
    assert (theirs.steps, theirs.batch) == (9, 6)
    assert schedule_of(lenet, NetworksConfig(recipes=True)).warm_up == 0.05
    assert schedule_of(dinov2, NetworksConfig(recipes=True)).rate == 2e-5
    assert schedule_of(lenet, NetworksConfig(), device="cuda").precision == "bfloat16"


def test_folders_are_safe_and_told_apart() -> None:
    assert safe_name("sim-nearest/0") == "sim-nearest-0"
    assert safe_name("../../x y") not in ("../../x y", safe_name("../../x-y"))
    assert "/" not in safe_name("dinov2:encoder=/some/folder")
    assert safe_name("npr:factor=4") != safe_name("npr-factor=4")
