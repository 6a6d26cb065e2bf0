"""Attacks on a detector: small changes of a picture's pixels, made by asking the detector what it thinks of them.

A detector is to be led to the wrong answer: of a fake to a lower score, so that it passes, of a photograph to a higher
one, so that it is accused.  An attack may change every sample by at most `epsilon` levels of 255 (the L-inf norm), and
what it returns is 8-bit pixels, as somebody could store and send them.

    @attack
    def square(pixels, target, direction, rngs, *, epsilon=2, queries=200): ...

    pixels     (B, H, W, 3) uint8, B pictures that are attacked side by side
    target     the detector, a `Target`: scores, and where it has one a gradient
    direction  (B,) +1 to raise the score, -1 to lower it
    rngs       a random generator for each picture, of its content

No attack knows a threshold or stops at one: each spends its whole budget, and keeps the best picture that it has seen.
Those that need a gradient live in fdetect/nets/gradient_attacks.py.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from fdetect.errors import ParameterError
from fdetect.registry import Registry

__all__ = ["Attacked", "Best", "Target", "attack", "random", "square"]

attack = Registry("attack")

_HALVED = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)  # of 10,000 queries: where squares become smaller


class Target(Protocol):
    """A detector as an attack sees it: B pictures in, B numbers out, always for the same pictures in the same order."""

    def scores(self, pixels: np.ndarray) -> np.ndarray:
        """(B, H, W, 3) uint8 -> (B,) float64, larger = more likely generated."""
        ...

    def gradient(self, levels: np.ndarray) -> np.ndarray:
        """(B, H, W, 3) float64 in 0..255 -> the gradient of each picture's score at its samples, in the same shape.

        Raises ParameterError where the detector has none.
        """
        ...


@dataclass(frozen=True, eq=False)
class Attacked:
    """What came of an attack.

    pixels  (B, H, W, 3) uint8, within epsilon of what they were
    trail   (B, 1 + Q) float64: the score of the best picture after each of Q queries; column 0 before any
    """

    pixels: np.ndarray
    trail: np.ndarray


class Best:
    """The best picture so far of each of B, and the trail of their scores.

    Raises ParameterError for an epsilon that is no whole number of levels in 1..255, and for fewer than one query.
    """

    def __init__(
        self, pixels: np.ndarray, target: Target, direction: np.ndarray, *, epsilon: int, queries: int
    ) -> None:
        if pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape[-1] != 3:
            raise ParameterError(f"attacks take pictures (B, H, W, 3) uint8; got {pixels.shape} {pixels.dtype}")
        if not 1 <= epsilon <= 255 or epsilon != int(epsilon):
            raise ParameterError(f"epsilon is {epsilon}; give a whole number of levels, 1 to 255")
        if queries < 1:
            raise ParameterError(f"an attack of {queries} queries does nothing; give 1 or more")
        levels = pixels.astype(np.int16)
        self.low, self.high = np.maximum(levels - int(epsilon), 0), np.minimum(levels + int(epsilon), 255)
        self.pixels = pixels.copy()
        self._target, self._direction = target, np.asarray(direction, np.float64)
        self._trail = [np.asarray(target.scores(pixels), np.float64)]

    def offer(self, pixels: np.ndarray) -> None:
        """Ask for the scores of other pictures, (B, H, W, 3) uint8, and keep those that are better than the best."""
        scores, best = np.asarray(self._target.scores(pixels), np.float64), self._trail[-1]
        better = self._direction * (scores - best) > 0  # never true of a score that is no number
        self.pixels[better] = pixels[better]
        self._trail.append(np.where(better, scores, best))

    def corners(self, signs: np.ndarray) -> np.ndarray:
        """(B, H, W, 3) bool -> pictures at the ends of what is allowed, the upper one where True."""
        return np.where(signs, self.high, self.low).astype(np.uint8)

    @property
    def found(self) -> Attacked:
        """What came of it."""
        return Attacked(self.pixels, np.stack(self._trail, axis=1))


@attack
def square(
    pixels: np.ndarray, target: Target, direction: np.ndarray, rngs: Sequence[np.random.Generator], *,
    epsilon: int = 2, queries: int = 200, share: float = 0.8,
) -> Attacked:  # fmt: skip
    """Square attack: random squares of one sign a channel, kept where they help; scores alone, no gradient.

    (B, H, W, 3) uint8 -> `Attacked`

    Query 1 puts vertical stripes of random sign over the picture.  Query i puts one square to x + epsilon or
    x - epsilon, a sign for each channel, at a drawn place, on top of what was kept:

        side = sqrt(share H W / 2^n),   n = how many of 10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000 lie at or below
                                        10000 i / queries

    Here the stripes too are kept only where they help, since an attacker would not hand in what made it worse.  The
    authors take a share of 0.05 for 10,000 queries; of a few hundred, squares as small as that reach a third of the
    picture, so that 0.8 was better (docs/attacks.md).
    Source: Andriushchenko, Croce, Flammarion, Hein 2020, arXiv 1912.00049, algorithms 1 and 2 (L-inf).
    Raises ParameterError for a share outside (0, 1].
    """
    if not 0 < share <= 1:
        raise ParameterError(f"square takes a share of the picture in (0, 1], got {share}")
    best = Best(pixels, target, direction, epsilon=epsilon, queries=queries)
    height, width = pixels.shape[1:3]
    stripes = np.stack([rng.integers(0, 2, (1, width, 3), np.uint8) for rng in rngs]).astype(np.bool_)
    best.offer(best.corners(np.broadcast_to(stripes, pixels.shape)))
    for query in range(1, queries):
        halved = sum(10_000 * query >= place * queries for place in _HALVED)
        side = min(max(round(math.sqrt(share * height * width / 2**halved)), 1), height, width)
        shown = best.pixels.copy()
        for one, low, high, rng in zip(shown, best.low, best.high, rngs, strict=True):
            top, left = (int(rng.integers(length - side + 1)) for length in (height, width))
            place = np.s_[top : top + side, left : left + side]
            one[place] = np.where(rng.integers(0, 2, 3, np.uint8), high[place], low[place])
        best.offer(shown)
    return best.found


@attack
def random(
    pixels: np.ndarray, target: Target, direction: np.ndarray, rngs: Sequence[np.random.Generator], *,
    epsilon: int = 2, queries: int = 200,
) -> Attacked:  # fmt: skip
    """Placebo: noise of the same strength, drawn anew for each query, the best draw kept; it learns nothing.

    (B, H, W, 3) uint8 -> `Attacked`; each sample at x + epsilon or x - epsilon with equal chances

    What `square` does beyond this is the merit of the attack.  `random:queries=1` is what noise does by itself, where
    that helps.
    """
    best = Best(pixels, target, direction, epsilon=epsilon, queries=queries)
    for _ in range(queries):
        signs = np.stack([rng.integers(0, 2, pixels.shape[1:], np.uint8) for rng in rngs])
        best.offer(best.corners(signs.astype(np.bool_)))
    return best.found
