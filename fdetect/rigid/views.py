"""Views: what is done to an image before it is embedded.  A view is a chain of named steps, and so a cache key.

All steps take and give RGB in 0..1, whatever comes behind them normalises; on NumPy or Torch, wherever the batch is.
What a method does to the normalised image is done here in the same amount: adding sigma * n after (x - mean) / std
is adding sigma * std * n before it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fdetect.backend import namespace
from fdetect.errors import ParameterError
from fdetect.nets.weights import IMAGENET_STD
from fdetect.perturb import rng_for
from fdetect.registry import Registry
from fdetect.types import Array

__all__ = ["Shown", "View", "view"]

view = Registry("view")  # (images (B, 3, H, W) float32 RGB 0..1, about: Shown; settings) -> images


@dataclass(frozen=True)
class Shown:
    """What a step may know of the images beside their pixels: content ids, the run's seed, the encoder's std and patch.

    What of the encoder a step uses must change the rows' key through the space's settings.
    """

    ids: tuple[str, ...]
    seed: int = 0
    std: tuple[float, float, float] = IMAGENET_STD
    patch: int = 1


@dataclass(frozen=True)
class View:
    """A chain of steps, in order; without any it is the clean image.

    steps     (name of the step, its settings as sorted pairs)
    network   what is done to the encoder's weights in place of the image, as a `NetworkNoise`; None for nothing
    """

    steps: tuple[tuple[str, tuple[tuple[str, Any], ...]], ...] = ()
    network: Any = field(default=None)

    @classmethod
    def of(cls, name: str, **settings: Any) -> View:
        """Return the view of one step; raises UnknownName and ParameterError for what does not exist."""
        return cls().then(name, **settings)

    def then(self, name: str, **settings: Any) -> View:
        """Return this view with one more step."""
        entry = view.get(name).configured(**settings)
        return View((*self.steps, (name, tuple(sorted(entry.settings.items())))), self.network)

    @property
    def label(self) -> str:
        """A short name, the names of the steps; two views of one name may differ in their settings."""
        names = [name for name, _ in self.steps] + (["network"] if self.network else [])
        return "+".join(names) or "clean"

    @property
    def settings(self) -> Mapping[str, Any]:
        """Everything that changes the result, as JSON values."""
        made: dict[str, Any] = {"steps": [[name, dict(settings)] for name, settings in self.steps]}
        return made | ({"network": vars(self.network)} if self.network else {})

    def __call__(self, images: Array, about: Shown) -> Array:
        """Apply the steps: (B, 3, H, W) float32 RGB in 0..1 -> the same, smaller where a step cuts; not clamped."""
        for name, settings in self.steps:
            images = view.get(name)(images, about, **dict(settings))
        return images


@view
def noise(
    images: Array, about: Shown, *, sigma: float = 0.05, space: str = "normalized", clamp: bool = False, draw: int = 0
) -> Array:
    """Gaussian noise that belongs to the image's content: (B, 3, H, W) float32 -> the same shape.

        normalized  x + sigma * std_c * n, which is noise of sigma after the normalisation of channel c
        pixel       x + sigma * n

    n is standard normal from `rng_for(seed, id, "rigid-noise-<draw>")`, drawn on the host, so that neither batch nor
    order nor device changes it.  `clamp` cuts the result to 0..1.  Raises ParameterError for another space.
    """
    if space not in ("normalized", "pixel"):
        raise ParameterError(f"noise space is normalized or pixel; got '{space}'")
    shape, purpose = tuple(images.shape[1:]), f"rigid-noise-{draw}"

    def drawn(id: str) -> np.ndarray:
        return rng_for(about.seed, id, purpose).standard_normal(shape, dtype=np.float32)

    if len(about.ids) > 8:  # a device waits for this: the generators let go of the interpreter's lock
        with ThreadPoolExecutor() as pool:
            normal = np.stack(list(pool.map(drawn, about.ids)))
    else:
        normal = np.stack([drawn(id) for id in about.ids])
    scale = np.asarray(about.std if space == "normalized" else (1.0, 1.0, 1.0), np.float32)[:, None, None] * sigma
    noisy = images + _like(normal, images) * _like(scale.astype(np.float32), images)
    return _clamped(noisy) if clamp else noisy


@view
def blur(images: Array, about: Shown, *, sigma: float = 0.55, size: int = 3) -> Array:
    """Gaussian blur with mirrored borders: (B, 3, H, W) float32 -> the same shape.

    Separable, weights exp(-i^2 / (2 sigma^2)) of i = -(size // 2) ... size // 2, scaled to sum 1; the border row is not
    repeated in the mirror.  Raises ParameterError for a size that is even or below 1, or a sigma not above 0.
    """
    if size < 1 or size % 2 == 0 or not sigma > 0:
        raise ParameterError(f"blur needs an odd size and a sigma above 0; got size {size}, sigma {sigma:g}")
    weights = [math.exp(-(i**2) / (2 * sigma**2)) for i in range(-(size // 2), size // 2 + 1)]
    for axis in (2, 3):
        images = _filtered(images, [w / sum(weights) for w in weights], axis)
    return images


@view
def sharpen(images: Array, about: Shown, *, sigma: float = 0.55, size: int = 3) -> Array:
    """Unsharp mask, cut to 0..1: (B, 3, H, W) float32 -> clamp(2 x - blur(x)), the same shape."""
    return _clamped(2 * images - blur(images, about, sigma=sigma, size=size))


@view
def damp_details(images: Array, about: Shown, *, strength: float = 0.1, levels: int = 2) -> Array:
    """Weaken the Haar details: (B, 3, H, W) float32 -> x - strength * h, the same shape.

    h is the inverse Haar transform after `levels` levels with the approximation set to zero, which is x minus the mean
    of its block of 2^levels px; the sides must be multiples of that, else ParameterError.
    """
    block = 2**levels
    n, c, height, width = images.shape
    if height % block or width % block:
        raise ParameterError(f"damp_details of {levels} levels needs sides that are multiples of {block}")
    xp = namespace(images)
    blocks = xp.reshape(images, (n, c, height // block, block, width // block, block))
    details = xp.reshape(blocks - xp.mean(blocks, axis=(3, 5), keepdims=True), images.shape)
    return images - strength * details


@view
def tile(images: Array, about: Shown, *, row: int = 0, column: int = 0, grid: int = 4) -> Array:
    """One of grid x grid tiles of a square image: (B, 3, H, H) float32 -> (B, 3, H / grid, H / grid).

    Raises ParameterError where the side is no multiple of `grid`, or for a tile outside the grid.
    """
    side = images.shape[2] // grid
    if images.shape[2] != images.shape[3] or images.shape[2] % grid:
        shape = f"{images.shape[2]} x {images.shape[3]}"
        raise ParameterError(f"a grid of {grid} x {grid} tiles does not divide an image of {shape}")
    return window(images, about, top=row * side, left=column * side, side=side)


@view
def shift(images: Array, about: Shown, *, down: int = 0, right: int = 0, margin: int = 1) -> Array:
    """The window in the middle, moved: (B, 3, H, W) float32 -> (B, 3, side, side).

    side is the largest multiple of the encoder's patch with at least `margin` px around it.  Raises ParameterError for
    a move beyond the margin, and where the image holds no such window.
    """
    side = (min(images.shape[2:]) - 2 * margin) // about.patch * about.patch
    if side < 1 or max(abs(down), abs(right)) > margin:
        shape = f"{images.shape[2]} x {images.shape[3]}"
        raise ParameterError(
            f"a window of patches of {about.patch} px with a margin of {margin} px cannot move by {down}, {right} "
            f"in an image of {shape}"
        )
    top, left = ((length - side) // 2 for length in images.shape[2:])
    return window(images, about, top=top + down, left=left + right, side=side)


@view
def window(images: Array, about: Shown, *, top: int = 0, left: int = 0, side: int = 224) -> Array:
    """A square part of the image: (B, 3, H, W) float32 -> (B, 3, side, side); ParameterError where it does not fit."""
    if not (0 <= top <= images.shape[2] - side and 0 <= left <= images.shape[3] - side):
        at, shape = f"{side} px at {top}, {left}", f"{images.shape[2]} x {images.shape[3]}"
        raise ParameterError(f"a window of {at} does not fit an image of {shape}")
    return images[:, :, top : top + side, left : left + side]


def _filtered(images: Array, weights: list[float], axis: int) -> Array:
    """Correlate one axis with odd weights; the border is mirrored without being repeated."""
    xp, n, reach = namespace(images), images.shape[axis], len(weights) // 2
    at = np.abs(np.arange(-reach, n + reach))
    padded = xp.take(images, _like(np.where(at < n, at, 2 * (n - 1) - at), images), axis=axis)
    cut = [slice(None)] * 4
    total = 0
    for k, weight in enumerate(weights):
        cut[axis] = slice(k, k + n)
        total = total + weight * padded[tuple(cut)]
    return total


def _clamped(images: Array) -> Array:
    return namespace(images).clip(images, 0.0, 1.0)


def _like(array: np.ndarray, other: Array) -> Array:
    """Put a NumPy array where another array is."""
    return array if isinstance(other, np.ndarray) else namespace(other).asarray(array, device=other.device)
