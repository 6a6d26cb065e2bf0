"""Features of co-occurring levels: how differences depend on the level, and how the colours differ together."""

from __future__ import annotations

import functools
import itertools

import numpy as np
from array_api_compat import device

from fdetect.backend import count_bins, namespace
from fdetect.features.base import feature
from fdetect.forensics.base import require_sides
from fdetect.forensics.kernels import twin
from fdetect.forensics.texture import shifted
from fdetect.types import Array

__all__ = ["DIFFERENCES", "STEPS", "cooccurrence", "cross_band_cooccurrence"]

_COLOURS = ("red", "green", "blue")
DIFFERENCES = (0, 1, 2, 3, 4, 5, 8, 16)  # where the bins of a difference's magnitude begin
_BAND_COUNT = 8  # bands of 32 levels

STEPS = (1, 3, 8)  # a difference counts as 1, 2 or 3 from here on, with its sign
_LEVELS = 2 * len(STEPS) + 1
_BANDS = ("red_green", "red_blue", "green_blue")


def _level_columns(*, dy: int, dx: int) -> tuple[str, ...]:  # a step changes what is counted, not the columns
    return tuple(f"{c}_level{32 * q}_by{d}" for c in _COLOURS for q in range(_BAND_COUNT) for d in DIFFERENCES)


@feature(columns=_level_columns, family="cooccurrence")
def cooccurrence(rgb8: Array, *, dy: int = 0, dx: int = 1) -> Array:
    """Co-occurrences of levels: how far neighbouring pixels differ, for eight bands of levels and each colour.

    (B, H, W, 3) uint8 -> (B, 192) float32, range 0..1; 3 colours x 8 bands x 8 bins, squares of a band sum to 1

        C[i, j] = #{ level i beside level j },   n[q, k] = sum of C[i, j] with (i + j) // 64 = q and |i - j| in bin k
        column (q, k) = sqrt( (n[q, k] + n[., k] / 64) / (n[q, .] + n[., .] / 64) )

    `dy` and `dx` are the step from a pixel to its neighbour, down and right, neither negative.  Bins of the magnitude
    start at 0, 1, 2, 3, 4, 5, 8 and 16 levels.  Column `red_level64_by5` is red, pairs of mean level 64 to 95, that
    differ by 5 to 7.  Nearly all of the source's 65,536 counts lie by the diagonal, so this keeps the distance
    from it nearly whole and the position along it in eight bands.  Each band is divided by its own size, so that the
    brightness of the scene is not a column; a band is drawn towards the whole image by 1/64 of all pairs, so that
    one with few pixels says little and an empty one nothing.

    Source: Nataraj et al. 2019, "Detecting GAN generated fake images using co-occurrence matrices", arXiv 1903.06836,
    section 3 (the matrices, for a network); this reduction for linear heads is this project's.
    Raises DataError where the image is no larger than the step, ParameterError for a negative step.
    """
    xp = namespace(rgb8)
    first, second = shifted(rgb8, dy, dx, "cooccurrence")
    B = rgb8.shape[0]
    if fast := twin("level_difference_counts", rgb8):
        counts = fast(rgb8, dy, dx, _edges(DIFFERENCES[1:]))
    else:
        a, b = xp.astype(first, xp.int16), xp.astype(second, xp.int16)
        index = (a + b) // 64 * len(DIFFERENCES)
        distance = xp.abs(a - b)
        for edge in DIFFERENCES[1:]:
            index = index + xp.astype(distance >= edge, xp.int16)
        index = xp.reshape(xp.permute_dims(index, (0, 3, 1, 2)), (B, 3, -1))
        counts = xp.reshape(count_bins(index, _BAND_COUNT * len(DIFFERENCES)), (B, 3, _BAND_COUNT, -1))
    n = xp.astype(counts, xp.float64)
    whole = xp.sum(n, axis=2, keepdims=True)
    drawn = n + whole / 64
    shares = drawn / xp.sum(drawn, axis=-1, keepdims=True)
    return xp.astype(xp.reshape(xp.sqrt(shares), (B, -1)), xp.float32)


@functools.cache
def _orbits(reversal: bool) -> tuple[tuple[tuple[int, int], ...], ...]:
    """Return the classes of pairs of digits that a change of both signs, and the reversal if asked, make equal."""
    classes = {}
    for a, b in itertools.product(range(-len(STEPS), len(STEPS) + 1), repeat=2):
        members = {(a, b), (-a, -b)} | ({(b, a), (-b, -a)} if reversal else set())
        classes[max(members)] = tuple(sorted(members))
    return tuple(classes[key] for key in sorted(classes))


def _pair_columns() -> tuple[str, ...]:
    def text(orbit: tuple[tuple[int, int], ...]) -> str:
        return "_".join(f"m{-value}" if value < 0 else f"{value}" for value in orbit[-1])

    across = [f"{bands}_{text(orbit)}" for bands in _BANDS for orbit in _orbits(False)]
    return (*across, *(f"{colour}_{text(orbit)}" for colour in _COLOURS for orbit in _orbits(True)))


