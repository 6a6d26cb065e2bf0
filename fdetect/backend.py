"""Where arrays live: the namespace of an array, the way back to NumPy, the choice of backend, FFT, DCT, counts."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import os
from dataclasses import dataclass
from typing import Any

import numpy as np

from fdetect.errors import BackendError, ParameterError
from fdetect.types import Array

__all__ = ["Backend", "asnumpy", "count_bins", "dct", "namespace", "resolve", "rfft2", "torch_device"]


@dataclass(frozen=True)
class Backend:
    """A backend that was chosen and can run: "cpu" (NumPy) or "gpu" (CuPy), with the reason of the choice."""

    name: str
    reason: str

    def asarray(self, array: np.ndarray) -> Array:
        """Upload a NumPy array to where this backend computes."""
        return importlib.import_module("cupy").asarray(array) if self.name == "gpu" else array


def namespace(array: Array) -> Any:
    """Return the array-API namespace of a NumPy, CuPy or Torch array."""
    from array_api_compat import array_namespace

    return array_namespace(array)


def asnumpy(array: Array) -> np.ndarray:
    """Copy an array of any backend to NumPy, keeping its dtype."""
    if isinstance(array, np.ndarray):
        return array
    if hasattr(array, "get"):  # CuPy
        return np.asarray(array.get())
    return np.asarray(array.detach().cpu().numpy())  # Torch


def resolve(wanted: str = "auto") -> Backend:
    """Choose where maps and features are computed: "auto", "cpu" or "gpu".

    `$FDETECT_BACKEND` replaces "auto".  Only "auto" falls back to the CPU; "gpu" that cannot run raises
    BackendError with the reason.
    """
    wanted = _wanted(wanted)
    if wanted == "cpu":
        return Backend("cpu", "asked for")
    why_not = _gpu_unusable()
    if wanted == "gpu":
        if why_not:
            raise BackendError(f"backend gpu cannot run: {why_not}")
        return Backend("gpu", "asked for")
    return Backend("cpu", f"auto: {why_not}") if why_not else Backend("gpu", "auto: CuPy finds a device")


def torch_device(wanted: str = "auto") -> str:
    """Return what a choice of backend means to networks: "auto", "cpu" or "cuda"; errors are those of `resolve`.

    Networks do not need CuPy, so "auto" may find a GPU for them where maps and features run on the CPU.
    """
    return {"auto": "auto", "cpu": "cpu", "gpu": "cuda"}[_wanted(wanted)]


def _wanted(wanted: str) -> str:
    """Return what is asked for, by `$FDETECT_BACKEND` in place of "auto"; raises ParameterError for another word."""
    option = "backend"
    if wanted == "auto" and os.environ.get("FDETECT_BACKEND"):
        option, wanted = "$FDETECT_BACKEND", os.environ["FDETECT_BACKEND"]
    if wanted not in ("auto", "cpu", "gpu"):
        raise ParameterError(f"{option} is one of auto, cpu, gpu; got '{wanted}'")
    return wanted


def rfft2(array: Array) -> Array:
    """2-D FFT over the last two axes, half plane: (..., H, W) float -> (..., H, W//2+1) complex, same precision."""
    kind = _kind(array)
    if kind == "torch":
        return namespace(array).fft.rfft2(array)
    return _fft_module(kind).rfft2(array, axes=(-2, -1))


def dct(array: Array, *, axes: tuple[int, ...] = (-2, -1)) -> Array:
    """Orthonormal DCT-II over `axes`: (..., H, W) float -> the same shape and dtype."""
    kind = _kind(array)
    if kind != "torch":
        return _fft_module(kind).dctn(array, axes=axes, norm="ortho")
    torch = namespace(array)
    for axis in axes:
        basis = torch.asarray(_dct_matrix(array.shape[axis]), dtype=array.dtype, device=array.device)
        array = torch.moveaxis(torch.moveaxis(array, axis, -1) @ basis.T, -1, axis)
    return array


def count_bins(index: Array, bins: int) -> Array:
    """Count the values 0..bins-1 along the last axis: (..., N) integers -> (..., bins) int64."""
    from array_api_compat import device

    xp = namespace(index)
    *shape, count = index.shape
    rows = 1
    for side in shape:
        rows *= side
    start = bins * xp.arange(rows, dtype=xp.int64, device=device(index))[:, None]
    flat = xp.reshape(xp.astype(index, xp.int64), (rows, count)) + start
    counts = xp.bincount(xp.reshape(flat, (-1,)), minlength=rows * bins)
    return xp.reshape(xp.astype(counts, xp.int64), (*shape, bins))


def _kind(array: Array) -> str:
    return type(array).__module__.split(".", 1)[0]


def _fft_module(kind: str) -> Any:
    return importlib.import_module("cupyx.scipy.fft" if kind == "cupy" else "scipy.fft")


@functools.cache
def _dct_matrix(size: int) -> np.ndarray:
    k, n = np.mgrid[0:size, 0:size]
    basis = np.sqrt(2 / size) * np.cos(np.pi * (2 * n + 1) * k / (2 * size))
    basis[0] /= np.sqrt(2)
    return np.asarray(basis)


@functools.cache
def _gpu_unusable() -> str:
    """Return why CuPy cannot compute here, or an empty string."""
    if importlib.util.find_spec("cupy") is None:
        return "CuPy is not installed (pip install 'fdetect[gpu]')"
    try:
        cupy = importlib.import_module("cupy")
        if not cupy.cuda.is_available():
            return "CuPy finds no CUDA device or driver"
        cupy.zeros(1)
    except Exception as error:  # drivers fail in many ways; each is a reason, none a crash
        return f"CuPy failed: {error}".splitlines()[0]
    return ""
