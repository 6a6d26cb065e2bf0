"""The rule of `inspect` against plain loops, its known answers, and its level where photographs are exchangeable."""

from __future__ import annotations

import numpy as np
import pytest
from naive_inspect import against_generated, correlated, p_real, real_as_low, word

from fdetect.bench.inspecting.inspection import GENERATED, INCONCLUSIVE, REAL
from fdetect.bench.inspecting.judging import CLAIM, ODDS, Judged, Judges, at_most
from fdetect.bench.inspecting.references import References, key_of
from fdetect.errors import ParameterError

VIEWS = ("as stored", "JPEG 70", "half size")


def references(real: np.ndarray, generated: np.ndarray, generators: list[str], sources: list[str] | None = None,
               branches: str = "") -> References:  # fmt: skip
    """(V, n) and (V, m) scores -> references of the first V views."""
    keys = [key_of(view, branches) for view in (*VIEWS, "mean of crops")[: len(real)]]
    return References(dict(zip(keys, real, strict=True)), dict(zip(keys, generated, strict=True)),
                      np.array(sources or ["own"] * real.shape[1], object), np.array(generators, object),
                      np.empty((0, 4), np.float32), {}, {})  # fmt: skip


def judges(real: np.ndarray, generated: np.ndarray, generators: list[str]) -> Judges:
    return Judges.of(references(real, generated, generators), (*VIEWS, "mean of crops")[: len(real)], "")


def test_it_is_the_plain_loops_with_ties_and_nan() -> None:
    rng = np.random.default_rng(3)
    for n, m, steps in ((1, 2, 3), (7, 5, 4), (23, 12, 9), (40, 11, 1000)):
        real, generated = (rng.integers(0, steps, (3, k)) / 7.0 for k in (n, m))
        generators = rng.choice(["a", "b", "c"], m).tolist()
        images = rng.integers(-1, steps + 1, (3, 20)) / 7.0
        images[1, 4] = images[:, 9] = np.nan
        found = judges(real, generated, generators)(images)
        of_generator = [generated[:, np.array(generators) == name].T.tolist() for name in sorted(set(generators))]
        for k, image in enumerate(images.T.tolist()):
            low, as_high = against_generated(image, real.T.tolist(), of_generator)
            expected = (p_real(image, real.T.tolist()), low, as_high, real_as_low(image, real.T.tolist()))
            mine = (found.p_real[k], found.p_generated[k], found.generated_as_high[k], found.real_as_low[k])
            np.testing.assert_allclose(mine, expected, rtol=1e-12)
            assert found.words[k] == word(mine[0], mine[2], mine[1], mine[3])
        assert np.isnan(found.high[:, [4, 9]]).all()
        assert found.floor_real == 1 / (n + 1)
        assert found.floor_generated == pytest.approx(np.mean([1 / (len(one) + 1) for one in of_generator]))


def test_an_image_above_all_references_in_every_view_is_the_rarest_that_can_be_said() -> None:
    rng = np.random.default_rng(0)
    real, generated = rng.normal(size=(3, 120)), rng.normal(size=(3, 100)) + 9
    found = judges(real, generated, ["a"] * 100)(np.array([[8.0, 0.0, -9.0, 8.0]] * 2 + [[8.0, 0.0, -9.0, -8.0]]))
    assert found.p_real[0] == 1 / 121 == found.floor_real
    assert found.generated_as_high[0] == 1
    assert found.words.tolist() == [GENERATED, REAL, INCONCLUSIVE, INCONCLUSIVE]
    assert found.p_generated[1:3].tolist() == [1 / 101] * 2
    assert found.real_as_low[2] == 0  # below all photographs: unlike them, too


def judged(p: float, as_high: float, low: float, as_low: float) -> str:
    one = Judged(np.zeros((1, 1)), *(np.array([value]) for value in (p, low, as_high, as_low)), 0.001, 0.001)
    return str(one.words[0])


def test_a_claim_takes_both_rarity_and_odds() -> None:
    assert judged(0.01, 0.03, 0.9, 0.0) == GENERATED
    assert judged(0.01, 0.0299, 0.9, 0.0) == INCONCLUSIVE
    assert judged(0.0101, 1.0, 0.9, 0.0) == INCONCLUSIVE
    assert judged(0.9, 0.9, 0.01, 0.03) == REAL
    assert judged(0.9, 0.9, 0.01, 0.0299) == INCONCLUSIVE
    assert judged(0.001, 0.9, 0.001, 0.9) == INCONCLUSIVE  # like neither
    assert judged(np.nan, np.nan, np.nan, np.nan) == INCONCLUSIVE


def test_rounding_decides_nothing() -> None:
    """The mean of 18 times 1 / 100 is above 0.01 in float64, and 3 / 105 below 3 times 1 / 105."""
    assert np.mean([1 / 100] * 18) > 0.01
    assert ODDS * (1 / 105) > 3 / 105
    assert judged(1 / 105, 3 / 105, 0.9, 0.0) == GENERATED
    assert judged(0.9, 0.9, 1 / 105, 3 / 105) == REAL
    assert judged(1 / 105, 2.99 / 105, 0.9, 0.0) == judged(0.9, 0.9, 1 / 105, 2.99 / 105) == INCONCLUSIVE
    names = [f"g{k:02}" for k in range(18)]
    real = np.random.default_rng(0).normal(size=(3, 200))
    found = judges(real, np.full((3, 99 * 18), 50.0), names * 99)(np.zeros((3, 1)))
    assert found.floor_generated > CLAIM
    assert found.p_generated[0] > CLAIM
    assert found.words.tolist() == [REAL]
    assert at_most(found.floor_generated, CLAIM)
    assert not at_most(np.nan, CLAIM)
    assert not at_most(CLAIM + 1e-9, CLAIM)


