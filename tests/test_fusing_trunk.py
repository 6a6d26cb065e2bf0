"""The branch `trunk` of the fused detector: a network trained in every trial, honest, kept, and said where it fails."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_fusing import TRIAL, auroc, contender, told

pytest.importorskip("torch", reason="the extra 'deep' is not installed")

from fdetect.bench.data.inputs import root_of
from fdetect.bench.layouts import read_manifest
from fdetect.bench.protocols import Samples, Trial, samples_of, trials_of
from fdetect.bench.run import Bench, bench
from fdetect.bench.scores.scoring import score_trials
from fdetect.bench.training.fusing import TRUNK, FusedContender, columns_of, fused
from fdetect.bench.training.learnt import Network, check_networks, networks
from fdetect.bench.training.network_outputs import Outputs, embedding_columns, write_arrays
from fdetect.bench.training.network_pictures import NetworkPictures
from fdetect.bench.training.networks import networks_grids
from fdetect.config import RunConfig, override
from fdetect.engine import Store
from fdetect.engine import run as extract
from fdetect.errors import DataError, ParameterError, UnknownName
from fdetect.features import select_features
from fdetect.nets.detectors import network
from fdetect.perturb import condition

NAME = "fused:handmade+trunk"
QUICK = {
    "conditions.names": ("rescaled",), "conditions.crop": 128, "features.names": ("npr_statistics",),
    "heads.per_family": (), "heads.all_columns": (), "detectors.names": (), "metrics.replicates": 20,
    "protocol.name": "train_on", "protocol.train": ("sim-nearest",), "protocol.folds": 2,
    "fused.branches": ("handmade", "trunk"), "fused.network": "lenet", "fused.forms": ("linear",),
    "networks.steps": 3, "networks.batch": 4, "networks.crop": 64, "networks.draws": 1, "networks.validation": 0.3,
}  # fmt: skip
TRIALS = ["sim-nearest/0", "sim-nearest/1"]


def run(data: Path, base: Path, name: str, **flags: Any) -> tuple[Bench, list[str]]:
    """Run a benchmark, and return with it which trainings it told of."""
    told: list[str] = []

    def progress(what: str, done: int, total: int) -> None:
        if " | loss" in what and done == total:
            told.append(what.partition(" | ")[0])

    config = override(RunConfig(), {**QUICK, "data.path": str(data), **flags})
    return bench(config, out=base / name, store=Store(base / "store"), backend="cpu", progress=progress), told


def scores_of(done: Bench, detector: str) -> dict[tuple[str, ...], float]:
    return {(row["trial"], row["condition"], row["path"]): row["score"]
            for row in done.scores.to_pylist() if row["detector"] == detector}  # fmt: skip


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("trunk")


@pytest.fixture(scope="module")
def done(small_set: Path, base: Path) -> tuple[Bench, list[str]]:
    return run(small_set, base, "run", **{"networks.names": ("lenet",)})


def test_the_network_is_trained_once_for_its_own_row_and_as_the_trunk(done: tuple[Bench, list[str]]) -> None:
    result, trained = done
    assert sorted(trained) == [f"lenet {trial}" for trial in TRIALS]
    fused, network, without = (scores_of(result, name) for name in (NAME, "lenet", f"{NAME}:without=trunk"))
    assert fused.keys() == network.keys() == without.keys()
    assert np.isfinite(list(fused.values())).all()
    assert fused != without, "the branch takes part"


def test_the_result_names_the_network(done: tuple[Bench, list[str]]) -> None:
    result, _ = done
    about = json.loads((result.folder / "result.json").read_text())["header"]["trunk"]
    assert about == {"fused": NAME, "network": "lenet", "trials": 2, "missing": {}}
    (grid,) = (one for one in networks_grids(result.result.header) if one.title == "Trunk of the fused detector")
    assert grid.rows == ((NAME, "lenet", "2 of 2 trials", ""),)
    for name in ("tables.md", "report.html"):
        assert "Trunk of the fused detector" in (result.folder / name).read_text()
    assert f"| {NAME} | trunk trained here, undertrained |" in (result.folder / "tables.md").read_text()


def test_it_keeps_nothing_of_images_that_trained_the_network(done: tuple[Bench, list[str]]) -> None:
    result, _ = done
    n = sum(result.result.header["data"][name] for name in ("n_real", "n_fake"))
    for trial in TRIALS:
        kept = Outputs.read(result.folder / "networks" / "lenet" / trial.replace("/", "-") / "outputs.npz")
        assert len(kept.fresh)
        for name in ("matched", "rescaled"):
            assert set(kept.fresh) <= set(kept.rows[name])
            seen = kept.vectors(name, np.arange(n))
            assert 0 < np.isfinite(seen).all(axis=1).sum() == len(kept.rows[name]) < n
            assert seen.shape == (n, len(embedding_columns(84)))


def test_a_killed_run_goes_on_without_training_again(
    done: tuple[Bench, list[str]], small_set: Path, base: Path
) -> None:
    result, _ = done
    before = (result.folder / "result.json").read_bytes()
    for part in (result.folder / "parts").glob("scores-*"):
        part.unlink()
    again, trained = run(small_set, base, "run", **{"networks.names": ("lenet",)})
    assert not trained
    assert (again.folder / "result.json").read_bytes() == before


def test_where_it_cannot_be_trained_the_other_branches_score_and_it_is_said(small_set: Path, base: Path) -> None:
    lost, _ = run(small_set, base, "lost", **{"networks.rate": 1e30})
    assert not scores_of(lost, "lenet"), "the trunk alone is no detector of its own"
    assert lost.result.header["networks"]["lenet"]["verdict"] == "not trained"
    found = scores_of(lost, NAME)
    assert np.isfinite(list(found.values())).all()
    assert found == scores_of(lost, f"{NAME}:without=trunk")
    missing = lost.result.header["trunk"]["missing"]
    assert list(missing) == TRIALS
    for trial, why in missing.items():
        assert why.startswith("training stopped")
        record = lost.folder / "networks" / "lenet" / trial.replace("/", "-") / "record.json"
        assert json.loads(record.read_text())["error"] == why, "a process that trains nothing says it as well"
    (grid,) = (one for one in networks_grids(lost.result.header) if one.title == "Trunk of the fused detector")
    assert grid.rows[0][2] == "0 of 2 trials"
    assert grid.rows[0][3].startswith(f"{TRIALS[0]}: training stopped")
    assert "training stopped" in (lost.folder / "tables.md").read_text()
    alone = [row for row in lost.scores.to_pylist() if row["detector"] == f"{NAME}:without=handmade"]
    assert {row["status"] for row in alone} == {"failed"}
    assert all("trunk" in row["reason"] for row in alone)


def test_a_long_list_of_failures_is_cut_in_the_table_alone() -> None:
    missing = {f"one/{k}": "no pictures" for k in range(5)}
    (grid,) = networks_grids({"trunk": {"fused": NAME, "network": "lenet", "trials": 9, "missing": missing}})
    assert grid.rows[0][2:] == ("4 of 9 trials", "one/0: no pictures; one/1: no pictures; one/2: no pictures; "
                                "and 2 more")  # fmt: skip


def test_without_its_weights_the_fused_detector_is_not_run(tmp_path: Path) -> None:
    config = override(RunConfig(), {**QUICK, "fused.network": "resnext101"})
    branches, none = columns_of(config, select_features("npr_statistics"), [])
    assert (branches, none) == ({"handmade": ["npr_statistics"], "trunk": ["resnext101"]}, [])
    samples, _ = told()
    found, not_run = networks(config, samples, [], folder=tmp_path, device="cpu", trunk="resnext101")
    assert not found
    nothing = extract([], [], conditions=[condition("native")], crop=128, store=Store(tmp_path))
    detectors, (row,) = fused(config, samples, branches, nothing, None, not_run)
    assert not detectors
    assert row.detector == NAME
    assert row.reason.startswith("its network resnext101: ")
    assert "needs pretrained weights" in row.reason
    assert "fdetect weights get" in row.fix


def test_threads_change_no_byte(small_set: Path) -> None:
    """While one trial trains its network, another may fit its branches: torch has one state for all threads."""
    manifest = read_manifest(small_set)
    samples, root = samples_of(manifest), root_of(manifest)
    config = override(RunConfig(), QUICK).networks
    shown = NetworkPictures.compute(config, samples, [condition("matched")], crop=128, root=root)
    values = {"handmade": np.random.default_rng(0).normal(size=(len(samples.label), 4)).astype(np.float32)}
    trials, found = trials_of(samples, name="leave_one_generator_out", folds=2)[:2], []
    for workers in (1, 2):
        architecture = network.get("lenet")()
        trunk = Network(config, architecture, "lenet", shown, samples, about={"embedding": 84}, embeds=True)
        one = contender(samples, values, trunk=trunk)
        found.append(score_trials(one, samples, shown.shown.ids, trials, ["matched"], workers=workers))
        assert len(trunk.records) == len(trials)
    assert found[0].equals(found[1])
    assert set(found[0].column("status").to_pylist()) == {"ok"}


@pytest.mark.parametrize(
    ("flags", "error", "text"),
    [
        ({"fused.network": "lenett"}, UnknownName, "did you mean 'lenet'"),
        ({"fused.network": "patchcraft", "networks.crop": 48}, ParameterError, "patchcraft takes sides of at least 64"),
        ({"fused.branches": ("handmade",)}, ParameterError, "lenet is the network of the branch trunk, which is not"),
        ({"networks.draws": 10**9}, ParameterError, "lower networks.draws"),
    ],
)  # fmt: skip
def test_mistakes_are_said_before_the_work(flags: dict[str, Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        check_networks(override(RunConfig(), {**QUICK, **flags}), 72)
    check_networks(override(RunConfig(), QUICK), 72)


# --- honest: made-up outputs --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Knowing:
    """A trunk that knows the labels of the rows it was trained on, and nothing of others."""

    label: np.ndarray
    trained: np.ndarray
    sure: float = 20.0
    failed: str = ""
    name: str = "knowing"
    columns: tuple[str, ...] = embedding_columns(1)
    digest: str = ""
    reasons: Mapping[str, Mapping[int, str]] = field(default_factory=dict)

    def outputs(self, trial: Trial) -> Outputs:
        if self.failed:
            raise DataError(self.failed)
        said = np.random.default_rng(1).normal(size=(len(self.label), 2)).astype(np.float32)
        said[self.trained] = self.sure * (self.label[self.trained, None] - 0.5)
        rows = np.arange(len(said))
        fresh = np.setdiff1d(trial.fit, self.trained)
        return Outputs({"matched": rows}, {"matched": said[:, 0]}, {"matched": said[:, 1:]}, fresh)

    def missing(self, trial: Trial) -> str:
        return self.failed


def with_trunk(**how: Any) -> tuple[FusedContender, Samples]:
    samples, values = told()
    return contender(samples, values, trunk=Knowing(samples.label, TRIAL.fit[:60], **how)), samples


def test_a_trunk_that_is_sure_of_what_it_was_trained_on_does_not_lead() -> None:
    one, samples = with_trunk()
    alone = contender(*told()).ready(TRIAL, "matched").scores("matched", TRIAL.test)[0]
    model, label = one.ready(TRIAL, "matched"), samples.label[TRIAL.test]
    assert auroc(label, model.scores("matched", TRIAL.test)[0]) > auroc(label, alone) - 0.1
    shares = model.fitted.gates(one.vectors(TRIAL, "matched", TRIAL.test))
    assert shares["handmade"].mean() > shares[TRUNK].mean()


def test_what_it_says_of_rows_that_trained_it_changes_nothing() -> None:
    found = [with_trunk(sure=sure)[0].ready(TRIAL, "matched").scores("matched", TRIAL.test)[0] for sure in (20, -3)]
    np.testing.assert_array_equal(*found)


def test_alone_it_fails_with_its_reason_and_beside_others_it_is_absent() -> None:
    lost, samples = with_trunk(failed="no pictures")
    plain = contender(*told()).ready(TRIAL, "matched").scores("matched", TRIAL.test)[0]
    np.testing.assert_array_equal(lost.ready(TRIAL, "matched").scores("matched", TRIAL.test)[0], plain)
    with pytest.raises(DataError, match="no pictures"):
        replace(lost, values_of={}, columns={}).ready(TRIAL, "matched")
    kept, _ = with_trunk()
    alone = replace(kept, values_of={}, columns={}).ready(TRIAL, "matched").scores("matched", TRIAL.test)[0]
    assert np.isfinite(alone).all()
    assert samples.label[TRIAL.test].shape == alone.shape


# --- the file -----------------------------------------------------------------------------------------------------


def test_outputs_come_back_as_they_were(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = {"native": np.array([5, 2]), "rescaled": np.array([2])}
    one = Outputs(rows, {name: rng.normal(size=len(of)) for name, of in rows.items()},
                  {name: rng.normal(size=(len(of), 3)).astype(np.float32) for name, of in rows.items()},
                  np.array([5]))  # fmt: skip
    one.write(tmp_path / "outputs.npz")
    again = Outputs.read(tmp_path / "outputs.npz")
    assert again.arrays().keys() == one.arrays().keys()
    for name, array in one.arrays().items():
        assert array.dtype == again.arrays()[name].dtype
        np.testing.assert_array_equal(array, again.arrays()[name])
    np.testing.assert_array_equal(again.scores("native", np.array([2, 3, 5])),
                                  [one.logit["native"][1], np.nan, one.logit["native"][0]])  # fmt: skip
    vectors = again.vectors("rescaled", np.array([5, 2]))
    assert vectors.dtype == np.float32
    assert np.isnan(vectors[0]).all()
    np.testing.assert_array_equal(vectors[1, 1:], one.embedding["rescaled"][0])


def test_files_that_are_none_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "outputs.npz"
    path.write_bytes(b"no archive")
    with pytest.raises(DataError, match=r"outputs\.npz: not readable as outputs of a network"):
        Outputs.read(path)
    np.savez(path, **{"rows|native": np.array([{"a": 1}], object), "logit|native": np.zeros(1)})
    with pytest.raises(DataError, match="not readable"):
        Outputs.read(path)
    np.savez(path, other=np.zeros(1))
    with pytest.raises(DataError, match="holds no outputs of a network"):
        Outputs.read(path)


def test_trainings_of_the_benchmark_are_a_trunk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """benchmarks/networks.py trains many networks at a time; benchmarks/trained.py fuses what it kept of them."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "benchmarks"))
    from trainings import Trainings, file_of, scored_rows

    samples, values = told()
    made = Knowing(samples.label, TRIAL.fit[:60])
    kept = made.outputs(TRIAL).arrays() | {"rows": scored_rows(TRIAL), "losses": np.zeros(3)}
    write_arrays(file_of(tmp_path, "npr:factor=4", 0, "0" * 16), kept)
    write_arrays(file_of(tmp_path, "npr:factor=4@aligned", 0, "0" * 16), kept)
    trunk = Trainings.read(tmp_path, "npr:factor=4")
    expected = contender(samples, values, trunk=made).ready(TRIAL, "matched").scores("matched", TRIAL.test)[0]
    found = contender(samples, values, trunk=trunk).ready(TRIAL, "matched").scores("matched", TRIAL.test)[0]
    np.testing.assert_array_equal(found, expected)
    other = replace(TRIAL, test=TRIAL.test[1:])
    assert trunk.missing(TRIAL) == ""
    assert "not trained there" in trunk.missing(other)
    with pytest.raises(ParameterError, match="trained on other images"):
        trunk.outputs(replace(TRIAL, fit=TRIAL.fit[:70]))
    write_arrays(file_of(tmp_path, "npr:factor=4", 7, "1" * 16), kept)
    with pytest.raises(ParameterError, match="are of one trial"):
        Trainings.read(tmp_path, "npr:factor=4")
    with pytest.raises(ParameterError, match="no training of npr with embeddings"):
        Trainings.read(tmp_path, "npr")
