"""Requests to other machines: made again where that may help, and what went wrong in a few words.

The packages that fsspec drives raise errors of their own, which are told apart by status, number and name, so that
none of them is loaded here.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable
from http import HTTPStatus
from typing import TypeVar

from fdetect.addresses import masked
from fdetect.errors import DataError

__all__ = ["reason_of", "tried"]

_WAITS = (0.2, 0.8, 3.2)  # seconds before a request is made again
_PASSING = (errno.EBUSY, errno.EAGAIN, errno.EIO, errno.ETIMEDOUT, errno.EPIPE, errno.EHOSTUNREACH, errno.ENETUNREACH)
_PASSING_NAMES = frozenset(  # of errors of the packages below fsspec, which are not loaded here
    ("ClientConnectionError", "ClientPayloadError", "HTTPClientError", "ServiceRequestError", "ServiceResponseError",
     "ConnectionError", "Timeout")
)  # fmt: skip
_DENIED = "access is denied; give credentials where the package that reads it looks for them"

_T = TypeVar("_T")


def tried(request: Callable[[], _T]) -> _T:
    """Make a request, up to four times where it fails by what may pass; raises DataError with one short reason."""
    for wait in (*_WAITS, None):
        try:
            return request()
        except (DataError, MemoryError):
            raise
        except Exception as error:
            cause = _cause(error)
            passing = _may_pass(cause)
            if wait is None or not passing:
                times = f" (tried {len(_WAITS) + 1} times)" if passing else ""
                raise DataError(reason_of(cause) + times) from None
        time.sleep(wait)
    raise AssertionError("the last try returns or raises")


def _status(error: BaseException) -> int:
    """Return the status that a server answered, as far as an error or its cause tells; else 0."""
    for one in (error, error.__cause__):
        for place in (one, getattr(one, "response", None)):
            for name in ("status", "status_code", "code"):
                found = getattr(place, name, None)
                if isinstance(found, int) and 400 <= found < 600:
                    return found
    return 0


def _cause(error: Exception) -> BaseException:
    """Over HTTP whatever fails is said to be no such file, with the cause behind it."""
    cause = error.__cause__
    if isinstance(error, FileNotFoundError) and cause and (_status(cause) not in (0, 404, 410) or _may_pass(cause)):
        return cause
    return error


def _may_pass(error: BaseException) -> bool:
    if status := _status(error):
        return status in (408, 425, 429) or status >= 500
    if isinstance(error, TimeoutError | ConnectionError) or (isinstance(error, OSError) and error.errno in _PASSING):
        return True
    return any(kind.__name__ in _PASSING_NAMES for kind in type(error).__mro__)


def reason_of(error: BaseException) -> str:
    """Return in a few words what went wrong, without credentials."""
    status = _status(error)
    if isinstance(error, FileNotFoundError):
        return os.strerror(errno.ENOENT)
    if isinstance(error, PermissionError) or status in (401, 403) or type(error).__name__ == "NoCredentialsError":
        return _DENIED
    if status:
        known = status in HTTPStatus.__members__.values()
        return f"the server answers {status}" + (f" {HTTPStatus(status).phrase}" if known else "")
    if isinstance(error, TimeoutError):
        return "timed out"
    if isinstance(error, OSError) and error.errno and error.errno > 0:
        return os.strerror(error.errno)
    return masked(" ".join(str(error).split()))[:200] or type(error).__name__
