"""Calibrators against slow references and against what they promise."""

from __future__ import annotations

import json

import naive_heads as naive
import numpy as np
import pytest

from fdetect.classifiers.calibration import Platt, calibrator, calibrator_of, state_of
from fdetect.errors import DataError, ParameterError

EVERY = pytest.mark.parametrize("name", calibrator.names())


def drawn(n: int = 40, *, fakes: float = 0.5, seed: int = 0, slope: float = 1.5) -> tuple[np.ndarray, np.ndarray]:
    """Labels with a known chance, P(fake | s) = 1 / (1 + exp(-slope s)) for fakes = 0.5, some scores twice."""
    rng = np.random.default_rng(seed)
    scores = np.round(rng.normal(size=n), 1)
    odds = slope * scores + np.log(fakes / (1 - fakes))
    label = (rng.random(n) < 1 / (1 + np.exp(-odds))).astype(np.int64)
    return scores, label


NEW = np.array([-4.0, -1.05, -0.3, 0.0, 0.02, 0.7, 1.31, 5.0])


def test_platt_stands_at_the_minimum_of_the_reference():
    scores, label = drawn()
    fitted = calibrator.get("platt")(scores, label, balanced=False)
    slope, offset = naive.platt(scores.tolist(), label.tolist())
    assert (fitted.slope, fitted.offset) == pytest.approx((slope, offset), abs=1e-4)
    least = naive.platt_loss(fitted.slope, fitted.offset, scores.tolist(), label.tolist())
    assert least <= naive.platt_loss(slope, offset, scores.tolist(), label.tolist()) + 1e-9
    np.testing.assert_allclose(fitted.probability(NEW), 1 / (1 + np.exp(-(fitted.slope * NEW + fitted.offset))))


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_platt_does_not_mind_the_unit_of_scores(scale):
    scores, label = drawn()
    plain, other = (calibrator.get("platt")(scores * k + 3 * k, label).probability(NEW * k + 3 * k) for k in (1, scale))
    np.testing.assert_allclose(plain, other, rtol=1e-7)


def test_platt_of_classes_apart_is_finite_and_follows_its_targets():
    scores, label = np.array([-2.0, -1.5, -1.0, 1.0, 1.5, 2.0]), np.repeat([0, 1], 3)
    p = calibrator.get("platt")(scores, label).probability(scores)
    assert 0.05 < p.min() < 0.2 < 0.8 < p.max() < 0.95  # targets 1/5 and 4/5, not 0 and 1
    assert p + p[::-1] == pytest.approx(np.ones(6))


def test_platt_never_falls_where_scores_point_the_wrong_way():
    scores, label = drawn()
    fitted = calibrator.get("platt")(-scores, label, balanced=False)
    assert fitted.slope == 0.0
    fakes, reals = label.sum(), len(label) - label.sum()
    mean = (fakes * (fakes + 1) / (fakes + 2) + reals / (reals + 2)) / len(label)
    np.testing.assert_allclose(fitted.probability(NEW), mean)


def test_isotonic_equals_the_reference_between_scores_too():
    scores, label = drawn()
    fitted = calibrator.get("isotonic")(scores, label, balanced=False)
    expected = naive.isotonic(scores.tolist(), label.tolist())
    np.testing.assert_allclose(fitted.probability(np.array(list(expected))), list(expected.values()), atol=1e-12)
    low, high = sorted(expected)[5:7]
    middle = fitted.probability(np.array([(low + high) / 2]))[0]
    assert middle == pytest.approx((expected[low] + expected[high]) / 2)
    assert fitted.probability(np.array([-99.0, 99.0])).tolist() == [min(expected.values()), max(expected.values())]


@pytest.mark.parametrize("seed", range(3))
def test_venn_abers_equals_a_new_regression_for_each_score(seed):
    scores, label = drawn(25, seed=seed, fakes=0.4)
    fitted = calibrator.get("venn_abers")(scores, label, balanced=False)
    places = np.unique(scores)
    asked = np.concatenate([NEW, places, (places[1:] + places[:-1]) / 2])
    expected = [naive.venn_abers(scores.tolist(), label.tolist(), float(one)) for one in asked]
    np.testing.assert_allclose(fitted.bounds(asked), expected, atol=1e-12)
    np.testing.assert_allclose(fitted.probability(asked), [naive.merged(*pair) for pair in expected], atol=1e-12)
    bounds = fitted.bounds(asked)
    assert (bounds[:, 0] < bounds[:, 1]).all()
    assert ((fitted.probability(asked) >= bounds[:, 0]) & (fitted.probability(asked) <= bounds[:, 1])).all()


def test_venn_abers_by_hand():
    """One real below one fake: a new score between them is 0 or 1/2 as real, 1/2 or 1 as fake."""
    fitted = calibrator.get("venn_abers")(np.array([0.0, 1.0]), np.array([0, 1]))
    assert fitted.bounds(np.array([-1.0, 0.0, 0.5, 1.0, 2.0])).tolist() == [
        [0.0, 0.5], [0.0, 0.5], [0.0, 1.0], [0.5, 1.0], [0.5, 1.0],
    ]  # fmt: skip
    np.testing.assert_allclose(fitted.probability(np.array([-1.0, 0.5, 2.0])), [1 / 3, 0.5, 2 / 3])


def test_venn_abers_narrows_with_more_rows():
    few, many = (calibrator.get("venn_abers")(*drawn(n)).bounds(NEW[1:-1]) for n in (20, 1000))
    assert (many[:, 1] - many[:, 0]).mean() < (few[:, 1] - few[:, 0]).mean() / 4


