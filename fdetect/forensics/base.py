"""Signal maps: named arrays made from the pixels of a batch, each computed once and read by any number of features.

A map is a function whose positional parameters name what it reads: the pixels, the file's facts, or other maps.

    @signal_map
    def luma(planes): ...          # reads the map `planes`, which reads the pixels `rgb8`

On NumPy every map and feature runs image by image.  Two reasons: temporaries of one image stay in the processor's
cache, and a result cannot depend on how many images, or which, shared the batch.  Other backends take the batch
whole, because there one launch per image would cost more than the work.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fdetect.errors import DataError
from fdetect.registry import Entry, Registry
from fdetect.types import Array, Batch

__all__ = ["GIVEN", "per_image", "require_sides", "signal", "signal_map"]

signal_map = Registry("map")

GIVEN = ("rgb8", "facts", "ids")  # what a batch carries from the start; readable by name like a map


def signal(batch: Batch, name: str) -> Array:
    """Return the map `name` of a batch, computed on the first request and kept in `batch.maps`.

    `rgb8` is (B, H, W, 3) uint8, `facts` and `ids` are tuples of length B; every other name is looked up in
    `signal_map`, and what that map reads is resolved the same way.  Raises UnknownName for a name that is neither.
    """
    if name in GIVEN:
        return getattr(batch, name)
    if name not in batch.maps:
        entry = signal_map.get(name)
        batch.maps[name] = per_image(entry, *(signal(batch, read) for read in entry.reads))
    return batch.maps[name]


def per_image(entry: Entry, *data: Any) -> Array:
    """Apply a map or feature to batched data: image by image on NumPy, the whole batch elsewhere."""
    count = len(data[0])
    if count == 0 or not all(isinstance(part, np.ndarray | tuple) for part in data):
        return entry(*data)
    first = np.asarray(entry(*(part[:1] for part in data)))
    result = np.empty((count, *first.shape[1:]), first.dtype)
    result[:1] = first
    for i in range(1, count):
        result[i : i + 1] = entry(*(part[i : i + 1] for part in data))
    return result


def require_sides(array: Array, least: int, reader: str) -> None:
    """Raise DataError where the last two axes of `array` are not both at least `least` pixels long."""
    height, width = array.shape[-2:]
    if min(height, width) < least:
        raise DataError(
            f"{reader} needs images of at least {least} x {least} pixels, got {height} x {width}: "
            f"take a larger crop or leave '{reader}' out"
        )
