"""Simulated decoders: the up-sampling layers of real image generators, without any learned weight.

The built-in benchmark needs fakes offline.  Each decoder here halves a photograph and doubles it again the way one
kind of generator does in its last layers, so that the trace of that layer is left in an otherwise natural image.
Nothing is learned and nothing is generated: detecting these images shows that the machinery works, no more.

Everything is integer arithmetic with one rounding at the end, so the pixels are equal on every machine.  Shared
notation: `L` is the halved image, rounded half up,

    L[i, j] = (P[2i, 2j] + P[2i, 2j+1] + P[2i+1, 2j] + P[2i+1, 2j+1] + 2) >> 2

`filter(X, K)[y, x] = sum over u, v in 0..2 of K[u, v] * X[y + u - 1, x + v - 1]` is what deep learning calls a
convolution (no flip), with edge pixels repeated; kernels are written in sixteenths, thirty-seconds or
sixty-fourths; the final sum is rounded half up and clipped to 0..255.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fdetect.errors import ParameterError

__all__ = ["DECODERS", "halve", "sim_bilinear", "sim_nearest", "sim_shuffle", "sim_transposed"]

# The last layer of each decoder, in sixteenths: two that smooth and two that sharpen, as trained ones may.
_SMOOTH = ((1, 1, 0), (1, 10, 1), (0, 1, 1))
_SMOOTH_CROSS = ((0, 1, 0), (1, 12, 1), (0, 1, 0))
_SHARPEN = ((0, -2, 0), (-2, 24, -2), (0, -2, 0))
_SHARPEN_LITTLE = ((0, -1, 0), (-1, 20, -1), (0, -1, 0))

# In sixty-fourths.  Stride 2 and width 3: output pixels are reached by 1, 2 or 4 weights (uneven overlap), whose
# sums 66, 64, 64, 62 differ as those of trained kernels do; their mean is 64, so brightness is kept.
_TRANSPOSED = ((16, 32, 15), (32, 66, 32), (15, 32, 16))

# In thirty-seconds, one kernel for each output phase (row, column): bilinear weights, each a little off.
_PHASES = {
    (0, 0): ((2, 6, 0), (6, 19, -1), (0, -1, 1)),
    (0, 1): ((0, 5, 3), (-1, 19, 6), (0, 0, 0)),
    (1, 0): ((0, -1, 0), (6, 17, 1), (3, 6, 0)),
    (1, 1): ((1, 0, 0), (0, 18, 5), (-1, 6, 3)),
}


def halve(pixels: np.ndarray) -> np.ndarray:
    """Area-average 2 x 2 blocks, rounded half up: (H, W, 3) uint8 -> (H/2, W/2, 3) int32 in 0..255.

    Raises ParameterError unless the pixels are (H, W, 3) uint8 with even H and W, not zero.
    """
    shape = pixels.shape
    if pixels.dtype != np.uint8 or len(shape) != 3 or shape[2] != 3 or shape[0] % 2 or shape[1] % 2 or 0 in shape:
        raise ParameterError(f"a simulated decoder takes (H, W, 3) uint8 with even H and W, not {shape} {pixels.dtype}")
    wide = pixels.astype(np.int32)
    return np.asarray((wide[::2, ::2] + wide[::2, 1::2] + wide[1::2, ::2] + wide[1::2, 1::2] + 2) >> 2)


def sim_nearest(pixels: np.ndarray) -> np.ndarray:
    """Nearest-neighbour up-sampling and a smoothing convolution.

    (H, W, 3) uint8 -> (H, W, 3) uint8.  U[y, x] = L[y // 2, x // 2];
    out = filter(U, [[1, 1, 0], [1, 10, 1], [0, 1, 1]]) / 16.
    The layer of ProGAN and of many diffusion decoders (Odena et al. 2016, "resize-convolution").
    """
    return _finish(halve(pixels).repeat(2, axis=0).repeat(2, axis=1), _SMOOTH, bits=4)


def sim_bilinear(pixels: np.ndarray) -> np.ndarray:
    """Bilinear up-sampling (half-pixel centres) and a sharpening convolution.

    (H, W, 3) uint8 -> (H, W, 3) uint8.  Along each axis, without rounding in between,
    U[2i] = L[i-1] + 3 L[i] and U[2i+1] = 3 L[i] + L[i+1] (quarters; sixteenths after both axes);
    out = filter(U, [[0, -2, 0], [-2, 24, -2], [0, -2, 0]]) / (16 * 16).
    The layer of StyleGAN and of resize-convolution networks (Odena et al. 2016).
    """
    low = halve(pixels)
    for axis in (0, 1):
        before, after = _shifted(low, axis, -1), _shifted(low, axis, 1)
        low = _interleave(before + 3 * low, 3 * low + after, axis)
    return _finish(low, _SHARPEN, bits=8)


def sim_transposed(pixels: np.ndarray) -> np.ndarray:
    """Transposed convolution of stride 2 (zero insertion) with uneven overlap, and a smoothing convolution.

    (H, W, 3) uint8 -> (H, W, 3) uint8.  Z[2i, 2j] = L[i, j], 0 elsewhere (L continued by its edge pixels);
    U = filter(Z, [[16, 32, 15], [32, 66, 32], [15, 32, 16]]) (sixty-fourths);
    out = filter(U, [[0, 1, 0], [1, 12, 1], [0, 1, 0]]) / (64 * 16).
    The checkerboard of Odena et al. 2016, "Deconvolution and Checkerboard Artifacts" (doi 10.23915/distill.00003).
    Like the real layer it moves the content by half a pixel towards the origin.
    """
    low = np.pad(halve(pixels), ((1, 1), (1, 1), (0, 0)), mode="edge")
    spread = np.zeros((2 * low.shape[0], 2 * low.shape[1], 3), np.int32)
    spread[::2, ::2] = low
    return _finish(_filter(spread, _TRANSPOSED)[2:-2, 2:-2], _SMOOTH_CROSS, bits=10)


def sim_shuffle(pixels: np.ndarray) -> np.ndarray:
    """Pixel shuffle: four low-resolution convolutions interleaved, and a sharpening convolution.

    (H, W, 3) uint8 -> (H, W, 3) uint8.  U[2i + a, 2j + b] = filter(L, K_ab)[i, j] (thirty-seconds), where K_ab
    is close to the bilinear kernel of phase (a, b) but not equal to it:
    K_00 = [[2, 6, 0], [6, 19, -1], [0, -1, 1]], K_01 = [[0, 5, 3], [-1, 19, 6], [0, 0, 0]],
    K_10 = [[0, -1, 0], [6, 17, 1], [3, 6, 0]], K_11 = [[1, 0, 0], [0, 18, 5], [-1, 6, 3]];
    out = filter(U, [[0, -1, 0], [-1, 20, -1], [0, -1, 0]]) / (32 * 16).
    The layer of Shi et al. 2016, "Real-Time Single Image and Video Super-Resolution" (arXiv 1609.05158), eq. 4.
    """
    low = halve(pixels)
    high = np.empty(pixels.shape, np.int32)
    for (row, column), kernel in _PHASES.items():
        high[row::2, column::2] = _filter(low, kernel)
    return _finish(high, _SHARPEN_LITTLE, bits=9)


DECODERS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "sim-nearest": sim_nearest,
    "sim-bilinear": sim_bilinear,
    "sim-transposed": sim_transposed,
    "sim-shuffle": sim_shuffle,
}


def _finish(values: np.ndarray, kernel: tuple[tuple[int, ...], ...], *, bits: int) -> np.ndarray:
    """Filter, divide by 2**bits rounding half up, clip to 0..255 uint8: the only rounding of a decoder."""
    total = _filter(values, kernel) + (1 << (bits - 1))
    return np.asarray(np.clip(total >> bits, 0, 255), dtype=np.uint8)  # >> rounds down for negative sums too


def _filter(values: np.ndarray, kernel: tuple[tuple[int, ...], ...]) -> np.ndarray:
    height, width = values.shape[:2]
    padded = np.pad(values, ((1, 1), (1, 1), (0, 0)), mode="edge")
    total = np.zeros(values.shape, np.int32)  # the largest sum of any decoder is below 2**19
    for u, row in enumerate(kernel):
        for v, weight in enumerate(row):
            if weight:
                total += weight * padded[u : u + height, v : v + width]
    return total


def _shifted(values: np.ndarray, axis: int, step: int) -> np.ndarray:
    """Return the neighbour at distance `step` (-1 or 1) along an axis, edge pixels repeated."""
    index = np.clip(np.arange(values.shape[axis]) + step, 0, values.shape[axis] - 1)
    return np.asarray(values.take(index, axis=axis))


def _interleave(even: np.ndarray, odd: np.ndarray, axis: int) -> np.ndarray:
    shape = list(even.shape)
    shape[axis] *= 2
    return np.asarray(np.stack((even, odd), axis=axis + 1).reshape(shape))
