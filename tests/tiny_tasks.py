"""Engine tasks of a few lines, in a module that worker processes can import."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from fdetect.errors import WeightsError
from fdetect.images import Geometry
from fdetect.types import Batch

CROP = 64
CENTRE = Geometry("aligned_crop", CROP)


@dataclass(frozen=True)
class Moments:
    """Mean and deviation of each image, in float64, rounded once; `seen` lists the images it was asked for."""

    name: str = "moments"
    version: str = "1"
    scale: float = 1.0
    geometry: Geometry = CENTRE
    in_process: bool = False
    columns: tuple[str, ...] = ("moments:mean", "moments:std")
    seen: list[str] = field(default_factory=list, compare=False)

    @property
    def settings(self) -> Mapping[str, Any]:
        return {"scale": self.scale}

    def __call__(self, batch: Batch) -> np.ndarray:
        self.seen.extend(batch.ids)
        rows = [moments(pixels, self.scale) for pixels in batch.rgb8]
        return np.array(rows, np.float32)


def moments(pixels: np.ndarray, scale: float = 1.0) -> tuple[float, float]:
    exact = pixels.astype(np.float64) * scale
    return float(exact.mean()), float(exact.std())


@dataclass(frozen=True)
class FromBatch:
    """Whatever a function of a batch says, in one column."""

    function: Callable[[Batch], Any]
    name: str = "from_batch"
    version: str = "1"
    geometry: Geometry = CENTRE
    in_process: bool = False
    columns: tuple[str, ...] = ("from_batch:value",)
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __call__(self, batch: Batch) -> np.ndarray:
        return np.asarray(self.function(batch), np.float32)[:, None]


@dataclass(frozen=True)
class Slow(Moments):
    """Moments that take `delay` seconds an image, and leave the process id of who computed them in a folder."""

    delay: float = 0.0
    pids: str = ""

    def __call__(self, batch: Batch) -> np.ndarray:
        if self.pids:
            (Path(self.pids) / str(os.getpid())).touch()
        time.sleep(self.delay * len(batch))
        return super().__call__(batch)


def raises_weights_error(batch: Batch) -> Any:
    raise WeightsError("no weights of tiny", "fdetect weights get tiny")


def ends_the_process(batch: Batch) -> Any:
    assert multiprocessing.parent_process() is not None, "not a worker: this would end the tests"
    os._exit(3)


def process_ids(batch: Batch) -> list[int]:
    return [os.getpid()] * len(batch)
