"""Trunks that see small patches alone: BagNet-9 and the tiny one, without padding anywhere.

Source: Brendel and Bethge 2019, arXiv 1904.00760; Cavia, Horwitz, Reiss, Hoshen 2024, arXiv 2406.07398.
"""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from fdetect.nets.detectors.resnet import Residual, initialise

__all__ = ["LocalResNet", "TinyTrunk"]


class LocalResNet(nn.Sequential):  # type: ignore[misc]
    """ResNet-50 in which all but three 3x3 convolutions are 1x1: (B, 3, H, W) -> (B, 2048, h, w), each of 9 x 9 px.

    The 3x3 are one after the first 1x1 and those of the first blocks of stages 1 and 2; stages 1 to 3 halve the sides.
    The first norm learns its running mean at torch's rate of 0.1; its authors' 0.001 needs thousands of steps.
    """

    dim = 2048

    def __init__(self) -> None:
        parts: OrderedDict[str, nn.Module] = OrderedDict(
            conv1=nn.Conv2d(3, 64, 1, bias=False), conv2=nn.Conv2d(64, 64, 3, bias=False), bn1=nn.BatchNorm2d(64),
            relu=nn.ReLU(inplace=True),
        )  # fmt: skip
        channels = 64
        stages = zip((3, 4, 6, 3), (256, 512, 1024, 2048), (2, 2, 2, 1), (3, 3, 1, 1), strict=True)
        for stage, (depth, width, stride, kernel) in enumerate(stages, 1):
            blocks = [Residual(channels, width, stride=stride, kernel=kernel, padded=False)]
            blocks += [Residual(width, width, kernel=1, padded=False) for _ in range(depth - 1)]
            parts[f"layer{stage}"] = nn.Sequential(*blocks)
            channels = width
        super().__init__(parts)
        initialise(self)


class TinyTrunk(nn.Sequential):  # type: ignore[misc]
    """Four convolutions of eight channels: (B, 3, H, W) -> (B, 8, H - 4, W - 4), each of 5 x 5 px."""

    dim = 8

    def __init__(self) -> None:
        block = nn.Sequential(OrderedDict(
            conv1=nn.Conv2d(8, 8, 1, bias=False), bn1=nn.BatchNorm2d(8), relu1=nn.ReLU(inplace=True),
            conv2=nn.Conv2d(8, 8, 3, bias=False), bn2=nn.BatchNorm2d(8), relu2=nn.ReLU(inplace=True),
        ))  # fmt: skip
        super().__init__(OrderedDict(
            conv1=nn.Conv2d(3, 8, 1, bias=False), conv2=nn.Conv2d(8, 8, 3, bias=False), bn1=nn.BatchNorm2d(8),
            relu=nn.ReLU(inplace=True), layer1=nn.Sequential(block),
        ))  # fmt: skip
        initialise(self)
