"""The three-way question: balanced answers, whose turn it is, failures, the counting, tables, what can be asked."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fdetect.bench.protocols import Samples, Trial, trials_of
from fdetect.bench.training.three_way import ThreeWay, three_way_not_run
from fdetect.bench.training.three_way_answers import (
    CLASSES,
    Answers,
    Shown,
    TrialAnswers,
    answers_in_trial,
    taken_in_turn,
    turns,
)
from fdetect.bench.training.three_way_tables import BALANCED, Count, counted, counts_of, three_way_grids
from fdetect.bootstrap import group_weights
from fdetect.classifiers import NO_ANSWER, fit_classes, fit_head, head
from fdetect.config import RunConfig, override, read_config
from fdetect.decide import exact_interval
from fdetect.errors import DataError, ParameterError, UnknownName
from fdetect.features import select_features
from fdetect.perturb import condition
from fdetect.types import REAL, RunResult

HEADS = ("logreg", "hist_gb", "lda", "elastic")
NAMES = ("a", "b", "c")  # of autoencoders


def blobs(counts: tuple[int, ...], apart: float, *, columns: int = 5, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Gaussian classes whose means stand `apart` on an axis each: (N, D) float32, (N,)."""
    rng, label = np.random.default_rng(seed), np.repeat(np.arange(len(counts)), counts)
    values = rng.normal(size=(len(label), columns)) + apart * np.eye(len(counts), columns)[label]
    return values.astype(np.float32), label


def names_of(values: np.ndarray) -> tuple[str, ...]:
    return tuple(f"x{k}" for k in range(values.shape[1]))


# -- balanced answers -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", HEADS)
def test_scores_and_answers_equal_the_naive_reference(name: str) -> None:
    values, label = blobs((80, 300, 20), 1.5)
    fitted = fit_classes(head.get(name), names_of(values), values, label, CLASSES)
    new, _ = blobs((40, 40, 40), 1.5, seed=1)
    scores, answers = fitted.score(new), fitted.answer(new)
    probability = fitted.pipeline.predict_proba(new.astype(np.float64))
    unlike = 0
    for row, score, answer in zip(probability, scores, answers, strict=True):
        lifted = [p / n for p, n in zip(row, (80, 300, 20), strict=True)]
        expected = [math.log(p / sum(lifted)) for p in lifted]
        assert score == pytest.approx(expected, rel=1e-5, abs=1e-6)
        assert answer == expected.index(max(expected))
        unlike += answer != list(row).index(max(row))
    assert unlike > 5  # the prior of training decided some answers before
    assert scores.dtype == np.float64
    assert np.array_equal(scores, scores.astype(np.float32))


