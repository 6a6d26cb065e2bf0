"""What the store has finished of a run's jobs, as one value that travels: content id -> jobs.

Workers on other machines ask it as those of this one ask the store, which they may not see.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fdetect.engine.chunks import Job

__all__ = ["Ledger"]


@dataclass(frozen=True)
class Ledger:
    """M contents of which something is finished, each once and in order.

    jobs      the run's J jobs
    ids       (M,) of 16 bytes each (dtype "V16"), sorted
    finished  (M, ceil(J / 8)) uint8, bit by bit as `numpy.packbits` has them: 17 to 30 bytes a content in all
    """

    jobs: tuple[Job, ...]
    ids: np.ndarray
    finished: np.ndarray

    @classmethod
    def of(cls, finished: dict[Job, np.ndarray]) -> Ledger:
        """Return the ledger of each job's finished ids, (n, 16) uint8."""
        ids, of_jobs = np.empty(0, "V16"), list[np.ndarray]()
        asked = np.empty((0, 16), np.uint8)
        for of_job in finished.values():
            if not of_jobs or not np.array_equal(of_job, asked):  # most jobs have finished what the one before them has
                asked, contents = of_job, _in_order(np.ascontiguousarray(of_job).view("V16").reshape(len(of_job)))
                ids = _in_order(np.concatenate([ids, contents]))
            of_jobs.append(contents)
        bits = np.zeros((len(ids), (len(of_jobs) + 7) // 8), np.uint8)
        for number, contents in enumerate(of_jobs):
            here = slice(None) if len(contents) == len(ids) else np.searchsorted(ids, contents)
            bits[here, number // 8] |= np.uint8(128 >> number % 8)
        return cls(tuple(finished), ids, bits)

    def missing(self, id: str) -> tuple[Job, ...]:
        """Return the jobs that are not finished for a content."""
        (bits,) = self._bits([id])
        return tuple(job for job, done in zip(self.jobs, bits, strict=True) if not done)

    def all_finished(self, ids: Sequence[str]) -> np.ndarray:
        """N ids -> (N,) bool: whether every job is finished for each."""
        return np.asarray(self._bits(ids).all(axis=1))

    def _bits(self, ids: Sequence[str]) -> np.ndarray:
        """N ids -> (N, J) bool."""
        found = np.zeros((len(ids), self.finished.shape[1]), np.uint8)
        if len(self.ids):
            wanted = np.frombuffer(bytes.fromhex("".join(ids)), "V16")
            at = np.minimum(np.searchsorted(self.ids, wanted), len(self.ids) - 1)
            here = self.ids[at] == wanted
            found[here] = self.finished[at[here]]
        return np.unpackbits(found, axis=1, count=len(self.jobs)).astype(bool)


def _in_order(contents: np.ndarray) -> np.ndarray:
    """Return each content once, sorted; quickly where they are nearly in order, as the store's are."""
    contents = np.sort(contents, kind="stable")
    return contents[np.append(True, contents[1:] != contents[:-1])] if len(contents) else contents
