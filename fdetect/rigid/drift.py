"""The RIGID family: a generated image's embedding drifts further than a real one's when the image is disturbed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from fdetect.errors import ParameterError
from fdetect.images import Geometry
from fdetect.rigid.base import OnEncoder, check_positive, check_views, detector, drift
from fdetect.rigid.views import View

__all__ = ["Rigid", "rigid_bf16", "rigid_draws", "rigid_pixel"]


@detector
@dataclass(frozen=True)
class Rigid(OnEncoder):
    """RIGID: how far the DINOv2 embedding turns when faint noise is added to the normalised image.

    (N, D) float32 for `clean` and for `noise0` ... -> (N,) float64 in 0..2, larger = more likely generated

        score = 1 - mean over draws of cos(f(x), f(x + sigma * n)),   n standard normal

    x is the image squashed to the encoder's size (224 x 224, bilinear, anti-aliased) and normalised with its mean and
    std; f is the CLS token after the final norm.  The defaults are the authors' code: sigma 0.05 on the normalised
    tensor, one draw, no clamp, float32, ViT-L/14 with the position table as in the authors' hub code.  The authors
    report the cosine itself, low = fake; here its sign is turned.

    A known trap: 0.05 on the normalised tensor is about 0.011 in RGB of 0..1 (2.9 of 255), because std is about
    0.225.  Many ports add 0.05 to the pixels instead, 4.4 times as much, and fall below chance on some generators.
    That port is `rigid_pixel` here, kept so that its results can be told apart; it does not clamp either.

    Parameters
    ----------
    sigma : float
        Standard deviation of the noise in the units of `noise_space`, above 0.
    noise_space : str
        "normalized" (the authors') or "pixel" (RGB in 0..1, before the normalisation).
    n_draws : int
        Independent noises whose cosines are averaged; the authors take 1.
    encoder, dtype, pos_interp : str
        See `fdetect.rigid.base.OnEncoder`.

    Raises
    ------
    ParameterError
        For a setting outside these ranges, or embeddings that do not match the views.

    References
    ----------
    Z. He, P.-Y. Chen, T.-Y. Ho: RIGID: A Training-free and Model-Agnostic Framework for Robust AI-Generated Image
    Detection, 2024, arXiv 2405.20112, and its authors' notebook.
    """

    sigma: float = 0.05
    noise_space: str = "normalized"
    n_draws: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive("rigid", sigma=self.sigma)
        if self.n_draws < 1:
            raise ParameterError(f"rigid: n_draws must be at least 1, got {self.n_draws}")
        if self.noise_space not in ("normalized", "pixel"):
            raise ParameterError(f"rigid: noise_space is one of normalized, pixel; got '{self.noise_space}'")

    def geometry(self, space: Any, crop: int) -> Geometry:
        """The authors' resize: to the encoder's size whatever the aspect ratio, bilinear."""
        return Geometry("squash", space.card.size, "bilinear")

    def views(self) -> dict[str, View]:
        """Return the clean image and its noisy versions."""
        noisy = {
            f"noise{k}": View.of("noise", sigma=self.sigma, space=self.noise_space, draw=k) for k in range(self.n_draws)
        }
        return {"clean": View(), **noisy}

    def score(self, **embeddings: np.ndarray) -> np.ndarray:
        """1 - mean cosine: (N, D) float32 for each name of `views()` -> (N,) float64; NaN rows stay NaN."""
        wanted = self.views()
        check_views("rigid", wanted, embeddings)
        return drift((embeddings["clean"], embeddings[name]) for name in wanted if name != "clean")


rigid_bf16 = detector.variant(Rigid, "rigid_bf16", dtype="bfloat16")
rigid_pixel = detector.variant(Rigid, "rigid_pixel", noise_space="pixel")  # the common port; see Rigid's trap
rigid_draws = detector.variant(Rigid, "rigid_draws", n_draws=4)
