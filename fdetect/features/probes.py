"""Probes: what a detector must not live on.  The audit asks them how much content and file history tell the label.

They are registered as features so that the same engine computes them, under the family `probe`, which no preset and
no pattern contains.
"""

from __future__ import annotations

import numpy as np
from array_api_compat import device

from fdetect.backend import count_bins, namespace
from fdetect.features.base import feature
from fdetect.types import Array

__all__ = ["block_dct_histogram", "thumbnail"]

_THUMBNAIL = 16
_OVERFLOW = 11

# (row, column) of the first 20 AC coefficients in the zig-zag order of JPEG: the five diagonals after DC
_ZIGZAG = tuple(
    (i, d - i) if d % 2 else (d - i, i)
    for d in range(1, 6)
    for i in range(d + 1)
)  # fmt: skip


@feature(columns=tuple(f"row{y}_column{x}" for y in range(16) for x in range(16)), family="probe")
def thumbnail(luma: Array) -> Array:
    """Thumbnail: luma averaged over a 16 x 16 grid, which keeps the content and no trace of how it was made.

    (B, H, W) float32 -> (B, 256) float32, range 0..255

        T[i, j] = mean of Y over rows iH/16..(i+1)H/16 and columns jW/16..(j+1)W/16, pixels cut by area

    Source: this project's content probe; the area mean is the exact box filter, computed from running sums.
    """
    xp = namespace(luma)
    total = _area_means(_area_means(xp.astype(luma, xp.float64), axis=1), axis=2)
    return xp.astype(xp.reshape(total, (luma.shape[0], -1)), xp.float32)


@feature(
    columns=tuple(
        f"ac{v}{u}_{'over' if level == _OVERFLOW else level}" for v, u in _ZIGZAG for level in range(_OVERFLOW + 1)
    ),
    family="probe",
)
def block_dct_histogram(block_dct: Array) -> Array:
    """Block-DCT histogram: how often each magnitude occurs at the 20 lowest AC frequencies of the JPEG grid.

    (B, h, w, 8, 8) float32 -> (B, 240) float32, range 0..1; the 12 columns of a frequency sum to 1

        column (v, u, k) = share of blocks with floor(|C[v, u]| + 1/2) = k,   k = 0..10, and "over" for 11 or more

    An earlier JPEG on the same grid leaves a comb: values near multiples of its quantisation step, gaps between.
    Column `ac01_3` is v = 0 (vertical), u = 1 (horizontal), magnitude 3.

    Source: after Fan and de Queiroz 2003, "Identification of bitmap compression history: JPEG detection and
    quantizer estimation", IEEE Trans. Image Processing 12(2), who read the step off the same histograms.
    """
    xp, where = namespace(block_dct), device(block_dct)
    B, h, w = block_dct.shape[:3]
    flat = xp.reshape(block_dct, (B, h * w, 64))
    chosen = xp.take(flat, xp.asarray([8 * v + u for v, u in _ZIGZAG], device=where), axis=2)
    level = xp.astype(xp.floor(xp.astype(xp.abs(chosen), xp.float64) + 0.5), xp.int64)
    level = xp.where(level > _OVERFLOW, xp.full_like(level, _OVERFLOW), level)
    counts = count_bins(xp.permute_dims(level, (0, 2, 1)), _OVERFLOW + 1)
    return xp.astype(xp.reshape(xp.astype(counts, xp.float64), (B, -1)) / (h * w), xp.float32)


def _area_means(samples: Array, *, axis: int) -> Array:
    """Average along one axis over 16 equal stretches, whose ends may cut a sample."""
    xp, where = namespace(samples), device(samples)
    length = samples.shape[axis]
    running = xp.cumulative_sum(samples, axis=axis, include_initial=True)
    ends = np.arange(_THUMBNAIL + 1) * length / _THUMBNAIL
    whole = np.minimum(ends.astype(np.int64), length - 1)
    share = (ends - whole).reshape([-1 if a == axis else 1 for a in range(samples.ndim)])
    below, above = (xp.take(running, xp.asarray(at, device=where), axis=axis) for at in (whole, whole + 1))
    at_ends = below + xp.asarray(share, device=where) * (above - below)
    upper, lower = (_cut(at_ends, axis, 1, None), _cut(at_ends, axis, 0, -1))
    return (upper - lower) * (_THUMBNAIL / length)


def _cut(array: Array, axis: int, start: int, stop: int | None) -> Array:
    return array[tuple(slice(start, stop) if a == axis else slice(None) for a in range(array.ndim))]
