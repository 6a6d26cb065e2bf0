"""Odd files and odd names, through the engine and through the command line: what must come out is stated for each."""

from __future__ import annotations

import contextlib
import csv
import os
import pty
import socket
import subprocess
import sys
import unicodedata
from pathlib import Path

import numpy as np
import pyarrow.csv
import pyarrow.parquet
import pytest
from test_images import random_pixels, saved
from tiny_tasks import Moments

from fdetect.engine import run
from fdetect.engine.listing import list_images
from fdetect.errors import DataError, ParameterError

UMLAUT = "Übergrößenträger"
GOOD_NAMES = (
    *("with space.png", " leading and trailing .png", "new\nline.png", "carriage\r\nreturn.png", "tab\there.png"),
    *("quo'te\".png", "comma,semi;colon.png", "back\\slash.png", "-rf.png", "--help.png", "=1+1.png", "%41.png"),
    *("a*[1]?.png", "{brace}$(echo).png", "~.png", "日本語.png", "😀.png", "bell\x07.png", "esc\x1b[31mred.png"),
    *(unicodedata.normalize("NFC", f"{UMLAUT}.png"), unicodedata.normalize("NFD", f"{UMLAUT}.png")),
    *("n" * 251 + ".png", "UPPER.PNG", "mirror\u202egnp.png", "del\x7f.png", "two.dots.png", "folder.jpg/inside.png"),
)
CONTROL = "text\x1b[2J\nof control.jpg"
UNKNOWN = "no image of a known format (unknown or damaged header)"
FAILURES = {
    "text.jpg": ("decode", UNKNOWN),
    CONTROL: ("decode", UNKNOWN),
    "zero bytes.png": ("decode", "the file is empty (0 bytes)"),
    "fifo.jpg": ("read", "not a regular file"),
    "socket.jpg": ("read", "not a regular file"),
    "device.jpg": ("read", "not a regular file"),  # a link to /dev/zero, which never ends
    "grows.jpg": ("read", "the file changed while it was read"),  # a link to a file that says it has 0 bytes
    "dangling.jpg": ("read", "No such file or directory"),
    "loop.jpg": ("read", "Too many levels of symbolic links"),
    "huge.png": ("read", "larger than the 1 GiB that an image may have (3221225472 bytes)"),
    "bad\\xff.png": ("read", "No such file or directory; \\x stands for a byte of a name that is not UTF-8: "
                     "rename the file"),
    "small.png": ("geometry", "40x30 is too small for condition native: both sides need 72 px (no --crop "
                  "fits it: the least is 64)"),
}  # fmt: skip


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of everything that a file can be."""
    base = tmp_path_factory.mktemp("odd files")
    folder, elsewhere = base / "odd", base / "elsewhere"
    (folder / "folder.jpg").mkdir(parents=True)
    elsewhere.mkdir()
    for k, name in enumerate(GOOD_NAMES):
        (folder / name).write_bytes(saved(random_pixels(80, 96, seed=k), "PNG"))
    pixels = random_pixels(90, 90, seed=99)
    (folder / "jpeg.png").write_bytes(saved(pixels, "JPEG"))
    (folder / "png.tiff").write_bytes(saved(pixels, "PNG"))
    (folder / "twin.png").write_bytes((folder / GOOD_NAMES[0]).read_bytes())
    (elsewhere / "outside.png").write_bytes(saved(random_pixels(80, 80, seed=100), "PNG"))
    (folder / "link.png").symlink_to(elsewhere / "outside.png")

    for name in ("text.jpg", CONTROL):
        (folder / name).write_text("no image at all, in many words\n" * 9)
    (folder / "zero bytes.png").touch()
    (folder / "small.png").write_bytes(saved(random_pixels(30, 40), "PNG"))
    os.mkfifo(folder / "fifo.jpg")
    here = os.getcwd()
    with socket.socket(socket.AF_UNIX) as one:
        os.chdir(folder)  # a socket's path is short
        one.bind("socket.jpg")
        os.chdir(here)
    (folder / "device.jpg").symlink_to("/dev/zero")
    (folder / "grows.jpg").symlink_to("/proc/version")
    (folder / "dangling.jpg").symlink_to("nowhere.jpg")
    (folder / "loop.jpg").symlink_to("loop.jpg")
    with (folder / "huge.png").open("wb") as file:
        file.truncate(3 << 30)  # of holes
    Path(os.fsdecode(os.fsencode(folder) + b"/bad\xff.png")).write_bytes(saved(pixels, "PNG"))

    (folder / "again").symlink_to(".")  # a loop of folders
    (folder / "outside").symlink_to(elsewhere)
    (folder / ".hidden.png").write_bytes(saved(pixels, "PNG"))
    (folder / "notes.txt").write_text("no image")
    (folder / "empty.jpg").mkdir()
    return folder


ALSO_GOOD = ("jpeg.png", "png.tiff", "twin.png", "link.png")
PASSED_OVER = "2 other files passed over: 1 .txt, 1 hidden; 2 other folders not entered: 2 linked"


def check(rows: dict[str, dict], values: dict[str, list[float]]) -> None:
    """What every way through must give for the whole folder: a row's id, status and reason; its values."""
    assert set(rows) == {*GOOD_NAMES, *ALSO_GOOD, *FAILURES}
    for name in (*GOOD_NAMES, *ALSO_GOOD):
        assert (rows[name]["status"], rows[name]["reason"]) == ("ok", ""), name
        assert np.isfinite(values[name]).all(), name
    for name, (stage, reason) in FAILURES.items():
        assert (rows[name]["status"], rows[name]["reason"]) == ("failed", f"{stage}: {reason}"), name
        assert np.isnan(values[name]).all(), name
    assert rows["twin.png"]["id"] == rows[GOOD_NAMES[0]]["id"]
    assert values["twin.png"] == values[GOOD_NAMES[0]]
    assert len({row["id"] for row in rows.values()}) == len(rows) - 2  # the twins; two equal texts
    assert values["jpeg.png"] != values["png.tiff"]


