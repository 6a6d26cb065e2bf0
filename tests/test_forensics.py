"""Signal maps: answers known in closed form, and what must hold for every picture."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fdetect.errors import DataError, ParameterError, UnknownName
from fdetect.forensics import signal
from fdetect.forensics.blocks import block_dct
from fdetect.forensics.neighbours import cross_difference, npr
from fdetect.forensics.planes import luma, planes
from fdetect.forensics.residual import KERNELS, residual
from fdetect.forensics.spectrum import POWER_FLOOR, log_power, profile_frequencies, radial_profile
from fdetect.types import Batch


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape).astype(np.float32)


def grating(height: int, width: int, v: int, u: int, amplitude: float = 50.0) -> np.ndarray:
    """One cosine of v periods down and u across, around mid-grey: (1, H, W)."""
    y, x = np.mgrid[:height, :width]
    return (128 + amplitude * np.cos(2 * np.pi * (v * y / height + u * x / width))).astype(np.float32)[None]


def multiplicity(height: int, width: int) -> np.ndarray:
    """How often each half-plane column stands in the full plane."""
    copies = np.full(width // 2 + 1, 2.0)
    copies[0] = 1
    if width % 2 == 0:
        copies[-1] = 1
    return np.broadcast_to(copies, (height, width // 2 + 1))


# --- base ------------------------------------------------------------------------------------------------------


def test_signal_computes_a_map_once_and_all_it_reads():
    batch = Batch(("a",), noise(1, 16, 24, 3).astype(np.uint8), ())
    first = signal(batch, "log_power")
    assert set(batch.maps) == {"planes", "luma", "log_power"}
    assert signal(batch, "log_power") is first
    assert signal(batch, "rgb8") is batch.rgb8
    assert signal(batch, "ids") is batch.ids
    assert signal(batch, "facts") is batch.facts


def test_unknown_map_is_named_with_the_nearest_one():
    with pytest.raises(UnknownName, match="no map 'lumma'; did you mean 'luma'"):
        signal(Batch((), noise(0, 8, 8, 3), ()), "lumma")


# --- planes ----------------------------------------------------------------------------------------------------


def test_luma_of_the_primaries():
    rgb8 = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]]], np.uint8)[None]
    np.testing.assert_allclose(luma(planes(rgb8))[0, 0], [76.245, 149.685, 29.07, 255], rtol=1e-6)


def test_planes_hold_the_stored_samples_contiguously():
    rgb8 = noise(2, 5, 7, 3).astype(np.uint8)
    result = planes(rgb8)
    assert result.flags.c_contiguous
    assert np.array_equal(result, rgb8.transpose(0, 3, 1, 2))


# --- spectrum --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("window", ["none", "hann"])
@pytest.mark.parametrize("size", [(32, 48), (31, 27), (40, 33)], ids=str)
def test_power_keeps_the_energy_of_the_windowed_samples(size, window):
    samples = noise(1, *size)
    power = np.exp(np.float64(log_power(samples, window=window)[0])) - POWER_FLOOR
    taper = np.ones(size)
    if window == "hann":
        taper = np.outer(*(np.sin(np.pi * np.arange(n) / n) ** 2 for n in size))
        taper /= np.sqrt((taper**2).mean())
    energy = ((samples[0] - samples.mean(dtype=np.float64)) * taper) ** 2
    assert (power * multiplicity(*size)).sum() == pytest.approx(energy.sum(), rel=1e-5)  # Parseval


def test_a_grating_is_one_coefficient():
    half = log_power(grating(32, 48, 5, 12), window="none")[0]
    assert half[5, 12] == pytest.approx(math.log(50**2 * 32 * 48 / 4), rel=1e-6)
    rest = np.delete(half.ravel(), 5 * 25 + 12)
    assert np.allclose(rest, math.log(POWER_FLOOR), atol=1e-3)


def test_doubling_by_nearest_neighbour_leaves_an_empty_nyquist_row_and_column():
    half = log_power(noise(1, 32, 40).repeat(2, axis=1).repeat(2, axis=2), window="none")[0]
    assert np.allclose(half[32], math.log(POWER_FLOOR), atol=1e-6)
    assert np.allclose(half[:, 40], math.log(POWER_FLOOR), atol=1e-6)
    assert half[1:32, 1:40].mean() > 5


def test_white_noise_reads_the_same_level_at_every_size_and_window():
    expected = math.log(20**2) - np.euler_gamma  # mean of the log of an exponential variable
    for side in (64, 112, 224):
        samples = np.random.default_rng(side).normal(128, 20, (8, side, side)).astype(np.float32)
        for window in ("none", "hann"):
            profile = radial_profile(log_power(samples, window=window), samples)
            assert profile[:, 8:].mean() == pytest.approx(expected, abs=0.03)


@settings(max_examples=60, deadline=None)
@given(height=st.integers(8, 70), width=st.integers(8, 70), bins=st.sampled_from([1, 17, 64]))
def test_the_mean_over_directions_of_a_constant_is_the_constant(height, width, bins):
    plane = np.full((2, height, width // 2 + 1), 3.25, np.float32)
    assert np.array_equal(
        radial_profile(plane, np.zeros((2, height, width)), bins=bins), np.full((2, bins), 3.25, np.float32)
    )


@pytest.mark.parametrize("v, u", [(0, 20), (20, 0), (12, 16)])  # 12, 16, 20 is a right triangle
def test_a_grating_peaks_at_its_frequency_with_the_value_of_its_ring(v, u):
    samples = grating(128, 128, v, u)
    profile = radial_profile(log_power(samples, window="none"), samples)[0]
    full = np.minimum(np.arange(128), 128 - np.arange(128))
    members = int((np.floor(np.hypot(full[:, None], full[None]) + 0.5) == 20).sum())
    peak, floor = math.log(50**2 * 128 * 128 / 4), math.log(POWER_FLOOR)
    assert profile.argmax() == 19
    assert profile_frequencies()[19] == 20 / 128
    assert profile[19] == pytest.approx((2 * peak + (members - 2) * floor) / members, abs=2e-3)


def test_a_grating_on_a_rectangle_peaks_at_its_frequency():
    for size, v, u in (((48, 96), 0, 24), ((96, 48), 24, 0), ((48, 96), 12, 0), ((96, 48), 0, 12)):
        samples = grating(*size, v, u)
        profile = radial_profile(log_power(samples, window="none"), samples)[0]
        assert profile_frequencies()[profile.argmax()] == 0.25


def test_the_hann_window_hides_the_seam_between_opposite_borders():
    ramp = np.broadcast_to(np.arange(64, dtype=np.float32), (1, 64, 64))
    plain, hann = (log_power(ramp, window=window)[0, 0, 8:] for window in ("none", "hann"))
    assert np.allclose(np.exp(plain), 1024 / np.sin(np.pi * np.arange(8, 33) / 64) ** 2, rtol=1e-4)
    assert (hann < plain - 4).all()


def test_unknown_window_and_tiny_image_are_explained():
    with pytest.raises(ParameterError, match="window is one of hann, none; got 'kaiser'"):
        log_power(noise(1, 8, 8), window="kaiser")
    with pytest.raises(DataError, match="radial_profile needs images of at least 8 x 8 pixels, got 7 x 9"):
        radial_profile(noise(1, 7, 5), noise(1, 7, 9))


# --- neighbours ------------------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(height=st.integers(4, 20), width=st.integers(4, 20), factor=st.integers(1, 4))
def test_npr_is_zero_on_its_lattice_and_on_enlarged_images(height, width, factor):
    samples = noise(1, 3, height, width, seed=height * width)
    result = npr(samples, factor=factor)
    assert result.shape == (1, 3, height // factor * factor, width // factor * factor)
    assert not result[..., ::factor, ::factor].any()
    assert not npr(samples.repeat(factor, axis=2).repeat(factor, axis=3), factor=factor).any()


def test_npr_refuses_images_smaller_than_a_cell():
    with pytest.raises(DataError, match="npr needs images of at least 4 x 4 pixels, got 9 x 3"):
        npr(noise(1, 3, 9, 3), factor=4)


def test_cross_difference_sees_corners_but_no_straight_edge():
    rows, columns = noise(1, 3, 20, 1), noise(1, 3, 1, 30, seed=1)
    assert not cross_difference(rows + columns).any()
    checkerboard = np.float32(255) * (np.indices((6, 9)).sum(axis=0) % 2)[None, None].repeat(3, axis=1)
    assert np.array_equal(cross_difference(checkerboard), np.full((1, 3, 5, 8), 510, np.float32))


# --- residual --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kernel", KERNELS)
def test_masks_sum_to_zero_and_their_centre_is_the_divisor(kernel):
    for mask in KERNELS[kernel].masks:
        centre = len(mask) // 2
        assert mask.sum() == 0
        assert mask[centre, centre] == -KERNELS[kernel].divisor == -abs(mask).max()


@pytest.mark.parametrize("kernel", KERNELS)
def test_an_impulse_returns_the_masks_turned_by_half(kernel):
    masks, divisor = KERNELS[kernel].masks, KERNELS[kernel].divisor
    reach = len(masks[0]) // 2
    image = np.zeros((1, 4 * reach + 1, 4 * reach + 1), np.float32)
    image[0, 2 * reach, 2 * reach] = divisor
    for result, mask in zip(residual(image, kernel=kernel)[0], masks, strict=True):
        assert np.array_equal(result, mask[::-1, ::-1])


def test_residuals_of_a_ramp_and_a_parabola():
    y, x = np.mgrid[:12, :15].astype(np.float32)
    ramp, parabola = (2 * x - 3 * y)[None], (x * x)[None]
    assert np.all(residual(ramp)[0, 0] == 2)
    assert np.all(residual(ramp)[0, 1] == 3)  # upwards
    for kernel in ("second", "third", "square3x3", "square5x5"):
        assert not residual(ramp, kernel=kernel).any()
    assert np.all(residual(parabola, kernel="second")[0, 0] == 1)  # x'' / 2
    assert not residual(parabola, kernel="second")[0, 1].any()
    for kernel in ("square3x3", "square5x5"):  # they multiply a vertical and a horizontal second difference
        assert not residual(parabola, kernel=kernel).any()


@pytest.mark.parametrize("kernel", KERNELS)
def test_residuals_of_8_bit_pixels_are_exact_quotients(kernel):
    rgb8 = np.random.default_rng(5).integers(0, 256, (1, 30, 31, 3), np.uint8)
    thousandths = rgb8[0].astype(np.int64) @ np.array([299, 587, 114])
    mask = KERNELS[kernel].masks[-1]
    windows = np.lib.stride_tricks.sliding_window_view(thousandths, mask.shape)
    exact = (windows * mask).sum(axis=(-2, -1)) / (1000 * KERNELS[kernel].divisor)
    assert np.array_equal(residual(luma(planes(rgb8)), kernel=kernel)[0, -1], exact.astype(np.float32))


def test_unknown_kernel_is_named_with_the_nearest_one():
    with pytest.raises(ParameterError, match="no residual kernel 'square3'; did you mean 'square3x3'"):
        residual(noise(1, 8, 8), kernel="square3")


# --- blocks ----------------------------------------------------------------------------------------------------


def test_block_dct_is_orthonormal_and_dc_is_eight_means():
    samples = noise(2, 27, 40)
    blocks = block_dct(samples)
    used = samples[:, :24].astype(np.float64)
    assert blocks.shape == (2, 3, 5, 8, 8)
    assert (np.float64(blocks) ** 2).sum() == pytest.approx((used**2).sum(), rel=1e-6)
    means = used.reshape(2, 3, 8, 5, 8).mean(axis=(2, 4))
    np.testing.assert_allclose(blocks[..., 0, 0], 8 * means, rtol=1e-6)


def test_one_basis_wave_is_one_coefficient():
    y, x = np.mgrid[:16, :16]
    wave = 40 * np.cos(np.pi * (2 * (y % 8) + 1) * 3 / 16) * np.cos(np.pi * (2 * (x % 8) + 1) * 2 / 16)
    expected = np.zeros((1, 2, 2, 8, 8), np.float32)
    expected[..., 3, 2] = 40 * 4  # a_v a_u times the 64 / 4 of two squared cosines
    np.testing.assert_allclose(block_dct(wave[None].astype(np.float32)), expected, atol=1e-4)


def test_a_tie_of_the_transform_stays_a_tie():
    block = np.zeros((1, 8, 8), np.float32)
    block[0, :, 0] = 0.5  # (0, 4) is the sum over columns of +-1/8: exactly 8 * 0.5 / 8
    assert block_dct(block)[0, 0, 0, 0, 4] == 0.5
