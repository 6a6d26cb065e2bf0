"""Shift consistency: how far the embedding turns when the window on the picture moves by a pixel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from fdetect.errors import ParameterError
from fdetect.images import Geometry
from fdetect.rigid.base import OnEncoder, check_views, detector, drift
from fdetect.rigid.views import View

__all__ = ["ShiftConsistency", "shift_consistency_textured"]

_AROUND = {"up": (-1, 0), "down": (1, 0), "left": (0, -1), "right": (0, 1)}


@detector
@dataclass(frozen=True)
class ShiftConsistency(OnEncoder):
    """Shift consistency: how far the DINOv2 embedding turns when the window moves by one pixel.

    (N, D) float32 for `centre`, `up`, `down`, `left`, `right` -> (N,) float64 in 0..2, larger = more likely generated

        score = 1 - mean over the four moves m of cos(f(w), f(w moved by m)),   m of `step` px

    w is a window of native pixels: nothing is resized and no border is invented, because a resize would blur the very
    traces that a move of one pixel tells apart (a grid of up-sampling falls into other phases of the encoder's
    patches).  f is the class token after the final norm.  Costs five passes.

    The window is as large as the encoder's size, or as the run's crop C allows: the largest multiple of the encoder's
    patch that leaves `step` px on each side.  C is an upper limit under `native` too, so that all images of a condition
    have one window and sizes tell nothing.  With patches of 14 px, C = 224 gives windows of 210 px, of 140 px under
    `rescaled` and 98 px under `resize50`, and the table of positions is resampled for each; C = 232 gives the full 224
    under `native` and `matched`.  Scores of different conditions are not comparable.

    This definition, its direction and the choice of the crop are this project's: RIGID's finding, that embeddings of
    generated images move further, is carried over to moves, and no published figure stands behind it.

    Parameters
    ----------
    step : int
        Length of the move in px, at least 1.
    select : str
        Where the window lies in a larger picture: "centre", or "textured", the crop with the most texture of all on the
        8-px grid (geometry "textured_crop").  They differ under `native` alone: other conditions choose their crop.
    encoder, dtype, pos_interp : str
        See `fdetect.rigid.base.OnEncoder`.

    Raises
    ------
    ParameterError
        For a setting outside these ranges, or embeddings that do not match the views.

    References
    ----------
    The idea of embeddings that move: Z. He et al.: RIGID, 2024, arXiv 2405.20112.  The choice of textured crops:
    D. Konstantinidou, C. Koutlis, S. Papadopoulos: TextureCrop, 2024, arXiv 2407.15500, here by differences of
    neighbours.  Source of the formula: this project.
    """

    step: int = 1
    select: str = "centre"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.step < 1:
            raise ParameterError(f"shift_consistency: step must be at least 1 px, got {self.step}")
        if self.select not in ("centre", "textured"):
            raise ParameterError(f"shift_consistency: select is one of centre, textured; got '{self.select}'")

    def geometry(self, space: Any, crop: int) -> Geometry:
        """A crop of native pixels that holds the window and its moves, never larger than the run's crop."""
        name = "aligned_crop" if self.select == "centre" else "textured_crop"
        return Geometry(name, min(space.card.size + 2 * self.step, crop))

    def views(self) -> dict[str, View]:
        """Return the window and its four moves."""
        moves = {"centre": (0, 0), **_AROUND}
        return {
            name: View.of("shift", down=down * self.step, right=right * self.step, margin=self.step)
            for name, (down, right) in moves.items()
        }

    def score(self, **embeddings: np.ndarray) -> np.ndarray:
        """1 - mean cosine: (N, D) float32 for each name of `views()` -> (N,) float64; NaN rows stay NaN."""
        check_views("shift_consistency", self.views(), embeddings)
        return drift((embeddings["centre"], embeddings[name]) for name in _AROUND)


shift_consistency_textured = detector.variant(ShiftConsistency, "shift_consistency_textured", select="textured")
