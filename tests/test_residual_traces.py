"""Residual co-occurrences and SRM statistics: answers known in closed form, and what survives on real photographs."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from fdetect.features import column_names, compute, feature
from fdetect.features.residual import MOMENT_FLOOR, residual_cooccurrence, srm_statistics
from fdetect.forensics._cpu.residual import residual_counts, residual_moments
from fdetect.forensics.planes import CHROMA_UNITS, chroma, luma, planes
from fdetect.forensics.residual import BASIC, KERNELS, SRM, residual, srm
from fdetect.images import decode
from fdetect.types import Batch

COOCCURRENCES = {"residual_cooccurrence": BASIC, "srm_cooccurrence": SRM}
every_cooccurrence = pytest.mark.parametrize("name", COOCCURRENCES)


def row(name: str, image: np.ndarray) -> dict[str, float]:
    """The columns of one (H, W, 3) uint8 image, by name without the feature's."""
    entry = feature.get(name)
    values = compute(entry, Batch(("0" * 32,), image[None], ()))[0].tolist()
    return {column.split(":", 1)[1]: value for column, value in zip(column_names(entry), values, strict=True)}


def grey(image: np.ndarray) -> np.ndarray:
    return np.repeat(np.round(image).astype(np.uint8)[..., None], 3, axis=2)


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


# --- the bank --------------------------------------------------------------------------------------------------


def test_the_bank_has_thirty_filters_as_published():
    impulse = np.zeros((1, 9, 9), np.float32)
    impulse[0, 4, 4] = 1
    responses = srm(impulse)[0]  # (30, 5, 5): each filter, turned by half
    assert responses.shape == (30, 5, 5)
    np.testing.assert_allclose(responses.sum(axis=(1, 2)), 0, atol=1e-6)
    np.testing.assert_allclose(np.abs(responses).max(axis=(1, 2)), 1, rtol=1e-6)
    taps = Counter(int((response != 0).sum()) for response in responses)
    # 8 first, 4 second, 8 third, 4 edges 3x3, 4 edges 5x5, square 3x3, square 5x5
    assert taps == {2: 8, 3: 4, 4: 8, 6: 4, 15: 4, 9: 1, 25: 1}
    assert len({response.tobytes() for response in responses}) == 30


def test_opposite_directions_are_negated_and_moved_by_a_pixel():
    image = luma(planes(noise(30, 30)[None]))
    bank = srm(image)[0]
    assert np.array_equal(bank[0][:, :-1], -bank[1][:, 1:])  # right and left
    assert np.array_equal(bank[12][:, :-1], -bank[13][:, 1:])


def test_diagonal_differences_look_along_the_diagonals():
    y, x = np.mgrid[:12, :15].astype(np.float32)
    for kernel, expected in (("first_all", {2, 3, 5, 1}), ("second_all", {0}), ("third_all", {0})):
        values = residual((2 * x - 3 * y)[None], kernel=kernel)
        assert {abs(float(v)) for v in np.unique(values)} == expected


# --- co-occurrences --------------------------------------------------------------------------------------------


@every_cooccurrence
def test_a_constant_image_is_the_all_zero_tuple(name):
    columns = row(name, np.full((30, 30, 3), 91, np.uint8))
    assert len(columns) == 169 * len(COOCCURRENCES[name])
    assert {key for key, value in columns.items() if value} == {f"{k}_0_0_0_0" for k in COOCCURRENCES[name]}
    assert set(columns.values()) == {0.0, 1.0}


@every_cooccurrence
def test_shares_of_a_class_sum_to_one_and_names_are_largest_of_their_orbit(name):
    values = np.array(list(row(name, noise(40, 50)).values())).reshape(-1, 169)
    np.testing.assert_allclose((values**2).sum(axis=1), 1, rtol=1e-6)
    first = COOCCURRENCES[name][0]
    for column in column_names(feature.get(name))[:169]:
        four = tuple(int(part.replace("m", "-")) for part in column.split(f"{first}_")[1].split("_"))
        minus = tuple(-v for v in four)
        assert four == max(four, four[::-1], minus, minus[::-1])


def test_stripes_have_the_shares_that_counting_gives():
    image = grey(np.broadcast_to(np.where(np.arange(32) % 2, 104, 100), (32, 32)))
    columns = row("residual_cooccurrence", image)  # 4 levels are round(4 / 3) = 1 step
    first = {name: value**2 for name, value in columns.items() if name.startswith("first") and value}
    assert first == {
        "first_1_m1_1_m1": pytest.approx(1 / 4),  # horizontal differences, read across
        "first_1_1_1_1": pytest.approx(1 / 4),  # the same, read down
        "first_0_0_0_0": pytest.approx(1 / 2),  # vertical differences
    }


@every_cooccurrence
def test_negative_and_mirrored_pictures_are_the_same_evidence(name):
    image = noise(40, 33)
    base, negative = row(name, image), row(name, 255 - image)
    assert negative == base
    symmetric = [column for column in base if column.startswith(("second", "edge", "square"))]
    for other in (image[::-1], image[:, ::-1], image.transpose(1, 0, 2)):
        turned = row(name, np.ascontiguousarray(other))
        assert [turned[column] for column in symmetric] == [base[column] for column in symmetric]


