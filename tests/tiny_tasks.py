"""Small images and engine tasks of a few lines, in a module that worker processes can import."""

from __future__ import annotations

import contextlib
import ctypes
import io
import multiprocessing
import os
import resource
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from fdetect.engine import Extraction, run
from fdetect.errors import WeightsError
from fdetect.images import Decoded, Geometry
from fdetect.perturb import Condition, condition
from fdetect.types import Batch

CROP = 64
CENTRE = Geometry("aligned_crop", CROP)
NATIVE, MATCHED, RESCALED = condition("native"), condition("matched"), condition("rescaled")
SIZES = [(80, 96), (90, 73), (120, 100), (72, 72)]


# --- images -------------------------------------------------------------------------------------------------------


def image_bytes(k: int, height: int = 80, width: int = 96, container: str = "PNG") -> bytes:
    rng = np.random.default_rng(k)
    coarse = Image.fromarray(rng.integers(0, 256, (6, 6, 3), np.uint8))
    file = io.BytesIO()
    coarse.resize((width, height), Image.Resampling.BICUBIC).save(file, container)
    return file.getvalue()


def write_images(folder: Path, count: int) -> list[str]:
    """Small images of four sizes and three containers; returns their paths relative to the folder."""
    paths = []
    for k in range(count):
        container = ("PNG", "JPEG", "WEBP")[k % 3]
        path = f"class{k % 2}/{k:03d}.{container.lower()}"
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(image_bytes(k, *SIZES[k % 4], container))
        paths.append(path)
    return paths


def paths_of(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*.*"))


def settle(folder: Path) -> None:
    """Make all files look as if they had been written an hour ago: the index remembers no file of the last seconds."""
    for path in folder.rglob("*.*"):
        os.utime(path, (time.time() - 3600,) * 2)


# --- runs ---------------------------------------------------------------------------------------------------------


def extract(folder: Path, *tasks: Any, paths: list[str] | None = None, **options: Any) -> Extraction:
    options = {"crop": CROP, "conditions": (NATIVE, MATCHED), **options}
    return run(tasks or (Moments(),), paths or paths_of(folder), root=folder, **options)


def assert_same(one: Extraction, two: Extraction) -> None:
    assert (one.ids, one.paths, one.tables.keys()) == (two.ids, two.paths, two.tables.keys())
    for key, table in one.tables.items():
        other = two.tables[key]
        assert table.columns == other.columns
        assert table.values.tobytes() == other.values.tobytes()
        assert table.failures == other.failures


def environment() -> dict[str, str]:
    """The environment of a script in another process that imports fdetect and this module."""
    here = Path(__file__).resolve().parent
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(here), str(here.parent)])}


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


# --- tasks --------------------------------------------------------------------------------------------------------


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
    """Moments that take `delay` seconds an image; each process lists the ids it computes in `log`/<process id>."""

    delay: float = 0.0
    log: str = ""

    def __call__(self, batch: Batch) -> np.ndarray:
        if self.log:
            with (Path(self.log) / str(os.getpid())).open("a") as file:
                file.write("".join(f"{id}\n" for id in batch.ids))
        time.sleep(self.delay * len(batch))
        return super().__call__(batch)


@dataclass(frozen=True)
class Placed(Slow):
    """Slow, and its log says in which network namespace an image was computed: `log`/"<namespace> <process id>"."""

    def __call__(self, batch: Batch) -> np.ndarray:
        (Path(self.log) / f"{os.readlink('/proc/self/ns/net')} {os.getpid()}").touch()
        time.sleep(self.delay * len(batch))
        return super(Slow, self).__call__(batch)


def logged(log: Path) -> list[str]:
    """Return the ids that `Slow` tasks computed, as often as they did."""
    return [id for file in log.iterdir() for id in file.read_text().split()]


@dataclass(frozen=True)
class Poisoned(Moments):
    """Moments, but where an image of `poison` is in the batch, `how` happens: the name of a function below."""

    poison: tuple[str, ...] = ()
    how: str = ""
    folder: str = ""  # for what the poison has to say

    def __call__(self, batch: Batch) -> np.ndarray:
        if not set(self.poison).isdisjoint(batch.ids):
            assert multiprocessing.parent_process() is not None, "not a worker: this would end the tests"
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            globals()[self.how](Path(self.folder))
        return super().__call__(batch)


@dataclass(frozen=True)
class Fatal(Condition):
    """A condition that ends the worker for images of `poison`."""

    poison: tuple[str, ...] = ()

    def __call__(self, image: Decoded, content: str, *, seed: int, crop: int) -> Decoded:
        if content in self.poison:
            leave(Path())
        return super().__call__(image, content, seed=seed, crop=crop)


def segfault(folder: Path) -> None:
    ctypes.string_at(0)


def leave(folder: Path) -> None:
    os._exit(3)


def wait_to_be_killed(folder: Path) -> None:
    """Say who waits: somebody outside, who watches the folder, kills it."""
    (folder / str(os.getpid())).touch()
    time.sleep(60)


def be_killed_once(folder: Path) -> None:
    with contextlib.suppress(FileExistsError):
        (folder / "once").touch(exist_ok=False)
        os.kill(os.getpid(), signal.SIGKILL)


def be_killed_and_say_so(folder: Path) -> None:
    """Every time, leaving a file each."""
    (folder / str(len(list(folder.iterdir())))).touch()
    os.kill(os.getpid(), signal.SIGKILL)


def exceed_the_limit(folder: Path) -> None:
    """Ask for more than the system gives, as a memory limit of a container or of `ulimit -v` would have it."""
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    limits = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (size + (64 << 20), limits[1]))
    try:
        np.ones(1 << 27)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)


def sleep(folder: Path) -> None:
    time.sleep(60)


def spin(folder: Path) -> None:
    while True:
        pass


def raises_weights_error(batch: Batch) -> Any:
    raise WeightsError("no weights of tiny", "fdetect weights get tiny")


def process_ids(batch: Batch) -> list[int]:
    return [os.getpid()] * len(batch)
