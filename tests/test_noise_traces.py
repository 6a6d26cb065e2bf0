"""Denoising residuals and noise features: closed-form answers, third-party truth, and what they see in photographs."""

from __future__ import annotations

import csv
import io
import math

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage
from scipy import signal as scipy_signal

from fdetect.errors import DataError, ParameterError
from fdetect.features import column_names, compute, feature
from fdetect.features import noise as feature_room
from fdetect.features.noise import cross_channel_residual_correlation, denoised_residual_statistics, noise_level
from fdetect.forensics import denoise as map_room
from fdetect.forensics import noise as sums_room
from fdetect.forensics.denoise import gaussian_residual, gaussian_weights, median_residual, wiener_residual
from fdetect.images import decode
from fdetect.types import Batch

RESIDUALS = {"median": median_residual, "gaussian": gaussian_residual, "wiener": wiener_residual}


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def luma_of(*shape: int, seed: int = 0) -> np.ndarray:
    """Luma of random colours: whole thousandths in float32."""
    return (rng(seed).integers(0, 255001, shape) / 1000).astype(np.float32)


def row(name: str, image: np.ndarray) -> dict[str, float]:
    """The columns of one (H, W, 3) uint8 image, by name without the feature's."""
    entry = feature.get(name)
    values = compute(entry, Batch(("0" * 32,), np.ascontiguousarray(image)[None], ()))[0]
    return named(name, values)


def named(name: str, values: np.ndarray) -> dict[str, float]:
    columns = [column.split(":", 1)[1] for column in column_names(feature.get(name))]
    return dict(zip(columns, values.tolist(), strict=True))


def statistics(residual: np.ndarray, luma: np.ndarray | None = None) -> dict[str, float]:
    given = np.full_like(residual, 100) if luma is None else luma
    values = denoised_residual_statistics(residual[None].astype(np.float32), given[None].astype(np.float32))
    return named("median_residual_statistics", values[0])


def noisy(sigma: float | np.ndarray, level: np.ndarray, seed: int = 0) -> np.ndarray:
    """A picture of given (H, W) level with independent Gaussian noise in each colour."""
    values = level[..., None] + rng(seed).normal(0, 1, (*level.shape, 3)) * np.asarray(sigma)[..., None]
    return np.clip(np.round(values), 0, 255).astype(np.uint8)


