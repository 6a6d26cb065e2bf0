"""Features of the noise residual: which small differences stand beside which, in the manner of the SRM."""

from __future__ import annotations

import functools
import itertools
import math

import numpy as np
from array_api_compat import device

from fdetect.backend import count_bins, namespace
from fdetect.features.base import feature
from fdetect.forensics.base import require_sides
from fdetect.forensics.kernels import twin
from fdetect.forensics.planes import CHROMA_UNITS
from fdetect.forensics.residual import BASIC, KERNELS, LUMA_UNITS, SRM, Kernel, correlate
from fdetect.types import Array

__all__ = [
    "LIMIT", "MOMENT_FLOOR", "ORDER", "chroma_residual_cooccurrence", "residual_cooccurrence", "srm_cooccurrence",
    "srm_statistics",
]  # fmt: skip

LIMIT = 2  # T: residuals are clipped to -2..2 steps
ORDER = 4  # neighbours in a row
MOMENT_FLOOR = 1e-2  # grey levels; a residual of 8-bit samples that is not zero everywhere is above it
_LEVELS = 2 * LIMIT + 1
_TUPLES = _LEVELS**ORDER
_SRM_KERNELS = tuple(KERNELS[name] for name in SRM)


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
def _names(classes: tuple[str, ...], before: str = "") -> tuple[str, ...]:
    def text(values: tuple[int, ...]) -> str:
        return "_".join(f"m{-value}" if value < 0 else f"{value}" for value in values)

    return tuple(f"{before}{kernel}_{text(members[-1])}" for kernel in classes for members in _orbits())


def _columns_basic(*, step: float) -> tuple[str, ...]:  # a step changes what is counted, not the columns
    return _names(BASIC)


def _columns_srm(*, step: float) -> tuple[str, ...]:
    return _names(SRM)


def _columns_chroma(*, step: float) -> tuple[str, ...]:
    return _names(BASIC, "cb_") + _names(BASIC, "cr_")


@feature(columns=_columns_basic, family="residual")
def residual_cooccurrence(luma: Array, *, step: float = 3.0) -> Array:
    """Residual co-occurrences: how often four quantised residuals stand side by side, for six classes of residuals.

    (B, H, W) float32 -> (B, 1014) float32, range 0..1; 6 classes x 169 columns, squares of a class sum to 1

        r = clip(round(R / step), -2, 2),   C[d] = #{(r(p), r(p+e), r(p+2e), r(p+3e)) in orbit d} / #{...}
        column d = sqrt(C[d]),   e = one pixel right or down, pooled over both and over the D directions of the class

    R are the maps `residual_first`, `_second`, `_third`, `_edge3x3`, `_square3x3` and `_square5x5`.
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
    Raises DataError below 5 x 5 pixels.
    """
    require_sides(luma, 5, "residual_cooccurrence")
    xp = namespace(luma)
    return xp.concat([_orbit_shares(luma, KERNELS[name], step, LUMA_UNITS) for name in BASIC], axis=1)


feature.variant(residual_cooccurrence, "residual_cooccurrence_fine", step=1.0)


@feature(columns=_columns_srm, family="residual")
def srm_cooccurrence(luma: Array, *, step: float = 3.0) -> Array:
    """SRM co-occurrences: four quantised residuals side by side, over the whole bank of 30 linear SRM filters.

    (B, H, W) float32 -> (B, 1183) float32, range 0..1; 7 classes x 169 columns, squares of a class sum to 1

        r = clip(round(R / step), -2, 2),   column d = sqrt(share of 4-tuples of r, right and down, in orbit d)

    R as in the map `srm`: orders one to three in 8, 4 and 8 directions, edges of 3 x 3 and 5 x 5 in 4, squares of both
    sizes; pooled by class.  Opposite directions of orders one and three are the same residuals, negated and moved by
    a pixel: they fill the same orbits, so 22 filters are counted for the 30.  The classes edge3x3, square3x3 and
    square5x5 are those of `residual_cooccurrence`: no head needs both.  Orbits and `step` (grey levels) as in
    `residual_cooccurrence`; `srm_cooccurrence_fine` has a step of 1.

    Source: Fridrich and Kodovsky 2012, IEEE Trans. Information Forensics and Security 7(3), section II and Figure 2.
    Raises DataError below 5 x 5 pixels.
    """
    require_sides(luma, 5, "srm_cooccurrence")
    xp = namespace(luma)
    return xp.concat([_orbit_shares(luma, KERNELS[name], step, LUMA_UNITS) for name in SRM], axis=1)


feature.variant(srm_cooccurrence, "srm_cooccurrence_fine", step=1.0)


@feature(columns=_columns_chroma, family="chroma")
def chroma_residual_cooccurrence(chroma: Array, *, step: float = 1.0) -> Array:
    """Chroma residual co-occurrences: four quantised residuals side by side, in Cb and in Cr.

    (B, 2, H, W) float32 -> (B, 2028) float32, range 0..1; 2 channels x 6 classes x 169 columns

        r = clip(round(R / step), -2, 2),   column d = sqrt(share of 4-tuples of r, right and down, in orbit d)

    R are the residuals of `residual_cooccurrence`, of Cb and Cr in place of luma; orbits as there.  `step` is in grey
    levels; chroma is smoother than luma, so its step is smaller.  Column `cr_first_1_0_m1_0` is Cr.

    Source: Li, Li, Tan, Huang 2018, "Identification of deep network generated images using disparities in color
    components", arXiv 1808.07276, who find the residuals of chroma channels to tell most; classes, order 4 and
    orbits are those of the SRM (Fridrich and Kodovsky 2012), not theirs.
    Raises DataError below 5 x 5 pixels.
    """
    require_sides(chroma, 5, "chroma_residual_cooccurrence")
    xp = namespace(chroma)
    channels = itertools.product(enumerate(CHROMA_UNITS), BASIC)
    return xp.concat([_orbit_shares(chroma[:, c], KERNELS[name], step, units) for (c, units), name in channels], axis=1)


