"""The search for settings within training rows, and what a fitted head lives on."""

from __future__ import annotations

import naive_heads as naive
import numpy as np
import pytest

from fdetect.classifiers import fit_head, head, search
from fdetect.classifiers.importance import coefficients_by_family, families_of, permutation_importance
from fdetect.classifiers.search import GRIDS, Searched, auroc_by_generator, inner_folds
from fdetect.errors import DataError, ParameterError
from fdetect.features import column_names, feature

COLUMNS = ("a:1", "a:2", "b:1", "c:1")


def rows(n_groups: int = 24, makers: tuple[str, ...] = ("g", "h", "i"), *, apart: float = 1.0, seed: int = 0):
    """A real and a fake of every generator in each group; columns a and c carry a trace, b none."""
    kinds = ["", *makers]
    generator = np.array(kinds * n_groups, dtype=object)
    groups = np.array([f"scene{k}" for k in range(n_groups) for _ in kinds], dtype=object)
    label = (generator != "").astype(np.int64)
    values = np.random.default_rng(seed).normal(size=(len(label), 4)) + apart * label[:, None] * np.array([1, 1, 0, 2])
    return values.astype(np.float32), label, groups, generator


# -- inner folds ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_makers", [1, 2, 3, 4, 8])
def test_inner_folds_part_groups_and_leave_generators_out(n_makers):
    _, label, groups, generator = rows(makers=tuple("ghijklmn"[:n_makers]))
    folds = inner_folds(label, groups, generator, seed=2)
    assert len(folds) == min(max(n_makers, 3), 5)
    for fold in folds:
        assert not set(groups[fold.fit]) & set(groups[fold.test])
        tested = set(generator[fold.test]) - {""}
        if n_makers >= 3:
            assert tested == set(fold.left_out)
            assert not tested & set(generator[fold.fit])
            assert fold.name == f"without {', '.join(fold.left_out)}"
        else:
            assert (fold.left_out, tested) == ((), set(generator) - {""})
        assert set(label[fold.fit]) == set(label[fold.test]) == {0, 1}
    reals = np.concatenate([fold.test[label[fold.test] == 0] for fold in folds])
    assert sorted(reals) == np.flatnonzero(label == 0).tolist()  # each real is tested once
    if n_makers >= 3:
        assert sorted(name for fold in folds for name in fold.left_out) == sorted(set(generator) - {""})


def test_inner_folds_depend_on_the_seed_and_not_on_the_order_of_rows():
    _, label, groups, generator = rows()
    order = np.random.default_rng(0).permutation(len(label))
    plain, mixed = (inner_folds(label[k], groups[k], generator[k], seed=0) for k in (slice(None), order))
    for one, other in zip(plain, mixed, strict=True):
        assert one.test.tolist() == sorted(order[other.test].tolist())
    other_seed = inner_folds(label, groups, generator, seed=1)
    assert any(a.test.tolist() != b.test.tolist() for a, b in zip(plain, other_seed, strict=True))


# -- the search -------------------------------------------------------------------------------------------------------


def by_hand(settings: dict, data, seed: int) -> float:
    values, label, groups, generator = data
    each: dict[str, list[float]] = {}
    for fold in inner_folds(label, groups, generator, seed=seed):
        fitted = fit_head(head.get("logreg").configured(**settings), COLUMNS, values[fold.fit], label[fold.fit])
        scores = fitted.score(values[fold.test])
        for name in set(generator[fold.test]) - {""}:
            mine = (label[fold.test] == 0) | (generator[fold.test] == name)
            each.setdefault(name, []).append(naive.auroc(label[fold.test][mine].tolist(), scores[mine].tolist()))
    return float(np.mean([np.mean(one) for one in each.values()]))


@pytest.mark.parametrize("makers", [("g", "h"), ("g", "h", "i", "j")])
def test_every_setting_has_the_macro_auroc_of_the_reference_and_the_best_is_chosen(makers):
    data = rows(makers=makers, apart=0.5)
    grid = ({"c": 1e-6}, {"c": 0.01}, {"c": 10.0})
    found = search(head.get("logreg"), grid, *data, seed=3)
    expected = [by_hand(settings, data, 3) for settings in grid]
    assert [one.auroc for one in found.tried] == pytest.approx(expected, abs=1e-12)
    assert len(set(expected)) > 1
    assert found.chosen is found.tried[int(np.argmax(expected))]
    assert found.entry.name == "logreg"
    assert dict(found.entry.settings) == found.chosen.settings
    assert set(found.chosen.settings) == set(head.get("logreg").settings)
    table = found.rows()
    assert len(table) == sum(len(one.cells) for one in found.tried) == 3 * (6 if len(makers) == 2 else 4)
    assert sum(row["chosen"] for row in table) == len(found.chosen.cells)
    assert {row["generator"] for row in table} == set(makers)
    assert found.chosen.worst.auroc == min(cell.auroc for cell in found.chosen.cells)


