"""A model on disk: what the folder holds, that nothing strange gets out of it, and what is never written over."""

from __future__ import annotations

import hashlib
import io
import json
import os
import platform
import shutil
import zipfile
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load, save

from fdetect.classifiers import FittedHead, fit_head, head, model_folder
from fdetect.classifiers.calibration import calibrator, state_of
from fdetect.classifiers.estimator_files import TRUSTED
from fdetect.classifiers.saved import FittedDetector, load_detector, save_detector
from fdetect.classifiers.seen import Seen, known
from fdetect.decide import Calibration
from fdetect.errors import DataError

skops = pytest.importorskip("skops.io")

SMALL = {"random_forest": "random_forest:n_estimators=10", "hist_gb": "hist_gb:max_iter=10"}
NAMES = tuple(SMALL.get(name, name) for name in head.names())
EVERY = pytest.mark.parametrize("name", NAMES)
COLUMNS = tuple("abcdef")


def toy(n: int = 60, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """n reals and n fakes in six columns of very different scales."""
    rng = np.random.default_rng(seed)
    label = np.repeat([0, 1], n)
    values = rng.normal(size=(2 * n, 6)) + label[:, None]
    return (values * 10.0 ** np.arange(-2, 4)).astype(np.float32), label


def fitted_head(name: str) -> FittedHead:
    values, label = toy()
    return fit_head(head.read(name), COLUMNS, values, label, groups=[f"group {k % 20}" for k in range(len(label))])


def detector(name: str, **more: object) -> FittedDetector:
    return FittedDetector(
        head=fitted_head(name), features=("x", "y"), codes={"x": "00", "y": "11"}, condition="matched", crop=128,
        seed=3, calibration=Calibration.of(np.linspace(-1, 1, 30)), trained_on={"": 60, "gan": 60}, n_failed=2,
        version="0", **more,
    )  # fmt: skip


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> dict[str, Path]:
    """One saved model of every head, by its name without settings."""
    base = tmp_path_factory.mktemp("saved")
    for name in NAMES:
        save_detector(detector(name), base / name.partition(":")[0])
    return {name.partition(":")[0]: base / name.partition(":")[0] for name in NAMES}


def resigned(model: Path, target: Path, *, card: dict | None = None, **files: bytes) -> Path:
    """The model again with another card or other files, signed as somebody who knows the format would sign it."""
    held = json.loads((model / "card.json").read_text())
    names = list(held.pop("files"))
    del held["digest"]
    whole = {name: files.get(name.partition(".")[0], (model / name).read_bytes()) for name in names}
    target.mkdir(parents=True, exist_ok=True)
    for name, data in whole.items():
        (target / name).write_bytes(data)
    form = (card or {}).get("format", model_folder.FORMAT)
    text = model_folder.signed({**held, **(card or {})}, whole).decode()
    (target / "card.json").write_text(text.replace(f'"format": {model_folder.FORMAT}', f'"format": {form}'))
    return target


# -- there and back -------------------------------------------------------------------------------------------------


@EVERY
def test_what_is_saved_comes_back(name, models):
    fitted = detector(name)
    loaded = load_detector(models[name.partition(":")[0]])
    assert replace(loaded, head=fitted.head) == fitted
    assert loaded.calibration.five == fitted.calibration.five
    assert (loaded.head.name, loaded.head.columns, loaded.head.prior) == (name, COLUMNS, fitted.head.prior)
    other = toy(seed=1)[0]
    np.testing.assert_array_equal(loaded.head.score(other), fitted.head.score(other))


@pytest.mark.parametrize("method", calibrator.names())
def test_probabilities_come_back_bit_for_bit(method, tmp_path):
    values, label = toy(seed=2)
    scores = fitted_head("logreg").score(values)
    one = detector("logreg", calibrate=method, probabilities=calibrator.get(method)(scores, label))
    save_detector(one, tmp_path / "my.fdetect")
    back = load_detector(tmp_path / "my.fdetect")
    asked = np.append(np.linspace(-9, 9, 101), np.nan)
    np.testing.assert_array_equal(back.probability(asked), one.probability(asked))
    assert (back.probability(asked[:-1]) != one.head.probability(asked[:-1])).any()
    assert back.calibrate == method
    for part, array in state_of(one.probabilities).items():
        np.testing.assert_array_equal(state_of(back.probabilities)[part], array)


@pytest.mark.parametrize("counts", [{"": 7, "gan": 3}, {"": 7, "real": 3}, {"": 0}])
def test_photographs_and_a_generator_called_real_are_told_apart(counts, models, tmp_path):
    save_detector(replace(detector("logreg"), trained_on=counts), tmp_path / "m")
    assert load_detector(tmp_path / "m").trained_on == counts
    earlier = resigned(models["logreg"], tmp_path / "earlier", card={"trained_on": {"": 60, "gan": 60}})
    assert load_detector(earlier).trained_on == {"": 60, "gan": 60}


def test_the_folder_of_a_network_is_pointed_to_where_it_is_scored(tmp_path, monkeypatch):
    for name, config in (("net", {"_class_name": "DetectorNetwork"}), ("head", {"model_type": "linear_head"})):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(json.dumps(config))
        (tmp_path / name / "card.json").write_text("{}")
        with pytest.raises(DataError, match=f"--detector pretrained:weights={tmp_path / name}$"):
            load_detector(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=r"^net: .*--detector pretrained:weights=\./net$"):
        load_detector(Path("net"))
    (tmp_path / "net" / "config.json").write_text("[]")
    with pytest.raises(DataError, match=r"card\.json is no card of one"):
        load_detector(tmp_path / "net")


def test_settings_that_were_searched_come_back(tmp_path):
    one = detector("logreg", settings={"c": 3.0, "max_iter": 500}, record={"search": [{"chosen": True}], "n": 1})
    save_detector(one, tmp_path / "m")
    back = load_detector(tmp_path / "m")
    assert back == replace(one, head=back.head)
    with pytest.raises(DataError, match="its head cannot be made here: head 'logreg' has no setting 'depth'"):
        load_detector(resigned(tmp_path / "m", tmp_path / "bad",
                               card={"head": {"name": "logreg", "prior": 0.0, "settings": {"depth": 3}}}))  # fmt: skip


IDS = [f"{k * 0x9E3779B97F4A7C15 % 2**64:016x}{k:016x}" for k in range(40)]


def test_the_images_seen_come_back_and_older_models_have_none(models, tmp_path):
    assert load_detector(models["logreg"]).seen is None
    assert [one.tolist() for one in known(load_detector(models["logreg"]), IDS[:2])] == [[False] * 2] * 2
    save_detector(detector("logreg", seen=Seen.of(IDS[:20] * 2, IDS[20:25])), tmp_path / "m")
    assert (tmp_path / "m" / "seen.safetensors").stat().st_size < 25 * 8 + 200
    assert json.loads((tmp_path / "m" / "card.json").read_text())["seen"] == {"fit": 20, "calibration": 5}
    fit, calibration = known(load_detector(tmp_path / "m"), IDS[::-1])
    assert [IDS[::-1][k] for k in np.flatnonzero(fit)] == IDS[:20][::-1]
    assert [IDS[::-1][k] for k in np.flatnonzero(calibration)] == IDS[20:25][::-1]
    save_detector(detector("logreg", seen=Seen.of([], [])), tmp_path / "m")
    assert load_detector(tmp_path / "m").seen.counts == {"fit": 0, "calibration": 0}


def test_images_seen_that_are_none_are_refused(tmp_path):
    save_detector(detector("logreg", seen=Seen.of(IDS[:3], IDS[3:5])), tmp_path / "m")
    good = {"fit": np.arange(3, dtype=np.uint64), "calibration": np.arange(2, dtype=np.uint64)}
    for change, said in (
        ({"fit": np.arange(3)}, r"\(fit\) must be ascending uint64"),
        ({"fit": good["fit"][::-1].copy()}, r"\(fit\) must be ascending uint64"),
        ({"calibration": good["calibration"][:, None]}, r"\(calibration\) must be ascending uint64"),
        ({"more": good["fit"]}, "must be the arrays fit and calibration"),
        ({"fit": np.arange(4, dtype=np.uint64)}, "seen of its card are not those of its file"),
    ):
        bad = resigned(tmp_path / "m", tmp_path / "bad", seen=save(good | change))
        with pytest.raises(DataError, match=f"bad: .*{said}"):
            load_detector(bad)


# -- what the folder holds ------------------------------------------------------------------------------------------


def test_the_card_is_for_people(models):
    text = (models["logreg"] / "card.json").read_text()
    card = json.loads(text)
    assert len(text.splitlines()) > 40  # not one long line
    assert card["name"] == "logreg:x+y"
    assert card["head"] == {"name": "logreg", "prior": 0.0, "settings": {}}
    assert card["columns"] == list(COLUMNS)
    assert [(one["name"], one["code"]) for one in card["features"]] == [("x", "00"), ("y", "11")]
    assert (card["condition"], card["crop"], card["seed"], card["n_failed"]) == ("matched", 128, 3, 2)
    assert card["trained_on"] == {"real": 60, "gan": 60}
    assert "licences of its training images" in card["purpose"]
    assert card["versions"]["scikit-learn"] == version("scikit-learn")
    assert card["versions"]["python"] == platform.python_version()
    five, one = card["thresholds"]
    expected = sorted(np.linspace(-1, 1, 30))[int(np.ceil(31 * 0.95)) - 1]
    assert five == {"false_positive_rate": 0.05, "value": expected, "n_reals": 30, "attainable": True}
    assert one == {"false_positive_rate": 0.01, "value": None, "n_reals": 30, "attainable": False}


@EVERY
def test_the_folder_holds_json_and_plain_arrays_and_no_pickle(name, models):
    folder = models[name.partition(":")[0]]
    assert {file.name for file in folder.iterdir()} == {"card.json", "head.skops", "arrays.safetensors"}
    card = json.loads((folder / "card.json").read_text())
    for file, digest in card["files"].items():
        assert hashlib.sha256((folder / file).read_bytes()).hexdigest() == digest
    assert load((folder / "arrays.safetensors").read_bytes())["calibration"].dtype == np.float64
    with zipfile.ZipFile(folder / "head.skops") as archive:
        json.loads(archive.read("schema.json"))
        for member in set(archive.namelist()) - {"schema.json"}:
            array = np.load(io.BytesIO(archive.read(member)), allow_pickle=False)  # raises for a pickled one
            assert not array.dtype.hasobject


@EVERY
def test_the_same_fit_makes_the_same_bytes(name, models, tmp_path):
    save_detector(detector(name), tmp_path / "again")
    for file in sorted(file.name for file in (tmp_path / "again").iterdir()):
        assert (tmp_path / "again" / file).read_bytes() == (models[name.partition(":")[0]] / file).read_bytes(), file


def test_the_trusted_types_are_exactly_those_that_our_files_need(models):
    files = [(folder / "head.skops").read_bytes() for folder in models.values()]
    assert {name for data in files for name in skops.get_untrusted_types(data=data)} == set(TRUSTED)


# -- what is refused ------------------------------------------------------------------------------------------------


def test_a_card_that_was_edited_by_hand_is_refused(models, tmp_path):
    for old, new in (('"crop": 128', '"crop": 256'), ('"gan": 60', '"gan": 61'), ('"b",', '"z",'),
                     ('"n_reals": 30', '"n_reals": 31'), ("Whether", "whether")):  # fmt: skip
        folder = shutil.copytree(models["logreg"], tmp_path / "m", dirs_exist_ok=True)
        text = (folder / "card.json").read_text()
        assert old in text
        (folder / "card.json").write_text(text.replace(old, new))
        with pytest.raises(DataError, match=r"m: card.json was changed since it was written, or is damaged; fit"):
            load_detector(folder)
    (folder / "card.json").write_text(json.dumps(json.loads(text)))  # only laid out otherwise
    assert load_detector(folder).crop == 128


@pytest.mark.parametrize("file", ["head.skops", "arrays.safetensors"])
def test_a_file_that_was_changed_or_taken_from_another_model_is_refused(file, models, tmp_path):
    folder = shutil.copytree(models["logreg"], tmp_path / "m")
    whole = (folder / file).read_bytes()
    other = (models["lda"] / "head.skops").read_bytes()
    for data in (whole[:-1], whole + b"x", bytes([whole[0] ^ 1]) + whole[1:], b"", other):
        (folder / file).write_bytes(data)
        with pytest.raises(DataError, match=f"m: {file} was changed since it was written, or is damaged; fit it again"):
            load_detector(folder)
    (folder / file).unlink()
    with pytest.raises(DataError, match=r"m: cannot be read \(No such file or directory\)"):
        load_detector(folder)


def test_every_byte_of_the_card_counts(models, tmp_path):
    folder = shutil.copytree(models["logreg"], tmp_path / "m")
    whole = (folder / "card.json").read_bytes()
    for at in range(0, len(whole), 13):
        if whole[at : at + 1].isspace():
            continue  # layout alone
        changed = bytearray(whole)
        changed[at] ^= 1
        (folder / "card.json").write_bytes(changed)
        with pytest.raises(DataError) as caught:
            load_detector(folder)
        assert str(caught.value).startswith(str(folder))
        assert "\n" not in str(caught.value)


class Stranger:
    """Somebody's class: loading it must not even be tried."""

    loaded = False

    def __setstate__(self, state):
        type(self).loaded = True


KINDS = ("Stranger", "LogisticRegression", "StandardScaler", "FunctionTransformer", "sklearn.ensemble._iforest",
         "HistGradientBoostingRegressor", "posix.system", "EuclideanDistance64")  # fmt: skip


@pytest.fixture(scope="module")
def strangers() -> dict[str, bytes]:
    """What a file could hold in place of a head, by what the refusal must name."""
    from sklearn.ensemble import HistGradientBoostingRegressor, IsolationForest
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer, StandardScaler

    values, label = StandardScaler().fit_transform(toy()[0]), toy()[1]
    return {name: skops.dumps(one) for name, one in {
        "Stranger": Stranger(),
        "LogisticRegression": LogisticRegression().fit(values, label),
        "StandardScaler": StandardScaler().fit(values),
        "FunctionTransformer": make_pipeline(FunctionTransformer(np.exp), LogisticRegression()).fit(values, label),
        "sklearn.ensemble._iforest": IsolationForest(n_estimators=2).fit(values),
        "HistGradientBoostingRegressor": HistGradientBoostingRegressor(max_iter=2).fit(values, label),
        "posix.system": make_pipeline(FunctionTransformer(os.system), LogisticRegression()),
        "EuclideanDistance64": KNeighborsClassifier(algorithm="kd_tree").fit(values, label),
    }.items()}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_another_type_is_refused_and_named(kind, models, strangers, tmp_path):
    for name, folder in models.items():
        bad = resigned(folder, tmp_path / name, head=strangers[kind])
        with pytest.raises(DataError, match=r"holds the type .*not loaded") as caught:
            load_detector(bad)
        assert str(bad) in str(caught.value)
        assert kind in str(caught.value) or "type sklearn." in str(caught.value)
    assert not Stranger.loaded


def test_a_stranger_deep_inside_of_a_head_of_heads_is_refused(models, tmp_path):
    from sklearn.preprocessing import FunctionTransformer

    estimator = skops.loads((models["stacking"] / "head.skops").read_bytes(), trusted=list(TRUSTED))
    estimator.estimators_[0].steps[0] = ("standardscaler", FunctionTransformer(np.exp))
    bad = resigned(models["stacking"], tmp_path / "bad", head=skops.dumps(estimator))
    with pytest.raises(DataError, match=r"holds the type sklearn\.preprocessing\._function_transformer\.FunctionTr"):
        load_detector(bad)


def forged(models: dict[str, Path], name: str, target: Path, change) -> Path:
    """A model whose estimator was changed in place before it was written anew."""
    estimator = skops.loads((models[name] / "head.skops").read_bytes(), trusted=list(TRUSTED))
    change(estimator)
    return resigned(models[name], target, head=skops.dumps(estimator))


@pytest.mark.parametrize(
    ("field", "value"),
    [("left", 10_000), ("right", 10_000), ("left", 0), ("feature_idx", 6), ("feature_idx", -1), ("is_categorical", 1)],
)
def test_a_boosted_tree_whose_branches_lead_nowhere_is_refused(field, value, models, tmp_path):
    """scikit-learn follows the indices of a tree without looking: out of its arrays, or round in a circle."""

    def change(estimator):
        nodes = estimator._predictors[1][0].nodes
        nodes[field][np.flatnonzero(nodes["is_leaf"] == 0)[-1]] = value

    with pytest.raises(DataError, match="a branch of a tree leads nowhere"):
        load_detector(forged(models, "hist_gb", tmp_path / "bad", change))


@pytest.mark.parametrize(("part", "value"), [("children_left", 10_000), ("children_right", 0), ("children_left", 0),
                                             ("feature", 6), ("feature", -1), ("children_right", -1)])  # fmt: skip
def test_a_decision_tree_whose_branches_lead_nowhere_is_refused(part, value, models, tmp_path):
    def change(estimator):
        tree = estimator.estimators_[3].tree_
        getattr(tree, part)[np.flatnonzero(tree.children_left != -1)[-1]] = value

    with pytest.raises(DataError, match="a branch of a tree leads nowhere"):
        load_detector(forged(models, "random_forest", tmp_path / "bad", change))


def test_what_is_inside_of_a_head_of_heads_is_looked_through(models, tmp_path):
    def nowhere(estimator):
        nodes = estimator.estimators_[1]._predictors[0][0].nodes
        nodes["left"][np.flatnonzero(nodes["is_leaf"] == 0)[0]] = 10_000

    def apart(estimator):
        estimator.estimators_[2][-1].support_vectors_ = estimator.estimators_[2][-1].support_vectors_[1:]

    for change, text in ((nowhere, "a branch of a tree leads nowhere"), (apart, "do not belong together")):
        with pytest.raises(DataError, match=text):
            load_detector(forged(models, "stacking", tmp_path / "bad", change))


def test_trees_on_categories_or_other_columns_are_refused(models, tmp_path):
    from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier

    values, label = toy()
    whole = np.abs(values).astype(np.int64) % 5
    fewer = HistGradientBoostingClassifier(max_iter=2).fit(values[:, :5], label)
    categories = HistGradientBoostingClassifier(max_iter=2, categorical_features=[0, 1]).fit(whole, label)
    forest = RandomForestClassifier(2).fit(values[:, :5], label)
    claimed = RandomForestClassifier(2).fit(values[:, :5], label)
    claimed.n_features_in_ = 6
    for name, estimator in (("hist_gb", fewer), ("hist_gb", categories), ("random_forest", forest),
                            ("random_forest", claimed)):  # fmt: skip
        bad = resigned(models[name], tmp_path / "bad", head=skops.dumps(estimator))
        with pytest.raises(DataError, match="fitted on other columns|holds the type"):
            load_detector(bad)


@pytest.mark.parametrize("name", ["svm_rbf", "one_class_svm"])
@pytest.mark.parametrize("part", ["support_", "support_vectors_", "_dual_coef_", "dual_coef_", "_intercept_", "kernel",
                                  "nan", "_n_support"])  # fmt: skip
def test_support_vectors_that_do_not_belong_together_are_refused(part, name, models, tmp_path):
    def change(estimator):
        machine = estimator[-1]
        if part == "kernel":
            machine.kernel = "precomputed"
        elif part == "nan":
            machine.support_vectors_[0, 0] = np.nan
        elif part == "_n_support":
            machine._n_support = machine._n_support + (1 if name == "svm_rbf" else 0)
            machine.support_ = machine.support_ if name == "svm_rbf" else machine.support_[1:]
        else:
            array = getattr(machine, part)
            setattr(machine, part, array[..., 1:] if array.ndim == 2 else array[1:])

    with pytest.raises(DataError, match="its support vectors do not belong together"):
        load_detector(forged(models, name, tmp_path / "bad", change))


@pytest.mark.parametrize("name", ["svm_rbf", "one_class_svm"])
@pytest.mark.parametrize("kind", ["below 0", "three", "four", "one", "long", "too many", "support", "flat"])
def test_counts_that_lead_libsvm_out_of_its_arrays_are_refused(kind, name, models, tmp_path):
    """It takes the number of classes from their length, and places of vectors from their sums, unchecked."""

    def change(estimator):
        machine = estimator[-1]
        n, fine = len(machine.support_), machine._n_support
        if kind == "support":
            machine.support_ = machine.support_.astype(np.int64)
            return
        machine._n_support = {
            "below 0": np.array([-1_000_000, n + 1_000_000], np.int32), "three": np.array([n, 0, 0], np.int32),
            "four": np.array([n, 0, 0, 0], np.int32), "one": np.array([n], np.int32), "long": fine.astype(np.int64),
            "too many": np.array([n + 1, -1], np.int32), "flat": fine[None],
        }[kind]  # fmt: skip

    with pytest.raises(DataError, match="its support vectors do not belong together"):
        load_detector(forged(models, name, tmp_path / "bad", change))


@pytest.mark.parametrize(("name", "attribute", "value"), [("svm_rbf", "_impl", "nu_svr"), ("knn", "predict_proba", 1),
                                                          ("one_class_svm", "_impl", "c_svc")])  # fmt: skip
def test_an_estimator_that_replaces_what_its_type_decides_is_refused(name, attribute, value, models, tmp_path):
    bad = forged(models, name, tmp_path / "bad", lambda estimator: setattr(estimator[-1], attribute, value))
    with pytest.raises(DataError, match=f"it holds its own {attribute}, which is its type's"):
        load_detector(bad)


@pytest.mark.parametrize("part", ["_y", "labels", "_fit_X", "n_neighbors", "_fit_method"])
def test_neighbours_that_do_not_belong_together_are_refused(part, models, tmp_path):
    def change(estimator):
        near = estimator[-1]
        if part == "labels":
            near._y[0] = 2
        elif part in ("_y", "_fit_X"):
            setattr(near, part, getattr(near, part)[1:])
        else:
            setattr(near, part, 10_000 if part == "n_neighbors" else "kd_tree")

    with pytest.raises(DataError, match="its neighbours do not belong together"):
        load_detector(forged(models, "knn", tmp_path / "bad", change))


def test_coefficients_of_another_shape_are_refused(models, tmp_path):
    def change(estimator):
        estimator[-1].coef_ = estimator[-1].coef_[:, :4]

    with pytest.raises(DataError, match="not a fitted detector"):
        load_detector(forged(models, "logreg", tmp_path / "bad", change))


def arrays(**named: np.ndarray) -> bytes:
    return save(named)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"card": {"format": 99}}, "was written by another version of fdetect; fit it again"),
        ({"card": {"format": 2}}, "was written by another version of fdetect; fit it again"),
        ({"card": {"head": {"name": "logref", "prior": 0.0, "settings": {}}}}, "did you mean 'logreg'"),
        ({"card": {"head": {"name": "lda", "prior": 0.0, "settings": {}}}}, "of which no head lda is made; not loaded"),
        ({"card": {"condition": "jpg"}}, "not a fitted detector .ParameterError: no condition 'jpg'"),
        ({"card": {"crop": "128"}}, "not a fitted detector .crop is '128'"),
        ({"card": {"crop": 0}}, "not a fitted detector .crop is 0, no side in px"),
        ({"card": {"columns": [*COLUMNS[:5], 6]}}, "not a fitted detector .a column is 6, no name"),
        ({"card": {"trained_on": {"real": 60, "gan": -1}}}, "not a fitted detector .trained_on has -1 of 'gan'"),
        ({"card": {"trained_on": {"real": 60, "gan": 0.5}}}, "not a fitted detector .trained_on has 0.5 of 'gan'"),
        ({"card": {"trained_on": {"real": True}}}, "not a fitted detector .trained_on has True of 'real'"),
        ({"card": {"seed": True}}, "not a fitted detector .seed is True"),
        ({"card": {"columns": ["a", "b"]}}, "it was fitted on other columns"),
        ({"card": {"thresholds": []}}, "the thresholds of its card are not those of its calibration scores"),
        ({"card": {"probabilities": {"method": "plat"}}}, "did you mean 'platt'"),
        ({"card": {"probabilities": {"method": "platt", "slope": -1.0, "offset": 0.0, "prior": 0.0}}}, "not a calibra"),
        ({"card": {"kind": "other", "head": None}}, "not a fitted detector"),
        ({"arrays": arrays(calibration=np.array([2.0, 1.0]))}, "its calibration must be finite float64 scores in asc"),
        ({"arrays": arrays(calibration=np.array([np.nan]))}, "its calibration must be finite float64"),
        ({"arrays": arrays(calibration=np.zeros(30, np.float32))}, "its calibration must be finite float64"),
        ({"arrays": arrays(other=np.zeros(3))}, "not a fitted detector .KeyError"),
        ({"arrays": b"text"}, "not a fitted detector"),
    ],
    ids=lambda value: "" if isinstance(value, dict) else value[:30],
)
def test_a_model_that_is_signed_and_wrong_is_refused(change, text, models, tmp_path):
    bad = resigned(models["logreg"], tmp_path / "bad", **change)
    with pytest.raises(DataError, match=text) as caught:
        load_detector(bad)
    assert str(bad) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_signing_alone_changes_nothing(models, tmp_path):
    again = resigned(models["logreg"], tmp_path / "again")
    assert (again / "card.json").read_bytes() == (models["logreg"] / "card.json").read_bytes()
    assert load_detector(again).head.columns == COLUMNS


