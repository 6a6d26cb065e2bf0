"""Every training-free detector on `bench`, with tiny networks of purpose test: what it writes, shares and refuses."""

from __future__ import annotations

import csv
import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fdetect.bench.contenders import configured, training_free
from fdetect.bench.models import Banked
from fdetect.bench.run import Bench, bench
from fdetect.config import RunConfig, override
from fdetect.decide import conformal_pvalue
from fdetect.engine import Store
from fdetect.errors import ParameterError, UnknownName
from fdetect.nets.detectors import build, network
from fdetect.rigid import detector, prepare

pytest.importorskip("transformers", reason="the extra 'deep' is not installed")
pytest.importorskip("diffusers", reason="the extra 'diffusion' is not installed")

import test_reconstruction
import tiny_dinov2
import tiny_encoders

from fdetect.nets.detectors.loading import save_network

QUICK = {
    "conditions.names": ("native", "matched"), "conditions.crop": 128, "features.names": (), "metrics.replicates": 20,
    "protocol.folds": 2, "protocol.calibration": 0.5,
}  # fmt: skip


def name_of(entry, networks: dict[str, str]) -> str:
    """The detector on tiny networks, with a distance that needs no weights, and with a block left to disturb."""
    settings = {"distance": "mse"} if str(entry.settings.get("distance", "")).startswith("lpips") else {}
    settings |= {"skip_last": 1} if "skip_last" in entry.settings else {}
    settings |= {key: networks[f"detectors.{key}"] for key in ("encoder", "autoencoder") if key in entry.settings}
    tiny = str(Path(networks["detectors.encoder"]).with_name("network"))
    settings |= {"weights": tiny} if "weights" in entry.settings else {}
    return ":".join((entry.name, *(f"{key}={value}" for key, value in settings.items())))


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    base = tmp_path_factory.mktemp("networks")
    save_network(build(network.get("tiny_ladeda")(), seed=0), base / "network")
    return {
        "detectors.encoder": str(tiny_dinov2.save_tiny(base / "encoder", image_size=56)),
        "detectors.autoencoder": str(test_reconstruction.save_tiny(base / "autoencoder", 0)),
    }


@pytest.fixture(scope="module")
def fewer(small_set: Path) -> Path:
    """One image of each class and generator in each group of the small set."""
    with small_set.open(encoding="utf-8", newline="") as file:
        rows = {(row["group"], row["generator"]): row for row in csv.DictReader(file)}
    path = small_set.with_name("fewer.csv")
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(next(iter(rows.values()))))
        writer.writeheader()
        writer.writerows(rows.values())
    return path


