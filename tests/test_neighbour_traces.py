"""Neighbours, gradients, bit planes, patches and wavelets: closed forms, invariants, PyWavelets, real photographs."""

from __future__ import annotations

import csv
import math

import numpy as np
import pytest
import pywt
from PIL import Image
from tolerance import TOL

import fdetect.features.neighbours
import fdetect.features.patches
import fdetect.features.wavelets
import fdetect.forensics.neighbours
import fdetect.forensics.wavelets
from fdetect.errors import DataError, ParameterError
from fdetect.features import column_names, compute, feature
from fdetect.features.neighbours import ENERGY_FLOOR
from fdetect.features.patches import PATCH_FLOOR, patch_residual_statistics
from fdetect.features.wavelets import BAND_FLOOR
from fdetect.forensics import signal, signal_map
from fdetect.forensics.neighbours import bit_planes, npr, npr_groups, patch_energy
from fdetect.forensics.wavelets import WAVELETS, dwt2, idwt2, wavelet_band, wavelet_residual
from fdetect.images import decode
from fdetect.types import Batch

FEATURES = (
    "npr_statistics", "npr_statistics_x4", "npr_statistics_x8", "gradient_statistics", "local_correlation",
    "bit_plane_statistics", "patch_residual_statistics", "wavelet_statistics",
)  # fmt: skip
MAPS = ("npr", "npr_x4", "npr_x8", "patch_energy", "wavelet_hh", "wavelet_hl", "wavelet_lh", "wavelet_residual")


def batch_of(*images: np.ndarray) -> Batch:
    return Batch(tuple(f"{i:032x}" for i in range(len(images))), np.stack(images), ())


def row(name: str, image: np.ndarray) -> dict[str, float]:
    """The columns of one (H, W, 3) uint8 image, by name without the feature's."""
    entry = feature.get(name)
    values = compute(entry, batch_of(image))[0].tolist()
    return {column.split(":", 1)[1]: value for column, value in zip(column_names(entry), values, strict=True)}


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def gaussian(height: int, width: int, deviation: float, seed: int = 0) -> np.ndarray:
    """Grey Gaussian noise around mid-grey."""
    values = 128 + np.random.default_rng(seed).normal(0, deviation, (height, width))
    return np.repeat(np.clip(np.round(values), 0, 255).astype(np.uint8)[..., None], 3, axis=2)


def enlarged(image: np.ndarray, factor: int) -> np.ndarray:
    return image.repeat(factor, axis=0).repeat(factor, axis=1)


def scene(height: int, width: int, seed: int = 0) -> np.ndarray:
    y, x = np.mgrid[:height, :width][..., None]
    grain = np.random.default_rng(seed).normal(0, 3, (height, width, 3))
    return np.clip(120 + 90 * np.sin(x / 9 + np.arange(3)) * np.cos(y / 13) + grain, 0, 255).astype(np.uint8)


# --- compiled twins --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(33, 40), (64, 81)], ids=str)
@pytest.mark.parametrize("name", [*FEATURES, *MAPS])
def test_the_compiled_twin_gives_what_the_text_gives(name, size, monkeypatch):
    entry = feature.get(name) if name in FEATURES else signal_map.get(name)
    shifted = enlarged(noise(*size), 2)[1 : size[0] + 1, : size[1]]
    batch = batch_of(noise(*size), scene(*size), np.full((*size, 3), 77, np.uint8), shifted)
    data = [signal(batch, read) for read in entry.reads]
    compiled = entry(*data)
    for module in (fdetect.features, fdetect.forensics):
        for room in ("neighbours", "patches", "wavelets"):
            if hasattr(getattr(module, room, None), "twin"):
                monkeypatch.setattr(getattr(module, room), "twin", lambda *_: None)
    text = entry(*data)
    assert text.dtype == compiled.dtype == np.float32
    np.testing.assert_allclose(compiled, text, *TOL["float32"])


