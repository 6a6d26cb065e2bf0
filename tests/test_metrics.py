"""Every metric against scikit-learn, plain loops, closed forms and laws."""

import inspect
import math

import naive_metrics as naive
import numpy as np
import pytest
import sklearn.metrics as sk
from hypothesis import given, settings
from hypothesis import strategies as st

from fdetect import metrics
from fdetect.errors import UnknownName
from fdetect.metrics import TrialSample, evaluate, group_weights, metric

NAMES = (
    "auroc", "ap_fake", "ap_real", "tpr_roc_1", "tpr_roc_5", "fpr_at_95_tpr", "eer",
    "balanced_accuracy", "tpr_frozen_5", "fpr_achieved_5", "precision", "recall", "f1",
    "accuracy_at_half", "real_accuracy", "fake_accuracy", "ece", "nll", "brier",
)  # fmt: skip
RANKING = [name for name in NAMES if metric.get(name).needs == "score"]
LOOPS = settings(max_examples=60, deadline=None)
SKLEARN = settings(max_examples=25, deadline=None)  # each call costs milliseconds


@st.composite
def samples(draw, *, whole_weights=True, both=False):
    """A label, a score with many ties, a probability, a decision and two weightings of up to 24 images."""
    n = draw(st.integers(2 if both else 1, 24))
    label = draw(st.lists(st.integers(0, 1), min_size=n, max_size=n))
    if both:
        label[0], label[1] = 0, 1
    score = draw(st.lists(st.integers(-4, 4).map(lambda s: s / 2), min_size=n, max_size=n))
    probability = draw(st.lists(st.integers(0, 30).map(lambda p: p / 30) | st.floats(0, 1), min_size=n, max_size=n))
    decision = draw(st.lists(st.booleans(), min_size=n, max_size=n))
    low = 1 if both else 0
    one = st.integers(low, 3).map(float) if whole_weights else st.floats(0.1, 5.0)
    weight = draw(st.lists(st.lists(one, min_size=n, max_size=n), min_size=2, max_size=2))
    columns = {"score": np.array(score), "probability": np.array(probability), "decision": np.array(decision)}
    return np.array(label), columns, np.array(weight)


def call(name, sample):
    label, columns, weight = sample
    return metric.get(name)(label, columns[metric.get(name).needs], weight)


def simulated(n=120, seed=0, groups=40, separation=1.0):
    rng = np.random.default_rng(seed)
    label = rng.integers(0, 2, n)
    score = np.round(rng.normal(size=n) + separation * label, 1)  # rounded: ties
    probability = 1.0 / (1.0 + np.exp(-score))
    group = np.array([f"group {g}" for g in rng.integers(0, groups, n)])
    return TrialSample(label, score, probability, (score > 1.2).astype(np.float64), group)


# -- the contract of the registry ------------------------------------------------------------------------------


def test_registry_holds_exactly_the_promised_metrics():
    assert metric.names() == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_declarations_agree_with_the_signature(name):
    entry = metric.get(name)
    assert entry.reads == ("label", entry.needs, "weight")
    assert entry.needs in ("score", "probability", "decision")
    assert entry.mass in ("pairs", "fakes", "reals", "images")
    assert entry.better in ("higher", "lower")
    assert entry.range[0] < entry.range[1]
    assert entry.summary.endswith(".")
    assert entry.settings == {}
    assert inspect.getdoc(entry.target)


def test_a_misspelt_metric_is_answered_with_the_nearest():
    with pytest.raises(UnknownName, match="did you mean 'auroc'"):
        evaluate([simulated()], ["aurok"], group_weights(simulated().group, replicates=2))


@LOOPS
@given(sample=samples())
def test_every_metric_equals_its_plain_loop_and_stays_in_its_range(sample):
    label, columns, weight = sample
    for name in NAMES:
        entry = metric.get(name)
        got = call(name, sample)
        assert (got.shape, got.dtype) == ((2,), np.float64), name
        for b in range(2):
            plain = getattr(naive, name)(label.tolist(), columns[entry.needs].tolist(), weight[b].tolist())
            assert got[b] == pytest.approx(plain, rel=1e-12, abs=1e-12, nan_ok=True), name
            assert np.isnan(got[b]) or entry.range[0] - 1e-12 <= got[b] <= entry.range[1] + 1e-12, name


@pytest.mark.parametrize("name", NAMES)
def test_inputs_are_left_as_they_were(name):
    trial = simulated()
    column, weight = trial.column(metric.get(name).needs), np.ones((3, 120))
    copies = trial.label.copy(), column.copy(), weight.copy()
    metric.get(name)(trial.label, column, weight)
    for before, after in zip(copies, (trial.label, column, weight), strict=True):
        np.testing.assert_array_equal(before, after)


# -- against scikit-learn ---------------------------------------------------------------------------------------


