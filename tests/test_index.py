"""The index: a file of unchanged size and time is not opened again, and no change of a file is ever missed."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from tiny_tasks import NATIVE, Moments, assert_same, environment, extract, image_bytes, paths_of, settle, write_images

from fdetect.engine import Extraction, Store, index
from fdetect.engine.index import Index
from fdetect.engine.sources import Stamp
from fdetect.engine.work import content_id

HOUR = 3600 * 10**9


def bitmap(k: int) -> bytes:
    """Images whose files are all of one size."""
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(k).integers(0, 256, (80, 80, 3), np.uint8)).save(file, "BMP")
    return file.getvalue()


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """Eight images that were written long ago."""
    folder = tmp_path / "own"
    folder.mkdir()
    for k in range(8):
        (folder / f"{k}.bmp").write_bytes(bitmap(k))
    settle(folder)
    return folder


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


def again(folder: Path, store: Path, **options: object) -> tuple[Extraction, list[str]]:
    """Run, compare with a run that knows nothing, and return also the ids that were computed."""
    task = Moments()
    result = extract(folder, task, conditions=(NATIVE,), store=Store(store), **options)
    assert_same(result, extract(folder, conditions=(NATIVE,), **options))
    return result, task.seen


def rewrite(path: Path, data: bytes, mtime_ns: int) -> None:
    path.write_bytes(data)
    os.utime(path, ns=(mtime_ns, mtime_ns))


# --- what is opened -----------------------------------------------------------------------------------------------

OPENED = """
import json, sys
from pathlib import Path
from fdetect.engine import Store, run
from fdetect.perturb import condition
from tiny_tasks import Moments

root, store = sys.argv[1:3]
opened = []
sys.addaudithook(lambda event, args: opened.append(str(args[0])) if event == "open" else None)
result = run([Moments()], sys.argv[3:], root=root, conditions=[condition("native")], crop=64, store=Store(store))
opened = sorted({str(Path(path).relative_to(root)) for path in opened if path.startswith(root)})
print(json.dumps([opened, result.n_stored, result.n_computed]))
"""


def opened(folder: Path, store: Path, paths: list[str]) -> tuple[list[str], int, int]:
    """Run in another process: which files of the folder it opened, how many rows it found and computed."""
    script = store.parent / "opened.py"
    script.write_text(OPENED)
    command = [sys.executable, str(script), str(folder), str(store), *paths]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return tuple(json.loads(done.stdout))


def test_a_second_run_opens_no_image(tmp_path: Path, store: Path) -> None:
    folder = tmp_path / "images"
    paths = write_images(folder, 8)
    with tarfile.open(folder / "a.tar", "w") as tar:
        tar.add(folder / paths[0], "inside.png")
        member = tarfile.TarInfo("other.png")
        member.size = len(data := image_bytes(50))
        tar.addfile(member, io.BytesIO(data))
    settle(folder)
    everything = [*paths, "a.tar::inside.png", "a.tar::other.png"]
    assert opened(folder, store, everything) == (sorted(["a.tar", *paths]), 0, 9)
    assert opened(folder, store, everything) == ([], 9, 0)
    os.utime(folder / paths[3])
    (folder / "new.png").write_bytes(image_bytes(60))
    assert opened(folder, store, ["new.png", *everything]) == (sorted(["new.png", paths[3]]), 9, 1)


# --- what changes -------------------------------------------------------------------------------------------------


def test_a_touched_file_is_read_again_and_not_recomputed(own: Path, store: Path) -> None:
    again(own, store)
    os.utime(own / "3.bmp", ns=(5 * HOUR, 5 * HOUR))
    result, computed = again(own, store)
    assert (computed, result.n_stored) == ([], 8)


def test_a_rewritten_file_of_the_same_size_is_computed_again(own: Path, store: Path) -> None:
    again(own, store)
    for data, mtime, new in ((bitmap(33), 5 * HOUR, 1), (bitmap(34), 6 * HOUR, 1), (bitmap(33), 5 * HOUR, 0),
                             (bitmap(3), 7 * HOUR, 0), (bitmap(34), 8 * HOUR, 0)):  # fmt: skip
        rewrite(own / "3.bmp", data, mtime)
        result, computed = again(own, store)
        assert computed == [content_id(data)] * new
        assert result.ids[3] == content_id(data)
        assert result.n_stored == 8 - new


@pytest.mark.parametrize("move", [True, False])
def test_a_file_replaced_by_one_of_equal_size_and_time_is_computed_again(own: Path, store: Path, move: bool) -> None:
    """What `mv`, `cp -p` and `rsync -t` leave behind."""
    again(own, store)
    before = (own / "3.bmp").stat()
    new = own if not move else own.parent
    rewrite(new / "3.bmp", bitmap(33), before.st_mtime_ns)
    os.replace(new / "3.bmp", own / "3.bmp")
    after = (own / "3.bmp").stat()
    assert (after.st_size, after.st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    assert again(own, store)[1] == [content_id(bitmap(33))]


def test_parts_of_the_first_form_are_left_alone(own: Path, store: Path) -> None:
    again(own, store)
    (part,) = store.glob("index/*/part-*.parquet")
    old = part.parent.with_name(part.parent.name.removesuffix("-2"))
    assert old != part.parent
    part.parent.rename(old)
    result, computed = again(own, store)
    assert (computed, result.warnings) == ([], ())


def test_a_file_of_the_last_seconds_is_not_remembered(own: Path, store: Path) -> None:
    """Two writes within one tick of a file system's clock leave the same size and time."""
    now = time.time_ns()
    rewrite(own / "3.bmp", bitmap(33), now)
    assert again(own, store)[0].ids[3] == content_id(bitmap(33))
    rewrite(own / "3.bmp", bitmap(34), now)
    result, computed = again(own, store)
    assert (result.ids[3], computed) == (content_id(bitmap(34)), [content_id(bitmap(34))])


