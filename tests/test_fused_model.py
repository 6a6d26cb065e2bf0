"""The fused detector as a user has it: fitted, saved, scored with and without its branches, explained."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from safetensors.numpy import load, save
from test_cli import fdetect  # noqa: F401 (a fixture)
from test_model_folder import resigned

from fdetect.bench import steps
from fdetect.bench.layouts import read_manifest
from fdetect.bench.training import fitting
from fdetect.bench.training.columns import Columns
from fdetect.classifiers.branches import branch_of, by_branch
from fdetect.classifiers.fused_fit import fit_fused
from fdetect.classifiers.fused_head import FusedHead
from fdetect.classifiers.saved import FittedDetector, load_detector, save_detector
from fdetect.classifiers.shipped import model_of
from fdetect.decide import Calibration
from fdetect.errors import DataError, ParameterError, UnknownName, WeightsError
from fdetect.features import preset
from fdetect.images import decode
from fdetect.types import FeatureTable

torch = pytest.importorskip("torch", reason="the extra 'deep' is not installed")

from fdetect.nets.detectors import network  # noqa: E402
from fdetect.nets.detectors.loading import load_network_folder, save_network  # noqa: E402
from fdetect.nets.learning import build, judge  # noqa: E402

PLAIN = ("radial_spectrum", "npr_statistics")
QUICK = {"condition": "native", "crop": 128}


@pytest.fixture(scope="module")
def net(tmp_path_factory) -> Path:
    """A small network of random weights."""
    folder = tmp_path_factory.mktemp("nets") / "net"
    save_network(build(network.get("tiny_ladeda")()), folder)
    return folder


@pytest.fixture(scope="module")
def manifest(small_set) -> pa.Table:
    return read_manifest(small_set)


@pytest.fixture(scope="module")
def features(net) -> tuple[str, ...]:
    return (*PLAIN, f"network:weights={net}")


@pytest.fixture(scope="module")
def table(manifest, features, store) -> FeatureTable:
    return steps.extract(manifest, features=features, store=store, **QUICK)


@pytest.fixture(scope="module")
def fitted(manifest, features, store) -> FittedDetector:
    return fitting.fit(manifest, head="fused:forms=linear", features=features, folds=2, store=store, **QUICK)


@pytest.fixture(scope="module")
def model(fitted, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "my.fdetect"
    save_detector(fitted, folder)
    return folder


# -- columns --------------------------------------------------------------------------------------------------------


def test_a_column_belongs_to_the_branch_of_its_source():
    names = [entry.name for entry in preset("standard")]
    assert by_branch([*names, "embedding:encoder=x", "network:weights=y"]) == {
        "spectrum": ["spectrum_shape", "angular_spectrum", "upsampling_peaks", "radial_spectrum"],
        "handmade": ["npr_statistics", "cross_channel_residual_correlation", "local_binary_patterns", "srm_statistics"],
        "encoder": ["embedding:encoder=x"], "trunk": ["network:weights=y"],
    } or {branch_of(name) for name in names} == {"spectrum", "handmade"}  # fmt: skip
    with pytest.raises(UnknownName, match="did you mean 'npr_statistics'"):
        branch_of("npr_statistic")


def test_columns_of_a_network_are_its_logit_and_what_its_last_layer_sees(net, manifest, table):
    judged = judge(load_network_folder(net), _crops(manifest, 4))
    at = [k for k, name in enumerate(table.columns) if name.startswith("network-")]
    names = [table.columns[k] for k in at]
    assert names[0].startswith("network-tiny_ladeda-")
    assert [name.partition(":")[2] for name in names] == ["logit", *(f"e{k:03d}" for k in range(len(at) - 1))]
    np.testing.assert_allclose(table.values[:4, at[0]], judged.logit, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(table.values[:4, at[1:]], judged.embedding, rtol=1e-4, atol=1e-5)


def _crops(manifest: pa.Table, n: int) -> np.ndarray:
    """The middle 128 px of the first pictures, on the grid of 8, as stored."""
    root = Path(manifest.schema.metadata[b"fdetect.root"].decode())
    crops = []
    for path in manifest.column("path").to_pylist()[:n]:
        pixels = decode((root / path).read_bytes()).pixels
        top, left = ((side - 128) // 2 // 8 * 8 for side in pixels.shape[:2])
        crops.append(pixels[top : top + 128, left : left + 128])
    return np.stack(crops)


def test_a_network_that_comes_with_the_package_goes_by_its_name(net, monkeypatch, tmp_path):
    from fdetect.nets import detector_cards

    shutil.copytree(net, tmp_path / "home" / "trunk-one")
    monkeypatch.setattr(detector_cards, "SHIPPED_HOME", tmp_path / "home")
    named, placed = (Columns.of(f"network:weights={one}", condition="native", crop=128) for one in ("trunk-one", net))
    assert named.tasks[0].columns == placed.tasks[0].columns
    with pytest.raises(WeightsError, match=r"no weights 'trunk-two'.* as --features network:weights=FOLDER"):
        Columns.of("network:weights=trunk-two", condition="native", crop=128)


def test_any_head_reads_a_network_and_rows_it_was_trained_on_are_told(manifest, net, store, tmp_path):
    known = shutil.copytree(net, tmp_path / "known")
    weights = Columns.of(f"network:weights={net}", condition="native", crop=128).tasks[0].space.card.sha256
    ids = steps.extract(manifest, features="npr_statistics", store=store, **QUICK).ids
    label = np.array(manifest.column("label").to_pylist())
    mine = [ids[k] for k in np.flatnonzero(label == 1)[:7]]
    (known / "card.json").write_text(json.dumps({"sha256": weights, "data": {"ids": mine}}))
    said: list[str] = []
    one = fitting.fit(manifest, features=f"network:weights={known}", folds=0, notice=said.append, store=store, **QUICK)
    assert any("was trained on 7 of the images" in line for line in said)
    assert not any("no card says" in line for line in said)
    whole = fitting.fit(manifest, features=f"network:weights={net}", folds=0, notice=said.append, store=store, **QUICK)
    assert any("no card says which images" in line for line in said)
    lost = sum(whole.trained_on.values()) - sum(one.trained_on.values())
    assert 0 < lost <= 7
    assert one.trained_on[""] == whole.trained_on[""]


# -- fitting --------------------------------------------------------------------------------------------------------


def test_it_is_what_fit_fused_makes_of_the_training_rows(fitted, manifest, table):
    head = fitted.head
    assert isinstance(head, FusedHead)
    assert fitted.name.startswith("fused:npr_statistics+radial_spectrum+network:weights=")
    assert head.columns == table.columns
    assert {name: len(columns) for name, columns in head.fitted.columns.items()} == {
        "handmade": len(head.fitted.columns["handmade"]), "spectrum": len(head.fitted.columns["spectrum"]),
        "trunk": len([name for name in table.columns if name.startswith("network-")]),
    }  # fmt: skip
    anchor = head.fitted.settings.of("trunk").anchor
    assert anchor == head.fitted.columns["trunk"][0]
    assert anchor.endswith(":logit")
    scores = head.score(table.values)
    label = np.array(manifest.column("label").to_pylist())
    group = np.array(manifest.column("group").to_pylist())
    held = np.isin(scores, fitted.calibration.scores) & (label == 0)
    kept = ~np.isin(group, group[held])
    assert fitted.trained_on[""] == int((kept & (label == 0)).sum())
    from fdetect.classifiers.fused_head import FusedFit

    generator = np.array(manifest.column("generator").to_pylist(), object)
    fit = FusedFit(head.fitted.columns)
    rows = fit.rows(table.columns, table.values[kept], label[kept], group=group[kept], generator=generator[kept],
                    source=np.full(int(kept.sum()), "", object))  # fmt: skip
    truth = fit_fused(rows, head.fitted.settings)
    np.testing.assert_allclose(scores, truth.score(head.vectors(table.values)), atol=1e-4)


def test_settings_of_branches_are_chosen_and_all_that_was_tried_is_kept(fitted, manifest, store):
    groups = sorted(set(manifest.column("group").to_pylist()))[::2]
    few = manifest.filter(pa.array([name in groups for name in manifest.column("group").to_pylist()]))
    whole = fitting.fit(few, head="fused:forms=linear+hidden+hist_gb", features="radial_spectrum,noise_level", folds=0,
                        store=store, **QUICK)  # fmt: skip
    tried = whole.record["search"]
    assert [one["settings"]["branch"] for one in tried] == ["handmade"] * 4 + ["spectrum"] * 4
    for branch in ("handmade", "spectrum"):
        (chosen,) = (one for one in tried if one["settings"]["branch"] == branch and one["chosen"])
        assert chosen["macro_auroc"] == max(
            one["macro_auroc"] for one in tried if one["settings"]["branch"] == branch
        )
        own = whole.head.fitted.settings.of(branch)
        assert own.told() == {name: value for name, value in chosen["settings"].items() if name != "branch"}
    assert (fitted.record["search"], fitted.settings) == (None, {"forms": ["linear"]})
    n_fake = sum(manifest.column("label").to_pylist())
    assert fitted.record["cross_validated"]["macro"]["n_fake"] == n_fake
    assert fitted.record["weights"] == "generators"


def test_what_it_does_not_take_is_one_sentence(manifest, net, store, tmp_path):
    for how, words in (
        ({"search": True}, "--search: --head fused always chooses"),
        ({"head": "fused:c=1"}, "fused detector 'fused' has no setting 'c'"),
        ({"balance": "generator"}, "--balance: no weights 'generator'; did you mean 'generators'"),
    ):
        with pytest.raises(ParameterError, match=words):
            fitting.fit(manifest, **({"head": "fused", "features": PLAIN, "store": store} | how), **QUICK)
    other = tmp_path / "other"
    save_network(build(network.get("tiny_ladeda")(), seed=1), other)
    both = [f"network:weights={net}", f"network:weights={other}"]
    with pytest.raises(ParameterError, match="the trunk is one network"):
        fitting.fit(manifest, head="fused", features=both, store=store, **QUICK)


# -- saving ---------------------------------------------------------------------------------------------------------


def test_a_folder_brings_it_back(fitted, model, table):
    back = load_detector(model)
    np.testing.assert_array_equal(back.head.score(table.values), fitted.head.score(table.values))
    assert back == replace(fitted, head=back.head)
    assert sorted(one.name for one in model.iterdir()) == ["arrays.safetensors", "card.json", "seen.safetensors"]
    assert json.loads((model / "card.json").read_text())["kind"] == "fused"
    assert sorted(back.subsets) == sorted(fitted.head.subsets())
    for name, one in back.subsets.items():
        alone = fitted.head.only(table.values, name)
        assert set(one.scores) <= set(fitted.head.score(alone))


def test_crafted_folders_are_refused(model, tmp_path):
    card = json.loads((model / "card.json").read_text())
    arrays = load((model / "arrays.safetensors").read_bytes())
    name = "fused.branch.trunk.weight"

    def with_arrays(**changed: np.ndarray) -> Path:
        whole = {**arrays, **{key.replace("__", "."): value for key, value in changed.items()}}
        return resigned(model, tmp_path / "bad", arrays=save(whole))

    for changed, words in (
        ({name: arrays[name][:3].copy()}, r"branch\.trunk\.weight must be finite float32"),
        ({name: np.full_like(arrays[name], np.inf)}, "must be finite"),
        ({"fused.more": np.zeros(1, np.float32)}, "has no place for the array more"),
        ({"calibration.trunk": np.array([1.0, 0.0])}, "ascending order"),
        ({"more": np.zeros(1)}, "has no place for the array more"),
        ({"calibration.encoder": np.zeros(1)}, "has no place for the array calibration.encoder"),
        ({"probability.scores": np.zeros(1)}, "has no place for the array probability.scores"),
    ):
        with pytest.raises(DataError, match=words):
            load_detector(with_arrays(**{key.replace(".", "__"): value for key, value in changed.items()}))
    for changed, words in (
        ({"columns": card["columns"][:-1]}, "columns of a fused detector"),
        ({"columns": card["columns"][:-1] + card["columns"][:1]}, "columns of a fused detector"),
        ({"kind": "fussed"}, "of a kind that this version knows"),
        ({"tiles": "median"}, "tiles is 'median'"),
    ):
        with pytest.raises(DataError, match=words):
            load_detector(resigned(model, tmp_path / "bad", card=changed))
    of_head = card["head"]["fused"]
    many = {f"b{k:02d}": [f"b{k:02d}:x"] for k in range(26)}
    with pytest.raises(DataError, match="has a branch 'b00', and there are handmade, spectrum, encoder, trunk"):
        load_detector(resigned(model, tmp_path / "bad", card={"head": {**card["head"], "fused": of_head | {
            "columns": many}}}))  # fmt: skip
    (tmp_path / "hurt").mkdir()
    for one in model.iterdir():
        data = bytearray(one.read_bytes())
        data[-9] ^= 1
        (tmp_path / "hurt" / one.name).write_bytes(one.read_bytes() if one.name == "card.json" else data)
    with pytest.raises(DataError, match=r"arrays\.safetensors was changed"):
        load_detector(tmp_path / "hurt")


# -- scoring --------------------------------------------------------------------------------------------------------


def test_images_and_tables_score_as_the_head_says(fitted, manifest, features, table, store, tmp_path):
    scores = steps.score(manifest, fitted, store=store)
    np.testing.assert_array_equal(scores.values, fitted.head.score(table.values))
    assert set(scores.branches) == {"handmade+spectrum+trunk"}
    steps.extract_to(tmp_path / "t.parquet", manifest, features=features, store=store, **QUICK)
    of_table = steps.score(tmp_path / "t.parquet", fitted)
    np.testing.assert_array_equal(of_table.values, scores.values)
    shown = steps.score_table(scores, manifest, fitted, "native").to_pydict()
    np.testing.assert_allclose(shown["probability"], 1 / (1 + np.exp(-scores.values)))
    assert set(shown["threshold"]) == {fitted.calibration.five.value if fitted.calibration.five.attainable else None}


def test_without_its_weights_a_branch_is_absent_and_that_is_said_once(fitted, net, manifest, table, store, tmp_path):
    lost = replace(
        fitted, features=(*PLAIN, "network:weights=./gone"), codes=_renamed(fitted.codes, net),
        about=_renamed(fitted.about, net), subsets={**fitted.subsets, "handmade+spectrum": Calibration((0.0,) * 19)},
    )  # fmt: skip
    said: list[str] = []
    scores = steps.score(manifest, lost, notice=said.append, store=store)
    (line,) = (one for one in said if "absent" in one)
    assert line.startswith("branch trunk is absent: ")
    assert "as --network FOLDER" in line
    expected = fitted.head.score(fitted.head.only(table.values, "handmade+spectrum"))
    np.testing.assert_array_equal(scores.values, expected)
    assert np.isfinite(expected).all()
    assert not (expected == fitted.head.score(table.values)).all()
    shown = steps.score_table(scores, manifest, lost, "native").to_pydict()
    assert set(shown["branches"]) == {"handmade+spectrum"}
    assert set(shown["threshold"]) == {0.0}, "of the scores that these branches alone give to the same reals"
    moved = shutil.copytree(net, tmp_path / "moved")
    found = steps.score(manifest, lost, network=str(moved), store=store)
    np.testing.assert_array_equal(found.values, fitted.head.score(table.values))
    save_network(build(network.get("tiny_ladeda")(), seed=1), tmp_path / "other")
    with pytest.raises(WeightsError, match=r"not those of the fit \(sha256.*give those as --network, or fit again"):
        steps.score(manifest, lost, network=str(tmp_path / "other"), store=store)


def _renamed(by_name: dict, net: Path) -> dict:
    return {name.replace(str(net), "./gone"): value for name, value in by_name.items()}


def test_fitting_without_weights_is_an_error_with_the_fix(manifest, store):
    with pytest.raises(WeightsError, match="as --features network:weights=FOLDER"):
        fitting.fit(manifest, head="fused", features=(*PLAIN, "network:weights=./gone"), store=store, **QUICK)


def test_an_image_that_lacks_one_branch_has_a_score_and_the_reason(fitted, table):
    from fdetect.types import Failure

    values = table.values.copy()
    spectral = [k for k, name in enumerate(table.columns) if name.startswith("radial_spectrum:")]
    values[0, spectral[0]] = np.nan
    values[1] = np.nan
    failures = tuple(Failure(table.ids[k], table.paths[k], "radial_spectrum", "odd") for k in (0, 1))
    holed = replace(table, values=values, failures=failures)
    scores = steps.score(holed, fitted)
    assert scores.branches[:3] == ("handmade+trunk", "", "handmade+spectrum+trunk")
    assert [one.path for one in scores.failures] == [table.paths[1]]
    assert [one.path for one in scores.partial] == [table.paths[0]]
    shown = steps.score_table(scores, None, fitted, "native").to_pydict()
    assert shown["status"][:3] == ["ok", "failed", "ok"]
    assert shown["reason"][:3] == ["radial_spectrum: odd", "radial_spectrum: odd", ""]


# -- the command line -----------------------------------------------------------------------------------------------


def test_on_the_command_line(fdetect, small_set, net, store, tmp_path):  # noqa: F811
    here = ("--store", store.folder, "--workers", 0)
    data = ("--crop", 128, "--condition", "native", *here)
    names = ",".join((*PLAIN, f"network:weights={net}"))
    code, out, err = fdetect("fit", small_set, "--head", "fused:forms=linear", "--features", names, "-o", "m",
                             "--folds", 0, *data)  # fmt: skip
    assert code == 0, err
    assert "fused:npr_statistics+radial_spectrum+network:weights=" in out
    assert "settings of" not in out
    pictures = [small_set.parent / one for one in read_manifest(small_set).column("path").to_pylist()[:2]]
    code, out, err = fdetect("score", *pictures, "--model", "m", "-o", "s.csv", *here)
    assert code == 0, err
    header, *rows = Path("s.csv").read_text().splitlines()
    assert "branches" in header
    assert all("handmade+spectrum+trunk" in row for row in rows)
    code, out, err = fdetect("explain", *pictures, "--model", "m", "-o", "why", *here)
    assert code == 0, err
    for branch in ("handmade", "spectrum", "trunk"):
        assert branch in out
    for file in sorted(Path("why").glob("*.json")):
        content = json.loads(file.read_text())
        assert sum(content["adds"].values()) == pytest.approx(content["score"], abs=1e-4)
        assert sum(content["shares"].values()) == pytest.approx(1.0, abs=1e-5)
        assert (Path("why") / content["picture"]).stat().st_size > 1000
    code, _, err = fdetect("score", *pictures, "--model", "m", "--encoder", "x", *here)
    assert (code, "--encoder: m looks through no encoder" in err) == (2, True)
    shutil.move(net, tmp_path / "away")
    try:
        code, out, err = fdetect("explain", pictures[0], "--model", "m", "-o", "why2", *here)
        assert code == 0, err
        assert "no trunk: " in out
        content = json.loads(next(Path("why2").glob("*.json")).read_text())
        assert content["logits"]["trunk"] is None
        assert list(content["absent"]) == ["trunk"]
    finally:
        shutil.move(tmp_path / "away", net)


def test_a_detector_that_ships_is_the_default(fdetect, model, small_set, monkeypatch, store):  # noqa: F811
    from fdetect.classifiers import shipped

    picture = small_set.parent / read_manifest(small_set).column("path").to_pylist()[0]
    monkeypatch.setattr(shipped, "MODEL", Path("nowhere"))
    with pytest.raises(ParameterError, match="no detector ships yet; give --model FOLDER$"):
        model_of(None)
    monkeypatch.setattr(shipped, "MODEL", model)
    assert model_of(None) == model
    assert model_of("other") == Path("other")
    code, _, err = fdetect("score", picture, "--store", store.folder, "--workers", 0)
    assert code == 0, err
    assert "the detector that ships with fdetect: fused:npr_statistics+" in err
    code, _, err = fdetect("explain", picture, "-o", "why", "--method", "grad_cam")
    assert (code, f"and {model} holds a head" in err) == (2, True), err
