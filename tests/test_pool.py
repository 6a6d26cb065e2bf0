"""Workers that die or hang: one image fails, nothing else is lost, and no process is left behind."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
import types
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from tiny_tasks import (
    CROP,
    MATCHED,
    NATIVE,
    RESCALED,
    Fatal,
    FromBatch,
    Moments,
    Poisoned,
    Slow,
    assert_same,
    environment,
    extract,
    is_running,
    logged,
    paths_of,
    process_ids,
    raises_weights_error,
    write_images,
)

from fdetect.backend import resolve
from fdetect.engine import Extraction, Store, chunks, pool
from fdetect.engine.chunks import Chunk, Item
from fdetect.engine.work import Plan, work
from fdetect.errors import FdetectError, WeightsError
from fdetect.perturb import condition

needs_proc = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are watched through /proc")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    write_images(folder, 20)
    return folder


@pytest.fixture(scope="module")
def clean(root: Path) -> Extraction:
    return extract(root, conditions=(MATCHED,))


@pytest.fixture(autouse=True)
def _no_process_is_left() -> Iterator[None]:
    yield
    assert multiprocessing.active_children() == []


def assert_only(result: Extraction, clean: Extraction, reasons: dict[int, tuple[str, str]], n_tasks: int = 1) -> None:
    """The rows of `reasons` are failures of that stage, with that in the reason; all others are as if undisturbed."""
    table, undisturbed = result.tables["matched", "moments"], clean.tables["matched", "moments"]
    assert {f.path for f in table.failures} == {result.paths[k] for k in reasons}
    for failure in table.failures:
        stage, words = reasons[result.paths.index(failure.path)]
        assert (failure.stage, failure.id) == (stage, result.ids[result.paths.index(failure.path)])
        assert words in failure.reason
    bad = np.isin(np.arange(20), list(reasons))
    assert np.isnan(table.values[bad]).all()
    assert table.values[~bad].tobytes() == undisturbed.values[~bad].tobytes()
    assert result.n_computed == n_tasks * (20 - len(reasons))


# --- workers that die ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how, words", [("segfault", "twice (SIGSEGV)"), ("leave", "twice (exit code 3)")])
def test_an_image_that_ends_its_worker_fails_alone(
    root: Path, clean: Extraction, monkeypatch: pytest.MonkeyPatch, how: str, words: str
) -> None:
    monkeypatch.setattr(chunks, "CHUNK", 2)
    told: list[int] = []
    task = Poisoned(poison=(clean.ids[6],), how=how)
    result = extract(root, task, conditions=(MATCHED,), workers=2, progress=lambda what, done, total: told.append(done))
    assert_only(result, clean, {6: ("worker", f"ended the worker process {words}")})
    assert told[-1] == 20


def test_two_poisonous_images_of_one_chunk(root: Path, clean: Extraction, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "CHUNK", 5)
    task = Poisoned(poison=(clean.ids[6], clean.ids[8]), how="leave")
    others = Moments("others")
    result = extract(root, others, task, conditions=(MATCHED,), workers=2)
    reason = "moments ended the worker process twice (exit code 3)"
    assert {failure.reason for failure in result.tables["matched", "moments"].failures} == {reason}
    assert result.tables["matched", "others"].ok.all()
    assert result.n_computed == 38


@pytest.mark.parametrize("known", [("others",), ()])
def test_what_a_crash_costs_does_not_depend_on_what_was_stored(
    root: Path, clean: Extraction, tmp_path: Path, known: tuple[str, ...]
) -> None:
    """A task that crashes natively costs its own row: the other tasks have all of theirs, to the bit."""
    task = Poisoned("poisoned", poison=(clean.ids[6],), how="leave")
    others, last = Moments("others"), Moments("last")
    store, common = Store(tmp_path), {"paths": paths_of(root)[5:8], "conditions": (NATIVE, MATCHED)}
    if known:
        extract(root, *(one for one in (others, last) if one.name in known), store=store, **common)
    result = extract(root, others, task, last, store=store, workers=1, **common)
    failed = {key: [failure.path for failure in table.failures] for key, table in result.tables.items()}
    assert failed == {(c, t): [clean.paths[6]] * (t == "poisoned")
                      for c in ("native", "matched") for t in ("others", "poisoned", "last")}  # fmt: skip
    wanted = clean.tables["matched", "moments"].values[5:8].tobytes()
    assert all(result.tables["matched", name].values.tobytes() == wanted for name in ("others", "last"))
    again = extract(root, others, task, last, store=store, workers=1, **common)
    assert_same(again, result)


def test_a_condition_that_ends_its_worker_costs_itself(root: Path, clean: Extraction) -> None:
    fatal = Fatal(**{one.name: getattr(RESCALED, one.name) for one in fields(RESCALED)}, poison=(clean.ids[6],))
    others = Moments("others")
    result = extract(root, Moments(), others, paths=paths_of(root)[6:8], conditions=(NATIVE, fatal, MATCHED), workers=1)
    lost = {key: [failure.reason for failure in table.failures] for key, table in result.tables.items()}
    reason = ["condition rescaled ended the worker process twice (exit code 3)"]
    assert lost == {(c, t): reason * (c == "rescaled") for c in ("native", "rescaled", "matched")
                    for t in ("moments", "others")}  # fmt: skip


@pytest.mark.parametrize("n", [2, 3])
def test_deaths_at_different_steps_accuse_none_of_them_until_there_are_three(
    root: Path, tmp_path: Path, clean: Extraction, n: int
) -> None:
    """Each task is killed once, from outside; the image is alone from the start."""
    for k in range(n):
        (tmp_path / str(k)).mkdir()
    once = [Poisoned(f"once{k}", poison=(clean.ids[6],), how="be_killed_once", folder=str(tmp_path / str(k)))
            for k in range(n)]  # fmt: skip
    result = extract(root, *once, paths=paths_of(root)[6:7], conditions=(MATCHED,), workers=1)
    assert all((tmp_path / str(k) / "once").exists() for k in range(n))
    lost = [(name, failure.reason) for (_, name), table in result.tables.items() for failure in table.failures]
    third = "once2 ended the worker process (SIGKILL), the last of 3 steps that did so or died once each"
    assert lost == [("once2", third)] * (n == 3)


def test_a_task_that_crashes_under_two_conditions_is_not_tried_under_the_others(
    root: Path, clean: Extraction, tmp_path: Path
) -> None:
    conditions = (NATIVE, RESCALED, MATCHED, *map(condition, ("jpeg70", "jpeg80", "jpeg90")))
    bad = Poisoned("bad", poison=(clean.ids[6],), how="be_killed_and_say_so", folder=str(tmp_path))
    result = extract(root, bad, Moments(), paths=paths_of(root)[6:8], conditions=conditions, workers=1)
    assert len(list(tmp_path.iterdir())) == 6, "the pair twice, the image twice under two conditions"
    assert all(result.tables[one.name, "moments"].ok.all() for one in conditions)
    assert all(result.tables[one.name, "bad"].ok.tolist() == [False, True] for one in conditions)
    reasons = [result.tables[one.name, "bad"].failures[0].reason for one in conditions]
    twice = "bad ended the worker process twice (SIGKILL)"
    assert sorted(reasons) == [twice] * 2 + [f"{twice}, under 2 conditions; it was not tried under this one"] * 4


def test_conditions_that_crash_accuse_no_task(root: Path, clean: Extraction) -> None:
    of = {one: condition(one) for one in ("jpeg70", "jpeg80")}
    fatal = [Fatal(**{one.name: getattr(made, one.name) for one in fields(made)}, poison=(clean.ids[6],))
             for made in of.values()]  # fmt: skip
    result = extract(root, Moments(), paths=paths_of(root)[6:7], conditions=(*fatal, MATCHED), workers=1)
    assert [result.tables[name, "moments"].ok.all() for name in (*of, "matched")] == [False, False, True]


def test_an_image_on_which_too_many_tasks_crash_is_given_up(
    root: Path, clean: Extraction, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "_CULPRITS", 1)
    bad = [Poisoned(f"bad{k}", poison=(clean.ids[6],), how="leave") for k in range(3)]
    result = extract(root, *bad, Moments(), paths=paths_of(root)[6:8], conditions=(MATCHED,), workers=1)
    reasons = [result.tables["matched", name].failures[0].reason for name in ("bad0", "bad1", "bad2", "moments")]
    whole = "ended the worker process twice (exit code 3)"
    assert reasons == [f"bad0 {whole}", f"bad1 {whole}", whole, whole]
    assert all(table.ok.tolist() == [False, True] for table in result.tables.values())


def test_every_step_is_said_before_it_begins(root: Path) -> None:
    data = (root / paths_of(root)[0]).read_bytes()
    plan = Plan((NATIVE, MATCHED), (Moments(), Moments("others")), CROP, 0, resolve("cpu"))
    chunk = Chunk((Item("0" * 32, data),), ((0, 0), (1, 0), (1, 1)))
    said: list[tuple[str, object]] = []
    work(plan, chunk, lambda name, jobs: said.append((name, jobs)))
    assert said == [
        ("", ()), ("condition native", ((0, 0),)), ("condition matched", ((1, 0), (1, 1))),
        ("moments", ((0, 0),)), ("moments", ((1, 0),)), ("others", ((1, 1),)),
    ]  # fmt: skip


@contextmanager
def killer(folder: Path) -> Iterator[list[int]]:
    """Kill every process that leaves its id in a folder, as the system does that runs out of memory."""
    killed: list[int] = []
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.02):
            for name in folder.iterdir():
                if int(name.name) not in killed:
                    killed.append(int(name.name))
                    os.kill(int(name.name), signal.SIGKILL)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield killed
    finally:
        over.set()
        thread.join()


def test_a_worker_that_is_killed_for_its_memory(
    root: Path, clean: Extraction, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunks, "CHUNK", 2)
    task = Poisoned(poison=(clean.ids[19],), how="wait_to_be_killed", folder=str(tmp_path))
    with killer(tmp_path) as killed:
        result = extract(root, task, conditions=(MATCHED,), workers=2)
    assert_only(result, clean, {19: ("worker", "ended the worker process twice (SIGKILL)")})
    assert len(killed) == 4  # the pair twice, the image twice


def test_a_death_that_happens_once_loses_nothing(
    root: Path, clean: Extraction, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunks, "CHUNK", 5)
    task = Poisoned(poison=(clean.ids[6],), how="be_killed_once", folder=str(tmp_path))
    result = extract(root, task, conditions=(MATCHED,), workers=1)
    assert (tmp_path / "once").exists()
    assert_same(result, clean)
    assert (result.n_computed, result.timing.images) == (20, 20)


@needs_proc
def test_a_task_that_asks_for_too_much_memory_fails_for_its_image(root: Path, clean: Extraction) -> None:
    result = extract(root, Poisoned(poison=(clean.ids[6],), how="exceed_the_limit"), conditions=(MATCHED,), workers=2)
    assert_only(result, clean, {6: ("moments", "MemoryError: Unable to allocate")})


# --- workers that hang --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["sleep", "spin"])
def test_an_image_that_hangs_fails_alone(
    root: Path, clean: Extraction, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setattr(chunks, "CHUNK", 2)
    task = Poisoned(poison=(clean.ids[6],), how=how)
    result = extract(root, task, conditions=(MATCHED,), workers=2, time_limit=1.5)
    assert_only(result, clean, {6: ("worker", "took longer than 1.5 s, twice")})


def test_a_slow_chunk_that_gives_signs_of_life_is_not_ended(root: Path, tmp_path: Path) -> None:
    tasks = [Slow(f"slow{k}", delay=0.25, log=str(tmp_path)) for k in range(5)]
    result = extract(root, *tasks, paths=paths_of(root)[:4], conditions=(NATIVE,), workers=1, time_limit=2.0)
    assert result.timing.busy["compute"] > 4.5  # longer than the limit, a step at a time
    assert all(table.ok.all() for table in result.tables.values())
    assert len(logged(tmp_path)) == 20  # nothing was done twice


def test_a_step_below_the_limit_is_in_time_however_short_the_limit(root: Path) -> None:
    tasks = [Slow(f"slow{k}", delay=0.3) for k in range(5)]  # 1.5 s for a limit of 0.6 s, a step at a time
    result = extract(root, *tasks, paths=paths_of(root)[:1], conditions=(NATIVE,), workers=1, time_limit=0.6)
    assert all(table.ok.all() for table in result.tables.values())


SUSPENDED = """
import sys
from fdetect.engine import run
from fdetect.perturb import condition
from tiny_tasks import Slow

