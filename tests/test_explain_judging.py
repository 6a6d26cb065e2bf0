"""Explanations put to the test: measures against plain loops, spliced pictures, and networks whose answer is known."""

from __future__ import annotations

import math
from pathlib import Path

import naive_explain as naive
import numpy as np
import pytest
from PIL import Image, ImageFilter
from tiny_tasks import write_images

from fdetect.bench.data.splices import SIDES, Splice, half, splice, splices_of
from fdetect.bench.explaining.explaining import RANDOM, judge, mean_of, told_apart
from fdetect.bench.explaining.measures import area, mass_in, random_map, rank_correlation, removal_curves
from fdetect.bench.explaining.table import COLUMNS, explanation_table
from fdetect.bootstrap import group_weights
from fdetect.classifiers.explain import NetworkView, read_methods
from fdetect.errors import DataError, ParameterError
from fdetect.perturb import rng_for

torch = pytest.importorskip("torch", reason="the extra 'deep' is not installed")

from tiny_explained import Brightness  # noqa: E402

from fdetect.bench.training.pair_sources import find_sources  # noqa: E402
from fdetect.nets.detectors import build, network  # noqa: E402

SIDE = 48


class Inverted:
    """A round trip that everybody sees."""

    settings: dict[str, str] = {}  # noqa: RUF012

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        return 255 - pixels


def photograph(seed: int = 0, height: int = 90, width: int = 110) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def bright_splices(count: int = 6) -> list[Splice]:
    """Dark noise whose generated half is bright."""
    found = []
    for k in range(count):
        dark = np.random.default_rng(k).integers(0, 100, (SIDE, SIDE, 3), np.uint8)
        bright, place = 255 - dark, half(SIDES[k % 4], SIDE)
        found.append(Splice(f"{k}", SIDES[k % 4], np.where(place[..., None], bright, dark), dark, bright, place))
    return found


# --- measures ---------------------------------------------------------------------------------------------------------


def test_measures_equal_plain_loops() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(9, 11)), np.round(rng.normal(size=(9, 11)), 1)  # the second has ties
    place = rng.random((9, 11)) < 0.4
    assert mass_in(first, place) == pytest.approx(naive.mass_in(first, place), abs=1e-12)
    assert rank_correlation(first, second) == pytest.approx(naive.rank_correlation(first, second), abs=1e-12)
    curve = rng.random(7)
    assert area(curve) == pytest.approx(naive.area(curve.tolist()), abs=1e-12)


def test_measures_of_known_maps() -> None:
    left = half("left", 8)
    assert mass_in(np.where(left, 3.0, -5.0), left) == 1.0
    assert mass_in(np.where(left, 3.0, 1.0), left) == 0.75
    assert math.isnan(mass_in(-np.ones((8, 8)), left))
    steps = np.arange(64.0).reshape(8, 8)
    assert rank_correlation(steps, np.exp(steps)) == pytest.approx(1)
    assert rank_correlation(steps, -steps) == pytest.approx(-1)
    assert math.isnan(rank_correlation(steps, np.ones((8, 8))))
    assert area(np.array([1.0, 0.0, 0.0, 0.0, 0.0])) == 0.125


def test_random_maps_have_half_of_their_mass_in_a_half_and_come_from_their_seed() -> None:
    maps = [random_map((SIDE, SIDE), 8, rng_for(0, str(k), "test")) for k in range(200)]
    assert np.mean([mass_in(one, half("top", SIDE)) for one in maps]) == pytest.approx(0.5, abs=0.04)
    assert np.array_equal(maps[3], random_map((SIDE, SIDE), 8, rng_for(0, "3", "test")))
    assert maps[0].std() == pytest.approx(1)


def test_removal_curves_equal_plain_loops() -> None:
    pixels, shown = photograph(1, 7, 9), np.random.default_rng(2).permutation(63).reshape(7, 9).astype(float)
    weight = np.random.default_rng(3).normal(size=pixels.shape) / 300
    vague = np.asarray(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(2)))
    expected = naive.removal_curves(lambda one: float((one * weight).sum()), pixels, vague, shown, 5)
    found = removal_curves(lambda some: (some * weight).sum((1, 2, 3)), pixels, shown, steps=5, blur=2)
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_removal_of_the_one_pixel_that_counts() -> None:
    pixels = np.zeros((10, 10, 3), np.uint8)
    pixels[3, 4] = 255
    shown = np.zeros((10, 10))
    shown[3, 4] = 1.0
    deletion, insertion = removal_curves(lambda some: np.where(some[:, 3, 4, 0] == 255, 50.0, -50.0), pixels, shown,
                                         steps=100)  # fmt: skip
    assert deletion[0] > 0.999 > 0.001 > deletion[1:].max()
    assert insertion[0] < 0.001 < 0.999 < insertion[1:].min()
    assert area(deletion) == pytest.approx(0.005)
    assert area(insertion) == pytest.approx(0.995)


def test_equal_values_are_taken_in_an_order_of_their_own_for_every_picture() -> None:
    def counted(content: str) -> np.ndarray:
        weight = np.random.default_rng(5).normal(size=(8, 8, 3)) / 300
        return removal_curves(lambda some: (some * weight).sum((1, 2, 3)), photograph(0, 8, 8), np.zeros((8, 8)),
                              steps=4, content=content)[1]  # fmt: skip

    assert not np.array_equal(counted("a"), counted("b"))
    assert np.array_equal(counted("a"), counted("a"))
    with pytest.raises(ParameterError, match="steps"):
        removal_curves(lambda some: np.zeros(len(some)), photograph(0, 4, 4), np.zeros((4, 4)), steps=17)


