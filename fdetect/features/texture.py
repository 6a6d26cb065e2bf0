"""Features of texture: local binary patterns, and how poor and rich patches differ in their noise residual."""

from __future__ import annotations

import functools

import numpy as np
from array_api_compat import device

from fdetect.backend import count_bins, namespace
from fdetect.features.base import feature
from fdetect.forensics.base import require_sides
from fdetect.forensics.kernels import twin
from fdetect.types import Array

__all__ = ["EDGES", "FLOOR", "RADII", "local_binary_patterns", "texture_contrast"]

RADII = (1, 2, 3)
# The eight neighbours of the square ring in the order of the bits, counter-clockwise from the right: (row, column).
_RING = ((0, 1), (-1, 1), (-1, 0), (-1, -1), (0, -1), (1, -1), (1, 0), (1, 1))
_PATTERNS = (
    "0", "1_axis", "1_corner", "2", "3_axis", "3_corner", "4", "5_axis", "5_corner", "6", "7_axis", "7_corner", "8",
    "turns4", "turns6", "turns8",
)  # fmt: skip

FLOOR = 0.01  # grey levels: below what one pixel in a patch contributes to its mean
EDGES = (0.5, 1, 2, 4, 8, 16)  # grey levels: where the bins of a residual's magnitude end
_SIDE = 32
_KERNELS = ("first", "second", "square3x3")


@feature(
    columns=tuple(f"{c}_r{r}_{p}" for c in ("red", "green", "blue") for r in RADII for p in _PATTERNS),
    family="texture",
)
def local_binary_patterns(rgb8: Array) -> Array:
    """Local binary patterns: which of its eight neighbours are at least as bright as a pixel, at three radii.

    (B, H, W, 3) uint8 -> (B, 144) float32, range 0..1; 3 colours x 3 radii x 16, squares of a radius sum to 1

        code(p) = sum_k 2^k [ x(p + r o_k) >= x(p) ],   o_k the 8 offsets of the square ring, r = 1, 2, 3
        column = sqrt( share of pixels whose code is in the class )

    A code with at most two changes between 0 and 1 around the ring is uniform: one run of ones, named by its length,
    and for odd lengths by whether its middle neighbour lies on an axis or at a corner.  These are the uniform
    patterns up to the eight symmetries of the square.  `turns4`, `turns6` and `turns8` are the others by their number
    of changes; the source pools them, but the alternating code of `turns8` is the checkerboard of a decoder.
    Column `green_r2_3_axis` is the class of three ones about an axis at radius 2.

    Source: Ojala, Pietikainen, Maenpaa 2002, "Multiresolution gray-scale and rotation invariant texture classification
    with local binary patterns", IEEE Trans. Pattern Analysis and Machine Intelligence 24(7), section 2.  The circles
    (8,1), (16,2), (24,3) there need interpolated samples, whose ties depend on rounding; here every radius has the
    eight stored samples of the square ring, as in the (3 x 3) pattern of Ojala et al. 1996.
    Raises DataError below 7 x 7 pixels.
    """
    require_sides(rgb8[..., 0], 2 * max(RADII) + 1, "local_binary_patterns")
    xp, where = namespace(rgb8), device(rgb8)
    B, H, W, _ = rgb8.shape
    if fast := twin("lbp_counts", rgb8):
        counts = fast(rgb8, RADII)
    else:
        radii = []
        for r in RADII:
            centre = rgb8[:, r : H - r, r : W - r]
            codes = xp.zeros_like(centre)
            for k, (i, j) in enumerate(_RING):
                neighbour = rgb8[:, r + r * i : H - r + r * i, r + r * j : W - r + r * j]
                codes = codes + xp.astype(neighbour >= centre, xp.uint8) * 2**k
            radii.append(count_bins(xp.reshape(xp.permute_dims(codes, (0, 3, 1, 2)), (B, 3, -1)), 256))
        counts = xp.stack(radii, axis=2)
    members = xp.asarray(_members(), dtype=xp.float64, device=where)
    classes = xp.astype(counts, xp.float64) @ members  # sums of whole numbers: exact in any order
    shares = classes / xp.sum(classes, axis=-1, keepdims=True)
    return xp.astype(xp.reshape(xp.sqrt(shares), (B, -1)), xp.float32)


