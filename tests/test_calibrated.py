"""Training-free detectors with thresholds from real images: calibration, banks, the model, and the commands."""

from __future__ import annotations

import csv
import json
import math
import shutil
import sys
from dataclasses import replace
from importlib.metadata import version as library_version
from pathlib import Path

import naive_bank
import naive_metrics
import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from safetensors.numpy import load, save

from fdetect.bench import steps
from fdetect.bench.layouts import read_manifest
from fdetect.bench.training.calibrating import fit_detector
from fdetect.classifiers import model_folder
from fdetect.classifiers.calibrated import CalibratedDetector, KeptBank, Pictures, calibrate, identity
from fdetect.classifiers.saved import load_detector, save_detector
from fdetect.cli import main
from fdetect.decide import Calibration, conformal_threshold
from fdetect.engine.work import content_id
from fdetect.errors import DataError, ParameterError, UnknownName, WeightsError
from fdetect.rigid import detector, prepare
from fdetect.rigid.bank import Knn
from fdetect.rigid.references import bank_sha256

# -- calibration on numbers ------------------------------------------------------------------------------------------


def pictures(n: int, *, n_fakes: int = 0, sources: int = 1, per_group: int = 1, seed: int = 0) -> Pictures:
    """n reals and then fakes, contents in no order, `per_group` reals of one source to a group."""
    ids = np.array([f"{k:032x}" for k in np.random.default_rng(seed).permutation(n + n_fakes)])
    source = np.array([f"s{k * sources // n}" for k in range(n)] + [""] * n_fakes, object)
    group = np.array([f"g{k // per_group}" for k in range(n)] + [f"f{k}" for k in range(n_fakes)], object)
    return Pictures(ids, np.repeat([0, 1], [n, n_fakes]), group, source)


