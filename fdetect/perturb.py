"""Perturbations, the conditions made of them, and randomness that belongs to an image's content.

A condition is applied alike to both classes.  `native` leaves the stored pixels.  Every other one crops at an
offset drawn from the content hash, at any phase of the 8-px grid, perturbs, and ends in one JPEG encoding
(4:2:0), so that every image of the column has the same size, container and quantisation tables:

    matched    crop C, JPEG Q90            jpeg70      crop C, JPEG Q70 (no Q90 before it)
    resize50   crop C, to C/2, JPEG Q90    rescaled    crop round(C'/s), bicubic to C', JPEG Q90,
    blur1      crop C, blur, JPEG Q90                  C' = 0.7 C down to a multiple of 8, s from 0.7-0.9
    noise2+jpeg80, resize50+blur1, ...     chains: crop C, the operations in order, one JPEG at the end
"""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import xxhash
from PIL import Image, ImageFilter

from fdetect.errors import DataError, ParameterError
from fdetect.images import Decoded, decode
from fdetect.registry import Registry, nearest

__all__ = ["FINAL_QUALITY", "MARGIN", "MIN_CROP", "Condition", "condition", "perturbation", "rng_for"]

MARGIN = 8  # px by which both sides must exceed the window, so that a crop can take any phase of the JPEG grid
FINAL_QUALITY = 90
MIN_CROP = 64  # px: the smallest crop of a run; crops are multiples of 8

perturbation = Registry("perturbation")  # (pixels (H, W, 3) uint8, amount, rng) -> pixels


def rng_for(seed: int, content: str, purpose: str) -> np.random.Generator:
    """Return the random generator of one image for one purpose: order, batch and worker change nothing."""
    return np.random.default_rng(xxhash.xxh3_128_intdigest(f"{seed}/{content}/{purpose}".encode()))


@perturbation
def jpeg(pixels: np.ndarray, amount: float, rng: np.random.Generator) -> np.ndarray:
    """JPEG at quality `amount`, 4:2:0, encoded by Pillow: (H, W, 3) uint8 -> the same shape."""
    return decode(_encode(pixels, "JPEG", quality=int(amount), subsampling=2)).pixels


@perturbation
def webp(pixels: np.ndarray, amount: float, rng: np.random.Generator) -> np.ndarray:
    """Lossy WebP at quality `amount`, encoded by Pillow: (H, W, 3) uint8 -> the same shape."""
    return decode(_encode(pixels, "WEBP", quality=int(amount))).pixels


@perturbation
def resize(pixels: np.ndarray, amount: float, rng: np.random.Generator) -> np.ndarray:
    """Resize to `amount` per cent of each side, bicubic with anti-aliasing: (H, W, 3) uint8 -> smaller or larger."""
    height, width = (max(1, round(side * amount / 100)) for side in pixels.shape[:2])
    return np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC))


@perturbation
def blur(pixels: np.ndarray, amount: float, rng: np.random.Generator) -> np.ndarray:
    """Gaussian blur, sigma = `amount` px (Pillow's box approximation): (H, W, 3) uint8 -> the same shape."""
    return np.asarray(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(amount)))


@perturbation
def noise(pixels: np.ndarray, amount: float, rng: np.random.Generator) -> np.ndarray:
    """Gaussian noise, sigma = `amount` of 255 levels, rounded and clipped: (H, W, 3) uint8 -> the same shape."""
    noisy = pixels + rng.normal(0.0, amount, pixels.shape)
    return np.clip(np.rint(noisy), 0, 255).astype(np.uint8)


