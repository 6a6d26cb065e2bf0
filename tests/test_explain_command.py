"""`fdetect explain` and what it is made of: pictures, numbers, families that sum to the score, failures in words."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image, ImageFont

from fdetect.bench.explaining.explained import _reading
from fdetect.bench.steps import extract
from fdetect.bench.training.columns import Columns
from fdetect.bench.training.drawing import _broken, bars, colours, overlay, scale_of, side_by_side
from fdetect.classifiers import head
from fdetect.classifiers.explain import explain_fused, explain_head, read_methods
from fdetect.classifiers.fused import FusedRows, FusedSettings
from fdetect.classifiers.heads import FittedHead, fit_head
from fdetect.classifiers.saved import FittedDetector, save_detector
from fdetect.cli.explain import explain
from fdetect.decide import Calibration
from fdetect.errors import DataError, FdetectError, ParameterError, UnknownName, WeightsError
from fdetect.features import feature
from fdetect.nets.explaining import explanation

torch = pytest.importorskip("torch", reason="the extra 'deep' is not installed")

from fdetect.classifiers.fused_fit import fit_fused  # noqa: E402
from fdetect.nets.detectors import build, network  # noqa: E402
from fdetect.nets.detectors.loading import save_network  # noqa: E402
from fdetect.nets.explaining.costs import costs_of  # noqa: E402

LINEAR = ("logreg", "lda", "elastic", "svm_linear")
FEATURES = "npr_statistics,radial_spectrum,noise_level"


def run(*arguments: str | Path, **settings: bool) -> Result:
    return CliRunner().invoke(explain, [str(one) for one in arguments], **settings)


def table(rows: int = 60) -> tuple[tuple[str, ...], np.ndarray, np.ndarray]:
    """Columns of two registered families and one that is of none, and labels that they tell of."""
    rng = np.random.default_rng(0)
    columns = ("npr_statistics:a", "npr_statistics:b", "noise_level:c", "another:d")
    label = np.arange(rows) % 2
    values = rng.normal([0, 3, -2, 100], [1, 2, 0.1, 30], (rows, 4)) + label[:, None] * [0.8, 0, 0.1, 10]
    return columns, values.astype(np.float32), label


def fitted(name: str) -> tuple[FittedHead, np.ndarray]:
    columns, values, label = table()
    return fit_head(head.get(name), columns, values, label), values


@pytest.fixture
def net(tmp_path: Path) -> Path:
    """The folder of an untrained network."""
    save_network(build(network.get("tiny_ladeda")()), tmp_path / "net")
    return tmp_path / "net"


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    pixels = np.random.default_rng(0).integers(0, 256, (72, 88, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a picture.png")
    return tmp_path / "a picture.png"


# --- heads ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LINEAR)
def test_what_families_add_sums_to_the_score_and_is_weight_times_standardised_column(name: str) -> None:
    one, values = fitted(name)
    coefficients = np.ravel(one.pipeline[-1].coef_)
    families = (feature.get("npr_statistics").family, feature.get("noise_level").family, "another")
    for row in values[:5]:
        found = explain_head(one, row)
        assert found.constant + sum(share.adds for share in found.families) == pytest.approx(found.score, abs=1e-5)
        assert found.score == pytest.approx(float(one.score(row[None])[0]), abs=1e-6)
        standard = (row - values.astype(np.float64).mean(axis=0)) / values.astype(np.float64).std(axis=0)
        by_hand = dict.fromkeys(families, 0.0)
        for k, family in enumerate((families[0], *families)):  # the first two columns are of one family
            by_hand[family] += coefficients[k] * standard[k]
        assert {share.family: share.adds for share in found.families} == pytest.approx(by_hand, abs=1e-4)
        sizes = [abs(share.adds) for share in found.families]
        assert sizes == sorted(sizes, reverse=True)
        assert sum(share.n_columns for share in found.families) == 4
    average = explain_head(one, values.astype(np.float64).mean(axis=0).astype(np.float32))
    assert average.score == pytest.approx(average.constant, abs=1e-3)


def test_heads_that_are_no_sums_and_rows_without_numbers_are_refused() -> None:
    for name in ("hist_gb", "svm_rbf", "knn", "random_forest"):
        one, values = fitted(name)
        with pytest.raises(ParameterError, match="no sum over columns"):
            explain_head(one, values[0])
    one, values = fitted("logreg")
    values[0, 2] = np.nan
    with pytest.raises(DataError, match="finite"):
        explain_head(one, values[0])


def test_what_branches_of_the_fused_detector_add_sums_to_its_score() -> None:
    columns, values, label = table()
    rows = FusedRows(
        {"x": values[:, :2], "y": values[:, 2:]}, {"x": columns[:2], "y": columns[2:]}, label,
        np.array([f"{k}" for k in range(60)]), np.where(label == 1, np.where(np.arange(60) % 4 == 1, "g", "h"), ""),
    )  # fmt: skip
    one = fit_fused(rows, FusedSettings(folds=2))
    found = explain_fused(one, {"x": values[:1, :2], "y": values[:1, 2:]})
    assert sum(found.adds.values()) == pytest.approx(found.score, abs=1e-5)
    assert sum(found.shares.values()) == pytest.approx(1)
    alone = explain_fused(one, {"x": values[:1, :2]})
    assert np.isnan(alone.logits["y"])
    assert (alone.adds["y"], alone.shares["x"]) == (0, pytest.approx(1))


# --- pictures ---------------------------------------------------------------------------------------------------------


def test_colours_are_red_for_generated_and_blue_for_real_and_the_picture_is_grey_where_nothing_is_said() -> None:
    red, grey, blue = colours(np.array([1.0, 0.0, -1.0]))
    assert red[0] > 150 > 50 > red[2]
    assert blue[2] > 150 > 60 > blue[0]
    assert np.ptp(grey) == 0
    pixels = np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)
    shown = np.zeros((40, 40))
    assert np.ptp(overlay(pixels, shown), axis=2).max() == 0
    shown[3, 5], shown[7, 9] = 2.0, -2.0
    laid = overlay(pixels, shown).astype(int)
    assert laid[3, 5, 0] - laid[3, 5, 2] > 60
    assert laid[7, 9, 2] - laid[7, 9, 0] > 60
    assert np.ptp(laid[20:], axis=2).max() == 0


def test_a_few_large_values_do_not_leave_the_others_pale() -> None:
    shown = np.full((40, 40), 0.01)
    shown[0, 0] = shown[7, 7] = 100.0
    assert scale_of(shown) == pytest.approx(0.01)
    assert scale_of(np.eye(1, 1600).reshape(40, 40)) == 1  # nearly all of it is 0
    laid = overlay(np.full((40, 40, 3), 128, np.uint8), -shown).astype(int)
    assert (laid[..., 2] - laid[..., 0]).min() > 60
    assert (laid[0, 0] == laid[20, 20]).all()


@pytest.mark.parametrize(
    ("low", "high", "blue", "red"),
    [(-1, 2, True, True), (0, 2, False, True), (-1, 0, True, False), (0, 0, False, False)],
)
def test_the_bar_has_the_colours_that_the_map_can_have(low: float, high: float, blue: bool, red: bool) -> None:
    shown = np.linspace(low, high, 256 * 256).reshape(256, 256)
    bar = np.asarray(side_by_side(np.zeros((256, 256, 3), np.uint8), shown, [])).astype(int)[256 + 6 : 256 + 16, 260:]
    assert ((bar[..., 2] - bar[..., 0] > 60).any(), (bar[..., 0] - bar[..., 2] > 60).any()) == (blue, red)


def test_a_caption_names_no_colour_that_is_not_there() -> None:
    for shows, low, high, words in (
        ("evidence", -1, 1, "red speaks for generated, blue for real"),
        ("evidence", 0, 1, "red speaks for generated; no place for real"),
        ("evidence", -1, 0, "blue speaks for real; no place for generated"),
        ("evidence", 0, 0, "nothing speaks for either answer"),
        ("support", 0, 1, "red speaks for generated"),
        ("objection", -1, 0, "blue speaks for real"),
    ):
        assert _reading(shows, low, high) == words


def test_a_long_name_goes_on_in_the_next_line_and_none_of_it_is_lost() -> None:
    name = "logreg:" + "+".join(f"feature_number_{k}" for k in range(12))
    lines = _broken(f"{name}, score +1", 400)
    assert "".join(lines).replace(" ", "") == f"{name},score+1"
    assert all(ImageFont.load_default(14).getlength(line) <= 400 for line in lines)
    assert all(line.endswith("+") for line in lines[:-2])


def test_pictures_are_side_by_side_and_captions_fit() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    whole = np.asarray(side_by_side(pixels, np.ones((40, 60)), ["a caption " * 30, "x" * 500]))
    assert np.array_equal(whole[: 40 * 7 : 7, : 60 * 7 : 7], pixels)  # 256 px at least, each pixel repeated 7 times
    assert whole.shape[1] == 2 * 60 * 7 + 4
    assert whole[40 * 7 :].min() < 100  # text
    assert whole[40 * 7 :, -6:].min() == 255  # none of it reaches the edge
    drawn = np.asarray(bars([("up", 2.0), ("down", -1.0), ("away", float("nan"))], ["c"])).astype(int)
    redder, bluer = drawn[..., 0] - drawn[..., 2] > 100, drawn[..., 2] - drawn[..., 0] > 100
    assert np.flatnonzero(redder.any(0)).min() > np.flatnonzero(bluer.any(0)).max()
    assert redder.any(0).sum() == pytest.approx(2 * bluer.any(0).sum(), abs=4)


# --- the command ------------------------------------------------------------------------------------------------------


def test_explain_writes_a_picture_for_each_explanation_and_the_numbers(
    tmp_path: Path, net: Path, picture: Path
) -> None:
    done = run(picture, "-o", tmp_path / "out", "--model", net)
    assert done.exit_code == 0, done.output
    content = json.loads((tmp_path / "out" / "a_picture.json").read_text())
    assert set(content["explanations"]) == set(explanation.names())
    for one in content["explanations"].values():
        with Image.open(tmp_path / "out" / one["picture"]) as image:
            assert image.size[0] == 2 * 88 * 4 + 4
    pixels = torch.from_numpy(np.asarray(Image.open(picture)).copy()).permute(2, 0, 1)[None] / 255
    model = build(network.get("tiny_ladeda")()).eval()
    assert content["logit"] == pytest.approx(model(pixels).item(), abs=1e-5)
    assert content["patches"][0]["logit"] == pytest.approx(model.patch_logits(pixels).max().item(), abs=1e-5)
    assert len(list((tmp_path / "out").iterdir())) == len(explanation) + 1


def test_explain_names_what_failed_and_explains_the_rest(tmp_path: Path, net: Path, picture: Path) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"nothing")
    Image.new("RGB", (9, 9)).save(tmp_path / "tiny.png")
    (tmp_path / "other").mkdir()
    picture.rename(tmp_path / "other" / "tiny.png")
    out, given = tmp_path / "out", (tmp_path / "broken.jpg", tmp_path / "tiny.png", tmp_path / "other" / "tiny.png")
    options = ("-o", out, "--model", net, "--method", "patch_logits,grad_cam:layer=trunk", "--crop", 64)
    done = run(*given, *options)
    assert done.exit_code == 0, done.output
    assert "3 images, 2 failed, 3 files" in done.output
    assert "broken.jpg: decode" in done.output
    assert "at least" in done.output
    assert {one.name for one in out.iterdir()} == {"tiny-2.json", "tiny-2_patch_logits.png",
                                                   "tiny-2_grad_cam_layer-trunk.png"}  # fmt: skip
    explained = json.loads((out / "tiny-2.json").read_text())["explained"]
    assert explained == {"top": 0, "left": 8, "height": 64, "width": 64}
    assert run(*given, *options, "--strict").exit_code == 3
    assert run(*given[:2], *options).exit_code == 2


def test_explain_says_what_a_network_does_not_have(tmp_path: Path, picture: Path) -> None:
    save_network(build(network.get("mlp")()), tmp_path / "mlp")
    done = run(picture, "-o", tmp_path / "out", "--model", tmp_path / "mlp", "--method", "grad_cam,positive_saliency")
    assert done.exit_code == 0, done.output
    assert "no grad_cam: mlp has no convolutional features" in done.output
    content = json.loads((tmp_path / "out" / "a_picture.json").read_text())
    assert (list(content["explanations"]), list(content["absent"])) == (["positive_saliency"], ["grad_cam"])


def test_explain_shows_what_families_add_to_a_fitted_head(tmp_path: Path, own: Path) -> None:
    columns = Columns.of(FEATURES, condition="matched", crop=64)
    values = extract([own], features=FEATURES, condition="matched", crop=64, workers=0)
    one = fit_head(head.get("logreg"), values.columns, values.values, np.arange(len(values.values)) % 2)
    detector = FittedDetector(
        one, columns.names, columns.codes, "matched", 64, 0, Calibration((0.0, 1.0)), {"": 4, "x": 4}, 0, "test",
    )  # fmt: skip
    save_detector(detector, tmp_path / "model")
    images = sorted(own.rglob("*.png"))[:2]
    done = run(*images, "-o", tmp_path / "out", "--model", tmp_path / "model", "--workers", 0)
    assert done.exit_code == 0, done.output
    assert "average image" in done.output
    for image in images:
        content = json.loads((tmp_path / "out" / f"{image.stem}.json").read_text())
        adds = sum(share["adds"] for share in content["families"])
        assert content["constant"] + adds == pytest.approx(content["score"], abs=1e-4)
        assert f"{content['score']:+.4f}" in done.output
        assert (tmp_path / "out" / content["picture"]).stat().st_size > 1000
    refused = run(*images, "-o", tmp_path / "out", "--model", tmp_path / "model", "--method", "grad_cam")
    assert isinstance(refused.exception, ParameterError)
    assert "--method" in str(refused.exception)


def test_a_picture_that_needs_more_memory_than_there_is_fails_in_words(
    tmp_path: Path, net: Path, picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """tiny_ladeda keeps some 360 bytes for each of 72 x 88 px: 2.3 MB, and of 32 x 32 px 0.4 MB."""
    sizes = {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 250}  # a machine with 1 MB
    monkeypatch.setattr(os, "sysconf", sizes.__getitem__)
    options = ("-o", tmp_path / "out", "--model", net, "--method", "grad_cam")
    done = run(picture, *options)
    assert done.exit_code == 2, done.output
    said = " ".join(done.output.split())
    assert "explaining 88 x 72 px with this network needs about 0.0 GB" in said
    assert "give a smaller --crop" in said
    assert run(picture, *options, "--crop", 32).exit_code == 0


def test_memory_is_told_from_two_small_pictures() -> None:
    methods = [explanation.read("grad_cam")]
    model = build(network.get("tiny_ladeda")()).eval()
    costs = costs_of(model)
    kept = list[int]()
    with torch.autograd.graph.saved_tensors_hooks(lambda one: kept.append(one.nbytes) or one.detach(), lambda one: one):
        model(torch.zeros(1, 3, 256, 256).requires_grad_())
    # the sum counts twice what two layers keep
    assert 0.3 * sum(kept) < costs.kept[0] + costs.kept[1] * 256**2 <= sum(kept)
    assert costs.needed(512, 512, methods) == pytest.approx(4 * costs.needed(256, 256, methods), rel=0.1)
    flat = replace(costs, has_patches=False)
    assert flat.needed(512, 512, read_methods(["eigen_cam"])) < 0.6 * flat.needed(512, 512, methods)


@pytest.mark.parametrize(
    "options, words",
    [
        (("--method", "grad_cm"), "did you mean 'grad_cam'"),
        (("--method", "none"), "no explanation is named"),
        (("--method", "grad_cam:lair=x"), "no setting 'lair'"),
        (("--crop", "-8"), "--crop"),
    ],
)
def test_bad_options_are_one_sentence(
    tmp_path: Path, net: Path, picture: Path, options: tuple[str, str], words: str
) -> None:
    done = run(picture, "-o", tmp_path / "out", "--model", net, *options)
    assert isinstance(done.exception, FdetectError)
    assert words in str(done.exception)


def test_a_network_is_found_by_its_name_too(
    tmp_path: Path, net: Path, picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FDETECT_WEIGHTS", str(tmp_path))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    done = run(picture, "-o", tmp_path / "out", "--model", "net", "--method", "patch_logits")
    assert done.exit_code == 0, done.output
    assert (tmp_path / "out" / "a_picture_patch_logits.png").exists()
    for name, words in (
        ("npr", "no folder 'npr', and .*fdetect weights import NPR.pth --as npr`, or .* as --model FOLDER"),
        ("nothing", "no folder 'nothing', and no weights 'nothing'.* as --model FOLDER"),
    ):
        with pytest.raises(WeightsError, match=words):
            run(picture, "-o", tmp_path / "out", "--model", name, catch_exceptions=False)
    (tmp_path / "head").mkdir()
    (tmp_path / "head" / "config.json").write_text(json.dumps({"model_type": "rine_head"}))
    for given, option in ((tmp_path / "head", ()), (net, ("--encoder", "x"))):
        refused = run(picture, "-o", tmp_path / "out", "--model", given, *option).exception
        assert isinstance(refused, ParameterError)
        assert ("--encoder goes with a head" if option else "is a head on an encoder") in str(refused)


def test_a_model_that_is_none_is_said(tmp_path: Path, picture: Path) -> None:
    done = run(picture, "-o", tmp_path / "out", "--model", tmp_path / "nowhere")
    assert isinstance(done.exception, DataError)
    assert "nowhere" in str(done.exception)


def test_methods_are_read_once_each() -> None:
    names = [entry.name for entry in read_methods(["grad_cam", "all", "grad_cam:layer=trunk"])]
    assert sorted(names) == sorted([*explanation.names(), "grad_cam:layer=trunk"])
    with pytest.raises(UnknownName):
        read_methods(["all", "nothing"])
