"""Whether a thumbnail shows what a picture shows: how far apart the two are where they differ most.

The picture is made as small as the thumbnail, turned as it may be and laid on it as cameras do, and its tones are
fitted to the thumbnail's; what then remains is what tones, scale and turning do not explain.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter, uniform_filter

__all__ = ["SAME", "SMALLEST", "Match", "match"]

# A distance up to this is one picture.  Between what was measured on half of the sources (15 camera files and 64 made
# ones: at most 0.31; 19 in 20 splices of a tenth of the picture: at least 0.75).  On the other half no agreeing pair
# of 67 was above (at most 0.36), and all 67 exchanged thumbnails, 201 of 201 splices of 10 to 30 %, 97 % of 5 % and
# 93 % of 3 % were.  Parts that were smeared over are seen less: 81 % of 10 %, 35 % of 5 %.  A cut of 2 % of the sides
# is not seen, of 10 % it is (96 %).  A change of colour that leaves the luma is not.
SAME = 0.5
SMALLEST = 24  # px of the shorter side of what is compared; below it there is no picture to speak of

_LONGEST = 160  # px of the longer side at which both are compared, as in the EXIF of most cameras
_SMOOTH = 2.0  # px: thumbnails of some cameras take every tenth pixel, and differ in all that is fine
_SHIFT = 2  # px the two may be apart
_WINDOW = 0.25  # of the shorter side: the square over which a difference is averaged
_FLAT = 2.0  # standard deviation of luma below which a thumbnail shows nothing
_BLACK = 32  # luma of a bar at most, JPEG included
_TURNS = (1, 3, 6, 8)  # EXIF orientations that are turns: viewers turn the picture and leave the thumbnail
_TRANSPOSED = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}  # EXIF orientation -> Image.Transpose


@dataclass(frozen=True)
class Match:
    """The best way to lay a picture on a thumbnail.

    distance  RMS of the luma that remains in the worst window, over the standard deviation of the thumbnail's luma
    turn      the EXIF orientation that was done to the picture, 1 for none
    fit       "whole", "cropped" (its middle or an end, in the thumbnail's shape) or "with bars" (black, around it)
    correlation  of the two lumas, over the whole
    """

    distance: float
    turn: int
    fit: str
    correlation: float


def match(picture: np.ndarray, thumbnail: np.ndarray, orientation: int = 1) -> Match | None:
    """Compare (H, W, 3) uint8 with (h, w, 3) uint8; None where there is too little to compare.

    orientation  of the picture's EXIF, which is tried along with the quarter turns

    With m and t the lumas of picture and thumbnail, smoothed by a Gaussian of 2 px and shifted by at most 2 px, and
    f(m) the cubic that fits t best, twice, the second time without the worst fifth, cut to 0 .. 255: distance = max
    over square windows of sqrt(mean((f(m) - t)^2)) / std(t).
    """
    small = _small(Image.fromarray(thumbnail), _LONGEST)
    large = _small(Image.fromarray(picture), 4 * _LONGEST)
    if min(small.size) < SMALLEST or min(large.size) < SMALLEST:
        return None
    wanted = _luma(small)
    if np.std(wanted) < _FLAT:
        return None
    found = []
    for turn in dict.fromkeys((orientation, *_TURNS)):
        turned = large if turn == 1 else large.transpose(Image.Transpose(_TRANSPOSED[turn]))
        for fit, laid, target in _laid(turned, wanted):
            laid, target = gaussian_filter(laid, _SMOOTH), gaussian_filter(target, _SMOOTH)
            found.append((_correlation(laid, target), turn, fit, laid, target))
    _, turn, fit, laid, target = max(found, key=lambda one: one[0])
    laid, target = _aligned(laid, target)
    return Match(_worst(laid, target), turn, fit, _correlation(laid, target))


def _laid(image: Image.Image, wanted: np.ndarray) -> list[tuple[str, np.ndarray, np.ndarray]]:
    h, w = wanted.shape
    laid = [("whole", _resized(image, w, h), wanted)]
    shape, own = w / h, image.width / image.height
    if abs(np.log(shape / own)) > 0.01:
        across, down = min(image.width, image.height * shape), min(image.height, image.width / shape)
        for along in (0.0, 0.5, 1.0):
            left, top = along * (image.width - across), along * (image.height - down)
            box = (left, top, left + across, top + down)
            laid.append(("cropped", _resized(image, w, h, box), wanted))
    for rows, columns in ((_between_bars(wanted), _between_bars(wanted.T)), _middle(wanted, own)):
        inside = wanted[rows, columns]
        if inside.shape != wanted.shape and min(inside.shape) >= SMALLEST:
            laid.append(("with bars", _resized(image, inside.shape[1], inside.shape[0]), inside))
    return laid


def _middle(luma: np.ndarray, shape: float) -> tuple[slice, slice]:
    """Return where a picture of a shape, width / height, lies between bars of the same width, if these are black."""
    h, w = luma.shape
    across, down = min(w, round(h * shape)), min(h, round(w / shape))
    left, top = (w - across) // 2, (h - down) // 2
    bars = np.ones(luma.shape, dtype=bool)
    bars[max(top - 2, 0) : top + down + 2, max(left - 2, 0) : left + across + 2] = False  # JPEG blurs the edge of a bar
    if not bars.any() or np.quantile(luma[bars], 0.95) >= _BLACK:
        return slice(0, h), slice(0, w)
    return slice(top, top + down), slice(left, left + across)


def _between_bars(luma: np.ndarray) -> slice:
    bright = np.flatnonzero(np.quantile(luma, 0.95, axis=1) >= _BLACK)
    if not bright.size or bright[-1] - bright[0] + 1 == len(luma):
        return slice(0, len(luma))
    first, last = int(bright[0]), int(bright[-1]) + 1
    return slice(first + 1 if first else 0, last - 1 if last < len(luma) else last)


def _resized(
    image: Image.Image, w: int, h: int, box: tuple[float, float, float, float] | None = None
) -> np.ndarray:
    return _luma(image.resize((w, h), Image.Resampling.BICUBIC, box=box))


def _aligned(laid: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    s = _SHIFT
    h, w = target.shape
    inner = target[s : h - s, s : w - s]
    shifted = [laid[i : h - 2 * s + i, j : w - 2 * s + j] for i in range(2 * s + 1) for j in range(2 * s + 1)]
    return max(shifted, key=lambda one: _correlation(one, inner)), inner


def _worst(laid: np.ndarray, target: np.ndarray) -> float:
    m, t = laid.ravel() / 255.0, target.ravel() / 255.0
    used = np.ones(m.size, dtype=bool)
    for _ in range(2):
        terms = np.vander(m, 4)
        fitted = np.linalg.lstsq(terms[used], t[used], rcond=None)[0]
        left = np.abs(np.clip(terms @ fitted, 0, 1) - t)
        used = left <= np.quantile(left, 0.8)
    side = max(round(_WINDOW * min(target.shape)), 3)
    mean = uniform_filter((left**2).reshape(target.shape), side)
    inside = tuple(slice(side // 2, length - side + side // 2 + 1) for length in target.shape)
    worst = max(float(mean[inside].max()), 0.0)
    return float(np.sqrt(worst) / max(float(np.std(t)), _FLAT / 255))


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    a, b = a - a.mean(), b - b.mean()
    scale = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum()) / scale if scale > 0 else 0.0


def _small(image: Image.Image, longest: int) -> Image.Image:
    scale = longest / max(image.size)
    if scale >= 1:
        return image
    size = (max(round(image.width * scale), 1), max(round(image.height * scale), 1))
    return image.resize(size, Image.Resampling.BICUBIC, reducing_gap=3.0)


def _luma(image: Image.Image) -> np.ndarray:
    return np.asarray(image.convert("L")).astype(np.float64)
