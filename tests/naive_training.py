"""Optimisers, rates and early stopping written out for a line y = w x + b, in float64.  Nothing of fdetect is used."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

Pairs = Callable[[int], tuple[np.ndarray, np.ndarray]]


def rate(step: int, has: Mapping[str, Any]) -> float:
    """Warm-up to just below the height; then half a cosine, stairs, or a level."""
    rising = math.ceil(has["warm_up"] * has["steps"])
    if step < rising:
        return has["rate"] * (step + 1) / (rising + 1)
    if has["decline"] == "constant":
        return has["rate"]
    if has["decline"] == "step":
        width = has["drop_every"] * has["steps"]
        falls = sum(1 for k in range(1, 1000) if round(k * width, 6) <= step)
        return has["rate"] * has["drop"] ** falls
    share = (step - rising) / (has["steps"] - 1 - rising)
    low = has["rate"] * has["final"]
    return low + (has["rate"] - low) * (1 + math.cos(math.pi * share)) / 2


def fitted(pairs: Pairs, has: Mapping[str, Any]) -> tuple[float, float, list[float]]:
    """Train w and b from 0 by the mean square error; only w, which stands for a matrix, has decay."""
    value, first, second = {"w": 0.0, "b": 0.0}, {"w": 0.0, "b": 0.0}, {"w": 0.0, "b": 0.0}
    losses = []
    for step in range(has["steps"]):
        x, y = pairs(step)
        off = value["w"] * x + value["b"] - y
        losses.append(float(np.mean(off**2)))
        slope = {"w": float(np.mean(2 * off * x)), "b": float(np.mean(2 * off))}
        norm = math.hypot(slope["w"], slope["b"])
        cut = min(1.0, has["largest_gradient"] / (norm + 1e-6))
        for name, decay in (("w", has["decay"]), ("b", 0.0)):
            g, lr, beta = slope[name] * cut, rate(step, has), has["momentum"]
            if has["optimiser"] == "adamw":
                value[name] -= lr * decay * value[name]
            else:
                g += decay * value[name]
            if has["optimiser"] == "sgd":
                first[name] = beta * first[name] + g if step else g
                value[name] -= lr * first[name]
                continue
            first[name] = beta * first[name] + (1 - beta) * g
            second[name] = 0.999 * second[name] + 0.001 * g * g
            m, v = first[name] / (1 - beta ** (step + 1)), second[name] / (1 - 0.999 ** (step + 1))
            value[name] -= lr * m / (math.sqrt(v) + 1e-8)
    return value["w"], value["b"], losses


def stopped(values: list[float], patience: int) -> tuple[int, int]:
    """Of all validations that there would be: how many are made, and which of them is the best, counted from 0."""
    best = 0
    for k, value in enumerate(values):
        if value > values[best]:
            best = k
        if patience and k - best >= patience:
            return k + 1, best
    return len(values), best
