"""Differences between nearest neighbours: the residuals that up-sampling layers shape most directly."""

from __future__ import annotations

from fdetect.backend import namespace
from fdetect.forensics.base import require_sides, signal_map
from fdetect.types import Array

__all__ = ["cross_difference", "npr"]


@signal_map
def npr(planes: Array, *, factor: int = 2) -> Array:
    """Neighbouring pixel relationships: what is left of an image when its nearest-neighbour reduction is taken away.

    (B, 3, H, W) float32 -> (B, 3, H', W') float32, range -255..255; H' and W' are H and W cut to a multiple of factor

        NPR[y, x] = I[y, x] - I[f floor(y/f), f floor(x/f)],   f = factor

    The reduction keeps the top-left pixel of each f x f cell, so NPR[f i, f j] = 0 always.

    Source: Tan, Zhao, Wei, Gu, Liu, Wei 2024, "Rethinking the up-sampling operations in CNN-based generative network
    for generalizable deepfake detection", CVPR, arXiv 2312.10461, section 3 (with a factor of 2).
    Raises DataError where a side is shorter than `factor`.
    """
    require_sides(planes, factor, "npr")
    xp = namespace(planes)
    B, C, H, W = planes.shape
    rows, columns = H // factor, W // factor
    trimmed = planes[:, :, : rows * factor, : columns * factor]
    cells = xp.reshape(trimmed, (B, C, rows, factor, columns, factor))
    return xp.reshape(cells - cells[:, :, :, :1, :, :1], (B, C, rows * factor, columns * factor))


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
