"""Lanes: bounded queues, errors that arrive, and an account of the time that adds up."""

from __future__ import annotations

import os
import threading
import time
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from tiny_tasks import (
    MATCHED,
    NATIVE,
    FromBatch,
    Moments,
    Slow,
    assert_same,
    extract,
    process_ids,
    raises_weights_error,
    write_images,
)

from fdetect.engine import Store, chunks
from fdetect.engine.lanes import LANES, Lane, Timing
from fdetect.errors import WeightsError

SERVERS = {"read": 4, "decode": 2, "perturb": 2, "compute": 2, "device": 1, "write": 1}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    write_images(folder, 20)
    return folder


# --- the account --------------------------------------------------------------------------------------------------


def test_the_slowest_lane_is_the_busiest_of_its_servers() -> None:
    timing = Timing(100, 8.0, {"read": 6.0, "decode": 5.0, "device": 3.0, "write": 1.0}, SERVERS)
    assert timing.rate == 12.5
    assert timing.shares == pytest.approx(
        {"read": 0.4, "decode": 1 / 3, "perturb": 0, "compute": 0, "device": 0.2, "write": 1 / 15}
    )
    assert timing.slowest == "device"  # 3 s of one thread; 6 s of four, 5 s of two
    assert str(timing) == (
        "100 images in 8.0 s, 12.5 images/s; "
        "time by lane: read 40%, decode 33%, device 20%, write 7%; slowest lane: device"
    )
    slow = str(replace(timing, preparing=7.4))
    assert "12.5 images/s (and 7 s before that to compile kernels, which are kept for the next run); time" in slow


def test_a_run_without_work_says_so() -> None:
    timing = Timing(0, 0.0, {}, SERVERS)
    assert (timing.rate, timing.slowest, set(timing.shares.values())) == (0.0, "", {0.0})
    assert str(timing) == "0 images in 0.0 s, 0.0 images/s; nothing had to be computed"


@pytest.mark.parametrize("workers", [0, 2])
def test_the_time_of_a_run_adds_up(root: Path, tmp_path: Path, workers: int) -> None:
    def slowly(batch):
        time.sleep(0.04 * len(batch))
        return process_ids(batch)

    tasks = (Moments(), FromBatch(slowly, in_process=True))
    since = time.perf_counter()
    timing = extract(root, *tasks, conditions=(MATCHED,), workers=workers, store=Store(tmp_path)).timing
    outside = time.perf_counter() - since
    assert (timing.images, timing.seconds <= outside) == (20, True)
    assert set(timing.busy) == set(LANES)
    assert all(seconds > 0 for seconds in timing.busy.values())
    for lane, seconds in timing.busy.items():  # no server is busy for longer than the run
        assert seconds <= timing.seconds * timing.servers[lane]
    assert sum(timing.shares.values()) == pytest.approx(1)
    assert timing.busy["device"] >= 0.8
    assert timing.slowest == "device"
    assert timing.servers == {**SERVERS, **dict.fromkeys(("decode", "perturb", "compute"), max(workers, 1))}
    assert str(timing).endswith("; slowest lane: device")


# --- overlap ------------------------------------------------------------------------------------------------------


def test_a_lane_works_in_order_and_lets_only_a_few_pieces_wait() -> None:
    busy: dict[str, float] = {}
    go, put = threading.Semaphore(0), []

    def piece(k: int) -> int:
        go.acquire()
        return k

    with closing(Lane("device", busy)) as lane:
        returned: list[int] = []

        def feed() -> None:
            for k in range(6):
                returned.extend(lane.put(piece, k))
                put.append(k)

        feeder = threading.Thread(target=feed)
        feeder.start()
        for done in range(6):
            time.sleep(0.05)
            assert len(put) <= done + 2  # one that is worked on, two behind it, of which `put` still holds the last
            go.release()
        feeder.join()
        assert returned + lane.drain() == list(range(6))
        assert lane.drain() == []
    assert 0.1 < busy["device"] < 5


