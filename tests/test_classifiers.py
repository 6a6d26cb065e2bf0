"""Heads: the contract of the registry, fitting, folds and threads; and the file that a fitted head is kept in."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import threading
import zipfile
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from fdetect.classifiers import FittedHead, fit_head, head, in_parallel, out_of_fold
from fdetect.classifiers.saved import TRUSTED, FittedDetector, load_detector, save_detector
from fdetect.decide import Calibration
from fdetect.errors import DataError, NotFitted

skops = pytest.importorskip("skops.io")

EVERY = pytest.mark.parametrize("name", head.names())
COLUMNS = tuple("abcdef")


def toy(n: int = 60, *, apart: float = 1.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """n reals and n fakes in six columns of very different scales; every column of the fakes lies higher."""
    rng = np.random.default_rng(seed)
    label = np.repeat([0, 1], n)
    values = rng.normal(size=(2 * n, 6)) + apart * label[:, None]
    return (values * 10.0 ** np.arange(-2, 4)).astype(np.float32), label


def detector(name: str, values: np.ndarray, label: np.ndarray) -> FittedDetector:
    return FittedDetector(
        head=fit_head(head.get(name), COLUMNS, values, label), features=("x", "y"), codes={"x": "00", "y": "11"},
        condition="matched", crop=128, seed=3, calibration=Calibration.of(np.linspace(-1, 1, 30)),
        trained_on={"": 60, "gan": 60}, n_failed=2, version="0",
    )  # fmt: skip


# -- the contract of the registry -----------------------------------------------------------------------------------


@EVERY
def test_fitting_twice_gives_the_same_scores_in_float32_steps(name):
    values, label = toy()
    first, second = (fit_head(head.get(name), COLUMNS, values, label).score(values) for _ in range(2))
    assert first.dtype == np.float64
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(first, first.astype(np.float32))


@EVERY
def test_a_score_depends_on_its_own_row_alone_and_the_input_is_left_as_it_was(name):
    values, label = toy()
    before = values.copy()
    fitted = fit_head(head.get(name), COLUMNS, values, label)
    together = fitted.score(values)
    np.testing.assert_array_equal(fitted.score(values[::-1])[::-1], together)
    np.testing.assert_array_equal(np.concatenate([fitted.score(row[None]) for row in values[:7]]), together[:7])
    np.testing.assert_array_equal(values, before)
    assert fitted.score(values[:0]).shape == (0,)


@EVERY
def test_a_row_that_is_not_finite_has_no_score_and_disturbs_nobody(name):
    values, label = toy()
    fitted = fit_head(head.get(name), COLUMNS, values, label)
    holed = values.copy()
    holed[3, 2], holed[70] = np.nan, np.inf
    scores = fitted.score(holed)
    assert np.flatnonzero(np.isnan(scores)).tolist() == [3, 70]
    rest = np.isfinite(scores)
    np.testing.assert_array_equal(scores[rest], fitted.score(values)[rest])
    assert np.isnan(fitted.probability(scores)).tolist() == np.isnan(scores).tolist()


@EVERY
def test_rows_that_are_not_finite_are_left_out_of_the_fit(name):
    values, label = toy()
    holed = np.concatenate([values, np.full((5, 6), np.nan, np.float32)])
    with_holes = fit_head(head.get(name), COLUMNS, holed, np.concatenate([label, np.ones(5, int)]))
    without = fit_head(head.get(name), COLUMNS, values, label)
    assert with_holes.prior == without.prior == 0.0
    np.testing.assert_array_equal(with_holes.score(values), without.score(values))


@EVERY
def test_larger_means_fake_and_zero_lies_between_the_classes(name):
    values, label = toy(apart=2.0)
    scores = fit_head(head.get(name), COLUMNS, values, label).score(toy(apart=2.0, seed=1)[0])
    assert (scores[label == 1] > 0).mean() > 0.9
    assert (scores[label == 0] < 0).mean() > 0.9


@EVERY
def test_twice_as_many_fakes_hardly_move_the_boundary(name):
    """Without the prior taken off, every score would rise by about log 2 = 0.69."""
    values, label = toy(800, apart=0.7)
    half = slice(0, 1200)  # all reals, and the first half of the fakes
    twice, once = (fit_head(head.get(name), COLUMNS, values[k], label[k]) for k in (slice(None), half))
    assert twice.prior - once.prior == pytest.approx(np.log(2))
    other = toy(400, apart=0.7, seed=1)[0]
    shift = np.median(twice.score(other) - once.score(other))
    assert abs(shift) < 0.35


@EVERY
def test_probability_is_the_logistic_of_the_score(name):
    values, label = toy()
    fitted = fit_head(head.get(name), COLUMNS, values, label)
    scores = np.array([-1000.0, -1.0, 0.0, 1.0, 1000.0, np.nan])
    expected = [0.0, 1 / (1 + np.e), 0.5, np.e / (1 + np.e), 1.0, np.nan]
    np.testing.assert_allclose(fitted.probability(scores), expected, atol=1e-12)


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
    with pytest.raises(DataError, match=f"{name} cannot be fitted: no {missing} image"):
        fit_head(head.get(name), COLUMNS, values[label == kept], label[label == kept])


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
        FittedHead(name, COLUMNS, head.get(name)(), 0.0).score(toy()[0])


# -- folds and threads ----------------------------------------------------------------------------------------------


@EVERY
def test_out_of_fold_keeps_groups_whole_and_scores_each_by_the_other_folds(name):
    values, label = toy()
    groups = [f"group {k % 20}" for k in range(120)]  # each group holds reals and fakes
    scores, fold = out_of_fold(head.get(name), values, label, groups, folds=4, seed=1)
    assert len(set(zip(groups, fold.tolist(), strict=True))) == 20
    assert set(fold) == {0, 1, 2, 3}
    for k in range(4):
        others = fit_head(head.get(name), COLUMNS, values[fold != k], label[fold != k])
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
    jobs = [(name, seed) for seed in range(4) for name in head.names()]

    def one(job):
        values, label = toy(100, seed=job[1])
        return fit_head(head.get(job[0]), COLUMNS, values, label).score(values)

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


# -- a fitted head in one file --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, Path]:
    """One saved detector of every head."""
    folder = tmp_path_factory.mktemp("saved")
    for name in head.names():
        save_detector(detector(name, *toy()), folder / f"{name}.fdetect")
    return {name: folder / f"{name}.fdetect" for name in head.names()}


@EVERY
def test_what_is_saved_comes_back(name, files):
    fitted = detector(name, *toy())
    loaded = load_detector(files[name])
    assert replace(loaded, head=fitted.head) == fitted
    assert loaded.calibration.five == fitted.calibration.five
    assert (loaded.head.name, loaded.head.columns, loaded.head.prior) == (name, COLUMNS, fitted.head.prior)
    other = toy(seed=1)[0]
    np.testing.assert_array_equal(loaded.head.score(other), fitted.head.score(other))


@EVERY
def test_the_file_holds_json_and_plain_arrays_and_no_pickle(name, files):
    with zipfile.ZipFile(files[name]) as archive:
        names = archive.namelist()
        assert "schema.json" in names
        json.loads(archive.read("schema.json"))
        for member in names:
            if member != "schema.json":
                array = np.load(io.BytesIO(archive.read(member)), allow_pickle=False)  # raises for a pickled one
                assert not array.dtype.hasobject


def test_the_trusted_types_are_exactly_those_that_our_files_need(files):
    needed = {name for file in files.values() for name in skops.get_untrusted_types(data=file.read_bytes())}
    assert needed == set(TRUSTED)


class Stranger:
    """Somebody's class: loading it must not even be tried."""

    loaded = False

    def __setstate__(self, state):
        type(self).loaded = True


