"""One number of bytes: the operation that ends a chain in files of the same format, size and length.

A JPEG at one quality is longer for a busy picture than for a plain one, and where the two classes differ in how busy
they are, the length of the file gives the label away.  `parity` gives every picture the same bytes instead: the JPEG
at the highest quality that fits, and a comment that fills the rest.  What it cannot take away is then in the tables:
a busy picture has a lower quality.  The audit's probes see lengths and tables, and say what is left.
"""

from __future__ import annotations

import math
import struct

import numpy as np

from fdetect.errors import DataError
from fdetect.images import decode
from fdetect.wear import encode_jpeg, perturbation

__all__ = ["encode_parity", "parity", "parity_bytes"]

_MARKER, _LONGEST = b"\xff\xfe", 0xFFFF + 2  # of a comment, and its bytes at most; 4 at least


def parity_bytes(height: int, width: int) -> int:
    """Return the bytes of every file of this size: 1024 + height * width / 4, so 13568 at 224 x 224 px.

    1024 for the headers and 2 bits a pixel, about what photographs take at Q90 to Q95.
    """
    return 1024 + height * width // 4


def encode_parity(pixels: np.ndarray, amount: float = 0.0) -> bytes:
    """Encode (H, W, 3) uint8 as a JPEG, 4:2:0, of exactly `parity_bytes`: the highest quality that fits, then padding.

    Raises DataError where not even quality 1 fits.
    """
    target = parity_bytes(*pixels.shape[:2])
    for quality in range(100, 0, -1):
        data = encode_jpeg(pixels, quality)
        if len(data) == target or len(data) + 4 <= target:  # a comment takes 4 bytes at least
            return _padded(data, target - len(data))
    height, width = pixels.shape[:2]
    raise DataError(f"{width}x{height} px do not fit into {target} bytes as a JPEG at any quality (condition parity)")


@perturbation(amounts=None, encode=encode_parity)
def parity(pixels: np.ndarray, amount: float, rng: np.random.Generator) -> np.ndarray:
    """JPEG of one number of bytes, `parity_bytes`, at the highest quality that fits: (H, W, 3) uint8 -> same shape."""
    return decode(encode_parity(pixels)).pixels


def _padded(data: bytes, n: int) -> bytes:
    """Put comments of n bytes in all, zeros, behind the first segment of a JPEG; n is 0 or at least 4."""
    at = 4 + int.from_bytes(data[4:6], "big")  # SOI, then APP0 with its length
    parts = math.ceil(n / _LONGEST)
    sizes = [n // parts + (k < n % parts) for k in range(parts)] if parts else []
    comments = b"".join(_MARKER + struct.pack(">H", size - 2) + bytes(size - 4) for size in sizes)
    return data[:at] + comments + data[at:]