if __name__ == "__main__":
    root, log, path = sys.argv[1:]
    table = run([Slow(delay=1.0, log=log)], [path], root=root, conditions=[condition("matched")], crop=64, workers=1,
                time_limit=2.0).tables["matched", "moments"]
    print(table.failures, table.ok.all())
"""


@needs_proc
def test_a_run_that_was_suspended_makes_up_no_failure(root: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.mkdir()
    (tmp_path / "suspended.py").write_text(SUSPENDED)
    command = [sys.executable, str(tmp_path / "suspended.py"), str(root), str(log), paths_of(root)[0]]
    process = subprocess.Popen(command, env=environment(), start_new_session=True, stdout=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not logged(log):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGSTOP)
    time.sleep(2.5)  # longer than the limit
    os.killpg(process.pid, signal.SIGCONT)
    assert process.communicate(timeout=60)[0] == "() True\n"


# --- workers that do not start, and tasks that cannot run ---------------------------------------------------------


def test_a_worker_that_cannot_start_is_one_sentence(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("only_here")
    exec("def means(batch):\n    return batch.rgb8.mean((1, 2, 3))", module.__dict__)
    monkeypatch.setitem(sys.modules, "only_here", module)
    means = [(module.means, "exit code 1"), (lambda batch: module.means(batch), "Error: Can't pickle")]
    for function, words in means:
        with pytest.raises(FdetectError, match=r"^a worker process did not start \(") as caught:
            extract(root, FromBatch(function), conditions=(NATIVE,), workers=2)
        assert words in str(caught.value)
        assert "workers=0" in str(caught.value)
        assert "\n" not in str(caught.value)
        assert multiprocessing.active_children() == []


def test_a_script_without_a_guard_is_told_what_to_do(root: Path, tmp_path: Path) -> None:
    script = tmp_path / "unguarded.py"
    script.write_text(
        "import sys\nfrom fdetect.engine import run\nfrom tiny_tasks import Moments\n"
        "run([Moments()], sys.argv[2:], root=sys.argv[1], crop=64, workers=1)\n"
    )
    command = [sys.executable, str(script), str(root), *paths_of(root)]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("fdetect.errors.FdetectError: a worker process did not start (exit")
    assert "if __name__ == '__main__':" in done.stderr.splitlines()[-1]


def test_a_task_of_the_device_lane_does_not_travel(root: Path, clean: Extraction) -> None:
    local = FromBatch(lambda batch: [os.getpid()] * len(batch), name="here", in_process=True)
    result = extract(root, local, FromBatch(process_ids, name="there"), conditions=(MATCHED,), workers=1)
    assert (result.tables["matched", "here"].values == np.float32(os.getpid())).all()
    assert (result.tables["matched", "there"].values != np.float32(os.getpid())).all()


def test_missing_weights_end_the_run_and_its_workers(root: Path) -> None:
    with pytest.raises(WeightsError) as caught:
        extract(root, FromBatch(raises_weights_error), conditions=(NATIVE,), workers=2)
    assert (caught.value.reason, caught.value.fix) == ("no weights of tiny", "fdetect weights get tiny")
    assert multiprocessing.active_children() == []


# --- Ctrl-C -------------------------------------------------------------------------------------------------------


def test_an_interrupt_in_the_run_leaves_no_worker(
    root: Path, clean: Extraction, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunks, "CHUNK", 2)

    def interrupt(what: str, done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):  # progress is told after the last image: all but its report is done
        extract(root, conditions=(MATCHED,), workers=2, store=Store(tmp_path), progress=interrupt)
    assert multiprocessing.active_children() == []
    again = extract(root, conditions=(MATCHED,), store=Store(tmp_path))
    assert (again.n_stored, again.n_computed) == (20, 0)
    assert_same(again, clean)


INTERRUPTED = """
import sys
from fdetect.engine import Store, chunks, run
from fdetect.perturb import condition
from tiny_tasks import Slow

