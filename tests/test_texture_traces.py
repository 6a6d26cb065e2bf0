"""Textures, co-occurrences, colour statistics: answers known in closed form, other people's code, photographs."""

from __future__ import annotations

import csv
import io
import math
from pathlib import Path

import naive
import numpy as np
import pytest
from PIL import Image
from tolerance import TOL

from fdetect.backend import asnumpy
from fdetect.errors import DataError, ParameterError
from fdetect.features import column_names, compute, feature
from fdetect.features.texture import texture_contrast
from fdetect.forensics import signal, signal_map
from fdetect.forensics._cpu import cooccurrence_counts
from fdetect.forensics.texture import cooccurrence_matrix, count_bins
from fdetect.images import decode
from fdetect.types import Batch

FEATURES = (
    "local_binary_patterns",
    "texture_contrast",
    "cooccurrence",
    "cross_band_cooccurrence",
    "saturation_statistics",
    "colour_correlation",
)
MAPS = ("cooccurrence_matrix", "cooccurrence_matrix_diagonal", "cross_band_matrix")


def batch_of(rgb8: np.ndarray) -> Batch:
    return Batch(tuple(f"{i:032x}" for i in range(len(rgb8))), rgb8, ())


def row(name: str, image: np.ndarray) -> dict[str, float]:
    """The columns of one (H, W, 3) uint8 image, by name without the feature's."""
    entry = feature.get(name)
    values = compute(entry, batch_of(np.ascontiguousarray(image)[None]))[0].tolist()
    return {column.split(":", 1)[1]: value for column, value in zip(column_names(entry), values, strict=True)}


