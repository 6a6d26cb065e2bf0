"""Features of file and camera history: family `provenance`, which no preset but its own and no pattern contains.

JPEG tables, grids, ghosts, error levels, EXIF and traces of demosaicing say how a file was made and stored.  In nearly
every data set that goes together with the label, and none of it is synthesis.  So these features are kept apart: they
are computed under the condition `native` alone, and no fused score uses them.
"""

from __future__ import annotations

import functools

import numpy as np
from array_api_compat import device

from fdetect.backend import asnumpy, count_bins, namespace, rfft2
from fdetect.features.base import feature
from fdetect.features.file_history import exif_facts, jpeg_quality_tables
from fdetect.forensics.base import require_sides
from fdetect.forensics.provenance import recompressed
from fdetect.types import Array, Facts

__all__ = [
    "GHOST_QUALITIES",
    "cfa_periodicity",
    "double_jpeg_grid",
    "error_level_analysis",
    "exif_facts",
    "jpeg_ghosts",
    "jpeg_quality_tables",
]

GHOST_QUALITIES = tuple(range(60, 100, 5))
LOG_FLOOR = 0.01  # added to a mean square (grey levels squared) before its logarithm

_AC = ((0, 1), (1, 0), (2, 0), (1, 1), (0, 2), (0, 3), (1, 2), (2, 1), (3, 0))  # the first nine of the zig-zag
_HALF = 32  # DCT values of 32 steps and more are not counted; the histogram has 64 bins
_LOWEST = 8  # frequencies from 8/64 cycles a step: periods of 2 to 8 steps, above the lobe of the histogram itself
_COLOURS = ("red", "green", "blue")


@feature(
    columns=(
        *("aligned", "strongest", "second", "strongest_is_aligned", "strongest_row", "strongest_column"),
        *(f"period_{v}{u}" for v, u in _AC),
    ),
    family="provenance",
)
def double_jpeg_grid(grid_steps: Array, block_dct: Array, facts: tuple[Facts, ...]) -> Array:
    """Double JPEG: strength and offset of the block grid, and combs in the histograms of DCT values.

    (B, 2, 8), (B, h, w, 8, 8) float32, (B,) Facts -> (B, 15) float32

        b(p, q) = (V[p] / mean V + H[q] / mean H) / 2 - 1,   V, H = grid_steps of rows and columns
        aligned = b(0, 0),   strongest = b(p1, q1),   second = b(p2, q2)
        k = sign(C) floor(|C[v, u]| / step[v, u] + 1/2) of each block,   n = #{0 < |k| < 32}
        F[m] = |sum over those of e^(-2 pi i k m / 64)|,   m = 8..32
        period_vu = ln(1 + (max F - mean F) / sqrt(n))

    p1 and q1 (columns `strongest_row`, `strongest_column`, in px) are the phases of the largest V and H, the first of
    equals; p2 and q2 those of the largest among the others, where a second grid would be.  All strengths are 0 in a
    constant image.  `step` is the file's own luma table, or 1 grey level for a file without; a table finds JPEG before
    the last JPEG, step 1 finds JPEG before a PNG.  Where n = 0 the column is 0.  `period_01` is v = 0, u = 1.

    Source: grids: map `grid_steps`.  Combs: Popescu and Farid 2004, "Statistical tools for digital forensics",
    Information Hiding, section 3 (periods in the Fourier transform of the histogram); Lin, He, Tang, Tang 2009, "Fast,
    automatic and fine-grained tampered JPEG image detection via DCT coefficient analysis", Pattern Recognition 42(11).
    The measure of a peak, without the bin of zero and over sqrt(n) as for independent values, is this project's.
    """
    xp, where = namespace(block_dct), device(block_dct)
    B, h, w = block_dct.shape[:3]
    strengths = _grid_strengths(xp.astype(grid_steps, xp.float64))
    chosen = xp.asarray([8 * v + u for v, u in _AC], device=where)
    values = xp.astype(xp.take(xp.reshape(block_dct, (B, h * w, 64)), chosen, axis=2), xp.float64)
    steps = xp.asarray(np.array([_luma_steps(f) for f in facts]), device=where)[:, None, :]
    level = xp.floor(xp.abs(values) / steps + 0.5)
    counted = (level > 0) & (level < _HALF)
    signed = xp.where(counted, xp.sign(values) * level, xp.zeros_like(level))
    levels = xp.permute_dims(xp.astype(signed, xp.int64) + _HALF, (0, 2, 1))
    counts = xp.astype(count_bins(levels, 2 * _HALF), xp.float64)
    counts[..., _HALF] = 0.0
    cosine, sine = (xp.asarray(wave, device=where) for wave in _waves())
    spectrum = xp.sqrt((counts @ cosine) ** 2 + (counts @ sine) ** 2)
    number = xp.sum(counts, axis=-1)
    number = xp.where(number > 0, number, xp.ones_like(number))
    peak = (xp.max(spectrum, axis=-1) - xp.mean(spectrum, axis=-1)) / xp.sqrt(number)
    return xp.astype(xp.concat([strengths, xp.log1p(peak)], axis=1), xp.float32)


