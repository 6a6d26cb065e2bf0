"""The command line as a user meets it: help, one-sentence errors, exit codes, files."""

from __future__ import annotations

import csv
import itertools
import os
import re
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest
from PIL import Image

from fdetect.cli import cli, main
from fdetect.nets import shipped

COMMANDS = sorted(cli.commands)


@pytest.fixture
def fdetect(monkeypatch, capsys, tmp_path):
    """Run the command line in this process: arguments -> (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

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


QUICK = ("--features", "radial_spectrum,npr_statistics", "--workers", "0")
BENCH = (*QUICK, "--crop", "128", "--conditions", "native,matched", "--heads", "logreg", "--replicates", "20")


@pytest.mark.parametrize("command", [None, *COMMANDS])
def test_help_is_there(fdetect, command):
    code, out, _ = fdetect(*([command] if command else []), "--help")
    assert code == 0
    assert "Usage" in out


def test_help_names_every_command(fdetect):
    _, out, _ = fdetect("--help")
    for command in ("bench", "extract", "fit", "score", "evaluate", "audit", "list", "doctor"):
        assert command in out


def test_the_installed_command_and_the_module_are_the_same():
    outs = [
        subprocess.run([*start, "--version"], capture_output=True, text=True, timeout=60, check=True).stdout
        for start in ([str(Path(sys.executable).with_name("fdetect"))], [sys.executable, "-m", "fdetect"])
    ]
    assert outs[0] == outs[1]
    assert "fdetect" in outs[0]


def test_bench_prints_the_audit_first_and_says_where_it_wrote(fdetect, small_set, tmp_path):
    code, out, err = fdetect("bench", small_set, *BENCH, "--out", tmp_path / "run")
    assert code == 0, err
    order = [out.index(text) for text in ("Audit: the label", "Audit: JPEG history", "\nnative, ", "Not run")]
    assert order == sorted(order)
    assert "report.html" in out
    assert (tmp_path / "run" / "report.html").stat().st_size > 10_000
    assert (tmp_path / "run" / "run.json").exists()
    again, repeated, _ = fdetect("bench", tmp_path / "run" / "config.toml", "--workers", "0", "--out", tmp_path / "run")
    assert again == 0
    assert repeated.split("every generator")[0] == out.split("every generator")[0]


def test_dry_run_runs_nothing(fdetect, small_set, tmp_path):
    code, out, _ = fdetect("bench", small_set, "--dry-run", "--crop", "128")
    assert code == 0
    assert "sim-nearest" in out
    assert "PNG" in out
    assert "sim-nearest/0" in out  # the trials
    assert "heads (8): logreg:harmonics, " in out
    assert "not run: rigid: " in out
    table = out.split("\nfiles\n")[1].split("\n\n")[0].splitlines()
    assert len(table) == 5  # one line each: names of columns, a real source, two generators, the note
    assert "total_bytes" not in out
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(("options", "words"), [
    (("--detectors", "foo"), "no detector 'foo'"),
    (("--detectors", "nofile.py:X"), "nofile.py: no such file"),
    (("--scores", "nofile.csv"), "nofile.csv"),
    (("--external", "x=nocmd"), "there is no program 'nocmd'"),
    (("--encoder", "dinov2-base", "--detectors", "none"), "none of the detectors (none is run) takes it"),
    (("--replicates", "-1"), "replicates is -1; give 0 or more"),
    (("--heads", "none", "--family-heads", "none", "--detectors", "none"), "no detector is left to run"),
    (("--detectors", "rigid", "--heads", "none", "--family-heads", "none"), "rigid did not run: "),
    (("--out", "."), "is not empty and holds no run"),
])  # fmt: skip
def test_a_dry_run_refuses_what_the_run_refuses(fdetect, small_set, tmp_path, options, words):
    """It settles what the run settles; the run itself says the same before its first image."""
    (tmp_path / "something").write_text("")
    found = {}
    for how in (("--dry-run",), ()):
        code, out, err = fdetect("bench", small_set, *options, *how)
        assert (code, out) == (2, "")
        assert words in err
        found[how] = err
    assert len(set(found.values())) == 1


@pytest.mark.parametrize(("detector", "left_out", "options", "words"), [
    ("logreg:spectrum", 0, (), "'logreg:spectrum' (the heads and --scores t.csv); rename the one of --scores t.csv"),
    ("best_single", 0, ("--best-single",), "'best_single' (--best-single and --scores t.csv); rename the one of"),
    ("mine", 0, ("--scores", "t.csv"), "'mine' (--scores t.csv); rename the one of --scores t.csv, or leave it out"),
    ("mine", 0, ("--external", "mine=true"), "'mine' (--external and --scores t.csv); rename the one of --scores"),
    ("feature_drift", 0, ("--detectors", "feature_drift"), "'feature_drift' (--detectors and --scores t.csv)"),
    ("mine", 1, (), "t.csv: no score of mine for "),
])  # fmt: skip
def test_names_and_missing_rows_are_refused_before_the_first_image(
    fdetect, small_set, tmp_path, detector, left_out, options, words
):  # fmt: skip
    with small_set.open(newline="") as file:
        paths = [row["path"] for row in csv.DictReader(file)]
    lines = [f"{detector},native,{path},{k}" for k, path in enumerate(paths[left_out:])]
    (tmp_path / "t.csv").write_text("\n".join(["detector,condition,path,score", *lines, ""]))
    none = () if "--detectors" in options else ("--detectors", "none")
    common = (small_set, "--conditions", "native", "--features", "radial_spectrum", "--heads", "none", *none,
              "--crop", "128", "--scores", "t.csv", *options)  # fmt: skip
    for how in (("--dry-run",), ()):
        code, out, err = fdetect("bench", *common, *how)
        assert (code, out) == (2, "")
        assert words in err
        assert not (tmp_path / "runs").exists()


def test_a_dry_run_without_data_says_that_it_wrote_the_built_in_images(fdetect, small_set, tmp_path, monkeypatch):
    monkeypatch.setattr(shipped, "SHIPPED_HOME", tmp_path)  # no networks there, whose images take ten seconds each
    fewest = ("--features", "radial_spectrum", "--heads", "none", "--detectors", "none", "--dry-run")
    code, out, err = fdetect("bench", "--store", tmp_path / "kept", *fewest)
    assert code == 0, err
    (folder,) = (tmp_path / "kept").glob("builtin-*")
    assert f"nothing was run; the built-in images are in {folder}/; without --dry-run" in out.splitlines()[-1]
    assert "built-in images are in" not in fdetect("bench", small_set, *fewest)[1]


def test_a_folder_of_another_run_names_the_first_setting_that_differs(fdetect, small_set, tmp_path):
    fewest = ("--features", "radial_spectrum", "--heads", "none", "--detectors", "none", "--workers", "0")
    common = (small_set, *fewest, "--crop", "128", "--replicates", "20", "-o", "run")
    code, out, err = fdetect("bench", *common, "--condition", "matched")
    assert code == 0, err
    assert "\nhighest under matched: logreg:spectrum, macro AUROC 0." in out
    for more, words in (
        (("--condition", "jpeg70"), "conditions.names was matched there and is jpeg70 now"),
        (("--condition", "matched", "--seed", "3"), "seed was 0 there and is 3 now"),
    ):
        for how in ((), ("--dry-run",)):
            code, _, err = fdetect("bench", *common, *more, *how)
            assert code == 2
            assert words in err


def test_data_without_a_readable_file_names_root(fdetect, small_set, tmp_path):
    (tmp_path / "moved.csv").write_bytes(small_set.read_bytes())
    for command in (("data", "check", "moved.csv", "--workers", "0"),
                    ("bench", "moved.csv", "--dry-run", "--crop", "128")):  # fmt: skip
        code, out, err = fdetect(*command)
        assert code == 2
        assert "name it as --root" in err
        assert "No such file or directory" in err
        assert "cannot be read" in out  # what was found is shown all the same
        assert fdetect(*command, "--root", small_set.parent)[0] == 0


def test_a_biased_set_fails_on_request(fdetect, small_set, tmp_path):
    with small_set.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    from PIL import Image

    for row in rows:
        with Image.open(small_set.parent / row["path"]) as image:
            name = Path(row["path"]).stem + row["generator"]
            row["path"] = f"{name}.{'png' if row['label'] == '1' else 'jpg'}"
            image.convert("RGB").resize((160, 160 + 20 * int(row["label"]))).save(tmp_path / row["path"])
    with (tmp_path / "m.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    options = ("--crop", "128", "--conditions", "native", "--workers", "0", "--replicates", "20")
    code, out, _ = fdetect("audit", tmp_path / "m.csv", *options, "--fail-if-biased")
    assert code == 1
    assert "BIASED" in out
    code, _, _ = fdetect("audit", tmp_path / "m.csv", *options)
    assert code == 0


def test_an_audit_of_nothing_lists_why_and_does_not_pass(fdetect, tmp_path):
    for folder in ("real", "fake"):
        (tmp_path / "data" / folder).mkdir(parents=True)
        for k in range(6):
            (tmp_path / "data" / folder / f"{k}.jpg").write_bytes(f"no image {folder} {k}".encode())
    options = ("audit", "data", "--conditions", "native", "--workers", "0", "--replicates", "5")
    code, out, err = fdetect(*options)
    assert code == 0
    assert "Images that failed" in out
    assert "12" in out.split("Images that failed")[1]
    assert "too few images (0 real, 0 fake)" in out
    assert "nothing could be measured" in err
    code, _, err = fdetect(*options, "--fail-if-biased")
    assert code == 1
    assert "--fail-if-biased: native: not audited: too few images" in err


def test_extract_fit_score_evaluate(fdetect, small_set, tmp_path):
    shape = (*QUICK, "--crop", "128", "--workers", "1")  # and not in this process
    code, out, err = fdetect("extract", small_set, "-o", "features.csv", *shape)
    assert code == 0, err
    with (tmp_path / "features.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert "radial_spectrum:" in ",".join(rows[0])
    assert {"id", "path", "label", "status", "reason"} <= set(rows[0])
    code, out, err = fdetect("fit", small_set, "-o", "my.fdetect", *shape)
    assert code == 0, err
    assert "calibration reals" in out
    code, _, err = fdetect("score", small_set, "--model", "my.fdetect", "-o", "scores.csv", "--workers", "1")
    assert code == 0, err
    code, out, err = fdetect("evaluate", "scores.csv", "--replicates", "20")
    assert code == 0, err
    assert "AUROC" in out


def test_strict_turns_failures_into_exit_code_3(fdetect, tmp_path):
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "a.jpg").write_bytes(b"no image")
    arguments = ("extract", "pictures", "-o", "f.csv", *QUICK)
    code, out, err = fdetect(*arguments)
    assert code == 2  # nothing is left
    assert "1 failed" in out
    assert "a.jpg: decode:" in err
    assert "every image failed" in err
    assert (tmp_path / "f.csv").exists()
    Image.new("RGB", (240, 240)).save(tmp_path / "pictures" / "b.png")
    code, out, err = fdetect(*arguments)
    assert (code, out) == (0, "2 images, 100 columns, 1 failed: f.csv\n")
    assert fdetect(*arguments, "--strict")[0] == 3


def test_files_are_named_one_a_line(fdetect, small_set, tmp_path):
    files = sorted(small_set.parent.rglob("*.png"))[:3]
    (tmp_path / "list.txt").write_text("\n".join(map(str, files[1:])) + "\n\n")
    out = fdetect("extract", files[0], "--files-from", "list.txt", "-o", "f.csv", "--crop", "128", *QUICK)[1]
    assert out == "3 images, 100 columns, 0 failed: f.csv\n"
    code, _, err = fdetect("extract", "-o", "f.csv", *QUICK)
    assert (code, err) == (2, "fdetect: no images were given; name images, folders, patterns or shards\n")


def test_every_command_says_what_it_read_what_failed_and_how_fast(fdetect, small_set, tmp_path):
    with tarfile.open(tmp_path / "cut.tar", "w") as shard:
        for k, file in enumerate(sorted(small_set.parent.rglob("*.png"))[:4]):
            shard.add(file, f"{k}.png")
    whole = (tmp_path / "cut.tar").read_bytes()
    (tmp_path / "cut.tar").write_bytes(whole[: len(whole) * 5 // 8])
    code, out, err = fdetect("fit", small_set, "-o", "m.fdetect", "--crop", "128", *QUICK)
    assert code == 0
    assert re.search(r", 0 failed, \d+ reals kept for thresholds, \d+ fakes of their groups left out: m.fdetect", out)
    assert err.splitlines()[-1].startswith("fdetect: 82 images in ")
    for arguments in (("score", "--model", "m.fdetect"), ("extract", "--crop", "128", *QUICK)):
        code, out, err = fdetect(*arguments, "cut.tar", "-o", "s.csv", "--strict")
        said = err.splitlines()
        assert code == 3
        assert "cut.tar" in said[0]
        assert any(line.startswith("fdetect: cut.tar: read: ") for line in said)
        assert sum(line.startswith("fdetect: ") and " images in " in line for line in said) == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("bench", "nowhere"), "nowhere"),
        (("bench", "nowhere.toml"), "nowhere.toml"),
        (("extract", "nowhere", "-o", "x.csv"), "nowhere"),
        (("extract", "--files-from", "nowhere", "-o", "x.csv"), "--files-from nowhere: No such file or directory"),
        (("score", "nowhere", "-o", "x.csv", "--model", "m", "--detector", "rigid"), "either --model FOLDER or"),
        (("score", "nowhere", "-o", "x.csv", "--model", "m", "--crop", "64"), "--crop go with --detector"),
        (("evaluate", "nowhere.csv"), "nowhere.csv"),
        (("fit", "nowhere", "-o", "x"), "nowhere"),
        (("audit", "nowhere"), "nowhere"),
        (("bench", "nowhere", "--features", "radial*", "--drop-one", "logreg"), "--drop-one needs two families"),
        (("bench", "nowhere", "--features", "none", "--drop-one", "logreg"), "the chosen features have none"),
        (("bench", "nowhere", "--features", "radial*", "--per-preset", "logreg"), "--per-preset finds no preset"),
        (("bench", "nowhere", "--drop-one", "logre"), "did you mean 'logreg'"),
    ],
)
def test_bad_usage_is_one_sentence_and_exit_code_2(fdetect, arguments, words):
    code, _, err = fdetect(*arguments)
    assert code == 2
    assert words in err
    assert len(err.strip().splitlines()) == 1
    assert "Traceback" not in err


@pytest.fixture
def two_tables(tmp_path) -> list[Path]:
    """Two score tables of the same detector on the same images."""
    rows = [f"real {k}.png,0,,{k / 10},mine\n" for k in range(6)] + [f"{k}.png,1,gan,{k / 4},mine\n" for k in range(6)]
    files = [tmp_path / "a.csv", tmp_path / "b.csv"]
    for file in files:
        file.write_text("path,label,generator,score,detector\n" + "".join(rows))
    return files


def test_two_tables_with_the_same_rows_are_refused_and_not_pooled(fdetect, two_tables):
    first, second = two_tables
    assert fdetect("evaluate", first, "--replicates", "5")[0] == 0
    code, out, err = fdetect("evaluate", first, second, "--replicates", "5")
    assert (code, out) == (2, "")
    assert err.startswith(
        f"fdetect: {first} and {second}: mine has two rows for real 0.png under as given in all/0; keep"
    )
    assert len(err.strip().splitlines()) == 1
    assert fdetect("evaluate", first, second, "--pair", "mine,mine", "--replicates", "5")[0] == 2


def test_evaluate_does_not_write_over_what_it_reads(fdetect, two_tables, tmp_path):
    before = two_tables[0].read_bytes()
    code, _, err = fdetect("evaluate", "a.csv", "--csv", tmp_path / "." / "a.csv", "--replicates", "5")
    assert code == 2
    assert "is one of the score tables to read" in err
    assert two_tables[0].read_bytes() == before
    assert fdetect("evaluate", "a.csv", "--csv", "cells.csv", "--replicates", "5")[0] == 0
    assert (tmp_path / "cells.csv").exists()


@pytest.mark.parametrize("command", [("bench",), ("audit",), ("evaluate", "a.csv")])
def test_a_seed_below_zero_is_bad_usage(fdetect, two_tables, command):
    code, _, err = fdetect(*command, "--seed", "-1")
    assert code == 2
    assert "--seed" in err
    assert "Traceback" not in err


@pytest.mark.parametrize(("option", "value"), [("--folds", "1"), ("--folds", "9999"), ("--calibration", "1.5")])
def test_a_number_out_of_range_names_its_option(fdetect, small_set, option, value):
    code, _, err = fdetect("bench", small_set, "--dry-run", option, value)
    assert code == 2
    assert f"{option} is {value}; give" in err


def test_a_plain_folder_of_fakes_is_told_what_to_do(fdetect, tmp_path):
    from PIL import Image

    for folder in ("real", "fake"):
        (tmp_path / "data" / folder).mkdir(parents=True)
        for k in range(12):
            Image.new("RGB", (160, 160), (k, k, len(folder))).save(tmp_path / "data" / folder / f"{k}.png")
    code, _, err = fdetect("bench", "data", "--dry-run")
    assert code == 2
    advice = "--protocol train_on --train unknown"
    assert "fake/<generator>/" in err
    assert err.strip().endswith(advice)
    assert fdetect("bench", "data", "--dry-run", "--crop", "128", *advice.split())[0] == 0


def test_layouts_are_drawn_where_texts_say_they_are(fdetect):
    code, out, _ = fdetect("list", "layouts")
    assert code == 0
    assert "0_real/*" in out
    assert "nature/*" in out


def test_an_unknown_option_is_bad_usage(fdetect):
    assert fdetect("bench", "--conditional", "native")[0] == 2


@pytest.mark.parametrize("command", COMMANDS)
def test_an_option_has_one_name_in_all_commands(command):
    """--condition and --conditions are one option wherever there is either, and so are -o and --out."""
    for name in ("condition", "out"):
        for option in (one for one in cli.commands[command].params if one.name in (name, f"{name}s")):
            also = {"out": ("-o", "--out"), "condition": ("--condition", "--conditions")}[name]
            if option.opts != [name]:  # an argument, as OUT of perturb, has its name alone
                assert set(also) <= set(option.opts)


def test_conditions_are_listed_and_kinds_are_found(fdetect):
    code, out, _ = fdetect("list", "conditions")
    assert code == 0
    assert all(name in out for name in ("native", "matched", "rescaled", "launder_NAME", "wear", "sharing", "jpeg95"))
    assert fdetect("list", "conditions", "wear")[1].split()[:2] == ["matched", "jpeg95"]
    assert fdetect("list", "conditions", "resize50+blur1")[1] == "resize50+blur1: crop, resize 50, blur 1, jpeg 90\n"
    code, _, err = fdetect("list", "condition")
    assert code == 2
    assert err.startswith("fdetect: no kind 'condition'; did you mean 'conditions'? (features, ")
    assert len(err.splitlines()) == 1
    for kind, first in (("heads", "logreg"), ("metrics", "auroc")):
        assert fdetect("list", kind)[1].splitlines()[1].split()[0] == first
    said = fdetect("list")[1].splitlines()
    assert said[0] == "kinds"
    assert "conditions" in " ".join(said[1:4])


def test_a_detector_without_a_threshold_says_how_it_gets_one(fdetect, small_set):
    code, _, err = fdetect("score", small_set, "--detector", "feature_drift", "--crop", "128", "-o", "s.csv",
                           "--workers", "0")  # fmt: skip
    assert code == 0, err
    assert err.count("feature_drift has no threshold, so every decision is undecided; fdetect fit PHOTOS") == 1


def test_gpu_that_is_not_there_is_an_error_and_never_a_fallback(fdetect, small_set):
    from fdetect.backend import resolve

    if resolve("auto").name == "gpu":
        pytest.skip("this machine has a GPU")
    code, _, err = fdetect("extract", small_set, "-o", "x.csv", "--backend", "gpu")
    assert code == 2
    assert "gpu cannot run" in err


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("features", "npr_statistics"), ("maps", "log_power"), ("detectors", "rigid"), ("heads", "hist_gb"),
        ("protocols", "cross_generator"), ("layouts", "genimage"), ("metrics", "auroc"), ("presets", "standard"),
        ("perturbations", "webp"), ("fused-detectors", "fused"),
    ],
)  # fmt: skip
def test_list_shows_names_and_lines(fdetect, kind, name):
    code, out, _ = fdetect("list", kind)
    assert code == 0
    assert name in out


def test_list_of_one_thing_is_its_documentation(fdetect):
    code, out, _ = fdetect("list", "features", "npr_statistics")
    assert code == 0
    assert "->" in out


def test_list_of_columns_counts_them_and_names_those_of_a_feature(fdetect):
    from fdetect.features import column_names, feature, preset

    code, out, _ = fdetect("list", "columns")
    assert code == 0
    lines = [line.split() for line in out.splitlines()]
    assert lines[0] == ["feature", "family", "columns", "first", "last", "settings"]
    assert {line[0]: int(line[2]) for line in lines[1:]} == {e.name: len(column_names(e)) for e in feature}
    families = [line[1] for line in lines[1:]]
    assert sum(a != b for a, b in itertools.pairwise(families)) + 1 == len(set(families))  # side by side
    assert ["residual_cooccurrence", "residual", "1014", "first_0_0_0_0", "square5x5_2_2_2_2", "step=3.0"] in lines
    code, out, _ = fdetect("list", "columns", "npr_statistics")
    assert (code, out.splitlines()) == (0, list(column_names(feature.get("npr_statistics"))))
    out = fdetect("list", "columns", "standard")[1]
    assert set(out.splitlines()) == {name for entry in preset("standard") for name in column_names(entry)}
    code, _, err = fdetect("list", "columns", "npr_statistic")
    assert (code, err.count("did you mean 'npr_statistics'")) == (2, 1)


def test_doctor_says_what_is_absent_and_how_to_get_it(fdetect):
    code, out, _ = fdetect("doctor")
    assert code == 0
    assert "weights dinov2-large" in out
    assert "backend gpu" in out


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_stopped_in_the_middle_it_says_so_and_resumes(small_set, tmp_path, number, code):
    command = [sys.executable, "-m", "fdetect", "extract", str(small_set), "-o", str(tmp_path / "f.parquet"),
               "--crop", "128", "--condition", "matched", "--store", str(tmp_path / "s"), "--workers", "2"]  # fmt: skip
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    deadline = time.monotonic() + 60
    while len(list(Path(f"/proc/{process.pid}/task").iterdir())) < 5:  # not reading ahead yet
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.005)
    os.killpg(process.pid, number)  # as a terminal does: the workers get it too
    _, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    assert err.splitlines()[-1] == "fdetect: stopped; what was finished is kept, the same command resumes"
    assert "Traceback" not in err
    assert not (tmp_path / "f.parquet").exists()
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert " 0 failed: " in done.stdout


def test_long_work_writes_a_line_now_and_then_where_stderr_is_no_terminal(capsys):
    from fdetect.cli.common import progress_lines

    quick, slow = progress_lines(every=60.0), progress_lines(every=0.0)
    quick("extract", 1, 2)
    slow("extract | matched", 3, 8)
    assert capsys.readouterr().err == "fdetect: extract  matched: 3 of 8\n"


def test_a_full_disk_behind_the_output_is_one_sentence():
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "fdetect", "list", "features"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (2, "fdetect: the output cannot be written: No space left on device\n")


def test_extract_takes_many_inputs_and_says_how_fast_it_was(fdetect, small_set):
    first, second = sorted(small_set.parent.rglob("*.png"))[:2]
    options = ("--crop", "128", "--store", "s", *QUICK, "--workers", "1")  # whose start is slower than any disk
    code, out, err = fdetect("extract", first, second, first, "-o", "f.parquet", *options)
    assert (code, out) == (0, "2 images, 100 columns, 0 failed: f.parquet\n")
    said = err.splitlines()
    assert said[0].startswith("fdetect: 2 images without labels, by their paths below /")
    assert said[0].endswith("; 1 listed twice")
    assert said[-1].startswith("fdetect: 2 images in ")
    assert "images/s; time by lane: " in said[-1]
    assert said[-1].endswith(("slowest lane: compute", "slowest lane: decode"))
