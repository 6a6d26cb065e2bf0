"""Each head against what it says it is: slow references, conditions of a minimum, weights, odd columns."""

from __future__ import annotations

import warnings

import naive_heads as naive
import numpy as np
import pytest

from fdetect.classifiers import FittedHead, fit_classes, fit_head, head, out_of_fold
from fdetect.classifiers.balance import class_weights, generator_weights, row_weights
from fdetect.classifiers.heads import LOG_ODDS, scale_of
from fdetect.errors import DataError, ParameterError, UnknownName

N, D = 40, 4
COLUMNS = tuple("wxyz")
GROUPS = np.array([f"g{k % 10}" for k in range(2 * N)], dtype=object)


def toy(seed: int = 0, *, apart: float = 0.7, n: int = N) -> tuple[np.ndarray, np.ndarray]:
    """n reals and n fakes in columns of different scales, the last without use."""
    rng = np.random.default_rng(seed)
    label = np.repeat([0, 1], n)
    values = rng.normal(size=(2 * n, D)) + apart * label[:, None] * np.array([1, 1, 1, 0])
    return (values * np.array([0.1, 1, 10, 100])).astype(np.float32), label


def fit(name: str, values: np.ndarray, label: np.ndarray, **given) -> FittedHead:
    return fit_head(head.read(name), COLUMNS[: values.shape[1]], values, label, **{"groups": GROUPS, **given})


def lists(values: np.ndarray) -> list:
    return values.astype(np.float64).tolist()


# -- what each head is ------------------------------------------------------------------------------------------------


def test_knn_counts_neighbours_as_the_reference_does():
    (values, label), (new, _) = toy(), toy(1)
    rows, fitted = (naive.standardised(lists(one), lists(values)) for one in (new, values))
    for k in (1, 7, 15):
        expected = naive.knn(rows, fitted, label.tolist(), k)
        np.testing.assert_allclose(fit(f"knn:n_neighbors={k}", values, label).score(new), expected, rtol=1e-6)


def test_knn_with_fewer_rows_than_neighbours_takes_all():
    values, label = toy(n=3)
    scores = fit_head(head.get("knn"), COLUMNS, values, label).score(toy(1)[0])
    np.testing.assert_array_equal(scores, np.zeros(2 * N))


def test_forest_averages_the_leaves_that_its_trees_lead_to():
    (values, label), (new, _) = toy(), toy(1)
    fitted = fit("random_forest:n_estimators=9:min_samples_leaf=3", values, label)
    trees = []
    for one in fitted.pipeline.estimators_:
        tree = one.tree_
        share = tree.value[:, 0, 1] / tree.value[:, 0].sum(axis=1)
        trees.append([part.tolist() for part in (tree.children_left, tree.children_right, tree.feature,
                                                 tree.threshold, share)])  # fmt: skip
    assert min(len(tree[0]) for tree in trees) > 3
    np.testing.assert_allclose(fitted.score(new), [naive.forest(row, trees) for row in lists(new)], rtol=1e-6)


def test_forest_is_finite_where_all_trees_agree():
    values, label = toy(apart=20.0)
    scores = fit("random_forest:n_estimators=20:min_samples_leaf=1", values, label).score(values)
    assert (scores.min(), scores.max()) == pytest.approx((-np.log(41), np.log(41)))


def test_elastic_net_stands_at_the_minimum_of_its_objective():
    values, label = toy(apart=1.0)
    c, ratio = 0.1, 0.6
    fitted = fit(f"elastic:c={c}:l1_ratio={ratio}:tol=1e-10", values, label)
    last = fitted.pipeline[-1]
    w, b = last.coef_[0].tolist(), float(last.intercept_[0])
    rows = naive.standardised(lists(values), lists(values))
    slopes, by_offset = naive.elastic_slopes(rows, label.tolist(), w, b, c, ratio)
    assert by_offset == pytest.approx(0.0, abs=1e-6)
    assert [one == 0 for one in w] == [False, False, False, True]  # the useless column is left out
    for one, slope in zip(w, slopes, strict=True):
        if one:
            assert slope == pytest.approx(-np.sign(one) * ratio / c, abs=1e-6)
        else:
            assert abs(slope) <= ratio / c


def test_linear_svm_stands_at_the_minimum_with_both_classes_of_one_weight():
    values, label = toy()
    keep = np.arange(2 * N) < 55  # 40 reals, 15 fakes
    fitted = fit("svm_linear:c=0.1", values[keep], label[keep], groups=GROUPS[keep])
    assert fitted.prior == 0.0
    weight = class_weights(label[keep]).tolist()
    assert sum(weight[:40]) == pytest.approx(sum(weight[40:]))
    rows = naive.standardised(lists(values[keep]), lists(values[keep]), weight)
    last = fitted.pipeline[-1]
    w, b = last.coef_[0].tolist(), float(last.intercept_[0])
    slopes, by_offset = naive.squared_hinge_slopes(rows, label[keep].tolist(), weight, w, b, 0.1)
    assert max(abs(one) for one in (*slopes, by_offset)) < 1e-2 * np.abs(w).max()
    expected = [sum(x * y for x, y in zip(row, w, strict=True)) + b for row in rows]
    np.testing.assert_allclose(fitted.score(values[keep]), expected, rtol=1e-5, atol=1e-6)


