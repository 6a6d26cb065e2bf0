"""Distances of two pictures: how far an autoencoder missed the picture that it was given.

    (B, 3, H, W) float32, (B, 3, H, W) float32, both Torch, RGB in 0..1 -> (B,) float64, 0 where they are equal

Sums run in float64, so that a value depends neither on the machine nor on the other pictures of the batch.  An entry's
`digest()` is what a cache key must hold of its weights: their SHA-256, or an empty string for a distance without any.
Torch is loaded when a distance is computed.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from fdetect.errors import ParameterError
from fdetect.nets.folders import weights_sha256
from fdetect.nets.weights import find_weights
from fdetect.registry import Registry

if TYPE_CHECKING:
    import torch

__all__ = ["IMPORT_LPIPS", "distance"]

distance = Registry("distance", "digest")

IMPORT_LPIPS = "run `fdetect weights import vgg16-397923af.pth vgg.pth --as lpips-vgg`"

_AT_ONCE = {"cpu": 1, "cuda": 64}  # pairs; a CPU is fastest with one, whose result then depends on no other

# Wang, Simoncelli, Bovik 2003, sections 3.1 and 3.2
_SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
_WINDOW, _SIGMA, _C1, _C2 = 11, 1.5, 0.01**2, 0.03**2


def _no_weights() -> str:
    return ""


def _lpips_digest() -> str:
    """Return the SHA-256 of LPIPS' weights; raises WeightsError where there are none."""
    return weights_sha256(_lpips_folder())


def _lpips_folder() -> Path:
    return find_weights("lpips-vgg", fix=IMPORT_LPIPS)


