"""Residual networks as trunks: basic and bottleneck blocks, groups, and strides and padding that may be left out.

Parts are called as in the published checkpoints of ResNets: conv1, bn1, layer1.0.conv1, layer1.0.downsample.0, ...

Source: He, Zhang, Ren, Sun 2016, arXiv 1512.03385, table 1 and figure 5 (stride in the 3x3 convolution of a bottleneck,
as is usual since); Xie et al. 2017, arXiv 1611.05431, for groups; the first values after He et al. 2015, arXiv
1502.01852, equation 10, by fan-out.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence

import torch
from torch import nn

__all__ = ["Attention", "ResNet", "Residual", "initialise"]

Attention = Callable[[int], nn.Module]  # channels -> a module that keeps the shape


class Residual(nn.Module):  # type: ignore[misc]
    """relu(branch(x) + shortcut(x)): (B, inputs, H, W) -> (B, outputs, H / stride, W / stride).

    bottleneck  1x1, 3x3, 1x1 with a quarter of the outputs inside; else two 3x3
    groups      of the 3x3 convolution of a bottleneck, each of `group_width` channels; 1: no groups
    attention   what the branch passes before the sum, made for its channels
    kernel      side of the middle convolution of a bottleneck: 3, or 1
    padded      whether it has a border of zeros; without one the shortcut loses its last rows and columns instead, so
                that it starts at the top left pixel of what the branch sees
    """

    def __init__(
        self, inputs: int, outputs: int, *, stride: int = 1, bottleneck: bool = True, groups: int = 1,
        group_width: int = 0, attention: Attention | None = None, kernel: int = 3, padded: bool = True,
    ) -> None:  # fmt: skip
        super().__init__()
        inner = outputs // 4 if bottleneck else outputs
        if groups > 1:
            inner = groups * group_width
        self.bottleneck = bottleneck
        if bottleneck:
            self.conv1, self.bn1 = _conv(inputs, inner, 1)
            self.conv2, self.bn2 = _conv(inner, inner, kernel, stride, groups, padded=padded)
            self.conv3, self.bn3 = _conv(inner, outputs, 1)
        else:
            self.conv1, self.bn1 = _conv(inputs, inner, 3, stride)
            self.conv2, self.bn2 = _conv(inner, outputs, 3)
        self.attention = attention(outputs) if attention else nn.Identity()
        same = inputs == outputs and stride == 1
        self.downsample = nn.Identity() if same else nn.Sequential(*_conv(inputs, outputs, 1, stride))
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the activated sum."""
        shortcut = self.downsample(x)
        out = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        if self.bottleneck:
            out = self.bn3(self.conv3(self.relu(out)))
        out = self.attention(out)
        if shortcut.shape != out.shape:
            shortcut = shortcut[..., : out.shape[-2], : out.shape[-1]]
        return self.relu(out + shortcut)


class ResNet(nn.Sequential):  # type: ignore[misc]
    """A stem of one convolution and stages of residual blocks: (B, inputs, H, W) -> (B, `dim`, h, w).

    depths         blocks of each stage; a stage after the first halves the sides, unless `strides` says otherwise
    widths         channels that a stage gives
    stem_kernel    7 or 3; `stem_stride` 2 or 1; `pool`: whether a 3x3 maximum of stride `pool_stride` follows
    """

    def __init__(
        self, inputs: int, depths: Sequence[int], widths: Sequence[int], *, stem_width: int = 64, stem_kernel: int = 7,
        stem_stride: int = 2, pool: bool = True, pool_stride: int = 2, strides: Sequence[int] = (),
        bottleneck: bool = True, groups: int = 1, group_width: int = 0, attention: Attention | None = None,
    ) -> None:  # fmt: skip
        strides = tuple(strides) or (1, *(2 for _ in depths[1:]))
        convolution, norm = _conv(inputs, stem_width, stem_kernel, stem_stride)
        parts: OrderedDict[str, nn.Module] = OrderedDict(conv1=convolution, bn1=norm, relu=nn.ReLU(inplace=True))
        if pool:
            parts["maxpool"] = nn.MaxPool2d(3, pool_stride, 1)
        channels = stem_width
        for stage, (depth, width, stride) in enumerate(zip(depths, widths, strides, strict=True)):
            blocks = []
            for block in range(depth):
                blocks.append(Residual(
                    channels, width, stride=1 if block else stride, bottleneck=bottleneck, groups=groups,
                    group_width=group_width * 2**stage, attention=attention,
                ))  # fmt: skip
                channels = width
            parts[f"layer{stage + 1}"] = nn.Sequential(*blocks)
        super().__init__(parts)
        self.dim = channels
        initialise(self)


def initialise(network: nn.Module) -> None:
    """Give convolutions their first values from torch's generator: normal, variance 2 / fan-out; norms stay at 1, 0.

    Shapes alone, on torch's meta device, have no values: torch would load its compiler to draw them, for a second.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and not module.weight.is_meta:
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def _conv(
    inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1, *, padded: bool = True
) -> tuple[nn.Module, nn.Module]:
    padding = kernel // 2 if padded else 0
    convolution = nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups, bias=False)
    return convolution, nn.BatchNorm2d(outputs)
