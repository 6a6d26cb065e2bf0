"""Small pictures of stored files as data URIs, for a page that loads nothing: made through the reader, never upscaled.

A thumbnail holds pixels and nothing else: no EXIF, no colour profile.  Equal bytes make equal thumbnails with the
same Pillow.
"""

from __future__ import annotations

import io
from base64 import b64encode
from collections.abc import Sequence

import numpy as np
from PIL import Image

from fdetect.engine.sources import Reader
from fdetect.images import decode

__all__ = ["LARGEST", "SIDE", "small_jpeg", "thumbnail"]

SIDE = 96  # px of the longer side, at most
LARGEST = 6000  # bytes of a thumbnail, before base64 adds a third

_QUALITIES = (80, 65, 50, 35, 20)  # JPEG; the first whose file is small enough


def thumbnail(reader: Reader, path: str) -> str:
    """Return "data:image/jpeg;base64,..." of a stored image, its longer side at most SIDE px.

    The pixels are those stored (no EXIF rotation), made smaller by Lanczos and written as baseline JPEG of at most
    LARGEST bytes.  Raises DataError with one short reason where the file cannot be read or decoded.
    """
    return small_jpeg(decode(reader.read(path)).pixels, SIDE, SIDE, LARGEST, _QUALITIES)[0]


def small_jpeg(
    pixels: np.ndarray, width: int, height: int, largest: int, qualities: Sequence[int]
) -> tuple[str, int, int]:
    """Return (H, W, 3) uint8 pixels as "data:image/jpeg;base64,...", and its width and height in px.

    Made smaller by Lanczos to fit width x height, never enlarged, and written as baseline JPEG at the first of the
    qualities that makes at most `largest` bytes, or at the last one.
    """
    image = Image.fromarray(np.ascontiguousarray(pixels))
    image.thumbnail((width, height), Image.Resampling.LANCZOS)
    data = b""
    for quality in qualities:
        file = io.BytesIO()
        image.save(file, "JPEG", quality=quality, optimize=True)
        data = file.getvalue()
        if len(data) <= largest:
            break
    return f"data:image/jpeg;base64,{b64encode(data).decode()}", image.width, image.height
