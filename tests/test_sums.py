"""Samples of more images than a mark of the walk, sums by place, and what is computed once: against plain loops."""

import naive_metrics as naive
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fdetect.coded import Coded
from fdetect.errors import ParameterError
from fdetect.memo import once_within, shared
from fdetect.metrics import TrialSample, evaluate, group_weights, metric
from fdetect.sums import by_image, sums_at

RANKING = [name for name in metric.names() if metric.get(name).needs == "score"]


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), n=st.integers(60, 300), digits=st.integers(0, 3), share=st.sampled_from((0.02, 0.5)))
def test_ranking_metrics_of_long_samples_equal_the_plain_loops(seed, n, digits, share):
    rng = np.random.default_rng(seed)
    label = (rng.random(n) < share).astype(int)
    score = np.round(rng.normal(size=n) + rng.integers(0, 4) * label, digits)
    weight = rng.integers(0, 3, (2, n)).astype(np.float64)
    for name in RANKING:
        found = metric.get(name)(label, score, weight)
        for b in range(2):
            plain = getattr(naive, name)(label.tolist(), score.tolist(), weight[b].tolist())
            assert found[b] == pytest.approx(plain, rel=1e-12, abs=1e-12, nan_ok=True), name


@pytest.mark.parametrize("n", [64, 65, 128, 700])
@pytest.mark.parametrize("name", RANKING)
def test_one_point_of_the_curve_for_all_images(name, n):
    """A tie that is longer than any distance of marks."""
    label = np.arange(n) % 2
    found = metric.get(name)(label, np.zeros(n), np.ones((1, n)))[0]
    expected = {"auroc": 0.5, "ap_fake": 0.5, "ap_real": 0.5, "fpr_at_95_tpr": 1.0, "eer": 0.5}
    assert found == pytest.approx(label.mean() if name == "ap_fake" else expected.get(name, 0.0), abs=1 / n)


def test_weightings_do_not_depend_on_how_many_are_walked_together():
    rng = np.random.default_rng(0)
    label, score = rng.integers(0, 2, 500), rng.normal(size=500).round(1)
    weight = rng.integers(0, 4, (70, 500)).astype(np.float64)
    for name in RANKING:
        together = metric.get(name)(label, score, weight)
        alone = [metric.get(name)(label, score, row[None])[0] for row in weight]
        np.testing.assert_array_equal(together, alone, name)


@pytest.mark.parametrize("order", ["C", "F"])
def test_sums_by_place_are_those_of_loops_in_the_order_of_images(order):
    rng = np.random.default_rng(1)
    weight = np.array(rng.random((5, 40)), order=order)
    place, value = rng.integers(0, 3, 40), rng.normal(size=40)
    for values in (None, value):
        expected = np.zeros((3, 5))
        for k in range(40):
            expected[place[k]] += weight[:, k] * (1.0 if values is None else values[k])
        np.testing.assert_array_equal(sums_at(weight, place, 3, values), expected)
    np.testing.assert_array_equal(by_image(weight), weight.T)


def test_what_was_made_of_passing_arrays_is_forgotten_and_the_rest_kept():
    calls = []

    @shared
    def joined(*arrays):
        calls.append(arrays)
        return sum(arrays)

    stays = np.ones(2)
    with once_within():
        for k in range(3):
            passes = np.full(2, float(k))
            with once_within(passes):
                for _ in range(2):
                    assert joined(stays).tolist() == [1.0, 1.0]
                    assert joined(stays, passes).tolist() == [1.0 + k] * 2
            joined(stays, passes)  # forgotten, so computed again
    assert [len(arrays) for arrays in calls] == [1, 2, 2, 2, 2, 2, 2]
    joined(stays)
    assert len(calls) == 8


def test_groups_given_by_number_weigh_as_those_given_by_name():
    rng = np.random.default_rng(2)
    names = np.array(["c", "a", "b", "d"], dtype=object)[rng.integers(0, 4, 50)]
    coded = Coded(np.array(["0", "a", "b", "c", "d"], dtype=object), np.searchsorted(["0", "a", "b", "c", "d"], names))
    assert np.asarray(coded).tolist() == names.tolist()
    weights = group_weights(coded, replicates=20, seed=4)
    by_name = group_weights(names.astype(str), replicates=20, seed=4)
    assert weights.groups.tolist() == ["a", "b", "c", "d"]  # what no image has is no group
    np.testing.assert_array_equal(weights.counts, by_name.counts)
    np.testing.assert_array_equal(weights.of(coded[10:]), by_name.of(names[10:]))
    label, score = rng.integers(0, 2, 50), rng.normal(size=50)
    found = [evaluate([TrialSample(label, score, score, score > 0, group)], ["auroc"], by_name)["auroc"].replicates
             for group in (coded, names.astype(str))]  # fmt: skip
    np.testing.assert_array_equal(*found)
    with pytest.raises(ParameterError, match="group 'c' is not"):
        group_weights(["a", "b", "d"], replicates=2).of(coded)


def test_a_coded_column_is_parted_and_counted():
    coded = Coded(np.array(["a", "b", "c"], dtype=object), np.array([2, 0, 2, 2]))
    assert [(name, rows.tolist()) for name, rows in coded.split()] == [("a", [1]), ("c", [0, 2, 3])]
    assert coded.distinct() == 2
    assert coded[np.zeros(0, np.int64)].split() == []
    assert (len(coded), coded.shape, coded[2:].codes.tolist()) == (4, (4,), [2, 2])
