"""Features of colour: how often levels reach the ends of their range, and how closely the colours follow each other."""

from __future__ import annotations

from array_api_compat import device

from fdetect.backend import count_bins, namespace
from fdetect.features.base import feature
from fdetect.forensics.base import require_sides
from fdetect.forensics.kernels import twin
from fdetect.types import Array

__all__ = ["FLOOR", "MARGINS", "colour_correlation", "saturation_statistics"]

_COLOURS = ("red", "green", "blue")
MARGINS = (0, 5, 15)  # levels from the end of the range that still count as under-exposed or saturated
_ENDS = ("low", "high")
FLOOR = 1e-3  # of 1 - correlation: far above the error of a quotient of whole numbers, below what JPEG leaves


def _saturation_columns() -> tuple[str, ...]:
    levels = [f"{colour}_{end}{margin}" for colour in _COLOURS for end in _ENDS for margin in MARGINS]
    together = [f"{end}_in{n}" for end in _ENDS for n in (1, 2, 3)]
    return (*levels, *together, *(f"saturation_{m}" for m in ("none", "full", "mean", "sd", "skew")))


@feature(columns=_saturation_columns(), family="colour")
def saturation_statistics(rgb8: Array) -> Array:
    """Saturation statistics: shares of under-exposed and saturated samples, and moments of the HSV saturation.

    (B, H, W, 3) uint8 -> (B, 29) float32, range 0..1 but for the skewness

        low m = sqrt( share of x <= m ),   high m = sqrt( share of x >= 255 - m ),   m = 0, 5, 15, for each colour
        low_in n = sqrt( share of pixels with exactly n colours at 0 ),   high_in n: at 255,   n = 1, 2, 3
        none = sqrt( share of S = 0 ),   full = sqrt( share of S = 255 ),   mean S / 255,   sd S / 255,   skew S
        S = floor( 255 (max - min) / max ) of the three colours, 0 where max = 0

    Skewness is 0 where S is constant.  A sensor clips; a generator's normalised last layers seldom reach the ends of
    the range.  `red_high0` is the share of red at 255.

    Source: McCloskey and Albright 2018, "Detecting GAN-generated imagery using color cues", arXiv 1812.08247, section
    on saturation (shares of over- and under-exposed pixels over thresholds); the margins here, the joint counts and
    the moments of saturation are this project's.
    """
    xp = namespace(rgb8)
    B, H, W, _ = rgb8.shape
    fast = twin("exposure_counts", rgb8)
    levels, saturations, ends = fast(rgb8) if fast else _exposure_counts(rgb8)
    levels, saturations, ends = (xp.astype(part, xp.float64) for part in (levels, saturations, ends))
    low = xp.stack([xp.sum(levels[..., : m + 1], axis=-1) for m in MARGINS], axis=-1)
    high = xp.stack([xp.sum(levels[..., 255 - m :], axis=-1) for m in MARGINS], axis=-1)
    counts = [xp.stack([low, high], axis=2), ends[..., 1:], saturations[:, :1], saturations[:, 255:]]
    shares = xp.sqrt(xp.concat([xp.reshape(part, (B, -1)) for part in counts], axis=1) / (H * W))
    value = xp.arange(256, dtype=xp.float64, device=device(rgb8))
    mean = xp.sum(saturations * value, axis=1, keepdims=True) / (H * W)
    away = value - mean
    variance = xp.sum(saturations * away**2, axis=1, keepdims=True) / (H * W)
    third = xp.sum(saturations * away**3, axis=1, keepdims=True) / (H * W)
    safe = xp.where(variance > 0, variance, xp.ones_like(variance))
    skewness = xp.where(variance > 0, third / safe**1.5, xp.zeros_like(third))
    return xp.astype(xp.concat([shares, mean / 255, xp.sqrt(variance) / 255, skewness], axis=1), xp.float32)


