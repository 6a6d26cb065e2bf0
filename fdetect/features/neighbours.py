"""Features of neighbouring pixel relationships: how the three free pixels of every 2 x 2 cell follow the fourth."""

from __future__ import annotations

from fdetect.backend import namespace
from fdetect.features.base import feature
from fdetect.types import Array

__all__ = ["npr_statistics"]

_STATISTICS = ("mean_absolute", "standard_deviation", "kurtosis", "zeros")
_PHASES = ((0, 1), (1, 0), (1, 1))  # (row, column) inside the cell; phase (0, 0) is zero by construction


def _npr_columns() -> tuple[str, ...]:
    return tuple(
        f"{colour}_{y}{x}_{statistic}"
        for colour in ("red", "green", "blue")
        for y, x in _PHASES
        for statistic in _STATISTICS
    )


@feature(columns=_npr_columns(), family="neighbours")
def npr_statistics(npr: Array) -> Array:
    """NPR statistics: four moments of the NPR map (factor 2) for each colour and each phase of the 2 x 2 cell.

    (B, 3, H', W') float32 -> (B, 36) float32; levels in grey levels, kurtosis and zeros without unit

        a = NPR[c, y::2, x::2]:   mean |a|,   s = sqrt(mean (a - mean a)^2),
                                  mean (a - mean a)^4 / s^4 - 3,   share of a = 0

    Kurtosis is the excess over a Gaussian, and 0 where a is constant.  Column `red_01_zeros` is the share of zeros of
    red at row 0, column 1 of the cells; an image enlarged by nearest neighbour has 1 in all nine of these columns.

    Source: the map is that of Tan et al. 2024, CVPR, arXiv 2312.10461, who feed it to a network; its summary by
    phase and moment is this project's, so that a linear head can read it.
    """
    xp = namespace(npr)
    B = npr.shape[0]
    x = xp.astype(xp.stack([npr[:, :, i::2, j::2] for i, j in _PHASES], axis=2), xp.float64)
    x = xp.reshape(x, (B, 9, -1))
    squared = (x - xp.mean(x, axis=-1, keepdims=True)) ** 2
    variance = xp.mean(squared, axis=-1)
    fourth = xp.mean(squared * squared, axis=-1)
    one = xp.ones_like(variance)
    kurtosis = xp.where(variance > 0, fourth / xp.where(variance > 0, variance, one) ** 2 - 3, 0 * one)
    zeros = xp.mean(xp.astype(x == 0, xp.float64), axis=-1)
    statistics = [xp.mean(xp.abs(x), axis=-1), xp.sqrt(variance), kurtosis, zeros]
    return xp.astype(xp.reshape(xp.stack(statistics, axis=-1), (B, 36)), xp.float32)
