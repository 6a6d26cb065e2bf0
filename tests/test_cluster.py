"""The engine on a Ray cluster: the same bytes as on this machine, whatever happens to workers, drivers and machines."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from tiny_tasks import (
    CROP,
    MATCHED,
    NATIVE,
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
    raises_weights_error,
    settle,
    write_images,
)

pytest.importorskip("ray", reason="the extra ray is not installed")
from click.testing import CliRunner

import fdetect
from fdetect.backend import resolve
from fdetect.bench.run import bench
from fdetect.cli import cli
from fdetect.config import RunConfig, override
from fdetect.engine import Extraction, Store
from fdetect.engine.cluster.answers import Answer, answer_schema
from fdetect.engine.cluster.connection import Cluster
from fdetect.engine.cluster.ledger import Ledger
from fdetect.engine.cluster.workers import Errand, Worker
from fdetect.engine.jobs import describe
from fdetect.engine.sources import Reader
from fdetect.engine.store import id_array, id_bytes, id_texts
from fdetect.engine.work import Plan, content_id
from fdetect.errors import FdetectError, ParameterError, WeightsError
from fdetect.files import write_table

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are watched through /proc")

NET = Moments(name="net", in_process=True, columns=("net:mean", "net:std"))


@pytest.fixture(scope="module", autouse=True)
def _cluster() -> Iterator[None]:
    """One cluster of this machine for all tests, with two workers' room."""
    import ray

    os.environ.pop("RAY_ADDRESS", None)
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    yield
    ray.shutdown()


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images of several sizes and kinds, two that cannot be used, and one content under two names."""
    folder = tmp_path_factory.mktemp("images")
    write_images(folder, 60)
    (folder / "class0/broken.png").write_bytes(b"no image")
    (folder / "class1/again.png").write_bytes((folder / "class0/000.png").read_bytes())
    settle(folder)
    return folder


@pytest.fixture(scope="module")
def here(root: Path) -> Extraction:
    return extract(root, Moments(), NET, paths=[*paths_of(root), "class0/absent.png"])


def test_a_cluster_comes_to_the_same_bytes(root: Path, here: Extraction) -> None:
    found = extract(root, Moments(), NET, paths=list(here.paths), engine="ray", workers=1)
    assert_same(found, here)
    assert (found.n_computed, found.n_stored) == (240, 0)


def test_two_workers_resume_and_are_resumed(root: Path, here: Extraction, tmp_path: Path) -> None:
    store, paths = Store(tmp_path), list(here.paths)
    extract(root, NET, paths=paths, store=store)
    found = extract(root, Moments(), NET, paths=paths, store=store, engine="ray", workers=2)
    assert_same(found, here)
    assert (found.n_computed, found.n_stored) == (120, 120)
    assert found.timing.servers["compute"] == found.timing.servers["device"] == 2
    again = extract(root, Moments(), NET, paths=paths, store=store)
    assert_same(again, here)
    assert (again.n_computed, again.n_stored) == (0, 240)


def test_a_file_that_the_index_knows_is_not_read(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["__main__"], "__file__", None, raising=False)  # put back what a worker hides
    path, plan, unlike = "class0/000.png", Plan((NATIVE,), (Moments(),), CROP, 0, resolve("cpu")), "ab" * 16
    ledger = Ledger.of({(0, 0): id_bytes([unlike])})
    schema = answer_schema(plan, [(0, 0)])
    errand = Errand(lambda: plan, {}, schema, str(root), 1.0, lambda: ledger, (), {}, False, True)
    worker = Worker(errand)
    with Reader(root) as reader:
        stamp = asdict(reader.stamp(path))
    for size, id in ((stamp["size"], unlike), (stamp["size"] + 1, content_id((root / path).read_bytes()))):
        columns = {"row": [7], "path": [path], **{name: [value] for name, value in stamp.items()}, "size": [size]}
        answer = Answer.of(worker(pa.table({**columns, "id": id_array(id_bytes([unlike]))})))
        assert (answer.rows.tolist(), id_texts(answer.ids)) == ([7], [id])
        assert answer.n_stored.tolist() == [int(id == unlike)]
        assert answer.done.rows.keys() == (set() if id == unlike else {(0, 0)})
    worker._pool.close()


def test_an_image_that_crashes_its_process_fails_alone(root: Path) -> None:
    poison = tuple(extract(root).ids[k] for k in (3, 40))
    task = Poisoned(poison=poison, how="segfault", folder=str(root))
    assert_same(extract(root, task, engine="ray", workers=2), extract(root, task, workers=2))


def test_a_task_that_cannot_run_ends_the_run(root: Path) -> None:
    with pytest.raises(WeightsError, match="no weights of tiny") as error:
        extract(root, FromBatch(raises_weights_error, in_process=True), engine="ray", workers=1)
    assert error.value.fix == "fdetect weights get tiny"


def test_a_worker_that_is_killed_loses_no_row(tmp_path: Path, root: Path) -> None:
    log = tmp_path / "log"
    log.mkdir()
    killed: list[int] = []

    def kill() -> None:
        deadline = time.monotonic() + 120
        while len(logged(log)) < 8 and time.monotonic() < deadline:
            time.sleep(0.02)
        (first, *_) = sorted(int(file.name) for file in log.iterdir())
        killed.append(parent(parent(first)))  # the worker's process was made by a server that the actor started
        os.kill(killed[0], signal.SIGKILL)

    watcher = threading.Thread(target=kill)
    watcher.start()
    found = extract(root, Slow(delay=0.05, log=str(log)), conditions=(NATIVE,), engine="ray", workers=2)
    watcher.join()
    assert not is_running(killed[0])
    assert len(logged(log)) > 60  # something was computed twice
    assert_same(found, extract(root, Slow(), conditions=(NATIVE,)))


KILLED = """
import sys
from fdetect.engine import Store, jobs, run
from fdetect.perturb import condition
from tiny_tasks import Slow

