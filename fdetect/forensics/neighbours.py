"""Differences between nearest neighbours, which up-sampling layers shape most directly, and the lowest bits."""

from __future__ import annotations

import functools

from array_api_compat import device

from fdetect.backend import namespace
from fdetect.errors import ParameterError
from fdetect.forensics.base import require_sides, signal_map
from fdetect.forensics.kernels import twin
from fdetect.types import Array

__all__ = ["bit_planes", "cross_difference", "npr", "npr_groups", "patch_energy"]


@signal_map
def npr(planes: Array, *, factor: int = 2) -> Array:
    """Neighbouring pixel relationships: what is left of an image when its nearest-neighbour reduction is taken away.

    (B, 3, H, W) float32 -> (B, 3, H', W') float32, range -255..255; H' and W' are H and W cut to a multiple of factor

        NPR[y, x] = I[y, x] - I[f floor(y/f), f floor(x/f)],   f = factor

    The reduction keeps the top-left pixel of each f x f cell, so NPR[f i, f j] = 0 always.  `factor` is 2 in the
    source; `npr_x4` and `npr_x8` look for decoders that enlarge by 4 or 8 at once.

    Source: Tan, Zhao, Wei, Gu, Liu, Wei 2024, "Rethinking the up-sampling operations in CNN-based generative network
    for generalizable deepfake detection", CVPR, arXiv 2312.10461, section 3 (with a factor of 2).
    Raises DataError where a side is shorter than `factor`.
    """
    require_sides(planes, factor, "npr")
    if fast := twin("npr", planes):
        return fast(planes, factor)
    xp = namespace(planes)
    B, C, H, W = planes.shape
    rows, columns = H // factor, W // factor
    trimmed = planes[:, :, : rows * factor, : columns * factor]
    cells = xp.reshape(trimmed, (B, C, rows, factor, columns, factor))
    return xp.reshape(cells - cells[:, :, :, :1, :, :1], (B, C, rows * factor, columns * factor))


signal_map.variant(npr, "npr_x4", factor=4)
signal_map.variant(npr, "npr_x8", factor=8)


@signal_map
def cross_difference(planes: Array) -> Array:
    """Cross-difference: the magnitude of the smallest mixed derivative, blind to any horizontal or vertical edge.

    (B, 3, H, W) float32 -> (B, 3, H-1, W-1) float32, range 0..510

        D[y, x] = | I[y, x] + I[y+1, x+1] - I[y, x+1] - I[y+1, x] |

    Source: Bammey 2024, "Synthbuster: towards detection of diffusion model generated images", IEEE Open Journal of
    Signal Processing 5, doi 10.1109/OJSP.2023.3337714, section III.
    """
    xp = namespace(planes)
    columns = planes[..., :, 1:] - planes[..., :, :-1]
    return xp.abs(columns[..., 1:, :] - columns[..., :-1, :])


@signal_map
def bit_planes(rgb8: Array, *, bits: int = 3) -> Array:
    """Lowest bit planes: what is left of each sample when all but its lowest bits are cleared.

    (B, H, W, 3) uint8 -> (B, 3, H, W) float32, range 0..2^bits - 1

        L[c, y, x] = rgb8[y, x, c] mod 2^bits

    `bits` is how many planes are kept, 1 to 8; the source keeps 3 and multiplies by 36 for its network.

    Source: Wang, Cheng, Zhang, Han, Gui 2025, "LOTA: bit-planes guided AI-generated image detection", ICCV,
    arXiv 2510.14230 (its code: image & 7).
    Raises ParameterError for another number of bits.
    """
    if not 1 <= bits <= 8:
        raise ParameterError(f"bit_planes: bits is 1 to 8, got {bits}")
    xp = namespace(rgb8)
    low = rgb8 & (2**bits - 1)
    B, H, W, _ = rgb8.shape
    result = xp.empty((B, 3, H, W), dtype=xp.float32, device=device(rgb8))
    for c in range(3):
        result[:, c] = low[..., c]
    return result


@signal_map
def patch_energy(rgb8: Array, *, side: int = 9, stride: int = 8) -> Array:
    """Patch energy: the squared NPR residual (factor 2) summed over small patches and the three colours.

    (B, H, W, 3) uint8 -> (B, h, w) float32, whole numbers, squared grey levels;  h = (H' - side) // stride + 1

        E[i, j] = sum_{c, y < side, x < side} NPR[c, stride i + y, stride j + x]^2

    H' and W' are H and W cut to even numbers.  `side` 9 and `stride` 8 are the receptive field and the step of the
    source's network; the even step gives every patch the same places of the 2 x 2 cells.  The residual is the
    source's, I - up2(down2(I)) without a factor of 2/3.  Sums stay below 2^24, where float32 is exact, up to side 9.

    Source: Cavia, Horwitz, Reiss, Hoshen 2024, "Real-time deepfake detection in the real-world" (LaDeDa),
    arXiv 2406.07398, section 4; the energy stands in for the logit that the source's network gives each patch.
    Raises DataError below side + side mod 2 pixels.
    """
    require_sides(rgb8[..., 0], side + side % 2, "patch_energy")
    if fast := twin("patch_energy", rgb8):
        return fast(rgb8, side, stride)
    xp = namespace(rgb8)
    B, H, W, _ = rgb8.shape
    cells = xp.reshape(xp.astype(rgb8[:, : H // 2 * 2, : W // 2 * 2], xp.int32), (B, H // 2, 2, W // 2, 2, 3))
    squares = xp.sum((cells - cells[:, :, :1, :, :1]) ** 2, axis=-1, dtype=xp.int32)
    squares = xp.reshape(squares, (B, H // 2 * 2, W // 2 * 2))
    h, w = ((length - side) // stride + 1 for length in squares.shape[1:])
    columns = sum(squares[:, :, x : x + (w - 1) * stride + 1 : stride] for x in range(side))
    return xp.astype(sum(columns[:, y : y + (h - 1) * stride + 1 : stride] for y in range(side)), xp.float32)


@functools.cache
def npr_groups(factor: int) -> tuple[tuple[tuple[int, int], ...], ...]:
    """Return the groups of places (row, column) of an f x f cell that statistics pool: 3 for each octave of distance.

    Octave k holds the places with 2^k <= max(row, column) < 2^(k+1): those in the corner's row, those in its column,
    those in neither.  With a factor of 2 each group is one place: (0, 1), (1, 0), (1, 1).
    """
    groups: list[tuple[tuple[int, int], ...]] = []
    for octave in range((factor - 1).bit_length()):
        ring = range(2**octave, min(2 ** (octave + 1), factor))
        inner = [(i, j) for i in range(1, factor) for j in range(1, factor) if max(i, j) in ring]
        groups += [tuple((0, j) for j in ring), tuple((i, 0) for i in ring), tuple(inner)]
    return tuple(groups)