def test_gaussian_svm_is_a_sum_over_support_vectors_that_meets_its_conditions():
    values, label = toy()
    keep = np.arange(2 * N) < 60
    gamma, c = 0.2, 1.5
    fitted = fit(f"svm_rbf:gamma={gamma}:c={c}", values[keep], label[keep], groups=GROUPS[keep])
    weight = class_weights(label[keep])
    rows = naive.standardised(lists(values[keep]), lists(values[keep]), weight.tolist())
    last, y = fitted.pipeline[-1], 2 * label[keep] - 1
    a = np.zeros(len(rows))
    a[last.support_] = last.dual_coef_[0]
    expected = np.array([
        sum(a[i] * naive.kernel(row, rows[i], gamma) for i in np.flatnonzero(a)) + last.intercept_[0] for row in rows
    ])  # fmt: skip
    np.testing.assert_allclose(fitted.score(values[keep]), expected, rtol=1e-5, atol=1e-6)
    assert a.sum() == pytest.approx(0.0, abs=1e-9)
    assert ((a * y >= 0) & (a * y <= c * weight + 1e-9)).all()
    free = (a * y > 1e-6) & (a * y < c * weight - 1e-6)
    assert free.sum() > 5
    np.testing.assert_allclose((y * expected)[free], 1.0, atol=2e-3)
    assert ((y * expected)[a == 0] > 1 - 2e-3).all()


def test_one_class_is_the_shrunk_distance_from_reals_alone():
    (values, label), (new, _) = toy(), toy(1, apart=3.0)
    fitted = fit("one_class", values, label)
    np.testing.assert_allclose(fitted.score(new), naive.one_class(lists(new), lists(values[label == 0])), rtol=1e-5)
    assert fitted.score(values[label == 0]).mean() == pytest.approx(1.0, abs=0.2)
    moved = values.copy()
    moved[label == 1] += 1000  # other fakes change nothing
    np.testing.assert_array_equal(fit("one_class", moved, label).score(new), fitted.score(new))


def test_one_class_svm_leaves_few_of_its_reals_outside():
    (values, label), (new, truth) = toy(n=100), toy(1, apart=4.0)
    fitted = fit_head(head.read("one_class_svm:nu=0.3"), COLUMNS, values, label)
    reals = fitted.score(values[label == 0])
    assert 0.1 < (reals > 5e-3).mean() <= 0.3  # libsvm puts those on the edge there within 1e-3
    a = fitted.pipeline[-1].dual_coef_[0]
    assert (a.min() > 0, a.max() <= 1, a.sum()) == (True, True, pytest.approx(30.0))
    assert (fitted.score(new)[truth == 1] > 0).mean() > 0.8


# -- stacking ---------------------------------------------------------------------------------------------------------


def test_stacking_learns_from_scores_of_rows_that_its_bases_did_not_see():
    from sklearn.linear_model import LogisticRegression

    values, label = toy(n=60)
    groups = np.array([f"g{k % 12}" for k in range(120)], dtype=object)
    entry = head.read("stacking:bases=logreg+svm_rbf:folds=4")
    fitted = fit_head(entry, COLUMNS, values, label, groups=groups)
    columns = []
    for base in ("logreg", "svm_rbf"):
        scores, fold = out_of_fold(head.get(base), values, label, groups, folds=4)
        for k in range(4):  # balanced folds have a prior near 0, which stacking leaves in
            part = label[fold != k]
            scores[fold == k] += np.log(part.sum() / (len(part) - part.sum())) if base == "logreg" else 0.0
        columns.append(scores)
    meta = np.stack(columns, axis=1)
    by_hand = LogisticRegression(C=1.0).fit((meta - meta.mean(axis=0)) / meta.std(axis=0), label)
    last = fitted.pipeline.final_estimator_[-1]
    np.testing.assert_allclose(last.coef_, by_hand.coef_, rtol=1e-3)
    whole = [fit_head(head.get(base), COLUMNS, values, label).score(values) for base in ("logreg", "svm_rbf")]
    expected = ((np.stack(whole, axis=1) - meta.mean(axis=0)) / meta.std(axis=0)) @ last.coef_[0] + last.intercept_[0]
    np.testing.assert_allclose(fitted.score(values), expected, atol=1e-4)


