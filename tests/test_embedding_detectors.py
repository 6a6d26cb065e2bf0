"""Detectors in an encoder's space, from pixels to score on a tiny DINOv2, against plain float64 references.

Tolerance: `naive.float32_error`, what a score may move where float32 turns an embedding by 5e-6 rad.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import naive_rigid as naive
import numpy as np
import pytest
from PIL import Image

from fdetect import engine
from fdetect.errors import ParameterError
from fdetect.images import Geometry
from fdetect.perturb import condition, rng_for
from fdetect.registry import Entry
from fdetect.rigid import Bank, detector, prepare
from fdetect.rigid.base import OnEncoder
from fdetect.rigid.contrast import ContrastiveBlur, Minder
from fdetect.rigid.shift import ShiftConsistency
from fdetect.rigid.uncertainty import WePe
from fdetect.rigid.warpad import WaRPAD
from fdetect.types import Batch

torch = pytest.importorskip("torch", reason="the deep extra is not installed")
pytest.importorskip("transformers", reason="the deep extra is not installed")

from tiny_dinov2 import HEADS, batch_of, photographs, save_tiny, weights_of  # noqa: E402

from fdetect.nets.encoders import load_encoder  # noqa: E402

MINE = ("rigid", "rigid_pixel", "rigid_draws", "contrastive_blur", "blur_only", "minder", "wepe", "wepe_dropout",
        "shift_consistency", "shift_consistency_textured", "warpad")  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The published table of 37 x 37 positions, resampled for every size."""
    return save_tiny(tmp_path_factory.mktemp("tiny"), image_size=518)


def on(folder: Path, name: str, **settings: object) -> OnEncoder:
    """A detector of the registry on the tiny network, which has two blocks: one stays undisturbed."""
    entry = detector.get(name)
    few = {"skip_last": 1} if "skip_last" in entry.settings else {}
    return entry.configured(encoder=str(folder), **few, **settings)()


def rows_of(instance: OnEncoder, images: list[np.ndarray], *, crop: int = 224) -> dict[str, np.ndarray]:
    tasks = prepare(instance, device="cpu", crop=crop)
    batch = batch_of(images, tasks[0].geometry)
    return dict(zip([t.view_name for t in tasks], tasks[0].together(batch, tasks), strict=True))


def scores_of(instance: OnEncoder, images: list[np.ndarray], *, crop: int = 224) -> np.ndarray:
    return instance.score(**rows_of(instance, images, crop=crop))


def embedder(folder: Path, side: int = 224, weights: dict | None = None) -> Callable[[np.ndarray], np.ndarray]:
    """f of the reference: (3, side, side) RGB in 0..1 -> (D,)."""
    weights = weights or weights_of(folder)
    grid = side // 14
    table = naive.resample_table(weights["embeddings.position_embeddings"][0], grid, scale=(grid + 0.1) / 37)
    mean, std = (np.array(values)[:, None, None] for values in (naive.MEAN, naive.STD))
    return lambda image: naive.class_token(weights, (image - mean) / std, table, heads=HEADS)


def rgb(pixels: np.ndarray) -> np.ndarray:
    return pixels.transpose(2, 0, 1) / 255.0


def shorter_to_224(image: np.ndarray) -> np.ndarray:
    height, width = image.shape[:2]
    size = (224, int(224 * height / width)) if width <= height else (int(224 * width / height), 224)
    large = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC))
    top, left = (round((side - 224) / 2) for side in large.shape[:2])
    return rgb(large[top : top + 224, left : left + 224])


def assert_equal_scores(found: np.ndarray, expected: list[float]) -> None:
    assert found.dtype == np.float64
    for score, wanted in zip(found, expected, strict=True):
        assert wanted > 1e-4  # the score says something here
        assert score == pytest.approx(wanted, abs=naive.float32_error(wanted))


