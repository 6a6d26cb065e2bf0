"""The fused detector: its formula by hand, what gates learn, absent branches, files, and adapting."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Sequence
from dataclasses import replace

import naive_fused
import numpy as np
import pytest

from fdetect.classifiers.adapt import adapt
from fdetect.classifiers.fused import BranchSettings, FittedFused, FusedRows, FusedSettings
from fdetect.classifiers.fused_file import fused_of, parts_of
from fdetect.classifiers.fused_fit import balanced, fit_fused, gate_folds
from fdetect.errors import DataError, FdetectError, ParameterError
from fdetect.nets.fusion import evidence, fit_branch, start_branch

torch = pytest.importorskip("torch")

BRANCHES = ("handmade", "spectrum", "trunk")


def toy(
    apart: dict[str, float] | None = None, *, n: int = 240, seed: int = 0, generators: Sequence[str] = ("a", "b", "c")
) -> FusedRows:
    """n rows, half of them fake, in groups of two; of the four columns of a branch the first tells them apart."""
    apart = apart or dict.fromkeys(BRANCHES, 1.0)
    rng = np.random.default_rng(seed)
    label = np.repeat(np.arange(n // 2) % 2, 2)
    vectors = {}
    for name, distance in apart.items():
        values = rng.normal(size=(n, 4)) * (1.0, 10.0, 0.1, 1.0)
        values[:, 0] += distance * label
        vectors[name] = values.astype(np.float32)
    which = np.array(generators, object)[np.repeat(np.arange(n // 2) // 2 % len(generators), 2)]
    columns = {name: tuple(f"{name}:{k}" for k in range(4)) for name in apart}
    groups = np.array([f"g{k // 2}" for k in range(n)], object)
    return FusedRows(vectors, columns, label, groups, np.where(label == 1, which, "").astype(object))


def auroc(label: np.ndarray, score: np.ndarray) -> float:
    real, fake = score[label == 0], score[label == 1]
    return float((fake[:, None] > real).mean() + 0.5 * (fake[:, None] == real).mean())


@pytest.fixture(scope="module")
def fitted() -> FittedFused:
    return fit_fused(toy({"handmade": 1.0, "spectrum": 0.6, "trunk": 1.5}),
                     FusedSettings(branches={"trunk": BranchSettings(hidden=3, clip=2.0)}))  # fmt: skip


# -- the formula ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "names", [one for n in (1, 2, 3) for one in itertools.combinations(BRANCHES, n)], ids="+".join
)
def test_every_subset_of_branches_scores_as_the_formula_does_by_hand(fitted, names):
    # gates that depend on the image, much more than they learn to on these rows
    gate = replace(fitted.gate, novelty=np.float32([0.7, -0.4, 0.2]), sureness=np.float32([-0.5, 0.3, 0.9]),
                   spread=np.float32([0.6]))  # fmt: skip
    fitted = replace(fitted, gate=gate)
    rows = toy(seed=7, n=12)
    vectors = {name: rows.vectors[name].copy() for name in names}
    vectors[names[0]][3, 1] = np.nan
    scores, own = fitted.score(vectors), fitted.branch_logits(vectors)
    share, parts = fitted.gates(vectors), fitted.contributions(vectors)
    clips = {name: fitted.settings.of(name).clip for name in BRANCHES}
    nets = {name: one.net for name, one in fitted.experts.items()}
    for k in range(12):
        wanted = naive_fused.fused(nets, gate, {name: vectors[name][k].tolist() for name in names}, clips)
        assert scores[k] == pytest.approx(wanted["score"], rel=2e-6, nan_ok=True)
        for name in BRANCHES:
            assert own[name][k] == pytest.approx(wanted["own"].get(name, math.nan), rel=2e-6, nan_ok=True)
            assert share[name][k] == pytest.approx(wanted["share"].get(name, 0.0), rel=2e-6)
            assert parts[name][k] == pytest.approx(wanted["parts"].get(name, 0.0), rel=2e-6)


def test_one_branch_alone_scores_its_own_calibrated_logit(fitted):
    rows = toy(seed=3)
    only = {"spectrum": rows.vectors["spectrum"]}
    np.testing.assert_array_equal(fitted.score(only), fitted.branch_logits(only)["spectrum"])


def test_shares_sum_to_one_contributions_to_the_score_and_no_branch_at_all_is_no_score(fitted):
    vectors = {name: values.copy() for name, values in toy(seed=4, n=40).vectors.items()}
    vectors["trunk"][:10] = np.nan
    vectors["handmade"][5:15, 2] = np.inf
    for values in vectors.values():
        values[39] = np.nan
    scores = fitted.score(vectors)
    assert np.flatnonzero(np.isnan(scores)).tolist() == [39]
    assert scores.dtype == np.float64
    np.testing.assert_array_equal(scores, scores.astype(np.float32))
    np.testing.assert_allclose(sum(fitted.gates(vectors).values()), np.arange(40) < 39, atol=1e-6)
    np.testing.assert_allclose(sum(fitted.contributions(vectors).values())[:39], scores[:39], atol=1e-5)
    assert (fitted.gates(vectors)["trunk"][:10] == 0).all()
    assert np.isnan(fitted.branch_logits(vectors)["trunk"][:10]).all()
    assert np.isnan(fitted.probability(vectors)).tolist() == np.isnan(scores).tolist()


def test_a_score_depends_on_its_own_row_alone(fitted):
    vectors = toy(seed=5, n=20).vectors
    together = fitted.score(vectors)
    np.testing.assert_array_equal(fitted.score({k: v[::-1] for k, v in vectors.items()})[::-1], together)
    alone = [fitted.score({k: v[i : i + 1] for k, v in vectors.items()}) for i in range(20)]
    np.testing.assert_array_equal(np.concatenate(alone), together)
    assert fitted.score({k: v[:0] for k, v in vectors.items()}).shape == (0,)


# -- what is learnt ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("decay", [0.01, 0.3])
def test_a_linear_branch_is_scikit_learns_logistic_regression(decay):
    from sklearn.linear_model import LogisticRegression

    rows = toy(seed=1)
    x = rows.vectors["trunk"].astype(np.float64)
    weight = np.random.default_rng(2).uniform(0.2, 1.0, len(x))
    weight /= weight.sum()
    net = fit_branch(start_branch(x), x, rows.label, weight, decay=decay, clip=1e9)
    truth = LogisticRegression(C=1 / (decay * len(x)), tol=1e-10, max_iter=5000)
    truth.fit((x - x.mean(0)) / x.std(0), rows.label, sample_weight=weight * len(x))
    np.testing.assert_allclose(net.weight, truth.coef_[0], atol=2e-5)
    np.testing.assert_allclose(net.bias, truth.intercept_, atol=2e-5)


def test_hidden_units_learn_what_a_line_cannot():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 2))
    label = (x[:, 0] * x[:, 1] > 0).astype(int)
    weight = np.full(400, 1 / 400)
    found = {}
    for hidden in (0, 8):
        net = fit_branch(start_branch(x, hidden=hidden), x, label, weight, decay=1e-3, clip=5.0)
        fresh = rng.normal(size=(400, 2))
        found[hidden] = auroc((fresh[:, 0] * fresh[:, 1] > 0).astype(int), evidence(net, fresh, 5.0)[0])
    assert found[0] < 0.65
    assert found[8] > 0.95


def test_a_branch_with_an_anchor_starts_from_that_column_and_keeps_to_it():
    rows = toy(seed=2)
    x = rows.vectors["trunk"].astype(np.float64)
    start = start_branch(x, anchor=0)
    np.testing.assert_allclose(evidence(start, x, 1e9)[0], x[:, 0], atol=1e-12)
    held = fit_branch(start, x, rows.label, balanced(rows.label, rows.stratum), decay=1e4, clip=1e9)
    moved = evidence(held, x, 1e9)[0] - x[:, 0]
    np.testing.assert_allclose(moved, moved[0], atol=1e-3)  # the bias alone is free


def test_a_branch_of_noise_gets_a_small_share_and_a_good_one_a_large_one():
    fitted = fit_fused(toy({"good": 2.0, "noise": 0.0}, n=400))
    test = toy({"good": 2.0, "noise": 0.0}, n=400, seed=9)
    gates = fitted.gates(test.vectors)
    assert gates["noise"].mean() < 0.15
    alone = auroc(test.label, fitted.score({"good": test.vectors["good"]}))
    assert auroc(test.label, fitted.score(test.vectors)) > alone - 0.01


def test_branches_that_know_different_things_are_better_together():
    apart = dict.fromkeys(BRANCHES, 1.0)
    fitted, test = fit_fused(toy(apart, n=400)), toy(apart, n=400, seed=9)
    together = auroc(test.label, fitted.score(test.vectors))
    assert together > max(auroc(test.label, fitted.score({k: v})) for k, v in test.vectors.items()) + 0.05
    assert fitted.gate.spread[0] > 0.1  # independent branches support each other


def test_a_network_that_is_sure_of_its_own_training_rows_does_not_dominate():
    """The trunk knows the labels of its training rows and nothing else; only `fresh` can tell."""
    rows = toy({"handmade": 1.5, "trunk": 0.0}, n=400)
    fresh = np.arange(400) // 2 % 4 >= 2  # half of the groups of either class
    trunk = rows.vectors["trunk"].copy()
    trunk[:, 0] = np.where(fresh, np.random.default_rng(1).normal(size=400) * 4, 8.0 * rows.label - 4.0)
    rows = replace(rows, vectors={**rows.vectors, "trunk": trunk})
    test = toy({"handmade": 1.5, "trunk": 0.0}, n=400, seed=9)
    test.vectors["trunk"][:, 0] *= 4
    settings = FusedSettings(branches={"trunk": BranchSettings(anchor="trunk:0")})
    fooled = fit_fused(rows, settings)
    honest = fit_fused(replace(rows, fresh={"trunk": fresh}), settings)
    assert fooled.gates(test.vectors)["trunk"].mean() > 0.4  # without the mask it would
    assert honest.gates(test.vectors)["trunk"].mean() < 0.15
    alone = auroc(test.label, test.vectors["handmade"][:, 0])
    assert auroc(test.label, honest.score(test.vectors)) > alone - 0.02
    assert auroc(test.label, fooled.score(test.vectors)) < alone - 0.05


def test_rows_without_a_branch_still_teach_the_others():
    rows = toy({"handmade": 1.5, "trunk": 1.5})
    trunk = rows.vectors["trunk"].copy()
    trunk[40:] = np.nan
    fitted = fit_fused(replace(rows, vectors={**rows.vectors, "trunk": trunk}))
    assert set(fitted.branches) == {"handmade", "trunk"}
    test = toy({"handmade": 1.5, "trunk": 1.5}, seed=9)
    assert auroc(test.label, fitted.score(test.vectors)) > 0.85


def test_a_branch_that_most_reals_lack_keeps_its_boundary_where_it_is():
    """Nine in ten rows with the trunk are fake; that an image has or lacks it must tell nothing."""
    rows = toy({"handmade": 1.0, "trunk": 1.5}, n=800)
    trunk = rows.vectors["trunk"].copy()
    trunk[(rows.label == 0) & (np.arange(800) % 9 > 0)] = np.nan
    fitted = fit_fused(replace(rows, vectors={**rows.vectors, "trunk": trunk}))
    test = toy({"handmade": 1.0, "trunk": 1.5}, n=800, seed=9)
    for logit in (*fitted.branch_logits(test.vectors).values(), fitted.score(test.vectors)):
        right = [float(((logit > 0) == k)[test.label == k].mean()) for k in (0, 1)]
        assert abs(right[0] - right[1]) < 0.15


def test_with_more_branches_than_all_subsets_can_be_taken_of_some_are_drawn():
    apart = {f"b{k}": 0.7 for k in range(7)}
    rows, test = toy(apart), toy(apart, seed=9)
    fitted, again = (fit_fused(rows, FusedSettings(folds=2)) for _ in range(2))
    np.testing.assert_array_equal(fitted.score(test.vectors), again.score(test.vectors))
    assert auroc(test.label, fitted.score(test.vectors)) > 0.8
    assert auroc(test.label, fitted.score({k: test.vectors[k] for k in ("b1", "b4", "b5")})) > 0.7


def test_folds_of_the_gates_part_groups():
    rows = toy()
    pairs = gate_folds(rows, FusedSettings(folds=3), 0)
    assert len(pairs) == 3
    np.testing.assert_array_equal(sum(test.astype(int) for test, _ in pairs), 1)  # each row is tested once
    for test, training in pairs:
        assert not set(rows.group[test]) & set(rows.group[training])
        assert set(rows.label[test]) == set(rows.label[training]) == {0, 1}


def test_a_shared_group_leaves_training_whatever_its_generator():
    rows = toy()
    group = rows.group.copy()
    group[rows.label == 1] = np.array([f"prompt{k % 40}" for k in range(120)], object)
    for test, training in gate_folds(replace(rows, group=group), FusedSettings(), 0):
        assert not set(group[test]) & set(group[training])


def test_weights_are_balanced_between_classes_and_generators():
    label = np.array([0, 0, 0, 0, 1, 1, 1, 1])
    stratum = np.array(["", "", "", "", "a", "b", "b", "b"], object)
    np.testing.assert_allclose(balanced(label, stratum), [1 / 8] * 4 + [1 / 4] + [1 / 12] * 3)
    np.testing.assert_allclose(balanced(label, stratum, 0.0), [1 / 8] * 8)


# -- that nothing else matters ----------------------------------------------------------------------------------------


def test_the_order_of_branches_and_the_global_generator_change_nothing_and_seeds_decide():
    rows = toy()
    settings = FusedSettings(branches={"trunk": BranchSettings(hidden=2)})
    torch.manual_seed(5)
    first = parts_of(fit_fused(rows, settings))
    state = torch.random.get_rng_state()
    turned = FusedRows({k: rows.vectors[k] for k in reversed(BRANCHES)}, rows.columns, rows.label, rows.group,
                       rows.stratum)  # fmt: skip
    second, other = parts_of(fit_fused(turned, settings)), parts_of(fit_fused(rows, settings, seed=1))
    assert first[0] == second[0]
    for name, array in first[1].items():
        np.testing.assert_array_equal(array, second[1][name])
    assert any((array != other[1][name]).any() for name, array in first[1].items())
    assert torch.equal(state, torch.random.get_rng_state())


def test_a_constant_column_counts_for_nothing():
    rows = toy()
    wide = {k: np.concatenate([v, np.full((len(v), 1), 3e7, np.float32)], axis=1) for k, v in rows.vectors.items()}
    columns = {k: (*v, "constant") for k, v in rows.columns.items()}
    fitted, plain = fit_fused(replace(rows, vectors=wide, columns=columns)), fit_fused(rows)
    assert fitted.coefficients("trunk")["constant"] == 0
    np.testing.assert_allclose(fitted.score(wide), plain.score(rows.vectors), atol=1e-4)
    other = {k: np.where(np.arange(5) == 4, 0.0, v).astype(np.float32) for k, v in wide.items()}
    np.testing.assert_array_equal(fitted.score(other), fitted.score(wide))  # whatever it is later


def test_columns_far_outside_what_was_fitted_stay_bounded(fitted):
    far = {name: np.full((1, 4), 1e30, np.float32) for name in BRANCHES}
    assert abs(fitted.score(far)[0]) < 50


# -- what cannot be used ----------------------------------------------------------------------------------------------


def test_what_cannot_be_fitted_is_said_in_one_sentence():
    rows = toy()
    with pytest.raises(DataError, match="no fake image"):
        fit_fused(rows.take(rows.label == 0))
    with pytest.raises(DataError, match="branch trunk cannot be fitted: no real image .* was not trained on"):
        fit_fused(replace(rows, fresh={"trunk": rows.label == 1}))
    with pytest.raises(DataError, match="at least two groups"):
        fit_fused(replace(rows, group=np.full(len(rows), "one", object)))
    absent = {**rows.vectors, "trunk": np.full((len(rows), 4), np.nan, np.float32)}
    with pytest.raises(DataError, match="branch trunk cannot be fitted"):
        fit_fused(replace(rows, vectors=absent))
    with pytest.raises(DataError, match="did you mean 'trunk'"):
        replace(rows, fresh={"trunc": rows.label == 1})
    with pytest.raises(DataError, match="labels but"):
        replace(rows, group=rows.group[1:])
    with pytest.raises(DataError, match="expects 4 columns"):
        replace(rows, vectors={**rows.vectors, "trunk": np.zeros((len(rows), 3))})
    with pytest.raises(ParameterError, match="did you mean 'trunk'"):
        fit_fused(rows, FusedSettings(branches={"trunc": BranchSettings()}))
    with pytest.raises(ParameterError, match="no column 'logit'"):
        fit_fused(rows, FusedSettings(branches={"trunk": BranchSettings(anchor="logit")}))


@pytest.mark.parametrize("wrong", [{"drop": 1}, {"drop": -0.1}, {"folds": 1}, {"gate_decay": 0},
                                   {"input_decay": math.nan}, {"balance": 2}])  # fmt: skip
def test_settings_out_of_range_are_named(wrong):
    with pytest.raises(ParameterError, match=next(iter(wrong))):
        FusedSettings(**wrong)


@pytest.mark.parametrize("wrong", [{"decay": 0}, {"hidden": -1}, {"hidden": 1.5}, {"clip": "3"}])
def test_settings_of_a_branch_out_of_range_are_named(wrong):
    with pytest.raises(ParameterError, match=next(iter(wrong))):
        BranchSettings(**wrong)


def test_what_cannot_be_scored_is_said_in_one_sentence(fitted):
    rows = toy(n=8)
    with pytest.raises(DataError, match="did you mean 'trunk'"):
        fitted.score({"trunc": rows.vectors["trunk"]})
    with pytest.raises(DataError, match="at least one branch"):
        fitted.score({})
    with pytest.raises(DataError, match="expects 4 columns"):
        fitted.score({"trunk": rows.vectors["trunk"][:, :3]})
    with pytest.raises(DataError, match="as many rows"):
        fitted.score({"trunk": rows.vectors["trunk"], "handmade": rows.vectors["handmade"][:3]})


# -- files ------------------------------------------------------------------------------------------------------------


def test_card_and_arrays_bring_back_the_same_scores_and_settings(fitted):
    rows = toy(seed=11)
    card, arrays, files = parts_of(fitted)
    again = fused_of(json.loads(json.dumps(card)), arrays, files)
    assert again.settings == fitted.settings
    assert (again.columns, again.trained_on, again.seed) == (fitted.columns, fitted.trained_on, fitted.seed)
    for vectors in (rows.vectors, {"trunk": rows.vectors["trunk"]}):
        np.testing.assert_array_equal(again.score(vectors), fitted.score(vectors))
        np.testing.assert_array_equal(again.probability(vectors), fitted.probability(vectors))
    assert sum(fitted.trained_on.values()) == 240


def test_a_card_and_arrays_that_do_not_fit_are_refused(fitted):
    card, arrays, files = parts_of(fitted)
    name = "branch.trunk.weight"
    assert fused_of(card, arrays, files).branches == BRANCHES
    for wrong in (
        {k: v for k, v in arrays.items() if k != name}, arrays | {"more": np.zeros(1, np.float32)},
        arrays | {name: arrays[name][:3]}, arrays | {name: arrays[name].astype(np.float64)},
        arrays | {name: np.full(4, np.nan, np.float32)},
    ):  # fmt: skip
        with pytest.raises(DataError, match="array"):
            fused_of(card, wrong, files)
    for key, value in (("format", 2), ("columns", {}), ("settings", {"folds": 4}), ("seed", "0"),
                       ("settings", {**card["settings"], "drop": 3})):  # fmt: skip
        with pytest.raises(FdetectError):
            fused_of(card | {key: value}, arrays, files)
    with pytest.raises(DataError, match="seed"):
        fused_of({k: v for k, v in card.items() if k != "seed"}, arrays, files)


# -- adapting ---------------------------------------------------------------------------------------------------------


TWO = {"handmade": 1.5, "trunk": 1.5}
QUICK = FusedSettings(folds=2)


def new_generator(n: int = 80) -> FusedRows:
    """Fakes that differ in the last column, which told nothing before, and not in the first."""
    rows = toy(dict.fromkeys(TWO, 0.0), n=n, seed=21, generators=("new",))
    for values in rows.vectors.values():
        values[:, 3] += 2.0 * rows.label
    return replace(rows, group=np.array([f"n{one}" for one in rows.group], object))


@pytest.mark.parametrize("mode", ["head", "mix"])
def test_adapting_learns_the_new_generator_and_reports_the_old_ones(mode):
    old, new = toy(TWO), new_generator()
    fitted = fit_fused(old, QUICK)
    done = adapt(fitted, new, old, mode=mode, folds=2)
    assert [one.generator for one in done.changes] == ["a", "b", "c", "new"]
    assert [one.new for one in done.changes] == [False, False, False, True]
    before, after = done.macro(new=True)
    assert before < 0.75
    assert after > before + 0.15
    assert done.macro(new=False)[0] > 0.85
    assert all(0 <= one.after <= 1 and one.n_fake in (40,) and one.n_real == 160 for one in done.changes)
    test = new_generator(400)
    assert auroc(test.label, done.fitted.score(test.vectors)) > auroc(test.label, fitted.score(test.vectors)) + 0.15


def test_a_handful_of_images_moves_the_head_little():
    old, new = toy(TWO), new_generator()
    fitted = fit_fused(old, QUICK)
    few = new.take((new.label == 1) & (np.arange(len(new)) < 16))
    done = adapt(fitted, few, old, folds=2)
    test = toy(TWO, seed=9)
    moved = auroc(test.label, done.fitted.score(test.vectors)) - auroc(test.label, fitted.score(test.vectors))
    assert abs(moved) < 0.06
    assert done.changes[-1].n_fake == int((few.label == 1).sum())
    again = adapt(fitted, few, old, folds=2)
    assert again.changes == done.changes
    np.testing.assert_array_equal(again.fitted.score(test.vectors), done.fitted.score(test.vectors))


@pytest.mark.parametrize("names", [("x", "y"), ("x", "x")])
def test_new_fakes_of_one_group_each_are_spread_over_the_folds(names):
    """Generators of one group each may all be put in one fold, where nothing is left to adapt to."""
    old, new = toy(TWO), new_generator()
    fitted = fit_fused(old, QUICK)
    some = new.take(new.label == 1).take(np.arange(40) < 4)
    few = replace(some, stratum=np.repeat(np.array(names, object), 2))
    for seed in range(2):
        done = adapt(fitted, few, old, folds=2, seed=seed)
        assert all(math.isfinite(one.before + one.after) for one in done.changes)
        found = {one.generator: one.n_fake for one in done.changes if one.new}
        assert found == {name: 2 * names.count(name) for name in names}


def test_what_cannot_be_adapted_is_said_in_one_sentence():
    old, new = toy(TWO), new_generator()
    fitted = fit_fused(old, QUICK)
    with pytest.raises(ParameterError, match="head or mix"):
        adapt(fitted, new, old, mode="all")
    with pytest.raises(ParameterError, match="'a' is among the old rows and the new"):
        adapt(fitted, toy(TWO, seed=3), old)
    with pytest.raises(DataError, match="at least 2 groups"):
        adapt(fitted, new.take(new.label == 0), old)
    other = toy({"trunk": 1.0})
    with pytest.raises(DataError, match="other branches or columns"):
        adapt(fitted, new, other)
    with pytest.raises(DataError, match="branch handmade"):
        adapt(fitted, new.take(new.label == 1), old.joined(other))
