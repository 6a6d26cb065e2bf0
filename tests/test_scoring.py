"""Scores of trials: what is fitted on what, thresholds, decisions, failures; workers change no byte."""

from __future__ import annotations

import io
from dataclasses import replace

import naive_metrics as naive
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fdetect.bench.models import Fixed, Trained
from fdetect.bench.protocols import Samples, Trial, samples_of, trials_of
from fdetect.bench.scores.scoring import (
    SCORE_COLUMNS,
    score_failures,
    score_trials,
    thresholds_table,
    train_condition,
)
from fdetect.classifiers import fit_head, head
from fdetect.types import MANIFEST_COLUMNS, Failure

CONDITIONS = ("native", "matched", "jpeg70")
COLUMNS = tuple("abcd")
N_REAL, N_FAKE = 200, 60

Row = dict[str, object]


@pytest.fixture(scope="module")
def samples() -> Samples:
    rows = [{"path": f"r{k}", "label": 0, "real_source": ("coco", "phone")[k % 2], "split": "x"} for k in range(N_REAL)]
    rows += [
        {"path": f"{name}{k}", "label": 1, "generator": name, "group": f"prompt {k}"}
        for name in ("gan", "ldm")
        for k in range(N_FAKE)
    ]
    return samples_of(pa.Table.from_pylist([{**dict.fromkeys(MANIFEST_COLUMNS, ""), **row} for row in rows]))


@pytest.fixture(scope="module")
def ids(samples) -> list[str]:
    return [f"{k:032x}" for k in range(len(samples.path))]


@pytest.fixture(scope="module")
def values(samples) -> dict[str, np.ndarray]:
    """Four columns under three conditions; under native the classes lie on other sides than elsewhere."""
    rng = np.random.default_rng(0)
    shift = {"native": -0.8, "matched": 0.8, "jpeg70": 0.5}
    return {
        name: (rng.normal(size=(len(samples.path), 4)) + by * samples.label[:, None]).astype(np.float32)
        for name, by in shift.items()
    }


@pytest.fixture(scope="module")
def trials(samples) -> tuple[Trial, ...]:
    return trials_of(samples, name="leave_one_generator_out", folds=2)


def trained(samples, values, name: str = "logreg", **settings: object) -> Trained:
    return Trained(f"{name}:toy", head.get(name), COLUMNS, values, samples, **settings)


def rows_of(detector, samples, ids, trials, conditions=CONDITIONS, **settings: object) -> list[Row]:
    return score_trials(detector, samples, ids, trials, conditions, **settings).to_pylist()


@pytest.fixture(scope="module")
def scored(samples, values, ids, trials) -> list[Row]:
    return rows_of(trained(samples, values), samples, ids, trials)


def of(rows: list[Row], trial: Trial, condition: str) -> list[Row]:
    return [row for row in rows if row["trial"] == trial.name and row["condition"] == condition]


# -- rows -----------------------------------------------------------------------------------------------------------


def test_one_row_for_each_test_image_trial_and_condition(samples, ids, trials, scored):
    assert len(scored) == len(CONDITIONS) * sum(len(trial.test) for trial in trials)
    for trial in trials:
        for condition in CONDITIONS:
            mine = of(scored, trial, condition)
            assert tuple(mine[0]) == SCORE_COLUMNS
            assert [row["path"] for row in mine] == samples.path[trial.test].tolist()
            for row, k in zip(mine, trial.test, strict=True):
                expected = {
                    "id": ids[k], "label": samples.label[k], "generator": samples.generator[k],
                    "real_source": samples.real_source[k], "group": samples.group[k], "split": samples.split[k],
                    "train": "all but the tested", "seen": False, "detector": "logreg:toy", "status": "ok",
                    "reason": "",
                }  # fmt: skip
                assert {name: row[name] for name in expected} == expected


def test_conditions_come_in_the_order_asked_for_of_each_training(samples, values, ids, trials):
    rows = rows_of(trained(samples, values), samples, ids, trials[:1], ("jpeg70", "native", "matched"))
    assert list(dict.fromkeys(row["condition"] for row in rows)) == ["jpeg70", "matched", "native"]


def test_seen_says_which_generator_was_trained_on(samples, values, ids):
    trials = trials_of(samples, name="cross_generator", folds=2)
    for row in rows_of(trained(samples, values), samples, ids, trials, ("native",)):
        assert row["seen"] == (row["generator"] == row["train"])


def test_a_real_that_names_its_generator_is_not_seen(samples, values, ids):
    trials = trials_of(samples, name="cross_generator", folds=2)
    paired = replace(samples, generator=np.where(samples.label == 0, samples.generators[0], samples.generator))
    rows = rows_of(trained(paired, values), paired, ids, trials, ("native",))
    assert not any(row["seen"] for row in rows if row["label"] == 0)
    assert any(row["seen"] for row in rows)


