"""Resuming: what stands in the store is not computed again, whatever killed the run, and the table is the same."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from tiny_tasks import (
    MATCHED,
    NATIVE,
    Moments,
    Slow,
    assert_same,
    environment,
    extract,
    image_bytes,
    is_running,
    logged,
    paths_of,
    write_images,
)

from fdetect.engine import Extraction, Store
from fdetect.engine.work import content_id
from fdetect.files import write_table
from fdetect.images import Geometry
from fdetect.perturb import condition


def test_a_second_run_computes_nothing_and_a_larger_one_what_is_missing(own: Path, tmp_path: Path) -> None:
    def again(*tasks, **options) -> Extraction:
        return extract(own, *tasks, store=Store(tmp_path / "store"), **options)

    first = again(conditions=(NATIVE,))
    assert (first.n_computed, first.n_stored) == (8, 0)
    task = Moments()
    second = again(task, conditions=(NATIVE,))
    assert (second.n_computed, second.n_stored, task.seen) == (0, 8, [])
    assert_same(second, first)
    more = again(conditions=(NATIVE, MATCHED))
    assert (more.n_computed, more.n_stored) == (8, 8)
    other = Moments("others")
    more = again(Moments(), other, conditions=(NATIVE, MATCHED))
    assert (more.n_computed, more.n_stored) == (16, 16)
    (own / "new.png").write_bytes(image_bytes(70))
    (own / "class0" / "copy.png").write_bytes((own / paths_of(own)[0]).read_bytes())
    task = Moments()
    more = again(task, other)
    assert (more.n_computed, more.n_stored) == (4, 32)  # the new image twice twice; the copy is known by its content
    assert set(task.seen) == {content_id(image_bytes(70))}
    assert_same(more, extract(own, Moments(), other))
    (own / "new.png").rename(own / "moved.png")
    moved = again(Moments(), other)
    assert (moved.n_computed, moved.n_stored) == (0, 36)
    fewer = again(paths=paths_of(own)[:3])
    assert (fewer.n_computed, fewer.n_stored) == (0, 6)


def test_failures_are_not_stored(own: Path, tmp_path: Path) -> None:
    (own / "text.png").write_text("no image")
    for computed in (8, 0):
        result = extract(own, conditions=(NATIVE,), store=Store(tmp_path / "store"))
        assert result.n_computed == computed
        assert [failure.path for failure in result.tables["native", "moments"].failures] == ["text.png"]


CHANGES = {
    "nothing": {},
    "seed": {"seed": 1},
    "crop": {"crop": 72},
    "condition": {"conditions": (condition("jpeg90"),)},
    "history": {"conditions": (replace(MATCHED, after_jpeg=True),)},
    "settings": {"task": Moments(scale=2.0)},
    "version": {"task": Moments(version="2")},
    "name": {"task": Moments(name="others")},
    "columns": {"task": Moments(columns=("a", "b"))},
    "geometry": {"task": Moments(geometry=Geometry("aligned_crop", 56))},
}


@pytest.mark.parametrize("change", CHANGES)
def test_the_key_holds_everything(own: Path, tmp_path: Path, change: str) -> None:
    options = {"conditions": (MATCHED,), "store": Store(tmp_path / "store"), "paths": paths_of(own)[:2]}
    for path in options["paths"]:
        (own / path).write_bytes(image_bytes(len(path), 100, 100))
    extract(own, Moments(), **options)
    changed = dict(CHANGES[change])
    result = extract(own, changed.pop("task", Moments()), **{**options, **changed})
    found = next(iter(result.tables.values())).failures, result.n_stored, result.n_computed
    unique = len(set(result.ids))
    assert found == ((), unique, 0) if change == "nothing" else found == ((), 0, unique)
    folders = sorted(path.name for path in (tmp_path / "store").iterdir() if path.name != "index")
    assert len(folders) == (1 if change == "nothing" else 2)


# --- a kill -------------------------------------------------------------------------------------------------------

KILLED = """
import sys
from pathlib import Path
from fdetect.engine import Store, chunks, jobs, run
from fdetect.files import write_table
from fdetect.perturb import condition
from tiny_tasks import Slow

if __name__ == "__main__":
    chunks.CHUNK, jobs.FLUSH_SECONDS = 4, 0.1  # parts as often as a long run would have them in the end
    root, store, log, table, workers = sys.argv[1:6]
    result = run([Slow(delay=0.03, log=log)], sys.argv[6:], root=root, conditions=[condition("matched")], crop=64,
                 store=Store(store), workers=int(workers))
    write_table((block.to_arrow() for block in result.blocks("matched", ["moments"], rows=100)), Path(table))
"""

KILLS, IMAGES = 20, 250


def in_parts(store: Path) -> set[str]:
    """Return the ids of all rows that stand in finished parts."""
    parts = store.glob("moments-*/part-*.parquet")
    return {id.hex() for part in parts for id in pq.read_table(part, columns=["id"]).column("id").to_pylist()}


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are watched through /proc")
def test_a_run_that_is_killed_twenty_times_comes_to_the_same_table(tmp_path: Path) -> None:
    root, store, table = tmp_path / "images", tmp_path / "store", tmp_path / "table.parquet"
    paths = write_images(root, IMAGES)
    (tmp_path / "killed.py").write_text(KILLED)
    runs: list[tuple[set[str], Path]] = []  # what stood in parts when a run began, and what it computed
    starting = 1.0  # seconds until a run computes

    def start(workers: int) -> tuple[subprocess.Popen[bytes], Path]:
        log = tmp_path / f"log{len(runs)}"
        log.mkdir()
        runs.append((in_parts(store), log))
        command = [sys.executable, tmp_path / "killed.py", root, store, log, table, str(workers), *paths]
        return subprocess.Popen(command, env=environment(), start_new_session=True, stderr=subprocess.DEVNULL), log

    for kill in range(KILLS):
        process, log = start(workers=1 + kill // 2 % 2)
        since = time.monotonic()
        try:
            if kill % 2:
                time.sleep(random.uniform(0, starting))
            else:
                while not logged(log):
                    assert process.poll() is None
                    assert time.monotonic() < since + 60
                    time.sleep(0.01)
                starting = time.monotonic() - since
                time.sleep(random.uniform(0, 0.5))
            assert process.poll() is None, f"the run ended before kill {kill}"
        finally:
            if kill % 5 == 4:  # the workers too, as when the machine goes down
                os.killpg(process.pid, signal.SIGKILL)
            process.kill()
            process.wait()
        assert not table.exists()
    process, _ = start(workers=2)
    assert process.wait(60) == 0

    undisturbed = extract(root, Slow(), paths=paths, conditions=(MATCHED,))
    blocks = undisturbed.blocks("matched", ["moments"], rows=100)
    write_table((block.to_arrow() for block in blocks), tmp_path / "undisturbed.parquet")
    assert table.read_bytes() == (tmp_path / "undisturbed.parquet").read_bytes()

    kept = [len(stood) for stood, _ in runs]
    assert kept == sorted(kept)
    assert len(set(kept)) > 3, "the kills came before anything was kept"
    for stood, log in runs:
        assert stood.isdisjoint(logged(log))
    assert sorted(logged(runs[-1][1])) == sorted(set(undisturbed.ids) - runs[-1][0])
    assert not any(is_running(int(file.name)) for _, log in runs for file in log.iterdir())  # no worker is orphaned
    again = extract(root, Slow(), paths=paths, conditions=(MATCHED,), store=Store(store))
    assert (again.n_computed, again.n_stored, again.warnings) == (0, IMAGES, ())
    assert_same(again, undisturbed)
