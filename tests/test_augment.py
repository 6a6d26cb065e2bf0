"""Augmented draws: against a plain reference, how often each operation comes, and what two halves have in common."""

from __future__ import annotations

import math
import pickle
from dataclasses import asdict, replace
from pathlib import Path

import naive_augment as naive
import numpy as np
import pytest
from naive_pairs import Cells, Identity
from test_perturb import content, photo
from tiny_tasks import Moments, extract, write_images

from fdetect import augment, backend, geometry, images, perturb, sharing, wear
from fdetect.augment import Augmented, Course, draws
from fdetect.backend import resolve
from fdetect.engine.jobs import describe
from fdetect.engine.work import Plan, content_id
from fdetect.errors import DataError, ParameterError
from fdetect.images import Decoded, jpeg_quality
from fdetect.perturb import MARGIN, Condition, rng_for
from fdetect.recipes import CELL, CNNSPOT, FULL, LIGHT, OPERATIONS, RECIPES, SAFE, Recipe
from fdetect.registry import source_digest
from fdetect.types import Facts

C = 64
NOTHING = Recipe("nothing")


def only(name: str, **settings: object) -> Recipe:
    return replace(NOTHING, name=name, **{name: 1.0}, **settings)  # type: ignore[arg-type]


def shown(recipe: Recipe, k: int = 0, *, draw: int = 1, seed: int = 0, launder: object = None) -> np.ndarray:
    one = draws(recipe, draw, launder=launder, label="own" if launder else "")[-1]  # type: ignore[arg-type]
    return one(photo(seed=k), content(k), seed=seed, crop=C).pixels


def courses(recipe: Recipe, n: int, shape: tuple[int, int] = (300, 400)) -> list[Course]:
    return [Course.drawn(rng_for(0, content(k), "augment/1"), recipe, shape, C) for k in range(n)]


# --- against the reference ----------------------------------------------------------------------------------------

TOLERANCE = {  # levels of 255: largest, mean.  Pillow resamples and blends in fixed point or float32
    "nothing": (0, 0), "smaller": (1, 0.05), "larger": (1, 0.05), "recompressed": (0, 0), "colour": (1, 0.2),
    "blur": (0, 0), "noise": (0, 0), "webp": (0, 0), "text": (1, 0.05), "jpeg": (0, 0), "mask": (0, 0),
    "cutout": (0, 0), "safe": (2, 0.2), "cnnspot": (0, 0),
}  # fmt: skip
EACH = [NOTHING, SAFE, CNNSPOT, only("smaller"), only("larger"), *map(only, OPERATIONS)]


@pytest.mark.parametrize("launder", [None, Cells()], ids=["pristine", "laundered"])
@pytest.mark.parametrize("recipe", EACH, ids=lambda recipe: recipe.name)
def test_each_operation_equals_the_reference(recipe: Recipe, launder: Cells | None) -> None:
    largest, mean = TOLERANCE[recipe.name]
    for k in range(4):
        how = {"seed": 3, "crop": C, "draw": k + 1, "recipe": asdict(recipe), "launder": launder or Identity()}
        expected = naive.augmented(photo(seed=k).pixels, content(k), **how).astype(int)
        off = np.abs(shown(recipe, k, draw=k + 1, seed=3, launder=launder).astype(int) - expected)
        assert off.max() <= largest
        assert off.mean() <= mean


def test_a_chain_equals_the_reference_up_to_its_encodings() -> None:
    """A level of difference before a JPEG is a level or two after it, and more where a coefficient tips over."""
    for k in range(12):
        how = {"seed": 1, "crop": C, "draw": 2, "recipe": asdict(FULL), "launder": Cells()}
        expected = naive.augmented(photo(seed=k).pixels, content(k), **how).astype(int)
        assert np.abs(shown(FULL, k, draw=2, seed=1, launder=Cells()).astype(int) - expected).mean() < 0.5


def test_courses_are_those_of_the_reference() -> None:
    for recipe in RECIPES.values():
        for k, found in enumerate(courses(recipe, 100, (97, 120))):
            rng = naive.generator(0, content(k), "augment/1")
            expected = naive.course(rng, asdict(recipe), 97, 120, C)
            assert (found.top, found.left, found.side) == pytest.approx([expected[n] for n in ("top", "left", "side")])
            used = {name for name in OPERATIONS if getattr(found, name) is not None}
            assert used == expected.keys() & set(OPERATIONS)
            if found.colour:
                assert found.colour == pytest.approx(expected["colour"])
            if found.text:
                for key, value in expected["text"].items():
                    amount = isinstance(value, float)
                    assert getattr(found.text, key) == (pytest.approx(value) if amount else value)
            for name in {"recompressed", "webp", "jpeg"} & expected.keys():
                assert getattr(found, name) == expected[name]


# --- how often, and how much --------------------------------------------------------------------------------------


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_operations_come_as_often_as_stated(recipe: Recipe) -> None:
    n, drawn = 2000, courses(recipe, 2000)
    counts = {name: sum(getattr(one, name) is not None for one in drawn) for name in OPERATIONS}
    counts |= {"smaller": sum(one.side > C for one in drawn), "larger": sum(one.side < C for one in drawn)}
    for name, count in counts.items():
        p = getattr(recipe, name)
        assert abs(count - n * p) <= 4.5 * math.sqrt(n * p * (1 - p)), name


