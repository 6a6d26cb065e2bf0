"""The named ways from decoded pixels to one size: a crop or a resize that has no name here does not happen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image

from fdetect.errors import ParameterError

__all__ = ["Geometry"]

_FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
_GRID = 8  # px of the JPEG grid


@dataclass(frozen=True)
class Geometry:
    """A named way to one exact size; it stands in the configuration, the cache key and the report.

    as_is          unchanged
    trim           sides cut to multiples of size, at the bottom and at the right
    aligned_crop   centre crop on the 8-px grid; smaller images unchanged
    textured_crop  of all crops on the 8-px grid, the one with the most texture; smaller images unchanged
    centre_crop    centre crop of exactly size x size, as torchvision's CenterCrop: no resize, and a smaller image gets
                   a border of zeros, an artefact that says how large the image was
    squash         resize to size x size without keeping the aspect ratio
    resize_crop    shorter side to size, longer side to int(size * long / short), then the centre, as torchvision's
                   Resize and CenterCrop

    size    side in pixels; 0 for "as_is"
    filter  "bilinear" or "bicubic", with Pillow's anti-aliasing; used where something is resized
    """

    name: str = "as_is"
    size: int = 0
    filter: str = ""

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """Apply to (H, W, 3) uint8 pixels; raises ParameterError for a name or filter that does not exist."""
        if self.name in _CROPS:
            return _CROPS[self.name](pixels, self.size)
        if self.name not in ("squash", "resize_crop"):
            raise ParameterError(f"no geometry '{self.name}' ({', '.join((*_CROPS, 'squash', 'resize_crop'))})")
        if self.filter not in _FILTERS:
            raise ParameterError(f"geometry {self.name} has no filter '{self.filter}' ({', '.join(_FILTERS)})")
        height, width = to = (self.size, self.size)
        if self.name == "resize_crop":
            height, width = to = _shorter_to(self.size, pixels.shape[0], pixels.shape[1])
        if to != pixels.shape[:2]:
            pixels = np.asarray(Image.fromarray(pixels).resize((width, height), _FILTERS[self.filter]))
        return _centre_crop(pixels, self.size)


def _as_is(pixels: np.ndarray, size: int) -> np.ndarray:
    return pixels


def _trim(pixels: np.ndarray, size: int) -> np.ndarray:
    height, width = (side // size * size for side in pixels.shape[:2])
    return pixels[:height, :width]


def _aligned_crop(pixels: np.ndarray, size: int) -> np.ndarray:
    top, left = (max(side - size, 0) // 2 // _GRID * _GRID for side in pixels.shape[:2])
    return pixels[top : top + size, left : left + size]


def _textured_crop(pixels: np.ndarray, size: int) -> np.ndarray:
    """Texture is the sum of absolute differences of neighbours in the green plane, over whole cells of 8 x 8 px.

    The first crop in reading order wins a tie.
    """
    height, width = pixels.shape[:2]
    if height < size + _GRID and width < size + _GRID:
        return pixels[:size, :size]  # a single place
    green, change = pixels[:, :, 1].astype(np.int16), np.zeros((height, width), np.int16)
    change[:, 1:] += np.abs(np.diff(green, axis=1))
    change[1:] += np.abs(np.diff(green, axis=0))
    rows, columns = height // _GRID, width // _GRID
    of_rows = change[: rows * _GRID].reshape(rows, _GRID, width).sum(1, dtype=np.int64)[:, : columns * _GRID]
    cells = of_rows.reshape(rows, columns, _GRID).sum(2)
    total = np.zeros((rows + 1, columns + 1), np.int64)
    total[1:, 1:] = cells.cumsum(0).cumsum(1)
    # places of the crop along each axis, and the whole cells that it covers there
    (n_down, high), (n_right, wide) = (
        (max(side - size, 0) // _GRID + 1, min(side, size) // _GRID) for side in (height, width)
    )
    bands = total[high : high + n_down] - total[:n_down]
    inside = bands[:, wide : wide + n_right] - bands[:, :n_right]
    row, column = np.unravel_index(int(inside.argmax()), inside.shape)
    top, left = int(row) * _GRID, int(column) * _GRID
    return pixels[top : top + size, left : left + size]


def _centre_crop(pixels: np.ndarray, size: int) -> np.ndarray:
    """Pad, then cut at round((side - size) / 2), halves to even; Source: torchvision, `functional.center_crop`."""
    missing = [max(size - side, 0) for side in pixels.shape[:2]]
    if any(missing):
        pixels = np.pad(pixels, [*((n // 2, (n + 1) // 2) for n in missing), (0, 0)])
    top, left = (round((side - size) / 2) for side in pixels.shape[:2])
    return pixels[top : top + size, left : left + size]


def _shorter_to(size: int, height: int, width: int) -> tuple[int, int]:
    """Source: torchvision, `transforms.functional._compute_resized_output_size`."""
    longer = int(size * max(height, width) / min(height, width))
    return (size, longer) if height <= width else (longer, size)


_CROPS: dict[str, Callable[[np.ndarray, int], np.ndarray]] = {
    "as_is": _as_is,
    "trim": _trim,
    "aligned_crop": _aligned_crop,
    "textured_crop": _textured_crop,
    "centre_crop": _centre_crop,
}
