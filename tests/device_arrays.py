"""A stand-in for CuPy on machines without a graphics card: arrays that refuse what arrays on a device refuse.

`ndarray` wraps a NumPy array.  Like CuPy's it does not mix with NumPy arrays and does not turn into one by itself, so
that a map that forgets to upload a constant, or calls NumPy on what it was given, fails here too.  `XP` is what
array_api_compat would give for it, `CUPY` what `import cupy` would.  Not modelled: functions that NumPy has and CuPy
has not, and what differs in their arithmetic.
"""

from __future__ import annotations

import functools
import operator
from types import SimpleNamespace
from typing import Any

import array_api_compat.numpy
import numpy as np
import scipy.fft

__all__ = ["CUPY", "FFT", "POISON", "XP", "ndarray", "waits"]

POISON = 0xA5
waits: list[str] = []  # what made the host wait for the device


def down(value: Any) -> Any:
    """Unwrap device arrays, also those in lists and tuples; NumPy arrays are refused."""
    if isinstance(value, ndarray):
        return value.host
    if isinstance(value, np.ndarray):
        raise TypeError("Unsupported type <class 'numpy.ndarray'>: it was not uploaded")
    if type(value) in (list, tuple):
        return type(value)(map(down, value))
    if isinstance(value, slice):
        return slice(down(value.start), down(value.stop), down(value.step))
    return value


def up(value: Any) -> Any:
    """Wrap NumPy arrays, also those in tuples; a NumPy scalar is an array without axes, as on a device."""
    if isinstance(value, np.ndarray | np.generic):
        return ndarray(np.asarray(value))
    return tuple(map(up, value)) if isinstance(value, tuple) else value


def on_device(function: Any) -> Any:
    @functools.wraps(function)
    def call(*data: Any, device: Any = None, **settings: Any) -> Any:
        assert device in (None, "device")
        return up(function(*map(down, data), **{name: down(value) for name, value in settings.items()}))

    return call


class ndarray:  # noqa: N801 (CuPy's name)
    """An array on the device."""

    __array_priority__ = 1000
    __array_ufunc__ = None

    def __init__(self, host: np.ndarray) -> None:
        self.host = host

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise TypeError("Implicit conversion to a NumPy array is not allowed")

    def __array_namespace__(self, api_version: Any = None) -> Any:
        return XP

    @property
    def device(self) -> str:
        return "device"

    def get(self) -> np.ndarray:
        waits.append("get")
        return self.host.copy()

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.host, name)  # shape, dtype, strides, flags; astype, reshape, sum
        return on_device(found) if callable(found) else up(found) if name == "T" else found

    def __len__(self) -> int:
        return len(self.host)

    def __iter__(self) -> Any:
        return iter([self[i] for i in range(len(self.host))])

    def __getitem__(self, key: Any) -> Any:
        return up(self.host[down(key)])

    def __setitem__(self, key: Any, value: Any) -> None:
        self.host[down(key)] = down(value)


def _operators() -> None:
    for name in (
        "add",
        "sub",
        "mul",
        "truediv",
        "floordiv",
        "mod",
        "pow",
        "and",
        "or",
        "xor",
        "lshift",
        "rshift",
        "matmul",
    ):
        function = getattr(operator, f"__{name}__")
        setattr(ndarray, f"__{name}__", on_device(function))
        setattr(ndarray, f"__r{name}__", lambda self, other, function=function: on_device(function)(other, self))
    for name in ("lt", "le", "gt", "ge", "eq", "ne", "neg", "pos", "abs", "invert"):
        setattr(ndarray, f"__{name}__", on_device(getattr(operator, f"__{name}__")))
    for name, kind in (("bool", bool), ("int", int), ("float", float), ("index", int)):

        def wait(self: ndarray, name: str = name, kind: type = kind) -> Any:
            waits.append(name)
            return kind(self.host)

        setattr(ndarray, f"__{name}__", wait)


_operators()
ndarray.__module__ = "cupy"  # by which fdetect tells where an array lives


class _Namespace:
    def __init__(self, functions: Any) -> None:
        self._functions = functions

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._functions, name)
        return on_device(found) if callable(found) and not isinstance(found, type) else found

    def asarray(self, values: Any, dtype: Any = None, device: Any = None, copy: Any = None) -> ndarray:
        """Upload, or keep what is on the device."""
        return ndarray(np.array(values.host if isinstance(values, ndarray) else values, dtype))

    def empty(self, shape: Any, dtype: Any = float, device: Any = None) -> ndarray:
        """Never zero by chance."""
        host = np.empty(shape, dtype)
        host.reshape(-1).view(np.uint8).fill(POISON)
        return ndarray(host)


XP, CUPY, FFT = (_Namespace(functions) for functions in (array_api_compat.numpy, np, scipy.fft))
MODULES = {"cupy": CUPY, "cupyx": SimpleNamespace(), "cupyx.scipy": SimpleNamespace(), "cupyx.scipy.fft": FFT}