def test_operations_are_drawn_independently() -> None:
    drawn = courses(FULL, 4000)
    used = [[one.side > C, *(getattr(one, name) is not None for name in OPERATIONS[:-1])] for one in drawn]
    correlation = np.corrcoef(np.array(used, float).T)
    assert np.abs(correlation - np.eye(len(correlation))).max() < 0.08  # five deviations


def test_amounts_fill_their_ranges() -> None:
    drawn = courses(replace(FULL, name="all", **dict.fromkeys(OPERATIONS, 1.0)), 2000)  # type: ignore[arg-type]
    for name, low, high in (("blur", 0, 2), ("noise", 0, 4), ("mask", 0, 0.5), ("jpeg", 60, 98)):
        values = np.array([getattr(one, name) for one in drawn], float)
        assert low <= values.min() < low + 0.01 * (high - low)
        assert high - 0.01 * (high - low) < values.max() <= high
        assert abs(values.mean() - (low + high) / 2) < 0.035 * (high - low)  # five deviations
    for name in ("recompressed", "webp"):
        qualities, rows, columns = zip(*(getattr(one, name) for one in drawn), strict=True)
        assert (set(qualities), set(rows), set(columns)) == (set(range(60, 98)), set(range(16)), set(range(16)))
    colours = np.array([one.colour for one in drawn])
    assert (np.abs(np.quantile(colours, (0, 0.5, 1), axis=0) - [[0.8], [1.0], [1.2]]) < 0.02).all()
    sizes = np.array([one.side / C for one in drawn])
    assert (np.abs(np.quantile(100 / sizes, (0, 1)) - (50, 130)) < 1).all()
    assert {len(one.text.letters) for one in drawn if one.text} == set(range(3, 13))
    # crops at their own size lie at every phase of the grid, between the edges
    at = [(one.top, one.left) for one in drawn if one.side == C]
    assert {(top % 8, left % 8) for top, left in at} == set(np.ndindex(8, 8))
    assert (np.max(at, axis=0) <= (300 - C, 400 - C)).all()


def test_pictures_of_two_crops_and_more_are_resized_alike_whatever_their_size() -> None:
    sides = [[one.side for one in courses(FULL, 500, shape)] for shape in ((2 * C, 2 * C), (2 * C, 999), (1000, 800))]
    assert sides[0] == sides[1] == sides[2]
    assert max(sides[0]) > 1.98 * C
    smaller = [one.side for one in courses(FULL, 500, (2 * C - 1, 999))]
    assert max(smaller) <= 2 * C - 1
    assert smaller != sides[0]