@pytest.mark.parametrize("name", HEADS)
def test_two_classes_are_what_a_head_says(name: str) -> None:
    values, label = blobs((60, 200), 1.0)
    two = fit_classes(head.get(name), names_of(values), values, label, ("real", "fake")).score(values)
    one = fit_head(head.get(name), names_of(values), values, label).score(values)
    np.testing.assert_allclose(two[:, 1] - two[:, 0], one, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", HEADS)
def test_useless_columns_give_chance_whatever_the_classes_weigh(name: str) -> None:
    values, label = blobs((100, 700, 200), 0.0, seed=2)
    fitted = fit_classes(head.get(name), names_of(values), values, label, CLASSES)
    new, truth = blobs((600, 600, 600), 0.0, seed=3)
    answers = fitted.answer(new)
    assert np.mean([np.mean(answers[truth == k] == k) for k in range(3)]) == pytest.approx(1 / 3, abs=0.04)
    assert min(np.bincount(answers, minlength=3)) > 200  # trees that fit noise keep some of the prior
    plain = fitted.pipeline.predict(new.astype(np.float64))
    assert np.mean(plain == 1) > 0.85  # without balance nearly all are of the largest class


def test_columns_that_say_nothing_leave_three_equal_chances() -> None:
    label = np.repeat([0, 1, 2], (10, 70, 20))
    values = np.ones((100, 2), np.float32)
    scores = fit_classes(head.get("logreg"), ("x", "y"), values, label, CLASSES).score(values)
    np.testing.assert_allclose(scores, math.log(1 / 3), atol=1e-3)


def test_rows_that_failed_are_left_out_and_not_answered() -> None:
    values, label = blobs((30, 30, 30), 3.0)
    holed = np.concatenate([values, np.full((4, 5), np.nan, np.float32)])
    holed[-1, 1:] = 9.0
    fitted = fit_classes(head.get("logreg"), names_of(values), values, label, CLASSES)
    again = fit_classes(head.get("logreg"), names_of(values), holed, np.append(label, [0, 0, 1, 2]), CLASSES)
    assert np.array_equal(again.score(values), fitted.score(values))
    assert again.n_rows.tolist() == [30, 30, 30]
    assert again.answer(holed)[-4:].tolist() == [NO_ANSWER] * 4
    assert np.isnan(again.score(holed)[-4:]).all()
    with pytest.raises(DataError, match=r"head logreg expects 5 columns, got an array \(2, 4\)"):
        again.answer(np.ones((2, 4), np.float32))


@pytest.mark.parametrize("empty", range(3))
def test_a_class_without_rows_is_one_sentence(empty: int) -> None:
    values, label = blobs((5, 5, 5), 1.0)
    values[label == empty] = np.nan
    said = f"head hist_gb cannot be fitted: no {CLASSES[empty]} image among its 15 rows"
    with pytest.raises(DataError, match=said):
        fit_classes(head.get("hist_gb"), names_of(values), values, label, CLASSES)


# -- trials -----------------------------------------------------------------------------------------------------------


def samples(n_groups: int = 24, generators: tuple[str, ...] = ("g", "h")) -> Samples:
    """A photograph and one image of every generator in each group."""
    kinds = [("", "camera"), *((name, "") for name in generators)]
    rows = [(f"{k}/{one}", int(bool(one)), one, source, f"scene{k}") for k in range(n_groups) for one, source in kinds]
    path, label, generator, source, group = zip(*rows, strict=True)
    texts = [np.array(column, dtype=object) for column in (path, generator, source, group, [""] * len(rows))]
    return Samples(texts[0], np.array(label), *texts[1:])


def toy(of: Samples, *, apart: float, own: float = 0.0) -> Shown:
    """Columns: one for each class, and one for each autoencoder that only its laundered photographs show."""
    rng, stored, laundered = np.random.default_rng(0), {}, {}
    for name in ("matched", "jpeg70"):
        stored[name] = rng.normal(size=(len(of.label), 6)).astype(np.float32)
        stored[name][:, 0] += apart * (of.label == REAL)
        stored[name][:, 2] += apart * (of.label != REAL)
        stored[name][:, 3:] = 0
        for k, autoencoder in enumerate(NAMES):
            laundered[autoencoder, name] = rng.normal(size=((of.label == REAL).sum(), 6)).astype(np.float32)
            laundered[autoencoder, name][:, 1] += apart
            laundered[autoencoder, name][:, 3:] = own * np.eye(3)[k]
    return Shown(of, stored, laundered)


def asked(
    shown: Shown, trials: tuple[Trial, ...], usable: tuple[str, ...] = NAMES, name: str = "logreg"
) -> list[TrialAnswers]:
    numbered = zip(trials, turns(trials), strict=True)
    return [answers_in_trial(head.get(name), shown, one, turn, usable, ("matched", "jpeg70")) for one, turn in numbered]


def rows_of(answers: list[TrialAnswers], of: Samples) -> dict[tuple[str, str, str], Count]:
    part = counted({"logreg@three-way:all": answers}, of.group, replicates=50)
    return {(row["condition"], row["truth"], row["of"]): Count(**row) for row in part["rows"]}


@pytest.mark.parametrize("name", HEADS)
def test_separable_classes_give_the_identity(name: str) -> None:
    of = samples()
    trials = trials_of(of, name="leave_one_generator_out")
    found = rows_of(asked(toy(of, apart=40.0), trials, name=name), of)
    assert {row.detector for row in found.values()} == {"logreg@three-way:all"}
    tested = {"pristine": 48, "laundered": 48, "synthetic": 48}  # a photograph beside each of two generators
    for condition_name in ("matched", "jpeg70"):
        for truth, n in tested.items():
            row = found[condition_name, truth, ""]
            assert {c: getattr(row, c) for c in CLASSES} == dict.fromkeys(CLASSES, 0) | {truth: n}
            assert (row.share, row.low, row.high) == (1.0, *exact_interval(24, 24))
            assert (row.n_failed, row.n_groups, row.seen) == (0, 24, False)
        assert found[condition_name, BALANCED, ""].share == 1.0
        assert found[condition_name, "synthetic", "g"].synthetic == 24
        assert sum(found[condition_name, "laundered", a].laundered for a in NAMES) == 48


def test_useless_columns_give_a_third_in_trials() -> None:
    of = samples(200)
    found = rows_of(asked(toy(of, apart=0.0), trials_of(of, name="train_on", train=("g",))), of)
    for name in ("matched", "jpeg70"):
        row = found[name, BALANCED, ""]
        assert row.share == pytest.approx(1 / 3, abs=0.06)
        assert 0.02 < row.high - row.low < 0.12


def test_every_fold_meets_every_autoencoder() -> None:
    of = samples(30, ("g", "h", "i", "j"))
    trials = trials_of(of, name="leave_one_generator_out", folds=3)
    answers = asked(toy(of, apart=3.0), trials)
    met = {(one.trial.rpartition("/")[2], one.held_out) for one in answers}
    assert met == {(str(fold), name) for fold in range(3) for name in NAMES}
    assert [one.held_out for one in answers] == list("abcbcacababc")
    for one in answers:
        of_laundered = one.answers["matched"].of[one.answers["matched"].truth == 1]
        assert set(of_laundered) == {one.held_out}
    assert not any(one.alone for one in answers)


@pytest.mark.parametrize(
    "names, turn, expected",
    [
        (("a", "b", "c"), 0, ("a", ("b", "c"))),
        (("a", "b", "c"), 4, ("b", ("a", "c"))),
        (("a", "b"), 3, ("b", ("a",))),
        (("a",), 2, ("a", ("a",))),
    ],
)
def test_one_is_held_out_and_the_others_train(names: tuple[str, ...], turn: int, expected: object) -> None:
    assert taken_in_turn(names, turn) == expected


def test_what_is_held_out_is_not_in_training() -> None:
    """Laundered photographs show nothing but a trace of their own autoencoder: others' traces do not give it away."""
    of = samples()
    trials = trials_of(of, name="leave_one_generator_out")
    shown = toy(of, apart=0.0, own=5.0)
    for values in (*shown.stored.values(), *shown.laundered.values()):
        values[:, :3] = 0
    apart = rows_of(asked(shown, trials), of)["matched", "laundered", ""]
    assert apart.laundered == 0
    alone = asked(shown, trials, ("b",))
    assert all(one.alone and one.held_out == "b" for one in alone)
    assert rows_of(alone, of)["matched", "laundered", ""].laundered == 48


def test_trials_without_answers_say_why() -> None:
    of = samples()
    trials = trials_of(of, name="leave_one_generator_out")
    none = replace(trials[1], fit=trials[1].fit[of.label[trials[1].fit] == REAL])
    answers = asked(toy(of, apart=9.0), (trials[0], none, *trials[2:]))
    assert [bool(one.reason) for one in answers] == [False, True, False, False, False, False]
    assert answers[1].answers == {}
    (line,) = three_way_not_run({"logreg@three-way:all": answers})
    said = rf"trial {none.name}: head logreg cannot be fitted: no synthetic image among its \d+ rows"
    assert line.detector == "logreg@three-way:all"
    assert re.fullmatch(said, line.reason)
    assert line.fix == "add images of that class, or lower --folds or --calibration"
    assert rows_of(answers, of)["matched", "pristine", ""].pristine == 48 - len(trials[1].test) // 2
    unusable = asked(toy(of, apart=9.0), trials, ())
    (line,) = three_way_not_run({"logreg@three-way:all": unusable})
    named = ", ".join(one.name for one in trials)
    assert line.reason == f"trial {named}: every autoencoder knows tested images or made some of the trial's"
    assert counted({"logreg@three-way:all": unusable}, of.group)["rows"] == []


# -- counting ---------------------------------------------------------------------------------------------------------


def random_answers(n: int, *, seed: int, seen: tuple[str, ...] = ()) -> Answers:
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 3, n)
    of = np.array([("", rng.choice(["a", "b"]), rng.choice(["g", "h", "i"]))[k] for k in truth])
    answer = np.where(rng.random(n) < 0.1, NO_ANSWER, rng.integers(0, 3, n))
    group = np.array([f"scene{k}" for k in rng.integers(0, 15, n)])
    return Answers(truth, of, answer, group, np.isin(of, seen))


