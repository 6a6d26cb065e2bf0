"""Pixels -> maps: every signal that features and networks read.

    planes      colour planes, luma
    spectrum    log power spectrum (plain and Hann), radial profile
    neighbours  neighbouring pixel relationships (NPR), cross-difference
    residual    noise residuals of six SRM classes
    blocks      8 x 8 block DCT on the JPEG grid
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

__all__ = ["blocks", "neighbours", "planes", "residual", "signal", "signal_map", "spectrum"]