@distance(digest=_no_weights)
def mse(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Mean squared difference of all samples: (B, 3, H, W) x 2 -> (B,).

    d = mean (x - y)^2.  Source: the plainest of the distances that reconstruction detectors use, as in Wang et al.
    2023, "DIRE for diffusion-generated image detection", arXiv 2303.09295 (which keeps the differences apart).
    """
    return _in_pairs(lambda a, b: (a - b).double().square().mean(dim=(1, 2, 3)), x, y)


@distance(digest=_no_weights)
def l1(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Mean absolute difference of all samples: (B, 3, H, W) x 2 -> (B,).

    d = mean |x - y|.  Source: as for mse; DIRE takes the absolute difference, arXiv 2303.09295, equation 5.
    """
    return _in_pairs(lambda a, b: (a - b).double().abs().mean(dim=(1, 2, 3)), x, y)


@distance(digest=_no_weights)
def ms_ssim(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """One minus multi-scale SSIM of luma: (B, 3, H, W) x 2 -> (B,), in 0..1.

        d = 1 - S_M^(w_M) prod_(j<M) C_j^(w_j)
        C = mean c,       c = (2 s_xy + c2) / (s_x^2 + s_y^2 + c2)
        S = mean (c l),   l = (2 m_x m_y + c1) / (m_x^2 + m_y^2 + c1)

    Means, variances and covariance under a Gaussian window of 11 x 11, sigma 1.5, where it lies inside the picture;
    c1 = 0.01^2, c2 = 0.03^2; each next scale is the mean of 2 x 2 (an odd last row or column is left out).  Luma is
    BT.601.  The five scales of the paper need a shorter side of 176 px; below that M is the largest number for which
    the window fits into the smallest scale (3 at 64 px, 4 at 152 px), and the weights are divided by their sum.  A
    negative mean counts as 0.

    Source: Wang, Simoncelli, Bovik 2003, "Multi-scale structural similarity for image quality assessment", Asilomar,
    equation 7 and section 3.2.  Raises ParameterError below 11 px.
    """
    return _in_pairs(_ms_ssim, x, y)


@distance(digest=_no_weights)
def wavelet(x: torch.Tensor, y: torch.Tensor, *, levels: int = 2) -> torch.Tensor:
    """Mean absolute difference of the fine detail, in Haar's bands: (B, 3, H, W) x 2 -> (B,).

        d = 1 / (3 J) sum_(j=1..J) sum_(b in LH, HL, HH) mean |W_jb(x - y)|

    W is the orthonormal Haar transform of each colour, of which the coarse rest LL_J is left out: smooth errors, of
    which large plain areas make most, do not count.  J = `levels`; an odd last row or column of a level is left out.

    Source: a distance of this house; that the reconstruction's error in high frequencies tells more than all of it is
    from Choi et al. 2024, "HFI", arXiv 2412.20704; the transform from Mallat 1989, IEEE PAMI 11(7).
    Raises ParameterError where `levels` does not fit the picture.
    """
    if levels < 1 or min(x.shape[-2:]) < 2**levels:
        raise ParameterError(f"levels must be at least 1 and 2^levels at most the picture's sides; got {levels}")

    def details(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        rest = a.double() - b.double()
        total = rest.new_zeros(len(a))
        for _ in range(levels):
            height, width = (side - side % 2 for side in rest.shape[-2:])
            left, right = rest[..., :height, 0:width:2], rest[..., :height, 1:width:2]
            sums, differences = left + right, left - right
            top, bottom = slice(0, None, 2), slice(1, None, 2)
            for band in (
                sums[..., top, :] - sums[..., bottom, :],
                differences[..., top, :] + differences[..., bottom, :],
                differences[..., top, :] - differences[..., bottom, :],
            ):
                total = total + band.abs().mean(dim=(1, 2, 3)) / 2
            rest = (sums[..., top, :] + sums[..., bottom, :]) / 2
        return total / (3 * levels)

    return _in_pairs(details, x, y)


@distance(digest=_lpips_digest)
def lpips(x: torch.Tensor, y: torch.Tensor, *, layer: int = 2) -> torch.Tensor:
    """LPIPS on VGG16, its second block alone, which AEROBLADE chose: (B, 3, H, W) x 2 -> (B,).

    d = mean over positions of sum_c w_c (f_c(x) / |f(x)| - f_c(y) / |f(y)|)^2, f the features after block `layer`; 0
    sums all five blocks, which is LPIPS as published.  Weights are looked for under the name lpips-vgg.

    Source: Zhang, Isola, Efros, Shechtman, Wang 2018, arXiv 1801.03924, equation 1, version 0.1; the second block:
    Ricker, Lukovnikov, Fischer 2024, "AEROBLADE", arXiv 2401.17879, section 4.
    Raises WeightsError where the weights are absent or another network's, ParameterError for another layer.
    """
    from fdetect.nets.lpips import load_lpips

    network = load_lpips(_lpips_folder(), _lpips_digest(), str(x.device))
    return _in_pairs(lambda a, b: network(a, b, layer=layer), x, y)


lpips_all = distance.variant(lpips, "lpips_all", layer=0)


def _in_pairs(
    run: Callable[[torch.Tensor, torch.Tensor], torch.Tensor], x: torch.Tensor, y: torch.Tensor
) -> torch.Tensor:
    """Return run(x, y), a few pairs at a time."""
    import torch

    from fdetect.nets.memory import in_chunks

    if x.shape != y.shape or x.ndim != 4 or x.shape[1] != 3:
        raise ParameterError(f"a distance needs two batches (B, 3, H, W); got {tuple(x.shape)} and {tuple(y.shape)}")
    places = torch.arange(len(x))
    device = x.device.type
    return in_chunks(lambda part: run(x[part], y[part]), places, device=device, chunk=_AT_ONCE.get(device, 1))


def _ms_ssim(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """(B, 3, H, W) x 2 -> (B,) float64."""
    import torch

    side = min(x.shape[-2:])
    if side < _WINDOW:
        raise ParameterError(f"ms_ssim needs pictures of at least {_WINDOW} x {_WINDOW} px; got a side of {side}")
    scales = sum(side >> j >= _WINDOW for j in range(len(_SCALE_WEIGHTS)))
    luma = torch.tensor((0.299, 0.587, 0.114), dtype=torch.float64, device=x.device).view(1, 3, 1, 1)
    pair = [(picture.double() * luma).sum(dim=1, keepdim=True) for picture in (x, y)]
    product = torch.ones(len(x), dtype=torch.float64, device=x.device)
    for j in range(scales):
        structure, similarity = _ssim_maps(*pair)
        mean = (similarity if j == scales - 1 else structure).mean(dim=(1, 2, 3))
        product = product * mean.clamp(min=0) ** (_SCALE_WEIGHTS[j] / sum(_SCALE_WEIGHTS[:scales]))
        pair = [torch.nn.functional.avg_pool2d(picture, 2) for picture in pair]
    return 1 - product


def _ssim_maps(x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Contrast-structure and SSIM where the window fits: (B, 1, H, W) float64 x 2 -> (B, 1, H - 10, W - 10) x 2."""
    import torch

    place = torch.arange(_WINDOW, dtype=torch.float64, device=x.device) - _WINDOW // 2
    window = torch.exp(-(place**2) / (2 * _SIGMA**2))
    window = window / window.sum()
    moments = torch.cat((x, y, x * x, y * y, x * y), dim=1).flatten(0, 1)[:, None]
    for shape in ((1, 1, -1, 1), (1, 1, 1, -1)):
        moments = torch.nn.functional.conv2d(moments, window.view(shape))
    mean_x, mean_y, xx, yy, xy = moments.unflatten(0, (len(x), 5)).unbind(dim=1)
    structure = (2 * (xy - mean_x * mean_y) + _C2) / (xx - mean_x**2 + yy - mean_y**2 + _C2)
    return structure, structure * (2 * mean_x * mean_y + _C1) / (mean_x**2 + mean_y**2 + _C1)
