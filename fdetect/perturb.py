"""Perturbations, the conditions made of them, and randomness that belongs to an image's content.

A condition is applied alike to both classes.  `native` leaves the stored pixels.  Every other one crops at an
offset drawn from the content hash, at any phase of the 8-px grid, perturbs, and ends in one JPEG encoding
(4:2:0), so that every image of the column has the same size, container and quantisation tables:

    matched    crop C, JPEG Q90            jpeg70      crop C, JPEG Q70 (no Q90 before it)
    resize50   crop C, to C/2, JPEG Q90    rescaled    crop round(C'/s), bicubic to C', JPEG Q90,
    blur1      crop C, blur, JPEG Q90                  C' = 0.7 C down to a multiple of 8, s from 0.7-0.9
    noise2+jpeg80, resize50+blur1, ...     chains: crop C, the operations in order, one JPEG at the end
    launder_NAME, launder_NAME+jpeg70      the stored picture through an autoencoder first, then the rest
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np
import xxhash
from PIL import Image, ImageFilter

from fdetect.errors import DataError, ParameterError
from fdetect.images import Decoded, decode
from fdetect.registry import Registry, nearest

__all__ = [
    "FINAL_QUALITY", "GRID", "MARGIN", "MIN_CROP", "Box", "Condition", "Launder", "condition", "launderer",
    "perturbation", "rng_for", "with_surroundings",
]  # fmt: skip

MARGIN = 8  # px by which both sides must exceed the window, so that a crop can take any phase of the JPEG grid
FINAL_QUALITY = 90
MIN_CROP = 64  # px: the smallest crop of a run; crops are multiples of 8
GRID = 16  # px from the picture's corner at which a window begins: the blocks of 4:2:0, and every latent's cells
HALO = 32  # px at least that go through a network around a crop, where the picture has them

perturbation = Registry("perturbation")  # (pixels (H, W, 3) uint8, amount, rng) -> pixels
launderer = Registry("launderer")  # (*, name) -> a `Launder`, a frozen dataclass; fdetect.nets registers it


class Launder(Protocol):
    """What a condition does to the stored picture before anything else: a frozen dataclass, so that it travels."""

    @property
    def settings(self) -> Mapping[str, Any]:
        """Everything that its result depends on beside the pixels, as JSON values."""
        ...

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """Return a window of the picture, (H, W, 3) uint8, in the same shape."""
        ...



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
class Box:
    """A square part of a picture, in px: rows top to top + side, columns left to left + side."""

    top: int
    left: int
    side: int

    @classmethod
    def drawn(cls, shape: tuple[int, ...], side: int, rng: np.random.Generator) -> Box:
        """Draw a place in a picture of this shape, at any phase of the JPEG grid."""
        top, left = (int(u * (length - side + 1)) for u, length in zip(rng.random(2), shape, strict=False))
        return cls(top, left, side)

    def of(self, pixels: np.ndarray) -> np.ndarray:
        """Cut: (H, W, 3) -> (side, side, 3), a view."""
        return pixels[self.top : self.top + self.side, self.left : self.left + self.side]


def with_surroundings(pixels: np.ndarray, box: Box) -> tuple[np.ndarray, Box]:
    """Cut a box with at least HALO px around it where the picture has them, and say where the box lies in the cut.

    The cut begins on the grid of GRID px from the picture's corner, so that what a network or a JPEG encoder makes of
    it has the same phase as if it were made of the whole picture.
    """
    top, left = (max(start - HALO, 0) // GRID * GRID for start in (box.top, box.left))
    cut = pixels[top : box.top + box.side + HALO, left : box.left + box.side + HALO]
    return cut, Box(box.top - top, box.left - left, box.side)


@dataclass(frozen=True)
class Condition:
    """A named chain, read from its name by `condition`; `after_jpeg` adds one JPEG pass before it (audit only).

    `launder` sees a window of the stored picture, before anything else of the chain.
    """

    name: str
    steps: tuple[tuple[str, float], ...] = ()  # (perturbation, amount) between the crop and the end
    rescaled: bool = False
    after_jpeg: bool = False
    launder: Launder | None = None

    @property
    def settings(self) -> dict[str, Any]:
        """Everything that a picture under this condition depends on beside its content, crop and seed."""
        found = asdict(self)
        if self.launder is not None:
            found["launder"] = dict(self.launder.settings)
        return found

    @property
    def is_native(self) -> bool:
        """Whether pixels stay as stored (no crop; the detector's own geometry decides what it sees)."""
        return not self.steps

    def window(self, crop: int) -> int:
        """Return the largest side in px that this condition may cut for a crop of `crop`."""
        return round(_rescaled_side(crop) / 0.7) if self.rescaled else crop

    def __call__(self, image: Decoded, content: str, *, seed: int, crop: int) -> Decoded:
        """Apply to one image; raises DataError where a side does not exceed the window by MARGIN px."""
        self.check_size(image.pixels, crop)
        if self.after_jpeg:  # another JPEG history for the same picture, on its own grid
            quality = int(rng_for(seed, content, "after_jpeg").integers(75, 96))
            image = decode(_encode(image.pixels, "JPEG", quality=quality, subsampling=2))
        if self.is_native:
            return image
        side = self.cut_side(content, seed=seed, crop=crop)
        box = Box.drawn(image.pixels.shape, side, rng_for(seed, content, "crop"))
        return self.at(image.pixels, box, content, seed=seed, crop=crop)

    def at(self, pixels: np.ndarray, box: Box, content: str, *, seed: int, crop: int) -> Decoded:
        """Apply to a box of a picture, (H, W, 3) uint8, of the side that `cut_side` says; not for native."""
        if self.launder:
            pixels, box = with_surroundings(pixels, box)
            return self.finish(box.of(self.launder(pixels)), content, seed=seed, crop=crop)
        return self.finish(box.of(pixels), content, seed=seed, crop=crop)

    def check_size(self, pixels: np.ndarray, crop: int) -> None:
        """Raise DataError where a side of (H, W, 3) pixels does not exceed the window by MARGIN px."""
        height, width = pixels.shape[:2]
        if min(height, width) < self.window(crop) + MARGIN:
            fits = min(height, width) >= self.window(MIN_CROP) + MARGIN
            raise DataError(
                f"{width}x{height} is too small for condition {self.name}: both sides need "
                f"{self.window(crop) + MARGIN} px "
                f"({'a smaller --crop accepts it' if fits else f'no --crop fits it: the least is {MIN_CROP}'})"
            )

    def cut_side(self, content: str, *, seed: int, crop: int) -> int:
        """Return the side in px that is cut from one image; never above `window`."""
        if not self.rescaled:
            return crop
        return round(_rescaled_side(crop) / rng_for(seed, content, "rescale").uniform(0.7, 0.9))

    def finish(self, pixels: np.ndarray, content: str, *, seed: int, crop: int) -> Decoded:
        """Carry what was cut through the rest of the chain, to its JPEG encoding."""
        if self.rescaled:
            target = _rescaled_side(crop)
            pixels = np.asarray(Image.fromarray(pixels).resize((target, target), Image.Resampling.BICUBIC))
        seen: list[str] = []
        for name, amount in self.steps[:-1]:
            purpose = f"{name}/{seen.count(name)}" if name in seen else name  # noise twice is not the same noise twice
            pixels = perturbation.get(name)(pixels, amount, rng_for(seed, content, purpose))
            seen.append(name)
        return decode(_encode(pixels, "JPEG", quality=int(self.steps[-1][1]), subsampling=2))


_LAUNDER = "launder_"


def condition(name: str) -> Condition:
    """Read a condition's name; raises ParameterError for an operation or an amount that cannot be used.

    `launder_NAME` raises WeightsError where the autoencoder is absent.
    """
    if name == "native":
        return Condition("native")
    words = [] if name == "matched" else name.split("+")
    launder = None
    if words and words[0].startswith(_LAUNDER):
        launder = launderer.get("autoencoder")(name=words.pop(0).removeprefix(_LAUNDER))
    rescaled = bool(words) and words[0] == "rescaled"
    steps = [_step(word, name) for word in words[rescaled:]]
    if any(step == "jpeg" for step, _ in steps[:-1]):
        raise ParameterError(f"condition '{name}': a chain ends in one JPEG encoding, so jpegQ can only come last")
    if not steps or steps[-1][0] != "jpeg":
        steps.append(("jpeg", FINAL_QUALITY))
    return Condition(name, tuple(steps), rescaled, launder=launder)


def _step(word: str, name: str) -> tuple[str, float]:
    match = re.fullmatch(r"([a-z_]+?)(\d+(?:\.\d+)?)", word)
    if not match or match[1] not in perturbation:
        known = ["native", "matched", "rescaled", *perturbation.names()]
        stem = word.rstrip("0123456789.")
        hint = f"; '{stem}' takes one number as its amount" if stem in perturbation else nearest(stem, known)
        raise ParameterError(
            f"no condition '{name}'{hint} "
            "(native, matched, rescaled, jpeg70, resize50, blur1, noise2, webp80, or a chain such as resize50+blur1; "
            "launder_NAME alone or at its front)"
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


def _encode(pixels: np.ndarray, container: str, **settings: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(file, container, **settings)
    return file.getvalue()
