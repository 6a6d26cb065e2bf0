"""What forensic networks look at in place of the picture, as modules without weights.

    Resampled    what nearest-neighbour resampling loses (NPR; LaDeDa without a factor before it)
    Filtered     a small linear filter of each colour
    WaveletBand  the finest diagonal band of the bior1.3 transform, enlarged to the size of the picture (SAFE)
    Srm          linear residuals of the rich models, by colour, in grey levels
    Stacked      all three kinds, in grey levels, truncated

Values are compared with the maps of fdetect/forensics by tests.  They are computed in float32 whatever a training's
precision (`fdetect.nets.detectors.model.exact`), since they are small differences of large numbers.  Residuals of
`Srm` are sums of whole grey levels times whole numbers, of which even a GPU's shortened float32 (TF32) loses nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from fdetect.forensics.residual import KERNELS, SRM
from fdetect.forensics.wavelets import mirror

__all__ = ["FEW", "GREYS", "Filtered", "Resampled", "Srm", "Stacked", "WaveletBand", "masks"]

GREYS = 255.0  # grey levels of a picture in 0..1
FEW = ("second", "third", "square3x3", "square5x5")  # one kernel of every kind that needs no turning
_OPPOSITE = ("first_all", "third_all")  # classes of which the bank of 30 has each direction and its opposite
_LUMA_CHROMA = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))  # JFIF 1.02


class Resampled(nn.Module):  # type: ignore[misc]
    """scale (x - up(down(x))) by nearest neighbours, sides cut to multiples: (B, C, H, W) -> (B, C, H', W')."""

    def __init__(self, factor: int = 2, scale: float = 1.0) -> None:
        super().__init__()
        self.factor, self.scale = factor, scale

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the residual; its pixel at the top left of each cell is 0."""
        height, width = (side // self.factor * self.factor for side in images.shape[-2:])
        images = images[..., :height, :width]
        coarse = images[..., :: self.factor, :: self.factor]
        again = coarse.repeat_interleave(self.factor, -2).repeat_interleave(self.factor, -1)
        return self.scale * (images - again)


class Filtered(nn.Module):  # type: ignore[misc]
    """Correlation of each channel with one odd kernel, zeros beyond the border: (B, C, H, W) -> the same shape."""

    def __init__(self, kernel: Sequence[Sequence[float]]) -> None:
        super().__init__()
        self.register_buffer("kernel", torch.tensor(kernel, dtype=torch.float32)[None, None], persistent=False)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the filtered channels."""
        channels = images.shape[1]
        weight = self.kernel.expand(channels, 1, -1, -1)
        return functional.conv2d(images, weight, padding=self.kernel.shape[-1] // 2, groups=channels)


class WaveletBand(nn.Module):  # type: ignore[misc]
    """HH of the bior1.3 transform, one level, mirrored at half a sample, enlarged: (B, C, H, W) -> the same shape.

        HH[k, l] = (I[2k-2, 2l-2] - I[2k-1, 2l-2] - I[2k-2, 2l-1] + I[2k-1, 2l-1]) / 2

    since the high-pass of bior1.3 is that of Haar; (H+5)//2 x (W+5)//2 values, of which the outermost lie beyond the
    picture, as in the map `wavelet_hh`.  Enlarged by bilinear interpolation with pixels as areas.
    """

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the enlarged band in the units of the input."""
        band = 0.5 * _pairs(_pairs(images, -2), -1)
        return functional.interpolate(band, images.shape[-2:], mode="bilinear", align_corners=False)


class Srm(nn.Module):  # type: ignore[misc]
    """Residuals of K kernels, of each colour: (B, C, H, W) in 0..1 -> (B, C, K, H, W) in grey levels.

    names  classes of `fdetect.forensics.residual.KERNELS`; empty: the bank of 30 in the order of the map `srm`

    A kernel of 3 x 3 stands in the middle of one of 5 x 5; pixels beyond the border are mirrored at the border's pixel.
    """

    def __init__(self, names: Sequence[str] = ()) -> None:
        super().__init__()
        divisors = np.array([KERNELS[name].divisor for name in _names(names)], np.float64)
        bank = torch.from_numpy(np.rint(masks(names) * divisors[:, None, None]))  # divided afterwards: 1/3 is not exact
        self.register_buffer("divisors", torch.from_numpy(divisors).to(torch.float32)[:, None, None], persistent=False)
        self.register_buffer("bank", bank.to(torch.float32)[:, None], persistent=False)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the residuals."""
        batch, colours, height, width = images.shape
        planes = (images * GREYS).reshape(batch * colours, 1, height, width)
        padded = functional.pad(planes, (2, 2, 2, 2), mode="reflect")
        found = functional.conv2d(padded, self.bank) / self.divisors
        return found.reshape(batch, colours, -1, height, width)


class Stacked(nn.Module):  # type: ignore[misc]
    """NPR, SRM and HH maps in one: (B, 3, H, W) RGB 0..1 -> (B, 3 + 3 K + 3, H', W'), sides cut to even numbers.

        map = clip(r, -t, t) 2 / t,   r in grey levels, t the `truncation`

    SRM residuals are those of luma and the two chroma differences, which JPEG treats apart.  Truncation keeps edges,
    which are the picture's, from outweighing noise, which is the generator's or the camera's.
    Source: Fridrich and Kodovsky 2012, IEEE Trans. Information Forensics and Security 7(3), equation 2, for truncation.
    """

    def __init__(self, names: Sequence[str] = FEW, truncation: float = 8.0) -> None:
        super().__init__()
        self.resampled, self.srm, self.band, self.truncation = Resampled(), Srm(names), WaveletBand(), truncation
        self.register_buffer("weights", torch.tensor(_LUMA_CHROMA), persistent=False)
        self.channels = 6 + 3 * len(self.srm.bank)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the maps in -2..2: NPR of R, G, B; SRM of Y, Cb, Cr; HH of R, G, B."""
        images = images[..., : images.shape[-2] // 2 * 2, : images.shape[-1] // 2 * 2]
        colours = self.srm(images)
        # a sum of products, not a matrix product: those may be shortened to fewer bits on a GPU
        planes = [sum(colours[:, k] * row[k] for k in range(3)) for row in self.weights]
        maps = torch.cat([self.resampled(images) * GREYS, *planes, self.band(images) * GREYS], 1)
        return maps.clamp(-self.truncation, self.truncation) * (2 / self.truncation)


def masks(names: Sequence[str] = ()) -> np.ndarray:
    """Return kernels over their divisors, set into 5 x 5 zeros: (K, 5, 5) float64; empty: the bank of 30."""
    found = []
    for name in names or SRM:
        turns = (0, 2) if not names and name in _OPPOSITE else (0,)
        margin = (5 - KERNELS[name].side) // 2
        for mask in KERNELS[name].masks:
            found += [np.pad(np.rot90(mask, turn) / KERNELS[name].divisor, margin) for turn in turns]
    return np.stack(found)


def _names(names: Sequence[str]) -> list[str]:
    """Return the class of each kernel of `masks`."""
    turns = {name: 2 if not names and name in _OPPOSITE else 1 for name in names or SRM}
    return [name for name, n in turns.items() for _ in range(n * len(KERNELS[name].masks))]


def _pairs(samples: torch.Tensor, axis: int) -> torch.Tensor:
    """Return x[2k-2] - x[2k-1] along an axis, mirrored at half a sample, for k = 0 ... (length + 5) // 2 - 1."""
    length = samples.shape[axis]
    count = (length + 5) // 2
    index = torch.from_numpy(mirror(length, 2, 2 * count - 2 - length)).to(samples.device)
    return samples.index_select(axis, index[0::2]) - samples.index_select(axis, index[1::2])
