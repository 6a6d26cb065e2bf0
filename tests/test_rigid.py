"""RIGID from pixels to score on a tiny DINOv2, against a plain float64 reference.

Tolerances: float32 may turn an embedding by 5e-6 rad, so that a score 1 - cos(a) may be off by 5e-6 sin(a), 2e-7 at a
score of 1e-3 and 2e-6 at 0.1.  Scores in another batch agree to 1e-6.
"""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import naive_rigid as naive
import numpy as np
import pytest
from PIL import Image

from fdetect import engine
from fdetect.errors import BackendError, ParameterError, WeightsError
from fdetect.images import Geometry
from fdetect.perturb import rng_for
from fdetect.rigid import View, ViewTask, detector, prepare
from fdetect.rigid.drift import Rigid
from fdetect.rigid.views import Shown
from fdetect.types import Batch, Facts

torch = pytest.importorskip("torch", reason="the deep extra is not installed")
transformers = pytest.importorskip("transformers", reason="the deep extra is not installed")

from tiny_dinov2 import HEADS, batch_of, photographs, save_tiny, weights_of  # noqa: E402

SQUASH = Geometry("squash", 224, "bilinear")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trained size 56 px: a 4 x 4 table of positions."""
    return save_tiny(tmp_path_factory.mktemp("tiny56"), image_size=56)


@pytest.fixture(scope="module")
def official_table_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The published 518 px: a 37 x 37 table, resampled to 16 x 16 at 224 px."""
    return save_tiny(tmp_path_factory.mktemp("tiny518"), image_size=518)


def part_of(batch: Batch, chosen: list[int]) -> Batch:
    ids, facts = (tuple(values[k] for k in chosen) for values in (batch.ids, batch.facts))
    return Batch(ids, batch.rgb8[chosen], facts, batch.seed)


def scores_of(rigid: Rigid, batch: Batch) -> np.ndarray:
    return rigid.score(**{task.view_name: task(batch) for task in prepare(rigid, device="cpu")})


@pytest.mark.parametrize("space, n_draws", [("normalized", 1), ("normalized", 3), ("pixel", 1)])
def test_score_equals_the_reference_from_pixels_to_number(
    official_table_folder: Path, space: str, n_draws: int
) -> None:
    rigid = Rigid(noise_space=space, n_draws=n_draws, encoder=str(official_table_folder))
    images = photographs(2)
    scores = scores_of(rigid, batch_of(images, SQUASH, seed=3))
    assert scores.dtype == np.float64

    weights = weights_of(official_table_folder)
    table = naive.resample_table(weights["embeddings.position_embeddings"][0], 16, scale=16.1 / 37)
    for k, image in enumerate(images):
        squashed = np.asarray(Image.fromarray(image).resize((224, 224), Image.Resampling.BILINEAR))
        x = naive.normalise(squashed)
        clean = naive.class_token(weights, x, table, heads=HEADS)
        noisy = []
        for draw in range(n_draws):
            noise = rng_for(3, f"{k:032x}", f"rigid-noise-{draw}").standard_normal((3, 224, 224), dtype=np.float32)
            noisy.append(naive.class_token(weights, naive.add_noise(x, noise, 0.05, space), table, heads=HEADS))
        expected = naive.rigid_score(clean, noisy)
        assert expected > 1e-3  # far above the tolerance: the score says something here
        assert scores[k] == pytest.approx(expected, abs=naive.float32_error(expected))


def test_a_larger_score_is_more_likely_generated() -> None:
    clean = np.array([[1.0, 2.0, 2.0], [3.0, 0.0, 0.0], [1.0, 0.0, 0.0], [1.0, 1.0, 0.0]], np.float32)
    noisy = np.array([[1.0, 2.0, 2.0], [0.0, 5.0, 0.0], [-2.0, 0.0, 0.0], [0.0, 0.0, 0.0]], np.float32)
    scores = Rigid().score(clean=clean, noise0=noisy)
    np.testing.assert_allclose(scores[:3], [0.0, 1.0, 2.0], atol=1e-12)  # no drift, a right angle, the opposite
    assert np.isnan(scores[3])
    near, far = clean + np.float32(0.01), clean + np.float32([[0, 1, -1]])
    drift = Rigid().score(clean=clean, noise0=far) - Rigid().score(clean=clean, noise0=near)
    assert (drift[:3] > 0).all()  # what noise turns further is more likely generated


def test_draws_are_averaged_and_their_names_checked() -> None:
    rng = np.random.default_rng(0)
    rows = {name: rng.normal(size=(4, 8)).astype(np.float32) for name in ("clean", "noise0", "noise1")}
    scores = Rigid(n_draws=2).score(**rows)
    expected = [naive.rigid_score(rows["clean"][k], [rows["noise0"][k], rows["noise1"][k]]) for k in range(4)]
    np.testing.assert_allclose(scores, expected, atol=1e-12)
    with pytest.raises(ParameterError, match="needs the views clean, noise0; got"):
        Rigid().score(**rows)


