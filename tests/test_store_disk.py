"""Disks that fill up, folders that cannot be written, and files that are whole or absent."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest
from tiny_tasks import Moments, environment, extract, paths_of, write_images

from fdetect.engine import Store
from fdetect.errors import DataError
from fdetect.files import write_atomic, write_table

# --- disks that fill up, and folders that cannot be written -------------------------------------------------------

FULL = """
import json, resource, subprocess, sys
from pathlib import Path
import numpy as np
from fdetect.engine import Store, chunks, jobs, run
from fdetect.errors import DataError
from fdetect.files import write_table
from fdetect.perturb import condition
from tiny_tasks import Slow

class Wide(Slow):
    calls = 0
    def __call__(self, batch):
        Wide.calls += 1
        if Wide.calls == 6 and how == "limit":
            resource.setrlimit(resource.RLIMIT_FSIZE, (2000, resource.RLIM_INFINITY))
        ids = [np.random.default_rng(int(id[:8], 16)) for id in batch.ids]
        return np.stack([rng.normal(size=500).astype(np.float32) for rng in ids])

how, root, store = sys.argv[1:4]
chunks.CHUNK, jobs.FLUSH_SECONDS = 2, 0.0
store = Path(store)
store.mkdir(parents=True, exist_ok=True)
if how == "disk":
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", store], check=True)

def attempt(store):
    task = Wide(columns=tuple(f"wide:{k}" for k in range(500)))
    return run([task], sys.argv[4:], root=root, conditions=[condition("native")], crop=64, store=store)

said = {}
try:
    attempt(Store(store))
except DataError as error:
    said["error"] = str(error)
said["parts"] = len(list(store.glob("moments-*/part-*.parquet")))
said["left"] = [str(path) for path in store.rglob("*tmp*")]
if how == "disk":
    subprocess.run(["mount", "-o", "remount,size=4m", store], check=True)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
again = attempt(Store(store))
said["again"] = again.n_stored, again.n_computed, again.warnings
values = [result.table("native", ["moments"]).values for result in (again, attempt(None))]
said["same"] = values[0].tobytes() == values[1].tobytes()
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, resource.RLIM_INFINITY))
for name in ("t.parquet", "t.csv"):
    try:
        blocks = again.blocks("native", ["moments"], rows=8)
        write_table((block.to_arrow(flat=name == "t.csv") for block in blocks), Path(root, name))
    except DataError as error:
        said[name] = str(error)
said["left"] += [str(path) for path in Path(root).glob("*t.*")]
print(json.dumps(said))
"""


def may_mount() -> bool:
    unshare = shutil.which("unshare")
    trial = ["unshare", "-rm", "sh", "-c", "mount -t tmpfs tmpfs /tmp"]
    return unshare is not None and subprocess.run(trial, capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize("how, words", [("limit", "File too large"), ("disk", "No space left on device")])
def test_a_full_disk_is_one_sentence_and_what_was_written_is_kept(tmp_path: Path, how: str, words: str) -> None:
    if how == "disk" and not may_mount():
        pytest.skip("a file system of its own cannot be mounted here")
    paths = write_images(tmp_path / "images", 40)
    (tmp_path / "full.py").write_text(FULL)
    store = tmp_path / "store"
    command = [sys.executable, tmp_path / "full.py", how, tmp_path / "images", store, *paths]
    command = ["unshare", "-rm", *command] if how == "disk" else command
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["error"].startswith(f"{store}/moments-")
    assert said["error"].endswith(f": cannot be written ({words}); free some space")
    assert said["left"] == []
    assert 3 <= said["parts"] < 20
    assert said["again"] == [2 * said["parts"], 40 - 2 * said["parts"], []]
    assert said["same"]
    for name in ("t.parquet", "t.csv"):
        assert said[name].startswith(f"{tmp_path}/images/{name}: cannot be written (File too large); ")


def test_a_store_that_cannot_be_written_is_said_before_anything_is_computed(own: Path, tmp_path: Path) -> None:
    occupied = tmp_path / "occupied"
    occupied.write_text("a file where the folder should be")
    for folder in (occupied, occupied / "below"):
        task = Moments()
        with pytest.raises(DataError) as caught:
            extract(own, task, store=Store(folder))
        text = str(caught.value)
        assert text.startswith(f"{folder}")
        assert "cannot be written (" in text
        assert text.endswith("; choose another place")
        assert "\n" not in text
        assert task.seen == []
    assert occupied.read_text() == "a file where the folder should be"


READ_ONLY = """
import sys
from fdetect.engine import Store, run
from fdetect.errors import DataError
from tiny_tasks import Moments

task = Moments()
try:
    run([task], sys.argv[3:], root=sys.argv[1], crop=64, store=Store(sys.argv[2]))
except DataError as error:
    print(error, len(task.seen))
"""


def test_a_read_only_store_is_said_before_anything_is_computed(own: Path, tmp_path: Path) -> None:
    (tmp_path / "read_only.py").write_text(READ_ONLY)
    store = tmp_path / "store"
    store.mkdir()
    command = [sys.executable, str(tmp_path / "read_only.py"), str(own), str(store), *paths_of(own)]
    if os.geteuid():
        store.chmod(0o500)
    elif may_mount():
        mount = 'mount -t tmpfs -o ro tmpfs "$0" && exec "$@"'
        command = ["unshare", "-rm", "sh", "-c", mount, str(store), *command]
    else:
        pytest.skip("root writes everywhere, and a read-only file system cannot be mounted here")
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.startswith(f"{store}"), done.stderr
    assert "cannot be written (" in done.stdout
    assert done.stdout.endswith(" 0\n")


# --- files --------------------------------------------------------------------------------------------------------


def test_a_write_happens_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file"
    write_atomic(path, lambda temporary: temporary.write_text("first"))
    assert path.read_text() == "first"

    def fails(temporary: Path) -> None:
        temporary.write_text("half of the sec")
        raise OSError(28, "No space left on device")

    with pytest.raises(DataError, match=r"file: cannot be written \(No space left on device\); free some space$"):
        write_atomic(path, fails)
    assert path.read_text() == "first"
    assert list(path.parent.iterdir()) == [path]
    with path.open() as reader:  # who reads the old file goes on reading it: it is replaced, not written over
        write_atomic(path, lambda temporary: temporary.write_text("second"))
        assert reader.read() == "first"
    assert path.read_text() == "second"


@pytest.mark.parametrize("ending", ["parquet", "csv"])
def test_a_table_whose_blocks_fail_is_not_written(tmp_path: Path, ending: str) -> None:
    def blocks():
        yield pa.table({"a": [1, 2]})
        raise DataError("rows are gone")

    path = tmp_path / f"table.{ending}"
    path.write_text("the table of yesterday")
    with pytest.raises(DataError, match="rows are gone"):
        write_table(blocks(), path)
    assert path.read_text() == "the table of yesterday"
    assert list(tmp_path.iterdir()) == [path]