# -- training -------------------------------------------------------------------------------------------------------


def test_native_is_trained_under_native_and_all_else_under_matched(samples, values, trials, scored):
    assert [train_condition(name) for name in CONDITIONS] == ["native", "matched", "matched"]
    for trial in trials:
        for condition in CONDITIONS:
            under = values["native" if condition == "native" else "matched"]
            fitted = fit_head(head.get("logreg"), COLUMNS, under[trial.fit], samples.label[trial.fit])
            expected = fitted.score(values[condition][trial.test])
            mine = of(scored, trial, condition)
            np.testing.assert_array_equal([row["score"] for row in mine], expected)
            np.testing.assert_array_equal([row["probability"] for row in mine], fitted.probability(expected))
            assert {row["train_condition"] for row in mine} == {"native" if condition == "native" else "matched"}


def test_labels_and_values_of_test_and_calibration_images_train_nothing(samples, values, ids, trials):
    for trial in trials:
        before = rows_of(trained(samples, values), samples, ids, [trial], ("jpeg70",))
        outside = np.setdiff1d(np.arange(len(samples.path)), trial.fit)
        label, changed = samples.label.copy(), {name: array.copy() for name, array in values.items()}
        label[outside] = 1 - label[outside]
        changed["matched"][outside] += 7  # thresholds will move, scores under jpeg70 must not
        mislabelled = replace(samples, label=label)
        after = rows_of(trained(mislabelled, changed), samples, ids, [trial], ("jpeg70",))
        assert [row["score"] for row in after] == [row["score"] for row in before]


def test_scores_that_no_trial_changes(samples, values, ids, trials):
    fixed = Fixed("plain", {name: array[:, 0].astype(np.float64) for name, array in values.items()})
    rows = rows_of(fixed, samples, ids, trials)
    at = {path: k for k, path in enumerate(samples.path)}
    assert all(row["score"] == float(values[row["condition"]][at[row["path"]], 0]) for row in rows)
    assert all(np.isnan(row["probability"]) for row in rows)
    assert {row["train_condition"] for row in rows if row["condition"] == "jpeg70"} == {"matched"}


# -- thresholds and decisions ---------------------------------------------------------------------------------------


def test_thresholds_are_conformal_on_calibration_reals_under_the_training_condition(samples, values, trials, scored):
    for trial in trials:
        for condition in CONDITIONS:
            under = values["native" if condition == "native" else "matched"]
            fitted = fit_head(head.get("logreg"), COLUMNS, under[trial.fit], samples.label[trial.fit])
            on_reals = fitted.score(under[trial.calibration]).tolist()
            (found,) = {(r["threshold"], r["threshold_1"], r["n_calibration"]) for r in of(scored, trial, condition)}
            assert found[0] == naive.conformal_threshold(on_reals, 5)
            assert found[0] is not None
            assert found[1] is naive.conformal_threshold(on_reals, 1) is None  # 24 reals support no level of 1 %
            assert found[2] == len(on_reals) == 24


def in_words(score: float | None, five: float | None, one: float | None) -> str:
    if score is None or np.isnan(score) or five is None:
        return "undecided"
    if score <= five:
        return "real"
    return "fake" if one is None or score > one else "inconclusive"


@pytest.mark.parametrize(("share", "reals"), [(0.1, 10), (0.3, 30), (0.5, 100)])
def test_decisions_follow_the_thresholds(share, reals, samples, values, ids):
    folds = 4 if reals == 100 else 2
    trials = trials_of(samples, name="train_on", train=("gan",), folds=folds, calibration=share)
    if reals == 100:  # enough for the 1 % threshold
        trials = tuple(replace(t, calibration=np.flatnonzero(samples.label == 0)[:120]) for t in trials)
    rows = rows_of(trained(samples, values), samples, ids, trials)
    words = [in_words(row["score"], row["threshold"], row["threshold_1"]) for row in rows]
    assert [row["decision"] for row in rows] == words
    expected = {10: {"undecided"}, 30: {"real", "fake"}, 100: {"real", "inconclusive", "fake"}}[reals]
    assert set(words) == expected


def test_every_threshold_is_listed_once(samples, values, ids, trials):
    table = score_trials(trained(samples, values), samples, ids, trials, CONDITIONS)
    listed = thresholds_table(table)
    assert [(row["detector"], row["train_condition"], row["trial"]) for row in listed] == [
        ("logreg:toy", under, trial.name) for trial in trials for under in ("native", "matched")
    ]
    for row in listed:
        matching = [
            r for r in table.to_pylist() if (r["trial"], r["train_condition"]) == (row["trial"], row["train_condition"])
        ]
        names = ("threshold", "threshold_1", "n_calibration")
        assert {tuple(r[n] for n in names) for r in matching} == {tuple(row[n] for n in names)}


# -- failures -------------------------------------------------------------------------------------------------------