def embeddings(n: int, *, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(1.0, 1.0, (n, 6)).astype(np.float32)


def part(of: Pictures, rows: np.ndarray) -> Pictures:
    return Pictures(of.ids[rows], of.label[rows], of.group[rows], of.source[rows])


def test_without_a_bank_every_real_calibrates_once():
    known, scores = pictures(30, n_fakes=9), np.random.default_rng(1).normal(size=39)
    scores[4] = np.nan
    made = calibrate(detector.get("rigid")(), known, scores)
    assert made.bank is None
    assert made.calibration == Calibration.of(scores[:30])
    assert len(made.calibration.scores) == 29
    assert made.achieved == ()  # a single source
    twice = np.r_[np.arange(39), 0, 0, 7]
    assert calibrate(detector.get("rigid")(), part(known, twice), scores[twice]).calibration == made.calibration


def test_each_source_is_judged_by_the_others():
    known, scores = pictures(120, sources=3), np.random.default_rng(2).normal(size=120)
    scores[known.source == "s2"] += 2
    five, one = calibrate(detector.get("rigid")(), known, scores).achieved
    assert [row.source for row in five] == [row.source for row in one] == ["s0", "s1", "s2"]
    for row in five:
        here, others = scores[known.source == row.source], scores[known.source != row.source]
        threshold = naive_metrics.conformal_threshold(others.tolist(), 5)
        assert (row.threshold.value, row.n_reals) == (threshold, 40)
        assert row.n_called == sum(score > threshold for score in here)
    assert five[2].n_called > 10
    assert [row.text for row in one] == ["not attainable (80)"] * 3


@pytest.mark.parametrize("name", ["knn", "mahalanobis", "subspace", "univfd_nn"])
def test_bank_and_calibration_share_no_image_and_no_group(name):
    known, values = pictures(80, n_fakes=20, per_group=4), embeddings(100)
    known.group[80:84] = "g3"  # fakes made from reals of one group
    one = detector.get(name)()
    made = calibrate(one, known, {"clean": values}, share=0.4)
    bank = made.bank
    in_bank = np.isin(known.ids, bank.ids)
    assert len(made.calibration.scores) == 32
    assert (bank.n_reals, int(in_bank[:80].sum())) == (48, 48)
    calibration = np.flatnonzero(~in_bank[:80])
    assert not set(known.group[calibration]) & set(known.group[in_bank])
    scores = one.score(bank=bank.arrays, clean=values[calibration])
    np.testing.assert_array_equal(np.sort(scores), made.calibration.scores)
    held = "g3" in set(known.group[calibration])
    assert bank.n_fakes == ((16 if held else 20) if name == "univfd_nn" else 0)
    assert bank.sha256 == bank_sha256(bank.arrays)
    assert bank.ids == tuple(sorted(bank.ids))


@pytest.mark.parametrize("seed", range(6))
def test_fakes_of_a_calibration_group_stay_out_of_the_bank(seed):
    known, values = pictures(40, n_fakes=10), embeddings(50)
    known.group[40:] = [f"g{k}" for k in range(10)]
    bank = calibrate(detector.get("univfd_nn")(), known, {"clean": values}, share=0.5, seed=seed).bank
    for k in range(10):
        real, fake = known.ids[k] in bank.known, known.ids[40 + k] in bank.known
        assert real == fake


def test_the_order_of_the_files_changes_nothing():
    known, values = pictures(60, n_fakes=12, sources=2), embeddings(72)
    order = np.random.default_rng(5).permutation(72)
    for name in ("knn", "univfd_nn", "mahalanobis"):
        one = detector.get(name)()
        first, second = (
            calibrate(one, part(known, rows), {"clean": values[rows]}, share=0.4) for rows in (np.arange(72), order)
        )
        assert first == second


def test_copies_never_stand_on_both_sides():
    known, values = pictures(40), embeddings(40)
    rows = np.r_[np.arange(40), np.arange(40)]
    twice = part(known, rows)
    twice.group[40:] = [f"h{k}" for k in range(40)]  # under other names, in groups of their own
    made = calibrate(Knn(), twice, {"clean": values[rows]}, share=0.5)
    assert made == calibrate(Knn(), known, {"clean": values}, share=0.5)
    assert min(made.calibration.scores) > 0.01  # nobody found itself
    assert len(made.calibration.scores) + made.bank.n_reals == 40


def test_images_without_an_embedding_are_counted_and_left_out():
    known, values = pictures(40, n_fakes=5), embeddings(45)
    values[[0, 7, 41]] = np.nan
    assert calibrate(Knn(), known, {"clean": values}).bank.n_dropped == 2  # knn asks for no fake
    both = calibrate(detector.get("univfd_nn")(), known, {"clean": values})
    assert (both.bank.n_dropped, both.bank.n_fakes) == (3, 4)
    assert len(both.calibration.scores) + both.bank.n_reals == 38


def test_the_bank_leaves_out_the_source_that_is_judged():
    known, values = pictures(150, sources=3), embeddings(150)
    values[known.source == "s1"] *= np.float32(-1)  # on the other side of the origin
    made = calibrate(Knn(), known, {"clean": values}, share=0.4)
    in_bank = np.isin(known.ids, made.bank.ids)
    for row in made.achieved[0]:
        other = known.source != row.source
        reals = values[other & in_bank]
        calibration = [naive_bank.knn(x, reals, 2) for x in values[other & ~in_bank]]
        threshold = naive_metrics.conformal_threshold(calibration, 5)
        assert row.threshold.value == pytest.approx(threshold, abs=1e-9)
        assert row.n_reals == 50
        assert row.n_called == sum(naive_bank.knn(x, reals, 2) > threshold + 1e-9 for x in values[~other])
    assert made.achieved[0][1].n_called > made.achieved[0][0].n_called


def test_a_source_that_leaves_too_few_is_not_attainable():
    known, values = pictures(30, sources=2), embeddings(30)
    made = calibrate(Knn(k=12), known, {"clean": values}, share=0.4)
    assert [row.text for row in made.achieved[0]] == ["not attainable (0)"] * 2
    assert [row.n_reals for row in made.achieved[0]] == [15, 15]
    with pytest.raises(DataError, match="knn: the bank needs at least 40 usable real images and has 18; give more"):
        calibrate(Knn(k=40), known, {"clean": values}, share=0.4)
    with pytest.raises(DataError, match="1 of 1 real images can be used, and some must make the bank"):
        calibrate(Knn(), pictures(1), {"clean": embeddings(1)})
    with pytest.raises(ParameterError, match="share is 1.5"):
        calibrate(Knn(), known, {"clean": values}, share=1.5)


@pytest.mark.parametrize("name", ["knn", "mahalanobis"])
def test_exchangeable_reals_are_called_fake_no_more_often_than_promised(name):
    """300 seeded sets of 79 calibration and 40 bank reals, 40 fresh reals each: the mean rate is 4 / 80; its standard
    error is below 0.003, and the bound below is three of them.
    """
    one, called, p_small = detector.get(name)(), [], []
    for seed in range(300):
        known = pictures(119, seed=seed)
        made = calibrate(one, known, {"clean": embeddings(119, seed=seed)}, share=79 / 119, seed=seed)
        assert len(made.calibration.scores) == 79
        fresh = one.score(bank=made.bank.arrays, clean=embeddings(40, seed=10_000 + seed))
        called.append((made.calibration.decide(fresh) != "real").mean())
        p_small.append((made.calibration.pvalue(fresh) <= 0.2).mean())
    assert np.mean(called) == pytest.approx(0.05, abs=0.009)
    assert np.mean(p_small) == pytest.approx(0.2, abs=0.018)


# -- the folder ------------------------------------------------------------------------------------------------------


def example(name: str = "knn", **settings: object) -> CalibratedDetector:
    """A detector as a fit makes it, from numbers."""
    instance = detector.get(name).configured(**settings)()
    found = {"clean": embeddings(60)} if instance.references else np.random.default_rng(0).normal(size=60)
    made = calibrate(instance, pictures(50, n_fakes=10), found, share=0.4)
    space = {"sha256": "ab" * 32, "mean": [0.5, 0.25, 1 / 3]}
    return CalibratedDetector(name, instance, space, "jpeg70", 128, 3, made.calibration, made.bank, 2, "0")


EXAMPLES = ("knn", "mahalanobis", "subspace", "univfd_nn", "rigid_pixel", "feature_drift_blur_srm")


@pytest.mark.parametrize("name", EXAMPLES)
def test_what_is_saved_comes_back_bit_for_bit(name, tmp_path):
    one = example(name)
    save_detector(one, tmp_path / "a.fdetect")
    back = load_detector(tmp_path / "a.fdetect")
    assert back == one
    assert np.array(back.calibration.scores).tobytes() == np.array(one.calibration.scores).tobytes()
    if one.bank:
        for key, array in one.bank.arrays.items():
            np.testing.assert_array_equal(back.bank.arrays[key], array)
            assert back.bank.arrays[key].dtype == np.float32
        assert back.bank.known == one.bank.known
    save_detector(back, tmp_path / "b.fdetect")
    for file in ("card.json", "arrays.safetensors"):
        assert (tmp_path / "b.fdetect" / file).read_bytes() == (tmp_path / "a.fdetect" / file).read_bytes()


def test_the_card_says_what_the_detector_is_and_where_its_thresholds_lie(tmp_path):
    one = example()
    save_detector(one, tmp_path / "a")
    card = json.loads((tmp_path / "a" / "card.json").read_text())
    assert (card["kind"], card["name"], card["settings"]["k"], card["space"]) == ("training-free", "knn", 2, one.space)
    assert card["bank"] == {"sha256": one.bank.sha256, "n_reals": one.bank.n_reals, "n_fakes": 0, "n_dropped": 0}
    five = one.calibration.five
    assert card["thresholds"][0] == {"false_positive_rate": 0.05, "value": five.value, "n_reals": five.n_reals,
                                     "attainable": True}  # fmt: skip
    assert "torch" in card["versions"]


def test_settings_come_back_whatever_the_name_says(tmp_path):
    one = replace(example("rigid", sigma=0.02, n_draws=3), name="rigid:sigma=0.02:n_draws=3")
    save_detector(one, tmp_path / "a")
    back = load_detector(tmp_path / "a")
    assert (back.name, back.instance.sigma, back.instance.n_draws) == ("rigid:sigma=0.02:n_draws=3", 0.02, 3)


@pytest.mark.parametrize("file", ["card.json", "arrays.safetensors"])
def test_a_changed_byte_anywhere_is_noticed(file, tmp_path):
    save_detector(example(), tmp_path / "a")
    whole = (tmp_path / "a" / file).read_bytes()
    for at in [*range(0, len(whole), 97), len(whole) - 2]:
        if file == "card.json" and whole[at : at + 1].isspace():
            continue  # how it is laid out is nobody's concern
        changed = bytearray(whole)
        changed[at] ^= 1
        (tmp_path / "a" / file).write_bytes(changed)
        with pytest.raises(DataError) as caught:
            load_detector(tmp_path / "a")
        assert str(caught.value).startswith(str(tmp_path / "a"))
        assert "\n" not in str(caught.value)


def signed(
    model: Path, target: Path, *, card: dict | None = None, arrays: dict | None = None, bank: dict | None = None
) -> Path:
    """The model again with other content and digests that fit it, as somebody who knows the format would write it."""
    held = json.loads((model / "card.json").read_text())
    values = {**load((model / "arrays.safetensors").read_bytes()), **(arrays or {})}
    values = {name: array for name, array in values.items() if array is not None}
    del held["digest"], held["files"]
    held |= card or {}
    if "calibration" in values and "calibration" in (arrays or {}):
        held["thresholds"] = []  # what they would be is not asked before the scores were found right
    if held["bank"]:
        here = {k.removeprefix("bank."): v for k, v in values.items() if k.startswith("bank.")}
        held["bank"] = {**held["bank"], "sha256": bank_sha256(here), **(bank or {})}
    files = {"arrays.safetensors": save(values)}
    target.mkdir()
    (target / "arrays.safetensors").write_bytes(files["arrays.safetensors"])
    (target / "card.json").write_bytes(model_folder.signed(held, files))
    return target


ROWS = embeddings(30)
SETTINGS = {"k": 2, "encoder": "dinov2-large", "dtype": "float32", "pos_interp": "authors"}


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"card": {"name": "knnn"}}, "its detector cannot be made here: no detector 'knnn'; did you mean 'knn'"),
        ({"card": {"settings": {**SETTINGS, "depth": 2}}}, "detector 'knn' has no setting 'depth'"),
        ({"card": {"settings": {**SETTINGS, "k": 0}}}, "knn: k must be at least 1, got 0"),
        ({"card": {"settings": {**SETTINGS, "k": "2"}}}, "its setting k is '2'"),
        ({"card": {"settings": {**SETTINGS, "k": True}}}, "its setting k is True"),
        ({"card": {"settings": {**SETTINGS, "encoder": 5}}}, "its setting encoder is 5"),
        ({"card": {"condition": "jpg70"}}, "not a fitted detector .ParameterError: no condition 'jpg70'"),
        ({"card": {"crop": "128"}}, "not a fitted detector .crop is '128'"),
        ({"card": {"seed": True}}, "not a fitted detector .seed is True"),
        ({"card": {"space": []}}, "not a fitted detector .space is"),
        ({"card": {"name": "rigid", "settings": {}}}, "a bank where rigid has none"),
        ({"card": {"bank": None}}, "none where it has one"),
        ({"card": {"thresholds": [0.1, 0.2]}}, "the thresholds of its card are not those of its calibration scores"),
        ({"arrays": {"calibration": np.zeros(3, np.float32)}}, "its calibration must be finite float64"),
        ({"arrays": {"calibration": np.array([2.0, 1.0])}}, "its calibration must be finite float64"),
        ({"arrays": {"calibration": np.array([1.0, np.nan])}}, "its calibration must be finite float64"),
        ({"arrays": {"calibration": np.zeros((2, 2))}}, "its calibration must be finite float64"),
        ({"arrays": {"calibration": None}}, "not a fitted detector .KeyError"),
        ({"arrays": {"bank.reals": ROWS.astype(np.float64)}}, "'reals' of the bank must be finite float32"),
        ({"arrays": {"bank.reals": ROWS[:, 0].copy()}}, "'reals' of the bank must be finite float32"),
        ({"arrays": {"bank.reals": ROWS * np.float32(np.inf)}}, "'reals' of the bank must be finite float32"),
        ({"arrays": {"bank.other": ROWS}}, "a bank holds reals, this one"),
        ({"arrays": {"bank_ids": np.zeros((4, 16), np.uint8)}}, "has ids of uint8"),
        ({"arrays": {"bank_ids": None}}, "not a fitted detector .KeyError"),
        ({"bank": {"sha256": "0" * 64}}, "its bank is not the one that was kept"),
        ({"bank": {"n_reals": 29}}, "its bank of 29 reals and 0 fakes has ids of uint8"),
    ],
)
def test_a_model_that_is_signed_and_wrong_is_refused(change, text, tmp_path):
    save_detector(example(), tmp_path / "a")
    signed(tmp_path / "a", tmp_path / "b", **change)
    with pytest.raises(DataError, match=text) as caught:
        load_detector(tmp_path / "b")
    assert str(tmp_path / "b") in str(caught.value)
    assert "\n" not in str(caught.value)


