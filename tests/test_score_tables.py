"""`score` on a table of features: the same scores without the images, and a refusal that names the first difference."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from test_cli import fdetect  # noqa: F401 (a fixture)

from fdetect.bench import steps
from fdetect.bench.layouts import read_manifest
from fdetect.bench.training import fitting
from fdetect.classifiers.saved import FittedDetector, load_detector, save_detector
from fdetect.errors import DataError, ParameterError
from fdetect.features.read import read_features
from fdetect.types import FeatureTable

NAMES = ("radial_spectrum", "npr_statistics")
SHAPE = {"features": NAMES, "crop": 128}


@pytest.fixture(scope="module")
def model(small_set, store, tmp_path_factory) -> FittedDetector:
    """As it comes from disk: what is compared has been through the card."""
    folder = tmp_path_factory.mktemp("model") / "my.fdetect"
    save_detector(fitting.fit(small_set, folds=0, store=store, **SHAPE), folder)
    return load_detector(folder)


@pytest.fixture(scope="module")
def file(small_set, store, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("table") / "t.parquet"
    steps.extract_to(path, small_set, condition="matched", store=store, **SHAPE)
    return path


@pytest.fixture(scope="module")
def table(file) -> FeatureTable:
    return read_features(file)


def test_a_table_scores_as_its_images_do(small_set, model, file, table, store):
    images = steps.score(small_set, model, store=store)
    for data in (file, str(file), [file], table, steps.extract(small_set, condition="matched", store=store, **SHAPE)):
        scores = steps.score(data, model)
        np.testing.assert_array_equal(scores.values, images.values)
        assert (scores.ids, scores.paths, scores.detector) == (images.ids, images.paths, images.detector)
    manifest = read_manifest(small_set)
    expected = steps.score_table(images, manifest, model, "matched")
    assert steps.score_table(scores, table.manifest, model, "matched").to_pylist() == expected.to_pylist()


def test_failed_images_of_a_table_stay_failed(model, store, tmp_path, small_set):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").write_bytes(next(small_set.parent.rglob("*.png")).read_bytes())
    (tmp_path / "in" / "b.png").write_bytes(b"")
    table = steps.extract(tmp_path / "in", condition="matched", store=store, **SHAPE)
    scores = steps.score(table, model)
    assert np.isfinite(scores.values).tolist() == [True, False]
    rows = steps.score_table(scores, table.manifest, model, "matched").to_pylist()
    assert [(row["status"], row["reason"], row["label"]) for row in rows] == [
        ("ok", "", None), ("failed", "decode: the file is empty (0 bytes)", None),
    ]  # fmt: skip
    bare = replace(table, manifest=None)
    rows = steps.score_table(scores, bare.manifest, model, "matched").to_pylist()
    assert [row["label"] for row in rows] == [None] * 2


def edited(table: FeatureTable, task: str, **about: object) -> FeatureTable:
    found = json.loads(json.dumps(table.about))
    return replace(table, about={**found, task: {**found[task], **about}})


def lacking(table: FeatureTable, *keys: str) -> FeatureTable:
    of_task = {key: value for key, value in table.about["npr_statistics"].items() if key not in keys}
    return replace(table, about={**table.about, "npr_statistics": of_task})


def test_the_first_difference_is_named_with_the_way_to_a_table_that_fits(small_set, model, table, store, tmp_path):
    def extracted(**settings: object) -> FeatureTable:
        return steps.extract(small_set, store=store, **{"condition": "matched", **SHAPE, **settings})

    columns = list(table.columns)
    moved = replace(table, columns=(*columns[:16], columns[17], columns[16], *columns[18:]))
    for one, text in (
        (extracted(features=NAMES[:1]), r"column 1 is 'radial_spectrum:\S+', the model has 'npr_statistics:\S+'"),
        (extracted(features=NAMES[1:]), rf"the table has no column 37, '\S+' \(36 columns, the model {len(columns)}\)"),
        (extracted(features=(*NAMES, "saturation_statistics")), r"column \d+ is|the model has no column"),
        (moved, rf"column 17 is '{columns[17]}', the model has '{columns[16]}'"),
        (extracted(condition="native"), "the condition was native, the model's is matched"),
        (extracted(condition="jpeg70"), "the condition was jpeg70, the model's is matched"),
        (extracted(crop=64), "the crop was 64, the model's 128"),
        (extracted(seed=5), "the seed was 5, the model's 0"),
        (edited(table, "npr_statistics", settings={"factor": 4}),
         "feature npr_statistics ran with factor=4, the model with 2"),
        (edited(table, "radial_spectrum", settings={"extra": 1}), "ran with extra=1, the model with None"),
        (edited(table, "npr_statistics", version="0" * 16),
         rf"npr_statistics was computed by other code \({'0' * 16}, the model's {model.codes['npr_statistics']}\)"),
        (edited(table, "npr_statistics", geometry={}), "feature npr_statistics saw the images as"),
        (edited(table, "npr_statistics", code="0"), "decoded and cropped by another version of fdetect"),
        (replace(table, about={}), r"not say how feature npr_statistics was computed \(it says nothing\)"),
        (lacking(table, "crop"), r"not say how feature npr_statistics was computed \(it lacks crop\)"),
        (lacking(table, "seed", "code"), r"how feature npr_statistics was computed \(it lacks seed, code\)"),
        (edited(table, "npr_statistics", condition={}), r"npr_statistics was computed \(it lacks condition\)"),
    ):  # fmt: skip
        one.to_parquet(tmp_path / "other.parquet")
        for data, place in ((one, "the table of features"), (tmp_path / "other.parquet", str(tmp_path))):
            with pytest.raises(DataError, match=text) as caught:
                steps.score(data, model)
            assert str(caught.value).startswith(place)
            fix = "--features npr_statistics,radial_spectrum --condition matched --crop 128 --seed 0"
            assert f"; make the table again with fdetect extract {fix}" in str(caught.value)
            assert "\n" not in str(caught.value)


def test_what_is_another_machine_s_alone_is_no_difference(model, table):
    other = table
    for task in ("radial_spectrum", "npr_statistics"):
        other = edited(other, task, libraries="numpy 9", decoder="Pillow 99", backend="gpu")
    np.testing.assert_array_equal(steps.score(other, model).values, steps.score(table, model).values)


def test_another_condition_must_be_named_and_be_that_of_the_table(small_set, model, table, store):
    jpeg = steps.extract(small_set, condition="jpeg70", store=store, **SHAPE)
    told: list[str] = []
    scores = steps.score(jpeg, model, condition="jpeg70", notice=told.append)
    np.testing.assert_array_equal(scores.values, steps.score(small_set, model, condition="jpeg70", store=store).values)
    assert told == [f"the thresholds of {model.name} were set under matched: no promise under jpeg70"]
    with pytest.raises(DataError, match="the condition was matched, and jpeg70 is asked for; .* --condition jpeg70 "):
        steps.score(table, model, condition="jpeg70")
    other = jpeg
    for task in NAMES:
        other = edited(other, task, condition={**jpeg.about[task]["condition"], "steps": [["jpeg", 60.0]]})
    with pytest.raises(DataError, match=r"jpeg70 had steps \[\['jpeg', 60.0\]\], here it has \[\['jpeg', 70.0\]\]"):
        steps.score(other, model, condition="jpeg70")


def test_what_a_table_cannot_be_scored_by_is_said(model, table, small_set, file):
    part = {key: value for key, value in model.about["npr_statistics"].items() if key != "geometry"}
    for about in ({}, {**model.about, "npr_statistics": part}):
        with pytest.raises(DataError, match="keeps no record of its columns' settings; score the images instead"):
            steps.score(table, replace(model, about=about))
    with pytest.raises(ParameterError, match="the model does not say how npr_statistics was computed; fit it again"):
        steps.score(small_set, replace(model, codes={"radial_spectrum": model.codes["radial_spectrum"]}))
    with pytest.raises(ParameterError, match="a training-free detector looks at images"):
        steps.score(table, "feature_drift")
    assert steps.feature_table(small_set) is None
    assert steps.feature_table([file, file]) is None
    assert steps.feature_table("nowhere.parquet") is None


def test_a_parquet_manifest_is_still_a_list_of_images(small_set, model, store, tmp_path):
    manifest = read_manifest(small_set).slice(0, 4)
    root = manifest.schema.metadata[b"fdetect.root"].decode()
    paths = pa.array([f"{root}/{path}" for path in manifest.column("path").to_pylist()])
    pq.write_table(pa.table({"path": paths, "label": manifest.column("label")}), small_set.parent / "m.parquet")
    scores = steps.score(small_set.parent / "m.parquet", model, store=store)
    np.testing.assert_array_equal(scores.values, steps.score(manifest, model, store=store).values)


def test_on_the_command_line(fdetect, small_set, model, store, file):  # noqa: F811
    save_detector(model, Path("my.fdetect"))
    here = ("--store", store.folder, "--workers", 0)
    shape = ("--features", ",".join(NAMES), "--crop", 128)
    for name, condition in (("t.parquet", "matched"), ("native.parquet", "native")):
        assert fdetect("extract", small_set, "-o", name, "--condition", condition, *shape, *here)[0] == 0
    code, out, err = fdetect("score", "t.parquet", "--model", "my.fdetect", "-o", "s.csv")
    assert (code, out) == (0, "82 images, 0 failed: s.csv\n"), err
    assert "82 rows of 100 columns of features; their images are not read" in err
    assert fdetect("score", small_set, "--model", "my.fdetect", "-o", "images.csv", *here)[0] == 0
    assert Path("s.csv").read_bytes() == Path("images.csv").read_bytes()
    for arguments, said in (
        (("native.parquet",), "native.parquet: the condition was native, the model's is matched; make the table again"),
        (("t.parquet", "-o", "t.parquet"), "t.parquet is one of the inputs; give another name"),
        (("t.parquet", "--crop", "0"), "--seed and --crop go with --detector"),
        (("t.parquet", "--root", "."), "--root is for images, and t.parquet is a table of their features"),
    ):
        code, _, err = fdetect("score", *arguments, "--model", "my.fdetect")
        assert code == 2
        assert said in err.splitlines()[-1]