# --- from pixels to score -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sigma", [0.55, 0.85])
def test_contrastive_blur_and_minder_equal_the_reference(folder: Path, sigma: float) -> None:
    images, f = photographs(2), embedder(folder)
    blur, only, minder = [], [], []
    for k, image in enumerate(map(shorter_to_224, images)):
        clean, blurred, sharp = f(image), f(naive.blur(image, sigma)), f(naive.sharpen(image, sigma))
        noisy = []
        for draw in range(3):
            n = rng_for(3, f"{k:032x}", f"rigid-noise-{draw}").standard_normal((3, 224, 224), dtype=np.float32)
            noisy.append(f(np.clip(image + 0.009 * n.astype(np.float64), 0, 1)))
        blur.append(naive.mean_turn([(blurred, sharp)]))
        only.append(naive.mean_turn([(clean, blurred)]))
        minder.append(naive.minder_score(clean, noisy, blurred, sharp))
    assert_equal_scores(scores_of(on(folder, "contrastive_blur", sigma=sigma), images), blur)
    assert_equal_scores(scores_of(on(folder, "blur_only", sigma=sigma), images), only)
    assert_equal_scores(scores_of(on(folder, "minder", blur_sigma=sigma), images), minder)


def test_warpad_equals_the_reference(folder: Path) -> None:
    images, f = photographs(1), embedder(folder)
    expected = []
    for image in images:
        large = rgb(np.asarray(Image.fromarray(image).resize((896, 896), Image.Resampling.BICUBIC)))
        damped = large - 0.1 * naive.haar_details(large, 2)  # before the cut, as the authors do
        pairs = zip(naive.tiles(large, 224), naive.tiles(damped, 224), strict=True)
        expected.append(naive.mean_turn([(f(a), f(b)) for a, b in pairs]))
    assert_equal_scores(scores_of(on(folder, "warpad"), images), expected)


@pytest.mark.parametrize("kind", ["gaussian", "uniform", "laplace"])
def test_wepe_equals_the_reference(folder: Path, kind: str) -> None:
    images, weights = photographs(2), weights_of(folder)
    loaded = dict(load_encoder(folder, size=224, device="cpu").model.named_parameters())
    names = {  # of the loaded network, which the draws go by: the file calls the same matrices otherwise
        key: next(name for name, p in loaded.items() if p.shape == w.shape and np.array_equal(p.numpy(), w))
        for key, w in weights.items() if key.startswith("encoder.layer.0.") and w.ndim > 1
    }  # fmt: skip
    assert len(names) == 6  # query, key, value, output, and two of the MLP
    networks = [naive.disturbed(weights, names, kind=kind, strength=0.1, draw=draw) for draw in (4, 5)]
    f, others = embedder(folder), [embedder(folder, weights=network) for network in networks]
    expected = []
    for image in images:
        x = rgb(np.asarray(Image.fromarray(image).resize((224, 224), Image.Resampling.BILINEAR)))
        expected.append(naive.mean_turn([(f(x), g(x)) for g in others]))
    wepe = on(folder, "wepe", noise=kind, n_draws=2, first_draw=4)
    assert_equal_scores(scores_of(wepe, images), expected)


@pytest.mark.parametrize("cut, side", [(224, 210), (152, 140), (112, 98)])
def test_shift_consistency_equals_the_reference_at_every_size_of_a_condition(folder: Path, cut: int, side: int) -> None:
    images, f = [image[:cut, :cut] for image in photographs(2)], embedder(folder, side)
    expected = []
    for image in images:
        centre, *moved = (f(window) for window in naive.moved_windows(rgb(image), 14, 1))
        expected.append(naive.mean_turn([(centre, other) for other in moved]))
    assert_equal_scores(scores_of(on(folder, "shift_consistency"), images), expected)


def test_shift_consistency_takes_the_centre_or_the_texture(folder: Path) -> None:
    rng = np.random.default_rng(0)
    image = np.full((400, 480, 3), 120, np.uint8)
    image[160:400, 240:480] = rng.integers(0, 256, (240, 240, 3))
    centre, textured = on(folder, "shift_consistency"), on(folder, "shift_consistency_textured")
    geometries = [prepare(one, device="cpu")[0].geometry for one in (centre, textured)]
    assert geometries == [Geometry("aligned_crop", 224), Geometry("textured_crop", 224)]
    np.testing.assert_array_equal(geometries[0](image), image[88:312, 128:352])
    assert geometries[1](image).std() > 70  # inside the noise
    assert scores_of(textured, [image])[0] > scores_of(centre, [image])[0]
    assert prepare(centre, device="cpu", crop=512)[0].geometry == Geometry("aligned_crop", 226)


