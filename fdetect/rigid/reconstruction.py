"""The AEROBLADE family: an autoencoder gives back a generated image more faithfully than a photograph.

What a decoder made lies near what its encoder and decoder can carry; a photograph's fine texture does not.  Named
variants with `taef2` rest on the weights of one small autoencoder and on distances without weights; all six need no
more than the clean image and its blurred version once through it, since tasks of a group share their reconstructions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from fdetect.images import Geometry
from fdetect.rigid.base import OnAutoencoder, check_positive, check_views, detector
from fdetect.rigid.views import View

__all__ = ["Aeroblade", "Hfi", "aeroblade_whole"]

_UNIT = 8  # px: what one position of the autoencoders' latents stands for


@detector
@dataclass(frozen=True)
class Aeroblade(OnAutoencoder):
    """AEROBLADE: how closely the best of several autoencoders gives the image back.

    (N, K) float32 for `clean`, K autoencoders -> (N,) float64, at most 0, larger = more likely generated

        score = max over k of -d(x, A_k(x))

    A_k(x) is the decoded latent of x.  The defaults are the authors': the autoencoders of Stable Diffusion 1 and 2 and
    of Kandinsky 2.1, and as d the second layer of LPIPS on VGG16.  Costs one round trip through each autoencoder.

    Two deviations: the latent is the mode of its distribution, from which the authors draw.  And the authors take the
    whole picture at its own size; here it is the centre crop of the run's C px on the grid of 8, so that all images
    cost the same and sizes tell nothing.  `aeroblade_whole` takes the whole picture, its sides cut to multiples of 8;
    it differs under `native` alone, since every other condition crops to C first.  Smooth pictures are given back
    well whoever made them, so the score measures smoothness too.

    Parameters
    ----------
    whole : bool
        Whether to take the whole picture.
    autoencoder, distance, dtype : str
        See `fdetect.rigid.base.OnAutoencoder`.

    Raises
    ------
    ParameterError
        For distances that do not match the views.

    References
    ----------
    J. Ricker, D. Lukovnikov, A. Fischer: AEROBLADE: Training-Free Detection of Latent Diffusion Images Using
    Autoencoder Reconstruction Error, CVPR 2024, arXiv 2401.17879, equations 1 and 2.
    """

    whole: bool = False

    def geometry(self, space: Any, crop: int) -> Geometry:
        """The centre crop of the run, or the whole picture."""
        return Geometry("trim", _UNIT) if self.whole else Geometry("aligned_crop", crop)

    def views(self) -> dict[str, View]:
        """Return the clean image."""
        return {"clean": View()}

    def score(self, **distances: np.ndarray) -> np.ndarray:
        """Minus the least distance: (N, K) float32 for `clean` -> (N,) float64; NaN rows stay NaN."""
        check_views("aeroblade", self.views(), distances)
        return np.asarray(-np.min(distances["clean"].astype(np.float64), axis=1))


@detector
@dataclass(frozen=True)
class Hfi(OnAutoencoder):
    """HFI: how little the fine detail of the image disturbs its reconstruction.

    (N, K) float32 for `clean` and for `low`, K autoencoders -> (N,) float64, larger = more likely generated

        HFI_k = d(x, A_k(x)) - d(F(x), A_k(F(x))),   score = max over k of -HFI_k

    F is a Gaussian blur of 3 x 3 px.  Taken as down- and up-sampling, an autoencoder aliases the frequencies that it
    cannot carry; HFI measures what they add to the distance.  A photograph holds such frequencies, what a decoder made
    hardly, so the smaller HFI is the more likely generated and the best autoencoder counts, as in AEROBLADE.  Blurring
    takes away what a smooth picture lacks anyway: the score is meant to depend less on how smooth the picture is.
    Costs two round trips through each autoencoder.

    Of the paper its abstract could be read: direction and maximum follow from its argument.  The defaults are
    AEROBLADE's autoencoders, the whole of LPIPS as in the first author's later code, and a sigma of 0.8, where sources
    have 0.8 to 1.  The centre crop of the run stands in place of the authors' (512 px, smaller pictures enlarged), for
    the reasons given at `aeroblade`.

    Parameters
    ----------
    sigma : float
        Of the blur, in px, above 0.
    autoencoder, distance, dtype : str
        See `fdetect.rigid.base.OnAutoencoder`.

    Raises
    ------
    ParameterError
        For a sigma outside this range, or distances that do not match the views.

    References
    ----------
    S. Choi et al.: HFI: A unified framework for training-free detection and implicit watermarking of latent diffusion
    model generated images, 2024, arXiv 2412.20704.
    """

    distance: str = "lpips_all"
    sigma: float = 0.8

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive("hfi", sigma=self.sigma)

    def geometry(self, space: Any, crop: int) -> Geometry:
        """The centre crop of the run."""
        return Geometry("aligned_crop", crop)

    def views(self) -> dict[str, View]:
        """Return the clean image and its blurred version."""
        return {"clean": View(), "low": View.of("blur", sigma=self.sigma, size=3)}

    def score(self, **distances: np.ndarray) -> np.ndarray:
        """Minus the least difference: (N, K) float32 for `clean` and `low` -> (N,) float64; NaN rows stay NaN."""
        check_views("hfi", self.views(), distances)
        clean, low = (distances[name].astype(np.float64) for name in ("clean", "low"))
        return np.asarray(-np.min(clean - low, axis=1))


aeroblade_whole = detector.variant(Aeroblade, "aeroblade_whole", whole=True)

for _method, _name in ((Aeroblade, "aeroblade"), (Hfi, "hfi")):
    detector.variant(_method, f"{_name}_taef2", autoencoder="taef2", distance="mse")
    for _distance in ("ms_ssim", "wavelet"):
        detector.variant(_method, f"{_name}_taef2_{_distance}", autoencoder="taef2", distance=_distance)
