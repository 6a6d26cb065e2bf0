"""Which images a model knows, by content: told where it scores them, marked in its table, and starred by `evaluate`."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from test_cli import fdetect  # noqa: F401 (a fixture)

from fdetect.bench import steps
from fdetect.bench.layouts import read_manifest
from fdetect.bench.training import fitting
from fdetect.bench.training.adapting import adapt_model
from fdetect.bench.training.calibrating import fit_detector
from fdetect.classifiers.saved import FittedDetector, load_detector, save_detector
from fdetect.classifiers.seen import Seen, in_words, known
from fdetect.cli.single import _share_found
from fdetect.config import AlignedConfig
from fdetect.types import Table

QUICK = {"features": "npr_statistics,radial_spectrum", "crop": 128, "condition": "native", "folds": 0}
NO_TEST = "figures of these are no test of it"


@pytest.fixture(scope="module")
def manifest(small_set: Path) -> Table:
    return read_manifest(small_set)


@pytest.fixture(scope="module")
def model(manifest, store) -> FittedDetector:
    return fitting.fit(manifest, store=store, **QUICK)


@pytest.fixture(scope="module")
def ids(manifest, store) -> np.ndarray:
    return np.array(steps.extract(manifest, features="npr_statistics", crop=128, store=store).ids)


def of_class(manifest: Table, label: int) -> Table:
    return manifest.filter(pa.array([one == label for one in manifest.column("label").to_pylist()]))


def test_half_an_id_tells_contents_apart() -> None:
    """Against plain sets of the first 16 digits."""
    rng = np.random.default_rng(0)
    ids = [bytes(rng.integers(0, 256, 16, np.uint8)).hex() for _ in range(300)]
    seen = Seen.of(ids[:100] + ids[:9], ids[100:150])
    assert [int(one) for one in seen.fit] == sorted({int(one[:16], 16) for one in ids[:100]})
    fit, calibration = known(type("Model", (), {"seen": seen})(), ids)
    assert fit.tolist() == [k < 100 for k in range(300)]
    assert calibration.tolist() == [100 <= k < 150 for k in range(300)]
    again = Seen.from_bytes(seen.to_bytes())
    assert (again.fit.tolist(), again.calibration.tolist()) == (seen.fit.tolist(), seen.calibration.tolist())
    both = Seen.of(ids[90:110], ids[:3]).and_fitted(seen)
    assert both.counts == {"fit": 110, "calibration": 3}
    assert in_words(type("Model", (), {"seen": seen})(), ids[150:]) == ""
    assert [len(one) for one in known(type("Model", (), {"seen": seen})(), [])] == [0, 0]


def test_what_sets_thresholds_is_in_no_fit_and_fakes_of_its_groups_are_in_neither(model, manifest, ids) -> None:
    fit, calibration = known(model, ids)
    label = np.array(manifest.column("label").to_pylist())
    assert fit.sum() == sum(model.trained_on.values())
    assert (calibration & (label == 0)).sum() == calibration.sum() == len(model.calibration.scores)
    assert not (fit & calibration).any()
    assert (~fit & ~calibration).sum() == model.record["thresholds"]["n_fakes_unused"] > 0


def test_a_head_of_reals_alone_has_seen_no_fake_unless_it_was_searched(manifest, ids, store) -> None:
    label = np.array(manifest.column("label").to_pylist())
    alone, searched = (fitting.fit(manifest, head="one_class_svm", search=search, store=store, **QUICK)
                       for search in (False, True))  # fmt: skip
    assert not known(alone, ids)[0][label == 1].any()
    assert known(searched, ids)[0][label == 1].any()


def test_pairs_are_of_photographs_that_are_seen(manifest, ids, store) -> None:
    pytest.importorskip("torch", reason="the extra 'deep' is not installed")
    photographs = of_class(manifest, 0).slice(0, 12)
    made = fitting.fit_aligned(photographs, aligned=AlignedConfig(("own-nearest8",)), store=store,
                               **{**QUICK, "condition": "matched"})  # fmt: skip
    mine = np.array(manifest.column("path").to_pylist())[:, None] == photographs.column("path").to_pylist()
    fit, calibration = known(made, ids)
    np.testing.assert_array_equal(fit | calibration, mine.any(axis=1))
    assert (fit.sum(), calibration.sum()) == (made.trained_on[""], len(made.calibration.scores))


def test_an_adapted_model_has_seen_both(manifest, ids, store) -> None:
    pytest.importorskip("torch", reason="the extra 'deep' is not installed")
    makers = np.array(manifest.column("generator").to_pylist())
    is_new = makers == "sim-transposed"
    old, new = (manifest.filter(pa.array(chosen)) for chosen in (~is_new, is_new))
    model = fitting.fit(old, head="fused:forms=linear", store=store, **QUICK)
    made = adapt_model(model, new, old, folds=0, store=store).detector
    fit, calibration = known(made, ids)
    assert (fit >= known(model, ids)[0]).all()
    assert fit[is_new].any()
    np.testing.assert_array_equal(calibration, known(model, ids)[1])
    older = FittedDetector(**{**vars(model), "seen": None})
    assert adapt_model(older, new, old, folds=0, store=store).detector.seen.counts == made.seen.counts
    fewer = old.slice(0, len(old) - 1)
    assert adapt_model(older, new, fewer, folds=0, store=store).detector.seen is None  # what else it saw is not known
    kept = adapt_model(model, new, fewer, folds=0, store=store).detector
    assert (known(kept, ids)[0] >= known(model, ids)[0]).all()


def test_a_training_free_detector_knows_what_set_its_thresholds(manifest, ids, store, tmp_path) -> None:
    made = fit_detector(manifest, "feature_drift", crop=128, store=store).detector
    save_detector(made, tmp_path / "m")
    fit, calibration = known(load_detector(tmp_path / "m"), ids)
    assert not fit.any()
    np.testing.assert_array_equal(calibration, np.array(manifest.column("label").to_pylist()) == 0)


@pytest.mark.parametrize("kind", ["aligned", "feature_drift"])
def test_an_image_that_failed_has_set_no_threshold(kind, small_set, store, tmp_path) -> None:
    """Half of the photographs are broken, so that some are among those set apart."""
    photographs = of_class(read_manifest(small_set), 0).slice(0, 20)
    for k, name in enumerate(photographs.column("path").to_pylist()):
        whole, here = (small_set.parent / name).read_bytes(), tmp_path / name
        here.parent.mkdir(parents=True, exist_ok=True)
        here.write_bytes(whole[: len(whole) // 3] if k % 2 else whole)
    manifest = photographs.replace_schema_metadata({**photographs.schema.metadata, b"fdetect.root": bytes(tmp_path)})
    settings = {"crop": 128, "condition": "matched", "store": store, "calibration": 0.5}
    if kind == "aligned":
        pytest.importorskip("torch", reason="the extra 'deep' is not installed")
        made = fitting.fit_aligned(manifest, aligned=AlignedConfig(("own-nearest8",)), folds=0,
                                   features=QUICK["features"], **settings)  # fmt: skip
    else:
        made = fit_detector(manifest, kind, **settings).detector
    assert made.n_failed == 10
    assert 0 < made.seen.counts["calibration"] == len(made.calibration.scores)


def test_images_of_the_fit_are_told_marked_and_starred(fdetect, model, manifest, ids, small_set, store) -> None:  # noqa: F811
    save_detector(model, Path("my.fdetect"))
    n_fit, n_set = (int(one.sum()) for one in known(model, ids))
    said = (f"{n_fit} of {len(ids)} images were among those that this model was fitted on, {n_set} among those that "
            f"set its threshold: {NO_TEST}")  # fmt: skip
    here = ("--store", store.folder, "--workers", 0)
    shape = ("--features", QUICK["features"], "--crop", 128)
    assert fdetect("extract", small_set, "-o", "t.parquet", *shape, *here)[0] == 0
    for data in (small_set, "t.parquet"):
        code, out, err = fdetect("score", data, "--model", "my.fdetect", "-o", "s.csv", *here)
        assert code == 0, err
        assert said in err
        assert NO_TEST not in out
        with Path("s.csv").open(newline="") as file:
            assert [row["seen"] == "true" for row in csv.DictReader(file)] == known(model, ids)[0].tolist()
    code, out, err = fdetect("evaluate", "s.csv")
    assert code == 0, err
    assert "* = seen in training" in out
    assert f"{n_fit} of {len(ids)} rows of {model.name} are of images that it was fitted on: no test of it" in err
    one = small_set.parent / manifest.column("path").to_pylist()[int(np.flatnonzero(known(model, ids)[0])[0])]
    code, _, err = fdetect("explain", one, "--model", "my.fdetect", "-o", "pictures", *here)
    assert code == 0, err
    assert "1 of 1 image was among those that this model was fitted on" in err


def test_strange_images_are_not_marked_and_an_older_model_says_that_it_cannot_tell(
    fdetect, model, tmp_path  # noqa: F811
) -> None:  # fmt: skip
    save_detector(model, Path("my.fdetect"))
    save_detector(FittedDetector(**{**vars(model), "seen": None}), Path("older.fdetect"))
    own = tmp_path / "own"
    own.mkdir()
    for k in range(2):
        Image.fromarray(np.random.default_rng(k).integers(0, 256, (160, 150, 3), np.uint8)).save(own / f"{k}.png")
    for name, cell, text in (("my", "false", ""), ("older", "", "does not say which images it was fitted on")):
        code, _, err = fdetect("score", own, "--model", f"{name}.fdetect", "-o", "s.csv", "--workers", 0)
        assert code == 0, err
        assert NO_TEST not in err
        assert text in err
        with Path("s.csv").open(newline="") as file:
            assert {row["seen"] for row in csv.DictReader(file)} == {cell}


def test_real_is_said_to_mean_not_flagged_where_it_is_said(fdetect, manifest, small_set, store) -> None:  # noqa: F811
    """Beside it the share of fakes that the model's own tests found, or that none was measured."""
    for folds, found in ((3, None), (0, "what share of fakes this model finds at its threshold was not measured")):
        one = fitting.fit(manifest, calibration=0.6, store=store, **{**QUICK, "folds": folds})
        save_detector(one, Path("m.fdetect"))
        if found is None:
            share = one.record["cross_validated"]["macro"]["tpr_frozen_5"][0]
            found = f"this model found {100 * share:.0f} %" if share is not None else "was not measured"
        code, out, err = fdetect("score", small_set, "--model", "m.fdetect", "--store", store.folder, "--workers", 0)
        assert code == 0, err
        assert " real " in out
        assert err.count("a decision real means not flagged, not proven; ") == 1
        assert found in err


def test_the_share_found_is_that_of_the_card() -> None:
    record = {"cross_validated": {"meaning": "tested so", "macro": {"tpr_frozen_5": [0.228, 0.166, None]}}}
    assert _share_found(record, "matched") == (
        "at a threshold of 5 % false positives this model found 23 % of the fakes under matched, tested so"
    )
    record["cross_validated"]["macro"]["tpr_frozen_5"] = [0.228, 0.166, 0.296]
    assert "found 23 % (17 to 30) of the fakes" in _share_found(record, "matched")
    for none in ({}, {"cross_validated": None}, {"cross_validated": {"not_measured": "why"}},
                 {"cross_validated": {"macro": {"tpr_frozen_5": [None] * 3}}}):  # fmt: skip
        assert _share_found(none, "matched").endswith("was not measured")