def forged(file: Path, target: Path, estimator: object) -> Path:
    """The file again with another estimator."""
    content = skops.load(file, trusted=list(TRUSTED))
    target.write_bytes(skops.dumps({**content, "estimator": estimator}))
    return target


KINDS = ("Stranger", "LogisticRegression", "StandardScaler", "FunctionTransformer", "sklearn.tree._tree.Tree",
         "HistGradientBoostingRegressor", "posix.system")  # fmt: skip


@pytest.fixture(scope="module")
def strangers() -> dict[str, object]:
    """What a file could hold in place of a head, by what the refusal must name."""
    from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer, StandardScaler

    values, label = StandardScaler().fit_transform(toy()[0]), toy()[1]
    other_step = make_pipeline(FunctionTransformer(np.exp), LogisticRegression())
    trees = RandomForestClassifier(n_estimators=2, max_depth=2)
    return {
        "Stranger": Stranger(),
        "LogisticRegression": LogisticRegression().fit(values, label),
        "StandardScaler": StandardScaler().fit(values),
        "FunctionTransformer": other_step.fit(values, label),
        "sklearn.tree._tree.Tree": trees.fit(values, label),
        "HistGradientBoostingRegressor": HistGradientBoostingRegressor(max_iter=2).fit(values, label),
        "posix.system": make_pipeline(FunctionTransformer(os.system), LogisticRegression()),
    }


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_with_another_type_is_refused_and_the_type_is_named(kind, files, strangers, tmp_path):
    for name, file in files.items():
        bad = forged(file, tmp_path / f"{name}.bad", strangers[kind])
        with pytest.raises(DataError) as caught:
            load_detector(bad)
        assert str(bad) in str(caught.value)
        assert kind in str(caught.value) or (
            "type sklearn.pipeline.Pipeline," in str(caught.value) and name == "hist_gb"
        )
    assert not Stranger.loaded


