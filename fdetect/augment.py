"""Augmentation: one photograph as a network is to see it in training, cut and changed another way for each draw.

    stored picture --[ round trip ]--> resize --> crop --> JPEG? colour? blur? noise? WebP? text? --> JPEG --> masking

What is drawn comes from the picture's content, the seed and the number of the draw alone, so that neither its label
nor the order, the batch or the worker plays a part.  What stands in brackets is the only difference of two draws of
one number: with a launderer a draw is the other half of an aligned pair.  All of it is drawn before a pixel is looked
at, the same numbers in the same order whether used or not, so that recipes share crops too.

The crop must come out of the picture, so that one whose shorter side is less than 100 / `smallest` crops (2 of them,
256 px for a crop of 128) is made smaller less than the others.  Among pictures of that side or more what is drawn does
not depend on their size, which may go with the label.  Flips and quarter turns are the training loop's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from PIL import Image

from fdetect.errors import ParameterError
from fdetect.images import Decoded
from fdetect.perturb import Box, Condition, Launder, rng_for, with_surroundings
from fdetect.recipes import CELL, LIGHT, OPERATIONS, RECIPES, Recipe
from fdetect.sharing import LETTERS, Text, written
from fdetect.types import Facts
from fdetect.wear import blur, coloured, jpeg, noise, on_grid_before, webp

__all__ = ["RECIPES", "Augmented", "Course", "Recipe", "Text", "draws"]

_PHASES = 16  # px: an earlier encoding begins anywhere on the blocks of 4:2:0


@dataclass(frozen=True)
class Course:
    """What one draw does: amounts, None for what is left out.

    The crop shows the window of `side` px whose corner is (top, left) in the stored picture; parts of a px where it
    is resized.  An encoding is (quality, rows, columns): its blocks begin that many px before the crop.
    """

    top: float
    left: float
    side: float
    recompressed: tuple[int, int, int] | None = None
    colour: tuple[float, float, float] | None = None  # factors of brightness, contrast, saturation
    blur: float | None = None
    noise: float | None = None
    webp: tuple[int, int, int] | None = None
    text: Text | None = None
    jpeg: int | None = None
    mask: float | None = None
    cutout: Box | None = None

    @classmethod
    def drawn(cls, rng: np.random.Generator, recipe: Recipe, shape: tuple[int, ...], crop: int) -> Course:
        """Draw one for a picture of this shape (H, W, ...), out of which the crop comes."""
        place, sizes, chance = rng.random(2), rng.random(2), rng.random(len(OPERATIONS))
        percent = _percent(recipe, *map(float, sizes), least=100.0 * crop / min(shape[:2]))
        side = crop if percent == 100 else min(100.0 * crop / percent, *shape[:2])
        top, left = (float(u) * (length - side) for u, length in zip(place, shape, strict=False))
        if percent == 100:  # at its own size a picture is cut between pixels
            top, left = (int(u * (length - crop + 1)) for u, length in zip(place, shape, strict=False))
        amounts: dict[str, Any] = {
            "recompressed": _encoding(rng, recipe.earlier),
            "colour": tuple(float(v) for v in rng.uniform(1 - recipe.strength, 1 + recipe.strength, 3)),
            "blur": float(rng.uniform(0, recipe.widest)),
            "noise": float(rng.uniform(0, recipe.loudest)),
            "webp": _encoding(rng, recipe.earlier),
            "text": _text(rng, crop),
            "jpeg": int(rng.integers(*recipe.last, endpoint=True)),
            "mask": float(rng.uniform(0, recipe.hidden)),
            "cutout": Box.drawn((crop, crop), int(rng.integers(crop // 8, crop // 2, endpoint=True)), rng),
        }
        used = [name for name, u in zip(OPERATIONS, chance, strict=True) if u < getattr(recipe, name)]
        return cls(top, left, side, **{name: amounts[name] for name in used})


@dataclass(frozen=True)
class Augmented(Condition):
    """Draw number `draw` (1, 2, ...) of each picture by a recipe: `crop` px, and pixels for a network in training.

    The facts are those of the last JPEG, or "RAW" where there is none: the same for both classes.
    """

    recipe: Recipe = LIGHT
    draw: int = 1

    @property
    def is_native(self) -> bool:
        """False: a crop is cut."""
        return False

    def __call__(self, image: Decoded, content: str, *, seed: int, crop: int) -> Decoded:
        """Apply to one image; raises DataError where a side does not exceed the crop by MARGIN px."""
        self.check_size(image.pixels, crop)
        purpose = f"augment/{self.draw}"
        course = Course.drawn(rng_for(seed, content, purpose), self.recipe, image.pixels.shape, crop)
        pixels = _changed(self._cut(image.pixels, course, crop), course, rng_for(seed, content, f"{purpose}/noise"))
        shown = Decoded(pixels, Facts("RAW", crop, crop, pixels.size))
        if course.jpeg:
            shown = Condition(self.name, (("jpeg", course.jpeg),)).finish(pixels, content, seed=seed, crop=crop)
        if course.mask is None and course.cutout is None:
            return shown
        return replace(shown, pixels=_hidden(shown.pixels, course, rng_for(seed, content, f"{purpose}/mask")))

    def _cut(self, pixels: np.ndarray, course: Course, crop: int) -> np.ndarray:
        """Return what the course shows of a picture, after the round trip: (crop, crop, 3)."""
        top, left = int(course.top), int(course.left)
        cut, inside = with_surroundings(pixels, Box(top, left, math.ceil(course.side) + 1))
        if self.launder:
            cut = self.launder(cut)
        if course.side == crop:
            return Box(inside.top, inside.left, crop).of(cut)
        y, x = inside.top + course.top - top, inside.left + course.left - left
        # what lies around the window is read too, so that a crop equals that of the resized picture
        box = (x, y, min(x + course.side, cut.shape[1]), min(y + course.side, cut.shape[0]))
        picture = Image.fromarray(np.ascontiguousarray(cut))
        return np.asarray(picture.resize((crop, crop), Image.Resampling.BICUBIC, box))


def draws(recipe: Recipe, n: int, *, launder: Launder | None = None, label: str = "") -> tuple[Augmented, ...]:
    """Return draws 1 ... n by a recipe, named `augment_RECIPE@DRAW`, or `augment_RECIPE@DRAW@LABEL` with a launderer.

    label    of the launderer, unique among those of a run

    Raises ParameterError where there is no draw, or a launderer without a label.
    """
    if n < 1:
        raise ParameterError(f"a picture is drawn 1 or more times, got {n}")
    if (launder is None) != (not label):
        raise ParameterError("draws of laundered pictures take a launderer and its label, others neither")
    end = f"@{label}" if label else ""
    return tuple(
        Augmented(f"augment_{recipe.name}@{k}{end}", launder=launder, recipe=recipe, draw=k) for k in range(1, n + 1)
    )


def _percent(recipe: Recipe, chance: float, amount: float, *, least: float) -> float:
    """Return the size in per cent; never below `least`, and 100 where no smaller one is left."""
    if chance < recipe.smaller and least < 100:
        low = max(recipe.smallest, least)
        return low + amount * (100.0 - low)
    larger = recipe.smaller <= chance < recipe.smaller + recipe.larger
    return 100.0 + amount * (recipe.largest - 100.0) if larger else 100.0


def _encoding(rng: np.random.Generator, qualities: tuple[int, int]) -> tuple[int, int, int]:
    quality, (rows, columns) = int(rng.integers(*qualities, endpoint=True)), rng.integers(0, _PHASES, 2)
    return quality, int(rows), int(columns)


def _text(rng: np.random.Generator, crop: int) -> Text:
    letters = "".join(LETTERS[k] for k in rng.integers(0, len(LETTERS), 12))[: int(rng.integers(3, 13))]
    top, left = (int(v) for v in rng.random(2) * (crop - 8))
    red, green, blue = (int(v) for v in rng.integers(0, 256, 3))
    return Text(letters, top, left, float(rng.uniform(1, 3)), (red, green, blue), float(rng.uniform(0.5, 1)))


def _changed(pixels: np.ndarray, course: Course, rng: np.random.Generator) -> np.ndarray:
    """Apply what stands between the crop and the last JPEG; returns memory of its own."""
    if course.recompressed:
        pixels = on_grid_before(jpeg, pixels, *course.recompressed, rng)
    if course.colour:
        pixels = coloured(pixels, *course.colour)
    if course.blur:
        pixels = blur(pixels, course.blur, rng)
    if course.noise:
        pixels = noise(pixels, course.noise, rng)
    if course.webp:
        pixels = on_grid_before(webp, pixels, *course.webp, rng)
    return np.array(written(pixels, course.text) if course.text else pixels)


def _hidden(pixels: np.ndarray, course: Course, rng: np.random.Generator) -> np.ndarray:
    """Set cells and a square to 0, in a copy."""
    shown, side = pixels.copy(), len(pixels)
    if course.mask is not None:
        across = math.ceil(side / CELL)
        for k in rng.permutation(across * across)[: round(course.mask * across * across)]:
            Box(int(k) // across * CELL, int(k) % across * CELL, CELL).of(shown)[:] = 0
    if course.cutout:
        course.cutout.of(shown)[:] = 0
    return shown
