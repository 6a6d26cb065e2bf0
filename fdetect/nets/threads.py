"""One thread for torch where a result must not depend on how many there are.  No torch at import."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

__all__ = ["one_thread"]


@contextmanager
def one_thread() -> Iterator[None]:
    """Have torch compute on one thread: sums are split by their number, and a result must not depend on it.

    OpenMP counts its threads for each calling thread; torch.set_num_threads would change those of the device lane.  MKL
    has a count of its own beside it once torch.set_num_threads was called, and would split products by that.
    """
    import torch

    torch.get_num_threads()  # a thread's own count is set when it is first asked for
    of_mkl = _set_mkl()
    with _openmp().limit(limits=1, user_api="openmp"):
        before = of_mkl(1)
        try:
            yield
        finally:
            of_mkl(before)


@functools.cache
def _openmp() -> Any:
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()  # of the libraries that are loaded now, torch's among them


@functools.cache
def _set_mkl() -> Callable[[int], int]:
    """Return what sets MKL's threads of the calling thread, 0 for as many as OpenMP has, and says how many it had.

    MKL is part of torch's own library, where threadpoolctl finds none.  Source: oneMKL Developer Reference,
    mkl_set_num_threads_local.
    """
    import torch

    try:
        library = ctypes.CDLL(str(Path(torch.__file__).parent / "lib" / "libtorch_cpu.so"))
        return library.MKL_Set_Num_Threads_Local
    except (OSError, AttributeError):  # another platform, or a torch without MKL
        return lambda n: n