@EVERY
def test_probabilities_are_the_chances_they_name(name):
    scores, label = drawn(3000, seed=1)
    new, truth = drawn(3000, seed=2)
    p = calibrator.get(name)(scores, label).probability(new)
    np.testing.assert_allclose(p, 1 / (1 + np.exp(-1.5 * new)), atol=0.15)
    for low in (0.0, 0.2, 0.4, 0.6, 0.8):
        inside = (p >= low) & (p < low + 0.2)
        assert inside.sum() > 100
        assert truth[inside].mean() == pytest.approx(p[inside].mean(), abs=0.06)


@EVERY
def test_the_prior_of_the_rows_is_taken_off(name):
    scores, label = drawn(60, fakes=0.85)
    mixed, balanced = (calibrator.get(name)(scores, label, balanced=one) for one in (False, True))
    assert (mixed.prior, balanced.prior) == (0.0, pytest.approx(np.log(label.sum() / (60 - label.sum()))))
    pairs = ((mixed, balanced),) if name != "venn_abers" else ()
    for one, other in pairs:
        expected = [naive.without_prior(p, label.tolist()) for p in one.probability(NEW).tolist()]
        np.testing.assert_allclose(other.probability(NEW), expected, atol=1e-12)
    if name == "venn_abers":
        expected = [naive.without_prior(p, label.tolist()) for p in mixed.bounds(NEW).ravel().tolist()]
        np.testing.assert_allclose(balanced.bounds(NEW).ravel(), expected, atol=1e-12)
    lower = mixed.probability(NEW) - balanced.probability(NEW)
    assert (lower.min() >= 0, lower.max() > 0.2) == (True, True)  # most rows were fakes


@EVERY
@pytest.mark.parametrize("seed", range(4))
def test_a_larger_score_is_never_less_probable(name, seed):
    rng = np.random.default_rng(seed)
    scores, label = np.round(rng.normal(size=50), 1), rng.integers(0, 2, 50)  # as good as useless
    fitted = calibrator.get(name)(scores, label)
    p = fitted.probability(np.sort(np.concatenate([scores, np.linspace(-9, 9, 301)])))
    assert p.dtype == np.float64
    assert (np.diff(p) >= 0).all()
    assert ((p >= 0) & (p <= 1)).all()


@EVERY
def test_scores_that_are_missing_endless_or_none(name):
    fitted = calibrator.get(name)(*drawn())
    p = fitted.probability(np.array([np.nan, -np.inf, np.inf, 0.0]))
    assert np.isnan(p).tolist() == [True, False, False, False]
    assert p[1] <= p[3] <= p[2]
    assert fitted.probability(np.zeros(0)).shape == (0,)


@EVERY
def test_equal_scores_say_nothing(name):
    fitted = calibrator.get(name)(np.full(12, 3.0), np.repeat([0, 1], (4, 8)))
    p = fitted.probability(np.array([2.0, 3.0, 4.0]))
    assert p[1] == pytest.approx(0.5, abs=0.12)
    assert (np.diff(p) >= 0).all()


@EVERY
def test_a_calibrator_is_numbers_that_come_back_through_json(name):
    fitted = calibrator.get(name)(*drawn())
    state = state_of(fitted)
    assert {array.dtype for array in state.values()} == {np.dtype(np.float64)}
    text = json.dumps({key: array.tolist() for key, array in state.items()})
    again = calibrator_of(name, json.loads(text))
    assert type(again) is type(fitted)
    assert type(again.prior) is float
    np.testing.assert_array_equal(again.probability(NEW), fitted.probability(NEW))


@EVERY
def test_numbers_that_no_fit_made_are_refused(name):
    state = state_of(calibrator.get(name)(*drawn()))
    changes = [{"prior": np.array(np.nan)}, {"prior": np.zeros(2)}]
    if name == "platt":
        changes.append({"slope": np.array(-1.0)})
    else:
        curve = "shares" if name == "isotonic" else "high"
        changes += [{"scores": state["scores"][::-1]}, {curve: state[curve][:-1]}, {curve: state[curve] + 1},
                    {curve: state[curve][::-1]}, {"scores": np.zeros(0)}]  # fmt: skip
    for change in changes:
        with pytest.raises(DataError, match=f"not a calibrator {name}"):
            calibrator_of(name, {**state, **change})
    with pytest.raises(DataError, match=f"not a calibrator {name}: KeyError"):
        calibrator_of(name, {})


@EVERY
def test_what_cannot_be_calibrated_is_one_sentence(name):
    scores, label = drawn()
    for kept, missing in ((1, "real"), (0, "fake")):
        with pytest.raises(DataError, match=f"no {missing} image among"):
            calibrator.get(name)(scores[label == kept], label[label == kept])
    with pytest.raises(ParameterError, match="must be finite"):
        calibrator.get(name)(np.append(scores, np.nan), np.append(label, 0))
    with pytest.raises(ParameterError, match="give one of each"):
        calibrator.get(name)(scores, label[:5])


def test_names_and_summaries():
    assert calibrator.names()[:3] == ("platt", "isotonic", "venn_abers")
    assert Platt(1.0, 0.0, 0.0).probability(np.zeros(1)).tolist() == [0.5]
    for entry in calibrator:
        assert "->" in entry.doc
        assert "Source:" in entry.doc
