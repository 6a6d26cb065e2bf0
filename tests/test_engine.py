"""The engine: the same table whatever the workers, chunks and order, and failures that stay with their image."""

from __future__ import annotations

import os
import random
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from types import FrameType

import numpy as np
import pytest
from tiny_tasks import (
    CROP,
    MATCHED,
    NATIVE,
    RESCALED,
    FromBatch,
    Moments,
    assert_same,
    extract,
    image_bytes,
    moments,
    paths_of,
    process_ids,
    write_images,
)

from fdetect.engine import chunks, run
from fdetect.engine.work import content_id
from fdetect.errors import ParameterError
from fdetect.images import Geometry, decode, jpeg_quality
from fdetect.perturb import condition
from fdetect.types import Batch


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    write_images(folder, 11)
    return folder


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
    monkeypatch.setattr(chunks, "CHUNK", chunk)
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
    monkeypatch.setattr(chunks, "CHUNK", 2)
    told: list[tuple[str, int, int]] = []
    two = extract(own, *tasks, workers=2, progress=lambda *step: told.append(step))
    assert_same(two, one)
    assert two.n_computed == one.n_computed > 0
    table = two.tables["native", "here"]
    assert (table.values[table.ok] == np.float32(os.getpid())).all()  # in_process: never sent to a worker
    assert [failure.stage for failure in table.failures] == ["geometry", "decode"]
    assert {name.split(" ")[0] for name, _, _ in told} == {"preparing", "extracting"}
    assert told[-1][1:] == (10, 10)
    extracting = [step for step in told if step[0] == "extracting"]
    assert extracting == sorted(extracting)


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


def test_an_image_is_decoded_once_for_all_its_jobs(own: Path) -> None:
    """Conditions, tasks of the workers and tasks of the device lane share one decoded picture."""
    files = {(own / path).read_bytes() for path in paths_of(own)}
    calls: list[bytes] = []

    def count(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_code is decode.__code__:
            calls.append(next(iter(frame.f_locals.values())))

    tasks = (Moments(), Moments("smaller", geometry=Geometry("aligned_crop", 56)), Moments("device", in_process=True))
    sys.setprofile(count)
    try:
        result = extract(own, *tasks)
    finally:
        sys.setprofile(None)
    assert sorted(data for data in calls if data in files) == sorted(files)  # "matched" also decodes what it encoded
    assert result.n_computed == 8 * 2 * 3
    assert np.array_equal(result.tables["matched", "device"].values, result.tables["matched", "moments"].values)


def test_no_paths_are_an_empty_table() -> None:
    result = run([Moments()], [], conditions=[NATIVE], crop=CROP)
    assert result.tables["native", "moments"].values.shape == (0, 2)


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