@feature(
    columns=(
        *(f"q{quality}" for quality in GHOST_QUALITIES), "deepest_dip", "best_quality",
        *(f"spread_q{quality}" for quality in GHOST_QUALITIES),
    ),
    family="provenance",
)  # fmt: skip
def jpeg_ghosts(rgb8: Array) -> np.ndarray:
    """JPEG ghosts: how far an image is from its own re-compression at qualities 60, 65 .. 95, and where it dips.

    (B, H, W, 3) uint8 -> (B, 18) float32

        D_q = mean of (I - J_q(I))^2 over pixels and colours,   column q = ln(D_q + 0.01)
        deepest_dip = max over q = 65..90 of (column q-5 + column q+5) / 2 - column q
        best_quality = argmin_q D_q, the highest of equals
        d_q(b) = (D_q(b) - min_q D_q(b)) / (max_q D_q(b) - min_q D_q(b)),   spread_q = standard deviation of d_q over b

    b are the whole 16 x 16 blocks; d_q(b) is 0 where a block differs alike at all qualities.  An image that was
    compressed at one of the qualities on this grid dips there; a region with another history makes the spread large.
    J_q is Pillow's encoder with chroma at half resolution, on NumPy arrays: pixels of other engines are brought there.

    Source: Farid 2009, "Exposing digital forgeries from JPEG ghosts", IEEE Trans. Information Forensics and Security
    4(1), equations 3 and 4 (difference averaged over colours and windows of 16 px, scaled to 0..1 at each place);
    whole blocks for sliding windows, grid offset (0, 0) only, and the summary are this project's.
    Raises DataError below 16 x 16 pixels.
    """
    pixels = asnumpy(rgb8)
    require_sides(pixels[..., 0], 16, "jpeg_ghosts")
    return np.stack([_ghost(image) for image in pixels]).astype(np.float32)


@feature(
    columns=(
        *(f"{colour}_{what}" for colour in _COLOURS for what in ("mean", "deviation")),
        *("block_largest", "block_smallest", "block_deviation"),
    ),
    family="provenance",
)
def error_level_analysis(error_level: Array) -> Array:
    """Error level analysis: mean and spread of the change by one more JPEG pass, and of its 8 x 8 blocks.

    (B, 3, H, W) float32 -> (B, 9) float32, grey levels

        mean, deviation = mean and standard deviation of E[c] over pixels
        e(b) = mean of E over the colours and pixels of block b;   largest, smallest, standard deviation of e over b

    Blocks are the whole ones from the top-left corner, those of the JPEG grid.

    Source: Krawetz 2007, "A picture's worth: digital image analysis and forensics", Black Hat USA, who looks at the
    map; its summary is this project's.
    Raises DataError below 8 x 8 pixels.
    """
    require_sides(error_level, 8, "error_level_analysis")
    xp = namespace(error_level)
    B, C, H, W = error_level.shape
    h, w, n = H // 8, W // 8, H * W
    flat = xp.reshape(error_level, (B, C, n))
    total, squares = (xp.sum(part, axis=-1, dtype=xp.float64) for part in (flat, flat * flat))
    deviation = xp.sqrt(n * squares - total * total) / n  # of whole numbers: 0 exactly where all are equal
    colours = xp.stack([total / n, deviation], axis=-1)
    levels = xp.sum(error_level[:, :, : 8 * h, : 8 * w], axis=1)  # whole numbers to the end, at most 48,960 in a block
    rows = xp.sum(xp.reshape(levels, (B, h, 8, 8 * w)), axis=2)
    blocks = xp.sum(xp.reshape(rows, (B, h * w, 8)), axis=-1, dtype=xp.float64) / (64 * C)
    of_blocks = xp.stack([xp.max(blocks, axis=-1), xp.min(blocks, axis=-1), xp.std(blocks, axis=-1)], axis=-1)
    return xp.astype(xp.concat([xp.reshape(colours, (B, 2 * C)), of_blocks], axis=1), xp.float32)