def test_halves_are_rounded_away_from_zero():
    ramp = 1.5 * np.broadcast_to(np.arange(20, dtype=np.float32), (1, 20, 20))
    names = [c.split(":")[1] for c in column_names(feature.get("residual_cooccurrence"))]
    for step, expected in ((3.0, "first_1_1_1_1"), (3.001, "first_0_0_0_0"), (1.0, "first_2_2_2_2")):
        values = residual_cooccurrence(ramp, step=step)[0]
        assert values[names.index(expected)] ** 2 >= 0.499


def test_the_fused_kernel_counts_what_the_residual_maps_hold():
    image = luma(planes(np.stack([noise(41, 37), noise(41, 37, seed=1)])))
    for name in SRM:
        counts = residual_counts(image, KERNELS[name], (-1499, -499, 500, 1500), 1000)
        divisor = KERNELS[name].divisor
        sums = np.round(np.float64(residual(image, kernel=name)) * 1000 * divisor)
        levels = sum((sums >= edge).astype(int) for edge in (-1499, -499, 500, 1500))
        for k in range(2):
            tuples = Counter()
            for window in (levels[k], levels[k].transpose(0, 2, 1)):
                fours = np.stack([window[..., i : window.shape[-1] - 3 + i] for i in range(4)], axis=-1)
                tuples.update(map(tuple, fours.reshape(-1, 4).tolist()))
            expected = np.zeros(625, int)
            for four, count in tuples.items():
                expected[np.ravel_multi_index(four, (5, 5, 5, 5))] = count
            assert np.array_equal(counts[k], expected)


def test_colour_that_is_grey_has_no_chroma_residual():
    columns = row("chroma_residual_cooccurrence", grey(noise(40, 40)[..., 0]))
    assert {key for key, value in columns.items() if value} == {f"{c}_{k}_0_0_0_0" for c in ("cb", "cr") for k in BASIC}


def test_chroma_of_the_primaries_and_its_units():
    primaries = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [9, 9, 9]]], np.uint8)[None]
    values = chroma(planes(primaries))[0, :, 0]
    np.testing.assert_allclose(values[:, 0], [-0.299 * 255 / 1.772, 127.5], rtol=1e-6)
    np.testing.assert_allclose(values[:, 2], [127.5, -0.114 * 255 / 1.402], rtol=1e-6)
    assert not values[:, 3].any()
    whole = chroma(planes(noise(50, 50)[None]))[0] * np.array(CHROMA_UNITS, np.float32)[:, None, None]
    assert np.abs(whole - np.round(whole)).max() < 0.05


# --- moments ---------------------------------------------------------------------------------------------------


def test_moments_of_a_constant_image_are_the_floor():
    columns = row("srm_statistics", np.full((20, 20, 3), 200, np.uint8))
    assert len(columns) == 44
    assert {value for name, value in columns.items() if name.endswith("level")} == {np.float32(math.log(MOMENT_FLOOR))}
    assert {value for name, value in columns.items() if name.endswith("peakedness")} == {0.0}


def test_white_noise_has_the_level_and_the_peakedness_of_a_gaussian():
    samples = np.random.default_rng(3).normal(128, 9, (1, 512, 512))
    samples = (np.round(samples * 1000) / 1000).astype(np.float32)
    values = srm_statistics(samples)[0].reshape(22, 2)
    masks = [(mask, KERNELS[name].divisor) for name in SRM for mask in KERNELS[name].masks]
    for (level, peakedness), (mask, divisor) in zip(values, masks, strict=True):
        sigma = 9 * math.sqrt((mask**2).sum()) / divisor
        assert level == pytest.approx(math.log(sigma * math.sqrt(2 / math.pi)), abs=0.02)
        assert peakedness == pytest.approx(0.5 * math.log(math.pi / 2), abs=0.02)


def test_moments_are_those_of_the_maps():
    image = luma(planes(noise(31, 44)[None]))
    values = [np.float64(residual(image, kernel=name)) for name in SRM]
    expected = np.concatenate(
        [np.stack([np.abs(v).sum(axis=(-2, -1)), (v**2).sum(axis=(-2, -1))], axis=-1) for v in values], axis=1
    )
    found = residual_moments(image, tuple(KERNELS[name] for name in SRM), 1000)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


# --- real photographs ------------------------------------------------------------------------------------------


def test_smoothing_a_photograph_moves_residuals_to_zero(shared_data):
    path = sorted(path for path in (shared_data / "real").rglob("*") if path.suffix.lower() in (".jpg", ".png"))[0]
    image = decode(path.read_bytes()).pixels[:224, :224]
    soft = np.asarray(Image.fromarray(image).resize((112, 112), Image.Resampling.BILINEAR).resize((224, 224)))
    sharp_row, soft_row = row("srm_statistics", image), row("srm_statistics", soft)
    assert all(soft_row[name] < sharp_row[name] for name in sharp_row if name.endswith("level"))
    zero = "square5x5_0_0_0_0"
    for name in ("residual_cooccurrence", "srm_cooccurrence"):
        assert row(name, soft)[zero] > row(name, image)[zero]
