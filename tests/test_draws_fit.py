"""`fit --draws` and `score` with such a model: fitted on every draw, thresholds, figures and scores by the mean."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from test_cli import fdetect  # noqa: F401 (a fixture)
from test_fit_options import larger_set, toy  # noqa: F401

from fdetect.bench import steps
from fdetect.bench.layouts import read_manifest
from fdetect.bench.protocols import trials_of
from fdetect.bench.training import fitting
from fdetect.bench.training.cross_validation import cross_validated
from fdetect.bench.training.drawn_fit import OnDraws
from fdetect.bench.training.fit_parts import set_apart
from fdetect.bench.training.head_fit import HeadFit, asked_of
from fdetect.classifiers import fit_head, head
from fdetect.classifiers.calibration import calibrator
from fdetect.classifiers.mean_head import MOST_DRAWS, MeanHead
from fdetect.classifiers.saved import load_detector, save_detector
from fdetect.decide import Calibration
from fdetect.draws import drawn, drawn_names
from fdetect.engine import run
from fdetect.errors import DataError, ParameterError, UnknownName
from fdetect.features import feature_tasks, select_features
from fdetect.perturb import condition

QUICK = {"features": ("npr_statistics",), "crop": 128, "condition": "matched"}
PLAIN = {"search": False, "balance": "none", "calibrate": "none", "seed": 0}


@pytest.fixture(scope="module")
def fitted(small_set, store):
    return fitting.fit(small_set, draws=3, store=store, folds=2, **QUICK)


@pytest.fixture(scope="module")
def drawn_tables(small_set):
    """Values of three draws, each from an extraction of its own, and the manifest's ids."""
    manifest, entries, found = read_manifest(small_set), select_features(QUICK["features"]), []
    for k in range(3):
        done = run(feature_tasks(entries, crop=QUICK["crop"]), manifest.column("path").to_pylist(),
                   root=small_set.parent, crop=QUICK["crop"], conditions=[drawn(condition("matched"), k)])  # fmt: skip
        found.append(done.table(drawn_names("matched", 3)[k], [entry.name for entry in entries]))
    return manifest, found


def test_a_model_is_fitted_on_every_draw_and_its_thresholds_are_of_means(fitted, drawn_tables):
    manifest, tables = drawn_tables
    label = np.array(manifest.column("label").to_pylist())
    kept, once, _ = set_apart(manifest, tables[0].ids, np.flatnonzero(label == 0), share=0.25, seed=0)
    rows = np.flatnonzero(kept)
    stacked = np.concatenate([table.values[rows] for table in tables])
    expected = fit_head(head.get("logreg"), tables[0].columns, stacked, np.tile(label[rows], 3))
    means = np.mean([expected.score(table.values) for table in tables], axis=0)
    np.testing.assert_array_equal(fitted.head.score(tables[1].values), expected.score(tables[1].values))
    np.testing.assert_allclose(fitted.calibration.scores, Calibration.of(means[once]).scores, rtol=1e-12)
    assert (fitted.draws, fitted.n_failed) == (3, 0)
    assert sum(fitted.trained_on.values()) == len(rows)  # images, not draws


def test_a_model_that_was_kept_scores_by_the_mean_of_draws(fitted, drawn_tables, small_set, store, tmp_path):
    _, tables = drawn_tables
    save_detector(fitted, tmp_path / "model")
    again = load_detector(tmp_path / "model")
    assert json.loads((tmp_path / "model" / "card.json").read_text())["draws"] == 3
    scores = steps.score(small_set, again, store=store)
    expected = np.mean([fitted.head.score(table.values) for table in tables], axis=0)
    np.testing.assert_allclose(scores.values, expected, rtol=1e-12)
    rows = steps.score_table(scores, None, again, "matched").to_pylist()
    np.testing.assert_allclose([row["probability"] for row in rows], fitted.head.probability(expected), rtol=1e-12)
    assert {row["threshold"] for row in rows} == {fitted.calibration.five.value if fitted.calibration.five.attainable
                                                  else None}  # fmt: skip


def test_one_draw_is_the_model_that_there_is_without(small_set, store):
    plain, one = (fitting.fit(small_set, store=store, folds=0, **QUICK, **how) for how in ({}, {"draws": 1}))
    assert plain.calibration == one.calibration
    assert (plain.draws, plain.judge) == (1, plain.head)
    assert isinstance(replace(plain, draws=2).judge, MeanHead)


def drawn_toy(n: int = 240, draws: int = 3):
    rows, rng = toy(n), np.random.default_rng(7)
    noisy = [rows.values + 6 * rng.normal(size=rows.values.shape) for _ in range(draws)]
    return rows, replace(rows, values=np.concatenate(noisy, axis=1).astype(np.float32))


