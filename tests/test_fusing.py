"""The fused detector in a benchmark: fitted on a trial's training rows alone, settings chosen within them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
from test_bench import quick

from fdetect.bench.protocols import Samples, Trial
from fdetect.bench.run import bench
from fdetect.bench.training.fusing import FusedContender, columns_of
from fdetect.bench.training.head_trials import SEARCHED
from fdetect.classifiers.fused import BranchSettings, FusedRows, FusedSettings
from fdetect.classifiers.fused_choice import choose, choose_all
from fdetect.classifiers.fused_fit import fit_fused
from fdetect.config import RunConfig, override
from fdetect.engine import Store
from fdetect.errors import ParameterError
from fdetect.features import select_features
from fdetect.nets.threads import one_thread

torch = pytest.importorskip("torch", reason="the extra 'deep' is not installed")

N = 160


def told(seed: int = 0, distance: float = 1.5) -> tuple[Samples, dict[str, np.ndarray]]:
    """Images in groups of two, half of them fake by two generators; two branches of which the first tells."""
    rng, label = np.random.default_rng(seed), np.repeat(np.arange(N // 2) % 2, 2)
    generator = np.where(label == 1, np.array(["one", "two"])[np.arange(N) // 4 % 2], "").astype(object)
    group = np.array([f"group {k // 2}" for k in range(N)], object)
    source = np.where(label == 0, "camera", "").astype(object)
    path = np.array([f"{k}.png" for k in range(N)], object)
    values = {name: rng.normal(size=(N, 5)).astype(np.float32) for name in ("handmade", "spectrum")}
    values["handmade"][:, 0] += (distance * label).astype(np.float32)
    return Samples(path, label, generator, source, group, np.full(N, "", object)), values


def contender(samples: Samples, values: Mapping[str, np.ndarray], **how: object) -> FusedContender:
    columns = {name: tuple(f"{name}:{k}" for k in range(one.shape[1])) for name, one in values.items()}
    by_condition = {name: {"matched": one} for name, one in values.items()}
    return FusedContender("fused", columns, by_condition, samples, forms=("linear",), **how)  # type: ignore[arg-type]


TRIAL = Trial("one/0", "all", np.arange(100), np.arange(100, 120)[::4], np.arange(120, N))


def auroc(label: np.ndarray, score: np.ndarray) -> float:
    real, fake = score[label == 0], score[label == 1]
    return float((fake[:, None] > real).mean())


def test_it_scores_what_fit_fused_on_the_training_rows_scores() -> None:
    samples, values = told()
    found, probability = contender(samples, values).ready(TRIAL, "matched").scores("matched", TRIAL.test)
    rows = TRIAL.fit
    columns = {name: tuple(f"{name}:{k}" for k in range(5)) for name in values}
    known = FusedRows({name: one[rows] for name, one in values.items()}, columns, samples.label[rows],
                      samples.group[rows].astype(str), samples.generator[rows].astype(str))  # fmt: skip
    settings = FusedSettings(branches=dict.fromkeys(values, BranchSettings()))
    expected = fit_fused(known, settings).score({name: one[TRIAL.test] for name, one in values.items()})
    np.testing.assert_array_equal(found, expected)
    assert auroc(samples.label[TRIAL.test], found) > 0.75
    np.testing.assert_allclose(probability, 1 / (1 + np.exp(-found)), rtol=1e-12)


def test_what_is_tested_changes_nothing_that_is_fitted() -> None:
    samples, values = told()
    spoilt = {name: one.copy() for name, one in values.items()}
    spoilt["handmade"][TRIAL.test[1:]] = 1e3
    one, other = (contender(samples, of).ready(TRIAL, "matched") for of in (values, spoilt))
    first = TRIAL.test[:1]
    np.testing.assert_array_equal(one.scores("matched", first)[0], other.scores("matched", first)[0])


def test_a_branch_that_failed_is_left_out_and_all_that_failed_is_nan() -> None:
    samples, values = told()
    values["handmade"][TRIAL.test[0]] = np.nan
    for one in values.values():
        one[TRIAL.test[1]] = np.nan
    scores, _ = contender(samples, values).ready(TRIAL, "matched").scores("matched", TRIAL.test[:3])
    assert np.isfinite(scores).tolist() == [True, False, True]


def test_settings_are_chosen_by_what_is_out_of_fold() -> None:
    samples, values = told()
    rows = FusedRows({"handmade": values["handmade"]}, {"handmade": tuple("abcde")}, samples.label,
                     samples.group.astype(str), samples.generator.astype(str))  # fmt: skip
    far, near = BranchSettings(decay=1e4), BranchSettings(decay=0.1)  # the first leaves nothing but rounding
    chosen = choose(rows, "handmade", (far, near), FusedSettings())
    assert [how for _, how, _ in chosen.tried] == [far, near]
    assert chosen.settings.of("handmade") == (near if chosen.tried[1][2] > chosen.tried[0][2] else far)
    assert chosen.tried[1][2] > 0.75
    again = choose_all(rows, FusedSettings(), (near, near))
    assert again.settings.of("handmade") is near
    assert choose(rows, "handmade", (far,), FusedSettings()).tried == ()
    anchored = FusedSettings(branches={"handmade": BranchSettings(anchor="a")})
    assert choose(rows, "handmade", (far, near), anchored).settings is anchored


def test_a_run_has_it_beside_the_heads_and_says_what_was_tried(small_set, tmp_path) -> None:
    flags = {"conditions.crop": 64, "metrics.replicates": 10, "heads.per_family": (), "heads.all_columns": ("logreg",),
             "detectors.names": (), "conditions.names": ("matched",), "fused.branches": ("handmade", "spectrum"),
             "fused.forms": ("linear",)}  # fmt: skip
    done = bench(quick(small_set, **flags), out=tmp_path / "run", store=Store(tmp_path / "store"))
    name = "fused:handmade+spectrum"
    rows = [row for row in done.scores.to_pylist() if row["detector"] == name]
    others = [row for row in done.scores.to_pylist() if row["detector"] == "logreg:all"]
    assert len(rows) == len(others) > 0
    assert {row["status"] for row in rows} == {"ok"}
    tried = (tmp_path / "run" / SEARCHED).read_text().splitlines()[1:]
    assert {line.partition(",")[0] for line in tried} == {"best_single"}, "of one candidate there is no choice"
    before = (tmp_path / "run" / "result.json").read_bytes()
    bench(quick(small_set, **flags), out=tmp_path / "run", store=Store(tmp_path / "store"))
    assert before == (tmp_path / "run" / "result.json").read_bytes()


def test_settings_are_chosen_where_every_group_holds_both_classes() -> None:
    """As in paired data, where leaving whole generators out with all their groups would leave nothing."""
    samples, values = told()
    group = np.array([f"scene {k % 20}" for k in range(N)])
    rows = FusedRows({"handmade": values["handmade"]}, {"handmade": tuple("abcde")}, samples.label, group,
                     samples.generator.astype(str))  # fmt: skip
    chosen = choose(rows, "handmade", (BranchSettings(), BranchSettings(decay=10.0)), FusedSettings())
    assert all(0.5 < auroc <= 1 for _, _, auroc in chosen.tried)


def test_threads_of_torch_change_no_byte() -> None:
    """Were products split among two threads, each of thousands of them would wait for both: minutes on a busy machine.

    One branch suffices, and a fit with a hidden layer.
    """
    samples, values = told()
    rows = FusedRows({"handmade": values["handmade"]}, {"handmade": tuple("abcde")}, samples.label,
                     samples.group.astype(str), samples.generator.astype(str))  # fmt: skip
    rows, settings = rows.take(TRIAL.fit), FusedSettings(branches={"handmade": BranchSettings(hidden=8)}, folds=2)
    found, before = [], torch.get_num_threads()
    try:
        for n in (1, 2):
            torch.set_num_threads(n)
            found.append(fit_fused(rows, settings).score(rows.vectors).tobytes())
    finally:
        torch.set_num_threads(before)
    assert found[0] == found[1]


def test_one_thread_is_one_thread_of_mkl_too() -> None:
    def counts() -> list[str]:
        return re.findall(r"(?:omp|mkl)_get_max_threads\(\) : (\d+)", torch.__config__.parallel_info())

    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        outside = counts()
        with one_thread():
            assert set(counts()) == {"1"}
        assert counts() == outside
        assert set(outside) == {"3"}
    finally:
        torch.set_num_threads(before)


def test_without_torch_it_is_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fdetect.bench.training.fusing.torch_missing", lambda: "torch is not installed")
    config = override(RunConfig(), {"fused.branches": ("handmade",)})
    branches, (row,) = columns_of(config, select_features("fast"), [])
    assert (branches, row.detector, row.reason) == ({}, "fused:handmade", "torch is not installed")


def test_a_branch_without_columns_is_refused_before_the_work() -> None:
    config = override(RunConfig(), {"fused.branches": ("handmade", "encoder")})
    with pytest.raises(ParameterError, match="the branch encoder has no column; name an encoder with --embeddings"):
        columns_of(config, select_features("fast"), [])
    none = replace(config, fused=replace(config.fused, branches=()))
    assert columns_of(none, select_features("fast"), []) == ({}, [])
    with pytest.raises(ParameterError, match="no branch 'spectrums'; did you mean 'spectrum'"):
        override(RunConfig(), {"fused.branches": ("spectrums",)})
