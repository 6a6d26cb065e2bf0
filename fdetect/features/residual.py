"""Features of the noise residual: which small differences stand beside which, in the manner of the SRM."""

from __future__ import annotations

import functools
import itertools

import numpy as np
from array_api_compat import device

from fdetect.backend import namespace
from fdetect.features.base import feature
from fdetect.forensics.residual import KERNELS
from fdetect.types import Array

__all__ = ["LIMIT", "ORDER", "residual_cooccurrence"]

LIMIT = 2  # T: residuals are clipped to -2..2 steps
ORDER = 4  # neighbours in a row
_LEVELS = 2 * LIMIT + 1


@functools.cache
def _orbits() -> tuple[tuple[tuple[int, ...], ...], ...]:
    """Return the 169 classes of 4-tuples that reversal and change of sign turn into each other, each class sorted."""
    classes = {}
    for t in itertools.product(range(-LIMIT, LIMIT + 1), repeat=ORDER):
        negative = tuple(-value for value in t)
        members = tuple(sorted({t, t[::-1], negative, negative[::-1]}))
        classes[members[-1]] = members
    return tuple(classes[key] for key in sorted(classes))


@functools.cache
def _columns(*, step: float) -> tuple[str, ...]:  # a step changes what is counted, not the columns
    def text(values: tuple[int, ...]) -> str:
        return "_".join(f"m{-value}" if value < 0 else f"{value}" for value in values)

    return tuple(f"{kernel}_{text(members[-1])}" for kernel in KERNELS for members in _orbits())


@feature(columns=_columns, family="residual")
def residual_cooccurrence(
    residual_first: Array,
    residual_second: Array,
    residual_third: Array,
    residual_edge3x3: Array,
    residual_square3x3: Array,
    residual_square5x5: Array,
    *,
    step: float = 3.0,
) -> Array:
    """Residual co-occurrences: how often four quantised residuals stand side by side, for six classes of residuals.

    6 x (B, D, h, w) float32 -> (B, 1014) float32, range 0..1; 6 classes x 169 columns, squares of a class sum to 1

        r = clip(round(R / step), -2, 2),   C[d] = #{(r(p), r(p+e), r(p+2e), r(p+3e)) in orbit d} / #{...}
        column d = sqrt(C[d]),   e = one pixel right or down, pooled over both and over the D directions of the class

    `step` is in grey levels.  3 keeps the bins filled after JPEG, where steps of 1 clip most of a textured image;
    `residual_cooccurrence_fine` has 1, the least of the source's, for pictures that were never compressed.
    Rounding is half away from zero.  A 4-tuple, its reverse and their negatives form one orbit (an image mirrored or
    inverted is no other evidence): 5^4 = 625 tuples, 169 orbits.  Column `second_1_0_m1_0` is the class `second` and
    the orbit of (1, 0, -1, 0).

    The square root makes the scalar product of two rows of a class the Hellinger (Bhattacharyya) similarity of its
    histograms, and evens out the variance of counts, so that rare tuples are not drowned by the all-zero one.

    Source: Fridrich and Kodovsky 2012, "Rich models for steganalysis of digital images", IEEE Trans. Information
    Forensics and Security 7(3), section II (quantisation q = step x divisor, T = 2, order 4, symmetrised); classes
    pooled and the square root as in this docstring, not as there.
    """
    classes = (
        residual_first, residual_second, residual_third, residual_edge3x3, residual_square3x3, residual_square5x5,
    )  # fmt: skip
    xp = namespace(residual_first)
    return xp.concat([_orbit_shares(_digits(residual, step)) for residual in classes], axis=1)


feature.variant(residual_cooccurrence, "residual_cooccurrence_fine", step=1.0)


def _digits(residual: Array, step: float) -> Array:
    """Return clip(round(R / step), -T, T) + T as uint8 by counting the thresholds that R reaches."""
    xp = namespace(residual)
    digits = xp.zeros_like(residual, dtype=xp.uint8)
    for k in range(LIMIT):
        edge = (k + 0.5) * step
        digits += xp.astype(residual >= edge, xp.uint8)
        digits += xp.astype(residual > -edge, xp.uint8)
    return digits


def _orbit_shares(digits: Array) -> Array:
    """Return the (B, 169) float32 square roots of the orbit shares of a (B, D, h, w) uint8 class."""
    xp, where = namespace(digits), device(digits)
    B = digits.shape[0]
    right, down = _pairs(digits, digits[..., 1:]), _pairs(digits, digits[..., 1:, :])
    square = _LEVELS * _LEVELS
    tuples = [
        xp.reshape(square * xp.astype(right[..., :-2], xp.int16) + right[..., 2:], (B, -1)),
        xp.reshape(square * xp.astype(down[..., :-2, :], xp.int16) + down[..., 2:, :], (B, -1)),
    ]
    bins = square * square
    index = xp.astype(xp.concat(tuples, axis=1), xp.int64)
    index += bins * xp.arange(B, dtype=xp.int64, device=where)[:, None]
    counts = xp.reshape(xp.bincount(xp.reshape(index, (-1,)), minlength=B * bins), (B, bins))
    members, present = (xp.asarray(part, device=where) for part in _orbit_table())
    gathered = xp.reshape(xp.take(counts, xp.reshape(members, (-1,)), axis=1), (B, *members.shape))
    orbits = xp.astype(xp.sum(gathered * present, axis=-1), xp.float64)
    total = index.shape[1] if index.shape[1] else 1  # an image too small for one 4-tuple has no shares
    return xp.astype(xp.sqrt(orbits / total), xp.float32)


def _pairs(first: Array, second: Array) -> Array:
    """Return 5 a + b for every neighbouring pair (at most 24, so it stays uint8)."""
    return _LEVELS * first[..., : second.shape[-2], : second.shape[-1]] + second


@functools.cache
def _orbit_table() -> tuple[np.ndarray, np.ndarray]:
    """Return the tuple indices of each orbit, padded to (169, 4), and a 0/1 mask of what is no padding."""
    members = np.zeros((len(_orbits()), 4), np.int64)
    present = np.zeros_like(members)
    for row, orbit in enumerate(_orbits()):
        for column, values in enumerate(orbit):
            members[row, column] = np.ravel_multi_index(tuple(np.add(values, LIMIT)), (_LEVELS,) * ORDER)
            present[row, column] = 1
    return members, present
