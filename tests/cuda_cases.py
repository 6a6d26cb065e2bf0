"""What the twins of hot kernels are tried with, and how closely two engines must agree."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from tolerance import TOL

from fdetect.backend import asnumpy
from fdetect.features.cooccurrence import DIFFERENCES, STEPS
from fdetect.features.neighbours import LAGS
from fdetect.forensics import _cpu
from fdetect.forensics.denoise import gaussian_weights
from fdetect.forensics.noise import BOUNDS
from fdetect.forensics.planes import luma, planes
from fdetect.forensics.residual import KERNELS, LUMA_UNITS, SRM
from fdetect.forensics.wavelets import WAVELETS

__all__ = ["CASES", "assert_equal"]

Calls = list[tuple[Any, ...]]


def _grey(rgb8: np.ndarray) -> np.ndarray:
    return luma(planes(rgb8))


def _plane_pairs(rgb8: np.ndarray) -> Calls:
    first, second = (np.ascontiguousarray(rgb8[0, ..., c]) for c in (0, 1))
    steps = [(0, 0), (0, 1), (1, 1)]
    calls = [(first, second, *step) for step in steps if max(step) < min(first.shape)]
    return [*calls, (rgb8[-1, ..., 2], rgb8[-1, ..., 0], 0, 0)]


def _filters(rgb8: np.ndarray) -> Calls:
    image = np.float64(_grey(rgb8))
    weights = [np.array(gaussian_weights(sigma), np.float64) for sigma in (0.5, 2.0)]
    return [(np.round(image * 1000), taps) for taps in (np.ones(3), *weights)] + [(image, np.array([0.3, 0.9, 0.3]))]


def _rings(rgb8: np.ndarray) -> Calls:
    H, V = rgb8.shape[1], rgb8.shape[2] // 2 + 1
    y, x = np.minimum(np.arange(H), H - np.arange(H))[:, None], np.arange(V)
    ring = np.minimum(np.hypot(y, x) * 0.7, 30).astype(np.uint16)
    return [(_grey(rgb8)[:, :, :V] - 50, ring, np.where(x > 0, 2.0, 1.0), 31)]


def _bands(rgb8: np.ndarray) -> Calls:
    wavelet, image = WAVELETS["bior1.3"], planes(rgb8)
    return [(image, y, x) for y in (wavelet.low, wavelet.high) for x in (wavelet.low, wavelet.high)]


def _levels(rgb8: np.ndarray) -> tuple[int, int]:
    """Bounds that some pixels have: on which side they fall then shows."""
    thousandths = np.sort((rgb8 @ np.array([299, 587, 114])).ravel())
    return int(thousandths[len(thousandths) // 3]), int(thousandths[len(thousandths) * 2 // 3])


def _with_median(rgb8: np.ndarray) -> np.ndarray:
    image = np.round(_grey(rgb8) * np.float32(1000))
    return (image - _cpu.median3x3(image)) / np.float32(1000)


# The least side of an image that the callers of a twin let through, and what each twin is called with.
CASES: dict[str, tuple[int, Callable[[np.ndarray], Calls]]] = {
    "bit_plane_sums": (8, lambda p: [(p, 8), (p, 5)]),
    "colour_difference_products": (3, lambda p: [(p,)]),
    "cooccurrence_counts": (1, _plane_pairs),
    "correlation_sums": (4, lambda p: [(p, LAGS), (p, ((0, 3), (3, -3)))]),
    "cross_band_counts": (3, lambda p: [(p, np.array(STEPS, np.int16))]),
    "exposure_counts": (1, lambda p: [(p,)]),
    "folded_cross_difference": (9, lambda p: [(p, 8), (p, 3)]),
    "gradient_sums": (3, lambda p: [(p,)]),
    "lbp_counts": (7, lambda p: [(p, (1, 2, 3))]),
    "level_difference_counts": (2, lambda p: [(p, *step, np.array(DIFFERENCES[1:], np.int16)) for step in LAGS[:3]]),
    "mask_products": (3, lambda p: [(p,)]),
    "median3x3": (1, lambda p: [(planes(p).astype(dtype),) for dtype in (np.uint8, np.float32, np.float64)]),
    "noise_counts": (3, lambda p: [(p, BOUNDS), (p, _levels(p))]),
    "npr": (4, lambda p: [(planes(p), 2), (planes(p), 3), (planes(p).astype(np.float64), 4)]),
    "npr_statistics": (8, lambda p: [(p, 2), (p, 4), (p, 8)]),
    "patch_cells": (
        14,
        lambda p: [
            (p, c, np.array([500, 1000, 2000, 4000, 8000, 16000])) for c in ((4, 7) if p.shape[2] < 60 else (16,))
        ],
    ),
    "patch_energy": (10, lambda p: [(p, 9, 8), (p, 4, 3)]),
    "residual_counts": (5, lambda p: [(_grey(p), KERNELS[k], (-5000, -900, 900, 5000), LUMA_UNITS) for k in KERNELS]),
    "residual_moments": (5, lambda p: [(_grey(p), tuple(KERNELS[k] for k in SRM), LUMA_UNITS)]),
    "residual_sums": (8, lambda p: [(_with_median(p), _grey(p), b) for b in (BOUNDS, _levels(p))]),
    "ring_sums": (2, _rings),
    "separable_sums": (1, _filters),
    "wavelet_band": (1, _bands),
    "wavelet_residual": (1, lambda p: [(_grey(p), 5.0, 4, WAVELETS["db4"])]),
    "wavelet_sums": (17, lambda p: [(p,)]),
    "wiener_residual": (1, lambda p: [(_grey(p), side) for side in (3, 5)]),
}


def assert_equal(result: Any, expected: Any, name: str) -> None:
    """Whole numbers are equal; real ones within the tolerance of their dtype."""
    if isinstance(expected, tuple):
        assert len(result) == len(expected)
        for one, other in zip(result, expected, strict=True):
            assert_equal(one, other, name)
        return
    result = asnumpy(result)
    assert (result.dtype, result.shape) == (expected.dtype, expected.shape), name
    if result.dtype.kind in "iu":
        assert np.array_equal(result, expected), name
        return
    relative, absolute = TOL[result.dtype.name]
    if result.dtype == np.float64 and expected.size:  # sums of terms of either sign: relative to the column's largest
        largest = np.abs(expected).max(axis=tuple(range(expected.ndim - 1)))
        assert (np.abs(result - expected) <= relative * np.maximum(np.abs(expected), largest) + absolute).all(), name
    else:
        np.testing.assert_allclose(result, expected, relative, absolute, err_msg=name)
