"""Contrastive blur and MINDER: a blurred view against a sharpened one, alone and as the smaller of two distances."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from fdetect.errors import ParameterError
from fdetect.images import Geometry
from fdetect.rigid.base import OnEncoder, check_positive, check_views, cosine, detector
from fdetect.rigid.views import View

__all__ = ["ContrastiveBlur", "Minder", "blur_only", "minder_dinov3"]


@detector
@dataclass(frozen=True)
class ContrastiveBlur(OnEncoder):
    """Contrastive blur: how far apart the embeddings of a blurred and of a sharpened view lie.

    (N, D) float32 for `blurred` and for `sharp`, or `clean` -> (N,) float64 in 0..2, larger = more likely generated

        score = 1 - cos(f(b), f(s)),   b = x blurred,   s = clamp(2 x - b) to 0..1

    The blur is a Gaussian of 3 x 3 px with mirrored borders.  x is the image with its shorter side brought to the
    encoder's size, bicubic and anti-aliased, and cut in the centre; f is the class token after the final norm.
    Published to be good on faces, where noise is poor, and worse on objects; sensitive to JPEG.

    sigma and the geometry are those of a public re-implementation: the authors' own could not be read.  It runs
    ViT-L/14 through timm, which resamples the table of positions with anti-aliasing; here it is done as in the
    authors' hub code (`pos_interp`).

    Parameters
    ----------
    sigma : float
        Standard deviation of the blur in px, above 0.
    against : str
        "sharp", or "clean" for the distance from the image itself (`blur_only`).
    encoder, dtype, pos_interp : str
        See `fdetect.rigid.base.OnEncoder`.

    Raises
    ------
    ParameterError
        For a setting outside these ranges, or embeddings that do not match the views.

    References
    ----------
    C.-T. Tsai, C.-Y. Ko, I-H. Chung, Y.-C. F. Wang, P.-Y. Chen: Understanding and Improving Training-Free AI-Generated
    Image Detections with Vision Foundation Models, 2024, arXiv 2411.19117; constants from the re-implementation in
    github.com/AlecImhofUni/ProjectGenAI.
    """

    sigma: float = 0.55
    against: str = "sharp"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive("contrastive_blur", sigma=self.sigma)
        if self.against not in ("sharp", "clean"):
            raise ParameterError(f"contrastive_blur: against is one of sharp, clean; got '{self.against}'")

    def geometry(self, space: Any, crop: int) -> Geometry:
        """The shorter side to the encoder's size, bicubic, and the centre."""
        return Geometry("resize_crop", space.card.size, "bicubic")

    def views(self) -> dict[str, View]:
        """Return the blurred image and the one it is compared with."""
        other = View.of("sharpen", sigma=self.sigma, size=3) if self.against == "sharp" else View()
        return {"blurred": View.of("blur", sigma=self.sigma, size=3), self.against: other}

    def score(self, **embeddings: np.ndarray) -> np.ndarray:
        """1 - cosine: (N, D) float32 for each name of `views()` -> (N,) float64; NaN rows stay NaN."""
        check_views("contrastive_blur", self.views(), embeddings)
        return 1.0 - cosine(embeddings["blurred"], embeddings[self.against])


@detector
@dataclass(frozen=True)
class Minder(OnEncoder):
    """MINDER: the smaller of two distances, one moved by noise and one by contrastive blur.

    (N, D) float32 for `clean`, `noise0` ..., `blurred`, `sharp` -> (N,) float64 in 0..2, larger = more likely generated

        score = min(noise, blur)
        noise = mean over draws of 1 - cos(f(x), f(clamp(x + noise_sigma * n))),   n standard normal, x in 0..1
        blur  = the score of `contrastive_blur`

    The minimum balances the two, noise being poor on faces and blur on objects, and does not win everywhere.
    noise_sigma stands in RGB of 0..1, 0.009 being 2.3 of 255, where RIGID's 0.05 is 2.9.  Geometry, blur and the
    source of the constants are those of `contrastive_blur`.

    Parameters
    ----------
    noise_sigma : float
        Standard deviation of the noise in RGB of 0..1, above 0.
    n_draws : int
        Independent noises whose distances are averaged.
    blur_sigma : float
        Standard deviation of the blur in px, above 0.
    encoder, dtype, pos_interp : str
        See `fdetect.rigid.base.OnEncoder`.

    Raises
    ------
    ParameterError
        For a setting outside these ranges, or embeddings that do not match the views.

    References
    ----------
    See `contrastive_blur`.  `minder_dinov3` has the constants that the re-implementation found best on DINOv3 ViT-L/16.
    """

    noise_sigma: float = 0.009
    n_draws: int = 3
    blur_sigma: float = 0.55

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive("minder", noise_sigma=self.noise_sigma, blur_sigma=self.blur_sigma)
        if self.n_draws < 1:
            raise ParameterError(f"minder: n_draws must be at least 1, got {self.n_draws}")

    def geometry(self, space: Any, crop: int) -> Geometry:
        """The shorter side to the encoder's size, bicubic, and the centre."""
        return Geometry("resize_crop", space.card.size, "bicubic")

    def views(self) -> dict[str, View]:
        """Return the clean image, its noisy versions, and the two of contrastive blur."""
        noisy = {
            f"noise{k}": View.of("noise", sigma=self.noise_sigma, space="pixel", clamp=True, draw=k)
            for k in range(self.n_draws)
        }
        return {"clean": View(), **noisy, **self._blur.views()}

    def score(self, **embeddings: np.ndarray) -> np.ndarray:
        """The smaller distance: (N, D) float32 for each name of `views()` -> (N,) float64; NaN rows stay NaN."""
        check_views("minder", self.views(), embeddings)
        distances = [1.0 - cosine(embeddings["clean"], embeddings[f"noise{k}"]) for k in range(self.n_draws)]
        blur = self._blur.score(**{name: embeddings[name] for name in self._blur.views()})
        return np.asarray(np.minimum(np.mean(distances, axis=0), blur))

    @property
    def _blur(self) -> ContrastiveBlur:
        return ContrastiveBlur(sigma=self.blur_sigma)


blur_only = detector.variant(ContrastiveBlur, "blur_only", against="clean")
minder_dinov3 = detector.variant(Minder, "minder_dinov3", encoder="dinov3-large", noise_sigma=0.008, blur_sigma=0.85)
