"""Noise residuals: linear predictors of a pixel from its neighbours, minus the pixel (a part of the SRM bank).

Luma of 8-bit samples is a whole number of thousandths.  Residuals are therefore summed in thousandths, where float32
is exact (every partial sum stays below 2^24), and divided once.  So values, and later the side of a rounding tie
that they fall on, are the same on every backend and whatever the order of the sum.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fdetect.backend import namespace
from fdetect.errors import ParameterError
from fdetect.forensics.base import require_sides, signal_map
from fdetect.registry import nearest
from fdetect.types import Array

__all__ = ["KERNELS", "Kernel", "residual"]


@dataclass(frozen=True)
class Kernel:
    """One class of residuals: integer masks of one size that sum to zero, and the common divisor."""

    masks: tuple[np.ndarray, ...]  # each (K, K) int64
    divisor: int  # minus the centre coefficient: the residual is "prediction - pixel"


def _turned(mask: np.ndarray, *quarter_turns: int) -> tuple[np.ndarray, ...]:
    return tuple(np.rot90(mask, turns) for turns in quarter_turns)


def _line(*coefficients: int) -> np.ndarray:
    """Return a square mask with the coefficients in its middle row."""
    mask = np.zeros((len(coefficients), len(coefficients)), np.int64)
    mask[len(coefficients) // 2] = coefficients
    return mask


_SQUARE3 = np.array([[-1, 2, -1], [2, -4, 2], [-1, 2, -1]])
_EDGE3 = np.array([[-1, 2, -1], [2, -4, 2], [0, 0, 0]])
_SQUARE5 = np.array([[-1, 2, -2, 2, -1], [2, -6, 8, -6, 2], [-2, 8, -12, 8, -2], [2, -6, 8, -6, 2], [-1, 2, -2, 2, -1]])

KERNELS = {
    "first": Kernel(_turned(_line(0, -1, 1), 0, 1), 1),
    "second": Kernel(_turned(_line(1, -2, 1), 0, 1), 2),
    "third": Kernel(_turned(_line(0, 1, -3, 3, -1), 0, 1), 3),
    "edge3x3": Kernel(_turned(_EDGE3, 0, 1, 2, 3), 4),
    "square3x3": Kernel((_SQUARE3,), 4),
    "square5x5": Kernel((_SQUARE5,), 12),
}


@signal_map(name="residual_first")
def residual(luma: Array, *, kernel: str = "first") -> Array:
    """Noise residual: how much a pixel differs from what a small linear predictor makes of its neighbours.

    (B, H, W) float32 -> (B, D, H-K+1, W-K+1) float32, in grey levels; D directions, K x K masks, no padding

        R_d[y, x] = (1 / divisor) sum_{i,j} mask_d[i, j] Y[y + i, x + j]

    `kernel` is first (right, up), second and third (horizontal, vertical), edge3x3 (four turns), square3x3 or
    square5x5.  All masks sum to zero.

    Source: Fridrich and Kodovsky 2012, "Rich models for steganalysis of digital images", IEEE Trans. Information
    Forensics and Security 7(3), equation 1 and Figure 2.
    Raises ParameterError for another kernel, DataError where the image is smaller than the mask.
    """
    if kernel not in KERNELS:
        raise ParameterError(f"no residual kernel '{kernel}'{nearest(kernel, KERNELS)} ({', '.join(KERNELS)})")
    masks, divisor = KERNELS[kernel].masks, KERNELS[kernel].divisor
    require_sides(luma, len(masks[0]), "residual")
    xp = namespace(luma)
    thousandths = xp.round(luma * 1000)
    return xp.stack([_correlate(thousandths, mask) for mask in masks], axis=1) / (1000.0 * divisor)


for _name in KERNELS:
    if _name != "first":
        signal_map.variant(residual, f"residual_{_name}", kernel=_name)


def _correlate(image: Array, mask: np.ndarray) -> Array:
    """Valid correlation by shifted sums; pixels of equal coefficient are summed first, then multiplied once."""
    H, W = (side - len(mask) + 1 for side in image.shape[-2:])
    terms = []
    for coefficient in np.unique(mask[mask != 0]).tolist():
        places = np.argwhere(mask == coefficient).tolist()
        terms.append(_sum([image[..., i : i + H, j : j + W] for i, j in places]) * float(coefficient))
    return _sum(terms)


def _sum(parts: list[Array]) -> Array:
    """Add in place to a copy of the first part: fresh arrays cost more than the additions."""
    total = parts[0] + 0.0
    for part in parts[1:]:
        total += part
    return total