def test_signing_alone_changes_nothing(tmp_path):
    save_detector(example(), tmp_path / "a")
    signed(tmp_path / "a", tmp_path / "b")
    assert load_detector(tmp_path / "b") == example()


# -- from images, with a feature -------------------------------------------------------------------------------------

QUICK = ("--crop", "128", "--workers", "0")


@pytest.fixture
def fdetect(monkeypatch, capsys, tmp_path):
    """Run the command line in this process: arguments -> (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "300")

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["fdetect", *map(str, arguments)])
        code = 0
        try:
            main()
        except SystemExit as exit_:
            code = exit_.code if isinstance(exit_.code, int) else 1
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


@pytest.fixture(scope="module")
def fitted(small_set, store) -> CalibratedDetector:
    return fit_detector(small_set, "feature_drift", condition="matched", crop=128, store=store).detector


@pytest.fixture(scope="module")
def reals(small_set, tmp_path_factory) -> Path:
    """A folder of real photographs, without labels."""
    folder = tmp_path_factory.mktemp("reals")
    for k, row in enumerate(read_manifest(small_set).to_pylist()):
        if row["label"] == 0:
            shutil.copyfile(small_set.parent / row["path"], folder / f"{k:03d}.png")
    return folder


def test_thresholds_are_those_of_all_reals_under_the_condition(small_set, fitted, store):
    manifest = read_manifest(small_set)
    scores = steps.score(manifest, fitted, store=store)
    plain = steps.score(manifest, "feature_drift", condition="matched", crop=128, store=store)
    np.testing.assert_array_equal(scores.values, plain.values)
    label = np.array(manifest.column("label").to_pylist())
    assert fitted.calibration.scores == tuple(sorted(scores.values[label == 0]))
    assert (fitted.condition, fitted.crop, fitted.seed, fitted.n_failed, fitted.bank) == ("matched", 128, 0, 0, None)
    assert fitted.calibration.five == conformal_threshold(scores.values[label == 0], fpr=0.05)
    other = steps.score(manifest, fitted, crop=64, seed=9, store=store)  # the crop and seed of the fit are kept
    np.testing.assert_array_equal(other.values, scores.values)


def test_unlabelled_images_are_taken_as_real_and_this_is_said(small_set, reals, store):
    told: list[str] = []
    made = fit_detector(reals, "feature_drift", crop=128, store=store, notice=told.append)
    assert told[0] == "the data have no labels: all 34 images are taken as real photographs"
    assert made.n_fakes_unused == 0
    labelled = fit_detector(small_set, "feature_drift", crop=128, store=store)
    assert labelled.detector == made.detector
    assert labelled.n_fakes_unused == 48


def test_a_manifest_of_reals_alone_will_do(small_set, store):
    manifest = read_manifest(small_set)
    label = np.array(manifest.column("label").to_pylist())
    made = fit_detector(manifest.filter(pa.array(label == 0)), "feature_drift", crop=128, store=store)
    assert len(made.detector.calibration.scores) == 34
    with pytest.raises(DataError, match=r"feature_drift is calibrated on real images, and the data hold none"):
        fit_detector(manifest.filter(pa.array(label == 1)), "feature_drift", crop=128, store=store)
    some = [None if k % 3 else value for k, value in enumerate(label.tolist())]
    partly = manifest.set_column(manifest.column_names.index("label"), "label", pa.array(some, pa.int64()))
    with pytest.raises(DataError, match="54 of 82 images have no label; label all of them, or none"):
        fit_detector(partly, "feature_drift", crop=128, store=store)


def test_fit_and_score_on_the_command_line(fdetect, small_set, fitted, tmp_path):
    code, out, err = fdetect("fit", small_set, "--detector", "feature_drift:sigma=3", "-o", "my.fdetect", *QUICK)
    assert code == 0, err
    said = out.splitlines()
    assert said[0] == (
        "feature_drift:sigma=3, calibrated on 34 of 82 images under native, 0 failed, 48 fakes not used: my.fdetect"
    )
    assert said[1].startswith("threshold at 5 % FPR 0.")
    assert said[1].endswith(", at 1 % FPR not attainable (it takes 99); 34 calibration reals")
    detector_file = load_detector(tmp_path / "my.fdetect")
    assert (detector_file.name, detector_file.instance.sigma) == ("feature_drift:sigma=3", 3.0)
    code, out, err = fdetect("score", small_set, "--model", "my.fdetect", "-o", "s.csv", "--workers", "1")
    assert (code, out) == (0, "82 images, 0 failed: s.csv\n"), err
    with (tmp_path / "s.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {"score", "p_value", "threshold", "decision", "status", "reason"} <= set(rows[0])
    for row in rows:
        score, calibration = float(row["score"]), detector_file.calibration
        assert float(row["p_value"]) == naive_metrics.conformal_pvalue(score, calibration.scores)
        assert row["decision"] == ("fake" if score > calibration.five.value else "real")  # no level of 1 %
        assert float(row["threshold"]) == calibration.five.value
    code, out, err = fdetect("evaluate", "s.csv", "--replicates", "20")
    assert code == 0, err
    assert "AUROC" in out


def test_scores_go_to_the_terminal_without_an_output(fdetect, reals, fitted, tmp_path):
    save_detector(fitted, tmp_path / "my.fdetect")
    (tmp_path / "in").mkdir()
    shutil.copyfile(next(reals.iterdir()), tmp_path / "in" / "a.png")
    (tmp_path / "in" / "b.png").write_bytes(b"")
    code, out, _ = fdetect("score", "in", "--model", "my.fdetect", "--workers", "0")
    said = [line.split() for line in out.splitlines()]
    assert code == 0
    assert said[0] == ["path", "score", "p_value", "threshold", "decision", "status", "reason"]
    assert said[1][0] == "a.png"
    assert said[1][4:] == ["real", "ok"] or said[1][4:] == ["fake", "ok"]
    assert said[2][0] == "b.png"
    assert "undecided" in said[2]
    assert " ".join(said[2]).endswith("failed decode: the file is empty (0 bytes)")
    assert said[3] == ["2", "images,", "1", "failed"]
    code, out, _ = fdetect("score", "in/a.png", "--detector", "feature_drift", *QUICK)
    assert (code, out.splitlines()[1].split()[2:]) == (0, ["undecided", "ok"])
    assert fdetect("score", "in", "--model", "my.fdetect", "--workers", "0", "--strict")[0] == 3


def test_the_rate_on_every_other_source_is_printed(fdetect, small_set, tmp_path):
    with small_set.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for k, row in enumerate(rows):
        row["real_source"] = "" if row["label"] == "1" else ("phone", "camera")[k % 2]
        row["path"] = str((small_set.parent / row["path"]).relative_to(small_set.parent))
    manifest = small_set.parent / "sources.csv"
    with manifest.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows({**row, "group": row["path"]} for row in rows)
    code, out, err = fdetect("fit", manifest, "--detector", "feature_drift", "-o", "my.fdetect", *QUICK)
    assert code == 0, err
    said = out.splitlines()
    what = "achieved false-positive rate of each real source"
    assert said[2] == f"{what}, thresholds from all others, with 95 % intervals:"
    assert said[3].split() == ["real", "source", "reals", "promised", "5", "%", "promised", "1", "%"]
    made = fit_detector(manifest, "feature_drift", crop=128)
    for line, five in zip(said[4:], made.achieved[0], strict=True):
        assert line.split()[:2] == [five.source, str(five.n_reals)]
        assert five.text in line
    assert {row.source for row in made.achieved[0]} == {"phone", "camera"}


def test_a_head_keeps_its_calibration_and_says_what_is_not_measured(fdetect, small_set, tmp_path):
    features = ("--features", "radial_spectrum")
    code, out, err = fdetect("fit", small_set, "-o", "head.fdetect", *features, *QUICK)
    assert code == 0, err
    assert out.count("not attainable") == 2  # once for each level
    assert "not available for heads (needs a refit for each; run fdetect bench --protocol leave_one_real_source" in out
    head = load_detector(tmp_path / "head.fdetect")
    fdetect("score", small_set, "--model", "head.fdetect", "-o", "s.csv", "--workers", "0")
    with (tmp_path / "s.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            expected = naive_metrics.conformal_pvalue(float(row["score"]), head.calibration.scores)
            assert float(row["p_value"]) == expected
            assert math.isfinite(float(row["probability"]))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("fit", "{set}", "--detector", "rigit", "-o", "x"), "did you mean 'rigid'"),
        (("fit", "{set}", "--detector", "rigid:sigmaa=1", "-o", "x"), "did you mean 'sigma'"),
        (("fit", "{set}", "--detector", "rigid:sigma=a", "-o", "x"), "sigma takes a value of type float, got 'a'"),
        (("fit", "{set}", "--detector", "rigid", "--head", "logreg", "-o", "x"), "what is trained, --detector is"),
        (("fit", "{set}", "--detector", "rigid", "--features", "fast", "-o", "x"), "what is trained, --detector is"),
        (("fit", "{set}", "--detector", "rigid", "--aligned", "-o", "x"), "what is trained, --detector is"),
        (("fit", "{set}", "--encoder", "x", "-o", "x"), "--encoder goes with --detector"),
        (("fit", "{set}", "--autoencoder", "x", "-o", "x"), "--autoencoder goes with --detector or --aligned"),
        (("fit", "{set}", "--detector", "rigid", "-o", "x"), "dinov2-large"),
        (("fit", "{set}", "--detector", "rigid", "--encoder", "nowhere/at/all", "-o", "x"), "nowhere/at/all"),
        (("fit", "nowhere", "--detector", "feature_drift", "-o", "x"), "nowhere"),
        (("fit", "{set}", "--detector", "feature_drift", "--condition", "jpg", "-o", "x"), "no condition 'jpg'"),
        (("fit", "{set}", "--detector", "feature_drift", "--crop", "100", "-o", "x"), "multiple of 8"),
        (("fit", "{set}", "--detector", "feature_drift:feature=none", "-o", "x"), "no feature 'none'"),
        (("score", "{set}", "--detector", "knn"), "knn compares with reference images; make their bank first"),
        (("score", "{set}", "--model", "gone.fdetect"), "gone.fdetect: cannot be read"),
        (("score", "{set}", "--model", "x", "--seed", "1"), "--seed and --crop go with --detector"),
    ],
)
def test_misuse_is_one_sentence_and_exit_code_2(fdetect, small_set, arguments, words):
    code, out, err = fdetect(*(one.replace("{set}", str(small_set)) for one in arguments))
    assert (code, out) == (2, "")
    said = [line for line in err.splitlines() if line.startswith("fdetect: ")]
    assert words in said[-1]
    assert "Traceback" not in err
    assert not Path("x").exists()


def test_an_encoder_is_no_matter_of_a_head(fdetect, small_set, tmp_path):
    fdetect("fit", small_set, "-o", "head.fdetect", "--features", "radial_spectrum", *QUICK)
    code, _, err = fdetect("score", small_set, "--model", "head.fdetect", "--encoder", "x")
    assert code == 2
    assert "--encoder: head.fdetect looks through no encoder" in err


def test_a_feature_that_changed_since_the_fit_is_refused(small_set, fitted):
    other = replace(fitted, space={**fitted.space, "code": "00000000 11111111"})
    with pytest.raises(WeightsError, match="feature_drift changed since its thresholds were set: .*; fit again"):
        steps.score(small_set, other)
    with pytest.raises(UnknownName, match="did you mean 'feature_drift'"):
        fit_detector(small_set, "feature_drif")


# -- from images, with an encoder ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def encoder(tmp_path_factory) -> Path:
    pytest.importorskip("torch", reason="the deep extra is not installed")
    pytest.importorskip("transformers", reason="the deep extra is not installed")
    import tiny_dinov2

    return tiny_dinov2.save_tiny(tmp_path_factory.mktemp("tiny"), image_size=56)


@pytest.mark.parametrize("name", ["knn", "mahalanobis", "subspace"])
def test_reference_images_are_named_and_get_no_pvalue(name, reals, encoder, store, tmp_path, fdetect):
    made = fit_detector(reals, name, encoder=str(encoder), crop=128, calibration=0.6, store=store)
    one, n = made.detector, len(made.detector.calibration.scores)
    assert (n + one.bank.n_reals, one.bank.n_fakes, one.bank.n_dropped) == (34, 0, 0)
    assert one.calibration.five.attainable
    save_detector(one, tmp_path / "my.fdetect")
    back, told = load_detector(tmp_path / "my.fdetect"), []
    manifest = steps.any_images(reals)
    scores = steps.score(manifest, back, store=store, notice=told.append)
    assert told[0] == f"{one.bank.n_reals} of the images are references of {name} and get no p-value"
    rows = steps.score_table(scores, manifest, back, "native").to_pylist()
    known = [row for row in rows if row["id"] in one.bank.known]
    assert len(known) == one.bank.n_reals
    for row in known:
        assert (row["status"], row["decision"]) == ("ok", "undecided")
        assert row["reason"] == "a reference image itself: its distance to itself is 0"
        assert math.isnan(row["p_value"])
    others = [row for row in rows if row["id"] not in one.bank.known]
    assert sorted(row["score"] for row in others) == list(one.calibration.scores)
    assert all(row["reason"] == "" and row["p_value"] > 0 for row in others)
    code, out, _ = fdetect("score", reals, "--model", "my.fdetect", "--workers", "0")
    assert code == 0
    assert out.count("a reference image itself") == one.bank.n_reals


def test_both_banks_need_fakes(reals, small_set, encoder, store):
    with pytest.raises(DataError, match=r"univfd_nn needs fakes \(label 1\) beside the real images"):
        fit_detector(reals, "univfd_nn", encoder=str(encoder), store=store)
    made = fit_detector(small_set, "univfd_nn_resized", encoder=str(encoder), crop=128, store=store)
    manifest = read_manifest(small_set)
    held = len(made.detector.calibration.scores)
    assert made.detector.bank.n_reals + held == 34
    assert made.n_fakes_unused == 0
    assert 0 < made.detector.bank.n_fakes < 48  # those of the calibration reals' scenes stay out
    scores = steps.score(manifest, made.detector, store=store)
    assert np.isfinite(scores.values).all()


def test_other_weights_than_those_of_the_fit_are_refused(reals, encoder, store, tmp_path):
    one = fit_detector(reals, "rigid", encoder=str(encoder), crop=128, store=store).detector
    assert len(one.calibration.scores) == 34
    elsewhere = shutil.copytree(encoder, tmp_path / "elsewhere")
    moved = replace(one, instance=replace(one.instance, encoder=str(tmp_path / "gone")))
    with pytest.raises(WeightsError, match="gone"):
        steps.score(reals, moved, store=store)
    here = steps.score(reals, moved, encoder=str(elsewhere), store=store)  # the same weights at another place
    np.testing.assert_array_equal(here.values, steps.score(reals, one, store=store).values)
    config = json.loads((elsewhere / "config.json").read_text())
    (elsewhere / "config.json").write_text(json.dumps(config | {"layer_norm_eps": 1e-3}))
    with pytest.raises(WeightsError, match=r"rigid: the weights are not what .*config_sha256.*, or fit again"):
        steps.score(reals, one, encoder=str(elsewhere), store=store)
    changed = replace(one, space={**one.space, "sha256": "0" * 64})
    with pytest.raises(WeightsError, match=r"\(sha256: 00000000000000000000... at the fit and \w{20}... here\)"):
        steps.score(reals, changed, store=store)


def test_an_autoencoder_that_was_trained_on_the_photographs_is_refused(own, store, tmp_path):
    """Of what it was trained on, it restores more than of what the thresholds are for."""
    pytest.importorskip("torch", reason="the extra 'deep' is not installed")
    from tiny_own import known_photographs, save_own

    name, ids = "aeroblade:distance=mse", [content_id(file.read_bytes()) for file in sorted(own.rglob("*.*"))]
    folder = save_own(tmp_path / "mine", "nearest", known=["f" * 32])
    settings = {"autoencoder": str(folder), "condition": "matched", "crop": 64, "store": store}
    assert len(fit_detector(own, name, **settings).detector.calibration.scores) == len(ids)
    known_photographs(folder, ids[2:4])
    with pytest.raises(ParameterError, match=rf"{name}: .*mine was trained on 2 of these images; give one that was"):
        fit_detector(own, name, **settings)

    def never(what: str, done: int, total: int) -> None:
        raise AssertionError(f"{what} before the card was read")

    (folder / "card.json").unlink()
    with pytest.raises(DataError, match=r"mine has no card\.json, which says what it was trained on"):
        fit_detector(own, name, progress=never, **settings)


def test_what_a_detector_depends_on_names_no_place_and_no_device(encoder):
    instance = detector.get("rigid").configured(encoder=str(encoder))()
    (task, *_) = prepare(instance, device="cpu")
    found = identity(instance, task.space)
    assert str(encoder) not in json.dumps(found)
    assert not {"device", "encoder"} & set(found)
    assert library_version("torch") not in found["code"]  # another version of a library is no other detector
    assert len(found["sha256"]) == 64
    assert json.loads(json.dumps(found)) == found


def test_failed_photographs_are_counted_and_set_no_threshold(reals, encoder, store, tmp_path, fdetect):
    folder = shutil.copytree(reals, tmp_path / "in")
    (folder / "empty.png").write_bytes(b"")
    Image.new("RGB", (60, 200)).save(folder / "narrow.png")
    for name in ("knn", "feature_drift"):
        network = {"encoder": str(encoder)} if name == "knn" else {}
        made = fit_detector(folder, name, **network, crop=128, store=store).detector
        n = len(made.calibration.scores) + (made.bank.n_reals if made.bank else 0)
        assert (made.n_failed, n) == (2, 34), name
    arguments = ("fit", folder, "--detector", "feature_drift", "-o", "x.fdetect", *QUICK)
    code, out, _ = fdetect(*arguments, "--strict")
    assert code == 3
    assert "calibrated on 34 of 36 images under native, 2 failed: x.fdetect" in out


def test_a_kept_bank_is_compared_by_its_hash():
    one, other = example().bank, example().bank
    assert one == other
    assert one != KeptBank(other.arrays, "0" * 64, other.n_reals, other.n_fakes, other.n_dropped, other.ids)
