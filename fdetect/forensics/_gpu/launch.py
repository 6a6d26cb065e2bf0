"""How kernels are launched: where their text is, how it is compiled, how many blocks, what an argument may be.

The one seam is `engine()`: it gives the namespace of the arrays and the compiled modules.  It exists so that the tests
can run the same kernels and the same twins without a graphics card: they replace it by NumPy and by the same text
compiled for the processor (tests/cuda_host.py).  Nothing else may replace it.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from fdetect.errors import ParameterError
from fdetect.types import Array

__all__ = ["OPTIONS", "ROOMS", "THREADS", "Engine", "arrays", "constant", "engine", "run", "source", "spread", "whole"]

ROOMS = (
    "colour", "cooccurrence", "denoise", "harmonics", "neighbours", "noise", "patches", "profiles", "residual",
    "texture", "wavelets",
)  # fmt: skip
OPTIONS = ("--fmad=false",)  # a*b + c is rounded twice, as by Numba: results are equal, not only near
THREADS = 256  # of every block, as in common.cu
_BLOCKS = 1056  # enough for any card at once: eight blocks for each of the 132 processors of an H100
_IMAGES = 65535  # the longest y axis of a grid
_PIXELS = 2**31 // 3 - 2**20  # places inside one image are 32-bit numbers


class Engine(Protocol):
    """Where kernels run."""

    arrays: Any  # a namespace like NumPy's

    def __hash__(self) -> int:
        """Return a key for what is kept on its devices."""

    def device(self) -> int:
        """Return the number of the current device."""

    def module(self, room: str) -> Any:
        """Return the compiled module of a room; its get_function(name) is called with (grid, block, arguments)."""


class _Cuda:
    """CuPy on the current device."""

    def __init__(self) -> None:
        self.arrays = importlib.import_module("cupy")

    def device(self) -> int:
        return int(self.arrays.cuda.runtime.getDevice())

    def module(self, room: str) -> Any:
        return _compiled(room, self.device())


@functools.cache
def engine() -> Engine:
    """Return where kernels run: CuPy."""
    return _Cuda()


def arrays() -> Any:
    """Return the namespace of the arrays that kernels read and write."""
    return engine().arrays


def source(room: str) -> str:
    """Return the CUDA text of a room: what all share, then its own.

    It is one text, without #include, so that CuPy's cache of compiled kernels notices every change.
    """
    folder = Path(__file__).parent
    shared, own = ((folder / f"{name}.cu").read_text(encoding="utf-8") for name in ("common", room))
    return f'#line 1 "common.cu"\n{shared}\n#line 1 "{room}.cu"\n{own}'


def run(room: str, kernel: str, grid: tuple[int, ...], *arguments: Any) -> None:
    """Launch a kernel of a room over a grid (blocks, images, kinds) and return at once.

    Whole numbers become 32-bit, real ones float64; NumPy scalars keep their dtype, arrays must be contiguous or bring
    their strides along.  An empty grid, which CUDA refuses, has nothing to do.
    """
    if 0 in grid:
        return
    if len(grid) > 1 and grid[1] > _IMAGES:
        raise ParameterError(f"a batch on the GPU has at most {_IMAGES} images or planes, got {grid[1]}: take fewer")
    values = tuple(_value(argument) for argument in arguments)
    engine().module(room).get_function(kernel)((*grid, 1, 1)[:3], (THREADS, 1, 1), values)


def spread(items: int, images: int, kinds: int = 1) -> int:
    """Return how many blocks share the `items` of one image, given how many images and kinds are launched with it.

    Only for kernels whose result does not depend on it: counts, whole-number sums, and one result for each item.
    """
    return max(1, min(-(-items // THREADS), -(-_BLOCKS // max(images * kinds, 1))))


def whole(array: Array) -> Array:
    """Return the array in one piece: itself, or a copy on the same device."""
    if array.ndim > 2 and array.size // max(array.shape[0], 1) > 3 * _PIXELS:
        raise ParameterError(f"an image on the GPU has at most {_PIXELS} pixels: cut it")
    return arrays().ascontiguousarray(array)


def constant(values: Array | Sequence[Any], dtype: Any) -> Array:
    """Return a small table of settings on the device.

    Tables made on the host are uploaded once and kept: a copy for every launch would make the host wait.
    """
    if not isinstance(values, np.ndarray | Sequence):
        return arrays().ascontiguousarray(values, dtype=dtype)
    table = np.ascontiguousarray(values, dtype=dtype)
    return _uploaded(engine(), engine().device(), table.tobytes(), table.dtype.str, table.shape)


def _value(argument: Any) -> Any:
    if isinstance(argument, int):
        return np.int32(argument)
    return np.float64(argument) if type(argument) is float else argument


@functools.lru_cache(maxsize=256)
def _uploaded(where: Any, device: int, data: bytes, dtype: str, shape: tuple[int, ...]) -> Array:
    return where.arrays.asarray(np.frombuffer(data, np.dtype(dtype)).reshape(shape))


@functools.cache
def _compiled(room: str, device: int) -> Any:
    cupy = importlib.import_module("cupy")
    return cupy.RawModule(code=source(room), options=OPTIONS)
