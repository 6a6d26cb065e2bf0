"""Bit planes and small patches, from bytes straight to whole numbers: what is kept is one number a patch or plane."""

from __future__ import annotations

import numpy as np
from numba import njit

__all__ = ["bit_plane_sums", "patch_energy"]

_FIELD = (1 << 21) - 1  # three counters of 21 bits share a word: a row of two million pixels before one is full


def bit_plane_sums(rgb8: np.ndarray, side: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Count low bits: (B, H, W, 3) uint8 -> (B, 5, 3, 3), (B, 4) and (B, h, w) int64.

    The first counts ones, then bits that differ from the pixel to the right, below, and below to the right, then from
    the next colour: [kind, colour, plane].  The second counts pixels with three low zeros, by colour, then in all.
    The third sums the differences of low bits inside patches of `side` pixels.
    """
    counts, low, gradients = _bit_plane_sums(rgb8, side)
    return counts, low, gradients


def patch_energy(rgb8: np.ndarray, side: int, stride: int) -> np.ndarray:
    """NPR energy of patches: (B, H, W, 3) uint8 -> (B, h, w) float32."""
    return np.asarray(_patch_energy(rgb8, side, stride))


@njit(cache=True, nogil=True)
def _low_bits(row, parts):  # type: ignore[no-untyped-def]
    for x in range(row.shape[0]):
        for c in range(3):
            parts[c, x] = row[x, c] & 7


@njit(cache=True, nogil=True)
def _count(a, b, n, counts):  # type: ignore[no-untyped-def]
    """Add to counts how many of the n pairs differ in bit 0, 1 and 2."""
    word = np.uint64(0)
    for k in range(n):
        x = np.uint64(a[k] ^ b[k])
        word += (x & np.uint64(1)) | (x & np.uint64(2)) << np.uint64(20) | (x & np.uint64(4)) << np.uint64(40)
    for bit in range(3):
        counts[bit] += np.int64((word >> np.uint64(21 * bit)) & np.uint64(_FIELD))


@njit(cache=True, nogil=True)
def _absolute(a, b, n):  # type: ignore[no-untyped-def]
    total = np.uint32(0)
    for k in range(n):
        total = np.uint32(total + np.uint32(max(a[k], b[k]) - min(a[k], b[k])))
    return np.int64(total)


@njit(cache=True, nogil=True)
def _bit_plane_sums(rgb8, side):  # type: ignore[no-untyped-def]
    B, H, W, _ = rgb8.shape
    counts, low = np.zeros((B, 5, 3, 3), np.int64), np.zeros((B, 4), np.int64)
    gradients = np.zeros((B, H // side, W // side), np.int64)
    here, below, none = np.empty((3, W), np.uint8), np.empty((3, W), np.uint8), np.zeros(W, np.uint8)
    for b in range(B):
        _low_bits(rgb8[b, 0], below)
        for y in range(H):
            here, below = below, here
            if y + 1 < H:
                _low_bits(rgb8[b, y + 1], below)
            inside = (y + 1) % side != 0  # the row below is of the same patch
            for c in range(3):
                a, d = here[c], below[c]
                _count(a, none, W, counts[b, 0, c])
                _count(a, a[1:], W - 1, counts[b, 1, c])
                if y + 1 < H:
                    _count(a, d, W, counts[b, 2, c])
                    _count(a, d[1:], W - 1, counts[b, 3, c])
                _count(a, here[(c + 1) % 3], W, counts[b, 4, c])
                zeros = np.uint32(0)
                for x in range(W):
                    zeros = np.uint32(zeros + np.uint32(a[x] == 0))
                low[b, c] += np.int64(zeros)
                if y < H // side * side:
                    for k in range(W // side):
                        u, v = a[k * side : (k + 1) * side], d[k * side : (k + 1) * side]
                        total = _absolute(u, u[1:], side - 1)
                        if inside:
                            total += _absolute(u, v, side)
                            total += _absolute(u, v[1:], side - 1) + _absolute(u[1:], v, side - 1)
                        gradients[b, y // side, k] += total
            zeros = np.uint32(0)
            for x in range(W):
                zeros = np.uint32(zeros + np.uint32((here[0, x] | here[1, x] | here[2, x]) == 0))
            low[b, 3] += np.int64(zeros)
    return counts, low, gradients


@njit(cache=True, nogil=True)
def _patch_energy(rgb8, side, stride):  # type: ignore[no-untyped-def]
    B = rgb8.shape[0]
    H, W = rgb8.shape[1] // 2 * 2, rgb8.shape[2] // 2 * 2
    h, w = (H - side) // stride + 1, (W - side) // stride + 1
    energies = np.zeros((B, h, w), np.int32)
    squares = np.empty(W, np.int32)
    for b in range(B):
        for y in range((h - 1) * stride + side):
            here, above = rgb8[b, y], rgb8[b, y - y % 2]
            for k in range(0, W, 2):
                first = second = 0
                for c in range(3):
                    corner = np.int64(above[k, c])
                    first += (here[k, c] - corner) ** 2
                    second += (here[k + 1, c] - corner) ** 2
                squares[k] = first
                squares[k + 1] = second
            for i in range(max((y - side + stride) // stride, 0), min(y // stride, h - 1) + 1):
                for j in range(w):
                    total = 0
                    for x in range(j * stride, j * stride + side):
                        total += squares[x]
                    energies[b, i, j] += total
    return energies.astype(np.float32)