@pytest.fixture(scope="module")
def finished(fewer: Path, networks: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Bench:
    base = tmp_path_factory.mktemp("training-free")
    flags = {"data.path": str(fewer), "detectors.names": tuple(name_of(entry, networks) for entry in detector)}
    return bench(override(RunConfig(), {**QUICK, **flags}), out=base / "run", store=Store(base / "store"))


def test_every_detector_scores_every_image_under_every_condition(finished: Bench, networks: dict[str, str]) -> None:
    assert not finished.result.not_run
    assert not finished.result.failures
    table = finished.scores
    assert set(table.column("detector").to_pylist()) == {name_of(entry, networks) for entry in detector}
    assert set(table.column("condition").to_pylist()) == {"native", "matched"}
    assert np.isfinite(table.column("score").to_numpy()).all()
    assert set(table.column("decision").to_pylist()) <= {"real", "inconclusive", "fake", "undecided"}


def test_only_banks_with_fakes_have_seen_a_generator(finished: Bench) -> None:
    seen: dict[str, set[bool]] = {}
    for name, one in zip(*(finished.scores.column(k).to_pylist() for k in ("detector", "seen")), strict=True):
        seen.setdefault(name.partition(":")[0], set()).add(one)
    assert all(of == {False} for name, of in seen.items())  # the held-out generator never is among the references


def test_p_values_are_counted_among_the_calibration_reals(finished: Bench) -> None:
    rows = finished.scores.to_pylist()
    one = [r for r in rows if r["detector"].startswith("rigid:") and r["condition"] == "matched"]
    p_values = np.array([r["p_value"] for r in one])
    n = one[0]["n_calibration"]
    assert n > 0
    np.testing.assert_allclose(p_values * (n + 1), np.rint(p_values * (n + 1)), atol=1e-9)
    for r in one:  # p at or below the level exactly where the score lies above its threshold
        if r["threshold"] is not None:
            assert (r["p_value"] <= 0.05) == (r["score"] > r["threshold"])
    ordered = sorted((r for r in one if r["trial"] == one[0]["trial"]), key=lambda r: r["score"])
    assert all(a["p_value"] >= b["p_value"] for a, b in itertools.pairwise(ordered))
    assert conformal_pvalue(np.array([1.0]), np.array([0.0, 2.0])) == pytest.approx(2 / 3)


def test_weights_stand_in_the_header_and_the_report(finished: Bench) -> None:
    cards = {name.partition(":")[0]: of for name, of in finished.result.header["weights"].items()}
    assert cards["feature_drift"] == []
    assert {card["purpose"] for of in cards.values() for card in of} == {"test"}
    page = (finished.folder / "report.html").read_text(encoding="utf-8")
    assert "test, unverified weights" in page


def test_ten_detectors_cost_the_union_of_their_views(small_set: Path, networks: dict[str, str], tmp_path: Path) -> None:
    flags = {"data.path": str(small_set), "detectors.encoder": networks["detectors.encoder"]}
    config = override(RunConfig(), {**QUICK, **flags})
    names = ("rigid", "rigid_draws", "knn", "mahalanobis", "subspace", "wepe:skip_last=1")
    prepared, not_run = training_free(replace(config, detectors=replace(config.detectors, names=names)))
    assert not not_run
    views = {task.name for one in prepared for task in one.tasks}
    asked = sum(len(one.tasks) for one in prepared)
    assert asked == 2 + 5 + 1 + 1 + 1 + 5
    # the clean image in two geometries, four noises and four networks; the rest is shared
    assert len(views) == 2 + 4 + 4 < asked


def test_a_name_may_choose_its_own_network_and_settings(networks: dict[str, str], tmp_path: Path) -> None:
    other = str(tiny_encoders.save_family(tmp_path / "clip", "clip"))
    names = (f"rigid:sigma=0.02:encoder={other}", "rigid", "aeroblade", "minder_dinov3", "rigid:encoder=dinov2-large")
    entry, plain, reconstructing, variant, default = configured(names, encoder="x", autoencoder="")
    assert entry.settings["encoder"] == other
    assert plain.settings["encoder"] == "x"
    assert default.settings["encoder"] == "dinov2-large"  # named, though it is what the detector takes anyway
    assert "encoder" not in reconstructing.settings
    assert variant.settings["encoder"] == "dinov3-large"  # its constants are those of that network
    with pytest.raises(ParameterError, match="--encoder x: none of the detectors .aeroblade. takes it"):
        configured(("aeroblade",), encoder="x")
    (clean, noisy) = prepare(entry(), device="cpu")
    assert (clean.view.label, noisy.view.label) == ("clean", "noise")
    assert noisy.settings["view"]["steps"][0][1]["sigma"] == 0.02


def test_without_weights_each_is_a_row_with_its_fix(small_set: Path, tmp_path: Path) -> None:
    names = ("rigid", "univfd_nn", "aeroblade_taef2", "aeroblade", "feature_drift")
    flags = {**QUICK, "data.path": str(small_set), "detectors.names": names, "conditions.names": ("matched",)}
    done = bench(override(RunConfig(), flags), out=tmp_path / "run", store=Store(tmp_path / "store"))
    assert {row.detector for row in done.result.not_run} == set(names) - {"feature_drift"}
    fixes = {row.detector: row.fix for row in done.result.not_run}
    assert "fdetect weights get dinov2-large" in fixes["rigid"]
    assert "fdetect weights import" in fixes["aeroblade_taef2"]
    assert set(done.scores.column("detector").to_pylist()) == {"feature_drift"}


def test_a_bank_is_made_anew_where_its_settings_changed(fewer: Path, networks: dict[str, str], tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    scores = {}
    for k in (1, 2):
        name = f"knn:k={k}"
        flags = {**QUICK, **networks, "data.path": str(fewer), "detectors.names": (name,), "detectors.autoencoder": ""}
        done = bench(override(RunConfig(), flags), out=tmp_path / f"run{k}", store=store)
        scores[k] = done.scores.column("score").to_numpy()
    assert (scores[1] <= scores[2] + 1e-12).all()  # the nearest is not farther than the mean of the two nearest
    assert (scores[1] < scores[2]).any()
    entry = detector.get("knn")
    one, other = (Banked("knn", entry(k=k), {}, np.zeros(0)) for k in (1, 2))
    assert one.digest != other.digest


def test_a_view_does_not_depend_on_those_beside_it(networks: dict[str, str]) -> None:
    for name, setting in (("hfi:distance=mse", "autoencoder"), ("rigid", "encoder")):
        (entry,) = configured((name,), **{setting: networks[f"detectors.{setting}"]})
        tasks = prepare(entry(), device="cpu", crop=128)
        pictures = tiny_dinov2.photographs(3)
        batch = tiny_dinov2.batch_of(pictures, tasks[0].geometry)
        together = tasks[0].together(batch, tasks)
        for task, rows in zip(tasks, together, strict=True):
            np.testing.assert_array_equal(task(batch), rows)


def test_a_misspelt_distance_is_said_whether_weights_are_here_or_not() -> None:
    (entry,) = configured(("aeroblade_taef2:distance=mze",))
    with pytest.raises(UnknownName, match="no distance 'mze'; did you mean 'mse'"):
        entry()