if __name__ == "__main__":
    jobs.FLUSH_SECONDS = 0.1
    root, store, log = sys.argv[1:4]
    run([Slow(delay=0.05, log=log)], sys.argv[4:], root=root, conditions=[condition("native")], crop=64,
        store=Store(store), engine="ray", workers=2)
"""


def test_a_run_that_is_killed_resumes_and_leaves_no_process(tmp_path: Path, root: Path) -> None:
    log, store, paths = tmp_path / "log", tmp_path / "store", paths_of(root)
    log.mkdir()
    (tmp_path / "killed.py").write_text(KILLED)
    command = [sys.executable, str(tmp_path / "killed.py"), str(root), str(store), str(log), *paths]
    driver = subprocess.Popen(command, env=environment(), start_new_session=True, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 120
    while not list(store.glob("moments-*/part-*.parquet")):
        assert driver.poll() is None, driver.stderr.read().decode()[-2000:] if driver.stderr else ""
        assert time.monotonic() < deadline
        time.sleep(0.05)
    workers = [int(file.name) for file in log.iterdir()]
    os.kill(driver.pid, signal.SIGKILL)
    driver.wait()
    found = extract(root, Slow(), conditions=(NATIVE,), store=Store(store), engine="ray", workers=2)
    assert found.n_stored > 0
    assert found.n_stored + found.n_computed == 60
    assert_same(found, extract(root, Slow(), conditions=(NATIVE,)))
    deadline = time.monotonic() + 60
    while any(map(is_running, workers)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(map(is_running, workers))


def test_the_command_line_writes_the_same_table(root: Path, tmp_path: Path) -> None:
    for name, options in {"here": ["--workers", "0"], "there": ["--engine", "ray", "--workers", "2"]}.items():
        out, store = str(tmp_path / f"{name}.parquet"), str(tmp_path / name)
        asked = ["extract", str(root), "-o", out, "--features", "radial_spectrum", "--crop", "64", "--store", store]
        found = CliRunner().invoke(cli, [*asked, *options])
        assert found.exit_code == 0, found.output
        assert "62 images" in found.output
    assert (tmp_path / "here.parquet").read_bytes() == (tmp_path / "there.parquet").read_bytes()


def test_a_network_comes_to_the_same_bits(root: Path, tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="the extra deep is not installed")
    from tiny_dinov2 import save_tiny

    feature = f"embedding:encoder={save_tiny(tmp_path / 'tiny', image_size=56)}"
    found = [
        fdetect.extract(root, features=feature, crop=64, store=Store(tmp_path / f"store-{engine}"), engine=engine)
        for engine in ("local", "ray")
    ]
    assert found[0].values.shape[0] == 62
    assert found[0].values.tobytes() == found[1].values.tobytes()


def test_what_the_script_defines_is_refused(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Moments, "__module__", "__main__")
    with pytest.raises(ParameterError, match="moments is defined in the script that runs; put it into a module"):
        extract(root, engine="ray")


def test_another_cluster_than_the_connected_is_refused(root: Path) -> None:
    with pytest.raises(FdetectError, match="connected to another Ray cluster than 10.1.2.3:6379"):
        extract(root, engine="ray", address="10.1.2.3:6379")


def test_the_ledger_says_what_each_job_has_finished() -> None:
    rng = np.random.default_rng(0)
    all_ids = rng.integers(0, 256, (200, 16), np.uint8)
    finished = {(0, job): all_ids[rng.random(200) < share] for job, share in enumerate((0.0, 0.3, 0.9, 0.9) * 3)}
    finished[0, 12] = finished[0, 2][::-1]
    ledger, texts = Ledger.of(finished), {job: set(id_texts(ids)) for job, ids in finished.items()}
    asked = [*id_texts(all_ids), "00" * 16]
    for id in asked:
        assert ledger.missing(id) == tuple(job for job in finished if id not in texts[job])
    nearly = Ledger.of({job: finished[job] for job in ((0, 2), (0, 12))})
    assert nearly.all_finished(asked).tolist() == [id in texts[0, 2] for id in asked]
    assert Ledger.of({(0, 0): all_ids[:0]}).missing(asked[0]) == ((0, 0),)


def test_a_benchmark_comes_to_the_same_result(small_set: Path, tmp_path: Path) -> None:
    small = {"data.path": str(small_set), "features.names": ("radial_spectrum",), "metrics.replicates": 20,
             "conditions.names": ("native",), "conditions.crop": 128, "heads.per_family": ("logreg",),
             "heads.all_columns": ()}  # fmt: skip
    for name in ("local", "ray"):
        bench(override(RunConfig(), small), out=tmp_path / name, store=Store(tmp_path / f"store-{name}"), engine=name)
    for file in ("result.json", "scores.parquet"):
        assert (tmp_path / "ray" / file).read_bytes() == (tmp_path / "local" / file).read_bytes()


@pytest.mark.parametrize(
    "changed, words",
    [
        ({"engine": "dask"}, "engine is one of local, ray; got 'dask'"),
        ({"address": "auto"}, "give engine 'ray' with it"),
    ],
)
def test_what_cannot_be_asked_for_is_said(root: Path, changed: dict[str, str], words: str) -> None:
    with pytest.raises(ParameterError, match=words):
        extract(root, **changed)


def test_without_ray_the_extra_is_named(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(FdetectError, match=r"pip install 'fdetect\[ray\]'"):
        extract(root, engine="ray")


def test_a_gpu_that_the_cluster_lacks_is_said() -> None:
    with pytest.raises(FdetectError, match="the Ray cluster has no GPU"):
        Cluster()._n_lanes(gpus=1)


def test_a_machine_of_other_versions_or_without_the_images_is_refused(tmp_path: Path) -> None:
    plan = Plan((NATIVE, MATCHED), (Moments(),), CROP, 0, resolve("cpu"))
    described = {(0, 0): describe(plan, (0, 0))}
    errand = Errand(lambda: plan, described, answer_schema(plan, []), str(tmp_path), 1.0, None, (), {}, False, True)
    assert errand.opened() is plan
    libraries = str(described[0, 0]["libraries"])
    described[0, 0]["libraries"] = libraries.replace(np.__version__, "1.0")
    with pytest.raises(FdetectError, match=rf"moments is of another libraries .*numpy {np.__version__}.*numpy 1\.0"):
        errand.opened()
    answer = Answer.of(Worker(replace(errand, root=str(tmp_path / "absent")))(None))
    assert str(answer.error).endswith(f"no folder {tmp_path / 'absent'} there; mount it on all machines")


# --- several machines -------------------------------------------------------------------------------------------------

SEVERAL = """
import sys
from fdetect.engine import run
from fdetect.files import write_table
from fdetect.perturb import condition
from pathlib import Path
from tiny_tasks import Placed