# --- direction ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MINE)
def test_what_turns_further_scores_higher(name: str) -> None:
    instance = detector.get(name)()
    still = {view: np.tile(np.float32([3, 1, 0, 2]), (3, 1)) for view in instance.views()}
    np.testing.assert_allclose(instance.score(**still), 0, atol=1e-12)
    rng, scores = np.random.default_rng(0), []
    for amount in (0.01, 0.1, 1.0):
        moved = {view: (rows + amount * rng.normal(size=rows.shape)).astype(np.float32) for view, rows in still.items()}
        scores.append(instance.score(**moved))
    assert (np.diff(scores, axis=0) > 0).all()


def test_minder_is_the_smaller_distance_and_the_others_know_their_pairs() -> None:
    a, b = np.float32([[1, 0]]), np.float32([[0, 1]])
    noisy = {"noise0": b, "noise1": b, "noise2": b}
    assert Minder().score(clean=a, blurred=a, sharp=a, **noisy)[0] == 0
    assert Minder().score(clean=a, blurred=a, sharp=b, **noisy)[0] == 1
    assert Minder().score(clean=a, blurred=a, sharp=b, **dict.fromkeys(noisy, a))[0] == 0
    thirds = {"noise0": b, "noise1": a, "noise2": a}
    assert Minder().score(clean=a, blurred=a, sharp=b, **thirds)[0] == pytest.approx(1 / 3)
    assert ContrastiveBlur().score(blurred=a, sharp=-a)[0] == 2
    tiles = dict.fromkeys(WaRPAD(grid=2).views(), a) | {"damped01": b}
    assert WaRPAD(grid=2).score(**tiles)[0] == pytest.approx(1 / 4)


@pytest.mark.parametrize("name", MINE)
def test_rows_of_nan_stay_nan_and_others_are_scored(name: str) -> None:
    instance, rng = detector.get(name)(), np.random.default_rng(0)
    whole = {view: rng.normal(size=(3, 8)).astype(np.float32) for view in instance.views()}
    for spoilt in whole:
        rows = {view: values.copy() for view, values in whole.items()}
        rows[spoilt][1] = np.nan
        scores = instance.score(**rows)
        assert np.isnan(scores[1])
        np.testing.assert_array_equal(scores[[0, 2]], instance.score(**whole)[[0, 2]])


# --- sharing --------------------------------------------------------------------------------------------------------


def test_ten_detectors_cost_the_union_of_their_views(folder: Path, tmp_path: Path) -> None:
    names = ("rigid", "rigid_draws", "rigid_pixel", "wepe", "contrastive_blur", "blur_only", "minder",
             "shift_consistency", "rigid:sigma=0.1", "rigid:n_draws=2")  # fmt: skip
    paths = []
    for k, image in enumerate(photographs(2)):
        paths.append(f"{k}.png")
        Image.fromarray(image).save(tmp_path / paths[-1])
    tasks = {}
    for name in names:
        entry = detector.read(name)
        few = {"skip_last": 1} if "skip_last" in entry.settings else {}
        for task in prepare(entry.configured(encoder=str(folder), **few)(), device="cpu"):
            tasks[task.name] = task
    # squashed: clean, 4 draws, 1 as loud as a port's, 1 at 0.1, 4 networks; cropped: clean, 3 draws, 2 of blur;
    # native pixels: 5 windows
    assert sum(detector.read(name)().passes for name in names) == 2 + 5 + 2 + 5 + 2 + 2 + 6 + 5 + 2 + 3
    assert len(tasks) == 11 + 6 + 5
    store = engine.Store(tmp_path / "store")
    found = engine.run(list(tasks.values()), paths, root=tmp_path, store=store, seed=3)
    assert found.n_computed == 22 * 2
    assert engine.run(list(tasks.values()), paths, root=tmp_path, store=store, seed=3).n_computed == 0