def trees_of(file: Path) -> tuple[object, np.ndarray]:
    estimator = skops.load(file, trusted=list(TRUSTED))["estimator"]
    return estimator, estimator._predictors[1][0].nodes


@pytest.mark.parametrize(
    ("field", "value"),
    [("left", 10_000), ("right", 10_000), ("left", 0), ("feature_idx", 6), ("feature_idx", -1), ("is_categorical", 1)],
)
def test_a_tree_whose_branches_lead_nowhere_is_refused(field, value, files, tmp_path):
    """scikit-learn follows the indices of a tree without looking: out of its arrays, or round in a circle."""
    estimator, nodes = trees_of(files["hist_gb"])
    inner = np.flatnonzero(nodes["is_leaf"] == 0)[-1]
    nodes[field][inner] = value
    bad = forged(files["hist_gb"], tmp_path / "bad", estimator)
    with pytest.raises(DataError, match="a branch of a tree leads nowhere"):
        load_detector(bad)


def test_trees_on_categories_or_fewer_columns_are_refused(files, tmp_path):
    from sklearn.ensemble import HistGradientBoostingClassifier

    values, label = toy()
    whole = np.abs(values).astype(np.int64) % 5
    fewer = HistGradientBoostingClassifier(max_iter=2).fit(values[:, :5], label)
    categories = HistGradientBoostingClassifier(max_iter=2, categorical_features=[0, 1]).fit(whole, label)
    marked = trees_of(files["hist_gb"])[0]
    marked._bin_mapper.is_categorical_[2] = 1
    for estimator in (fewer, categories, marked):
        with pytest.raises(DataError, match="fitted on other columns|holds the type"):
            load_detector(forged(files["hist_gb"], tmp_path / "bad", estimator))


def test_coefficients_of_another_shape_are_refused(files, tmp_path):
    estimator = skops.load(files["logreg"], trusted=list(TRUSTED))["estimator"]
    estimator[-1].coef_ = estimator[-1].coef_[:, :4]
    with pytest.raises(DataError, match="not a fitted detector"):
        load_detector(forged(files["logreg"], tmp_path / "bad", estimator))


@pytest.mark.parametrize("kind", ["empty", "text", "truncated", "zip", "array", "flipped"])
def test_a_file_that_is_no_detector_is_one_sentence(kind, files, tmp_path):
    whole = files["logreg"].read_bytes()
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as other:
        other.writestr("hello.txt", "hello")
    array = io.BytesIO()
    np.save(array, np.arange(3))
    damaged = bytearray(whole)
    damaged[2000:2400] = bytes(400)
    data = {
        "empty": b"", "text": b"hello\nworld\n", "truncated": whole[: len(whole) // 2], "zip": archive.getvalue(),
        "array": array.getvalue(), "flipped": bytes(damaged),
    }[kind]  # fmt: skip
    file = tmp_path / "my.fdetect"
    file.write_bytes(data)
    with pytest.raises(DataError, match="not a fitted detector") as caught:
        load_detector(file)
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_of_another_format_or_head_says_what_to_do(files, tmp_path):
    content = skops.load(files["logreg"], trusted=list(TRUSTED))
    for change, text in (
        ({"format": 99}, "was written by another version of fdetect; fit it again"),
        ({"format": 1}, "was written by another version of fdetect; fit it again"),
        ({"head": "logref"}, "did you mean 'logreg'"),
        ({"calibration": [2.0, 1.0]}, "its calibration must be finite float64 scores in ascending order"),
        ({"calibration": [float("nan")]}, "its calibration must be finite float64 scores in ascending order"),
        ({"calibration": "many"}, "not a fitted detector"),
    ):
        card = {**json.loads(content["card"]), **change}
        (tmp_path / "other").write_bytes(skops.dumps({**content, "card": json.dumps(card)}))
        with pytest.raises(DataError, match=text):
            load_detector(tmp_path / "other")


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    for path in (tmp_path / "gone", tmp_path):
        with pytest.raises(DataError, match="cannot be read"):
            load_detector(path)
