"""How well DCT values lie on the lattice of a JPEG table: on any of the 64 block grids, and beneath a later JPEG.

After JPEG every DCT value of luma is near a multiple of its step T, on one block grid and on no other:

    z = sum_f w_f sum_b cos(2 pi C_f(b) / T_f) / sqrt(sum_f w_f^2 n_f / 2),   w_f = exp(-2 pi^2 s^2 / T_f^2)

over frequencies f and the n_f blocks b of one grid with |C_f(b)| >= T_f / 2; s^2 is the variance that rounding to grey
levels gives a value.  Without a lattice z has a mean of 0 or less (the density of the values is convex) and a standard
deviation of about 1.  Up-sampling with a period of 8 px leaves steps at block edges, but no lattice.

Source: after Fan and de Queiroz 2003, "Identification of bitmap compression history: JPEG detection and quantizer
estimation", IEEE Trans. Image Processing 12(2), section III (a step is estimated from how values lie around its
multiples); the sum of cosines over the tables of all qualities and over all grids is this project's.
"""

from __future__ import annotations

import functools

import numpy as np
from scipy.fft import dct as dct_along

from fdetect.forensics.blocks import SIDE, block_dct
from fdetect.images import ijg_luma_tables

__all__ = ["LEAST_SIDE", "QUALITIES", "grid_scores", "quality_on_grid", "requantised"]

QUALITIES = tuple(range(30, 99))  # at 99 and 100 the low steps are 1, of which rounding leaves nothing to see
LEAST_SIDE = 2 * SIDE - 1  # px: one whole block at every offset

_FINE, _LIMIT = 8, 128  # bins to a grey level, and the grey levels that are counted
_ROUNDING = (1 + 0.299**2 + 0.587**2 + 0.114**2) / 12  # s^2: luma rounded by the decoder, and then the three colours
_LOW = tuple((v, u) for v in range(4) for u in range(4) if v + u)
_AC = tuple((v, u) for v in range(SIDE) for u in range(SIDE) if v + u)
_MOST = 128  # multiples of a step that are counted beneath a later JPEG
_FEWEST = 8  # values of one frequency, below which it has no say there


