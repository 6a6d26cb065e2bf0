"""extract, fit and score, one step at a time: tables, files, unlabelled images, failures."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
from dataclasses import replace
from pathlib import Path

import naive_metrics as naive
import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
from PIL import Image

from fdetect.bench import steps
from fdetect.bench.layouts import read_manifest
from fdetect.bench.training import fitting
from fdetect.classifiers import fit_head, head
from fdetect.classifiers.saved import FittedDetector, load_detector, save_detector
from fdetect.classifiers.seen import known
from fdetect.decide import Calibration
from fdetect.errors import DataError, ParameterError, UnknownName, WeightsError
from fdetect.features import column_names, feature
from fdetect.features.read import read_features
from fdetect.files import write_table
from fdetect.splits import hold_out
from fdetect.types import MANIFEST_COLUMNS

QUICK = {"features": "npr_statistics,radial_spectrum", "crop": 128}


@pytest.fixture(scope="module")
def fitted(small_set, store) -> FittedDetector:
    return fitting.fit(small_set, store=store, **QUICK)


@pytest.fixture
def folder(small_set, tmp_path) -> Path:
    """Six images of the small set in a folder without labels, and two files that are no images."""
    with small_set.open(encoding="utf-8", newline="") as file:
        for k, row in enumerate(list(csv.DictReader(file))[:72:12]):
            (tmp_path / "in" / "deep").mkdir(parents=True, exist_ok=True)
            shutil.copyfile(small_set.parent / row["path"], tmp_path / "in" / "deep" / f"{k}.png")
    (tmp_path / "in" / "empty.jpg").write_bytes(b"")
    Image.new("RGB", (60, 200)).save(tmp_path / "in" / "narrow.png")
    return tmp_path / "in"


# -- extract --------------------------------------------------------------------------------------------------------


def test_extract_gives_the_columns_of_the_features_in_manifest_order(small_set, store):
    manifest = read_manifest(small_set)
    table = steps.extract(small_set, store=store, **QUICK)
    assert table.paths == tuple(manifest.column("path").to_pylist())
    names = ("radial_spectrum", "npr_statistics")  # the order of registration, whatever was written
    expected = [column for entry in feature if entry.name in names for column in column_names(entry)]
    assert list(table.columns) == expected
    assert table.values.shape == (len(table.paths), len(expected))
    assert table.values.dtype == np.float32
    assert table.ok.all()
    again = steps.extract(manifest, **QUICK)
    np.testing.assert_array_equal(again.values, table.values)


def test_a_feature_table_holds_the_manifest_and_every_column(small_set, store):
    manifest = read_manifest(small_set)
    table = steps.extract(manifest, store=store, **QUICK)
    arrow = table.to_arrow()
    assert arrow.column_names == ["id", *manifest.column_names, "status", "reason", "npr_statistics", "radial_spectrum"]
    assert arrow.column("id").to_pylist() == list(table.ids)
    assert arrow.column("group").to_pylist() == manifest.column("group").to_pylist()
    flat = table.to_arrow(flat=True)
    assert flat.column_names == [*arrow.column_names[:-2], *table.columns]
    np.testing.assert_array_equal(flat.column(table.columns[5]).to_numpy(), table.values[:, 5])
    np.testing.assert_array_equal(np.stack(arrow.column("npr_statistics").to_numpy()), table.values[:, :36])
    assert set(arrow.column("status").to_pylist()) == {"ok"}


def test_columns_of_the_manifest_do_not_replace_ours(small_set, store):
    manifest = read_manifest(small_set)
    for name in ("id", "status", "reason"):
        manifest = manifest.append_column(name, pa.array([f"my {name}"] * len(manifest)))
    table = steps.extract(manifest, store=store, **QUICK)
    arrow = table.to_arrow()
    assert arrow.column("id").to_pylist() == list(table.ids)
    assert set(arrow.column("status").to_pylist()) == {"ok"}
    assert set(arrow.column("manifest_id").to_pylist()) == {"my id"}


def test_failures_stand_in_the_table_with_stage_and_reason(folder):
    manifest = steps.any_images(folder)
    table = steps.extract(manifest, **QUICK)
    arrow = {row["path"]: row for row in table.to_arrow().to_pylist()}
    assert [failure.path for failure in table.failures] == ["empty.jpg", "narrow.png"]
    assert arrow["empty.jpg"]["status"] == arrow["narrow.png"]["status"] == "failed"
    assert arrow["empty.jpg"]["reason"] == "decode: the file is empty (0 bytes)"
    assert arrow["narrow.png"]["reason"].startswith("geometry: 60x200 is too small for condition native")
    assert np.isnan(arrow["empty.jpg"]["npr_statistics"]).all()
    good = [row for path, row in arrow.items() if path.startswith("deep/")]
    assert len(good) == 6
    assert all(row["status"] == "ok" and row["reason"] == "" and row["label"] is None for row in good)


def test_a_streamed_file_holds_what_the_table_holds(folder, store, tmp_path, monkeypatch):
    from fdetect.engine import extraction

    monkeypatch.setattr(extraction, "BLOCK", 3)  # eight images: three row groups
    told = []
    options = {"store": store, "progress": lambda *step: told.append(step)}
    done = steps.extract_to(tmp_path / "f.parquet", folder, **options, **QUICK)
    table = steps.extract(folder, store=store, **QUICK)
    file = pa.parquet.ParquetFile(tmp_path / "f.parquet")
    assert file.num_row_groups == 3
    assert file.schema_arrow == table.to_arrow().schema
    assert repr(file.read().to_pylist()) == repr(table.to_arrow().to_pylist())  # where NaN is NaN
    assert (done.n_images, done.n_columns, done.failures) == (8, len(table.columns), table.failures)
    assert told[-1] == ("extracting", 8, 8)
    assert done.timing.images == 8
    steps.extract_to(tmp_path / "again.parquet", folder, store=store, workers=2, **QUICK)
    assert (tmp_path / "again.parquet").read_bytes() == (tmp_path / "f.parquet").read_bytes()


def test_a_table_is_read_back_with_names_values_failures_and_settings(folder, store, tmp_path):
    table = steps.extract(folder, store=store, **QUICK)
    table.to_parquet(tmp_path / "t.parquet")
    back = read_features(tmp_path / "t.parquet")
    for name in ("ids", "paths", "columns", "failures"):
        assert getattr(back, name) == getattr(table, name)
    np.testing.assert_array_equal(back.values, table.values)
    assert back.about == json.loads(json.dumps(table.about))
    assert back.about["npr_statistics"]["crop"] == QUICK["crop"]
    assert back.about["radial_spectrum"]["condition"]["name"] == "native"
    assert back.manifest.column_names == list(MANIFEST_COLUMNS)
    frame = back.to_pandas()
    assert list(frame.columns) == ["id", *MANIFEST_COLUMNS, "status", "reason", *table.columns]
    np.testing.assert_array_equal(frame[list(table.columns)].to_numpy(), table.values)
    (tmp_path / "text.parquet").write_text("no table")
    with pytest.raises(DataError, match=r"text\.parquet: is no Parquet file"):
        read_features(tmp_path / "text.parquet")
    with pytest.raises(DataError, match=r"gone\.parquet: No such file or directory; check the path"):
        read_features(tmp_path / "gone.parquet")
    assert repr(table) == f"FeatureTable(8 images, {len(table.columns)} columns, 2 failed)"
    assert pa.parquet.read_schema(tmp_path / "t.parquet").metadata[b"fdetect.root"] == os.fsencode(folder)
    write_table(pa.table({"path": ["a"]}), tmp_path / "other.parquet")
    with pytest.raises(DataError, match=r"other\.parquet: holds no table of features"):
        read_features(tmp_path / "other.parquet")


def test_the_name_of_the_file_is_looked_at_before_the_work(folder, tmp_path):
    with pytest.raises(ParameterError, match=r"f\.xlsx: a table is written as \.parquet or \.csv"):
        steps.extract_to(tmp_path / "f.xlsx", folder / "nowhere", **QUICK)
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"file: cannot be written \(a file is where a folder should be\); choose"):
        steps.extract_to(tmp_path / "file" / "f.csv", folder, **QUICK)


def test_settings_of_the_engine_are_checked_and_told(folder, tmp_path):
    told: list[str] = []
    table = steps.extract(folder, features=["radial_spectrum"], crop=128, store=tmp_path / "s", notice=told.append)
    assert told[:2] == [f"{f.path}: {f.stage}: {f.reason}" for f in table.failures]
    assert told[-1].startswith("8 images in ")
    assert list((tmp_path / "s").glob("radial_spectrum-*/part-*"))  # a folder is a store
    with pytest.raises(ParameterError, match=r"no setting 'worker'; did you mean 'workers'"):
        steps.extract(folder, worker=2)
    with pytest.raises(ParameterError, match=r"workers must be a whole number of 0 or more, got -1"):
        steps.extract(folder, workers=-1, **QUICK)
    with pytest.raises(ParameterError, match=r"images are given as paths, not as ndarray"):
        steps.extract([np.zeros((9, 9, 3), np.uint8)], **QUICK)


def test_a_column_in_the_way_is_said_before_the_work(small_set, tmp_path):
    manifest = read_manifest(small_set)
    for name in ("npr_statistics", "manifest_id"):
        with pytest.raises(DataError, match=f"column '{name}' has the name of one of ours; rename it"):
            steps.extract(manifest.append_column(name, manifest.column("path")), **QUICK)
    nested = manifest.append_column("box", pa.array([[1, 2]] * len(manifest)))
    with pytest.raises(DataError, match=r"column 'box' holds list<.*>; write to \.parquet instead"):
        steps.extract_to(tmp_path / "f.csv", nested, **QUICK)


def test_what_is_read_is_not_written_over(folder, tmp_path):
    images = pa.array([{"bytes": (folder / "deep" / "0.png").read_bytes(), "path": None}])
    pa.parquet.write_table(pa.table({"image": images}), folder / "rows.parquet")
    (folder / "m.csv").write_text("path,label\ndeep/0.png,1\n")
    shard, manifest = folder / "rows.parquet", folder / "m.csv"
    for name, data in ((shard.name, [shard]), (shard.name, [folder / "deep", shard]), (manifest.name, manifest)):
        before = (folder / name).read_bytes()
        with pytest.raises(ParameterError, match=f"{name} is one of the inputs; give another name"):
            steps.extract_to(folder / name, data, **QUICK)
        assert (folder / name).read_bytes() == before


def test_no_store_named_is_the_users(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("FDETECT_CACHE", str(tmp_path / "users"))
    steps.extract(folder, **QUICK)
    told = list((tmp_path / "users").glob("npr_statistics-*/part-*.parquet"))
    assert len(told) == 1
    before = told[0].stat().st_mtime_ns
    steps.extract(folder, **QUICK)
    assert told[0].stat().st_mtime_ns == before


# -- which images ---------------------------------------------------------------------------------------------------


def test_a_folder_without_labels_is_read_whole_and_in_order(folder):
    manifest = steps.any_images(folder)
    assert manifest.column("path").to_pylist() == [*(f"deep/{k}.png" for k in range(6)), "empty.jpg", "narrow.png"]
    assert tuple(manifest.column_names) == MANIFEST_COLUMNS
    assert manifest.column("label").null_count == 8
    assert manifest.column("label").type == pa.int64()
    assert manifest.schema.metadata[b"fdetect.layout"] == b"unlabelled"


def test_one_image_is_a_set_of_one(folder):
    manifest = steps.any_images(folder / "deep" / "3.png")
    assert manifest.column("path").to_pylist() == ["3.png"]
    one = steps.extract(manifest, **QUICK)
    together = steps.extract(folder, **QUICK)
    np.testing.assert_array_equal(one.values[0], together.values[3])
    assert one.ids[0] == together.ids[3]


def test_a_list_of_anything_is_one_set(folder, tmp_path):
    shutil.make_archive(str(tmp_path / "in" / "shard"), "tar", folder / "deep")
    shutil.make_archive(str(tmp_path / "in" / "packed"), "zip", folder / "deep")
    data = [(folder / "deep" / f"{k}.png").read_bytes() for k in range(2)]
    images = pa.array([{"bytes": one, "path": None} for one in data])
    pa.parquet.write_table(pa.table({"image": images, "label": [0, 1]}), folder / "rows.parquet")
    given = [folder / "deep" / "0.png", folder / "de*" / "[12].png", folder / "shard.tar", folder / "packed.zip",
             f"{folder / 'shard.tar'}::3.png", folder / "rows.parquet"]  # fmt: skip
    manifest = steps.any_images(given)
    paths = manifest.column("path").to_pylist()
    assert paths[:3] == [f"deep/{k}.png" for k in range(3)]
    assert sorted(paths[3:9]) == [f"shard.tar::{k}.png" for k in range(6)]  # in the order of the shard
    assert sorted(paths[9:15]) == [f"packed.zip::{k}.png" for k in range(6)]
    assert paths[15:] == ["rows.parquet::0", "rows.parquet::1"]
    assert manifest.schema.metadata[b"fdetect.detected"].decode().endswith("1 listed twice")
    table = steps.extract(given, **QUICK)
    assert table.failures == ()
    by_path = dict(zip(table.paths, table.values, strict=True))
    for path, row in by_path.items():
        number = path.rpartition("::")[2].rpartition("/")[2].removesuffix(".png")
        np.testing.assert_array_equal(row, by_path[f"packed.zip::{number}.png"])
    assert len(set(table.ids)) == 6
    (folder / "manifest.csv").write_text("path,label\nshard.tar::5.png,1\npacked.zip::4.png,0\nrows.parquet::1,0\n")
    labelled = steps.extract(folder / "manifest.csv", **QUICK)
    assert labelled.failures == ()
    for path, row in zip(labelled.paths, labelled.values, strict=True):
        np.testing.assert_array_equal(row, by_path[path])
    assert labelled.to_arrow().column("label").to_pylist() == [1, 0, 0]


def test_a_labelled_set_keeps_its_labels(small_set):
    assert steps.any_images(small_set).equals(read_manifest(small_set))


def test_a_labelled_set_that_cannot_be_read_is_not_taken_for_an_unlabelled_one(folder):
    (folder / "manifest.csv").write_text("path,label\ndeep/0.png,perhaps\n", encoding="utf-8")
    with pytest.raises(DataError, match="label 'perhaps' is none of"):
        steps.any_images(folder)


@pytest.mark.parametrize("name", ["gone", "gone.png", "hollow", "no*.jpg"])
def test_what_holds_no_image_is_refused(name, tmp_path):
    (tmp_path / "hollow").mkdir()
    with pytest.raises(DataError, match=re.escape(name)):
        steps.any_images(tmp_path / name)


def test_a_layout_asked_for_is_insisted_on(folder):
    with pytest.raises(DataError):
        steps.any_images(folder, layout="genimage")


# -- fit and score --------------------------------------------------------------------------------------------------


def test_what_is_fitted_saved_and_loaded_scores_as_in_memory(small_set, fitted, store, tmp_path):
    save_detector(fitted, tmp_path / "my.fdetect")
    loaded = load_detector(tmp_path / "my.fdetect")
    here, there = (steps.score(small_set, one, store=store) for one in (fitted, loaded))
    np.testing.assert_array_equal(here.values, there.values)
    assert here == replace(there, values=here.values)
    assert np.isfinite(here.values).all()
    assert here.values.dtype == np.float64
    assert loaded.name == here.detector == "logreg:npr_statistics+radial_spectrum"


def test_a_fit_leaves_out_the_calibration_reals_and_their_groups(small_set, fitted, store):
    manifest = read_manifest(small_set)
    rows = manifest.to_pylist()
    label, group = np.array([row["label"] for row in rows]), [row["group"] for row in rows]
    reals = np.flatnonzero(label == 0)
    held = reals[hold_out([group[k] for k in reals], [rows[k]["real_source"] for k in reals], share=0.25, seed=0)]
    kept = np.array([name not in {group[k] for k in held} for name in group])
    table = steps.extract(manifest, condition="matched", store=store, **QUICK)
    expected = fit_head(head.get("logreg"), table.columns, table.values[kept], label[kept])
    scores = steps.score(manifest, fitted, store=store).values
    np.testing.assert_array_equal(scores, expected.score(table.values))
    assert (fitted.condition, fitted.crop, fitted.seed, fitted.n_failed) == ("matched", 128, 0, 0)
    assert fitted.calibration.scores == tuple(sorted(scores[held]))
    assert fitted.calibration.five.attainable == (naive.conformal_threshold(scores[held].tolist(), 5) is not None)
    assert sum(fitted.trained_on.values()) == kept.sum()
    assert fitted.trained_on[""] == (label[kept] == 0).sum()
    fit, calibration = known(fitted, table.ids)
    np.testing.assert_array_equal(fit, kept)
    assert np.flatnonzero(calibration).tolist() == held.tolist()


def test_copies_under_other_names_are_never_on_both_sides_of_a_fit(small_set, tmp_path, store):
    manifest = read_manifest(small_set)
    root = Path(manifest.schema.metadata[b"fdetect.root"].decode())
    rows = manifest.to_pylist()
    copies = []
    for k, row in enumerate(row for row in rows if row["label"] == 0):
        name = f"copy{k}.png"
        shutil.copyfile(root / row["path"], tmp_path / name)
        copies.append({**row, "path": str(tmp_path / name), "group": f"alone{k}"})
    for row in rows:
        row["path"] = str(root / row["path"])
    both = pa.Table.from_pylist([*rows, *copies], schema=manifest.schema)
    fitted = fitting.fit(both, store=store, **QUICK)
    # a copy joins the scenes of its original: no real of a calibration scene trains, under whatever name
    table = steps.extract(both, store=store, **QUICK, condition="matched")
    label = np.array([row["label"] for row in (*rows, *copies)])
    on_reals = set(fitted.head.score(table.values[label == 0]))
    assert set(fitted.calibration.scores) <= on_reals
    assert len(fitted.calibration.scores) == len(set(fitted.calibration.scores))  # each content counts once
    held = np.isin(fitted.head.score(table.values), fitted.calibration.scores) & (label == 0)
    assert fitted.trained_on[""] == (label == 0).sum() - held.sum()  # whatever calibrates trains under no name
    assert held.sum() >= 2 * len(fitted.calibration.scores)


def test_enough_calibration_reals_give_the_conformal_threshold(small_set, store):
    one = fitting.fit(small_set, calibration=0.6, store=store, **QUICK)
    rows = read_manifest(small_set).to_pylist()
    reals = [k for k, row in enumerate(rows) if row["label"] == 0]
    held = hold_out([rows[k]["group"] for k in reals], [rows[k]["real_source"] for k in reals], share=0.6, seed=0)
    scores = steps.score(small_set, one, store=store).values
    on_reals = [scores[k] for k, out in zip(reals, held, strict=True) if out]
    assert one.calibration.five.attainable
    assert one.calibration.five.value == naive.conformal_threshold(on_reals, 5)
    assert not one.calibration.one.attainable


def test_a_detector_is_used_as_it_was_fitted_unless_a_condition_is_named(small_set, fitted, store):
    plain = steps.score(small_set, fitted, store=store)
    other_crop = steps.score(small_set, fitted, crop=64, seed=9, store=store)
    np.testing.assert_array_equal(plain.values, other_crop.values)
    jpeg = steps.score(small_set, fitted, condition="jpeg70", store=store)
    table = steps.extract(small_set, condition="jpeg70", store=store, **QUICK)
    np.testing.assert_array_equal(jpeg.values, fitted.head.score(table.values))
    assert (jpeg.values != plain.values).any()


def test_scores_of_unlabelled_images_and_of_one(folder, fitted):
    scores = steps.score(folder, fitted)
    assert np.isfinite(scores.values).tolist() == [True] * 6 + [False] * 2
    assert [failure.path for failure in scores.failures] == ["empty.jpg", "narrow.png"]
    alone = steps.score(folder / "deep" / "2.png", fitted)
    assert alone.values[0] == scores.values[2]


def test_the_score_table_says_everything_of_each_image(folder, fitted):
    manifest = steps.any_images(folder)
    scores = steps.score(manifest, fitted)
    middle = float(np.sort(scores.values[:6])[2])
    decided = replace(fitted, calibration=Calibration.of([middle - 99.0] * 190 + [middle] * 8 + [middle + 0.01] * 4))
    five, one = decided.calibration.five.value, decided.calibration.one.value
    assert (five, one) == (middle, middle + 0.01)
    table = steps.score_table(scores, manifest, decided, "matched")
    assert table.column_names == [
        "id", "path", "label", "generator", "real_source", "group", "seen", "detector", "condition", "score",
        "probability", "p_value", "threshold", "decision", "status", "reason",
    ]  # fmt: skip
    rows = table.to_pylist()
    assert [row["score"] for row in rows[:6]] == scores.values[:6].tolist()
    for row in rows[:6]:
        word = "real" if row["score"] <= five else "inconclusive" if row["score"] <= one else "fake"
        assert (row["decision"], row["status"], row["reason"]) == (word, "ok", "")
        assert row["probability"] == pytest.approx(1 / (1 + np.exp(-row["score"])))
        assert row["p_value"] == naive.conformal_pvalue(row["score"], decided.calibration.scores)
        assert (row["threshold"], row["condition"], row["label"]) == (five, "matched", None)
    assert {row["decision"] for row in rows[:6]} >= {"real", "fake"}
    assert [(row["status"], row["decision"]) for row in rows[6:]] == [("failed", "undecided")] * 2
    assert np.isnan([row["p_value"] for row in rows[6:]]).all()
    assert rows[6]["reason"] == "decode: the file is empty (0 bytes)"
    undecided = replace(fitted, calibration=Calibration.of([0.0] * 5))
    table = steps.score_table(scores, manifest, undecided, "matched")
    assert set(table.column("decision").to_pylist()) == {"undecided"}
    assert set(table.column("threshold").to_pylist()) == {None}
    assert np.isfinite(table.column("p_value").to_numpy()[:6]).all()


def test_a_feature_that_changed_since_the_fit_is_refused(folder, fitted):
    changed = replace(fitted, codes={**fitted.codes, "npr_statistics": "0" * 16})
    with pytest.raises(ParameterError, match="feature 'npr_statistics' changed since this detector was fitted"):
        steps.score(folder, changed)
    gone = replace(fitted, codes={"npr_statistic": "0" * 16})
    with pytest.raises(UnknownName, match="did you mean 'npr_statistics'"):
        steps.score(folder, gone)


def test_a_training_free_detector_without_weights_says_how_to_get_them(folder):
    with pytest.raises(WeightsError, match="dinov2-large|torch"):
        steps.score(folder, "rigid")
    with pytest.raises(ParameterError, match="knn compares with reference images; make their bank first: fdetect fit"):
        steps.score(folder, "knn")
    with pytest.raises(UnknownName, match="did you mean 'rigid'"):
        steps.score(folder, "rigit")


def test_a_training_free_detector_scores_with_weights_from_a_folder(folder, tmp_path):
    pytest.importorskip("transformers", reason="the extra 'deep' is not installed")
    import tiny_dinov2

    tiny_dinov2.save_tiny(tmp_path / "tiny", image_size=56)
    manifest = steps.any_images(folder)
    scores = steps.score(manifest, "rigid", encoder=str(tmp_path / "tiny"), crop=64)
    assert np.isfinite(scores.values).tolist() == [True] * 6 + [False] * 2
    named = steps.score(manifest, f"rigid:encoder={tmp_path / 'tiny'}:sigma=0.1", crop=64)
    assert (named.values[:6] > scores.values[:6]).all()  # twice the noise
    for name in (f"rigid:encoder={tmp_path / 'tiny'}", "feature_drift"):
        with pytest.raises(ParameterError, match="--encoder elsewhere: .* takes it"):
            steps.score(manifest, name, encoder="elsewhere", crop=64)
    table = steps.score_table(scores, manifest, "rigid", "native").to_pylist()
    assert {row["decision"] for row in table} == {"undecided"}
    assert {row["threshold"] for row in table} == {None}
    assert np.isnan([row["p_value"] for row in table]).all()
    assert [row["status"] for row in table] == ["ok"] * 6 + ["failed"] * 2


@pytest.mark.parametrize(
    ("settings", "error", "text"),
    [
        ({"head": "logref"}, UnknownName, "did you mean 'logreg'"),
        ({"features": "npr_statistic"}, UnknownName, "did you mean 'npr_statistics'"),
        ({"condition": "matchd"}, ParameterError, "did you mean 'matched'"),
        ({"crop": 100}, ParameterError, "multiple of 8"),
        ({"calibration": 1.5}, ParameterError, "between 0 and 1"),
    ],
)
def test_settings_that_cannot_be_used_are_explained(settings, error, text, small_set):
    with pytest.raises(error, match=text):
        fitting.fit(small_set, **{**QUICK, **settings})


@pytest.mark.parametrize("label", [0, 1])
def test_a_class_is_needed(label, small_set):
    manifest = read_manifest(small_set)
    chosen = manifest.filter(pa.array([value == label for value in manifest.column("label").to_pylist()]))
    with pytest.raises(DataError, match="at least two real images and one fake"):
        fitting.fit(chosen, **QUICK)


# -- tables on disk -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_tables_come_back_from_disk(ending, folder, fitted, tmp_path):
    manifest = steps.any_images(folder)
    table = steps.score_table(steps.score(manifest, fitted), manifest, fitted, "matched")
    write_table(table, tmp_path / "new" / f"scores{ending}")
    file = tmp_path / "new" / f"scores{ending}"
    back = pa.parquet.read_table(file) if ending == ".parquet" else pa.csv.read_csv(file)
    assert back.column_names == table.column_names
    for name in ("path", "decision", "status", "reason"):
        assert back.column(name).to_pylist() == table.column(name).to_pylist()
    np.testing.assert_array_equal(back.column("score").to_numpy(), table.column("score").to_numpy())
    assert [path.name for path in file.parent.iterdir()] == [file.name]  # nothing temporary is left


def test_another_ending_is_refused_and_nothing_is_written(tmp_path):
    with pytest.raises(ParameterError, match=r"scores\.xlsx: a table is written as \.parquet or \.csv"):
        write_table(pa.table({"a": [1]}), tmp_path / "scores.xlsx")
    assert not list(tmp_path.iterdir())
