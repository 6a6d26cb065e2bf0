"""Tasks that compute together what they share, and batches of several chunks that become one for the device."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_tasks import (
    CENTRE,
    CROP,
    MATCHED,
    NATIVE,
    RESCALED,
    FromBatch,
    Moments,
    assert_same,
    extract,
    paths_of,
    write_images,
)

from fdetect.backend import resolve
from fdetect.engine import Store, chunks, gathering
from fdetect.engine.chunks import Done
from fdetect.engine.gathering import Gathering
from fdetect.engine.work import Plan, content_id
from fdetect.errors import WeightsError
from fdetect.images import Geometry
from fdetect.types import Batch, Facts

Calls = list[tuple[tuple[str, ...], int]]  # (names of the tasks, images) of each call


@dataclass(frozen=True)
class Power(Moments):
    """The mean of a power of the pixels; tasks of one group find the pixels as numbers once.

    `spoilt` is an image that raises; `heavy` are the tasks that raise with it, all of them where it is empty.
    """

    power: float = 1.0
    group: str | None = "powers"
    columns: tuple[str, ...] = ("power:mean",)
    spoilt: str = ""
    heavy: tuple[str, ...] = ()
    batch: int = 0
    calls: Calls = field(default_factory=list, compare=False)

    @property
    def settings(self) -> Mapping[str, Any]:
        return {"power": self.power}

    def __call__(self, batch: Batch) -> np.ndarray:
        return self.together(batch, [self])[0]

    def together(self, batch: Batch, tasks: Sequence[Power]) -> list[np.ndarray]:
        self.calls.append((tuple(task.name for task in tasks), len(batch)))
        if self.spoilt in batch.ids and any(task.name in (self.heavy or (task.name,)) for task in tasks):
            raise ZeroDivisionError("too heavy")
        pixels = np.asarray(batch.rgb8, np.float64) / 255
        return [np.mean(pixels**task.power, axis=(1, 2, 3)).astype(np.float32)[:, None] for task in tasks]


def powers(*values: float, **settings: Any) -> tuple[list[Power], Calls]:
    """Tasks of one group that note their calls in one list."""
    calls: Calls = []
    return [Power(f"power{value:g}", power=value, calls=calls, **settings) for value in values], calls


# --- tasks that compute together -------------------------------------------------------------------------------------


@pytest.mark.parametrize("in_process", [False, True])
def test_tasks_of_a_group_are_computed_in_one_call_and_as_each_alone(own: Path, in_process: bool) -> None:
    tasks, calls = powers(1, 2, 3, in_process=in_process)
    others, other_calls = powers(4, group="others", in_process=in_process)
    loners, lone_calls = powers(5, 6, group=None, in_process=in_process)
    done = extract(own, *tasks, *others, *loners, Moments(), conditions=(NATIVE, MATCHED))
    assert calls == [(("power1", "power2", "power3"), 8)] * 2  # once under each condition
    assert other_calls == [(("power4",), 8)] * 2
    assert lone_calls == [(("power5",), 8), (("power6",), 8)] * 2
    for task in (*tasks, *others, *loners):
        assert_same(extract(own, task), _only(done, task.name))


@pytest.mark.parametrize("workers", [1, 2])
def test_groups_in_workers_give_the_same(own: Path, workers: int) -> None:
    tasks, _ = powers(1, 2, 3)
    assert_same(extract(own, *tasks), extract(own, *tasks, workers=workers))


def test_a_second_detector_costs_only_its_new_views(own: Path, tmp_path: Path) -> None:
    tasks, calls = powers(1, 2, 3)
    store = Store(tmp_path / "store")
    first = extract(own, *tasks[:2], store=store, conditions=(NATIVE,))
    both = extract(own, *tasks, store=store, conditions=(NATIVE,))
    assert calls == [(("power1", "power2"), 8), (("power3",), 8)]
    assert (both.n_stored, both.n_computed) == (16, 8)
    assert_same(first, _only(both, "power1", "power2"))
    assert_same(both, extract(own, *tasks, conditions=(NATIVE,)))


@pytest.mark.parametrize("in_process", [False, True])
def test_an_image_that_spoils_a_group_fails_alone(own: Path, in_process: bool) -> None:
    spoilt = content_id((own / paths_of(own)[3]).read_bytes())
    clean = extract(own, *powers(1, 2)[0], conditions=(NATIVE,))
    tasks, calls = powers(1, 2, spoilt=spoilt, in_process=in_process)
    done = extract(own, *tasks, conditions=(NATIVE,))
    for name in ("power1", "power2"):
        table = done.tables["native", name]
        assert [(f.path, f.stage, f.reason) for f in table.failures] == [
            (paths_of(own)[3], name, "ZeroDivisionError: too heavy")
        ]
        assert table.ok.tolist() == [k != 3 for k in range(8)]
        np.testing.assert_array_equal(table.values[table.ok], clean.tables["native", name].values[table.ok])
    assert len(calls) == 1 + 2 * 3 + 2  # eight images, halved three times, and both tasks of the culprit alone


def test_a_task_that_spoils_a_group_fails_alone(own: Path) -> None:
    spoilt = content_id((own / paths_of(own)[5]).read_bytes())
    tasks, _ = powers(1, 2, 3, spoilt=spoilt, heavy=("power2",))
    done = extract(own, *tasks, conditions=(NATIVE,))
    failed = {name: [f.path for f in table.failures] for (_, name), table in done.tables.items()}
    assert failed == {"power1": [], "power2": [paths_of(own)[5]], "power3": []}
    assert done.n_computed == 23


def _only(done: Any, *names: str) -> Any:
    """The tables of some tasks, in the order of a run of these alone."""
    tables = {key: table for key, table in done.tables.items() if key[1] in names}

    class Part:
        ids, paths = done.ids, done.paths

    Part.tables = tables  # type: ignore[attr-defined]
    return Part


# --- batches that become one -----------------------------------------------------------------------------------------


def plan_of(*tasks: Any) -> Plan:
    return Plan((NATIVE,), tasks, CROP, 0, resolve("cpu"))


def chunk_of(n: int, *, start: int = 0, side: int = 8, job: tuple[int, int] = (0, 0), items: int | None = None) -> Done:
    ids = tuple(f"{start + k:032x}" for k in range(n))
    pixels = np.full((n, side, side, 3), start, np.uint8)
    batch = Batch(ids, pixels, tuple(Facts("PNG", side, side, 1) for _ in ids))
    return Done(n if items is None else items, for_device=[(batch, (job,))])


def images_of(ready: gathering.Ready) -> list[int]:
    return [sum(len(batch) for batch, _ in parts) for _, parts in ready]


def test_batches_wait_until_they_are_as_many_as_the_task_likes() -> None:
    waiting = Gathering(plan_of(Power(batch=40)))
    taken = []
    for k in range(6):
        waiting.add(chunk_of(16, start=16 * k))
        taken.append(images_of(waiting.take(everything=False)))
    assert taken == [[], [], [48], [], [], [48]]
    waiting.add(chunk_of(3))
    assert images_of(waiting.take(everything=False)) == []
    assert images_of(waiting.take(everything=True)) == [3]  # nothing is held back from an idle device, or at the end
    assert waiting.take(everything=True) == []


def test_without_a_wish_batches_go_as_they_come() -> None:
    waiting = Gathering(plan_of(Moments()))
    for _ in range(3):
        waiting.add(chunk_of(2))
        assert images_of(waiting.take(everything=False)) == [2]


def test_only_equal_shapes_and_jobs_come_together_and_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    waiting = Gathering(plan_of(Power("a", batch=100), Power("b", batch=100)))
    for side, job in ((8, (0, 0)), (9, (0, 0)), (8, (0, 1)), (8, (0, 0))):
        waiting.add(chunk_of(4, side=side, job=job))
        assert waiting.take(everything=False) == []
    monkeypatch.setattr(gathering, "_BYTES", 16 * 8 * 8 * 3)
    assert images_of(waiting.take(everything=False)) == [8, 4, 4]


def test_a_chunk_is_settled_when_its_last_batch_is_computed() -> None:
    plan = plan_of(Power("a", batch=8, in_process=True), Power("b", in_process=True, group=None))
    waiting = Gathering(plan)
    both = chunk_of(4, items=6)  # six images, two of which could not be decoded
    both.for_device += chunk_of(4, job=(0, 1)).for_device
    waiting.add(both)
    early = gathering.compute(plan, waiting.take(everything=False))
    assert (early.n_items, list(early.rows)) == (0, [(0, 1)])
    waiting.add(chunk_of(4, start=4))
    late = gathering.compute(plan, waiting.take(everything=False))
    assert (late.n_items, list(late.rows)) == (10, [(0, 0)])
    assert late.rows[0, 0][0] == [f"{k:032x}" for k in range(8)]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    write_images(folder, 40)
    return folder


@dataclass(frozen=True)
class Late(Power):
    """A power whose first call waits until `decoded` images stand before the device, or five seconds."""

    ahead: Moments = field(default_factory=Moments, compare=False)
    decoded: int = 0

    def together(self, batch: Batch, tasks: Sequence[Power]) -> list[np.ndarray]:
        if not self.calls:
            waiting = threading.Event()
            for _ in range(500):
                if len(self.ahead.seen) >= self.decoded:
                    break
                waiting.wait(0.01)
        return super().together(batch, tasks)


def test_a_busy_device_gets_larger_batches_and_the_same_rows(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "CHUNK", 2)
    plain = extract(root, Power(in_process=True), conditions=(NATIVE,))
    ahead, told = Moments("ahead"), list[int]()
    task = Late(batch=10, in_process=True, ahead=ahead, decoded=22)
    done = extract(root, ahead, task, conditions=(NATIVE,), progress=lambda _, n, total: told.append(n))
    sizes = [n for _, n in task.calls]
    assert sizes[:3] == [2, 10, 10]  # what there was; what came meanwhile, until two pieces wait
    assert (sum(sizes), max(sizes)) == (40, 10)
    assert_same(plain, _only(done, "moments"))
    assert told[-1] == 40


def test_a_device_that_keeps_up_waits_for_nothing(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "CHUNK", 1)
    seen = Moments("ahead")
    lead: list[int] = []

    def noted(batch: Batch) -> list[int]:
        lead.append(len(seen.seen))
        return [0] * len(batch)

    @dataclass(frozen=True)
    class Fond(FromBatch):
        batch: int = 1000

    slow = FromBatch(lambda batch: [threading.Event().wait(0.02)] * len(batch), name="slow")
    extract(root, seen, slow, Fond(noted, in_process=True), conditions=(NATIVE,))
    assert lead[0] <= 2  # the first image does not wait for the last
    assert len(lead) > 10


@pytest.mark.parametrize("workers", [0, 2])
def test_gathered_batches_keep_every_promise(root: Path, tmp_path: Path, workers: int) -> None:
    """Conditions, groups, sizes that differ, a culprit, and a second run that computes nothing."""
    spoilt = content_id((root / paths_of(root)[7]).read_bytes())
    options: dict[str, Any] = {"conditions": (NATIVE, RESCALED), "workers": workers}
    whole = Geometry("as_is")
    tasks, _ = powers(1, 2, batch=100, in_process=True, spoilt=spoilt, heavy=("power2",))
    tasks.append(Power("whole", geometry=whole, batch=100, in_process=True))
    plain, _ = powers(1, 2, spoilt=spoilt, heavy=("power2",))
    plain.append(Power("whole", geometry=whole))
    store = Store(tmp_path / "store")
    done = extract(root, *tasks, store=store, **options)
    assert_same(done, extract(root, *plain, **options))
    assert [f.path for f in done.tables["native", "power2"].failures] == [paths_of(root)[7]]
    again = extract(root, *tasks, store=store, **options)
    assert (again.n_stored, again.n_computed) == (40 * 6 - 2, 0)
    assert_same(done, again)


def test_weights_that_are_missing_end_the_run_from_a_gathered_batch_too(root: Path) -> None:
    @dataclass(frozen=True)
    class Without(FromBatch):
        batch: int = 1000

    def raises(batch: Batch) -> Any:
        raise WeightsError("no weights of tiny", "fdetect weights get tiny")

    with pytest.raises(WeightsError, match="no weights of tiny"):
        extract(root, Without(raises, in_process=True, geometry=CENTRE))
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("fdetect")]


@pytest.mark.parametrize(("device", "likes"), [("cpu", 0), ("cuda", 256)])
def test_views_of_a_network_are_gathered_for_a_gpu_alone(device: str, likes: int) -> None:
    from types import SimpleNamespace

    from fdetect.rigid import View, ViewTask

    task = ViewTask("clean", View(), CENTRE, SimpleNamespace(device=device))
    assert task.batch == likes
    waiting = Gathering(plan_of(task))
    waiting.add(chunk_of(16))
    assert images_of(waiting.take(everything=False)) == ([16] if likes == 0 else [])
