"""Embeddings of encoders as columns of ordinary heads: extracted, fitted, saved, scored; a tiny DINOv2 on disk."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import naive_encoders
import numpy as np
import pyarrow as pa
import pytest
from test_cli import fdetect  # noqa: F401 (a fixture)

from fdetect.bench import steps
from fdetect.bench.contenders import embeddings
from fdetect.bench.layouts import read_manifest
from fdetect.bench.training import fitting
from fdetect.bench.training.columns import Columns
from fdetect.classifiers import fit_head, head
from fdetect.classifiers.embedding import embedding_task
from fdetect.classifiers.saved import load_detector, save_detector
from fdetect.config import RunConfig, override
from fdetect.engine import run
from fdetect.errors import DataError, ParameterError, WeightsError
from fdetect.features import feature_task
from fdetect.rigid import detector, prepare

pytest.importorskip("torch", reason="the extra 'deep' is not installed")
pytest.importorskip("transformers", reason="the extra 'deep' is not installed")

import tiny_dinov2

QUICK = {"condition": "native", "crop": 128}


@pytest.fixture(scope="module")
def encoder(tmp_path_factory) -> Path:
    return tiny_dinov2.save_tiny(tmp_path_factory.mktemp("tiny"), image_size=56)


@pytest.fixture(scope="module")
def few(small_set) -> pa.Table:
    """Six scenes of the small set."""
    manifest = read_manifest(small_set)
    groups = sorted(set(manifest.column("group").to_pylist()))[:6]
    return manifest.filter(pa.array([name in groups for name in manifest.column("group").to_pylist()]))


@pytest.fixture(scope="module")
def fitted(few, encoder, store):
    return fitting.fit(few, features=f"embedding:encoder={encoder}", store=store, **QUICK)


def test_columns_are_known_before_any_data(encoder):
    task = embedding_task(f"embedding:encoder={encoder}", crop=128, device="cpu")
    assert task.columns == tuple(f"embedding-dinov2-32x2:{k}" for k in range(32))
    assert task.name == "embedding-dinov2-32x2"
    columns = Columns.of(f"radial_spectrum,embedding:encoder={encoder}", condition="native", crop=128)
    assert [one.name for one in columns.tasks] == ["radial_spectrum", "embedding-dinov2-32x2"]
    assert columns.names == ("radial_spectrum", f"embedding:encoder={encoder}")


def test_rows_are_what_the_clean_view_of_a_detector_is_and_one_pass_makes_both(few, encoder, store):
    task = embedding_task(f"embedding:encoder={encoder}", crop=128, device="cpu")
    (clean,) = prepare(detector.get("knn").configured(encoder=str(encoder))(), device="cpu", crop=128)
    assert task.group == clean.group
    assert task.geometry == clean.geometry
    root = few.schema.metadata[b"fdetect.root"].decode()
    done = run((task, clean), few.column("path"), root=root, crop=128, store=store)
    one, other = (done.tables["native", name] for name in (task.name, clean.name))
    np.testing.assert_array_equal(one.values, other.values)
    assert np.isfinite(one.values).all()
    assert len(np.unique(one.values.round(4), axis=0)) > len(few) // 2


def test_an_embedding_is_that_of_a_plain_forward_pass(tmp_path):
    """In NumPy, float64, from the stored weights; the geometry is the engine's own, tested elsewhere."""
    folder = tiny_dinov2.save_tiny(tmp_path / "tiny", image_size=224)  # no table of positions is resampled
    task = embedding_task(f"embedding:encoder={folder}", crop=128, device="cpu")
    batch = tiny_dinov2.batch_of(tiny_dinov2.photographs(2), task.geometry)
    planes = batch.rgb8.transpose(0, 3, 1, 2).astype(np.float64) / 255
    mean, std = (np.reshape(part, (3, 1, 1)) for part in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    weights = tiny_dinov2.weights_of(folder)
    expected = [naive_encoders.dinov2(weights, (one - mean) / std, heads=tiny_dinov2.HEADS) for one in planes]
    np.testing.assert_allclose(task(batch), expected, rtol=1e-3, atol=1e-3)


def test_a_probe_is_an_ordinary_head_on_these_columns(few, fitted, encoder, store):
    table = steps.extract(few, features=f"embedding:encoder={encoder}", store=store, **QUICK)
    assert fitted.head.columns == table.columns
    assert fitted.name == f"logreg:embedding:encoder={encoder}"
    label = np.array(few.column("label").to_pylist())
    scores = steps.score(few, fitted, store=store).values
    np.testing.assert_array_equal(scores, fitted.head.score(table.values))
    held = np.isin(scores, fitted.calibration.scores) & (label == 0)
    group = np.array(few.column("group").to_pylist())
    kept = ~np.isin(group, group[held])
    truth = fit_head(head.get("logreg"), table.columns, table.values[kept], label[kept])
    np.testing.assert_array_equal(scores, truth.score(table.values))


def test_it_is_saved_with_what_tells_its_weights_and_found_elsewhere(few, fitted, encoder, store, tmp_path):
    save_detector(fitted, tmp_path / "probe")
    back = load_detector(tmp_path / "probe")
    card = json.loads((tmp_path / "probe" / "card.json").read_text())
    assert (
        card["features"][0]["about"]["identity"]["sha256"]
        == embedding_task(f"embedding:encoder={encoder}", crop=128, device="cpu").space.card.sha256
    )
    assert "torch" in card["versions"]
    assert "licence of the weights: not stated" in card["record"]["networks"][f"embedding:encoder={encoder}"]
    here = steps.score(few, fitted, store=store).values
    np.testing.assert_array_equal(steps.score(few, back, store=store).values, here)
    elsewhere = shutil.copytree(encoder, tmp_path / "elsewhere")
    np.testing.assert_array_equal(steps.score(few, back, encoder=str(elsewhere), store=store).values, here)
    config = json.loads((elsewhere / "config.json").read_text())
    (elsewhere / "config.json").write_text(json.dumps(config | {"layer_norm_eps": 1e-3}))
    with pytest.raises(WeightsError, match=r"the weights are not those of the fit \(config_sha256: .*or fit again"):
        steps.score(few, back, encoder=str(elsewhere), store=store)


def test_features_and_an_embedding_stand_side_by_side_in_a_table_too(few, encoder, store, tmp_path):
    names = ["radial_spectrum", f"embedding:encoder={encoder}"]
    both = fitting.fit(few, features=names, folds=0, store=store, **QUICK)
    plain = feature_task("radial_spectrum", crop=128).columns
    assert both.head.columns == (*plain, *(f"embedding-dinov2-32x2:{k}" for k in range(32)))
    steps.extract_to(tmp_path / "t.parquet", few, features=names, store=store, **QUICK)
    expected = steps.score(few, both, store=store).values
    np.testing.assert_array_equal(steps.score(tmp_path / "t.parquet", both).values, expected)
    other = tiny_dinov2.save_tiny(tmp_path / "other", image_size=112)
    changed = [names[0], f"embedding:encoder={other}"]
    steps.extract_to(tmp_path / "o.parquet", few, features=changed, store=store, **QUICK)
    with pytest.raises(DataError, match=r"o\.parquet: embedding embedding-dinov2-32x2 ran with config_sha256="):
        steps.score(tmp_path / "o.parquet", both)


def test_what_cannot_be_is_explained(few, encoder, fitted, store):
    with pytest.raises(WeightsError, match="dinov2-small") as caught:
        fitting.fit(few, features="embedding:encoder=dinov2-small", store=store, **QUICK)
    assert "as --features embedding:encoder=FOLDER" in caught.value.fix
    assert "--encoder" not in caught.value.fix
    lost = replace(fitted, features=("embedding:encoder=./lost",))
    with pytest.raises(WeightsError, match="as --encoder FOLDER"):
        steps.score(few, lost, store=store)
    probes = {"features.embeddings": ("dinov2-small",), "heads.per_family": ("logreg",)}
    (row,) = embeddings(override(RunConfig(), probes))[1]
    assert "as --embeddings FOLDER" in row.fix
    with pytest.raises(ParameterError, match="no setting 'encoderr'; did you mean 'encoder'"):
        fitting.fit(few, features="embedding:encoderr=x", store=store, **QUICK)
    with pytest.raises(ParameterError, match="two sources of columns are called 'embedding-dinov2-32x2'"):
        Columns.of([f"embedding:encoder={encoder}", f"embedding:encoder={encoder}:dtype=float32"],
                   condition="native", crop=128)  # fmt: skip
    with pytest.raises(ParameterError, match="features of file history are never fused with others"):
        fitting.fit(few, features=f"exif_facts,embedding:encoder={encoder}", store=store, **QUICK)
    with pytest.raises(ParameterError, match="columns of networks are not computed of aligned pairs"):
        fitting.fit_aligned(few, features=f"embedding:encoder={encoder}", store=store, crop=128)
    plain = fitting.fit(few, features="radial_spectrum", folds=0, store=store, **QUICK)
    with pytest.raises(ParameterError, match="--encoder x: 0 embeddings are read, and it stands for one"):
        steps.score(few, plain, encoder="x", store=store)
    assert feature_task("radial_spectrum", crop=128).columns == plain.head.columns


def test_on_the_command_line(fdetect, few, encoder, store, tmp_path):  # noqa: F811
    root = few.schema.metadata[b"fdetect.root"].decode()
    rows = [(row["path"], str(row["label"]), row["generator"], row["group"]) for row in few.to_pylist()]
    Path("few.csv").write_text("\n".join(map(",".join, [("path", "label", "generator", "group"), *rows])) + "\n")
    here = ("--root", root, "--store", store.folder, "--workers", 0)
    shape = ("--crop", 128, "--condition", "native", *here)
    code, out, err = fdetect("fit", "few.csv", "--features", f"embedding:encoder={encoder}", "-o", "probe", *shape)
    assert code == 0, err
    assert "cross-validated AUROC" in out
    moved = shutil.copytree(encoder, tmp_path / "moved")
    code, _, err = fdetect("score", "few.csv", "--model", "probe", "--encoder", moved, "-o", "s.csv", *here)
    assert code == 0, err
    code, _, err = fdetect("fit", "few.csv", "--features", f"embedding:encoder={tmp_path}/gone", "-o", "x", *shape)
    assert code == 2
    assert "gone" in err
    assert not Path("x").exists()