def test_a_failed_image_is_a_row_with_status_and_reason(samples, values, ids, trials):
    trial = trials[0]
    first, second = trial.test[:2]
    holed = {name: array.copy() for name, array in values.items()}
    holed["jpeg70"][first, 1] = np.nan
    holed["jpeg70"][second] = np.inf
    reasons = {"jpeg70": {int(first): "decode: the file is empty (0 bytes)"}, "native": {int(second): "elsewhere"}}
    rows = rows_of(trained(samples, holed, reasons=reasons), samples, ids, [trial])
    failed = [row for row in rows if row["status"] == "failed"]
    assert [(row["condition"], row["path"], row["reason"]) for row in failed] == [
        ("jpeg70", samples.path[first], "decode: the file is empty (0 bytes)"),
        ("jpeg70", samples.path[second], "score: none, or none that is finite"),
    ]
    assert all(np.isnan(row["score"]) and np.isnan(row["probability"]) for row in failed)
    assert {row["decision"] for row in failed} == {"undecided"}
    assert all(row["status"] == "ok" and not row["reason"] for row in rows if row not in failed)


def test_a_score_that_is_not_finite_is_no_verdict(samples, values, ids, trials):
    endless = values["native"][:, 0].astype(np.float64)
    endless[trials[0].test] = np.inf
    rows = rows_of(Fixed("endless", {"native": endless}), samples, ids, trials[:1], ("native",))
    assert {(row["status"], row["decision"], row["n_calibration"]) for row in rows} == {("failed", "undecided", 24)}


def test_failed_calibration_reals_are_not_counted_among_those_that_set_the_threshold(samples, values, ids, trials):
    trial = trials[0]
    holed = {name: array.copy() for name, array in values.items()}
    holed["native"][trial.calibration[:4]] = np.nan
    rows = rows_of(trained(samples, holed), samples, ids, [trial])
    assert {row["n_calibration"] for row in rows if row["condition"] == "native"} == {20}
    assert {row["n_calibration"] for row in rows if row["condition"] == "jpeg70"} == {24}


def test_a_trial_that_cannot_be_trained_fails_alone_and_says_why(samples, values, ids):
    trials = trials_of(samples, name="cross_generator", folds=2)
    poor = trials[0]
    holed = {name: array.copy() for name, array in values.items()}
    unread = poor.fit[samples.label[poor.fit] == 1]
    holed["matched"][unread] = np.nan
    rows = rows_of(trained(samples, holed), samples, ids, trials)
    mine = [row for row in rows if row["trial"] == poor.name and row["train_condition"] == "matched"]
    reason = f"train: trial {poor.name} under matched: head logreg cannot be fitted: no fake image among its"
    assert len(mine) == 2 * len(poor.test)
    assert all(row["status"] == "failed" and row["reason"].startswith(reason) for row in mine)
    assert all(np.isnan(row["score"]) and row["threshold"] is None and row["n_calibration"] == 0 for row in mine)
    others = rows_of(trained(samples, values), samples, ids, trials)
    untouched = {trial.name for trial in trials if trial.train != poor.train}
    again = [row for row in rows if row["trial"] in untouched and row["condition"] == "native"]
    assert str(again) == str([r for r in others if r["trial"] in untouched and r["condition"] == "native"])
    plain = Fixed("plain", {name: array[:, 0].astype(np.float64) for name, array in values.items()})
    assert {row["status"] for row in rows_of(plain, samples, ids, [poor])} == {"ok"}  # nothing was to be trained


def test_failures_at_a_detector_are_listed_beside_those_before_it(samples, values, ids, trials):
    trial = trials[0]
    first, second = (int(row) for row in trial.test[:2])
    holed = {name: array.copy() for name, array in values.items()}
    holed["native"][[first, second], 1] = np.nan
    reasons = {"native": {first: "decode: the file is empty (0 bytes)"}}
    table = score_trials(trained(samples, holed, reasons=reasons), samples, ids, [trial], CONDITIONS)
    known = Failure(ids[first], samples.path[first], "decode", "the file is empty (0 bytes)")
    later = Failure(ids[second], samples.path[second], "score", "none, or none that is finite")
    assert score_failures(table) == (known, later)
    assert score_failures(table, [known]) == (later,)


# -- workers --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", head.names())
def test_the_number_of_workers_changes_no_byte(name, samples, values, ids, trials):
    def written(workers: int) -> bytes:
        file = io.BytesIO()
        detector = trained(samples, values, name)
        pq.write_table(score_trials(detector, samples, ids, trials, CONDITIONS, workers=workers), file)
        return file.getvalue()

    assert written(1) == written(2)


def test_progress_counts_the_trials(samples, values, ids, trials):
    seen: list[tuple[str, int, int]] = []
    rows_of(trained(samples, values), samples, ids, trials, progress=lambda *step: seen.append(step))
    assert seen == [("logreg:toy", k + 1, len(trials)) for k in range(len(trials))]
