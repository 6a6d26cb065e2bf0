"""Batches on their way from a worker to a device lane, and errors on their way to the run, as Arrow values."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pyarrow as pa

from fdetect import errors
from fdetect.addresses import masked
from fdetect.engine.chunks import Job
from fdetect.errors import FdetectError, WeightsError
from fdetect.types import Batch, Facts

__all__ = ["BATCH", "batch_of", "batch_value", "error_of", "error_value"]

BATCH = pa.struct({
    "jobs": pa.list_(pa.int32()),  # condition, task, condition, task, ...
    "ids": pa.list_(pa.string()),
    "shape": pa.list_(pa.int32()),
    "rgb8": pa.large_binary(),
    "facts": pa.string(),  # JSON
    "seed": pa.string(),  # of any size
})  # fmt: skip


def batch_value(batch: Batch, jobs: Sequence[Job]) -> dict[str, Any]:
    """Return a batch and the jobs that wait for it as a value of the type `BATCH`."""
    return {
        "jobs": [number for job in jobs for number in job],
        "ids": list(batch.ids),
        "shape": batch.rgb8.shape,
        "rgb8": np.ascontiguousarray(batch.rgb8).data.cast("B"),
        "facts": json.dumps([asdict(facts) for facts in batch.facts]),
        "seed": str(batch.seed),
    }


def batch_of(value: Mapping[str, Any]) -> tuple[Batch, tuple[Job, ...]]:
    """Return the batch and the jobs that `batch_value` was given."""
    rgb8 = np.frombuffer(bytearray(value["rgb8"]), np.uint8).reshape(value["shape"])  # writeable, as it was
    facts = tuple(_facts(**one) for one in json.loads(value["facts"]))
    numbers = iter(value["jobs"])
    return Batch(tuple(value["ids"]), rgb8, facts, int(value["seed"])), tuple(zip(numbers, numbers, strict=True))


def error_value(error: Exception) -> list[str]:
    """Return an error as text: the name of its class in `fdetect.errors`, and what it is made of."""
    if isinstance(error, WeightsError):
        return [type(error).__name__, error.reason, error.fix]
    if isinstance(error, FdetectError):
        return [type(error).__name__, str(error)]
    text = f"{type(error).__name__}: {error}".encode("utf-8", "backslashreplace").decode()
    return [FdetectError.__name__, f"a worker of the cluster failed ({masked(text)})"]


def error_of(value: Sequence[str]) -> FdetectError:
    """Return the error that `error_value` was given."""
    kind, *parts = value
    found = getattr(errors, kind, None)
    made = found if isinstance(found, type) and issubclass(found, FdetectError) else FdetectError
    error: FdetectError = made(*parts)
    return error


def _facts(*, qtables: Any, exif: Any, **plain: Any) -> Facts:
    """JSON knows no tuples."""
    return Facts(**plain, qtables=tuple(map(tuple, qtables)), exif=tuple(map(tuple, exif)))
