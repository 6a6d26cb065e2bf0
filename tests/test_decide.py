"""Thresholds that keep their promise, p-values that agree with them, and the words put on scores."""

import math

import naive_metrics as naive
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fdetect.decide import (
    DECISIONS,
    Calibration,
    Threshold,
    achieved,
    conformal_pvalue,
    conformal_threshold,
    decide,
    exact_interval,
)
from fdetect.errors import ParameterError

MANY = settings(max_examples=150, deadline=None)
scores_with_ties = st.lists(st.integers(-20, 20).map(lambda s: s / 4), min_size=0, max_size=120)


@MANY
@given(real=scores_with_ties, percent=st.integers(1, 60))
def test_threshold_equals_the_rank_counted_in_whole_numbers(real, percent):
    got = conformal_threshold(np.array(real), fpr=percent / 100)
    expected = naive.conformal_threshold(real, percent)
    assert got.attainable == (expected is not None)
    assert got.value == (math.inf if expected is None else expected)
    assert (got.n_reals, got.fpr) == (len(real), percent / 100)


@MANY
@given(real=scores_with_ties, scores=scores_with_ties)
def test_pvalues_equal_plain_counting(real, scores):
    got = conformal_pvalue(np.array(scores), np.array(real))
    assert got.dtype == np.float64
    assert got.tolist() == [naive.conformal_pvalue(s, real) for s in scores]


@MANY
@given(real=scores_with_ties, scores=scores_with_ties, percent=st.integers(1, 60))
def test_a_pvalue_at_or_below_the_level_is_a_score_above_the_threshold(real, scores, percent):
    above = np.array(scores) > conformal_threshold(np.array(real), fpr=percent / 100).value
    small = conformal_pvalue(np.array(scores), np.array(real)) <= percent / 100
    np.testing.assert_array_equal(above, small)


@pytest.mark.parametrize("fpr, enough", [(0.05, 19), (0.01, 99), (0.1, 9), (0.001, 999)])
def test_the_fewest_reals_that_support_a_level(fpr, enough):
    scores = np.arange(enough, dtype=np.float64)
    assert conformal_threshold(scores, fpr=fpr).value == enough - 1  # the largest of them
    few = conformal_threshold(scores[1:], fpr=fpr)
    assert (few.value, few.attainable) == (math.inf, False)
    assert str(few) == few.text == f"not attainable ({enough - 1})"


def test_binary_rounding_does_not_shift_the_rank():
    assert conformal_threshold(np.arange(1.0, 125.0), fpr=0.176).value == 103.0  # 125 * 0.824 = 103 in decimals


@pytest.mark.parametrize("n, fpr", [(19, 0.05), (50, 0.05), (150, 0.01), (199, 0.2)])
def test_the_false_positive_rate_is_kept_in_the_mean_over_calibration_sets(n, fpr):
    rng = np.random.default_rng(7)
    repeats, fresh = 4000, 50
    called = 0
    for _ in range(repeats):
        threshold = conformal_threshold(rng.gamma(2.0, size=n), fpr=fpr)
        called += int((rng.gamma(2.0, size=fresh) > threshold.value).sum())
    rate = called / (repeats * fresh)
    exact = math.floor((n + 1) * fpr + 1e-9) / (n + 1)  # continuous scores: never above fpr
    assert exact <= fpr
    assert rate == pytest.approx(exact, rel=0.06)


def test_ties_make_the_threshold_careful_never_bold():
    rng = np.random.default_rng(11)
    rates = []
    for _ in range(2000):
        threshold = conformal_threshold(rng.integers(0, 5, 40).astype(np.float64), fpr=0.25)
        rates.append((rng.integers(0, 5, 40) > threshold.value).mean())
    assert np.mean(rates) <= 0.25


def test_a_score_becomes_the_word_of_its_band():
    five, one = Threshold(1.0, 0.05, 200, True), Threshold(2.0, 0.01, 200, True)
    scores = np.array([-5.0, 1.0, 1.1, 2.0, 2.1, np.nan, np.inf, -np.inf])
    expected = ["real", "real", "inconclusive", "inconclusive", "fake", "undecided", "fake", "real"]
    got = decide(scores, five, one)
    assert got.tolist() == expected
    assert got.dtype.kind == "U"
    assert set(got) == set(DECISIONS)


def test_without_a_one_percent_level_the_five_percent_rule_decides():
    reals = np.arange(50.0)
    five, one = conformal_threshold(reals, fpr=0.05), conformal_threshold(reals, fpr=0.01)
    assert five.attainable
    assert not one.attainable
    assert decide(np.array([five.value, five.value + 1, np.nan]), five, one).tolist() == ["real", "fake", "undecided"]


def test_without_a_five_percent_level_nothing_is_decided():
    five, one = (conformal_threshold(np.arange(10.0), fpr=fpr) for fpr in (0.05, 0.01))
    assert decide(np.array([-1.0, 99.0, np.inf]), five, one).tolist() == ["undecided"] * 3
    assert decide(np.empty(0), five, one).shape == (0,)


