"""Near-duplicates: pictures that are the same to the eye although their files differ, found by a small hash.

    picture -> luma, 32 x 32 means -> DCT -> 64 signs -> pairs at most NEAR_BITS apart

A copy that was encoded again, scaled or slightly retouched keeps nearly all signs; two pictures differ in about half of
them.  A crop, a rotation or a mirror image is not found.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
from scipy.sparse import csr_array

from fdetect.backend import asnumpy, dct
from fdetect.bench.data.inputs import root_of
from fdetect.bench.running import Running
from fdetect.engine import Extraction, run
from fdetect.geometry import Geometry
from fdetect.perturb import MIN_CROP, Condition
from fdetect.registry import source_digest
from fdetect.types import Batch, Table

__all__ = ["BITS", "FLAT", "NEAR_BITS", "TABLE", "Fingerprint", "dct_hash", "fingerprints", "hashes_of", "near_pairs",
           "shrunk"]  # fmt: skip

TABLE = ("whole", "fingerprint")  # of an extraction: the condition and the task

BITS = 64
NEAR_BITS = 4  # of 64 that may differ; docs/data.md has how far apart copies and strangers were found
FLAT = 2.0  # grey levels: a picture whose means spread less has no signs to speak of, and no hash

_SIDE, _LOW = 32, 8
_WORDS = tuple(f"hash{k}" for k in range(4))
_PIECE = 1024  # rows that are compared with others at a time


def shrunk(rgb8: np.ndarray) -> np.ndarray:
    """Return the luma means of 32 x 32 equal cells: (H, W, 3) uint8 -> (32, 32) float64, grey levels.

    Cells have fractional sides, and a pixel on the border of two counts by its share.
    """
    height, width = rgb8.shape[:2]
    rows = csr_array(_shares(height))  # two cells at most share a pixel, so nearly all of it is zero
    planes = np.reshape(rows @ rgb8.reshape(height, -1).astype(np.float64), (_SIDE, width, 3))
    return np.asarray(planes @ np.array([0.299, 0.587, 0.114]) @ _shares(width).T)


def dct_hash(cells: np.ndarray) -> int:
    """Return which of 64 low frequencies lie above their median: (32, 32) float64 -> 64 bits.

        bit (8 i + j) = C[1 + i, 1 + j] > median of the 64,    C = DCT-II of the cells,  0 <= i, j < 8

    Source: Zauner 2010, "Implementation and benchmarking of perceptual image hash functions", section 3.2.1, but for
    the means in place of his mean filter and nearest pixels.
    """
    low = dct(cells)[1 : _LOW + 1, 1 : _LOW + 1].ravel()
    return int.from_bytes(np.packbits(low > np.median(low), bitorder="little").tobytes(), "little")


@dataclass(frozen=True)
class Fingerprint:
    """The engine task: hash (in four words of 16 bits), contrast and size of every picture, as a whole."""

    name: str = "fingerprint"
    geometry: Geometry = field(default_factory=Geometry)  # as it is
    settings: Mapping[str, Any] = field(default_factory=dict)
    columns: tuple[str, ...] = (*_WORDS, "contrast", "width", "height")
    in_process: bool = False

    @property
    def version(self) -> str:
        """Digest of this file."""
        return source_digest(__file__)

    def __call__(self, batch: Batch) -> np.ndarray:
        """(B, H, W, 3) uint8 -> (B, 7) float32; every number is a whole one below 2^16, but for the contrast."""
        rows = []
        for picture in asnumpy(batch.rgb8):
            cells = shrunk(picture)
            words = np.frombuffer(dct_hash(cells).to_bytes(8, "little"), "<u2")
            rows.append((*words, cells.std(), picture.shape[1], picture.shape[0]))
        return np.array(rows, np.float32).reshape(-1, len(self.columns))


@dataclass(frozen=True)
class _Whole(Condition):
    """Every picture as it is, of any size: what is small has copies too."""

    name: str = "whole"

    def check_size(self, pixels: np.ndarray, crop: int) -> None:
        """Refuse nothing."""


def fingerprints(manifest: Table, running: Running) -> Extraction:
    """Read and decode every image once; the table ("whole", "fingerprint") has a row for each."""
    task, paths = Fingerprint(), manifest.column("path")
    return run([task], paths, root=root_of(manifest), conditions=[_Whole()], crop=MIN_CROP, **running.for_engine())


def hashes_of(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the hashes of rows of `Fingerprint`, (N,) uint64, and whether each has one, (N,) bool."""
    words = np.nan_to_num(values[:, : len(_WORDS)]).astype(np.uint64)
    hashes = sum((words[:, k] << np.uint64(16 * k) for k in range(1, len(_WORDS))), words[:, 0])
    return hashes, np.isfinite(values).all(axis=1) & (np.nan_to_num(values[:, len(_WORDS)]) >= FLAT)


def near_pairs(hashes: np.ndarray, *codes: Sequence[Any], bits: int = NEAR_BITS) -> np.ndarray:
    """Return all pairs of rows at most `bits` apart that differ in at least one of the codes: (M, 2), sorted.

    (N,) uint64; each code (N,), such as splits or labels; without codes, all pairs.  Two hashes that differ in k bits
    are equal in one of k + 1 bands at least, so that only rows that share a band are compared.
    Source: Norouzi, Punjani and Fleet 2012, "Fast search in Hamming space with multi-index hashing", CVPR, section 3.
    """
    kinds = [np.unique(np.asarray(code), return_inverse=True)[1] for code in codes]
    found = [np.zeros((0, 2), np.int64)]
    for here in _bands(hashes, bits + 1):
        for start in range(0, len(here), _PIECE):
            one, others = here[start : start + _PIECE], here[start:]
            near = np.bitwise_count(hashes[one][:, None] ^ hashes[others][None, :]) <= bits
            near &= np.arange(len(one))[:, None] < np.arange(len(others))[None, :]
            if kinds:
                near &= np.any([kind[one][:, None] != kind[others][None, :] for kind in kinds], axis=0)
            first, second = np.nonzero(near)
            found.append(np.sort(np.stack([one[first], others[second]], axis=1), axis=1))
    return np.unique(np.concatenate(found), axis=0)


def _bands(hashes: np.ndarray, n_bands: int) -> Iterator[np.ndarray]:
    """Yield the rows, two at least, that are equal in one of the bands of bits."""
    edges = np.linspace(0, BITS, n_bands + 1).astype(int)
    for low, high in pairwise(edges):
        key = (hashes >> np.uint64(low)) & np.uint64((1 << int(high - low)) - 1)
        order = np.argsort(key, kind="stable")
        for rows in np.split(order, np.flatnonzero(np.diff(key[order])) + 1):
            if len(rows) > 1:
                yield rows


def _shares(side: int) -> np.ndarray:
    """Return what share of each of 32 cells every pixel of a side makes: (32, side) float64, rows of sum 1."""
    edges = np.arange(_SIDE + 1) * (side / _SIDE)
    pixel = np.arange(side)
    overlap = np.minimum(edges[1:, None], pixel[None, :] + 1) - np.maximum(edges[:-1, None], pixel[None, :])
    return np.asarray(np.clip(overlap, 0, None) * (_SIDE / side))
