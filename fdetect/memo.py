"""Results that several functions need of the same arrays, computed once within a block."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

__all__ = ["once_within", "shared"]

F = TypeVar("F", bound=Callable[..., Any])

_made: ContextVar[dict[tuple[Any, ...], tuple[tuple[Any, ...], Any]] | None] = ContextVar(
    "made in this block", default=None
)


@contextmanager
def once_within(*passing: Any) -> Iterator[None]:
    """Have `shared` functions compute once for the very same arrays inside the `with` block, which must not change.

    Inside another such block, what is made there holds until the outer one ends; but what was made of the `passing`
    arrays is forgotten with the inner one.
    """
    made = _made.get()
    token = _made.set({}) if made is None else None
    try:
        yield
    finally:
        if token is not None:
            _made.reset(token)
        elif made is not None:
            gone = {id(array) for array in passing}
            for key in [key for key in made if gone.intersection(key[1:])]:
                del made[key]


def shared(function: F) -> F:
    """Make a pure function of arrays return, inside `once_within`, what it made of the same objects before."""

    @functools.wraps(function)
    def once(*arrays: Any) -> Any:
        made = _made.get()
        if made is None:
            return function(*arrays)
        key = (function, *map(id, arrays))
        if key not in made:  # the arrays are kept with it, so that no other can get their place in memory
            made[key] = arrays, function(*arrays)
        return made[key][1]

    return once  # type: ignore[return-value]
