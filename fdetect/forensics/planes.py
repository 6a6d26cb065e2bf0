"""From stored pixels to the arrays that every other map starts from: colour planes, luma and chroma."""

from __future__ import annotations

from array_api_compat import device

from fdetect.backend import namespace
from fdetect.forensics.base import signal_map
from fdetect.types import Array

__all__ = ["CHROMA_UNITS", "chroma", "luma", "planes"]

CHROMA_UNITS = (1772, 1402)  # Cb is a whole number of 1/1772 grey levels, Cr of 1/1402


@signal_map
def planes(rgb8: Array) -> Array:
    """Colour planes: red, green and blue as separate contiguous images.

    (B, H, W, 3) uint8 -> (B, 3, H, W) float32, range 0..255

        planes[b, c, y, x] = rgb8[b, y, x, c]

    Source: the stored samples as they are; no gamma, no scaling.
    """
    xp = namespace(rgb8)
    B, H, W, _ = rgb8.shape
    result = xp.empty((B, 3, H, W), dtype=xp.float32, device=device(rgb8))
    for c in range(3):  # filled plane by plane: a transposed cast would keep the pixels interleaved in memory
        result[:, c] = rgb8[..., c]
    return result


@signal_map
def luma(planes: Array) -> Array:
    """Luma: the weighted grey value of JPEG and of most spectral detectors, not rounded.

    (B, 3, H, W) float32 -> (B, H, W) float32, range 0..255

        Y = 0.299 R + 0.587 G + 0.114 B

    Source: ITU-R BT.601-7 (2011), section 2.5.1, on full-range samples as in JFIF 1.02.
    """
    return 0.299 * planes[:, 0] + 0.587 * planes[:, 1] + 0.114 * planes[:, 2]


@signal_map
def chroma(planes: Array) -> Array:
    """Chroma: the two colour differences of JPEG, at full resolution, without the offset of 128 and not rounded.

    (B, 3, H, W) float32 -> (B, 2, H, W) float32, range -127.5..127.5; Cb, then Cr

        Cb = (B - Y) / 1.772,   Cr = (R - Y) / 1.402,   Y = 0.299 R + 0.587 G + 0.114 B

    Differences are formed in thousandths, which are whole numbers, and divided once.

    Source: ITU-R BT.601-7 (2011), section 2.5.2, on full-range samples as in JFIF 1.02.
    """
    xp = namespace(planes)
    red, green, blue = (planes[:, c] for c in range(3))
    blue_difference = 886 * blue - 299 * red - 587 * green
    red_difference = 701 * red - 587 * green - 114 * blue
    return xp.stack([blue_difference / CHROMA_UNITS[0], red_difference / CHROMA_UNITS[1]], axis=1)
