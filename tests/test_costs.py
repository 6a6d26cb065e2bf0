"""Costs: what is timed is timed for itself, what is not says why, and no time enters a result."""

from __future__ import annotations

import pytest

from fdetect.bench.leaderboard.costs import BATCH, FIT_ROWS, _few
from fdetect.bench.run import Bench, bench
from fdetect.config import RunConfig, override

FEATURES = ("npr_statistics", "local_binary_patterns")


@pytest.fixture(scope="module")
def done(small_set, store, tmp_path_factory) -> Bench:
    """A run with heads on two families and on both, a training-free detector, and somebody's scores."""
    import csv

    base = tmp_path_factory.mktemp("costs")
    with small_set.open(encoding="utf-8") as file:
        rows = [{"path": row["path"], "score": k % 7} for k, row in enumerate(csv.DictReader(file))]
    with (base / "given.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, ["path", "score"])
        writer.writeheader()
        writer.writerows(rows)
    config = override(RunConfig(), {
        "data.path": str(small_set), "conditions.names": ("matched",), "conditions.crop": 128,
        "features.names": FEATURES, "heads.per_family": ("logreg",), "heads.all_columns": ("logreg", "svm_rbf"),
        "detectors.names": ("feature_drift",), "detectors.scores": (str(base / "given.csv"),),
        "metrics.replicates": 20,
    })  # fmt: skip
    return bench(config, out=base / "run", store=store)


def test_heads_and_training_free_detectors_are_timed(done):
    found = done.costing()
    assert (found["images"], found["px"], found["threads"], found["backend"]) == (BATCH, 128, 1, "cpu")
    assert set(found["detectors"]) == {row["detector"] for row in done.result.thresholds}
    for name in ("logreg:all", "svm_rbf:all", "logreg:neighbours", "logreg:texture"):
        one = found["detectors"][name]
        assert 0 < one["head"] < 50
        assert 0 < one["columns"] < 500
        assert one["total"] == pytest.approx(one["columns"] + one["head"], abs=2e-4)
    drift = found["detectors"]["feature_drift"]
    assert drift["head"] is None
    assert drift["total"] == drift["columns"] > 0


def test_a_head_costs_what_its_score_of_a_batch_takes_for_each_image(done):
    """Against calls that are timed here: nothing is divided once too often."""
    import time

    from fdetect.classifiers import fit_head, in_parallel

    one = next(each for each in done.costing.detectors if each.name == "svm_rbf:all")
    rows = _few(done.costing.trials[0].fit, one.samples.label)
    values = one.values[one.draws.shown("matched")[0]]
    fitted = fit_head(one.head, one.columns, values[rows], one.samples.label[rows],
                      groups=one.samples.group[rows].astype(str))  # fmt: skip

    def timed(_: int) -> float:
        begin = time.process_time()
        for _ in range(40):
            fitted.score(values[rows[:BATCH]])
        return 1000 * (time.process_time() - begin) / 40 / BATCH

    times = list(in_parallel(timed, range(5)))  # on one thread, as costs are
    found = done.costing(seconds=60)["detectors"]["svm_rbf:all"]["head"]
    assert min(times) / 5 < found < 5 * min(times)


def test_heads_on_the_same_columns_share_their_time_and_more_columns_cost_more(done):
    found = done.costing()["detectors"]
    assert found["logreg:all"]["columns"] == found["svm_rbf:all"]["columns"]
    parts = [found[name]["columns"] for name in ("logreg:neighbours", "logreg:texture")]
    assert found["logreg:all"]["columns"] > 0.8 * max(parts)


def test_what_is_not_timed_says_why(done):
    one = done.costing()["detectors"]["given"]
    assert (one["total"], one["reason"]) == (None, "only heads on columns and training-free detectors are timed")
    for late in done.costing(seconds=-1)["detectors"].values():
        assert (late["total"], late["reason"]) == (None, "the seconds for timing were over")


def test_draws_are_paid_for_each(done):
    from dataclasses import replace

    from fdetect.bench.training.draws import Draws

    one = next(each for each in done.costing.detectors if each.name == "logreg:all")
    four = replace(one, name="four", draws=Draws(4))
    found = replace(done.costing, detectors=(one, four))()["detectors"]
    assert found["four"]["columns"] == pytest.approx(4 * found["logreg:all"]["columns"], abs=4e-4)


def test_a_fit_for_timing_sees_few_rows_of_both_classes():
    import numpy as np

    label = np.arange(4000) % 3 == 0
    rows = _few(np.arange(4000), label.astype(int))
    assert len(rows) <= FIT_ROWS
    assert set(label[rows].tolist()) == {True, False}
    assert len(np.unique(rows)) == len(rows)
