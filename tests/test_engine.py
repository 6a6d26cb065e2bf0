"""The engine: the same table whatever the workers, chunks and order; failures, resume, damage, and a kill."""

from __future__ import annotations

import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from tiny_tasks import (
    CROP,
    FromBatch,
    Moments,
    Slow,
    ends_the_process,
    moments,
    process_ids,
    raises_weights_error,
)

from fdetect.engine import Extraction, Store, loop, run
from fdetect.files import write_atomic
from fdetect.engine.work import content_id
from fdetect.errors import DataError, FdetectError, ParameterError, WeightsError
from fdetect.images import Geometry, decode, jpeg_quality
from fdetect.perturb import condition
from fdetect.types import Batch, Failure

HERE = Path(__file__).resolve().parent
NATIVE, MATCHED, RESCALED = condition("native"), condition("matched"), condition("rescaled")
SIZES = [(80, 96), (90, 73), (120, 100), (72, 72)]


def image_bytes(k: int, height: int = 80, width: int = 96, container: str = "PNG") -> bytes:
    rng = np.random.default_rng(k)
    coarse = Image.fromarray(rng.integers(0, 256, (6, 6, 3), np.uint8))
    file = io.BytesIO()
    coarse.resize((width, height), Image.Resampling.BICUBIC).save(file, container)
    return file.getvalue()