def test_the_cross_validation_is_of_means_over_draws():
    _, rows = drawn_toy()
    asked = OnDraws.of(HeadFit.of("logreg", **PLAIN), 3)
    assert OnDraws.of(asked.single, 1) is asked.single
    found = cross_validated(rows, asked, folds=3)
    draws, right, pairs = np.split(rows.values, 3, axis=1), 0.0, 0
    for trial in trials_of(rows.samples, name="leave_one_generator_out", folds=3, seed=0):
        if trial.name.startswith("hard/"):
            stacked, label = np.concatenate([one[trial.fit] for one in draws]), np.tile(rows.label[trial.fit], 3)
            fitted = fit_head(head.get("logreg"), rows.columns, stacked, label)
            means = np.mean([fitted.score(one[trial.test]) for one in draws], axis=0)
            fake, real = (means[rows.label[trial.test] == k] for k in (1, 0))
            right += float((fake[:, None] > real).sum())
            pairs += len(fake) * len(real)
    assert found["generators"]["hard"]["auroc"][0] == pytest.approx(right / pairs, abs=1e-12)


def test_draws_of_an_image_are_rows_of_its_group_and_one_that_failed_is_left_out():
    _, rows = drawn_toy(80)
    rows.values[4, 3:6] = np.nan
    rows.values[5] = np.nan
    asked = OnDraws.of(HeadFit.of("logreg", **PLAIN), 3)
    stacked = asked.stacked(rows)
    assert stacked.values.shape == (240, 3)
    np.testing.assert_array_equal(stacked.values[80:160], rows.values[:, 3:6])
    for name in ("label", "generator", "source", "group"):
        assert getattr(stacked, name).tolist() == np.tile(getattr(rows, name), 3).tolist()
    assert list(stacked.ids) == [*rows.ids] * 3
    assert np.flatnonzero(~asked.usable(rows)).tolist() == [5]
    model = asked.learn(rows).head
    ok = np.isfinite(stacked.values).all(axis=1)
    expected = fit_head(head.get("logreg"), rows.columns, stacked.values[ok], stacked.label[ok])
    each = [expected.score(part) for part in np.split(rows.values, 3, axis=1)]
    scores = model.score(rows.values)
    assert scores[4] == pytest.approx((each[0][4] + each[2][4]) / 2, rel=1e-12)
    assert np.flatnonzero(np.isnan(scores)).tolist() == [5]
    np.testing.assert_allclose(scores[6:], np.mean(each, axis=0)[6:], rtol=1e-12)


def test_probabilities_are_made_of_means(larger_set, store):  # noqa: F811
    made = fitting.fit(larger_set, calibrate="platt", draws=2, folds=0, store=store, **QUICK)
    scores = steps.score(larger_set, made, store=store)
    rows = steps.score_table(scores, larger_set, made, "matched").to_pylist()
    expected = made.probabilities.probability(scores.values)
    np.testing.assert_allclose([row["probability"] for row in rows], expected, rtol=1e-12)
    assert made.record["probabilities"]["n_real"] < made.trained_on[""]


def test_a_fused_model_judges_by_means_with_thresholds_for_fewer_branches(small_set, store, tmp_path):
    pytest.importorskip("torch", reason="the extra 'deep' is not installed")
    settings = {**QUICK, "features": ("radial_spectrum", "npr_statistics")}
    fitted = fitting.fit(small_set, head="fused:forms=linear", draws=2, folds=0, store=store, **settings)
    save_detector(fitted, tmp_path / "model")
    again = load_detector(tmp_path / "model")
    scores = steps.score(small_set, again, store=store)
    assert set(scores.branches) == {"handmade+spectrum"}
    manifest, entries = read_manifest(small_set), select_features(settings["features"])
    done = run(feature_tasks(entries, crop=QUICK["crop"]), manifest.column("path").to_pylist(), root=small_set.parent,
               crop=QUICK["crop"], conditions=[drawn(condition("matched"), k) for k in (0, 1)])  # fmt: skip
    tables = [done.table(name, [entry.name for entry in entries]) for name in drawn_names("matched", 2)]
    expected = np.mean([fitted.head.score(table.values) for table in tables], axis=0)
    np.testing.assert_allclose(scores.values, expected, rtol=1e-12)
    label = np.array(manifest.column("label").to_pylist())
    _, once, _ = set_apart(manifest, tables[0].ids, np.flatnonzero(label == 0), share=0.25, seed=0)
    for subset, calibration in again.subsets.items():
        means = np.mean([fitted.head.score(fitted.head.only(table.values[once], subset)) for table in tables], axis=0)
        np.testing.assert_allclose(calibration.scores, np.sort(means), rtol=1e-12)
    spoilt = np.concatenate([table.values for table in tables], axis=1)
    width = tables[0].values.shape[1]
    first = [k for k, name in enumerate(tables[0].columns) if name.startswith("radial_spectrum")]
    spoilt[0, first] = np.nan
    spoilt[1] = np.nan
    spoilt[2, width:] = np.nan
    second = [width + k for k, name in enumerate(tables[0].columns) if not name.startswith("radial_spectrum")]
    spoilt[4, [*first, *second]] = np.nan  # the one draw has this branch, the other that
    present = again.judge.present(spoilt)
    assert present[:5] == ("handmade", "", "handmade+spectrum", "handmade+spectrum", "")
    values = again.judge.score(spoilt)
    assert np.isfinite(values[4])
    shown = steps.score_table(replace(scores, values=values, branches=present), None, again, "matched").to_pylist()
    assert [row["decision"] != "undecided" or np.isfinite(row["p_value"]) for row in shown[:5]] == [
        True, False, True, True, False]  # fmt: skip
    assert (shown[4]["threshold"], shown[4]["decision"], shown[4]["status"]) == (None, "undecided", "ok")
    assert "no branch in common" in shown[4]["reason"]
    assert [row["reason"] for row in shown[2:4]] == ["", ""]