def naive_counts(parts: list[Answers]) -> dict[tuple[str, str], Counter]:
    """One dictionary of counts for each row, image by image."""
    found: dict[tuple[str, str], Counter] = {}
    for part in parts:
        for truth, of, answer, seen in zip(part.truth, part.of, part.answer, part.seen, strict=True):
            called = "failed" if answer == NO_ANSWER else CLASSES[answer]
            for row in [""] * (not seen) + [str(of)] * bool(of):
                found.setdefault((CLASSES[truth], row), Counter())[called] += 1
    return found


@pytest.mark.parametrize("seen", [(), ("g",)], ids=("nothing seen", "one seen"))
def test_counts_over_trials_equal_the_naive_reference(seen: tuple[str, ...]) -> None:
    parts = [random_answers(120, seed=k, seen=seen) for k in range(3)]
    about = ("logreg@three-way:all", "all but the tested", "matched")
    weights = group_weights([f"scene{k}" for k in range(15)], replicates=40)
    rows = {(row.truth, row.of): row for row in counts_of(about, Answers.joined(parts), weights, 0.9)}
    expected = naive_counts(parts)
    assert set(rows) == {*expected, (BALANCED, "")}
    for key, counts in expected.items():
        row, n = rows[key], sum(counts[c] for c in CLASSES)
        assert [getattr(row, c) for c in CLASSES] == [counts[c] for c in CLASSES]
        assert row.n_failed == counts["failed"]
        assert row.share == pytest.approx(counts[key[0]] / n)
        assert row.low < row.share < row.high
        assert row.seen == (key[1] in seen and bool(seen))
    mean = rows[BALANCED, ""]
    assert mean.share == pytest.approx(sum(rows[c, ""].share for c in CLASSES) / 3)
    assert mean.n_failed == sum(rows[c, ""].n_failed for c in CLASSES)


