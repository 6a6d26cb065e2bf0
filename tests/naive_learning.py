"""Turns, flips and shares of pairs written out pixel by pixel and pair by pair.  Nothing of fdetect is used."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def all_turns(picture: np.ndarray) -> list[np.ndarray]:
    """The 8 ways to lay a square picture on itself, written out by where each pixel goes: (C, C, 3)."""
    last = len(picture) - 1
    places = [
        lambda y, x: (y, x), lambda y, x: (x, last - y), lambda y, x: (last - y, last - x), lambda y, x: (last - x, y),
        lambda y, x: (y, last - x), lambda y, x: (last - y, x), lambda y, x: (x, y), lambda y, x: (last - x, last - y),
    ]  # fmt: skip
    made = []
    for place in places:
        out = np.empty_like(picture)
        for y in range(last + 1):
            for x in range(last + 1):
                out[y, x] = picture[place(y, x)]
        made.append(out)
    return made


def share_of_pairs(scores: Sequence[float], label: Sequence[int], generator: Sequence[str], name: str) -> float:
    """Of all pairs of a real and a fake of this generator, those that the score orders rightly; equals count half."""
    right, pairs = 0.0, 0
    for score, is_fake, of in zip(scores, label, generator, strict=True):
        if not is_fake or of != name:
            continue
        for other, other_fake in zip(scores, label, strict=True):
            if not other_fake:
                pairs += 1
                right += 1.0 if score > other else 0.5 if score == other else 0.0
    return right / pairs