@feature(columns=_pair_columns(), family="cooccurrence")
def cross_band_cooccurrence(rgb8: Array) -> Array:
    """Cross-band co-occurrences: which small differences two colours show together, and one colour diagonally.

    (B, H, W, 3) uint8 -> (B, 123) float32, range 0..1; 3 x 25 columns across bands, 3 x 16 within

        d = digit( x[p + e] - x[p] ),   digit(v) = sign(v) #{ s in (1, 3, 8) : |v| >= s },   e = one pixel right or down
        across:  C[a, b] = #{ p : digits of the two colours at p = (a, b) }
        within:  C[a, b] = #{ p : digits of one colour at p and at p + (1, 1) = (a, b) }
        column = sqrt( share of the pair's orbit )

    Counts are pooled over e.  A pair and its negative are one orbit (the image inverted is no other evidence; mirrored,
    it is another within colours, where one diagonal is looked along), within a colour also a pair and its reverse: 49
    pairs, 25 and 16 orbits.  Column `red_green_3_m1` is the share of pixels where red rises by 8 or more while green
    falls by 1 or 2, or the reverse.

    Levels across bands tell mostly the colours of the scene, so digits of differences take their place; their edges
    1, 3, 8 grow with the difference, which keeps all seven filled in fine and in coarse pictures alike.

    Source: Barni et al. 2020, "CNN detection of GAN-generated face images based on cross-band co-occurrences
    analysis", arXiv 2007.12909, section III: red-green, red-blue, green-blue at offset (0, 0) and each colour at
    offset (1, 1), there of levels and for a network; digits and orbits are this project's.
    Raises DataError below 3 x 3 pixels.
    """
    require_sides(rgb8[..., 0], 3, "cross_band_cooccurrence")
    xp, where = namespace(rgb8), device(rgb8)
    B = rgb8.shape[0]
    if fast := twin("cross_band_counts", rgb8):
        triples, pairs = fast(rgb8, _edges(STEPS))
    else:
        right = _digits(rgb8[:, :, 1:], rgb8[:, :, :-1])
        down = _digits(rgb8[:, 1:], rgb8[:, :-1])
        triples, pairs = (a + b for a, b in zip(_pair_counts(right), _pair_counts(down), strict=True))
    cube = xp.reshape(triples, (B, _LEVELS, _LEVELS, _LEVELS))
    square = _LEVELS * _LEVELS
    across = xp.stack([xp.reshape(xp.sum(cube, axis=axis), (B, square)) for axis in (3, 2, 1)], axis=1)
    rows = []
    for counts, reversal in ((across, False), (pairs, True)):
        members = xp.asarray(_members(reversal), dtype=xp.float64, device=where)
        orbits = xp.astype(counts, xp.float64) @ members  # sums of whole numbers: exact in any order
        shares = orbits / xp.sum(orbits, axis=-1, keepdims=True)
        rows.append(xp.reshape(xp.sqrt(shares), (B, -1)))
    return xp.astype(xp.concat(rows, axis=1), xp.float32)


def _digits(after: Array, before: Array) -> Array:
    """Return 0..6: three plus the signed number of STEPS that the difference reaches."""
    xp = namespace(after)
    difference = xp.astype(after, xp.int16) - xp.astype(before, xp.int16)
    digits = xp.full_like(difference, len(STEPS))
    for step in STEPS:
        digits = digits + xp.astype(difference >= step, xp.int16) - xp.astype(difference <= -step, xp.int16)
    return digits


def _pair_counts(digits: Array) -> tuple[Array, Array]:
    """Count the digits of the three colours (B, 343) and the diagonal pairs of each colour (B, 3, 49)."""
    xp = namespace(digits)
    B = digits.shape[0]
    triples = (digits[..., 0] * _LEVELS + digits[..., 1]) * _LEVELS + digits[..., 2]
    pairs = xp.permute_dims(digits[:, :-1, :-1] * _LEVELS + digits[:, 1:, 1:], (0, 3, 1, 2))
    return (
        count_bins(xp.reshape(triples, (B, -1)), _LEVELS**3),
        count_bins(xp.reshape(pairs, (B, 3, -1)), _LEVELS**2),
    )


@functools.cache
def _members(reversal: bool) -> np.ndarray:
    """Return the (49, orbits) matrix that is 1 where a pair of digits belongs to an orbit."""
    table = np.zeros((_LEVELS * _LEVELS, len(_orbits(reversal))))
    for column, orbit in enumerate(_orbits(reversal)):
        for a, b in orbit:
            table[(a + len(STEPS)) * _LEVELS + b + len(STEPS), column] = 1
    return table


@functools.cache
def _edges(values: tuple[int, ...]) -> np.ndarray:
    return np.array(values, np.int16)