def write_images(folder: Path, count: int) -> list[str]:
    """Small images of four sizes and three containers; returns their paths relative to the folder."""
    paths = []
    for k in range(count):
        container = ("PNG", "JPEG", "WEBP")[k % 3]
        path = f"class{k % 2}/{k:03d}.{container.lower()}"
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(image_bytes(k, *SIZES[k % 4], container))
        paths.append(path)
    return paths


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    write_images(folder, 11)
    return folder


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A folder of eight images that a test may spoil."""
    write_images(tmp_path / "own", 8)
    return tmp_path / "own"


def paths_of(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*.*"))


def extract(
    folder: Path, *tasks, paths: list[str] | None = None, conditions=(NATIVE, MATCHED), **options
) -> Extraction:
    options = {"crop": CROP, **options}
    return run(tasks or (Moments(),), paths or paths_of(folder), root=folder, conditions=conditions, **options)


def assert_same(one: Extraction, two: Extraction) -> None:
    assert (one.ids, one.paths, one.tables.keys()) == (two.ids, two.paths, two.tables.keys())
    for key, table in one.tables.items():
        other = two.tables[key]
        assert table.columns == other.columns
        assert table.values.tobytes() == other.values.tobytes()
        assert table.failures == other.failures


# --- the values ---------------------------------------------------------------------------------------------------


def test_rows_are_decode_condition_geometry_task_by_hand(root: Path) -> None:
    result = extract(root, conditions=(NATIVE, MATCHED, RESCALED), seed=5)
    assert list(result.tables) == [(name, "moments") for name in ("native", "matched", "rescaled")]
    for (name, _), table in result.tables.items():
        assert table.values.shape == (11, 2)
        assert table.values.dtype == np.float32
        assert (table.ids, table.paths, table.columns) == (result.ids, result.paths, Moments().columns)
        assert table.failures == ()
        assert table.ok.all()
        for id, path, row in zip(table.ids, table.paths, table.values, strict=True):
            data = (root / path).read_bytes()
            assert id == content_id(data)
            shown = condition(name)(decode(data), id, seed=5, crop=CROP).pixels
            assert tuple(row) == tuple(np.float32(moments(Geometry("aligned_crop", CROP)(shown))))
    assert (result.n_computed, result.n_stored, result.warnings) == (33, 0, ())


def test_a_batch_is_of_one_size_with_the_facts_of_what_is_shown(root: Path) -> None:
    def stored_quality(batch: Batch) -> list[float]:
        assert len(set(batch.ids)) == len(batch) == len(batch.facts) == len(batch.rgb8)
        assert (batch.rgb8.dtype, batch.seed) == (np.uint8, 3)
        found = [jpeg_quality(facts.qtables) for facts in batch.facts]
        return [quality[0] if quality else 0 for quality in found]

    task = FromBatch(stored_quality, geometry=Geometry())  # "as_is": images of four sizes
    result = extract(root, task, seed=3)
    assert result.tables["native", "from_batch"].failures == ()
    by_path = dict(zip(result.paths, result.tables["native", "from_batch"].values[:, 0], strict=True))
    assert all(value == (75 if path.endswith(".jpeg") else 0) for path, value in by_path.items())
    assert (result.tables["matched", "from_batch"].values == 90).all()


def test_tasks_of_one_geometry_share_the_maps_of_a_batch(root: Path) -> None:
    def makes(batch: Batch) -> np.ndarray:
        assert not batch.maps
        batch.maps["made"] = batch.rgb8.mean((1, 2, 3))
        return batch.maps["made"]

    def reads(batch: Batch) -> np.ndarray:
        return batch.maps["made"] + 1

    first, second = FromBatch(makes, name="makes"), FromBatch(reads, name="reads")
    result = extract(root, first, second)
    for name in ("native", "matched"):
        made, read = result.tables[name, "makes"], result.tables[name, "reads"]
        assert made.failures == read.failures == ()
        assert np.allclose(read.values, made.values + 1)


# --- whatever the workers, the chunks and the order ---------------------------------------------------------------


@pytest.mark.parametrize("chunk", [1, 3, 100])
def test_chunks_change_nothing(root: Path, monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    whole = extract(root, conditions=(NATIVE, MATCHED, RESCALED))
    monkeypatch.setattr(loop, "CHUNK", chunk)
    assert_same(extract(root, conditions=(NATIVE, MATCHED, RESCALED)), whole)


def test_workers_change_nothing(root: Path, own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from fdetect.features import feature, feature_tasks

    (own / "class0" / "text.png").write_text("no image")
    (own / "class0" / "small.png").write_bytes(image_bytes(50, 71, 300))
    tasks = (
        Moments(),
        FromBatch(process_ids, name="here", in_process=True),
        *feature_tasks(feature.select("npr*"), crop=CROP),
    )
    assert len(tasks) > 2
    one = extract(own, *tasks)
    monkeypatch.setattr(loop, "CHUNK", 2)
    told: list[tuple[str, int, int]] = []
    two = extract(own, *tasks, workers=2, progress=lambda *step: told.append(step))
    assert_same(two, one)
    assert two.n_computed == one.n_computed > 0
    table = two.tables["native", "here"]
    assert (table.values[table.ok] == np.float32(os.getpid())).all()  # in_process: never sent to a worker
    assert [failure.stage for failure in table.failures] == ["geometry", "decode"]
    assert {name for name, _, _ in told} == {"extracting"}
    assert [(done, total) for _, done, total in told][-1] == (10, 10)
    assert told == sorted(told)


def test_the_order_of_the_paths_changes_nothing(root: Path) -> None:
    paths = paths_of(root)
    shuffled = paths.copy()
    random.Random(3).shuffle(shuffled)
    one, two = extract(root), extract(root, paths=shuffled)
    assert two.paths == tuple(shuffled) != one.paths
    back = [shuffled.index(path) for path in paths]
    for key, table in two.tables.items():
        assert table.values[back].tobytes() == one.tables[key].values.tobytes()


def test_the_same_content_is_computed_once_and_makes_two_rows(own: Path) -> None:
    paths = paths_of(own)
    shutil.copy(own / paths[0], own / "zzz copy.png")
    task = Moments()
    result = extract(own, task, conditions=(NATIVE,))
    assert result.paths[-1] == "zzz copy.png"
    assert result.ids[-1] == result.ids[0]
    table = result.tables["native", "moments"]
    assert table.values[-1].tobytes() == table.values[0].tobytes()
    assert (result.n_computed, len(task.seen), len(set(task.seen))) == (8, 8, 8)
    (own / "zzz copy.png").write_bytes(b"")
    (own / "zzz another.png").write_bytes(b"")
    empty = extract(own, conditions=(NATIVE,)).tables["native", "moments"].failures
    assert [failure.path for failure in empty] == ["zzz another.png", "zzz copy.png"]  # each under its own path


def test_no_paths_are_an_empty_table() -> None:
    result = run([Moments()], [], conditions=[NATIVE], crop=CROP)
    assert result.tables["native", "moments"].values.shape == (0, 2)


# --- failures -----------------------------------------------------------------------------------------------------


def test_each_stage_fails_for_its_image_alone(own: Path) -> None:
    good = paths_of(own)
    clean = extract(own)
    (own / "text.jpg").write_text("no image")
    (own / "empty.png").write_bytes(b"")
    (own / "truncated.png").write_bytes(image_bytes(3)[:2000])
    (own / "small.png").write_bytes(image_bytes(60, 71, 200))
    (own / "a folder.png").mkdir()
    bad = ["absent.png", "a folder.png", "nul\0byte.png", "text.jpg", "empty.png", "truncated.png", "small.png"]
    mixed = [*bad[:4], *good[:3], *bad[4:], *good[3:]]
    result = extract(own, paths=mixed)
    for (name, _), table in result.tables.items():
        failures = {failure.path: failure for failure in table.failures}
        assert list(failures) == bad
        assert [failures[path].stage for path in bad] == ["read"] * 3 + ["decode"] * 3 + ["geometry"]
        assert failures["absent.png"].reason == "No such file or directory"
        assert failures["a folder.png"].reason == "Is a directory"
        assert failures["empty.png"].reason == "the file is empty (0 bytes)"
        assert "truncated" in failures["truncated.png"].reason
        assert failures["small.png"].reason.startswith(
            f"200x71 is too small for condition {name}: both sides need 72 px"
        )
        assert all("\n" not in failure.reason for failure in table.failures)
        assert failures["absent.png"].id == content_id(b"absent.png")  # unreadable: of the path
        rows = dict(zip(table.paths, table.values, strict=True))
        assert all(np.isnan(rows[path]).all() for path in bad)
        kept = np.array([rows[path] for path in good])
        assert kept.tobytes() == clean.tables[name, "moments"].values.tobytes()
        assert (~table.ok).sum() == len(bad)


def test_an_image_too_small_for_one_condition_is_shown_under_another(own: Path) -> None:
    (own / "between.png").write_bytes(image_bytes(61, 70, 70))  # rescaled needs 65 px, matched 72
    result = extract(own, conditions=(NATIVE, MATCHED, RESCALED))
    failed = {name: [failure.path for failure in table.failures] for (name, _), table in result.tables.items()}
    assert failed == {"native": ["between.png"], "matched": ["between.png"], "rescaled": []}


def culprit(name: str, own: Path, spoil: Callable[[Batch, int], object]) -> FromBatch:
    """A task that is spoilt by one image of the folder, wherever it stands in a batch."""
    id = content_id((own / paths_of(own)[3]).read_bytes())

    def function(batch: Batch) -> np.ndarray:
        values = batch.rgb8.mean((1, 2, 3))
        if id in batch.ids:
            spoil(values, batch.ids.index(id))
        return values

    return FromBatch(function, name=name)


def test_a_task_that_raises_fails_only_the_culprit(own: Path) -> None:
    def raise_it(values: np.ndarray, at: int) -> None:
        raise ZeroDivisionError("first line\nsecond line")

    result = extract(own, culprit("raising", own, raise_it), Moments(), conditions=(NATIVE,))
    table, other = result.tables["native", "raising"], result.tables["native", "moments"]
    path = paths_of(own)[3]
    assert table.failures == (Failure(result.ids[3], path, "raising", "ZeroDivisionError: first line second line"),)
    assert table.ok.tolist() == [k != 3 for k in range(8)]
    assert np.array_equal(table.values[table.ok, 0], other.values[table.ok, 0])
    assert other.failures == ()
    assert result.n_computed == 15


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_result_that_is_not_finite_is_a_failure(own: Path, value: float) -> None:
    def spoil(values: np.ndarray, at: int) -> None:
        values[at] = value

    table = extract(own, culprit("spoilt", own, spoil), conditions=(NATIVE,)).tables["native", "spoilt"]
    assert [(f.path, f.stage, f.reason) for f in table.failures] == [
        (paths_of(own)[3], "spoilt", "the result is not finite")
    ]
    assert np.isnan(table.values[3]).all()
    assert table.ok.sum() == 7


def test_a_task_that_breaks_its_promise_is_told_so(own: Path) -> None:
    class Double(Moments):
        def __call__(self, batch: Batch) -> np.ndarray:
            return super().__call__(batch).astype(np.float64)

    class Wide(Moments):
        def __call__(self, batch: Batch) -> np.ndarray:
            return np.zeros((len(batch), 3), np.float32)

    for task, words in ((Double(), "returned float64 (1, 2), promised float32 (1, 2)"),
                        (Wide(), "returned float32 (1, 3), promised float32 (1, 2)")):  # fmt: skip
        table = extract(own, task, conditions=(NATIVE,)).tables["native", "moments"]
        assert len(table.failures) == 8
        assert table.failures[0].reason == f"TypeError: task moments {words}"


@pytest.mark.parametrize("workers", [1, 2])
def test_missing_weights_abort_and_what_is_finished_is_kept(
    own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    monkeypatch.setattr(loop, "CHUNK", 2)
    tasks = (Moments(), FromBatch(raises_weights_error, name="needs_weights", in_process=workers == 1))
    if workers == 2:
        tasks = tasks[1:]
    with pytest.raises(WeightsError) as caught:
        extract(own, *tasks, conditions=(NATIVE,), workers=workers, store=Store(tmp_path / "store"))
    assert str(caught.value) == "no weights of tiny; fdetect weights get tiny"
    assert (caught.value.reason, caught.value.fix) == ("no weights of tiny", "fdetect weights get tiny")
    if workers == 1:
        again = extract(own, conditions=(NATIVE,), store=Store(tmp_path / "store"))
        assert again.n_stored >= 2
        assert again.n_computed + again.n_stored == 8


def test_a_worker_that_dies_is_one_sentence(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "CHUNK", 2)  # one chunk alone would be worked on, and end, here
    with pytest.raises(FdetectError, match=r"^a worker process died; finished parts are kept: start again"):
        extract(own, FromBatch(ends_the_process), workers=2)


def test_a_file_that_changes_or_goes_during_the_run_fails_alone(own: Path) -> None:
    paths = paths_of(own)
    changed, gone = own / paths[1], own / paths[2]

    def spoil(what: str, done: int, total: int) -> None:
        if what == "reading" and done == total:
            changed.write_bytes(image_bytes(77))
            gone.unlink()

    table = extract(own, progress=spoil, conditions=(NATIVE,)).tables["native", "moments"]
    assert [(f.path, f.stage, f.reason) for f in table.failures] == [
        (paths[1], "read", "the file changed while the run was reading it; start again"),
        (paths[2], "read", "No such file or directory"),
    ]
    assert table.ok.sum() == 6


# --- what cannot be asked for -------------------------------------------------------------------------------------


def test_impossible_settings_are_one_sentence(root: Path) -> None:
    for crop in (0, 56, 100, -64):
        with pytest.raises(ParameterError, match=f"crop must be a multiple of 8 and at least 64 px, got {crop}"):
            extract(root, crop=crop)
    with pytest.raises(ParameterError, match="the same path is listed twice"):
        extract(root, paths=[paths_of(root)[0]] * 2)
    with pytest.raises(ParameterError, match="named condition 'native', task 'moments'; rename one"):
        extract(root, Moments(), Moments(scale=2.0))
    with pytest.raises(ParameterError, match="named condition 'matched', task 'moments'; rename one"):
        extract(root, conditions=(MATCHED, replace(MATCHED, after_jpeg=True)))


# --- the store ----------------------------------------------------------------------------------------------------


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
    folders = sorted(path.name for path in (tmp_path / "store").iterdir())
    assert len(folders) == (1 if change == "nothing" else 2)


def test_a_part_says_in_clear_text_what_its_rows_are(own: Path, tmp_path: Path) -> None:
    extract(own, Moments(scale=0.5), conditions=(condition("blur1+jpeg80"),), store=Store(tmp_path), seed=9)
    (part,) = tmp_path.glob("moments-*/part-*.parquet")
    table = pq.read_table(part)
    assert table.column_names == ["id", "values"]
    assert len(table) == 8
    said = json.loads(table.schema.metadata[b"fdetect.extractor"])
    assert (said["name"], said["version"], said["settings"]) == ("moments", "1", {"scale": 0.5})
    assert (said["crop"], said["seed"], said["backend"]) == (CROP, 9, "cpu")
    assert said["condition"]["steps"] == [["blur", 1.0], ["jpeg", 80.0]]
    assert said["geometry"] == {"name": "aligned_crop", "size": CROP, "filter": ""}
    assert "Pillow" in said["decoder"]
    assert len(said["steps"]) == 2  # the code of each perturbation, which a plug-in may have brought
    assert not list(tmp_path.rglob("*.tmp"))


def test_a_truncated_part_is_named_and_computed_again(own: Path, tmp_path: Path) -> None:
    first = extract(own, conditions=(NATIVE,), store=Store(tmp_path))
    (part,) = tmp_path.rglob("part-*.parquet")
    for damaged in (part.read_bytes()[:-20], b"", b"PAR1 and nothing more PAR1"):
        part.write_bytes(damaged)
        result = extract(own, conditions=(NATIVE,), store=Store(tmp_path))
        assert (result.n_computed, result.n_stored) == (8, 0)
        (warning,) = result.warnings
        assert warning.startswith(f"{part}: cannot be read (")
        assert warning.endswith("); delete it: its rows are computed again")
        assert "\n" not in warning
        assert_same(result, first)
        healed = extract(own, conditions=(NATIVE,), store=Store(tmp_path))
        assert (healed.n_computed, healed.warnings) == (0, ())  # the same rows were written over the damage


def test_a_flipped_bit_never_becomes_a_value(tmp_path: Path) -> None:
    """Storage that lies: every part has checksums, so a row is right, absent or named in a warning."""
    rng = np.random.default_rng(0)
    ids = [f"{k:032x}" for k in range(40)]
    values = rng.normal(size=(40, 5)).astype(np.float32)
    Store(tmp_path).write("key", {}, ids, values)
    (part,) = tmp_path.rglob("part-*.parquet")
    whole, truth = part.read_bytes(), dict(zip(ids, values, strict=True))
    warned = 0
    for place in rng.integers(0, len(whole), 300):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << int(rng.integers(0, 8))
        part.write_bytes(damaged)
        store = Store(tmp_path)
        rows = store.load("key", 5)
        warned += bool(store.warnings)
        assert rows or store.warnings
        for id in rows.keys() & truth.keys():
            assert rows[id].tobytes() == truth[id].tobytes(), place
    assert warned > 150


def test_a_part_of_another_width_is_not_trusted(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.write("key", {}, ["a"], np.zeros((1, 4), np.float32))
    assert store.load("key", 3) == {}
    assert len(store.warnings) == 1
    assert store.load("no such key", 3) == {}


def test_an_unwritable_store_is_one_sentence(own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "CHUNK", 2)
    occupied = tmp_path / "occupied"
    occupied.write_text("a file where the folder should be")
    for workers in (1, 2):
        with pytest.raises(DataError) as caught:
            extract(own, store=Store(occupied), workers=workers)
        text = str(caught.value)
        assert text.startswith(f"{occupied}/moments-")
        assert "cannot be written (" in text
        assert text.endswith("; choose another folder")
        assert "\n" not in text
    assert occupied.read_text() == "a file where the folder should be"


def test_a_write_happens_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file"
    write_atomic(path, lambda temporary: temporary.write_text("first"))
    assert path.read_text() == "first"

    def fails(temporary: Path) -> None:
        temporary.write_text("half of the sec")
        raise OSError(28, "No space left on device")

    with pytest.raises(DataError, match=r"file: cannot be written \(No space left on device\); choose another folder"):
        write_atomic(path, fails)
    assert path.read_text() == "first"
    assert list(path.parent.iterdir()) == [path]
    with path.open() as reader:  # who reads the old file goes on reading it: it is replaced, not written over
        write_atomic(path, lambda temporary: temporary.write_text("second"))
        assert reader.read() == "first"
    assert path.read_text() == "second"


def test_the_folder_is_the_argument_or_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FDETECT_CACHE", str(tmp_path / "from the environment"))
    assert Store().folder == tmp_path / "from the environment"
    assert Store(tmp_path / "given").folder == tmp_path / "given"
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Store("~/mine").folder == tmp_path / "mine"
    assert not (tmp_path / "given").exists()  # nothing is made before something is written


# --- a kill -------------------------------------------------------------------------------------------------------

KILLED = """
import sys
from fdetect.engine import Store, loop, run
from fdetect.perturb import condition
from tiny_tasks import Slow