def test_what_an_operation_does_can_be_seen() -> None:
    plain = shown(NOTHING)
    for name in OPERATIONS:
        assert not np.array_equal(shown(only(name)), plain), name
    noisy = shown(only("noise", loudest=4.0)).astype(float) - plain
    assert noisy[(plain > 20) & (plain < 235)].std() == pytest.approx(courses(only("noise"), 1)[0].noise, abs=0.35)
    hidden = (shown(only("mask")) == 0).all(axis=2)
    cells = hidden.reshape(C // CELL, CELL, C // CELL, CELL).all(axis=(1, 3))
    assert hidden.mean() == cells.mean() == round(16 * courses(only("mask"), 1)[0].mask) / 16  # type: ignore[operator]
    lost = (shown(only("cutout")) == 0).all(axis=2)
    assert lost.sum() == courses(only("cutout"), 1)[0].cutout.side ** 2  # type: ignore[union-attr]


# --- what a draw depends on ---------------------------------------------------------------------------------------


def test_a_draw_depends_on_content_seed_and_number_alone() -> None:
    pictures = [photo(seed=k) for k in range(4)]
    before = [picture.pixels.copy() for picture in pictures]
    for recipe in RECIPES.values():
        one = draws(recipe, 2)[1]
        first = [one(picture, content(k), seed=0, crop=C).pixels for k, picture in enumerate(pictures)]
        np.random.default_rng(0).random(7)
        sent = pickle.loads(pickle.dumps(one))
        again = {k: sent(pictures[k], content(k), seed=0, crop=C).pixels for k in (2, 0, 3, 1)}
        assert all(np.array_equal(first[k], again[k]) for k in again)
        for pixels in first:
            pixels[:] = 0  # a view would spoil the picture
    assert all(np.array_equal(picture.pixels, kept) for picture, kept in zip(pictures, before, strict=True))


def test_draws_differ_by_number_by_content_and_by_seed() -> None:
    picture = photo(300, 300)
    seen = [
        one(picture, content(k), seed=seed, crop=C).pixels.tobytes()
        for one in draws(LIGHT, 5)
        for k in range(3)
        for seed in (0, 1)
    ]
    assert len(set(seen)) == 30


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_halves_of_a_pair_share_everything_but_the_round_trip(recipe: Recipe) -> None:
    pairs = zip(draws(recipe, 20), draws(recipe, 20, launder=Identity(), label="same"), strict=True)
    for k, (pristine, same) in enumerate(pairs):
        one, two = (half(photo(seed=k), content(k), seed=0, crop=C) for half in (pristine, same))
        assert np.array_equal(one.pixels, two.pixels)
        assert one.facts == two.facts
    assert not np.array_equal(shown(recipe, launder=Cells()), shown(recipe))


def test_recipes_share_their_crops() -> None:
    for one, two in zip(courses(LIGHT, 50), courses(SAFE, 50), strict=True):
        assert (one.top, one.left) == (two.top, two.left)


# --- sizes, facts, names ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("crop", [64, 72, 128])
def test_every_draw_of_the_smallest_picture_has_its_size(crop: int) -> None:
    recipe = replace(FULL, name="sizes", smaller=0.5, larger=0.5)
    for k in range(40):
        height, width = crop + MARGIN + k % 7, crop + MARGIN + 3 * k % 11
        picture = Decoded(photo(height, width).pixels, Facts("PNG", width, height, 0))
        found = draws(recipe, k + 1)[k](picture, content(k), seed=0, crop=crop)
        assert found.pixels.shape == (crop, crop, 3)
        assert found.pixels.dtype == np.uint8
    with pytest.raises(DataError, match=rf"too small for condition augment_sizes@1: both sides need {crop + 8} px"):
        draws(recipe, 1)[0](photo(crop + 7, 200), content(0), seed=0, crop=crop)


def test_facts_are_those_of_the_last_encoding() -> None:
    picture = Decoded(photo().pixels, Facts("PNG", 131, 150, 4321, exif=(("Make", "camera"),)))
    found = {one.jpeg: draws(FULL, 1)[0](picture, content(k), seed=0, crop=C).facts
             for k, one in enumerate(courses(FULL, 40, picture.pixels.shape[:2]))}  # fmt: skip
    assert found.pop(None) == Facts("RAW", C, C, C * C * 3)
    for quality, facts in found.items():
        assert jpeg_quality(facts.qtables) == (quality, True)
        assert (facts.format, facts.subsampling, facts.width, facts.exif) == ("JPEG", "4:2:0", C, ())


def test_names_settings_and_code_tell_draws_apart() -> None:
    assert [one.name for one in draws(LIGHT, 2)] == ["augment_light@1", "augment_light@2"]
    laundered = draws(FULL, 1, launder=Cells(), label="own")[0]
    assert laundered.name == "augment_full@1@own"
    assert replace(laundered, name="augment_full@1", launder=None) == draws(FULL, 1)[0]
    assert not laundered.is_native
    made = [one for recipe in RECIPES.values() for one in draws(recipe, 2)] + [laundered]
    made += [Augmented(laundered.name, launder=Cells(4), recipe=FULL)]
    assert len({repr(sorted(one.settings.items())) for one in made}) == len(made)
    codes = [describe(Plan((one,), (Moments(),), C, 0, resolve("cpu")), (0, 0))["code"]
             for one in (laundered, Condition("native"))]  # fmt: skip
    files = [module.__file__ for module in (images, geometry, perturb, wear, sharing, backend)]
    assert codes == [source_digest(*files, augment.__file__), source_digest(*files)]


@pytest.mark.parametrize("wrong", [
    {"jpeg": 1.5}, {"mask": -0.1}, {"smaller": 0.6, "larger": 0.6}, {"smallest": 120.0}, {"largest": 90.0},
    {"last": (90, 60)}, {"earlier": (0, 60)}, {"hidden": 2.0}, {"widest": -1.0}, {"strength": 1.5}, {"loudest": 200.0},
    {"blur": math.nan}, {"widest": math.nan},
])  # fmt: skip
def test_a_recipe_that_cannot_be_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ParameterError, match="recipe 'mine': "):
        Recipe("mine", **wrong)  # type: ignore[arg-type]


def test_draws_that_cannot_be_are_refused() -> None:
    with pytest.raises(ParameterError, match="1 or more times, got 0"):
        draws(FULL, 0)
    for wrong in ({"launder": Cells()}, {"label": "own"}):
        with pytest.raises(ParameterError, match="a launderer and its label"):
            draws(FULL, 1, **wrong)  # type: ignore[arg-type]


# --- in the engine ------------------------------------------------------------------------------------------------


def test_the_engine_takes_draws_as_conditions(tmp_path: Path) -> None:
    paths = write_images(tmp_path, 6)
    conditions = (*draws(FULL, 2), draws(FULL, 1, launder=Identity(), label="same")[0])
    tables = extract(tmp_path, paths=paths, conditions=conditions).tables
    one, two, same = (tables[condition.name, "moments"].values for condition in conditions)
    assert np.isfinite(one).all()
    assert (one != two).any(axis=1).all()
    assert np.array_equal(one, same)
    data = (tmp_path / paths[3]).read_bytes()
    pixels = conditions[0](images.decode(data), content_id(data), seed=0, crop=C).pixels
    assert one[3, 0] == np.float32(pixels.mean())