@feature(
    columns=(
        *(f"{colour}_{axis}" for colour in _COLOURS for axis in ("horizontal", "vertical", "diagonal")),
        *("green_lattices", "green_peak"),
    ),
    family="provenance",
)
def cfa_periodicity(demosaicing_residual: Array) -> Array:
    """CFA periodicity: traces of demosaicing, a residual that alternates from pixel to pixel, by colour.

    (B, 3, h, w) float32 -> (B, 11) float32

        S_ij = mean of |R[c, y, x]| over y = i, x = j (mod 2),   S = S_00 + S_01 + S_10 + S_11
        horizontal = |S_00 + S_10 - S_01 - S_11| / S,   vertical = |S_00 + S_01 - S_10 - S_11| / S
        diagonal = |S_00 + S_11 - S_01 - S_10| / S,   each 0..1, and 0 where S = 0
        green_lattices = |ln (Q_00 + Q_11 + 1) / (Q_01 + Q_10 + 1)|,   Q_ij = mean of R^2 over the same pixels
        green_peak = ln (P[L/2] + 10^-4) / (median P[1..L/2 - 1] + 10^-4)
        P = |DFT over t of sum over x + y = t (mod L) of |R|| / sum |R|,   L = w made even

    The first nine are the spectrum of |R| at (1/2, 0), (0, 1/2) and (1/2, 1/2).  Green of a Bayer array is measured on
    one quincunx lattice and interpolated on the other, red and blue on one pixel of four.  Absolute values, because
    the phase of the array differs from camera to camera.  All are 0 in a constant image.

    Source: Popescu and Farid 2005, "Exposing digital forgeries in color filter array interpolated images", IEEE Trans.
    Signal Processing 53(10) (periodic correlation, found there by EM; here by a fixed predictor); Gallagher and Chen
    2008, CVPR workshops, doi 10.1109/CVPRW.2008.4562984, section 2 (peak over median of the diagonals' spectrum, there
    over diagonals of unequal length, here wrapped, so that each has h pixels).
    """
    xp = namespace(demosaicing_residual)
    B = demosaicing_residual.shape[0]
    size = xp.abs(demosaicing_residual)
    means = _cell_means(size)
    s00, s01, s10, s11 = means
    total = s00 + s01 + s10 + s11
    total = xp.where(total > 0, total, xp.ones_like(total))
    waves = (s00 + s10 - s01 - s11, s00 + s01 - s10 - s11, s00 + s11 - s01 - s10)
    peaks = xp.reshape(xp.stack([xp.abs(wave) / total for wave in waves], axis=-1), (B, -1))
    q00, q01, q10, q11 = _cell_means(size[:, 1] ** 2)
    lattices = xp.abs(xp.log((q00 + q11 + 1) / (q01 + q10 + 1)))
    green = xp.stack([lattices, _diagonal_peak(size[:, 1])], axis=-1)
    return xp.astype(xp.concat([peaks, green], axis=1), xp.float32)


def _luma_steps(facts: Facts) -> list[float]:
    table = facts.qtables[0] if facts.qtables and len(facts.qtables[0]) == 64 else (1,) * 64
    return [float(max(table[8 * v + u], 1)) for v, u in _AC]


