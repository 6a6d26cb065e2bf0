"""The bootstrap by group; cells pooled from trials; intervals, differences and means."""

import math

import naive_metrics as naive
import numpy as np
import pytest

from fdetect import metrics
from fdetect.errors import ParameterError
from fdetect.memo import once_within
from fdetect.metrics import Estimate, TrialSample, evaluate, group_weights, metric

NAMES = metric.names()
RANKING = [name for name in NAMES if metric.get(name).needs == "score"]


def simulated(n=120, seed=0, groups=40, separation=1.0):
    rng = np.random.default_rng(seed)
    label = rng.integers(0, 2, n)
    score = np.round(rng.normal(size=n) + separation * label, 1)  # rounded: ties
    probability = 1.0 / (1.0 + np.exp(-score))
    group = np.array([f"group {g}" for g in rng.integers(0, groups, n)])
    return TrialSample(label, score, probability, (score > 1.2).astype(np.float64), group)


# -- resampling by group ----------------------------------------------------------------------------------------


def test_images_of_a_group_are_drawn_together_and_draws_add_up():
    groups = np.array(["b", "a", "b", "c", "a", "b"])
    weights = group_weights(groups, replicates=400, seed=3)
    of = weights.of(groups)
    assert of.shape == (400, 6)
    assert of.dtype == np.float64
    np.testing.assert_array_equal(of[:, 0], of[:, 2])
    np.testing.assert_array_equal(of[:, 1], of[:, 4])
    np.testing.assert_array_equal(weights.counts.sum(axis=1), 3)
    np.testing.assert_array_equal(weights.of(["c", "a"]), of[:, [3, 1]])
    assert abs(of.mean() - 1.0) < 0.1
    assert abs(weights.counts.var() - 2 / 3) < 0.1  # multinomial: 3 * 1/3 * 2/3


def test_weights_depend_on_the_seed_and_the_set_of_groups_alone():
    groups = [f"g{i}" for i in range(30)]
    first = group_weights(groups, replicates=20, seed=1)
    again = group_weights(groups[::-1] + groups[:7], replicates=20, seed=1)
    np.testing.assert_array_equal(first.counts, again.counts)
    assert (first.counts != group_weights(groups, replicates=20, seed=2).counts).any()


def test_unknown_and_empty_groups_are_refused():
    with pytest.raises(ParameterError, match="group 'zebra'"):
        group_weights(["a", "b"], replicates=2).of(["a", "zebra"])
    with pytest.raises(ParameterError, match="needs a group"):
        group_weights(["a", ""])


@pytest.mark.parametrize("n, replicates", [(7, 0), (7, 5), (3000, 100)])
def test_blocks_are_all_ones_and_then_every_replicate_once(n, replicates):
    groups = [f"g{i % 50}" for i in range(n)]
    weights = group_weights(groups, replicates=replicates)
    together = np.full((1 + replicates, n), np.nan)
    for places, block in weights.blocks(groups):
        together[places] = block
    np.testing.assert_array_equal(together[0], 1.0)
    np.testing.assert_array_equal(together[1:], weights.of(groups))


def test_the_interval_of_the_bootstrap_covers_the_truth_about_as_often_as_it_says():
    truth = 0.5 * (1 + math.erf(1.0 / 2))  # AUROC of two unit normals one apart
    covered = 0
    for seed in range(120):
        rng = np.random.default_rng(seed)
        label = np.repeat([0, 1], 60)
        score = rng.normal(size=120) + label
        groups = [f"g{i}" for i in range(120)]
        weights = group_weights(groups, replicates=200, seed=seed)
        low, high = metrics.interval(metrics.auroc(label, score, weights.of(groups)))
        covered += low <= truth <= high
    assert 0.88 <= covered / 120 <= 1.0


# -- cells: trials, pooling, differences ------------------------------------------------------------------------


