"""One thread for torch where a result must not depend on how many there are.  No torch at import."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["one_thread"]


@contextmanager
def one_thread() -> Iterator[None]:
    """Have torch compute on one thread: sums are split by their number, and a result must not depend on it.

    OpenMP counts its threads for each calling thread; torch.set_num_threads would change those of the device lane.
    """
    import torch

    torch.get_num_threads()  # a thread's own count is set when it is first asked for
    with _openmp().limit(limits=1, user_api="openmp"):
        yield


@functools.cache
def _openmp() -> Any:
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()  # of the libraries that are loaded now, torch's among them