@SKLEARN
@given(sample=samples(whole_weights=False, both=True))
def test_ranking_metrics_equal_scikit_learn(sample):
    label, columns, weight = sample
    score = columns["score"]
    for b, w in enumerate(weight):
        expected = {
            "auroc": sk.roc_auc_score(label, score, sample_weight=w),
            "ap_fake": sk.average_precision_score(label, score, sample_weight=w),
            "ap_real": sk.average_precision_score(label, -score, sample_weight=w, pos_label=0),
        }
        for name, value in expected.items():
            assert call(name, sample)[b] == pytest.approx(value, abs=1e-12), name


@SKLEARN
@given(sample=samples(both=True))
def test_points_of_the_curve_equal_scikit_learn(sample):
    label, columns, weight = sample
    for b, w in enumerate(weight):
        fpr, tpr, _ = sk.roc_curve(label, columns["score"], sample_weight=w, drop_intermediate=False)
        assert call("tpr_roc_1", sample)[b] == pytest.approx(tpr[fpr <= 0.01].max(), abs=1e-12)
        assert call("tpr_roc_5", sample)[b] == pytest.approx(tpr[fpr <= 0.05].max(), abs=1e-12)
        assert call("fpr_at_95_tpr", sample)[b] == pytest.approx(fpr[tpr >= 0.95].min(), abs=1e-12)
        rate = call("eer", sample)[b]  # FPR = 1 - TPR there: TPR = 1 - rate on the curve's straight pieces
        on_the_curve = [np.interp(rate, fpr, tpr), 1 - rate]
        steep = np.isclose(fpr, rate, atol=1e-12)  # on a vertical piece, any TPR between its ends is on the curve
        inside = steep.any() and tpr[steep].min() - 1e-12 <= 1 - rate <= tpr[steep].max() + 1e-12
        assert inside or on_the_curve[0] == pytest.approx(on_the_curve[1], abs=1e-9)


@SKLEARN
@given(sample=samples(whole_weights=False, both=True))
def test_metrics_of_the_decision_equal_scikit_learn(sample):
    label, columns, weight = sample
    called = columns["decision"].astype(int)
    for b, w in enumerate(weight):
        expected = {
            "balanced_accuracy": sk.balanced_accuracy_score(label, called, sample_weight=w),
            "precision": sk.precision_score(label, called, sample_weight=w, zero_division=np.nan),
            "recall": sk.recall_score(label, called, sample_weight=w),
            "tpr_frozen_5": sk.recall_score(label, called, sample_weight=w),
            "fpr_achieved_5": 1 - sk.recall_score(label, called, sample_weight=w, pos_label=0),
            "f1": sk.f1_score(label, called, sample_weight=w),
        }
        for name, value in expected.items():
            assert call(name, sample)[b] == pytest.approx(value, abs=1e-12, nan_ok=True), name


@SKLEARN
@given(sample=samples(whole_weights=False, both=True))
def test_metrics_of_the_probability_equal_scikit_learn(sample):
    label, columns, weight = sample
    p = columns["probability"] = np.clip(columns["probability"], 1e-6, 1 - 1e-6)  # where both clip nothing
    called = (p >= 0.5).astype(int)
    for b, w in enumerate(weight):
        expected = {
            "accuracy_at_half": sk.accuracy_score(label, called, sample_weight=w),
            "real_accuracy": sk.recall_score(label, called, sample_weight=w, pos_label=0),
            "fake_accuracy": sk.recall_score(label, called, sample_weight=w),
            "nll": sk.log_loss(label, p, sample_weight=w, labels=[0, 1]),
            "brier": sk.brier_score_loss(label, p, sample_weight=w),
        }
        for name, value in expected.items():
            assert call(name, sample)[b] == pytest.approx(value, abs=1e-12), name


# -- closed forms and laws --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name, perfect, reversed_, constant",
    [
        ("auroc", 1.0, 0.0, 0.5),
        ("ap_fake", 1.0, (1 / 7 + 2 / 8 + 3 / 9 + 4 / 10) / 4, 0.4),
        ("ap_real", 1.0, (1 / 5 + 2 / 6 + 3 / 7 + 4 / 8 + 5 / 9 + 6 / 10) / 6, 0.6),
        ("tpr_roc_1", 1.0, 0.0, 0.0),
        ("tpr_roc_5", 1.0, 0.0, 0.0),
        ("fpr_at_95_tpr", 0.0, 1.0, 1.0),
        ("eer", 0.0, 1.0, 0.5),
    ],
)
def test_four_fakes_and_six_reals_ranked_perfectly_reversed_and_not_at_all(name, perfect, reversed_, constant):
    label = np.array([1] * 4 + [0] * 6)
    falling, one = np.arange(10, 0, -1.0), np.ones((1, 10))
    assert metric.get(name)(label, falling, one)[0] == perfect  # exactly, not about
    assert metric.get(name)(label, -falling, one)[0] == pytest.approx(reversed_, abs=1e-15)
    assert metric.get(name)(label, np.zeros(10), one)[0] == pytest.approx(constant, abs=1e-15)