def test_evaluate_is_the_metric_on_ones_and_on_the_weights_of_each_replicate():
    trial = simulated()
    weights = group_weights(trial.group, replicates=50, seed=2)
    got = evaluate([trial], NAMES, weights)
    assert tuple(got) == NAMES
    for name in NAMES:
        column = trial.column(metric.get(name).needs)
        value = metric.get(name)(trial.label, column, np.ones((1, 120)))[0]
        assert got[name].value == pytest.approx(value, rel=1e-14)
        replicates = metric.get(name)(trial.label, column, weights.of(trial.group))
        np.testing.assert_allclose(got[name].replicates, replicates, rtol=1e-12)


def test_pooled_auroc_counts_concordant_pairs_within_trials():
    trials = [simulated(n=n, seed=seed, separation=s) for n, seed, s in ((30, 1, 0.2), (50, 2, 2.0), (20, 3, 1.0))]
    shifted = [  # across trials every comparison would now be decided by the trial
        TrialSample(t.label, t.score + 100 * k, t.probability, t.decision, t.group) for k, t in enumerate(trials)
    ]
    weights = group_weights(np.concatenate([t.group for t in trials]), replicates=8)
    got = evaluate(shifted, ["auroc"], weights)["auroc"]
    for b in range(-1, 8):
        right = pairs = 0.0
        for trial in trials:
            w = np.ones(len(trial.label)) if b < 0 else weights.of(trial.group)[b]
            counted = naive.concordant(trial.label.tolist(), trial.score.tolist(), w.tolist())
            right, pairs = right + counted[0], pairs + counted[1]
        assert (got.value if b < 0 else got.replicates[b]) == pytest.approx(right / pairs, rel=1e-12)


@pytest.mark.parametrize("name, mass", [("fpr_achieved_5", "reals"), ("tpr_frozen_5", "fakes"), ("brier", "images")])
def test_pooled_shares_equal_the_share_in_all_trials_together(name, mass):
    trials = [simulated(n=n, seed=seed) for n, seed in ((30, 1), (90, 2))]
    joined = TrialSample(*(np.concatenate([getattr(t, f) for t in trials]) for f in TrialSample.__annotations__))
    weights = group_weights(joined.group, replicates=20)
    assert metric.get(name).mass == mass
    apart, together = evaluate(trials, [name], weights)[name], evaluate([joined], [name], weights)[name]
    assert apart.value == pytest.approx(together.value, rel=1e-12)
    np.testing.assert_allclose(apart.replicates, together.replicates, rtol=1e-12)


def test_masses_are_sums_of_weights():
    got = metrics.masses(np.array([0, 0, 1]), np.array([[1.0, 2, 3], [0, 0, 5]]))
    assert {kind: amount.tolist() for kind, amount in got.items()} == {
        "pairs": [9.0, 0.0], "fakes": [3.0, 5.0], "reals": [3.0, 0.0], "images": [6.0, 5.0],
    }  # fmt: skip


def test_trials_without_mass_are_left_out_and_nothing_left_is_nan():
    values = np.array([[0.2, np.nan, np.nan], [0.8, 0.8, np.nan]])
    mass = np.array([[1.0, 0.0, 0.0], [3.0, 2.0, 0.0]])
    np.testing.assert_allclose(metrics.pooled(values, mass), [0.65, 0.8, np.nan])
    np.testing.assert_allclose(metrics.pooled(values, np.ones_like(mass)), [0.5, 0.8, np.nan])  # mass, but no value


def test_an_uncalibrated_or_thresholdless_trial_makes_the_cell_undefined_not_partial():
    whole = simulated(seed=1)
    nothing = np.full(120, np.nan)
    without = simulated(seed=2)
    without = TrialSample(without.label, without.score, nothing, nothing, without.group)
    minus = TrialSample(whole.label, whole.score, whole.probability, np.full(120, -1, dtype=np.int8), whole.group)
    weights = group_weights(np.concatenate([whole.group, without.group]), replicates=4)
    got = evaluate([whole, without], NAMES, weights)
    for name in NAMES:
        assert np.isnan(got[name].value) == (name not in RANKING)
        assert np.isnan(got[name].replicates).all() == (name not in RANKING)
    assert np.isnan(evaluate([minus], ["recall"], weights)["recall"].value)
    assert np.isnan(evaluate([], ["auroc"], weights)["auroc"].value)


