"""Twin of the sums of a half-plane spectrum over rings."""

from __future__ import annotations

import numpy as np

from fdetect.forensics._gpu import launch
from fdetect.types import Array

__all__ = ["ring_sums"]


def ring_sums(values: Array, ring: Array, copies: Array, count: int) -> Array:
    """Sum by ring: (B, H, V) float32, (H, V) uint16 rings, (V,) float64 copies of a column -> (B, count) float64.

    Real numbers are added in one order, which CuPy's bincount with weights does not promise.
    """
    xp = launch.arrays()
    B, H, V = values.shape
    result = xp.empty((B, count))
    rings, weights = launch.constant(ring, np.uint16), launch.constant(copies, np.float64)
    launch.run("profiles", "ring_sums", (count, B), launch.whole(values), rings, weights, H, V, result)
    return result
