"""Programs of others (`bench --external`): what they are handed, what they may say, and how they may fail."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fdetect.bench.audit import PROBE_FEATURES
from fdetect.bench.header import portable
from fdetect.bench.layouts import read_manifest
from fdetect.bench.protocols import Samples, samples_of
from fdetect.bench.run import bench
from fdetect.bench.scores.external import run_programs
from fdetect.bench.scores.external_runs import Program, programs_of, run_once, scores_in
from fdetect.bench.scores.given import Given
from fdetect.config import RunConfig, override
from fdetect.engine import Extraction, Store, run
from fdetect.errors import DataError, ParameterError
from fdetect.features import feature, feature_tasks
from fdetect.images import decode
from fdetect.perturb import condition
from fdetect.types import NotRun

PROGRAM = """
    import argparse, csv, json, os
    import numpy as np
    from PIL import Image

    parser = argparse.ArgumentParser()
    for name in ("--manifest", "--out", "--device", "--limit"):
        parser.add_argument(name)
    given = parser.parse_args()
    rows = list(csv.DictReader(open(given.manifest)))
    for row in rows:
        row["score"] = float(np.asarray(Image.open(row["path"]).convert("RGB"))[:64, :64].mean())
    print("seen", len(rows), given.device)
    json.dump(rows, open(os.environ["SEEN"] + str(len(os.listdir(os.environ["SEEN"]))), "w"))
"""
WRITE = """
    with open(given.out, "w", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0])
        writer.writeheader()
        writer.writerows(rows)
