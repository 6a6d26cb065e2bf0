"""A way to one size that stands in one protocol alone, and so is no geometry of the whole house."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from fdetect.images import Geometry

__all__ = ["RepeatedCrop", "repeated"]


def repeated(pixels: np.ndarray, size: int) -> np.ndarray:
    """Lay (H, W, 3) pixels beside themselves, ceil(size / side) times along each axis, where a side is below `size`.

    Source: the README of github.com/chuangchuangtan/NPR-DeepfakeDetection on GenImage, in words.
    """
    height, width = pixels.shape[:2]
    if min(height, width) >= size:
        return pixels
    return np.tile(pixels, (math.ceil(size / height), math.ceil(size / width), 1))


@dataclass(frozen=True)
class RepeatedCrop(Geometry):
    """Centre crop of size x size of what `repeated` makes of an image."""

    name: str = "repeated_crop"
    size: int = 224

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """(H, W, 3) uint8 -> (size, size, 3) uint8."""
        return Geometry("centre_crop", self.size)(repeated(pixels, self.size))
