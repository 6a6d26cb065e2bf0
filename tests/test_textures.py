"""Dead-leaves pictures: what Lee, Mumford and Huang say of them, and that a seed is a picture."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from fdetect.errors import ParameterError
from fdetect.nets.own.textures import _lay, dead_leaves, texture_pictures

LUMA = np.array([0.299, 0.587, 0.114])


def slope(picture: np.ndarray) -> float:
    """Of the radial power spectrum in log-log, between 0.03 and 0.3 cycles a pixel, float64 under a Hann window."""
    side = len(picture)
    luma = picture.astype(np.float64) @ LUMA
    window = np.outer(np.hanning(side), np.hanning(side))
    power = np.abs(np.fft.fft2((luma - luma.mean()) * window)) ** 2
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.fftfreq(side)[None, :])
    edges = np.geomspace(0.03, 0.3, 12)
    rings = [power[(frequency >= low) & (frequency < high)].mean() for low, high in itertools.pairwise(edges)]
    return float(np.polyfit(np.log(np.sqrt(edges[1:] * edges[:-1])), np.log(rings), 1)[0])


@pytest.fixture(scope="module")
def pictures() -> np.ndarray:
    """With the smallest cut-off: the closest to the model without one."""
    return np.stack([dead_leaves(np.random.default_rng(k), side=128, smallest=1.5) for k in range(16)])


def test_a_seed_and_a_number_are_a_picture_whatever_is_drawn_beside_it() -> None:
    few, more = texture_pictures(2, side=40, seed=3), texture_pictures(3, side=40, seed=3)
    assert more.dtype == np.uint8
    assert more.shape == (3, 40, 40, 3)
    np.testing.assert_array_equal(few, more[:2])
    assert (more[0] != more[1]).any()
    assert (more != texture_pictures(3, side=40, seed=4)).any()
    assert texture_pictures(0, side=8).shape == (0, 8, 8, 3)


def test_power_falls_as_the_square_of_the_frequency(pictures: np.ndarray) -> None:
    slopes = [slope(picture) for picture in pictures]
    assert abs(np.mean(slopes) + 2) < 0.25, slopes  # the model says 2 - eta with a small eta; single ones scatter


def test_smoother_ones_are_among_those_that_are_trained_on() -> None:
    slopes = [slope(picture) for picture in texture_pictures(16, side=128)]
    assert -3.2 < np.mean(slopes) < -2
    assert np.std(slopes) > 0.15


def test_seen_from_twice_as_far_differences_of_neighbours_keep_their_law(pictures: np.ndarray) -> None:
    luma = pictures.astype(np.float64) @ LUMA
    half = luma.reshape(16, 64, 2, 64, 2).mean(axis=(2, 4))
    near, far = (np.abs(np.diff(one, axis=2)) for one in (luma, half))
    assert near.std() / far.std() == pytest.approx(1, abs=0.15)
    assert near.mean() / far.mean() == pytest.approx(1, abs=0.3)  # the smallest radius and the soft edge are felt here
    for one in (near, far):  # sharp peak, heavy tails: a normal law has 3
        centred = np.concatenate([one.ravel(), -one.ravel()])
        assert (centred**4).mean() / (centred**2).mean() ** 2 > 4


def test_there_are_flat_places_edges_and_colours(pictures: np.ndarray) -> None:
    luma = pictures.astype(np.float64) @ LUMA
    across = np.abs(np.diff(luma, axis=2))
    assert (across < 2).mean() > 0.1
    assert 0.02 < (across > 40).mean() < 0.4
    chroma = pictures.max(axis=3).astype(int) - pictures.min(axis=3)
    assert (chroma > 30).mean() > 0.1
    low, high = np.percentile(luma, (2, 98))
    assert low < 60
    assert high > 180


def test_one_leaf_that_fills_the_picture_is_nearly_flat() -> None:
    for k in range(5):
        picture = dead_leaves(np.random.default_rng(k), side=4, smallest=4000, largest=4001, textured=0)
        assert np.ptp(picture.astype(int), axis=(0, 1)).max() <= 1


def test_nothing_shows_through_what_all_leaves_cover() -> None:
    rng = np.random.default_rng(0)
    through, picture = np.ones((40, 40), np.float32), np.zeros((40, 40, 3), np.float32)
    leaf, fields = np.array([20.0, 20.0, 200.0]), np.zeros((3, 40, 40), np.float32)
    _lay(picture, through, leaf, fields, rng, 1.0, 0.5, 0.0, 0.0)
    assert through.max() < 1e-6
    before = picture.copy()
    _lay(picture, through, leaf, fields, rng, 1.0, 0.9, 0.0, 0.0)  # behind the first: nothing of it is seen
    np.testing.assert_array_equal(picture, before)


@pytest.mark.parametrize("given", [{"side": 0}, {"smallest": 0.0}, {"smallest": 9.0, "largest": 9.0}])
def test_what_cannot_be_is_one_sentence(given: dict[str, float]) -> None:
    with pytest.raises(ParameterError, match="0 < smallest < largest"):
        dead_leaves(np.random.default_rng(0), **given)  # type: ignore[arg-type]