@functools.cache
def _members() -> np.ndarray:
    """Return the (256, 16) matrix that is 1 where a code belongs to a class of patterns."""
    table = np.zeros((256, len(_PATTERNS)))
    for code in range(256):
        bits = [code >> k & 1 for k in range(8)]
        starts = [k for k in range(8) if bits[k] and not bits[k - 1]]
        ones = sum(bits)
        name = str(ones)
        if len(starts) > 1:
            name = f"turns{2 * len(starts)}"
        elif ones % 2:
            name += "_corner" if (starts[0] + ones // 2) % 2 else "_axis"
        table[code, _PATTERNS.index(name)] = 1
    return table


def _contrast_columns() -> tuple[str, ...]:
    bins = [f"from{edge:g}" for edge in (0, *EDGES)]
    row = [f"{kernel}_{statistic}" for kernel in _KERNELS for statistic in ("level", *bins, "opposite")]
    return tuple(f"{part}_{column}" for part in ("poor", "contrast") for column in ("diversity", *row))


@feature(columns=_contrast_columns(), family="texture")
def texture_contrast(rgb8: Array) -> Array:
    """Texture contrast: the noise residual in the poorest third of patches, and how that in the richest differs.

    (B, H, W, 3) uint8 -> (B, 56) float32; 28 columns of the poor patches, 28 of rich minus poor

        diversity of a patch = sum over neighbours inside it, right, down and on both diagonals, of |x(p) - x(q)|
        level = ln( mean |R| + 0.01 ),   fromE = sqrt( share of |R| in the bin that starts at E grey levels )
        opposite = sqrt( share of neighbouring residuals, right and down, of opposite sign )

    Patches of 32 x 32 pixels start at every 16th row and column.  They are ranked by diversity, ties by position; the
    first third is poor, the last is rich (one patch each below six, so a single patch is both and its contrast 0).
    The source draws 192 patches at random, which makes a score depend on the draw; the full grid needs none.
    R are the residuals of luma of three kernels (`first` and `second` pooled over horizontal and vertical, and
    `square3x3`), at pixels whose 3 x 3 neighbours lie in the grid; a pixel counts in each chosen patch that holds it.
    The bins start at 0, 0.5, 1, 2, 4, 8 and 16 grey levels.  `diversity` is ln( mean + 0.01 ) of the patches'
    diversity divided by the samples of a patch.  A richer patch has larger residuals in every picture; what is said to
    differ in generated ones is the correlation of neighbours, which `opposite` and the differences of `level` between
    kernels carry.  Rows and columns beyond a multiple of 16 are not used.  In an image below 32 pixels the patches are
    twice half its shorter side, rounded down.

    Source: Zhong et al. 2023, "PatchCraft: exploring texture patch for efficient AI-generated image detection", arXiv
    2311.12397, section 3 (diversity, equation 1; the contrast is there one of learned features of 30 SRM residuals,
    from 64 poor and 64 rich patches); this summary is this project's.
    Raises DataError below 4 x 4 pixels.
    """
    require_sides(rgb8[..., 0], 4, "texture_contrast")
    xp, where = namespace(rgb8), device(rgb8)
    B, H, W, _ = rgb8.shape
    cell = min(_SIDE, H, W) // 2
    thousandths = np.array([int(1000 * edge) for edge in EDGES], np.int32)
    if fast := twin("patch_cells", rgb8):
        diversity, sums = fast(rgb8, cell, thousandths)
    else:
        rows, columns = H // cell, W // cell
        image = xp.astype(rgb8[:, : rows * cell, : columns * cell], xp.int32)
        diversity, sums = _diversity(image, cell), _residual_sums(image, cell, thousandths.tolist())
    rows, columns = sums.shape[1:3]
    pixels, pairs = _sizes(rows, columns, cell)
    sizes = xp.asarray(np.stack([pixels, pairs], axis=-1), device=where)
    patches = (rows - 1) * (columns - 1)
    third = max(1, patches // 3)
    position = xp.arange(patches, dtype=xp.int64, device=where)
    rank = xp.reshape(diversity, (B, patches)) * patches + position  # no two are equal
    ordered = xp.sort(rank, axis=1)
    parts = []
    for chosen in (rank <= ordered[:, third - 1 : third], rank >= ordered[:, patches - third : patches - third + 1]):
        chosen = xp.astype(chosen, xp.int64)
        total = xp.sum(chosen * xp.reshape(diversity, (B, patches)), axis=1, keepdims=True)
        mean = xp.astype(total, xp.float64) / (third * 12 * cell * cell)
        weight = _covers(xp.reshape(chosen, (B, rows - 1, columns - 1)))
        total = xp.astype(xp.sum(weight[..., None, None] * sums, axis=(1, 2)), xp.float64)
        size = xp.astype(xp.sum(weight[..., None, None] * sizes, axis=(1, 2)), xp.float64)
        parts.append(xp.concat([xp.log(mean + FLOOR), _describe(total, size)], axis=1))
    return xp.astype(xp.concat([parts[0], parts[1] - parts[0]], axis=1), xp.float32)


def _describe(total: Array, size: Array) -> Array:
    """Return level, shares of bins and share of opposite signs: (B, 3, 8) sums, (B, 3, 2) sizes -> (B, 27)."""
    xp = namespace(total)
    divisors = xp.asarray(np.array([1000.0, 2000.0, 4000.0]), device=device(total))
    pixels, pairs = size[..., 0], size[..., 1]
    level = xp.log(total[..., 0] / (pixels * divisors) + FLOOR)
    reached = xp.concat([pixels[..., None], total[..., 1:7], 0 * pixels[..., None]], axis=-1)
    bins = xp.sqrt((reached[..., :-1] - reached[..., 1:]) / pixels[..., None])
    opposite = xp.sqrt(total[..., 7] / pairs)
    row = xp.concat([level[..., None], bins, opposite[..., None]], axis=-1)
    return xp.reshape(row, (row.shape[0], -1))


def _covers(chosen: Array) -> Array:
    """Count the chosen patches that hold each cell: (B, rows-1, columns-1) -> (B, rows, columns) int64."""
    xp = namespace(chosen)
    for axis in (1, 2):
        edge = xp.zeros_like(chosen[:, :1] if axis == 1 else chosen[:, :, :1])
        chosen = xp.concat([chosen, edge], axis=axis) + xp.concat([edge, chosen], axis=axis)
    return chosen


@functools.lru_cache(maxsize=16)
def _sizes(rows: int, columns: int, cell: int) -> tuple[np.ndarray, np.ndarray]:
    """Return how many residuals, and pairs of neighbouring residuals, each cell holds: (rows, columns, 3) int64."""

    def inside(cells: int) -> tuple[np.ndarray, np.ndarray]:
        places = np.arange(1, cells * cell - 1) // cell
        return np.bincount(places, minlength=cells), np.bincount(places[:-1], minlength=cells)

    (down, down_pairs), (right, right_pairs) = inside(rows), inside(columns)
    pairs = np.outer(down, right_pairs) + np.outer(down_pairs, right)
    directions = np.array([2, 2, 1])
    return np.outer(down, right)[..., None] * directions, pairs[..., None] * directions


def _diversity(image: Array, cell: int) -> Array:
    """Return the (B, rows-1, columns-1) int64 diversities of an image of whole cells, (B, H, W, 3) int32."""
    xp = namespace(image)
    right = xp.abs(image[:, :, 1:] - image[:, :, :-1])
    down = xp.abs(image[:, 1:] - image[:, :-1])
    slant = xp.abs(image[:, 1:, 1:] - image[:, :-1, :-1]) + xp.abs(image[:, 1:, :-1] - image[:, :-1, 1:])
    total = 0
    for distance, height, width in ((right, 0, 1), (down, 1, 0), (slant, 1, 1)):
        total = total + _windows(xp.sum(distance, axis=-1, dtype=xp.int64), cell, 2 * cell - height, 2 * cell - width)
    return total


def _windows(values: Array, step: int, height: int, width: int) -> Array:
    """Sum over windows that start at every `step`-th row and column: (B, H, W) -> (B, rows, columns)."""
    xp = namespace(values)
    for axis, side in ((1, height), (2, width)):
        running = xp.cumulative_sum(values, axis=axis, include_initial=True)
        ends, starts = (running[:, side::step], running) if axis == 1 else (running[..., side::step], running)
        count = ends.shape[axis]
        starts = starts[:, : count * step : step] if axis == 1 else starts[..., : count * step : step]
        values = ends - starts
    return values


def _residual_sums(image: Array, cell: int, edges: list[int]) -> Array:
    """Return the sums of residuals by cell, as the twin patch_cells does: (B, rows, columns, 3, 8) int64."""
    xp = namespace(image)
    y = 299 * image[..., 0] + 587 * image[..., 1] + 114 * image[..., 2]  # thousandths
    centre = y[:, 1:-1, 1:-1]
    across = y[:, :, 2:] + y[:, :, :-2] - 2 * y[:, :, 1:-1]
    kernels = (
        (y[:, 1:-1, 2:] - centre, y[:, 2:, 1:-1] - centre),
        (across[:, 1:-1], y[:, 2:, 1:-1] + y[:, :-2, 1:-1] - 2 * centre),
        (across[:, 2:] + across[:, :-2] - 2 * across[:, 1:-1],),
    )
    grid = y.shape[1] // cell, y.shape[2] // cell
    columns = []
    for divisor, residuals in zip((1, 2, 4), kernels, strict=True):
        for r in residuals:
            magnitude = xp.abs(r)
            reached = [xp.astype(magnitude >= divisor * edge, xp.int32) for edge in edges]
            sign = xp.sign(r)
            opposite = [sign[:, :, 1:] * sign[:, :, :-1] < 0, sign[:, 1:] * sign[:, :-1] < 0]
            parts = [_cells(part, cell, grid) for part in (magnitude, *reached, *opposite)]
            columns.append([*parts[:7], parts[7] + parts[8]])
    sums = [xp.stack(part, axis=-1) for part in columns]
    return xp.stack([sums[0] + sums[1], sums[2] + sums[3], sums[4]], axis=3)


def _cells(values: Array, cell: int, grid: tuple[int, int]) -> Array:
    """Sum an inner part of an image, from row and column 1 on, over the cells of a grid: -> (B, *grid) int64."""
    xp = namespace(values)
    values = xp.astype(values, xp.int64)
    for axis in (1, 2):
        ends = []
        for length in (1, grid[axis - 1] * cell - 1 - values.shape[axis]):
            shape = [length if k == axis else side for k, side in enumerate(values.shape)]
            ends.append(xp.zeros(tuple(shape), dtype=xp.int64, device=device(values)))
        values = xp.concat([ends[0], values, ends[1]], axis=axis)
    return xp.sum(xp.reshape(values, (values.shape[0], grid[0], cell, grid[1], cell)), axis=(2, 4))
