"""What is asked of a fit: settings, their search, weights, probabilities, and what the head is worth."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from test_cli import fdetect  # noqa: F401 (a fixture)

from fdetect.bench import steps
from fdetect.bench.layouts import read_manifest
from fdetect.bench.protocols import trials_of
from fdetect.bench.training import fitting
from fdetect.bench.training.cross_validation import LEFT_OUT, NOT_LEFT_OUT, LabelledRows, cross_validated, in_words
from fdetect.bench.training.head_fit import HeadFit, constant_columns
from fdetect.classifiers import fit_head, head
from fdetect.classifiers.calibration import calibrator
from fdetect.classifiers.card import data_record
from fdetect.classifiers.saved import load_detector, save_detector
from fdetect.classifiers.search import GRIDS, search
from fdetect.errors import DataError, ParameterError, UnknownName
from fdetect.splits import hold_out

QUICK = {"features": "npr_statistics", "crop": 128, "condition": "native"}


@pytest.fixture(scope="module")
def table(small_set, store):
    return steps.extract(small_set, store=store, **QUICK)


def rows_of(manifest: pa.Table, values: np.ndarray, columns: tuple[str, ...], ids: tuple[str, ...]) -> LabelledRows:
    names = ("generator", "real_source", "group")
    makers, sources, groups = (np.array(manifest.column(name).to_pylist(), object) for name in names)
    label = np.array(manifest.column("label").to_pylist())
    return LabelledRows(columns, values, label, makers, sources, groups, ids)


@pytest.fixture(scope="module")
def larger_set(small_set) -> pa.Table:
    """More crops of the photographs that the small set is of: probabilities need ten of each class."""
    from fdetect.bench.data.builtin import builtin_manifest

    whole, taken = builtin_manifest(small_set.parent.parent, networks=()), dict[tuple[str, str], int]()
    keep = []
    for row in whole.to_pylist():
        key = (row["group"], row["generator"])
        taken[key] = taken.get(key, 0) + 1
        keep.append(taken[key] <= 6 and row["generator"] in ("", "sim-nearest", "sim-transposed"))
    return whole.filter(pa.array(keep))


def training_of(data, table, *, share: float) -> LabelledRows:
    """The rows that a fit of the small set trains on: all but the scenes of the reals that set the thresholds."""
    manifest = data if isinstance(data, pa.Table) else read_manifest(data)
    whole = rows_of(manifest, table.values, table.columns, table.ids)
    reals = np.flatnonzero(whole.label == 0)
    held = reals[hold_out(list(whole.group[reals]), list(whole.source[reals]), share=share, seed=0)]
    return whole.at(~np.isin(whole.group.astype(str), whole.group[held].astype(str)))


@pytest.fixture(scope="module")
def training(small_set, table) -> LabelledRows:
    return training_of(small_set, table, share=0.25)


def toy(n: int = 240, *, makers: tuple[str, ...] = ("easy", "hard"), seed: int = 0) -> LabelledRows:
    """Reals and fakes in groups of four; of the generator "easy" every column lies higher, of "hard" none does."""
    rng = np.random.default_rng(seed)
    label = np.arange(n) % 2
    maker = np.where(label == 1, np.array([makers[k // 2 % len(makers)] for k in range(n)], object), "")
    values = rng.normal(size=(n, 3)) + 3.0 * (maker == "easy")[:, None]
    group = np.array([f"scene {k // 4}" for k in range(n)], object)
    source = np.where(label == 0, "camera", "").astype(object)
    return LabelledRows(("a", "b", "c"), values.astype(np.float32), label, maker, source, group,
                        [f"{k:032x}" for k in range(n)])  # fmt: skip


# -- settings, search, weights --------------------------------------------------------------------------------------


def test_settings_stand_behind_the_name_of_a_head(small_set, store, table, training, tmp_path):
    fitted = fitting.fit(small_set, head="logreg:c=3", folds=0, store=store, **QUICK)
    truth = fit_head(head.get("logreg").configured(c=3.0), training.columns, training.values, training.label)
    np.testing.assert_array_equal(fitted.head.score(table.values), truth.score(table.values))
    assert (fitted.name, fitted.settings) == ("logreg:c=3:npr_statistics", {"c": 3.0, "max_iter": 2000})
    assert fitted.record["cross_validated"] == {"not_measured": "it was not asked for"}
    save_detector(fitted, tmp_path / "m")
    np.testing.assert_array_equal(load_detector(tmp_path / "m").head.score(table.values), truth.score(table.values))


def test_a_search_is_that_of_the_training_images_and_all_of_it_is_kept(small_set, store, table, training, tmp_path):
    fitted = fitting.fit(small_set, search=True, folds=2, store=store, **QUICK)
    found = search(head.get("logreg"), None, training.values, training.label, training.group, training.generator)
    truth = fit_head(found.entry, training.columns, training.values, training.label)
    np.testing.assert_array_equal(fitted.head.score(table.values), truth.score(table.values))
    assert fitted.settings == dict(found.entry.settings)
    tried = fitted.record["search"]
    assert [one["settings"]["c"] for one in tried] == [one["c"] for one in GRIDS["logreg"]]
    assert [one["macro_auroc"] for one in tried] == [one.auroc for one in found.tried]
    assert [one["settings"] for one in tried if one["chosen"]] == [fitted.settings]
    save_detector(fitted, tmp_path / "m")
    back = load_detector(tmp_path / "m")
    assert (back.settings, back.record) == (fitted.settings, fitted.record)
    assert json.loads((tmp_path / "m" / "card.json").read_text())["record"]["search"] == tried


def test_a_search_leaves_what_the_name_fixes(small_set, store, table, training):
    fitted = fitting.fit(small_set, head="elastic:c=0.5", search=True, folds=0, store=store, **QUICK)
    given = training.group, training.generator
    grid = [{"l1_ratio": ratio} for ratio in (0.9, 0.5, 0.1)]
    found = search(head.read("elastic:c=0.5"), grid, training.values, training.label, *given)
    assert [one["settings"]["c"] for one in fitted.record["search"]] == [0.5] * 3
    assert fitted.settings == dict(found.entry.settings)
    truth = fit_head(found.entry, training.columns, training.values, training.label)
    np.testing.assert_array_equal(fitted.head.score(table.values), truth.score(table.values))


def test_the_head_that_is_kept_is_fitted_on_one_core_as_in_a_run(small_set, store, monkeypatch):
    import sklearn.ensemble  # noqa: F401 (what is loaded can be limited)
    from threadpoolctl import threadpool_info, threadpool_limits

    threads: list[set[int]] = []
    learn = HeadFit.learn

    def watched(self: HeadFit, rows: LabelledRows):
        threads.append({one["num_threads"] for one in threadpool_info()})
        return learn(self, rows)

    monkeypatch.setattr(HeadFit, "learn", watched)
    with threadpool_limits(2):
        assert max(one["num_threads"] for one in threadpool_info()) == 2
        fitting.fit(small_set, folds=0, store=store, **QUICK)
    assert threads == [{1}]


@pytest.mark.parametrize("balance", ["generators", "generators+sources"])
def test_weights_balance_generators(balance, small_set, store, table, training):
    fitted = fitting.fit(small_set, balance=balance, folds=0, store=store, **QUICK)
    given = {"generator": training.generator, "source": training.source}
    truth, plain = (fit_head(head.get("logreg"), training.columns, training.values, training.label, weights=weights,
                             **given) for weights in (balance, "none"))  # fmt: skip
    np.testing.assert_array_equal(fitted.head.score(table.values), truth.score(table.values))
    assert not np.array_equal(truth.score(table.values), plain.score(table.values))
    assert fitted.record["weights"] == balance


# -- probabilities --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", calibrator.names())
def test_probabilities_are_made_on_groups_of_both_classes_that_nothing_else_is_fitted_on(
    method, larger_set, store, tmp_path
):
    fitted = fitting.fit(larger_set, calibrate=method, calibration=0.4, folds=0, store=store, **QUICK)
    table = steps.extract(larger_set, store=store, **QUICK)
    training = training_of(larger_set, table, share=0.4)
    strata = ["fake " + a if k else "real " + b for a, b, k in
              zip(training.generator, training.source, training.label, strict=True)]  # fmt: skip
    held = hold_out(list(training.group), strata, share=0.4, seed=0)
    assert {0, 1} == set(training.label[held])
    assert not set(training.group[held]) & set(training.group[~held])
    rest, apart = training.at(~held), training.at(held)
    truth = fit_head(head.get("logreg"), rest.columns, rest.values, rest.label)
    scores = truth.score(table.values)
    np.testing.assert_array_equal(fitted.head.score(table.values), scores)
    expected = calibrator.get(method)(truth.score(apart.values), apart.label).probability(scores)
    manifest = larger_set
    rows = steps.score_table(steps.score(manifest, fitted, store=store), manifest, fitted, "native").to_pylist()
    np.testing.assert_array_equal([row["probability"] for row in rows], expected)
    whole = fitting.fit(larger_set, calibration=0.4, folds=0, store=store, **QUICK)
    assert len(whole.calibration.scores) == len(fitted.calibration.scores)  # thresholds rest on the same reals
    assert fitted.record["probabilities"] == {"n_real": int((apart.label == 0).sum()), "n_fake": int(apart.label.sum())}
    save_detector(fitted, tmp_path / "m")
    np.testing.assert_array_equal(load_detector(tmp_path / "m").probability(scores), expected)


def test_a_margin_has_a_probability_once_it_is_calibrated(larger_set, store):
    asked = {"head": "svm_linear", "calibration": 0.4, "folds": 0, **QUICK}
    plain, made = (fitting.fit(larger_set, calibrate=how, store=store, **asked) for how in ("none", "platt"))
    assert np.isnan(plain.probability(np.zeros(3))).all()
    assert np.isfinite(made.probability(np.zeros(3))).all()


def test_probabilities_without_groups_of_both_classes_are_refused(small_set, store):
    manifest = read_manifest(small_set)
    label = np.array(manifest.column("label").to_pylist())
    first = np.flatnonzero(label == 1)[0]
    one_fake = manifest.filter(pa.array((label == 0) | (np.arange(len(label)) == first)))
    with pytest.raises(DataError, match="probabilities need whole groups of both classes apart|needs 10 usable"):
        fitting.fit(one_fake, calibrate="platt", store=store, **QUICK)


def test_probabilities_need_ten_usable_images_of_each_class():
    rows, asked = toy(160), HeadFit.of("logreg", search=False, balance="none", calibrate="isotonic", seed=0)
    apart = asked.apart(rows, share=0.25)
    fakes = np.flatnonzero(apart & (rows.label == 1))
    assert len(fakes) > 10
    rows.values[fakes[10:]] = np.nan
    np.testing.assert_array_equal(asked.apart(rows, share=0.25), apart)
    rows.values[fakes[9]] = np.inf
    n = int((apart & (rows.label == 0)).sum())
    with pytest.raises(DataError, match=f"^--calibrate isotonic needs 10 usable .* has {n} real and 9 fake; give more"):
        asked.apart(rows, share=0.25)


# -- what the head is worth -----------------------------------------------------------------------------------------


def test_every_generator_is_left_out_in_turn_and_figures_are_those_of_plain_counting():
    rows, asked = toy(), HeadFit.of("logreg", search=False, balance="none", calibrate="none", seed=0)
    fits: list[set[str]] = []

    def fit(rows: LabelledRows, chosen: np.ndarray):
        fits.append(set(rows.generator[chosen]) - {""})
        return asked(rows, chosen)

    found = cross_validated(rows, fit, folds=3)
    assert [fits.count({name}) for name in ("easy", "hard")] == [3, 3]
    assert len(fits) == 6
    trials = trials_of(rows.samples, name="leave_one_generator_out", folds=3, seed=0)
    for name in ("easy", "hard"):
        right = pairs = 0.0
        for trial in (one for one in trials if one.name.startswith(f"{name}/")):
            assert not set(rows.group[trial.fit]) & set(rows.group[trial.test])
            assert name not in rows.generator[trial.fit]
            scores = asked(rows, trial.fit).score(rows.values[trial.test])
            fakes, reals = (scores[rows.label[trial.test] == k].tolist() for k in (1, 0))
            right += sum((fake > real) + 0.5 * (fake == real) for fake in fakes for real in reals)
            pairs += len(fakes) * len(reals)
        assert found["generators"][name]["auroc"][0] == pytest.approx(right / pairs, abs=1e-12)
        assert (found["generators"][name]["n_real"], found["generators"][name]["n_fake"]) == (120, 60)
    values = [found["generators"][name]["auroc"][0] for name in ("easy", "hard")]
    assert found["macro"]["auroc"][0] == pytest.approx(np.mean(values))
    assert (found["protocol"], found["meaning"], found["folds"]) == ("leave_one_generator_out", LEFT_OUT, 3)
    low, high = found["macro"]["auroc"][1:]
    assert low < found["macro"]["auroc"][0] < high
    said = in_words(found)
    assert said[0].startswith(f"cross-validated AUROC {np.mean(values):.3f} (")
    assert said[1].startswith(f"  easy: {values[0]:.3f} (")
    assert json.loads(json.dumps(found)) == found


def test_why_figures_at_a_threshold_are_null_is_said():
    asked = HeadFit.of("logreg", search=False, balance="none", calibrate="none", seed=0)
    few, enough = (cross_validated(toy(n), asked) for n in (80, 400))
    assert few["macro"]["tpr_frozen_5"][0] is None
    assert few["why_null"].endswith("one that promises 5 % needs 19")
    assert enough["macro"]["tpr_frozen_5"][0] is not None
    assert "why_null" not in enough


def test_one_generator_is_tested_on_other_groups_of_its_own_and_this_is_said(small_set, store):
    asked = HeadFit.of("logreg", search=False, balance="none", calibrate="none", seed=0)
    found = cross_validated(toy(makers=("easy",)), asked)
    assert (found["protocol"], found["meaning"]) == ("train_on", NOT_LEFT_OUT)
    assert found["macro"]["auroc"][0] > 0.95
    assert "nothing is known of other generators" in in_words(found)[0]
    manifest = read_manifest(small_set)
    keep = [name in ("", "sim-nearest") for name in manifest.column("generator").to_pylist()]
    told: list[str] = []
    fitted = fitting.fit(manifest.filter(pa.array(keep)), notice=told.append, store=store, **QUICK)
    assert sum("all fakes are of sim-nearest: cross-validation tests on the generator that was trained" in line
               for line in told) == 1  # fmt: skip
    assert list(fitted.record["cross_validated"]["generators"]) == ["sim-nearest"]


def test_what_cannot_be_measured_says_why():
    asked = HeadFit.of("logreg", search=False, balance="none", calibrate="none", seed=0)
    rows = toy()
    alone = LabelledRows(rows.columns, rows.values, rows.label, rows.generator, rows.source,
                         np.full(len(rows.label), "one", object), rows.ids)  # fmt: skip
    assert "all images are of one group" in cross_validated(alone, asked)["not_measured"]
    reals = rows.at(rows.label == 0)
    assert cross_validated(reals, asked) == {"not_measured": "there are no generated images to test on"}
    assert in_words({"not_measured": "because"}) == ["cross-validated AUROC: not measured, because"]
    few = cross_validated(rows.at(np.arange(8)), asked)  # two scenes
    assert "not_measured" in few or few["folds"] == 2


def test_a_fit_on_pairs_is_measured_with_each_autoencoder_left_out(small_set, store, tmp_path):
    pytest.importorskip("torch", reason="the extra 'deep' is not installed")
    from tiny_own import save_own

    from fdetect.config import AlignedConfig

    save_own(tmp_path / "near", "nearest", factor=4)
    save_own(tmp_path / "shuf", "shuffle", factor=8)
    config = AlignedConfig((str(tmp_path / "near"), str(tmp_path / "shuf")))
    fitted = fitting.fit_aligned(small_set, aligned=config, calibrate="platt", store=store, **QUICK)
    found = fitted.record["cross_validated"]
    launders = {name for name in fitted.trained_on if name.startswith("launder_")}
    assert set(found["generators"]) == launders
    assert len(launders) == 2
    n_rows = sum(fitted.trained_on.values()) + sum(fitted.record["probabilities"].values())
    assert n_rows == 4 * fitted.record["aligned"]["n_photographs"]
    assert fitted.record["probabilities"]["n_fake"] > 0


# -- what is recorded and what is said ------------------------------------------------------------------------------


def test_the_hash_of_the_data_is_of_contents_and_labels(small_set, store, table):
    manifest = read_manifest(small_set)
    fitted = fitting.fit(manifest, folds=0, store=store, **QUICK)
    label = manifest.column("label").to_pylist()
    lines = sorted({f"{id} {one}" for id, one in zip(table.ids, label, strict=True)})
    data = dict(fitted.record["data"])
    assert data["sha256"] == hashlib.sha256("\n".join(lines).encode()).hexdigest()
    assert data.pop("licences") is None
    assert (data["n_images"], data["n_real"], data["n_fake"]) == (82, label.count(0), label.count(1))
    turned = data_record(table.ids[::-1], np.array(label[::-1]))
    assert turned == data
    named = manifest.append_column("licence", pa.array(["CC0", None, *["CC-BY"] * (len(label) - 2)]))
    told = fitting.fit(named, folds=0, store=store, **QUICK).record["data"]
    assert told["licences"] == {"CC-BY": len(label) - 2, "CC0": 1, "not stated": 1}
    assert data_record(table.ids, 1 - np.array(label))["sha256"] != data["sha256"]


def test_columns_that_are_constant_are_named():
    rows, told = toy(), []
    values = rows.values.copy()
    values[:, 1], values[3] = 7.0, np.nan
    holed = LabelledRows(rows.columns, values, rows.label, rows.generator, rows.source, rows.group, rows.ids)
    assert constant_columns(holed, told.append) == ["b"]
    assert told == ["1 of 3 columns are constant over the training images and say nothing: b"]
    assert constant_columns(rows, None) == []
    with pytest.raises(DataError, match="all 1 columns are constant"):
        one = LabelledRows(("b",), values[:, 1:2], rows.label, rows.generator, rows.source, rows.group, rows.ids)
        HeadFit.of("logreg", search=False, balance="none", calibrate="none", seed=0).learn(one)


def test_unreadable_images_are_counted_and_left_out(small_set, store, tmp_path):
    manifest = read_manifest(small_set)
    root = Path(manifest.schema.metadata[b"fdetect.root"].decode())
    rows = [{**row, "path": str(root / row["path"])} for row in manifest.to_pylist()]
    (tmp_path / "bad.png").write_bytes(b"no image")
    rows.append({**rows[0], "path": str(tmp_path / "bad.png"), "label": 1, "generator": "sim-nearest", "group": "bad"})
    told: list[str] = []
    fitted = fitting.fit(pa.Table.from_pylist(rows, schema=manifest.schema), notice=told.append, store=store, **QUICK)
    assert fitted.n_failed == 1
    assert any("bad.png: decode: " in line for line in told)
    assert fitted.record["data"]["n_images"] == len(rows)
    assert fitted.record["cross_validated"]["macro"]["n_failed"] == 1


def test_a_head_of_reals_alone_needs_no_fakes(small_set, store):
    manifest = read_manifest(small_set)
    reals = manifest.filter(pa.array([one == 0 for one in manifest.column("label").to_pylist()]))
    alone, both = (fitting.fit(data, head="one_class", store=store, **QUICK) for data in (reals, manifest))
    assert set(alone.trained_on) == set(both.trained_on) == {""}
    assert alone.calibration == both.calibration
    assert "no generated images" in alone.record["cross_validated"]["not_measured"]
    assert len(both.record["cross_validated"]["generators"]) == 2


@pytest.mark.parametrize(
    ("settings", "error", "text"),
    [
        *(({"head": name}, ParameterError, f"head '{name}': ") for name in
          ("logreg:c=-1", "logreg:c=nan", "lda:shrinkage=foo", "svm_rbf:gamma=x", "random_forest:n_estimators=-1",
           "hist_gb:max_iter=0", "knn:n_neighbors=0")),
        ({"head": "stacking:folds=1"}, ParameterError, "head stacking: folds is 1; give 2 or more"),
        ({"folds": 1}, ParameterError, "--folds is 1; give 0 for none, or 2 or more"),
        ({"folds": -1}, ParameterError, "--folds is -1; give 0 for none"),
        *(({"calibration": share}, ParameterError, "--calibration is .*; give a share between 0 and 1")
          for share in (0, 1.0, -0.5, float("nan"))),
        ({"head": "logreg:c=x"}, ParameterError, "c takes a value of type float, got 'x'"),
        ({"head": "logreg:depth=3"}, ParameterError, "no setting 'depth'"),
        ({"balance": "generator"}, ParameterError, "no weights 'generator'; did you mean 'generators'"),
        ({"calibrate": "plat"}, UnknownName, "did you mean 'platt'"),
        ({"head": "knn", "balance": "generators"}, ParameterError, "--balance generators: knn can be fitted without"),
    ],
    ids=str,
)
def test_what_is_misspelt_is_explained_before_the_work(settings, error, text, small_set, tmp_path):
    with pytest.raises(error, match=text) as caught:
        fitting.fit(small_set, store=tmp_path / "store", **QUICK, **settings)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("name", ["macro", "worst", "aligned"])
def test_a_generator_named_as_a_row_of_tables_is_refused(name, small_set, tmp_path):
    manifest = read_manifest(small_set)
    makers = [name if one else "" for one in manifest.column("generator").to_pylist()]
    at = manifest.column_names.index("generator")
    with pytest.raises(DataError, match=f"a generator is called '{name}', which names a row .*; rename it"):
        fitting.fit(manifest.set_column(at, "generator", pa.array(makers)), store=tmp_path / "store", **QUICK)
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize(("label", "word"), [(0, "real"), (1, "fake")])
def test_where_every_image_of_a_class_fails_the_first_reason_is_said(label, word, small_set, store, tmp_path):
    manifest = read_manifest(small_set)
    root = Path(manifest.schema.metadata[b"fdetect.root"].decode())
    rows = [{**row, "path": str(root / row["path"])} for row in manifest.to_pylist()]
    for k, row in enumerate(rows):
        if row["label"] == label:
            row["path"] = str(tmp_path / f"{k:02}.png")
            Path(row["path"]).write_bytes(b"no image %d" % k)
    first = next(row["path"] for row in rows if row["label"] == label)
    broken = pa.Table.from_pylist(rows, schema=manifest.schema)
    said = f"^every {word} image failed under condition native; the first, {first}: decode: "
    with pytest.raises(DataError, match=said):
        fitting.fit(broken, store=store, **QUICK)
    if label:  # a head of reals alone does without
        assert fitting.fit(broken, head="one_class", folds=0, store=store, **QUICK).trained_on[""] > 0


# -- the command line -----------------------------------------------------------------------------------------------


def test_on_the_command_line_figures_and_what_was_tried_are_printed(fdetect, small_set, larger_set, store):  # noqa: F811
    shape = ("--features", "npr_statistics", "--crop", 128, "--condition", "native", "--store", store.folder,
             "--workers", 0)  # fmt: skip
    options = ("--search", "--balance", "generators", "--calibrate", "platt", "--calibration", 0.4, "--folds", 2)
    root = larger_set.schema.metadata[b"fdetect.root"].decode()
    pq.write_table(larger_set, "larger.parquet")
    code, out, err = fdetect("fit", "larger.parquet", "--root", root, "-o", "my.fdetect", *options, *shape)
    assert code == 0, err
    card = json.loads(Path("my.fdetect/card.json").read_text())
    n = card["record"]["probabilities"]
    kept = card["record"]["thresholds"]
    assert kept["n_real"] == len(load_detector(Path("my.fdetect")).calibration.scores)
    assert sum(card["trained_on"].values()) + sum(n.values()) + sum(kept.values()) == len(larger_set)
    assert f" failed, {kept['n_real']} reals kept for thresholds, {kept['n_fakes_unused']} fakes of their groups" in out
    assert f"left out, {n['n_real']} reals and {n['n_fake']} fakes kept for probabilities (platt): my.fdetect" in out
    assert f"settings of 4 tried: c={card['head']['settings']['c']}, max_iter=2000 (macro AUROC in the training" in out
    figures = card["record"]["cross_validated"]
    assert f"cross-validated AUROC {figures['macro']['auroc'][0]:.3f} (" in out
    assert "2 folds of whole groups, tested on each generator by heads that were trained on the others alone" in out
    assert f"  sim-nearest: {figures['generators']['sim-nearest']['auroc'][0]:.3f} (" in out
    assert card["probabilities"]["method"] == "platt"
    before = Path("my.fdetect/card.json").read_bytes()
    Path("photos").mkdir()
    shutil.copyfile(next(small_set.parent.rglob("*.png")), "photos/a.png")
    code, _, err = fdetect("fit", small_set, "-o", "photos", *shape)  # before the work
    assert (code, err.splitlines()[-1]) == (2, "fdetect: photos: holds a.png, which is no part of a model; nothing is "
                                            "written over it, give another name")  # fmt: skip
    code, _, err = fdetect("fit", small_set, "-o", "my.fdetect", "--folds", 0, *shape)
    assert code == 0, err
    assert Path("my.fdetect/card.json").read_bytes() != before


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--detector", "rigid", "--folds", "0"), "--folds goes with a head that is trained"),
        (("--folds", "1"), "--folds is 1; give 0 for none, or 2 or more"),
        (("--detector", "rigid", "--search"), "--search goes with a head that is trained"),
        (("--detector", "rigid", "--calibrate", "platt"), "--calibrate goes with a head that is trained"),
        (("--calibrate", "plat"), "did you mean 'platt'"),
        (("--balance", "all"), "no weights 'all'"),
        (("--head", "logreg:cc=1"), "did you mean 'c'"),
        (("--encoder", "x"), "--encoder goes with --detector"),
    ],
)
def test_misuse_is_one_sentence_and_exit_code_2(fdetect, small_set, arguments, said):  # noqa: F811
    code, _, err = fdetect("fit", small_set, "-o", "x", *arguments)
    assert code == 2
    assert said in err.splitlines()[-1]
    assert not Path("x").exists()
