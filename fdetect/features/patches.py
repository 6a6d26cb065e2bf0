"""Features of small patches and of the lowest bits: the local evidence that patch networks are built to see."""

from __future__ import annotations

import numpy as np
from array_api_compat import device

from fdetect.backend import namespace
from fdetect.features.base import feature
from fdetect.forensics.base import require_sides
from fdetect.forensics.kernels import twin
from fdetect.types import Array

__all__ = ["PATCH_FLOOR", "bit_plane_statistics", "patch_residual_statistics"]

PATCH_FLOOR = 1e-2  # squared grey levels per sample; one sample of a patch off by one gives 0.004
_QUANTILES = (5, 10, 25, 50, 75, 90, 95)
_COLOURS = ("red", "green", "blue")
_KINDS = ("ones", "right", "down", "diagonal")


@feature(
    columns=(*(f"quantile{q:02d}" for q in _QUANTILES), "mean", "deviation", "skewness", "flat", "contrast", "rich"),
    family="patches",
)
def patch_residual_statistics(patch_energy: Array) -> Array:
    """Patch residual statistics: how the NPR energy of 9 x 9 patches is spread over the image.

    (B, h, w) float32 -> (B, 13) float32; logarithms of squared grey levels per sample, shares in `flat` and `rich`

        l = ln( E / 243 + 0.01 ),   E = patch energy, 243 = 9 x 9 x 3 samples, n = h w patches
        quantile q = the floor(q (n - 1) / 100)-th smallest l;   mean, standard deviation and skewness of l;
        flat = share of E = 0;   contrast = mean |l - l'| over patches side by side or one above the other;
        rich = share of all energy that lies in the ceil(n / 10) strongest patches

    Energies are whole numbers, so that ranks and ties are exact.  Skewness is 0 where all E are equal, contrast where
    there is one patch, rich where there is no energy.

    Source: patches and residual are those of LaDeDa: Cavia, Horwitz, Reiss, Hoshen 2024, "Real-time deepfake
    detection in the real-world", arXiv 2406.07398, section 4, where a network scores each patch and the scores are
    averaged.  This summary needs no network and is this project's.
    """
    xp, where = namespace(patch_energy), device(patch_energy)
    B, h, w = patch_energy.shape
    n = h * w
    energy = xp.astype(patch_energy, xp.float64)
    level = xp.log(energy / 243 + PATCH_FLOOR)
    ranked = xp.sort(xp.reshape(energy, (B, n)), axis=1)
    at = xp.asarray([q * (n - 1) // 100 for q in _QUANTILES], device=where)
    quantiles = xp.log(xp.take(ranked, at, axis=1) / 243 + PATCH_FLOOR)
    flat_level = xp.reshape(level, (B, n))
    centred = flat_level - xp.mean(flat_level, axis=1, keepdims=True)
    varies = ranked[:, -1] > ranked[:, 0]
    none = xp.zeros_like(ranked[:, 0])
    variance = xp.where(varies, xp.mean(centred**2, axis=1), none)
    skewness = xp.where(varies, xp.mean(centred**3, axis=1) / xp.where(varies, variance, none + 1) ** 1.5, none)
    steps = xp.sum(xp.abs(level[:, 1:] - level[:, :-1]), axis=(1, 2))
    steps = steps + xp.sum(xp.abs(level[:, :, 1:] - level[:, :, :-1]), axis=(1, 2))
    contrast = steps / max((h - 1) * w + h * (w - 1), 1)
    total = xp.sum(ranked, axis=1)
    strongest = xp.sum(ranked[:, n - (n + 9) // 10 :], axis=1)
    rich = xp.where(total > 0, strongest / xp.where(total > 0, total, none + 1), none)
    flat = xp.mean(xp.astype(ranked == 0, xp.float64), axis=1)
    shape = [xp.mean(flat_level, axis=1), xp.sqrt(variance), skewness, flat, contrast, rich]
    return xp.astype(xp.concat([quantiles, xp.stack(shape, axis=1)], axis=1), xp.float32)


@feature(
    columns=(
        *(f"{c}_bit{k}_{kind}" for c in _COLOURS for k in range(3) for kind in _KINDS),
        *(f"{pair}_bit{k}_agree" for pair in ("red_green", "green_blue", "blue_red") for k in range(3)),
        *(f"{c}_low_zero" for c in (*_COLOURS, "all")),
        *(f"patch_gradient_{which}" for which in ("least", "mean", "most")),
    ),
    family="bitplanes",
)
def bit_plane_statistics(rgb8: Array, *, side: int = 32) -> Array:
    """Bit-plane statistics: whether the three lowest bits of the samples look like noise or like a picture.

    (B, H, W, 3) uint8 -> (B, 52) float32, range 0..1; the last three in levels of the low bits, 0..7

        b_k = bit k of I_c, k = 0, 1, 2:   ones = share of b_k = 1
        right, down, diagonal = share of b_k(p) = b_k(p + e),   e = (0, 1), (1, 0), (1, 1)
        agree = share of b_k of one colour = b_k of the next;   low_zero = share of I mod 8 = 0
        patch_gradient = mean |L(p) - L(q)| inside a patch,   L = I mod 8, q right, below, and on both diagonals

    Patches of `side` pixels lie side by side from the top-left pixel, smaller ones where the image is (its shorter
    side); the least, the mean and the most of them are given, averaged over the colours.  The column `all_low_zero`
    counts pixels of which all three colours have low bits of zero.  Noise has 1/2 everywhere, 1/8 of low zeros and a
    gradient of 21/8.

    Source: LOTA: Wang, Cheng, Zhang, Han, Gui 2025, "LOTA: bit-planes guided AI-generated image detection", ICCV,
    arXiv 2510.14230 (image & 7, and the patch of the greatest gradient, drawn there from random ones and given to a
    network); counting agreements and taking all patches of a grid is this project's.
    Raises DataError below 8 x 8 pixels.
    """
    require_sides(rgb8[..., 0], 8, "bit_plane_statistics")
    B, H, W, _ = rgb8.shape
    side = min(side, H, W)
    fast = twin("bit_plane_sums", rgb8)
    counts, low, gradients = fast(rgb8, side) if fast else _bit_plane_sums(rgb8, side)
    xp, where = namespace(rgb8), device(rgb8)
    pairs = np.array([H * W, H * (W - 1), (H - 1) * W, (H - 1) * (W - 1), H * W], np.float64)
    shares = xp.astype(counts, xp.float64) / xp.asarray(pairs[:, None, None], device=where)
    own = xp.concat([shares[:, :1], 1 - shares[:, 1:4]], axis=1)  # kinds, colours, bits
    zeros = xp.astype(low, xp.float64) / (H * W)
    gradients = xp.reshape(gradients, (B, -1))
    steps = 3 * (2 * side * (side - 1) + 2 * (side - 1) ** 2)
    total = xp.astype(xp.sum(gradients, axis=1), xp.float64) / gradients.shape[1]
    extremes = [xp.astype(part, xp.float64) for part in (xp.min(gradients, axis=1), xp.max(gradients, axis=1))]
    patches = xp.stack([extremes[0], total, extremes[1]], axis=1) / steps
    parts = [xp.reshape(xp.permute_dims(own, (0, 2, 3, 1)), (B, -1)), xp.reshape(1 - shares[:, 4], (B, -1))]
    return xp.astype(xp.concat([*parts, zeros, patches], axis=1), xp.float32)


def _bit_plane_sums(rgb8: Array, side: int) -> tuple[Array, Array, Array]:
    """Return ones and disagreements (B, 5, 3, 3), low zeros (B, 4), gradients of patches (B, h, w), all int64."""
    xp = namespace(rgb8)
    low = xp.permute_dims(xp.astype(rgb8 & 7, xp.int64), (0, 3, 1, 2))
    others = (
        low,
        low[..., 1:] ^ low[..., :-1],
        low[..., 1:, :] ^ low[..., :-1, :],
        low[..., 1:, 1:] ^ low[..., :-1, :-1],
        low ^ xp.concat([low[:, 1:], low[:, :1]], axis=1),
    )
    bits = [xp.stack([xp.sum((part >> k) & 1, axis=(-2, -1)) for k in range(3)], axis=-1) for part in others]
    zero = xp.astype(low == 0, xp.int64)
    every = zero[:, 0] * zero[:, 1] * zero[:, 2]
    zeros = xp.concat([xp.sum(zero, axis=(-2, -1)), xp.sum(every, axis=(-2, -1))[:, None]], axis=1)
    B, _, H, W = low.shape
    h, w = H // side, W // side
    patch = xp.reshape(low[..., : h * side, : w * side], (B, 3, h, side, w, side))
    here, below = patch[:, :, :, :-1], patch[:, :, :, 1:]
    pairs = (
        (patch[..., 1:], patch[..., :-1]),
        (here, below),
        (here[..., :-1], below[..., 1:]),
        (here[..., 1:], below[..., :-1]),
    )
    gradients = sum(xp.sum(xp.abs(a - b), axis=(1, 3, 5)) for a, b in pairs)
    return xp.stack(bits, axis=1), zeros, gradients