def photographs(shared_data, count: int, side: int = 256) -> list[np.ndarray]:
    with open(shared_data / "manifest.csv", encoding="utf-8", newline="") as file:
        rows = [r for r in csv.DictReader(file) if r["label"] == "0" and min(int(r["width"]), int(r["height"])) >= side]
    chosen = rows[:: len(rows) // count][:count]
    return [decode((shared_data / r["path"]).read_bytes()).pixels[:side, :side] for r in chosen]


# --- the compiled median ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
@pytest.mark.parametrize("size", [(1, 1), (1, 40), (40, 1), (2, 2), (3, 5), (37, 129), (5, 5000), (70, 300)], ids=str)
def test_compiled_median_is_scipys_at_every_size_and_type(dtype, size):
    kernels = pytest.importorskip("fdetect.forensics._cpu")
    images = rng(size[1]).integers(0, 256, (2, *size)).astype(dtype)
    found = kernels.median3x3(images)
    assert found.dtype == dtype
    for image, result in zip(images, found, strict=True):
        assert np.array_equal(result, ndimage.median_filter(image, size=3, mode="nearest"))
        assert np.array_equal(kernels.median3x3(image), result)


def test_compiled_median_takes_views():
    kernels = pytest.importorskip("fdetect.forensics._cpu")
    image = rng().integers(0, 256, (40, 60), np.uint8)
    assert np.array_equal(kernels.median3x3(image[::2, ::3]), ndimage.median_filter(image[::2, ::3], size=3))


# --- maps ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("residual", RESIDUALS.values(), ids=RESIDUALS)
def test_a_flat_picture_leaves_exactly_nothing(residual):
    flat = np.full((1, 20, 31), np.float32(0.299 * 77 + 0.587 * 130 + 0.114 * 201))
    assert not residual(flat).any()


@pytest.mark.parametrize("residual", RESIDUALS.values(), ids=RESIDUALS)
def test_a_negative_has_the_negative_residual(residual):
    image = luma_of(1, 30, 40)
    np.testing.assert_allclose(residual(255 - image), -residual(image), atol=2e-5)


@pytest.mark.parametrize("residual", RESIDUALS.values(), ids=RESIDUALS)
def test_the_compiled_and_the_plain_text_agree_to_the_last_digit(residual, monkeypatch):
    image = luma_of(2, 33, 47)
    compiled = residual(image)
    monkeypatch.setattr(map_room, "twin", lambda name, array: None)
    np.testing.assert_allclose(residual(image), compiled, rtol=2e-7, atol=0)


def test_median_removes_a_lone_pixel_and_keeps_a_step():
    image = np.full((1, 12, 15), 50, np.float32)
    image[0, 5, 7] = 90
    expected = np.zeros_like(image)
    expected[0, 5, 7] = 40
    assert np.array_equal(median_residual(image), expected)
    assert not median_residual(np.where(np.arange(15) < 7, 30, 200).astype(np.float32) + np.zeros((1, 12, 1))).any()


def test_median_residual_is_luma_minus_scipys_median():
    image = luma_of(1, 50, 61)
    expected = image[0] - ndimage.median_filter(np.float64(image[0]), size=3)
    np.testing.assert_allclose(median_residual(image)[0], expected, atol=1e-4)


def test_gaussian_residual_of_an_impulse_is_the_kernel():
    image = np.zeros((1, 21, 21), np.float32)
    image[0, 10, 10] = 200
    weights = np.array(gaussian_weights(1.0)) / 65536
    expected = image[0].copy()
    expected[7:14, 7:14] -= 200 * np.outer(weights, weights)
    np.testing.assert_allclose(gaussian_residual(image)[0], expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("sigma", [0.3, 0.7, 1.0, 2.5, 16.0])
def test_gaussian_is_scipys_but_for_the_rounding_of_its_weights(sigma):
    image = luma_of(1, 60, 70)
    radius = math.ceil(3 * sigma)
    blurred = ndimage.gaussian_filter(np.float64(image[0]), sigma, mode="nearest", radius=radius)
    assert sum(gaussian_weights(sigma)) == 65536
    assert gaussian_weights(sigma) == gaussian_weights(sigma)[::-1]
    np.testing.assert_allclose(gaussian_residual(image, sigma=sigma)[0], image[0] - blurred, atol=0.1)


def test_gaussian_passes_a_grating_as_its_transfer_function_says():
    x = np.arange(96)
    wave = np.broadcast_to(60 * np.cos(2 * np.pi * x / 8), (1, 20, 96))
    weights = np.array(gaussian_weights(1.0)) / 65536
    passed = 1 - np.sum(weights * np.cos(2 * np.pi * np.arange(-3, 4) / 8))
    found = gaussian_residual((100 + wave).astype(np.float32))
    np.testing.assert_allclose(found[:, :, 8:-8], passed * wave[:, :, 8:-8], atol=2e-3)


@pytest.mark.parametrize("side", [3, 5])
def test_wiener_is_scipys_inside_the_border(side):
    image = luma_of(1, 48, 56)
    image[0, :, :20] = image[0, :, :20] / 10 + 100  # a calm part, where the filter smooths
    sample = np.float64(image[0])
    mean = ndimage.uniform_filter(sample, side, mode="nearest")
    noise = np.mean(ndimage.uniform_filter(sample**2, side, mode="nearest") - mean**2)
    expected = sample - scipy_signal.wiener(sample, side, noise=noise)
    inside = slice(side // 2, -(side // 2))
    np.testing.assert_allclose(
        wiener_residual(image, side=side)[0][inside, inside], expected[inside, inside], atol=1e-3
    )


def test_wiener_takes_all_from_calm_pixels_and_little_from_an_edge():
    image = np.where(np.arange(40) < 20, 40.0, 200.0) + rng().normal(0, 1, (1, 40, 40))
    image = np.round(image, 3).astype(np.float32)
    left, gaussian = np.abs(wiener_residual(image)[0]), np.abs(gaussian_residual(image)[0])
    assert left[:, 19:21].max() < 0.35 * gaussian[:, 19:21].min()
    mean = ndimage.uniform_filter(np.float64(image[0]), 3, mode="nearest")
    np.testing.assert_allclose(wiener_residual(image)[0][:, 2:15], (image[0] - mean)[:, 2:15], atol=1e-4)


def test_settings_out_of_range_are_refused():
    image = luma_of(1, 9, 9)
    with pytest.raises(ParameterError, match="sigma is above 0 and at most 16 pixels; got 0"):
        gaussian_residual(image, sigma=0)
    with pytest.raises(ParameterError, match="side is 3 or 5; got 4"):
        wiener_residual(image, side=4)


# --- statistics of a residual ----------------------------------------------------------------------------------


@pytest.mark.parametrize("law, kurtosis, median", [("normal", 0.0, 0.67449), ("laplace", 3.0, math.log(2))])
def test_moments_and_quantiles_of_known_laws(law, kurtosis, median):
    found = statistics(getattr(rng(), law)(0, 2, (600, 600)))
    spread = 2 * (1 if law == "normal" else math.sqrt(2))
    assert found["ln_deviation"] == pytest.approx(math.log(spread + 0.01), abs=0.01)
    assert found["skewness"] == pytest.approx(0, abs=0.05)
    assert found["kurtosis"] == pytest.approx(kurtosis, abs=0.15)
    assert found["ln_median"] == pytest.approx(math.log(2 * median / 0.67449 + 0.01), abs=0.01)
    for name in ("phase_00", "phase_11", "checker", "row_pairs", "grid_rows", "grid_columns", "brightness_correlation"):
        assert abs(found[name]) < 0.03, name


def test_a_residual_of_nothing_reads_as_the_floor():
    found = statistics(np.zeros((24, 32)))
    assert found.pop("ln_deviation") == found.pop("ln_median") == pytest.approx(math.log(0.01))
    assert found.pop("zeros") == 1
    assert not any(found.values())


def test_skewness_has_the_sign_of_the_longer_tail():
    values = rng().exponential(1, (400, 400)) - 1
    assert statistics(values)["skewness"] == pytest.approx(2, abs=0.1)
    assert statistics(-values)["skewness"] == pytest.approx(-2, abs=0.1)


def test_phases_find_a_lattice_wherever_the_crop_begins():
    lattice = np.zeros((65, 65))
    lattice[0::2, 0::2] = lattice[1::2, 1::2] = 3
    found, moved = statistics(lattice[:64, :64]), statistics(lattice[:64, 1:])
    assert found["phase_00"] == pytest.approx(math.log((9 + 1e-4) / (4.5 + 1e-4)), rel=1e-5)
    assert moved["phase_00"] == pytest.approx(math.log(1e-4 / (4.5 + 1e-4)), rel=1e-5)
    assert found["checker"] == moved["checker"] == pytest.approx(math.log((9 + 1e-4) / 1e-4), rel=1e-5)
    assert found["row_pairs"] == found["column_pairs"] == 0
    assert found["zeros"] == 0.5


def test_grid_columns_find_the_borders_of_blocks():
    lines = np.ones((64, 72))
    lines[7::8] = lines[8::8] = 4
    lines[0] = 4
    found = statistics(lines)
    assert found["grid_rows"] == pytest.approx(math.log(16.0001 / 1.0001), rel=1e-5)
    assert found["grid_rows_peak"] == pytest.approx(math.log(16.0001 / ((2 * 16 + 6) / 8 + 1e-4)), rel=1e-5)
    assert found["grid_columns"] == found["grid_columns_peak"] == 0
    shifted = statistics(np.roll(lines, 3, axis=0))
    assert shifted["grid_rows_peak"] == pytest.approx(found["grid_rows_peak"], rel=1e-6)
    assert statistics(lines.T)["grid_columns"] == pytest.approx(found["grid_rows"], rel=1e-6)


def test_classes_are_cut_at_exact_thirds_of_the_range():
    luma = np.repeat(np.array([84.999, 85, 169.999, 170], np.float32), 16)[None, :] * np.ones((32, 1), np.float32)
    residual = np.where(luma < 85, 1.0, np.where(luma < 170, 2.0, 3.0))
    found, mean = statistics(residual, luma), (1 + 4 + 4 + 9) / 4
    for name, energy, share in (("dark", 1, 0.25), ("middle", 4, 0.5), ("bright", 9, 0.25)):
        mixed = (share * energy + 0.01 * mean) / (share + 0.01)
        assert found[name] == pytest.approx(math.log(mixed / mean), rel=1e-3, abs=1e-4), name
    expected = np.corrcoef(residual.ravel() ** 2, luma.ravel())[0, 1]
    assert found["brightness_correlation"] == pytest.approx(expected, rel=1e-5)


def test_energy_in_proportion_to_luma_correlates_fully():
    luma = np.broadcast_to(np.arange(1, 129, dtype=np.float64), (64, 128))
    assert statistics(np.sqrt(luma), luma)["brightness_correlation"] == pytest.approx(1, abs=1e-6)
    assert statistics(np.sqrt(200 - luma), luma)["brightness_correlation"] == pytest.approx(-1, abs=1e-6)


def test_compiled_and_plain_sums_give_the_same_columns(monkeypatch):
    image = rng().integers(0, 256, (2, 41, 53, 3), np.uint8)
    luma = luma_of(2, 41, 53)
    residual = median_residual(luma)

    def all_columns():
        return np.concatenate(
            [
                denoised_residual_statistics(residual, luma),
                noise_level(image),
                cross_channel_residual_correlation(image),
            ],
            axis=1,
        )

    compiled = all_columns()
    monkeypatch.setattr(sums_room, "twin", lambda name, array: None)
    np.testing.assert_allclose(all_columns(), compiled, rtol=2e-6, atol=1e-6)
    assert compiled.shape == (2, 21 + 10 + 15)
    assert not hasattr(feature_room, "twin")  # the one place where kernels are chosen is the one replaced above


@pytest.mark.parametrize("name", ["median_residual_statistics", "noise_level", "cross_channel_residual_correlation"])
def test_pictures_too_small_are_refused(name):
    with pytest.raises(DataError, match="needs images of at least"):
        row(name, np.zeros((2, 40, 3), np.uint8))


# --- noise level -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sigma", [2.0, 8.0, 20.0])
def test_noise_added_to_a_ramp_is_measured(sigma):
    level = np.add.outer(np.linspace(90, 110, 400), np.linspace(0, 50, 400))
    found = row("noise_level", noisy(sigma, level))
    expected = math.sqrt(sigma**2 + 1 / 12)  # rounding to 8 bits adds its own
    for name in ("immerkaer_red", "immerkaer_green", "immerkaer_blue", "haar_red", "haar_green", "haar_blue"):
        assert math.exp(found[name]) == pytest.approx(expected, rel=0.03), name
    weights = math.sqrt(0.299**2 + 0.587**2 + 0.114**2)
    assert math.exp(found["immerkaer_luma"]) == pytest.approx(expected * weights, rel=0.03)


def test_noise_that_grows_with_brightness_is_seen_by_class():
    level = np.broadcast_to(np.repeat([40.0, 128.0, 220.0], 150), (300, 450))
    found = row("noise_level", noisy(level / 20, level))
    sigma = np.array([40, 128, 220]) / 20 * math.sqrt(0.299**2 + 0.587**2 + 0.114**2)
    for name, expected in zip(("dark", "middle", "bright"), (sigma + 0.03 * sigma.mean()) / 1.03, strict=True):
        assert math.exp(found[f"immerkaer_{name}"]) == pytest.approx(expected, rel=0.05), name


def test_a_flat_picture_has_the_least_level_and_a_ramp_no_more():
    flat = row("noise_level", np.full((20, 30, 3), 77, np.uint8))
    y, x = np.mgrid[:20, :30]
    ramp = row("noise_level", np.repeat((2 * x + 3 * y)[..., None], 3, axis=2).astype(np.uint8))
    assert ramp == flat
    for name, value in flat.items():
        least = 0.25 / (2 * 0.6744898) if name.startswith("haar") else 0
        assert value == pytest.approx(math.log(least + 0.01), rel=1e-6), name


def test_noise_level_is_that_of_scikit_image():
    restoration = pytest.importorskip("skimage.restoration", reason="scikit-image is not installed")
    pytest.importorskip("pywt", reason="PyWavelets is not installed")
    image = noisy(6.0, 120 + 40 * np.sin(np.arange(300) / 20) * np.ones((300, 1)))
    expected = restoration.estimate_sigma(np.float64(image), channel_axis=-1)
    found = row("noise_level", image)
    for name, sigma in zip(("red", "green", "blue"), expected, strict=True):
        assert math.exp(found[f"haar_{name}"]) == pytest.approx(sigma, rel=0.05)
        assert math.exp(found[f"immerkaer_{name}"]) == pytest.approx(sigma, rel=0.05)


# --- correlation of colours ------------------------------------------------------------------------------------


def test_grey_noise_correlates_in_place_and_independent_noise_nowhere():
    grey = np.repeat(rng().integers(0, 256, (300, 300, 1), np.uint8), 3, axis=2)
    found = row("cross_channel_residual_correlation", grey)
    assert [found[f"{pair}_0"] for pair in ("red_green", "red_blue", "green_blue")] == [1, 1, 1]
    # (1, -2, 1) against itself one pixel on: (-2 - 2) / (1 + 4 + 1)
    assert found["red_green_x1"] == pytest.approx(-2 / 3, abs=0.03)
    assert found["red_green_x1"] == pytest.approx(found["red_green_x-1"], abs=1e-6)
    apart = row("cross_channel_residual_correlation", rng(1).integers(0, 256, (300, 300, 3), np.uint8))
    assert max(abs(value) for value in apart.values()) < 0.03


def test_a_lag_has_the_direction_of_its_name():
    plane = rng(2).integers(0, 256, (120, 130), np.uint8)
    image = np.stack([plane[1:-1, 1:-1], plane[1:-1, :-2], plane[:-2, 1:-1]], axis=2)  # green moved right, blue down
    found = row("cross_channel_residual_correlation", image)
    assert found["red_green_x1"] > 0.97
    assert found["red_blue_y1"] > 0.97
    assert found["red_green_x-1"] < 0.3
    image[..., 1] = 255 - image[..., 1]
    assert row("cross_channel_residual_correlation", image)["red_green_x1"] == pytest.approx(-found["red_green_x1"])


def test_a_colour_without_residual_correlates_with_none():
    image = rng(3).integers(0, 256, (40, 50, 3), np.uint8)
    image[..., 1] = 90
    found = row("cross_channel_residual_correlation", image)
    assert all(value == 0 for name, value in found.items() if "green" in name)
    assert any(value != 0 for value in found.values())


# --- photographs -----------------------------------------------------------------------------------------------


def test_photographs_share_noise_between_colours_and_shuffled_rows_do_not(shared_data):
    for image in photographs(shared_data, 6):
        mixed = image.copy()
        mixed[..., 0] = rng().permutation(image[..., 0])
        mixed[..., 2] = rng(1).permutation(image[..., 2])
        together, apart = (row("cross_channel_residual_correlation", i)["red_green_0"] for i in (image, mixed))
        assert together > 0.4
        assert abs(apart) < 0.15


def test_added_noise_raises_levels_and_residuals_of_photographs(shared_data):
    for image in photographs(shared_data, 4):
        grainy = np.clip(image + rng().normal(0, 8, image.shape), 0, 255).astype(np.uint8)
        before, after = row("noise_level", image), row("noise_level", grainy)
        assert all(after[name] > before[name] for name in ("immerkaer_luma", "haar_green", "immerkaer_red"))
        for kind in ("median", "gaussian", "wiener"):
            name = f"{kind}_residual_statistics"
            assert row(name, grainy)["ln_median"] > row(name, image)["ln_median"]


def test_strong_jpeg_leaves_its_grid_in_the_residual_of_photographs(shared_data):
    gained = []
    for image in photographs(shared_data, 8):
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, "JPEG", quality=15)
        coded = decode(buffer.getvalue()).pixels
        before, after = (row("median_residual_statistics", i) for i in (image, coded))
        gained.append([after[name] - before[name] for name in ("grid_rows", "grid_columns")])
        assert after["zeros"] > before["zeros"]
    assert np.mean(gained) > 0.4
    assert np.mean(np.array(gained) > 0.1) > 0.8


def test_enlarging_a_photograph_shows_in_what_the_median_leaves(shared_data):
    for image in photographs(shared_data, 6):
        small = Image.fromarray(image).resize((128, 128), Image.Resampling.LANCZOS)
        original, doubled, smooth = (
            row("median_residual_statistics", i)
            for i in (image, *(np.asarray(small.resize((256, 256), kind)) for kind in _KINDS))
        )
        assert doubled["zeros"] > 0.5  # two of three neighbours in a row are equal
        assert smooth["ln_deviation"] < original["ln_deviation"] - 0.3


_KINDS = (Image.Resampling.NEAREST, Image.Resampling.BILINEAR)