# --- npr -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("height, width", [(40, 48), (43, 49), (8, 8)])
@pytest.mark.parametrize("name, factor", [("npr", 2), ("npr_x4", 4), ("npr_x8", 8)])
def test_npr_is_zero_on_its_lattice_and_cuts_what_is_no_whole_cell(name, factor, height, width):
    result = signal(batch_of(noise(height, width)), name)
    assert result.shape == (1, 3, height // factor * factor, width // factor * factor)
    assert not result[..., ::factor, ::factor].any()
    assert result.any()
    assert not signal(batch_of(enlarged(noise(height, width), factor)), name).any()


def test_groups_cover_every_place_of_the_cell_but_its_corner_once():
    assert npr_groups(2) == (((0, 1),), ((1, 0),), ((1, 1),))
    for factor in (2, 3, 4, 8, 16):
        places = [place for group in npr_groups(factor) for place in group]
        assert sorted(places) == [(i, j) for i in range(factor) for j in range(factor) if i or j]
        assert all(npr_groups(factor))
    assert len(npr_groups(8)) == 9


def test_npr_statistics_are_the_moments_of_the_npr_map():
    image = scene(61, 83)
    columns = row("npr_statistics", image)
    residual = np.float64(signal(batch_of(image), "npr"))[0]
    for c, colour in enumerate(("red", "green", "blue")):
        for i, j in ((0, 1), (1, 0), (1, 1)):
            d = residual[c, i::2, j::2].ravel()
            centred = d - d.mean()
            expected = (np.abs(d).mean(), d.std(), (centred**4).mean() / d.var() ** 2 - 3, (d == 0).mean())
            names = (f"{colour}_{i}{j}_{s}" for s in ("mean_absolute", "standard_deviation", "kurtosis", "zeros"))
            np.testing.assert_allclose([columns[name] for name in names], expected, *TOL["float32"])


def test_npr_moments_survive_a_mean_far_above_the_deviation():
    image = np.zeros((200, 200, 3), np.uint8)
    image[:, 1::2] = 250
    image[0, 1, 0] = 251  # one of 10,000: mean 250.0001, variance 1e-4 (1 - 1e-4), kurtosis of a rare event
    columns = row("npr_statistics", image)
    p = 1e-4
    assert columns["red_01_standard_deviation"] == pytest.approx(math.sqrt(p * (1 - p)), rel=2e-6)
    assert columns["red_01_kurtosis"] == pytest.approx((1 - 6 * p * (1 - p)) / (p * (1 - p)), rel=2e-6)
    assert (columns["green_01_standard_deviation"], columns["green_01_kurtosis"]) == (0, 0)
    assert columns["green_01_mean_absolute"] == 250


@pytest.mark.parametrize("name, factor, count", [("npr_statistics_x4", 4, 72), ("npr_statistics_x8", 8, 108)])
def test_larger_cells_pool_places_by_octave_and_know_their_own_enlargement(name, factor, count):
    columns = row(name, enlarged(noise(12, 14), factor))
    assert len(columns) == count
    for column, value in columns.items():
        assert value == (1.0 if column.endswith("zeros") else 0.0), column
    halves = row(name, enlarged(noise(64, 64), factor // 2))  # the first half of each cell is still one sample
    near, far = f"red_0{factor // 4}_zeros", f"red_0{factor // 2}_zeros"
    assert halves[near] == 1
    assert halves[far] < 0.1


def test_npr_statistics_refuse_images_smaller_than_a_cell():
    with pytest.raises(DataError, match="npr_statistics needs images of at least 8 x 8 pixels, got 9 x 7"):
        row("npr_statistics_x8", noise(9, 7))


# --- gradients -------------------------------------------------------------------------------------------------


def test_gradients_of_a_ramp_are_constant():
    image = np.broadcast_to((5 * np.arange(40))[None, :, None], (30, 40, 3)).astype(np.uint8)
    columns = row("gradient_statistics", image)
    for direction, step in (("right", 5), ("down", 0), ("diagonal", 5), ("antidiagonal", 5)):
        values = [value for name, value in columns.items() if name.startswith(f"green_{direction}_")]
        np.testing.assert_allclose(values, (step, step, -2 if step else 0, step == 0, 0), atol=1e-6)


def test_gradients_of_independent_pixels_follow_the_triangular_law():
    columns = row("gradient_statistics", noise(600, 600))
    for name, value in columns.items():
        statistic = name.split("_", 2)[2]
        if statistic == "phase_contrast":
            assert 0 <= value < 0.03, name
            continue
        target, relative = {
            "mean_absolute": ((256**2 - 1) / (3 * 256), 0.01),
            "root_mean_square": (math.sqrt((256**2 - 1) / 6), 0.01),
            "kurtosis": (-0.6, 0.05),
            "zeros": (1 / 256, 0.1),
        }[statistic]
        assert value == pytest.approx(target, rel=relative), name


def test_phase_contrast_of_an_enlarged_image_is_the_same_for_every_crop():
    small = noise(64, 64)
    steps = np.float64(small[:, 1:, 0]) - small[:, :-1, 0]
    image = enlarged(small, 2)
    whole = row("gradient_statistics", image)
    assert whole["red_right_phase_contrast"] == pytest.approx(math.log((steps**2).mean() / ENERGY_FLOOR), abs=1e-4)
    for y, x in ((0, 1), (1, 0), (1, 1)):
        part = row("gradient_statistics", image[y : y + 120, x : x + 120])
        for direction in ("right", "down", "diagonal", "antidiagonal"):
            name = f"green_{direction}_phase_contrast"
            assert part[name] == pytest.approx(whole[name], abs=0.1), name
            assert whole[name] > 10


# --- correlation -----------------------------------------------------------------------------------------------


def test_local_correlation_of_white_noise_is_that_of_the_mask():
    columns = row("local_correlation", noise(700, 700))
    expected = {"right": -0.5, "down": -0.5, "diagonal": 0.25, "antidiagonal": 0.25, "right2": 0, "down2": 0}
    for name, value in columns.items():
        assert value == pytest.approx(expected.get(name.split("_")[1], 0), abs=0.008), name
    assert len(columns) == 21


def test_colours_that_are_equal_or_opposite_correlate_fully_and_flat_ones_not_at_all():
    image = noise(20, 24)
    image[..., 1] = image[..., 0]
    image[..., 2] = 255 - image[..., 0]
    columns = row("local_correlation", image)
    assert (columns["red_green"], columns["green_blue"], columns["blue_red"]) == pytest.approx((1, -1, -1))
    image[..., 2] = np.arange(24)  # no mixed difference
    columns = row("local_correlation", image)
    assert {value for name, value in columns.items() if "blue" in name} == {0.0}


# --- bit planes ------------------------------------------------------------------------------------------------


def test_bit_planes_keep_the_lowest_bits():
    image = noise(9, 11)
    np.testing.assert_array_equal(signal(batch_of(image), "bit_planes")[0], np.moveaxis(image % 8, 2, 0))
    np.testing.assert_array_equal(bit_planes(image[None], bits=8)[0], np.moveaxis(image, 2, 0))
    with pytest.raises(ParameterError, match="bits is 1 to 8, got 9"):
        bit_planes(image[None], bits=9)


def test_bits_of_noise_are_coins():
    columns = row("bit_plane_statistics", noise(512, 512))
    for name, value in columns.items():
        target = 1 / 512 if name == "all_low_zero" else 1 / 8 if "low_zero" in name else 0.5
        if name.startswith("patch_gradient"):
            assert value == pytest.approx(21 / 8, abs=0.1)
        else:
            assert value == pytest.approx(target, abs=0.005), name
    assert len(columns) == 52


def test_bits_of_constant_and_of_coarsely_quantised_images():
    columns = row("bit_plane_statistics", np.full((40, 40, 3), (0b101, 0b110, 0b1000), np.uint8))
    ones = [columns[f"{c}_bit{k}_ones"] for c in ("red", "green", "blue") for k in range(3)]
    assert ones == [1, 0, 1, 0, 1, 1, 0, 0, 0]
    assert [columns[f"red_green_bit{k}_agree"] for k in range(3)] == [0, 0, 1]
    assert {columns[f"red_bit{k}_{way}"] for k in range(3) for way in ("right", "down", "diagonal")} == {1.0}
    assert [columns[f"{c}_low_zero"] for c in ("red", "green", "blue", "all")] == [0, 0, 1, 0]
    assert columns["patch_gradient_most"] == 0
    coarse = row("bit_plane_statistics", noise(64, 64) // 8 * 8)
    assert coarse["all_low_zero"] == 1


def test_the_patch_of_the_greatest_gradient_is_found():
    image = np.full((100, 130, 3), 64, np.uint8)
    image[32:64, 96:128] = noise(32, 32)
    columns = row("bit_plane_statistics", image)
    assert columns["patch_gradient_least"] == 0
    assert columns["patch_gradient_most"] == pytest.approx(21 / 8, abs=0.1)
    assert columns["patch_gradient_mean"] == pytest.approx(columns["patch_gradient_most"] / 12, rel=1e-5)


# --- patches ---------------------------------------------------------------------------------------------------


def test_patch_energy_is_the_squared_npr_map_under_a_window():
    image = noise(37, 45)
    squares = (np.float64(npr(signal(batch_of(image), "planes")))[0] ** 2).sum(axis=0)
    energy = patch_energy(image[None])[0]
    assert energy.shape == (4, 5)
    for i, j in np.ndindex(*energy.shape):
        assert energy[i, j] == squares[8 * i : 8 * i + 9, 8 * j : 8 * j + 9].sum()
    assert not patch_energy(enlarged(image, 2)[None]).any()
    with pytest.raises(DataError, match="at least 10 x 10"):
        patch_energy(image[None, :9])


def test_patch_statistics_of_flat_and_of_known_energies():
    flat = row("patch_residual_statistics", np.full((64, 64, 3), 9, np.uint8))
    levels = [value for name, value in flat.items() if name.startswith("quantile")]
    np.testing.assert_allclose([*levels, flat["mean"]], math.log(PATCH_FLOOR), rtol=1e-6)
    assert (flat["flat"], flat["skewness"], flat["contrast"], flat["rich"]) == (1, 0, 0, 0)
    assert flat["deviation"] == 0
    energies = np.random.default_rng(0).permutation(np.arange(1, 101) * 243).reshape(1, 10, 10).astype(np.float32)
    values = patch_residual_statistics(energies)[0].tolist()
    ranks = [math.floor(q * 99 / 100) + 1 for q in (5, 10, 25, 50, 75, 90, 95)]
    np.testing.assert_allclose(values[:7], np.log(np.array(ranks) + PATCH_FLOOR), rtol=1e-6)
    assert values[10] == 0
    assert values[12] == pytest.approx(sum(range(91, 101)) / 5050)


def test_a_picture_that_is_half_flat_has_contrast_and_flat_patches():
    image = np.full((82, 82, 3), 50, np.uint8)
    image[:, 40:] = noise(82, 42)
    columns = row("patch_residual_statistics", image)
    assert columns["flat"] == pytest.approx(0.4)  # 4 of 10 columns of patches end at 40 or before
    assert columns["quantile90"] > columns["quantile10"] + 10
    assert columns["rich"] > 0.1


# --- wavelets --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(16, 18), (33, 40), (5, 3), (1, 40), (8, 8)], ids=str)
@pytest.mark.parametrize("name", WAVELETS)
def test_the_transform_is_that_of_pywavelets_and_is_undone(name, size):
    x = np.random.default_rng(0).normal(0, 50, size)
    bands = dwt2(x, WAVELETS[name])
    approximation, details = pywt.dwt2(x, name, mode="symmetric")
    for band, expected in zip(bands, (approximation, *details), strict=True):
        np.testing.assert_allclose(band, expected, atol=1e-10)
    np.testing.assert_allclose(idwt2(bands, WAVELETS[name], size), x, atol=1e-10)


@pytest.mark.parametrize("size", [(33, 40), (256, 256)], ids=str)
def test_wavelet_bands_are_those_of_pywavelets(size):
    batch = batch_of(noise(*size))
    planes = np.float64(signal(batch, "planes"))
    _, (lh, hl, hh) = pywt.dwt2(planes, "bior1.3", mode="symmetric", axes=(-2, -1))
    for name, expected in (("wavelet_lh", lh), ("wavelet_hl", hl), ("wavelet_hh", hh)):
        np.testing.assert_allclose(signal(batch, name), expected, rtol=2e-6, atol=1e-4)
    with pytest.raises(ParameterError, match="band is one of ll, lh, hl, hh; got 'hx'"):
        wavelet_band(np.float32(planes), band="hx")


def test_the_diagonal_band_is_half_the_mixed_difference_and_empty_after_nearest_neighbour():
    image = noise(30, 34)
    band = signal(batch_of(image), "wavelet_hh")[0]
    x = np.float64(np.moveaxis(image, 2, 0))
    mixed = x[:, ::2, ::2] + x[:, 1::2, 1::2] - x[:, ::2, 1::2] - x[:, 1::2, ::2]
    np.testing.assert_allclose(band[:, 1:-1, 1:-1], mixed / 2, atol=1e-4)
    np.testing.assert_allclose(signal(batch_of(enlarged(image, 2)), "wavelet_hh"), 0, atol=1e-9)


def test_faint_noise_stays_whole_in_the_wavelet_residual_and_strong_edges_stay_out():
    image = np.random.default_rng(1).normal(100, 1, (1, 120, 136)).astype(np.float32)
    pieces = pywt.wavedec2(np.float64(image[0]), "db4", mode="symmetric", level=4)
    pieces[0] = np.zeros_like(pieces[0])
    expected = pywt.waverec2(pieces, "db4", mode="symmetric")[:120, :136]
    np.testing.assert_allclose(wavelet_residual(image)[0], expected, atol=1e-4)
    step = np.where(np.arange(136) < 37, 20, 220).astype(np.float32)
    edge = np.broadcast_to(step, (1, 120, 136)).copy()
    assert np.abs(wavelet_residual(edge)).max() < 2
    assert np.abs(wavelet_residual(edge, sigma=200.0)).max() > 20
    np.testing.assert_allclose(wavelet_residual(edge + image) - wavelet_residual(edge + image + 10), 0, atol=1e-4)


def test_wavelet_residual_of_flat_images_is_nothing_and_its_settings_are_checked():
    assert np.abs(wavelet_residual(np.full((1, 33, 47), 255, np.float32))).max() < 1e-9
    for wrong in ({"sigma": 0.0}, {"levels": 0}):
        with pytest.raises(ParameterError, match="sigma > 0 and levels >= 1"):
            wavelet_residual(np.zeros((1, 16, 16), np.float32), **wrong)


def test_wavelet_statistics_of_gaussian_noise():
    deviation = 20.0
    columns = row("wavelet_statistics", gaussian(800, 800, deviation))
    low, high = 2 / 64 * (1 + 4 + 36 + 4 + 1), 2 / 16 * (1 + 4 + 1)  # energies of the two filters
    for band, gain in (("lh1", low * high), ("hl1", low * high), ("hh1", high * high)):
        assert columns[f"{band}_energy"] == pytest.approx(math.log(gain * deviation**2), abs=0.02)
    for name, value in columns.items():
        if name.endswith("shape"):
            assert value == pytest.approx(math.sqrt(2 / math.pi), abs=0.01), name
        elif name.endswith("kurtosis"):
            assert value == pytest.approx(0, abs=0.1), name
    # details of noise two samples apart share one end: correlation r of h, of |h| about r^2, 1/36 at (1, -2, 1)
    assert columns["hh1_right"] == pytest.approx(1 / 36, abs=0.012)
    assert columns["lh1_hl1"] == pytest.approx(0, abs=0.02)


def test_wavelet_statistics_are_those_of_the_bands_of_pywavelets():
    image = scene(90, 75)
    columns = row("wavelet_statistics", image)
    grey = np.float64(image) @ (0.25, 0.5, 0.25)
    _, (lh, hl, hh) = pywt.dwt2(grey, "bior2.2", mode="symmetric")
    h, w = ((side - 3) // 2 for side in grey.shape)
    inner = {"lh1": lh[1 : 1 + h, 2 : 2 + w], "hl1": hl[2 : 2 + h, 1 : 1 + w], "hh1": hh[1 : 1 + h, 1 : 1 + w]}
    for name, band in inner.items():
        square = (band**2).mean()
        assert columns[f"{name}_energy"] == pytest.approx(math.log(square + BAND_FLOOR), rel=1e-5)
        assert columns[f"{name}_kurtosis"] == pytest.approx((band**4).mean() / square**2 - 3, rel=1e-5)
        assert columns[f"{name}_shape"] == pytest.approx(np.abs(band).mean() / math.sqrt(square), rel=1e-5)
    for first, second in (("lh1", "hl1"), ("hl1", "hh1"), ("hh1", "lh1")):
        expected = np.corrcoef(np.abs(inner[first]).ravel(), np.abs(inner[second]).ravel())[0, 1]
        assert columns[f"{first}_{second}"] == pytest.approx(expected, abs=1e-5)


def test_wavelet_statistics_of_flat_and_small_images():
    columns = row("wavelet_statistics", np.full((40, 40, 3), 7, np.uint8))
    for name, value in columns.items():
        assert value == pytest.approx(math.log(BAND_FLOOR) if name.endswith("energy") else 0), name
    with pytest.raises(DataError, match="wavelet_statistics needs images of at least 17 x 17 pixels, got 16 x 40"):
        row("wavelet_statistics", noise(16, 40))


# --- photographs -----------------------------------------------------------------------------------------------


def test_photographs_enlarged_by_two_show_the_traces_of_enlarging(shared_data):
    with open(shared_data / "manifest.csv", encoding="utf-8", newline="") as file:
        rows = [r for r in csv.DictReader(file) if r["label"] == "0" and int(r["width"]) >= 320][:40:5]
    assert len(rows) == 8
    for r in rows:
        pixels = decode((shared_data / r["path"]).read_bytes()).pixels
        photo = np.ascontiguousarray(pixels[:200, :200])
        small = Image.fromarray(photo[:128, :128])
        for method in (Image.Resampling.BILINEAR, Image.Resampling.BICUBIC):
            large = np.asarray(small.resize((256, 256), method))[:200, :200]

            def change(name, column, large=large, photo=photo):
                return row(name, large)[column] - row(name, photo)[column]

            assert change("local_correlation", "green_right") > 0.1, r["path"]
            assert change("local_correlation", "green_down") > 0.1, r["path"]
            assert change("wavelet_statistics", "hh1_energy") < -1, r["path"]
            assert change("gradient_statistics", "green_right_root_mean_square") < 0, r["path"]
            assert change("patch_residual_statistics", "quantile50") < 0, r["path"]
        assert change("npr_statistics", "green_11_standard_deviation") < 0, r["path"]
        natural = row("wavelet_statistics", photo)
        assert natural["hh1_kurtosis"] > 1, r["path"]  # sparse details, the mark of scenes
        assert natural["hl1_right"] > 0.05, r["path"]