def test_noise_belongs_to_the_image_and_scores_to_no_batch(folder: Path) -> None:
    rigid = Rigid(encoder=str(folder))
    batch = batch_of(photographs(5), SQUASH)
    blank = torch.zeros(5, 3, 224, 224)
    view, ids = View.of("noise", sigma=0.05, space="pixel"), batch.ids
    noise = view(blank, Shown(ids, 3))
    assert float(noise.std()) == pytest.approx(0.05, rel=0.01)
    order = [4, 0, 2]
    chosen = view(blank[:3], Shown(tuple(ids[k] for k in order), 3))
    np.testing.assert_array_equal(chosen.numpy(), noise[order].numpy())
    for again in (View.of("noise", space="pixel", draw=1)(blank, Shown(ids, 3)), view(blank, Shown(ids, 4))):
        assert abs(np.corrcoef(again[0].numpy().ravel(), noise[0].numpy().ravel())[0, 1]) < 0.02

    together = scores_of(rigid, batch)
    assert len(set(together)) == 5
    np.testing.assert_allclose(scores_of(rigid, part_of(batch, order)), together[order], atol=1e-6)
    alone = np.concatenate([scores_of(rigid, part_of(batch, [k])) for k in range(5)])
    np.testing.assert_allclose(alone, together, atol=1e-6)
    np.testing.assert_array_equal(scores_of(rigid, batch), together)


def test_pixel_noise_is_the_larger_one(folder: Path) -> None:
    rigid, port = (detector.get(name).configured(encoder=str(folder))() for name in ("rigid", "rigid_pixel"))
    batch = batch_of(photographs(4), SQUASH)
    ours, theirs = scores_of(rigid, batch), scores_of(port, batch)
    assert (theirs > 2 * ours).all()
    assert theirs.mean() > 4 * ours.mean()  # 4.4 times the noise, so up to 20 times the angle's square


@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no CUDA device")
def test_the_gpu_agrees_with_the_cpu(official_table_folder: Path) -> None:
    rigid = Rigid(encoder=str(official_table_folder))
    batch = batch_of(photographs(3), SQUASH)
    tasks = prepare(rigid, device="cuda")
    assert tasks[0].settings["device"] == "cuda"
    on_gpu = rigid.score(**{task.view_name: task(batch) for task in tasks})
    np.testing.assert_allclose(on_gpu, scores_of(rigid, batch), atol=1e-5)


