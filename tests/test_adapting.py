"""A fused model that learns a generator it did not know: `fit --adapt`."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from test_cli import fdetect  # noqa: F401 (a fixture)

from fdetect.bench import steps
from fdetect.bench.layouts import read_manifest
from fdetect.bench.training import fitting
from fdetect.bench.training.adapting import AdaptedModel, adapt_model
from fdetect.bench.training.fit_parts import set_apart
from fdetect.classifiers.adapt import Adapted, Change, adapt
from fdetect.classifiers.fused import FusedRows, FusedSettings
from fdetect.classifiers.fused_fit import fit_fused
from fdetect.classifiers.fused_head import FusedFit
from fdetect.classifiers.saved import FittedDetector, load_detector, save_detector
from fdetect.cli.adapting import _show
from fdetect.engine import Store
from fdetect.errors import DataError, ParameterError, WeightsError

pytest.importorskip("torch", reason="the extra 'deep' is not installed")

QUICK = {"features": "radial_spectrum,npr_statistics", "condition": "native", "crop": 128, "folds": 0}
NEW = "sim-transposed"


@pytest.fixture(scope="module")
def both(small_set) -> tuple[pa.Table, pa.Table]:
    """The photographs and one generator; the other generator's images alone."""
    manifest = read_manifest(small_set)
    is_new = np.array([name == NEW for name in manifest.column("generator").to_pylist()])
    return manifest.filter(pa.array(~is_new)), manifest.filter(pa.array(is_new))


@pytest.fixture(scope="module")
def model(both, store) -> FittedDetector:
    return fitting.fit(both[0], head="fused:forms=linear", store=store, **QUICK)


@pytest.fixture(scope="module")
def adapted(both, model, store) -> AdaptedModel:
    return adapt_model(model, both[1], both[0], folds=2, store=store)


def ids_of(manifest: pa.Table, store: Store) -> list[str]:
    return list(steps.extract(manifest, features="npr_statistics", condition="native", crop=128, store=store).ids)


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


def test_thresholds_are_set_on_reals_that_the_detector_was_not_fitted_on_without_groups_too(both, store):
    """Each image is a group of its own; there are new reals, and copies of those that the detector was fitted on."""
    whole, new = (one.set_column(one.column_names.index("group"), "group", pa.array([""] * len(one))) for one in both)
    moved = np.isin(np.arange(len(whole)), np.flatnonzero(np.array(whole.column("label").to_pylist()) == 0)[::3])
    old, more = whole.filter(pa.array(~moved)), whole.filter(pa.array(moved))
    path, ids = old.column("path").to_pylist(), ids_of(old, store)
    reals = np.flatnonzero(np.array(old.column("label").to_pylist()) == 0)
    kept, held, _ = set_apart(old, ids, reals, share=0.25, seed=0)
    model = fitting.fit(old, head="fused:forms=linear", store=store, **QUICK)
    given = pa.concat_tables([new, more, old.take(reals[kept[reals]])])
    made = adapt_model(model, given, old, folds=0, store=store).detector
    scored = np.isin(steps.score(whole, made, store=store).values, made.calibration.scores)
    set_on = {one for one, there in zip(whole.column("path").to_pylist(), scored, strict=True) if there}
    assert set_on >= {path[k] for k in held}, "those of the fit"
    new_ones = set_on - {path[k] for k in held}
    assert new_ones
    assert new_ones <= set(more.column("path").to_pylist())


def test_images_that_a_network_was_trained_on_are_in_no_figure():
    rng, n = np.random.default_rng(0), 160
    label, numbers = np.arange(n) % 2, np.arange(n)
    known = numbers // 2 % 2 == 0
    values = rng.normal(size=(n, 2)) + np.where(known, 20.0 * label, 0.0)[:, None]
    rows = FusedRows(
        {"trunk": values}, {"trunk": ("logit", "e0")}, label, np.array([f"g{k // 4}" for k in numbers], object),
        np.where(label == 0, "", np.where(numbers < 80, "a", "b")).astype(object), {"trunk": ~known},
    )  # fmt: skip
    old, new = rows.take(numbers < 80), rows.take(numbers >= 80)
    done = adapt(fit_fused(old, FusedSettings(folds=2)), new, old, mode="mix", folds=2)
    assert [(one.generator, one.n_real, one.n_fake) for one in done.changes] == [("a", 40, 20), ("b", 40, 20)]
    assert max(max(one.before, one.after) for one in done.changes) < 0.75, "noise tells nothing"
    assert adapt(fit_fused(old, FusedSettings(folds=2)), new, old, folds=0).changes == ()