def test_of_equal_settings_the_first_is_chosen():
    data = rows(apart=30.0)
    for grid in (({"c": 0.1}, {"c": 1.0}), ({"c": 1.0}, {"c": 0.1})):
        found = search(head.get("logreg"), grid, *data)
        assert [one.auroc for one in found.tried] == [1.0, 1.0]
        assert found.entry.settings["c"] == grid[0]["c"]


def test_generators_that_are_left_out_are_judged_by_what_all_fakes_share():
    """Each generator has a place of its own, which nobody can know beforehand, and a weak trace that all share."""
    values, label, groups, generator = rows(40, ("g", "h", "i"), apart=0.0)
    for k, name in enumerate("ghi"):
        values[generator == name, :2] += 6 * np.array([[1, 0], [0, 1], [-1, -1]])[k]
    values[:, 3] += label
    found = search(head.get("knn"), None, values, label, groups, generator)
    assert {cell.fold for cell in found.tried[0].cells} == {"without g", "without h", "without i"}
    known = search(head.get("knn"), None, values, label, groups, np.where(label == 1, "all", "").astype(object))
    assert known.chosen.auroc > 0.95 > 0.9 > found.chosen.auroc


def test_rows_that_are_not_finite_take_no_part():
    values, label, groups, generator = rows()
    holed = np.concatenate([values, np.full((3, 4), np.nan, np.float32)])
    more = [np.concatenate([one, one[:3]]) for one in (label, groups, generator)]
    plain = search(head.get("logreg"), None, values, label, groups, generator)
    assert search(head.get("logreg"), None, holed, *more).tried == plain.tried


@pytest.mark.parametrize("name", ["one_class", "stacking:bases=logreg+lda", "knn", "lda"])
def test_other_heads_are_searched_too(name):
    found = search(head.read(name), None, *rows())
    assert isinstance(found, Searched)
    assert found.entry.name == name
    assert len(found.tried) == len(GRIDS[name.partition(":")[0]])
    assert found.chosen.auroc > 0.75


def test_weights_reach_the_fits():
    values, label, groups, generator = rows(apart=0.3)
    keep = (label == 0) | (generator == "g") | (np.arange(len(label)) % 5 == 0)
    data = values[keep], label[keep], groups[keep], generator[keep]
    plain, weighted = (search(head.get("logreg"), None, *data, weights=one) for one in ("none", "generators"))
    assert plain.tried != weighted.tried


def test_every_head_has_a_grid_of_settings_that_exist_and_holds_its_own():
    assert set(GRIDS) == set(head.names())
    for name, grid in GRIDS.items():
        made = [dict(head.get(name).configured(**settings).settings) for settings in grid]
        assert dict(head.get(name).settings) in made, name
        for settings in grid:
            for setting, value in settings.items():
                assert type(value) is type(head.get(name).settings[setting])
            head.get(name)(**settings)


def test_what_cannot_be_searched_is_one_sentence():
    data = rows()
    with pytest.raises(ParameterError, match="head logreg: the grid is empty"):
        search(head.get("logreg"), [], *data)
    with pytest.raises(ParameterError, match="head 'logreg' has no setting 'C'"):
        search(head.get("logreg"), [{"C": 1.0}], *data)
    values, label, _, generator = data
    with pytest.raises(DataError, match="no inner fold has real and fake images on both sides"):
        search(head.get("logreg"), None, values, label, np.full(len(label), "one", object), generator)


def test_auroc_by_generator_equals_the_reference():
    rng = np.random.default_rng(0)
    label = rng.integers(0, 2, 60)
    generator = np.where(label == 1, rng.choice(["a", "b"], 60), "").astype(object)
    scores = np.round(rng.normal(size=60), 1)
    scores[:5] = np.nan
    found = auroc_by_generator(label, scores, generator)
    ok = np.isfinite(scores)
    expected = naive.macro_auroc(label[ok].tolist(), scores[ok].tolist(), generator[ok].tolist())
    assert sorted(found) == ["a", "b"]
    assert np.mean(list(found.values())) == pytest.approx(expected, abs=1e-12)