# --- the engine ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [0, 2])
def test_every_odd_file_is_a_row_or_a_named_failure(odd: Path, workers: int) -> None:
    found = list_images([odd])
    assert found.remarks == PASSED_OVER
    names = found.paths.to_pylist()
    assert names == sorted(names, key=os.fsencode)
    done = run([Moments()], found.paths, root=found.root, crop=64, workers=workers)
    table = done.tables["native", "moments"]
    failed = {failure.path: f"{failure.stage}: {failure.reason}" for failure in table.failures}
    rows = {path: {"id": id, "status": "failed" if path in failed else "ok", "reason": failed.get(path, "")}
            for path, id in zip(table.paths, table.ids, strict=True)}  # fmt: skip
    check(rows, dict(zip(table.paths, table.values.tolist(), strict=True)))
    assert all(reason.isprintable() for reason in failed.values())


def test_a_path_may_stand_in_a_list_once(odd: Path) -> None:
    with pytest.raises(ParameterError, match=r"^the same path is listed twice, 'new\\nline\.png'"):
        run([Moments()], ["new\nline.png", "UPPER.PNG", "new\nline.png"], root=odd, crop=64)
    found = list_images([odd / "UPPER.PNG", odd, odd / "UPPER.PNG"])
    assert found.paths.to_pylist()[0] == "UPPER.PNG"
    assert len(found.paths) == len({*GOOD_NAMES, *ALSO_GOOD, *FAILURES})
    assert found.remarks.endswith("; 2 listed twice")
    same_place = ["UPPER.PNG", "./UPPER.PNG", "folder.jpg/../UPPER.PNG"]  # as given: three names, one content
    done = run([Moments()], same_place, root=odd, crop=64)
    assert (done.n_computed, len(set(done.ids))) == (1, 1)
    assert len(np.unique(done.tables["native", "moments"].values, axis=0)) == 1


