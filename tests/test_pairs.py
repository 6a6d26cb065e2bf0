"""Aligned pairs and laundered conditions: a window against the whole picture, and what both halves have in common."""

from __future__ import annotations

import pickle
import re
from collections import Counter
from dataclasses import replace

import naive_pairs as naive
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from naive_pairs import Cells, Identity, Negative
from test_perturb import content, photo
from tiny_tasks import Moments

from fdetect import backend, geometry, images, pairs, perturb, sharing, wear
from fdetect.backend import resolve
from fdetect.engine.jobs import describe
from fdetect.engine.work import Plan
from fdetect.errors import DataError
from fdetect.images import Decoded
from fdetect.pairs import Half, History, halves
from fdetect.perturb import GRID, HALO, MARGIN, Box, Condition, condition, rng_for, with_surroundings
from fdetect.registry import source_digest
from fdetect.types import Facts

C = 64
NAMES = ["matched", "jpeg70", "rescaled", "resize50", "blur1", "rescaled+jpeg70"]


def large(k: int) -> Decoded:
    """A picture in which windows with their surroundings are a small part."""
    return photo(301, 333, seed=k)


def where(height: int, width: int) -> np.ndarray:
    """Pixels that say where they are, up to 255 px: (y, x, 0)."""
    y, x = np.mgrid[0:height, 0:width].astype(np.uint8)
    return np.stack([y, x, np.zeros_like(y)], axis=-1)


def pair(name: str = "matched", launder: object = Identity(), *, draw: int = 1, history: bool = True) -> list[Half]:
    return list(halves(condition(name), launder, "own", draw=draw, history=history))


def shown(one: Condition, image: Decoded, id: str = content(0), *, seed: int = 0) -> np.ndarray:
    return one(image, id, seed=seed, crop=C).pixels


# --- a window against the whole picture ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_a_laundered_condition_equals_the_whole_picture_through_the_network(name: str) -> None:
    chain = replace(condition(name), name=f"launder_cells+{name}", launder=Cells())
    for k in range(8):
        expected = naive.laundered(large(k).pixels, name, content(k), 3, C, Cells())
        assert np.array_equal(shown(chain, large(k), content(k), seed=3), expected)
        assert not np.array_equal(shown(condition(name), large(k), content(k), seed=3), expected)


@pytest.mark.parametrize("history", [True, False])
@pytest.mark.parametrize("name", ["native", *NAMES])
def test_both_halves_equal_those_of_the_whole_picture(name: str, history: bool) -> None:
    """To the last bit, where the picture was not made smaller after the round trip; else up to a pixel beside it."""
    kinds = Counter()
    for k in range(9):
        for one in pair(name, Cells(), draw=k % 3 + 1, history=history):
            settings = {"seed": 5, "crop": C, "draw": k % 3 + 1, "with_history": history}
            whole = naive.half(large(k).pixels, name, content(k), launder=one.launder, **settings)
            found = shown(one, large(k), content(k), seed=5)
            after, encoded = whole.history.after < 100, whole.history.quality > 0
            kinds[after, encoded] += 1
            if not after:
                assert np.array_equal(found, whole.pixels)
            else:  # noise of 5 levels, and cells of 8 px: a crop 3 px beside it is at twice the distance
                off = np.abs(found.astype(float) - whole.pixels)
                beside = np.abs(found[3:, 3:].astype(float) - whole.pixels[:-3, :-3])
                assert off.mean() < 0.6 * beside.mean()
    assert min(kinds.values()) > 0
    assert set(kinds) == ({(False, False)} if name == "native" or not history else set(np.ndindex(2, 2)))


@settings(max_examples=200, deadline=None)
@given(st.integers(40, 200), st.integers(40, 200), st.integers(1, 40), st.floats(0, 1), st.floats(0, 1))
def test_a_window_has_its_surroundings_and_the_phase_of_the_grid(
    height: int, width: int, side: int, u: float, v: float
) -> None:
    pixels = where(height, width)
    box = Box(int(u * (height - side)), int(v * (width - side)), side)
    cut, inside = with_surroundings(pixels, box)
    np.testing.assert_array_equal(inside.of(cut), box.of(pixels))
    assert inside.of(cut).shape == (side, side, 3)
    top, left = (int(value) for value in cut[0, 0, :2])
    assert (top % GRID, left % GRID) == (0, 0)
    for start, first, length, whole in zip((box.top, box.left), (top, left), cut.shape, (height, width), strict=False):
        assert first == 0 or HALO <= start - first < HALO + GRID
        assert first + length == min(start + side + HALO, whole)