def test_a_file_that_settles_while_it_waits_is_not_remembered(
    own: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Old enough when there was time to remember it is not old enough when it was read."""
    monkeypatch.setattr(index, "_SETTLED_NS", 10**9)
    now = time.time_ns()
    rewrite(own / "7.bmp", bitmap(33), now)

    class Waits(Moments):
        def __call__(self, batch):  # the last file is read ahead, and met after the first
            time.sleep(1.2)
            return super().__call__(batch)

    monkeypatch.setattr("fdetect.engine.chunks.CHUNK", 7)
    extract(own, Waits(), conditions=(NATIVE,), store=Store(store))
    rewrite(own / "7.bmp", bitmap(34), now)
    assert again(own, store)[0].ids[7] == content_id(bitmap(34))


def test_the_same_names_below_two_roots_are_two_files(own: Path, store: Path, tmp_path: Path) -> None:
    again(own, store)
    other = tmp_path / "other"
    other.mkdir()
    for k in range(8):
        stamp = (own / f"{k}.bmp").stat().st_mtime_ns
        rewrite(other / f"{k}.bmp", bitmap(k + 40), stamp)
    result, computed = again(other, store)
    assert (len(computed), result.n_stored) == (8, 0)


# --- what is kept -------------------------------------------------------------------------------------------------


def test_what_was_read_is_remembered_before_the_run_ends(
    own: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index, "FLUSH_ENTRIES", 3)
    monkeypatch.setattr("fdetect.engine.chunks.CHUNK", 2)
    parts: list[int] = []

    class Watches(Moments):
        def __call__(self, batch):
            parts.append(len(list(store.glob("index/*/part-*.parquet"))))
            return super().__call__(batch)

    extract(own, Watches(), conditions=(NATIVE,), store=Store(store))
    assert parts == [0, 1, 2, 2]
    assert opened(own, store, paths_of(own)) == ([], 8, 0)


def test_the_newest_entry_of_a_path_counts(tmp_path: Path) -> None:
    paths, root, store = pa.array(["a", "b", "c"]), Path("/root"), Store(tmp_path)
    stamps = [Stamp(100, 10**18 + k, 10**18) for k in range(4)]
    ids = [f"{k:032x}" for k in range(4)]
    for k in range(4):
        entries = Index(store, root, paths)
        entries.add("a", stamps[k], ids[k])
        entries.add("b", stamps[0], ids[0])
        entries.flush()
    entries = Index(store, root, paths)
    assert [entries.known(0, stamp) for stamp in stamps] == [None, None, None, ids[3]]
    assert [entries.known(1, stamp) for stamp in stamps] == [ids[0], None, None, None]
    assert entries.known(2, stamps[0]) is None
    assert entries.known(1, replace(stamps[0], size=101)) is None
    assert entries.known(1, replace(stamps[0], ctime_ns=10**18 + 1)) is None
    assert Index(store, Path("/elsewhere"), paths).known(0, stamps[3]) is None


# --- damage -------------------------------------------------------------------------------------------------------


def test_a_damaged_index_is_named_and_the_rows_are_right(own: Path, store: Path) -> None:
    first, _ = again(own, store)
    (part,) = store.glob("index/*/part-*.parquet")
    whole = part.read_bytes()
    assert first.warnings == ()
    for damaged in (whole[:-9], b"", b"PAR1", whole[:60] + bytes([whole[60] ^ 4]) + whole[61:]):
        part.write_bytes(damaged)
        result, computed = again(own, store)
        assert computed == []
        (warning,) = result.warnings
        assert warning.startswith(f"{part}: cannot be read (")
        assert_same(result, first)
        assert part.read_bytes() == whole  # the same files were read again


def test_a_flipped_bit_never_becomes_another_content(tmp_path: Path) -> None:
    paths, rng = pa.array([f"{k}.png" for k in range(12)]), np.random.default_rng(0)
    stamps = [Stamp(100 + k, 10**18 + k, 10**18 - k) for k in range(12)]
    ids = [content_id(bytes([k])) for k in range(12)]
    entries = Index(Store(tmp_path), Path("/root"), paths)
    for k in range(12):
        entries.add(f"{k}.png", stamps[k], ids[k])
    entries.flush()
    (part,) = tmp_path.rglob("part-*.parquet")
    whole, named = part.read_bytes(), 0
    for place in rng.integers(0, len(whole), 250):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << int(rng.integers(0, 8))
        part.write_bytes(damaged)
        store = Store(tmp_path)
        entries = Index(store, Path("/root"), paths)
        known = [entries.known(k, stamps[k]) for k in range(12)]
        assert known == ids or (known == [None] * 12 and store.warnings), place
        named += bool(store.warnings)
    assert named > 100
