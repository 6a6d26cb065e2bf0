"""`run`: images, conditions and tasks in; tables out; what is in the store is not computed.

    paths -> read lane -> chunks -> workers (decode, perturb, compute) -> device lane -> write lane -> store -> tables
                                                          (gathered on the way)

Every arrow is a bounded queue: memory does not grow with the number of images, save for their paths and ids.  On a
cluster, what stands between the read lane and the device lane is computed elsewhere (cluster/).
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from fdetect.backend import Backend, resolve
from fdetect.engine.chunks import in_chunks
from fdetect.engine.extraction import Extraction
from fdetect.engine.gathering import Gathering, compute
from fdetect.engine.index import Index
from fdetect.engine.jobs import Jobs
from fdetect.engine.lanes import Lane, Timing
from fdetect.engine.pool import TIME_LIMIT, map_chunks
from fdetect.engine.reading import read_ahead
from fdetect.engine.sources import Reader
from fdetect.engine.standing import Progress, Standing
from fdetect.engine.store import Store
from fdetect.engine.work import Plan, Task
from fdetect.errors import DataError, ParameterError
from fdetect.files import check_writable
from fdetect.perturb import Condition, check_crop

if TYPE_CHECKING:
    from fdetect.engine.cluster.connection import Cluster

__all__ = ["ENGINES", "Progress", "run"]

ENGINES = ("local", "ray")


def run(
    tasks: Sequence[Task],
    paths: pa.Array | Sequence[str],
    *,
    root: str | Path = ".",
    conditions: Sequence[Condition] = (Condition("native"),),
    only: Mapping[str, Collection[str]] | None = None,
    crop: int = 224,
    seed: int = 0,
    store: Store | None = None,
    workers: int = 0,
    time_limit: float = TIME_LIMIT,
    backend: Backend | None = None,
    engine: str = "local",
    address: str = "",
    progress: Progress | None = None,
) -> Extraction:
    """Compute every task under every condition for every path, once per content, resuming from the store.

    paths       names below `root`: of files, or of members of shards as `a.tar::name`; an Arrow array or a list
    only        of a condition, by its name, the tasks that are computed under it; all where it is not named
    store       where finished rows go and are found again; None for one that is gone with the result
    workers     processes; 0 computes in this one, without protection against images that crash or hang it.  On a
                cluster, one CPU each; 0 for as many as it has
    time_limit  seconds that a worker may need for one step before its image is given up
    engine      "local", or "ray": the same rows, computed by a Ray cluster (extra `ray`)
    address     of the cluster, as `ray.init` takes it; empty for $RAY_ADDRESS, else one that is started here

    An image that fails, for whatever reason, is a row of NaN with a `Failure`.  Interrupted or killed at any moment,
    the run loses what was in memory, at most a few seconds of work.
    Raises ParameterError for a crop that is no multiple of 8 or below 64 px, or a path given twice; DataError where
    the store cannot be written; FdetectError where a task cannot run at all, or the cluster cannot be reached.
    """
    check_crop(crop, "crop")
    if not isinstance(workers, int) or workers < 0:
        raise ParameterError(f"workers must be a whole number of 0 or more, got {workers!r}")
    if time_limit <= 0:
        raise ParameterError(f"time_limit must be above 0 seconds, got {time_limit:g}")
    column = _column(paths)
    plan = Plan(tuple(conditions), tuple(tasks), crop, seed, backend or resolve("auto"))
    cluster = _cluster(engine, address, workers)
    keep_alive = None
    if store is None:
        keep_alive = tempfile.TemporaryDirectory(prefix="fdetect-")
        store = Store(keep_alive.name)
    check_writable(store.folder)
    since, busy = time.perf_counter(), dict[str, float]()
    with closing(Lane("write", busy)) as write, Reader(root) as reader:
        jobs = Jobs(plan, store, write, only)
        going = Standing(jobs, Index(store, reader.root, column), column, progress)
        with ExitStack() as at_last:  # each of these, whatever happens, and the last named first
            at_last.callback(write.drain)
            at_last.callback(going.index.flush)
            at_last.callback(jobs.flush)
            if cluster:
                asked = cluster.answers(jobs, going.index, column, root=reader.root, time_limit=time_limit)
                with closing(asked) as found:
                    for answer in found:
                        going.take(answer, busy)
            else:
                _here(going, reader, workers, time_limit, busy)
    n_workers = cluster.workers if cluster else max(workers, 1)
    servers = dict.fromkeys(("decode", "perturb", "compute"), n_workers) | {"write": 1}
    servers["read"] = reader.threads * (n_workers if cluster else 1)
    servers["device"] = cluster.lanes if cluster else 1
    preparing = max(going.preparing, 0.0)
    timing = Timing(len(column), time.perf_counter() - since - preparing, busy, servers, preparing)
    return Extraction(column, going.ids, going.unreadable, jobs, going.n_stored, timing, keep_alive)


def _here(going: Standing, reader: Reader, workers: int, time_limit: float, busy: dict[str, float]) -> None:
    """Compute what is missing on this machine."""
    plan, finished = going.jobs.plan, going.jobs.finished
    gathering = Gathering(plan)
    with closing(Lane("device", busy)) as device:
        with (
            closing(read_ahead(reader, going.paths, going.index, finished, busy)) as seen,
            closing(map_chunks(plan, in_chunks(going.missing(seen)), workers, time_limit=time_limit)) as results,
        ):
            for done in results:
                going.add(done, busy)
                gathering.add(done)
                if ready := gathering.take(everything=device.idle):
                    for late in device.put(compute, plan, ready):
                        going.add(late, busy)
        for late in [*device.put(compute, plan, gathering.take(everything=True)), *device.drain()]:
            going.add(late, busy)


def _cluster(engine: str, address: str, workers: int) -> Cluster | None:
    """Connect to a cluster where one is asked for."""
    if engine not in ENGINES:
        raise ParameterError(f"engine is one of {', '.join(ENGINES)}; got '{engine}'")
    if address and engine != "ray":
        raise ParameterError(f"address '{address}' is that of a Ray cluster; give engine 'ray' with it")
    if engine == "local":
        return None
    from fdetect.engine.cluster.connection import Cluster  # only here: Ray is an extra

    return Cluster(address, workers)


def _column(paths: pa.Array | Sequence[str]) -> pa.Array:
    """Return the paths as one Arrow array; raises ParameterError where one is listed twice, DataError if no text."""
    if isinstance(paths, pa.ChunkedArray):
        paths = paths.combine_chunks()
    try:
        column = paths if isinstance(paths, pa.Array) else pa.array(list(paths), pa.string())
    except UnicodeEncodeError as error:
        raise DataError(f"the name {error.object!a} is not valid UTF-8; rename the file") from None
    counts = pc.value_counts(column)
    twice = counts.filter(pc.greater(counts.field("counts"), 1))
    if len(twice):
        path = twice[0]["values"].as_py()
        raise ParameterError(f"the same path is listed twice, {path!r}; every row of a manifest needs its own path")
    return column