def test_a_slow_device_lane_holds_up_those_before_it(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "CHUNK", 1)
    ahead, lead, together = Moments("ahead"), [], []

    def slowly(batch):
        lead.append(len(ahead.seen) - len(lead))  # decoded, and not yet worked on here
        before = len(ahead.seen)
        time.sleep(0.02)
        together.append(len(ahead.seen) > before)
        return process_ids(batch)

    result = extract(root, ahead, FromBatch(slowly, name="device", in_process=True), conditions=(NATIVE,))
    assert result.tables["native", "device"].ok.all()
    assert len(lead) == 20
    assert max(lead) <= 4  # worked on, waiting, waiting, being put
    assert any(together)  # images are decoded while the device works


def test_workers_and_the_device_work_at_the_same_time(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Images are decoded in a worker process while the device computes: together they take less than their sum."""
    monkeypatch.setattr(chunks, "CHUNK", 2)

    def slowly(batch):
        time.sleep(0.1 * len(batch))
        return process_ids(batch)

    tasks = (Slow("decoding", delay=0.1), FromBatch(slowly, name="device", in_process=True))
    timing = extract(root, *tasks, conditions=(NATIVE,), workers=1).timing
    assert timing.busy["compute"] >= 2
    assert timing.busy["device"] >= 2
    assert timing.seconds < timing.busy["compute"] + timing.busy["device"]


def test_a_lane_works_while_its_feeder_does() -> None:
    with closing(Lane("write", {})) as lane:
        since = time.perf_counter()
        for _ in range(5):
            lane.put(time.sleep, 0.1)
            time.sleep(0.1)
        lane.drain()
        assert time.perf_counter() - since < 0.9  # one after another they take 1 s


# --- errors -------------------------------------------------------------------------------------------------------


def test_an_error_in_a_lane_is_raised_where_it_is_fed() -> None:
    def fails() -> None:
        raise ValueError("the device is gone")

    done: list[int] = []
    lane = Lane("device", busy := {})
    with pytest.raises(ValueError, match="the device is gone"):
        lane.put(fails)
        for k in range(10):
            lane.put(done.append, k)
    with pytest.raises(ValueError, match="the device is gone"):
        lane.put(fails)
        lane.drain()
    lane.close()
    assert len(done) <= 4
    assert busy["device"] >= 0
    with pytest.raises(RuntimeError):
        lane.put(fails)


@pytest.mark.parametrize("workers", [0, 1])
def test_an_error_of_the_device_ends_the_run_and_no_thread_is_left(root: Path, workers: int) -> None:
    with pytest.raises(WeightsError, match="no weights of tiny"):
        extract(root, FromBatch(raises_weights_error, in_process=True), workers=workers)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("fdetect")]


# --- preparation --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Prepared(Moments):
    """A task that must be made ready, and says in which process that happened."""

    folder: str = ""

    def prepare(self) -> None:
        (Path(self.folder) / f"prepared-{os.getpid()}").touch()


@pytest.mark.parametrize("workers", [0, 2])
def test_tasks_are_prepared_once_in_this_process_before_any_work(root: Path, tmp_path: Path, workers: int) -> None:
    told: list[tuple[str, int, int]] = []
    task, store = Prepared(folder=str(tmp_path)), Store(tmp_path / "store")
    first = extract(root, task, workers=workers, store=store, progress=lambda *step: told.append(step))
    assert [path.name for path in tmp_path.glob("prepared-*")] == [f"prepared-{os.getpid()}"]
    assert told[0][0].startswith("preparing")
    assert first.timing.preparing > 0
    (tmp_path / f"prepared-{os.getpid()}").unlink()
    again = extract(root, task, workers=workers, store=store)  # nothing is left to compute
    assert not list(tmp_path.glob("prepared-*"))
    assert again.timing.preparing == 0
    assert_same(first, again)