@pytest.mark.parametrize("kind", ["skops", "safetensors", "text", "empty", "no card", "list", "files", "gone"])
def test_what_is_no_model_is_one_sentence(kind, models, tmp_path):
    path, old = tmp_path / "my.fdetect", "was written by another version of fdetect; fit it again .a model is a folder"
    said = {"skops": old, "safetensors": old, "gone": r"cannot be read \(No such file or directory\)"}
    if kind in ("skops", "safetensors", "text", "empty"):
        path.write_bytes({"skops": (models["logreg"] / "head.skops").read_bytes(), "text": b"hello\nworld\n",
                          "safetensors": save({"a": np.zeros(2)}), "empty": b""}[kind])  # fmt: skip
    elif kind != "gone":
        path.mkdir()
        card = {"list": [1], "files": {"format": 3, "files": {"../../secret": "00"}}}.get(kind)
        if card:
            (path / "card.json").write_text(json.dumps(card))
    with pytest.raises(DataError, match=said.get(kind, "not a fitted detector")) as caught:
        load_detector(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


# -- writing --------------------------------------------------------------------------------------------------------


def test_a_model_is_replaced_and_nothing_else_is(models, tmp_path):
    target = tmp_path / "new" / "my.fdetect"
    save_detector(detector("logreg"), target)
    save_detector(detector("lda"), target)
    assert load_detector(target).head.name == "lda"
    (tmp_path / "hollow").mkdir()
    save_detector(detector("logreg"), tmp_path / "hollow")
    assert load_detector(tmp_path / "hollow").head.name == "logreg"
    (target / "notes.txt").write_text("mine")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "photo.jpg").write_bytes(b"x")
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "head.skops").write_bytes(b"x")
    (tmp_path / "old.fdetect").write_bytes(b"PK")
    (tmp_path / "link").symlink_to(tmp_path / "hollow")
    for path, text in (
        (target, "holds notes.txt, which is no part of a model"),
        (tmp_path / "full", "holds photo.jpg, which is no part of a model"),
        (tmp_path / "half", r"is not empty and holds no card\.json"),
        (tmp_path / "old.fdetect", "a model is a folder now"),
        (tmp_path / "link", "a model is a folder now"),
    ):
        before = sorted(str(file) for file in path.rglob("*")) if path.is_dir() else path.read_bytes()
        with pytest.raises(DataError, match=text):
            save_detector(detector("lda"), path)
        assert (sorted(str(file) for file in path.rglob("*")) if path.is_dir() else path.read_bytes()) == before
    assert {one.name for one in tmp_path.iterdir()} == {"new", "hollow", "full", "half", "old.fdetect", "link"}


