"""WaRPAD: how far the embeddings of tiles turn when their fine wavelet details are weakened."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from fdetect.errors import ParameterError
from fdetect.images import Geometry
from fdetect.rigid.base import OnEncoder, check_positive, check_views, detector, drift
from fdetect.rigid.views import View

__all__ = ["WaRPAD"]


@detector(name="warpad")
@dataclass(frozen=True)
class WaRPAD(OnEncoder):
    """WaRPAD: how far the DINOv2 embeddings of enlarged tiles turn when their Haar details are weakened.

    (N, D) float32 for `tile00` ... and `damped00` ... -> (N,) float64 in 0..2, larger = more likely generated

        score = 1 - mean over tiles t of cos(f(t), f(t - strength * h(t)))

    The image is squashed to grid * size px (896 for 224; bicubic, anti-aliased) and cut into grid x grid tiles of the
    encoder's size; h(t) is the inverse Haar transform of t after `levels` levels with the approximation set to zero;
    f is the class token after the final norm.  The authors weaken the normalised image, which is the same: h is linear
    and its means are zero.  They also transform before they cut, the same again, since a tile begins where a Haar
    block does.  They report the mean cosine, low = fake; here its sign is turned.

    Nothing is drawn: deterministic.  Costs 2 * grid^2 passes, 32 by default.
    The size before the cut depends on the data set in the paper, always a multiple of the encoder's size.

    Parameters
    ----------
    strength : float
        Share of the details that is taken away, above 0.
    levels : int
        Levels of the Haar transform: details up to 2^levels px; tiles must be multiples of that.
    grid : int
        Tiles along a side.
    encoder, dtype, pos_interp : str
        See `fdetect.rigid.base.OnEncoder`.

    Raises
    ------
    ParameterError
        For a setting outside these ranges, or embeddings that do not match the views.

    References
    ----------
    S. Choi, H. Lee, M. Lee: Training-free Detection of AI-generated images via Cropping Robustness, NeurIPS 2025,
    arXiv 2511.14030, and its authors' code (github.com/sungikchoi/WaRPAD, the script for ImageNet).
    """

    strength: float = 0.1
    levels: int = 2
    grid: int = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive("warpad", strength=self.strength)
        for name in ("levels", "grid"):
            if not 1 <= getattr(self, name) <= 10:
                raise ParameterError(f"warpad: {name} lies in 1..10, got {getattr(self, name)}")

    def geometry(self, space: Any, crop: int) -> Geometry:
        """To `grid` times the encoder's size whatever the aspect ratio, bicubic; ParameterError for too many levels."""
        if space.card.size % 2**self.levels:
            raise ParameterError(f"warpad: {self.levels} levels do not divide the encoder's {space.card.size} px")
        return Geometry("squash", self.grid * space.card.size, "bicubic")

    def views(self) -> dict[str, View]:
        """Return each tile and its weakened version; `tile12` is in row 1, column 2."""
        found = {}
        for row in range(self.grid):
            for column in range(self.grid):
                tile = View.of("tile", row=row, column=column, grid=self.grid)
                found[f"tile{row}{column}"] = tile
                found[f"damped{row}{column}"] = tile.then("damp_details", strength=self.strength, levels=self.levels)
        return found

    def score(self, **embeddings: np.ndarray) -> np.ndarray:
        """1 - mean cosine: (N, D) float32 for each name of `views()` -> (N,) float64; NaN rows stay NaN."""
        wanted = self.views()
        check_views("warpad", wanted, embeddings)
        tiles = [name for name in wanted if name.startswith("tile")]
        return drift((embeddings[name], embeddings[name.replace("tile", "damped")]) for name in tiles)
