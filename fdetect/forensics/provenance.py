"""Maps of file and camera history: re-compression, steps across the JPEG grid, what demosaicing left in the pixels.

They tell how a file was made and stored, not whether a picture was synthesised, and they hold for the pixels as
stored: the crop of the condition `native` starts at a multiple of 8 px, which keeps the phase of the JPEG grid and of
the colour filter array.
"""

from __future__ import annotations

import numpy as np
from array_api_compat import device

from fdetect.backend import asnumpy, namespace
from fdetect.forensics.base import require_sides, signal_map
from fdetect.perturb import jpeg
from fdetect.types import Array

__all__ = ["STEP_LIMIT", "demosaicing_residual", "error_level", "grid_steps", "recompressed"]

STEP_LIMIT = 8  # grey levels; what is larger is an edge of the picture, and would outweigh many boundaries of blocks


@signal_map
def error_level(rgb8: Array, *, quality: int = 95) -> Array:
    """Error level: how much each sample changes when the image is compressed as JPEG once more.

    (B, H, W, 3) uint8 -> (B, 3, H, W) float32, whole grey levels 0..255

        E[c, y, x] = | I[y, x, c] - J_quality(I)[y, x, c] |

    `quality` is that of the encoder, with chroma at half resolution (4:2:0).  The encoder works on NumPy arrays:
    pixels of other engines go there and back, which no other map does.

    Source: Krawetz 2007, "A picture's worth: digital image analysis and forensics", Black Hat USA, section on error
    level analysis (95 % is its example).
    """
    pixels = asnumpy(rgb8)
    again = np.stack([recompressed(image, quality) for image in pixels]) if len(pixels) else pixels
    levels = np.abs(again.astype(np.int16) - pixels)
    planes = np.ascontiguousarray(levels.transpose(0, 3, 1, 2), dtype=np.float32)
    return namespace(rgb8).asarray(planes, device=device(rgb8))


def recompressed(pixels: np.ndarray, quality: int) -> np.ndarray:
    """Return (H, W, 3) uint8 pixels after one JPEG pass at `quality`, 4:2:0, on the grid of their top-left corner."""
    return jpeg(pixels, quality, _UNUSED)


_UNUSED = np.random.default_rng(0)  # a perturbation is given a generator; this one draws nothing


@signal_map
def grid_steps(luma: Array) -> Array:
    """Grid steps: mean unpredicted step of luma at each of the 8 row and 8 column phases of an 8-px grid.

    (B, H, W) float32 -> (B, 2, 8) float32, grey levels 0..8; [:, 0] between rows, [:, 1] between columns

        [1, q] = mean of min(|Y[y, x-2] - 3 Y[y, x-1] + 3 Y[y, x] - Y[y, x+1]|, 8) over y and x = q (mod 8)
        [0, p] = the same down the columns, over y = p (mod 8)

    The third difference is twice what is left of the step between x-1 and x after the mean slope of both sides is
    taken away.  Blocks that start at column q raise entry q.  A grid at any of the 64 offsets (p, q) is one row
    phase and one column phase, so 16 numbers hold all of them.  Sums run in whole thousandths of luma and each mean
    is one division, so every engine has the same bits and any ranking of the phases is exact.

    Source: after Fan and de Queiroz 2003, "Identification of bitmap compression history: JPEG detection and quantizer
    estimation", IEEE Trans. Image Processing 12(2), section II, who compare steps across and inside of blocks; all
    phases, the third difference and its limit (edges of the picture hide weak grids) are this project's.
    Raises DataError below 11 x 11 pixels, where a phase has no pixel.
    """
    require_sides(luma, 11, "grid_steps")
    xp = namespace(luma)
    thousandths = xp.round(luma * 1000)
    both = [_phase_means(xp.permute_dims(thousandths, (0, 2, 1))), _phase_means(thousandths)]
    return xp.astype(xp.stack(both, axis=1), xp.float32)


def _phase_means(thousandths: Array) -> Array:
    """Return the (B, 8) float64 means by column phase of the limited third difference along the last axis."""
    xp = namespace(thousandths)
    outer = thousandths[..., :-3] - thousandths[..., 3:]
    inner = thousandths[..., 2:-1] - thousandths[..., 1:-2]
    bend = xp.abs(outer + 3 * inner)
    steps = xp.where(bend < 1000 * STEP_LIMIT, bend, xp.full_like(bend, 1000 * STEP_LIMIT))
    by_column = xp.sum(steps, axis=1, dtype=xp.float64)  # column k is the step between pixels k + 1 and k + 2
    of_phase = [by_column[:, (q - 2) % 8 :: 8] for q in range(8)]
    rows = steps.shape[1]
    return xp.stack([xp.sum(sums, axis=-1) / (1000.0 * rows * sums.shape[-1]) for sums in of_phase], axis=-1)


@signal_map
def demosaicing_residual(planes: Array) -> Array:
    """Demosaicing residual: four times a sample minus its four neighbours; small where a sample was interpolated.

    (B, 3, H, W) float32 -> (B, 3, H-2, W-2) float32, whole numbers -1020..1020

        R[y, x] = 4 I[y, x] - I[y-1, x] - I[y+1, x] - I[y, x-1] - I[y, x+1]

    Source: Gallagher and Chen 2008, "Image authentication by detecting traces of demosaicing", CVPR workshops,
    doi 10.1109/CVPRW.2008.4562984, section 2 (their high-pass filter, on green).
    Raises DataError below 6 x 6 pixels.
    """
    require_sides(planes, 6, "demosaicing_residual")
    xp = namespace(planes)
    result = 4 * planes[..., 1:-1, 1:-1]
    for neighbour in (
        planes[..., :-2, 1:-1], planes[..., 2:, 1:-1], planes[..., 1:-1, :-2], planes[..., 1:-1, 2:]
    ):  # fmt: skip
        result -= neighbour
    return xp.asarray(result)