@pytest.mark.parametrize("name", MINE)
def test_together_is_alone(folder: Path, name: str) -> None:
    instance = on(folder, name, **({"grid": 2} if name == "warpad" else {}))
    tasks = prepare(instance, device="cpu")
    batch = batch_of(photographs(2), tasks[0].geometry)
    together = tasks[0].together(batch, tasks)
    for task, rows in zip(tasks, together, strict=True):
        np.testing.assert_allclose(task(batch), rows, rtol=0, atol=2e-5)  # of embeddings of length 6
    views = [task.view_name for task in tasks]
    scores = instance.score(**dict(zip(views, together, strict=True)))
    alone = [
        instance.score(**{task.view_name: task(Batch((batch.ids[k],), batch.rgb8[[k]], (batch.facts[k],), 3))
                          for task in tasks})[0]
        for k in range(2)
    ]  # fmt: skip
    for one, other in zip(alone, scores, strict=True):
        assert one == pytest.approx(other, abs=naive.float32_error(other) + 1e-8)


def test_wepe_depends_on_its_draws_and_not_on_the_seed(folder: Path) -> None:
    images = photographs(3)
    first, second = (scores_of(on(folder, "wepe", first_draw=draw), images) for draw in (0, 4))
    assert (np.abs(first / second - 1) > 0.01).all()
    tasks = [prepare(on(folder, "wepe", first_draw=draw), device="cpu")[1].name for draw in (0, 4)]
    assert tasks[0] != tasks[1]
    assert prepare(on(folder, "wepe"), device="cpu")[0].name == prepare(on(folder, "rigid"), device="cpu")[0].name
    instance = on(folder, "wepe")
    tasks = prepare(instance, device="cpu")
    other_seed = batch_of(images, tasks[0].geometry, seed=11)
    np.testing.assert_array_equal(instance.score(**{task.view_name: task(other_seed) for task in tasks}), first)


@pytest.mark.parametrize("name", ["native", "matched", "jpeg70", "rescaled", "resize50"])
def test_no_condition_fails_as_a_whole(folder: Path, tmp_path: Path, name: str) -> None:
    Image.fromarray(photographs(5)[4]).save(tmp_path / "0.png")  # 388 x 301
    for crop in (128, 168):
        for detector_name in ("shift_consistency", "shift_consistency_textured", "minder"):
            instance = on(folder, detector_name)
            tasks = prepare(instance, device="cpu", crop=crop)
            found = engine.run(tasks, ["0.png"], root=tmp_path, crop=crop, conditions=[condition(name)])
            rows = {task.view_name: found.tables[name, task.name].values for task in tasks}
            assert np.isfinite(instance.score(**rows)).all()


# --- settings -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "made, settings, words",
    [
        (ContrastiveBlur, {"sigma": 0.0}, "contrastive_blur: sigma must be a number above 0, got 0.0"),
        (ContrastiveBlur, {"against": "x"}, "contrastive_blur: against is one of sharp, clean; got 'x'"),
        (Minder, {"noise_sigma": float("nan")}, "minder: noise_sigma must be a number above 0, got nan"),
        (Minder, {"blur_sigma": -1.0}, "minder: blur_sigma must be a number above 0, got -1.0"),
        (Minder, {"n_draws": 0}, "minder: n_draws must be at least 1, got 0"),
        (WaRPAD, {"strength": 0.0}, "warpad: strength must be a number above 0, got 0.0"),
        (WaRPAD, {"levels": 0}, "warpad: levels lies in 1..10, got 0"),
        (WaRPAD, {"grid": 0}, "warpad: grid lies in 1..10, got 0"),
        (WePe, {"noise": "cauchy"}, "wepe: noise is one of gaussian, uniform, laplace, dropout; got 'cauchy'"),
        (WePe, {"noise": "dropout", "strength": 1.0}, "wepe: strength of dropout lies between 0 and 1, got 1.0"),
        (WePe, {"strength": 0.0}, "wepe: strength of gaussian lies between 0 and inf, got 0.0"),
        (WePe, {"first_draw": -1}, "wepe: first_draw must be at least 0, got -1"),
        (ShiftConsistency, {"step": 0}, "shift_consistency: step must be at least 1 px, got 0"),
        (ShiftConsistency, {"select": "best"}, "shift_consistency: select is one of centre, textured; got 'best'"),
    ],
)
def test_a_setting_that_cannot_be_is_one_sentence(made: type, settings: dict, words: str) -> None:
    with pytest.raises(ParameterError) as caught:
        made(**settings)
    assert str(caught.value) == words


