"""Networks of a few lines whose explanations are known, with the configuration of a registered one."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from fdetect.nets.detectors import network
from fdetect.nets.detectors.model import Convolutional, DetectorNetwork

__all__ = ["Brightness", "FunctionalRelus", "LeftHalf", "Linear", "filled", "pixelwise"]

CONFIG: Any = network.get("lenet")()  # its least side is small; nothing else of it matters here


class Linear(DetectorNetwork):
    """logit = sum of weight * x + 0.5, on 64 x 64 px."""

    def __init__(self, weight: torch.Tensor) -> None:
        super().__init__(CONFIG)
        self.weight = nn.Parameter(weight)
        self.classifier = nn.Linear(1, 1)
        with torch.no_grad():
            self.classifier.weight.fill_(1.0)
            self.classifier.bias.fill_(0.5)

    def embed(self, images: torch.Tensor) -> torch.Tensor:
        return (images * self.weight).sum((1, 2, 3))[:, None]


def filled(model: nn.Module, seed: int = 0) -> nn.Module:
    """Give a network random weights of unit order, and batch norms random statistics."""
    draws = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.5 * torch.randn(parameter.shape, generator=draws))
        for name, buffer in model.named_buffers():
            if name.endswith("running_var"):
                buffer.copy_(0.5 + torch.rand(buffer.shape, generator=draws))
    return model


def pixelwise(*, inplace: bool = False) -> Convolutional:
    """1 x 1 convolutions with ReLUs, the mean over pixels, a linear classifier."""
    trunk = nn.Sequential(nn.Conv2d(3, 5, 1), nn.ReLU(inplace), nn.Conv2d(5, 4, 1), nn.ReLU(inplace))
    model = filled(Convolutional(CONFIG, nn.Identity(), trunk, 4)).eval()
    with torch.no_grad():
        trunk[2].bias.abs_()
        model.classifier.weight[:, :2].abs_()
    return model


class FunctionalRelus(nn.Module):
    """The trunk of another network, its ReLUs as functions that work in place."""

    def __init__(self, trunk: nn.Sequential) -> None:
        super().__init__()
        self.first, self.second = trunk[0], trunk[2]

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return torch.relu_(self.second(torch.relu_(self.first(images))))


class LeftHalf(Convolutional):
    """Whatever a network is, blind for the right half of the picture."""

    def __init__(self) -> None:
        first, second = (nn.Conv2d(inputs, outputs, 3, padding=1, bias=False) for inputs, outputs in ((3, 6), (6, 4)))
        trunk = nn.Sequential(first, nn.ReLU(), second, nn.ReLU())
        super().__init__(CONFIG, nn.Identity(), trunk, 4)
        filled(self)
        with torch.no_grad():
            self.classifier.weight.abs_()

    def maps(self, images: torch.Tensor) -> torch.Tensor:
        seen = torch.arange(images.shape[-1]) < images.shape[-1] // 2
        return images * seen


class Brightness(Convolutional):
    """The logit of a place is 40 times its brightness above 0.5: a detector of bright halves."""

    def __init__(self) -> None:
        trunk = nn.Sequential(nn.Conv2d(3, 2, 1), nn.ReLU(inplace=True))
        super().__init__(CONFIG, nn.Identity(), trunk, 2)
        with torch.no_grad():
            for k, sign in enumerate((1.0, -1.0)):
                trunk[0].weight[k] = sign / 3
                trunk[0].bias[k] = -0.5 * sign
            self.classifier.weight.copy_(torch.tensor([[40.0, -40.0]]))
            self.classifier.bias.zero_()
