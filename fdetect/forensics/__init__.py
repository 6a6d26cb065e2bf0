"""Pixels -> maps: every signal that features and networks read.

    planes      colour planes, luma, chroma
    spectrum    log power spectrum (plain and Hann), radial and angular profiles
    correlation autocorrelation of a noise residual
    neighbours  neighbouring pixel relationships (NPR), cross-difference, bit planes
    wavelets    sub-bands, wavelet residual
    residual    noise residuals of the SRM bank
    denoise     what median, Gaussian and Wiener filters take away
    texture     patches, local binary patterns, co-occurrence matrices
    blocks      DCT of 8 x 8 blocks on the JPEG grid, of tiles and of the whole image
    provenance  traces of file and camera history
    kernels     which compiled twin runs: _cpu (Numba) or _gpu (CuPy)
    base        the registry `signal_map`, and `signal(batch, name)`, which computes each map once

A map runs on NumPy, CuPy and Torch arrays alike and modifies none of them.
"""

from fdetect.forensics import (
    blocks,
    correlation,
    denoise,
    neighbours,
    planes,
    provenance,
    residual,
    spectrum,
    texture,
    wavelets,
)
from fdetect.forensics.base import signal, signal_map

__all__ = [
    "blocks",
    "correlation",
    "denoise",
    "neighbours",
    "planes",
    "provenance",
    "residual",
    "signal",
    "signal_map",
    "spectrum",
    "texture",
    "wavelets",
]
