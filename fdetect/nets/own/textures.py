"""Dead-leaves pictures: what a small network can learn from where no photograph may be used.

Things of all sizes lie over each other, the nearest hiding those behind it.  Where their radii r follow the density
r^-3, the picture has no scale of its own: seen from half as far it looks the same, as photographs do, and its power
falls as about 1 / f^2.  Half of the leaves are flat and half carry a texture with a power law of its own; every leaf
has a colour and a shading, and its edge is as soft as a lens leaves it.  NumPy alone; no torch here.

Source: Lee, Mumford and Huang, "Occlusion models for natural images" (IJCV 41, 2001): the dead-leaves model with
r^-3, its scale invariance, and the cut-offs it needs; Kendall and Thoennes, "Perfect simulation in stochastic
geometry" (Pattern Recognition 32, 1999): laying leaves from the front to the back until nothing shows through is an
exact sample; Baradad et al., "Learning to see by looking at noise" (NeurIPS 2021): such pictures as training data.
"""

from __future__ import annotations

import numpy as np

from fdetect.errors import ParameterError
from fdetect.perturb import rng_for

__all__ = ["dead_leaves", "texture_pictures"]

_SHOWS_THROUGH = 0.004  # a picture is covered where less than one level of 255 comes from behind
_ROUNDS = 64  # of leaves; each covers about half of what is left, so that even the last pixel is reached long before
_EXPONENTS = (0.7, 1.0, 1.5)  # amplitudes of the textures fall as 1 / f to these powers: sand, cloud, cloth's folds


def texture_pictures(count: int, *, side: int = 192, seed: int = 0) -> np.ndarray:
    """Return `count` dead-leaves pictures: (count, side, side, 3) uint8; picture k depends on `seed` and k alone.

    The smallest radius is drawn anew for each, between 1.5 and 12 px, evenly in its logarithm: photographs are near
    and far, and some are smooth.
    """
    pictures = np.zeros((count, side, side, 3), np.uint8)
    for k in range(count):
        rng = rng_for(seed, str(k), "dead-leaves")
        pictures[k] = dead_leaves(rng, side=side, smallest=1.5 * 8 ** rng.random())
    return pictures


def dead_leaves(
    rng: np.random.Generator,
    *,
    side: int = 192,
    smallest: float = 1.5,
    largest: float = 128.0,
    textured: float = 0.5,
) -> np.ndarray:
    """Draw one picture: -> (side, side, 3) uint8.

    smallest, largest  radii in px between which the density is r^-3; a leaf is an ellipse or a rectangle of such a
                       half-axis whose other half-axis is 0.4 to 1 times as long, at any angle
    textured           share of the leaves that carry a texture

    Leaves come from the front: with T (H, W) the light that still shows through, a leaf of colour c and opacity a
    gives picture += T a c and T <- T (1 - a), until T is below 0.004 everywhere.

    Raises ParameterError for radii or a side that cannot be.
    """
    if side < 1 or not 0 < smallest < largest:
        raise ParameterError(f"dead leaves take 0 < smallest < largest and a side of at least 1 px; got {smallest}, "
                             f"{largest} and {side}")  # fmt: skip
    picture, through = np.zeros((side, side, 3), np.float32), np.ones((side, side), np.float32)
    fields = _texture_fields(rng, side)
    softness = rng.uniform(0.8, 2.0)  # px over which an edge rises: the lens and the sensor of this picture
    middle, spread = rng.uniform(0.25, 0.65), rng.uniform(0.10, 0.26)  # of the leaves' lightness
    for _ in range(_ROUNDS):
        for leaf in _leaves(rng, side, smallest, largest):
            _lay(picture, through, leaf, fields, rng, softness, middle, spread, textured)
        if through.max() < _SHOWS_THROUGH:
            break
    return np.rint(255 * np.clip(picture, 0, 1)).astype(np.uint8)