"""


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> Path:
    """A manifest of 26 pictures of 88 px: two generators, two kinds of file, two of one content, one broken."""
    folder, rng = tmp_path_factory.mktemp("data"), np.random.default_rng(3)
    rows = []
    for k in range(24):
        label = k % 2
        name = f"{'fake' if label else 'real'} {k:02d}.{'jpg' if k % 3 else 'png'}"
        Image.fromarray(rng.integers(2 * k, 200 + 2 * k, (88, 88, 3), np.uint8)).save(folder / name)
        rows.append([name, label, ("gan", "ldm")[k // 2 % 2] if label else "", f"g{k}"])
    (folder / "again.png").write_bytes((folder / rows[0][0]).read_bytes())
    (folder / "broken.png").write_bytes(b"no picture")
    rows += [["again.png", 0, "", "g0"], ["broken.png", 0, "", "gb"]]
    with (folder / "manifest.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([["path", "label", "generator", "group"], *rows])
    return folder / "manifest.csv"


@pytest.fixture(scope="module")
def known(images) -> tuple[Samples, Extraction]:
    """What a run knows of its images before it runs a program."""
    manifest = read_manifest(images)
    conditions = [condition(name) for name in ("native", "matched", "jpeg70")]
    tasks = feature_tasks([feature.get(PROBE_FEATURES[0])], crop=64)
    samples = samples_of(manifest)
    return samples, run(tasks, list(samples.path), root=images.parent, crop=64, conditions=conditions)


@pytest.fixture
def config(images, tmp_path, monkeypatch):
    """Write a program, and return the configuration of a run with it."""
    (tmp_path / "seen").mkdir()
    monkeypatch.setenv("SEEN", f"{tmp_path / 'seen'}/")
    monkeypatch.setenv("FDETECT_BACKEND", "cpu")
    monkeypatch.chdir(tmp_path)

    def write(text: str = PROGRAM + WRITE, conditions: tuple[str, ...] = ("native",)) -> RunConfig:
        Path("theirs.py").write_text(textwrap.dedent(text))
        return override(RunConfig(), {
            "data.path": str(images), "conditions.names": conditions, "conditions.crop": 64, "features.names": (),
            "detectors.names": ("feature_drift",), "metrics.replicates": 10, "protocol.folds": 2,
            "detectors.external": (f"theirs={sys.executable} theirs.py",),
        })  # fmt: skip

    return write


@pytest.fixture
def ran(config, images, known, tmp_path):
    """Run a program of this text under these conditions, as a benchmark does."""

    def run(text: str = PROGRAM + WRITE, conditions: tuple[str, ...] = ("native",)) -> tuple[list[Given], list[NotRun]]:
        (tmp_path / "run").mkdir(exist_ok=True)
        return run_programs(config(text, conditions), *known, folder=tmp_path / "run", root=str(images.parent))

    return run


def seen(tmp_path: Path) -> list[list[dict[str, str]]]:
    return [json.loads(file.read_text()) for file in sorted((tmp_path / "seen").iterdir())]


# -- what it gets, what becomes of its scores -----------------------------------------------------------------------


def test_its_scores_are_judged_and_labels_are_not_handed_over(config, images, tmp_path):
    times = "row['times'] = '%d %d' % os.stat(row['path'])[7:9]; row['changed'] = os.stat(row['path']).st_ctime_ns"
    text = PROGRAM.replace("for row in rows:", f"for row in rows:\n        {times}")
    done = bench(config(text + WRITE), out=tmp_path / "run", store=Store(tmp_path / "store"))
    (rows,) = seen(tmp_path)
    assert len(rows) == 24, "one for the two of one content, none for the broken one"
    for row in rows:
        assert set(row) == {"path", "label", "generator", "gen_year", "score", "times", "changed"}
        assert row["label"] == row["generator"] == row["gen_year"] == ""
    names = [Path(row["path"]).stem for row in rows]
    assert names == sorted(names), "in an order that says nothing"
    assert all(len(name) == 32 and int(name, 16) >= 0 for name in names), "and so do their names"
    assert {row["times"] for row in rows} == {"0 0"}, "and the times of the files"
    by_written = [Path(row["path"]).stem for row in sorted(rows, key=lambda row: row["changed"])]
    assert by_written == names, "and the order in which they were written"
    found = {row["path"]: row for row in done.scores.to_pylist() if row["detector"] == "theirs"}
    for path, row in found.items():
        if path == "broken.png":
            assert row["status"] == "failed"
            assert row["reason"].startswith("decode: ")
        else:
            pixels = np.asarray(Image.open(images.parent / path).convert("RGB"))[:64, :64]
            assert row["score"] == float(pixels.mean()), path
    assert len(found) == 26
    assert found["again.png"]["score"] == found["real 00.png"]["score"]
    assert {cell.detector for cell in done.result.cells} == {"theirs", "feature_drift"}
    assert [(f.path, f.stage) for f in done.result.failures] == [("broken.png", "decode")]
    assert (tmp_path / "run" / "external" / "theirs" / "native.log").read_text() == "seen 24 cpu\n"
    assert not list((tmp_path / "run").glob("images-*")), "pictures are there while it runs"


def test_natively_it_gets_the_stored_files_and_else_what_others_judge(ran, images, known, tmp_path):
    """jpeg70 is judged by thresholds of matched, which photographs alone set."""
    text = PROGRAM.replace("for row in rows:", "for row in rows:\n        row['size'] = Image.open(row['path']).size")
    (given,), lost = ran(text + WRITE, ("native", "jpeg70"))
    assert not lost
    assert [{tuple(row["size"]) for row in rows} for rows in seen(tmp_path)] == [{(88, 88)}, {(64, 64)}, {(64, 64)}]
    endings = [{Path(row["path"]).suffix for row in rows} for rows in seen(tmp_path)]
    assert endings == [{".png", ".jpg"}, {".jpg"}, {".jpg"}]
    assert [len(rows) for rows in seen(tmp_path)] == [24, 24, 12]
    assert given.conditions == ("native", "jpeg70", "matched")
    pixels = condition("jpeg70")(decode((images.parent / "fake 03.png").read_bytes()),
                                 known[1].ids[3], seed=0, crop=64).pixels  # fmt: skip
    assert given.row("", "jpeg70", "fake 03.png")[0] == float(pixels.mean())
    assert given.row("", "matched", "fake 03.png") is None


@pytest.mark.parametrize(
    "write",
    [
        "json.dump([{'image_path': row['path'], 'pred': row['score']} for row in rows], out)",
        "write('filename;prob_fake', [row['path'].split('/')[-1] + ';' + str(row['score']) for row in rows])",
        "write('\\ufeffpath,score', ['C:' + chr(92) + row['path'][-36:] + ',' + str(row['score']) for row in rows])",
        "write('path,score,label', [row['path'] + ',' + str(row['score']) + ',1' for row in rows[::-1]])",
    ],
    ids=["json", "semicolons", "windows", "labels of its own"],
)
def test_other_tables_say_the_same(ran, write):
    (plain,), _ = ran()
    lines = """
    out = open(given.out, "w")
    write = lambda head, lines: out.write("\\n".join([head, *lines]) + "\\n")
    """
    (given,), lost = ran(PROGRAM + lines + write + "\n")
    assert not lost
    assert repr(given.rows) == repr(plain.rows)
    assert len(given.rows) == 26


def test_a_picture_without_a_usable_score_failed_and_the_others_did_not(ran):
    spoil = """
    rows[3]["score"], rows[5]["score"], missing = "", "inf", rows.pop(7)
    """
    (given,), _ = ran(PROGRAM + spoil + WRITE)
    reasons = sorted(reason for reason in given.reasons["native"].values() if not reason.startswith("decode: "))
    assert {*reasons} == {
        "score: theirs gave no row",
        "score: theirs gave no score",
        "score: theirs gave the score inf",
    }
    assert 3 <= len(reasons) <= 4, "two pictures are one content"
    assert sum(np.isfinite(score) for score, _, _ in given.rows.values()) == 25 - len(reasons)


# -- again ----------------------------------------------------------------------------------------------------------


def test_it_is_not_run_again_for_the_same_and_that_is_said(ran, tmp_path):
    (first,), _ = ran()
    (again,), _ = ran()
    assert len(seen(tmp_path)) == 1
    assert repr(first.rows) == repr(again.rows)
    assert first.digest == again.digest
    assert not first.notes
    assert again.notes[0].startswith("the scores of theirs under native are those of an earlier call; remove ")
    (tmp_path / "run" / "external" / "theirs" / "native.csv").write_text("path,score\n")
    ran()
    assert len(seen(tmp_path)) == 2, "a table that is not the one it wrote"
    (other,), _ = ran(PROGRAM + "\n    rows[0]['score'] = 1e9\n" + WRITE)
    assert len(seen(tmp_path)) == 3, "a program that changed"
    assert other.digest != first.digest


def test_a_table_that_cannot_be_used_is_asked_for_again(ran, tmp_path):
    """What made it so may be mended where the command does not show it."""
    spoil = "    if not os.path.exists('mended'):\n        rows[0]['path'] = 'else.png'\n"
    assert ran(PROGRAM + spoil + WRITE)[1]
    Path("mended").touch()
    (given,), lost = ran(PROGRAM + spoil + WRITE)
    assert not lost
    assert not given.notes
    assert len(seen(tmp_path)) == 2


def test_a_program_that_changed_is_another_run(config):
    one = portable(config())
    assert portable(config()) == one
    assert portable(config(PROGRAM + WRITE + "\n# changed\n")) != one


# -- failures -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("import sys; print('loading', flush=True); sys.exit('CUDA error: out of luck')",
         "under native: it failed with exit code 1; its last words: CUDA error: out of luck"),
        ("raise ValueError('no model')", "failed with exit code 1; its last words: ValueError: no model"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "it was ended by SIGKILL and said nothing"),
        ("print('done')", "it ended without writing the table of --out; its last words: done"),
        (PROGRAM + "\n    open(given.out, 'w').write('file,value\\na,1\\n')", "no column 'path'"),
        (PROGRAM + "\n    rows[0]['path'] = 'else.png'\n" + WRITE, "scores else.png, which was not in the list"),
        (PROGRAM + "\n    rows.append(rows[0])\n" + WRITE, "has two rows for "),
        (PROGRAM + "\n    rows[0]['score'] = '97%'\n" + WRITE, "column 'score' must hold numbers"),
        (PROGRAM + "\n    sys = __import__('sys'); sys.exit(os.path.dirname(rows[0]['path']) + os.sep + 'x is bad')\n",
         "its last words: images/x is bad"),
    ],
)  # fmt: skip
def test_a_program_that_fails_is_not_run(ran, tmp_path, text, reason):
    found, (lost,) = ran(text)
    assert not found
    assert lost.detector == "theirs"
    assert reason in lost.reason
    assert lost.fix == "external/theirs/native.log in the run folder has all it wrote"
    assert str(tmp_path) not in lost.reason, "runs in other folders say the same"


def test_of_two_programs_one_may_fail(config, images, known, tmp_path):
    Path("bad.py").write_text("raise SystemExit(3)")
    mine = override(
        config(), {"detectors.external": (f"bad={sys.executable} bad.py", f"good={sys.executable} theirs.py")}
    )
    (tmp_path / "run").mkdir()
    found, lost = run_programs(mine, *known, folder=tmp_path / "run", root=str(images.parent))
    assert ([one.name for one in found], [one.detector for one in lost]) == (["good"], ["bad"])


def test_what_a_program_does_to_its_pictures_the_next_does_not_see(config, images, known, tmp_path):
    """Files of its own beside them, one overwritten, one removed."""
    spoil = """
    os.remove(rows[1]["path"])
    Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(rows[0]["path"])
    Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(rows[0]["path"][:-4] + "-seen.png")
    """
    mine = config(PROGRAM + WRITE)
    Path("first.py").write_text(textwrap.dedent(PROGRAM + spoil + WRITE))
    both = override(mine, {
        "detectors.external": (f"first={sys.executable} first.py", f"second={sys.executable} theirs.py")
    })  # fmt: skip
    (tmp_path / "run").mkdir()
    (first, second), lost = run_programs(both, *known, folder=tmp_path / "run", root=str(images.parent))
    assert not lost
    assert [len(rows) for rows in seen(tmp_path)] == [24, 24]
    assert repr(second.rows) == repr(first.rows)


def test_pictures_of_a_run_that_was_killed_are_removed(ran, tmp_path):
    """Whatever else is there stays, as do those of a run that goes on."""
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    left = [tmp_path / "run" / f"images-{pid}-ab_12xyz" for pid in (ended.pid, os.getpid())]
    kept = [tmp_path / "run" / name for name in ("images-of-mine", f"images-{os.getppid()}-ab_12xyz")]
    for one in (*left, *kept):
        (one / "images").mkdir(parents=True)
    ran()
    assert not any(one.exists() for one in left)
    assert all(one.exists() for one in kept)


def test_one_that_is_too_slow_is_ended_with_what_it_started(tmp_path):
    text = """import subprocess, sys, time
