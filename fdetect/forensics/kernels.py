"""Which kernel runs: the compiled twin of a map or feature for the place where its array lives.

Maps and features are written once, on the namespace of their arrays; that text is what runs on Torch.  Profiled hot
spots have two twins of one name and one signature: `_cpu` (Numba, for NumPy arrays) and `_gpu` (CuPy).  The text asks
here first:

    if fast := twin("npr", planes):
        return fast(planes, factor)
    ...                                   # the same on any namespace

Nothing is moved and nothing falls back: an array is computed where it lives.  Every engine equals tests/naive*.py.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from fdetect.types import Array

__all__ = ["ENGINES", "engine_of", "twin"]

ENGINES = {"numpy": "fdetect.forensics._cpu", "cupy": "fdetect.forensics._gpu"}


def engine_of(array: Array) -> str:
    """Return where an array lives: "numpy", "cupy" or "torch"."""
    return type(array).__module__.partition(".")[0]


def twin(name: str, array: Array) -> Callable[..., Any] | None:
    """Return the compiled kernel `name` for the engine of `array`; None where the caller's own text is to run."""
    home = ENGINES.get(engine_of(array))
    return getattr(importlib.import_module(home), name, None) if home else None
