"""Wear: what files and editors do to a picture, as registered operations that chain in conditions.

An operation takes (H, W, 3) uint8 pixels, one amount, and the random generator of the picture's content, and never
hears of a label: both classes are treated alike.  Its decorator says which amounts it takes (`Amounts`), so that a name
such as `blur1.5` is checked where it is read.  Here are codecs, sampling, filters and levels; what people and
platforms do with pictures is in sharing.py, the encoding to one number of bytes in parity.py.

    @perturbation(amounts=Amounts(0.1, 20, neutral=0))
    def blur(pixels, amount, rng): ...

What a decorator may say beside `amounts` (None: the name stands without a number):

    encode   (pixels, amount) -> bytes of a JPEG file: the operation ends a chain
    quality  of the JPEG that ends a chain after it, so that nothing can follow
    moves    True where pixels do not stay in their places
    needs    a feature of Pillow without which it cannot run, as Pillow calls it
"""

from __future__ import annotations

import io
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter

from fdetect.images import decode
from fdetect.registry import Entry, Registry

__all__ = [
    "Amounts", "amounts_of", "avif", "blur", "colour", "coloured", "double", "downup", "encode_jpeg", "gamma", "jpeg",
    "median", "noise", "on_grid_before", "perturbation", "resize", "sharpen", "webp",
]  # fmt: skip

perturbation = Registry("perturbation")  # (pixels (H, W, 3) uint8, amount, rng) -> pixels


@dataclass(frozen=True)
class Amounts:
    """The amounts that an operation takes: from low to high, ends included, and in steps from low where it has any.

    neutral  the amount that would change nothing; None for a codec's quality, of which less is worse
    usual    the range that a seeded chain draws from; None: never drawn
    word     what amounts in steps are called, as in "whole qualities"
    """

    low: float
    high: float
    neutral: float | None = None
    usual: tuple[float, float] | None = None
    step: float = 0.0
    word: str = ""

    def refusal(self, amount: float) -> str:
        """Return why an amount cannot be taken, as in "takes 1 to 100, got 0"; empty where it can."""
        if not self.low <= amount <= self.high:
            return f"takes {self.low:g} to {self.high:g}, got {amount:g}"
        if self.step and (amount - self.low) % self.step:
            return f"takes {self.word}, got {amount:g}"
        return ""

    def drawn(self, u: float) -> float:
        """Return the amount at a place u in 0..1 of the usual range, on the steps."""
        low, high = self.usual or (self.low, self.high)
        amount = low + u * (high - low)
        return self.low + round((amount - self.low) / self.step) * self.step if self.step else amount


def amounts_of(entry: Entry) -> Amounts | None:
    """Return the amounts of an operation; None where it takes no number.  A plug-in that does not say takes any."""
    found: Amounts | None = entry.meta.get("amounts", Amounts(0, math.inf, neutral=0))
    return found


def _qualities(usual: tuple[float, float] | None = None) -> Amounts:
    return Amounts(1, 100, usual=usual, step=1.0, word="whole qualities")


# --- codecs -------------------------------------------------------------------------------------------------------


def encode_jpeg(pixels: np.ndarray, amount: float) -> bytes:
    """Encode (H, W, 3) uint8 as a baseline JPEG at quality `amount`, 4:2:0, by Pillow."""
    return _encode(pixels, "JPEG", quality=int(amount), subsampling=2)


@perturbation(amounts=_qualities(), encode=encode_jpeg)
def jpeg(pixels: np.ndarray, amount: float, rng: np.random.Generator) -> np.ndarray:
    """JPEG at quality `amount`, 4:2:0, encoded by Pillow: (H, W, 3) uint8 -> the same shape."""
    return decode(encode_jpeg(pixels, amount)).pixels


@perturbation(amounts=_qualities(usual=(60, 95)))
def webp(pixels: np.ndarray, amount: float, rng: np.random.Generator) -> np.ndarray:
    """Lossy WebP at quality `amount`, encoded by Pillow: (H, W, 3) uint8 -> the same shape."""
    return decode(_encode(pixels, "WEBP", quality=int(amount))).pixels


@perturbation(amounts=_qualities(), needs="avif")
def avif(pixels: np.ndarray, amount: float, rng: np.random.Generator) -> np.ndarray:
    """AVIF at quality `amount`, 4:2:0, speed 6, encoded by Pillow in one thread: (H, W, 3) uint8 -> the same shape."""
    return decode(_encode(pixels, "AVIF", quality=int(amount), subsampling="4:2:0", speed=6, max_threads=1)).pixels


@perturbation(amounts=_qualities(usual=(60, 95)))
def double(pixels: np.ndarray, amount: float, rng: np.random.Generator) -> np.ndarray:
    """An earlier JPEG at quality `amount`, 4:2:0, on a drawn grid: (H, W, 3) uint8 -> the same shape.

    Its blocks begin (dy, dx) px before the picture, one of the 63 shifts in 0..7 that are not (0, 0); what lies there
    is mirrored.  The JPEG that ends every condition is the second: `double70` is Q70 on a shifted grid, then Q90.
    """
    rows, columns = divmod(int(rng.integers(1, 64)), 8)
    return on_grid_before(jpeg, pixels, amount, rows, columns, rng)