def fused_toy(n: int, known: np.ndarray, draws: int):
    """Rows whose trunk is sure of those that its network knows, and how they are asked for."""
    rows = toy(n)
    rows.values[:, 1] += np.where(known, np.where(rows.label == 1, 6, -6), 0)
    columns, values = ("a", "net:logit", "net:e000"), np.concatenate([rows.values] * draws, axis=1)
    rows = replace(rows, columns=columns, values=values)
    single = asked_of("fused:forms=linear", **{**PLAIN, "balance": "", "calibrate": "platt"})
    fit = replace(single.fit, branches={"handmade": columns[:1], "trunk": columns[1:]})
    ids = frozenset(one for one, is_known in zip(rows.ids, known, strict=True) if is_known)
    return rows, OnDraws.of(replace(single, fit=fit, known=ids), draws)


@pytest.mark.parametrize("draws", [1, 2])
def test_probabilities_of_a_fused_model_are_made_of_images_that_its_network_does_not_know(draws):
    pytest.importorskip("torch", reason="the extra 'deep' is not installed")
    numbers = np.arange(320)
    known = (numbers // 4 % 2 == 0) | (numbers % 4 < 2)  # whole groups, and half of all others
    rows, asked = fused_toy(320, known, draws)
    np.testing.assert_array_equal(asked.fresh(rows), ~known)
    apart = asked.apart(rows, share=0.4)
    assert not set(rows.group[apart]) & set(rows.group[~apart])
    assert set(rows.group[apart]) <= set(rows.group[~known])
    assert (apart & ~known).sum() == pytest.approx(0.4 * (~known).sum(), abs=4)
    fitted = asked.learn(rows.at(~apart)).head
    scores, made = fitted.score(rows.values), asked.probabilities(fitted, rows.at(apart))
    expected = calibrator.get("platt")(scores[apart & ~known], rows.label[apart & ~known])
    np.testing.assert_allclose(made.probability(scores), expected.probability(scores), rtol=1e-12)
    with pytest.raises(DataError, match="of which its network knows none, and has 8 real and 8 fake"):
        asked.apart(rows, share=0.2)


# -- what is refused ------------------------------------------------------------------------------------------------


def test_a_table_of_one_draw_is_refused(fitted, small_set, store, tmp_path):
    table = steps.extract(small_set, store=store, **QUICK)
    with pytest.raises(DataError, match="a table holds one draw of each image, and .* judges by the mean of 3; score"):
        steps.score(table, fitted, store=store)


@pytest.mark.parametrize("draws", [0, -1, "2", True, 1.5, MOST_DRAWS + 1, 10**9])
def test_a_card_with_no_number_of_draws_is_refused(draws, fitted, tmp_path):
    from fdetect.classifiers.model_folder import read_folder, write_folder

    save_detector(fitted, tmp_path / "model")
    card, files = read_folder(tmp_path / "model")
    write_folder(tmp_path / "other", {**card, "draws": draws}, files)
    with pytest.raises(DataError, match="not a fitted detector .draws is"):
        load_detector(tmp_path / "other")


def test_what_does_not_go_together_is_said(small_set, store, fitted):
    for draws in (0, MOST_DRAWS + 1):
        with pytest.raises(ParameterError, match=f"--draws is {draws}; give 1 to 64"):
            fitting.fit(small_set, draws=draws, store=store, **QUICK)
    with pytest.raises(ParameterError, match="--tiles mean sets thresholds on all of a picture, and --draws 2 on"):
        fitting.fit(small_set, draws=2, tiles="mean", store=store, **QUICK)
    assert asked_of("logreg", **PLAIN).stacked(toy(8)) is not None


def test_a_misspelt_fused_detector_is_told_its_name():
    with pytest.raises(UnknownName, match="no head 'fuzed'; did you mean 'fused'"):
        asked_of("fuzed", **PLAIN)


def test_the_command_line_fits_and_scores(fdetect, small_set, tmp_path):  # noqa: F811
    out = str(tmp_path / "m.fdetect")
    common = ["--features", *QUICK["features"], "--crop", str(QUICK["crop"]), "--folds", "0"]
    code, _, err = fdetect("fit", small_set, "-o", out, "--draws", 2, *common)
    assert code == 0, err
    assert json.loads((tmp_path / "m.fdetect" / "card.json").read_text())["draws"] == 2
    code, table, err = fdetect("score", small_set, "--model", out)
    assert (code, len(table.splitlines()) > 40) == (0, True), err
    code, _, err = fdetect("fit", small_set, "-o", out, "--draws", 2, "--aligned", *common)
    assert code != 0
    assert "--draws is of labelled images" in err
