"""Aligned pairs: one photograph twice, as it is and after a round trip through an autoencoder, and alike in all else.

    photograph --made smaller?--> [ round trip | nothing ] --made smaller?--> --JPEG?--> crop --condition--> half

What stands in brackets is the only difference of the two halves.  The crop and the history before it are drawn from the
photograph's content and the number of the pair, alike for both, so that neither contents nor sizes nor traces of an
earlier JPEG tell them apart more than the round trip itself does.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from fdetect.draws import on_grid
from fdetect.images import Decoded
from fdetect.perturb import MARGIN, Box, Condition, Launder, perturbation, rng_for, with_surroundings

__all__ = ["Half", "History", "halves"]

# Of half of the pictures the makers made a smaller one, of half those who published it; half were published as JPEG.
_SMALLEST, _QUALITIES = 50.0, (70, 98)


@dataclass(frozen=True)
class History:
    """What a picture went through: sides to `before` per cent before a round trip could be, to `after` per cent
    afterwards, then one JPEG encoding (4:2:0) at `quality`; 0 for none.
    """

    before: float = 100.0
    after: float = 100.0
    quality: int = 0

    @classmethod
    def drawn(cls, rng: np.random.Generator, *, least: float) -> History:
        """Draw one; `before` times `after` leaves at least `least` per cent of each side, up to 100.

        before, after ~ 100 with a probability of 1/2, else uniform in 50..100;  quality ~ 0 with 1/2, else in 70..97
        """
        shrunk, encoded = rng.random(2) < 0.5, bool(rng.random() < 0.5)
        sizes, quality = rng.uniform(_SMALLEST, 100.0, 2), int(rng.integers(*_QUALITIES))
        before = max(float(sizes[0]), least) if shrunk[0] else 100.0
        after = max(float(sizes[1]), 100.0 * least / before) if shrunk[1] else 100.0
        return cls(min(before, 100.0), min(after, 100.0), quality if encoded else 0)


@dataclass(frozen=True)
class Half(Condition):
    """One half of the pair of number `draw` (1, 2, ...) under a condition: laundered where `launder` is set.

    Natively there is no history: the crop lies on the 8-px grid and its pixels are as stored, or as the round trip
    gives them; the facts are those of the stored file for both.
    """

    draw: int = 1
    with_history: bool = True

    def __call__(self, image: Decoded, content: str, *, seed: int, crop: int) -> Decoded:
        """Apply to one image; raises DataError where a side does not exceed the window by MARGIN px."""
        self.check_size(image.pixels, crop)
        rng = rng_for(seed, content, f"pair/{self.draw}")
        if self.is_native:
            box = on_grid(image.pixels.shape, crop, rng)
            return Decoded(np.ascontiguousarray(self._seen(image.pixels, box, History())), image.facts)
        side = self.cut_side(content, seed=seed, crop=crop)
        least = 100.0 * (side + MARGIN) / min(image.pixels.shape[:2])
        history = History.drawn(rng, least=least) if self.with_history else History()
        pixels = _resized(image.pixels, history.before, rng)
        inner = min(math.ceil(100 * (side + 1) / history.after), *pixels.shape[:2]) if history.after < 100 else side
        box = Box.drawn(pixels.shape, inner, rng)
        return self.finish(self._seen(pixels, box, history, side), content, seed=seed, crop=crop)

    def _seen(self, pixels: np.ndarray, box: Box, history: History, side: int = 0) -> np.ndarray:
        """Return the box after the round trip and what came after it, as `side` px."""
        shown, inside = with_surroundings(pixels, box)
        rng = np.random.default_rng(0)  # the perturbations used here draw nothing
        if self.launder:
            shown = self.launder(shown)
        shown = _resized(shown, history.after, rng)
        if history.quality:
            shown = perturbation.get("jpeg")(shown, history.quality, rng)
        side = side or box.side
        top, left = (
            min(int(start * history.after / 100), length - side)
            for start, length in zip((inside.top, inside.left), shown.shape, strict=False)
        )
        return Box(top, left, side).of(shown)


def halves(condition: Condition, launder: Launder, label: str, *, draw: int, history: bool = True) -> tuple[Half, Half]:
    """Return the pristine and the laundered half of a pair under a condition, named after it.

    label    of the autoencoder, unique among those of a run
    draw     1, 2, ...: another crop and another history of the same photograph
    history  False: crops alone are drawn
    """
    name = f"{condition.name}@{draw}{'' if history else '-plain'}"
    pristine = Half(name, condition.steps, condition.rescaled, draw=draw, with_history=history)
    return pristine, replace(pristine, name=f"{name}@{label}", launder=launder)


def _resized(pixels: np.ndarray, percent: float, rng: np.random.Generator) -> np.ndarray:
    return pixels if percent >= 100 else np.asarray(perturbation.get("resize")(pixels, percent, rng))
