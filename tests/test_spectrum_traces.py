"""Spectra, correlation and block transforms: answers known in closed form, and what they say of real pictures."""

from __future__ import annotations

import csv
import io
import math

import numpy as np
import pytest
from PIL import Image

from fdetect.errors import DataError, ParameterError
from fdetect.features import column_names, compute, feature
from fdetect.features.blocks import _STEPS, QUALITIES, benford_divergence, block_dct_statistics, log_dct_profile
from fdetect.features.harmonics import upsampling_peaks
from fdetect.features.spectral import spectrum_shape
from fdetect.forensics.blocks import block_dct
from fdetect.forensics.correlation import VARIANCE_FLOOR, residual_autocorrelation_map
from fdetect.forensics.spectrum import (
    BINS,
    DCT_FLOOR,
    angular_profile,
    log_dct,
    log_power,
    plane_weights,
    profile_frequencies,
)
from fdetect.images import decode
from fdetect.types import Batch


def named(name: str, values: np.ndarray) -> dict[str, float]:
    """One row of a feature by the names of its columns."""
    columns = [column.split(":", 1)[1] for column in column_names(feature.get(name))]
    return dict(zip(columns, values.tolist(), strict=True))


def row(name: str, image: np.ndarray) -> dict[str, float]:
    return named(name, compute(feature.get(name), Batch(("0" * 32,), np.ascontiguousarray(image[None]), ()))[0])


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 10, shape).astype(np.float32)


