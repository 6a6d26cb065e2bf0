"""Relatives of RIGID without any network: how far a hand-crafted feature moves when the image is disturbed.

RIGID's idea asks for an embedding, not for a learnt one.  The features here describe fine texture, for which there is
an argument that needs no data.  A generated image lacks a camera's fine texture: added noise finds less to hide in and
moves the description further; a blur finds less to take away and moves it less far.  Directions and variants were
fixed by this argument before any figure was seen, and are not turned where a figure lies below chance.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from fdetect.errors import ParameterError
from fdetect.images import Geometry
from fdetect.rigid.base import OnFeature, check_positive, check_views, cosine, detector
from fdetect.rigid.views import View

__all__ = ["FeatureDrift"]


@detector
@dataclass(frozen=True)
class FeatureDrift(OnFeature):
    """Feature drift: how far a feature of fine texture moves under faint noise, or how little under a slight blur.

    (N, D) float32 for `clean` and `disturbed` -> (N,) float64, larger = more likely generated

        noise:  score =  m(f(x), f(round(clamp(x + sigma / 255 * n)))),   n standard normal
        blur:   score = -m(f(x), f(round(x blurred with sigma))),         3 x 3 px
        cosine:  m(a, b) = 1 - a.b / (|a| |b|),      rms:  m(a, b) = sqrt( mean over columns of (a - b)^2 )

    f is a feature of `fdetect list features` on the centre crop, on the grid of 8.  Noise moves what has no noise of
    its own further, blur moves it less far: hence the two signs.

    Columns of different scale would let one of them decide, and a scale learnt from images would be training.  So each
    measure has its kind of feature.  `cosine` is RIGID's formula and suits square-rooted histograms
    (local_binary_patterns, srm_cooccurrence): where the squares of each histogram sum to 1, the cosine is the mean of
    their Bhattacharyya coefficients, and no histogram outweighs another.  `rms` suits columns that are all logarithms
    (radial_spectrum, log_dct_profile, srm_statistics) or all correlations (cross_channel_residual_correlation): their
    differences have one unit, and that of logarithms does not depend on the contrast of the picture, so that for a
    spectrum it is the log-spectral distance.  For the log power P of a spectrum the argument can be written down: noise
    of power N moves it by ln(1 + N / P), the further the less fine texture there is.  Features whose columns are of
    mixed kinds, such as npr_statistics, have no place here.

    The disturbed image is rounded to 8 bits, as every feature wants it: of noise with a sigma of 0.25 grey levels
    nineteen in twenty samples vanish, with one of 2 the rounding adds 2 % to its power; hence the default (RIGID's
    0.05 after normalisation is 2.9).  Costs two computations of the feature.

    Parameters
    ----------
    disturbance : str
        "noise" or "blur".
    sigma : float
        Of the noise in grey levels of 255, or of the blur in px; above 0.
    measure : str
        "cosine" or "rms".
    feature : str
        `fdetect list features`.

    Raises
    ------
    ParameterError
        For a setting outside these ranges, or vectors that do not match the views.

    References
    ----------
    The idea: Z. He, P.-Y. Chen, T.-Y. Ho: RIGID, 2024, arXiv 2405.20112.  Bhattacharyya 1943, Bull. Calcutta Math. Soc.
    35, for histograms; Gray, Buzo, Gray, Matsuyama 1980, "Distortion measures for speech processing", IEEE Trans.
    Acoustics, Speech, and Signal Processing 28(4), for log spectra.  Hand-crafted features instead: this project.
    """

    disturbance: str = "noise"
    sigma: float = 2.0
    measure: str = "cosine"

    def __post_init__(self) -> None:
        for name, known in (("disturbance", ("noise", "blur")), ("measure", ("cosine", "rms"))):
            if getattr(self, name) not in known:
                raise ParameterError(f"feature_drift: {name} is one of {', '.join(known)}; got '{getattr(self, name)}'")
        check_positive("feature_drift", sigma=self.sigma)

    def geometry(self, space: Any, crop: int) -> Geometry:
        """The centre crop of the run, on which features stand."""
        return Geometry("aligned_crop", crop)

    def views(self) -> dict[str, View]:
        """Return the clean image and the disturbed one."""
        if self.disturbance == "noise":
            return {"clean": View(), "disturbed": View.of("noise", sigma=self.sigma / 255, space="pixel")}
        return {"clean": View(), "disturbed": View.of("blur", sigma=self.sigma, size=3)}

    def score(self, **vectors: np.ndarray) -> np.ndarray:
        """How far, or how little, the feature moves: (N, D) float32 twice -> (N,) float64; NaN rows stay NaN."""
        check_views("feature_drift", self.views(), vectors)
        clean, disturbed = (vectors[name].astype(np.float64) for name in ("clean", "disturbed"))
        if self.measure == "cosine":
            moved = 1 - cosine(clean, disturbed)
        else:
            moved = np.sqrt(np.mean((clean - disturbed) ** 2, axis=1))
        return np.asarray(moved if self.disturbance == "noise" else -moved)


detector.variant(FeatureDrift, "feature_drift_residual", feature="srm_cooccurrence")
detector.variant(FeatureDrift, "feature_drift_spectrum", feature="radial_spectrum", measure="rms")
detector.variant(FeatureDrift, "feature_drift_dct", feature="log_dct_profile", measure="rms")
detector.variant(FeatureDrift, "feature_drift_srm", feature="srm_statistics", measure="rms")
detector.variant(FeatureDrift, "feature_drift_colour", feature="cross_channel_residual_correlation", measure="rms")
detector.variant(FeatureDrift, "feature_drift_blur", disturbance="blur", sigma=0.55)
detector.variant(FeatureDrift, "feature_drift_blur_srm", feature="srm_statistics", measure="rms", disturbance="blur",
                 sigma=0.55)  # fmt: skip