if __name__ == "__main__":
    loop.FLUSH_SECONDS = 0.2  # parts as often as a long run would have them in the end
    root, store, pids, workers = sys.argv[1:5]
    options = {"root": root, "crop": 64, "store": Store(store), "workers": int(workers)}
    run([Slow(delay=0.03, pids=pids)], sys.argv[5:], conditions=[condition("matched")], **options)
"""


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are watched through /proc")
@pytest.mark.parametrize("workers", [1, 2])
def test_a_killed_run_resumes_to_the_same_table(tmp_path: Path, workers: int) -> None:
    root, store, pids = (tmp_path / name for name in ("images", "store", "pids"))
    pids.mkdir()
    paths = write_images(root, 150)
    undisturbed = extract(root, Slow(), paths=paths, conditions=(MATCHED,))
    (tmp_path / "killed.py").write_text(KILLED)
    command = [sys.executable, str(tmp_path / "killed.py"), str(root), str(store), str(pids), str(workers), *paths]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE), str(HERE.parent)])}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while not list(store.rglob("part-*.parquet")):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)
        moment = random.uniform(0, 1.0)
        time.sleep(moment)
        assert process.poll() is None, "the run ended before it was killed"
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    workers_of_it = [int(path.name) for path in pids.iterdir()]
    assert 1 <= len(workers_of_it) <= workers
    deadline = time.monotonic() + 20
    while any(is_running(pid) for pid in workers_of_it):  # no worker waits for ever for a parent that is gone
        assert time.monotonic() < deadline
        time.sleep(0.05)
    in_parts = {id for part in store.rglob("part-*.parquet") for id in pq.read_table(part).column("id").to_pylist()}
    task = Slow()
    resumed = extract(root, task, paths=paths, conditions=(MATCHED,), store=Store(store))
    assert_same(resumed, undisturbed)
    assert resumed.warnings == ()
    assert 0 < resumed.n_stored < 150, f"killed {moment} s after the first part"
    assert resumed.n_stored == len(in_parts)
    assert resumed.n_computed == 150 - resumed.n_stored == len(task.seen)
    assert not in_parts & set(task.seen)
    third = extract(root, Slow(), paths=paths, conditions=(MATCHED,), store=Store(store))
    assert (third.n_computed, third.n_stored) == (0, 150)
    assert_same(third, undisturbed)