def photographs(shared_data, count: int = 6, side: int = 224) -> list[np.ndarray]:
    """The centres of real photographs, on the 8-pixel grid of their JPEG, as (side, side, 3) uint8."""
    with (shared_data / "manifest.csv").open(encoding="utf-8") as file:
        paths = [line["path"] for line in csv.DictReader(file) if line["label"] == "0"]
    found = []
    for path in paths:
        pixels = decode((shared_data / path).read_bytes()).pixels
        top, left = (max(length - side, 0) // 16 * 8 for length in pixels.shape[:2])
        if min(pixels.shape[:2]) >= side and len(found) < count:
            found.append(pixels[top : top + side, left : left + side])
    assert len(found) == count
    return found


# --- log power and directions ----------------------------------------------------------------------------------


@pytest.mark.parametrize("window", ["hann", "none"])
def test_power_of_a_single_row_is_refused(window):
    with pytest.raises(DataError, match="log_power needs images of at least 2 x 2 pixels, got 1 x 40"):
        log_power(np.zeros((1, 1, 40), np.float32), window=window)
    assert np.isfinite(log_power(noise(1, 2, 2), window=window)).all()


@pytest.mark.parametrize("v, u, degrees", [(0, 40, 0), (40, 0, 90), (30, 30, 45), (-30, 30, 135), (17, 41, 22.5)])
def test_a_grating_is_in_the_column_of_its_direction(v, u, degrees):
    y, x = np.mgrid[:128, :192] / np.array([128, 128])[:, None, None]
    wave = np.round(128 + 60 * np.cos(2 * np.pi * (v * y + u * x)))
    columns = row("angular_spectrum", np.repeat(wave[..., None], 3, axis=2).astype(np.uint8))
    assert max(columns, key=columns.get) == f"degrees{degrees:.2f}"
    assert sum(columns.values()) == pytest.approx(0, abs=1e-4)


def test_every_direction_has_coefficients_at_every_size_that_is_not_refused():
    for height in range(9, 34):
        for width in (*range(9, 40), 64, 97, 224, 333):
            for H, W in ((height, width), (width, height)):
                plane = np.full((1, H, W // 2 + 1), 3.25, np.float32)
                profile = angular_profile(plane, np.zeros((1, H, W)))
                assert np.array_equal(profile, np.full((1, 16), 3.25, np.float32)), (H, W)
    with pytest.raises(DataError, match="angular_profile needs images of at least 9 x 9 pixels"):
        angular_profile(np.zeros((1, 8, 21), np.float32), np.zeros((1, 8, 40)))


def test_a_turned_or_mirrored_picture_has_its_directions_turned_or_mirrored():
    picture = noise(1, 60, 83)
    profile, turned, mirrored = (
        angular_profile(log_power(p, window="none"), p)[0]
        for p in (picture, picture.transpose(0, 2, 1), picture[:, :, ::-1])
    )
    bins = np.arange(16)
    np.testing.assert_allclose(turned, profile[(8 - bins) % 16], rtol=1e-6)
    np.testing.assert_allclose(mirrored, profile[-bins % 16], rtol=1e-6)


# --- shape -----------------------------------------------------------------------------------------------------


def test_a_power_law_is_its_slope_and_its_value_at_nyquist():
    relative = profile_frequencies() / 0.5
    profile = (3.5 - 2.25 * np.log(relative)).astype(np.float32)[None]
    profile[:, relative < 0.1] = 99  # not fitted
    profile[:, relative > 0.9] = -99
    luma = np.zeros((1, 40, 50))
    slope, offset, misfit, share = spectrum_shape(profile, np.zeros((1, 40, 26), np.float32), luma)[0]
    assert (slope, offset) == pytest.approx((-2.25, 3.5), abs=1e-6)
    assert misfit < 1e-6
    total, high = plane_weights(40, 50)
    assert total.sum() == 40 * 50 - 1
    assert share == pytest.approx(math.log(high.sum() / total.sum()), abs=1e-6)
    wavy = profile + 0.5 * (-1.0) ** np.arange(BINS, dtype=np.float32)
    assert spectrum_shape(wavy, np.zeros((1, 40, 26), np.float32), luma)[0, 2] == pytest.approx(0.5, abs=0.01)


def test_white_noise_is_level_and_has_the_share_of_the_plane_outside_a_circle():
    image = np.clip(np.round(128 + noise(224, 224)), 0, 255).astype(np.uint8)
    columns = row("spectrum_shape", np.repeat(image[..., None], 3, axis=2))
    assert columns["slope"] == pytest.approx(0, abs=0.05)
    assert columns["offset"] == pytest.approx(math.log(100) - np.euler_gamma, abs=0.05)
    assert columns["high_frequency_share"] == pytest.approx(math.log(1 - math.pi / 16), abs=0.02)


def test_a_fit_of_fewer_than_three_bins_is_refused():
    with pytest.raises(ParameterError, match="leave fewer than 3 of 64 bins"):
        spectrum_shape(np.zeros((1, 64)), np.zeros((1, 8, 5)), np.zeros((1, 8, 8)), low=0.5, high=0.51)


# --- harmonics -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "v, u, column",
    [(0, 3, "horizontal_3of16"), (6, 0, "vertical_3of8"), (4, -4, "diagonal_1of4"), (8, 8, "diagonal_1of2")],
)
@pytest.mark.parametrize("size", [(128, 128), (101, 90), (224, 152)], ids=str)
def test_a_wave_stands_out_in_the_column_of_its_harmonic(size, v, u, column):
    y, x = np.mgrid[: size[0], : size[1]]
    wave = 5 * np.cos(2 * np.pi * (v * y + u * x) / 16 + 0.4)
    columns = named("upsampling_peaks", upsampling_peaks((noise(1, *size) + wave).astype(np.float32))[0])
    assert max(columns, key=columns.get) == column
    assert columns[column] > 2
    assert np.median(list(columns.values())) < 1


def test_noise_has_no_peaks_on_average():
    values = upsampling_peaks(noise(200, 96, 96)).reshape(200, 3, 8)
    scatter = math.pi / math.sqrt(6) * math.sqrt(1 + 1 / 16)  # of the log of an exponential variable, and of its ring
    assert np.abs(values[:, :, :7].mean(axis=0)).max() < 4 * scatter / math.sqrt(200)
    assert values[:, :2, :7].std(axis=0).mean() == pytest.approx(scatter, rel=0.05)
    assert values[:, :, 7].mean() == pytest.approx(-math.log(2), abs=4 * 2.3 / math.sqrt(600))  # a real coefficient


@pytest.mark.parametrize("factor", [2, 4, 8, 16])
def test_noise_enlarged_with_holes_repeats_at_the_multiples_of_its_factor(factor):
    holes = np.zeros((1, 160, 160), np.float32)
    small = 20 + noise(1, 160 // factor, 160 // factor)
    holes[:, ::factor, ::factor] = small
    columns = named("upsampling_peaks", upsampling_peaks(holes)[0])
    harmonics = {int(name.split("_")[1].split("of")[1]): value for name, value in columns.items()}
    for name, value in columns.items():
        reached = int(name.split("of")[1]) <= factor
        assert (value > 3) == reached, name
    assert set(harmonics) == {2, 4, 8, 16}


# --- autocorrelation -------------------------------------------------------------------------------------------


def test_correlation_is_the_inverse_transform_of_the_power_spectrum():
    residual = noise(2, 33, 40) + np.float32(3)
    for one, r in zip(np.float64(residual), residual_autocorrelation_map(residual), strict=True):
        power = np.abs(np.fft.fft2(one - one.mean())) ** 2
        expected = np.fft.ifft2(power).real / (power.sum() / one.size + VARIANCE_FLOOR * one.size)
        lags = expected[np.ix_(range(9), [dx % 40 for dx in range(-8, 9)])]
        np.testing.assert_allclose(r, lags, rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(r[0], r[0, ::-1], atol=1e-6)
        assert r[0, 8] == pytest.approx(1, abs=1e-6)


def test_a_checked_residual_changes_sign_with_every_pixel_and_a_level_one_has_no_correlation():
    y, x = np.mgrid[:32, :48]
    r = residual_autocorrelation_map(np.where((x + y) % 2, 3, -3).astype(np.float32)[None])[0]
    dy, dx = np.mgrid[:9, -8:9]
    np.testing.assert_allclose(r, np.where((dy + dx) % 2, -1, 1), atol=1e-6)
    for level in (0.0, 7.0):
        assert not residual_autocorrelation_map(np.full((1, 20, 30), level, np.float32)).any()


def test_averaged_noise_has_the_correlation_of_the_average():
    white = np.float64(noise(1, 256, 256))
    box = sum(np.roll(white, (0, k), axis=(1, 2)) for k in range(4))
    r = residual_autocorrelation_map(box.astype(np.float32))[0]
    assert r[0, 8:] == pytest.approx([1, 0.75, 0.5, 0.25, 0, 0, 0, 0, 0], abs=0.03)
    assert np.abs(r[1:]).max() < 0.03


def test_lags_that_meet_across_the_border_are_refused():
    with pytest.raises(DataError, match="at least 17 x 17 pixels, got 16 x 30"):
        residual_autocorrelation_map(np.zeros((1, 16, 30), np.float32))


# --- log DCT ---------------------------------------------------------------------------------------------------


def test_a_basis_image_is_one_coefficient_of_the_whole_transform_and_of_its_tiles():
    y, x = np.mgrid[:48, :32]
    wave = 100 * np.cos(np.pi * (2 * y + 1) * 15 / 96) * np.cos(np.pi * (2 * x + 1) * 6 / 64)
    magnitude = log_dct(wave.astype(np.float32)[None])[0]
    assert magnitude[15, 6] == pytest.approx(math.log(100 * math.sqrt(48 * 32) / 2 + DCT_FLOOR), rel=1e-6)
    assert np.delete(magnitude.ravel(), 15 * 32 + 6).max() < math.log(2 * DCT_FLOOR)
    tile = 100 * np.cos(np.pi * (2 * np.arange(16) + 1) * 5 / 32)
    columns = named("log_dct_profile", log_dct_profile(np.tile(tile, (47, 3))[None].astype(np.float32))[0])
    assert columns.pop("v0u5") == pytest.approx(math.log(100 * 16 / math.sqrt(2) + DCT_FLOOR), rel=1e-6)
    assert max(columns.values()) < math.log(2 * DCT_FLOOR)


def test_noise_has_the_log_of_its_deviation_in_every_coefficient():
    expected = math.log(10) - (np.euler_gamma + math.log(2)) / 2  # mean of ln |a Gaussian|
    picture = noise(4, 160, 176)  # 110 tiles: three products of 32 and a rest
    assert log_dct(picture).mean() == pytest.approx(expected, abs=0.02)
    profile = log_dct_profile(picture)
    assert profile.shape == (4, 256)
    assert profile.mean() == pytest.approx(expected, abs=0.02)
    assert np.abs(profile.mean(axis=0) - expected).max() < 5 * 1.11 / math.sqrt(440)


# --- laws of block coefficients --------------------------------------------------------------------------------


def test_scale_and_shape_are_those_of_the_law_that_was_drawn():
    rng = np.random.default_rng(3)
    laws = {"laplace": rng.laplace(0, 6, (1, 200, 200, 8, 8)), "normal": rng.normal(0, 6, (1, 200, 200, 8, 8))}
    expected = {
        "laplace": (math.log(6), math.log(2)),
        "normal": (math.log(6 * math.sqrt(2 / math.pi)), math.log(math.pi / 2)),
    }
    for law, (scale, shape) in expected.items():
        values = block_dct_statistics(laws[law].astype(np.float32))[0]
        np.testing.assert_allclose(values[:63], scale, atol=0.04)
        np.testing.assert_allclose(values[63:], shape, atol=0.06)


def test_blocks_without_variation_have_the_floor_and_no_shape():
    columns = row("block_dct_statistics", np.full((40, 40, 3), 90, np.uint8))
    for name, value in columns.items():
        assert value == pytest.approx(math.log(0.01) if name.endswith("scale") else 0, abs=1e-6), name


# --- Benford's law ---------------------------------------------------------------------------------------------


def test_steps_are_those_that_an_encoder_writes():
    for quality in QUALITIES:
        stream = io.BytesIO()
        Image.new("L", (8, 8)).save(stream, "JPEG", quality=quality)
        table = np.reshape(Image.open(stream).quantization[0], (8, 8))
        for (v, u), step in _STEPS.items():
            assert table[v, u] == max((step * (200 - 2 * quality) + 50) // 100, 1), (quality, v, u)


def test_one_digit_alone_is_as_far_from_the_law_as_can_be_written_down():
    blocks = np.zeros((1, 10, 10, 8, 8), np.float32)
    blocks[..., 0, 1] = 6  # level 6 at quality 100, level 2 (1.5 rounded up) at quality 80, where the step is 4
    columns = named("benford_divergence", benford_divergence(blocks)[0])
    for quality, digit in ((100, 6), (80, 2)):
        for base in (10, 60):
            law = np.log1p(1 / np.arange(1, base)) / math.log(base)
            share = (law + 100 * (np.arange(1, base) == digit)) / 101
            overlap = float((share**0.3 * law**0.7).sum())
            prefix = f"diagonal1_quality{quality}_base{base}"
            kullback = float(((share - law) * np.log(share / law)).sum())
            assert columns[f"{prefix}_kullback"] == pytest.approx(math.sqrt(kullback), rel=1e-6)
            assert columns[f"{prefix}_renyi"] == pytest.approx(math.sqrt(math.log(overlap) / -0.7), rel=1e-6)
            assert columns[f"{prefix}_tsallis"] == pytest.approx(math.sqrt((1 - overlap) / 0.7), rel=1e-6)
    assert all(value == pytest.approx(0, abs=1e-6) for name, value in columns.items() if "diagonal1" not in name)


def test_values_spread_evenly_over_magnitudes_obey_the_law_and_even_ones_do_not():
    rng = np.random.default_rng(5)
    law, even = np.zeros((2, 1, 100, 100, 8, 8), np.float32)
    law[..., :4, :4] = np.floor(10 ** rng.uniform(0, 3, (1, 100, 100, 4, 4)))  # whole numbers 1..999
    even[..., :4, :4] = rng.integers(1, 1000, (1, 100, 100, 4, 4))
    obeying, other = (named("benford_divergence", benford_divergence(c)[0]) for c in (law, even))
    for divergence in ("kullback", "renyi", "tsallis"):
        column = f"diagonal3_quality100_base10_{divergence}"
        assert obeying[column] < 0.03
        assert other[column] > 0.2


def test_ties_fall_alike_whatever_rounding_errors_a_transform_makes():
    y, x = np.mgrid[:64, :64]
    pictures = [
        np.full((64, 64), 77.0), 5.0 * x % 256, (5.0 * x + 3 * y) % 256, 200.0 * ((x + y) % 2),
        np.where(np.random.default_rng(1).random((64, 64)) < 0.5, 0.0, 255.0),
        255.0 * (x % 8 == y % 8),  # C[1, 1] is 255 exactly: half a step at every even step
        5.0 * (x % 8 == y % 8) + 1.0 * (x % 8 == 7 - y % 8),
    ]  # fmt: skip
    luma = np.array(pictures, np.float32)
    k, n = np.mgrid[:8, :8]
    basis = np.sqrt(np.where(k == 0, 1, 2) / 8) * np.cos(np.pi * (2 * n + 1) * k / 16)
    tiles = np.float64(luma).reshape(7, 8, 8, 8, 8).swapaxes(2, 3)
    exact = basis @ tiles @ basis.T  # another order of the sums
    kept = benford_divergence(block_dct(luma))
    shaken = np.random.default_rng(2).uniform(-1e-10, 1e-10, exact.shape)
    assert np.array_equal(kept, benford_divergence(exact))
    assert np.array_equal(kept, benford_divergence(exact + shaken))
    assert exact[5, 0, 0, 1, 1] == pytest.approx(255, abs=1e-9)


# --- real pictures ---------------------------------------------------------------------------------------------


def test_photographs_fall_off_by_a_power_law_and_enlarged_ones_do_not(shared_data):
    for picture in photographs(shared_data):
        small = Image.fromarray(picture[:112, :112])
        enlarged = np.asarray(small.resize((224, 224), Image.Resampling.BICUBIC))
        before, after = row("spectrum_shape", picture), row("spectrum_shape", enlarged)
        assert -4.5 < before["slope"] < -1
        assert after["slope"] < before["slope"]
        assert after["misfit"] > before["misfit"]
        assert after["high_frequency_share"] < before["high_frequency_share"]
        correlation = [row("residual_autocorrelation", image)["y0x1"] for image in (picture, enlarged)]
        assert correlation[1] > correlation[0]


def test_a_photograph_that_passed_two_transposed_convolutions_has_peaks_that_it_had_not(shared_data):
    def doubled(image: np.ndarray, axis: int) -> np.ndarray:  # stride 2, weights 0.51, 1, 0.51: 2 % of unevenness
        holes = np.stack([image, 0 * image], axis=axis + 1)
        holes = holes.reshape([2 * n if k == axis else n for k, n in enumerate(image.shape)])
        return holes + 0.51 * (np.roll(holes, 1, axis) + np.roll(holes, -1, axis))

    for picture in photographs(shared_data):
        small = np.float64(picture[::4, ::4])
        enlarged = doubled(doubled(doubled(doubled(small, 0), 1), 0), 1)
        enlarged = np.clip(np.round(enlarged), 0, 255).astype(np.uint8)
        smooth = np.asarray(Image.fromarray(picture[::4, ::4]).resize((224, 224), Image.Resampling.BILINEAR))
        before, after = (row("upsampling_peaks", image) for image in (smooth, enlarged))
        for column in ("horizontal_1of2", "vertical_1of2", "horizontal_1of4", "vertical_1of4"):
            assert after[column] > max(before[column], 0) + 2, column


def test_compression_takes_the_first_digits_of_a_photograph_from_the_law(shared_data):
    for picture in photographs(shared_data):
        stream = io.BytesIO()
        smooth = Image.fromarray(picture).resize((112, 112), Image.Resampling.LANCZOS)  # no grid is left
        smooth.save(stream, "JPEG", quality=50)
        before = row("benford_divergence", np.asarray(smooth))
        after = row("benford_divergence", np.asarray(Image.open(stream)))
        column = "diagonal1_quality100_base60_kullback"
        assert after[column] > before[column] + 0.2
