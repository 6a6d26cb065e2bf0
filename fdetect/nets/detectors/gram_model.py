"""The modules of Gram-Net: Gram blocks beside a ResNet-18.  Source: Liu, Qi, Torr 2020, arXiv 2002.00133."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from fdetect.nets.detectors.model import DetectorNetwork, Normalise, exact
from fdetect.nets.detectors.resnet import ResNet, initialise

if TYPE_CHECKING:
    from fdetect.nets.detectors.gram import GramNet

__all__ = ["GramBlock", "GramModel", "gram"]

WIDTHS = (16, 32)  # of the two convolutions after a Gram matrix


class GramBlock(nn.Module):  # type: ignore[misc]
    """Features, their Gram matrix as a picture, its mean features: (B, inputs, H, W) -> (B, 32)."""

    def __init__(self, inputs: int, channels: int) -> None:
        super().__init__()
        self.align = _conv(inputs, channels)
        self.texture = nn.Sequential(_conv(1, WIDTHS[0]), _conv(WIDTHS[0], WIDTHS[1]))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return the embedding of the Gram matrix."""
        return self.texture(gram(self.align(features))[:, None]).float().mean((-2, -1))


class GramModel(DetectorNetwork):
    """ResNet-18 with a Gram block on its input, after its stem and after each stage."""

    def __init__(self, config: GramNet) -> None:
        super().__init__(config)
        widths = (64, 128, 256, 512)
        self.stem = Normalise()
        self.trunk = ResNet(3, (2, 2, 2, 2), widths, bottleneck=False)
        self.grams = nn.ModuleList(GramBlock(inputs, config.channels) for inputs in (3, 64, *widths))
        self.classifier = nn.Linear(self.trunk.dim + WIDTHS[1] * len(self.grams), 1)
        initialise(self.grams)

    def maps(self, images: torch.Tensor) -> torch.Tensor:
        """Return the standardised picture: (B, 3, H, W) RGB 0..1 -> the same shape."""
        with exact(images):
            return self.stem(images)

    def embed(self, images: torch.Tensor) -> torch.Tensor:
        """Return the mean of the last features and the embeddings of six depths: (B, 3, H, W) -> (B, 512 + 6 * 32)."""
        features = self.maps(images)
        depths = [features]
        for name, part in self.trunk.named_children():
            features = part(features)
            if name == "relu" or name.startswith("layer"):
                depths.append(features)
        textures = [block(depth) for block, depth in zip(self.grams, depths, strict=True)]
        return torch.cat([features.float().mean((-2, -1)), *textures], 1)


def gram(features: torch.Tensor) -> torch.Tensor:
    """Return inner products of channels over c h w, in float32: (B, c, h, w) -> (B, c, c)."""
    with exact(features):
        flat = features.float().flatten(2)
        return flat @ flat.mT / (flat.shape[1] * flat.shape[2])


def _conv(inputs: int, outputs: int) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))
