"""Numba twins of the hot maps and features: serial, without the GIL, compiled once and cached beside this file.

Threads and processes go over images, never inside one; work arrays are rows that stay in the first-level cache.  Small
helpers stand in each file that uses them: a cached kernel does not notice a change in what it imports.
"""

from fdetect.forensics._cpu.colour import colour_difference_products as colour_difference_products
from fdetect.forensics._cpu.colour import exposure_counts as exposure_counts
from fdetect.forensics._cpu.cooccurrence import cooccurrence_counts as cooccurrence_counts
from fdetect.forensics._cpu.cooccurrence import cross_band_counts as cross_band_counts
from fdetect.forensics._cpu.cooccurrence import level_difference_counts as level_difference_counts
from fdetect.forensics._cpu.denoise import median3x3 as median3x3
from fdetect.forensics._cpu.denoise import separable_sums as separable_sums
from fdetect.forensics._cpu.denoise import wiener_residual as wiener_residual
from fdetect.forensics._cpu.harmonics import folded_cross_difference as folded_cross_difference
from fdetect.forensics._cpu.neighbours import correlation_sums as correlation_sums
from fdetect.forensics._cpu.neighbours import gradient_sums as gradient_sums
from fdetect.forensics._cpu.neighbours import npr as npr
from fdetect.forensics._cpu.neighbours import npr_statistics as npr_statistics
from fdetect.forensics._cpu.noise import mask_products as mask_products
from fdetect.forensics._cpu.noise import noise_counts as noise_counts
from fdetect.forensics._cpu.noise import residual_sums as residual_sums
from fdetect.forensics._cpu.patches import bit_plane_sums as bit_plane_sums
from fdetect.forensics._cpu.patches import patch_energy as patch_energy
from fdetect.forensics._cpu.profiles import ring_sums as ring_sums
from fdetect.forensics._cpu.residual import residual_counts as residual_counts
from fdetect.forensics._cpu.residual import residual_moments as residual_moments
from fdetect.forensics._cpu.texture import lbp_counts as lbp_counts
from fdetect.forensics._cpu.texture import patch_cells as patch_cells
from fdetect.forensics._cpu.wavelets import wavelet_band as wavelet_band
from fdetect.forensics._cpu.wavelets import wavelet_residual as wavelet_residual
from fdetect.forensics._cpu.wavelets import wavelet_sums as wavelet_sums
