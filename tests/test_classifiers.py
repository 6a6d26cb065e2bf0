"""Heads: the contract of the registry, fitting, folds and threads."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from functools import partial

import numpy as np
import pytest

from fdetect.classifiers import FittedHead, fit_head, head, in_parallel, out_of_fold
from fdetect.classifiers.heads import DISTANCE, LOG_ODDS, scale_of
from fdetect.errors import DataError, NotFitted

# Two heads are small here, as these tests fit them often; tests/test_heads_fits.py has them as they are.
SMALL = {"random_forest": "random_forest:n_estimators=25", "stacking": "stacking:bases=logreg+svm_rbf"}
NAMES = tuple(SMALL.get(name, name) for name in head.names())
EVERY = pytest.mark.parametrize("name", NAMES)
OF_REALS = tuple(name for name in NAMES if scale_of(head.read(name)) == DISTANCE)
OF_BOTH = pytest.mark.parametrize("name", [name for name in NAMES if name not in OF_REALS])
LOG_ODDS_HEADS = pytest.mark.parametrize("name", [name for name in NAMES if scale_of(head.read(name)) == LOG_ODDS])
COLUMNS = tuple("abcdef")


def toy(n: int = 60, *, apart: float = 1.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """n reals and n fakes in six columns of very different scales; every column of the fakes lies higher."""
    rng = np.random.default_rng(seed)
    label = np.repeat([0, 1], n)
    values = rng.normal(size=(2 * n, 6)) + apart * label[:, None]
    return (values * 10.0 ** np.arange(-2, 4)).astype(np.float32), label


def fit(name: str, values: np.ndarray, label: np.ndarray) -> FittedHead:
    """The head of a name, each of its rows in a group with a few others."""
    groups = [f"group {k % 20}" for k in range(len(label))]
    return fit_head(head.read(name), COLUMNS, values, label, groups=groups)


# -- the contract of the registry -----------------------------------------------------------------------------------


@EVERY
def test_fitting_twice_gives_the_same_scores_in_float32_steps(name):
    values, label = toy()
    first, second = (fit(name, values, label).score(values) for _ in range(2))
    assert first.dtype == np.float64
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(first, first.astype(np.float32))


@EVERY
def test_a_score_depends_on_its_own_row_alone_and_the_input_is_left_as_it_was(name):
    values, label = toy()
    before = values.copy()
    fitted = fit(name, values, label)
    together = fitted.score(values)
    np.testing.assert_array_equal(fitted.score(values[::-1])[::-1], together)
    np.testing.assert_array_equal(np.concatenate([fitted.score(row[None]) for row in values[:7]]), together[:7])
    np.testing.assert_array_equal(values, before)
    assert fitted.score(values[:0]).shape == (0,)


@EVERY
def test_a_row_that_is_not_finite_has_no_score_and_disturbs_nobody(name):
    values, label = toy()
    fitted = fit(name, values, label)
    holed = values.copy()
    holed[3, 2], holed[70] = np.nan, np.inf
    scores = fitted.score(holed)
    assert np.flatnonzero(np.isnan(scores)).tolist() == [3, 70]
    rest = np.isfinite(scores)
    np.testing.assert_array_equal(scores[rest], fitted.score(values)[rest])
    if fitted.scale == LOG_ODDS:
        assert np.isnan(fitted.probability(scores)).tolist() == np.isnan(scores).tolist()


@EVERY
def test_rows_that_are_not_finite_are_left_out_of_the_fit(name):
    values, label = toy()
    holed = np.concatenate([values, np.full((5, 6), np.nan, np.float32)])
    with_holes = fit(name, holed, np.concatenate([label, np.ones(5, int)]))
    without = fit(name, values, label)
    assert (with_holes.prior, with_holes.name) == (without.prior, name)
    assert without.prior == 0.0
    np.testing.assert_array_equal(with_holes.score(values), without.score(values))


@pytest.mark.parametrize("name", OF_REALS)
def test_larger_means_fake_where_only_reals_were_fitted(name):
    values, label = toy(apart=2.0)
    scores = fit(name, values, label).score(toy(apart=2.0, seed=1)[0])
    assert (scores[label == 1, None] > scores[None, label == 0]).mean() > 0.9


@OF_BOTH
def test_larger_means_fake_and_zero_lies_between_the_classes(name):
    values, label = toy(apart=2.0)
    scores = fit(name, values, label).score(toy(apart=2.0, seed=1)[0])
    assert (scores[label == 1] > 0).mean() > 0.9
    assert (scores[label == 0] < 0).mean() > 0.9


@OF_BOTH
def test_twice_as_many_fakes_hardly_move_the_boundary(name):
    """Without the prior taken off, every score would rise by about log 2 = 0.69."""
    values, label = toy(800, apart=0.7)
    half = slice(0, 1200)  # all reals, and the first half of the fakes
    twice, once = (fit(name, values[k], label[k]) for k in (slice(None), half))
    assert twice.prior - once.prior == pytest.approx(np.log(2) if twice.scale == LOG_ODDS else 0.0)
    other = toy(400, apart=0.7, seed=1)[0]
    shift = np.median(twice.score(other) - once.score(other))
    assert abs(shift) < 0.35


@LOG_ODDS_HEADS
def test_probability_is_the_logistic_of_the_score(name):
    values, label = toy()
    fitted = fit(name, values, label)
    scores = np.array([-1000.0, -1.0, 0.0, 1.0, 1000.0, np.nan])
    expected = [0.0, 1 / (1 + np.e), 0.5, np.e / (1 + np.e), 1.0, np.nan]
    np.testing.assert_allclose(fitted.probability(scores), expected, atol=1e-12)


@pytest.mark.parametrize("name", ["svm_linear", "svm_rbf", "one_class", "one_class_svm"])
def test_margins_and_distances_have_no_probability_of_their_own(name):
    fitted = fit(name, *toy())
    assert fitted.scale in ("margin", "distance")
    assert np.isnan(fitted.probability(np.array([-1.0, 0.0, 1.0]))).all()


def test_the_prior_is_the_log_odds_of_the_rows_that_were_fitted():
    values, label = toy()
    fitted = fit_head(head.get("logreg"), COLUMNS, values[:80], label[:80])  # 60 reals, 20 fakes
    assert fitted.prior == pytest.approx(np.log(20 / 60))
    raw = fitted.pipeline.decision_function(values[:5].astype(np.float64))
    np.testing.assert_allclose(fitted.score(values[:5]), raw - np.log(20 / 60), rtol=1e-6)


# -- what is refused ------------------------------------------------------------------------------------------------


@EVERY
@pytest.mark.parametrize(("kept", "missing"), [(1, "real"), (0, "fake")])
def test_a_class_without_images_is_named(name, kept, missing):
    values, label = toy()
    if name in OF_REALS and missing == "fake":
        same = fit(name, values[label == 0], label[label == 0]).score(values)  # it needs none
        np.testing.assert_array_equal(same, fit(name, values, label).score(values))
        return
    with pytest.raises(DataError, match=re.escape(f"{name} cannot be fitted: no {missing} image")):
        fit(name, values[label == kept], label[label == kept])


def test_a_class_of_failed_images_alone_is_an_empty_class():
    values, label = toy()
    values[label == 1, 0] = np.nan
    with pytest.raises(DataError, match="no fake image among its 120 rows"):
        fit_head(head.get("logreg"), COLUMNS, values, label)


def test_another_number_of_columns_is_refused():
    values, label = toy()
    fitted = fit_head(head.get("logreg"), COLUMNS, values, label)
    for wrong in (values[:, :5], values[0]):
        with pytest.raises(DataError, match="expects 6 columns"):
            fitted.score(wrong)


@EVERY
def test_an_unfitted_head_says_so(name):
    with pytest.raises(NotFitted, match="call fit_head first"):
        FittedHead(name, COLUMNS, head.read(name)(), 0.0).score(toy()[0])


# -- folds and threads ----------------------------------------------------------------------------------------------


@EVERY
def test_out_of_fold_keeps_groups_whole_and_scores_each_by_the_other_folds(name):
    values, label = toy()
    groups = [f"group {k % 20}" for k in range(120)]  # each group holds reals and fakes
    scores, fold = out_of_fold(head.read(name), values, label, groups, folds=4, seed=1)
    assert len(set(zip(groups, fold.tolist(), strict=True))) == 20
    assert set(fold) == {0, 1, 2, 3}
    for k in range(4):
        theirs = np.array(groups)[fold != k]
        others = fit_head(head.read(name), COLUMNS, values[fold != k], label[fold != k], groups=theirs)
        np.testing.assert_array_equal(scores[fold == k], others.score(values[fold == k]))


def test_out_of_fold_has_no_score_where_the_other_folds_lack_a_class():
    values, label = toy(10)
    groups = [f"real {k}" for k in range(10)] + ["all fakes"] * 10
    scores, fold = out_of_fold(head.get("logreg"), values, label, groups, folds=3)
    np.testing.assert_array_equal(np.isnan(scores), fold == fold[-1])


ONE_CORE = """
import json, sklearn.ensemble
from threadpoolctl import threadpool_info
from fdetect.classifiers import in_parallel

