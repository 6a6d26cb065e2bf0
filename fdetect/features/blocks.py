"""Features of the block transform: scale and shape of every frequency, tile spectra, first digits after quantising."""

from __future__ import annotations

import functools

import numpy as np
from array_api_compat import device

from fdetect.backend import dct, namespace
from fdetect.features.base import feature
from fdetect.forensics.base import require_sides
from fdetect.forensics.blocks import SIDE, tiles
from fdetect.forensics.spectrum import DCT_FLOOR
from fdetect.types import Array

__all__ = ["BASES", "QUALITIES", "benford_divergence", "block_dct_statistics", "log_dct_profile"]

_AC = tuple(divmod(place, SIDE) for place in range(1, SIDE * SIDE))


@feature(columns=tuple(f"ac{v}{u}_{statistic}" for statistic in ("scale", "shape") for v, u in _AC), family="dct")
def block_dct_statistics(block_dct: Array) -> Array:
    """Block-DCT statistics: how large and how peaked the 63 AC coefficients of 8 x 8 blocks are.

    (B, h, w, 8, 8) float32 -> (B, 126) float32; 63 scales in ln(grey levels), then 63 shapes without unit

        scale = ln(m + 0.01),   m = mean |C[v, u]| over the blocks
        shape = ln(q + 0.0001) - 2 ln(m + 0.01),   q = mean C[v, u]^2

    Column `ac01_scale` is v = 0 (vertical), u = 1 (horizontal).  m is the maximum-likelihood scale of a Laplace law
    with mean 0.  q / m^2 tells the shape of a generalised Gaussian: a Laplace law has shape ln 2, a Gaussian
    ln(pi / 2), a coefficient that is 0 everywhere 0.  The ln energy is scale and shape in one line, ln q = shape + 2
    scale, so a linear head loses nothing, and a penalty on its weights does not fall on a pair of columns that say
    nearly the same.  The floors are below what 8-bit rounding leaves (m about 0.15).

    Source: Lam and Goodman 2000, "A mathematical analysis of the DCT coefficient distributions for images", IEEE
    Trans. Image Processing 9(10), doi 10.1109/83.869177 (Laplace law); Sharifi and Leon-Garcia 1995, "Estimation of
    shape parameter for generalized Gaussian distributions in subband decompositions of video", IEEE Trans. Circuits
    and Systems for Video Technology 5(1) (shape from q / m^2).  The shape is left as this log ratio, not solved for.
    """
    xp = namespace(block_dct)
    B = block_dct.shape[0]
    coefficients = xp.astype(xp.reshape(block_dct, (B, -1, SIDE * SIDE)), xp.float64)
    absolute = xp.mean(xp.abs(coefficients), axis=1)[:, 1:]
    energy = xp.mean(coefficients * coefficients, axis=1)[:, 1:]
    scale = xp.log(absolute + DCT_FLOOR)
    return xp.astype(xp.concat([scale, xp.log(energy + DCT_FLOOR**2) - 2 * scale], axis=1), xp.float32)


_TILE = 16
_FACTORS = 32  # magnitudes multiplied before a logarithm is taken: 0.01^32 and 4090^32 are far inside float64


@feature(columns=tuple(f"v{v}u{u}" for v in range(_TILE) for u in range(_TILE)), family="dct")
def log_dct_profile(luma: Array) -> Array:
    """Log-DCT profile: the mean log magnitude of every coefficient of the DCT of 16 x 16 tiles.

    (B, H, W) float32 -> (B, 256) float32, in ln(grey levels)

        column (v, u) = mean over tiles of ln( |C[v, u]| + 0.01 ),   C = orthonormal DCT-II of a tile of luma

    Tiles start at the top-left pixel; what is beyond the last whole tile is not used.  Column `v0u15` is the highest
    horizontal frequency.  Periods of up-sampling by 2, 4, 8 and 16 are whole numbers of half waves of a tile.

    Source: Frank, Eisenhofer, Schoenherr, Fischer, Kolossa, Holz 2020, "Leveraging frequency analysis for deep fake
    image recognition", ICML, arXiv 2003.08685, section 3: log magnitude of each DCT coefficient as a feature.  They
    transform the whole 128 x 128 crop, with columns that another crop would change; tiles have the same columns at
    any size, and their mean is steadier than one coefficient.  The whole transform is the map `log_dct`; their
    standardisation by the training set is the head's.  They add 1e-12, where 0.01 is above rounding errors.
    Raises DataError below 16 x 16 pixels.
    """
    require_sides(luma, _TILE, "log_dct_profile")
    xp = namespace(luma)
    magnitude = xp.reshape(xp.abs(dct(tiles(luma, _TILE))) + DCT_FLOOR, (luma.shape[0], -1, _TILE * _TILE))
    return xp.astype(_log_product(magnitude) / magnitude.shape[1], xp.float32)


