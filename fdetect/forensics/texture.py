"""Co-occurrence matrices of stored levels: which level stands beside which, in one colour and across two."""

from __future__ import annotations

from array_api_compat import device

from fdetect.backend import count_bins, namespace
from fdetect.errors import ParameterError
from fdetect.forensics.base import require_sides, signal_map
from fdetect.forensics.kernels import twin
from fdetect.types import Array

__all__ = ["cooccurrence_matrix", "cross_band_matrix", "shifted"]

_SAME = ((0, 0), (1, 1), (2, 2))
_BANDS = ((0, 1), (0, 2), (1, 2))  # red-green, red-blue, green-blue


@signal_map
def cooccurrence_matrix(rgb8: Array, *, dy: int = 0, dx: int = 1) -> Array:
    """Co-occurrence matrix of each colour: how many pixels of level i have level j a step further on.

    (B, H, W, 3) uint8 -> (B, 3, 256, 256) float32, counts; exact up to 2^24 equal pairs

        C[c, i, j] = #{ (y, x) : rgb8[y, x, c] = i and rgb8[y + dy, x + dx, c] = j }

    `dy` and `dx` are the step in pixels down and right, neither negative.  The default is the horizontal one of the
    source; the variant `cooccurrence_matrix_diagonal` has (1, 1), the spatial matrices of Barni et al. 2020.

    Source: Nataraj et al. 2019, "Detecting GAN generated fake images using co-occurrence matrices", arXiv 1903.06836,
    section 3: horizontal pairs of each colour, counts as they are.
    Raises DataError where the image is no larger than the step, ParameterError for a negative step.
    """
    return _matrices(rgb8, _SAME, dy, dx, "cooccurrence_matrix")


@signal_map
def cross_band_matrix(rgb8: Array, *, dy: int = 0, dx: int = 0) -> Array:
    """Cross-band co-occurrence matrix: how many pixels have level i in one colour and level j in another.

    (B, H, W, 3) uint8 -> (B, 3, 256, 256) float32, counts; red-green, red-blue, green-blue

        C[p, i, j] = #{ (y, x) : rgb8[y, x, a] = i and rgb8[y + dy, x + dx, b] = j },   p = (a, b)

    `dy` and `dx` are the step in pixels down and right to the second colour; the source has none.  Together with
    `cooccurrence_matrix_diagonal` these are the six matrices that the source's network reads.

    Source: Barni et al. 2020, "CNN detection of GAN-generated face images based on cross-band co-occurrences
    analysis", arXiv 2007.12909, section III.
    Raises DataError where the image is no larger than the step, ParameterError for a negative step.
    """
    return _matrices(rgb8, _BANDS, dy, dx, "cross_band_matrix")


signal_map.variant(cooccurrence_matrix, "cooccurrence_matrix_diagonal", dy=1, dx=1)


def shifted(rgb8: Array, dy: int, dx: int, reader: str) -> tuple[Array, Array]:
    """Return the pixels that have a neighbour (dy, dx) further on, and those neighbours."""
    if min(dy, dx) < 0:
        raise ParameterError(f"{reader}: dy and dx are not negative (a pair backwards is the transposed one)")
    require_sides(rgb8[..., 0], max(dy, dx) + 1, reader)
    H, W = rgb8.shape[1:3]
    return rgb8[:, : H - dy, : W - dx], rgb8[:, dy:, dx:]


def _matrices(rgb8: Array, bands: tuple[tuple[int, int], ...], dy: int, dx: int, reader: str) -> Array:
    xp = namespace(rgb8)
    first, second = shifted(rgb8, dy, dx, reader)
    B = rgb8.shape[0]
    if fast := twin("cooccurrence_counts", rgb8):
        result = xp.empty((B, len(bands), 256, 256), dtype=xp.float32, device=device(rgb8))
        for i in range(B):
            colours = [xp.asarray(rgb8[i, ..., c], copy=True) for c in range(3)]
            for k, (a, b) in enumerate(bands):
                result[i, k] = fast(colours[a], colours[b], dy, dx)
        return result
    pairs = [256 * xp.astype(first[..., a], xp.int64) + xp.astype(second[..., b], xp.int64) for a, b in bands]
    index = xp.reshape(xp.stack(pairs, axis=1), (B, len(bands), -1))
    return xp.reshape(xp.astype(count_bins(index, 65536), xp.float32), (B, len(bands), 256, 256))
