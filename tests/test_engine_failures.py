"""Failures of the engine: each stays with its image, its condition and its task, and nothing else is lost."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tiny_tasks import (
    CROP,
    MATCHED,
    NATIVE,
    RESCALED,
    FromBatch,
    Moments,
    extract,
    image_bytes,
    paths_of,
    raises_weights_error,
)

from fdetect.engine import Store, chunks
from fdetect.engine.work import content_id
from fdetect.errors import ImageTooLarge, WeightsError
from fdetect.images import Geometry, decode
from fdetect.types import Batch, Failure


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
    monkeypatch.setattr(chunks, "CHUNK", 2)
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


def test_a_file_that_changes_or_goes_during_the_run(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was read counts, under the id of what was read; what is gone before it is read fails alone."""
    for k in range(8, 100):  # more than are read ahead
        (own / f"later{k}.png").write_bytes(image_bytes(k))
    paths = paths_of(own)
    before = (own / paths[0]).read_bytes()

    def spoil(batch: Batch) -> np.ndarray:
        (own / paths[0]).write_bytes(image_bytes(777))
        (own / paths[-1]).unlink(missing_ok=True)
        return batch.rgb8.mean((1, 2, 3))

    monkeypatch.setattr(chunks, "CHUNK", 1)
    result = extract(own, FromBatch(spoil), conditions=(NATIVE,), paths=paths)
    table = result.tables["native", "from_batch"]
    assert table.failures == (Failure(content_id(paths[-1].encode()), paths[-1], "read", "No such file or directory"),)
    assert result.ids[0] == content_id(before)
    shown = NATIVE(decode(before), result.ids[0], seed=0, crop=CROP).pixels
    assert table.values[0, 0] == np.float32(Geometry("aligned_crop", CROP)(shown).mean())


def test_an_image_that_a_device_has_no_memory_for_fails_alone(own: Path) -> None:
    path = paths_of(own)[3]
    large = content_id((own / path).read_bytes())

    def encode(batch: Batch) -> list[float]:
        if large in batch.ids:
            raise ImageTooLarge("a single image of 3 x 9 x 9 does not fit into the memory of cuda")
        return [0.0] * len(batch)

    table = extract(own, FromBatch(encode, in_process=True), conditions=(NATIVE,)).tables["native", "from_batch"]
    assert [(f.path, f.stage) for f in table.failures] == [(path, "from_batch")]
    assert table.failures[0].reason.startswith("a single image of 3 x 9 x 9 does not fit")
    assert table.ok.sum() == 7
