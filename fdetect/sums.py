"""Sums over the images of a sample, under B weightings at once.

Images are added in their order, whatever the number of weightings or threads: no sum depends on how many are asked for
together.  Sums of weights alone are whole numbers where the weights are, and exact.
"""

from __future__ import annotations

import numpy as np

from fdetect.memo import shared

__all__ = ["by_image", "called", "classes", "images", "sums_at", "total"]


@shared
def by_image(weight: np.ndarray) -> np.ndarray:
    """Return weights with those of one image side by side: (B, N) -> (N, B) float64; no copy where they lie so."""
    return np.ascontiguousarray(np.asarray(weight, dtype=np.float64).T)


def sums_at(weight: np.ndarray, place: np.ndarray, n: int, value: np.ndarray | None = None) -> np.ndarray:
    """Sum the weights of the images that have the same place, or weight x value of these.

    (B, N) float64, (N,) int in 0..n-1, (N,) float64 -> (n, B) float64.
    """
    from fdetect._sums_cpu import sums  # here: Numba takes a while to import

    out = np.zeros((n, len(weight)))
    values = np.ones(len(place)) if value is None else np.asarray(value, dtype=np.float64)
    sums(by_image(weight), np.asarray(place, dtype=np.int64), values, out)
    return out


def total(weight: np.ndarray, value: np.ndarray) -> np.ndarray:
    """Sum weight x value over all images: (B, N), (N,) -> (B,)."""
    return np.asarray(sums_at(weight, np.zeros(len(value), np.int64), 1, value)[0])


@shared
def classes(label: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weights of all fakes and of all reals: (N,) int, (B, N) -> (B,) each."""
    reals, fakes = sums_at(weight, label == 1, 2)
    return fakes, reals


def images(label: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Weight of all images: (N,) int, (B, N) -> (B,)."""
    return np.asarray(np.add(*classes(label, weight)))


@shared
def called(label: np.ndarray, decision: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weights of the fakes and of the reals that are called fake: (N,) int, (N,) bool, (B, N) -> (B,) each."""
    _, wrong, _, found = sums_at(weight, 2 * (label == 1) + decision, 4)
    return found, wrong