def threads(_=None):
    return sorted({library["num_threads"] for library in threadpool_info()})

inside = [n for workers in (1, 3) for n in in_parallel(threads, range(3), workers=workers)]
print(json.dumps([threads(), inside, threads()]))
"""


def test_each_fit_has_one_core_and_the_caller_gets_its_threads_back():
    """In a process of its own: this one was told to use one thread from the start."""
    environment = {**os.environ, "OMP_NUM_THREADS": "3", "OPENBLAS_NUM_THREADS": "3"}
    done = subprocess.run(
        [sys.executable, "-c", ONE_CORE], capture_output=True, text=True, timeout=100, env=environment
    )
    assert done.returncode == 0, done.stderr
    before, inside, after = json.loads(done.stdout)
    assert inside == [[1]] * 6
    assert before == after != [1]


@pytest.mark.parametrize("workers", [1, 3])
def test_in_parallel_gives_the_bits_of_a_fit_alone(workers):
    jobs = [(name, seed) for seed in range(2) for name in NAMES]

    def one(job):
        values, label = toy(100, seed=job[1])
        return fit(job[0], values, label).score(values)

    for job, scores in zip(jobs, in_parallel(one, jobs, workers=workers), strict=True):
        np.testing.assert_array_equal(scores, next(iter(in_parallel(one, [job]))), err_msg=str(job))


def test_in_parallel_really_uses_threads_and_keeps_the_order():
    meeting = threading.Barrier(3, timeout=20)  # broken unless three run at once

    def meet(k):
        meeting.wait()
        return 10 * k

    assert list(in_parallel(meet, range(6), workers=3)) == [0, 10, 20, 30, 40, 50]


def test_in_parallel_passes_errors_on():
    with pytest.raises(DataError, match="no fake image"):
        values, label = toy()
        list(in_parallel(partial(fit_head, head.get("logreg"), COLUMNS, values), [label, 0 * label], workers=2))