def test_names_that_no_file_can_have_are_failures(tmp_path: Path) -> None:
    names = ["", ".", "..", "nul\0.png", "x" * 300 + ".png", "a/" * 3000 + "b.png", "no/such/folder.png"]
    done = run([Moments()], names, root=tmp_path, crop=64)
    reasons = [failure.reason for failure in done.tables["native", "moments"].failures]
    assert reasons[:3] == ["Is a directory"] * 3
    assert reasons[3] == "no file can have this name (embedded null byte)"
    assert reasons[4:] == ["File name too long", "File name too long", "No such file or directory"]
    with pytest.raises(DataError, match=r"^the name 'bad\\udcff\.png' is not valid UTF-8; rename the file$"):
        run([Moments()], ["bad\udcff.png"], root=tmp_path, crop=64)


def test_files_that_shrink_vanish_or_turn_during_the_run_fail_alone(tmp_path: Path) -> None:
    names = [f"{k:03d}.png" for k in range(200)]
    for k, name in enumerate(names):
        (tmp_path / name).write_bytes(saved(random_pixels(72, 72, seed=k), "PNG"))
    changed: list[int] = []

    def meddle(what: str, done: int, total: int) -> None:
        if not changed:  # the first report; the last files are beyond what is read ahead
            changed.append(done)
            os.truncate(tmp_path / names[-1], 5000)
            os.truncate(tmp_path / names[-2], 0)
            (tmp_path / names[-3]).unlink()
            (tmp_path / names[-4]).unlink()
            (tmp_path / names[-4]).mkdir()
            os.replace(tmp_path / names[-6], tmp_path / names[-5])  # another picture, whole, under this name

    table = run([Moments()], names, root=tmp_path, crop=64, progress=meddle).tables["native", "moments"]
    assert changed[0] < 100
    failed = {failure.path: (failure.stage, failure.reason) for failure in table.failures}
    assert set(failed) == {names[k] for k in (-1, -2, -3, -4, -6)}
    assert failed[names[-1]][0] == "decode"
    assert failed[names[-2]] == ("decode", "the file is empty (0 bytes)")
    assert failed[names[-3]] == failed[names[-6]] == ("read", "No such file or directory")
    assert failed[names[-4]] == ("read", "Is a directory")
    expected = random_pixels(72, 72, seed=194)[:64, :64].mean()
    assert table.values[195, 0] == pytest.approx(expected, rel=1e-5)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_what_may_not_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir()
    for name in ("closed/inside.png", "closed.png", "open.png"):
        (tmp_path / name).write_bytes(saved(random_pixels(80, 80), "PNG"))
    (tmp_path / "closed.png").chmod(0)
    done = run([Moments()], list_images([tmp_path]).paths, root=tmp_path, crop=64)
    failures = done.tables["native", "moments"].failures
    assert [(failure.path, failure.stage, failure.reason) for failure in failures] == [
        ("closed.png", "read", "Permission denied")
    ]
    (tmp_path / "closed").chmod(0)
    try:
        with pytest.raises(DataError, match="closed: the folder cannot be listed"):
            list_images([tmp_path])
    finally:
        (tmp_path / "closed").chmod(0o700)


# --- the command line ---------------------------------------------------------------------------------------------


def extract(*arguments: str | bytes | Path, folder: Path, code: int = 0) -> str:
    """Run `fdetect extract` in a folder, on a terminal; returns what it shows, in which no control character is."""
    options = ["--features", "npr_statistics", "--crop", "64", "--workers", "0"]
    command = [sys.executable, "-m", "fdetect", "extract", *options, *arguments]
    plain = os.environ | {"TERM": "dumb", "COLUMNS": "400"}  # no colours and no moving bars
    ours, theirs = pty.openpty()  # to a pipe click would write no escapes, whatever the names hold
    shown = b""
    with subprocess.Popen(command, cwd=folder, stdin=theirs, stdout=theirs, stderr=theirs, env=plain) as process:
        os.close(theirs)
        with open(ours, "rb", buffering=0) as terminal, contextlib.suppress(OSError):  # EIO: the other end is closed
            while part := terminal.read(65536):
                shown += part
    text = shown.decode().replace("\r\n", "\n")
    assert process.returncode == code, text
    assert "Traceback" not in text
    assert all(line.isprintable() for line in text.split("\n")), text
    return text