def test_stacking_is_not_fooled_by_a_head_that_remembers():
    """A base without error on its own rows has no weight if it knows nothing of others."""
    rng = np.random.default_rng(0)
    values, label = toy(n=100, apart=0.0)
    values[:, 0] = label + rng.normal(size=200)  # the one trace; a deep forest of trees remembers the noise too
    entry = head.read("stacking:bases=logreg+svm_rbf")
    groups = [str(k // 2) for k in range(200)]
    fitted = fit_head(entry, COLUMNS, values, label, groups=groups)
    logreg, svm = fitted.pipeline.final_estimator_[-1].coef_[0]
    assert logreg > 2 * abs(svm)


def test_stacking_needs_groups_and_enough_of_them():
    values, label = toy()
    with pytest.raises(ParameterError, match="head stacking parts its rows by group; give fit_head their groups="):
        fit_head(head.get("stacking"), COLUMNS, values, label)
    for groups in (["one"] * 80, ["a"] * 40 + ["b"] * 40, ["a", "b", "c", "d"] * 10 + ["a"] * 40):
        with pytest.raises(DataError, match="of too few groups for folds that leave both classes"):
            fit("stacking", values, label, groups=groups)


@pytest.mark.parametrize("folds", [-1, 0, 1])
def test_stacking_needs_two_folds(folds):
    with pytest.raises(ParameterError, match=f"head stacking: folds is {folds}; give 2 or more"):
        head.read(f"stacking:folds={folds}")()



@pytest.mark.parametrize("base", ["knn", "random_forest", "one_class", "stacking"])
def test_stacking_refuses_bases_it_cannot_read(base):
    if base == "stacking":
        with pytest.raises(UnknownName, match="no head 'logref'; did you mean 'logreg'"):
            head.read("stacking:bases=logref")()
        return
    with pytest.raises(ParameterError, match=f"{base} cannot be among its bases; choose of logreg, hist_gb, lda"):
        head.read(f"stacking:bases=logreg+{base}")()


def test_the_whole_forest_and_stack_fit_and_point_the_right_way():
    values, label = toy(apart=1.5)
    for name in ("random_forest", "stacking"):
        scores = fit(name, values, label).score(toy(1, apart=1.5)[0])
        assert naive.auroc(label.tolist(), scores.tolist()) > 0.9


# -- weights ----------------------------------------------------------------------------------------------------------


def makers(label: np.ndarray) -> np.ndarray:
    """Of the fakes the first 10 are of `few`, the others of `many`."""
    fake = np.flatnonzero(label)
    names = np.array([""] * len(label), dtype=object)
    names[fake[:10]], names[fake[10:]] = "few", "many"
    return names


def test_generator_weights_equal_the_reference():
    label = np.array([0] * 7 + [1] * 12)
    generator = np.array([""] * 7 + ["a"] * 2 + ["b"] * 9 + ["c"], dtype=object)
    source = np.array(["x"] * 5 + ["y"] * 2 + [""] * 12, dtype=object)
    for given in ((), (source,)):
        found = generator_weights(label, generator, *given)
        expected = naive.generator_weights(label.tolist(), generator.tolist(), *(one.tolist() for one in given))
        np.testing.assert_allclose(found, expected)
        assert found.sum() == pytest.approx(19.0)
    assert row_weights("none", label) is None
    np.testing.assert_array_equal(row_weights("generators+sources", label, generator, source), found)


@pytest.mark.parametrize("name", ["logreg:c={}", "elastic:tol=1e-9:c={}", "svm_linear:c={}", "svm_rbf:gamma=0.3:c={}"])
def test_a_generator_of_twice_the_weight_counts_as_if_its_rows_stood_there_twice(name):
    values, label = toy()
    values, label = values[:70], label[:70]  # 40 reals, 10 fakes of `few`, 20 of `many`
    generator = makers(label)
    few = np.flatnonzero(generator == "few")
    weighted = fit(name.format(0.4), values, label, groups=None, generator=generator, weights="generators")
    weight = generator_weights(label, generator)
    assert set(weight.round(9)) == {35 / 20, 35 / 40}  # `few` twice as much as the others
    twice, of_twice = np.concatenate([values, values[few]]), np.concatenate([label, label[few]])
    again = fit(name.format(0.4 * 35 / 40), twice, of_twice, groups=None)
    assert weighted.prior == pytest.approx(again.prior, abs=1e-12)
    np.testing.assert_allclose(weighted.score(values), again.score(values), atol=2e-3)
    plain = fit(name.format(0.4), values, label, groups=None)
    assert np.abs(plain.score(values) - again.score(values)).max() > 2e-2


@pytest.mark.parametrize("name", ["logreg", "hist_gb:max_leaf_nodes=3:max_iter=30", "elastic", "stacking:bases=logreg",
                                  "random_forest:min_samples_leaf=20:n_estimators=50"])  # fmt: skip
def test_under_weights_the_prior_is_that_of_the_weights(name):
    values, label = toy(n=200, apart=0.5)
    keep = np.arange(400) < 260  # 200 reals, 60 fakes
    given = {"groups": [f"g{k % 13}" for k in range(260)], "generator": makers(label[keep])}
    weighted = fit(name, values[keep], label[keep], weights="generators", **given)
    assert weighted.prior == pytest.approx(0.0, abs=1e-12)
    raw = fit(name, values[keep], label[keep], **given)
    assert raw.prior == pytest.approx(np.log(60 / 200))
    new = toy(3, n=200, apart=0.5)[0]
    shift = np.median(weighted.score(new) - raw.score(new))
    assert abs(shift) < 0.5  # with the prior of the numbers taken off, it would be log(200 / 60) = 1.2


def test_heads_that_cannot_weigh_say_so():
    values, label = toy()
    given = {"generator": makers(label), "weights": "generators"}
    for name in ("lda", "knn"):
        with pytest.raises(ParameterError, match=f"head {name} takes no weights; fit it with weights='none'"):
            fit(name, values, label, **given)
    for name in ("one_class", "one_class_svm"):
        with pytest.raises(ParameterError, match=f"head {name} is fitted on reals alone and takes no weights"):
            fit(name, values, label, **given)


def test_weights_that_cannot_be_made_are_one_sentence():
    values, label = toy()
    generator = makers(label)
    for given, error, text in (
        ({"weights": "generator"}, ParameterError, "no weights 'generator'; did you mean 'generators'"),
        ({"weights": "generators"}, ParameterError, "weights='generators' needs generator="),
        ({"weights": "generators+sources", "generator": generator}, ParameterError, "needs source="),
        ({"weights": "generators", "generator": [""] * 80}, DataError,
         "a fake among the rows names no generator, and .*; name it .*, or give weights none"),
        ({"weights": "generators", "generator": generator[:9]}, ParameterError, "9 generator for 80 rows"),
        ({"groups": ["a"]}, ParameterError, "1 groups for 80 rows"),
    ):
        with pytest.raises(error, match=text):
            fit("logreg", values, label, **given)


# -- odd columns ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", head.names())
def test_constant_columns_give_neither_warnings_nor_holes(name):
    values, label = toy(apart=3.0)
    values[:, 1], values[:, 3] = 0.1, 3e7
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fitted = fit(name, values, label)
        scores = fitted.score(values)
        far = fitted.score(np.full((1, D), 3e38, np.float32))
    assert np.isfinite(scores).all()
    assert np.isfinite(far).all()
    assert naive.auroc(label.tolist(), scores.tolist()) > 0.75


@pytest.mark.parametrize("name", head.names())
def test_columns_that_are_all_constant_are_refused(name):
    values, label = toy()
    values[:] = values[0]
    with pytest.raises(DataError, match=f"head {name} cannot be fitted: all 4 columns are constant over its [48]0"):
        fit(name, values, label)


def test_a_probe_on_constant_columns_is_at_chance():
    _, label = toy()
    scores, _ = out_of_fold(head.get("hist_gb"), np.ones((80, 3), np.float32), label, list(GROUPS), folds=4)
    assert naive.auroc(label.tolist(), scores.tolist()) == pytest.approx(0.5, abs=0.01)


# -- several classes --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["random_forest:n_estimators=20", "knn", "elastic"])
def test_more_heads_answer_between_three_classes(name):
    rng, label = np.random.default_rng(0), np.repeat([0, 1, 2], (30, 60, 20))
    values = (rng.normal(size=(110, D)) + 2.0 * np.eye(3, D)[label]).astype(np.float32)
    fitted = fit_classes(head.read(name), COLUMNS, values, label, ("a", "b", "c"))
    scores = fitted.score(values)
    np.testing.assert_allclose(np.exp(scores).sum(axis=1), 1.0, rtol=1e-5)
    p, n = fitted.pipeline.predict_proba(values.astype(np.float64)), {"knn": 15}.get(name, 20)
    votes = p if name == "elastic" else n * p + 0.5
    lifted = votes / fitted.n_rows
    np.testing.assert_allclose(np.exp(scores), lifted / lifted.sum(axis=1, keepdims=True), rtol=1e-5)
    assert (fitted.answer(values) == label).mean() > 0.8


@pytest.mark.parametrize("name", [one.name for one in head if scale_of(one) != LOG_ODDS])
def test_heads_without_log_odds_do_not_answer_between_classes(name):
    values, label = toy()
    with pytest.raises(ParameterError, match=f"head {name} gives no log-odds between classes; choose of logreg"):
        fit_classes(head.get(name), COLUMNS, values, label, ("real", "fake"))
