"""Halves of aligned pairs and laundered conditions, made of the whole picture, plainly: the truth for those that cut.

Everything that the real ones do to a window is done here to the whole picture: it is resized, goes through the
launderer, is resized, is JPEG-encoded, and is cropped last.  Nothing of fdetect is used.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import xxhash
from PIL import Image, ImageFilter

Launder = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Cells:
    """Stands for a network: every `side` x `side` cell, counted from the corner of what it is given, becomes its mean.

    It looks nowhere else, and it sees the phase of the grid, as the decoder of a latent does.
    """

    side: int = 8

    @property
    def settings(self) -> dict[str, object]:
        return {"kind": "Cells", **vars(self)}

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        tops, lefts = (np.arange(0, length, self.side) for length in pixels.shape[:2])
        sums = np.add.reduceat(np.add.reduceat(pixels.astype(np.float64), tops, axis=0), lefts, axis=1)
        heights, widths = (np.diff([*starts, n]) for starts, n in zip((tops, lefts), pixels.shape[:2], strict=False))
        means = np.round(sums / (heights[:, None] * widths)[..., None]).astype(np.uint8)
        return np.repeat(np.repeat(means, heights, axis=0), widths, axis=1)


@dataclass(frozen=True)
class Identity:
    """A round trip that loses nothing."""

    @property
    def settings(self) -> dict[str, object]:
        return {"kind": "Identity", **vars(self)}

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        return pixels.copy()


@dataclass(frozen=True)
class Negative:
    """A round trip that can be undone."""

    @property
    def settings(self) -> dict[str, object]:
        return {"kind": "Negative", **vars(self)}

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        return 255 - pixels


@dataclass(frozen=True)
class Drawn:
    """A history as it is drawn: sides in per cent, quality 0 for none."""

    before: float
    after: float
    quality: int


def generator(seed: int, content: str, purpose: str) -> np.random.Generator:
    return np.random.default_rng(int(xxhash.xxh3_128_hexdigest(f"{seed}/{content}/{purpose}".encode()), 16))


def history(rng: np.random.Generator, least: float) -> Drawn:
    """Six numbers in this order: made smaller before? after? encoded? by how much before, after, at which quality."""
    smaller_before, smaller_after = rng.random() < 0.5, rng.random() < 0.5
    encoded = rng.random() < 0.5
    before, after = 50 + 50 * rng.random(), 50 + 50 * rng.random()
    quality = int(rng.integers(70, 98))
    before = min(max(before, least), 100.0) if smaller_before else 100.0
    after = min(max(after, 100 * least / before), 100.0) if smaller_after else 100.0
    return Drawn(before, after, quality if encoded else 0)


def jpeg(pixels: np.ndarray, quality: int) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(file, "JPEG", quality=quality, subsampling="4:2:0")
    return np.array(Image.open(file).convert("RGB"))


def resized(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    return np.array(Image.fromarray(np.ascontiguousarray(pixels)).resize((width, height), Image.Resampling.BICUBIC))


def shrunk(pixels: np.ndarray, percent: float) -> np.ndarray:
    """Both sides to a percentage, rounded."""
    if percent >= 100:
        return pixels
    height, width = (round(side * percent / 100) for side in pixels.shape[:2])
    return resized(pixels, height, width)


def rescaled_side(crop: int) -> int:
    return 8 * (7 * crop // 80)


def cut_side(name: str, content: str, seed: int, crop: int) -> int:
    if not name.startswith("rescaled"):
        return crop
    return round(rescaled_side(crop) / generator(seed, content, "rescale").uniform(0.7, 0.9))


def finished(cut: np.ndarray, name: str, crop: int) -> np.ndarray:
    """The rest of a condition: `matched`, `rescaled`, and chains of these words with jpegQ, resize50 and blur1."""
    words, quality = [word for word in name.split("+") if word != "matched"], 90
    for word in words:
        if word == "rescaled":
            cut = resized(cut, rescaled_side(crop), rescaled_side(crop))
        elif word == "resize50":
            cut = shrunk(cut, 50)
        elif word == "blur1":
            cut = np.array(Image.fromarray(np.ascontiguousarray(cut)).filter(ImageFilter.GaussianBlur(1)))
        else:
            quality = int(word.removeprefix("jpeg"))
    return jpeg(cut, quality)


def laundered(pixels: np.ndarray, name: str, content: str, seed: int, crop: int, launder: Launder) -> np.ndarray:
    """`launder_X+name`: the whole picture through the launderer, then the condition `name`."""
    side = cut_side(name, content, seed, crop)
    u, v = generator(seed, content, "crop").random(2)
    top, left = int(u * (pixels.shape[0] - side + 1)), int(v * (pixels.shape[1] - side + 1))
    return finished(launder(pixels)[top : top + side, left : left + side], name, crop)


@dataclass(frozen=True)
class Half:
    """What became of one half, and the history it had."""

    pixels: np.ndarray
    history: Drawn


def half(
    pixels: np.ndarray, name: str, content: str, *, seed: int, crop: int, draw: int, launder: Launder | None = None,
    with_history: bool = True,
) -> Half:  # fmt: skip
    """One half of the pair `draw` under the condition `name`, of the whole picture.

    Where the picture was made smaller afterwards, the real half lies up to a pixel beside this one: what it resizes
    is a window, whose sides are rounded for themselves.
    """
    rng, round_trip = generator(seed, content, f"pair/{draw}"), launder or Identity()
    if name == "native":
        u, v = rng.random(2)
        top, left = (8 * int(w * ((n - crop) // 8 + 1)) for w, n in zip((u, v), pixels.shape[:2], strict=True))
        return Half(round_trip(pixels)[top : top + crop, left : left + crop], Drawn(100.0, 100.0, 0))
    side = cut_side(name, content, seed, crop)
    drawn = history(rng, 100 * (side + 8) / min(pixels.shape[:2])) if with_history else Drawn(100.0, 100.0, 0)
    shown = shrunk(pixels, drawn.before)
    inner = min(math.ceil(100 * (side + 1) / drawn.after), *shown.shape[:2]) if drawn.after < 100 else side
    u, v = rng.random(2)
    top, left = int(u * (shown.shape[0] - inner + 1)), int(v * (shown.shape[1] - inner + 1))
    shown = shrunk(round_trip(shown), drawn.after)
    if drawn.quality:
        shown = jpeg(shown, drawn.quality)
    top, left = (min(round(n * drawn.after / 100), m - side) for n, m in zip((top, left), shown.shape, strict=False))
    return Half(finished(shown[top : top + side, left : left + side], name, crop), drawn)