# --- what both halves share ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("history", [True, False])
@pytest.mark.parametrize("name", ["native", *NAMES])
def test_a_round_trip_without_loss_makes_equal_halves(name: str, history: bool) -> None:
    for k in range(12):
        pristine, same = pair(name, draw=k % 4 + 1, history=history)
        one, two = (half(photo(seed=k), content(k), seed=0, crop=C) for half in (pristine, same))
        assert np.array_equal(one.pixels, two.pixels)
        assert one.facts == two.facts


def test_the_round_trip_is_the_only_difference() -> None:
    image = photo()
    pristine, negative = pair("native", Negative())
    assert np.array_equal(shown(negative, image), 255 - shown(pristine, image))
    pristine, negative = pair("matched", Negative())
    off = shown(negative, image).astype(int) - (255 - shown(pristine, image).astype(int))
    assert np.abs(off).mean() < 2  # JPEG of a negative is nearly the negative of a JPEG
    pristine, coarse = pair("matched", Cells())
    assert not np.array_equal(shown(pristine, image), shown(coarse, image))


def test_names_and_settings_of_the_halves() -> None:
    pristine, laundered = pair("rescaled+jpeg70", Cells(), draw=2)
    assert (pristine.name, laundered.name) == ("rescaled+jpeg70@2", "rescaled+jpeg70@2@own")
    assert (pristine.launder, laundered.launder) == (None, Cells())
    assert replace(laundered, name=pristine.name, launder=None) == pristine
    assert (pristine.steps, pristine.rescaled) == ((("jpeg", 70.0),), True)
    assert [half.name for half in pair("native", history=False)] == ["native@1-plain", "native@1-plain@own"]
    assert pristine.is_native is laundered.is_native is False
    assert [half.is_native for half in pair("native")] == [True, True]


def test_halves_are_told_apart_by_everything_that_makes_them() -> None:
    """As the store keys rows: by the settings of a condition, and by the code of its kind."""
    made = [half for draw in (1, 2) for history in (True, False) for half in pair(draw=draw, history=history)]
    made += pair("native") + pair(launder=Cells(4))[1:] + [condition("matched")]
    assert len({repr(sorted(one.settings.items())) for one in made}) == len(made)
    plan = Plan((pair()[0], condition("matched")), (Moments(),), C, 0, resolve("cpu"))
    codes = [describe(plan, (k, 0))["code"] for k in (0, 1)]
    files = [module.__file__ for module in (images, geometry, perturb, wear, sharing, backend)]
    assert codes == [source_digest(*files, pairs.__file__), source_digest(*files)]


def test_halves_travel_to_workers() -> None:
    for half in pair("matched", Cells()):
        again = pickle.loads(pickle.dumps(half))
        assert again == half
        assert np.array_equal(shown(again, photo()), shown(half, photo()))


# --- draws --------------------------------------------------------------------------------------------------------


def test_pairs_differ_by_number_by_content_and_by_seed() -> None:
    """Natively, where a half says where it was cut; and once encoded."""
    places = Decoded(where(250, 240), Facts("PNG", 240, 250, 0))
    seen = {
        (draw, k, seed): shown(pair("native", draw=draw)[0], places, content(k), seed=seed)[0, 0, :2].tolist()
        for draw in range(1, 5)
        for k in range(4)
        for seed in (0, 1)
    }
    assert len(set(map(tuple, seen.values()))) > 24  # of 32 drawn from 24 x 23 places
    image = photo()
    encoded = [shown(pair(draw=draw)[0], image, content(k), seed=seed) for draw, k, seed in seen]
    assert len({pixels.tobytes() for pixels in encoded}) == len(seen)