def test_a_write_that_fails_leaves_the_model_that_was_there(models, tmp_path, monkeypatch):
    target = shutil.copytree(models["logreg"], tmp_path / "m")
    before = {file.name: file.read_bytes() for file in target.iterdir()}
    real, calls = os.replace, []

    def fail(source, goal):
        calls.append(goal)
        if Path(goal) == target and len(calls) == 2:
            raise OSError(28, "No space left on device")
        real(source, goal)

    monkeypatch.setattr(model_folder.os, "replace", fail)
    with pytest.raises(DataError, match=r"m: cannot be written \(No space left on device\)"):
        save_detector(detector("lda"), target)
    assert {file.name: file.read_bytes() for file in target.iterdir()} == before
    assert [one.name for one in tmp_path.iterdir()] == ["m"]
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"file: cannot be written \(a file is where a folder should be\)"):
        save_detector(detector("lda"), tmp_path / "file" / "m")


def test_a_model_that_cannot_be_put_back_is_kept_and_its_place_said(models, tmp_path, monkeypatch):
    target = shutil.copytree(models["logreg"], tmp_path / "m")
    before = {file.name: file.read_bytes() for file in target.iterdir()}
    real = os.replace

    def fail(source, goal):
        if Path(goal) == target:
            raise OSError(5, "Input/output error")
        real(source, goal)

    monkeypatch.setattr(model_folder.os, "replace", fail)
    with pytest.raises(DataError, match=r"m: cannot be written \(Input/output error\), nor could .* back") as caught:
        save_detector(detector("lda"), target)
    (kept,) = tmp_path.iterdir()  # neither the new model nor its place
    assert f"it lies in {kept}; rename that to m" in str(caught.value)
    assert {file.name: file.read_bytes() for file in kept.iterdir()} == before
    assert load_detector(kept).head.name == "logreg"


def test_a_new_model_that_cannot_be_put_in_its_place_leaves_nothing(tmp_path, monkeypatch):
    def fail(source, goal):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(model_folder.os, "replace", fail)
    with pytest.raises(DataError, match=r"m: cannot be written \(Input/output error\); choose another place"):
        save_detector(detector("lda"), tmp_path / "m")
    assert not list(tmp_path.iterdir())


def test_a_card_that_was_cut_short_is_named_with_the_fix(tmp_path: Path) -> None:
    save_detector(detector("logreg"), tmp_path / "m")
    card = tmp_path / "m" / "card.json"
    for content in (card.read_bytes()[:300], b"\xff\xfe\x00"):
        card.write_bytes(content)
        with pytest.raises(DataError, match=r"m: card.json is damaged; fit it again"):
            load_detector(tmp_path / "m")