def _log_product(factors: Array) -> Array:
    """Return the log of the product over axis 1 of a (B, N, D) array: few logarithms, as each costs 20 products."""
    xp = namespace(factors)
    B, N, D = factors.shape
    whole = N - N % _FACTORS
    total = xp.zeros((B, D), dtype=xp.float64, device=device(factors))
    if whole:
        grouped = xp.reshape(factors[:, :whole], (B, whole // _FACTORS, _FACTORS, D))
        total = xp.sum(xp.log(xp.prod(grouped, axis=2)), axis=1)
    return total + xp.log(xp.prod(factors[:, whole:], axis=1)) if whole < N else total


QUALITIES = (80, 85, 90, 95, 100)
BASES = (10, 20, 40, 60)
_ALPHA = 0.3
_PRIOR = 1.0  # observations that the expected law is worth
_UNIT = 1024  # coefficients are whole numbers of 1024ths of a grey level before they are quantised
_LEVELS = 1024  # |level| < 1024: what a JPEG's baseline code can hold
_STEPS = {  # luma table of T.81, Table K.1, at the first nine AC coefficients in zig-zag order
    (0, 1): 11, (1, 0): 12, (2, 0): 14, (1, 1): 12, (0, 2): 10, (0, 3): 16, (1, 2): 14, (2, 1): 13, (3, 0): 14,
}  # fmt: skip
_GROUPS = (1, 2, 3)  # v + u: the diagonals of the zig-zag


def _benford_columns() -> tuple[str, ...]:
    return tuple(
        f"diagonal{group}_quality{quality}_base{base}_{divergence}"
        for group, quality in _kept()
        for base in BASES
        for divergence in ("kullback", "renyi", "tsallis")
    )


def _kept() -> list[tuple[int, int]]:
    """Diagonals and qualities that have columns: at quality 95 all steps of the first two are 1, as at 100."""
    return [(group, quality) for group in _GROUPS for quality in QUALITIES if quality != 95 or group == 3]


@feature(columns=_benford_columns(), family="benford")
def benford_divergence(block_dct: Array) -> Array:
    """Benford divergence: how far the first digits of quantised DCT coefficients are from Benford's law.

    (B, h, w, 8, 8) float32 -> (B, 156) float32; 3 diagonals x 5 JPEG qualities (less 2) x 4 bases x 3 divergences

        level = floor(|C[v, u]| / q + 1/2),   q = step of the JPEG luma table;   levels of 0 have no first digit
        p(d) = (n_d + b(d)) / (sum n + 1),   b(d) = ln(1 + 1/d) / ln base,   d = 1..base-1
        kullback = sqrt( sum (p - b) ln(p / b) ),   S = sum p^0.3 b^0.7
        renyi = sqrt( -ln S / 0.7 ),   tsallis = sqrt( (1 - S) / 0.7 )

    n_d counts digit d over the blocks and over the coefficients of one diagonal v + u = 1, 2 or 3: together the first
    nine AC coefficients of the zig-zag order.  Column `diagonal2_quality90_base20_renyi` says all of this.  The law
    itself counts as one observation, so an image without levels has divergence 0 and an empty digit costs a finite
    amount.  Quality 95 has columns on diagonal 3 alone: on the others its steps are those of quality 100.  Renyi's and
    Tsallis' are monotone functions of one sum S, both kept as in the source.  Square roots, because divergences grow
    with the square of a difference.

    |C| is first rounded to 1024ths of a grey level, and then to steps in whole numbers, halves up.  Luma is a whole
    number of thousandths, so a coefficient that is rational (0, or half a step, as drawn patterns have) is a multiple
    of 1/8000 and never half way between two 1024ths.  So the rounding errors of a transform do not choose the digit.

    Source: Bonettini, Bestagini, Milani, Tubaro 2020, "On the use of Benford's law to detect GAN-generated images",
    ICPR, arXiv 2004.07682: coefficients, qualities, bases, divergences and alpha = 0.3 are theirs.  They fit
    k ln(1 + 1/(a + d^s)) to each of 180 histograms of one coefficient and take the divergence from the fit, 540
    columns.  Here the law is the ideal one, so that what the fit would absorb is part of the column; coefficients are
    pooled by diagonal, which fills the digits of a small crop; and Renyi and Tsallis are taken from p to b.
    """
    xp, where = namespace(block_dct), device(block_dct)
    B = block_dct.shape[0]
    places, steps, rows, edges, laws = (xp.asarray(part, device=where) for part in _benford_tables())
    chosen = xp.take(xp.reshape(block_dct, (B, -1, SIDE * SIDE)), places, axis=2)
    chosen = xp.astype(xp.permute_dims(chosen, (0, 2, 1)), xp.float64)  # (B, 9, N): long rows are fast rows
    units = xp.floor(xp.abs(chosen) * _UNIT + 0.5)
    level = xp.astype(xp.floor(units[:, :, None, :] / steps + 0.5), xp.int64)
    level = xp.where(level < _LEVELS, level, xp.full_like(level, _LEVELS - 1))
    histograms = len(_GROUPS) * len(QUALITIES)
    image = histograms * xp.arange(B, dtype=xp.int64, device=where)
    index = level + _LEVELS * (rows + image[:, None, None, None])
    counts = xp.bincount(xp.reshape(index, (-1,)), minlength=B * histograms * _LEVELS)
    running = xp.cumulative_sum(xp.reshape(counts, (B * histograms, _LEVELS)), axis=1, include_initial=True)
    lower, upper = (xp.reshape(xp.take(running, xp.reshape(part, (-1,)), axis=1), (-1, *part.shape)) for part in edges)
    digits = xp.astype(xp.sum(upper - lower, axis=1), xp.float64)  # (B * 15, 126): exact counts, base after base
    columns, start = [], 0
    for base in BASES:
        stop = start + base - 1
        columns.append(_divergences(digits[:, start:stop], laws[start:stop]))
        start = stop
    of_histogram = xp.reshape(xp.stack(columns, axis=1), (B, histograms, -1))
    kept = [_GROUPS.index(group) * len(QUALITIES) + QUALITIES.index(quality) for group, quality in _kept()]
    chosen = xp.take(of_histogram, xp.asarray(kept, device=where), axis=1)
    return xp.astype(xp.reshape(chosen, (B, len(kept) * of_histogram.shape[-1])), xp.float32)


def _divergences(counts: Array, law: Array) -> Array:
    """Return the roots of three divergences of each row of counts from a law: (N, D), (D,) float64 -> (N, 3)."""
    xp = namespace(counts)
    share = (counts + _PRIOR * law) / (xp.sum(counts, axis=1, keepdims=True) + _PRIOR)
    ratio = xp.log(share / law)
    overlap = xp.sum(law * xp.exp(_ALPHA * ratio), axis=1)
    divergences = xp.stack(
        [xp.sum((share - law) * ratio, axis=1), xp.log(overlap) / (_ALPHA - 1), (overlap - 1) / (_ALPHA - 1)], axis=1
    )
    return xp.sqrt(xp.where(divergences > 0, divergences, xp.zeros_like(divergences)))


@functools.cache
def _benford_tables() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return places of the coefficients (9,), their steps and histogram rows (9, 5, 1), digit edges, and the laws.

    The numbers below 1024 that begin with a digit d are d base^k up to (d + 1) base^k, k = 0, 1, 2, 3; the edges
    (2, 4, 126) hold both ends of these runs, cut at 1024.
    """
    places = np.array([SIDE * v + u for v, u in _STEPS])
    scaled = [[max((step * (200 - 2 * q) + 50) // 100, 1) for q in QUALITIES] for step in _STEPS.values()]
    rows = [[_GROUPS.index(v + u) * len(QUALITIES) + i for i in range(len(QUALITIES))] for v, u in _STEPS]
    digit = np.concatenate([np.arange(1, base) for base in BASES])
    base = np.repeat(BASES, [base - 1 for base in BASES])
    power = base[None] ** np.arange(4)[:, None]
    edges = np.minimum(np.stack([digit * power, (digit + 1) * power]), _LEVELS)
    steps = _UNIT * np.array(scaled, np.float64)
    return places, steps[..., None], np.array(rows)[..., None], edges, np.log1p(1 / digit) / np.log(base)
