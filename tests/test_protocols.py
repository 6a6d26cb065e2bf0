"""Protocols: no group on two sides of a trial, nothing held out is fitted on, everything is tested as promised."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from fdetect.bench.protocols import protocol, samples_of, trials_of
from fdetect.errors import DataError, ParameterError, UnknownName
from fdetect.splits import join_same_content
from fdetect.types import MANIFEST_COLUMNS

LOGO, CROSS, ON, SOURCE, SPLIT = (
    "leave_one_generator_out", "cross_generator", "train_on", "leave_one_real_source_out", "fixed_split",
)  # fmt: skip
NAMES = (LOGO, CROSS, ON, SOURCE, SPLIT)
SETTINGS = {ON: {"train": ("gan", "ldm")}}
FEW = settings(max_examples=60, deadline=None)


def manifest(rows: list[dict[str, object]]) -> pa.Table:
    filled = [{**dict.fromkeys(MANIFEST_COLUMNS, ""), "path": f"{k}.png", **row} for k, row in enumerate(rows)]
    return pa.Table.from_pylist(filled)


def paired() -> list[dict[str, object]]:
    """60 reals of two sources, three generators; a third of the fakes share a prompt, a third a real photograph."""
    rows: list[dict[str, object]] = []
    for k in range(60):
        source = ("coco", "phone")[k % 2]
        rows.append({"label": 0, "real_source": source, "group": f"photo {k}", "split": ("train", "test")[k % 3 == 0]})
    for g, name in enumerate(("gan", "ldm", "dit")):
        for k in range(30):
            photo = (2 * k + g) % 60
            group = {0: f"prompt {k}", 1: f"photo {photo}", 2: ""}[k % 3]
            side = ("train", "test")[photo % 3 == 0] if k % 3 == 1 else ("train", "test")[k % 2]
            if k % 3 == 0:
                side = ("train", "test")[k % 6 == 0]  # a prompt of all three generators: on one side
            rows.append({"label": 1, "generator": name, "group": group, "split": side})
    return rows


def trials(rows: list[dict[str, object]], name: str, **settings: object):
    samples = samples_of(manifest(rows))
    return samples, trials_of(samples, name=name, **{**SETTINGS.get(name, {}), **settings})


def check_no_leak(samples, trial, name: str) -> None:
    fit, calibration, test = (set(part.tolist()) for part in (trial.fit, trial.calibration, trial.test))
    groups = [set(samples.group[sorted(part)]) for part in (fit, calibration, test)]
    assert not groups[0] & groups[1], "a group is fitted on and calibrates"
    assert not groups[0] & groups[2], "a group is fitted on and tested"
    assert not groups[1] & groups[2], "a group calibrates and is tested"
    assert all(samples.label[k] == 0 for k in calibration)
    assert {samples.label[k] for k in test} == {0, 1}
    held_out = trial.name.rpartition("/")[0]
    fitted = {samples.generator[k] for k in fit if samples.label[k] == 1}
    tested = {samples.generator[k] for k in test if samples.label[k] == 1}
    if name == LOGO:
        assert held_out not in fitted
        assert tested == {held_out}
    elif name == SOURCE:
        assert held_out not in {samples.real_source[k] for k in fit | calibration if samples.label[k] == 0}
        of_source = {g for g, s, y in zip(samples.group, samples.real_source, samples.label, strict=True)
                     if s == held_out and y == 0}  # fmt: skip
        assert not of_source & (groups[0] | groups[1]), "a picture paired with a held-out real is trained on"
        assert {samples.real_source[k] for k in test if samples.label[k] == 0} == {held_out}
    elif name == CROSS:
        assert fitted <= {held_out}
    elif name == ON:
        assert fitted <= set(held_out.split(","))
    assert fitted <= set(trial.seen) or name == LOGO
    assert trial.seen == () or name != LOGO


# -- every protocol on one set with shared groups -------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_no_group_stands_on_two_sides(name):
    samples, found = trials(paired(), name)
    assert found
    for trial in found:
        check_no_leak(samples, trial, name)
        assert {samples.label[k] for k in trial.fit} == {0, 1}
        assert 0.15 < len(trial.calibration) / (len(trial.calibration) + (samples.label[trial.fit] == 0).sum()) < 0.35


def test_every_protocol_is_tested_here():
    assert set(protocol.names()) == set(NAMES)


def times_tested(samples, found) -> dict[str, int]:
    times = dict.fromkeys(samples.path, 0)
    for trial in found:
        assert len(set(trial.test.tolist())) == len(trial.test)
        for row in trial.test:
            times[samples.path[row]] += 1
    return times


@pytest.mark.parametrize(
    ("name", "of_a_real", "of_a_fake", "count"), [(LOGO, 3, 1, 9), (CROSS, 3, 3, 9), (ON, 1, 1, 3), (SOURCE, 1, 2, 6)]
)
def test_every_image_is_tested_as_often_as_promised(name, of_a_real, of_a_fake, count):
    samples, found = trials(paired(), name)
    assert len(found) == count
    times = times_tested(samples, found)
    for path, label in zip(samples.path, samples.label, strict=True):
        assert times[path] == (of_a_fake if label else of_a_real), path


def test_fixed_split_tests_what_the_manifest_says():
    rows = paired()
    for row in rows[1::2]:
        row["split"] = str(row["split"]).replace("train", "VAL")
    samples, (trial,) = trials(rows, SPLIT)
    assert set(samples.path[trial.test]) == {f"{k}.png" for k, row in enumerate(rows) if row["split"] == "test"}
    fitted = {rows[k]["split"] for k in [*trial.fit, *trial.calibration]}
    assert fitted == {"train", "VAL"}
    assert trial.seen == ("dit", "gan", "ldm")


def test_only_what_is_seen_is_called_seen():
    assert {trial.seen for trial in trials(paired(), CROSS)[1]} == {("gan",), ("ldm",), ("dit",)}
    assert {trial.seen for trial in trials(paired(), ON)[1]} == {("gan", "ldm")}
    assert {trial.seen for trial in trials(paired(), SOURCE)[1]} == {("dit", "gan", "ldm")}
    assert {trial.seen for trial in trials(paired(), LOGO)[1]} == {()}


def test_all_other_fakes_are_fitted_on_but_those_of_the_fold_and_of_calibration_groups():
    """The training part is as large as the rules allow: nothing is thrown away beyond them."""
    samples, found = trials(paired(), LOGO)
    for trial in found:
        out = set(samples.group[trial.test]) | set(samples.group[trial.calibration])
        fold_only = {
            group for other in found if other.name.endswith(trial.name[-2:]) for group in samples.group[other.test]
        }
        held = trial.name.rpartition("/")[0]
        for k in range(len(samples.path)):
            allowed = samples.group[k] not in out | fold_only and samples.generator[k] != held
            assert (k in trial.fit) == allowed, samples.path[k]


@pytest.mark.parametrize("name", NAMES)
def test_the_same_trials_every_time_and_in_any_order_of_rows(name):
    rows = [{"path": f"{k}.png", **row} for k, row in enumerate(paired())]
    samples, first = trials(rows, name)
    moved, again = trials(rows[::-1], name)
    assert [t.name for t in again] == [t.name for t in first]
    for one, other in zip(first, again, strict=True):
        for part in ("fit", "calibration", "test"):
            here, there = samples.path[getattr(one, part)], moved.path[getattr(other, part)]
            assert sorted(here) == sorted(there), part


def test_another_seed_gives_other_folds():
    samples, first = trials(paired(), ON)
    _, second = trials(paired(), ON, seed=1)
    assert set(samples.path[first[0].test]) != set(samples.path[second[0].test])


def test_a_set_without_groups_counts_each_image_alone():
    rows = [{"label": k % 2, "generator": ("adm", "glide")[k % 4 == 1] if k % 2 else ""} for k in range(80)]
    samples, found = trials(rows, LOGO)
    assert samples.group.tolist() == samples.path.tolist()
    assert len(found) == 6
    for trial in found:
        check_no_leak(samples, trial, LOGO)
    assert set(times_tested(samples, found).values()) == {1, 2}


def test_a_generator_trained_on_alone_is_named_once_even_if_given_twice():
    _, once = trials(paired(), CROSS, train=("gan",))
    _, twice = trials(paired(), CROSS, train=("gan", "gan"))
    assert [t.name for t in twice] == [t.name for t in once] == ["gan/0", "gan/1", "gan/2"]


def test_a_fold_without_a_fake_of_the_generator_is_no_trial():
    rows = paired() + [{"label": 1, "generator": "rare", "group": "one"}]
    samples, found = trials(rows, LOGO)
    assert [t.name for t in found if t.name.startswith("rare")] in (["rare/0"], ["rare/1"], ["rare/2"])
    assert times_tested(samples, found)["150.png"] == 1


def test_a_generator_with_too_few_images_to_train_on_does_not_end_the_others():
    """One image of a generator: in the fold that tests it there is nothing to train on, as its `fit` shows."""
    rows = paired() + [{"label": 1, "generator": "rare", "group": "one"}]
    samples, found = trials(rows, CROSS)
    poor = [t.name for t in found if {samples.label[k] for k in t.fit} != {0, 1}]
    (fold,) = {t.name[-1] for t in found if samples.path[t.test].tolist().count("150.png")}
    assert poor == [f"rare/{fold}"]
    assert len(found) == 12
    _, before = trials(paired(), CROSS)
    assert len(before) == 9


def test_train_on_aligned_fits_photographs_alone_and_tests_everything():
    samples, found = trials(paired(), ON, train=("aligned",))
    assert [(t.name, t.train, t.seen) for t in found] == [(f"aligned/{k}", "aligned", ()) for k in range(3)]
    for trial in found:
        assert {samples.label[k] for k in trial.fit} == {0}
        check_no_leak(samples, trial, ON)
    assert sorted(k for t in found for k in t.test) == list(range(len(samples.path)))
    # one generator is enough, even where its images are in one fold alone
    rows = [row for row in paired() if row["label"] == 0] + [{"label": 1, "generator": "gan", "group": "one"}]
    assert [t.name[:-1] for t in trials(rows, ON, train=("aligned",))[1]] == ["aligned/"]


# -- random manifests -----------------------------------------------------------------------------------------------


@st.composite
def manifests(draw) -> list[dict[str, object]]:
    """12 to 60 images of both classes; groups small or large, within and across classes, or none."""
    n = draw(st.integers(12, 60))
    group = st.sampled_from(["", "", *(f"group {k}" for k in range(draw(st.integers(1, 25))))])
    rows = []
    for _ in range(n):
        label = draw(st.integers(0, 1))
        name = draw(st.sampled_from(["gan", "ldm", "dit"])) if label else ""
        source = "" if label else draw(st.sampled_from(["coco", "phone", ""]))
        split = draw(st.sampled_from(["train", "test"]))
        rows.append({"label": label, "generator": name, "real_source": source, "group": draw(group), "split": split})
    return rows


@FEW
@given(
    rows=manifests(), name=st.sampled_from(NAMES), folds=st.integers(2, 4), seed=st.integers(0, 3),
    share=st.floats(0.05, 0.6),
)  # fmt: skip
def test_no_manifest_makes_a_group_leak(rows, name, folds, seed, share):
    try:
        samples, found = trials(rows, name, folds=folds, seed=seed, calibration=share)
    except (ParameterError, DataError) as refusal:
        assert "\n" not in str(refusal)
        assume(False)
    assert len({trial.name for trial in found}) == len(found)
    assert any({samples.label[k] for k in trial.fit} == {0, 1} for trial in found)
    for trial in found:
        check_no_leak(samples, trial, name)
    times = times_tested(samples, found)
    if name in (LOGO, ON, SPLIT):
        limit = len(samples.generators) if name == LOGO else 1
        for path, label in zip(samples.path, samples.label, strict=True):
            assert times[path] <= (limit if label == 0 else 1)


# -- what is refused ------------------------------------------------------------------------------------------------


def test_a_misspelt_generator_or_protocol_is_answered_with_the_nearest():
    for name in (ON, CROSS):
        with pytest.raises(ParameterError, match="no generator 'gann' in the data; did you mean 'gan'"):
            trials(paired(), name, train=("gann",))
    with pytest.raises(UnknownName, match="did you mean 'cross_generator'"):
        trials(paired(), "cross_generators")


@pytest.mark.parametrize(("label", "missing"), [(1, "real"), (0, "fake")])
def test_a_class_without_images_is_named(label, missing):
    with pytest.raises(DataError, match=f"no {missing} images"):
        samples_of(manifest([{"label": label, "generator": "gan" if label else ""}] * 20))


@pytest.mark.parametrize("name", ["macro", "worst", "aligned"])
def test_a_generator_cannot_be_called_like_a_row_of_the_tables(name):
    with pytest.raises(DataError, match=f"called '{name}'"):
        samples_of(manifest([*paired(), {"label": 1, "generator": name}]))


@pytest.mark.parametrize("split", ["train", ""])
def test_what_the_refusal_of_one_generator_advises_can_be_run(split):
    rows = [
        {**row, "generator": "gan" if row["label"] else "", "split": row["split"] if split else ""} for row in paired()
    ]
    with pytest.raises(ParameterError) as refused:
        trials(rows, LOGO)
    advice = str(refused.value).rpartition("--protocol ")[2].split()
    assert advice == (["fixed_split"] if split else ["train_on", "--train", "gan"])
    assert trials(rows, advice[0], **({"train": (advice[2],)} if len(advice) > 1 else {}))[1]


def test_fixed_split_refuses_a_group_on_both_sides():
    rows = [*paired(), {"label": 1, "generator": "gan", "group": "photo 1", "split": "test"}]
    with pytest.raises(ParameterError, match="group 'photo 1' is in training and in test"):
        trials(rows, SPLIT)


@pytest.mark.parametrize(
    ("name", "change", "settings", "text"),
    [
        (SPLIT, {"split": ""}, {}, "needs rows with split train and rows with split test"),
        (SPLIT, {"split": "train"}, {}, "needs rows with split train and rows with split test"),
        (SOURCE, {"real_source": "coco"}, {}, "at least two values of real_source"),
        (
            LOGO,
            {"generator": "gan"},
            {},
            r"at least two generators, and all fakes are of 'gan'.*--protocol fixed_split$",
        ),
        (LOGO, {"generator": "gan", "split": ""}, {}, "fake/<generator>/ or .* --protocol train_on --train gan$"),
        (ON, {}, {"train": ()}, "--train"),
        (LOGO, {}, {"folds": 1}, "--folds is 1; give a number between 2 and"),
        (LOGO, {}, {"folds": 500}, "--folds is 500; .* the number of groups"),
        (LOGO, {}, {"calibration": 0.0}, "--calibration is 0; give a share between 0 and 1"),
        (LOGO, {}, {"calibration": 1.0}, "--calibration is 1; give a share between 0 and 1"),
        (LOGO, {}, {"calibration": 0.999}, "every trial lacks a class to train on; lower --calib"),
    ],
)
def test_what_cannot_be_run_is_explained(name, change, settings, text):
    rows = [{**row, **{k: v for k, v in change.items() if k != "generator" or row["label"]}} for row in paired()]
    with pytest.raises(ParameterError, match=text):
        trials(rows, name, **settings)


def test_one_group_of_everything_cannot_be_cut():
    rows = [{**row, "group": "one"} for row in paired()]
    with pytest.raises(ParameterError, match="all images are of one group"):
        trials(rows, LOGO)


def test_reals_that_all_share_a_group_with_each_other_cannot_be_split_from_themselves():
    rows = [{**row, "group": "all reals" if row["label"] == 0 else ""} for row in paired()]
    with pytest.raises(ParameterError, match="every trial lacks a class to train on; lower --calibration or --folds"):
        trials(rows, LOGO)


def test_copies_of_one_file_become_one_group():
    samples = trials(paired(), LOGO)[0]
    ids = [f"{k:032x}" for k in range(len(samples.path))]
    assert list(join_same_content(samples.group, ids)) == list(samples.group)
    ids[5] = ids[0]
    ids[9] = ids[5]
    joined = join_same_content(samples.group, ids)
    assert joined[0] == joined[5] == joined[9]
    assert len(set(joined)) == len(set(samples.group)) - len({samples.group[k] for k in (0, 5, 9)}) + 1
    same = samples.group == samples.group[0]
    assert len(set(joined[same])) == 1, "what was one group stays one"


def test_names_to_train_on_are_refused_where_they_would_do_nothing():
    with pytest.raises(ParameterError, match="--train is for train_on and cross_generator"):
        trials(paired(), LOGO, train=("gan",))


@pytest.mark.parametrize("train", [("aligned", "gan"), ("gan", "aligned"), ("aligned", "gan", "ldm")], ids=",".join)
def test_aligned_stands_alone(train):
    """Beside generators it would do nothing: what they are trained on with aligned pairs is a share of the fakes."""
    with pytest.raises(ParameterError, match=r"--train aligned stands alone; .* --aligned AUTOENCODERS --generated"):
        trials(paired(), ON, train=train)
    assert len(trials(paired(), ON, train=("aligned", "aligned"))[1]) == 3  # a name given twice is one


def test_fixed_split_refuses_rows_that_it_would_not_use():
    rows = [{**row, "split": ("train", "test", "holdout")[k % 3], "group": f"g{k}"} for k, row in enumerate(paired())]
    with pytest.raises(ParameterError, match="holds 'holdout'"):
        trials(rows, SPLIT)