def test_a_nan_score_has_no_pvalue():
    got = conformal_pvalue(np.array([np.nan, 3.0, -3.0]), np.array([0.0, 1.0]))
    np.testing.assert_array_equal(got, [np.nan, 1 / 3, 1.0])


def test_thresholds_print_their_value():
    assert f"{conformal_threshold(np.arange(99) / 7, fpr=0.05)}" == "13.4286"


@pytest.mark.parametrize("fpr", [0.0, 1.0, 5, -0.1, float("nan")])
def test_a_level_that_is_no_rate_is_refused(fpr):
    with pytest.raises(ParameterError, match=r"fpr is .*between 0 and 1"):
        conformal_threshold(np.arange(5.0), fpr=fpr)


def test_failed_calibration_images_and_swapped_thresholds_are_refused():
    with pytest.raises(ParameterError, match="must be finite"):
        conformal_threshold(np.array([0.1, np.nan]))
    with pytest.raises(ParameterError, match="must be finite"):
        conformal_pvalue(np.array([0.5]), np.array([np.inf]))
    five, one = Threshold(2.0, 0.05, 200, True), Threshold(1.0, 0.01, 200, True)
    with pytest.raises(ParameterError, match="same calibration reals"):
        decide(np.zeros(2), five, one)


# -- calibration: scores and what follows from them ------------------------------------------------------------------


@MANY
@given(real=scores_with_ties, scores=scores_with_ties)
def test_a_calibration_is_its_scores(real, scores):
    calibration, asked = Calibration.of(real), np.array(scores)
    assert calibration == Calibration.of(reversed([*real, math.nan, math.inf, -math.inf]))
    assert calibration.scores == tuple(sorted(real))
    five, one = (conformal_threshold(np.array(real), fpr=fpr) for fpr in (0.05, 0.01))
    assert (calibration.five, calibration.one) == (five, one)
    assert calibration.decide(asked).tolist() == decide(asked, five, one).tolist()
    p = calibration.pvalue(asked)
    if not real:
        assert np.isnan(p).all()
        return
    np.testing.assert_array_equal(p, conformal_pvalue(asked, np.array(real)))
    for fpr, threshold in ((0.05, five), (0.01, one)):
        np.testing.assert_array_equal(p <= fpr, asked > threshold.value)


def test_a_calibration_says_once_what_it_cannot_support():
    assert Calibration.of(range(199)).text == "threshold at 5 % FPR 189, at 1 % FPR 197; 199 calibration reals"
    assert Calibration.of(range(64)).text == (
        "threshold at 5 % FPR 61, at 1 % FPR not attainable (it takes 99); 64 calibration reals"
    )
    assert Calibration.of([1.0]).text == (
        "threshold at 5 % FPR not attainable (it takes 19), at 1 % FPR not attainable (it takes 99); 1 calibration real"
    )


# -- what a promise came to on another source ------------------------------------------------------------------------


def test_the_achieved_rate_is_counted_above_the_threshold_of_the_others():
    found = achieved("phone", np.array([98.0, 94.0, 95.0, 1.0, np.nan]), np.append(np.arange(99.0), np.nan), fpr=0.05)
    assert found.threshold == conformal_threshold(np.arange(99.0), fpr=0.05)
    assert found.threshold.value == 94.0
    assert (found.source, found.n_reals, found.n_called) == ("phone", 4, 2)
    assert found.text == "2 of 4 = 50.0 % (6.8 to 93.2)"
    few = achieved("phone", np.arange(4.0), np.arange(18.0), fpr=0.05)
    assert (few.n_called, few.text) == (0, "not attainable (18)")
    assert achieved("phone", np.array([np.nan]), np.arange(99.0), fpr=0.05).text == "no reals"


def test_the_exact_interval_is_that_of_scipy_and_has_its_tails():
    from scipy.stats import binomtest

    for k, n in ((0, 1), (1, 1), (0, 20), (7, 20), (20, 20), (3, 1000)):
        found, expected = exact_interval(k, n), binomtest(k, n).proportion_ci(0.95, method="exact")
        assert found == pytest.approx((expected.low, expected.high), abs=1e-9)
    assert exact_interval(0, 30).high == pytest.approx(1 - 0.025 ** (1 / 30))
    for k, n in ((-1, 3), (4, 3), (0, 0)):
        with pytest.raises(ParameterError, match="is no rate"):
            exact_interval(k, n)


def test_over_exchangeable_sources_the_promise_holds_in_the_mean():
    """Sources that do not differ: of 400 seeded sets, the mean achieved rate is (n + 1 - k) / (n + 1) <= fpr; three
    standard errors of 400 x 60 images are 0.005 at 5 %.
    """
    rng, rates = np.random.default_rng(3), {0.05: [], 0.01: []}
    for _ in range(400):
        scores, source = rng.gamma(2.0, size=180), np.repeat(np.arange(3), 60)
        for fpr, seen in rates.items():
            here = achieved("0", scores[source == 0], scores[source != 0], fpr=fpr)
            seen.append(here.n_called / here.n_reals)
    for fpr, seen in rates.items():
        exact = math.floor(121 * fpr) / 121
        assert exact <= fpr
        assert np.mean(seen) == pytest.approx(exact, abs=0.005)
