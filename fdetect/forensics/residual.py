"""Noise residuals: linear predictors of a pixel from its neighbours, minus the pixel (the linear part of the SRM bank).

Luma of 8-bit samples is a whole number of thousandths.  Residuals are therefore summed as integers and divided once.
So values, and later the side of a rounding tie that they fall on, are the same on every backend and whatever the
order of the sum.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fdetect.backend import namespace
from fdetect.errors import ParameterError
from fdetect.forensics.base import require_sides, signal_map
from fdetect.registry import nearest
from fdetect.types import Array

__all__ = ["BASIC", "KERNELS", "LUMA_UNITS", "SRM", "Kernel", "correlate", "residual", "srm"]

LUMA_UNITS = 1000  # luma is a whole number of 1/1000 grey levels


@dataclass(frozen=True, eq=False)
class Kernel:
    """One class of residuals: integer masks of one size that sum to zero, and the common divisor."""

    masks: tuple[np.ndarray, ...]  # each (K, K) int64
    divisor: int  # minus the centre coefficient: the residual is "prediction - pixel"

    @property
    def side(self) -> int:
        """K, the side of the masks in px."""
        return len(self.masks[0])


def _turned(mask: np.ndarray, *quarter_turns: int) -> tuple[np.ndarray, ...]:
    return tuple(np.rot90(mask, turns) for turns in quarter_turns)


def _line(*coefficients: int) -> np.ndarray:
    """Return a square mask with the coefficients in its middle row."""
    mask = np.zeros((len(coefficients), len(coefficients)), np.int64)
    mask[len(coefficients) // 2] = coefficients
    return mask


_FIRST, _SECOND, _THIRD = (0, -1, 1), (1, -2, 1), (0, 1, -3, 3, -1)
_SQUARE3 = np.array([[-1, 2, -1], [2, -4, 2], [-1, 2, -1]])
_EDGE3 = np.array([[-1, 2, -1], [2, -4, 2], [0, 0, 0]])
_SQUARE5 = np.array([[-1, 2, -2, 2, -1], [2, -6, 8, -6, 2], [-2, 8, -12, 8, -2], [2, -6, 8, -6, 2], [-1, 2, -2, 2, -1]])
_EDGE5 = np.concatenate([_SQUARE5[:3], np.zeros((2, 5), np.int64)])


def _four(*coefficients: int) -> tuple[np.ndarray, ...]:
    """Right, up and the two upper diagonals; the four opposite directions are the same residuals, negated."""
    lines = _turned(_line(*coefficients), 0, 1), _turned(np.diag(coefficients), 1, 2)
    return tuple(mask for turned in lines for mask in turned)


KERNELS = {
    "first": Kernel(_turned(_line(*_FIRST), 0, 1), 1),
    "second": Kernel(_turned(_line(*_SECOND), 0, 1), 2),
    "third": Kernel(_turned(_line(*_THIRD), 0, 1), 3),
    "edge3x3": Kernel(_turned(_EDGE3, 0, 1, 2, 3), 4),
    "square3x3": Kernel((_SQUARE3,), 4),
    "square5x5": Kernel((_SQUARE5,), 12),
    "first_all": Kernel(_four(*_FIRST), 1),
    "second_all": Kernel(_four(*_SECOND), 2),
    "third_all": Kernel(_four(*_THIRD), 3),
    "edge5x5": Kernel(_turned(_EDGE5, 0, 1, 2, 3), 12),
}
BASIC = ("first", "second", "third", "edge3x3", "square3x3", "square5x5")
SRM = ("first_all", "second_all", "third_all", "edge3x3", "edge5x5", "square3x3", "square5x5")


@signal_map(name="residual_first")
def residual(luma: Array, *, kernel: str = "first") -> Array:
    """Noise residual: how much a pixel differs from what a small linear predictor makes of its neighbours.

    (B, H, W) float32 -> (B, D, H-K+1, W-K+1) float32, in grey levels; D directions, K x K masks, no padding

        R_d[y, x] = (1 / divisor) sum_{i,j} mask_d[i, j] Y[y + i, x + j]

    `kernel` is first (right, up), second and third (horizontal, vertical), first_all, second_all and third_all (the
    two diagonals too), edge3x3 and edge5x5 (four turns), square3x3 or square5x5.  All masks sum to zero.

    Source: Fridrich and Kodovsky 2012, "Rich models for steganalysis of digital images", IEEE Trans. Information
    Forensics and Security 7(3), equation 1 and Figure 2.
    Raises ParameterError for another kernel, DataError where the image is smaller than the mask.
    """
    if kernel not in KERNELS:
        raise ParameterError(f"no residual kernel '{kernel}'{nearest(kernel, KERNELS)} ({', '.join(KERNELS)})")
    require_sides(luma, KERNELS[kernel].side, "residual")
    return correlate(luma, KERNELS[kernel], units=LUMA_UNITS)


for _name in KERNELS:
    if _name != "first":
        signal_map.variant(residual, f"residual_{_name}", kernel=_name)


def _bank() -> tuple[tuple[np.ndarray, int], ...]:
    """Return the 30 masks with their divisors; an opposite direction is a half turn."""
    found = []
    for name in SRM:
        kernel = KERNELS[name]
        turns = (0, 2) if name in ("first_all", "third_all") else (0,)
        found += [(np.rot90(mask, turn), kernel.divisor) for mask in kernel.masks for turn in turns]
    return tuple(found)


@signal_map
def srm(luma: Array) -> Array:
    """SRM residuals: the 30 linear high-pass filters that networks for forensics have as their first layer.

    (B, H, W) float32 -> (B, 30, H-4, W-4) float32, in grey levels; no padding

        R_k[y, x] = (1 / divisor_k) sum_{i,j=0..4} mask_k[i, j] Y[y + i, x + j],   3 x 3 masks centred in 5 x 5

    In order: 8 of first order (each direction followed by its opposite), 4 of second, 8 of third, 4 edges of 3 x 3, 4
    edges of 5 x 5, square 3 x 3, square 5 x 5.  Divisors are 1, 2, 3, 4, 12, 4, 12.

    Source: Fridrich and Kodovsky 2012, IEEE Trans. Information Forensics and Security 7(3), Figure 2; as a bank of 30
    in Zhong et al. 2023, "PatchCraft", arXiv 2311.12397.
    Raises DataError below 5 x 5 pixels.
    """
    require_sides(luma, 5, "srm")
    xp = namespace(luma)
    H, W = luma.shape[-2:]
    maps = []
    for mask, divisor in _bank():
        margin = (5 - len(mask)) // 2
        inner = luma[:, margin : H - margin, margin : W - margin]
        maps.append(correlate(inner, Kernel((mask,), divisor), units=LUMA_UNITS)[:, 0])
    return xp.stack(maps, axis=1)


def correlate(image: Array, kernel: Kernel, *, units: int) -> Array:
    """Return the residuals of every mask: (B, H, W) float32 -> (B, D, H-K+1, W-K+1) float32, in grey levels.

    Samples must be whole numbers of 1/`units` grey levels.
    """
    xp = namespace(image)
    whole = xp.astype(xp.round(image * units), xp.int32)
    sums = xp.stack([_correlate(whole, mask) for mask in kernel.masks], axis=1)
    return xp.astype(xp.astype(sums, xp.float64) / (units * kernel.divisor), xp.float32)


def _correlate(image: Array, mask: np.ndarray) -> Array:
    """Valid correlation by shifted sums; pixels of equal coefficient are summed first, then multiplied once."""
    H, W = (side - len(mask) + 1 for side in image.shape[-2:])
    terms = []
    for coefficient in np.unique(mask[mask != 0]).tolist():
        places = np.argwhere(mask == coefficient).tolist()
        terms.append(_sum([image[..., i : i + H, j : j + W] for i, j in places]) * int(coefficient))
    return _sum(terms)


def _sum(parts: list[Array]) -> Array:
    """Add in place to a copy of the first part: fresh arrays cost more than the additions."""
    total = parts[0] + 0
    for part in parts[1:]:
        total += part
    return total
