"""Pictures of any size scored by tiles: every px is seen, each tile as the condition makes a crop."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from test_cli import fdetect  # noqa: F401 (a fixture)

from fdetect.bench import steps
from fdetect.bench.layouts import read_manifest
from fdetect.bench.tiled import score_tiles, tiles_of
from fdetect.bench.training import fitting
from fdetect.classifiers.saved import FittedDetector, load_detector, save_detector
from fdetect.classifiers.tiles import AGGREGATES, aggregate
from fdetect.engine import Store
from fdetect.errors import ParameterError
from fdetect.features import feature_tasks, select_features
from fdetect.images import Decoded, decode
from fdetect.perturb import Box, condition
from fdetect.types import Batch

PLAIN = "npr_statistics"
QUICK = {"condition": "native", "crop": 64, "features": PLAIN, "folds": 0}


@pytest.fixture(scope="module")
def fitted(small_set, store) -> FittedDetector:
    return fitting.fit(small_set, store=store, **QUICK)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> Path:
    """Three pictures: 200 x 152 px, 72 x 72 px, and one that is too small."""
    folder, rng = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    for name, (height, width) in (("large", (152, 200)), ("middle", (72, 72)), ("small", (71, 200))):
        smooth = np.cumsum(rng.normal(0, 3, (height, width, 3)), axis=1)
        Image.fromarray(np.clip(128 + smooth, 0, 255).astype(np.uint8)).save(folder / f"{name}.png")
    return folder


def columns_of_crop(pixels: np.ndarray, folder: Path, store: Store) -> np.ndarray:
    """The columns of one tile as `extract` sees it: a picture whose middle crop it is."""
    framed = np.pad(pixels, ((8, 8), (8, 8), (0, 0)), mode="edge")
    Image.fromarray(framed).save(folder / "tile.png")
    return steps.extract([folder / "tile.png"], features=PLAIN, crop=64, store=store).values[0]


def test_tiles_see_every_px_and_other_conditions_every_phase():
    native, matched = (tiles_of(1000, 700, condition(name), side=64) for name in ("native", "matched"))
    for tiles in (native, matched):
        seen = np.zeros((1000, 700), np.bool_)
        for top, left, bottom, right in tiles.boxes:
            assert (bottom - top, right - left) == (64, 64)
            seen[top:bottom, left:right] = True
        assert seen.all()
    assert (native.boxes[native.boxes[:, 0] < 900, 0] % 8 == 0).all()
    phases = np.bincount(matched.boxes[:, 0] % 8, minlength=8)
    assert phases.min() > 0.5 * phases.mean()


@pytest.mark.parametrize("how", AGGREGATES)
def test_a_score_is_made_of_what_extract_says_of_each_tile(fitted, pictures, store, tmp_path, how):
    said: list[str] = []
    done = score_tiles([pictures], fitted, how, notice=said.append)
    at = {Path(path).stem: k for k, path in enumerate(done.paths)}
    pixels = decode((pictures / "large.png").read_bytes()).pixels
    rows = [columns_of_crop(pixels[top:bottom, left:right], tmp_path, store)
            for top, left, bottom, right in tiles_of(152, 200, condition("native"), side=64).boxes]  # fmt: skip
    expected = aggregate(fitted.head.score(np.stack(rows)), how)
    assert done.values[at["large"]] == pytest.approx(expected, rel=1e-6)
    assert [done.n_tiles[at[name]] for name in ("large", "middle", "small")] == [12, 4, 0]
    assert np.isnan(done.values[at["small"]])
    (failure,) = done.failures
    assert (failure.path, failure.stage) == (done.paths[at["small"]], "geometry")
    assert "too small for condition native" in failure.reason
    assert any("were set on single crops: no p-value and no decision" in line for line in said)
    shown = steps.score_table(done, None, fitted, "native").to_pydict()
    assert set(shown["decision"]) == {"undecided"}
    assert shown["threshold"] == [None] * 3
    assert shown["n_tiles"] == list(done.n_tiles)


def test_each_tile_goes_through_the_condition_as_a_crop_does(fitted, pictures):
    one = replace(fitted, condition="noise2+jpeg70")
    done = score_tiles([pictures / "middle.png"], one, "mean")
    shown, id = condition("noise2+jpeg70"), done.ids[0]
    pixels = decode((pictures / "middle.png").read_bytes()).pixels
    boxes = tiles_of(72, 72, shown, side=64).boxes
    made = [shown.at(pixels, Box(top, left, 64), f"{id}/{top}/{left}", seed=0, crop=64) for top, left, _, _ in boxes]
    assert len({one.pixels.tobytes() for one in made}) == len(boxes) == 4
    (task,) = feature_tasks(select_features(PLAIN), crop=64)
    batch = Batch(tuple("abcd"), np.stack([one.pixels for one in made]), tuple(one.facts for one in made), 0)
    assert done.values[0] == pytest.approx(float(fitted.head.score(task(batch)).mean()), rel=1e-6)


def test_of_a_tile_that_a_condition_enlarges_features_see_what_they_see_of_a_crop(fitted, pictures):
    done = score_tiles([pictures / "middle.png"], replace(fitted, condition="resize150"), "mean")
    shown, id = condition("resize150"), done.ids[0]
    pixels = decode((pictures / "middle.png").read_bytes()).pixels
    boxes = tiles_of(72, 72, shown, side=64).boxes
    made = [shown.at(pixels, Box(top, left, 64), f"{id}/{top}/{left}", seed=0, crop=64) for top, left, _, _ in boxes]
    assert {one.pixels.shape for one in made} == {(96, 96, 3)}
    (task,) = feature_tasks(select_features(PLAIN), crop=64)
    cut = np.stack([task.geometry(one.pixels) for one in made])
    assert cut.shape == (4, 64, 64, 3)
    batch = Batch(tuple("abcd"), cut, tuple(one.facts for one in made), 0)
    assert done.values[0] == pytest.approx(float(fitted.head.score(task(batch)).mean()), rel=1e-6)


def test_a_crop_is_a_tile_at_a_drawn_place(pictures):
    image = decode((pictures / "large.png").read_bytes())
    drawn, shown = condition("matched")(image, "ab", seed=3, crop=64), condition("matched")
    places = [Box(top, left, 64) for top in range(152 - 63) for left in range(200 - 63)]
    from fdetect.perturb import rng_for

    box = Box.drawn(image.pixels.shape, 64, rng_for(3, "ab", "crop"))
    assert box in places
    np.testing.assert_array_equal(shown.at(image.pixels, box, "ab", seed=3, crop=64).pixels, drawn.pixels)
    assert isinstance(drawn, Decoded)


def test_thresholds_set_on_tiles_hold_for_tiles(small_set, fitted, store, tmp_path):
    tiled = fitting.fit(small_set, tiles="max", store=store, **QUICK)
    assert tiled.tiles == "max"
    ones = np.ones((1, len(fitted.head.columns)), np.float32)
    np.testing.assert_array_equal(tiled.head.score(ones), fitted.head.score(ones))
    manifest = read_manifest(small_set)
    whole = score_tiles(manifest, tiled, "max")
    held = np.isin(whole.values, tiled.calibration.scores)
    label = np.array(manifest.column("label").to_pylist())
    assert held[label == 0].sum() >= len(tiled.calibration.scores) == len(fitted.calibration.scores)
    assert min(tiled.calibration.scores) > min(fitted.calibration.scores)
    shown = steps.score_table(whole, manifest, tiled, "native").to_pydict()
    assert np.isfinite(shown["p_value"]).all()
    single = steps.score_table(steps.score(manifest, tiled, store=store), manifest, tiled, "native").to_pydict()
    assert np.isnan(single["p_value"]).all()
    save_detector(tiled, tmp_path / "m")
    back = load_detector(tmp_path / "m")
    assert (back.tiles, back.calibration) == ("max", tiled.calibration)


def test_it_is_told_on_what_thresholds_were_set(fitted, pictures):
    for model, words in (
        (fitted, "on single crops"), (replace(fitted, draws=2), "on means over 2 crops"),
        (replace(fitted, tiles="max"), "on tiles by max"),
    ):  # fmt: skip
        said: list[str] = []
        score_tiles([pictures / "middle.png"], model, "mean", notice=said.append)
        assert any(f"were set {words}: no p-value" in line for line in said)


def test_what_cannot_be_is_one_sentence(fitted, small_set, pictures, store):
    with pytest.raises(ParameterError, match="--tiles: no way 'median'"):
        score_tiles([pictures], fitted, "median")
    with pytest.raises(ParameterError, match="computed in this process alone; leave --engine ray out"):
        score_tiles([pictures], fitted, "mean", engine="ray")
    looking = replace(fitted, features=("embedding:encoder=x",))
    with pytest.raises(ParameterError, match="embedding:encoder=x looks at whole pictures"):
        score_tiles([pictures], looking, "mean")
    with pytest.raises(ParameterError, match="exif_facts is of the file"):
        fitting.fit(small_set, tiles="mean", store=store, **(QUICK | {"features": "exif_facts"}))
    with pytest.raises(ParameterError, match="--calibrate makes probabilities of single crops"):
        fitting.fit(small_set, tiles="mean", calibrate="platt", store=store, **QUICK)


def test_on_the_command_line(fdetect, fitted, small_set, pictures, store, tmp_path):  # noqa: F811
    save_detector(fitted, tmp_path / "m")
    images = (pictures / "large.png", pictures / "middle.png")
    code, out, err = fdetect("score", *images, "--model", "m", "--tiles", "attention")
    assert code == 0, err
    assert "n_tiles" in out
    assert "fit it with --tiles attention" in err
    common = ("--features", PLAIN, "--crop", 64, "--condition", "native", "--folds", 0, "--store", store.folder)
    code, out, err = fdetect("fit", small_set, "--tiles", "mean", "-o", "t", "--workers", 0, *common)
    assert code == 0, err
    assert "of scores of tiles by mean" in out
    code, out, err = fdetect("score", *images, "--model", "t", "-o", "s.csv")
    assert code == 0, err
    assert "n_tiles" in Path("s.csv").read_text()
    assert "no decision" not in err
    for arguments, words in (
        (("score", images[0], "--model", "m", "--tiles", "most"), "--tiles: no way 'most'"),
        (("score", images[0], "--detector", "rigid", "--tiles", "mean"), "--tiles goes with a head"),
    ):
        code, _, err = fdetect(*arguments)
        assert (code, words in err) == (2, True), err


def test_a_fused_detector_and_a_network_look_at_tiles_too(small_set, pictures, store, tmp_path):
    pytest.importorskip("torch", reason="the extra 'deep' is not installed")
    from fdetect.nets.detectors import build, network
    from fdetect.nets.detectors.loading import save_network

    save_network(build(network.get("tiny_ladeda")()), tmp_path / "net")
    names = (PLAIN, "radial_spectrum", f"network:weights={tmp_path / 'net'}")
    how = QUICK | {"features": names}
    fused = fitting.fit(small_set, head="fused:forms=linear", tiles="mean", store=store, **how)
    image = pictures / "large.png"
    done = score_tiles([image], fused, "mean")
    assert done.branches == ("handmade+spectrum+trunk",)
    shutil.rmtree(tmp_path / "net")
    said: list[str] = []
    fewer = score_tiles([image], fused, "mean", notice=said.append)
    assert [line.partition(":")[0] for line in said if "absent" in line] == ["branch trunk is absent"]
    assert fewer.branches == ("handmade+spectrum",)
    assert fewer.values[0] != done.values[0]
    (row,) = steps.score_table(fewer, None, fused, "native").to_pylist()
    assert row["p_value"] == fused.subsets["handmade+spectrum"].pvalue(fewer.values)[0]
    assert fused.subsets["handmade+spectrum"] != fused.calibration