def test_shards_and_the_hub_cache_load_to_the_same_network(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot = tmp_path / "models--acme--tiny" / "snapshots" / "abc"
    model = transformers.Dinov2Model.from_pretrained(folder)
    model.save_pretrained(snapshot, max_shard_size="50KB")
    (tmp_path / "blobs").mkdir()
    for k, file in enumerate(sorted(snapshot.iterdir())):  # links, as huggingface_hub keeps them
        blob = file.rename(tmp_path / "blobs" / str(k))
        file.symlink_to(blob)
    (tmp_path / "models--acme--tiny" / "refs").mkdir()
    (tmp_path / "models--acme--tiny" / "refs" / "main").write_text("abc")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    assert len(list(snapshot.glob("*.safetensors"))) > 1
    batch = batch_of(photographs(2), SQUASH)
    sharded = scores_of(Rigid(encoder="acme/tiny"), batch)
    np.testing.assert_array_equal(sharded, scores_of(Rigid(encoder=str(folder)), batch))
    (card,) = prepare(Rigid(encoder="acme/tiny"), device="cpu")[0].space.cards
    assert (card.source, card.evidence) == ("acme/tiny", "unverified weights")


HALF = """
import json, sys
sys.path.insert(0, sys.argv[2])
import numpy as np
from tiny_dinov2 import batch_of, photographs
from fdetect.images import Geometry
from fdetect.rigid import detector, prepare
full, half = (detector.get(name).configured(encoder=sys.argv[1])() for name in ("rigid", "rigid_bf16"))
batch = batch_of(photographs(3), Geometry('squash', 224, 'bilinear'))
rows = [{task.view_name: task(batch) for task in prepare(one, device="cpu")} for one in (full, half)]
a, b = rows[0]["clean"], rows[1]["clean"]
cosine = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
scores = {"full": full.score(**rows[0]).tolist(), "half": half.score(**rows[1]).tolist()}
print(json.dumps({"dtypes": [half.dtype, str(b.dtype)], "cosine": cosine.min().item(), **scores}))
"""


def test_bfloat16_is_another_result_but_close(folder: Path) -> None:
    # a process of its own: oneDNN reads the variable once, and this machine's AMX may be announced but dead
    environment = os.environ | {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE_BF16", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", HALF, str(folder), str(Path(__file__).parent)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["dtypes"] == ["bfloat16", "float32"]
    assert 0.999 < found["cosine"] < 1.0
    full, half = np.array(found["full"]), np.array(found["half"])
    assert not np.array_equal(full, half)
    assert np.abs(half - full).max() < 5e-3, found


def test_bfloat16_that_would_crash_this_cpu_is_refused(folder: Path) -> None:
    from fdetect.nets import encoders

    half = Rigid(dtype="bfloat16", encoder=str(folder))
    if encoders._bfloat16_survives():
        assert [task.space.device for task in prepare(half, device="cpu")] == ["cpu", "cpu"]
        return
    with pytest.raises(BackendError, match=r"dtype bfloat16 cannot run on this CPU.*ONEDNN_MAX_CPU_ISA"):
        prepare(half, device="cpu")


def test_settings_are_checked_and_recorded(folder: Path) -> None:
    for settings in ({"sigma": 0.0}, {"sigma": float("nan")}, {"n_draws": 0}, {"noise_space": "rgb"},
                     {"dtype": "half"}):  # fmt: skip
        with pytest.raises(ParameterError, match=f"^(rigid: )?{next(iter(settings))} "):
            Rigid(**settings)
    with pytest.raises(ParameterError, match="^pos_interp of .* got 'none'"):  # as far as the architecture goes
        prepare(Rigid(encoder=str(folder), pos_interp="none"))
    clean, noise = prepare(Rigid(encoder=str(folder), n_draws=1), device="cpu")
    assert (clean.view_name, noise.view_name) == ("clean", "noise0")
    assert json.loads(json.dumps(dict(noise.settings))) == dict(noise.settings)
    recorded = noise.settings
    noisy = {"sigma": 0.05, "space": "normalized", "clamp": False, "draw": 0}
    assert recorded["view"] == {"steps": [["noise", noisy]]}
    assert clean.settings["view"] == {"steps": []}
    assert (recorded["pos_interp"], recorded["dtype"], recorded["device"]) == ("scale_factor", "float32", "cpu")
    assert len(recorded["sha256"]) == 64
    assert str(folder) not in json.dumps(dict(recorded))
    assert noise.columns == tuple(f"e{k}" for k in range(32))
    assert "torch " in noise.version
    (card,) = clean.space.cards
    assert (card.purpose, card.evidence) == ("test", "unverified weights")


def test_equal_views_are_equal_tasks_and_others_are_not(folder: Path) -> None:
    rigid = Rigid(encoder=str(folder))
    names = [task.name for task in prepare(rigid, device="cpu")]
    assert prepare(dataclasses.replace(rigid, noise_space="pixel"), device="cpu")[0].name == names[0]  # the clean one
    for change in ({"noise_space": "pixel"}, {"sigma": 0.1}, {"pos_interp": "size"}):
        assert prepare(dataclasses.replace(rigid, **change), device="cpu")[1].name not in names
    task = prepare(rigid, device="cpu")[1]
    for change in ({"dtype": "bfloat16"}, {"device": "cuda"}):
        assert dataclasses.replace(task, space=dataclasses.replace(task.space, **change)).name not in names
    assert dataclasses.replace(task, geometry=Geometry("resize_crop", 224, "bicubic")).name not in names
    draws = prepare(dataclasses.replace(rigid, n_draws=3), device="cpu")
    assert len({task.name for task in draws}) == 4
    assert draws[1].name == names[1]


def test_a_patch_that_does_not_divide_224_is_refused(folder: Path, tmp_path: Path) -> None:
    config = json.loads((folder / "config.json").read_text()) | {"patch_size": 15}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes())
    with pytest.raises(ParameterError, match="224 px do not divide into patches of 15 px$"):
        prepare(Rigid(encoder=str(tmp_path)))


def test_weights_that_change_during_a_run_are_noticed(tmp_path: Path) -> None:
    folder = save_tiny(tmp_path, image_size=56)
    rigid = Rigid(encoder=str(folder))
    task = prepare(rigid, device="cpu")[0]
    batch = batch_of(photographs(1), SQUASH)
    assert task(batch).shape == (1, 32)
    config = json.loads((folder / "config.json").read_text()) | {"layer_norm_eps": 1e-3}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(WeightsError, match="changed during the run"):
        task(batch)


def test_the_engine_runs_the_tasks(folder: Path, tmp_path: Path) -> None:
    rigid = Rigid(encoder=str(folder))
    paths = []
    for k, image in enumerate(photographs(3)):
        paths.append(f"{k}.png")
        Image.fromarray(image).save(tmp_path / paths[-1])
    (tmp_path / "broken.png").write_bytes(b"no image")
    tasks = prepare(rigid, device="cpu")
    assert all(isinstance(task, ViewTask) and task.in_process for task in tasks)
    found = engine.run(tasks, [*paths, "broken.png"], root=tmp_path, seed=3, store=engine.Store(tmp_path / "store"))
    rows = {task.view_name: found.tables["native", task.name].values for task in tasks}
    scores = rigid.score(**rows)
    expected = [
        scores_of(rigid, Batch((found.ids[k],), np.stack([SQUASH(image)]), (Facts("PNG", 1, 1, 1),), 3))[0]
        for k, image in enumerate(photographs(3))
    ]
    np.testing.assert_allclose(scores[:3], expected, atol=1e-6)
    assert np.isnan(scores[3])
    again = engine.run(tasks, [*paths, "broken.png"], root=tmp_path, seed=3, store=engine.Store(tmp_path / "store"))
    assert again.n_computed == 0