def test_eer_lies_on_the_straight_piece_between_two_points():
    label = np.array([1, 1, 0, 1, 0, 0, 0])  # points (0, 2/3), (1/4, 2/3), (1/4, 1): FPR = 1 - TPR on the last piece
    score = np.array([7.0, 6, 5, 4, 3, 2, 1])
    assert metrics.eer(label, score, np.ones((1, 7)))[0] == pytest.approx(1 / 4, abs=1e-15)
    tied = np.array([2.0, 1, 1, 1, 1, 0, 0])  # (0, 1/3) to (1/2, 1): the piece y = 1/3 + 4/3 x meets 1 - x at 2/7
    assert metrics.eer(label, tied, np.ones((1, 7)))[0] == pytest.approx(2 / 7, abs=1e-15)


def test_twenty_reals_support_five_percent_and_nineteen_do_not():
    for n, expected in ((20, 1.0), (19, 0.0)):
        label = np.array([0] * n + [1] * 3)
        score = np.array([9.0] + [0.0] * (n - 1) + [5.0] * 3)  # one real above all fakes
        assert metrics.tpr_roc_5(label, score, np.ones((1, n + 3)))[0] == expected


def test_nineteen_of_twenty_fakes_are_ninety_five_percent():
    label = np.array([1] * 19 + [0, 0, 1])
    assert metrics.fpr_at_95_tpr(label, np.arange(22, 0, -1.0), np.ones((1, 22)))[0] == 0.0


def test_balanced_calibration_error_does_not_depend_on_the_share_of_fakes():
    label, p = np.array([0, 0, 1, 1]), np.array([0.1, 0.3, 0.3, 0.9])
    many_reals = np.array([[1.0, 1, 1, 1], [50.0, 50, 1, 1]])
    got = metrics.ece(label, p, many_reals)
    # bins 1, 4 and 13: |.1| / 4 + |.3 + .3 - 1| / 4 + |.9 - 1| / 4
    np.testing.assert_allclose(got, (0.1 + 0.4 + 0.1) / 4, rtol=1e-14)


def test_certain_and_wrong_costs_a_finite_amount():
    got = metrics.nll(np.array([1, 0]), np.array([0.0, 1.0]), np.ones((1, 2)))
    assert got[0] == pytest.approx(-math.log(1e-12))


@pytest.mark.parametrize("kind", [0, 1])
def test_one_class_alone_leaves_undefined_what_needs_both(kind):
    label, weight = np.full(5, kind), np.ones((1, 5))
    columns = {"score": np.arange(5.0), "probability": np.linspace(0, 1, 5), "decision": np.arange(5) > 2}
    defined = {name for name in NAMES if not np.isnan(call(name, (label, columns, weight))[0])}
    own = {"real_accuracy", "fpr_achieved_5"} if kind == 0 else {"fake_accuracy", "tpr_frozen_5", "recall"}
    assert defined == own | {"accuracy_at_half", "nll", "brier"}


@pytest.mark.parametrize("name", NAMES)
def test_no_weight_at_all_is_undefined(name):
    trial = simulated()
    got = metric.get(name)(trial.label, trial.column(metric.get(name).needs), np.zeros((2, 120)))
    assert np.isnan(got).all()


@LOOPS
@given(sample=samples())
def test_ranking_metrics_know_only_the_order_of_the_scores(sample):
    label, columns, weight = sample
    stretched = np.exp(3.0 * columns["score"]) - 7.0
    for name in RANKING:
        np.testing.assert_array_equal(call(name, sample), metric.get(name)(label, stretched, weight), name)


@LOOPS
@given(sample=samples())
def test_a_weight_of_two_is_an_image_that_is_there_twice(sample):
    label, columns, weight = sample
    times = weight[0].astype(int)
    for name in NAMES:
        column = columns[metric.get(name).needs]
        doubled = metric.get(name)(np.repeat(label, times), np.repeat(column, times), np.ones((1, times.sum())))
        np.testing.assert_allclose(call(name, sample)[0], doubled[0], rtol=1e-12, atol=1e-14, err_msg=name)


@pytest.mark.parametrize("name", NAMES)
def test_neither_order_of_images_nor_neighbouring_weightings_change_a_value(name):
    trial = simulated()
    rng = np.random.default_rng(5)
    weight, order = rng.integers(0, 4, (7, 120)).astype(np.float64), rng.permutation(120)
    column = trial.column(metric.get(name).needs)
    got = metric.get(name)(trial.label, column, weight)
    shuffled = metric.get(name)(trial.label[order], column[order], weight[:, order])
    np.testing.assert_allclose(got, shuffled, rtol=1e-13)
    alone = [metric.get(name)(trial.label, column, weight[b : b + 1])[0] for b in range(7)]
    np.testing.assert_allclose(got, alone, rtol=1e-13)
