"""Banks of reference images: what detectors with a bank have in common, and exact distances to many references.

A bank is what is kept of the references, named float32 arrays; `bank()` makes one, `score()` is given one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from fdetect.errors import DataError
from fdetect.images import Geometry
from fdetect.rigid.base import Bank, OnEncoder, check_views
from fdetect.rigid.views import View

__all__ = ["DECIMALS", "OnBank", "bank_sha256", "centred", "kept", "nearest_distances", "usable"]

DECIMALS = 12  # of a cosine distance: below them stands what linear-algebra libraries round differently

_ROWS, _COLUMNS = 1024, 4096  # images against references in one product: 33 MB, however large the bank is


@dataclass(frozen=True)
class OnBank(OnEncoder):
    """What detectors with a bank have in common: the clean image as its encoder was evaluated.

    `shapes` names the axes of each array of the bank: n, n_fakes references, D the embedding, m of its directions.
    """

    references: ClassVar[str] = "reals"
    shapes: ClassVar[Mapping[str, tuple[str, ...]]] = {}

    def geometry(self, space: Any, crop: int) -> Geometry:
        """The encoder's own size and filter: squashed, or shorter side to that size and a centre crop."""
        card = space.card
        return Geometry("resize_crop" if card.fit == "crop" else "squash", card.size, card.interpolation)

    def views(self) -> dict[str, View]:
        """Return the clean image."""
        return {"clean": View()}

    def check_bank(self, bank: Bank) -> None:
        """Raise DataError unless the arrays are those that `bank` returns: names, float32, shapes, finite."""
        if sorted(bank) != sorted(self.shapes):
            raise DataError(f"a bank holds {', '.join(self.shapes)}, this one {', '.join(bank) or 'nothing'}")
        sizes: dict[str, int] = {}
        for name, axes in self.shapes.items():
            array = bank[name]
            if array.dtype != np.float32 or array.ndim != len(axes) or not array.size or not np.isfinite(array).all():
                raise DataError(f"'{name}' of the bank must be finite float32 ({', '.join(axes)})")
            for axis, size in zip(axes, array.shape, strict=True):
                if sizes.setdefault(axis, size) != size:
                    raise DataError(f"'{name}' of the bank has the shape {array.shape}, where {axis} is {sizes[axis]}")

    def rows(self, name: str, bank: Bank, embeddings: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return the embeddings to score, (N, D); raises in the detector's name where the bank is for others."""
        check_views(name, self.views(), embeddings)
        rows, first = embeddings["clean"], next(iter(self.shapes))
        width = bank[first].shape[self.shapes[first].index("D")]
        if rows.shape[1] != width:
            raise DataError(
                f"{name}: the embeddings have {rows.shape[1]} columns and those of the bank {width}; use the encoder "
                "that the bank was made with"
            )
        return rows


def usable(vectors: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return which images can stand in a bank: (n,) bool, finite and not zero in every view."""
    good = [np.isfinite(rows).all(axis=1) & (rows != 0).any(axis=1) for rows in vectors.values()]
    return np.asarray(np.logical_and.reduce(good))


def bank_sha256(bank: Bank) -> str:
    """Return the SHA-256 of a bank: of each array, in the order of names, its name, type, shape and bytes."""
    digest = hashlib.sha256()
    for name in sorted(bank):
        array = np.ascontiguousarray(bank[name])
        digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def nearest_distances(rows: np.ndarray, references: np.ndarray, k: int) -> np.ndarray:
    """Return cosine distances to the k nearest references: (N, D), (n, D) float32 -> (N, k) float64, ascending.

    Exact, in blocks; rounded to 12 decimals.  NaN for a row that is zero or not finite.
    """
    found = np.empty((len(rows), k))
    for start in range(0, len(rows), _ROWS):
        here = _unit(rows[start : start + _ROWS])
        best = np.full((len(here), 0), np.inf)
        for other in range(0, len(references), _COLUMNS):
            distances = 1.0 - here @ _unit(references[other : other + _COLUMNS]).T
            best = np.concatenate([best, distances], axis=1)
            if best.shape[1] > k:
                best = np.partition(best, k - 1, axis=1)[:, :k]
        found[start : start + _ROWS] = np.sort(best, axis=1)
    return np.round(found, DECIMALS) + 0.0  # no negative zero


def _unit(rows: np.ndarray) -> np.ndarray:
    rows = rows.astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(rows / np.sqrt((rows * rows).sum(axis=1, keepdims=True)))


def kept(name: str, what: str, vectors: Mapping[str, np.ndarray], fewest: int) -> np.ndarray:
    """Return the usable rows of the clean view, (n, D) float32; raises DataError for fewer than `fewest`."""
    rows = np.ascontiguousarray(vectors["clean"][usable(vectors)], dtype=np.float32)
    if len(rows) < fewest:
        raise DataError(f"{name}: the bank needs at least {fewest} usable {what} image{'s' * (fewest > 1)} and has "
                        f"{len(rows)}; give more {what} images")  # fmt: skip
    return rows


def centred(name: str, vectors: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray, float]:
    """Return usable rows less their mean in float64, the mean, and the sum of squares; DataError where that is 0."""
    rows = kept(name, "real", vectors, 2).astype(np.float64)
    mean = rows.mean(axis=0)
    rows = rows - mean
    spread = float((rows**2).sum())
    if not spread > 0:
        raise DataError(f"{name}: the {len(rows)} reals of the bank are all the same; give different ones")
    return rows, mean, spread