def test_embeddings_that_are_not_the_views_are_named() -> None:
    rows = np.ones((1, 4), np.float32)
    for instance, name in ((ContrastiveBlur(), "contrastive_blur"), (Minder(), "minder"), (WaRPAD(), "warpad"),
                           (WePe(), "wepe"), (ShiftConsistency(), "shift_consistency")):  # fmt: skip
        with pytest.raises(ParameterError, match=rf"^{name}: score needs the views .*; got clean, odd$"):
            instance.score(clean=rows, odd=rows)


def test_a_network_without_blocks_to_disturb_is_refused_at_once(folder: Path) -> None:
    with pytest.raises(ParameterError, match="wepe: skip_last must be below the 2 blocks of '.*', got 5"):
        prepare(WePe(encoder=str(folder)), device="cpu")


# --- what every detector of the registry keeps ----------------------------------------------------------------------

every_detector = pytest.mark.parametrize("entry", tuple(detector), ids=lambda entry: entry.name)
IN_AN_ENCODER = tuple(entry for entry in detector if "encoder" in entry.settings)


@every_detector
def test_a_detector_is_documented_and_costs_what_it_says(entry: Entry) -> None:
    assert entry.summary.endswith((".", ":"))
    assert len(entry.summary) >= 12
    assert "->" in entry.doc
    assert "Source:" in entry.doc or "References" in entry.doc
    assert "larger = more likely generated" in entry.doc
    instance, shared = entry(), ("encoder", "autoencoder", "feature", "dtype", "pos_interp", "distance")
    for setting in entry.settings:
        assert setting in shared or setting in entry.doc, f"{entry.name} does not say what {setting} is"
    views = instance.views()
    assert views
    assert instance.passes == len(views) * len(entry.settings.get("autoencoder", "").split("+"))
    assert len(set(views.values())) == len(views)
    assert instance.references in ("", "reals", "both")
    assert hasattr(instance, "bank") == bool(instance.references)
    json.dumps([view.settings for view in views.values()])


@pytest.mark.parametrize("entry", IN_AN_ENCODER, ids=lambda entry: entry.name)
def test_scores_are_finite_on_constants_and_odd_sizes(folder: Path, entry: Entry) -> None:
    few = {"skip_last": 1} if "skip_last" in entry.settings else {}
    small = {"grid": 2} if "grid" in entry.settings else {}
    if entry.settings["dtype"] != "float32":
        pytest.skip("bfloat16 crashes some CPUs; test_rigid.py has its own process for it")
    instance = entry.configured(encoder=str(folder), **few, **small)()
    rng = np.random.default_rng(0)
    images = [np.zeros((257, 301, 3), np.uint8), np.full((233, 640, 3), 128, np.uint8),
              rng.integers(0, 256, (311, 232, 3), np.uint8)]  # fmt: skip
    rows = rows_of(instance, images)
    if instance.references:
        bank = bank_of(instance, folder)
        scores = instance.score(bank=bank, **rows)
    else:
        scores = instance.score(**rows)
    assert scores.shape == (3,)
    assert scores.dtype == np.float64
    assert np.isfinite(scores).all()


def bank_of(instance: OnEncoder, folder: Path) -> Bank:
    """References of a detector that wants them: parts of photographs, other ones as fakes."""
    parts = [image[top : top + 232, :232] for image in photographs(6) for top in range(0, 64, 4)]
    reals, fakes = rows_of(instance, parts[::2]), rows_of(instance, parts[1::2])
    return instance.bank(reals, fakes if instance.references == "both" else None)
