"""Protocols that begin with a training: which images train, what is cut of them, and what stands in the way."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tiny_reproduce import entered, run_command, tree

from fdetect.bench.layouts import read_manifest
from fdetect.bench.reproduce.outcome import reproduce
from fdetect.bench.reproduce.published import DataSet, Reproduction, Training, reproduction
from fdetect.bench.reproduce.training import crops_of, training_rows
from fdetect.engine import Store
from fdetect.engine.work import content_id
from fdetect.errors import DataError, ParameterError
from fdetect.images import Geometry
from fdetect.perturb import rng_for

pytest.importorskip("torch", reason="the deep extra is not installed")

N = 6  # images of each folder
CLASSES = {"0_real": (N, 9.0, 60), "1_fake": (N, 9.0, 200)}  # so unlike that a few steps tell them apart
SETS = ("train/car", "train/dog", "test/stargan", "test/gaugan")
KINDS = {f"{name}/{kind}": about for name in SETS for kind, about in CLASSES.items()}
WAY = Training(
    network="lenet", steps=20, batch=4, crop=64, categories=("car",), images=2 * N,
    source="this test", resize=Geometry("squash", 72, "bilinear"), tested=Geometry("squash", 72, "bilinear"),
    differs="nothing is known",
)  # fmt: skip
TINY = Reproduction(
    way=WAY, metric="auroc", figure=0.75, margin=0.25, why="any figure above chance", source="C: this test",
    preprocessing="squashed", data=DataSet(what="small textures", generators=("stargan", "gaugan"), fakes=N,
                                           layout="forensynths", source="this test", own_reals=True),
)  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tree(tmp_path_factory.mktemp("data"), KINDS)


@pytest.fixture
def entry() -> Iterator[None]:
    with entered(TINY):
        yield


# --- what trains -----------------------------------------------------------------------------------------------------


def trained_on(folder: Path, way: Training) -> list[str]:
    manifest = read_manifest(folder)
    return [manifest["path"][int(row)].as_py() for row in training_rows(manifest, way)]


def test_the_named_categories_of_the_training_split_train(data: Path) -> None:
    files = [f"{k:03d}.png" for k in range(N)]
    assert trained_on(data, WAY) == [f"train/car/{kind}/{file}" for kind in ("0_real", "1_fake") for file in files]
    assert len(trained_on(data, replace(WAY, categories=()))) == 4 * N
    with pytest.raises(DataError, match="no training images of both classes in split train of cow"):
        trained_on(data, replace(WAY, categories=("cow",)))


def test_of_genimage_one_generator_and_its_own_reals_train_however_it_is_spelt(tmp_path: Path) -> None:
    kinds = {f"{name}/{split}/{kind}": (2, 9.0, 120) for name in ("ADM", "stable_diffusion_v_1_4")
             for split in ("train", "val") for kind in ("ai", "nature")}  # fmt: skip
    way = reproduction.get("genimage-sdv14")().way
    assert isinstance(way, Training)
    found = trained_on(tree(tmp_path, kinds), way)
    folders = sorted({path.rpartition("/")[0] for path in found})
    assert folders == [f"stable_diffusion_v_1_4/train/{kind}" for kind in ("ai", "nature")]
    tree(tmp_path, {"sdv4/train/ai": (2, 9.0, 120), "sdv4/train/nature": (2, 9.0, 120)})
    with pytest.raises(DataError, match="sdv4 and stable_diffusion_v_1_4 are both spellings"):
        trained_on(tmp_path, way)


def test_a_picture_is_resized_and_cut_where_its_content_says(data: Path) -> None:
    manifest = read_manifest(data).slice(0, 5)
    examples, ids, failed = crops_of(manifest, replace(WAY, draws=2), seed=3)
    assert (len(failed), examples.draws.tolist(), examples.first.tolist()) == (0, [2] * 5, [0, 2, 4, 6, 8])
    for row, path in enumerate(manifest["path"].to_pylist()):
        content = content_id((data / path).read_bytes())
        assert ids[row] == content
        whole = np.asarray(Image.open(data / path).resize((72, 72), Image.Resampling.BILINEAR))
        for draw in range(2):
            rng = rng_for(3, content, f"crop {draw}")
            top, left = int(rng.integers(9)), int(rng.integers(9))
            wanted = whole[top : top + 64, left : left + 64]
            np.testing.assert_array_equal(np.asarray(examples.pixels)[2 * row + draw], wanted)


def test_a_picture_that_cannot_be_read_is_named_by_its_number(tmp_path: Path) -> None:
    folder = tree(tmp_path, {"train/car/0_real": (2, 9.0, 120), "train/car/1_fake": (2, 9.0, 120)})
    (folder / "train/car/0_real/001.png").write_bytes(b"no picture")
    examples, _, failed = crops_of(read_manifest(folder), WAY)
    assert failed.tolist() == [1]
    assert not np.asarray(examples.pixels)[1].any()
    assert np.asarray(examples.pixels)[[0, 2, 3]].any(axis=(1, 2, 3)).all()


# --- the verdict -----------------------------------------------------------------------------------------------------


def test_a_training_is_measured_as_a_checkpoint_and_not_done_twice(
    entry: None, data: Path, store: Store, tmp_path: Path
) -> None:
    said: list[str] = []
    settings: dict[str, Any] = {"store": store, "backend": "cpu", "progress": lambda what, *_: said.append(what)}
    found = reproduce("tiny", data, out=tmp_path / "run", **settings)
    assert (found.verdict, found.reasons, found.recorded) == ("reached", (), ())
    assert [name for name, _ in found.by_generator] == ["gaugan", "stargan"]
    assert [(one.n_real, one.n_fake) for _, one in found.by_generator] == [(N, N)] * 2
    assert found.networks[0]["purpose"] == "test"  # a network of one's own proves nothing of published weights
    assert any(what.startswith("lenet | loss") for what in said)
    assert found.aside == 4 * N  # of the split train
    said.clear()
    again = reproduce("tiny", data, out=tmp_path / "run", **settings)
    assert again.measured == found.measured
    assert not any("loss" in what for what in said)
    shorter = reproduce("tiny", data, out=tmp_path / "shorter", steps=2, **settings)
    assert (shorter.verdict, shorter.reasons) == (
        "not comparable", ("trained for 2 steps, the figure rests on 20",)
    )  # fmt: skip


def test_fewer_training_images_are_not_comparable(data: Path, store: Store, tmp_path: Path) -> None:
    with entered(replace(TINY, way=replace(WAY, images=1000, steps=2))):
        found = reproduce("tiny", data, store=store, backend="cpu", out=tmp_path / "run")
    assert found.verdict == "not comparable"
    assert found.reasons == (f"trained on {2 * N} images, the figure rests on 1000",)


def test_a_budget_that_a_cpu_cannot_meet_is_not_run(data: Path) -> None:
    done, error = run_command("forensynths-progan4", str(data), "--backend", "cpu")
    assert error == ""
    assert (done.exit_code, done.stdout) == (2, "")
    assert "not run: " in done.stderr
    assert "time: 225000 steps of 32 pictures of 224 px are not for a CPU" in done.stderr
    assert "--steps" in done.stderr


def test_data_without_a_test_part_are_refused_before_the_training(entry: None, tmp_path: Path) -> None:
    folder = tree(tmp_path, {"train/car/0_real": (2, 9.0, 120), "train/car/1_fake": (2, 9.0, 120)})
    with pytest.raises(DataError, match="no fakes of split test to test"):
        reproduce("tiny", folder, backend="cpu")


def test_a_number_of_steps_below_one_is_refused(data: Path) -> None:
    with pytest.raises(ParameterError, match="steps is -1; give 1 or more"):
        reproduce("forensynths-progan4", data, steps=-1)
