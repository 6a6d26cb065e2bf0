"""The sums that noise features are made of, on any namespace or compiled: no maps, nothing is kept of single pixels.

Sums over 8-bit samples are of whole numbers (luma in thousandths), so they are the same on every backend.
"""

from __future__ import annotations

from typing import NamedTuple

from fdetect.backend import count_bins, namespace
from fdetect.forensics.kernels import twin
from fdetect.types import Array

__all__ = ["BOUNDS", "LAGS", "PAIRS", "NoiseCounts", "ResidualSums", "mask_products", "noise_counts", "residual_sums"]

BOUNDS = (85000, 170000)  # dark, middle and bright: thirds of the range, in thousandths of luma
PAIRS = ((0, 1), (0, 2), (1, 2))  # red-green, red-blue, green-blue
LAGS = {"0": (0, 0), "x1": (0, 1), "x-1": (0, -1), "y1": (1, 0), "y-1": (-1, 0)}  # (down, right)


class ResidualSums(NamedTuple):
    """What is summed over a residual r and its luma Y, all float64: e = r^2."""

    moments: Array  # (B, 3): mean of (r - mean r)^2, ^3, ^4
    zeros: Array  # (B,): share of r = 0
    tile: Array  # (B, 8, 8): mean e by row and column modulo 8, of the picture cut to multiples of 8
    class_sums: Array  # (B, 3): sum of e over dark, middle and bright pixels
    class_sizes: Array  # (B, 3): pixels in each
    spreads: Array  # (B, 3): variance of e, variance of Y, covariance


class NoiseCounts(NamedTuple):
    """What is counted in 8-bit pixels, all whole: M = |I * N| of red, green, blue and luma (in thousandths)."""

    sums: Array  # (B, 4): sum of M
    class_sums: Array  # (B, 3): sum of luma's M over dark, middle and bright centres
    class_sizes: Array  # (B, 3): pixels in each
    histograms: Array  # (B, 3, 511): |a - b - c + d| of every 2 x 2 pixels, by colour


def residual_sums(residual: Array, luma: Array) -> ResidualSums:
    """Sum over (B, H, W) float32 residuals and luma."""
    if fast := twin("residual_sums", residual):
        return ResidualSums(*fast(residual, luma, BOUNDS))
    xp = namespace(residual)
    B, H, W = residual.shape
    pixels = xp.reshape(xp.astype(residual, xp.float64), (B, -1))
    centred = pixels - xp.mean(pixels, axis=-1, keepdims=True)
    squared = centred * centred
    moments = [xp.mean(part, axis=-1) for part in (squared, squared * centred, squared * squared)]
    energy = pixels * pixels
    rows, columns = H // 8, W // 8
    whole = xp.reshape(energy, (B, H, W))[:, : rows * 8, : columns * 8]
    folded = xp.sum(xp.reshape(whole, (B, rows, 8, columns * 8)), axis=1)
    tile = xp.sum(xp.reshape(folded, (B, 8, columns, 8)), axis=2) / (rows * columns)
    thousandths = xp.reshape(xp.astype(xp.round(luma * 1000), xp.float64), (B, -1))
    excess, bright = (part - xp.mean(part, axis=-1, keepdims=True) for part in (energy, thousandths / 1000))
    spreads = [xp.mean(a * b, axis=-1) for a, b in ((excess, excess), (bright, bright), (excess, bright))]
    zeros = xp.mean(xp.astype(pixels == 0, xp.float64), axis=-1)
    by_class = _by_class(energy, thousandths)
    return ResidualSums(xp.stack(moments, axis=-1), zeros, tile, *by_class, xp.stack(spreads, axis=-1))


def noise_counts(rgb8: Array) -> NoiseCounts:
    """Count in (B, H, W, 3) uint8; N = (1, -2, 1)^T (1, -2, 1), valid pixels only."""
    if fast := twin("noise_counts", rgb8):
        return NoiseCounts(*fast(rgb8, BOUNDS))
    xp = namespace(rgb8)
    B = rgb8.shape[0]
    colours = [xp.astype(rgb8[..., c], xp.int16) for c in range(3)]
    masked = [_mixed_second_difference(colour) for colour in colours]
    masked.append(_thousandths(masked))
    sums = xp.stack([xp.sum(xp.abs(m), axis=(-2, -1), dtype=xp.int64) for m in masked], axis=-1)
    centres = _thousandths([colour[:, 1:-1, 1:-1] for colour in colours])
    magnitude = xp.reshape(xp.astype(xp.abs(masked[3]), xp.float64), (B, -1))
    by_class = _by_class(magnitude, xp.reshape(centres, (B, -1)))
    diagonals = xp.stack([xp.reshape(_diagonal(colour), (B, -1)) for colour in colours], axis=1)
    return NoiseCounts(sums, *by_class, count_bins(diagonals, 511))


def mask_products(rgb8: Array) -> tuple[Array, Array]:
    """Return sums of a^2 (B, 3) and of a[p] b[p + d] (B, 3, 5) for PAIRS and LAGS, a and b two colours of I * N."""
    if fast := twin("mask_products", rgb8):
        energies, products = fast(rgb8)
        return energies, products
    xp = namespace(rgb8)
    masked = [_mixed_second_difference(xp.astype(rgb8[..., c], xp.int16)) for c in range(3)]
    masked = [xp.astype(m, xp.float64) for m in masked]
    energies = xp.stack([xp.sum(m * m, axis=(-2, -1)) for m in masked], axis=-1)
    products = [
        xp.stack([xp.sum(_lagged(masked[a], masked[b], *lag), axis=(-2, -1)) for lag in LAGS.values()], axis=-1)
        for a, b in PAIRS
    ]
    return energies, xp.stack(products, axis=1)


def _by_class(values: Array, thousandths: Array) -> tuple[Array, Array]:
    """Return the sums of (B, N) float64 values over dark, middle and bright pixels, and the pixels of each class."""
    xp = namespace(values)
    dark, bright = thousandths < BOUNDS[0], thousandths >= BOUNDS[1]
    low, high = (xp.sum(values * part, axis=-1) for part in (dark, bright))
    few, many = (xp.sum(xp.astype(part, xp.float64), axis=-1) for part in (dark, bright))
    middle = xp.sum(values * (thousandths >= BOUNDS[0]) * (thousandths < BOUNDS[1]), axis=-1)
    return xp.stack([low, middle, high], axis=-1), xp.stack([few, values.shape[1] - few - many, many], axis=-1)


def _thousandths(colours: list[Array]) -> Array:
    xp = namespace(colours[0])
    red, green, blue = (xp.astype(colour, xp.int32) for colour in colours)
    return 299 * red + 587 * green + 114 * blue


def _mixed_second_difference(image: Array) -> Array:
    """Return I * N, valid pixels only: (B, H, W) -> (B, H-2, W-2)."""
    across = image[:, :, 2:] - 2 * image[:, :, 1:-1] + image[:, :, :-2]
    return across[:, 2:] - 2 * across[:, 1:-1] + across[:, :-2]


def _diagonal(image: Array) -> Array:
    across = image[:, :, 1:] - image[:, :, :-1]
    return namespace(image).abs(across[:, 1:] - across[:, :-1])


def _lagged(a: Array, b: Array, down: int, right: int) -> Array:
    """Return a[p] b[p + d] where both are inside."""
    H, W = a.shape[-2:]
    upper = a[:, max(-down, 0) : H - max(down, 0), max(-right, 0) : W - max(right, 0)]
    return upper * b[:, max(down, 0) : H - max(-down, 0), max(right, 0) : W - max(-right, 0)]