def test_intervals_draw_whole_groups() -> None:
    part = random_answers(90, seed=5)
    names = sorted(set(part.group))
    weights = group_weights(names, replicates=30)
    rows = list(counts_of(("x", "", "matched"), part, weights, 0.9))
    for k, truth in enumerate(CLASSES):
        shares = []
        for drawn in weights.counts:
            right = total = 0
            for group, times in zip(names, drawn, strict=True):
                for true, said, where in zip(part.truth, part.answer, part.group, strict=True):
                    if true == k and where == group and said != NO_ANSWER:
                        right, total = right + int(times) * (said == k), total + int(times)
            shares.append(right / total)
        row = next(row for row in rows if (row.truth, row.of) == (truth, ""))
        assert (row.low, row.high) == pytest.approx(tuple(np.quantile(shares, (0.05, 0.95))))


def test_where_all_generators_were_seen_they_are_the_class() -> None:
    part = random_answers(200, seed=6, seen=("g", "h", "i"))
    rows = list(counts_of(("x", "g,h,i", "matched"), part, group_weights(part.group, replicates=5), 0.95))
    whole = next(row for row in rows if (row.truth, row.of) == ("synthetic", ""))
    assert whole.seen
    assert whole.pristine + whole.laundered + whole.synthetic + whole.n_failed == int((part.truth == 2).sum())


def test_a_class_without_an_answer_has_no_share_and_is_written_as_null() -> None:
    part = random_answers(60, seed=7)
    part = replace(part, answer=np.where(part.truth == 1, NO_ANSWER, part.answer))
    answers = {"x@three-way:all": [TrialAnswers("g/0", "", "a", False, {"matched": part})]}
    found = counted(answers, part.group, replicates=20)
    rows = {row["truth"]: row for row in json.loads(json.dumps(found, allow_nan=False))["rows"] if not row["of"]}
    assert rows["laundered"]["share"] is None
    assert rows["laundered"]["n_failed"] == int((part.truth == 1).sum())
    assert rows[BALANCED]["share"] is None


# -- tables -----------------------------------------------------------------------------------------------------------


def result_of(part: dict[str, object]) -> RunResult:
    audit = {"probes": [], "history": [], "threshold": 0.6, "biased_by": {"matched": ["thumbnail"]},
             "unmeasured": {}}  # fmt: skip
    return RunResult({"three_way": part}, audit, (), (), (), ())


