"""transformers' image towers as trunks of detector networks."""

from __future__ import annotations

from typing import Any

import torch
import transformers
from torch import nn

from fdetect.nets.detectors.base import NetworkConfig
from fdetect.nets.detectors.model import Convolutional, DetectorNetwork, Normalise, exact
from fdetect.nets.detectors.resnet import initialise
from fdetect.nets.weights import IMAGENET_MEAN, IMAGENET_STD

__all__ = [
    "ClassToken", "Cut", "EfficientNetFeatures", "SwinFeatures", "Tokens", "efficientnet", "from_tokens", "swin", "vit",
]  # fmt: skip

_HALF = (0.5, 0.5, 0.5)  # mean and deviation of transformers' ViTImageProcessor


class Cut(nn.Module):  # type: ignore[misc]
    """Sides cut at the bottom and the right to multiples of a patch: (B, C, H, W) -> (B, C, H', W')."""

    def __init__(self, patch: int) -> None:
        super().__init__()
        self.patch = patch

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the pictures without their last rows and columns."""
        height, width = (side // self.patch * self.patch for side in images.shape[-2:])
        return images[..., :height, :width]


class Tokens(nn.Module):  # type: ignore[misc]
    """A vision transformer as a trunk: (B, 3, H, W) -> (B, D, H / patch, W / patch), the patches' tokens as a map."""

    def __init__(self, tower: nn.Module, patch: int, **settings: Any) -> None:
        super().__init__()
        self.tower, self.patch, self.settings = tower, patch, settings

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the patches' tokens after the final norm."""
        height, width = (side // self.patch for side in images.shape[-2:])
        patches = self.all(images)[:, -height * width :]  # the class token and registers stand before them
        return patches.transpose(1, 2).unflatten(2, (height, width))

    def all(self, images: torch.Tensor) -> torch.Tensor:
        """Return all tokens after the final norm, the class token first: (B, 3, H, W) -> (B, T, D)."""
        tokens: torch.Tensor = self.tower(pixel_values=images, **self.settings).last_hidden_state
        return tokens


class ClassToken(DetectorNetwork):
    """A vision transformer whose classifier sees the class token; no patch logits."""

    def __init__(self, config: NetworkConfig, stem: nn.Module, trunk: Tokens, dim: int) -> None:
        super().__init__(config)
        self.stem, self.trunk, self.classifier = stem, trunk, nn.Linear(dim, 1)

    def maps(self, images: torch.Tensor) -> torch.Tensor:
        """Return the picture as the transformer takes it: cut and normalised."""
        with exact(images):
            return self.stem(images)

    def embed(self, images: torch.Tensor) -> torch.Tensor:
        """Return the class token after the final norm: (B, 3, H, W) -> (B, D)."""
        return self.trunk.all(self.maps(images))[:, 0]


class SwinFeatures(nn.Module):  # type: ignore[misc]
    """Swin as a trunk, its windows of one size everywhere: (B, 3, H, W) -> (B, D, H / 32, W / 32), rounded up."""

    def __init__(self, tower: nn.Module) -> None:
        super().__init__()
        self.tower = tower

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the features after the final norm."""
        embedded, sides = self.tower.embeddings(images)
        places = self.tower.encoder(embedded, sides, always_partition=True).last_hidden_state
        height, width = (-(-side // 32) for side in images.shape[-2:])
        normed: torch.Tensor = self.tower.layernorm(places)
        return normed.transpose(1, 2).unflatten(2, (height, width))


class EfficientNetFeatures(nn.Module):  # type: ignore[misc]
    """EfficientNet as a trunk: (B, 3, H, W) -> (B, D, H / 32, W / 32), rounded up."""

    def __init__(self, tower: nn.Module) -> None:
        super().__init__()
        self.tower = tower

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the features of the last convolution; the tower's own pooling has no weights and is left out."""
        features: torch.Tensor = self.tower.encoder(self.tower.embeddings(images)).last_hidden_state
        return features


def vit(
    config: NetworkConfig, *, width: int, depth: int, heads: int, patch: int, size: int, pool: str
) -> DetectorNetwork:
    """Return ViT with torch's first values; see `fdetect.nets.detectors.transformer.Vit`."""
    sizes = transformers.ViTConfig(
        hidden_size=width, num_hidden_layers=depth, num_attention_heads=heads, intermediate_size=4 * width,
        patch_size=patch, image_size=size,
    )  # fmt: skip
    trunk = Tokens(transformers.ViTModel(sizes, add_pooling_layer=False), patch, interpolate_pos_encoding=True)
    return from_tokens(config, trunk, width, pool=pool, mean=_HALF, std=_HALF)


def from_tokens(
    config: NetworkConfig, trunk: Tokens, dim: int, *, pool: str,
    mean: tuple[float, ...] = IMAGENET_MEAN, std: tuple[float, ...] = IMAGENET_STD,
) -> DetectorNetwork:  # fmt: skip
    """Return a detector on a transformer's tokens: pool "mean" of the patches, or "class"."""
    stem = nn.Sequential(Cut(trunk.patch), Normalise(mean, std))
    return (Convolutional if pool == "mean" else ClassToken)(config, stem, trunk, dim)


def swin(config: NetworkConfig, *, width: int, depths: tuple[int, ...], window: int) -> DetectorNetwork:
    """Return Swin with torch's first values; see `fdetect.nets.detectors.transformer.Swin`."""
    sizes = transformers.SwinConfig(
        embed_dim=width, depths=depths, window_size=window,
        num_heads=tuple(width // 32 * 2**stage for stage in range(len(depths))),
    )  # fmt: skip
    tower = transformers.SwinModel(sizes, add_pooling_layer=False)
    return Convolutional(config, Normalise(), SwinFeatures(tower), tower.num_features)


def efficientnet(config: NetworkConfig, *, width: float, depth: float) -> DetectorNetwork:
    """Return EfficientNet with torch's first values; see `fdetect.nets.detectors.large.EfficientnetB4`."""
    sizes = transformers.EfficientNetConfig(
        width_coefficient=width, depth_coefficient=depth, image_size=380, hidden_dim=_rounded(1280 * width),
        batch_norm_momentum=0.01,  # what Keras calls 0.99
        depthwise_padding=[6],  # the block of B4 whose padding transformers keeps as it was in the original code
    )  # fmt: skip
    tower = transformers.EfficientNetModel(sizes)
    initialise(tower)  # transformers' own first values let the scales of norms begin near 0, and no gradient passes
    for module in tower.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.ones_(module.weight)
    return Convolutional(config, Normalise(), EfficientNetFeatures(tower), sizes.hidden_dim)


def _rounded(channels: float) -> int:
    """Return channels as a multiple of 8, no more than a tenth less: the rounding of EfficientNet's authors."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded
