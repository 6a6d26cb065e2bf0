"""Score tables made elsewhere: as detectors of a run (`bench --scores`), and as all there is (`evaluate`)."""

from __future__ import annotations

import json
from pathlib import Path

import naive_metrics as naive
import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest

from fdetect.bench.protocols import Samples, Trial, samples_of, trials_of
from fdetect.bench.scores.evaluate import cells_of
from fdetect.bench.scores.files import read_table
from fdetect.bench.scores.given import read_score_table, read_scores
from fdetect.bench.scores.scoring import score_failures, score_trials
from fdetect.errors import DataError
from fdetect.perturb import condition
from fdetect.types import MANIFEST_COLUMNS

Row = dict[str, object]

ROWS = 2 * 120 + 60  # of a detector and condition: every real beside each of two generators, every fake once


def images() -> list[Row]:
    rows = [{"path": f"real/{k:03d}.png", "label": 0, "real_source": "coco", "score": k / 20} for k in range(120)]
    for name in ("gan", "ldm"):
        rows += [{"path": f"{name}/{k:03d}.png", "label": 1, "generator": name, "score": 2 + k / 7} for k in range(30)]
    return rows


@pytest.fixture(scope="module")
def samples() -> Samples:
    rows = [
        {**dict.fromkeys(MANIFEST_COLUMNS, ""), **{k: v for k, v in row.items() if k != "score"}} for row in images()
    ]
    return samples_of(pa.Table.from_pylist(rows))


@pytest.fixture(scope="module")
def trials(samples) -> tuple[Trial, ...]:
    return trials_of(samples, name="leave_one_generator_out", folds=2, calibration=0.5)


def write(file: Path, rows: list[Row]) -> Path:
    table = pa.Table.from_pylist(rows)
    if file.suffix == ".parquet":
        pa.parquet.write_table(table, file)
    else:
        pa.csv.write_csv(table, file)
    return file


def scored(file: Path, samples, trials, names: tuple[str, ...] = ("native",)) -> list[Row]:
    """All that `bench --scores` does with a file."""
    ids = [f"{k:032x}" for k in range(len(samples.path))]
    found = read_scores(file, samples, [condition(name) for name in names], trials)
    tables = [score_trials(one, samples, ids, trials, names) for one in found]
    return pa.concat_tables(tables).to_pylist()


FORMATS = pytest.mark.parametrize("ending", [".csv", ".parquet"])


# -- complete tables ------------------------------------------------------------------------------------------------


@FORMATS
def test_path_and_score_are_enough(ending, samples, trials, tmp_path):
    file = write(tmp_path / f"mine{ending}", [{"path": r["path"], "score": r["score"]} for r in images()])
    rows = scored(file, samples, trials)
    known = {r["path"]: r["score"] for r in images()}
    assert all(row["score"] == known[row["path"]] and row["status"] == "ok" for row in rows)
    assert {row["detector"] for row in rows} == {"mine"}
    assert len(rows) == ROWS
    for trial in trials:
        value = naive.conformal_threshold([known[path] for path in samples.path[trial.calibration]], 5)
        of_trial = [row for row in rows if row["trial"] == trial.name]
        assert {row["threshold"] for row in of_trial} == {value}
        assert all((row["decision"] in ("fake", "inconclusive")) == (row["score"] > value) for row in of_trial)
        assert all(np.isnan(row["probability"]) for row in of_trial)


@FORMATS
def test_several_detectors_in_one_file(ending, samples, trials, tmp_path):
    rows = [{"detector": d, "path": r["path"], "score": s * r["score"]} for d, s in (("up", 1), ("down", -1))
            for r in images()]  # fmt: skip
    found = scored(write(tmp_path / f"two{ending}", rows), samples, trials)
    up, down = (
        {(r["trial"], r["path"]): r["score"] for r in found if r["detector"] == name} for name in ("up", "down")
    )
    assert list(dict.fromkeys(r["detector"] for r in found)) == ["up", "down"]
    assert down == {key: -value for key, value in up.items()}


@FORMATS
def test_each_condition_has_its_rows(ending, samples, trials, tmp_path):
    names = ("native", "matched", "jpeg70")
    rows = [{"condition": c, "path": r["path"], "score": r["score"] + k} for k, c in enumerate(names) for r in images()]
    found = scored(write(tmp_path / f"t{ending}", rows), samples, trials, names)
    known = {(r["condition"], r["path"]): r["score"] for r in rows}
    assert len(found) == 3 * ROWS
    assert all(r["score"] == known[r["condition"], r["path"]] for r in found)
    of = {r["condition"]: r["threshold"] for r in found if r["trial"] == "gan/0"}
    assert of["matched"] == of["jpeg70"] == of["native"] + 1  # frozen where a head would have been trained


@FORMATS
def test_a_trained_detector_has_rows_for_each_trial(ending, samples, trials, tmp_path):
    known = {r["path"]: r["score"] for r in images()}
    rows = [
        {"trial": t.name, "path": path, "score": known[path] + 100 * k}
        for k, t in enumerate(trials)
        for path in samples.path[[*t.test, *t.calibration]]
    ]
    found = scored(write(tmp_path / f"t{ending}", rows), samples, trials)
    number = {t.name: k for k, t in enumerate(trials)}
    assert len(found) == ROWS
    assert all(r["score"] == known[r["path"]] + 100 * number[r["trial"]] for r in found)
    assert len({r["threshold"] for r in found}) == len(trials)


def test_a_row_without_trial_holds_in_every_trial_that_has_none_of_its_own(samples, trials, tmp_path):
    rows = [{"trial": "", "path": r["path"], "score": r["score"]} for r in images()]
    special = samples.path[trials[0].test[0]]
    rows.append({"trial": trials[0].name, "path": special, "score": 99.0})
    found = scored(write(tmp_path / "t.csv", rows), samples, trials)
    assert [(r["trial"], r["path"]) for r in found if r["score"] == 99.0] == [(trials[0].name, special)]


@FORMATS
def test_a_probability_in_per_cent_is_refused(ending, samples, trials, tmp_path):
    rows = [{"path": r["path"], "score": r["score"], "probability": 97.0 if k == 2 else 0.25}
            for k, r in enumerate(images())]  # fmt: skip
    with pytest.raises(DataError, match=rf"t\{ending}: row 3 has the probability 97, .*write 97% as 0\.97"):
        scored(write(tmp_path / f"t{ending}", rows), samples, trials)


@FORMATS
def test_a_stated_threshold_and_probability_are_taken(ending, samples, trials, tmp_path):
    rows = [{"path": r["path"], "score": r["score"], "probability": 0.25, "threshold": 3.5} for r in images()]
    found = scored(write(tmp_path / f"t{ending}", rows), samples, trials)
    assert {r["threshold"] for r in found} == {3.5}
    assert {r["probability"] for r in found} == {0.25}
    assert all((r["decision"] == "fake") == (r["score"] > 3.5) for r in found)


def test_a_threshold_stated_for_another_condition_of_the_same_training_holds(samples, trials, tmp_path):
    """A table may have rows for jpeg70 alone; its detector was still frozen once, under matched."""
    rows = [{"condition": "jpeg70", "path": r["path"], "score": r["score"], "threshold": 3.5} for r in images()]
    found = scored(write(tmp_path / "t.parquet", rows), samples, trials, ("jpeg70",))
    assert {r["threshold"] for r in found} == {3.5}


def test_without_calibration_rows_nothing_is_decided(samples, trials, tmp_path):
    rows = [
        {"trial": t.name, "path": path, "score": 1.0, "condition": "native"}
        for t in trials
        for path in samples.path[t.test]
    ]
    found = scored(write(tmp_path / "t.parquet", rows), samples, trials)
    assert {r["threshold"] for r in found} == {None}
    assert {r["decision"] for r in found} == {"undecided"}
    assert {r["n_calibration"] for r in found} == {0}


@FORMATS
def test_an_empty_score_is_a_failure(ending, samples, trials, tmp_path):
    rows = [{"path": r["path"], "score": None if r["path"].endswith("7.png") else r["score"]} for r in images()]
    file = write(tmp_path / f"t{ending}", rows)
    found = scored(file, samples, trials)
    failed = [r for r in found if r["path"].endswith("7.png")]
    assert failed
    assert all(
        r["status"] == "failed" and r["reason"] == f"score: t has no score in {file.name}" and np.isnan(r["score"])
        for r in failed
    )
    assert all(r["status"] == "ok" for r in found if r not in failed)


@FORMATS
def test_a_score_that_is_no_number_is_a_failure_with_its_reason(ending, samples, trials, tmp_path):
    odd = {"gan/003.png": float("nan"), "real/004.png": float("inf"), "ldm/005.png": float("-inf")}
    rows = [{"path": r["path"], "score": odd.get(r["path"], r["score"])} for r in images()]
    found = scored(write(tmp_path / f"mine{ending}", rows), samples, trials)
    listed = score_failures(pa.Table.from_pylist(found))
    assert {(f.path, f.stage, f.reason) for f in listed} == {
        ("gan/003.png", "score", f"mine has no score in mine{ending}"),
        ("real/004.png", "score", f"mine has the score inf in mine{ending}"),
        ("ldm/005.png", "score", f"mine has the score -inf in mine{ending}"),
    }
    assert len(listed) == 3, "each once, in however many trials"
    assert all(np.isnan(r["score"]) and r["status"] == "failed" for r in found if r["path"] in odd)


def test_rows_that_the_run_does_not_need_are_ignored(samples, trials, tmp_path):
    rows = [{"path": r["path"], "score": r["score"]} for r in images()] + [{"path": "elsewhere.png", "score": 1.0}]
    assert len(scored(write(tmp_path / "t.csv", rows), samples, trials)) == ROWS


def test_names_of_digits_stay_text_and_late_values_are_read(tmp_path):
    """Of a CSV larger than a block of Arrow's reader: first only digits and empty fields, then words and numbers."""
    n = 60_000
    file = tmp_path / "large.csv"
    with file.open("w", encoding="utf-8") as stream:
        stream.write("path,label,generator,score,group,real_source,threshold\n")
        stream.writelines(f"{k:05d},1,007,0.{k},{k:05d},,\n" for k in range(n))
        stream.writelines(f"late/{k}.png,0,,0.{k},scene {k},coco,0.5\n" for k in range(20))
    assert file.stat().st_size > 1 << 20
    table = read_score_table(file)
    assert table.column("path")[7].as_py() == table.column("group")[7].as_py() == "00007"
    assert set(table.column("generator").to_pylist()) == {"007", ""}
    assert table.column("real_source")[n].as_py() == "coco"
    assert table.column("threshold")[n].as_py() == 0.5
    assert table.column("threshold")[0].as_py() is None


# -- one sentence each ----------------------------------------------------------------------------------------------


def complete(**change: object) -> list[Row]:
    return [{"path": r["path"], "score": r["score"], **change} for r in images()]


@pytest.mark.parametrize(
    ("rows", "names", "text"),
    [
        ([{"scores": 1.0, "path": "a"}], ("native",), "no column 'score'; did you mean 'scores'?"),
        ([{"score": 1.0, "file": "a"}], ("native",), "no column 'path'"),
        ([{"score": "high", "path": "a"}], ("native",), "column 'score' must hold numbers"),
        ([{"score": 1.0, "path": "a", "threshold": "low"}], ("native",), "column 'threshold' must hold numbers"),
        ([*complete(), complete()[3]], ("native",), "two rows for real/003.png under native"),
        (complete(), ("native", "matched"), "no column 'condition'"),
        (complete()[:-2], ("native",), "no score of t for ldm/0"),
        (complete(condition="native"), ("native", "jpeg70"), "under jpeg70 in trial gan/0"),
        (complete(trial="gan/0"), ("native",), "in trial gan/1"),
        ([{**r, "threshold": float(k)} for k, r in enumerate(complete())], ("native",), "has several thresholds"),
    ],
)
@FORMATS
def test_what_cannot_be_used_is_one_sentence_that_names_the_file(ending, rows, names, text, samples, trials, tmp_path):
    file = write(tmp_path / f"t{ending}", rows)
    with pytest.raises(DataError) as caught:
        scored(file, samples, trials, names)
    assert str(caught.value).startswith(f"{file}: ")
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_rows_are_counted(samples, trials, tmp_path):
    file = write(tmp_path / "t.csv", [row for row in complete() if not row["path"].startswith("gan")])
    with pytest.raises(DataError, match=r"no score of t for gan/\d+.png under native in trial gan/0 \(15 missing\)"):
        scored(file, samples, trials)


@pytest.mark.parametrize("read", [read_score_table, lambda file: read_scores(file, None, [condition("native")], ())])
@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("gone.csv", None),
        ("gone.parquet", None),
        ("empty.csv", b""),
        ("header.csv", b"path,label,generator,score\n"),
        ("text.parquet", b"hello\nworld"),
        ("binary.csv", bytes(range(256))),
        ("ragged.csv", b"path,label,generator,score\na,1\n"),
        ("twice.csv", b"path,path,label,generator,score\na,b,1,gan,0.5\n"),
        ("words.csv", b"path,label,generator,score\na,1,gan,high\n"),
    ],
)
def test_a_file_that_is_no_table_is_one_sentence(read, name, data, tmp_path):
    file = tmp_path / name
    if data is not None:
        file.write_bytes(data)
    with pytest.raises(DataError) as caught:
        read(file)
    assert str(caught.value).startswith(f"{file}: ")
    assert "\n" not in str(caught.value)


# -- tables for `evaluate` ------------------------------------------------------------------------------------------


def judged(**change: object) -> list[Row]:
    return [{"path": r["path"], "label": r["label"], "generator": r.get("generator", ""), "score": r["score"], **change}
            for r in images()]  # fmt: skip


@FORMATS
def test_four_columns_can_be_judged(ending, tmp_path):
    table = read_score_table(write(tmp_path / f"mine{ending}", judged()))
    cells = {c.generator: c for c in cells_of(table, replicates=5) if c.generator}
    assert set(cells) == {"gan", "ldm", "macro", "worst"}
    assert {c.detector for c in cells.values()} == {"mine"}
    assert {c.condition for c in cells.values()} == {"as given"}
    label = [r["label"] for r in images() if r.get("generator") != "ldm"]
    score = [r["score"] for r in images() if r.get("generator") != "ldm"]
    assert cells["gan"].metric("auroc").value == pytest.approx(naive.auroc(label, score, [1.0] * len(label)), abs=1e-12)
    assert cells["gan"].n_groups == 30  # each image its own group


@FORMATS
def test_the_scores_of_a_run_come_back(ending, samples, trials, tmp_path):
    rows = scored(write(tmp_path / "given.csv", complete()), samples, trials)
    rows = [{**row, "seen": row["path"].startswith("ldm")} for row in rows]
    table = read_score_table(write(tmp_path / f"scores{ending}", rows))
    assert set(table.column("file").to_pylist()) == {str(tmp_path / f"scores{ending}")}
    for name in ("path", "generator", "group", "trial", "train", "detector", "condition", "score", "threshold", "seen"):
        assert table.column(name).to_pylist() == [row[name] for row in rows], name


@pytest.mark.parametrize("missing", ["path", "label", "generator", "score"])
def test_a_needed_column_is_named(missing, tmp_path):
    rows = [{k: v for k, v in row.items() if k != missing} for row in judged()]
    with pytest.raises(DataError, match=f"no column '{missing}'"):
        read_score_table(write(tmp_path / "t.csv", rows))


def test_a_fake_without_generator_is_unknown_and_not_lost(tmp_path):
    cells = cells_of(read_score_table(write(tmp_path / "t.csv", judged(generator=""))), replicates=5)
    assert [c.generator for c in cells if c.generator] == ["unknown", "macro", "worst"]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"label": 2}, "row 1 has a label other than 0"),
        ({"label": "fake"}, "row 1 has a label other than 0 (real) and 1 (fake): 'fake'"),
        ({"label": 0.5}, "row 1 has a label other than 0 (real) and 1 (fake): '0.5'"),
        ({"label": None}, "row 1 has no label; give each row 0 (real) or 1 (fake)"),
        ({"generator": "macro"}, "a generator is called 'macro'"),
        ({"path": "same.png"}, "two rows for same.png"),
    ],
)
@FORMATS
def test_what_cannot_be_judged_is_one_sentence(ending, change, text, tmp_path):
    file = write(tmp_path / f"t{ending}", judged(**change))
    with pytest.raises(DataError) as caught:
        read_score_table(file)
    assert str(caught.value).startswith(f"{file}: ")
    assert text in str(caught.value)


# -- tables as people write them ------------------------------------------------------------------------------------


def as_text(rows: list[Row], by: str = ",", names: tuple[str, str] = ("path", "score"), **change: object) -> str:
    lines = [f"{change.get('before', '')}{row['path']}{by}{row['score']}" for row in rows]
    return "\n".join([by.join(names), *lines]) + "\n"


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("bom.csv", ("\ufeff" + as_text(images())).encode()),
        ("semicolon.csv", as_text(images(), ";").encode()),
        ("tab.tsv", as_text(images(), "\t").encode()),
        ("windows.csv", as_text(images()).replace("/", "\\").replace("\n", "\r\n").encode()),
        ("dotted.csv", as_text(images(), before="./").encode()),
        ("below.csv", as_text(images(), before="/mnt/set/").encode()),
        ("grip.csv", as_text(images(), names=("filename", "score")).encode()),
        ("adapter.csv", as_text(images(), names=("image_path", "pred")).encode()),
        ("lota.csv", as_text(images(), names=("image", "prob_fake")).encode()),
        ("quoted.csv", as_text([{**row, "score": f'"{row["score"]}"'} for row in images()]).encode()),
        ("each.json", json.dumps([{"image_path": r["path"], "pred": r["score"]} for r in images()]).encode()),
        ("json.txt", json.dumps([{"path": r["path"], "score": str(r["score"])} for r in images()]).encode("utf-8-sig")),
    ],
)  # fmt: skip
def test_one_table_in_many_spellings(name, data, samples, trials, tmp_path):
    file = tmp_path / name
    file.write_bytes(data)
    (given,) = read_scores(file, samples, [condition("native")], (), root="/mnt/set")
    assert {path: row[0] for (_, _, path), row in given.rows.items()} == {r["path"]: r["score"] for r in images()}
    assert not given.notes
    assert not given.reasons


def test_a_name_of_its_own_wins_over_other_names(samples, tmp_path):
    rows = [{"filename": "x", "path": r["path"], "pred": 1, "score": r["score"]} for r in images()]
    (given,) = read_scores(write(tmp_path / "t.csv", rows), samples, [condition("native")], ())
    assert given.row("", "native", "gan/007.png")[0] == 2 + 7 / 7


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"path,pred,prob_fake\na,1,0.5\n", "which column is the score, 'pred' or 'prob_fake'? Rename it 'score'"),
        (b"image_path,filename,score\na,a,0.5\n", "which column is the path, 'image_path' or 'filename'?"),
        (b"filename,Corvi2023\na,0.5\n", "no column 'score' (nor pred, prob_fake)"),
        (b"path,score\na,97%\n", "'97%'); write 0,97 and 97% as 0.97"),
        (b"path;score\na;0,97\n", "'0,97'); write 0,97 and 97% as 0.97"),
        ("path,score\na,0.5\n".encode("utf-16"), "its text is UTF-16; save it as UTF-8"),
        (b'{"a.png": 0.5}', "JSON is a list of objects here"),
        (b'[{"path": "a", "score": 0.5}', "not a readable CSV, JSON or Parquet table: Expecting ',' delimiter"),
        (b"[]", "holds no rows"),
        (b"path,score\nreal/001.png,1\nreal\\001.png,1\n", "t has two rows for real/001.png under native; keep one"),
        (b"path,score,label\nreal/001.png,1,0\nreal/002.png,1,1\n",
         "real/002.png has label 1, and 0 in the data (1 such rows); 0 is real and 1 is fake"),
    ],
)  # fmt: skip
def test_a_table_that_can_be_read_in_two_ways_is_not_read(data, words, samples, tmp_path):
    file = tmp_path / "t.csv"
    file.write_bytes(data)
    with pytest.raises(DataError) as caught:
        read_scores(file, samples, [condition("native")], ())
    assert words in str(caught.value)
    assert str(caught.value).startswith(f"{file}: ")
    assert "\n" not in str(caught.value)


LABELS = pytest.mark.parametrize(
    "spelt", [int, float, bool, str, lambda k: f"{k}.0"], ids=["int", "float", "bool", "text", "text of float"]
)


@LABELS
@FORMATS
def test_labels_are_compared_however_they_are_written(ending, spelt, samples, tmp_path):
    rows = [{"path": r["path"], "score": r["score"], "label": spelt(r["label"])} for r in images()]
    rows[5]["label"] = None  # which makes floats of the integers of a table of pandas
    (given,) = read_scores(write(tmp_path / f"t{ending}", rows), samples, [condition("native")], ())
    assert len(given.rows) == len(rows)
    rows[0]["label"] = spelt(1)
    with pytest.raises(DataError, match=r"real/000.png has label 1, and 0 in the data \(1 such rows\)"):
        read_scores(write(tmp_path / f"t{ending}", rows), samples, [condition("native")], ())


@LABELS
@FORMATS
def test_evaluate_reads_the_same_labels(ending, spelt, tmp_path):
    rows = [{**row, "label": spelt(row["label"])} for row in judged()]
    table = read_score_table(write(tmp_path / f"t{ending}", rows))
    assert table.column("label").to_pylist() == [row["label"] for row in images()]


@pytest.mark.parametrize("label", ["fake", "2", "-1", "0.5", "inf"])
@FORMATS
def test_a_label_that_is_none_is_refused_and_not_passed_over(ending, label, samples, tmp_path):
    rows = [{"path": r["path"], "score": r["score"], "label": str(r["label"])} for r in images()]
    rows[7]["label"] = label
    file = write(tmp_path / f"t{ending}", rows)
    with pytest.raises(DataError) as caught:
        read_scores(file, samples, [condition("native")], ())
    assert str(caught.value).startswith(f"{file}: row 8 has a label other than 0 (real) and 1 (fake): '{label}")


def test_rows_of_trials_that_the_run_has_not_are_told(samples, trials, tmp_path):
    rows = [*complete(trial=""), *complete(trial="fold7")]
    file = write(tmp_path / "t.csv", rows)
    (given,) = read_scores(file, samples, [condition("native")], trials)
    words = f"{file}: 180 of the rows of t are of trials that the run has not, such as fold7; they are not used"
    assert given.notes == (words,)
    assert not given.trains, "no trial of the run trained it"
    (given,) = read_scores(write(file, [*rows, {**rows[0], "trial": "gan/0"}]), samples, [condition("native")], trials)
    assert given.notes == (words,)
    assert given.trains


def test_a_detector_of_other_trials_alone_is_refused_before_hours_of_work(samples, trials, tmp_path):
    file = write(tmp_path / "t.csv", complete(trial="fold7"))
    with pytest.raises(DataError) as caught:
        read_scores(file, samples, [condition("native")], trials)
    words = "t has no row of a trial of the run; its trials are such as 'fold7', those of the run such as 'gan/0'"
    assert str(caught.value) == f"{file}: {words}"


def test_rows_that_nothing_looks_at_are_told(samples, tmp_path):
    rows = [*complete(condition="jpeg70"), *complete(condition="matched"), *complete(condition="jpg90"),
            {"path": "elsewhere/1.png", "score": 1.0, "condition": "jpeg70"}]  # fmt: skip
    file = write(tmp_path / "t.csv", rows)
    (given,) = read_scores(file, samples, [condition("jpeg70")], ())
    assert given.notes == (
        f"{file}: 1 of the images of t are not in the data, such as elsewhere/1.png; they are not used",
        f"{file}: t has rows under jpg90, which is not run; they are not used",
    ), "matched sets the thresholds of jpeg70"


def test_missing_rows_are_seen_before_the_work_whatever_trial_they_are_of(samples, trials, tmp_path):
    tested = np.arange(len(samples.path))
    whole = [*complete(trial="gan/0", condition="native"), *complete(trial="", condition="jpeg70")]
    seen = [condition(name) for name in ("native", "jpeg70")]
    file = tmp_path / "t.csv"
    (given,) = read_scores(write(file, whole), samples, seen, trials)
    given.need_rows(("native", "jpeg70"), tested)
    (given,) = read_scores(write(file, whole[:-2]), samples, seen, trials)
    with pytest.raises(DataError) as caught:
        given.need_rows(("native", "jpeg70"), tested)
    assert str(caught.value) == (f"{file}: no score of t for ldm/028.png under jpeg70 (2 missing); add the rows, with "
                                 "an empty score where it failed")  # fmt: skip
    given.need_rows(("native", "jpeg70"), tested[:-2])


def test_paths_of_another_machine_are_shown(samples, trials, tmp_path):
    rows = [{"path": f"/home/them/{r['path']}", "score": r["score"]} for r in images()]
    with pytest.raises(DataError) as caught:
        scored(write(tmp_path / "t.csv", rows), samples, trials)
    words = "its paths are such as '/home/them/real/000.png', those of the data such as 'real/000.png'"
    assert words in str(caught.value)


def test_one_image_has_one_label_in_evaluate(tmp_path):
    rows = [*judged(detector="a"), {**judged()[0], "detector": "b", "label": 1}]
    with pytest.raises(DataError, match=r"real/000.png has label 0 in one row and 1 in another; give each image one"):
        read_score_table(write(tmp_path / "t.csv", rows))


def test_what_is_no_file_is_said_without_numbers_of_the_system(tmp_path):
    (tmp_path / "run").mkdir()
    for name, said in (("none.csv", "no such file; check the path"), ("run", "is a folder; give a table in it")):
        with pytest.raises(DataError, match=said):
            read_table(tmp_path / name)
    (tmp_path / "run" / "scores.parquet").write_bytes(b"")
    with pytest.raises(DataError, match=r"is a folder; give .*run.scores\.parquet"):
        read_table(tmp_path / "run")