def test_what_is_shared_is_used_for_its_own_arrays_alone():
    trial, other = simulated(seed=1), simulated(seed=2)
    weight = np.ones((1, 120))
    mixtures = [  # each differs from the shared sample in one of the three arrays
        (other.label, trial.score, weight), (trial.label, other.score, weight), (trial.label, trial.score, 2 * weight),
    ]  # fmt: skip
    mixtures[2][2][0, :60] = 0.0
    alone = [metrics.auroc(*mixture)[0] for mixture in mixtures]
    own = metrics.auroc(trial.label, trial.score, weight)[0]
    assert len({own, *alone}) == 4
    with once_within():
        assert [metrics.auroc(*mixture)[0] for mixture in mixtures] == alone
        assert metrics.auroc(trial.label, trial.score, weight)[0] == own


@pytest.mark.parametrize(
    "change, text",
    [({"label": np.full(120, 2)}, "labels must be"), ({"score": np.full(120, np.nan)}, "must be finite"),
     ({"group": np.array(["a"])}, "one length")],
)  # fmt: skip
def test_a_trial_that_does_not_fit_together_is_refused(change, text):
    trial = simulated()
    columns = {name: getattr(trial, name) for name in TrialSample.__annotations__}
    with pytest.raises(ParameterError, match=text):
        TrialSample(**{**columns, **change})


def test_intervals_are_percentiles_of_what_is_finite():
    values = np.arange(101.0)
    assert metrics.interval(values, level=0.9) == pytest.approx((5.0, 95.0))
    half = np.concatenate([values, np.full(101, np.nan)])
    assert metrics.interval(half, level=0.9) == pytest.approx((5.0, 95.0))
    assert np.isnan(metrics.interval(np.append(half, np.nan))).all()
    assert np.isnan(metrics.interval(np.empty(0))).all()
    with pytest.raises(ParameterError, match="level is 95"):
        metrics.interval(values, level=95)


def test_a_paired_difference_is_narrower_than_its_parts():
    trial = simulated(n=400, groups=200)
    better = TrialSample(trial.label, trial.score + 0.3 * trial.label, trial.probability, trial.decision, trial.group)
    weights = group_weights(trial.group, replicates=300)
    ours, theirs = (evaluate([t], ["auroc"], weights)["auroc"] for t in (better, trial))
    got = metrics.difference(ours, theirs)
    assert got.value == ours.value - theirs.value
    low, high = np.quantile(ours.replicates - theirs.replicates, [0.025, 0.975])
    assert (got.low, got.high) == pytest.approx((low, high))
    assert got.low > 0
    assert got.high - got.low < np.subtract(*metrics.interval(theirs.replicates)[::-1]) / 2
    none = metrics.difference(theirs, theirs)
    assert (none.value, none.low, none.high) == (0.0, 0.0, 0.0)


def test_a_macro_mean_is_paired_and_as_undefined_as_its_members():
    first, second = Estimate(0.5, np.array([0.4, 0.6, np.nan])), Estimate(0.9, np.array([0.8, 1.0, 0.9]))
    mean = metrics.macro([first, second])
    assert mean.value == pytest.approx(0.7)
    np.testing.assert_allclose(mean.replicates, [0.6, 0.8, np.nan])
    assert np.isnan(metrics.macro([first, Estimate(float("nan"), second.replicates)]).value)
    with pytest.raises(ParameterError, match="different numbers"):
        metrics.difference(first, Estimate(0.1, np.zeros(2)))
    with pytest.raises(ParameterError, match="at least one"):
        metrics.macro([])