def _exposure_counts(rgb8: Array) -> tuple[Array, Array, Array]:
    """Count levels by colour, saturations, and pixels with n colours at an end, as the twin exposure_counts does."""
    xp = namespace(rgb8)
    B = rgb8.shape[0]
    pixels = xp.astype(xp.reshape(rgb8, (B, -1, 3)), xp.int64)
    most, least = xp.max(pixels, axis=-1), xp.min(pixels, axis=-1)
    saturation = 255 * (most - least) // xp.where(most > 0, most, xp.ones_like(most))
    ends = [xp.sum(xp.astype(pixels == end, xp.int64), axis=-1) for end in (0, 255)]
    return (
        count_bins(xp.permute_dims(pixels, (0, 2, 1)), 256),
        count_bins(saturation, 256),
        count_bins(xp.stack(ends, axis=1), 4),
    )


_PAIRS = ("red_green", "red_blue", "green_blue")
_ORDERS = ("first", "second", "cross")


@feature(
    columns=tuple(
        f"{order}_{column}" for order in _ORDERS for column in (*_PAIRS, "energy_red_green", "energy_blue_green")
    ),
    family="colour",
)
def colour_correlation(rgb8: Array) -> Array:
    """Colour correlation: how closely the fine detail of the three colours agrees, for three orders of difference.

    (B, H, W, 3) uint8 -> (B, 15) float32, in natural logarithms; 3 orders x (3 pairs of colours, 2 energy ratios)

        S[a, b] = sum d_a d_b,   rho = S[a, b] / sqrt( S[a, a] S[b, b] ),   pair = ln( 1 - rho + 0.001 )
        energy_red_green = ln( (S[r, r] / n + 0.01) / (S[g, g] / n + 0.01) ),   energy_blue_green likewise

    d are differences of neighbours (`first`: horizontal and vertical pooled), differences of those (`second`, x[p - e]
    - 2 x[p] + x[p + e], pooled likewise), and both at once (`cross`, x[p] + x[p + (1, 1)] - x[p + (0, 1)] - x[p + (1,
    0)]); n is how many there are.  No mean is taken off: that of differences is near zero and says nothing.  rho is 0
    where a colour has no difference.  Interpolation of a camera's colour mosaic makes the finest detail of the colours
    nearly one, rho near 1, which the logarithm spreads out; a generator that mixes colours from feature maps need not.

    Source: Gunturk, Altunbasak, Mersereau 2002, "Color plane interpolation using alternating projections", IEEE Trans.
    Image Processing 11(9), section II (detail bands of camera colours correlate above 0.9); its use as a trace of
    generators, by this summary, is this project's.
    Raises DataError below 3 x 3 pixels.
    """
    require_sides(rgb8[..., 0], 3, "colour_correlation")
    xp = namespace(rgb8)
    _, H, W, _ = rgb8.shape
    fast = twin("colour_difference_products", rgb8)
    sums = xp.astype(fast(rgb8) if fast else _colour_difference_products(rgb8), xp.float64)
    numbers = (H * (W - 1) + (H - 1) * W, H * (W - 2) + (H - 2) * W, (H - 1) * (W - 1))
    rows = []
    for order, number in enumerate(numbers):
        rr, rg, rb, gg, gb, bb = (sums[:, order, k] for k in range(6))
        for product, first, second in ((rg, rr, gg), (rb, rr, bb), (gb, gg, bb)):
            scale = xp.sqrt(first) * xp.sqrt(second)
            rho = product / xp.where(scale > 0, scale, xp.ones_like(scale))
            rows.append(xp.log(1 - rho + FLOOR))
        rows += [xp.log((energy / number + 0.01) / (gg / number + 0.01)) for energy in (rr, bb)]
    return xp.astype(xp.stack(rows, axis=1), xp.float32)


def _colour_difference_products(rgb8: Array) -> Array:
    """Sum products of the residuals of two colours, as the twin colour_difference_products does: (B, 3, 6) int64."""
    xp = namespace(rgb8)
    x = xp.astype(rgb8, xp.int32)
    right, down = x[:, :, 1:] - x[:, :, :-1], x[:, 1:] - x[:, :-1]
    orders = (
        (right, down),
        (right[:, :, 1:] - right[:, :, :-1], down[:, 1:] - down[:, :-1]),
        (right[:, 1:] - right[:, :-1],),
    )
    sums = []
    for residuals in orders:
        for a, b in ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2)):
            sums.append(sum(xp.sum(r[..., a] * r[..., b], axis=(1, 2), dtype=xp.int64) for r in residuals))
    return xp.reshape(xp.stack(sums, axis=1), (rgb8.shape[0], 3, 6))
