"""Recipes of augmentation: how often each operation comes, and in which range its amount is drawn.

They decide what `fdetect.augment` draws.  A recipe is all numbers, so that a cache can tell it from any other.

Source: the ranges of FULL and LIGHT are ours.  CNNSPOT: Wang et al., "CNN-generated images are surprisingly easy to
spot... for now" (CVPR 2020), of the variant in which blur and JPEG have a probability of 1/2 each.  GRAGNANIELLO:
Gragnaniello et al., "Are GAN generated images easy to detect?" (ICME 2021), and Corvi et al. (ICASSP 2023); sizes,
strengths and levels are ours.  SAFE: Li et al., "Improving synthetic image detection towards generalization" (KDD
2025), without its rotation by any angle.  What flips and quarter turns they have is in the training loop.
"""

from __future__ import annotations

from dataclasses import dataclass

from fdetect.errors import ParameterError

__all__ = ["CELL", "CNNSPOT", "FULL", "GRAGNANIELLO", "LIGHT", "OPERATIONS", "RECIPES", "SAFE", "Recipe"]

CELL = 16  # px: side of what masking takes away, counted from the corner of the crop
OPERATIONS = ("recompressed", "colour", "blur", "noise", "webp", "text", "jpeg", "mask", "cutout")  # after the crop


@dataclass(frozen=True)
class Recipe:
    """Probability of each operation, and the ranges that its amount is drawn from, uniformly, ends included.

    smaller, larger   sides resized, bicubic with anti-aliasing, to smallest..100 or to 100..largest per cent
    recompressed      an earlier JPEG at quality `earlier`, on a grid of its own
    colour            brightness, contrast and saturation by factors in 1 - strength..1 + strength
    blur, noise       Gaussian, of sigma 0..widest px, and of 0..loudest of 255 levels
    webp              lossy WebP at quality `earlier`
    text              3 to 12 characters of Pillow's own font, anywhere, in any colour, 11 to 33 px high
    jpeg              the one encoding at the end, 4:2:0, at quality `last`
    mask              cells of CELL px set to 0, a share of 0..hidden of all; after the JPEG, which would smear them
    cutout            one square of 1/8..1/2 of the side set to 0, likewise

    Raises ParameterError for a probability outside 0..1 or a range that cannot be.
    """

    name: str
    smaller: float = 0.0
    larger: float = 0.0
    recompressed: float = 0.0
    colour: float = 0.0
    blur: float = 0.0
    noise: float = 0.0
    webp: float = 0.0
    text: float = 0.0
    jpeg: float = 0.0
    mask: float = 0.0
    cutout: float = 0.0
    smallest: float = 50.0
    largest: float = 130.0
    earlier: tuple[int, int] = (60, 97)
    strength: float = 0.2
    widest: float = 2.0
    loudest: float = 4.0
    last: tuple[int, int] = (60, 98)
    hidden: float = 0.5

    def __post_init__(self) -> None:
        for name in ("smaller", "larger", *OPERATIONS):
            if not 0 <= (given := getattr(self, name)) <= 1:
                raise ParameterError(f"recipe '{self.name}': {name} is a probability in 0..1, got {given}")
        if self.smaller + self.larger > 1:
            raise ParameterError(f"recipe '{self.name}': smaller and larger exclude each other, so that they add up to "
                                 f"at most 1; got {self.smaller} + {self.larger}")  # fmt: skip
        fine = (10 <= self.smallest <= 100 <= self.largest <= 400, 0 <= self.strength <= 1, 0 <= self.widest <= 20,
                0 <= self.loudest <= 100, 0 <= self.hidden <= 1)  # fmt: skip
        qualities = all(1 <= low <= high <= 100 for low, high in (self.earlier, self.last))
        if not (all(fine) and qualities):
            raise ParameterError(f"recipe '{self.name}': smallest takes 10..100, largest 100..400, strength and hidden "
                                 "0..1, widest 0..20, loudest 0..100, qualities 1..100 in rising order; got "
                                 f"{self}")  # fmt: skip


FULL = Recipe("full", smaller=0.45, larger=0.05, recompressed=0.15, colour=0.1, blur=0.1, noise=0.1, webp=0.1,
              text=0.05, jpeg=0.9, mask=0.2)  # fmt: skip
LIGHT = Recipe("light", jpeg=0.9)
CNNSPOT = Recipe("cnnspot", blur=0.5, jpeg=0.5, widest=3.0, last=(30, 100))
GRAGNANIELLO = Recipe("gragnaniello", smaller=0.2, colour=0.8, blur=0.5, noise=0.2, jpeg=0.5, cutout=0.2, widest=3.0,
                      last=(30, 100))  # fmt: skip
SAFE = Recipe("safe", colour=1.0, strength=0.5, mask=0.5, hidden=0.75)
RECIPES = {recipe.name: recipe for recipe in (FULL, LIGHT, CNNSPOT, GRAGNANIELLO, SAFE)}
