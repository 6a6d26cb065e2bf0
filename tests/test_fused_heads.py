"""Branches of the fused detector whose logit is that of a head: trees for what a line cannot tell."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace

import naive_fused
import numpy as np
import pytest
from test_fused import auroc, toy

from fdetect.classifiers import head
from fdetect.classifiers.adapt import adapt
from fdetect.classifiers.fused import BranchSettings, FittedFused, FusedRows, FusedSettings
from fdetect.classifiers.fused_choice import FORMS, candidates_of, choose
from fdetect.classifiers.fused_file import fused_of, parts_of
from fdetect.classifiers.fused_fit import fit_fused
from fdetect.classifiers.fused_head import FusedFit
from fdetect.errors import DataError, ParameterError, UnknownName

pytest.importorskip("torch")

TREES = FusedSettings(branches={"handmade": BranchSettings(head="hist_gb")}, folds=2)


def crossed(seed: int = 0) -> FusedRows:
    """Handmade columns of which the sign of a product tells; a spectrum of which a line tells a little."""
    rows = toy({"handmade": 0.0, "spectrum": 0.5}, n=400, seed=seed)
    values = rows.vectors["handmade"].copy()
    values[:, 0] = np.abs(values[:, 0]) * np.where((rows.label == 1) == (values[:, 1] > 0), 1.0, -1.0)
    return replace(rows, vectors={**rows.vectors, "handmade": values})


@pytest.fixture(scope="module")
def fitted() -> FittedFused:
    return fit_fused(crossed(), TREES)


def test_trees_tell_what_a_line_does_not(fitted):
    test = crossed(1)
    line = fit_fused(crossed(), FusedSettings(folds=2))
    reached = [auroc(test.label, one.branch_logits(test.vectors)["handmade"]) for one in (line, fitted)]
    assert reached[0] < 0.6
    assert reached[1] > 0.9
    assert auroc(test.label, fitted.score(test.vectors)) > 0.9


@pytest.mark.parametrize("names", [("handmade",), ("spectrum",), ("handmade", "spectrum")], ids="+".join)
def test_the_score_is_the_formula_with_the_logit_of_the_head(fitted, names):
    rows = crossed(2).take(np.arange(12))
    vectors = {name: rows.vectors[name].copy() for name in names}
    vectors[names[0]][3, 1] = np.nan
    gate = replace(fitted.gate, novelty=np.float32([0.7, -0.4]), sureness=np.float32([-0.5, 0.9]))
    scores = replace(fitted, gate=gate).score(vectors)
    trees = fitted.experts["handmade"].head
    nets = {name: one.net for name, one in fitted.experts.items()}
    for k in range(12):
        row = {name: vectors[name][k] for name in names}
        said = {"handmade": float(trees.score(row["handmade"][None])[0])} if "handmade" in row else {}
        wanted = naive_fused.fused(nets, gate, {name: one.tolist() for name, one in row.items()},
                                   dict.fromkeys(nets, 3.0), said)  # fmt: skip
        assert scores[k] == pytest.approx(wanted["score"], rel=2e-6, nan_ok=True)


def test_the_head_is_the_registered_one_on_weighted_rows(fitted):
    rows = crossed()
    weight = np.zeros(len(rows))
    for label, stratum in {*zip(rows.label.tolist(), rows.stratum.tolist(), strict=True)}:
        here = (rows.label == label) & (rows.stratum == stratum)
        kinds = len(set(rows.stratum[rows.label == label].tolist()))
        weight[here] = len(rows) / 2 / kinds / here.sum()
    truth = head.get("hist_gb")()
    truth.fit(rows.vectors["handmade"].astype(np.float64), rows.label, sample_weight=weight)
    wanted = truth.decision_function(rows.vectors["handmade"].astype(np.float64))
    np.testing.assert_allclose(fitted.experts["handmade"].head.score(rows.vectors["handmade"]), wanted, atol=1e-6)


def test_what_a_column_is_worth_is_what_the_logit_loses_without_it(fitted):
    row = {name: values[7] for name, values in crossed(3).vectors.items()}
    slopes = dict(zip(fitted.branches, np.exp(fitted.gate.log_slope.astype(np.float64)), strict=True))
    net = fitted.experts["spectrum"].net
    z = np.clip((row["spectrum"] - net.mean.astype(np.float64)) * net.scale, -3, 3)
    np.testing.assert_allclose(fitted.column_parts("spectrum", row["spectrum"]), z * net.weight * slopes["spectrum"],
                               rtol=1e-5, atol=1e-7)  # fmt: skip
    found = fitted.column_parts("handmade", row["handmade"])
    trees, mean = fitted.experts["handmade"].head, fitted.experts["handmade"].net.mean
    for k in range(4):
        without = row["handmade"].astype(np.float64)[None].copy()
        without[0, k] = mean[k]
        lost = trees.score(row["handmade"][None])[0] - trees.score(without)[0]
        assert found[k] == pytest.approx(lost * slopes["handmade"], abs=1e-6)
    assert abs(found[:2]).max() > 10 * abs(found[2:]).max()
    with pytest.raises(ParameterError, match="the logit of branch handmade is of hist_gb, no sum over columns"):
        fitted.coefficients("handmade")


def test_trees_are_chosen_where_they_tell_more_and_a_line_where_it_does():
    rows = crossed()
    settings = FusedSettings(folds=2)
    found = {name: choose(rows, name, candidates_of(FORMS), settings) for name in ("handmade", "spectrum")}
    assert found["handmade"].settings.of("handmade").head == "hist_gb"
    assert found["spectrum"].settings.of("spectrum").head == ""
    assert [one.head for _, one, _ in found["handmade"].tried] == ["", "hist_gb"]


def test_forms_are_read_from_the_name_and_must_be_log_odds():
    assert FusedFit.of("fused").forms == FORMS == ("linear", "hist_gb")
    assert FusedFit.of("fused:forms=linear+hidden").forms == ("linear", "hidden")
    assert [one.told() for one in candidates_of(("hidden", "logreg"))] == [
        {"hidden": 64, "decay": 0.1}, {"hidden": 64, "decay": 0.03}, {"head": "logreg"}]  # fmt: skip
    for name in ("svm_rbf", "stacking", "one_class", "lda", "knn"):
        with pytest.raises(ParameterError, match=f"{name} cannot give a branch its logit; choose of linear, hidden"):
            FusedFit.of(f"fused:forms=linear+{name}")
    with pytest.raises(UnknownName, match="no head 'hist_gp'; did you mean 'hist_gb'"):
        FusedFit.of("fused:forms=hist_gp")
    with pytest.raises(ParameterError, match="name a form"):
        candidates_of(())
    for wrong in ({"hidden": 2}, {"anchor": "logit"}):
        with pytest.raises(ParameterError, match="has no hidden units and no anchor"):
            BranchSettings(head="hist_gb", **wrong)


def test_files_bring_back_the_same_scores_and_others_are_refused(fitted):
    card, arrays, files = parts_of(fitted)
    assert set(files) == {"handmade.skops"}
    again = fused_of(json.loads(json.dumps(card)), arrays, files)
    rows = crossed(4)
    for names in itertools.chain(*(itertools.combinations(("handmade", "spectrum"), n) for n in (1, 2))):
        vectors = {name: rows.vectors[name] for name in names}
        np.testing.assert_array_equal(again.score(vectors), fitted.score(vectors))
    assert parts_of(again)[2] == files
    with pytest.raises(DataError, match="it lacks the file handmade.skops"):
        fused_of(card, arrays, {})
    with pytest.raises(DataError, match="it has no place for the file spectrum.skops"):
        fused_of(card, arrays, files | {"spectrum.skops": files["handmade.skops"]})
    other = parts_of(fit_fused(crossed(), FusedSettings(branches={"handmade": BranchSettings(head="logreg")}, folds=2)))
    with pytest.raises(DataError, match="of which no head hist_gb is made"):
        fused_of(card, arrays, other[2])


@pytest.mark.parametrize("mode", ["head", "mix"])
def test_adapting_leaves_a_head_as_it_is_or_fits_it_anew(fitted, mode):
    old = crossed()
    new = crossed(5).take(np.arange(80))
    new = replace(new, stratum=np.where(new.label == 1, "new", "").astype(object),
                  group=np.array([f"n{one}" for one in new.group], object))  # fmt: skip
    done = adapt(fitted, new, old, mode=mode, folds=0)
    kept = (done.fitted.experts["handmade"].head.score(old.vectors["handmade"])
            == fitted.experts["handmade"].head.score(old.vectors["handmade"])).all()  # fmt: skip
    assert kept == (mode == "head")
    assert done.fitted.trained_on["new"] == int((new.label == 1).sum())


def test_a_head_that_gives_no_finite_score_is_refused():
    """Numbers that no fit makes: arrays of a stranger's file are as free as its card."""
    made = fit_fused(crossed(), FusedSettings(branches={"handmade": BranchSettings(head="logreg")}, folds=2))
    made.experts["handmade"].head.pipeline[-1].coef_[:] = np.nan
    card, arrays, files = parts_of(made)
    with pytest.raises((DataError, ValueError)):
        fused_of(card, arrays, files)
    with pytest.raises(ParameterError, match="head must be the name of one, got 5"):
        BranchSettings(head=5)