def test_p_real_is_of_weakest_views_and_not_of_all_views_at_once() -> None:
    """Photograph k scores k in both views, but for the highest of the first view, which is the lowest of the other."""
    real = np.array([np.arange(100.0), [*np.arange(99.0), -1.0]])
    found = judges(real, np.empty((2, 0)), [])(np.array([[98.5], [49.5]]))
    assert (real >= np.array([[98.5], [49.5]])).all(axis=0).sum() == 0  # none is as high in both views
    assert found.high[:, 0].tolist() == [2 / 101, 50 / 101]
    assert found.p_real[0] == 49 / 101  # the weakest views of 51 to 98 are as strong


def test_without_generated_images_nothing_is_ever_claimed() -> None:
    real = np.random.default_rng(0).normal(size=(3, 300))
    found = judges(real, np.empty((3, 0)), [])(np.array([[9.0, -9.0]] * 3))
    assert found.p_real[0] == 1 / 301
    assert np.isnan([*found.generated_as_high, *found.p_generated, found.floor_generated]).all()
    assert found.words.tolist() == [INCONCLUSIVE] * 2


def test_the_level_is_not_attainable_with_few() -> None:
    rng = np.random.default_rng(0)
    top, generated = np.full((3, 1), 99.0), np.full((3, 400), 50.0)
    for n, can in ((20, False), (98, False), (99, True)):
        found = judges(rng.normal(size=(3, n)), generated, ["a"] * 400)(top)
        assert (found.floor_real <= CLAIM) is can
        assert found.words.tolist() == [GENERATED if can else INCONCLUSIVE]
    found = judges(rng.normal(size=(3, 400)), np.full((3, 110), 50.0), ["a"] * 100 + ["b"] * 10)(-top)
    assert found.p_generated[0] == found.floor_generated == pytest.approx((1 / 101 + 1 / 11) / 2)  # b has too few


def test_a_source_left_out_and_a_generator_unknown() -> None:
    rng = np.random.default_rng(5)
    real, generated, images = rng.normal(size=(2, 30)), rng.normal(size=(2, 20)) + 1, rng.normal(size=(2, 9))
    sources, generators = ["a", "b", ""] * 10, ["x", "y"] * 10
    held, views = references(real, generated, generators, sources, "spectrum"), VIEWS[:2]
    for source in ("b", ""):
        kept = np.array(sources) != source
        mine = Judges.of(held, views, "spectrum", without=source, unknown="x")(images)
        other = judges(real[:, kept], generated[:, 1::2], ["y"] * 10)(images)
        for name in ("high", "p_real", "p_generated", "generated_as_high", "real_as_low"):
            np.testing.assert_array_equal(getattr(mine, name), getattr(other, name))
    np.testing.assert_array_equal(Judges.of(held, views, "spectrum")(images).p_real,
                                  judges(real, generated, generators)(images).p_real)  # fmt: skip
    with pytest.raises(KeyError):
        Judges.of(held, views, "trunk")
    with pytest.raises(ParameterError, match="must be finite"):
        judges(np.full((2, 3), np.nan), generated, generators)


@pytest.mark.parametrize("n", [99, 180])
def test_of_photographs_like_the_references_no_more_than_the_level_stand_out(n: int) -> None:
    """The mean over calibration sets, within four standard errors: exactly floor(level (n + 1)) / (n + 1)."""
    rng, sets = np.random.default_rng(n), 300
    flagged = {0.01: [], 0.05: []}
    for k in range(sets):
        scores = correlated(rng, n + 30, rho=(0.2, 0.5, 0.9)[k % 3])
        found = judges(scores[:, :n], np.empty((4, 0)), [])(scores[:, n:])
        for level, rates in flagged.items():
            rates.append((found.p_real <= level).mean())
    for level, rates in flagged.items():
        exact, error = np.floor(level * (n + 1) + 1e-9) / (n + 1), np.std(rates) / np.sqrt(sets)
        assert exact <= level
        assert abs(np.mean(rates) - exact) < 4 * error


def test_of_generated_images_no_more_than_the_level_look_as_ordinary() -> None:
    """Of a generator drawn at random, each with images of its own kind and number."""
    rng, sets, rates = np.random.default_rng(1), 400, []
    for k in range(sets):
        real, parts = correlated(rng, 120), [correlated(rng, m + 1) + shift for m, shift in ((150, 0.0), (40, 2.0))]
        found = judges(real, np.concatenate([one[:, :-1] for one in parts], axis=1), ["a"] * 150 + ["b"] * 40)
        p = found(parts[k % 2][:, -1:]).p_generated
        rates.append(float(p[0] <= 0.05))
    assert np.mean(rates) <= 0.05 + 4 * np.sqrt(0.05 * 0.95 / sets)
