"""Measures of one map of one picture, as plain functions: where its mass is, what the logit does, how alike two are."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageFilter

from fdetect.decide import logistic
from fdetect.errors import ParameterError
from fdetect.perturb import rng_for

__all__ = ["area", "mass_in", "random_map", "rank_correlation", "removal_curves"]

Logits = Callable[[np.ndarray], np.ndarray]  # (B, H, W, 3) uint8 -> (B,)

_BATCH = 16


def mass_in(shown: np.ndarray, place: np.ndarray) -> float:
    """Share of a map's positive part that lies in a place: (H, W), (H, W) bool -> 0..1; NaN where nothing is positive.

    sum over the place of max(0, map) / sum over all of max(0, map)
    """
    positive = np.maximum(np.asarray(shown, np.float64), 0)
    total = positive.sum()
    return float(positive[place].sum() / total) if total > 0 else float("nan")


def random_map(shape: tuple[int, int], smooth: float, rng: np.random.Generator) -> np.ndarray:
    """Return Gaussian noise, smoothed with sigma `smooth` px around the edges: (H, W) float64, mean 0, deviation 1."""
    from scipy.ndimage import gaussian_filter

    noise = gaussian_filter(rng.normal(size=shape), smooth, mode="wrap")
    return np.asarray((noise - noise.mean()) / noise.std())


def removal_curves(
    logits: Logits, pixels: np.ndarray, shown: np.ndarray, *, steps: int = 16, blur: float = 8.0, seed: int = 0,
    content: str = "",
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """P(generated) = 1 / (1 + exp(-logit)) while pixels go, and while they come: two curves (steps + 1,), from 0 to 1.

    Pixels are ordered by the map, largest first, those of equal value at random by seed and content.  Deletion: the
    first k / steps of them are replaced by those of the blurred picture; insertion: all others are.
    Source: Petsiuk, Das, Saenko 2018, arXiv 1806.07421, section 3.3 and algorithm 1, with a blurred picture for both.
    Raises ParameterError for fewer steps than 1 or more than pixels.
    """
    if not 1 <= steps <= shown.size:
        raise ParameterError(f"a curve has 1 to {shown.size} steps here; got {steps}")
    vague = np.asarray(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(blur)))
    drawn = rng_for(seed, content, "ties").permutation(shown.size)
    order = drawn[np.argsort(-np.ravel(shown).astype(np.float64)[drawn], kind="stable")]
    rank = np.argsort(order).reshape(shown.shape)
    counts = [round(k * shown.size / steps) for k in range(steps + 1)]
    first = [(rank < count)[..., None] for count in counts]
    frames = [np.where(one, vague, pixels) for one in first] + [np.where(one, pixels, vague) for one in first]
    found = np.concatenate([logits(np.stack(frames[k : k + _BATCH])) for k in range(0, len(frames), _BATCH)])
    chance = logistic(found)
    return chance[: steps + 1], chance[steps + 1 :]


def area(curve: np.ndarray) -> float:
    """Area under a curve over 0..1, by trapezoids: (K,) -> float."""
    return float(np.trapezoid(np.asarray(curve, np.float64), dx=1 / (len(curve) - 1)))


def rank_correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Spearman's rank correlation of two maps of one shape, ties with mean ranks; NaN where one is constant.

    Source: Adebayo et al. 2018, arXiv 1810.03292, section 3.
    """
    from scipy.stats import rankdata

    a, b = (rankdata(np.ravel(one)) for one in (first, second))
    a, b = a - a.mean(), b - b.mean()
    below = np.sqrt((a**2).sum() * (b**2).sum())
    return float((a * b).sum() / below) if below > 0 else float("nan")