@dataclass(frozen=True)
class Condition:
    """A named chain, read from its name by `condition`; `after_jpeg` adds one JPEG pass before it (audit only)."""

    name: str
    steps: tuple[tuple[str, float], ...] = ()  # (perturbation, amount) between the crop and the end
    rescaled: bool = False
    after_jpeg: bool = False

    @property
    def is_native(self) -> bool:
        """Whether pixels stay as stored (no crop; the detector's own geometry decides what it sees)."""
        return self.name.removeprefix("after_jpeg:") == "native"

    def window(self, crop: int) -> int:
        """Return the largest side in px that this condition may cut for a crop of `crop`."""
        return round(_rescaled_side(crop) / 0.7) if self.rescaled else crop

    def __call__(self, image: Decoded, content: str, *, seed: int, crop: int) -> Decoded:
        """Apply to one image; raises DataError where a side does not exceed the window by MARGIN px."""
        height, width = image.pixels.shape[:2]
        if min(height, width) < self.window(crop) + MARGIN:
            fits = min(height, width) >= self.window(MIN_CROP) + MARGIN
            raise DataError(
                f"{width}x{height} is too small for condition {self.name}: both sides need "
                f"{self.window(crop) + MARGIN} px "
                f"({'a smaller --crop accepts it' if fits else f'no --crop fits it: the least is {MIN_CROP}'})"
            )
        if self.after_jpeg:  # another JPEG history for the same picture, on its own grid
            quality = int(rng_for(seed, content, "after_jpeg").integers(75, 96))
            image = decode(_encode(image.pixels, "JPEG", quality=quality, subsampling=2))
        if self.is_native:
            return image
        side = crop
        if self.rescaled:
            side = round(_rescaled_side(crop) / rng_for(seed, content, "rescale").uniform(0.7, 0.9))
        pixels = _shifted_crop(image.pixels, side, rng_for(seed, content, "crop"))
        if self.rescaled:
            target = _rescaled_side(crop)
            pixels = np.asarray(Image.fromarray(pixels).resize((target, target), Image.Resampling.BICUBIC))
        seen: list[str] = []
        for name, amount in self.steps[:-1]:
            purpose = f"{name}/{seen.count(name)}" if name in seen else name  # noise twice is not the same noise twice
            pixels = perturbation.get(name)(pixels, amount, rng_for(seed, content, purpose))
            seen.append(name)
        return decode(_encode(pixels, "JPEG", quality=int(self.steps[-1][1]), subsampling=2))


def condition(name: str) -> Condition:
    """Read a condition's name; raises ParameterError for an operation or an amount that cannot be used."""
    if name == "native":
        return Condition("native")
    words = [] if name == "matched" else name.split("+")
    rescaled = bool(words) and words[0] == "rescaled"
    steps = [_step(word, name) for word in words[rescaled:]]
    if any(step == "jpeg" for step, _ in steps[:-1]):
        raise ParameterError(f"condition '{name}': a chain ends in one JPEG encoding, so jpegQ can only come last")
    if not steps or steps[-1][0] != "jpeg":
        steps.append(("jpeg", FINAL_QUALITY))
    return Condition(name, tuple(steps), rescaled)


def _step(word: str, name: str) -> tuple[str, float]:
    match = re.fullmatch(r"([a-z_]+?)(\d+(?:\.\d+)?)", word)
    if not match or match[1] not in perturbation:
        known = ["native", "matched", "rescaled", *perturbation.names()]
        stem = word.rstrip("0123456789.")
        hint = f"; '{stem}' takes one number as its amount" if stem in perturbation else nearest(stem, known)
        raise ParameterError(
            f"no condition '{name}'{hint} "
            "(native, matched, rescaled, jpeg70, resize50, blur1, noise2, webp80, or a chain such as resize50+blur1)"
        )
    amount = float(match[2])
    limit = {"jpeg": (1, 100), "webp": (1, 100), "resize": (10, 400), "blur": (0.1, 20), "noise": (0.1, 100)}
    low, high = limit.get(match[1], (0, float("inf")))
    if not low <= amount <= high:
        raise ParameterError(f"condition '{name}': {match[1]} takes {low:g} to {high:g}, got {amount:g}")
    if match[1] in ("jpeg", "webp") and not amount.is_integer():
        raise ParameterError(f"condition '{name}': {match[1]} takes whole qualities, got {amount:g}")
    return match[1], amount


def _rescaled_side(crop: int) -> int:
    return int(0.7 * crop + 1e-9) // 8 * 8


def _shifted_crop(pixels: np.ndarray, side: int, rng: np.random.Generator) -> np.ndarray:
    top, left = (int(u * (length - side + 1)) for u, length in zip(rng.random(2), pixels.shape, strict=False))
    return pixels[top : top + side, left : left + side]


def _encode(pixels: np.ndarray, container: str, **settings: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(file, container, **settings)
    return file.getvalue()
