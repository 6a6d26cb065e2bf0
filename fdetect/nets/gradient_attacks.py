"""Attacks that follow the gradient of a network's logit at the pixels.  Torch is loaded when a gradient is wanted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from fdetect.attacks import Attacked, Best, Target, attack

if TYPE_CHECKING:
    from fdetect.nets.detectors.model import DetectorNetwork

__all__ = ["attack", "pgd", "pixel_gradient"]


@attack(gradient=True)
def pgd(
    pixels: np.ndarray, target: Target, direction: np.ndarray, rngs: Sequence[np.random.Generator], *,
    epsilon: int = 2, steps: int = 20,
) -> Attacked:  # fmt: skip
    """Projected gradient: steps along the sign of the gradient, from a random start; it needs a network's gradient.

    (B, H, W, 3) uint8 -> `Attacked`; a query is a gradient and a score

        z_0 = x + u,  u uniform in -epsilon..epsilon
        z_(t+1) = clip(z_t + direction a sign(gradient at z_t), x - epsilon, x + epsilon),   a = 2.5 epsilon / steps

    Of the pictures round(z_1), ..., round(z_steps) the best is kept, by the detector's own score of 8-bit pixels.
    Source: Madry, Makelov, Schmidt, Tsipras, Vladu 2018, arXiv 1706.06083, section 2.1 and its equation of the step;
    the best of the steps in place of the last is ours.
    Raises ParameterError where the detector has no gradient.
    """
    best = Best(pixels, target, direction, epsilon=epsilon, queries=steps)
    low, high = best.low.astype(np.float64), best.high.astype(np.float64)
    noise = np.stack([rng.uniform(-epsilon, epsilon, pixels.shape[1:]) for rng in rngs])
    levels = np.clip(pixels + noise, low, high)
    along = np.asarray(direction, np.float64)[:, None, None, None] * (2.5 * epsilon / steps)
    for _ in range(steps):
        levels = np.clip(levels + along * np.sign(target.gradient(levels)), low, high)
        best.offer(np.rint(levels).astype(np.uint8))
    return best.found


def pixel_gradient(model: DetectorNetwork, levels: np.ndarray) -> np.ndarray:
    """Return the gradient of each picture's logit at its samples: (B, H, W, 3) float64 in 0..255 -> the same shape.

    Per level of 255, on the device of the network, whose mode and gradients are afterwards what they were.
    Raises ParameterError where no gradient reaches the pixels, DataError where a logit is no finite number.
    """
    import torch

    from fdetect.nets.explaining.watching import at_rest, gradient

    with at_rest(model):
        device = next(iter(model.parameters())).device
        images = torch.from_numpy(np.ascontiguousarray(levels.transpose(0, 3, 1, 2))).to(device, torch.float32)
        images = images.div(255).requires_grad_()
        slope = gradient(model(images), images, "the pixels")
    found: np.ndarray = slope.detach().double().cpu().numpy()
    return found.transpose(0, 2, 3, 1) / 255
