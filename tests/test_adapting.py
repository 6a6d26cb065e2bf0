"""A fused model that learns a generator it did not know: `fit --adapt`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from test_cli import fdetect  # noqa: F401 (a fixture)

from fdetect.bench import fitting, steps
from fdetect.bench.adapting import AdaptedModel, adapt_model
from fdetect.bench.layouts import read_manifest
from fdetect.classifiers.adapt import adapt
from fdetect.classifiers.fused_head import FusedFit
from fdetect.classifiers.saved import FittedDetector, load_detector, save_detector
from fdetect.engine import Store
from fdetect.errors import DataError, ParameterError

pytest.importorskip("torch", reason="the extra 'deep' is not installed")

QUICK = {"features": "radial_spectrum,npr_statistics", "condition": "native", "crop": 128, "folds": 0}
NEW = "sim-transposed"


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Store:
    return Store(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def both(small_set) -> tuple[pa.Table, pa.Table]:
    """The photographs and one generator; the other generator's images alone."""
    manifest = read_manifest(small_set)
    is_new = np.array([name == NEW for name in manifest.column("generator").to_pylist()])
    return manifest.filter(pa.array(~is_new)), manifest.filter(pa.array(is_new))


@pytest.fixture(scope="module")
def model(both, store) -> FittedDetector:
    return fitting.fit(both[0], head="fused:hidden=false", store=store, **QUICK)


@pytest.fixture(scope="module")
def adapted(both, model, store) -> AdaptedModel:
    return adapt_model(model, both[1], both[0], folds=2, store=store)


def test_the_new_detector_is_what_adapt_makes_of_the_rows(both, model, adapted, store):
    tables = [steps.extract(one, features=QUICK["features"], condition="native", crop=128, store=store) for one in both]
    scores = adapted.detector.head.score(tables[0].values)
    label, group = (np.array(both[0].column(name).to_pylist()) for name in ("label", "group"))
    held = set(group[(label == 0) & np.isin(scores, adapted.detector.calibration.scores)])
    before = model.head.score(tables[0].values)
    assert held == set(group[(label == 0) & np.isin(before, model.calibration.scores)]), "the same reals as at the fit"
    fit = FusedFit(model.head.fitted.columns)
    rows = []
    for manifest, table in zip(both[::-1], tables[::-1], strict=True):
        columns = {name: np.array(manifest.column(name).to_pylist(), object) for name in ("generator", "group")}
        kept = ~np.isin(columns["group"].astype(str), sorted(held))
        here = np.array(manifest.column("label").to_pylist())[kept]
        generator, source = columns["generator"][kept], np.full(int(kept.sum()), "", object)
        rows.append(fit.rows(table.columns, table.values[kept], here, group=columns["group"][kept],
                             generator=generator, source=source))  # fmt: skip
    truth = adapt(model.head.fitted, *rows, mode="head", folds=2)
    np.testing.assert_array_equal(truth.fitted.score(model.head.vectors(tables[0].values)), scores)
    assert [(one.generator, one.new) for one in adapted.adapted.changes] == [("sim-nearest", False), (NEW, True)]
    assert adapted.adapted.changes == truth.changes


def test_it_is_saved_with_what_adapting_did(adapted, model, tmp_path):
    save_detector(adapted.detector, tmp_path / "m")
    back = load_detector(tmp_path / "m")
    assert back.record == adapted.detector.record
    said = back.record["adapted"]
    assert (said["mode"], said["data"]["n_fake"]) == ("head", 24)
    assert [one["generator"] for one in said["changes"]] == ["sim-nearest", NEW]
    assert set(back.trained_on) == {*model.trained_on, NEW}
    assert not (back.head.fitted.nets["spectrum"].weight == model.head.fitted.nets["spectrum"].weight).all()
    assert sorted(back.subsets) == ["handmade", "spectrum"]


def test_other_data_than_those_of_the_fit_are_told(both, model, store):
    groups = sorted(set(both[0].column("group").to_pylist()))[1:]
    fewer = both[0].filter(pa.array([name in groups for name in both[0].column("group").to_pylist()]))
    said: list[str] = []
    adapt_model(model, both[1], fewer, mode="mix", folds=2, notice=said.append, store=store)
    assert any("are not the images that the detector was fitted on" in line for line in said)


def test_what_cannot_be_adapted_is_one_sentence(both, model, store):
    old, new = both
    head = fitting.fit(old, store=store, **QUICK)
    reals = old.filter(pa.array([one == 0 for one in old.column("label").to_pylist()]))
    fakes = old.filter(pa.array([one == 1 for one in old.column("label").to_pylist()]))
    for arguments, words in (
        ((head, new, old), "logreg:npr_statistics.* is no fused detector"),
        ((model, new, reals), "--with: the old data have no generated image"),
        ((model, new, fakes), "--with: the old data have no real image"),
        ((model, reals, old), "the new data have no generated image"),
        ((model, fakes, old), "generator 'sim-nearest' is among the old rows and the new ones"),
    ):
        with pytest.raises((DataError, ParameterError), match=words):
            adapt_model(*arguments, folds=2, store=store)
    with pytest.raises(ParameterError, match="--adapt-mode: no mode 'heads'; did you mean 'head'"):
        adapt_model(model, new, old, mode="heads", store=store)


def test_on_the_command_line(fdetect, both, model, store, tmp_path):  # noqa: F811
    root = Path(both[0].schema.metadata[b"fdetect.root"].decode())
    for name, manifest in zip(("old", "new"), both, strict=True):
        rows = [(row["path"], str(row["label"]), row["generator"], row["group"], row["real_source"])
                for row in manifest.to_pylist()]  # fmt: skip
        header = ("path", "label", "generator", "group", "real_source")
        (root / f"{name}.csv").write_text("\n".join(map(",".join, [header, *rows])) + "\n")
    save_detector(model, tmp_path / "m")
    here = ("--store", store.folder, "--workers", 0, "--folds", 2)
    old = root / "old.csv"
    code, out, err = fdetect("fit", root / "new.csv", "--adapt", "m", "--with", old, "-o", "m2", *here)
    assert code == 0, err
    lines = [line.split() for line in out.splitlines()]
    assert any(line[:2] == [NEW, "new"] for line in lines)
    assert any(line[:2] == ["macro", "old"] for line in lines)
    assert json.loads(Path("m2/card.json").read_text())["record"]["adapted"]["mode"] == "head"
    for arguments, words in (
        (("--adapt", "m"), "--adapt needs --with OLDDATA"),
        (("--adapt", "m", "--with", old, "--head", "logreg"), "--head: an adapted detector keeps"),
        (("--adapt", "m", "--with", old, "--crop", 64), "--crop: an adapted detector keeps"),
        (("--with", old), "--with and --adapt-mode go with --adapt"),
    ):
        code, _, err = fdetect("fit", root / "new.csv", *arguments, "-o", "x", *here)
        assert (code, words in err) == (2, True), err
