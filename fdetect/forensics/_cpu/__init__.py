"""Numba twins of the hot maps and features: serial, without the GIL, compiled once and cached beside this file.

Threads and processes go over images, never inside one.  Indices are unsigned, so that none is checked for being
negative; work arrays are rows that stay in the first-level cache.
"""

from fdetect.forensics._cpu.residual import residual_counts as residual_counts
from fdetect.forensics._cpu.residual import residual_moments as residual_moments
from fdetect.forensics._cpu.denoise import median3x3 as median3x3
from fdetect.forensics._cpu.denoise import separable_sums as separable_sums