def test_a_half_depends_on_content_number_and_seed_alone() -> None:
    images = [photo(seed=k) for k in range(4)]
    before = [image.pixels.copy() for image in images]
    for name in ("native", "matched", "rescaled"):
        for half in pair(name, Cells(), draw=2):
            first = [shown(half, image, content(k)) for k, image in enumerate(images)]
            np.random.default_rng(0).random(7)
            again = {k: shown(pickle.loads(pickle.dumps(half)), images[k], content(k)) for k in (2, 0, 3, 1)}
            assert all(np.array_equal(first[k], again[k]) for k in again)
            for pixels in first:
                assert pixels.flags.c_contiguous
                pixels[:] = 0  # a view would spoil the picture
    assert all(np.array_equal(image.pixels, kept) for image, kept in zip(images, before, strict=True))


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 2**32), st.floats(1, 100))
def test_a_history_leaves_at_least_what_it_must(seed: int, least: float) -> None:
    drawn = History.drawn(np.random.default_rng(seed), least=least)
    assert drawn == History(**vars(naive.history(np.random.default_rng(seed), least)))
    assert 50 <= drawn.before <= 100
    assert min(50, least) <= drawn.after <= 100
    assert drawn.before * drawn.after / 100 >= min(least, 25) - 1e-9
    assert drawn.before * drawn.after / 100 >= (least if drawn.before < 100 or drawn.after < 100 else 0) * (1 - 1e-12)
    assert drawn.quality == 0 or 70 <= drawn.quality <= 97


def test_half_of_the_histories_hold_each_part() -> None:
    drawn = [History.drawn(rng_for(0, content(k), "pair/1"), least=20.0) for k in range(4000)]
    parts = np.array([(one.before < 100, one.after < 100, one.quality > 0) for one in drawn])
    assert (np.abs(parts.mean(axis=0) - 0.5) < 0.04).all()  # five deviations
    assert (np.abs(np.corrcoef(parts.T) - np.eye(3)) < 0.08).all()
    for name in ("before", "after"):
        values = np.array([getattr(one, name) for one in drawn])
        values = values[values < 100]
        assert (np.abs(np.quantile(values, (0, 0.5, 1)) - (50, 75, 100)) < 2).all()
    assert {one.quality for one in drawn} == {0, *range(70, 98)}
    # where nothing may be lost, nothing is but by JPEG
    assert {(one.before, one.after) for one in (History.drawn(np.random.default_rng(k), least=100.0) for k in range(50))
            } == {(100.0, 100.0)}  # fmt: skip


# --- sizes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["native", *NAMES])
def test_the_smallest_picture_of_a_condition_has_every_pair(name: str) -> None:
    limit = condition(name).window(C) + MARGIN
    side = condition(name)(photo(), content(0), seed=0, crop=C).pixels.shape[0] if name != "native" else C
    for height, width in ((limit, limit), (limit, limit + 60), (limit + 60, limit)):
        for k in range(30):
            for half in pair(name, Cells(), draw=k + 1):
                assert shown(half, photo(height, width), content(k)).shape == (side, side, 3)
    for height, width in ((limit - 1, limit), (limit, limit - 1)):
        for half in pair(name):
            with pytest.raises(DataError, match=re.escape(f"too small for condition {half.name}: both sides need")):
                half(photo(height, width), content(0), seed=0, crop=C)


@pytest.mark.parametrize("crop", [64, 72, 128])
def test_every_size_and_history_fits(crop: int) -> None:
    """Sizes next to the limit, where roundings meet."""
    for name in ("matched", "rescaled"):
        limit = condition(name).window(crop) + MARGIN
        for k in range(60):
            image = Decoded(where(limit + k, limit + 3 * k % 17), Facts("PNG", 0, 0, 0))
            for half in pair(name, draw=k + 1):
                assert half(image, content(k), seed=0, crop=crop).facts.format == "JPEG"


def test_native_halves_lie_on_the_grid_and_are_not_encoded() -> None:
    image = Decoded(where(135, 143), Facts("JPEG", 143, 135, 4321))
    corners = set()
    for k in range(600):
        pristine, coarse = pair("native", Cells(), draw=k + 1)
        one, two = (half(image, content(k), seed=0, crop=C) for half in (pristine, coarse))
        top, left = (int(value) for value in one.pixels[0, 0, :2])
        assert np.array_equal(one.pixels, image.pixels[top : top + C, left : left + C])
        assert np.array_equal(two.pixels, Cells()(image.pixels)[top : top + C, left : left + C])
        assert one.facts is two.facts is image.facts
        corners.add((top, left))
    assert corners == {(top, left) for top in range(0, 135 - C + 1, 8) for left in range(0, 143 - C + 1, 8)}