def grid_scores(luma: np.ndarray) -> tuple[np.ndarray, int]:
    """Return the largest z over QUALITIES of the block grid at each offset: (H, W) float32 -> (8, 8) float64.

    [p, q] is the grid whose blocks begin at rows p, p + 8, .. and columns q, q + 8, ..; the 15 frequencies are those
    below 4 in both directions, of H - 7 by W - 7 px down to multiples of 8.  Also returned: how many of their values
    are 1 grey level or more, on average over the grids.
    Needs both sides to be at least LEAST_SIDE.
    """
    height, width = ((side - SIDE + 1) // SIDE * SIDE for side in luma.shape)
    grid = np.add.outer(np.arange(height) % SIDE * SIDE, np.arange(width) % SIDE)
    n_bins = _FINE * _LIMIT
    counts = np.zeros((SIDE * SIDE, len(_LOW), n_bins), np.float32)
    wave = _waves()
    for v in range(4):
        rows = _along(luma, wave[v], 0)[:height]
        for u in range(4):
            if (v, u) in _LOW:
                index = grid * n_bins + _bins(_along(rows, wave[u], 1)[:, :width])
                found = np.bincount(index.ravel(), minlength=counts.shape[0] * n_bins)
                counts[:, _LOW.index((v, u))] = found.reshape(-1, n_bins)
    seen = int(counts[..., _FINE:].sum(dtype=np.float64)) // SIDE**2
    return _z(counts, _LOW).max(axis=-1).reshape(SIDE, SIDE), seen


def quality_on_grid(luma: np.ndarray, row: int, column: int) -> int:
    """Return the IJG quality, of QUALITIES, whose table has the largest z on one grid, from all 63 frequencies."""
    values = block_dct(luma[None, row:, column:])[0].reshape(-1, SIDE, SIDE)
    n_bins = _FINE * _LIMIT
    index = _bins(values) + n_bins * np.arange(SIDE * SIDE).reshape(SIDE, SIDE)
    counts = np.bincount(index.ravel(), minlength=SIDE * SIDE * n_bins).reshape(-1, n_bins)[1:].astype(np.float32)
    return QUALITIES[int(_z(counts, _AC).argmax())]


def requantised(luma: np.ndarray, table: np.ndarray) -> tuple[float, int]:
    """Return z and quality of a JPEG on the grid (0, 0) before the last one, whose luma steps are `table` (8, 8).

        z = max over q of sum_f w_f sum_k (n_f[k] - m_f[k] N_f / M_f) cos(2 pi k T'_f / T_f) / sqrt(V)
        w_f = sinc(T'_f / T_f),   V = sum_f w_f^2 (N_f + N_f^2 / M_f) / 2

    over the multiples k >= max(1, T_f / (2 T'_f)) of the last step T'_f; T_f are the steps of quality q, n_f[k] counts
    values +-k T'_f on the grid, m_f[k] the same on the grid (4, 4) as if quantised by T', N and M are their sums.  w_f
    is the mean cosine that a lattice of T_f leaves after rounding to T'_f, negative for T'_f between T_f and 2 T_f.

    Source: Lukas and Fridrich 2003, "Estimation of primary quantization matrix in double compressed JPEG images",
    Digital Forensic Research Workshop (the histograms of a cropped picture as those of one compression; here not
    compressed again but rounded to multiples); the statistic is this project's.
    """
    n_own, n_other = _multiples(luma, table), _multiples(luma[4:, 4:], table)
    scores, variances = np.zeros(len(QUALITIES)), np.zeros(len(QUALITIES))
    k = np.arange(_MOST)
    for f, (v, u) in enumerate(_REQUANTISED):
        last, before = float(table[v, u]), _tables()[:, v, u]
        weight = np.sinc(last / before) * (before != last)
        counted = k >= np.maximum(1, before[:, None] / (2 * last))
        own, other = ((counted * counts[f]).sum(axis=1) for counts in (n_own, n_other))
        weight[np.minimum(own, other) < _FEWEST] = 0
        ratio = own / np.maximum(other, 1)
        excess = counted * (n_own[f] - ratio[:, None] * n_other[f])
        scores += weight * (excess * np.cos(2 * np.pi * k * last / before[:, None])).sum(axis=1)
        variances += weight**2 * own * (1 + ratio) / 2
    z = scores / np.sqrt(np.maximum(variances, 1))
    return float(z.max()), QUALITIES[int(z.argmax())]


_REQUANTISED = tuple((v, u) for v, u in _AC if v + u <= 5)  # higher ones are mostly 0 after the last JPEG


def _multiples(luma: np.ndarray, table: np.ndarray) -> np.ndarray:
    """Return (F, 128) counts of the multiples of each step in the blocks from the top left pixel."""
    values = np.abs(block_dct(luma[None])[0].reshape(-1, SIDE, SIDE))
    k = np.minimum(np.floor(values / table + 0.5).astype(np.int64), _MOST)
    return np.stack([np.bincount(k[:, v, u], minlength=_MOST + 1)[:_MOST] for v, u in _REQUANTISED]).astype(float)


def _along(plane: np.ndarray, wave: np.ndarray, axis: int) -> np.ndarray:
    """Return the sum of 8 neighbours along an axis, weighted by `wave`, beginning at every pixel."""
    count = plane.shape[axis] - SIDE + 1
    parts = [plane[i : i + count] if axis == 0 else plane[:, i : i + count] for i in range(SIDE)]
    total = wave[0] * parts[0]
    for weight, part in zip(wave[1:], parts[1:], strict=True):
        total += weight * part
    return np.asarray(total)


def _bins(values: np.ndarray) -> np.ndarray:
    """Return the bin of |C|, an eighth of a grey level wide; bin 0, which is never counted, for what is too large."""
    index: np.ndarray = (np.abs(values) * _FINE + 0.5).astype(np.int64)
    index[index >= _FINE * _LIMIT] = 0
    return index


def _z(counts: np.ndarray, frequencies: tuple[tuple[int, int], ...]) -> np.ndarray:
    """Return z of each quality from (..., F, bins) counts of |C|: (..., Q) float64."""
    waves, weight, at = _kernels(frequencies)
    f = np.arange(len(frequencies))
    sums = (counts.reshape(-1, counts.shape[-1]) @ waves).reshape(*counts.shape[:-1], -1)[..., f, at]
    beyond = np.cumsum(counts[..., ::-1], axis=-1, dtype=np.float32)[..., ::-1]  # whole numbers below 2^24: exact
    numbers = beyond[..., f, _FINE // 2 * (1 + at)]
    variance = (weight**2 * numbers).sum(axis=-1) / 2
    return np.asarray((weight * sums).sum(axis=-1) / np.sqrt(np.maximum(variance, 1)))


@functools.cache
def _kernels(frequencies: tuple[tuple[int, int], ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return cosines by bin and step 1.. (bins, T), 0 below half a step; w_f and T_f - 1 by quality, both (Q, F)."""
    tables = np.array([[table[v, u] for v, u in frequencies] for table in _tables()])
    steps = np.arange(1, tables.max() + 1)
    value = np.arange(_FINE * _LIMIT)[:, None] / _FINE
    waves = np.where(value >= steps / 2, np.cos(2 * np.pi * value / steps), 0).astype(np.float32)
    return waves, np.exp(-2 * np.pi**2 * _ROUNDING / tables**2.0), tables - 1


@functools.cache
def _tables() -> np.ndarray:
    """Return the IJG luma steps of QUALITIES: (Q, 8, 8) int64."""
    return np.asarray(ijg_luma_tables().reshape(-1, SIDE, SIDE)[np.array(QUALITIES) - 1])


@functools.cache
def _waves() -> np.ndarray:
    """Return the orthonormal DCT-II of 8 samples: (8, 8) float32, a row a frequency."""
    return np.asarray(dct_along(np.eye(SIDE), axis=0, norm="ortho"), dtype=np.float32)
