"""What every detector network offers: a logit, an embedding, the maps it looks at, and patch logits where it has them.

    images (B, 3, H, W) RGB 0..1 --maps--> what the trunk sees --embed--> (B, D) --classifier--> (B,) logit

`Convolutional` is the common case, the mean over places of convolutional features and a linear classifier:

    logit = w . mean over (i, j) of f(i, j) + b = mean over (i, j) of [w . f(i, j) + b]

so that its patch logits w . f(i, j) + b have the image's logit as their mean (Zhou et al. 2016, arXiv 1512.04150,
equation 2).

What goes into the trunk and what comes out of it is computed in float32 even where a training computes products in
bfloat16, whose eight bits would lose residuals of one grey level, and of two close logits the order.
"""

from __future__ import annotations

import torch
from torch import nn

from fdetect.errors import ParameterError
from fdetect.nets.detectors.base import NetworkConfig
from fdetect.nets.weights import IMAGENET_MEAN, IMAGENET_STD

__all__ = ["Convolutional", "DetectorNetwork", "Normalise", "exact"]


def exact(images: torch.Tensor) -> torch.autocast:
    """Return a context in which operations on the device of these pictures keep float32."""
    return torch.autocast(images.device.type, enabled=False)


class Normalise(nn.Module):  # type: ignore[misc]
    """Subtract a mean and divide by a deviation, by channel: (B, 3, H, W) RGB 0..1 -> the same shape."""

    def __init__(self, mean: tuple[float, ...] = IMAGENET_MEAN, std: tuple[float, ...] = IMAGENET_STD) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(-1, 1, 1), persistent=False)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return (x - mean) / std."""
        return (images - self.mean) / self.std


class DetectorNetwork(nn.Module):  # type: ignore[misc]
    """A network that says how likely a picture is generated; subclasses fill `maps`, `embed` and `classifier`.

    dropout  share of the embedding that is left out before the classifier, in training only
    """

    classifier: nn.Module  # (..., D) -> (..., 1)

    def __init__(self, config: NetworkConfig, dropout: float = 0.0) -> None:
        super().__init__()
        self.config = config
        self.dropout = nn.Dropout(dropout) if dropout else nn.Identity()

    def maps(self, images: torch.Tensor) -> torch.Tensor:
        """Return what the trunk looks at: (B, 3, H, W) RGB 0..1 -> (B, C, h, w)."""
        return images

    def embed(self, images: torch.Tensor) -> torch.Tensor:
        """Return what the classifier sees: (B, 3, H, W) RGB 0..1 -> (B, D)."""
        raise NotImplementedError

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(B, 3, H, W) RGB 0..1 -> (B,) float32 logit, larger = more likely generated.

        Raises ParameterError where a side is below `config.LEAST` px.
        """
        self.check(images)
        return self.logit(self.embed(images))

    def logit(self, embedding: torch.Tensor) -> torch.Tensor:
        """Return what the classifier says of an embedding: (B, D) -> (B,) float32."""
        kept = self.dropout(embedding.float())
        with exact(embedding):
            logits: torch.Tensor = self.classifier(kept)
        return logits.float().squeeze(-1)

    def patch_logits(self, images: torch.Tensor) -> torch.Tensor | None:
        """Return a logit for each place, (B, 3, H, W) -> (B, h, w), or None where the network has none."""
        return None

    def check(self, images: torch.Tensor) -> None:
        """Raise ParameterError where a side is below `config.LEAST` px."""
        height, width = images.shape[-2:]
        if min(height, width) < self.config.LEAST:
            raise ParameterError(f"{self.config.architecture} takes sides of at least {self.config.LEAST} px; "
                                 f"got {height} x {width}")  # fmt: skip


class Convolutional(DetectorNetwork):
    """Maps, convolutional features, their mean over places, a linear classifier."""

    def __init__(
        self, config: NetworkConfig, stem: nn.Module, trunk: nn.Module, dim: int, dropout: float = 0.0
    ) -> None:
        super().__init__(config, dropout)
        self.stem, self.trunk, self.classifier = stem, trunk, nn.Linear(dim, 1)

    def maps(self, images: torch.Tensor) -> torch.Tensor:
        """Return what the trunk looks at: (B, 3, H, W) RGB 0..1 -> (B, C, h, w)."""
        with exact(images):
            return self.stem(images)

    def features(self, images: torch.Tensor) -> torch.Tensor:
        """Return the last convolutional features: (B, 3, H, W) RGB 0..1 -> (B, D, h, w)."""
        return self.trunk(self.maps(images))

    def embed(self, images: torch.Tensor) -> torch.Tensor:
        """Return the mean of the features over places: (B, 3, H, W) -> (B, D)."""
        return self.features(images).float().mean((-2, -1))

    def patch_logits(self, images: torch.Tensor) -> torch.Tensor:
        """Return the logit of each place, whose mean is the image's: (B, 3, H, W) -> (B, h, w) float32."""
        self.check(images)
        features = self.features(images).float().movedim(1, -1)
        with exact(images):
            logits: torch.Tensor = self.classifier(features)
        return logits.float().squeeze(-1)