def _columns_moments() -> tuple[str, ...]:
    directions = {1: ("",), 4: ("_1", "_2", "_3", "_4")}
    filters = [f"{name}{turn}" for name in SRM for turn in directions[len(KERNELS[name].masks)]]
    return tuple(f"{name}_{column}" for name in filters for column in ("level", "peakedness"))


@feature(columns=_columns_moments(), family="residual")
def srm_statistics(luma: Array) -> Array:
    """SRM statistics: how strong each linear SRM residual is, and how heavy its tails are.

    (B, H, W) float32 -> (B, 44) float32; 22 filters (the 30 without opposites) x 2 columns

        level = ln(mean |R| + 0.01),   peakedness = ln( (rms R + 0.01) / (mean |R| + 0.01) )

    In ln(grey levels) and without unit.  Peakedness is 0 for two equal levels, ln sqrt(pi / 2) = 0.226 for a
    Gaussian, more for heavy tails.  Filters are named by class and direction: `first_all_1` looks right, _2 up, _3 and
    _4 along the diagonals; opposite directions have the same moments.

    Source: the filters of Fridrich and Kodovsky 2012, IEEE Trans. Information Forensics and Security 7(3), Figure 2;
    their summary by two moments is this project's.
    Raises DataError below 5 x 5 pixels.
    """
    require_sides(luma, 5, "srm_statistics")
    xp = namespace(luma)
    H, W = luma.shape[-2:]
    pixels = np.array([(H - k.side + 1) * (W - k.side + 1) for k in _SRM_KERNELS for _ in k.masks], np.float64)
    mean = _moment_sums(luma) / xp.asarray(pixels[:, None], device=device(luma))
    level = xp.log(mean[..., 0] + MOMENT_FLOOR)
    peakedness = xp.log(xp.sqrt(mean[..., 1]) + MOMENT_FLOOR) - level
    return xp.astype(xp.reshape(xp.stack([level, peakedness], axis=-1), (luma.shape[0], -1)), xp.float32)


def _moment_sums(luma: Array) -> Array:
    """Sum |R| and R^2 of every direction of the SRM: (B, H, W) float32 -> (B, 22, 2) float64."""
    if fast := twin("residual_moments", luma):
        return fast(luma, _SRM_KERNELS, LUMA_UNITS)
    xp = namespace(luma)
    sums = []
    for kernel in _SRM_KERNELS:
        residual = xp.astype(correlate(luma, kernel, units=LUMA_UNITS), xp.float64)
        of_both = xp.sum(xp.abs(residual), axis=(-2, -1)), xp.sum(residual * residual, axis=(-2, -1))
        sums.append(xp.stack(of_both, axis=-1))
    return xp.concat(sums, axis=1)


def _orbit_shares(image: Array, kernel: Kernel, step: float, units: int) -> Array:
    """Return the (B, 169) float32 square roots of the orbit shares of a class of residuals of a (B, H, W) image."""
    xp, where = namespace(image), device(image)
    counts = _counts(image, kernel, step, units)
    members, present = (xp.asarray(part, device=where) for part in _orbit_table())
    gathered = xp.reshape(xp.take(counts, xp.reshape(members, (-1,)), axis=1), (-1, *members.shape))
    orbits = xp.astype(xp.sum(gathered * present, axis=-1), xp.float64)
    h, w = (side - kernel.side + 1 for side in image.shape[-2:])
    total = len(kernel.masks) * (h * max(w - 3, 0) + max(h - 3, 0) * w)
    return xp.astype(xp.sqrt(orbits / max(total, 1)), xp.float32)  # too small for one 4-tuple: no shares


def _counts(image: Array, kernel: Kernel, step: float, units: int) -> Array:
    """Count the 4-tuples of a class, right and down: (B, H, W) float32 -> (B, 625) int64."""
    edges = _edges(step * units * kernel.divisor)
    if fast := twin("residual_counts", image):
        return fast(image, kernel, edges, units)
    xp = namespace(image)
    B = image.shape[0]
    whole = xp.round(xp.astype(correlate(image, kernel, units=units), xp.float64) * (units * kernel.divisor))
    levels = sum((xp.astype(whole >= edge, xp.int64) for edge in edges[1:]), xp.astype(whole >= edges[0], xp.int64))
    right, down = _pairs(levels, levels[..., 1:]), _pairs(levels, levels[..., 1:, :])
    square = _LEVELS * _LEVELS
    tuples = [
        xp.reshape(square * right[..., :-2] + right[..., 2:], (B, -1)),
        xp.reshape(square * down[..., :-2, :] + down[..., 2:, :], (B, -1)),
    ]
    return count_bins(xp.concat(tuples, axis=1), _TUPLES)


def _edges(step: float) -> tuple[int, ...]:
    """Return the integers that R in its own units must reach for a level above -2; halves go away from zero."""
    near, far = 0.5 * step, 1.5 * step
    return math.floor(-far) + 1, math.floor(-near) + 1, math.ceil(near), math.ceil(far)


def _pairs(first: Array, second: Array) -> Array:
    """Return 5 a + b for every neighbouring pair."""
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