def _grid_strengths(steps: Array) -> Array:
    """Return the (B, 6) grid columns from (B, 2, 8) float64 means by phase."""
    xp = namespace(steps)
    mean = xp.mean(steps, axis=-1, keepdims=True)
    relative = steps / xp.where(mean > 0, mean, xp.ones_like(mean)) - xp.astype(mean > 0, xp.float64)
    phases = xp.arange(8, dtype=xp.int64, device=device(steps))
    largest = xp.max(steps, axis=-1, keepdims=True)
    first = xp.min(xp.where(steps == largest, phases, xp.full_like(phases, 8)), axis=-1, keepdims=True)
    others = xp.where(phases == first, xp.full_like(relative, -1.0), relative)  # a mean is never less than 0
    aligned, strongest, second = (
        xp.mean(part, axis=-1) for part in (relative[..., 0], xp.max(relative, axis=-1), xp.max(others, axis=-1))
    )
    at = xp.astype(first[..., 0], xp.float64)
    at_origin = xp.astype((at[:, 0] == 0) & (at[:, 1] == 0), xp.float64)
    return xp.stack([aligned, strongest, second, at_origin, at[:, 0], at[:, 1]], axis=-1)


@functools.cache
def _waves() -> tuple[np.ndarray, np.ndarray]:
    """Return cosine and sine of the counted frequencies over the bins: 2 x (64, 25) float64."""
    turns = np.outer(np.arange(-_HALF, _HALF), np.arange(_LOWEST, _HALF + 1)) % (2 * _HALF)
    angle = np.pi * turns / _HALF
    return np.cos(angle), np.sin(angle)


def _ghost(image: np.ndarray) -> list[float]:
    """Return the columns of one (H, W, 3) uint8 image; differences are summed as integers."""
    H, W = image.shape[:2]
    h, w = H // 16, W // 16
    original = image.astype(np.int16)
    total, blocks = [], []
    for quality in GHOST_QUALITIES:
        squares = np.square(recompressed(image, quality) - original, dtype=np.int32).reshape(H, 3 * W)
        total.append(int(squares.sum(dtype=np.int64)))
        rows = squares[: 16 * h, : 48 * w].reshape(h, 16, 48 * w).sum(axis=1)
        blocks.append(rows.reshape(h * w, 48).sum(axis=1))
    logs = np.log(np.array(total) / image.size + LOG_FLOOR)
    lowest, highest = np.min(blocks, axis=0), np.max(blocks, axis=0)
    scaled = (np.array(blocks) - lowest) / np.maximum(highest - lowest, 1)
    dip = ((logs[:-2] + logs[2:]) / 2 - logs[1:-1]).max()
    best = max(q for q, value in zip(GHOST_QUALITIES, total, strict=True) if value == min(total))
    return [*logs, dip, best, *scaled.std(axis=1)]


def _cell_means(size: Array) -> tuple[Array, Array, Array, Array]:
    """Return the float64 means over the last two axes at each place of a 2 x 2 cell; sums of whole numbers, exact."""
    xp = namespace(size)
    cells = (size[..., i::2, j::2] for i in (0, 1) for j in (0, 1))
    a, b, c, d = (xp.sum(part, axis=(-2, -1), dtype=xp.float64) / (part.shape[-2] * part.shape[-1]) for part in cells)
    return a, b, c, d


def _diagonal_peak(size: Array) -> Array:
    """Return the (B,) log ratio of a (B, h, w) residual's diagonal spectrum at 1/2 to its median."""
    xp = namespace(size)
    B, h, w = size.shape
    L = w // 2 * 2
    turns = -(-h // L)
    wide = xp.zeros((B, h, (turns + 1) * L + 1), dtype=xp.float64, device=device(size))
    wide[:, :, :L] = size[:, :, :L]
    # one entry a row is cut off the end, so row y moves right by y: columns become the diagonals x + y
    skewed = xp.reshape(xp.reshape(wide, (B, -1))[:, : h * (turns + 1) * L], (B, h, (turns + 1) * L))
    diagonals = xp.sum(xp.reshape(xp.sum(skewed, axis=1), (B, turns + 1, L)), axis=1)
    total = xp.sum(diagonals, axis=-1, keepdims=True)
    spectrum = xp.abs(rfft2(diagonals[:, None, :]))[:, 0] / xp.where(total > 0, total, xp.ones_like(total))
    between = xp.sort(spectrum[:, 1 : L // 2], axis=-1)
    n = between.shape[-1]
    median = (between[:, (n - 1) // 2] + between[:, n // 2]) / 2
    return xp.log((spectrum[:, L // 2] + 1e-4) / (median + 1e-4))
