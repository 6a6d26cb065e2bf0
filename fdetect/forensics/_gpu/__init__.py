"""CuPy twins of the hot maps and features: the names and signatures of `_cpu`, CUDA kernels in place of Numba's.

One `.cu` file for each room, compiled on first use (`launch`).  A launch takes the whole batch; results stay on the
device.  What is added by atomics is a whole number and real sums have one order, so a result is the same whatever the
batch.  Importing this package loads no CuPy.
"""

from fdetect.forensics._gpu.colour import colour_difference_products as colour_difference_products
from fdetect.forensics._gpu.colour import exposure_counts as exposure_counts
from fdetect.forensics._gpu.cooccurrence import cooccurrence_counts as cooccurrence_counts
from fdetect.forensics._gpu.cooccurrence import cross_band_counts as cross_band_counts
from fdetect.forensics._gpu.cooccurrence import level_difference_counts as level_difference_counts
from fdetect.forensics._gpu.denoise import median3x3 as median3x3
from fdetect.forensics._gpu.denoise import separable_sums as separable_sums
from fdetect.forensics._gpu.denoise import wiener_residual as wiener_residual
from fdetect.forensics._gpu.harmonics import folded_cross_difference as folded_cross_difference
from fdetect.forensics._gpu.neighbours import correlation_sums as correlation_sums
from fdetect.forensics._gpu.neighbours import gradient_sums as gradient_sums
from fdetect.forensics._gpu.neighbours import npr as npr
from fdetect.forensics._gpu.neighbours import npr_statistics as npr_statistics
from fdetect.forensics._gpu.noise import mask_products as mask_products
from fdetect.forensics._gpu.noise import noise_counts as noise_counts
from fdetect.forensics._gpu.noise import residual_sums as residual_sums
from fdetect.forensics._gpu.patches import bit_plane_sums as bit_plane_sums
from fdetect.forensics._gpu.patches import patch_energy as patch_energy
from fdetect.forensics._gpu.profiles import ring_sums as ring_sums
from fdetect.forensics._gpu.residual import residual_counts as residual_counts
from fdetect.forensics._gpu.residual import residual_moments as residual_moments
from fdetect.forensics._gpu.texture import lbp_counts as lbp_counts
from fdetect.forensics._gpu.texture import patch_cells as patch_cells
from fdetect.forensics._gpu.wavelets import wavelet_band as wavelet_band
from fdetect.forensics._gpu.wavelets import wavelet_residual as wavelet_residual
from fdetect.forensics._gpu.wavelets import wavelet_sums as wavelet_sums