def test_a_network_may_have_moved_and_what_it_knows_sets_no_threshold(both, store, tmp_path):
    from fdetect.nets.detector_cards import detector_card
    from fdetect.nets.detectors import build, network
    from fdetect.nets.detectors.loading import save_network

    old, new = both
    save_network(build(network.get("tiny_ladeda")()), tmp_path / "net")
    how = QUICK | {"features": f"npr_statistics,network:weights={tmp_path / 'net'}"}
    model = fitting.fit(old, head="fused:forms=linear", store=store, **how)
    shutil.move(tmp_path / "net", tmp_path / "moved")
    with pytest.raises(WeightsError, match="as --network FOLDER"):
        adapt_model(model, new, old, folds=0, store=store)
    said: list[str] = []
    moved = str(tmp_path / "moved")
    adapted = adapt_model(model, new, old, folds=0, network=moved, notice=said.append, store=store)
    assert any("no card says which images it was trained on" in line for line in said)
    ids = ids_of(old, store)
    label = np.array(old.column("label").to_pylist())
    _, held, _ = set_apart(old, ids, np.flatnonzero(label == 0), share=0.25, seed=0)
    assert len(adapted.detector.calibration.scores) == len(held)
    for known, n in ((held[:2], len(held) - 2), (held, 0)):
        card = {"sha256": detector_card(moved).sha256, "data": {"ids": [ids[k] for k in known]}}
        (tmp_path / "moved" / "card.json").write_text(json.dumps(card))
        if n:
            fewer = adapt_model(model, new, old, folds=0, network=moved, store=store)
            assert len(fewer.detector.calibration.scores) == n
        else:
            with pytest.raises(DataError, match="trained on every real image that would set the thresholds"):
                adapt_model(model, new, old, folds=0, network=moved, store=store)


def test_it_is_saved_with_what_adapting_did(adapted, model, tmp_path):
    save_detector(adapted.detector, tmp_path / "m")
    back = load_detector(tmp_path / "m")
    assert back.record == adapted.detector.record
    said = back.record["adapted"]
    assert (said["mode"], said["data"]["n_fake"]) == ("head", 24)
    assert [one["generator"] for one in said["changes"]] == ["sim-nearest", NEW]
    assert set(back.trained_on) == {*model.trained_on, NEW}
    moved, before = (one.head.fitted.experts["spectrum"].net for one in (back, model))
    assert not (moved.weight == before.weight).all()
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
    with pytest.raises(ParameterError, match="--folds is 1; give 0 for none, or 2 or more"):
        adapt_model(model, "nowhere", "nowhere", folds=1, store=store)
    for lost in ("data", "weights", "calibration_share"):
        record = {name: value for name, value in model.record.items() if name != lost}
        with pytest.raises(DataError, match="the card of fused:.* does not say which images it was fitted on"):
            adapt_model(replace(model, record=record), "nowhere", "nowhere", store=store)


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
    code, out, err = fdetect("fit", root / "new.csv", "--adapt", "m", "--with", old, "-o", "m3", *here[:-1], 0)
    assert (code, "AUROC of each generator" in out) == (0, False), err
    assert json.loads(Path("m3/card.json").read_text())["record"]["adapted"]["changes"] == []
    for arguments, words in (
        (("--adapt", "m"), "--adapt needs --with OLDDATA"),
        (("--adapt", "m", "--with", old, "--head", "logreg"), "--head: an adapted detector keeps"),
        (("--adapt", "m", "--with", old, "--crop", 64), "--crop: an adapted detector keeps"),
        (("--adapt", "m", "--with", old, "--seed", 0), "--seed: an adapted detector keeps"),
        (("--adapt", "m", "--with", old, "--draws", 0), "--draws: an adapted detector keeps"),
        (("--adapt", "m", "--with", old, "--network", "net"), "--network net: 0 networks are read"),
        (("--adapt", "m", "--with", old, "--encoder", "x"), "--encoder x: 0 embeddings are read"),
        (("--with", old), "--with, --adapt-mode and --network go with --adapt"),
        (("--network", "net"), "--with, --adapt-mode and --network go with --adapt"),
    ):
        code, _, err = fdetect("fit", root / "new.csv", *arguments, "-o", "x", *here)
        assert (code, words in err) == (2, True), err


@pytest.mark.parametrize(("mode", "after", "told"), [("head", 0.7, True), ("head", 0.9, False), ("mix", 0.7, False)])
def test_what_was_lost_on_generators_that_were_known_is_told(
    mode: str, after: float, told: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    fitted: Any = None  # the table says nothing of it
    found = Adapted(fitted, mode, (Change("old", False, 0.8, after, 9, 9), Change("new", True, 0.5, 0.9, 9, 9)))
    _show(found)
    assert ("fell from 0.800 to 0.700" in capsys.readouterr().out) is told