def test_tables_name_marks_turns_and_a_lone_autoencoder() -> None:
    of = samples()
    trials = trials_of(of, name="train_on", train=("g",))
    answers = asked(toy(of, apart=9.0), trials)
    left = [replace(answers[0], left_out=("c",)), *answers[1:]]
    part = counted({"logreg@three-way:all": left}, of.group, replicates=20)
    first, second = three_way_grids(result_of(json.loads(json.dumps(part))))
    assert first.title == "Three classes under matched (trained under matched)  [biased by thumbnail]"
    assert second.title == "Three classes under jpeg70 (trained under matched)"
    assert [row[1] for row in first.rows] == [
        "pristine", "laundered", "laundered: a", "laundered: b", "laundered: c", "synthetic", "synthetic: g*",
        "synthetic: h", "balanced accuracy (chance 0.333)",
    ]  # fmt: skip
    assert {len(row) for row in first.rows} == {len(first.columns)}
    assert first.rows[-1][2:5] == ("", "", "")
    assert "does without (trials): a (1), b (1), c (1)." in second.note
    assert "c knows tested images or made some of the trial's, and is left out in g/0." in second.note
    assert "The same autoencoder" not in second.note
    short, _ = three_way_grids(result_of(part), whole=False)
    assert [row[1].split(" ")[0] for row in short.rows] == ["pristine", "laundered", "synthetic", "balanced"]
    alone = counted({"x": asked(toy(of, apart=9.0), trials, ("b",))}, of.group, replicates=20)
    assert "The same autoencoder in training and test: g/0, g/1, g/2." in three_way_grids(result_of(alone))[-1].note


def test_rows_of_several_training_sets_stand_apart() -> None:
    of = samples()
    answers = asked(toy(of, apart=9.0), trials_of(of, name="cross_generator"))
    part = counted({"logreg@three-way:all": answers}, of.group, replicates=5)
    first, _ = three_way_grids(result_of(part), whole=False)
    assert first.columns[:3] == ("detector", "trained on", "true class")
    assert {row[1] for row in first.rows} == {"g", "h"}
    whole = [row for row in part["rows"] if row["truth"] == "synthetic" and not row["of"]]
    assert all(row["synthetic"] == 24 and not row["seen"] for row in whole)  # the one generator that was not seen


# -- what is asked ----------------------------------------------------------------------------------------------------


def question(flags: dict[str, object], names: tuple[str, ...] = ("native", "matched")) -> tuple[ThreeWay | None, list]:
    config = override(RunConfig(), {"aligned.three_way": ("logreg",), "features.names": ("npr_statistics",)} | flags)
    entries = select_features(config.features.names) if config.features.names else ()
    return ThreeWay.asked(config, entries, [condition(name) for name in names])


@pytest.mark.parametrize(
    "flags, names, said",
    [
        ({}, ("native",), "--three-way needs a condition that cuts photographs and their round trips alike and .*; add "
                          "matched to --conditions"),
        ({"protocol.train": ("aligned",)}, ("matched",), "--three-way needs generated images in training"),
        ({"features.names": ("thumbnail",)}, ("matched",), "--three-way needs features besides probe and provenance"),
        ({"features.names": ()}, ("matched",), "--three-way needs features"),
    ],
    ids=("native alone", "no generator", "probes alone", "no features"),
)  # fmt: skip
def test_what_cannot_be_asked_is_one_sentence(flags: dict[str, object], names: tuple[str, ...], said: str) -> None:
    with pytest.raises(ParameterError, match=said) as caught:
        question(flags, names)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["svm_linear", "svm_rbf:c=3", "one_class", "one_class_svm", "stacking"])
def test_heads_without_log_odds_of_three_classes_are_refused_before_the_work(name: str) -> None:
    usable = "logreg, hist_gb, lda, elastic, random_forest, knn"
    said = f"--three-way: head {name} does not tell three classes apart; choose of {usable}"
    with pytest.raises(ParameterError, match=f"^{re.escape(said)}"):
        question({"aligned.three_way": ("logreg", name)})


def test_settings_stand_behind_the_name_of_a_head() -> None:
    asked, none = question({"aligned.three_way": ("logreg:c=3",)})
    if asked is None:  # the autoencoders that come with fdetect need torch
        assert [line.detector for line in none] == ["logreg:c=3@three-way:all"]
    else:
        assert asked.heads == ("logreg:c=3",)
    with pytest.raises(ParameterError, match="head 'logreg' has no setting 'b'"):
        question({"aligned.three_way": ("logreg:b=3",)})


def test_an_unknown_head_is_named() -> None:
    with pytest.raises(UnknownName, match="no head 'logregg'; did you mean 'logreg'"):
        question({"aligned.three_way": ("logregg",)})


def test_nothing_is_asked_without_heads_and_toml_asks(tmp_path: Path) -> None:
    assert question({"aligned.three_way": ()}) == (None, [])
    (tmp_path / "run.toml").write_text('[aligned]\nthree_way = ["logreg"]\n')
    assert read_config(tmp_path / "run.toml").aligned.three_way == ("logreg",)