def grey(image: np.ndarray) -> np.ndarray:
    return np.repeat(np.asarray(image, np.uint8)[..., None], 3, axis=2)


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def patchwork(height: int, width: int) -> np.ndarray:
    """Flat, fine and coarse parts, saturated ones and equal patches: (2, H, W, 3) uint8."""
    y, x = np.mgrid[:height, :width][..., None]
    scene = noise(height, width).astype(int)
    mixed = np.where((x // 16 + y // 24) % 3 == 0, 90, np.where(x // 20 % 2, scene, 100 + scene % 7))
    tiles = (x % 16 * 16 + y % 16 * np.array([1, 3, 5])) % 256
    return np.stack([mixed + np.zeros(3, int), tiles]).astype(np.uint8)


# --- all of them ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(52, 67), (7, 9), (9, 23)], ids=str)
@pytest.mark.parametrize("name", FEATURES)
def test_twin_and_plain_text_are_the_reference_at_sizes_of_one_and_of_many_patches(name, size):
    torch = pytest.importorskip("torch", reason="the deep extra is not installed")
    entry, images = feature.get(name), patchwork(*size)
    values = compute(entry, batch_of(images))
    expected = getattr(naive, name)(images)
    np.testing.assert_allclose(values, expected, *TOL["float32"])
    np.testing.assert_allclose(asnumpy(entry(torch.from_numpy(images))), expected, *TOL["float32"])


@pytest.mark.parametrize("name", MAPS)
def test_matrices_of_numpy_and_torch_are_equal(name):
    torch = pytest.importorskip("torch", reason="the deep extra is not installed")
    images, entry = patchwork(19, 37), signal_map.get(name)
    assert np.array_equal(asnumpy(entry(torch.from_numpy(images))), entry(images))


@pytest.mark.parametrize("name", FEATURES)
def test_a_view_with_other_strides_gives_what_its_copy_gives(name):
    images = patchwork(80, 72)
    view = images[:, ::-1, ::2]
    assert np.array_equal(feature.get(name)(view), feature.get(name)(view.copy()))


@pytest.mark.parametrize(
    "name", ["local_binary_patterns", "saturation_statistics", "cross_band_cooccurrence", "colour_correlation"]
)
def test_mirroring_and_turning_an_image_by_180_degrees_changes_nothing(name):
    image = patchwork(41, 37)[0]
    expected = list(row(name, image).values())
    np.testing.assert_allclose(list(row(name, image[::-1, ::-1]).values()), expected, rtol=1e-6)
    if name != "cross_band_cooccurrence":  # its pairs within a colour lie on one diagonal
        np.testing.assert_allclose(list(row(name, image[:, ::-1]).values()), expected, rtol=1e-6)
        np.testing.assert_allclose(list(row(name, image.swapaxes(0, 1)).values()), expected, rtol=1e-6)


def test_counts_of_bins_are_those_of_numpy():
    index = np.random.default_rng(0).integers(0, 9, (2, 3, 50))
    counts = count_bins(index, 9)
    assert counts.shape == (2, 3, 9)
    assert np.array_equal(counts[1, 2], np.bincount(index[1, 2], minlength=9))


# --- co-occurrence matrices ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name, angle", [("cooccurrence_matrix", 0), ("cooccurrence_matrix_diagonal", math.pi / 4)])
def test_matrix_is_that_of_scikit_image(name, angle):
    graycomatrix = pytest.importorskip("skimage.feature").graycomatrix
    image = patchwork(40, 53)[0]
    matrix = signal(batch_of(image[None]), name)[0]
    for c in range(3):
        assert np.array_equal(matrix[c], graycomatrix(image[..., c], [1], [angle], 256)[..., 0, 0])


def test_cross_band_matrix_is_the_joint_histogram_of_two_colours():
    image = noise(30, 41)
    matrix = signal(batch_of(image[None]), "cross_band_matrix")[0]
    edges = np.arange(257) - 0.5
    for k, (a, b) in enumerate(((0, 1), (0, 2), (1, 2))):
        expected, _, _ = np.histogram2d(image[..., a].ravel(), image[..., b].ravel(), bins=(edges, edges))
        assert np.array_equal(matrix[k], expected)


@pytest.mark.parametrize("width", [*range(1, 20), 33, 64, 65])
def test_every_pair_of_a_row_of_any_width_is_counted_once(width):
    a, b = noise(3, width)[..., 0], noise(3, width, 1)[..., 1]
    a, b = np.ascontiguousarray(a), np.ascontiguousarray(b)
    expected = np.zeros((256, 256), int)
    np.add.at(expected, (a.ravel(), b.ravel()), 1)
    assert np.array_equal(cooccurrence_counts(a, b, 0, 0), expected)


def test_matrix_refuses_steps_backwards_and_steps_as_large_as_the_image():
    image = noise(8, 8)[None]
    with pytest.raises(ParameterError, match="cooccurrence_matrix: dy and dx are not negative"):
        cooccurrence_matrix(image, dx=-1)
    with pytest.raises(DataError, match="at least 9 x 9"):
        cooccurrence_matrix(image, dy=8)


# --- co-occurrence features ----------------------------------------------------------------------------------------


def test_a_constant_image_has_no_difference_in_any_band():
    columns = row("cooccurrence", np.full((20, 20, 3), 77))
    assert {name for name, value in columns.items() if value == 1} == {
        name for name in columns if name.endswith("_by0")
    }
    assert set(columns.values()) == {0, 1}


def test_brighter_by_one_band_moves_the_columns_by_one_band():
    image = 64 + noise(64, 64) % 32
    dark, bright = row("cooccurrence", image), row("cooccurrence", image + 32)
    for name, value in dark.items():
        if "_level64_" in name:
            assert bright[name.replace("_level64_", "_level96_")] == value
    assert dark["red_level64_by0"] == pytest.approx(math.sqrt(1 / 32), abs=0.02)  # of 32 equally likely levels
    assert dark["red_level64_by1"] == pytest.approx(math.sqrt(2 * 31 / 32**2), abs=0.02)


def test_doubled_pixels_make_every_second_difference_zero():
    image = np.repeat(np.repeat(noise(40, 40), 2, axis=0), 2, axis=1)
    columns = row("cooccurrence", image)
    # half the pairs are of one level, an eighth of them here; of the rest, whose mean is triangular, 7/32 are here
    assert columns["green_level128_by0"] ** 2 == pytest.approx((1 / 8) / (1 / 8 + 7 / 32), abs=0.05)
    assert row("cooccurrence", noise(80, 80))["green_level128_by0"] < math.sqrt(0.05)


def test_a_grey_image_has_equal_digits_in_all_colours():
    columns = row("cross_band_cooccurrence", grey(noise(50, 60)[..., 0]))
    across = {name: value for name, value in columns.items() if name.startswith("red_green_")}
    equal = [f"red_green_{k}_{k}" for k in range(4)]
    assert len(across) == 25
    assert all((value > 0) == (name in equal) for name, value in across.items())
    assert sum(across[name] ** 2 for name in equal) == pytest.approx(1)


def test_a_ramp_has_one_digit_along_and_none_across():
    x = np.arange(30)
    columns = row("cross_band_cooccurrence", grey(np.broadcast_to(5 * x, (20, 30))))
    right, down = 20 * 29, 19 * 30
    assert columns["red_blue_2_2"] == pytest.approx(math.sqrt(right / (right + down)))
    assert columns["red_blue_0_0"] == pytest.approx(math.sqrt(down / (right + down)))
    right, down = 19 * 28, 18 * 29
    assert columns["green_2_2"] == pytest.approx(math.sqrt(right / (right + down)))
    assert columns["green_0_0"] == pytest.approx(math.sqrt(down / (right + down)))


def test_independent_colours_have_the_product_of_their_shares():
    columns = row("cross_band_cooccurrence", noise(300, 300))
    # |difference| of two uniform levels: P(0) = 1/256, P(d) = 2 (256 - d) / 256^2
    share = [1 / 256, *(sum(2 * (256 - d) / 65536 for d in span) for span in (range(1, 3), range(3, 8), range(8, 256)))]
    assert columns["red_green_3_3"] == pytest.approx(math.sqrt(share[3] ** 2 / 2), abs=0.01)
    assert columns["red_green_3_m3"] == pytest.approx(math.sqrt(share[3] ** 2 / 2), abs=0.01)
    assert columns["green_blue_3_1"] == pytest.approx(math.sqrt(share[3] * share[1] / 2), abs=0.01)


# --- local binary patterns -----------------------------------------------------------------------------------------


def test_a_constant_image_has_eight_neighbours_as_bright():
    columns = row("local_binary_patterns", np.full((12, 12, 3), 9))
    assert {name for name, value in columns.items() if value} == {name for name in columns if name.endswith("_8")}


def test_a_checkerboard_alternates_at_odd_radii_only():
    y, x = np.mgrid[:14, :14]
    columns = row("local_binary_patterns", grey((x + y) % 2 * 200))
    for r in (1, 3):
        assert columns[f"red_r{r}_turns8"] == pytest.approx(math.sqrt(0.5))
        assert columns[f"red_r{r}_8"] == pytest.approx(math.sqrt(0.5))
    assert columns["red_r2_8"] == 1


def test_an_edge_along_an_axis_has_three_or_five_ones_about_an_axis():
    step = np.where(np.arange(12) < 6, 50, 60)
    columns = row("local_binary_patterns", grey(np.broadcast_to(step, (10, 12))))
    # at radius 1 only column 6 of the inner 1..10 has darker neighbours: the three on its left
    assert columns["red_r1_5_axis"] == pytest.approx(math.sqrt(1 / 10))
    assert columns["red_r1_8"] == pytest.approx(math.sqrt(9 / 10))


def test_patterns_of_sums_of_a_row_and_a_column_are_those_of_scikit_image():
    local_binary_pattern = pytest.importorskip("skimage.feature").local_binary_pattern
    rng = np.random.default_rng(3)
    # Interpolation towards a corner of such an image is a share of the step there.  Odd steps down and even steps
    # right never cancel, so no comparison is a tie and the circle of scikit-image agrees with the square.
    down, right = np.cumsum(rng.choice([-3, -1, 1, 3], 40)), np.cumsum(rng.choice([-4, -2, 2, 4], 40))
    image = down[:, None] + right[None, :]
    image = (image - image.min()).astype(np.uint8)
    known = local_binary_pattern(image, 8, 1, method="uniform")[1:-1, 1:-1]
    columns = row("local_binary_patterns", grey(image))
    for ones in range(9):
        ours = sum(v**2 for n, v in columns.items() if n.startswith("red_r1_") and n.split("_")[2] == str(ones))
        assert ours == pytest.approx(np.mean(known == ones), abs=1e-6)


def test_a_pixel_of_white_noise_is_the_least_of_nine_once_in_nine():
    columns = row("local_binary_patterns", noise(256, 256))
    for r in (1, 2, 3):
        assert columns[f"blue_r{r}_8"] ** 2 == pytest.approx(1 / 9, abs=0.01)
        assert columns[f"blue_r{r}_0"] ** 2 == pytest.approx(1 / 9, abs=0.01)


# --- texture contrast ----------------------------------------------------------------------------------------------


def test_poor_patches_are_the_flat_ones():
    image = np.full((160, 160, 3), 50, np.uint8)
    image[96:] = noise(64, 160)
    columns = row("texture_contrast", image)
    assert columns["poor_diversity"] == pytest.approx(math.log(0.01))
    for kernel in ("first", "second", "square3x3"):
        assert columns[f"poor_{kernel}_from0"] == 1
        assert columns[f"poor_{kernel}_level"] == pytest.approx(math.log(0.01))
        assert columns[f"contrast_{kernel}_from0"] < -0.8
        assert columns[f"contrast_{kernel}_from16"] > 0.5


def test_white_noise_has_next_to_no_contrast_and_known_changes_of_sign():
    columns = row("texture_contrast", noise(256, 256))
    # differences of neighbours change sign along their direction twice in three, across it once in two
    assert columns["poor_first_opposite"] ** 2 == pytest.approx((2 / 3 + 1 / 2) / 2, abs=0.01)
    assert all(abs(value) < 0.06 for name, value in columns.items() if name.startswith("contrast_"))


def test_a_single_patch_is_its_own_contrast():
    values = texture_contrast(noise(33, 47)[None])
    assert np.array_equal(values[0, 28:], np.zeros(28))
    assert values[0, 0] > 0


def test_among_patches_of_equal_diversity_the_first_are_poor_and_the_last_are_rich():
    # In 32 x 32 pixels stripes of height a sum to 32 31 a + 2 31^2 a, a checkerboard of height b to 2 32 31 b: the
    # same for a = 32, b = 47.  Six patches of each; one holds both and is apart.  Mean |second|: 16 and 47.
    y, x = np.mgrid[:32, :112]
    stripes, board = x % 2 * 32, (x + y) % 2 * 47
    first = row("texture_contrast", grey(np.hstack([stripes, board])))
    assert first["poor_second_level"] < math.log(25)
    assert first["contrast_second_level"] > math.log(35 / 25)
    last = row("texture_contrast", grey(np.hstack([board, stripes])))
    assert last["poor_second_level"] > math.log(35)
    assert last["contrast_second_level"] < -math.log(35 / 25)


# --- colour --------------------------------------------------------------------------------------------------------


def test_pure_red_is_saturated_in_one_colour_and_absent_in_two():
    columns = row("saturation_statistics", np.full((9, 7, 3), (255, 0, 0)))
    ones = {f"red_high{m}" for m in (0, 5, 15)} | {f"{c}_low{m}" for c in ("green", "blue") for m in (0, 5, 15)}
    ones |= {"high_in1", "low_in2", "saturation_full", "saturation_mean"}
    assert {name for name, value in columns.items() if value == 1} == ones
    assert all(value == 0 for name, value in columns.items() if name not in ones)


def test_margins_count_levels_near_the_ends():
    image = np.full((10, 10, 3), 128, np.uint8)
    image[0, :4, 1], image[1, :9, 1] = 250, 15
    columns = row("saturation_statistics", image)
    assert columns["green_high0"] == 0
    assert columns["green_high5"] == pytest.approx(0.2)
    assert columns["green_low5"] == 0
    assert columns["green_low15"] == pytest.approx(0.3)


def test_saturation_is_that_of_pillow():
    image = noise(60, 60)
    s = np.asarray(Image.fromarray(image).convert("HSV"), np.float64)[..., 1]
    columns = row("saturation_statistics", image)
    skewness = np.mean((s - s.mean()) ** 3) / s.std() ** 3
    assert columns["saturation_mean"] * 255 == pytest.approx(s.mean(), abs=0.05)
    assert columns["saturation_sd"] * 255 == pytest.approx(s.std(), abs=0.05)
    assert columns["saturation_skew"] == pytest.approx(skewness, abs=0.01)


def test_grey_colours_agree_fully_and_independent_ones_not_at_all():
    same, apart = row("colour_correlation", grey(noise(60, 60)[..., 0])), row("colour_correlation", noise(300, 300))
    for order in ("first", "second", "cross"):
        assert same[f"{order}_red_blue"] == pytest.approx(math.log(0.001))
        assert same[f"{order}_energy_red_green"] == 0
        assert apart[f"{order}_red_blue"] == pytest.approx(0, abs=0.02)


def test_an_inverted_and_a_halved_colour_have_known_correlation_and_energy():
    red = noise(50, 50)[..., 0]
    image = np.stack([red // 2 * 2, red // 2, 255 - red // 2], axis=2)
    columns = row("colour_correlation", image)
    assert columns["second_red_green"] == pytest.approx(math.log(0.001))
    assert columns["second_green_blue"] == pytest.approx(math.log(2.001))
    assert columns["cross_energy_red_green"] == pytest.approx(math.log(4), abs=1e-3)


# --- real images ---------------------------------------------------------------------------------------------------


def pictures(folder: Path, count: int, **wanted: str) -> list[np.ndarray]:
    """The first images of the manifest whose columns have the wanted values, 224 pixels from their middle."""
    with (folder / "manifest.csv").open(encoding="utf-8", newline="") as file:
        lines = [line for line in csv.DictReader(file) if all(line[key] == value for key, value in wanted.items())]
    images = [decode((folder / line["path"]).read_bytes()).pixels for line in lines[:count]]
    corners = [((image.shape[0] - 224) // 2, (image.shape[1] - 224) // 2) for image in images]
    return [image[y : y + 224, x : x + 224] for image, (y, x) in zip(images, corners, strict=True)]


def test_processing_of_photographs_shows_in_the_columns_named_for_it(shared_data):
    for image in pictures(shared_data, 8, real_source="kodak24"):
        board = np.indices(image.shape[:2]).sum(0)[..., None] % 2 * 4
        marked = np.clip(image.astype(int) + board, 0, 255).astype(np.uint8)
        before, after = row("local_binary_patterns", image), row("local_binary_patterns", marked)
        assert after["green_r1_turns8"] > before["green_r1_turns8"]

        small = Image.fromarray(image).resize((112, 112), Image.Resampling.BICUBIC)
        soft = np.asarray(small.resize((224, 224), Image.Resampling.BICUBIC))
        before, after = row("texture_contrast", image), row("texture_contrast", soft)
        assert after["poor_square3x3_level"] < before["poor_square3x3_level"]
        assert after["poor_square3x3_opposite"] < before["poor_square3x3_opposite"]

        doubled = np.asarray(small.resize((224, 224), Image.Resampling.NEAREST))
        assert row("cooccurrence", doubled)["green_level96_by0"] > row("cooccurrence", image)["green_level96_by0"]

        file = io.BytesIO()
        Image.fromarray(image).save(file, "JPEG", quality=90, subsampling="4:2:0")
        before, after = row("colour_correlation", image), row("colour_correlation", decode(file.getvalue()).pixels)
        assert after["cross_red_blue"] < before["cross_red_blue"]  # the finest detail is left to luma


def test_generated_images_saturate_all_three_colours_less_often(shared_data):
    def mean(images: list[np.ndarray]) -> float:
        return float(np.mean([row("saturation_statistics", image)["high_in3"] for image in images]))

    real = mean(pictures(shared_data, 60, real_source="coco"))
    for generator in ("dall-e-2", "latent-diffusion-laion400m", "stable-diffusion-v1.x", "stylegan2-ffhq-1024"):
        assert mean(pictures(shared_data, 36, generator=generator)) < real