if __name__ == "__main__":
    chunks.CHUNK = 2
    root, store, log = sys.argv[1:4]
    run([Slow(delay=0.2, log=log)], sys.argv[4:], root=root, conditions=[condition("matched")], crop=64,
        store=Store(store), workers=2)
"""


@needs_proc
def test_ctrl_c_keeps_what_was_done(root: Path, clean: Extraction, tmp_path: Path) -> None:
    """The whole process group is interrupted, as a terminal does it; rows that no part held yet are not lost."""
    store, log = tmp_path / "store", tmp_path / "log"
    log.mkdir()
    (tmp_path / "interrupted.py").write_text(INTERRUPTED)
    command = [sys.executable, str(tmp_path / "interrupted.py"), str(root), str(store), str(log), *paths_of(root)]
    process = subprocess.Popen(command, env=environment(), start_new_session=True, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while len(logged(log)) < 9:
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert not list(store.rglob("part-*.parquet"))
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert process.returncode == -signal.SIGINT
    assert said.splitlines()[-1] == "KeyboardInterrupt"
    assert said.count("Traceback (most recent call last)") == 1, said  # workers have nothing to say
    assert not any(is_running(int(file.name)) for file in log.iterdir())
    again = extract(root, conditions=(MATCHED,), store=Store(store))
    assert 4 <= again.n_stored < 20
    assert again.n_stored + again.n_computed == 20
    assert_same(again, clean)