if __name__ == "__main__":
    root, log, table = sys.argv[1:4]
    result = run([Placed(delay=0.05, log=log)], sys.argv[4:], root=root, conditions=[condition("native")], crop=64,
                 engine="ray", address="10.77.0.1:6399", workers=2)
    write_table(result.table("native", ["moments"]).to_arrow(), Path(table))
"""


@pytest.fixture
def two_machines() -> Iterator[dict[str, list[str]]]:
    """Two network namespaces with a cable between them, a Ray node of one CPU in each: how to run something there."""
    if os.getuid() or not shutil.which("ip"):
        pytest.skip("network namespaces cannot be made here: root and the command ip are needed")
    made = subprocess.run(["ip", "netns", "add", space("a")], capture_output=True, text=True)
    if made.returncode:
        pytest.skip(f"network namespaces cannot be made here: {made.stderr.strip()}")
    temporary = tempfile.mkdtemp(prefix="fd")  # short: sockets lie there
    inside = {name: ["ip", "netns", "exec", space(name)] for name in "ab"}
    commands = [
        f"ip netns add {space('b')}",
        f"ip link add fdetect-0 netns {space('a')} type veth peer name fdetect-0 netns {space('b')}",
        *(" ".join([*inside[name], word]) for name, number in (("a", 1), ("b", 2)) for word in (
            f"ip addr add 10.77.0.{number}/24 dev fdetect-0", "ip link set fdetect-0 up", "ip link set lo up")),
    ]  # fmt: skip
    own = {**environment(), "RAY_AUTH_MODE": "disabled"}
    head = f"--head --port 6399 --temp-dir {temporary} --include-dashboard=false"
    start = ["ray", "start", "--disable-usage-stats", "--num-cpus=1", "--object-store-memory=200000000"]
    try:
        for command in commands:
            subprocess.run(command.split(), check=True, capture_output=True)
        for name, number, how in (("a", 1, head), ("b", 2, "--address 10.77.0.1:6399")):
            asked = [*inside[name], sys.executable, "-m", "ray.scripts.scripts", *start[1:], *how.split()]
            subprocess.run([*asked, f"--node-ip-address=10.77.0.{number}"], env=own, check=True, capture_output=True)
        yield inside
    finally:
        for name in "ab":
            end_all(name)
            subprocess.run(["ip", "netns", "delete", space(name)], capture_output=True)
        shutil.rmtree(temporary, ignore_errors=True)


def space(name: str) -> str:
    return f"fdetect-{name}-{os.getpid()}"


def end_all(name: str) -> None:
    """Kill everything that runs in a namespace."""
    found = subprocess.run(["ip", "netns", "pids", space(name)], capture_output=True, text=True).stdout
    for pid in map(int, found.split()):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def test_a_machine_that_is_lost_loses_no_row(
    two_machines: dict[str, list[str]], tmp_path: Path, root: Path
) -> None:
    log, table = tmp_path / "log", tmp_path / "table.parquet"
    log.mkdir()
    (tmp_path / "several.py").write_text(SEVERAL)
    command = [sys.executable, str(tmp_path / "several.py"), str(root), str(log), str(table), *paths_of(root)]
    own = {**environment(), "RAY_AUTH_MODE": "disabled"}
    driver = subprocess.Popen([*two_machines["a"], *command], env=own, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 120
    while len({file.name.partition(" ")[0] for file in log.iterdir()}) < 2:
        assert driver.poll() is None, driver.stderr.read().decode()[-2000:] if driver.stderr else ""
        assert time.monotonic() < deadline, "both machines take part"
        time.sleep(0.05)
    end_all("b")
    assert driver.wait(200) == 0, driver.stderr.read().decode()[-2000:] if driver.stderr else ""
    here = tmp_path / "here.parquet"
    write_table(extract(root, Slow(), conditions=(NATIVE,)).table("native", ["moments"]).to_arrow(), here)
    assert table.read_bytes() == here.read_bytes()


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])
