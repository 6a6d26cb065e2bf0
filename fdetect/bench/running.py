"""How a step is computed and what it keeps: the settings that steps share and that change no result."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from fdetect import perturb
from fdetect.backend import asnumpy, resolve
from fdetect.bench.data.inputs import root_of
from fdetect.draws import drawn
from fdetect.engine import Extraction, Store, Task, run
from fdetect.engine.loop import Progress
from fdetect.engine.pool import TIME_LIMIT, default_workers
from fdetect.errors import ParameterError
from fdetect.geometry import Geometry
from fdetect.registry import nearest
from fdetect.types import Batch, Facts, Failure, Table

__all__ = ["Running", "uploading", "values_of"]

_SHOWN = 5  # failures that are spelt out


@dataclass(frozen=True)
class Running:
    """Settings of the engine.

    store       where finished rows are kept: a `Store`, a folder, or None for $FDETECT_CACHE, else the user's cache
    workers     processes; 0 computes in this one, where an image that crashes or hangs takes the run with it.  A
                script that asks for workers must guard its main part by `if __name__ == "__main__":`.  On a cluster,
                CPUs of it; 0 for all
    time_limit  seconds that a worker may need for one step before its image is given up
    backend     "auto", "cpu" or "gpu"
    engine      "local", or "ray" for a cluster, which computes the same rows (docs/scale.md)
    address     of the cluster; empty for $RAY_ADDRESS, else one that is started on this machine
    progress    called with (what, done, total)
    notice      called with one line at a time: what could not be trusted, what failed, how fast it was
    """

    store: Store | str | Path | None = None
    workers: int = 0
    time_limit: float = TIME_LIMIT
    backend: str = "auto"
    engine: str = "local"
    address: str = ""
    progress: Progress | None = None
    notice: Callable[[str], None] | None = None

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> Running:
        """Return the settings given by name; raises ParameterError for a name that does not exist."""
        names = [field.name for field in fields(cls)]
        for name in settings:
            if name not in names:
                hint = nearest(name, names) or f"; there are {', '.join(names)}"
                raise ParameterError(f"no setting '{name}'{hint}")
        return cls(**settings)

    @property
    def processes(self) -> int:
        """Worker processes on this machine for what is not the engine's, such as fits; its cores beside a cluster."""
        return self.workers if self.engine == "local" else default_workers()

    def for_engine(self) -> dict[str, Any]:
        """Return the keyword arguments of `fdetect.engine.run` that these settings stand for."""
        return {
            "store": self.store if isinstance(self.store, Store) else Store(self.store),
            "workers": self.workers,
            "time_limit": self.time_limit,
            "backend": resolve(self.backend),
            "engine": self.engine,
            "address": self.address,
            "progress": self.progress,
        }

    def run(
        self, manifest: Table, tasks: Sequence[Task], condition: str, crop: int, seed: int, *, draws: int = 1
    ) -> Extraction:
        """Compute tasks under some draws of one condition."""
        conditions, paths = [drawn(perturb.condition(condition), k) for k in range(draws)], manifest.column("path")
        return run(
            tasks, paths, root=root_of(manifest), conditions=conditions, crop=crop, seed=seed, **self.for_engine()
        )

    def tell(self, extraction: Extraction, failures: Sequence[Failure]) -> None:
        """Give notice of what a step came to, the timing last."""
        if self.notice is None:
            return
        for warning in extraction.warnings:
            self.notice(warning)
        for failure in failures[:_SHOWN]:
            self.notice(f"{failure.path}: {failure.stage}: {failure.reason}")
        if len(failures) > _SHOWN:
            self.notice(f"and {len(failures) - _SHOWN} more that failed")
        self.notice(str(extraction.timing))


def values_of(
    tasks: Sequence[Any], crops: Sequence[np.ndarray], names: tuple[str, ...], facts: tuple[Facts, ...], seed: int,
    upload: Callable[[np.ndarray], Any],
) -> np.ndarray:  # fmt: skip
    """Compute tasks on crops in memory, side by side: n of (H, W, 3) uint8 -> (n, D) float32; no store, no workers."""
    batches = dict[Geometry, Batch]()
    for geometry in dict.fromkeys(task.geometry for task in tasks):
        shown = np.ascontiguousarray(np.stack([geometry(one) for one in crops]))
        batches[geometry] = Batch(names, upload(shown), facts, seed)
    return np.concatenate([asnumpy(task(batches[task.geometry])) for task in tasks], axis=1)


def uploading(backend: str) -> Callable[[np.ndarray], Any]:
    """Return what brings pixels to where a backend computes."""
    chosen = resolve(backend)
    return chosen.asarray if chosen.name == "gpu" else lambda pixels: pixels