def test_means_leave_out_what_has_no_value_and_say_how_many_have() -> None:
    ids = [str(k) for k in range(50)]
    values = np.random.default_rng(0).normal(1.0, 1.0, 50)
    values[7] = np.nan
    found = mean_of(values, ids, group_weights(ids))
    assert found.value == pytest.approx(np.nanmean(values))
    assert found.n == 49
    spread = np.nanstd(values) / 7
    assert found.high - found.low == pytest.approx(2 * 1.96 * spread, rel=0.15)
    assert math.isnan(mean_of(np.full(50, np.nan), ids, group_weights(ids)).value)


# --- spliced pictures -------------------------------------------------------------------------------------------------


def test_a_splice_is_one_photograph_with_one_half_changed() -> None:
    seen = set()
    for k in range(12):
        found = splice(photograph(k), Inverted(), f"content {k}", crop=64, seed=0)
        assert np.array_equal(found.spliced[found.generated], found.laundered[found.generated])
        assert np.array_equal(found.spliced[~found.generated], found.pristine[~found.generated])
        assert np.array_equal(found.laundered, 255 - found.pristine)
        assert found.generated.sum() == 64 * 32
        places = [(top, left) for top in range(0, 27, 8) for left in range(0, 47, 8)]
        assert any(np.array_equal(photograph(k)[t : t + 64, x : x + 64], found.pristine) for t, x in places)
        again = splice(photograph(k), Inverted(), f"content {k}", crop=64, seed=0)
        assert np.array_equal(again.spliced, found.spliced)
        seen.add(found.side)
    assert len(seen) == 4


def test_all_versions_of_a_splice_go_through_the_condition() -> None:
    plain, matched = (splice(photograph(), Inverted(), "x", crop=64, shown=one) for one in ("native", "matched"))
    assert not np.array_equal(plain.pristine, matched.pristine)
    assert matched.spliced.shape == (64, 64, 3)
    for condition in ("rescaled", "resize50", "launder_own-nearest8"):
        with pytest.raises(ParameterError, match="keep their size"):
            splice(photograph(), Inverted(), "x", crop=64, shown=condition)
    with pytest.raises(DataError, match="too small"):
        splice(photograph(0, 70, 90), Inverted(), "x", crop=64)


def test_splices_of_a_folder_are_made_by_autoencoders_and_name_what_failed(tmp_path: Path) -> None:
    write_images(tmp_path, 5)
    Image.fromarray(photograph(0, 40, 40)).save(tmp_path / "small.png")
    (tmp_path / "none.jpg").write_bytes(b"no picture")
    sources = find_sources(["own-super2"])
    made = splices_of([tmp_path], sources, count=10, crop=64)
    assert len(made) == 5
    assert {failure.path.rpartition("/")[2] for failure in made.failures} == {"small.png", "none.jpg"}
    for one in made.splices:
        assert not np.array_equal(one.laundered, one.pristine)
        assert np.abs(one.laundered.astype(int) - one.pristine).mean() < 20
    assert splices_of([tmp_path], sources, count=2, crop=64).left_out == 5
    with pytest.raises(DataError, match="can be spliced"):
        splices_of([tmp_path / "small.png"], sources, crop=64)


# --- judging ----------------------------------------------------------------------------------------------------------


def test_a_network_that_sees_the_trace_is_judged_so() -> None:
    view, splices = NetworkView(Brightness(), "brightness"), bright_splices()
    methods = read_methods(["patch_logits", "grad_cam:layer=trunk", "negative_saliency:times_input=false"])
    random, patches, cam, negative = judge(view, splices, methods, steps=8)
    assert random.method == RANDOM
    assert 0.3 < random.mass.value < 0.7
    assert (patches.mass.value, patches.higher.value, patches.mass.n) == (1.0, 1.0, 6)
    assert patches.beyond.low > 0.2
    assert patches.photograph.n == 0  # a dark photograph has no positive place
    assert cam.higher.value == 1.0
    assert patches.deletion.value < random.deletion.value < patches.insertion.value
    assert negative.mass.n == 0  # no pixel speaks for real when it gets brighter
    assert patches.collapse.n == 6
    assert told_apart(view, splices).value == 1.0
    table = explanation_table([random, patches, cam, negative])
    assert len(table.splitlines()) == 6
    assert all(line.count("|") == len(COLUMNS) + 2 for line in table.splitlines())
    assert "| patch_logits | 1.000 [1.000, 1.000] | 1.000 [1.000, 1.000] |" in table


def test_what_is_not_there_is_a_row_with_its_reason_and_curves_can_be_left_out() -> None:
    view = NetworkView(build(network.get("mlp")()), "mlp")
    _, cam, saliency = judge(view, bright_splices(3), read_methods(["grad_cam", "positive_saliency"]), curves=False)
    assert "no convolutional features" in cam.reason
    assert cam.mass is None
    assert saliency.deletion is None
    assert 0 <= saliency.mass.value <= 1
    assert "not there: mlp has no convolutional" in explanation_table([cam])
    with pytest.raises(ParameterError, match="at least one"):
        judge(view, [], read_methods(["all"]))


def test_the_same_seed_gives_the_same_figures_and_the_network_stays() -> None:
    model = build(network.get("tiny_ladeda")()).eval()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    first, second = (judge(NetworkView(model, "t"), bright_splices(3), read_methods(["patch_logits"]), steps=2)
                     for _ in range(2))  # fmt: skip
    assert explanation_table(first) == explanation_table(second)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
