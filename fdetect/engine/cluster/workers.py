"""What runs on the machines of a cluster: actors that hold workers, or networks, from one block of rows to the next.

A worker is the local engine in small: it reads ahead, and works on chunks in a process of its own, which may crash or
hang without harm.  So the same images fail for the same reasons, and only the loss of a whole worker or machine is left
to Ray, which gives the block to another.
"""

from __future__ import annotations

import fcntl
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow as pa

from fdetect.engine.chunks import Done, Item, Job, in_chunks
from fdetect.engine.cluster.answers import Answer, rows_of
from fdetect.engine.cluster.ledger import Ledger
from fdetect.engine.gathering import Gathering, compute
from fdetect.engine.jobs import describe
from fdetect.engine.pool import Pool
from fdetect.engine.reading import Seen, read_ahead
from fdetect.engine.sources import Reader, Stamp
from fdetect.engine.work import Plan
from fdetect.errors import FdetectError
from fdetect.types import Table

__all__ = ["DeviceLane", "Errand", "Worker"]


@dataclass(frozen=True)
class Errand:
    """What is the same for all blocks of a run.

    plan       gets the `Plan`, which Ray keeps
    described  of each job, what its rows depend on, as it is where the run was started
    schema     of answers
    ledger     gets the `Ledger` from the memory that all workers of a machine share
    imports    folders in which modules of the run's own process are found
    variables  of the run's environment: where weights lie, how many threads a network has
    own        whether the cluster is the run's own: then its variables count, elsewhere the machine's
    has_root   whether `root` is a folder where the run was started
    """

    plan: Callable[[], Plan]
    described: Mapping[Job, Mapping[str, Any]]
    schema: pa.Schema
    root: str
    time_limit: float
    ledger: Callable[[], Ledger]
    imports: Sequence[str]
    variables: Mapping[str, str]
    own: bool
    has_root: bool

    def opened(self) -> Plan:
        """Return the plan; raises FdetectError where this machine would come to other rows."""
        for name, value in self.variables.items():
            if self.own or name not in os.environ:
                os.environ[name] = value
        if self.has_root and not os.path.isdir(self.root):
            raise FdetectError(f"{os.uname().nodename}: no folder {self.root} there; mount it on all machines")
        sys.path += [folder for folder in self.imports if folder not in sys.path]
        plan = self.plan()  # only now: its modules may be in those folders
        for job, expected in self.described.items():
            here = describe(plan, job)
            for name in (name for name, value in expected.items() if here[name] != value):
                raise FdetectError(
                    f"{os.uname().nodename}: {expected['name']} is of another {name} there ({here[name]}) than where "
                    f"the run was started ({expected[name]}); install the same versions on all machines"
                )
        return plan


class _Actor:
    """From tables to tables; whatever is wrong, not with an image but with all of them, is an answer too."""

    def __init__(self, errand: Errand) -> None:
        self._errand = errand

    @cached_property
    def _plan(self) -> Plan:
        return self._errand.opened()

    def __call__(self, table: Table) -> Table:
        try:
            return self._answer(table).table(self._errand.schema)
        except Exception as error:
            return Answer.of_error(error).table(self._errand.schema)

    def _answer(self, table: Table) -> Answer:
        raise NotImplementedError


class Worker(_Actor):
    """Questions -> answers: files are read, decoded, perturbed and computed by one process."""

    @cached_property
    def _ledger(self) -> Ledger:
        return self._errand.ledger()

    @cached_property
    def _reader(self) -> Reader:
        """Stays from one block to the next, and shards open with it."""
        return Reader(self._errand.root)

    @cached_property
    def _pool(self) -> Pool:
        """The process; made when there is something to compute."""
        _hide_main()
        lock = Path(tempfile.gettempdir()) / f"fdetect-preparing-{os.getuid()}.lock"
        with lock.open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # the first worker of a machine compiles, the others load
            for prepare in self._plan.preparations:
                prepare()
        return Pool(self._plan, 1, time_limit=self._errand.time_limit)

    def _answer(self, table: Table) -> Answer:
        assert self._plan  # before anything is read: this machine may be another
        first, busy = table.column("row")[0].as_py(), dict[str, float]()
        found, done = _Found(self._ledger), Done()
        paths, known = rows_of(table)
        with closing(read_ahead(self._reader, paths, _Known(known), self._ledger.all_finished, busy)) as rows:
            items = found.missing(rows)
            if one := next(items, None):  # no process is started where nothing is missing
                with closing(self._pool.map(in_chunks(chain([one], items)))) as results:
                    for of_chunk in results:
                        done.add(of_chunk)
        done.add(Done(seconds=busy))
        return Answer.about([replace(seen, row=first + seen.row) for seen in found.seen], found.n_stored, done)


class DeviceLane(_Actor):
    """Answers with batches for the device -> answers with their rows: networks are loaded once.

    On a CPU it has as many threads as networks have in the run's own process, since sums are split by their number:
    Ray's own count, one, would come to other last bits.
    """

    def __init__(self, errand: Errand) -> None:
        super().__init__(errand)
        os.environ.pop("OMP_NUM_THREADS", None)  # Ray's; before torch is imported, which asks for it then

    def _answer(self, table: Table) -> Answer:
        answer, gathering = Answer.of(table), Gathering(self._plan)
        waiting, answer.done.for_device = answer.done.for_device, []
        for one in waiting:
            gathering.add(Done(for_device=[one]))
            self._compute(gathering, answer, everything=False)
        self._compute(gathering, answer, everything=True)
        return answer

    def _compute(self, gathering: Gathering, answer: Answer, *, everything: bool) -> None:
        if ready := gathering.take(everything=everything):
            since = time.perf_counter()
            done = compute(self._plan, ready)
            done.timed("device", since)
            answer.done.add(done)


class _Found:
    """What was found in the rows of a block on their way, and how many jobs the store had for each."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self.seen: list[Seen] = []
        self.n_stored: list[int] = []

    def missing(self, rows: Iterable[Seen]) -> Iterator[tuple[Item, tuple[Job, ...]]]:
        """Yield the images that miss something."""
        met = set()
        for seen in rows:
            new = not seen.reason and seen.id not in met
            met.add(seen.id)
            missing = self._ledger.missing(seen.id) if new and seen.data is not None else ()
            self.seen.append(replace(seen, data=None))
            self.n_stored.append(len(self._ledger.jobs) - len(missing) if new else 0)
            if missing:
                yield Item(seen.id, seen.data or b""), missing


@dataclass(frozen=True)
class _Known:
    """What the index has of the rows of a block, as `read_ahead` asks for it."""

    entries: Sequence[tuple[Stamp, str] | None]

    def known(self, row: int, stamp: Stamp) -> str | None:
        entry = self.entries[row]
        return entry[1] if entry and entry[0] == stamp else None


def _hide_main() -> None:
    """Have a process that is started here not run Ray's own script first, which it would import as its parent's."""
    sys.modules["__main__"].__file__ = None