# -- importance -------------------------------------------------------------------------------------------------------


def test_importance_is_the_loss_without_a_family():
    values, label, _, _ = rows(60)
    fitted = fit_head(head.read("elastic:c=0.02"), COLUMNS, values, label)
    held = rows(60, seed=1)
    table = permutation_importance(fitted, held[0], held[1], held[3], repeats=4)
    assert [(one.family, one.n_columns, len(one.drops)) for one in table] == [("a", 2, 4), ("b", 1, 4), ("c", 1, 4)]
    expected = naive.macro_auroc(held[1].tolist(), fitted.score(held[0]).tolist(), held[3].tolist())
    assert [one.baseline for one in table] == pytest.approx([expected] * 3, abs=1e-12)
    assert fitted.pipeline[-1].coef_[0][2] == 0
    assert (table[1].mean, table[1].std) == (0.0, 0.0)  # a column without weight is worth nothing
    assert table[2].mean > table[0].mean > 0.02
    assert table[0].mean == pytest.approx(np.mean(table[0].drops))
    assert table[0].std == pytest.approx(np.std(table[0].drops)) != 0


def test_all_columns_permuted_together_leave_chance_and_keep_what_ties_them():
    """Reals and fakes differ only in whether two columns agree: permuted apart nothing is left, together all of it."""
    values, label, _, generator = rows(200, ("g",), apart=0.0)
    values[:, 1] = np.where(label == 1, values[:, 0], -values[:, 0])
    fitted = fit_head(head.read("knn"), COLUMNS, values, label)
    whole = permutation_importance(fitted, values, label, generator, ["all"] * 4, repeats=3)[0]
    assert whole.baseline > 0.9
    assert whole.baseline - whole.mean == pytest.approx(0.5, abs=0.05)


def test_importance_depends_on_its_seed_alone_and_leaves_the_values():
    values, label, _, generator = rows()
    before = values.copy()
    fitted = fit_head(head.get("logreg"), COLUMNS, values, label)
    first, again, other = (permutation_importance(fitted, values, label, generator, seed=s) for s in (1, 1, 2))
    assert first == again != other
    np.testing.assert_array_equal(values, before)
    holed = np.concatenate([values, np.full((2, 4), np.inf, np.float32)])
    more = [np.concatenate([one, one[:2]]) for one in (label, generator)]
    assert permutation_importance(fitted, holed, *more, seed=1) == first


def test_what_has_no_importance_is_one_sentence():
    values, label, _, generator = rows()
    fitted = fit_head(head.get("logreg"), COLUMNS, values, label)
    with pytest.raises(ParameterError, match="2 families for 4 columns"):
        permutation_importance(fitted, values, label, generator, ["a", "b"])
    with pytest.raises(ParameterError, match="repeats is 0"):
        permutation_importance(fitted, values, label, generator, repeats=0)
    with pytest.raises(DataError, match="needs real and fake images"):
        permutation_importance(fitted, values[label == 1], label[label == 1], generator[label == 1])


@pytest.mark.parametrize("name", ["logreg", "elastic", "lda", "svm_linear"])
def test_weights_of_linear_heads_by_family(name):
    values, label, _, _ = rows(100)
    fitted = fit_head(head.get(name), COLUMNS, values, label)
    w = fitted.pipeline[-1].coef_[0]
    a, b, c = coefficients_by_family(fitted, n_top=1)
    assert (a.family, b.family, c.family) == ("a", "b", "c")
    assert a.total == pytest.approx(abs(w[0]) + abs(w[1]))
    assert (a.n_columns, len(a.top)) == (2, 1)
    largest = int(np.argmax(np.abs(w[:2])))
    assert a.top == ((COLUMNS[largest], pytest.approx(w[largest])),)
    assert c.total > b.total
    assert c.top[0][1] > 0  # larger in fakes


@pytest.mark.parametrize("name", ["svm_rbf", "hist_gb", "knn", "one_class"])
def test_other_heads_have_no_weights_of_columns(name):
    values, label, _, _ = rows(10)
    with pytest.raises(ParameterError, match=f"head {name} is not linear"):
        coefficients_by_family(fit_head(head.get(name), COLUMNS, values, label))


def test_families_are_those_of_the_features():
    entry = feature.get("npr_statistics")
    names = column_names(entry)
    assert families_of(names) == (entry.family,) * len(names)
    assert families_of(("embedding:0", "rigid")) == ("embedding", "rigid")