def _leaves(rng: np.random.Generator, side: int, smallest: float, largest: float) -> np.ndarray:
    """Draw the leaves of one round that can meet the picture: -> (N, 3) float64 of x, y and radius.

    As many as have the area of the field on average: E[r^2] = 2 ln(R/r) / (r^-2 - R^-2) for r^-3 between r and R.
    The field is wider than the picture by the largest radius, so that its border is like its middle.
    """
    low, high = smallest**-2, largest**-2
    mean_area = np.pi * 0.7 * 2 * np.log(largest / smallest) / (low - high)
    field = side + 2 * largest
    count = max(1, int(field**2 / mean_area))
    radius = (low - rng.random(count) * (low - high)) ** -0.5  # the inverse of the distribution function
    place = rng.uniform(-largest, side + largest, (count, 2))
    meets = ((place > -radius[:, None]) & (place < side + radius[:, None])).all(axis=1)
    return np.column_stack([place, radius])[meets]


def _lay(
    picture: np.ndarray,
    through: np.ndarray,
    leaf: np.ndarray,
    fields: np.ndarray,
    rng: np.random.Generator,
    softness: float,
    middle: float,
    spread: float,
    textured: float,
) -> None:
    """Put one leaf behind all that lie there already; `picture` and `through` are changed."""
    x, y, radius = leaf
    side = len(through)
    left, right = max(0, int(x - radius)), min(side, int(x + radius) + 2)
    top, bottom = max(0, int(y - radius)), min(side, int(y + radius) + 2)
    angle, narrow, is_box, is_textured = rng.uniform(0, np.pi), rng.uniform(0.4, 1.0), rng.random(), rng.random()
    colour, shade, tint = _colour(rng, middle, spread), rng.normal(0, 0.12, 2), rng.normal(0, 0.02, 3)
    kind, row, column, strength = (*rng.integers(0, (len(fields), side, side)), rng.exponential(0.07))
    window = through[top:bottom, left:right]
    if not window.size or window.max() < _SHOWS_THROUGH:
        return
    dx = np.arange(left, right, dtype=np.float32)[None, :] - np.float32(x)
    dy = np.arange(top, bottom, dtype=np.float32)[:, None] - np.float32(y)
    u = np.float32(np.cos(angle)) * dx + np.float32(np.sin(angle)) * dy
    v = (np.float32(np.cos(angle)) * dy - np.float32(np.sin(angle)) * dx) / np.float32(narrow)
    # a box of the same reach as the ellipse: its corners lie on the circle of the radius
    far = np.hypot(u, v) if is_box < 0.5 else np.float32(2**0.5) * np.maximum(np.abs(u), np.abs(v))
    opacity = np.clip((np.float32(radius) - far) / np.float32(softness * max(narrow, 0.5)) + 0.5, 0, 1)
    value = np.float32(shade[0] / radius) * u + np.float32(shade[1] / radius) * v
    if is_textured < textured:
        rows, columns = np.arange(top, bottom) + row, np.arange(left, right) + column
        value = value + np.float32(strength) * fields[kind].take(rows, 0, mode="wrap").take(columns, 1, mode="wrap")
    shown = colour.astype(np.float32) + value[:, :, None] * (1 + tint * 10).astype(np.float32)
    weight = window * opacity
    picture[top:bottom, left:right] += weight[:, :, None] * np.clip(shown, 0, 1)
    window *= 1 - opacity


def _colour(rng: np.random.Generator, middle: float, spread: float) -> np.ndarray:
    """Return (3,) float64 in 0..1: a lightness, and a hue that is mostly weak and at times strong, as of things."""
    lightness, hue, strength = rng.normal(middle, spread), rng.uniform(0, 2 * np.pi), rng.exponential(0.06)
    around = np.cos(hue + np.array([0, 2, 4]) * np.pi / 3)  # sums to 0: the lightness stays
    return np.clip(lightness + strength * around, 0, 1)


def _texture_fields(rng: np.random.Generator, side: int) -> np.ndarray:
    """Return (3, side, side) float32 of mean 0 and deviation 1 that repeat at their borders: amplitude 1 / f^a."""
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None, :])
    frequency[0, 0] = np.inf
    fields = []
    for exponent in _EXPONENTS:
        field = np.fft.irfft2(np.fft.rfft2(rng.standard_normal((side, side))) / frequency**exponent, s=(side, side))
        fields.append(field / max(field.std(), 1e-12))
    return np.stack(fields).astype(np.float32)