def on_grid_before(
    codec: Any, pixels: np.ndarray, amount: float, rows: int, columns: int, rng: np.random.Generator
) -> np.ndarray:
    """Put pixels through a codec whose blocks begin `rows`, `columns` px before them; what lies there is mirrored."""
    shown = codec(np.pad(pixels, ((rows, 0), (columns, 0), (0, 0)), mode="symmetric"), amount, rng)
    return np.asarray(shown[rows:, columns:])


# --- sampling -----------------------------------------------------------------------------------------------------


@perturbation(amounts=Amounts(10, 400, neutral=100), moves=True)
def resize(pixels: np.ndarray, amount: float, rng: np.random.Generator) -> np.ndarray:
    """Resize to `amount` per cent of each side, bicubic with anti-aliasing: (H, W, 3) uint8 -> smaller or larger."""
    height, width = (max(1, round(side * amount / 100)) for side in pixels.shape[:2])
    return np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC))


@perturbation(amounts=Amounts(10, 400, neutral=100, usual=(50, 90)))
def downup(pixels: np.ndarray, amount: float, rng: np.random.Generator) -> np.ndarray:
    """Resize to `amount` per cent of each side and back, both as `resize`: (H, W, 3) uint8 -> the same shape."""
    small = Image.fromarray(resize(pixels, amount, rng))
    return np.asarray(small.resize((pixels.shape[1], pixels.shape[0]), Image.Resampling.BICUBIC))


# --- filters ------------------------------------------------------------------------------------------------------


@perturbation(amounts=Amounts(0.1, 20, neutral=0, usual=(0.3, 1.5)))
def blur(pixels: np.ndarray, amount: float, rng: np.random.Generator) -> np.ndarray:
    """Gaussian blur, sigma = `amount` px (Pillow's box approximation): (H, W, 3) uint8 -> the same shape."""
    return np.asarray(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(amount)))


@perturbation(amounts=Amounts(1, 500, neutral=0, usual=(20, 150), step=1.0, word="whole per cent"))
def sharpen(pixels: np.ndarray, amount: float, rng: np.random.Generator) -> np.ndarray:
    """Unsharp mask of `amount` per cent, radius 2 px, no threshold: (H, W, 3) uint8 -> the same shape.

        out = clip(x + amount / 100 * (x - blur(x, 2)))
    """
    return np.asarray(Image.fromarray(pixels).filter(ImageFilter.UnsharpMask(2, int(amount), 0)))


@perturbation(amounts=Amounts(3, 9, neutral=1, usual=(3, 3), step=2.0, word="odd sizes"))
def median(pixels: np.ndarray, amount: float, rng: np.random.Generator) -> np.ndarray:
    """Median of `amount` x `amount` px in each channel, borders repeated: (H, W, 3) uint8 -> the same shape."""
    return np.asarray(Image.fromarray(pixels).filter(ImageFilter.MedianFilter(int(amount))))


# --- levels -------------------------------------------------------------------------------------------------------


@perturbation(amounts=Amounts(0.1, 100, neutral=0, usual=(1, 6)))
def noise(pixels: np.ndarray, amount: float, rng: np.random.Generator) -> np.ndarray:
    """Gaussian noise, sigma = `amount` of 255 levels, rounded and clipped: (H, W, 3) uint8 -> the same shape."""
    noisy = pixels + rng.normal(0.0, amount, pixels.shape)
    return np.clip(np.rint(noisy), 0, 255).astype(np.uint8)


@perturbation(amounts=Amounts(20, 500, neutral=100, usual=(70, 140)))
def gamma(pixels: np.ndarray, amount: float, rng: np.random.Generator) -> np.ndarray:
    """Gamma of `amount` per cent, above 100 darker: (H, W, 3) uint8 -> the same shape.

        out = round(255 * (x / 255) ** (amount / 100))
    """
    table = np.rint(255 * (np.arange(256) / 255) ** (amount / 100)).astype(np.uint8)
    return np.asarray(table[pixels])


@perturbation(amounts=Amounts(1, 90, neutral=0, usual=(5, 25)))
def colour(pixels: np.ndarray, amount: float, rng: np.random.Generator) -> np.ndarray:
    """Brightness, contrast and saturation, each changed by up to `amount` per cent: (H, W, 3) uint8 -> the same shape.

    Three factors drawn uniformly in 1 - amount / 100 .. 1 + amount / 100, applied in this order as in `coloured`.
    """
    return coloured(pixels, *map(float, rng.uniform(1 - amount / 100, 1 + amount / 100, 3)))


def coloured(pixels: np.ndarray, brightness: float, contrast: float, saturation: float) -> np.ndarray:
    """Blend with black, with the mean grey, with the grey picture; a factor of 1 changes nothing, below 1 is duller."""
    shown = ImageEnhance.Brightness(Image.fromarray(np.ascontiguousarray(pixels))).enhance(brightness)
    return np.asarray(ImageEnhance.Color(ImageEnhance.Contrast(shown).enhance(contrast)).enhance(saturation))


def _encode(pixels: np.ndarray, container: str, **settings: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(file, container, **settings)
    return file.getvalue()