def rows_of(table: list[dict]) -> tuple[dict[str, dict], dict[str, list[float]]]:
    """The rows by path, and their features: one list in a Parquet file, one cell each in a CSV file."""
    names = [name for name in table[0] if name.startswith("npr_statistics")]
    cells = {row["path"]: np.concatenate([np.atleast_1d(row[name]) for name in names]) for row in table}
    values = {path: [float(one or "nan") if isinstance(one, str) else one for one in row.tolist()]
              for path, row in cells.items()}  # fmt: skip
    assert {len(row) for row in values.values()} == {36}
    return {row["path"]: row for row in table}, values


def test_a_folder_of_odd_files_on_the_command_line(odd: Path, tmp_path: Path) -> None:
    text = extract(odd, "-o", tmp_path / "x.parquet", folder=tmp_path)
    n = len({*GOOD_NAMES, *ALSO_GOOD, *FAILURES})
    assert f"{n} images, " in text
    assert f" {len(FAILURES)} failed: " in text
    assert PASSED_OVER in text
    assert f"and {len(FAILURES) - 5} more" in text
    table = pyarrow.parquet.read_table(tmp_path / "x.parquet").to_pylist()
    check(*rows_of(table))
    assert [row["path"] for row in table] == list_images([odd]).paths.to_pylist()


def test_odd_names_survive_a_csv_file(odd: Path, tmp_path: Path) -> None:
    extract(odd, "-o", tmp_path / "x.csv", folder=tmp_path)
    with (tmp_path / "x.csv").open(encoding="utf-8", newline="") as file:
        table = list(csv.DictReader(file))
    check(*rows_of(table))
    parse = pyarrow.csv.ParseOptions(newlines_in_values=True)
    convert = pyarrow.csv.ConvertOptions(strings_can_be_null=False)
    again = pyarrow.csv.read_csv(tmp_path / "x.csv", parse_options=parse, convert_options=convert)
    assert again.column("path").to_pylist() == [row["path"] for row in table]
    assert again.column("reason").to_pylist() == [row["reason"] for row in table]


def test_odd_names_as_arguments(odd: Path, tmp_path: Path) -> None:
    given = ["-rf.png", "--help.png", "a*[1]?.png", "new\nline.png", "UPPER.PNG", "UPPER.PNG", CONTROL]
    text = extract("-o", tmp_path / "x.parquet", "--", *given, b"bad\xff.png", "link.png", folder=odd)
    assert "1 listed twice" in text
    rows, _ = rows_of(pyarrow.parquet.read_table(tmp_path / "x.parquet").to_pylist())
    assert list(rows) == [*dict.fromkeys(given), "bad\\xff.png", "link.png"]
    assert {path for path, row in rows.items() if row["status"] == "failed"} == {given[-1], "bad\\xff.png"}
    assert "text\\x1b[2J\\nof control.jpg" in text
    text = extract("-o", tmp_path / "y.parquet", "-rf.png", folder=odd, code=2)  # without --, an option
    assert "-r" in text
    text = extract("-o", tmp_path / "y.parquet", "esc\x1b[31m is not here.png", folder=odd, code=2)
    assert "esc\\x1b[31m is not here.png" in text
    assert not (tmp_path / "y.parquet").exists()


def test_strict_counts_odd_files_as_failures(odd: Path, tmp_path: Path) -> None:
    extract("-o", tmp_path / "x.csv", "--strict", "fifo.jpg", "UPPER.PNG", folder=odd, code=3)
    extract("-o", tmp_path / "x.csv", "--strict", "link.png", "UPPER.PNG", folder=odd)
