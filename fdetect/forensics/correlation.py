"""How the noise of neighbouring pixels goes together: the autocorrelation of a noise residual at small lags."""

from __future__ import annotations

import functools

import numpy as np
from array_api_compat import device

from fdetect.backend import namespace, rfft2
from fdetect.forensics.base import require_sides, signal_map
from fdetect.forensics.spectrum import column_copies
from fdetect.types import Array

__all__ = ["REACH", "VARIANCE_FLOOR", "residual_autocorrelation_map"]

REACH = 8  # pixels: the largest lag

# Squared grey levels.  A single thousandth of luma in a 224-pixel crop has 2e-11 and must not read as structure; the
# noise of one photograph has about 1, which this lowers by a millionth.
VARIANCE_FLOOR = 1e-6


@signal_map
def residual_autocorrelation_map(median_residual: Array) -> Array:
    """Residual autocorrelation map: how alike the noise residual is to itself moved by up to 8 pixels.

    (B, H, W) float32 -> (B, 9, 17) float32, range -1..1; rows dy = 0..8, columns dx = -8..8

        r(dy, dx) = c(dy, dx) / (c(0, 0) + 1e-6),   c(dy, dx) = 1/(HW) sum_{y,x} N[y, x] N[y + dy, x + dx]

    N is the residual of the 3 x 3 median less its mean; indices wrap around.  The half of the lags that is left out
    mirrors this one: r(-dy, -dx) = r(dy, dx).  The floor makes a residual without variance 0 at every lag, [0, 8]
    too, which is otherwise 1.

    c is the inverse transform of the power spectrum |F|^2, as in the source; only the 153 lags are transformed back.

    Source: Corvi, Cozzolino, Poggi, Nagano, Verdoliva 2023, "Intriguing properties of synthetic images: from
    generative adversarial networks to diffusion models", CVPR Workshops, arXiv 2304.06408 (autocorrelation of noise
    residuals).  They denoise by DnCNN and average the spectra of a thousand images of one generator; this is the
    median residual of one image.
    Raises DataError below 17 x 17 pixels, where lags would meet across the border.
    """
    require_sides(median_residual, 2 * REACH + 1, "residual_autocorrelation_map")
    xp, where = namespace(median_residual), device(median_residual)
    H, W = median_residual.shape[-2:]
    samples = xp.astype(median_residual, xp.float64)
    spectrum = rfft2(samples - xp.mean(samples, axis=(-2, -1), keepdims=True))
    power = xp.real(spectrum) ** 2 + xp.imag(spectrum) ** 2
    vertical, cosine, sine = (xp.asarray(part, device=where) for part in _waves(H, W))
    rows = xp.matmul(vertical, power)  # (B, 2 * 9, W//2+1): cosine and sine parts over v
    covariance = xp.matmul(rows[:, : REACH + 1], cosine) - xp.matmul(rows[:, REACH + 1 :], sine)
    variance = covariance[:, :1, REACH : REACH + 1]
    return xp.astype(covariance / (variance + VARIANCE_FLOOR), xp.float32)


@functools.lru_cache(maxsize=8)
def _waves(height: int, width: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the inverse transform to the kept lags: over rows (18, H), over half-plane columns 2 x (W//2+1, 17)."""
    down = 2 * np.pi * (np.outer(np.arange(REACH + 1), np.arange(height)) % height) / height
    across = 2 * np.pi * (np.outer(np.arange(width // 2 + 1), np.arange(-REACH, REACH + 1)) % width) / width
    copies = column_copies(width)[:, None] / float(height * width) ** 2  # a mirrored column gives conjugate terms
    return np.concatenate([np.cos(down), np.sin(down)]), copies * np.cos(across), copies * np.sin(across)
