"""Plain references of wear.py and sharing.py, and of the area under a robustness curve: slow, float64, no fdetect."""

from __future__ import annotations

import math

import numpy as np


def median(pixels: np.ndarray, size: int) -> np.ndarray:
    """Middle value of every size x size window of every channel; beyond the border the border's pixel is repeated."""
    height, width, _ = pixels.shape
    shown, reach = np.empty_like(pixels), size // 2
    for y in range(height):
        for x in range(width):
            for c in range(3):
                window = [
                    int(pixels[min(max(y + i, 0), height - 1), min(max(x + j, 0), width - 1), c])
                    for i in range(-reach, reach + 1)
                    for j in range(-reach, reach + 1)
                ]
                shown[y, x, c] = sorted(window)[len(window) // 2]
    return shown


def gamma(pixels: np.ndarray, percent: float) -> np.ndarray:
    shown = np.empty_like(pixels)
    for place in np.ndindex(pixels.shape):
        shown[place] = round(255 * (int(pixels[place]) / 255) ** (percent / 100))
    return shown


def unsharp(pixels: np.ndarray, blurred: np.ndarray, percent: float) -> np.ndarray:
    """x + percent / 100 (x - blurred), float64, not rounded, within 0..255."""
    x = pixels.astype(np.float64)
    return np.clip(x + percent / 100 * (x - blurred), 0, 255)


def turned_place(y: float, x: float, height: int, width: int, degrees: float) -> tuple[float, float]:
    """Where the middle of output pixel (y, x) comes from: the picture is turned about its middle and zoomed to fill."""
    a = math.radians(degrees)
    c, s = math.cos(a), abs(math.sin(a))
    zoom = max((width * c + height * s) / width, (width * s + height * c) / height)
    down, right = (y + 0.5 - height / 2) / zoom, (x + 0.5 - width / 2) / zoom
    row = height / 2 - math.sin(a) * right + math.cos(a) * down
    column = width / 2 + math.cos(a) * right + math.sin(a) * down
    return row - 0.5, column - 0.5


def luma_block_shift(luma: np.ndarray) -> tuple[int, int]:
    """(H, W) float64 -> the shift of an 8 x 8 grid across whose edges neighbours differ most."""
    best, found = -math.inf, (0, 0)
    down, right = np.abs(np.diff(luma, axis=0)), np.abs(np.diff(luma, axis=1))
    for dy in range(8):
        for dx in range(8):
            rows = [r for r in range(down.shape[0]) if (r + 1 + dy) % 8 == 0]
            columns = [k for k in range(right.shape[1]) if (k + 1 + dx) % 8 == 0]
            contrast = down[rows].mean() + right[:, columns].mean()
            if contrast > best:
                best, found = contrast, (dy, dx)
    return found


def area_under(amounts: list[float], values: list[float]) -> float:
    """Trapezoids one by one, over the range."""
    total = 0.0
    for k in range(len(amounts) - 1):
        total += abs(amounts[k + 1] - amounts[k]) * (values[k] + values[k + 1]) / 2
    return total / abs(amounts[-1] - amounts[0])