subprocess.Popen([sys.executable, '-c', %r])
print('waiting', flush=True)
time.sleep(60)
"""
    child = f"import os, time; open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    (tmp_path / "slow.py").write_text(text % child)
    program = Program("slow", (sys.executable, str(tmp_path / "slow.py")))
    since = time.monotonic()
    with pytest.raises(DataError, match=r"it took longer than 2 s; its last words: waiting"):
        run_once(program, [], tmp_path / "out", tmp_path / "log", device="cpu", time_limit=2.0)
    assert time.monotonic() - since < 20
    assert_ended(int((tmp_path / "pid").read_text()))


def test_what_a_program_leaves_behind_is_ended_with_it(tmp_path):
    text = f"""import subprocess, sys
child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])
open({str(tmp_path / "pid")!r}, 'w').write(str(child.pid))
open(sys.argv[sys.argv.index('--out') + 1], 'w').write('path,score')
"""
    (tmp_path / "leaves.py").write_text(text)
    program = Program("leaves", (sys.executable, str(tmp_path / "leaves.py")))
    run_once(program, [], tmp_path / "out", tmp_path / "log", device="cpu", time_limit=20.0)
    assert_ended(int((tmp_path / "pid").read_text()))


def assert_ended(pid: int) -> None:
    for _ in range(100):
        try:
            os.kill(pid, 0)
            stat = Path(f"/proc/{pid}/stat")
            if stat.exists() and stat.read_text().rpartition(")")[2].split()[0] == "Z":
                break
        except ProcessLookupError:
            break
        time.sleep(0.05)
    else:
        pytest.fail("what the program started is still running")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["theirs"], "--external theirs: write NAME=COMMAND"),
        (["=python x.py"], "write NAME=COMMAND"),
        (["a/b=python x.py"], "write NAME=COMMAND, the name of letters"),
        (["..=python x.py"], "write NAME=COMMAND"),
        (["a=python 'x.py"], "the command cannot be read (No closing quotation)"),
        (["a=no-such-program x"], "--external a: there is no program 'no-such-program' to run; give its path"),
        ([f"a={sys.executable} x", f"a={sys.executable} y"], "--external names two programs 'a'"),
    ],
)
def test_a_command_that_cannot_be_read_is_one_sentence(given, words):
    with pytest.raises(ParameterError) as caught:
        programs_of(given)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_command_is_told_apart_by_the_files_in_it_and_not_by_its_folders(tmp_path):
    for folder, text in (("a", "x = 1"), ("b", "x = 1"), ("c", "x = 2")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "run.py").write_text(text)
    a, b, c = (Program("p", ("/usr/bin/python", str(tmp_path / f / "run.py"), "--k", "1")).identity for f in "abc")
    assert a == b != c
    assert a.startswith("p=python run.py --k 1 ")
    weights = [Program("p", ("python", "-m", "run", f"--w={tmp_path}/{f}/run.py")).identity for f in "abc"]
    assert weights[0] == weights[1] != weights[2]
    assert weights[0].startswith("p=python -m run --w=run.py ")


def test_a_program_given_by_its_path_is_told_apart_by_its_content_and_its_folder(tmp_path):
    for folder, text in (("a", "exit 1"), ("b", "exit 1"), ("c", "exit 2")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "run.sh").write_text(text)
    a, b, c = (Program("p", (str(tmp_path / f / "run.sh"), "--k")) for f in "abc")
    assert a.identity == b.identity != c.identity, "no folder in what a result says"
    assert a.identity.startswith("p=run.sh --k ")
    assert len({a.place, b.place, c.place}) == 3, "what lies beside it may differ"
    (tmp_path / "link").symlink_to(tmp_path / "a")
    linked = Program("p", (str(tmp_path / "link" / "run.sh"),)).place
    (tmp_path / "link").unlink()
    (tmp_path / "link").symlink_to(tmp_path / "b")
    assert Program("p", (str(tmp_path / "link" / "run.sh"),)).place != linked
    assert Program("p", ("python", "x")).identity == "p=python x", "one that is found on PATH is known by its name"


def test_an_edited_program_and_its_twin_in_another_folder_are_run(config, images, known, tmp_path):
    mine = config()
    for folder in ("v1", "v2"):
        Path(folder).mkdir()
        Path(folder, "prog").write_text(f'#!/bin/sh\nexec "{sys.executable}" theirs.py "$@"\n')
        Path(folder, "prog").chmod(0o755)
    (tmp_path / "run").mkdir()

    def run_it(folder: str) -> int:
        one = override(mine, {"detectors.external": (f"theirs=./{folder}/prog",)})
        run_programs(one, *known, folder=tmp_path / "run", root=str(images.parent))
        return len(seen(tmp_path))

    assert [run_it("v1"), run_it("v1"), run_it("v2")] == [1, 1, 2]
    Path("v2/prog").write_text(Path("v2/prog").read_text() + "# edited\n")
    assert run_it("v2") == 3


def test_names_are_found_in_paths_of_either_kind(tmp_path):
    file = tmp_path / "t.csv"
    file.write_text("path,score\n/a/b/01.png,1\nC:\\x\\02.jpg,2\n03,3\n")
    assert scores_in(file, {"01", "02", "03", "04"}) == {"01": 1.0, "02": 2.0, "03": 3.0}
